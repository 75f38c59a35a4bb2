"""Sample tokens: the filters, and the one compiled decode loop that the semantic and coarse stages share.

In:  a causal model, prompts of ids, a key for each row, the sampling controls.
Out: ids, one window of them after another.

Nothing here knows what the ids mean. The order of the filters is Suno's (suno-ai/bark,
`bark/generation.py`): top-p on the unchanged logits, then top-k, then the temperature.
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

from bark_jax import parallel
from bark_jax.gpt import GPT, KVCache, empty_cache

Progress = Callable[[int, int], None]  # called as (done, total)

WHOLE_NUMBER = (int, np.integer)
NUMBER = (int, float, np.integer, np.floating)
NO_TOP_K = np.iinfo(np.int32).max
NOT_SAMPLED = -1  # fills a row of ids after its end
FIRST_SLOTS = 512  # of a cache: enough for the prompt and the tokens of 5 seconds of speech


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controls:
    """Hold the sampling controls as arrays: a new value does not recompile the loop."""

    temperature: Float[Array, ""]  # 0 is greedy: the most probable token
    top_k: Int[Array, ""]  # NO_TOP_K: off
    top_p: Float[Array, ""]  # inf: off
    min_eos_p: Float[Array, ""]  # inf: off

    @classmethod
    def from_user(
        cls,
        temperature: Any,
        top_k: Any = None,
        top_p: Any = None,
        min_eos_p: Any = None,
        name: str = "temperature",
    ) -> "Controls":
        """Check the values that a user passed and turn them into arrays.

        Raises:
            ValueError: a temperature is below 0, a top_k below 1, a top_p or min_eos_p not in (0, 1].
        """
        if not (isinstance(temperature, NUMBER) and 0 <= temperature < math.inf):
            raise ValueError(f"{name} is {temperature!r}, it must be 0 (greedy) or more: Bark uses 0.5 to 0.7")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, WHOLE_NUMBER) or top_k < 1):
            raise ValueError(f"top_k is {top_k!r}, it must be a whole number of 1 or more, or None to keep all tokens")
        for label, value in (("top_p", top_p), ("min_eos_p", min_eos_p)):
            if value is not None and not (isinstance(value, NUMBER) and 0 < value <= 1):
                raise ValueError(f"{label} is {value!r}, it must be above 0 and at most 1, or None to turn it off")
        return cls(
            jnp.float32(temperature),
            jnp.int32(NO_TOP_K if top_k is None else min(top_k, NO_TOP_K)),
            jnp.float32(math.inf if top_p in (None, 1) else top_p),  # 1 keeps all, whatever the rounding
            jnp.float32(math.inf if min_eos_p is None else min_eos_p),
        )


def row_keys(seeds: Sequence[int], stage: int) -> Key[Array, " b"]:
    """Make one random key for each row, different in each stage.

    The generator is always threefry, whatever JAX is configured to use: with it, a row of a batch
    gets the same random numbers as the row alone.
    """
    keys = jax.vmap(functools.partial(jax.random.key, impl="threefry2x32"))(np.array(seeds, np.uint32))
    return jax.vmap(jax.random.fold_in, (0, None))(keys, stage)


# ---------------------------------------------------------------------------------------------
# One token
# ---------------------------------------------------------------------------------------------


def filter_logits(logits: Float[Array, "b v"], top_k: Int[Array, ""], top_p: Float[Array, ""]) -> Float[Array, "b v"]:
    """Set the logits that top-p, then top-k, remove to -inf.

    Top-p (nucleus sampling) keeps the smallest set of most probable ids whose probability exceeds
    `top_p`. Ids that tie with the last one kept are kept too.
    """
    ranked = jnp.sort(logits, axis=-1, descending=True)
    before = jnp.cumsum(jax.nn.softmax(ranked, axis=-1), axis=-1)[:, :-1]
    kept = jnp.minimum(1 + jnp.sum(before <= top_p, axis=-1, dtype=jnp.int32), top_k)
    threshold = jnp.take_along_axis(ranked, kept[:, None] - 1, axis=-1)
    return jnp.where(logits < threshold, -jnp.inf, logits)


def prepare(logits: Float[Array, "b v"], controls: Controls) -> Float[Array, "b v"]:
    """Filter logits and apply the temperature: the softmax of the result is the distribution to sample from.

    At temperature 0 every id but the most probable one is -inf: the limit of falling temperatures.
    """
    is_filtered = (controls.top_k != NO_TOP_K) | (controls.top_p != jnp.inf)
    cut = functools.partial(filter_logits, top_k=controls.top_k, top_p=controls.top_p)
    logits = jax.lax.cond(is_filtered, cut, jnp.asarray, logits)  # the sort takes longer than a layer
    best = jnp.arange(logits.shape[-1]) == jnp.argmax(logits, axis=-1, keepdims=True)
    tempered = logits / jnp.where(controls.temperature == 0, 1, controls.temperature)
    return jnp.where(controls.temperature == 0, jnp.where(best, 0, -jnp.inf), tempered)


def sample(prepared: Float[Array, "b *t v"], keys: Key[Array, " b"]) -> Int[Array, "b *t"]:
    """Sample ids, each row with its own key: the Gumbel-max trick, argmax(logits + Gumbel noise)."""
    noise = jax.vmap(functools.partial(jax.random.gumbel, shape=prepared.shape[1:], dtype=jnp.float32))(keys)
    return jnp.argmax(prepared + noise, axis=-1).astype(jnp.int32)


# ---------------------------------------------------------------------------------------------
# The decode loop
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class DecodeSpec:
    """Hold what is fixed for a stage, and therefore compiled into its program."""

    steps: int  # ids in one window
    chunk: int  # prompt positions processed at once
    first_ids: tuple[int, ...]  # the first candidate of step i is first_ids[i % len(first_ids)]
    count: int  # candidates at each step
    allowed: int  # only the first `allowed` candidates can be sampled,
    eos: int | None = None  # and this one, which ends the row


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DecodeState:
    """Hold a batch between two steps of the loop, and between two windows.

    `token` was sampled last, or ends the prompt; it is not in the cache yet. Every row takes part in
    every step; what a finished row samples is discarded.
    """

    cache: KVCache
    token: Int[Array, " b"]
    step: Int[Array, ""]  # steps done since the stage began
    done: Bool[Array, " b"]

    def forget(self) -> "DecodeState":
        """Empty the cache, so that the next window processes its prompt anew."""
        return dataclasses.replace(self, cache=dataclasses.replace(self.cache, length=0 * self.cache.length))

    def with_room(self, slots: int) -> "DecodeState":
        """Return the state with a cache of at least `slots` tokens a row."""
        return self if slots <= self.cache.slots else _grow(self, slots)


@functools.partial(jax.jit, static_argnames="slots")
def _grow(state: DecodeState, slots: int) -> DecodeState:
    return dataclasses.replace(state, cache=state.cache.with_slots(slots))


def cache_slots(tokens: int, maximum: int) -> int:
    """Choose the cache size for `tokens` tokens a row, of at most `maximum` in the stage.

    Each step reads all slots, the empty ones too, and each size is one more program to compile: so there are two.
    """
    return FIRST_SLOTS if tokens <= FIRST_SLOTS < maximum else maximum


def start(model: GPT, token: Sequence[int], limits: Sequence[int], slots: int) -> DecodeState:
    """Make the state of a stage before its first window; `token` (b,) is the first input of each row."""
    cache = empty_cache(model.cfg, len(limits), slots, model.head.kernel.dtype)
    return DecodeState(cache, jnp.asarray(token, jnp.int32), jnp.int32(0), jnp.asarray(limits) <= 0)


@functools.partial(jax.jit, static_argnames=("graphdef", "spec"), donate_argnames="state")
def decode_window(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    spec: DecodeSpec,
    state: DecodeState,
    prompt: Int[Array, "b k p"],
    length: Int[Array, " b"],
    limit: Int[Array, " b"],
    keys: Key[Array, " b"],
    controls: Controls,
) -> tuple[DecodeState, Int[Array, "b steps"]]:
    """Process the prompt unless the cache already holds it, then sample up to `spec.steps` ids a row.

    Returns the state, whose cache holds the prompt and all ids sampled but the last one, and the ids:
    NOT_SAMPLED after the end of a row.

    Args:
        graphdef, params: a `GPT`, split by `nnx.split`.
        prompt: ids whose embeddings are summed over k, padded on the right to a multiple of
            `spec.chunk`; the state's token comes after them.
        length: filled positions of the prompt. A cache of this length is assumed to hold them.
        limit: a row ends when this many ids have been sampled in the stage.
    """
    model = nnx.merge(graphdef, params)
    cache = jax.lax.cond(
        jnp.all(state.done | (state.cache.length == length)),
        lambda cache: cache,
        lambda cache: prefill(model, cache, prompt, length, spec.chunk),
        state.cache,
    )
    state = dataclasses.replace(state, cache=cache.with_recent(spec.steps))
    sampled = jnp.full((len(limit), spec.steps), NOT_SAMPLED, jnp.int32)
    body = functools.partial(_decode_step, model, spec, limit, keys, controls)
    state, sampled = jax.lax.while_loop(functools.partial(_unfinished, spec), body, (state, sampled))
    return dataclasses.replace(state, cache=state.cache.commit()), sampled


def prefill(model: GPT, cache: KVCache, prompt: Int[Array, "b k p"], length: Int[Array, " b"], chunk: int) -> KVCache:
    """Fill an empty cache with a prompt, chunk by chunk, up to the end of the longest row.

    Shorter rows leave junk after their end, which no query sees: the next tokens overwrite it.
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


