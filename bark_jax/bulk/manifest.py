"""The records of a job: `manifest.jsonl`, a line for each WAV and each bad line, and `job.json`, its settings.

While a job runs, records are appended; the last one of an id counts. Once all lines have theirs, the file is
written anew in the order of the lines. Shares append to the same file, one at a time. What is torn or damaged
is skipped, and said: those lines are made again.
"""

import json
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from bark_jax.bulk.locks import held_file
from bark_jax.console import say
from bark_jax.files import append, read_file, write_file

MANIFEST, JOB = "manifest.jsonl", "job.json"
FIELDS: dict[str, tuple[type, ...]] = {  # of a record, all but the id optional
    "id": (str,),
    "line": (int,),
    "text": (str,),
    "voice": (str, type(None)),
    "voice_sha256": (str, type(None)),
    "seed": (int,),
    "settings": (str,),
    "file": (str,),
    "samples": (int,),
    "seconds": (int, float),
    "semantic_tokens": (int,),
    "frames": (int,),
    "batch": (dict,),
    "finished": (int, float),
}

Record = dict[str, Any]


def read_records(folder: str | os.PathLike) -> dict[str, Record]:
    """Read the last record of every id; there are none where the file is missing.

    Raises:
        OSError: the manifest is a link, a folder, or cannot be read.
    """
    path = Path(folder, MANIFEST)
    try:
        lines = read_file(path).splitlines()
    except FileNotFoundError:
        return {}
    return {record["id"]: record for record in parse_records(lines, str(path))}


def parse_records(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    """Read the records of a file of that name, in order; skip damaged ones, and say so."""
    damaged = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if is_record(record):
            yield record
        elif not is_error(record):
            damaged.append(number)
    if damaged:
        say(f"{name}: {len(damaged)} damaged records are skipped, the first in line {damaged[0]}")


def is_record(value: Any) -> TypeGuard[Record]:
    """Tell whether a JSON value is a record whose fields have the right types."""
    return (
        isinstance(value, dict)
        and "id" in value
        and all(type(value[name]) in types for name, types in FIELDS.items() if name in value)
    )


def is_error(value: Any) -> bool:
    """Tell whether a JSON value is the record of a bad line."""
    return isinstance(value, dict) and "id" not in value and isinstance(value.get("error"), str)


def append_records(folder: Path, records: Sequence[Record]) -> None:
    """Add records; when this returns they are on the disk."""
    if not records:
        return
    path = folder / MANIFEST
    with held_file(path):
        is_torn = path.stat().st_size and not read_end(path).endswith(b"\n")  # by a killed process
        append(path, b"\n" * is_torn + to_lines(records))


def read_end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()


def order_records(folder: Path, ids: Iterable[tuple[int, str]], errors: Sequence[Record]) -> None:
    """Write all records anew in the order of the lines.

    Records of lines that the job no longer has come last: their WAVs stay, too.

    Args:
        ids: the number and the id of every line that has a record.
        errors: records of bad lines.
    """
    path = folder / MANIFEST
    with held_file(path):
        records = read_records(folder)
        ordered = [*errors, *(records.pop(name) | {"line": number} for number, name in ids)]
        content = to_lines([*sorted(ordered, key=operator.itemgetter("line")), *records.values()])
        if content != read_file(path):
            write_file(path, content, force=True)


def to_lines(records: Iterable[Record]) -> bytes:
    return b"".join(to_json(record) + b"\n" for record in records)


def to_json(value: Record) -> bytes:
    """Write JSON on one line; half a surrogate pair, which UTF-8 cannot encode, as its escape."""
    return json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace")


def read_settings(folder: Path) -> Record:
    """Read the settings that the last job in a folder had; none where `job.json` is missing or damaged."""
    path = folder / JOB
    try:
        content = json.loads(read_file(path))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        content = None
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        say(f"{path} is damaged, and is written anew")
        return {}
    return settings


def write_settings(folder: Path, fingerprint: str, settings: Record) -> None:
    content = json.dumps({"fingerprint": fingerprint, "settings": settings}, indent=2).encode() + b"\n"
    write_file(folder / JOB, content, force=True)
