"""Say what a mesh of devices saves and costs: bytes on each device, exchanges between them; and try the tokens.

In:  meshes, a published shape, the rows of a batch.
Out: tables with a line for each mesh.

Nothing of that shape is loaded. What lies where follows from `parallel.SPECS`; what the devices exchange
is counted in the programs that XLA makes for them, for a step of decoding and for a codebook of the fine
stage. Only the tokens are really drawn, from a small model of random weights with as many heads. Where
a CPU is all there is, it stands in for as many devices as are needed: to count, not to measure speed.
"""

import argparse
import contextlib
import importlib.metadata
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from bark_jax import journey, parallel
from bark_jax.bench import target_report
from bark_jax.bench.exchanges import Exchange, exchanges_in
from bark_jax.bench.programs import abstract_networks, bytes_on_each, lay_out, lay_out_rows, padded, stage_program
from bark_jax.checkpoints.random import SHAPES, write_random
from bark_jax.console import table
from bark_jax.gpt import empty_cache
from bark_jax.pipeline import DTYPES, check_dtype, load

MESHES = "1x1,8x1,4x2,2x4,1x8"
SECONDS, ROWS, HEAD_WIDTH = 0.4, 3, 4  # of what is tried out: rows that few meshes divide


@contextlib.contextmanager
def small_model(heads: int) -> Iterator[Callable[[Mesh | None], list[np.ndarray]]]:
    """Write a small model of random weights, and yield what draws tokens with it, in float32, on a mesh."""
    texts, seeds = [f"Text {row}" for row in range(ROWS)], list(range(ROWS))

    def draw(mesh: Mesh | None) -> list[np.ndarray]:
        bark = load(folder, dtype="float32", mesh=mesh)
        rows = bark.text_to_semantic(texts, seed=seeds, max_seconds=SECONDS)
        return [*rows, *bark.coarse_to_fine(bark.semantic_to_coarse(rows, seed=seeds), seed=seeds)]

    with tempfile.TemporaryDirectory(prefix="bark-jax-scaling-") as name, jax.default_matmul_precision("highest"):
        folder = Path(name)
        write_random({"num_layers": 1, "num_heads": heads, "hidden_size": HEAD_WIDTH * heads}, folder)
        yield draw


def measure(networks: dict[str, Any], mesh: Mesh, batch: int) -> tuple[list[int], list[list[Exchange]]]:
    """Count for a mesh the bytes on each device, and what is exchanged in a step, and for a codebook.

    The bytes are those of each network, of all of them, and of the semantic stage's cache.
    """
    rows = padded(batch, mesh)
    held = [bytes_on_each(lay_out(network, mesh)) for network in networks.values()]
    spoken = networks["semantic"]
    cache = jax.eval_shape(lambda: empty_cache(spoken.cfg, rows, spoken.cfg.block_size, spoken.head.kernel.dtype))
    programs = (stage_program(name, networks[name], mesh, rows).compile() for name in ("semantic", "fine"))
    looped = [[one for one in exchanges_in(str(program.as_text())) if one.in_loop] for program in programs]
    return [*held, sum(held), bytes_on_each(lay_out_rows(cache, mesh))], looped


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    command.add_argument(
        "--target",
        metavar="CHIP:TOPOLOGY",
        help="compile the program of every stage for a TPU that is not here, such as v5e:2x4 (extra `tpu`)",
    )
    command.add_argument(
        "--mesh", metavar="DxM[,DxM]", help=f"meshes, data x model ({MESHES}; of a target, all that use its chips)"
    )
    command.add_argument("--shape", choices=SHAPES, default="large", help="sizes of the networks (large)")
    command.add_argument("--batch", type=int, default=8, metavar="N", help="rows (8)")
    command.add_argument("--dtype", choices=DTYPES, help="of the transformers (float32 on a CPU, else bfloat16)")


def run(options: argparse.Namespace) -> None:
    """Print what the options ask for.

    Raises:
        ValueError: an option is out of its range, there are too few devices, or they cannot share the heads.
    """
    if options.batch < 1:
        raise ValueError(f"--batch is {options.batch}, it must be 1 or more")
    if options.target is not None:
        target_report.run(options)
        return
    labels = (options.mesh or MESHES).split(",")
    shapes = [parallel.parse_mesh(label) for label in labels]
    with contextlib.suppress(RuntimeError):  # a process that has begun to compute keeps the devices that it has
        jax.config.update("jax_num_cpu_devices", max(math.prod(shape) for shape in shapes))
    sizes, devices = SHAPES[options.shape], jax.local_devices()
    meshes = [parallel.make_mesh(*shape, devices[: math.prod(shape)]) for shape in shapes]
    networks = abstract_networks(sizes, check_dtype(options.dtype))
    for mesh in meshes:
        parallel.check_heads({name: network.cfg for name, network in networks.items()}, mesh)

    held, exchanged = [], []
    with small_model(sizes["num_heads"]) as draw:
        expected = draw(None)
        for label, mesh in zip(labels, tqdm(meshes, "scaling", unit="mesh", disable=None)):
            same = all(map(np.array_equal, draw(mesh), expected))
            on_each, loops = measure(networks, mesh, options.batch)
            held.append([label, *(f"{count / 2**20:,.1f}" for count in on_each)])
            cells = [(str(len(loop)), f"{sum(one.bytes for one in loop) / 2**10:,.1f}") for loop in loops]
            exchanged.append([label, *itertools.chain(*cells), "the same" if same else "others"])
    print(f"shape     {options.shape}, {networks['semantic'].head.kernel.dtype}, batch of {options.batch}")
    print(f"devices   {len(devices)} x {devices[0].device_kind}, jax {importlib.metadata.version('jax')}")
    names = [stage.name for stage in journey.STAGES]
    print("", *table("MiB on each", *names, "all", "KV cache", rows=held), sep="\n")
    header = ("exchanges", "in a step", "KiB", "in a codebook", "KiB", "tokens of one device")
    print("", *table(*header, rows=exchanged), sep="\n")
