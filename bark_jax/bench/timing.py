"""Seconds: of a call, and those in which JAX makes programs during it."""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

# What JAX reports when it is done with it, under names that it has had since 0.4.
TRACE = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
COMPILE = "/jax/core/compile/backend_compile_duration"  # or reading from the persistent cache
CACHE_HIT = "/jax/compilation_cache/cache_hits"
REPORTED: list[tuple[str, float, float]] = []  # event, begin, end


def clock(run: Callable[..., Any], *inputs: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes until its result is there, and the result."""
    began = time.perf_counter()
    result = jax.block_until_ready(run(*inputs))
    return time.perf_counter() - began, result


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Compilation:
    """Hold what JAX does before a program can run: tracing and lowering, then compiling or reading from the cache."""

    trace_seconds: float = 0
    compile_seconds: float = 0
    programs: int = 0
    from_cache: int = 0  # of the programs


@contextlib.contextmanager
def compilation() -> Iterator[Compilation]:
    """Watch what is compiled inside the block; the result is filled in when it ends."""
    _listen()
    first, found = len(REPORTED), Compilation()
    yield found
    events = REPORTED[first:]
    compiled = [span for event, *span in events if event == COMPILE]
    found.programs = len(compiled)
    found.from_cache = sum(event == CACHE_HIT for event, *_ in events)
    found.compile_seconds = covered(compiled)
    found.trace_seconds = covered([span for event, *span in events if event != CACHE_HIT]) - found.compile_seconds


def covered(spans: list[list[float]]) -> float:
    """Measure the union of spans of time: a function traced inside another counts once."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


@functools.cache
def _listen() -> None:
    """Note what JAX reports, from now on to the end of the process: older versions know no end of it."""

    def note_span(event: str, duration_secs: float, **details: Any) -> None:
        if event in (*TRACE, COMPILE):
            now = time.perf_counter()
            REPORTED.append((event, now - duration_secs, now))

    def note_hit(event: str, **details: Any) -> None:
        if event == CACHE_HIT:
            REPORTED.append((event, 0, 0))

    jax.monitoring.register_event_duration_secs_listener(note_span)
    jax.monitoring.register_event_listener(note_hit)
