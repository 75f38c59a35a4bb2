"""The judges: recognisers hear what is said, and errors are counted."""

import importlib.util

import numpy as np
import pytest

from bark_jax import sound
from bark_jax.train import evaluate, judges
from bark_jax.train.evaluate import Row

WORDS = "a an bird blue dog he hello ill man my not is disposed red the was young".split()


@pytest.mark.parametrize(
    ("text", "heard", "errors"),
    [
        ("Two red birds.", "to read birds", 0),
        ("Twelve dogs!", "12 dogs", 0),
        ("I see 21 cats", "I see twenty-one cats.", 0),
        ("the red bird", "the bird", 1),
        ("the red bird", "the big red dog", 2),
        ("the red bird", "", 3),
    ],
)
def test_errors_are_counted_in_words(text, heard, errors):
    verdict = judges.compare([text], [heard])
    assert verdict.errors == errors
    assert verdict.error_rate == pytest.approx(errors / verdict.words)


def test_pocketsphinx_hears_a_reader_in_a_loop_of_words():
    (heard,) = judges.pocketsphinx([sound.reading()], 24_000, WORDS)
    assert {"not", "young", "man"} <= set(heard.split())
    assert judges.known_words(["dog", "dgo"]) == ["dog"]


def test_whisper_hears_a_reader():
    (heard,) = judges.whisper([sound.reading()], 24_000)
    verdict = judges.compare(["He was not an ill-disposed young man"], [heard])
    assert verdict.error_rate < 0.3


def test_a_muffled_sound_is_far_from_the_clean_one():
    clean = sound.reading()
    muffled = np.convolve(clean, np.ones(24) / 24, mode="same").astype(np.float32)
    assert judges.mel_distance(clean, clean, 24_000) == 0
    assert judges.mel_distance(clean, muffled, 24_000) > 0.3
    assert judges.stoi(clean, clean, 24_000) > 0.99 > judges.stoi(clean, muffled, 24_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judges", "whisper, wisper"], "judges are wisper: choose of pocketsphinx, whisper"),
        (["--count", "0"], "count is 0: judge 1 sentence or more"),
        (["--data", "nowhere"], "nowhere has no metadata.csv"),
        (["--data", "long"], "long has no text of 64 tokens or fewer"),
    ],
)
def test_what_cannot_be_judged_is_said(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "long").mkdir()
    (tmp_path / "long" / "metadata.csv").write_text(f"1|{'long ' * 20}\n")
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_missing_judge_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"judging needs jiwer, pystoi, pocketsphinx: pip install 'bark-jax\[judges\]'"
    ):
        judges.check(["pocketsphinx"])


def test_the_report_has_all_rows():
    rows = [Row("recordings", 0.1, 0.05), Row("codec", 0.2, 0.1, 0.9, 0.3)]
    found = {
        "sentences": 2,
        "words": 9,
        "source": "never trained on",
        "ended": 1.0,
        "rows": [vars(row) for row in rows],
    }
    lines = evaluate.report(found)
    assert lines[2].split() == ["recordings", "10.0", "5.0"]
    assert lines[3].split() == ["codec", "20.0", "10.0", "0.9", "0.3"]
    assert lines[-1] == "ended by itself: 100.0%"