def _unfinished(spec: DecodeSpec, loop: Loop) -> Bool[Array, ""]:
    state, _ = loop
    return (state.cache.used < spec.steps) & ~jnp.all(state.done)


def _decode_step(
    model: GPT, spec: DecodeSpec, limit: Int[Array, " b"], keys: Key[Array, " b"], controls: Controls, loop: Loop
) -> Loop:
    """Feed the last token of each row and sample the next."""
    state, sampled = loop
    cache = state.cache
    hidden, new = model(model.embed(state.token[:, None]), cache)
    first = jnp.array(spec.first_ids, jnp.int32)[state.step % len(spec.first_ids)]
    candidates = jnp.arange(spec.count)
    allowed = candidates < spec.allowed
    if spec.eos is not None:
        allowed |= candidates == spec.eos
    logits = jnp.where(allowed, model.logits(hidden, first, spec.count)[:, 0], -jnp.inf)

    prepared = prepare(logits, controls)
    choice = sample(prepared, jax.vmap(jax.random.fold_in, (0, None))(keys, state.step))
    done = state.done
    if spec.eos is not None:
        eos_p = jax.nn.softmax(prepared, axis=-1)[:, spec.eos]
        done |= (choice == spec.eos) | (eos_p >= controls.min_eos_p)
    sampled = sampled.at[:, cache.used].set(jnp.where(done, NOT_SAMPLED, first + choice))
    done |= state.step + 1 >= limit
    # No choice is negative, but XLA does not know that. The slot therefore depends on the sampled ids: all reads of
    # `recent` come before the write, and XLA needs no copy of it.
    cache = cache.append(new, jnp.where(jnp.all(choice < 0), 0, cache.used))
    return DecodeState(cache, first + choice, state.step + 1, done), sampled


