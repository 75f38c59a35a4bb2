"""Semantic tokens to the two coarse codebooks of the codec, 75 frames for each second of sound.

In:  semantic tokens, the semantic and coarse tokens of a voice.
Out: codes (2, t).

The model writes 60 ids at a time, c0 t0, c1 t0, c0 t1, ..., and the prompt of each window is

    | up to 256 semantic tokens around the current position, padded | INFER | the last 630 coarse ids |

The learned positions are absolute. Once an old id leaves the window, all others move to new positions, and
the whole window has to be processed again. Until then a window's prompt is the previous one followed by
the new ids, and the KV cache is kept: without a voice the first 11 windows share one prompt.
The reference is `generate_coarse` of suno-ai/bark, `bark/generation.py`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from bark_jax import parallel, sampling
from bark_jax.gpt import GPT
from bark_jax.journey import COARSE
from bark_jax.sampling import Progress
from bark_jax.tokens import TokenConfig, flatten_codebooks, unflatten_codebooks
from bark_jax.voices import Voice

PREFILL_CHUNK = 128  # prompt positions processed at once: prompts differ in length by up to 630

Ids = Int[np.ndarray, " _"]


def history(voice: Voice | None, tokens: TokenConfig) -> tuple[Ids, Ids]:
    """Cut a voice to what fits a window: its last semantic tokens, and the flat coarse ids of the same time span.

    The last frame is dropped for a better alignment, as in the reference. No voice gives two empty arrays.
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
    """Return the number of flat coarse ids for `n_semantic` tokens: 300 for 100."""
    q = tokens.n_coarse_codebooks
    return math.floor(n_semantic * tokens.coarse_per_semantic / q) * q


def window_head(semantic: Ids, n_history: int, step: int, tokens: TokenConfig) -> Ids:
    """Build the part of the prompt before the coarse ids, for the window that begins with id number `step`.

    Args:
        semantic: the tokens of the voice, `n_history` of them, followed by those of the text.
    """
    place = n_history + round(step / tokens.coarse_per_semantic)
    around = semantic[max(0, place - tokens.max_semantic_history) :][: tokens.max_coarse_input_length]
    padding = np.full(tokens.max_coarse_input_length - len(around), tokens.coarse_semantic_pad_token)
    return np.concatenate([around, padding, [tokens.coarse_infer_token]]).astype(np.int32)


@jax.jit
def window_prompts(
    heads: Int[Array, "b p"], flat: Int[Array, "b h"], count: Int[Array, " b"]
) -> tuple[Int[Array, "b 1 s"], Int[Array, " b"]]:
    """Append the last `count` coarse ids of each row to its head; split off the very last id, the first input.

    Returns the prompts and the last ids. After the end of a row, up to a multiple of `PREFILL_CHUNK`,
    there are ids that no query sees.
    """
    ids = jnp.concatenate([heads, jax.vmap(jnp.roll)(flat, count)], axis=1)
    last = jnp.take_along_axis(ids, heads.shape[1] + count[:, None] - 1, axis=1)[:, 0]
    prompts = ids[:, :-1]
    return jnp.pad(prompts, ((0, 0), (0, -prompts.shape[1] % PREFILL_CHUNK)))[:, None], last


def decode_spec(tokens: TokenConfig) -> sampling.DecodeSpec:
    """Describe the decode loop of this stage: the codebooks take turns, and each step scores one of them."""
    return sampling.DecodeSpec(
        steps=tokens.sliding_window_len,
        chunk=PREFILL_CHUNK,
        first_ids=tuple(tokens.coarse_offset(q) for q in range(tokens.n_coarse_codebooks)),
        count=tokens.codebook_size,
        allowed=tokens.codebook_size,
    )


def max_slots(tokens: TokenConfig) -> int:
    """Return the slots that the cache of this stage needs at most: for the longest prompt, in whole chunks."""
    return math.ceil((tokens.max_coarse_input_length + tokens.max_coarse_history) / PREFILL_CHUNK) * PREFILL_CHUNK


def first_slots(voices: Sequence[Voice | None], tokens: TokenConfig) -> int:
    """Return the slots of the cache in the first window of a batch."""
    prompt = tokens.max_coarse_input_length + max(len(old) for _, old in (history(voice, tokens) for voice in voices))
    return sampling.cache_slots(prompt + tokens.sliding_window_len, max_slots(tokens))


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
        on_progress: called with the flat ids that the longest row has, and will have.
    """
    rows = len(semantic)
    semantic, voices, seeds = parallel.pad_rows(model, semantic, voices, seeds)
    spec = decode_spec(tokens)
    limits = [steps_for(len(row), tokens) for row in semantic]
    histories = [history(voice, tokens) for voice in voices]
    spoken = [np.concatenate([old, new]) for (old, _), new in zip(histories, semantic, strict=True)]
    n_old = np.array([len(old) for _, old in histories], np.int32)
    p, h = tokens.max_coarse_input_length, tokens.max_coarse_history
    flat = jnp.asarray(np.stack([np.pad(old, (h - len(old), 0)) for _, old in histories]))  # the last h ids of each row
    previous = np.zeros((len(limits), 0), np.int32)

    def next_window(step: int, ids: Array | None) -> sampling.Window:
        """Build the prompts of a window. The host knows the positions; the sampled ids stay on the device."""
        nonlocal flat, previous
        if ids is not None:
            flat = jnp.concatenate([flat, ids], axis=1)[:, spec.steps :]
        is_unfinished = step < np.array(limits)
        heads = np.stack([window_head(own, len(old), step, tokens) for own, (old, _) in zip(spoken, histories)])
        begin = np.maximum(n_old + step - h, 0)  # the first coarse id in the window
        count = np.where(is_unfinished, n_old + step - begin, 0)
        fixed = np.column_stack([heads, begin])
        is_new = not np.array_equal(fixed[is_unfinished], previous[is_unfinished])
        previous = fixed
        prompts, last = window_prompts(heads, flat, count)
        slots = p + int(count.max()) + spec.steps
        return sampling.Window(prompts, (p + count).astype(np.int32), slots, token=last, is_new=is_new)

    ids = sampling.run_windows(
        model,
        spec,
        next_window,
        sampling.row_keys(seeds, COARSE.stream),
        limits,
        controls,
        infer_token=tokens.coarse_infer_token,
        max_slots=max_slots(tokens),
        on_progress=on_progress,
    )
    return [unflatten_codebooks(row, tokens) for row in ids[:rows]]
