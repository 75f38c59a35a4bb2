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

import functools
import math
from collections.abc import Sequence

import numpy as np
from flax import nnx
from jaxtyping import Int

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


def window_prompt(semantic: Ids, n_history: int, flat: Ids, step: int, tokens: TokenConfig) -> Ids:
    """Lay out what the model sees before it draws coarse id number `step`.

    Args:
        semantic: tokens of the voice and of the text, end to end; `n_history` are the voice's.
        flat: coarse ids of the voice and those drawn so far, end to end.
    """
    place = n_history + round(step / tokens.coarse_per_semantic)
    around = semantic[max(0, place - tokens.max_semantic_history) :][: tokens.max_coarse_input_length]
    padding = np.full(tokens.max_coarse_input_length - len(around), tokens.coarse_semantic_pad_token)
    recent = flat[max(0, len(flat) - tokens.max_coarse_history) :]
    return np.concatenate([around, padding, [tokens.coarse_infer_token], recent]).astype(np.int32)


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
    longest_prompt = tokens.max_coarse_input_length + tokens.max_coarse_history
    slots = math.ceil(longest_prompt / plan.chunk) * plan.chunk
    graphdef, params = nnx.split(model)
    place = functools.partial(parallel.place, like=params)
    state = place(sampling.start(model, plan, limits, slots))
    keys = place(sampling.row_keys(seeds, STAGE))

    rows = range(len(semantic))
    histories = [history(voice, tokens) for voice in voices]
    spoken = [np.concatenate([old, new]) for (old, _), new in zip(histories, semantic, strict=True)]
    flat = [old for _, old in histories]
    cached = [np.zeros(1, np.int32)] * len(semantic)  # the ids in the cache, and the next one to feed
    if on_progress is not None:
        on_progress(0, max(limits))
    for step in range(0, max(limits), plan.steps):
        prompts = [
            window_prompt(spoken[row], len(histories[row][0]), flat[row], step, tokens)
            if step < limits[row]
            else cached[row]
            for row in rows
        ]
        if not all(map(np.array_equal, prompts, cached)):
            state = state.forget()
        inputs = np.zeros((len(prompts), 1, slots), np.int32)
        for row in rows:
            inputs[row, 0, : len(prompts[row]) - 1] = prompts[row][:-1]
        length = np.array([len(ids) - 1 for ids in prompts], np.int32)
        token = np.array([ids[-1] for ids in prompts], np.int32)
        places = place((inputs, length, token, np.asarray(limits, np.int32)))
        state = place(sampling.decode_window(graphdef, params, plan, state, *places, keys, controls))
        drawn = [ids[ids != sampling.NOT_DRAWN] for ids in np.asarray(state.drawn)]
        flat = [np.concatenate(pair) for pair in zip(flat, drawn, strict=True)]
        cached = [np.concatenate(pair) for pair in zip(prompts, drawn, strict=True)]
        if on_progress is not None:
            on_progress(min(step + plan.steps, max(limits)), max(limits))
    return [unflatten_codebooks(flat[row][len(histories[row][1]) :], tokens) for row in rows]
