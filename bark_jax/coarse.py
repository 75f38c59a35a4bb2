"""Semantic tokens to the two coarse codebooks of the codec, 75 frames for a second of sound.

In:  semantic tokens, the semantic and coarse tokens of a voice.
Out: codes (2, t).

The model writes 60 ids at a time, c0 t0, c1 t0, c0 t1, ..., and before each such window it sees

    | up to 256 semantic tokens around the place, padded | INFER | the last 630 coarse ids |

The learned positions are absolute: once an old id falls out of the window, all the others stand at
new places and the window has to be read anew. Until then a window's prompt is the last one with
the new ids behind it, and the KV cache is kept: without a voice the first 11 windows read one prompt.
The reference is `generate_coarse` of suno-ai/bark, `bark/generation.py`.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from bark_jax import parallel, sampling
from bark_jax.gpt import GPT
from bark_jax.sampling import Progress
from bark_jax.tokens import TokenConfig, flatten_codebooks, unflatten_codebooks
from bark_jax.voices import Voice

PREFILL_CHUNK = 128  # prompt positions read at once: prompts differ in length by up to 630
STAGE = 1  # which of a seed's random streams

Ids = Int[np.ndarray, " _"]


def history(voice: Voice | None, tokens: TokenConfig) -> tuple[Ids, Ids]:
    """Cut a voice to what fits a window: its last semantic tokens, and the flat coarse ids of the same time.

    The last frame is dropped, as in the reference: the two align better so. No voice gives two empty arrays.
    """
    if voice is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    semantic = voice.semantic
    flat = flatten_codebooks(voice.coarse, tokens)
    ratio = tokens.coarse_per_semantic
    n_semantic = min(tokens.max_semantic_history, len(semantic) - len(semantic) % 2, math.floor(len(flat) / ratio))
    n_coarse = round(n_semantic * ratio)
    kept = flat[len(flat) - n_coarse :]
    return semantic[len(semantic) - n_semantic :], kept[: max(0, n_coarse - tokens.n_coarse_codebooks)]


def steps_for(n_semantic: int, tokens: TokenConfig) -> int:
    """Count the flat coarse ids that so many semantic tokens become: 100 become 300."""
    q = tokens.n_coarse_codebooks
    return math.floor(n_semantic * tokens.coarse_per_semantic / q) * q


def window_head(semantic: Ids, n_history: int, step: int, tokens: TokenConfig) -> Ids:
    """Lay out what stands before the coarse ids when the model is to draw id number `step`.

    Args:
        semantic: tokens of the voice and of the text, end to end; `n_history` are the voice's.
    """
    place = n_history + round(step / tokens.coarse_per_semantic)
    around = semantic[max(0, place - tokens.max_semantic_history) :][: tokens.max_coarse_input_length]
    padding = np.full(tokens.max_coarse_input_length - len(around), tokens.coarse_semantic_pad_token)
    return np.concatenate([around, padding, [tokens.coarse_infer_token]]).astype(np.int32)


@jax.jit
def window_prompts(
    heads: Int[Array, "b p"], flat: Int[Array, "b h"], count: Int[Array, " b"]
) -> tuple[Int[Array, "b 1 s"], Int[Array, " b"]]:
    """Put the last `count` coarse ids of each row behind its head; part the very last id, to be fed first.

    Returns the prompts and the last ids. Behind the end of a row, and up to a multiple of
    `PREFILL_CHUNK`, there are ids that nothing looks at.
    """
    ids = jnp.concatenate([heads, jax.vmap(jnp.roll)(flat, count)], axis=1)
    last = jnp.take_along_axis(ids, heads.shape[1] + count[:, None] - 1, axis=1)[:, 0]
    prompts = ids[:, :-1]
    return jnp.pad(prompts, ((0, 0), (0, -prompts.shape[1] % PREFILL_CHUNK)))[:, None], last


@parallel.any_batch("semantic", "voices", "seeds")
def generate(
    model: GPT,
    tokens: TokenConfig,
    semantic: Sequence[Ids],
    voices: Sequence[Voice | None],
    seeds: Sequence[int],
    controls: sampling.Controls,
    *,
    on_progress: Progress | None = None,
) -> list[Int[np.ndarray, "_ _"]]:
    """Generate the coarse codes of a batch, one row for each sequence of semantic tokens.

    Args:
        on_progress: told how many flat ids the longest row has, and will have.
    """
    plan = sampling.Plan(
        steps=tokens.sliding_window_len,
        chunk=PREFILL_CHUNK,
        first_ids=tuple(tokens.coarse_offset(q) for q in range(tokens.n_coarse_codebooks)),
        count=tokens.codebook_size,
        drawable=tokens.codebook_size,
    )
    limits = [steps_for(len(row), tokens) for row in semantic]
    histories = [history(voice, tokens) for voice in voices]
    graphdef, params = nnx.split(model)
    place = functools.partial(parallel.place, like=params)
    limit, keys = place((np.asarray(limits, np.int32), sampling.row_keys(seeds, STAGE)))

    def windows() -> Iterator[Int[Array, "b steps"]]:
        """Send off window after window: the host knows where each stands, what is drawn stays on the device."""
        spoken = [np.concatenate([old, new]) for (old, _), new in zip(histories, semantic, strict=True)]
        n_old = np.array([len(old) for _, old in histories], np.int32)
        p, h = tokens.max_coarse_input_length, tokens.max_coarse_history
        flat = np.stack([np.pad(old, (h - len(old), 0)) for _, old in histories])  # the last h ids of each row
        slots = functools.partial(sampling.cache_slots, most=math.ceil((p + h) / plan.chunk) * plan.chunk)
        state = sampling.start(model, [0] * len(limits), limits, slots(0))
        before = np.zeros((len(limits), 0), np.int32)
        for step in range(0, max(limits), plan.steps):
            unfinished = step < np.array(limits)
            heads = np.stack([window_head(own, len(old), step, tokens) for own, (old, _) in zip(spoken, histories)])
            begin = np.maximum(n_old + step - h, 0)  # the first coarse id in sight
            count = np.where(unfinished, n_old + step - begin, 0)
            window = np.column_stack([heads, begin])
            if not np.array_equal(window[unfinished], before[unfinished]):
                state = state.forget()
            before = window
            prompts, last = window_prompts(heads, flat, count)
            state = dataclasses.replace(state.with_room(slots(p + int(count.max()) + plan.steps)), token=last)
            state, prompts, length = place((state, prompts, (p + count).astype(np.int32)))
            state, ids = sampling.decode_window(graphdef, params, plan, state, prompts, length, limit, keys, controls)
            flat = jnp.concatenate([flat, ids], axis=1)[:, plan.steps :]
            yield ids

    drawn = [np.zeros((len(limits), 0), np.int32)]
    if on_progress is not None:
        on_progress(0, max(limits))
    for ids in sampling.one_behind(windows()):
        drawn.append(ids)
        if on_progress is not None:
            on_progress(min(plan.steps * (len(drawn) - 1), max(limits)), max(limits))
    rows = np.concatenate(drawn, axis=1)
    return [unflatten_codebooks(row[:end], tokens) for row, end in zip(rows, limits)]
