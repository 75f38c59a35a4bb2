"""Bulk jobs: many lines to one WAV each, in batches. A job that was killed is resumed by the same call.

    lines ──check──▶ tasks ──make_batches──▶ batches of like length ──generate──▶ out/ID.wav ──▶ out/manifest.jsonl

In:  a `Bark`; lines of a text file, of JSON Lines or from Python; sampling options.
Out: a folder of WAV files, a manifest with a record for each line, and `job.json`, the settings of all.

A record is written when the WAV is in its place. A line is done if its last record has its text, voice, seed
and settings, and its WAV has as many samples as the record says; whatever else a killed process left is made
again.

Nothing here knows of stages or devices: a batch goes through `Bark.generate`.
"""

import contextlib
import dataclasses
import operator
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

import jax
from tqdm import tqdm

from bark_jax import options
from bark_jax.bulk.lines import Line, read_lines
from bark_jax.bulk.locks import job_lock
from bark_jax.bulk.manifest import (
    JOB,
    MANIFEST,
    Record,
    append_records,
    order_records,
    read_records,
    read_settings,
    write_settings,
)
from bark_jax.bulk.tasks import Task, check_lines, check_settings, make_batches, missing_batches
from bark_jax.console import Report, one_line, say
from bark_jax.files import refuse_existing, remove_leftovers, user_path, write_file
from bark_jax.inputs import check_count
from bark_jax.options import SamplingOptions
from bark_jax.pipeline import Bark, Speech
from bark_jax.sound import sound_bytes

__all__ = ["BATCH_SIZE", "Incomplete", "Line", "Summary", "read_lines", "read_records", "run"]

BATCH_SIZE = 32
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # how XLA says so on every device


class Incomplete(OSError):
    """A job has ended and does not have all of its files."""


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
    batch_size: int = BATCH_SIZE,
    share: tuple[int, int] = (0, 1),
    force: bool = False,
    progress: bool = True,
    **sampling: Unpack[SamplingOptions],
) -> Summary:
    """Speak every line into a WAV of its own; make only what the folder lacks.

    Bad lines are reported on standard error and have a record with `error` in the manifest; the rest goes on.
    Ctrl-C and errors lose the batch at hand, and no file is half-written: the same call resumes the job.

    Args:
        lines: of `read_lines`; or texts and mappings as in `Line.of`, numbered from 1.
        folder: where files go; made if it is missing. One job at a time may use it, or the shares of one.
        voice, seed: of lines that have none of their own.
        batch_size: rows at once. All batches have this size, or that of the job if it has fewer lines: missing
            rows repeat another, so that one program serves all.
        share: (index, count), to cut a job among `count` processes that know nothing of each other and write
            into one folder: each takes every count-th batch. They may run at the same time or in turn.
        force: make lines again that were made with other settings, and replace WAVs that no job made.
        progress: show a bar on standard error.
        **sampling: of all lines, see `options.SamplingOptions`.

    Raises:
        ValueError: an argument is out of its range, `voice` is unusable, another job uses the folder, it holds
            these lines made with other settings, or a batch does not fit into the device's memory.
        FileExistsError: the folder holds WAVs under the names of these lines that no job made.
        Incomplete: files could not be written, or were removed during the job. What is done stays.
        OSError: the folder cannot be used.
    """
    began, folder = time.perf_counter(), user_path(folder)
    index, count = share
    batch_size = check_count("batch_size", batch_size)
    if not 0 <= index < count:
        raise ValueError(f"share is {share!r}, it must be (index, count) with an index from 0 to count - 1")
    settings, fingerprint = check_settings(bark, options.complete(sampling))
    tasks, errors = check_lines(bark, lines, voice, seed, fingerprint)
    size = min(batch_size, len(tasks))
    batches = make_batches(tasks, size)[index::count]
    own = [task for batch in batches for task in batch]

    folder.mkdir(parents=True, exist_ok=True)
    with job_lock(folder, share):
        records = read_records(folder)
        if not force:
            _refuse_other_work(folder, tasks, own, records, settings)
        shared = set() if count > 1 else {MANIFEST, JOB}  # another share may be writing these
        remove_leftovers(folder, shared | {task.file for task in own})
        for error in errors if index == 0 else ():
            say(f"line {error['line']}: {error['error']}")
        done = {task.id for task in own if task.is_done(records.get(task.id, {}), folder)}
        made: list[Record] = []
        with _resumable(folder, own, done, made):
            write_settings(folder, fingerprint, settings)
            _mark_changed(folder, own, records)
            _make(bark, folder, batches, done, size, sampling, made, progress=progress)
            _finish(folder, tasks, own, errors)
    failed = {error["line"]: error["error"] for error in errors} if index == 0 else {}
    sound = sum(record["seconds"] for record in made)
    return Summary(len(made), len(done), failed, sound, time.perf_counter() - began)


# ---------------------------------------------------------------------------------------------
# Before
# ---------------------------------------------------------------------------------------------


def _refuse_other_work(
    folder: Path, tasks: list[Task], own: list[Task], records: dict[str, Record], settings: Record
) -> None:
    """Raise for what would be lost: these lines with other settings, and WAVs that no job made."""
    present = [(records[task.id], task.identity["settings"]) for task in tasks if task.id in records]
    others = sum(record.get("settings", wanted) != wanted for record, wanted in present)
    before = read_settings(folder)
    if others:
        raise ValueError(
            f"{folder} holds {others} of these lines made with other settings{_changes(before, settings)}: keep to "
            "those, choose another folder, or make the lines again with --force (force=True)"
        )
    if not os.path.lexists(folder / JOB):
        for task in own:
            refuse_existing(folder / task.file, force=task.id in records)


