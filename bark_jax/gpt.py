"""The transformer under all three stages, and the causal model with its KV cache.

In:  embeddings (b, t, d) of new tokens, and a cache of the tokens before them.
Out: hidden states (b, t, d) and the keys and values of the new tokens; logits on request.

Nothing here knows of text, audio or sampling, and no module changes: the cache is an argument and a
result. The reference is nanoGPT as Suno trained it (suno-ai/bark, `bark/model.py`).

Letters in shapes: b batch, t new tokens (queries), s tokens seen (keys), d width, n heads,
h head width, v vocabulary, r slots of recent tokens.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from bark_jax.matmul import einsum_float32, look_up, project
from bark_jax.platforms import by_platform


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    """Hold the sizes of one causal transformer, with the names of Hugging Face's `config.json`."""

    input_vocab_size: int
    output_vocab_size: int
    num_layers: int
    num_heads: int
    hidden_size: int
    block_size: int = 1024  # positions
    bias: bool = False  # in linear layers and LayerNorms; the head never has one


# ---------------------------------------------------------------------------------------------
# The KV cache
# ---------------------------------------------------------------------------------------------

Past = tuple[Float[Array, "b n s h"], Float[Array, "b n s h"]]  # keys and values of one layer
Recent = tuple[Float[Array, "b n r h"], Float[Array, "b n r h"]]
New = tuple[Float[Array, "b n t h"], Float[Array, "b n t h"]]

