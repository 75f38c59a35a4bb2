"""Text to semantic tokens, 49.9 of them for a second of speech.

In:  text ids, the semantic tokens of a voice.
Out: semantic tokens, until the model says that the speech ends.

    position   0 ................................ 255   256     257 ...
    text       t t t t t t t pad pad pad pad ... pad
    + voice    s s s s s s s s s s s s pad ..... pad   INFER   first new token ...

Text and voice lie on the same 256 positions: their embeddings, of one table, are added. The
padding is seen like all the rest: there is no mask. The reference is `generate_text_semantic` of
suno-ai/bark, `bark/generation.py`.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from bark_jax import parallel, sampling
from bark_jax.gpt import GPT
from bark_jax.sampling import Progress
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

WINDOW_STEPS = 32  # tokens between two reports of progress
STAGE = 0  # which of a seed's random streams


def prompt(ids: Int[np.ndarray, " n"], voice: Voice | None, tokens: TokenConfig) -> Int[np.ndarray, "2 p"]:
    """Lay text ids and the last semantic tokens of a voice over each other, padded on the right."""
    p = tokens.max_input_semantic_length
    rows = np.full((2, p), [[tokens.text_pad_token], [tokens.semantic_pad_token]], np.int32)
    rows[0, : len(ids)] = ids
    if voice is not None:
        kept = voice.semantic[-p:]
        rows[1, : len(kept)] = kept
    return rows


def token_limit(max_seconds: float | None, tokens: TokenConfig) -> int:
    """Turn a limit in seconds into tokens: the token that brings the speech above it is the last.

    Raises:
        ValueError: when `max_seconds` is not above 0.
    """
    if max_seconds is None:
        return tokens.max_new_tokens
    if not (isinstance(max_seconds, sampling.NUMBER) and max_seconds > 0):
        raise ValueError(f"max_seconds is {max_seconds!r}, it must be above 0, or None for no limit")
    wanted = min(max_seconds * tokens.semantic_rate_hz, tokens.max_new_tokens)
    return min(math.floor(wanted) + 1, tokens.max_new_tokens)


@parallel.any_batch("prompts", "seeds", "limits")
def generate(
    model: GPT,
    tokens: TokenConfig,
    prompts: Sequence[Int[np.ndarray, "2 p"]],
    seeds: Sequence[int],
    controls: sampling.Controls,
    limits: Sequence[int],
    *,
    early_stop: bool = True,
    on_progress: Progress | None = None,
) -> list[Int[np.ndarray, " _"]]:
    """Generate the semantic tokens of a batch, one row for each prompt.

    Args:
        limits: the most tokens for each row.
        early_stop: whether a row may end before its limit.
        on_progress: told how many tokens the longest row has, and may have.
    """
    plan = sampling.Plan(
        steps=WINDOW_STEPS,
        chunk=prompts[0].shape[1],
        first_ids=(0,),
        count=tokens.eos_token_id + 1,
        drawable=tokens.semantic_vocab_size,
        eos=tokens.eos_token_id if early_stop else None,
    )
    graphdef, params = nnx.split(model)
    place = functools.partial(parallel.place, like=params)
    inputs, limit = place((np.stack(prompts), np.asarray(limits, np.int32)))
    keys = place(sampling.row_keys(seeds, STAGE))
    most = plan.chunk + math.ceil(tokens.max_new_tokens / plan.steps) * plan.steps

    def windows() -> Iterator[Int[Array, "b steps"]]:
        token = [tokens.semantic_infer_token] * len(prompts)
        state = sampling.start(model, token, limits, sampling.cache_slots(0, most))
        for begin in range(plan.chunk, plan.chunk + max(limits), plan.steps):
            slots = sampling.cache_slots(begin + plan.steps, most)
            if slots > state.cache.slots and np.all(state.done):
                return  # a larger cache is another program: worth one look at whether anybody needs it
            state = place(state.with_room(slots))
            length = place(np.full(len(prompts), begin, np.int32))
            state, ids = sampling.decode_window(graphdef, params, plan, state, inputs, length, limit, keys, controls)
            yield ids

    longest, drawn = 0, [np.zeros((len(prompts), 0), np.int32)]
    if on_progress is not None:
        on_progress(longest, max(limits))
    for ids in sampling.one_behind(windows()):
        drawn.append(ids)
        longest += np.any(ids != sampling.NOT_DRAWN, axis=0).sum().item()
        if on_progress is not None:
            on_progress(longest, max(limits))
        if np.all(ids[:, -1] == sampling.NOT_DRAWN):
            break  # the window that is on its way finds all rows ended, and draws nothing
    rows = np.concatenate(drawn, axis=1)
    return [row[row != sampling.NOT_DRAWN] for row in rows]
