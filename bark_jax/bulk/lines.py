"""The lines of a job: read from text, JSON Lines, standard input or Python, with the error of each bad line."""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from bark_jax.files import to_utf8, user_path

KEYS = ("text", "voice", "seed", "id")  # of a line that is an object
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class Line:
    """Hold one line of a job. Only its form has been checked; what is wrong with that is in `error`."""

    number: int
    text: Any = None
    voice: Any = None
    seed: Any = None
    id: str = ""
    error: str | None = None

    @classmethod
    def of(cls, number: int, entry: Any) -> "Line":
        """Make a line of a text, or of a mapping with `text` and optionally `voice`, `seed` and `id`.

        The id names the WAV; the default is the number, as 000001.
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
                "'_', '-' and '.', and must not begin with '-' or '.'",
            )
        return dataclasses.replace(line, id=name)


def read_lines(path: str | os.PathLike) -> list[Line]:
    """Read a file with a text on each line or, if its name ends in .jsonl or .json, an object as in `Line.of`.

    "-" is standard input, whose lines are objects if the first one begins with "{". The encoding is UTF-8, or
    UTF-16 or UTF-32 with a byte order mark. Blank lines are left out; the others keep their numbers, from 1.
    A line that cannot be read has an `error`.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it has only blank lines, or is not text.
    """
    name = os.fspath(path)
    return lines_of(sys.stdin.buffer.read() if name == STANDARD_INPUT else user_path(path).read_bytes(), name)


def lines_of(content: bytes, name: str) -> list[Line]:
    """Read the content of a file of that name; errors as in `read_lines`."""
    content = to_utf8(content, "standard input" if name == STANDARD_INPUT else name)
    is_json = name.lower().endswith((".jsonl", ".json")) or (name == STANDARD_INPUT and content.lstrip()[:1] == b"{")
    lines = [read_line(number, raw, is_json) for number, raw in enumerate(content.splitlines(), 1) if raw.strip()]
    if not lines:
        raise ValueError(f"{name} has no text: write one on each line")
    return lines


def read_line(number: int, raw: bytes, is_json: bool) -> Line:
    """Read one line of UTF-8, a text or an object."""
    try:
        text = raw.decode()
        return Line.of(number, json.loads(text) if is_json else text)
    except UnicodeDecodeError as error:
        return Line(number, error=f"it is not UTF-8 text: {error}")
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        return Line(number, error=f"it is not JSON: {why}")