write_slots = jax.lax.dynamic_update_slice_in_dim


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Hold the keys and values of every token seen, for each layer, in two parts.

        past    | k k k k k k k k . . . . . . |   slots 0 .. length-1 of each row are filled
        recent                  | k k k . . . |   slots 0 .. used-1, the same for every row

    A decode loop only reads `past`, and writes one slot of `recent` a step: if it wrote to `past`, XLA
    would copy all of `past` at every step. `commit` moves the recent tokens to `past`. A token's position
    is its index in `past` followed by `recent`. Every query reads all slots, the empty ones too:
    `past` therefore begins small, and `with_slots` grows it as the speech gets longer.
    """

    past: list[Past]
    length: Int[Array, " b"]
    recent: list[Recent]
    used: Int[Array, ""]

    @property
    def slots(self) -> int:
        """The number of tokens that fit in `past`."""
        return self.past[0][0].shape[2]

    def append(self, new: list[New], at: Int[Array, ""] | None = None) -> "KVCache":
        """Write new tokens after the used slots of `recent`, or from slot `at` on."""
        at = self.used if at is None else at
        recent = jax.tree.map(lambda old, new: write_slots(old, new, at, axis=2), self.recent, new)
        return dataclasses.replace(self, recent=recent, used=self.used + new[0][0].shape[2])

    def extend(self, new: list[New]) -> "KVCache":
        """Write new tokens after the filled slots of `past`, row by row."""
        write = jax.vmap(functools.partial(write_slots, axis=1))
        past = jax.tree.map(lambda old, new: write(old, new, self.length), self.past, new)
        return dataclasses.replace(self, past=past, length=self.length + new[0][0].shape[2])

    def commit(self) -> "KVCache":
        """Move the used slots of `recent` after the filled ones of `past`."""
        past = self.extend(self.recent).past
        return KVCache(past, self.length + self.used, self.recent, self.used).with_recent(0)

    def without_past(self) -> "KVCache":
        """Return an empty cache without slots in `past`, for the first tokens of a prompt."""
        past = [(key[:, :, :0], value[:, :, :0]) for key, value in self.past]
        return KVCache(past, jnp.zeros_like(self.length), self.recent, self.used)

    def with_slots(self, slots: int) -> "KVCache":
        """Return the cache with `slots` slots in `past`, at least as many as now."""
        padding = ((0, 0), (0, 0), (0, slots - self.slots), (0, 0))
        return dataclasses.replace(self, past=jax.tree.map(lambda old: jnp.pad(old, padding), self.past))

    def with_recent(self, slots: int) -> "KVCache":
        """Return the cache with an empty `recent` of `slots` slots."""
        recent = jax.tree.map(lambda x: jnp.zeros((*x.shape[:2], slots, x.shape[3]), x.dtype), self.past)
        return KVCache(self.past, self.length, recent, jnp.int32(0))


def empty_cache(cfg: GPTConfig, batch: int, slots: int, dtype: DTypeLike) -> KVCache:
    """Make an empty cache with `slots` slots a row in `past`, and none in `recent`."""
    shape = (batch, cfg.num_heads, slots, cfg.hidden_size // cfg.num_heads)
    past = [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(cfg.num_layers)]
    return KVCache(past, jnp.zeros(batch, jnp.int32), [], jnp.int32(0)).with_recent(0)


# ---------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------

# What a query may see: keys, values, and a mask (None: all of them). Each part has its own number of keys.
Seen = tuple[Float[Array, "b n _ h"], Float[Array, "b n _ h"], Bool[Array, "#b 1 #t _"] | None]


def attend(query: Float[Array, "b n t h"], *seen: Seen) -> Float[Array, "b n t h"]:
    """Return the values weighted by softmax(q k / sqrt(h)) over the keys of all parts, in float32."""
    scale = query.shape[-1] ** -0.5
    seen = tuple(part for part in seen if part[0].shape[2])  # an empty cache is none
    scores = []
    for key, _, mask in seen:
        score = einsum_float32("bnth,bnsh->bnts", query, key) * scale
        scores.append(score if mask is None else jnp.where(mask, score, -jnp.inf))
    weights = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1).astype(query.dtype)
    ends = [0]
    for key, _, _ in seen:
        ends.append(ends[-1] + key.shape[2])
    parts = [
        einsum_float32("bnts,bnsh->bnth", weights[..., first:last], value)
        for (_, value, _), first, last in zip(seen, ends, ends[1:])
    ]
    return functools.reduce(jnp.add, parts).astype(query.dtype)


def attend_fully(
    query: Float[Array, "b n t h"], key: Float[Array, "b n t h"], value: Float[Array, "b n t h"]
) -> Float[Array, "b n t h"]:
    """Let every position see every other.

    On a CPU alone head after head: the scores of one, 4 MB for 1,024 positions, need not leave its cache.
    Several devices would have to fetch all heads for that.
    """
    if jax.local_device_count() > 1:
        return attend(query, (key, value, None))
    b, n, t, h = query.shape

    def head_by_head(*arrays: Array) -> Array:
        heads = tuple(x.reshape(b * n, 1, 1, t, h) for x in arrays)
        return jax.lax.map(lambda one: attend(one[0], (one[1], one[2], None)), heads).reshape(b, n, t, h)

    def at_once(query: Array, key: Array, value: Array) -> Array:
        return attend(query, (key, value, None))

    return by_platform(query, key, value, cpu=head_by_head, default=at_once)


class Attention(nnx.Module):
    """Multi-head self-attention; the projections to queries, keys and values are one matrix.

        columns of `qkv`   q0 k0 v0 | q1 k1 v1 | ...   the number is that of the head, each part is h wide

    Head by head, so that devices that share the columns share whole heads.
    """

    def __init__(self, width: int, num_heads: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs):
        self.num_heads = num_heads
        self.qkv = linear(width, 3 * width, bias=bias, dtype=dtype, rngs=rngs)
        self.out = linear(width, width, bias=bias, dtype=dtype, rngs=rngs)

    def heads(self, x: Float[Array, "b t d"]) -> Float[Array, "3 b n t h"]:
        """Project to queries, keys and values, and split them into heads."""
        b, t, d = x.shape
        return self.qkv(x).reshape(b, t, self.num_heads, 3, d // self.num_heads).transpose(3, 0, 2, 1, 4)

    def merge(self, mixed: Float[Array, "b n t h"]) -> Float[Array, "b t d"]:
        """Put the heads side by side again and project."""
        b, n, t, h = mixed.shape
        return self.out(jnp.moveaxis(mixed, 1, 2).reshape(b, t, n * h))


@jax.checkpoint
def gelu(x: Float[Array, "*shape d"]) -> Float[Array, "*shape d"]:
    """Compute the exact (erf) GELU in float32; the backward pass recomputes it instead of storing its parts."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)