def _changes(before: Record, now: Record) -> str:
    """Say in brackets which settings have changed; nothing where those before are lost."""
    changed = [f"{name} {before.get(name)}, now {new}" for name, new in now.items() if before.get(name) != new]
    return f" ({'; '.join(changed)})" if before else ""


def _mark_changed(folder: Path, own: list[Task], records: dict[str, Record]) -> None:
    """Record lines that have changed before their WAVs change: one that changes back is then made again."""
    changed = [task for task in own if task.id in records and not task.is_recorded(records[task.id])]
    if changed:
        first = min(task.number for task in changed)
        say(f"made again, for they have changed: {len(changed)} of {len(own)} lines, the first is line {first}")
    append_records(folder, [{"id": task.id, "line": task.number, "finished": time.time()} for task in changed])


# ---------------------------------------------------------------------------------------------
# The work
# ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _resumable(folder: Path, own: list[Task], done: set[str], made: list[Record]) -> Iterator[None]:
    """Say of an interruption, or of a file that cannot be written, how many lines are done."""
    try:
        yield
    except Incomplete:
        raise
    except (KeyboardInterrupt, OSError) as error:
        note = f"{len(done) + len(made)} of {len(own)} lines are done: the same command goes on"
        if isinstance(error, KeyboardInterrupt):
            error.add_note(note)
            raise
        if not folder.is_dir():
            raise Incomplete(f"{folder} was removed during the job: run the job again") from error
        raise Incomplete(f"{one_line(error)}, {note}") from error


def _make(
    bark: Bark,
    folder: Path,
    batches: list[list[Task]],
    done: set[str],
    size: int,
    sampling: Mapping[str, Any],
    made: list[Record],
    *,
    progress: bool,
) -> None:
    """Speak and write what is missing, batch by batch; add the new records to `made`."""
    own = [task for batch in batches for task in batch]
    began = time.perf_counter()
    with tqdm(
        total=sum(task.length for task in own),
        initial=sum(task.length for task in own if task.id in done),
        bar_format="{desc} {percentage:3.0f}%|{bar:30}| [{elapsed}<{remaining}{postfix}]",
        disable=not progress,
    ) as bar:

        def show(*at: Any) -> None:
            """Show lines, seconds of sound per second, and the progress of the current batch."""
            speed = sum(record["seconds"] for record in made) / (time.perf_counter() - began)
            bar.set_description_str(f"{len(done) + len(made)}/{len(own)} lines", refresh=False)
            bar.set_postfix_str(f"{speed:.2f} s of sound/s" + (", {} {}/{}".format(*at) if at else ""))

        show()
        for batch in missing_batches(batches, done, size):
            speeches = speak_batch(bark, batch, size, show, sampling)
            _save(folder, batch, speeches, size, made)
            bar.update(sum(task.length for task in batch))
            show()


def speak_batch(
    bark: Bark, batch: list[Task], size: int, progress: bool | Report, sampling: Mapping[str, Any]
) -> list[Speech]:
    """Speak one batch, padded to `size` rows with its last.

    Raises:
        ValueError: it does not fit into the device's memory.
    """
    rows = batch + batch[-1:] * (size - len(batch))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the model ended")  # said in `make_record`, with the number of the line
            speeches = bark.generate(
                [task.identity["text"] for task in rows],
                voice=[task.voice for task in rows],
                seed=[task.identity["seed"] for task in rows],
                progress=progress,
                **sampling,
            )
    except jax.errors.JaxRuntimeError as error:
        if OUT_OF_MEMORY not in str(error):
            raise
        raise ValueError(f"a batch of {size} rows does not fit into the memory: take a smaller batch size") from error
    return speeches[: len(batch)]


def _save(folder: Path, batch: list[Task], speeches: list[Speech], size: int, made: list[Record]) -> None:
    """Write the WAVs of a batch, then its records; after an interruption, those of the WAVs that are written."""
    written: list[Record] = []
    try:
        for task, speech in zip(batch, speeches, strict=True):
            write_file(folder / task.file, sound_bytes(speech.samples, speech.sample_rate), force=True)
            written.append(make_record(task, speech, lines=len(batch), rows=size))
    finally:
        append_records(folder, written)
        made += written


def make_record(task: Task, speech: Speech, *, lines: int, rows: int) -> Record:
    """Describe a WAV that is written, of a batch of `lines` in `rows` rows; say where it has no sound."""
    if not len(speech.samples):
        say(f"line {task.number}: no sound, the model ended it before its first token")
    return {
        "id": task.id,
        "line": task.number,
        **task.identity,
        "file": task.file,
        "samples": len(speech.samples),
        "seconds": speech.seconds,
        "semantic_tokens": len(speech.semantic),
        "frames": speech.fine.shape[1],
        "batch": {"lines": lines, "rows": rows, "seconds": speech.timings},
        "finished": time.time(),
    }


def _finish(folder: Path, tasks: list[Task], own: list[Task], errors: list[Record]) -> None:
    """Compare the files with the tasks; once all lines have their records, put these in order.

    Raises:
        Incomplete: files are missing.
    """
    records = read_records(folder)
    lost = [task for task in own if not task.is_done(records.get(task.id, {}), folder)]
    if lost:
        first = min(lost, key=operator.attrgetter("number"))
        raise Incomplete(f"{folder} lacks {len(lost)} of {len(own)} files, such as {first.file}: run the job again")
    if all(task.is_recorded(records.get(task.id, {})) for task in tasks):
        order_records(folder, [(task.number, task.id) for task in tasks], errors)
