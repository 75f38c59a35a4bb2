"""Text to semantic tokens, 49.9 of them for each second of speech.

In:  text ids, the semantic tokens of a voice.
Out: semantic tokens, until the model predicts the end of speech.

    position   0 ................................ 255   256     257 ...
    text       t t t t t t t pad pad pad pad ... pad
    + voice    s s s s s s s s s s s s pad ..... pad   INFER   first new token ...

Text and voice share the same 256 positions: their embeddings, from one table, are added. There is no
mask: the model sees the padding like any other token. The reference is `generate_text_semantic` of
suno-ai/bark, `bark/generation.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Int

from bark_jax import parallel, sampling
from bark_jax.gpt import GPT
from bark_jax.journey import SEMANTIC
from bark_jax.sampling import Progress
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

WINDOW_STEPS = 32  # tokens between two reports of progress

Ids = Int[np.ndarray, " _"]


def prompt(ids: Int[np.ndarray, " n"], voice: Voice | None, tokens: TokenConfig) -> Int[np.ndarray, "2 p"]:
    """Put text ids and the last semantic tokens of a voice in two rows, padded on the right."""
    p = tokens.max_input_semantic_length
    rows = np.full((2, p), [[tokens.text_pad_token], [tokens.semantic_pad_token]], np.int32)
    rows[0, : len(ids)] = ids
    if voice is not None:
        kept = voice.semantic[-p:]
        rows[1, : len(kept)] = kept
    return rows


def token_limit(max_seconds: Any, tokens: TokenConfig) -> int:
    """Turn a limit in seconds into tokens: the token that takes the speech past it is the last.

    Raises:
        ValueError: `max_seconds` is not above 0.
    """
    if max_seconds is None:
        return tokens.max_new_tokens
    if not (isinstance(max_seconds, sampling.NUMBER) and max_seconds > 0):
        raise ValueError(f"max_seconds is {max_seconds!r}, it must be above 0, or None for no limit")
    wanted = min(max_seconds * tokens.semantic_rate_hz, tokens.max_new_tokens)
    return min(math.floor(wanted) + 1, tokens.max_new_tokens)


def decode_spec(tokens: TokenConfig, *, early_stop: bool = True) -> sampling.DecodeSpec:
    """Describe the decode loop of this stage: every semantic token, and the end of speech."""
    return sampling.DecodeSpec(
        steps=WINDOW_STEPS,
        chunk=tokens.max_input_semantic_length,
        first_ids=(0,),
        count=tokens.eos_token_id + 1,
        allowed=tokens.semantic_vocab_size,
        eos=tokens.eos_token_id if early_stop else None,
    )


def max_slots(tokens: TokenConfig) -> int:
    """Return the slots that the cache of this stage needs at most: for the prompt, and for whole windows of tokens."""
    return tokens.max_input_semantic_length + math.ceil(tokens.max_new_tokens / WINDOW_STEPS) * WINDOW_STEPS


def generate(
    model: GPT,
    tokens: TokenConfig,
    texts: Sequence[Ids],
    voices: Sequence[Voice | None],
    seeds: Sequence[int],
    controls: sampling.Controls,
    *,
    limits: Sequence[int],
    early_stop: bool = True,
    on_progress: Progress | None = None,
) -> list[Ids]:
    """Generate the semantic tokens of a batch, one row for each text.

    Args:
        texts: ids of the text, as `text.encode` returns them.
        limits: the most tokens of each row.
        early_stop: whether a row may end before its limit.
        on_progress: called with the tokens that the longest row has, and can have.
    """
    count = len(texts)
    texts, voices, seeds, limits = parallel.pad_rows(model, texts, voices, seeds, limits)
    prompts = np.stack([prompt(ids, voice, tokens) for ids, voice in zip(texts, voices, strict=True)])
    spec = decode_spec(tokens, early_stop=early_stop)

    def next_window(step: int, _: Array | None) -> sampling.Window:
        """Continue after the prompt, which only the first window processes, and the tokens so far."""
        begin = spec.chunk + step
        return sampling.Window(prompts, np.full(len(texts), begin, np.int32), slots=begin + spec.steps)

    rows = sampling.run_windows(
        model,
        spec,
        next_window,
        sampling.row_keys(seeds, SEMANTIC.stream),
        limits,
        controls,
        infer_token=tokens.semantic_infer_token,
        max_slots=max_slots(tokens),
        on_progress=on_progress,
    )
    return rows[:count]
