"""The whole journey: what a user calls, what comes back, and what bad input says."""

import dataclasses
import gc
import os
import subprocess
import sys
import weakref

import hf
import jax
import numpy as np
import pytest
import reference
import soundfile
from common import TEXTS, draw_like, ids, voice
from flax import nnx

import bark_jax
from bark_jax import semantic
from bark_jax.checkpoints import load
from bark_jax.codec import Codec
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.journey import COARSE, FINE, SEMANTIC


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load(dtype="float32")


@pytest.mark.parametrize("history", [None, 20])
def test_every_stage_of_a_generation_equals_the_reference(pair, history):
    """Sampled at the defaults: text to eight codebooks, with one seed, as the plain reference has it."""
    both, seed = pair(), 11
    own_voice = history and voice(both.tokens, history)
    speech = both.ours.generate(TEXTS[0], voice=own_voice, seed=seed, progress=False)
    weights, heads, tokens = both.weights, both.heads, both.tokens
    s = reference.semantic(
        weights, heads, ids(both, TEXTS[0]), own_voice, tokens, choose=draw_like(seed, SEMANTIC.stream)
    )
    c = reference.coarse(weights, heads, s, own_voice, tokens, choose=draw_like(seed, COARSE.stream))
    f = reference.fine(weights, heads, c, own_voice, tokens, choose=draw_like(seed, FINE.stream))
    np.testing.assert_array_equal(speech.semantic, s)
    np.testing.assert_array_equal(speech.coarse, c)
    np.testing.assert_array_equal(speech.fine, f)


def test_a_speech_holds_all_of_its_stages(bark):
    speech = bark.generate("Hello, my dog is cute.", max_seconds=0.5, progress=False)
    assert speech.samples.dtype == np.float32
    assert speech.sample_rate == 24_000
    assert speech.semantic.shape == (26,)
    assert speech.coarse.shape == (2, 39)
    assert speech.fine.shape == (8, 39)
    assert speech.samples.shape == (320 * 39,)
    np.testing.assert_array_equal(speech.fine[:2], speech.coarse)
    assert set(speech.timings) == {"semantic", "coarse", "fine", "codec"}
    assert all(seconds > 0 for seconds in speech.timings.values())
    assert 0.01 < np.abs(speech.samples).max() < 1
    np.testing.assert_array_equal(bark.decode(speech.fine), speech.samples)


