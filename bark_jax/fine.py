"""The two coarse codebooks to all eight: the fine transformer and its windows.

In:  codes (2, t), the fine codes of a voice.
Out: codes (8, t); the first two rows are the given ones.

This model is not autoregressive: it sees 1,024 frames at once, in both directions, and predicts one
codebook for all of them from the codebooks before it. Longer input is processed in windows that
advance by 512 frames:

    voice (up to 512) | frame 0 ............................................ frame t-1
    | window 0: 1,024 frames; every frame after the voice is written |
              | window 1, 512 frames later: every frame from 512 after the voice's end is written |

With a full voice each window therefore writes only frames that the previous one did not reach. Without a
voice it writes its first half a second time, now with more of the following frames in view.

The reference is `FineGPT` and `generate_fine` of suno-ai/bark, `bark/model_fine.py` and `generation.py`.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from bark_jax import parallel, sampling
from bark_jax.gpt import Block, embedding, layer_norm
from bark_jax.journey import FINE
from bark_jax.matmul import einsum_float32, look_up
from bark_jax.sampling import Progress
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice


@dataclasses.dataclass(frozen=True)
class FineConfig:
    """Hold the sizes of the fine transformer, under the names of Hugging Face's `config.json`."""

    input_vocab_size: int  # of each codebook
    num_layers: int
    num_heads: int
    hidden_size: int
    block_size: int = 1024  # frames
    bias: bool = False  # in linear layers; the LayerNorms always have one
    n_codes_total: int = 8
    n_codes_given: int = 1


