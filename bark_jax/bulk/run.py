"""Bulk jobs: many lines to one WAV each, in batches, so that a job that was killed goes on where it was.

    lines ──check──▶ tasks ──plan──▶ batches of like length ──generate──▶ out/ID.wav ──▶ out/manifest.jsonl

In:  a `Bark`; lines, of a text file, of JSON Lines or from Python; how to draw.
Out: a folder of WAV files, a manifest with a record for each line, and `job.json`, the settings of all.

A record is written when the WAV is in its place. So a line is done if its last record has its text, voice,
seed and settings, and its WAV has as many samples as the record says; whatever else a killed process left
is made again. Batches, and the share of each of several processes, follow from the lines alone and not
from what is done: what is made later comes from the same batch, of the same size, as it would have at once.

This file knows nothing of stages or devices: a batch goes through `Bark.generate`.
"""

import codecs
import dataclasses
import hashlib
import itertools
import json
import operator
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import jax
import soundfile
from tqdm import tqdm

from bark_jax import semantic
from bark_jax.files import new_file, refuse_existing, remove_leftovers
from bark_jax.inputs import check_seed
from bark_jax.pipeline import Bark, Speech
from bark_jax.text import encode
from bark_jax.voices import Voice, load_voice

BATCH_SIZE = 32
MANIFEST, MANIFESTS = "manifest.jsonl", "manifest*.jsonl"  # the whole one, and those of several processes
JOB = "job.json"
KEYS = ("text", "voice", "seed", "id")  # of a line that is an object
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # how XLA says so on every device


@dataclasses.dataclass(frozen=True)
class Line:
    """Hold one line of a job, not checked yet but for its form; what is wrong with that is in `error`."""

    number: int
    text: Any = None
    voice: Any = None
    seed: Any = None
    id: str = ""
    error: str | None = None

    @classmethod
    def of(cls, number: int, entry: Any) -> "Line":
        """Make a line of a text, or of a mapping with `text` and, if wanted, `voice`, `seed` and `id`.

        The id names the WAV; without one that is the number, as 000001.
        """
        if isinstance(entry, str):
            entry = {"text": entry}
        if not isinstance(entry, Mapping):
            return cls(number, error=f"it is a {type(entry).__name__}, not an object with a text")
        line = cls(number, entry.get("text"), entry.get("voice"), entry.get("seed"))
        unknown = sorted(str(key) for key in entry if key not in KEYS)
        if unknown:
            return dataclasses.replace(line, error=f"unknown key {', '.join(unknown)}: a line has {', '.join(KEYS)}")
        if not isinstance(line.text, str):
            return dataclasses.replace(line, error=f"text is {line.text!r}, it must be a string")
        name = entry.get("id")
        if name is None:
            return dataclasses.replace(line, id=f"{number:06}")
        if not (isinstance(name, str) and SAFE_NAME.fullmatch(name)):
            return dataclasses.replace(
                line,
                error=f"id is {name!r}, it must be a string of at most 200 letters A-Z and a-z, digits, "
                "'_', '-' and '.', and begin with none of the last two",
            )
        return dataclasses.replace(line, id=name)


def read_lines(path: str | os.PathLike) -> list[Line]:
    """Read a UTF-8 file: a text on each line, or, if its name ends in .jsonl or .json, an object as in `Line.of`.

    Blank lines are left out, the others keep their numbers, from 1 on. A line that cannot be read says so
    in its `error`.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it has nothing but blank lines.
    """
    is_json = Path(path).suffix.lower() in (".jsonl", ".json")
    content = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    lines = []
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            text = raw.decode()
            lines.append(Line.of(number, json.loads(text) if is_json else text))
        except UnicodeDecodeError as error:
            lines.append(Line(number, error=f"it is not UTF-8 text: {error}"))
        except (ValueError, RecursionError) as error:
            why = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            lines.append(Line(number, error=f"it is not JSON: {why}"))
    if not lines:
        raise ValueError(f"{os.fspath(path)} has no text: write one on each line")
    return lines


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Hold a line that can be spoken."""

    number: int
    id: str
    voice: Voice | None
    length: int  # ids of the text: the best guess, before it is spoken, at how long the speech will be
    identity: dict[str, Any]  # all that the sound depends on: text, voice, seed, settings

    @property
    def file(self) -> str:
        return f"{self.id}.wav"

    def is_recorded(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record of the manifest is of this text, voice, seed and settings."""
        return all(record.get(name) == value for name, value in self.identity.items())

    def is_done(self, record: Mapping[str, Any], folder: Path) -> bool:
        """Tell whether the WAV of such a record is there, with all of its samples."""
        try:
            return self.is_recorded(record) and soundfile.info(folder / self.file).frames == record["samples"]
        except soundfile.LibsndfileError:
            return False


