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
import dataclasses
import importlib.metadata
import itertools
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Compiled
from tqdm import tqdm

from bark_jax import fine, journey, parallel, sampling, semantic
from bark_jax.checkpoints.random import SHAPES, random_config, write_random
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.console import table
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT, empty_cache
from bark_jax.pipeline import DTYPES, check_dtype, load
from bark_jax.tokens import TokenConfig

TOKENS = TokenConfig()
SEMANTIC = semantic.decode_spec(TOKENS)
SECONDS, ROWS, HEAD_WIDTH = 0.4, 3, 4  # of what is tried out: rows that few meshes divide


# ---------------------------------------------------------------------------------------------
# What each device holds
# ---------------------------------------------------------------------------------------------


def lay_out(module: nnx.Module, mesh: Mesh) -> nnx.State:
    """Describe the parameters of a module, which may be abstract, as they would lie on a mesh."""
    described = []
    for parts, leaf in nnx.to_flat_state(nnx.state(module)):
        where = parallel.sharding(".".join(map(str, parts)), leaf.shape, mesh)
        described.append((parts, leaf.replace(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where))))
    return nnx.from_flat_state(described)


def lay_out_rows(batch: Any, mesh: Mesh) -> Any:
    """Describe arrays as `parallel.shard_like` would lay them out."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=parallel.row_sharding(x, mesh)), batch
    )


def bytes_on_each(described: Any) -> int:
    """Count the bytes of arrays on each device: the same on all of them."""
    leaves = jax.tree.leaves(described)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


# ---------------------------------------------------------------------------------------------
# What devices exchange
# ---------------------------------------------------------------------------------------------


def decode_program(model: GPT, spec: sampling.DecodeSpec, mesh: Mesh, batch: int) -> Compiled:
    """Compile the reading of a prompt and a window of steps for a mesh; the model may be abstract."""
    graphdef, _ = nnx.split(model)

    def inputs() -> tuple[Any, ...]:
        state = sampling.start(model, [0] * batch, [1] * batch, slots=model.cfg.block_size)
        prompt, row = jnp.zeros((batch, 2, spec.chunk), jnp.int32), jnp.zeros(batch, jnp.int32)
        keys, controls = sampling.row_keys(range(batch), journey.SEMANTIC.stream), sampling.Controls.from_user(0)
        return state, prompt, row, row, keys, controls

    described = lay_out_rows(jax.eval_shape(inputs), mesh)
    return sampling.decode_window.lower(graphdef, lay_out(model, mesh), spec, *described).compile()


def window_program(model: FineModel, mesh: Mesh, batch: int) -> Compiled:
    """Compile a window of the fine stage for a mesh; the model may be abstract."""
    graphdef, _ = nnx.split(model)

    def inputs() -> tuple[Any, ...]:
        codes = jnp.zeros((batch, TOKENS.n_fine_codebooks, TOKENS.max_fine_input_length), jnp.int32)
        keys, controls = sampling.row_keys(range(batch), journey.FINE.stream), sampling.Controls.from_user(0)
        return codes, jnp.zeros(batch, jnp.int32), keys, controls

    described = lay_out_rows(jax.eval_shape(inputs), mesh)
    given, count = TOKENS.n_coarse_codebooks, TOKENS.codebook_size
    return fine.fill_window.lower(graphdef, lay_out(model, mesh), given, count, *described).compile()


@dataclasses.dataclass(frozen=True)
class Exchange:
    """Hold one collective operation of a program, which may stand in several lines of it."""

    channel: str  # its number, the same in all its lines; or the place of the line, where it has none
    kind: str  # such as all-reduce
    arrays: tuple[tuple[int, ...], ...]  # shapes of what one device has of it afterwards
    bytes: int
    in_loop: bool  # whether it runs at every turn of the program's loop


COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) [^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
COLLECTIVE = re.compile(
    r" = (\S+|\(.*?\)) (all-reduce|all-gather|all-to-all|ragged-all-to-all|reduce-scatter|collective-permute|"
    r"collective-broadcast)(-start)?\((?:[^\n]*?\bchannel_id=(\d+))?"
)
ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")


def exchanges(program: Compiled) -> list[Exchange]:
    """List the collective operations of a compiled program."""
    return exchanges_in(str(program.as_text()))


def exchanges_in(text: str) -> list[Exchange]:
    """List the collective operations of a program, one for each channel.

    A TPU's program may name one operation in several lines, as parts of a fusion. The loop of a program
    is the one that it begins by itself, in no branch: over the steps, or over the codebooks.
    """
    computations = COMPUTATION.findall(text)
    bodies = {name: body for _, name, body in computations}
    entry = next(body for is_entry, _, body in computations if is_entry)
    looped: set[str] = set()
    unseen = [line for line in entry.splitlines() if " while(" in line]
    while unseen:
        called = bodies.keys() & set(re.findall(r"%([\w.-]+)", unseen.pop())) - looped
        looped |= called
        unseen += [bodies[name] for name in called]
    found: dict[str, Exchange] = {}
    for name, body in bodies.items():
        for place, (result, kind, started, channel) in enumerate(COLLECTIVE.findall(body)):
            shapes, size = exchanged(result, kind, started)
            one = Exchange(channel or f"{name} {place}", kind, shapes, size, name in looped)
            before = found.setdefault(one.channel, one)
            found[one.channel] = dataclasses.replace(
                max(before, one, key=lambda each: each.bytes), in_loop=before.in_loop or one.in_loop
            )
    return list(found.values())


def exchanged(result: str, kind: str, started: str) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Read the shapes and the bytes of the arrays that a device has after an operation."""
    arrays = []
    for dtype, dims in ARRAY.findall(result):
        shape = tuple(int(size) for size in dims.split(",") if size)
        width = 1 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0]) // 8
        arrays.append((math.prod(shape) * width, shape))
    if started and kind in ("all-gather", "collective-permute"):  # what goes in stands there too
        arrays = [max(arrays)]
    return tuple(shape for _, shape in arrays), sum(size for size, _ in arrays)


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------


