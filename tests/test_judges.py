"""The judges: recognisers hear what is said, and errors are counted."""

import importlib.util
import sys

import numpy as np
import pytest
import soundfile

from bark_jax import sound
from bark_jax.train import evaluate, judges, speakers
from bark_jax.train.evaluate import Row, Take

READING = "He was not an ill-disposed young man"


@pytest.mark.parametrize(
    ("text", "heard", "errors"),
    [
        ("Two red birds.", "to read birds", 0),
        ("Twelve dogs!", "12 dogs", 0),
        ("I see 21 cats", "I see twenty-one cats.", 0),
        ("the red bird", "the bird", 1),
        ("the red bird", "the big red dog", 2),
        ("the red bird", "", 3),
        ("Five, fourteen, four, four.", "51444", 0),
        ("Five, fourteen, four, four.", "5-14-4-4", 0),
        ("Two hundred and five of 1994", "205 of nineteen ninety-four", 0),
        ("Twenty, one.", "21", 0),
        ("five thousand", "5,000", 0),
        ("Five, fourteen.", "515", 1),
        ("the red bird", "the 3 bird", 1),
        ("our neighbours apologised", "Our neighbors apologized.", 0),
    ],
)
def test_errors_are_counted_in_words(text, heard, errors):
    verdict = judges.compare([text], [heard])
    assert verdict.errors == errors
    assert verdict.error_rate == pytest.approx(errors / verdict.words)


def test_whisper_hears_a_reader():
    (heard,) = judges.whisper([sound.reading()], 24_000)
    verdict = judges.compare([READING], [heard])
    assert verdict.error_rate < 0.3


def test_a_muffled_sound_is_far_from_the_clean_one():
    clean = sound.reading()
    muffled = np.convolve(clean, np.ones(24) / 24, mode="same").astype(np.float32)
    assert judges.mel_distance(clean, clean, 24_000) == 0
    assert judges.mel_distance(clean, muffled, 24_000) > 0.3
    assert judges.stoi(clean, clean, 24_000) > 0.99 > judges.stoi(clean, muffled, 24_000)


def test_the_judged_sentences_are_many_and_readable():
    texts = judges.judged_texts()
    assert len(set(texts)) == len(texts) == 100
    assert max(map(len, texts)) <= 64  # what the checkpoint of before reads at once
    assert not any(set(text) - set("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ',.?!") for text in texts)


def test_noise_makes_speech_less_natural():
    clean = sound.reading()
    noise = 0.05 * np.random.default_rng(0).normal(size=len(clean)).astype(np.float32)
    good, bad, none = judges.distillmos([clean, clean + noise, clean[:0]], 24_000)
    assert 5 > good > bad + 0.5
    assert none == 1
    assert "torchaudio" not in sys.modules


def test_a_voice_is_recognised():
    """A reader's halves are of one voice; slowed down they are of another."""
    clean = sound.reading()
    slow = sound.resample(clean, 24_000, 36_000)
    halves = [*np.array_split(clean, 2), *np.array_split(slow, 2)]
    made = speakers.embed(halves, 24_000)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
    known = {"reader": made[:1], "slow reader": made[2:3]}
    assert speakers.name(made, known) == ["reader", "reader", "slow reader", "slow reader"]
    loud = speakers.embed([0.1 * halves[0]], 24_000)
    np.testing.assert_allclose(loud[0], made[0], atol=1e-3)


def test_an_embedding_is_not_compared_with_itself():
    east, west, north = np.eye(3, dtype=np.float32)
    known = {"a": np.stack([east, north]), "b": np.stack([0.9 * east, west])}
    assert speakers.name(east[None], known) == ["a"]
    assert speakers.name(east[None], known, own=["a"]) == ["b"]  # all that is left of a points north


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judges", "whisper, wisper"], "judges are wisper: choose of whisper, distillmos, speakers"),
        (["--count", "0"], "count is 0: choose 1 or more"),
        (["--readings", "0"], "readings is 0: choose 1 or more"),
        (["--data", "nowhere"], "nowhere has no metadata.csv"),
        (["--data", "long"], "tokens or fewer: judge shorter sentences"),
    ],
)
def test_what_cannot_be_judged_is_said(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "long" / "wavs").mkdir(parents=True)
    (tmp_path / "long" / "metadata.csv").write_text(f"1|{'long ' * 30}\n")
    soundfile.write(tmp_path / "long" / "wavs" / "1.wav", np.zeros(100), 24_000)
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_missing_judge_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs jiwer, pystoi, faster_.*: pip install 'bark-jax\[judges\]'$"):
        judges.check(["whisper"])
    with pytest.raises(ValueError, match=r" and pip install --no-deps distillmos==0\.9\.1 xls-r-sqa==0\.1\.0$"):
        judges.check(["distillmos"])


def test_a_take_is_judged():
    clean = sound.reading()
    take = Take("codec", [READING], [clean], ["reader"], [clean])
    known = {"reader": speakers.embed([clean], 24_000), "nobody": np.zeros((1, speakers.WIDTH), np.float32)}
    row, found = evaluate.judge(take, 24_000, list(judges.JUDGES), known)
    assert row.wrong < 0.3
    assert row.mos > 2.5
    assert (row.named, row.mel) == (1, 0)
    assert found["heard"]
    other, _ = evaluate.judge(Take("none", [READING], [clean], [""]), 24_000, ["speakers"], known)
    assert (other.wrong, other.mos, other.named, other.mel) == (None,) * 4


def test_the_report_has_all_rows():
    rows = [Row("teacher", 3, 0.1, 3.456, 1.0), Row("codec, 8 books", 3, 0.2, 3.1, None, 0.9, 0.3)]
    found = {"sentences": 3, "words": 9, "speeches": 5, "ended": 1.0, "rows": [vars(row) for row in rows]}
    lines = evaluate.report(found)
    assert lines[2].split() == ["teacher", "3", "10.0", "3.46", "100.0"]
    assert lines[3].split() == ["codec,", "8", "books", "3", "20.0", "3.10", "0.9", "0.3"]
    assert lines[-1] == "ended by itself: 100.0% of 5"
