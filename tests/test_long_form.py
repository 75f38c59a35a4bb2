"""Long form: sentence by sentence, in batches or as a stream; nothing lost, each made again alone."""

import subprocess
import sys
import threading
import time

import hf
import numpy as np
import pytest

import bark_jax
from bark_jax import long_form
from bark_jax.speech import Speech
from bark_jax.tokens import TokenConfig

TEXT = "Hello there. My dog is cute! Is he?\n\nWell... yes; he is."
SENTENCES = ["Hello there.", "My dog is cute!", "Is he?", "Well... yes; he is."]
QUICK = {"max_seconds": 0.4, "progress": False}
THREAD = "bark_jax stream"


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load(dtype="float32")


@pytest.fixture(scope="module")
def me(bark):
    return bark.generate("me", max_seconds=0.5, progress=False).voice()


class Fake:
    """Speak without a model: sentences of `lengths` semantic tokens, and a note of every call."""

    def __init__(self, lengths=None):
        self.calls = []
        self.lengths = lengths or {}

    def __call__(self, texts, *, voice, seed, progress):
        self.calls.append((texts, voice, seed))
        progress("semantic", 1, 1)
        timings = {"semantic": 1.0}
        return [self.speech(text, number, timings) for text, number in zip(texts, seed, strict=True)]

    def speech(self, text, seed, timings):
        n = self.lengths.get(text, 20)
        codes = np.full((8, n * 3 // 2), seed % 1024, np.int32)
        return Speech(
            text=text,
            seed=seed,
            samples=np.ones(codes.shape[1], np.float32),
            sample_rate=75,
            semantic=np.full(n, seed % 10_000, np.int32),
            coarse=codes[:2],
            fine=codes,
            timings=timings,
            tokens=TokenConfig(),
        )


GIVEN = Fake().speech("given", 0, {}).voice()


def spoken(speak, pieces, voice=None, seed=0, *, chained=False, batch_size=8, report=lambda *_: None):
    return list(
        long_form.sentence_by_sentence(speak, pieces, voice, seed, report, chained=chained, batch_size=batch_size)
    )


def test_one_text_is_one_speech_of_its_sentences(bark, me):
    whole = bark.read(TEXT, voice=me, seed=7, batch_size=4, **QUICK)
    assert [one.text for one in whole.sentences] == SENTENCES
    assert [one.seed for one in whole.sentences] == [7, 8, 9, 10]
    assert (whole.text, whole.seed) == (TEXT, 7)
    for name in ("semantic", "coarse", "fine"):
        own = [getattr(one, name) for one in whole.sentences]
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate(own, axis=-1))
    pause = np.zeros(6000, np.float32)  # a quarter of a second
    parts = [part for one in whole.sentences for part in (one.samples, pause)][:-1]
    np.testing.assert_array_equal(whole.samples, np.concatenate(parts))
    assert whole.samples.dtype == np.float32
    assert whole.voice() == bark_jax.Voice(whole.semantic, whole.coarse, whole.fine)
    assert set(whole.timings) == {"semantic", "coarse", "fine", "codec"}


def test_each_sentence_can_be_made_again_alone(bark):
    """With voice None the first sentence is the voice of the others; seeds go round at 2**32."""
    whole = bark.read(TEXT, seed=2**32 - 2, batch_size=4, top_k=50, **QUICK)
    assert [one.seed for one in whole.sentences] == [2**32 - 2, 2**32 - 1, 0, 1]
    voice = None
    for one in whole.sentences:
        alone = bark.generate(one.text, voice=voice, seed=one.seed, top_k=50, **QUICK)
        np.testing.assert_array_equal(one.fine, alone.fine)
        voice = voice or alone.voice()


def test_to_continue_is_to_take_the_sentence_before_as_the_voice(bark, me):
    whole = bark.read(TEXT, voice=me, seed=3, chain=True, **QUICK)
    voice = me
    for i, one in enumerate(whole.sentences):
        alone = bark.generate(SENTENCES[i], voice=voice, seed=3 + i, **QUICK)
        np.testing.assert_array_equal(one.fine, alone.fine)
        voice = alone.voice()


def test_a_stream_is_the_same_sound(bark):
    whole = bark.read(TEXT, seed=5, batch_size=4, **QUICK)
    streamed = list(bark.stream(TEXT, seed=5, **QUICK))
    assert [one.text for one in streamed] == SENTENCES
    for ours, theirs in zip(streamed, whole.sentences, strict=True):
        np.testing.assert_array_equal(ours.fine, theirs.fine)
        np.testing.assert_allclose(ours.samples, theirs.samples, atol=1e-5)


def test_a_list_of_texts_is_a_list_of_speeches(bark, me):
    texts, seeds, limits = ["One. Two.", "Three."], [3, 8], [0.2, 0.3]
    both = bark.read(texts, voice=[None, me], seed=seeds, max_seconds=limits, progress=False)
    assert [[one.text for one in whole.sentences] for whole in both] == [["One.", "Two."], ["Three."]]
    alone = bark.generate("Three.", voice=me, seed=8, max_seconds=0.3, progress=False)
    np.testing.assert_array_equal(both[1].fine, alone.fine)
    assert bark.read([]) == []


def test_a_thousand_words_end_with_nothing_lost_or_repeated(pair):
    both = pair()  # it reads 16 ids
    words = [
        ("egg", "moon", "leaf", "world")[i * i % 7 % 4] + "," * (i % 3 == 0) + "." * (i % 9 == 8) for i in range(1000)
    ]
    whole = both.ours.read(" ".join(words), voice=hf.voice(both.tokens), max_seconds=0.1, progress=False)
    assert " ".join(one.text for one in whole.sentences).split() == words
    assert [one.seed for one in whole.sentences] == list(range(len(whole.sentences)))
    pauses = 0.25 * (len(whole.sentences) - 1)
    assert whole.seconds == pytest.approx(sum(one.seconds for one in whole.sentences) + pauses)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"chained": False}, [1, 8, 8]),  # the first sets the voice
        ({"chained": True}, [1] * 11),
        ({"chained": False, "voice": GIVEN}, [8, 8]),
        ({"chained": False, "voice": GIVEN, "batch_size": 3}, [3, 3, 3, 3]),
        ({"chained": False, "voice": GIVEN, "batch_size": 32}, [16]),
    ],
)
def test_batches_have_one_size(options, sizes):
    pieces, speak, told = [f"Sentence {i}." for i in range(11)], Fake(), []
    speeches = spoken(speak, pieces, seed=4, report=lambda *report: told.append(report), **options)
    assert [len(texts) for texts, _, _ in speak.calls] == sizes
    assert [one.text for one in speeches] == pieces
    assert [one.seed for one in speeches] == list(range(4, 15))
    done = [report[1] for report in told if report[0] == "sentence"]
    assert (done[0], done[-1], len(done)) == (0, 11, len(sizes) + 1)
    assert all(report[2] == 11 for report in told if report[0] == "sentence")


