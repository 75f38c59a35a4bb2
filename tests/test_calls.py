"""What callers pass, in every form that it may have: paths, files, arrays, seeds; and Barks in other processes."""

import contextlib
import copy
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import flax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import bark_jax
from bark_jax import sound
from bark_jax.files import write_all
from bark_jax.voices import VoiceLibrary, language_of, load_voice

QUICK = {"max_seconds": 0.4, "progress": False}


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load(dtype="float32")


@pytest.fixture(scope="module")
def speech(bark):
    return bark.generate("me", max_seconds=0.6, progress=False)


class Named(os.PathLike):
    """A path that is neither a str nor a `Path`; as bytes, where asked for."""

    def __init__(self, path, *, as_bytes=False):
        self.path = os.fsencode(path) if as_bytes else str(path)

    def __fspath__(self):
        return self.path


# ---------------------------------------------------------------------------------------------
# Texts, seeds, limits
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [None, 3, b"Hello", bytearray(b"Hello"), [None], [["Hello"]], ["Hello", 3], [b"Hello"], {"Hello": 1}, {"Hello"}],
    ids=repr,
)
@pytest.mark.parametrize("method", ["generate", "read", "text_to_semantic"])
def test_what_is_no_text_is_a_value_error(bark, text, method):
    with pytest.raises(ValueError, match=r"text is .* pass a str"):
        getattr(bark, method)(text)


@pytest.mark.parametrize("text", ["a\ud83d", ["fine", "\udc00"], "\ud800" * 100], ids=ascii)
@pytest.mark.parametrize("method", ["generate", "read", "text_to_semantic"])
def test_half_a_surrogate_pair_is_a_value_error(bark, text, method):
    with pytest.raises(ValueError, match="not valid Unicode"):
        getattr(bark, method)(text)


def test_a_stream_refuses_it_at_once(bark):
    with pytest.raises(ValueError, match="not valid Unicode"):
        bark.stream("a\ud83d")


@pytest.mark.parametrize(
    "seed", [3, np.array(3), np.int8(3), np.uint64(3), jnp.array(3), [3], (3,), range(3, 4), np.array([3])], ids=repr
)
def test_a_seed_is_a_number_in_any_form(bark, speech, seed):
    expected = bark.text_to_semantic(["Hello"], seed=3, max_seconds=0.4)
    np.testing.assert_array_equal(bark.text_to_semantic(["Hello"], seed=seed, max_seconds=0.4), expected)


@pytest.mark.parametrize(
    "seed",
    [None, "3", b"3", 3.0, np.array(3.0), np.nan, np.array([[3]]), np.array(-1), jnp.array(True), [None], {3}, {3: 1}],
    ids=repr,
)
def test_what_is_no_seed_is_a_value_error(bark, seed):
    for method in (bark.generate, bark.read):
        with pytest.raises(ValueError, match="seed is"):
            method("Hello", seed=seed)


@pytest.mark.parametrize("limit", [np.array(0.4), np.float32(0.4), jnp.array(0.4), [0.4], np.array([0.4])], ids=repr)
def test_a_limit_may_be_an_array(bark, limit):
    assert bark.generate(["Hello"], max_seconds=limit, progress=False)[0].semantic.shape == (21,)


@pytest.mark.parametrize("name", ["max_seconds", "top_p", "top_k", "coarse_temperature", "min_eos_p"])
@pytest.mark.parametrize("value", ["1", [], {}, float("nan"), -1], ids=repr)
def test_what_is_no_number_is_a_value_error(bark, name, value):
    for method in (bark.generate, bark.read):
        with pytest.raises(ValueError, match=name):
            method("Hello", **{name: value})


@pytest.mark.parametrize("rows", [None, "words", [None], [[1.5]], [["a"]], iter([1]), np.array(3)])
def test_what_are_no_tokens_is_a_value_error(bark, rows):
    for stage in (bark.semantic_to_coarse, bark.coarse_to_fine, bark.decode):
        with pytest.raises(ValueError, match=r"shape|holds|integers"):
            stage(rows)


@pytest.mark.parametrize("sound", [None, io.BytesIO(), [None], [io.BytesIO()], 3, np.zeros((2, 2, 2))])
def test_what_is_no_recording_is_a_value_error(bark, sound):
    with pytest.raises(ValueError, match="shape"):
        bark.encode(sound)


