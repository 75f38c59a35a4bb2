"""The command `scaling --target`: do the programs compile and fit, what do they exchange, what is the least time?

In:  a target such as v5e:2x4, meshes, a published shape, the rows of a batch.
Out: tables with a line for each mesh and stage.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
from tqdm import tqdm

from bark_jax import journey, parallel
from bark_jax.bench.ahead_of_time import CompilerCrashError, Outcome, Request, compile_stage, versions
from bark_jax.bench.target import STEPS, Roofline, Target, networks_of, stage_work
from bark_jax.checkpoints.random import SHAPES
from bark_jax.console import cell, table

MIB = 2**20
Key = tuple[tuple[int, int], str]  # a mesh and a stage


def run(options: argparse.Namespace) -> None:
    """Print what the options ask for.

    Raises:
        ValueError: there is no such target, a mesh does not use its chips, or libtpu is missing or crashes.
    """
    target, dtype = Target.parse(options.target), options.dtype or "bfloat16"
    sizes = SHAPES[options.shape]
    meshes = target.meshes(sizes["num_heads"])
    if options.mesh is not None:
        meshes = [parallel.parse_mesh(word) for word in options.mesh.split(",")]
        check_meshes(meshes, target, sizes["num_heads"])
    requests = {
        (mesh, stage.name): Request(target.name, mesh, sizes, dtype, options.batch, stage.name)
        for mesh in meshes
        for stage in journey.STAGES
    }
    outcomes = compile_all(requests)
    print("\n".join(lines(target, options.shape, dtype, options.batch, outcomes)))
    for (mesh, stage), outcome in outcomes.items():
        if outcome.too_large:
            print(what_fits(requests[mesh, stage], outcome))


def check_meshes(meshes: list[tuple[int, int]], target: Target, heads: int) -> None:
    """Raise ValueError for a mesh that does not use all chips, or whose `model` axis cannot share the heads."""
    fits = target.meshes(heads)
    for data, model in meshes:
        if (data, model) not in fits:
            raise ValueError(
                f"a mesh of {data}x{model} does not fit the {target.chips} chips of {target.name} and {heads} heads: "
                f"choose one of {', '.join(f'{d}x{m}' for d, m in fits)}"
            )


def compile_all(requests: Mapping[Key, Request]) -> dict[Key, Outcome]:
    """Compile program after program, with a bar: each takes minutes in the published shapes."""
    outcomes = {}
    with tqdm(requests.items(), "compile", unit="program", disable=None) as bar:
        for key, request in bar:
            (data, model), stage = key
            bar.set_postfix_str(f"{stage}, {data}x{model}")
            outcomes[key] = compile_stage(request)
    return outcomes


def what_fits(request: Request, outcome: Outcome) -> str:
    """Say in one line which batch would fit; the programs of smaller ones are compiled until one does."""
    data, _ = request.mesh
    needed, available = outcome.needed()
    start = f"{request.stage} does not fit with a batch of {request.batch}: it needs {needed / MIB:,.0f} MiB of "
    start += f"{available / MIB:,.0f}"
    held, rows, found = outcome.weights, -(-request.batch // data), outcome
    while rows > 1 and (found is None or found.too_large):
        if found is None:  # the compiler crashed
            rows //= 2
        else:
            needed, available = found.needed()
            rows = max(1, min(rows - 1, int(rows * (available - held) / max(needed - held, 1))))
            rows -= rows % 8 if rows > 8 else 0  # whole tiles
        try:
            found = compile_stage(dataclasses.replace(request, batch=rows * data))
        except CompilerCrashError:
            found = None
    fits = found is not None and not found.too_large
    return start + (f"; a batch of {rows * data} does, it was compiled" if fits else "; no batch does")


def lines(target: Target, shape: str, dtype: str, batch: int, outcomes: Mapping[Key, Outcome]) -> Iterator[str]:
    """Lay out the tables."""
    chip = target.chip
    figures = (
        f"{chip.operations / 1e12:,.0f} TFLOP/s in bfloat16",
        f"{chip.memory / 1e9:,.0f} GB of memory at {chip.read / 1e9:,.0f} GB/s",
        f"{chip.exchange / 1e9:,.0f} GB/s to other chips",
    )
    chips = "1 chip," if target.chips == 1 else f"{target.chips} chips, each"
    yield f"target    {target.name}, {chips} " + ", ".join(figures)
    yield f"shape     {shape}, {dtype}, batch of {batch}"
    yield "versions  " + ", ".join(f"{name} {version}" for name, version in versions().items())
    fits, exchanged, least = [], [], []
    for (mesh, stage), one in outcomes.items():
        name = f"{mesh[0]}x{mesh[1]} {stage}"
        sizes = (None,) * 4 if one.too_large else (one.arguments, one.temporaries, one.code, one.total)
        fits.append([name, "no" if one.too_large else "yes", *(size and f"{size / MIB:,.1f}" for size in sizes)])
        looped = [each for each in one.exchanges if each.in_loop]
        if stage != journey.CODEC.name and not one.too_large:
            exchanged.append(
                [f"{name}, a {STEPS[stage]}", kinds(looped), f"{sum(x.bytes for x in looped) / 2**10:,.1f}"]
            )
        work = stage_work(stage, networks_of(shape, jnp.dtype(dtype))[stage], batch, mesh)
        roof = Roofline(chip, work.operations, work.bytes, sum(each.sent for each in looped))
        times = (f"{seconds * 1e6:,.1f}" for seconds in roof.seconds.values())
        amounts = (cell(roof.bytes / 1e6), cell(roof.operations / 1e9), cell(roof.sent / 1e6))
        cycles = None if stage == journey.CODEC.name else one.cycles or None
        least.append([f"{name}, a {STEPS[stage]}", *amounts, *times, roof.bound, cycles])
    yield from ("", *table("MiB on each chip", "fits", "arguments", "temporaries", "code", "all", rows=fits))
    if target.chips > 1:
        yield from ("", *table("exchanges in", "by kind", "KiB", rows=exchanged))
    header = ("MB read", "GFLOP", "MB sent", "reading us", "arithmetic us", "exchange us", "bound by", "cycles")
    yield from ("", *table("least possible time", *header, rows=least))
    yield ""
    yield "No program was run: the times are the least that the published figures of the chip allow. The cycles are the"
    yield "compiler's estimate, without waiting for memory or other chips: to compare programs, not to tell a time."


def kinds(exchanges: list) -> str:
    """Count exchanges by their kind."""
    counts = Counter(one.kind for one in exchanges)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
