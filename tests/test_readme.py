"""The READMEs, as far as a machine can tell: commands parse, calls exist, links lead to files, trees are ours."""

import functools
import inspect
import re
import shlex
from pathlib import Path

import pytest

import bark_jax
from bark_jax import describe, notebook, options
from bark_jax.checkpoints.resolve import read_generation_config
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.cli.commands import COMMANDS as KNOWN
from bark_jax.cli.commands import parser
from bark_jax.tokens import TokenConfig

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "assets/README.md",
        "assets/nano/README.md",
        "bark_jax/README.md",
        "bark_jax/bench/README.md",
        "bark_jax/train/README.md",
        "tests/README.md",
    )
}
GUIDE = PAGES["bark_jax/README.md"]
TEXT = "\n".join(PAGES.values()).replace("\\\n", " ")  # a command may take two lines
COMMANDS = re.findall(r"^python -m bark_jax (.*)$", TEXT, re.MULTILINE)
LARGE = {"num_layers": 24, "num_heads": 16, "hidden_size": 1024, "block_size": 1024, "bias": False}
MOST_LINES = 130  # of the front page


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    assert parser().parse_args(shlex.split(command, comments=True)).run


def test_every_command_is_shown():
    assert {command.split()[0] for command in COMMANDS} == {name for name, *_ in KNOWN}


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", TEXT, re.MULTILINE))
def test_make_targets_exist(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE)


def test_calls_have_the_arguments_shown():
    """Every keyword of `bark.generate(...)` in the guide, and each method named, is there."""
    call = GUIDE[GUIDE.index("speech = bark.generate(") : GUIDE.index("speech.samples")]
    shown = set(re.findall(r"(\w+)=", re.sub(r"#.*", "", call)))
    assert shown <= {*inspect.signature(bark_jax.Bark.generate).parameters, *options.table()}
    for name in re.findall(r"\bbark\.(\w+)\(", TEXT):
        assert callable(getattr(bark_jax.Bark, name))
    for name in re.findall(r"\bnotebook\.(\w+)\(", TEXT):
        assert callable(getattr(notebook, name))
    for name in re.findall(r"\bspeech\.(?!py\b)(\w+)", TEXT):
        assert name in {*vars(bark_jax.Speech), *bark_jax.Speech.__dataclass_fields__}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for path in re.findall(r"\]\((?!http)([^)#]+)", PAGES[page]):
        assert ((ROOT / page).parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_links_within_pages_lead_to_headings(page):
    for path, heading in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", PAGES[page]):
        target = ((ROOT / page).parent / path if path else ROOT / page).read_text(encoding="utf-8")
        titles = [title.strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", target, re.MULTILINE)]
        assert heading in titles


def test_the_front_page_is_short():
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES
    assert PAGES["README.md"].index("## Install") < len(PAGES["README.md"]) / 2


def test_trees_are_those_of_the_large_checkpoint():
    vocabularies = {"semantic": (129_600, 10_048), "fine_acoustics": (1056, 1056)}
    trees = []
    for name, (v_in, v_out) in vocabularies.items():
        section = LARGE | {"input_vocab_size": v_in, "output_vocab_size": v_out, "n_codes_total": 8, "n_codes_given": 1}
        make = functools.partial(NETWORKS[name].module, NETWORKS[name].read_config(section))
        trees += describe.module_tree(name, make)
    assert "\n".join(trees) in GUIDE


def test_the_limits_of_the_included_model_are_its_own():
    tokens = TokenConfig.from_dict(read_generation_config(ROOT / "assets" / "nano"))
    limits = tokens.max_input_semantic_length, round(tokens.longest_s)
    assert tuple(map(int, re.findall(r"the included model: (\d+) (?:letters|seconds)", GUIDE))) == limits