def test_the_same_seed_gives_the_same_sound_and_another_another(bark):
    first, again, other = (
        bark.generate("Hello", seed=seed, max_seconds=0.3, progress=False).samples for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or np.abs(first - other).max() > 0.01


def test_the_stages_one_by_one_are_the_whole(bark):
    options = {"seed": 4, "top_k": 50}
    whole = bark.generate("Hello", max_seconds=0.4, progress=False, **options)
    s = bark.text_to_semantic("Hello", max_seconds=0.4, **options)
    c = bark.semantic_to_coarse(s, **options)
    f = bark.coarse_to_fine(c, seed=4)
    for ours, theirs in ((s, whole.semantic), (c, whole.coarse), (f, whole.fine), (bark.decode(f), whole.samples)):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_is_its_rows_alone(bark):
    texts, seeds, limits = ["One", "Two, and more", "Three"], [1, 2, 3], [0.2, 1.0, 0.5]
    me = bark.generate("me", max_seconds=0.5, progress=False).voice()
    voices = [None, me, me.to_dict()]
    together = bark.generate(texts, voice=voices, seed=seeds, max_seconds=limits, progress=False)
    for text, own_voice, seed, limit, row in zip(texts, voices, seeds, limits, together, strict=True):
        alone = bark.generate(text, voice=own_voice, seed=seed, max_seconds=limit, progress=False)
        np.testing.assert_array_equal(row.fine, alone.fine)
        np.testing.assert_allclose(row.samples, alone.samples, atol=1e-5)
        assert (row.text, row.seed) == (text, seed)


def test_ten_texts_compile_nothing(bark, compilations):
    """No text, voice, length, seed or way to draw makes a program of its own: there is one for each size of cache."""
    me = bark.generate("Hello, it is me", max_seconds=2.5, progress=False).voice()
    assert me.coarse.shape[1] * 2 > bark.tokens.sliding_window_len  # the coarse stage went on to a second window
    compilations.clear()
    for i in range(10):
        bark.generate(
            "word " * (i + 1),
            voice=me if i % 2 else None,
            seed=i,
            semantic_temperature=i / 10,
            top_k=None if i % 3 else 10 + i,
            top_p=None if i % 4 else 0.9,
            min_eos_p=None if i % 5 else 0.3,
            max_seconds=0.15 * (i + 1),
            progress=False,
        )
    assert compilations == []


@pytest.mark.once
def test_lists_of_numbers_are_one_item_and_arrays_of_seeds_are_seeds(bark):
    np.testing.assert_array_equal(bark.semantic_to_coarse([1, 2, 3]), bark.semantic_to_coarse(np.array([1, 2, 3])))
    np.testing.assert_array_equal(bark.encode([0.1, 0.2]), bark.encode(np.array([0.1, 0.2])))
    together = bark.semantic_to_coarse([np.arange(9)] * 2, seed=[3, 4])
    for row, seed in zip(together, (3, 4), strict=True):
        np.testing.assert_array_equal(row, bark.semantic_to_coarse(np.arange(9), seed=seed))


def test_empty_lists_give_empty_lists(bark):
    assert bark.generate([]) == []
    stages = (bark.text_to_semantic, bark.semantic_to_coarse, bark.coarse_to_fine, bark.decode, bark.encode)
    assert [stage([]) for stage in stages] == [[]] * 5


def test_a_speech_that_ends_at_once_is_empty_and_says_so(pair):
    both = pair()
    with pytest.warns(UserWarning, match="ended 'Hello' before its first token"):
        speech = both.ours.generate("Hello", min_eos_p=1e-9, progress=False)
    assert speech.samples.shape == (0,)
    assert speech.fine.shape == (8, 0)
    assert speech.seconds == 0


def test_a_generation_is_a_voice(bark, tmp_path):
    speech = bark.generate("me", max_seconds=0.6, progress=False)
    speech.voice().save(tmp_path / "me.npz")
    options = {"seed": 7, "max_seconds": 0.4, "semantic_temperature": 1.0, "progress": False}
    spoken = bark.generate("again", voice=str(tmp_path / "me.npz"), **options)
    np.testing.assert_array_equal(spoken.fine, bark.generate("again", voice=speech.voice(), **options).fine)
    assert not np.array_equal(spoken.semantic, bark.generate("again", **options).semantic)


def test_voices_of_a_checkpoint_go_by_name(pair):
    both = pair()
    assert both.ours.voices.names() == ["announcer", "de_speaker_0", "v2/en_speaker_6"]
    named = both.ours.text_to_semantic("Hello", voice="v2/en_speaker_6")
    np.testing.assert_array_equal(named, both.ours.text_to_semantic("Hello", voice=hf.voice(both.tokens)))
    with pytest.raises(ValueError, match=r"no voice 'v2/en_speaker_7' .* try v2/en_speaker_6"):
        both.ours.generate("Hello", voice="v2/en_speaker_7")


def test_a_wav_is_16_bit_clipped_and_not_overwritten(bark, tmp_path):
    import dataclasses

    speech = bark.generate("Hello", max_seconds=0.2, progress=False)
    speech = dataclasses.replace(speech, samples=np.concatenate([speech.samples, np.float32([2, -3, 0.5])]))
    speech.save(tmp_path / "new folder" / "hello.wav")
    read, rate = soundfile.read(tmp_path / "new folder" / "hello.wav")
    assert rate == 24_000
    assert soundfile.info(tmp_path / "new folder" / "hello.wav").subtype == "PCM_16"
    np.testing.assert_allclose(read, np.clip(speech.samples, -1, 1), atol=1 / 32767)
    with pytest.raises(FileExistsError, match=r"hello.wav exists and is kept: .* --force"):
        speech.save(tmp_path / "new folder" / "hello.wav")
    speech.save(tmp_path / "new folder" / "hello.wav", force=True)
    with pytest.raises(ValueError, match=r"hello.mp3 does not end in .wav"):
        speech.save(tmp_path / "hello.mp3")


def test_a_file_that_cannot_be_finished_leaves_nothing(bark, tmp_path, monkeypatch):
    speech = bark.generate("Hello", max_seconds=0.2, progress=False)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        speech.save(tmp_path / "hello.wav")
    assert os.listdir(tmp_path) == []


def test_recordings_round_trip_through_the_codec(bark, tmp_path):
    x = np.sin(np.arange(4000) / 20).astype(np.float32) * 0.3
    codes = bark.encode(x, kbps=6.0)
    assert codes.shape == (8, 13)
    np.testing.assert_array_equal(bark.encode(x), codes)
    assert codes.dtype == np.int32
    assert bark.encode([x, x[:1]], kbps=1.5)[1].shape == (2, 1)
    assert bark.decode(codes).shape == (13 * 320,)
    soundfile.write(tmp_path / "x.wav", x, 24_000, "FLOAT")
    np.testing.assert_array_equal(bark.encode(str(tmp_path / "x.wav")), codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ""}, "text is empty or only white space"),
        ({"text": " \n\t "}, "text is empty or only white space"),
        ({"text": "long " * 90}, "text has 449 tokens, Bark reads 96"),
        ({"text": ["fine", ""]}, "text is empty"),
        ({"seed": -1}, "seed is -1, it must be a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"seed": True}, "seed is True"),
        ({"seed": [1, 2]}, "seed is a list of 2 for 1 texts"),
        ({"text": ["a", "b"], "voice": [None]}, "voice is a list of 1 for 2 texts"),
        ({"semantic_temperature": -0.5}, "semantic_temperature is -0.5"),
        ({"coarse_temperature": float("nan")}, "coarse_temperature is nan"),
        ({"fine_temperature": -1.0}, "fine_temperature is -1.0"),
        ({"top_p": 0.0}, "top_p is 0.0, it must be above 0 and at most 1"),
        ({"top_p": 2.0}, "top_p is 2.0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"min_eos_p": 0.0}, "min_eos_p is 0.0"),
        ({"max_seconds": 0.0}, "max_seconds is 0.0"),
        ({"voice": "v2/en_speaker_6"}, "no voice 'v2/en_speaker_6' among the 8 of this checkpoint"),
        ({"voice": "none.npz"}, "there is no voice file none.npz"),
        ({"voice": {"semantic_prompt": [1]}}, "coarse_prompt and fine_prompt missing"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_any_work(bark, options, message, monkeypatch):
    monkeypatch.setattr(semantic, "generate", None)  # calling it would be another error
    with pytest.raises(ValueError, match=message):
        bark.generate(**{"text": "Hello", "progress": False} | options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((2, 3), 512), "coarse holds 512..512, this checkpoint's tokens are 0..511"),
        (np.zeros((3, 3), int), r"coarse has shape \(3, 3\), this checkpoint's has \(2, t\)"),
        (np.zeros((2, 3)), "coarse holds float64, tokens are whole numbers"),
    ],
)
def test_bad_coarse_codes_are_refused(bark, bad, message):
    with pytest.raises(ValueError, match=message):
        bark.coarse_to_fine(bad)


def test_bad_fine_codes_are_refused(bark):
    with pytest.raises(ValueError, match=r"codes -1..0"):
        bark.decode(np.array([[0, -1]]))
    with pytest.raises(ValueError, match=r"33 codebooks, the codec has 8"):
        bark.decode(np.zeros((33, 2), int))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros((100, 2), np.float32), {}, r"shape \(100, 2\).*stereo"),
        (np.array([0, np.nan], np.float32), {}, "nan at sample 1"),
        (np.zeros(10, np.int16), {}, "int16, not floats"),
        (np.zeros(0, np.float32), {}, "0 samples"),
        (
            np.zeros(10, np.float32),
            {"sample_rate": 44_100},
            "sample rate is 44100 Hz, the codec reads 24000 Hz: resample",
        ),
        (np.zeros(10, np.float32), {"kbps": 5.0}, "bandwidth is 5.0 kbit/s: choose one of 1.5, 3"),
        ("missing.wav", {}, "missing.wav cannot be read as sound"),
    ],
)
def test_bad_recordings_are_refused(bark, samples, options, message):
    with pytest.raises(ValueError, match=message):
        bark.encode(samples, **options)