def abstract_networks(sizes: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Make the networks of a shape without memory for their weights."""
    config, made = random_config(sizes), {}
    for name, network in NETWORKS.items():
        make = network.maker(network.read_config(config[network.config]), dtype)
        made[name] = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))  # noqa: B023 - called at once
    return made


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
    rows = batch + -batch % mesh.shape[parallel.DATA]
    held = [bytes_on_each(lay_out(network, mesh)) for network in networks.values()]
    spoken = networks["semantic"]
    cache = jax.eval_shape(lambda: empty_cache(spoken.cfg, rows, spoken.cfg.block_size, spoken.head.kernel.dtype))
    programs = decode_program(spoken, SEMANTIC, mesh, rows), window_program(networks["fine_acoustics"], mesh, rows)
    looped = [[one for one in exchanges(program) if one.in_loop] for program in programs]
    return [*held, sum(held), bytes_on_each(lay_out_rows(cache, mesh))], looped


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    meshes = "1x1,8x1,4x2,2x4,1x8"
    command.add_argument("--mesh", default=meshes, metavar="DxM[,DxM]", help=f"meshes, data x model ({meshes})")
    command.add_argument("--shape", choices=SHAPES, default="large", help="sizes of the networks (large)")
    command.add_argument("--batch", type=int, default=8, metavar="N", help="rows (8)")
    command.add_argument("--dtype", choices=DTYPES, help="of the transformers (float32 on a CPU, else bfloat16)")


def run(options: argparse.Namespace) -> None:
    """Print what the options ask for.

    Raises:
        ValueError: an option is out of its range, there are too few devices, or they cannot share the heads.
    """
    shapes = [parallel.parse_mesh(word) for word in options.mesh.split(",")]
    if options.batch < 1:
        raise ValueError(f"--batch is {options.batch}, it must be 1 or more")
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
        for label, mesh in zip(options.mesh.split(","), tqdm(meshes, "scaling", unit="mesh", disable=None)):
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
