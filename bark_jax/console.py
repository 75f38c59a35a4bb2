"""Lay out a table of names, numbers and words for a terminal."""

from collections.abc import Sequence
from typing import Any


def table(*header: str, rows: Sequence[Sequence[Any]]) -> list[str]:
    """Align the cells under a header: the first column to the left, the others to the right."""
    cells = [header, *([cell(x) for x, _ in zip(row, header)] for row in rows)]
    first, *others = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]).rstrip() for row in cells]


def cell(value: Any) -> str:
    """Write a number with three digits or more; nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
