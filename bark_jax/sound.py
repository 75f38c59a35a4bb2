"""Sound as files, as a player and as a picture: what the pipeline and the notebooks share.

    recording ──read_sound──▶ samples (n,) ──▶ player, mel_spectrogram (m, t)

Samples are float32 in -1..1; what lies outside is clipped where 16-bit numbers are written. Knows nothing
of tokens or networks.
"""

import importlib.resources
import io
import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from jaxtyping import Float

from bark_jax.files import append, refuse_existing, sync_folder, user_path, write_all, write_file
from bark_jax.limits import SOUND_RATES_HZ, SOUND_SAMPLES, SOUND_SECONDS, open_regular

READING = "reading.flac"  # a few seconds of a human reader; assets/README.md says whose
MEL_FLOOR_DB = -120.0  # of full scale: silence
BLOCK = 2**16  # samples encoded at once
WAV_HEADER, WAV_LIMIT = 44, 2**32  # bytes
FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}  # by suffix


def read_sound(path: str | os.PathLike, most_s: float = SOUND_SECONDS) -> tuple[Float[np.ndarray, " n"], int]:
    """Read a sound file: float32 samples (n,), the mean of its channels, and their rate in Hz.

    Raises:
        ValueError: there is no such file, no sound in it, more than `most_s` seconds, or a rate out of range.
    """
    path = user_path(path)
    try:
        with open_regular(path):
            pass  # a pipe or a device is refused: libsndfile would wait for it
        with soundfile.SoundFile(path) as file:
            check_sound(file, str(path), most_s)
            return file.read(dtype="float32", always_2d=True).mean(axis=1), file.samplerate
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from error


def check_sound(file: soundfile.SoundFile, name: str, most_s: float) -> None:
    """Raise ValueError where the head of a sound file says that reading it would take too much.

    A small file may claim any number of frames, and hold an hour of silence.
    """
    lowest, highest = SOUND_RATES_HZ
    if not lowest <= file.samplerate <= highest:
        raise ValueError(f"{name} is at {file.samplerate} Hz, the limits are {lowest} to {highest} Hz: resample it")
    seconds, samples = file.frames / file.samplerate, file.frames * file.channels
    if seconds > most_s or samples > SOUND_SAMPLES:
        raise ValueError(
            f"{name} lasts {seconds:,.0f} s with {samples:,} samples, the limits are {most_s:,.0f} s and "
            f"{SOUND_SAMPLES:,}: cut it"
        )


def reading(sample_rate: int = 24_000) -> Float[np.ndarray, " n"]:
    """Return the recording of a human voice that comes with the package, at a rate in Hz.

    "He was not an ill-disposed young man", from a LibriVox reading of Sense and Sensibility, public domain.
    """
    with importlib.resources.as_file(importlib.resources.files("bark_jax.assets") / READING) as path:
        samples, rate = read_sound(path)
    return resample(samples, rate, sample_rate)


