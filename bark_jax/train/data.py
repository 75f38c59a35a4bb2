"""Recordings: a folder in LJSpeech's layout, prepared once into one array of samples.

    FOLDER/metadata.csv    id|text|normalised text|speaker    ──prepare──▶  PREPARED/samples.npy   int16 (n,)
    FOLDER/wavs/id.wav                                                      PREPARED/recordings.json

`samples.npy` holds the recordings end to end and is mapped, never read as a whole.
"""

import csv
import dataclasses
import functools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16
from numpy.lib import format as npy
from tqdm import tqdm

from bark_jax.files import new_file, write_file
from bark_jax.limits import RECORDING_SECONDS
from bark_jax.sound import read_sound, resample

METADATA, SAMPLES, RECORDINGS = "metadata.csv", "samples.npy", "recordings.json"
FULL_SCALE = 32_768
SPEEDS_PERCENT, LEVELS_DB, LATEST_S = (92, 109), (-5.0, 3.0), 1 / 75  # of perturbed copies


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Hold prepared recordings: texts, and samples in -1..1 on demand."""

    folder: Path
    sample_rate: int
    texts: list[str]
    speakers: list[str]  # of each; one name for all where nobody is named
    lengths: np.ndarray  # samples of each

    @classmethod
    def open(cls, folder: Path) -> "Recordings":
        """Open what `prepare` wrote. Raises ValueError if the folder has no such files, or damaged ones."""
        path = folder / RECORDINGS
        if not path.is_file():
            raise ValueError(f"{folder} has no {RECORDINGS}: it holds no prepared recordings")
        content = read_json(path)
        try:
            texts, lengths = content["texts"], np.array(content["lengths"], np.int64)
            found = cls(folder, content["sample_rate"], texts, content.get("speakers", [""] * len(texts)), lengths)
            fits = len(lengths) == len(texts) == len(found.speakers) and lengths.sum() == len(found.samples)
        except (KeyError, TypeError, ValueError, EOFError) as error:
            raise ValueError(f"{path} or {SAMPLES} is damaged ({error!r}): remove {folder}") from error
        if not fits:
            raise ValueError(f"{path} and {SAMPLES} do not belong together: remove {folder}")
        return found

    def __len__(self) -> int:
        return len(self.texts)

    def are_of(self, entries: "list[Entry]") -> bool:
        """Tell whether these are the recordings that `read_metadata` found."""
        found = [(entry.text, entry.speaker) for entry in entries]
        return found == list(zip(self.texts, self.speakers, strict=True))

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


@dataclasses.dataclass(frozen=True)
class PerturbedCopy:
    """Hold recordings as others might have made them: faster or slower, softer or louder, a part of a frame later.

    A codec gives each copy other codes. So a model learns how codes follow from units, and no recording by heart.
    Pitch and formants move with the speed. It is one for all recordings of a speaker, who is another speaker then.
    """

    recordings: Recordings
    number: int

    @property
    def speakers(self) -> list[str]:
        return [f"{speaker}, copy {self.number}" for speaker in self.recordings.speakers]

    def changes(self, i: int) -> tuple[int, int, float]:
        """Return the speed of one recording in percent, the samples before it, and its level; each time the same."""
        speaker, rate = self.recordings.speakers[i], self.recordings.sample_rate
        speed = np.random.default_rng((self.number, zlib.crc32(speaker.encode()))).integers(
            *SPEEDS_PERCENT, endpoint=True
        )
        rng = np.random.default_rng((self.number, i))
        return int(speed), int(rng.integers(round(LATEST_S * rate))), 10 ** (rng.uniform(*LEVELS_DB) / 20)

    def __getitem__(self, i: int) -> Float[np.ndarray, " n"]:
        """Return the samples of one recording."""
        speed, later, level = self.changes(i)
        samples = level * resample(self.recordings[i], speed, 100)
        return np.pad(np.clip(samples, -1, 1), (later, 0)).astype(np.float32)


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises ValueError, with its name, if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is not JSON ({error}): restore it, or remove it") from error


class Entry(NamedTuple):
    """Hold one line of `metadata.csv`."""

    name: str  # of the recording, wavs/NAME.wav
    text: str  # the normalised text, where there is one
    speaker: str = ""


def read_metadata(folder: Path) -> list[Entry]:
    """Read the `metadata.csv` of a folder in LJSpeech's layout, whose fourth column may name the speaker.

    Raises:
        ValueError: there is no such file, a line has no text, or a name that is no file of `wavs`.
    """
    path = folder / METADATA
    if not path.is_file():
        raise ValueError(f"{folder} has no {METADATA}: each line of it is `id|text`, and wavs/id.wav is the recording")
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    wrong = [number for number, line in enumerate(lines, 1) if not "".join(line[1:3]).strip()]
    if wrong or not lines:
        raise ValueError(f"{path} has no `id|text` in line {wrong[0] if wrong else 1}")
    entries = [Entry(line[0], next(text for text in reversed(line[1:3]) if text.strip()), *line[3:4]) for line in lines]
    for number, entry in enumerate(entries, 1):
        if Path(entry.name).name != entry.name:
            raise ValueError(f"{path} names {entry.name!r} in line {number}: an id is the name of a file in wavs/")
    return entries


def prepare(folder: Path, output: Path, sample_rate: int) -> Recordings:
    """Put the recordings of a folder end to end, mono and at one rate in Hz.

    Raises:
        ValueError: the folder is not of LJSpeech's layout, or a recording is missing or no sound.
    """
    entries = read_metadata(folder)
    output.mkdir(parents=True, exist_ok=True)
    parts = [load(folder / "wavs" / f"{each.name}.wav", sample_rate) for each in tqdm(entries, "prepare", unit="file")]
    lengths = [len(part) for part in parts]
    write_npy(output / SAMPLES, parts, np.int16)
    content = {
        "sample_rate": sample_rate,
        "texts": [each.text for each in entries],
        "speakers": [each.speaker for each in entries],
        "lengths": lengths,
    }
    write_file(output / RECORDINGS, json.dumps(content).encode(), force=True)
    return Recordings.open(output)


def write_npy(path: Path, parts: Sequence[np.ndarray], dtype: type[np.generic]) -> None:
    """Write arrays (..., n_i) end to end, (..., n), as one .npy file, which is never in memory as a whole."""
    *rows, _ = parts[0].shape
    shape = (*rows, sum(part.shape[-1] for part in parts))
    with new_file(path, force=True) as file:
        npy.write_array_header_1_0(file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
        for row in np.ndindex(*rows):
            for part in parts:
                file.write(np.ascontiguousarray(part[row], dtype).data)


def load(path: Path, sample_rate: int) -> Int16[np.ndarray, " n"]:
    """Read one recording, mix it down to one channel, and resample it."""
    samples, rate = read_sound(path, RECORDING_SECONDS)
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    if rate != sample_rate:
        mono = resample(mono, rate, sample_rate)
    return np.clip(np.round(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