def test_a_sentence_too_short_for_a_voice_leaves_it_to_the_next():
    speak = Fake({"Oh": 3})
    speeches = spoken(speak, ["Oh", "Oh", "Hello", "Yes", "Oh"])
    voices = [voice for _, voice, _ in speak.calls]
    assert voices == [None, None, None, speeches[2].voice()]
    speak = Fake({"Oh": 3})
    speeches = spoken(speak, ["Hello", "Oh", "Yes"], chained=True)
    assert [voice for _, voice, _ in speak.calls] == [None, speeches[0].voice(), speeches[0].voice()]


def test_the_time_of_a_batch_counts_once():
    whole = long_form.join("text", 0, spoken(Fake(), ["One."] * 11, GIVEN))
    assert whole.timings == {"semantic": 2.0}


# ---------------------------------------------------------------------------------------------
# The thread behind a stream
# ---------------------------------------------------------------------------------------------


def endless(report):
    """Make a sentence in ten windows."""
    for i in range(10**6):
        for window in range(10):
            report("semantic", window, 10)
            time.sleep(0.002)
        yield Fake().speech("Hello", i, {})


def threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def test_a_sentence_comes_while_the_next_is_made():
    went_on = threading.Event()

    def start(report):
        yield Fake().speech("one", 0, {})
        went_on.set()
        yield Fake().speech("two", 1, {})

    stream = long_form.in_background(start, False)
    assert next(stream).text == "one"
    assert went_on.wait(60)
    assert [one.text for one in stream] == ["two"]
    assert not threads()


@pytest.mark.parametrize("how", ["close", "drop", "interrupt"])
def test_leaving_a_stream_ends_its_thread(how):
    stream = long_form.in_background(endless, False)
    next(stream)
    assert threads()
    if how == "close":
        stream.close()
    elif how == "drop":
        del stream
    else:
        with pytest.raises(KeyboardInterrupt):
            stream.throw(KeyboardInterrupt)
    assert not threads()