def resample(samples: Float[np.ndarray, " n"], rate: int, new_rate: int) -> Float[np.ndarray, " m"]:
    """Bring samples from one rate in Hz to another; needs SciPy, which the extras bring."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, new_rate)
    return resample_poly(samples, new_rate // common, rate // common).astype(np.float32)


def sound_bytes(samples: Float[np.ndarray, " n"], sample_rate: int, suffix: str = ".wav") -> bytes:
    """Encode samples, clipped to -1..1, as a sound file in memory.

    Sound is never encoded straight into a file: libsndfile would swallow the error of a full disk.

    Args:
        suffix: ".wav" or ".flac", 16-bit and exact, FLAC in half the space; or ".ogg", Vorbis.
    """
    container, encoding = FORMATS[suffix]
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, 1, encoding, format=container) as file:
        for begin in range(0, len(samples), BLOCK):  # Vorbis overflows its stack on long pieces
            file.write(np.clip(samples[begin : begin + BLOCK], -1, 1))
    return buffer.getvalue()


def sound_suffix(name: str | os.PathLike) -> str:
    """Return the suffix of a sound file to write, in lower case. Raises ValueError unless `FORMATS` has it."""
    name = os.fsdecode(name).lower()
    for suffix in FORMATS:
        if name.endswith(suffix):
            return suffix
    raise ValueError(f"{name} does not end in .wav, .flac or .ogg: choose one of these formats")


class GrowingSound:
    """Write a mono sound file piece by piece, as a context.

    Until the context ends without an error it is a WAV of another name, `partial`: book.partial.wav for
    book.flac. That is a complete file after each piece. After an error, such as a full disk, or Ctrl-C it stays,
    with the pieces written before.

    Raises:
        FileExistsError: a file of either name exists and `force` is not set.
    """

    def __init__(self, path: str | os.PathLike, *, force: bool = False):
        self.path, self.suffix = Path(path), sound_suffix(path)
        self.partial = self.path.with_suffix(".partial.wav")
        self.force = force
        self.seconds, self.size = 0.0, 0  # written: sound, and bytes of the file
        for file in (self.path, self.partial):
            refuse_existing(file, force=force)

    def __enter__(self) -> "GrowingSound":
        return self

    def write(self, samples: Float[np.ndarray, " n"], sample_rate: int) -> None:
        """Add samples, clipped to -1..1; the rate is the same at every call.

        Raises:
            OSError: they cannot be written; the file is as it was before.
            ValueError: the file would be larger than a WAV can be, 4 GiB: a day of speech.
        """
        wav = sound_bytes(samples, sample_rate)
        if not self.size:
            write_file(self.partial, wav, force=self.force)
            self.size, self.seconds = len(wav), len(samples) / sample_rate
            return
        size = self.size + len(wav) - WAV_HEADER
        if size >= WAV_LIMIT:
            raise ValueError(f"{self.partial} would have {size:,} bytes, a WAV less than {WAV_LIMIT:,}: cut the text")
        append(self.partial, wav[WAV_HEADER:])
        with open(self.partial, "r+b", buffering=0) as file:  # only now does the header count the new samples
            file.write(wav[:4] + little(size - 8) + wav[8 : WAV_HEADER - 4] + little(size - WAV_HEADER))
            os.fsync(file.fileno())
        self.size, self.seconds = size, self.seconds + len(samples) / sample_rate

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            refuse_existing(self.path, force=self.force)
            if self.suffix == ".wav":
                os.replace(self.partial, self.path)
                sync_folder(self.path.parent)
            else:
                write_file(self.path, converted(self.partial, self.suffix), force=self.force)
                self.partial.unlink()
        elif not self.seconds:
            self.partial.unlink(missing_ok=True)


class SoundStream:
    """Write a mono 16-bit WAV piece by piece into a pipe, as a context.

    The header comes first, when nobody knows the length: it says the most that it can, as other programs do.
    """

    partial = None

    def __init__(self, file: BinaryIO):
        self.file, self.seconds = file, 0.0

    def __enter__(self) -> "SoundStream":
        return self

    def write(self, samples: Float[np.ndarray, " n"], sample_rate: int) -> None:
        """Add samples, clipped to -1..1; the rate is the same at every call."""
        wav, unknown = sound_bytes(samples, sample_rate), little(WAV_LIMIT - 1)
        if not self.seconds:
            write_all(self.file, wav[:4] + unknown + wav[8 : WAV_HEADER - 4] + unknown)
        write_all(self.file, wav[WAV_HEADER:])
        self.file.flush()
        self.seconds += len(samples) / sample_rate

    def __exit__(self, *_: object) -> None: ...


def converted(path: Path, suffix: str) -> bytes:
    """Encode a 16-bit sound file in another of the `FORMATS`."""
    container, encoding = FORMATS[suffix]
    buffer = io.BytesIO()
    with (
        soundfile.SoundFile(path) as old,
        soundfile.SoundFile(buffer, "w", old.samplerate, 1, encoding, format=container) as new,
    ):
        for block in old.blocks(BLOCK, dtype="int16"):
            new.write(block)
    return buffer.getvalue()


def little(number: int) -> bytes:
    """Write a number as 32 bits, the lowest first."""
    return number.to_bytes(4, "little")


def player(samples: Float[np.ndarray, " n"], sample_rate: int):
    """Make an `IPython.display.Audio` that plays samples as loud as they are."""
    from IPython.display import Audio

    audio = Audio(data=sound_bytes(samples, sample_rate, ".flac"), normalize=False)
    audio.mimetype = "audio/flac"
    return audio


def mel_spectrogram(samples: Float[np.ndarray, " n"], sample_rate: int, mels: int = 80) -> Float[np.ndarray, "m t"]:
    """Measure the power in `mels` bands, evenly spaced as we hear pitch, 100 times a second, in dB of full scale.

    Windows of 1/24 s; silence is -120 dB. The bands are Slaney's, as librosa and Whisper have them.
    """
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    size = sample_rate // 24
    fft = 1 << (size - 1).bit_length()
    window = window_function(size, "hann")
    bands = mel_filter_bank(fft // 2 + 1, mels, 0, sample_rate / 2, sample_rate, norm="slaney", mel_scale="slaney")
    padded = np.pad(samples.astype(np.float64), (0, max(0, fft - len(samples))))
    power = spectrogram(padded, window, size, sample_rate // 100, fft_length=fft, power=2.0, mel_filters=bands)
    return np.maximum(10 * np.log10(power / np.sum(window) ** 2 + 1e-30), MEL_FLOOR_DB).astype(np.float32)
