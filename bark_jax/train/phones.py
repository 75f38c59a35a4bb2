"""Semantic units that name phones: which one is spoken, which third of it, and how high.

    FOLDER/phones/ID.json    {"text", "speaker", "phones", "ends_s", "pitch_hz"}  ──Inventory──▶  units (t,)    50 Hz

Clusters of what a network hears mix up phones that sound alike. Here each unit is one phone for certain; and since a
pitch is compared with those of the same speaker, a unit says nothing about who speaks. The teacher knows phones and
pitch before it makes a sound, so texts without a recording have units too. For other recordings, a forced aligner
and a pitch tracker find both.

Letters: p phones, t frames at 50 Hz.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bark_jax.files import write_file
from bark_jax.train.data import PerturbedCopy, Recordings, read_json, read_metadata
from bark_jax.units import RATE_HZ

FOLDER, PREPARED = "phones", "phones.jsonl"
SILENCE = ""  # as a phone
VOICELESS = frozenset("ptkcqfθsʃçxχhʔʈʂɸɕʦʧʨ")  # of the IPA's letters, and of the ligatures that dictionaries use
THIRDS, LEVELS = 3, 4  # of a phone; of the pitches of a speaker, each as frequent as the others


@dataclasses.dataclass(frozen=True)
class Phones:
    """Hold what is spoken when, in seconds from the beginning of a recording."""

    text: str
    speaker: str
    phones: list[str]
    ends_s: Float[np.ndarray, " p"]
    pitch_hz: Float[np.ndarray, " t"]  # in the middle of each fiftieth of a second; 0 where there is none

    def to_json(self) -> bytes:
        """Write as one line of JSON."""
        content = {
            "text": self.text,
            "speaker": self.speaker,
            "phones": self.phones,
            "ends_s": np.round(self.ends_s, 3).tolist(),
            "pitch_hz": np.round(self.pitch_hz).astype(int).tolist(),
        }
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"

    @property
    def places(self) -> Int[np.ndarray, " t"]:
        """The number of the phone in the middle of each fiftieth of a second."""
        middles = middles_s(len(self.pitch_hz))
        return np.minimum(np.searchsorted(self.ends_s, middles, side="right"), len(self.phones) - 1)

    @property
    def thirds(self) -> Int[np.ndarray, " t"]:
        """The third of its phone in which each fiftieth of a second is, 0 to 2."""
        places = self.places
        begins = np.concatenate([[0.0], self.ends_s[:-1]])[places]
        lengths = np.maximum(self.ends_s[places] - begins, 1e-6)
        return np.clip(THIRDS * (middles_s(len(places)) - begins) / lengths, 0, THIRDS - 1).astype(int)

    @property
    def steady_pitch_hz(self) -> Float[np.ndarray, " t"]:
        """The pitch, and where there is none, what lies between its neighbours; 0 if there is none at all."""
        (voiced,) = np.nonzero(self.pitch_hz)
        if not len(voiced):
            return self.pitch_hz
        return np.interp(np.arange(len(self.pitch_hz)), voiced, self.pitch_hz[voiced])

    def moved(self, speed: float, later_s: float) -> "Phones":
        """Say the same at another speed, and so much later; the pitch is still that of the speaker at the old speed."""
        count = int((len(self.pitch_hz) / RATE_HZ / speed + later_s) * RATE_HZ)
        before = (middles_s(count) - later_s) * speed * RATE_HZ
        pitch = self.pitch_hz[np.clip(before.astype(int), 0, len(self.pitch_hz) - 1)]
        return dataclasses.replace(self, ends_s=self.ends_s / speed + later_s, pitch_hz=pitch)


def middles_s(count: int) -> Float[np.ndarray, " t"]:
    """Return the middle of each fiftieth of a second."""
    return (np.arange(count) + 0.5) / RATE_HZ


def parse(content: Any, name: object) -> Phones:
    """Make phones of what was JSON.

    Raises:
        ValueError: something is missing, or phones do not end one after the other. The message begins with `name`.
    """
    try:
        ends, pitch = (np.asarray(content[key], np.float64) for key in ("ends_s", "pitch_hz"))
        found = Phones(content["text"], content["speaker"], content["phones"], ends, pitch)
        words = [found.text, found.speaker, *found.phones]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} holds no phones ({error!r}): make it anew") from error
    fits = isinstance(found.phones, list) and all(isinstance(word, str) for word in words)
    fits = fits and 0 < len(found.phones) == ends.size and ends.ndim == pitch.ndim == 1
    numbers = np.concatenate([np.ravel(pitch), np.diff(np.ravel(ends), prepend=0)])  # of 0 or more
    if not fits or not np.all((numbers >= 0) & np.isfinite(numbers)):
        raise ValueError(f"{name} holds no phones: each is a text, and ends (s) after the one before it")
    return found


def prepare(folder: Path, output: Path) -> None:
    """Put the phones of a folder of recordings, if it has any, into one file: those of its recordings first.

    Raises:
        ValueError: a file is damaged, or not all recordings have one.
    """
    paths = {path.stem: path for path in sorted((folder / FOLDER).glob("*.json"))}
    if not paths:
        return
    ids = [entry.name for entry in read_metadata(folder)]
    missing = [name for name in ids if name not in paths]
    if missing:
        raise ValueError(f"{folder / FOLDER} has no {missing[0]}.json: give phones to all recordings or to none")
    order = [*ids, *sorted(paths.keys() - set(ids))]
    lines = [parse(read_json(paths[name]), paths[name]).to_json() for name in order]
    write_file(output / PREPARED, b"".join(lines), force=True, parents=True)


def open_prepared(folder: Path) -> list[Phones]:
    """Read what `prepare` wrote; nothing where it wrote nothing. Raises ValueError for a damaged file."""
    path, found = folder / PREPARED, []
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else (), 1):
        try:
            found.append(parse(json.loads(line), "it"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} of {path} is damaged ({error}): remove {folder}") from error
    return found


def read_names(path: Path) -> list[str]:
    """Read the names of a checkpoint's units. Raises ValueError where they are not those of an `Inventory`."""
    names = read_json(path)
    are_texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if are_texts and Inventory(numbered(names), {}).names == names:
        return names
    raise ValueError(f"{path} does not name units by phones, thirds and levels of pitch: restore it, or remove it")


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Return the first unit of each phone, from the names of all units."""
    first: dict[str, int] = {}
    for unit, name in enumerate(names):
        first.setdefault(SILENCE if unit == 0 else name.split(" ")[0], unit)
    return first


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Number the units: one of silence, then of each phone its thirds, and of each third of a voiced one the levels."""

    first: dict[str, int]  # the first unit of each phone
    edges_hz: dict[str, Float[np.ndarray, " 3"]]  # of each speaker, between the levels of pitch

    @classmethod
    def of(cls, every: Sequence[Phones], most: int | None = None, names: Sequence[str] = ()) -> "Inventory":
        """Take stock of the phones that are spoken, and of how high each speaker speaks.

        Args:
            names: of the units of a checkpoint, which keep their numbers; none: number the units anew.

        Raises:
            ValueError: these are more units than `most`, or a phone has none of the `names`.
        """
        pitches = defaultdict(list)
        for each in every:
            pitches[each.speaker].append(each.pitch_hz[each.pitch_hz > 0])
        spoken = {phone: each.text for each in every for phone in each.phones if phone != SILENCE}
        if names:
            first, count = numbered(names), len(names)
        else:
            first, count = {SILENCE: 0}, 1
            for phone in sorted(spoken):
                first[phone] = count
                count += THIRDS * levels_of(phone)
        if unknown := sorted(spoken.keys() - first.keys()):
            raise ValueError(
                f"{spoken[unknown[0]]!r} has the phone {unknown[0]}, which no unit of the checkpoint names: leave that "
                f"text out; or remove {FOLDER} from the recordings, and the checkpoint's encoder hears units instead"
            )
        of_speakers = {speaker: np.concatenate(rows) for speaker, rows in pitches.items()}
        shares = np.arange(1, LEVELS) / LEVELS
        edges = {name: np.quantile(hz, shares) if len(hz) else 0 * shares for name, hz in of_speakers.items()}
        if most is not None and count > most:
            raise ValueError(
                f"{len(first)} phones need {count} units, and semantic_vocab_size of the recipe is {most}: raise it"
            )
        return cls(first, edges)

    @property
    def names(self) -> list[str]:
        """Name each unit: "silence", "s 3/3", "ə 1/3 at 4/4" of the speaker's pitch."""
        return ["silence"] + [
            f"{phone} {third}/{THIRDS}" + f" at {level}/{LEVELS}" * (levels_of(phone) > 1)
            for phone in self.first
            if phone != SILENCE
            for third in range(1, THIRDS + 1)
            for level in range(1, levels_of(phone) + 1)
        ]

    def names_all(self, phones: Phones) -> bool:
        """Tell whether these phones and their speaker are known."""
        return self.first.keys() >= set(phones.phones) and phones.speaker in self.edges_hz

    def units(self, phones: Phones) -> Int[np.ndarray, " t"]:
        """Name the unit of each fiftieth of a second."""
        places = phones.places
        first = np.array([self.first[phone] for phone in phones.phones])[places]
        levels = np.array([levels_of(phone) for phone in phones.phones])[places]
        level = np.searchsorted(self.edges_hz[phones.speaker], phones.steady_pitch_hz)
        within = phones.thirds * levels + np.minimum(level, levels - 1)
        return np.where(first > 0, first + within, 0).astype(np.int32)


def levels_of(phone: str) -> int:
    """Return how many levels of pitch a phone is heard at."""
    return 1 if phone in VOICELESS else LEVELS


def name_units(
    inventory: Inventory, every: Sequence[Phones], sounds: Recordings | PerturbedCopy
) -> list[Int[np.ndarray, " t"]]:
    """Name the units of all recordings, or of a perturbed copy of them.

    Args:
        every: the phones of the recordings, and of any other texts after them.
    """
    spoken = list(every[: len(sounds.speakers)])
    if isinstance(sounds, PerturbedCopy):
        rate = sounds.recordings.sample_rate
        for i, (speed, later, _) in enumerate(map(sounds.changes, range(len(spoken)))):
            spoken[i] = spoken[i].moved(speed / 100, later / rate)
    return [inventory.units(each) for each in spoken]