# ---------------------------------------------------------------------------------------------
# The windows of a stage
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Window:
    """Hold what `decode_window` needs for one window."""

    prompt: Int[Array | np.ndarray, "b k p"]
    length: Int[np.ndarray, " b"]  # filled positions of the prompt, or of the cache that holds it
    slots: int  # of the cache, at least
    token: Int[Array, " b"] | None = None  # the first input; None: the token sampled last
    is_new: bool = False  # whether the prompt differs from what the cache holds


NextWindow = Callable[[int, Array | None], Window]  # (first step of the window, ids of the one before)


def run_windows(
    model: GPT,
    spec: DecodeSpec,
    next_window: NextWindow,
    keys: Key[Array, " b"],
    limits: Sequence[int],
    controls: Controls,
    *,
    infer_token: int,
    max_slots: int,
    on_progress: Progress | None = None,
) -> list[Int[np.ndarray, " _"]]:
    """Run a stage window by window; return the ids of each row, at most as many as its limit.

    The host prepares the next window while the device computes this one. It waits for the device only where
    the cache grows and a row may have ended early.

    Args:
        infer_token: the first input of every row.
        max_slots: tokens a row that the stage needs at most; see `cache_slots`.
        on_progress: called with the tokens that the longest row has, and can have.
    """
    graphdef, params = nnx.split(model)
    shard = functools.partial(parallel.shard_like, like=params)
    limit, keys = shard((np.asarray(limits, np.int32), keys))
    report = on_progress or (lambda done, total: None)

    def windows() -> Iterator[Int[Array, "b steps"]]:
        state = start(model, [infer_token] * len(limits), limits, cache_slots(0, max_slots))
        ids = None
        for step in range(0, max(limits), spec.steps):
            window = next_window(step, ids)
            slots = cache_slots(window.slots, max_slots)
            if spec.eos is not None and slots > state.cache.slots and np.all(state.done):
                return  # a larger cache is another program: worth one look at whether any row needs it
            state = (state.forget() if window.is_new else state).with_room(slots)
            if window.token is not None:
                state = dataclasses.replace(state, token=window.token)
            state, prompt, length = shard((state, window.prompt, window.length))
            state, ids = decode_window(graphdef, params, spec, state, prompt, length, limit, keys, controls)
            yield ids

    longest, sampled = 0, [np.zeros((len(limits), 0), np.int32)]
    report(longest, max(limits))
    for ids in lagged(windows()):
        sampled.append(ids)
        longest += np.any(ids != NOT_SAMPLED, axis=0).sum().item()
        report(longest, max(limits))
        if np.all(ids[:, -1] == NOT_SAMPLED):
            break  # the window that is already running finds every row ended, and samples nothing
    rows = np.concatenate(sampled, axis=1)
    return [row[row != NOT_SAMPLED] for row in rows]


def lagged(results: Iterable[Array]) -> Iterator[np.ndarray]:
    """Copy each result to the host after the next one has been started: the device never waits for the host."""
    previous = None
    for result in results:
        if previous is not None:
            yield np.asarray(previous)
        previous = result
    if previous is not None:
        yield np.asarray(previous)
