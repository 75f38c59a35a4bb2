"""The sampling options: one table for `generate`, the stages, bulk jobs, the notebooks' panel and the command line.

A new option is one line here, and its use in `sampling.py`. Each class adds to the one before what the next
method up the journey takes: `Bark.semantic_to_coarse`, `Bark.text_to_semantic`, and then `Bark.generate`.
"""

import dataclasses
import difflib
import functools
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from bark_jax.journey import SAMPLED

STAGES = tuple(stage.name for stage in SAMPLED)


@dataclasses.dataclass(frozen=True)
class Option:
    """Hold what a type cannot say of an option. A default of None is "off", or the checkpoint's own value."""

    default: float | None
    metavar: str
    help: str
    slider: tuple[float, float | None, float] | None = None  # in the panel: least, most (None: the checkpoint's), step
    off: float | None = None  # the number that does what None does, where the slider begins


def _temperature(stage: str, usual: float) -> Option:
    what = f"temperature of the {stage} stage; 0 is greedy (default: the checkpoint's, {usual} for Bark)"
    return Option(None, "T", what, (0, 3, 0.05))


class CoarseOptions(TypedDict, total=False):
    """Name the filters of the semantic and coarse stages."""

    top_k: Annotated[int | None, Option(None, "K", "top-k sampling: keep the K most probable tokens (default: off)")]
    top_p: Annotated[
        float | None,
        Option(
            None, "P", "nucleus sampling: keep the smallest set of tokens whose probability exceeds P (default: off)"
        ),
    ]


class SemanticOptions(CoarseOptions, total=False):
    """Add what ends a speech."""

    min_eos_p: Annotated[
        float | None,
        Option(
            0.2, "P", "end the speech once its end is at least this probable, or 'off' (default: 0.2)", (0.01, 1, 0.01)
        ),
    ]
    max_seconds: Annotated[
        float | Sequence[float | None] | None,  # one for all texts, or one for each
        Option(
            None,
            "S",
            "maximum seconds of speech, per sentence in long form (default: as long as fits)",
            (0.1, None, 0.1),
        ),
    ]


class SamplingOptions(SemanticOptions, total=False):
    """Add the temperature of each stage: all options of a generation."""

    semantic_temperature: Annotated[float | None, _temperature("semantic", 0.7)]
    coarse_temperature: Annotated[float | None, _temperature("coarse", 0.7)]
    fine_temperature: Annotated[float | None, _temperature("fine", 0.5)]


OF_STAGE = {"semantic": SemanticOptions, "coarse": CoarseOptions, "fine": TypedDict("FineOptions", {})}


@functools.cache
def table(kind: type = SamplingOptions) -> Mapping[str, Option]:
    """Return the options of one of the classes above, by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def is_whole(name: str) -> bool:
    """Tell whether an option is a whole number."""
    return int in typing.get_args(typing.get_type_hints(SamplingOptions)[name])


def complete(given: Mapping[str, Any], kind: type = SamplingOptions) -> dict[str, Any]:
    """Add the defaults to what a caller has given.

    Raises:
        TypeError: an option has no such name.
    """
    known = table(kind)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {close[0]}?" if close else "."
            raise TypeError(f"unknown option {name}{hint} The sampling options are {', '.join(known)}")
    return {name: option.default for name, option in known.items()} | dict(given)
