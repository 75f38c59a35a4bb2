"""What the device allows: the work that has to be done, and how fast it can be done at best.

Both rates are measured, by a sum over a large array and by matrix products. Whatever reads so many bytes
and does so many operations takes at least

    max(bytes / bytes read a second, operations / operations a second)

One step of decoding reads all weights for one token a row: its bytes count. Reading a prompt and filling
a window of the fine stage put many positions through the same weights: there the operations count.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bark_jax.bench.timing import clock
from bark_jax.checkpoints.random import TOKENS
from bark_jax.codec import CHUNK_FRAMES, Codec
from bark_jax.describe import parameter_count
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.matmul import einsum_float32
from bark_jax.platforms import platform

READ_BYTES, READ_ROW_BYTES = 2**28, 2**15  # far more than a cache holds, and the rows that are summed
SQUARE = 2048  # rows and columns of a large matrix product
TRIES = 7  # of which the best counts, for what the device does at best


@dataclasses.dataclass(frozen=True)
class Work:
    """Count what has to be done, however it is done: floating-point operations, and bytes to read."""

    operations: float
    bytes: float

    @classmethod
    def of(
        cls, model: GPT | FineModel, positions: int, pairs: float, scored: int = 0, keys: float = 0, places: int = 1
    ) -> "Work":
        """Count for one pass of all rows together, on each of `places` devices that share the heads of every layer.

        A multiplication and an addition for each weight of a kernel at each of the new `positions`, and
        for each number of a key and of a value where a query meets them, in `pairs`. The weights of the
        blocks are read once, the head as far as it scores `scored` ids, and `keys` of the cache with
        their values. Embeddings do not count: of their tables a few rows are read.
        """
        layers, width = model.cfg.num_layers, model.cfg.hidden_size
        matrices = kernels_of(model.blocks)
        kernels = sum(leaf.size for leaf in matrices)
        whole = parameter_count(model.blocks) + parameter_count(model.norm) - kernels + scored * width
        read = whole + (kernels + 2 * layers * keys * width) / places
        operations = 2 * positions * (kernels / places + scored * width) + 4 * layers * width * pairs / places
        return cls(operations, matrices[0].dtype.itemsize * read)


def prompt_work(model: GPT, batch: int, length: int) -> Work:
    """Count for reading a prompt: no position sees those behind it, none is scored."""
    return Work.of(model, batch * length, batch * length * (length + 1) / 2)


def step_work(model: GPT, batch: int, scored: int, keys: float, places: int = 1) -> Work:
    """Count for one step of decoding, with `keys` filled slots in the cache of each row."""
    return Work.of(model, batch, batch * keys, scored, batch * keys, places)


def codebook_work(model: FineModel, batch: int, places: int = 1) -> Work:
    """Count for one codebook of a window: every frame sees every other."""
    t = TOKENS.max_fine_input_length
    return Work.of(model, batch * t, batch * t * t, TOKENS.codebook_size, places=places)


def window_work(model: FineModel, batch: int) -> Work:
    """Count for filling a window: a pass for each codebook that is not given."""
    passes, one = TOKENS.n_fine_codebooks - TOKENS.n_coarse_codebooks, codebook_work(model, batch)
    return Work(passes * one.operations, passes * one.bytes)


def chunk_work(model: Codec, batch: int) -> Work:
    """Count for decoding a chunk of codes to samples: the LSTM and the convolutions of the decoder."""
    decoder, t = model.decoder, CHUNK_FRAMES
    operations = t * sum(leaf.size for part in (decoder.stem, decoder.lstm) for leaf in kernels_of(part))
    for stage in decoder.stages:
        operations += t * stage.up.kernel.size  # each input makes all outputs of the kernel
        t *= stage.up.stride
        operations += t * sum(leaf.size for leaf in kernels_of(stage.residuals))
    operations += t * decoder.head.kernel.size
    leaves = jax.tree.leaves(nnx.state(decoder))
    return Work(2 * batch * operations, sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))


def kernels_of(module: Any) -> list[Any]:
    """List the parameters of a module that multiply."""
    return [leaf for leaf in jax.tree.leaves(nnx.state(module)) if leaf.ndim > 1]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Hold what the device does in a second at best: bytes read, and operations of matrix products by their size."""

    read: float
    products: dict[str, float]

    def least_seconds(self, work: Work) -> float:
        return max(work.operations / max(self.products.values()), work.bytes / self.read)


def measure_limits(width: int, dtype: jnp.dtype) -> Limits:
    """Time sums over rows, and matrix products: a large one, and that of a prompt and a block's widest kernel.

    An accelerator gets more to do, several times in a row: else starting it is what is timed.
    """
    larger, launches = (1, 1) if platform() == "cpu" else (4, 8)

    def rate(amount: float, run: Callable[..., Any], *shapes: tuple[int, int]) -> float:
        inputs = [jnp.ones(shape, dtype) for shape in shapes]

        def launch() -> list[Any]:
            return [run(*inputs) for _ in range(launches)]

        clock(launch)  # compiles
        return launches * amount / min(clock(launch)[0] for _ in range(TRIES))

    rows = (larger * READ_BYTES // READ_ROW_BYTES, READ_ROW_BYTES // dtype.itemsize)
    read = rate(larger * READ_BYTES, jax.jit(functools.partial(jnp.sum, axis=1)), rows)
    sizes = ((larger * SQUARE,) * 3, (TOKENS.max_input_semantic_length, width, 4 * width))
    multiply = jax.jit(functools.partial(einsum_float32, "mk,kn->mn"))  # as the models do
    products = {f"{m} x {k} x {n}": rate(2 * m * k * n, multiply, (m, k), (k, n)) for m, k, n in sizes}
    return Limits(read, products)
