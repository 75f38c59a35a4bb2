"""A recording that becomes a voice: any rate, any number of channels, brought to what the networks know.

    me.wav ──mix down, resample──▶ 24 kHz ──cut the silence at both ends──▶ 2 to 10 s ──one loudness──▶ samples (n,)

What is no voice is refused with the value, the limit and what to do. No network is known here.
"""

import io
import os
import warnings
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float

from bark_jax.files import user_path
from bark_jax.sound import check_sound, resample

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf")
SHORTEST_S, LONGEST_S = 2.0, 10.0  # of speech, without the silence around it
LONGEST_FILE_S = 600.0
RATES = (8_000, 384_000)  # Hz
QUIETEST_DB = -45.0  # of full scale, in the loudest 20 ms
SILENCE_DB = -35.0  # below the loudest 20 ms: what is softer at both ends is cut off
KEPT_S = 0.1  # of the silence
CLIPPED = 0.001  # the most of the samples that may be clipped
FRAME_S = 0.02
LEVEL = 0.1  # root mean square of the speech, as in the recordings that the embedded checkpoint learnt from
PEAK = 0.95


def is_recording(source: Any) -> bool:
    """Tell whether this is the path of a sound file, by the end of its name."""
    return isinstance(source, str | os.PathLike) and os.fsdecode(source).lower().endswith(SUFFIXES)


def read(source: Any, sample_rate: int | None, new_rate: int) -> Float[np.ndarray, " n"]:
    """Read a recording of a voice, and bring it to `new_rate` in Hz, one channel, one loudness.

    Args:
        source: the path of a sound file, or samples (n,) or (n, channels) in -1..1.
        sample_rate: of samples, in Hz; None: `new_rate`.

    Raises:
        ValueError: it cannot be read, is too short, too quiet or clipped.
    """
    if isinstance(source, str | os.PathLike):
        name = str(user_path(source))
        samples, rate = read_file(name, name)
    else:
        name, samples, rate = "the recording", np.asarray(source), new_rate if sample_rate is None else sample_rate
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{name} is at {rate} Hz: record it at {RATES[0]} to {RATES[1]} Hz, such as 24000")
    if samples.ndim not in (1, 2) or samples.dtype.kind != "f":
        raise ValueError(
            f"{name} is {samples.dtype} of shape {samples.shape}: pass floats in -1..1, (n,) or (n, channels)"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{name} holds samples that are not finite: repair it, for example by np.nan_to_num")
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    check_level(name, samples, rate)
    mono = samples.astype(np.float32) if rate == new_rate else resample(samples.astype(np.float32), rate, new_rate)
    speech = best_part(name, trim(mono, new_rate), new_rate)
    seconds = len(speech) / new_rate
    if seconds < SHORTEST_S:
        raise ValueError(
            f"{name} has {seconds:.1f} s of sound between its silences, a voice needs {SHORTEST_S:g} s or more: "
            f"record a sentence of {SHORTEST_S:g} to {LONGEST_S:g} s"
        )
    return at_one_level(speech)


def read_file(source: str | io.BytesIO, name: str) -> tuple[np.ndarray, int]:
    """Read a sound file, float32, and its rate in Hz. Raises ValueError for what is no sound, or far too long.

    Args:
        name: of the file, in messages.
    """
    try:
        with soundfile.SoundFile(source) as file:
            seconds = file.frames / max(file.samplerate, 1)
            if seconds > LONGEST_FILE_S:
                raise ValueError(
                    f"{name} lasts {seconds:.0f} s, a recording may last {LONGEST_FILE_S:.0f} s: "
                    f"cut {SHORTEST_S:g} to {LONGEST_S:g} s out of it"
                )
            check_sound(file, name, LONGEST_FILE_S)
            return file.read(dtype="float32"), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"{name} cannot be read as sound: {error}") from error


def levels_db(samples: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " t"]:
    """Measure the loudness of each 20 ms, in dB of full scale."""
    length = int(FRAME_S * rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length).astype(np.float64)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def check_level(name: str, samples: np.ndarray, rate: int) -> None:
    """Raise ValueError for what is too quiet or clipped."""
    loudest = levels_db(samples, rate).max(initial=-120.0)
    if loudest < QUIETEST_DB:
        raise ValueError(
            f"{name} is too quiet: its loudest moment has {loudest:.0f} dB of full scale, a voice needs "
            f"{QUIETEST_DB:.0f} dB or more: record it closer to the microphone, or with more gain"
        )
    # Clipped samples stand side by side at the highest value; those of a loud sound do not.
    highest = np.abs(samples) >= 0.999 * max(0.98, np.abs(samples).max(initial=0.0))
    clipped = float(np.mean(highest[1:] & highest[:-1] & (samples[1:] == samples[:-1])))
    if clipped > CLIPPED:
        raise ValueError(
            f"{name} is clipped: {100 * clipped:.1f}% of its samples stay at full scale, at most {100 * CLIPPED:g}% "
            "may: record it with less gain"
        )


def trim(samples: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " m"]:
    """Cut the silence at both ends, but for `KEPT_S`."""
    levels, length, kept = levels_db(samples, rate), int(FRAME_S * rate), int(KEPT_S * rate)
    (loud,) = np.nonzero(levels > levels.max(initial=-120.0) + SILENCE_DB)
    if not loud.size:
        return samples
    return samples[max(0, loud[0] * length - kept) : (loud[-1] + 1) * length + kept]


def best_part(name: str, samples: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " m"]:
    """Cut what is too long to the stretch with most speech in it, and warn."""
    longest = int(LONGEST_S * rate)
    if len(samples) <= longest + int(2 * KEPT_S * rate):
        return samples
    levels, frame = levels_db(samples, rate), int(FRAME_S * rate)
    speech = np.cumsum(np.append(0, levels > levels.max() + SILENCE_DB))
    count = longest // frame
    first = int(np.argmax(speech[count:] - speech[:-count])) * frame
    seconds, begin, end = (n / rate for n in (len(samples), first, first + longest))
    warnings.warn(f"{name} has {seconds:.1f} s of sound: of them {begin:.1f} to {end:.1f} s are used", stacklevel=5)
    return trim(samples[first : first + longest], rate)


def at_one_level(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Bring speech to `LEVEL`, or less where its peaks would pass `PEAK`."""
    level, peak = float(np.sqrt(np.mean(samples**2))), float(np.abs(samples).max())
    return (samples * min(LEVEL / max(level, 1e-9), PEAK / max(peak, 1e-9))).astype(np.float32)
