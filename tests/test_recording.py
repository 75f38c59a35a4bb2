"""A recording as a voice: any rate and channels are read alike, and what is none is refused in one line."""

import json
import re
import shutil
import warnings

import numpy as np
import pytest
import soundfile
from flax import nnx

import bark_jax
from bark_jax import __main__ as command_line
from bark_jax import notebook, recording, sound, units
from bark_jax.bulk import run as bulk

RATE = 24_000


def speech(seconds: float = 3.0, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    """A tone that comes and goes five times a second."""
    time = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 5 * time))).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-4, int(seconds * rate)).astype(np.float32)


def test_silence_at_both_ends_is_cut_and_that_between_is_kept():
    both = np.concatenate([silence(1), speech(1.5), silence(0.7), speech(1.5), silence(2)])
    found = recording.read(both, RATE, RATE)
    assert len(found) / RATE == pytest.approx(3.7 + 2 * recording.KEPT_S, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_rates_and_channels_are_read_alike(tmp_path, rate, channels, suffix):
    path = tmp_path / f"me.{suffix}"
    soundfile.write(path, np.column_stack([speech(rate=rate)] * channels), rate)
    found, expected = recording.read(path, None, RATE), recording.read(speech(), RATE, RATE)
    n = min(len(found), len(expected)) - RATE // 10
    assert abs(len(found) - len(expected)) < RATE // 20
    assert np.corrcoef(found[RATE // 10 : n], expected[RATE // 10 : n])[0, 1] > 0.99


def test_loud_and_soft_recordings_come_to_one_level():
    loud, soft = (recording.read(speech(level=level), RATE, RATE) for level in (0.4, 0.02))
    np.testing.assert_allclose(loud, soft, atol=1e-3)
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(recording.LEVEL, rel=0.01)


def test_a_human_reading_is_a_voice():
    found = recording.read(sound.reading(), RATE, RATE)
    assert recording.SHORTEST_S < len(found) / RATE < recording.LONGEST_S


def test_of_a_long_recording_the_part_with_most_speech_is_used():
    long = np.concatenate([speech(1), silence(8), speech(9.5), silence(6), speech(1)])
    with pytest.warns(UserWarning, match=r"has 25\.5 s of sound: of them 8\.\d to 18\.\d s are used"):
        found = recording.read(long, RATE, RATE)
    assert len(found) / RATE == pytest.approx(9.5, abs=0.3)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (speech(1.2), RATE, r"has 1\.[0-9] s of sound between its silences, a voice needs 2 s or more: record"),
        (silence(3), RATE, r"is too quiet: its loudest moment has -\d+ dB of full scale, a voice needs -45 dB"),
        (np.zeros(0, np.float32), RATE, "is too quiet"),
        (np.clip(20 * speech(), -1, 1), RATE, r"is clipped: \d+\.\d% of its samples stay at full scale, at most 0\.1%"),
        (speech(), 9_999_991, "is at 9999991 Hz: record it at 8000 to 384000 Hz"),
        ((speech() * 32_767).astype(np.int16), RATE, "is int16 of shape .*: pass floats"),
        (np.full(3 * RATE, np.nan, np.float32), RATE, "not finite"),
    ],
)
def test_what_is_no_voice_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        recording.read(samples, rate, RATE)


def test_a_full_scale_sine_is_not_called_clipped():
    time = np.arange(3 * RATE) / RATE
    recording.read(np.round(32_767 * np.sin(2 * np.pi * 200 * time)).astype(np.float32) / 32_768, RATE, RATE)


def test_files_that_are_no_sound_or_endless_are_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    for name in ("text.wav", "nowhere.wav"):
        with pytest.raises(ValueError, match=re.escape(str(tmp_path / name)) + " cannot be read as sound"):
            recording.read(tmp_path / name, None, RATE)
    soundfile.write(tmp_path / "long.flac", np.zeros(8_000 * 601, np.float32), 8_000)
    with pytest.raises(ValueError, match="lasts 601 s, a recording may last 600 s: cut 2 to 10 s out of it"):
        recording.read(tmp_path / "long.flac", None, RATE)


def test_names_of_sound_files_are_known():
    assert recording.is_recording("me.WAV")
    assert not recording.is_recording("v2/en_speaker_6")
    assert not recording.is_recording("me.npz")
    assert not recording.is_recording(None)


def test_ten_seconds_are_used_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording.read(speech(10), RATE, RATE)


# In a checkpoint


@pytest.fixture(scope="module")
def folder(pair, tmp_path_factory):
    """A checkpoint with random weights and a random encoder of semantic units."""
    made = tmp_path_factory.mktemp("with-units") / "checkpoint"
    shutil.copytree(pair().ours.voices.folder, made)
    encoder = units.UnitEncoder(pair().tokens.semantic_vocab_size, 16, rngs=nnx.Rngs(0))
    units.save(encoder, made)
    return made


@pytest.fixture(scope="module")
def me(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "me.wav"
    soundfile.write(path, np.column_stack([speech(rate=16_000)] * 2), 16_000)
    return path


def test_any_recording_is_a_voice(folder, me):
    bark = bark_jax.load(folder, dtype="float32")
    voice = bark.voice(me)
    assert len(voice.semantic) == pytest.approx(3 * units.RATE_HZ, abs=5)
    assert voice.fine.shape[1] == pytest.approx(3 * 75, abs=8)
    np.testing.assert_array_equal(voice.coarse, voice.fine[:2])
    samples, rate = sound.read_sound(me)
    assert bark.voice(samples, sample_rate=rate) == voice
    options = {"max_seconds": 0.2, "progress": False}
    spoken = bark.generate("Hello", voice=str(me), **options)
    np.testing.assert_array_equal(spoken.fine, bark.generate("Hello", voice=voice, **options).fine)


def test_a_job_takes_recordings(folder, me, tmp_path):
    bark = bark_jax.load(folder, dtype="float32")
    options = {"max_seconds": 0.2, "progress": False}
    lines = [{"text": "Hello"}, {"text": "Hello", "voice": "announcer"}, {"text": "Hello", "voice": "gone.wav"}]
    for made in (2, 0):  # a job goes on where it was: the recording is the same voice again
        done = bulk.run(bark, lines, tmp_path / "one", voice=str(me), **options)
        assert done.made == made
        assert "gone.wav cannot be read as sound" in done.failed[3]
    bulk.run(bark, lines, tmp_path / "other", voice=bark.voice(me), **options)
    for name in ("000001.wav", "000002.wav"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_names_and_files_are_voices_as_before(pair, folder):
    bark = bark_jax.load(folder, dtype="float32")
    name = bark.voices.names()[0]
    assert bark.voice(name) == pair().ours.voices.load(name, bark.tokens)
    assert bark.voice(bark.voice(name)) == bark.voice(name)


def test_a_checkpoint_without_an_encoder_says_so(pair, me):
    with pytest.raises(ValueError, match="has no encoder of semantic units: a recording becomes no voice"):
        pair().ours.voice(me)


def test_the_command_line_takes_a_recording(folder, me, tmp_path, capsys):
    arguments = ["speak", "Hello", "--checkpoint", str(folder), "--max-seconds", "0.2", "-o", str(tmp_path / "a.wav")]
    assert command_line.main([*arguments, "--voice", str(me)]) == 0
    assert (tmp_path / "a.wav").is_file()
    assert command_line.main([*arguments, "--voice", str(me.with_name("you.wav")), "--force"]) == 2
    assert "you.wav cannot be read as sound" in capsys.readouterr().err


def test_voices_are_described(folder, capsys):
    name = bark_jax.load(folder).voices.names()[0]
    path = folder / "voices.json"
    path.write_text(json.dumps({name: "British woman,\n 14 letters a second", "nobody": "?"}))
    assert command_line.main(["voices", "--checkpoint", str(folder)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(name)]
    assert line.endswith("  British woman, 14 letters a second")
    for damaged in ("[1]", "{", '{"a": 1}'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"voices\.json"):
            bark_jax.load(folder)
    path.unlink()


@pytest.mark.parametrize("version", [7, 8])
def test_a_recording_is_uploaded_to_the_panel(folder, me, tmp_path, version):
    panel = notebook.panel(bark_jax.load(folder, dtype="float32"), max_seconds=0.2, folder=tmp_path)
    content = me.read_bytes()
    files = {
        7: {"me.wav": {"metadata": {"name": "me.wav"}, "content": content}},
        8: ({"name": "me.wav", "content": memoryview(content)},),
    }
    panel.take_recording({"new": files[version]})
    assert panel.controls["voice"].value == "me.wav"
    assert "me.wav is a voice now" in panel.message.children[0].value
    assert panel.voices["me.wav"] == panel.bark.voice(me)
    panel.take_recording({"new": ({"name": "text.wav", "content": b"no sound"},)})
    assert "text.wav cannot be read as sound" in panel.message.children[0].value
