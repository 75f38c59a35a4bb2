"""Check what callers pass: one item or a list of them, a value for all texts or one for each, seeds, counts."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias, TypedDict

import jax
import numpy as np

from bark_jax.console import Progress
from bark_jax.options import CoarseOptions, SamplingOptions, SemanticOptions
from bark_jax.sampling import NUMBER, WHOLE_NUMBER
from bark_jax.text import check_text
from bark_jax.voices import Voice

VoiceSource: TypeAlias = Voice | Mapping[str, Any] | str | os.PathLike | None
ARRAY = (np.ndarray, jax.Array)

# What the methods of `Bark` take by name, for type checkers: their docstrings explain it.


class Call(TypedDict, total=False):
    """Name what every generation takes."""

    voice: VoiceSource | Sequence[VoiceSource]
    seed: int | Sequence[int]
    progress: Progress


class GenerateCall(Call, SamplingOptions): ...


class ReadCall(GenerateCall, total=False):
    """Add what long form takes."""

    chain: bool
    language: str | None
    batch_size: int


class FineCall(Call, total=False):
    """Add the temperature of one stage."""

    temperature: float | None


class CoarseCall(FineCall, CoarseOptions): ...


class SemanticCall(FineCall, SemanticOptions): ...


def texts(text: Any) -> tuple[bool, list[str]]:
    """Tell whether it is one text, and return all of them in a list.

    Raises:
        ValueError: it is no text and no list of texts, or one of them is empty or not valid Unicode.
    """
    if isinstance(text, ARRAY) and text.ndim == 0:
        text = np.asarray(text)[()]
    if isinstance(text, bytes | bytearray | Mapping | Set) or not isinstance(text, Iterable):
        raise ValueError(f"text is {text!r} of type {type(text).__name__}: pass a str, or a list of them")
    listed = [text] if isinstance(text, str) else list(text)
    for one in listed:
        check_text(one)
    return isinstance(text, str), listed


def rows(value: Any) -> tuple[bool, list[Any]]:
    """Tell whether it is one array (or a list of numbers, or a path), and return all of them in a list."""
    is_batch = isinstance(value, list | tuple) and not (value and isinstance(value[0], NUMBER))
    return not is_batch, list(value) if is_batch else [value]


def for_each(name: str, value: Any, count: int) -> list[Any]:
    """Repeat one value for every text, or return those of a list that has one for each.

    Raises:
        ValueError: the list has another length.
    """
    if isinstance(value, ARRAY):
        value = np.asarray(value)
        if value.ndim == 0:
            value = value[()]
    is_list = isinstance(value, np.ndarray | Sequence) and not isinstance(value, str | bytes)
    if not is_list:
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} is a list of {len(value)} for {count} texts: pass one for all, or one for each")
    return list(value)


def seeds(seed: Any, count: int) -> list[int]:
    """Return a seed for each text. Raises ValueError as `check_seed` and `for_each`."""
    return [check_seed(one) for one in for_each("seed", seed, count)]


def check_seed(seed: Any) -> int:
    """Return a seed as an int. Raises ValueError unless it is a whole number of 32 bits."""
    if isinstance(seed, ARRAY) and seed.ndim == 0:
        seed = np.asarray(seed)[()]
    if isinstance(seed, bool) or not isinstance(seed, WHOLE_NUMBER) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}, it must be a whole number from 0 to {2**32 - 1}")
    return int(seed)


def check_count(name: str, value: Any) -> int:
    """Return a number of things as an int. Raises ValueError unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, WHOLE_NUMBER) or value < 1:
        raise ValueError(f"{name} is {value!r}, it must be a whole number from 1 on")
    return int(value)