# ---------------------------------------------------------------------------------------------
# Sound and its files
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1000, 2), (2, 1000), (1000, 6)])
def test_the_hint_for_stereo_averages_the_channels(bark, shape):
    samples = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with pytest.raises(ValueError, match=r"stereo mixed down by (x.mean\(axis=\d\))") as refused:
        bark.encode(samples)
    hint = str(refused.value).rpartition("by ")[2]
    assert eval(hint, {"x": samples}).shape == (1000,)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_sound_file_of_several_channels_is_mixed_down(bark, tmp_path, channels):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", samples, 24_000, "FLOAT")
    mixed, rate = sound.read_sound(tmp_path / "x.wav")
    np.testing.assert_allclose(mixed, samples.mean(axis=1), atol=1e-6)
    assert (mixed.dtype, rate) == (np.float32, 24_000)
    np.testing.assert_array_equal(bark.encode(tmp_path / "x.wav"), bark.encode(mixed))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("form", [str, Path, Named, lambda path: Named(path, as_bytes=True)])
def test_any_path_names_a_file(bark, speech, tmp_path, form):
    speech.save(form(tmp_path / "x.wav"))
    speech.voice().save(form(tmp_path / "x.npz"))
    assert soundfile.info(tmp_path / "x.wav").frames == len(speech.samples)
    assert load_voice(form(tmp_path / "x.npz"), bark.tokens) == speech.voice()
    assert len(bark.text_to_semantic("Hi", voice=form(tmp_path / "x.npz"), max_seconds=0.2))
    assert bark.encode(form(tmp_path / "x.wav")).shape == speech.fine.shape
    with pytest.raises(ValueError, match=r"none.npz"):
        load_voice(form(tmp_path / "none.npz"), bark.tokens)
    with pytest.raises(ValueError, match=r"none.wav cannot be read as sound"):
        bark.encode(form(tmp_path / "none.wav"))


def test_the_home_directory_is_expanded(bark, speech, home):
    speech.save("~/sounds/x.wav")
    speech.save(Path("~/y.flac"))
    speech.voice().save("~/x.npz")
    assert sorted(path.name for path in home.rglob("*.*")) == ["x.npz", "x.wav", "y.flac"]
    assert load_voice("~/x.npz", bark.tokens) == speech.voice()
    assert bark.encode("~/sounds/x.wav").shape == speech.fine.shape