class MLP(nnx.Module):
    """Two linear layers, four times as wide in between, with an exact (erf) GELU."""

    def __init__(self, width: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs):
        self.up = linear(width, 4 * width, bias=bias, dtype=dtype, rngs=rngs)
        self.down = linear(4 * width, width, bias=bias, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        return self.down(gelu(self.up(x)))


class Block(nnx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, num_heads: int, *, bias: bool, norm_bias: bool, dtype: DTypeLike, rngs: nnx.Rngs):
        self.norm_1 = layer_norm(width, bias=norm_bias, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, num_heads, bias=bias, dtype=dtype, rngs=rngs)
        self.norm_2 = layer_norm(width, bias=norm_bias, dtype=dtype, rngs=rngs)
        self.mlp = MLP(width, bias=bias, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Apply full attention: every position sees every other, without a cache."""
        x = x + self.attention.merge(attend_fully(*self.attention.heads(self.norm_1(x))))
        return x + self.mlp(self.norm_2(x))

    def step(
        self,
        x: Float[Array, "b t d"],
        past: Past,
        recent: Recent,
        past_mask: Bool[Array, "b 1 1 s"],
        recent_mask: Bool[Array, "1 1 1 r"],
        new_mask: Bool[Array, "1 1 t t"],
    ) -> tuple[Float[Array, "b t d"], New]:
        """Let new tokens attend to the past, recent and preceding new ones; return their keys and values too."""
        query, key, value = self.attention.heads(self.norm_1(x))
        seen = ((*past, past_mask), (*recent, recent_mask), (key, value, new_mask))
        x = x + self.attention.merge(attend(query, *seen))
        return x + self.mlp(self.norm_2(x)), (key, value)


def linear(width_in: int, width_out: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        width_in, width_out, use_bias=bias, dtype=dtype, param_dtype=dtype, dot_general=project, rngs=rngs
    )


def layer_norm(width: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm as torch computes it: epsilon 1e-5, and the variance from the centred values."""
    return nnx.LayerNorm(
        width, epsilon=1e-5, use_bias=bias, use_fast_variance=False, dtype=dtype, param_dtype=dtype, rngs=rngs
    )


class Embedding(nnx.Embed):
    """A table of embeddings; gradients of a row are summed in float32."""

    def __call__(self, inputs: Int[Array, "*shape"]) -> Float[Array, "*shape d"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return look_up(self.embedding[...], inputs)


def embedding(entries: int, width: int, *, dtype: DTypeLike, rngs: nnx.Rngs) -> Embedding:
    return Embedding(entries, width, dtype=dtype, param_dtype=dtype, rngs=rngs)


# ---------------------------------------------------------------------------------------------
# The causal model
# ---------------------------------------------------------------------------------------------


class GPT(nnx.Module):
    """The causal transformer of the semantic and the coarse stage."""

    def __init__(self, cfg: GPTConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.cfg = cfg
        self.token_embedding = embedding(cfg.input_vocab_size, cfg.hidden_size, dtype=dtype, rngs=rngs)
        self.position_embedding = embedding(cfg.block_size, cfg.hidden_size, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            Block(cfg.hidden_size, cfg.num_heads, bias=cfg.bias, norm_bias=cfg.bias, dtype=dtype, rngs=rngs)
            for _ in range(cfg.num_layers)
        )
        self.norm = layer_norm(cfg.hidden_size, bias=cfg.bias, dtype=dtype, rngs=rngs)
        self.head = linear(cfg.hidden_size, cfg.output_vocab_size, bias=False, dtype=dtype, rngs=rngs)

    def embed(self, ids: Int[Array, "*shape"]) -> Float[Array, "*shape d"]:
        """Look up token embeddings; positions are added in `__call__`."""
        return self.token_embedding(ids)

    def __call__(self, x: Float[Array, "b t d"], cache: KVCache) -> tuple[Float[Array, "b t d"], list[New]]:
        """Process t new tokens after those in the cache; return their keys and values, for `append` or `extend`."""
        new = jnp.arange(x.shape[1])
        position = (cache.length + cache.used)[:, None] + new
        x = x + self.position_embedding(jnp.minimum(position, self.cfg.block_size - 1))  # past the end is padding
        past_mask = (jnp.arange(cache.slots) < cache.length[:, None])[:, None, None]
        recent_mask = (jnp.arange(cache.recent[0][0].shape[2]) < cache.used)[None, None, None]
        new_mask = (new <= new[:, None])[None, None]
        after: list[New] = []
        for block, past, recent in zip(self.blocks, cache.past, cache.recent, strict=True):
            x, key_and_value = block.step(x, past, recent, past_mask, recent_mask, new_mask)
            after.append(key_and_value)
        return x, after

    def logits(
        self, hidden: Float[Array, "b t d"], first: int | Int[Array, ""] = 0, count: int | None = None
    ) -> Float[Array, "b t v"]:
        """Return the logits of `count` ids from `first` on (None: all), in float32.

        A stage that samples one of 1,024 ids does not need the head's other 11,072 columns.
        """
        kernel, hidden = self.head.kernel[...], self.norm(hidden)
        count = count or kernel.shape[1]
        few = 2 * count < kernel.shape[1]  # otherwise slicing the columns costs more than using them all
        if few:
            kernel = jax.lax.dynamic_slice_in_dim(kernel, first, count, axis=1)
        logits = einsum_float32("btd,dv->btv", hidden, kernel)
        return logits if few else jax.lax.dynamic_slice_in_dim(logits, first, count, axis=2)


def causal_hidden(model: GPT, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
    """Process whole sequences of embeddings at once, without a cache."""
    hidden, _ = model(x, empty_cache(model.cfg, x.shape[0], 0, x.dtype))
    return hidden


def causal_logits(model: GPT, x: Float[Array, "b t d"]) -> Float[Array, "b t v"]:
    """Return the logits of every next token of whole sequences of embeddings."""
    return model.logits(causal_hidden(model, x))
