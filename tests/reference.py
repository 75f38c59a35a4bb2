"""Bark in plain NumPy, as literal and short as possible: what the package is compared with.

    text ids ──semantic──▶ ids (n,) ──coarse──▶ codes (q, t) ──fine──▶ codes (8, t)

No cache, no compilation, no batch: every step runs the whole network over the whole sequence again.
It is written from the description of Suno's sampler and shares no code with the package's networks,
filters and stages; of the package it knows the numbers (`TokenConfig`) alone.

`weights` are plain arrays under Hugging Face's names, as in `BarkModel.state_dict()`; everything is
computed in their dtype. `voice` is None or anything with the arrays `semantic` (n,), `coarse` (q, t)
and `fine` (8, t). Randomness comes in from outside: a stage calls

    choose(probabilities, stage, *step) -> index into the last axis

with probabilities (v,) and step (number of the token,) for "semantic" and "coarse", and (frames of the
whole window, v) and (number of the window, codebook) for "fine", where the frames before the first new
one are chosen in vain. The default takes the most probable.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from bark_jax.tokens import TokenConfig

Weights = dict[str, np.ndarray]
Choose = Callable[..., Any]


def greedy(probabilities: np.ndarray, stage: str, *step: int) -> Any:
    """Choose the most probable; of several, the first."""
    return np.argmax(probabilities, axis=-1)


# The networks.


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def layer_norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"]
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def attention(weights: Weights, name: str, heads: int, x: np.ndarray, causal: bool) -> np.ndarray:
    t, d = x.shape
    qkv = linear(weights, f"{name}.att_proj", x)
    query, key, value = (part.reshape(t, heads, d // heads).swapaxes(0, 1) for part in np.split(qkv, 3, axis=-1))
    scores = query @ key.swapaxes(1, 2) / math.sqrt(d // heads)
    if causal:
        scores[:, np.triu(np.ones((t, t), bool), 1)] = -np.inf
    return linear(weights, f"{name}.out_proj", (softmax(scores) @ value).swapaxes(0, 1).reshape(t, d))


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def transformer(weights: Weights, stage: str, heads: int, x: np.ndarray, causal: bool) -> np.ndarray:
    """Turn token embeddings (t, d), without positions, into what the heads of `stage` read (t, d)."""
    x = x + weights[f"{stage}.position_embeds_layer.weight"][: len(x)]
    layer = 0
    while f"{stage}.layers.{layer}.layernorm_1.weight" in weights:
        block = f"{stage}.layers.{layer}"
        x = x + attention(weights, f"{block}.attn", heads, layer_norm(weights, f"{block}.layernorm_1", x), causal)
        inside = gelu(linear(weights, f"{block}.mlp.in_proj", layer_norm(weights, f"{block}.layernorm_2", x)))
        x = x + linear(weights, f"{block}.mlp.out_proj", inside)
        layer += 1
    return layer_norm(weights, f"{stage}.layernorm_final", x)


def causal_logits(weights: Weights, stage: str, heads: int, ids: np.ndarray) -> np.ndarray:
    """Run "semantic" or "coarse_acoustics" over ids (t,): logits (t, v)."""
    x = weights[f"{stage}.input_embeds_layer.weight"][ids]
    return linear(weights, f"{stage}.lm_head", transformer(weights, stage, heads, x, causal=True))


def semantic_logits(
    weights: Weights, heads: int, text: np.ndarray, history: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """Run "semantic" over text and history (256,), laid over each other, then INFER and new ids: (257 + n, v)."""
    table = weights["semantic.input_embeds_layer.weight"]
    x = np.concatenate([table[text] + table[history], table[rest]])
    return linear(weights, "semantic.lm_head", transformer(weights, "semantic", heads, x, causal=True))


def fine_logits(weights: Weights, heads: int, codes: np.ndarray, codebook: int) -> np.ndarray:
    """Run "fine_acoustics" over codes (8, t): logits (t, v) of one codebook, from itself and those below."""
    tables = [weights[f"fine_acoustics.input_embeds_layers.{k}.weight"] for k in range(codebook + 1)]
    x = np.sum([table[codes[k]] for k, table in enumerate(tables)], axis=0)
    return transformer(weights, "fine_acoustics", heads, x, causal=False) @ tables[codebook].T


# Filters.


def filter_logits(
    logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """Apply top-p, then top-k, then temperature to logits (v,): what is dropped becomes -inf.

    Temperature 0 keeps the greatest logit alone.
    """
    logits = logits.astype(np.float64)
    if top_p is not None:
        order = np.argsort(-logits, kind="stable")
        drop = np.cumsum(softmax(logits[order])) > top_p
        drop = np.concatenate([[False], drop[:-1]])
        logits[order[drop]] = -np.inf
    if top_k is not None:
        logits[logits < np.sort(logits)[-min(top_k, len(logits))]] = -np.inf
    if temperature == 0:
        return np.where(np.arange(len(logits)) == np.argmax(logits), 0, -np.inf)
    return logits / temperature


# Text to semantic.


def padded(ids: np.ndarray, length: int, pad: int) -> np.ndarray:
    return np.concatenate([ids, np.full(length - len(ids), pad)]).astype(int)


def semantic(
    weights: Weights,
    heads: int,
    text: np.ndarray,
    voice: Any,
    tokens: TokenConfig,
    *,
    choose: Choose = greedy,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_eos_p: float | None = 0.2,
    max_seconds: float | None = None,
    early_stop: bool = True,
) -> np.ndarray:
    """Generate semantic ids (n,) for text ids, which already hold their offset; padding them is optional."""
    temperature = tokens.semantic_temperature if temperature is None else temperature
    length, eos = tokens.max_input_semantic_length, tokens.eos_token_id
    history = np.array([], int) if voice is None else voice.semantic[-length:]
    text = padded(text, length, tokens.text_pad_token)
    history = padded(history, length, tokens.semantic_pad_token)
    candidates = np.array([*range(tokens.semantic_vocab_size)] + [eos] * early_stop)
    out: list[int] = []
    while len(out) < tokens.max_new_tokens:
        rest = np.array([tokens.semantic_infer_token, *out])
        logits = semantic_logits(weights, heads, text, history, rest)[-1, candidates]
        p = softmax(filter_logits(logits, temperature, top_k, top_p))
        drawn = int(candidates[choose(p, "semantic", len(out))])
        if early_stop and (drawn == eos or (min_eos_p is not None and p[-1] >= min_eos_p)):
            break
        out.append(drawn)
        if max_seconds is not None and len(out) / tokens.semantic_rate_hz > max_seconds:
            break
    return np.array(out, np.int32)


# Semantic to coarse.


def ratio(tokens: TokenConfig) -> float:
    """Flat coarse ids for one semantic id: r."""
    return tokens.coarse_rate_hz / tokens.semantic_rate_hz * tokens.n_coarse_codebooks


def n_steps(len_semantic: int, tokens: TokenConfig) -> int:
    """Flat coarse ids that are generated for so many semantic ids."""
    q = tokens.n_coarse_codebooks
    return round(math.floor(len_semantic * ratio(tokens) / q) * q)


def flatten(codes: np.ndarray, tokens: TokenConfig) -> np.ndarray:
    """Codes (q, t) to ids c0 t0, c1 t0, c0 t1, ..."""
    return np.array(
        [
            tokens.semantic_vocab_size + q * tokens.codebook_size + int(code)
            for frame in codes.T
            for q, code in enumerate(frame)
        ],
        int,
    )


def trim_voice(voice: Any, tokens: TokenConfig) -> tuple[np.ndarray, np.ndarray]:
    """Cut a voice to what the coarse stage reads: semantic ids and flat coarse ids."""
    flat = flatten(voice.coarse, tokens)
    r = ratio(tokens)
    ns = min(
        math.floor(tokens.max_coarse_history / r),
        len(voice.semantic) - len(voice.semantic) % 2,
        math.floor(len(flat) / r),
    )
    nc = round(ns * r)
    flat = flat[len(flat) - nc :]
    return voice.semantic[len(voice.semantic) - ns :].astype(int), flat[: max(0, nc - tokens.n_coarse_codebooks)]


def coarse(
    weights: Weights,
    heads: int,
    semantic: np.ndarray,
    voice: Any,
    tokens: TokenConfig,
    *,
    choose: Choose = greedy,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Generate codes (q, t) for semantic ids (n,)."""
    temperature = tokens.coarse_temperature if temperature is None else temperature
    q, r = tokens.n_coarse_codebooks, ratio(tokens)
    max_semantic_history = math.floor(tokens.max_coarse_history / r)
    old, old_flat = (np.array([], int), np.array([], int)) if voice is None else trim_voice(voice, tokens)
    both = np.concatenate([old, semantic]).astype(int)
    flat = [int(i) for i in old_flat]
    total, step = n_steps(len(semantic), tokens), 0
    for _ in range(math.ceil(total / tokens.sliding_window_len)):
        first = max(0, len(old) + round(step / r) - max_semantic_history)
        part = both[first:][: tokens.max_coarse_input_length]
        part = padded(part, tokens.max_coarse_input_length, tokens.coarse_semantic_pad_token)
        prompt = [*part, tokens.coarse_infer_token, *flat[-tokens.max_coarse_history :]]
        for _ in range(min(tokens.sliding_window_len, total - step)):
            start = tokens.semantic_vocab_size + step % q * tokens.codebook_size
            logits = causal_logits(weights, "coarse_acoustics", heads, np.array(prompt))[-1]
            logits = logits[start : start + tokens.codebook_size]
            p = softmax(filter_logits(logits, temperature, top_k, top_p))
            drawn = start + int(choose(p, "coarse", step))
            prompt.append(drawn)
            flat.append(drawn)
            step += 1
    new = np.array(flat[len(old_flat) :], int).reshape(-1, q).T
    return ((new - tokens.semantic_vocab_size) % tokens.codebook_size).astype(np.int32)


