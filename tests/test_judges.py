"""The teacher and the judges: sentences are new, recognisers hear what is said, and errors are counted."""

import importlib.util
import shutil
import time

import numpy as np
import pytest
import soundfile

from bark_jax import sound
from bark_jax.train import evaluate, judges, teacher
from bark_jax.train.evaluate import Row

WORDS = "a an bird blue dog he hello ill man my not is disposed red the was young".split()


def test_sentences_are_many_short_and_the_same_for_a_seed():
    made = teacher.sentences(300, 3, common=["trumpet", "window"])
    assert made == teacher.sentences(300, 3, common=["trumpet", "window"])
    assert len(set(made)) == 300
    assert max(map(len, made)) <= teacher.LONGEST
    assert any("trumpet" in text for text in made)
    assert not set(teacher.sentences(300, 3, without=made)) & set(made)


def test_every_list_is_used_by_a_pattern():
    used = {name for text in teacher.PATTERNS for name in teacher.LISTS if f"{{{name}}}" in text}
    assert used == set(teacher.LISTS)


def test_silence_is_cut():
    loud = np.full(8_000, 5_000, np.int16)
    padded = np.pad(loud, (16_000, 16_000))
    kept = teacher.trim(padded, 16_000)
    assert len(kept) == len(loud) + int(sum(teacher.PADDING_S) * 16_000) - 1
    np.testing.assert_array_equal(teacher.trim(padded * 0, 16_000), padded * 0)


@pytest.mark.skipif(shutil.which("flite") is None, reason="the teacher is not here: Debian's package flite")
def test_the_teacher_reads_what_is_not_there_yet(tmp_path):
    teacher.record(["Hello.", "The red bird."], tmp_path, workers=1)
    samples, rate = soundfile.read(tmp_path / "wavs" / "00001.wav")
    assert rate == 16_000
    assert 0.5 < len(samples) / rate < 2
    for name in ("00000", "00001"):
        (tmp_path / "wavs" / f"{name}.wav").write_bytes(b"kept")
    teacher.record(["Hello.", "The blue bird."], tmp_path, workers=1)
    assert (tmp_path / "wavs" / "00000.wav").read_bytes() == b"kept"
    assert soundfile.info(tmp_path / "wavs" / "00001.wav").samplerate == 16_000  # another text, another recording
    assert (tmp_path / "metadata.csv").read_text().splitlines()[1] == "00001|The blue bird.|The blue bird."


def test_a_missing_teacher_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="install Debian's package flite"):
        teacher.record(["Hello."], tmp_path, workers=1)
    monkeypatch.setattr(teacher, "COMMON_WORDS", ("/nowhere",))
    with pytest.raises(ValueError, match="install Debian's package scowl"):
        teacher.common_words()


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


def test_a_failure_stops_the_teacher(tmp_path, monkeypatch):
    read = []

    def fail(text, path):
        read.append(text)
        time.sleep(0.02)  # as a synthesiser takes its time
        raise ValueError("flite does not read")

    monkeypatch.setattr(teacher, "speak", fail)
    with pytest.raises(ValueError, match="flite does not read"):
        teacher.record([f"Text {i}." for i in range(1_000)], tmp_path, workers=1)
    assert len(read) < 1_000


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