@dataclasses.dataclass(frozen=True)
class Summary:
    """Hold how a job, or a share of one, ended."""

    made: int  # lines
    kept: int  # lines that were done before
    failed: dict[int, str]  # number of a bad line -> what is wrong with it; all in the first share
    sound_seconds: float  # of what was made
    seconds: float

    def __str__(self) -> str:
        lines = self.made + self.kept + len(self.failed)
        return (
            f"of {lines} lines {self.made} made, {self.kept} done before, {len(self.failed)} failed; "
            f"{self.sound_seconds:.1f} s of sound in {self.seconds:.1f} s"
        )


def run(
    bark: Bark,
    lines: Iterable[Line | str | Mapping[str, Any]],
    folder: str | os.PathLike,
    *,
    voice: Any = None,
    seed: int = 0,
    semantic_temperature: float | None = None,
    coarse_temperature: float | None = None,
    fine_temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_eos_p: float | None = 0.2,
    max_seconds: float | None = None,
    batch_size: int = BATCH_SIZE,
    share: tuple[int, int] = (0, 1),
    force: bool = False,
    progress: bool = True,
) -> Summary:
    """Speak every line into a WAV of its own; do only what the folder lacks.

    Bad lines are reported on standard error and have a record with `error` in the manifest; the rest goes on.
    Ctrl-C and errors lose the batch at hand, and no file is half-written: the same call goes on.

    Args:
        lines: of `read_lines`; or texts and mappings as in `Line.of`, numbered from 1 on.
        folder: where files go; made if it is missing.
        voice, seed: of lines that have none of their own.
        semantic_temperature, coarse_temperature, fine_temperature, top_k, top_p, min_eos_p, max_seconds: of all
            lines, as in `Bark.generate`.
        batch_size: rows at once. All batches have this size, or that of the job if it has fewer lines: rows
            that are wanting repeat another, so that one program serves all.
        share: (index, count) for process `index` of `count` on one job: each takes every count-th batch and
            writes a manifest of its own. The one that finds all lines done merges them.
        force: make lines anew that were made with other settings, and replace WAVs of other origin.
        progress: show a bar on standard error.

    Raises:
        ValueError: something is out of its range, `voice` is unusable, the folder holds these lines made with
            other settings, or a batch does not fit into the device's memory.
        FileExistsError: the folder holds WAVs under the names of these lines that no job made.
        OSError: a file cannot be written.
    """
    began, folder = time.perf_counter(), Path(folder)
    index, count = share
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}, it must be a whole number from 1 on")
    if not 0 <= index < count:
        raise ValueError(f"share is {share!r}, it must be (index, count) with an index from 0 to count - 1")
    drawing = {
        "semantic_temperature": semantic_temperature,
        "coarse_temperature": coarse_temperature,
        "fine_temperature": fine_temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_eos_p": min_eos_p,
        "max_seconds": max_seconds,
    }
    settings = _check_settings(bark, drawing)
    fingerprint = _sha256(_json(settings))
    tasks, errors = _check_lines(bark, lines, voice, seed, fingerprint)
    size = min(batch_size, len(tasks))
    planned = plan(tasks, size)[index::count]
    own = [task for batch in planned for task in batch]

    manifest = folder / (MANIFEST if count == 1 else f"manifest.{index}-of-{count}.jsonl")
    records = read_records(folder)
    if not force:
        _refuse_other_work(folder, tasks, own, records, settings)
    remove_leftovers(folder, {task.file for task in own} | ({MANIFEST, JOB} if index == 0 else set()))
    if index == 0:
        with new_file(folder / JOB, force=True) as file:
            file.write(json.dumps({"fingerprint": fingerprint, "settings": settings}, indent=2).encode() + b"\n")
        for error in errors:
            _say(f"line {error['line']}: {error['error']}")
    done = {task.id for task in own if task.is_done(records.get(task.id, {}), folder)}
    changed = [task for task in own if task.id in records and not task.is_recorded(records[task.id])]
    if changed:  # their records say so before their WAVs change: a line that changes back is then made again
        first = min(task.number for task in changed)
        _say(f"made again, for they have changed: {len(changed)} of {len(own)} lines, the first is line {first}")
        _append(manifest, [{"id": task.id, "line": task.number, "finished": time.time()} for task in changed])
    made = _make(bark, folder, manifest, planned, done, size, drawing, progress=progress)
    _merge(folder, tasks, errors)
    failed = {error["line"]: error["error"] for error in errors} if index == 0 else {}
    sound = sum(record["seconds"] for record in made)
    return Summary(len(made), len(done), failed, sound, time.perf_counter() - began)


