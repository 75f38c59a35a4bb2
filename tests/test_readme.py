"""The README, as far as a machine can tell: its commands parse, its calls exist, its trees are ours."""

import functools
import inspect
import re
import shlex
from pathlib import Path

import pytest

import bark_jax
from bark_jax import describe, notebook, options
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.cli.commands import COMMANDS as KNOWN
from bark_jax.cli.commands import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m bark_jax (.*)$", README, re.MULTILINE)
LARGE = {"num_layers": 24, "num_heads": 16, "hidden_size": 1024, "block_size": 1024, "bias": False}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    assert parser().parse_args(shlex.split(command, comments=True)).run


def test_every_command_is_shown():
    assert {command.split()[0] for command in COMMANDS} == {name for name, *_ in KNOWN}


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", README, re.MULTILINE))
def test_make_targets_exist(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE)


def test_calls_have_the_arguments_shown():
    """Every keyword of `bark.generate(...)` in the README, and each method named, is there."""
    call = README[README.index("speech = bark.generate(") : README.index("speech.samples")]
    shown = set(re.findall(r"(\w+)=", re.sub(r"#.*", "", call)))
    assert shown <= {*inspect.signature(bark_jax.Bark.generate).parameters, *options.table()}
    for name in re.findall(r"\bbark\.(\w+)\(", README):
        assert callable(getattr(bark_jax.Bark, name))
    for name in re.findall(r"\bnotebook\.(\w+)\(", README):
        assert callable(getattr(notebook, name))
    for name in re.findall(r"\bspeech\.(?!py\b)(\w+)", README):
        assert name in {*vars(bark_jax.Speech), *bark_jax.Speech.__dataclass_fields__}


def test_links_lead_to_files():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path


def test_trees_are_those_of_the_large_checkpoint():
    vocabularies = {"semantic": (129_600, 10_048), "fine_acoustics": (1056, 1056)}
    trees = []
    for name, (v_in, v_out) in vocabularies.items():
        section = LARGE | {"input_vocab_size": v_in, "output_vocab_size": v_out, "n_codes_total": 8, "n_codes_given": 1}
        make = functools.partial(NETWORKS[name].module, NETWORKS[name].read_config(section))
        trees += describe.module_tree(name, make)
    assert "\n".join(trees) in README
