"""The teacher reads sentences into a folder of recordings.

    (text, speaker) ──Kokoro──▶ FOLDER/wavs/00000.wav     and FOLDER/metadata.csv
                                FOLDER/phones/00000.json  what is spoken when, and how high

`metadata.csv` is LJSpeech's, with a fourth column: `id|text|text|speaker`. Kokoro decides on durations and pitch before
it makes a sound, which takes most of its time. So many more texts can have phones than recordings: those stand in
`unrecorded.csv`.
"""

import concurrent.futures
import io
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
from tqdm import tqdm

from bark_jax.files import remove_leftovers, write_file
from bark_jax.train import phones
from bark_jax.train.data import METADATA
from bark_jax.train.kokoro import RATE, Reader, find_speaker, read_voice
from bark_jax.train.phonemes import Pronunciation

UNRECORDED = "unrecorded.csv"


def can_read() -> Any:
    """Return a test of whether all speakers can read a text: American and British dictionaries have its words."""
    american, british = Pronunciation(british=False), Pronunciation(british=True)
    return lambda text: bool(american(text) and british(text))


def record(
    lines: Sequence[tuple[str, str]], folder: Path, *, recorded: int | None = None, workers: int | None = None
) -> None:
    """Let the teacher read `(text, speaker)` lines into a folder; what is there of the same line is kept.

    Kill it at any time; run it again and it makes only what is missing. Each worker takes one core.

    Args:
        recorded: how many of the lines, the first ones, get a recording beside their phones; None: all.
        workers: how many processes read; None: one for each core.

    Raises:
        ValueError: as `Reader`.
    """
    for name in ("wavs", phones.FOLDER):
        (folder / name).mkdir(parents=True, exist_ok=True)
    todo = plan(lines, folder, recorded)
    if not todo:
        return
    for speaker in sorted({job.speaker for job in todo}):
        read_voice(find_speaker(speaker))  # say what is missing before processes start
    # Spawned, since a fork of a process in which JAX runs can hang.
    context = multiprocessing.get_context("spawn")
    workers = min(len(todo), workers or os.cpu_count() or 1)
    with concurrent.futures.ProcessPoolExecutor(workers, context, start) as pool:
        jobs = [pool.submit(read_into, job) for job in todo]
        try:
            for job in tqdm(concurrent.futures.as_completed(jobs), total=len(jobs), desc="teacher", unit="text"):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class Job(NamedTuple):
    """Hold what the teacher is to read, and into which files."""

    text: str
    speaker: str
    phones: Path
    wav: Path | None = None  # none: the phones alone


def plan(lines: Sequence[tuple[str, str]], folder: Path, recorded: int | None = None) -> list[Job]:
    """Write the metadata, remove what belongs to other lines, and list what is missing."""
    recorded = len(lines) if recorded is None else recorded
    names = [f"{number:05d}" for number in range(len(lines))]
    rows = [f"{name}|{text}|{text}|{speaker}" for name, (text, speaker) in zip(names, lines, strict=True)]
    tables = folder / METADATA, folder / UNRECORDED
    before = {row for path in tables if path.is_file() for row in path.read_text(encoding="utf-8").splitlines()}
    jobs = [
        Job(*line, folder / phones.FOLDER / f"{name}.json", folder / "wavs" / f"{name}.wav" if i < recorded else None)
        for i, (name, line) in enumerate(zip(names, lines, strict=True))
    ]
    remove_leftovers(folder / "wavs", {job.wav.name for job in jobs if job.wav})
    remove_leftovers(folder / phones.FOLDER, {job.phones.name for job in jobs})
    for name in {row.partition("|")[0] for row in before ^ set(rows)}:  # of lines that are gone or new
        if name.isdigit():  # as all that the teacher wrote
            for path in (folder / phones.FOLDER / f"{name}.json", folder / "wavs" / f"{name}.wav"):
                path.unlink(missing_ok=True)
    for path, some in zip(tables, (rows[:recorded], rows[recorded:]), strict=True):
        write_file(path, "".join(f"{row}\n" for row in some).encode(), force=True)
    return [job for job in jobs if not all(path.exists() for path in (job.phones, job.wav) if path)]


_reader: Reader | None = None  # of a worker's process


def start() -> None:
    """Begin a worker's process: load the teacher once."""
    global _reader
    _reader = Reader()


def read_into(job: Job) -> None:
    """Read a line into its files, in a worker's process."""
    assert _reader is not None
    if job.wav is None:
        found = _reader.phones(job.text, job.speaker)
    else:
        samples, found = _reader(job.text, job.speaker)
        content = io.BytesIO()
        soundfile.write(content, samples, RATE, format="WAV")
        write_file(job.wav, content.getvalue(), force=True)
    write_file(job.phones, found.to_json(), force=True)
