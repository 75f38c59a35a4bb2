"""Draw tokens: the filters, and the one compiled decode loop that the semantic and coarse stages share.

In:  a causal model, a prompt of ids, a key for each row, how to draw.
Out: ids, a window of them at a time.

Nothing here knows what the ids mean. The order of the filters is Suno's (suno-ai/bark,
`bark/generation.py`): top-p on the logits as they are, then top-k, then the temperature.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from bark_jax.gpt import GPT, KVCache, empty_cache

Progress = Callable[[int, int], None]  # told how much is done, and of how much

WHOLE_NUMBER = (int, np.integer)
NUMBER = (int, float, np.integer, np.floating)
NO_TOP_K = np.iinfo(np.int32).max
NOT_DRAWN = -1  # fills a row of drawn ids behind its end
FIRST_SLOTS = 512  # of a cache; prompt and tokens of 5 seconds of speech fit


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controls:
    """Hold how to draw. All are arrays to the compiled loop: a new value compiles nothing."""

    temperature: Float[Array, ""]  # 0: the most probable token
    top_k: Int[Array, ""]  # NO_TOP_K: off
    top_p: Float[Array, ""]  # inf: off
    min_eos_p: Float[Array, ""]  # inf: off

    @classmethod
    def check(
        cls,
        temperature: Any,
        top_k: Any = None,
        top_p: Any = None,
        min_eos_p: Any = None,
        name: str = "temperature",
    ) -> "Controls":
        """Check what a user passed and make arrays of it.

        Raises:
            ValueError: on a temperature below 0, a top_k below 1, a top_p or min_eos_p outside ]0, 1].
        """
        if not (isinstance(temperature, NUMBER) and 0 <= temperature < math.inf):
            raise ValueError(f"{name} is {temperature!r}, it must be 0 (greedy) or more: Bark uses 0.5 to 0.7")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, WHOLE_NUMBER) or top_k < 1):
            raise ValueError(f"top_k is {top_k!r}, it must be a whole number from 1 on, or None to keep every token")
        for label, value in (("top_p", top_p), ("min_eos_p", min_eos_p)):
            if value is not None and not (isinstance(value, NUMBER) and 0 < value <= 1):
                raise ValueError(f"{label} is {value!r}, it must be above 0 and at most 1, or None to switch it off")
        return cls(
            jnp.float32(temperature),
            jnp.int32(NO_TOP_K if top_k is None else min(top_k, NO_TOP_K)),
            jnp.float32(math.inf if top_p in (None, 1) else top_p),  # 1 keeps all, whatever the rounding
            jnp.float32(math.inf if min_eos_p is None else min_eos_p),
        )


def row_keys(seeds: Sequence[int], stage: int) -> Key[Array, " b"]:
    """Make one random key for each row, different in each stage.

    The generator is threefry whatever JAX is configured to use: with it, a row of a batch draws
    the same numbers as the row alone.
    """
    keys = jax.vmap(functools.partial(jax.random.key, impl="threefry2x32"))(np.array(seeds, np.uint32))
    return jax.vmap(jax.random.fold_in, (0, None))(keys, stage)


# ---------------------------------------------------------------------------------------------
# One draw
# ---------------------------------------------------------------------------------------------


def filter_logits(logits: Float[Array, "b v"], top_k: Int[Array, ""], top_p: Float[Array, ""]) -> Float[Array, "b v"]:
    """Set to -inf what top-p, then top-k, leave out.

    Top-p keeps the most probable ids until their probabilities exceed `top_p`, the one that
    crosses included. Ids that tie with the last one kept stay.
    """
    ranked = jnp.sort(logits, axis=-1, descending=True)
    before = jnp.cumsum(jax.nn.softmax(ranked, axis=-1), axis=-1)[:, :-1]
    kept = jnp.minimum(1 + jnp.sum(before <= top_p, axis=-1), top_k)
    threshold = jnp.take_along_axis(ranked, kept[:, None] - 1, axis=-1)
    return jnp.where(logits < threshold, -jnp.inf, logits)


def prepare(logits: Float[Array, "b v"], controls: Controls) -> Float[Array, "b v"]:
    """Filter and temper logits: a softmax of the result gives the probabilities to draw with.

    At temperature 0 all but the most probable id are -inf, the limit of ever lower temperatures.
    """
    wanted = (controls.top_k != NO_TOP_K) | (controls.top_p != jnp.inf)
    cut = functools.partial(filter_logits, top_k=controls.top_k, top_p=controls.top_p)
    logits = jax.lax.cond(wanted, cut, jnp.asarray, logits)  # its sort takes longer than a layer
    best = jnp.arange(logits.shape[-1]) == jnp.argmax(logits, axis=-1, keepdims=True)
    tempered = logits / jnp.where(controls.temperature == 0, 1, controls.temperature)
    return jnp.where(controls.temperature == 0, jnp.where(best, 0, -jnp.inf), tempered)


def draw(prepared: Float[Array, "b *t v"], keys: Key[Array, " b"]) -> Int[Array, "b *t"]:
    """Draw ids, each row with its own key: the Gumbel-max trick, argmax(logits + Gumbel noise)."""
    noise = jax.vmap(functools.partial(jax.random.gumbel, shape=prepared.shape[1:]))(keys)
    return jnp.argmax(prepared + noise, axis=-1).astype(jnp.int32)


# ---------------------------------------------------------------------------------------------
# The decode loop
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
    """Hold what is fixed for a stage, and so compiled into its program."""

    steps: int  # ids in one window
    chunk: int  # prompt positions read at once
    first_ids: tuple[int, ...]  # where the candidates of step i begin: first_ids[i % len(first_ids)]
    count: int  # candidates at each step
    drawable: int  # of these, the first so many can be drawn,
    eos: int | None = None  # and this one, which ends the row


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DecodeState:
    """Hold a batch between two steps of the loop, and between two windows.

    `token` was drawn last, or ends the prompt; it is not in the cache yet. Every row takes part in
    every step; what a finished row draws is thrown away.
    """

    cache: KVCache
    token: Int[Array, " b"]
    step: Int[Array, ""]  # steps done since the stage began
    done: Bool[Array, " b"]

    def forget(self) -> "DecodeState":
        """Say that the cache holds nothing, so that the next window reads its prompt."""
        return dataclasses.replace(self, cache=dataclasses.replace(self.cache, length=0 * self.cache.length))

    def with_room(self, slots: int) -> "DecodeState":
        """Return the state with room for at least so many tokens a row in its cache."""
        return self if slots <= self.cache.slots else _grow(self, slots)


@functools.partial(jax.jit, static_argnames="slots")
def _grow(state: DecodeState, slots: int) -> DecodeState:
    return dataclasses.replace(state, cache=state.cache.with_slots(slots))


def cache_slots(tokens: int, most: int) -> int:
    """Choose the size of a cache for so many tokens a row, when there will be `most` at last.

    Each step reads all slots, the empty ones too, and each size is a program to compile: so there are two.
    """
    return FIRST_SLOTS if tokens <= FIRST_SLOTS < most else most


def start(model: GPT, token: Sequence[int], limits: Sequence[int], slots: int) -> DecodeState:
    """Make the state of a stage before its first window; `token` is what each row feeds first."""
    cache = empty_cache(model.cfg, len(limits), slots, model.head.kernel.dtype)
    return DecodeState(cache, jnp.asarray(token, jnp.int32), jnp.int32(0), jnp.asarray(limits) <= 0)


@functools.partial(jax.jit, static_argnames=("graphdef", "plan"), donate_argnames="state")
def decode_window(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    plan: Plan,
    state: DecodeState,
    prompt: Int[Array, "b k p"],
    length: Int[Array, " b"],
    limit: Int[Array, " b"],
    keys: Key[Array, " b"],
    controls: Controls,
) -> tuple[DecodeState, Int[Array, "b steps"]]:
    """Read the prompt where the cache does not hold it, then draw up to `plan.steps` ids a row.

    Returns the state, whose cache has the prompt and all ids drawn but the last one, and the ids:
    NOT_DRAWN behind the end of a row.

    Args:
        graphdef, params: a `GPT`, split by `nnx.split`.
        prompt: ids whose embeddings are summed over k, padded on the right to a multiple of
            `plan.chunk`; the state's token comes after them.
        length: filled positions of the prompt. Where the cache is as long it is taken to hold them.
        limit: a row ends when so many ids have been drawn in the stage.
    """
    model = nnx.merge(graphdef, params)
    cache = jax.lax.cond(
        jnp.all(state.done | (state.cache.length == length)),
        lambda cache: cache,
        lambda cache: prefill(model, cache, prompt, length, plan.chunk),
        state.cache,
    )
    state = dataclasses.replace(state, cache=cache.with_recent(plan.steps))
    drawn = jnp.full((len(limit), plan.steps), NOT_DRAWN, jnp.int32)
    body = functools.partial(_decode_step, model, plan, limit, keys, controls)
    state, drawn = jax.lax.while_loop(functools.partial(_unfinished, plan), body, (state, drawn))
    return dataclasses.replace(state, cache=state.cache.commit()), drawn


def one_behind(results: Iterable[Array]) -> Iterator[np.ndarray]:
    """Bring results to the host, each when the next has been asked for: the device never waits for the host."""
    before = None
    for result in results:
        if before is not None:
            yield np.asarray(before)
        before = result
    if before is not None:
        yield np.asarray(before)


def prefill(model: GPT, cache: KVCache, prompt: Int[Array, "b k p"], length: Int[Array, " b"], chunk: int) -> KVCache:
    """Fill an empty cache with a prompt, chunk by chunk, as far as the longest row goes.

    Rows shorter than that leave junk behind their end, where nothing looks: the next tokens
    overwrite it.
    """

    def read_chunk(cache: KVCache, seen: KVCache) -> KVCache:
        ids = jax.lax.dynamic_slice_in_dim(prompt, cache.length[0], chunk, axis=2)
        _, new = model(model.embed(ids).sum(axis=1), seen)
        return cache.extend(new)

    cache = dataclasses.replace(cache, length=jnp.zeros_like(length))
    cache = read_chunk(cache, cache.without_past())
    if prompt.shape[2] > chunk:
        unread = jnp.max(length)
        cache = jax.lax.while_loop(
            lambda cache: cache.length[0] < unread, lambda cache: read_chunk(cache, cache), cache
        )
    return dataclasses.replace(cache, length=length)


Loop = tuple[DecodeState, Int[Array, "b steps"]]


def _unfinished(plan: Plan, loop: Loop) -> Bool[Array, ""]:
    state, _ = loop
    return (state.cache.used < plan.steps) & ~jnp.all(state.done)


def _decode_step(
    model: GPT, plan: Plan, limit: Int[Array, " b"], keys: Key[Array, " b"], controls: Controls, loop: Loop
) -> Loop:
    """Feed the last token of each row and draw the next."""
    state, drawn = loop
    cache = state.cache
    hidden, new = model(model.embed(state.token[:, None]), cache)
    first = jnp.array(plan.first_ids)[state.step % len(plan.first_ids)]
    candidates = jnp.arange(plan.count)
    allowed = candidates < plan.drawable
    if plan.eos is not None:
        allowed |= candidates == plan.eos
    logits = jnp.where(allowed, model.logits(hidden, first, plan.count)[:, 0], -jnp.inf)

    prepared = prepare(logits, controls)
    choice = draw(prepared, jax.vmap(jax.random.fold_in, (0, None))(keys, state.step))
    done = state.done
    if plan.eos is not None:
        eos_p = jax.nn.softmax(prepared, axis=-1)[:, plan.eos]
        done |= (choice == plan.eos) | (eos_p >= controls.min_eos_p)
    drawn = drawn.at[:, cache.used].set(jnp.where(done, NOT_DRAWN, first + choice))
    done |= state.step + 1 >= limit
    # No choice is negative, but XLA does not know that: the place depends on what has been drawn, so all reading
    # of `recent` comes before the writing, and no copy of it is needed.
    cache = cache.append(new, jnp.where(jnp.all(choice < 0), 0, cache.used))
    return DecodeState(cache, first + choice, state.step + 1, done), drawn
