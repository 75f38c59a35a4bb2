"""Recordings: a folder in LJSpeech's layout, prepared once into one array of samples.

    FOLDER/metadata.csv    id|text|normalised text        ──prepare──▶  PREPARED/samples.npy   int16 (n,)
    FOLDER/wavs/id.wav                                                  PREPARED/recordings.json

`samples.npy` holds the recordings end to end and is mapped, never read as a whole.
"""

import csv
import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16
from numpy.lib.format import open_memmap
from tqdm import tqdm

from bark_jax.files import new_file
from bark_jax.sound import read_sound, resample

METADATA, SAMPLES, RECORDINGS = "metadata.csv", "samples.npy", "recordings.json"
FULL_SCALE = 32_768


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Hold prepared recordings: texts, and samples in -1..1 on demand."""

    folder: Path
    sample_rate: int
    texts: list[str]
    lengths: np.ndarray  # samples of each

    @classmethod
    def open(cls, folder: Path) -> "Recordings":
        """Open what `prepare` wrote. Raises ValueError if the folder is no such."""
        path = folder / RECORDINGS
        if not path.is_file():
            raise ValueError(f"{folder} has no {RECORDINGS}: it holds no prepared recordings")
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(folder, content["sample_rate"], content["texts"], np.array(content["lengths"]))

    def __len__(self) -> int:
        return len(self.texts)

    @functools.cached_property
    def samples(self) -> Int16[np.ndarray, " n"]:
        """All samples end to end, mapped."""
        return np.load(self.folder / SAMPLES, mmap_mode="r")

    @functools.cached_property
    def ends(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def __getitem__(self, i: int) -> Float[np.ndarray, " n"]:
        """Return the samples of one recording."""
        part = self.samples[self.ends[i] - self.lengths[i] : self.ends[i]]
        return part.astype(np.float32) / FULL_SCALE

    def crops(self, rng: np.random.Generator, count: int, length: int) -> Float[np.ndarray, "b n"]:
        """Cut stretches of so many samples out of recordings at random, each sample as likely as any other.

        Raises:
            ValueError: all recordings together are no longer than that.
        """
        if len(self.samples) <= length:
            seconds, wanted = (n / self.sample_rate for n in (len(self.samples), length))
            raise ValueError(f"the recordings last {seconds:.1f} s in all, one crop is {wanted:.1f} s: add recordings")
        start = rng.integers(0, len(self.samples) - length, count)
        return np.stack([self.samples[i : i + length] for i in start]).astype(np.float32) / FULL_SCALE


def read_metadata(folder: Path) -> list[tuple[str, str]]:
    """Read ids and texts of a folder in LJSpeech's layout; the normalised text, where there is one.

    Raises:
        ValueError: there is no such file, or a line has no text.
    """
    path = folder / METADATA
    if not path.is_file():
        raise ValueError(f"{folder} has no {METADATA}: each line of it is `id|text`, and wavs/id.wav is the recording")
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    wrong = [number for number, line in enumerate(lines, 1) if not "".join(line[1:]).strip()]
    if wrong or not lines:
        raise ValueError(f"{path} has no `id|text` in line {wrong[0] if wrong else 1}")
    return [(line[0], next(text for text in reversed(line) if text.strip())) for line in lines]


def prepare(folder: Path, output: Path, sample_rate: int) -> Recordings:
    """Put the recordings of a folder end to end, mono and at one rate in Hz.

    Raises:
        ValueError: the folder is not of LJSpeech's layout, or a recording is missing or no sound.
    """
    entries = read_metadata(folder)
    output.mkdir(parents=True, exist_ok=True)
    parts = [load(folder / "wavs" / f"{name}.wav", sample_rate) for name, _ in tqdm(entries, "prepare", unit="file")]
    lengths = [len(part) for part in parts]
    whole = open_memmap(output / SAMPLES, mode="w+", dtype=np.int16, shape=(sum(lengths),))
    np.concatenate(parts, out=whole)
    whole.flush()
    content = {"sample_rate": sample_rate, "texts": [text for _, text in entries], "lengths": lengths}
    with new_file(output / RECORDINGS, force=True) as file:
        file.write(json.dumps(content).encode())
    return Recordings.open(output)


def load(path: Path, sample_rate: int) -> Int16[np.ndarray, " n"]:
    """Read one recording, mix it down to one channel, and resample it."""
    samples, rate = read_sound(path)
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    if rate != sample_rate:
        mono = resample(mono, rate, sample_rate)
    return np.clip(np.round(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