# ---------------------------------------------------------------------------------------------
# Before: what is to do
# ---------------------------------------------------------------------------------------------


def _check_settings(bark: Bark, drawing: dict[str, Any]) -> dict[str, Any]:
    """Check how to draw; return all that the sound of every line depends on."""
    bark.generate([], **drawing)
    semantic.token_limit(drawing["max_seconds"], bark.tokens)
    settings: dict[str, Any] = {"checkpoint": bark.name, "dtype": str(bark.dtype)}
    for name, value in drawing.items():
        if value is None and name.endswith("_temperature"):
            value = getattr(bark.tokens, name)
        settings[name] = value if value is None else float(value)
    return settings


def _check_lines(
    bark: Bark, lines: Iterable[Any], voice: Any, seed: Any, fingerprint: str
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Sort lines into tasks and records of errors, both in the order of the lines."""
    voices: dict[str, Voice] = {}

    def named(source: Any) -> tuple[str | None, Voice | None]:
        if source is None:
            return None, None
        if not isinstance(source, str | Path):
            return "arrays", load_voice(source, bark.tokens)
        if str(source) not in voices:
            voices[str(source)] = load_voice(source, bark.tokens, bark.voices)
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
            length = len(encode(line.text, bark.tokenizer, bark.tokens))
            name, own_voice = usual_voice if line.voice is None else named(line.voice)
            own_seed = usual_seed if line.seed is None else check_seed(line.seed)
        except ValueError as error:
            errors.append({"line": line.number, "text": line.text, "error": str(error)})
            continue
        identity = {"text": line.text, "voice": name, "voice_sha256": _voice_sha256(own_voice)}
        identity |= {"seed": own_seed, "settings": fingerprint}
        tasks.append(Task(line.number, line.id, own_voice, length, identity))
    return tasks, errors


def plan(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """Cut tasks into batches of `size` rows that end at about the same time, longest first; the last may be short."""
    by_length = sorted(tasks, key=operator.attrgetter("length"), reverse=True)
    return [by_length[begin : begin + size] for begin in range(0, len(by_length), size or 1)]


def _missing(planned: list[list[Task]], done: set[str], size: int) -> list[list[Task]]:
    """Keep batches of which nothing is done as they are; join what is missing of the others."""
    missing = [[task for task in batch if task.id not in done] for batch in planned]
    touched = [len(left) < len(batch) for left, batch in zip(missing, planned, strict=True)]
    rest = [task for left in itertools.compress(missing, touched) for task in left]
    return [left for left, again in zip(missing, touched, strict=True) if not again] + plan(rest, size)


def _refuse_other_work(
    folder: Path,
    tasks: list[Task],
    own: list[Task],
    records: dict[str, dict[str, Any]],
    settings: dict[str, Any],
) -> None:
    """Raise for what would be lost: these lines with other settings, and WAVs that no job made."""
    present = [(records[task.id], task.identity["settings"]) for task in tasks if task.id in records]
    others = sum(record.get("settings", wanted) != wanted for record, wanted in present)
    if others:
        try:
            before = json.loads((folder / JOB).read_bytes())["settings"]
        except (OSError, ValueError, KeyError):
            before = {}
        changes = [
            f"{name} {before[name]}, now {new}" for name, new in settings.items() if before.get(name, new) != new
        ]
        raise ValueError(
            f"{folder} holds {others} of these lines made with other settings ({'; '.join(changes)}): keep to those, "
            "choose another folder, or make the lines anew with --force (force=True)"
        )
    if not (folder / JOB).exists():
        for task in own:
            refuse_existing(folder / task.file, force=task.id in records)


# ---------------------------------------------------------------------------------------------
# The work
# ---------------------------------------------------------------------------------------------


def _make(
    bark: Bark,
    folder: Path,
    manifest: Path,
    planned: list[list[Task]],
    done: set[str],
    size: int,
    drawing: dict[str, Any],
    *,
    progress: bool,
) -> list[dict[str, Any]]:
    """Speak and write what is missing, batch by batch; return the new records."""
    own = [task for batch in planned for task in batch]
    made: list[dict[str, Any]] = []
    began = time.perf_counter()
    with tqdm(
        total=sum(task.length for task in own),
        initial=sum(task.length for task in own if task.id in done),
        bar_format="{desc} {percentage:3.0f}%|{bar:30}| [{elapsed}<{remaining}{postfix}]",
        disable=not progress,
    ) as bar:

        def show(*at: Any) -> None:
            """Show lines, seconds of sound made in a second, and where the batch at hand is."""
            speed = sum(record["seconds"] for record in made) / (time.perf_counter() - began)
            bar.set_description_str(f"{len(done) + len(made)}/{len(own)} lines", refresh=False)
            bar.set_postfix_str(f"{speed:.2f} s of sound/s" + (", {} {}/{}".format(*at) if at else ""))

        show()
        try:
            for batch in _missing(planned, done, size):
                speeches = _speak(bark, batch, size, show, drawing)
                _save(folder, manifest, batch, speeches, size, made)
                bar.update(sum(task.length for task in batch))
                show()
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"{len(done) + len(made)} of {len(own)} lines are done: the same command goes on")
            raise
    return made


def _speak(
    bark: Bark, batch: list[Task], size: int, report: Callable[[str, int, int], None], drawing: dict[str, Any]
) -> list[Speech]:
    """Speak one batch, filled up to `size` rows with its last."""
    rows = batch + batch[-1:] * (size - len(batch))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the model ended")  # said below, with the number of the line
            speeches = bark.generate(
                [task.identity["text"] for task in rows],
                voice=[task.voice for task in rows],
                seed=[task.identity["seed"] for task in rows],
                progress=report,
                **drawing,
            )
    except jax.errors.JaxRuntimeError as error:
        if OUT_OF_MEMORY not in str(error):
            raise
        raise ValueError(f"a batch of {size} rows does not fit into the memory: take a smaller batch size") from error
    return speeches[: len(batch)]


def _save(
    folder: Path, manifest: Path, batch: list[Task], speeches: list[Speech], size: int, made: list[dict[str, Any]]
) -> None:
    """Write the WAVs of a batch, then its records; if it is interrupted, those of the WAVs that are written."""
    before = len(made)
    try:
        for task, speech in zip(batch, speeches, strict=True):
            speech.save(folder / task.file, force=True)
            made.append(
                {"id": task.id, "line": task.number}
                | task.identity
                | {
                    "file": task.file,
                    "samples": len(speech.samples),
                    "seconds": speech.seconds,
                    "semantic_tokens": len(speech.semantic),
                    "frames": speech.fine.shape[1],
                    "batch": {"lines": len(batch), "rows": size, "seconds": speech.timings},
                    "finished": time.time(),
                }
            )
            if not len(speech.samples):
                _say(f"line {task.number}: no sound, the model ended it before its first token")
    finally:
        _append(manifest, made[before:])


# ---------------------------------------------------------------------------------------------
# The manifest
# ---------------------------------------------------------------------------------------------


def read_records(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Read the last record of every id from all manifests of a folder; torn lines, of a killed process, are skipped."""
    records = []
    for path in sorted(Path(folder).glob(MANIFESTS)):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:  # another process has just merged it
            continue
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and {"id", "finished"} <= record.keys():
                records.append(record)
    return {record["id"]: record for record in sorted(records, key=operator.itemgetter("finished"))}


def _append(manifest: Path, records: list[dict[str, Any]]) -> None:
    """Add records; when this returns they are on the disk."""
    if not records:
        return
    with open(manifest, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a killed process left a torn line
                file.write(b"\n")
        _write(file, records)


def _merge(folder: Path, tasks: list[Task], errors: list[dict[str, Any]]) -> None:
    """Once all lines have their records, write these as one manifest, in the order of the lines.

    Behind them stay the records of lines that the job no longer has: their WAVs stay as well.
    """
    records = read_records(folder)
    if not all(task.is_recorded(records.get(task.id, {})) for task in tasks):
        return
    ordered = errors + [records.pop(task.id) | {"line": task.number} for task in tasks]
    with new_file(folder / MANIFEST, force=True) as file:
        _write(file, sorted(ordered, key=operator.itemgetter("line")) + list(records.values()))
    for part in folder.glob(MANIFESTS):
        if part.name != MANIFEST:
            part.unlink(missing_ok=True)


def _write(file: BinaryIO, records: list[dict[str, Any]]) -> None:
    for record in records:
        file.write(_json(record) + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _json(value: dict[str, Any]) -> bytes:
    """Write JSON on one line; half a surrogate pair, which no UTF-8 has, as its escape."""
    return json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _voice_sha256(voice: Voice | None) -> str | None:
    return None if voice is None else _sha256(b"".join(array.tobytes() for array in voice.to_dict().values()))


def _say(message: str) -> None:
    tqdm.write(f"bark-jax: {message}", file=sys.stderr)
