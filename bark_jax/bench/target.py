"""What the published figures of a TPU allow: the least possible time of a step, on chips that are not here.

In:  a stage, a chip, a published shape, the rows of a batch, a mesh.
Out: the operations of a step, the bytes that it reads and sends, on each device, and the least time of each.

    one = roofline("semantic", "v5e", shape="large")
    one.least_seconds, one.bound    # 0.00083.., "reading"

A step is one token of the semantic and the coarse stage, one codebook of a window of the fine stage, and one chunk
of codes of the codec. Nothing is measured: a program cannot take less than this, and may take several times as long.
"""

import dataclasses
import functools
import math
import re
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from bark_jax.bench.programs import COARSE, SEMANTIC, abstract_networks
from bark_jax.bench.roofline import Work, chunk_work, codebook_work, step_work
from bark_jax.checkpoints.random import SHAPES, TOKENS
from bark_jax.codec import CHUNK_FRAMES

STEPS = {"semantic": "step", "coarse": "step", "fine": "codebook", "codec": f"chunk of {CHUNK_FRAMES} frames"}


# ---------------------------------------------------------------------------------------------
# Chips
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Chip:
    """Hold what is published of one chip: https://docs.cloud.google.com/tpu/docs, a page for each."""

    name: str
    operations: float  # floating-point operations a second, in bfloat16
    read: float  # bytes a second from its memory
    memory: float  # bytes
    exchange: float  # bytes a second to all its neighbours, and as many from them
    axes: int  # of its topologies


# What goes both ways over all links is published; one way it is half.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 197e12, 819e9, 16e9, 400e9 / 2, axes=2),
        Chip("v5p", 459e12, 2765e9, 95e9, 1200e9 / 2, axes=3),
        Chip("v6e", 918e12, 1638e9, 32e9, 800e9 / 2, axes=2),
    )
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Hold chips that are connected in a grid."""

    chip: Chip
    sizes: tuple[int, ...]  # chips along each axis

    @property
    def name(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.sizes))}"

    @property
    def chips(self) -> int:
        return math.prod(self.sizes)

    @classmethod
    def parse(cls, name: str) -> "Target":
        """Read a chip and its topology, such as "v5e:2x4". Raises ValueError for anything else."""
        found = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)*)", name.strip())
        chip = CHIPS.get(found[1]) if found else None
        sizes = tuple(map(int, found[2].split("x"))) if found else ()
        if chip is None or len(sizes) != chip.axes:
            raise ValueError(
                f"--target is {name!r}, it must be a chip ({', '.join(CHIPS)}) and its topology, "
                "such as v5e:1x1, v5e:2x4, v6e:2x2 or v5p:2x2x2"
            )
        return cls(chip, sizes)

    def meshes(self, heads: int) -> list[tuple[int, int]]:
        """List the meshes, data x model, that use all chips and whose `model` axis can share the heads."""
        return [(self.chips // n, n) for n in range(1, self.chips + 1) if self.chips % n == 0 and heads % n == 0]


# ---------------------------------------------------------------------------------------------
# The least time
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Hold what each device has to do in a step; the seconds are the least that its published figures allow."""

    chip: Chip
    operations: float
    bytes: float  # to read: weights, and the keys and values of the cache
    sent: float = 0  # bytes to other devices

    @property
    def seconds(self) -> dict[str, float]:
        """The least time of each kind of work. Sending takes no time to begin here, though it does on any device."""
        return {
            "reading": self.bytes / self.chip.read,
            "arithmetic": self.operations / self.chip.operations,
            "exchange": self.sent / self.chip.exchange,
        }

    @property
    def least_seconds(self) -> float:
        """The least time of the step: all kinds of work go on at once."""
        return max(self.seconds.values())

    @property
    def bound(self) -> str:
        """The kind of work that sets the least time: reading, arithmetic or exchange."""
        return max(self.seconds, key=self.seconds.__getitem__)

    @property
    def intensity(self) -> float:
        """Operations for each byte read; above `chip.operations / chip.read`, arithmetic takes longer."""
        return self.operations / self.bytes


def roofline(
    stage: str,
    chip: str | Chip,
    *,
    shape: str = "small",
    batch: int = 1,
    mesh: tuple[int, int] = (1, 1),
    dtype: DTypeLike = "bfloat16",
    keys: int | None = None,
) -> Roofline:
    """Count a step of a stage, and set it against the published figures of a chip.

    Args:
        stage: semantic, coarse, fine or codec.
        chip: a name in `CHIPS`, or the figures of another chip.
        shape: a name in `SHAPES`.
        mesh: places on `data` and on `model`; the figures are those of each device.
        dtype: of the transformers; the codec is in float32. Operations count as those in bfloat16.
        keys: filled slots of the cache in each row. By default all are filled, as at the end of a long text.

    Raises:
        ValueError: there is no such stage, chip or shape.
    """
    for kind, name, names in (("stage", stage, STEPS), ("shape", shape, SHAPES), ("chip", chip, CHIPS)):
        if isinstance(name, str) and name not in names:
            raise ValueError(f"the {kind} is {name!r}, it must be one of {', '.join(names)}")
    figures = CHIPS[chip] if isinstance(chip, str) else chip
    model = networks_of(shape, jnp.dtype(dtype))[stage]
    work = stage_work(stage, model, batch, mesh, keys)
    return Roofline(figures, work.operations, work.bytes, sent_bytes(stage, model, batch, mesh))


@functools.cache
def networks_of(shape: str, dtype: jnp.dtype) -> dict[str, Any]:
    """Describe the networks of a published shape, by the names of their stages."""
    return abstract_networks(SHAPES[shape], dtype)


def stage_work(stage: str, model: Any, batch: int, mesh: tuple[int, int], keys: int | None = None) -> Work:
    """Count a step of a stage on each device of a mesh."""
    data, places = mesh
    rows = math.ceil(batch / data)
    if stage == "codec":
        return chunk_work(model, rows)
    if stage == "fine":
        return codebook_work(model, rows, places)
    spec, _, slots = SEMANTIC if stage == "semantic" else COARSE
    return step_work(model, rows, spec.count, slots if keys is None else keys, places)


def sent_bytes(stage: str, model: Any, batch: int, mesh: tuple[int, int]) -> float:
    """Count what each device sends in a step: two sums over `model` in a layer, and that of a split embedding."""
    data, places = mesh
    if stage == "codec" or places == 1:
        return 0
    positions = math.ceil(batch / data) * (TOKENS.max_fine_input_length if stage == "fine" else 1)
    table = getattr(model, "token_embedding", None)
    embeddings = table is not None and table.embedding.shape[0] % places == 0
    sums = 2 * model.cfg.num_layers + embeddings
    width = model.cfg.hidden_size * model.position_embedding.embedding.dtype.itemsize
    return 2 * (places - 1) / places * sums * positions * width