# Coarse to fine.


def fine(
    weights: Weights,
    heads: int,
    coarse: np.ndarray,
    voice: Any,
    tokens: TokenConfig,
    *,
    choose: Choose = greedy,
    temperature: float | None = None,
) -> np.ndarray:
    """Generate codes (8, t) for codes (q, t)."""
    temperature = tokens.fine_temperature if temperature is None else temperature
    window, hop = tokens.max_fine_input_length, tokens.max_fine_history_length
    q, t = coarse.shape
    unknown = tokens.codebook_size
    codes = np.concatenate([coarse, np.full((tokens.n_fine_codebooks - q, t), unknown)])
    n_history = 0
    if voice is not None:
        history = voice.fine[:, -hop:]
        n_history = history.shape[1]
        codes = np.concatenate([history, codes], axis=1)
    short = max(0, window - codes.shape[1])
    codes = np.pad(codes.astype(int), ((0, 0), (0, short)), constant_values=unknown)
    length = codes.shape[1]
    for n in range(max(0, math.ceil((t - (window - n_history)) / hop)) + 1):
        start = min(hop * n, length - window)
        fill = min(n_history + hop * n, length - hop)
        rel = fill - start
        for k in range(q, tokens.n_fine_codebooks):
            logits = fine_logits(weights, heads, codes[:, start : start + window], k)[:, : tokens.codebook_size]
            p = softmax(np.stack([filter_logits(frame, temperature) for frame in logits]))
            codes[k, start + rel : start + window] = choose(p, "fine", n, k)[rel:]
    return codes[:, n_history : length - short].astype(np.int32)
