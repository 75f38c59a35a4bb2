"""What a file from elsewhere may hold. Every reader checks these limits before it builds anything.

In:  files of checkpoints, voices and recordings, whoever made them.
Out: their content, or a ValueError or OSError; never a hang, more memory than the limits allow, or code that runs.
"""

import dataclasses
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

# Bytes and counts. What is published has a hundredth of these, or less.
JSON_BYTES = 32 * 2**20  # of a config, a tokenizer or an index
JSON_VALUES = 2_000_000
HEADER_BYTES = 100_000_000  # of a safetensors file, as the format says
DIMENSIONS = 8  # of a tensor
PICKLE_BYTES = 2**20  # of the pickle in a file of torch, without its tensors
PICKLE_ITEMS = 1_000  # in a tuple, with those of the tuples in it
PICKLE_DEPTH = 8  # of tuples
PICKLE_MEMO = 2**20
VOICE_BYTES = 16 * 2**20  # of a voice's file, and of each of its arrays
SOUND_RATES_HZ = (1_000, 384_000)
SOUND_SECONDS = 3_600
SOUND_SAMPLES = 2**28  # of all channels together
RECORDING_SECONDS = 600  # of a recording to learn from, which is a sentence or a few
CODEBOOKS = 32
TOKENIZER_RULES = 1_024  # normalizers and pre-tokenizers
PATTERN_CHARACTERS, CONTENT_CHARACTERS = 4_096, 256  # of a rule: what it looks for, and what it writes
GROWTH = 8  # times that the rules of a tokenizer may lengthen a text
SHOWN_CHARACTERS = 60  # of a foreign value in a message


def shown(value: Any) -> str:
    """Show a foreign value in a message, briefly whatever it is: its `repr` may be endless, or a terminal's escapes."""
    if isinstance(value, tuple | list) and len(value) <= DIMENSIONS and not any(map(_is_nested, value)):
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if _is_nested(value):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]!a}..."
    return ascii(value)


def _is_nested(value: Any) -> bool:
    return value is not None and not isinstance(value, bool | int | float | str | bytes)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading. Raises OSError where it is missing, or a pipe or device: these may have no end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{os.fspath(path)} is not a regular file")
    return os.fdopen(handle, "rb")


def read_bytes(path: str | os.PathLike, limit: int) -> bytes:
    """Read a whole file. Raises ValueError where it has more bytes than `limit`, and OSError as `open_regular`."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{os.fspath(path)} has more than {limit:,} bytes, which is the limit for files of its kind")
    return content


def parse_json(content: bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse JSON; `pairs` makes a value of the pairs of an object, a dict if left out.

    Raises:
        ValueError: it is no JSON, has more values than the limit, or is nested too deeply.
    """
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if values > JSON_VALUES:
        raise ValueError(f"it has about {values:,} values, the limit is {JSON_VALUES:,}")
    try:
        return json.loads(content, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError, naming the file, for anything else."""
    try:
        content = parse_json(read_bytes(path, JSON_BYTES))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object: fetch it again")
    return content


@dataclasses.dataclass(frozen=True)
class Number:
    """Say which numbers a field of a config may have, both ends included."""

    lowest: float
    highest: float
    whole: bool = True

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value, if anything."""
        is_number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        if is_number and (isinstance(value, int) or math.isfinite(value)) and self.lowest <= value <= self.highest:
            return None
        kind = "a whole number" if self.whole else "a number"
        return f"is {shown(value)}: it must be {kind} from {self.lowest:,} to {self.highest:,}"


@dataclasses.dataclass(frozen=True)
class Flag:
    """Say that a field of a config is true or false."""

    def problem(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else f"is {shown(value)}: it must be true or false"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Say which numbers a list in a config may have, and how many."""

    each: Number
    most: int

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= self.most:
            return f"is {shown(value)}: it must be a list of 1 to {self.most} numbers"
        return next((f"has an entry that {why}" for one in value if (why := self.each.problem(one))), None)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Say which words a field of a config may have."""

    words: tuple[str, ...]

    def problem(self, value: Any) -> str | None:
        return None if value in self.words else f"is {shown(value)}: it must be one of {', '.join(self.words)}"


Field = Number | Flag | Numbers | Choice


def field_problems(values: Mapping[str, Any], fields: Mapping[str, Field]) -> list[str]:
    """Say, a line for each, which of the fields are missing or out of their range."""
    problems = []
    for name, field in fields.items():
        if name not in values:
            problems.append(f"{name} is missing")
        elif why := field.problem(values[name]):
            problems.append(f"{name} {why}")
    return problems


def build(kind: type, values: Any, fields: Mapping[str, Field]) -> Any:
    """Make a dataclass of a JSON object with its fields, each checked first.

    A field with a default may be missing, and may be null if its default is None. Raises ValueError with all that is
    wrong.
    """
    if not isinstance(values, dict):
        raise ValueError(f"it is {shown(values)}, it must be a JSON object")
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {name: value for name, value in values.items() if value is not None or defaults.get(name, ...) is not None}
    wanted = {name: fields[name] for name in defaults if name in given or defaults[name] is dataclasses.MISSING}
    problems = [f"{shown(name)} is not known" for name in values.keys() - defaults.keys()]
    if problems := sorted(problems) + field_problems(given, wanted):
        raise ValueError("; ".join(problems))
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
