"""The cheat sheet agrees with the package, figure by figure; the glossary has what the notebooks name."""

import re

import make
import pytest

import bark_jax
from bark_jax import TokenConfig, describe, options, text
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.journey import STAGES

DOCS = make.ROOT / "docs"
SHEET = (DOCS / "cheat-sheet.md").read_text(encoding="utf-8")
BARK = TokenConfig()
SIZES = {
    "bark": {"num_layers": 24, "num_heads": 16, "hidden_size": 1024},
    "bark-small": {"num_layers": 12, "num_heads": 12, "hidden_size": 768},
}
# The label of each row: how the package gives its figure.
FIGURES = {
    "Rates": {
        "semantic tokens a second": lambda c: c.semantic_rate_hz,
        "frames a second": lambda c: c.coarse_rate_hz,
        "coarse ids a second": lambda c: c.coarse_rate_hz * c.n_coarse_codebooks,
        "coarse ids for one semantic token": lambda c: round(c.coarse_per_semantic, 3),
        "samples a second": lambda c: c.sample_rate,
        "samples in a frame": lambda c: c.sample_rate / c.coarse_rate_hz,
    },
    "Sizes": {
        "text ids in a prompt": lambda c: c.max_input_semantic_length,
        "voice tokens in a prompt": lambda c: c.max_input_semantic_length,
        "semantic tokens in one call, at most": lambda c: c.max_new_tokens,
        "seconds of speech in one call, at most": lambda c: round(c.longest_s, 1),
        "semantic tokens in a coarse window": lambda c: c.max_coarse_input_length,
        "past coarse ids in a coarse window": lambda c: c.max_coarse_history,
        "new coarse ids in a coarse window": lambda c: c.sliding_window_len,
        "frames in a fine window": lambda c: c.max_fine_input_length,
        "frames from one fine window to the next": lambda c: c.max_fine_history_length,
        "coarse codebooks": lambda c: c.n_coarse_codebooks,
        "all codebooks": lambda c: c.n_fine_codebooks,
        "entries of a codebook": lambda c: c.codebook_size,
    },
    "Ids": {
        "first semantic token": lambda c: 0,
        "last semantic token": lambda c: c.semantic_vocab_size - 1,
        "end of speech": lambda c: c.eos_token_id,
        "padding of the voice": lambda c: c.semantic_pad_token,
        "first text id": lambda c: c.text_encoding_offset,
        "padding of the text": lambda c: c.text_pad_token,
        "INFER, semantic model": lambda c: c.semantic_infer_token,
        "first id of codebook 0": lambda c: c.coarse_offset(0),
        "first id of codebook 1": lambda c: c.coarse_offset(1),
        "padding, coarse model": lambda c: c.coarse_semantic_pad_token,
        "INFER, coarse model": lambda c: c.coarse_infer_token,
        "code not known yet, fine model": lambda c: c.fine_pad_token,
    },
    "Default sampling options": {
        "`semantic_temperature`": lambda c: c.semantic_temperature,
        "`coarse_temperature`": lambda c: c.coarse_temperature,
        "`fine_temperature`": lambda c: c.fine_temperature,
        "`min_eos_p`": lambda c: options.table()["min_eos_p"].default,
    },
}


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load()


def rows(heading):
    """Return the cells of each row of the table under a heading, without its head."""
    section = SHEET.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"][
        2:
    ]


@pytest.mark.parametrize("heading", FIGURES)
def test_figures_are_the_packages(heading, bark):
    expected = [[label, *(f"{f(c):,g}" if f(c) < 1e5 else f"{f(c):,}" for c in (BARK, bark.tokens))]
                for label, f in FIGURES[heading].items()]  # fmt: skip
    assert rows(heading) == expected


def test_networks_have_these_sizes(bark):
    expected = []
    kinds = {
        "semantic": lambda sizes: GPTConfig(129_600, 10_048, **sizes),
        "coarse": lambda sizes: GPTConfig(12_096, 12_096, **sizes),
        "fine": lambda sizes: FineConfig(1_056, **sizes),
    }
    for size, sizes in SIZES.items():
        for stage, config in kinds.items():
            network = next(each.network for each in STAGES if each.name == stage)
            cfg = config(sizes)
            tree = describe.module_tree(network, lambda rngs, n=network, c=cfg: NETWORKS[n].module(c, rngs=rngs))
            expected.append([f"{size}, {stage}", cfg, tree[0].split()[-1]])
    for stage, module in (("semantic", bark.semantic_model), ("coarse", bark.coarse_model), ("fine", bark.fine_model)):
        expected.append([f"nano, {stage}", module.cfg, f"{describe.parameter_count(module):,}"])
    assert rows("Networks") == [
        [name, str(cfg.num_layers), str(cfg.num_heads), f"{cfg.hidden_size:,}", count] for name, cfg, count in expected
    ]


def test_calls_and_names_exist(bark):
    speech = bark.generate("Hello", max_seconds=0.5, progress=False)
    shapes = {"n": len(text.encode("Hello", bark.tokenizer, bark.tokens)), "s": len(speech.semantic)}
    shapes["t"] = int(shapes["s"] * bark.tokens.coarse_rate_hz / bark.tokens.semantic_rate_hz)
    results = {"text": (shapes["n"],)} | {
        stage: getattr(speech, stage).shape for stage in ("semantic", "coarse", "fine")
    }
    results["codec"] = speech.samples.shape
    for stage, call, _, shape, _ in rows("The journey"):
        place = bark if call.startswith("`bark.") else bark_jax
        for name in call.strip("`").split(".")[1:]:
            place = getattr(place, name)
        assert callable(place)
        found = re.sub(r"\d+ (?=[a-z])", r"\g<0>* ", shape)
        assert eval(found, shapes) == results[stage], stage
    for record, (stage, module, network, config, files) in zip(STAGES, rows("Names"), strict=True):
        assert hasattr(bark, module.strip("`").removeprefix("bark."))
        assert (stage, network, config) == (record.name, f"`{record.network}`", f"`{record.config}`")
        assert files == (f"`{record.suno}.pt`, `{record.suno}_2.pt`" if record.suno else "none")
    arrays = speech.voice().to_dict()
    for name, axes in re.findall(r"`(\w+_prompt)` (\([^)]*\))", SHEET):
        assert len(eval(axes, shapes)) == arrays.pop(name).ndim
    assert not arrays


def test_the_glossary_is_sorted_and_its_links_lead_somewhere():
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+?)\*\*", glossary, re.MULTILINE)
    assert len(terms) > 40
    assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
    for page in (SHEET, glossary):
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert (DOCS / target).exists(), target