class FineModel(nnx.Module):
    """Predict codebook k of every frame from codebooks 0 to k of all frames.

    Codebook k itself is an input too: it holds codes where they are known (those of a voice) and
    the pad elsewhere. Each codebook has one table, used as its embedding and as its output head.
    """

    def __init__(self, cfg: FineConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.cfg = cfg
        shape = (cfg.n_codes_total, cfg.input_vocab_size, cfg.hidden_size)
        self.codebook_embeddings = nnx.Param(0.02 * jax.random.normal(rngs.params(), shape, dtype))
        self.position_embedding = embedding(cfg.block_size, cfg.hidden_size, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            Block(cfg.hidden_size, cfg.num_heads, bias=cfg.bias, norm_bias=True, dtype=dtype, rngs=rngs)
            for _ in range(cfg.num_layers)
        )
        self.norm = layer_norm(cfg.hidden_size, bias=True, dtype=dtype, rngs=rngs)

    def embed(self, codes: Int[Array, "b q t"], codebook: int | Int[Array, ""]) -> Float[Array, "b t d"]:
        """Sum the embeddings of codebooks 0 to `codebook`, and add the positions."""
        tables = self.codebook_embeddings[...]
        each = jax.vmap(look_up, (0, 1), 1)(tables, codes)
        seen = jnp.arange(len(tables)) <= codebook
        summed = jnp.sum(jnp.where(seen[:, None, None], each, 0), axis=1)
        return summed + self.position_embedding(jnp.arange(codes.shape[2]))

    def __call__(
        self, codes: Int[Array, "b q t"], codebook: int | Int[Array, ""], count: int | None = None
    ) -> Float[Array, "b t v"]:
        """Return the logits of the first `count` codes (default: all) of one codebook, in float32."""
        x = self.embed(codes, codebook)
        for block in self.blocks:
            x = block(x)
        head = self.codebook_embeddings[codebook, :count]
        return einsum_float32("btd,vd->btv", self.norm(x), head)


@functools.partial(jax.jit, static_argnames=("graphdef", "first", "count"))
def fill_window(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    first: int,
    count: int,
    codes: Int[Array, "b q t"],
    begin: Int[Array, " b"],
    keys: Key[Array, " b"],
    controls: sampling.Controls,
) -> Int[Array, "b q t"]:
    """Predict codebooks `first` to the last of one window, each from the codebooks before it.

    Args:
        count: codes to choose from, without the pad.
        begin: the first frame to write in each row; the frames before it are kept.
    """
    model = nnx.merge(graphdef, params)
    unwritten = jnp.arange(codes.shape[2]) >= begin[:, None]

    def fill_codebook(codebook: Int[Array, ""], codes: Int[Array, "b q t"]) -> Int[Array, "b q t"]:
        logits = model(codes, codebook, count)
        b, t, v = logits.shape
        prepared = sampling.prepare(logits.reshape(b * t, v), controls).reshape(b, t, v)
        new = sampling.sample(prepared, jax.vmap(jax.random.fold_in, (0, None))(keys, codebook))
        return codes.at[:, codebook].set(jnp.where(unwritten, new, codes[:, codebook]))

    return jax.lax.fori_loop(first, codes.shape[1], fill_codebook, codes)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Hold how one row of frames is cut into windows.

    `total` frames: `history` frames of the voice, the `new` ones, and padding up to one window.
    """

    new: int
    history: int
    length: int  # frames in a window
    stride: int

    @property
    def total(self) -> int:
        return max(self.history + self.new, self.length)

    @property
    def count(self) -> int:
        return max(0, math.ceil((self.new - (self.length - self.history)) / self.stride)) + 1

    def span(self, n: int) -> tuple[int, int]:
        """Return the first frame of window n, and the first frame to write, relative to it."""
        begin = min(n * self.stride, self.total - self.length)
        write = min(self.history + n * self.stride, self.total - self.stride)
        return begin, write - begin


@jax.jit
def next_window(
    filled: Int[Array, "b q t"], shift: Int[Array, " b"], given: Int[Array, "b q t"]
) -> Int[Array, "b q t"]:
    """Advance by `shift` frames: keep the frames that the previous window filled in, then append the `given` ones."""
    moved = jax.vmap(functools.partial(jnp.roll, axis=1))(filled, -shift)
    is_filled = jnp.arange(filled.shape[2]) < filled.shape[2] - shift[:, None]
    return jnp.where(is_filled[:, None], moved, given)


def generate(
    model: FineModel,
    tokens: TokenConfig,
    coarse: Sequence[Int[np.ndarray, "_ _"]],
    voices: Sequence[Voice | None],
    seeds: Sequence[int],
    controls: sampling.Controls,
    *,
    on_progress: Progress | None = None,
) -> list[Int[np.ndarray, "_ _"]]:
    """Predict the codebooks that `coarse` lacks, one row of the batch for each entry.

    Args:
        on_progress: called with the windows done, and all of them.
    """
    count = len(coarse)
    coarse, voices, seeds = parallel.pad_rows(model, coarse, voices, seeds)
    length = tokens.max_fine_input_length
    rows, windows = [], []
    for given, voice in zip(coarse, voices, strict=True):
        old = np.zeros((tokens.n_fine_codebooks, 0), np.int32) if voice is None else voice.fine
        old = old[:, -tokens.max_fine_history_length :]
        cut = Windows(given.shape[1], old.shape[1], length, tokens.max_fine_history_length)
        codes = np.full((tokens.n_fine_codebooks, cut.total), tokens.fine_pad_token, np.int32)
        codes[:, : cut.history] = old
        codes[: len(given), cut.history : cut.history + cut.new] = given
        rows.append(codes)
        windows.append(cut)

    total = max(cut.count for cut in windows)
    # A row without a window n processes its last one again; the result is discarded.
    spans = [[cut.span(min(n, cut.count - 1)) for cut in windows] for n in range(total)]
    graphdef, params = nnx.split(model)
    shard = functools.partial(parallel.shard_like, like=params)
    keys = sampling.row_keys(seeds, FINE.stream)
    windows_given = [
        np.stack([codes[:, begin : begin + length] for codes, (begin, _) in zip(rows, span)]) for span in spans
    ]

    def fill() -> Iterator[Int[Array, "b q t"]]:
        """Start one window after another: what the next one needs of it stays on the device."""
        filled, previous = shard(windows_given[0]), np.zeros(len(rows), np.int32)
        for n, given in enumerate(windows_given):
            begin, write = np.array(spans[n], np.int32).T
            window_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, n)
            shift, write, given, window_keys = shard((begin - previous, write, given, window_keys))
            previous, inputs = begin, shard(next_window(filled, shift, given))
            first, size = tokens.n_coarse_codebooks, tokens.codebook_size
            filled = fill_window(graphdef, params, first, size, inputs, write, window_keys, controls)
            yield filled

    if on_progress is not None:
        on_progress(0, total)
    for n, filled in enumerate(sampling.lagged(fill())):
        for row, cut in enumerate(windows):
            if n < cut.count:
                begin, _ = spans[n][row]
                rows[row][:, begin : begin + length] = filled[row]
        if on_progress is not None:
            on_progress(n + 1, total)
    return [codes[:, cut.history : cut.history + cut.new] for codes, cut in zip(rows[:count], windows)]