def test_a_stereo_file_of_another_rate_is_refused(bark, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros((100, 2)), 44_100)
    with pytest.raises(ValueError, match=r"44100 Hz"):
        bark.encode(tmp_path / "x.wav")


def test_a_dtype_that_is_none_is_refused():
    for dtype in ("float16", "int8", "fast"):
        with pytest.raises(ValueError, match=f"dtype is '{dtype}', it must be float32 or bfloat16"):
            bark_jax.load(dtype=dtype)


def test_bfloat16_speaks():
    with jax.numpy_dtype_promotion("standard"):  # flax's LayerNorm mixes it with float32
        speech = bark_jax.load(dtype="bfloat16").generate("Hello", max_seconds=0.2, progress=False)
    assert np.isfinite(speech.samples).all()
    assert speech.samples.dtype == np.float32


def test_progress_is_shown_on_standard_error(bark, capsys):
    bark.generate("Hello", max_seconds=0.2, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert all(f"{stage:8} 100%" in shown.err for stage in ("semantic", "coarse", "fine"))


@pytest.mark.once
def test_torch_and_transformers_are_never_imported():
    code = (
        "import sys, bark_jax, bark_jax.__main__\n"
        "bark_jax.load().generate('a', max_seconds=0.1, progress=False)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_speech_shows_itself_as_a_player(bark):
    spoken = bark.generate("a", max_seconds=0.2, progress=False)
    speech = dataclasses.replace(spoken, text="a <b> & c")
    shown = speech._repr_html_()
    assert "<audio" in shown
    assert "a &lt;b&gt; &amp; c" in shown
    silent = dataclasses.replace(speech, samples=np.zeros(0, np.float32))
    assert "no sound" in silent._repr_html_()


@pytest.mark.once
def test_progress_is_told_to_a_function(bark, capsys):
    told = []
    texts = ["Hello", "Hello, my name is bark."]
    bark.generate(texts, max_seconds=[0.2, 0.9], progress=lambda *report: told.append(report))
    assert not capsys.readouterr().err  # no bars
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["semantic", "coarse", "fine"]
    for stage, total in (("semantic", 46), ("coarse", 138), ("fine", 1)):
        reports = [(done, whole) for name, done, whole in told if name == stage]
        assert reports[0] == (0, total)
        assert reports[-1] == (total, total)
        assert reports == sorted(reports)
    told.clear()
    bark.text_to_semantic("Hello", max_seconds=0.2, progress=lambda *report: told.append(report))
    assert {stage for stage, _, _ in told} == {"semantic"}


@pytest.mark.once
def test_low_memory_speaks_the_same_and_holds_one_network(pair, tmp_path, monkeypatch, compilations):
    """When one is loaded no array of another is left, though Python's own collector of garbage is off."""
    both, fill, loaded = pair(), load.fill, []
    arrays: list[weakref.ref] = []

    def watched_fill(plan, **options):
        assert not any(array() is not None for array in arrays)
        module = fill(plan, **options)
        arrays.extend(weakref.ref(leaf) for leaf in jax.tree.leaves(nnx.state(module)))
        loaded.append(type(module))
        return module

    monkeypatch.setattr(load, "fill", watched_fill)
    folder = hf.save(both.tiny, tmp_path)
    bark = bark_jax.load(folder, dtype="float32", low_memory=True)
    options = {"seed": [3, 4], "max_seconds": 0.2, "progress": False}
    expected = both.ours.generate(TEXTS[:2], **options)
    compilations.clear()
    gc.disable()
    try:
        speeches = bark.generate(TEXTS[:2], **options)
        bark.generate(TEXTS[:2], **options)
    finally:
        gc.enable()
    for ours, theirs in zip(speeches, expected, strict=True):
        np.testing.assert_array_equal(ours.fine, theirs.fine)
        np.testing.assert_array_equal(ours.samples, theirs.samples)
    assert repr(bark) == f"Bark('{folder}', float32)"
    assert bark.sample_rate == both.ours.codec.cfg.sampling_rate
    assert loaded == [GPT, GPT, FineModel, Codec] * 2
    assert not compilations