def test_a_stream_left_open_does_not_keep_the_program():
    code = (
        "import time\n"
        "from bark_jax import long_form\n"
        "def endless(report):\n"
        "    try:\n"
        "        while True:\n"
        "            report('semantic', 0, 1)\n"
        "            time.sleep(0.01)\n"
        "            yield 1\n"
        "    finally:\n"
        "        print('ended')\n"
        "stream = long_form.in_background(endless, False)\n"
        "print(next(stream))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("1\nended\n", "")


def test_an_error_of_the_thread_reaches_the_reader(bark, monkeypatch):
    def start(report):
        yield Fake().speech("one", 0, {})
        raise MemoryError("full")

    stream = long_form.in_background(start, False)
    next(stream)
    with pytest.raises(MemoryError, match="full"):
        next(stream)
    assert not threads()
    with pytest.raises(ValueError, match="top_p is 2"):
        list(bark.stream("Hello", top_p=2.0, progress=False))


def test_progress_says_which_sentence(bark, me, capsys):
    list(bark.stream("One. Two.", voice=me, max_seconds=0.2))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "sentence 100%" in shown.err
    assert "| 2/2 [" in shown.err
    told = []
    options = {"voice": me, "max_seconds": 0.2, "batch_size": 1, "progress": lambda *report: told.append(report)}
    bark.read("One. Two.", **options)
    assert capsys.readouterr().err == ""
    assert told[0] == ("sentence", 0, 2)
    assert told[-1] == ("sentence", 2, 2)
    assert {stage for stage, _, _ in told} == {"sentence", "semantic", "coarse", "fine"}


def test_the_language_is_that_of_the_voice_or_the_script(bark):
    text = "Das war Bd. Drei. Ja."
    for options in ({"language": "de"}, {"voice": "v2/de_speaker_3"}, {"voice": "my/de_speaker_3.npz"}):
        assert bark.sentences(text, **options) == ["Das war Bd. Drei.", "Ja."]
    for options in ({}, {"voice": "announcer"}, {"voice": "v2/de_speaker_3", "language": "en"}):
        assert bark.sentences(text, **options) == ["Das war Bd.", "Drei.", "Ja."]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, it must be a whole number from 1 on"),
        ({"language": "klingon"}, "language is 'klingon', Bark speaks de, en"),
        ({"voice": "v2/en_speaker_6"}, "no voice 'v2/en_speaker_6'"),
        ({"seed": -1}, "seed is -1"),
        ({"text": " "}, "text is empty"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_any_work(bark, options, message, monkeypatch):
    monkeypatch.setattr(long_form, "sentence_by_sentence", None)
    with pytest.raises(ValueError, match=message):
        bark.read(**{"text": "Hello", "progress": False} | options)
    with pytest.raises(ValueError, match=message):
        bark.stream(**{"text": "Hello", "progress": False} | options)


def test_the_old_argument_of_long_form_still_works_and_warns(bark, me):
    options = {"voice": me, "seed": 3} | QUICK
    for old, chain in ((True, False), ("continue", True)):
        with pytest.warns(DeprecationWarning, match=r"long_form is deprecated .* call read\(text"):
            whole = bark.generate("One. Two.", long_form=old, **options)
        np.testing.assert_array_equal(whole.fine, bark.read("One. Two.", chain=chain, **options).fine)
        with pytest.warns(DeprecationWarning, match="long_form is deprecated"):
            streamed = bark.stream("One. Two.", long_form=old, **options)
        np.testing.assert_array_equal([one.seed for one in streamed], [3, 4])
    for method in (bark.generate, bark.stream):
        with pytest.raises(ValueError, match="long_form is 'contine', it must be True, \"continue\" or"):
            method("One.", long_form="contine")


def test_an_unknown_option_names_the_known_ones(bark):
    for method in (bark.generate, bark.read, bark.stream, bark.text_to_semantic):
        with pytest.raises(
            TypeError, match=r"unknown option top_kk: did you mean top_k\? The sampling options are top_k"
        ):
            method("Hello", top_kk=3)
    with pytest.raises(TypeError, match="unknown option min_eos_p"):
        bark.semantic_to_coarse([1, 2], min_eos_p=0.1)


def test_all_of_a_text_is_checked_before_the_first_sentence(bark, monkeypatch):
    monkeypatch.setattr(bark_jax.Bark, "generate", None)  # calling it would be another error
    for option in ({"top_p": 2.0}, {"coarse_temperature": -1}, {"max_seconds": 0}):
        for method in (bark.read, bark.stream):
            with pytest.raises(ValueError, match=f"{next(iter(option))} is"):
                method("One. Two.", **option)
    monkeypatch.setattr(bark_jax.Bark, "sentences", lambda *_, **__: ["One.", "word " * 60])
    for method in (bark.read, bark.stream):
        with pytest.raises(ValueError, match="text has 299 tokens"):
            method("One. Two.")


def test_a_long_text_alone_names_the_remedy(bark):
    with pytest.raises(
        ValueError, match=r"text has 299 tokens, Bark reads 96: shorten it, or read it .* with Bark.read"
    ):
        bark.generate("word " * 60)


def test_the_words_of_a_long_text_are_not_all_shown():
    assert len(repr(Fake().speech("word " * 1000, 0, {}))) < 120