def test_without_a_home_the_message_says_so(bark, speech, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid not found")))
    for call in (
        lambda: speech.save("~/x.wav"),
        lambda: speech.voice().save("~/x.npz"),
        lambda: load_voice("~/x.npz", bark.tokens),
        lambda: bark.encode("~/x.wav"),
        lambda: bark_jax.load("~/bark"),
        lambda: bark_jax.load(Path("~/bark")),
    ):
        with pytest.raises(ValueError, match=r"~/.* needs a home directory.* set HOME"):
            call()


@pytest.mark.parametrize("suffix", [".wav", ".WAV", ".flac", ".Flac", ".ogg"])
def test_the_suffix_chooses_the_format(speech, tmp_path, suffix):
    speech.save(tmp_path / f"x{suffix}")
    info = soundfile.info(tmp_path / f"x{suffix}")
    assert info.format == suffix[1:].upper()
    assert (info.samplerate, info.frames) == (24_000, len(speech.samples))
    buffer = io.BytesIO()
    speech.save(buffer, format=suffix[1:])
    assert buffer.getbuffer()[:4] == (tmp_path / f"x{suffix}").read_bytes()[:4]
    if suffix != ".ogg":
        read, _ = soundfile.read(tmp_path / f"x{suffix}")
        np.testing.assert_allclose(read, speech.samples, atol=1 / 32767)


@pytest.mark.parametrize(("name", "options"), [("x.mp3", {}), ("x", {}), ("wav", {}), ("x.wav", {"format": "aiff"})])
def test_another_format_is_refused(speech, tmp_path, name, options):
    with pytest.raises(ValueError, match=r"does not end in .wav, .flac or .ogg"):
        speech.save(tmp_path / name, **options)
    assert not os.listdir(tmp_path)


def test_ten_minutes_of_ogg_are_written():
    """libsndfile crashes on that much Vorbis in one piece."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8000).astype(np.float32)
    assert soundfile.info(io.BytesIO(sound.sound_bytes(samples, 8000, ".ogg"))).frames == len(samples)


def test_an_open_file_gets_the_same_bytes_and_stays_open(speech, tmp_path):
    speech.save(tmp_path / "x.wav")
    speech.voice().save(tmp_path / "x.npz")
    wav, npz = io.BytesIO(), io.BytesIO()
    speech.save(wav)
    speech.voice().save(npz)
    assert wav.getvalue() == (tmp_path / "x.wav").read_bytes()
    npz.seek(0)
    np.testing.assert_array_equal(np.load(npz)["fine_prompt"], speech.fine)
    with open(tmp_path / "raw.wav", "wb", buffering=0) as file:
        speech.save(file)
    assert (tmp_path / "raw.wav").read_bytes() == wav.getvalue()
    for save in (speech.save, speech.voice().save):
        with pytest.raises(ValueError, match="open for text: open it with mode 'wb'"):
            save(io.StringIO())


WRONG_TYPES = """
import io, sys, numpy as np, bark_jax
from bark_jax.speech import Speech
from bark_jax.voices import Voice
zeros = np.zeros((2, 4), np.int32)
speech = Speech("x", 0, np.zeros(9, np.float32), 600, zeros[0], zeros, zeros, {}, None)
voice = Voice(zeros[0], zeros, zeros)
calls = [(save, (target,), {}) for save in (speech.save, voice.save)
         for target in (3, None, b"x.wav", object(), open(sys.argv[1], "rb"), io.StringIO())]
calls += [(bark_jax.load, (what,), {"offline": True}) for what in (3, b"x", {}, 1.5, "x" * 5000, [1, 2, 3])]
calls += [(bark_jax.load, (), {name: what}) for name, what in (("tokenizer", 3), ("mesh", "1x1"), ("mesh", (1, 1)))]
for call, given, named in calls:
    try:
        call(*given, **named)
    except ValueError as error:
        print(type(error).__name__, error)
"""
REMEDIES = "open it with mode 'wb'|pass one of these|pass a str|give one of these|make one with parallel.make_mesh"


def test_what_has_a_wrong_type_is_a_value_error():
    """In a process without the type checks of the tests."""
    command = [sys.executable, "-c", WRONG_TYPES, __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 21
    assert all(re.match(f"ValueError .*(?:{REMEDIES})$", line) for line in done.stdout.splitlines()), done.stdout


def test_an_array_may_hold_one_text(bark):
    assert bark.generate(np.array("Hello"), max_seconds=0.3, progress=False).text == "Hello"


def test_a_file_that_takes_a_part_at_a_time_gets_all():
    class Slow(io.BytesIO):
        def write(self, content):
            return super().write(bytes(content)[:7])

    file = Slow()
    write_all(file, bytes(range(100)))
    assert file.getvalue() == bytes(range(100))


# ---------------------------------------------------------------------------------------------
# Voices
# ---------------------------------------------------------------------------------------------


def test_equal_voices_have_equal_hashes(bark, speech):
    voice = speech.voice()
    wide = bark_jax.Voice.from_arrays(*(x.astype(np.int64) for x in voice.to_dict().values()), speech.tokens)
    other = bark_jax.Voice(voice.semantic + np.int32(1), voice.coarse, voice.fine)
    assert len({voice, wide, copy.deepcopy(voice), other}) == 2
    assert {voice: "me"}[wide] == "me"


def test_a_voice_file_may_end_in_capitals(bark, speech, tmp_path):
    speech.voice().save(tmp_path / "ME.NPZ")
    assert load_voice(str(tmp_path / "ME.NPZ"), bark.tokens) == speech.voice()
    (tmp_path / "v2").mkdir()
    speech.voice().save(tmp_path / "v2" / "en_speaker_6.NPZ")
    library = VoiceLibrary(tmp_path)
    assert library.names() == ["ME", "v2/en_speaker_6"]
    assert library.load("v2/en_speaker_6", bark.tokens) == speech.voice()


def test_a_name_may_have_the_separator_of_windows(bark, speech, tmp_path):
    (tmp_path / "v2").mkdir()
    speech.voice().save(tmp_path / "v2" / "de_speaker_6.npz")
    assert load_voice(r"v2\de_speaker_6", bark.tokens, VoiceLibrary(tmp_path)) == speech.voice()
    assert language_of(r"v2\de_speaker_6") == "de"
    assert language_of(Named(r"C:\voices\de_speaker_6.NPZ")) == "de"


def test_a_voice_file_without_its_suffix_gets_a_hint(bark, speech, tmp_path, monkeypatch):
    speech.voice().save(tmp_path / "me.npz")
    monkeypatch.chdir(tmp_path)
    for library in (None, bark.voices, VoiceLibrary(tmp_path / "none")):
        with pytest.raises(ValueError, match=r"no voice 'me'.* There is a file me.npz: pass its whole name"):
            load_voice("me", bark.tokens, library)
    with pytest.raises(ValueError, match=r"no voice 'you'") as refused:
        load_voice("you", bark.tokens, bark.voices)
    assert "There is a file" not in str(refused.value)


def test_a_speech_too_short_for_a_voice_says_so(bark):
    speech = bark.generate("Hi", max_seconds=0.01, progress=False)
    with pytest.raises(ValueError, match=r"Speech\('Hi', 0.0\d s .* is too short for a voice: speak a longer text"):
        speech.voice()


# ---------------------------------------------------------------------------------------------
# Other processes
# ---------------------------------------------------------------------------------------------


FLAX = tuple(map(int, flax.__version__.split(".")[:3]))
needs_picklable_flax = pytest.mark.skipif(
    FLAX < (0, 12, 8), reason="this flax cannot pickle the initialisers of its layers"
)


@needs_picklable_flax
@pytest.mark.parametrize("low_memory", [False, True])
def test_a_bark_is_pickled_and_copied(bark, speech, low_memory):
    own = bark_jax.load(dtype="float32", low_memory=low_memory) if low_memory else bark
    for other in (pickle.loads(pickle.dumps(own)), copy.copy(own), copy.deepcopy(own)):
        np.testing.assert_array_equal(other.generate("me", max_seconds=0.6, progress=False).fine, speech.fine)
        assert other.voices.names() == own.voices.names()
        assert (other.name, other.dtype, other.tokens) == (own.name, own.dtype, own.tokens)
        assert other.generate("me", voice="en_speaker_1", **QUICK).seconds > 0


def run(code, **options):
    """Run a program of its own, as a user would."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, **options)


@needs_picklable_flax
def test_a_bark_speaks_in_a_spawned_process(tmp_path, speech):
    script = tmp_path / "spawn.py"
    script.write_text(
        "import multiprocessing, bark_jax\n"
        "def speak(bark):\n"
        "    return bark.generate('me', max_seconds=0.6, progress=False).fine.tolist()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(speak, [bark_jax.load(dtype='float32')])[0])\n"
    )
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, timeout=300)
    np.testing.assert_array_equal(eval(done.stdout), speech.fine)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_and_does_not_hang():
    code = (
        "import os, warnings, bark_jax\n"
        "warnings.simplefilter('ignore')\n"
        "bark = bark_jax.load(dtype='float32')\n"
        "bark.generate('me', max_seconds=0.1, progress=False)\n"
        "calls = (lambda: bark.generate('me'), lambda: next(bark.stream('me')), bark_jax.load,\n"
        "         lambda: bark.decode(__import__('numpy').zeros((8, 2), int)))\n"
        "if os.fork() == 0:\n"
        "    for call in calls:\n"
        "        try:\n"
        "            call()\n"
        "        except RuntimeError as error:\n"
        "            os.write(1, f'{error}\\n'.encode())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    lines = run(code).stdout.splitlines()
    assert len(lines) == 4
    assert all('start it with multiprocessing.get_context("spawn")' in line for line in lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_before_anything_is_loaded_speaks():
    code = (
        "import os, bark_jax\n"
        "if os.fork() == 0:\n"
        "    bark_jax.load().generate('me', max_seconds=0.1, progress=False)\n"
        "    os.write(1, b'spoken')\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    assert run(code).stdout == "spoken"


# ---------------------------------------------------------------------------------------------
# A full disk
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["-O"]])
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.npz"])
def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, flags, name):
    """At each of several bytes: a limit on the size of files fails as a full disk does."""
    pytest.importorskip("resource")
    code = (
        "import os, resource, signal, sys, numpy as np\n"
        "from bark_jax.speech import Speech\n"
        "from bark_jax.tokens import TokenConfig\n"
        "codes = np.zeros((8, 75), np.int32)\n"
        "samples = np.random.default_rng(0).uniform(-1, 1, 24_000).astype(np.float32)\n"
        "speech = Speech('me', 0, samples, 24_000, np.zeros(50, np.int32), codes[:2], codes, {}, TokenConfig())\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "name, limits = sys.argv[1], []\n"
        "for limit in (0, 1, 43, 44, 1000, 4096):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        (speech.voice() if name.endswith('npz') else speech).save(name)\n"
        "    except OSError as error:\n"
        "        limits.append(limit)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    if os.listdir():\n"
        "        os.unlink(name)\n"
        "        break\n"
        "print(limits)\n"
    )
    done = subprocess.run(
        [sys.executable, *flags, "-c", code, name],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    small = name in ("x.ogg", "x.npz")
    assert done.stdout.strip() in ("[0, 1, 43, 44, 1000, 4096]", *["[0, 1, 43, 44, 1000]"] * small)
    assert not os.listdir(tmp_path)


def test_closing_an_unread_stream_is_clean(bark):
    with contextlib.closing(bark.stream("One. Two.", max_seconds=0.2, progress=False)) as speeches:
        assert next(speeches).text == "One."
