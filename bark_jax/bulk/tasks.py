"""The tasks of a job: lines that can be spoken, each with all that its sound depends on; and their batches.

Batches follow from the lines and the size of a batch alone, and not from what is done: whatever is made later comes
from the same batch, of the same size, as it would have at once.
"""

import dataclasses
import hashlib
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile

from bark_jax import semantic
from bark_jax.bulk.lines import Line
from bark_jax.bulk.manifest import Record, to_json
from bark_jax.console import one_line
from bark_jax.inputs import check_seed
from bark_jax.pipeline import Bark
from bark_jax.text import encode
from bark_jax.voices import Voice

TOO_LONG = "cut it into several lines"


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Hold a line that can be spoken."""

    number: int
    id: str
    voice: Voice | None
    length: int  # ids of the text: before it is spoken, the best guess at the length of the speech
    identity: Record  # all that the sound depends on: text, voice, seed, settings

    @property
    def file(self) -> str:
        return f"{self.id}.wav"

    def is_recorded(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record of the manifest is of this text, voice, seed and settings."""
        return all(record.get(name) == value for name, value in self.identity.items())

    def is_done(self, record: Mapping[str, Any], folder: Path) -> bool:
        """Tell whether the WAV of a record is there, with all of its samples."""
        try:
            return self.is_recorded(record) and soundfile.info(folder / self.file).frames == record.get("samples")
        except soundfile.LibsndfileError:
            return False


def check_settings(bark: Bark, sampling: Mapping[str, Any]) -> tuple[Record, str]:
    """Check the sampling options; return what the sound of every line depends on, and its fingerprint."""
    bark.generate([], **sampling)
    semantic.token_limit(sampling["max_seconds"], bark.tokens)
    settings: Record = {"checkpoint": bark.name, "dtype": str(bark.dtype)}
    for name, value in sampling.items():
        if value is None and name.endswith("_temperature"):
            value = getattr(bark.tokens, name)
        settings[name] = value if value is None else float(value)
    on = {name: value for name, value in settings.items() if value is not None}
    return settings, sha256(to_json(on))  # so that an option that is new, and off, changes no fingerprint


def check_lines(
    bark: Bark, lines: Iterable[Any], voice: Any, seed: Any, fingerprint: str
) -> tuple[list[Task], list[Record]]:
    """Sort lines into tasks and records of errors, both in the order of the lines."""
    voices: dict[str, Voice] = {}

    def named(source: Any) -> tuple[str | None, Voice | None]:
        if source is None:
            return None, None
        if not isinstance(source, str | Path):
            return "arrays", bark.voice(source)
        if str(source) not in voices:
            voices[str(source)] = bark.voice(source)
        return str(source), voices[str(source)]

    usual_voice, usual_seed = named(voice), check_seed(seed)
    tasks, errors, taken = [], [], {}
    for number, entry in enumerate(lines, 1):
        line = entry if isinstance(entry, Line) else Line.of(number, entry)
        try:
            if line.error is not None:
                raise ValueError(line.error)
            first = taken.setdefault(line.id.lower(), line.number)  # some file systems take A for a
            if first != line.number:
                raise ValueError(f"id {line.id!r} is taken by line {first}: give each line its own")
            length = len(encode(line.text, bark.tokenizer, bark.tokens, too_long=TOO_LONG))
            name, own_voice = usual_voice if line.voice is None else named(line.voice)
            own_seed = usual_seed if line.seed is None else check_seed(line.seed)
        except ValueError as error:
            errors.append({"line": line.number, "text": line.text, "error": one_line(error)})
            continue
        identity = {"text": line.text, "voice": name, "voice_sha256": voice_sha256(own_voice)}
        identity |= {"seed": own_seed, "settings": fingerprint}
        tasks.append(Task(line.number, line.id, own_voice, length, identity))
    return tasks, errors


def make_batches(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """Cut tasks into batches of `size` rows that end at about the same time, longest first; the last may be short."""
    by_length = sorted(tasks, key=operator.attrgetter("length"), reverse=True)
    return [by_length[begin : begin + size] for begin in range(0, len(by_length), size or 1)]


def missing_batches(batches: list[list[Task]], done: set[str], size: int) -> list[list[Task]]:
    """Keep batches of which nothing is done as they are; join what is missing of the others."""
    missing = [[task for task in batch if task.id not in done] for batch in batches]
    touched = [len(left) < len(batch) for left, batch in zip(missing, batches, strict=True)]
    rest = [task for left in itertools.compress(missing, touched) for task in left]
    return [left for left, again in zip(missing, touched, strict=True) if not again] + make_batches(rest, size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def voice_sha256(voice: Voice | None) -> str | None:
    return None if voice is None else sha256(b"".join(array.tobytes() for array in voice.to_dict().values()))
