"""Sound as files, as a player and as a picture: levels are honest."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from bark_jax import sound

RATE = 24_000


def tone(hz, level=0.5, seconds=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_player_plays_the_samples_as_loud_as_they_are():
    samples = tone(440, 0.25)
    html = sound.player(samples, RATE)._repr_html_()
    kind, encoded = re.search(r"data:(audio/\w+);base64,([A-Za-z0-9+/=]+)", html).groups()
    played, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="float32")
    assert (kind, rate) == ("audio/flac", RATE)
    np.testing.assert_allclose(played, samples, atol=1 / 2**15)


def test_what_is_too_loud_is_clipped_and_does_not_wrap():
    played, _ = soundfile.read(io.BytesIO(sound.sound_bytes(tone(440, 3.0), RATE, ".flac")), dtype="float32")
    assert np.abs(played).max() <= 1
    np.testing.assert_allclose(played, np.clip(tone(440, 3.0), -1, 1), atol=1 / 2**14)


@pytest.mark.parametrize("hz", [250, 1000, 6000])
def test_a_tone_lies_in_its_mel_band(hz):
    from transformers.audio_utils import hertz_to_mel

    spectrum = sound.mel_spectrogram(tone(hz), RATE)
    assert spectrum.shape == (80, 51)  # 100 a second, and both ends
    expected = 80 * hertz_to_mel(hz, "slaney") / hertz_to_mel(RATE / 2, "slaney")
    assert abs(np.argmax(spectrum[:, 25]) - expected) <= 1.5


def test_half_the_amplitude_is_six_decibels_less():
    loud, soft = (sound.mel_spectrogram(tone(1000, level), RATE).max() for level in (0.5, 0.25))
    assert loud - soft == pytest.approx(20 * np.log10(2), abs=0.01)


def test_silence_and_a_single_sample_have_a_spectrum():
    assert np.all(sound.mel_spectrogram(np.zeros(RATE, np.float32), RATE) == sound.MEL_FLOOR_DB)
    assert sound.mel_spectrogram(np.ones(1, np.float32), RATE).shape[0] == 80


def test_the_reading_is_a_voice_at_any_rate():
    at_24k, at_16k = sound.reading(), sound.reading(16_000)
    assert len(at_24k) == pytest.approx(1.5 * len(at_16k), abs=2)
    assert at_24k.dtype == np.float32
    spectrum = sound.mel_spectrogram(at_24k, RATE)
    assert spectrum[:40].mean() > spectrum[70:].mean() + 10  # a voice has little above 8 kHz


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.wav cannot be read as sound"):
        sound.read_sound(tmp_path / "nothing.wav")
