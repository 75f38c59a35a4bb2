"""Semantic to coarse: windows, histories, the cache across windows, against the plain reference and transformers."""

import dataclasses

import hf
import numpy as np
import pytest
import reference
from common import draw_like, voice

from bark_jax import coarse, sampling
from bark_jax.gpt import GPT
from bark_jax.journey import COARSE
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

# Bark's own windows on a small vocabulary, to see what its numbers do.
BARK_WINDOWS = dataclasses.replace(
    hf.tiny_tokens(60, 16),
    max_coarse_input_length=256,
    max_coarse_history=630,
    sliding_window_len=60,
)
TOKEN_CONFIGS = {
    "tiny": hf.TOKENS,
    "odd windows": hf.tiny_tokens(sliding_window_len=7, max_coarse_history=27),
    "long windows": hf.tiny_tokens(sliding_window_len=30, max_coarse_history=30, max_coarse_input_length=8),
}


def speak(tokens, n, seed=0):
    return np.random.default_rng(seed).integers(tokens.semantic_vocab_size, size=n).astype(np.int32)


def expected(both, semantic, own_voice=None, seed=None, **options):
    choose = reference.greedy if seed is None else draw_like(seed, COARSE.stream)
    return reference.coarse(both.weights, both.heads, semantic, own_voice, both.tokens, choose=choose, **options)


@pytest.mark.parametrize("name", TOKEN_CONFIGS)
@pytest.mark.parametrize("sizes", [{}, {"heads": 4, "layers": 1, "bias": True}], ids=str)
@pytest.mark.parametrize("history", [None, 2, 8, 60])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_greedy_codes_equal_the_reference(pair, name, sizes, history, n):
    """One window and up to 17; histories shorter and longer than every trim."""
    both = pair(TOKEN_CONFIGS[name], block_size=72, **sizes)
    own_voice = history and voice(both.tokens, history)
    semantic = speak(both.tokens, n)
    actual = both.ours.semantic_to_coarse(semantic, voice=own_voice, temperature=0)
    assert actual.dtype == np.int32
    assert actual.shape == (2, coarse.steps_for(n, both.tokens) // 2)
    np.testing.assert_array_equal(actual, expected(both, semantic, own_voice, temperature=0))


@pytest.mark.parametrize(
    ("options", "seed"), [({}, 0), ({"temperature": 1.5, "top_k": 3}, 1), ({"top_p": 0.5}, 77)], ids=str
)
def test_sampled_codes_equal_the_reference_with_our_random_numbers(pair, options, seed):
    both = pair()
    semantic, own_voice = speak(both.tokens, 25), voice(both.tokens, 30)
    actual = both.ours.semantic_to_coarse(semantic, voice=own_voice, seed=seed, **options)
    np.testing.assert_array_equal(actual, expected(both, semantic, own_voice, seed, **options))


def test_a_row_of_a_batch_is_the_same_alone(pair):
    """Rows of one window and of many, with no voice, a short and a long one."""
    both = pair()
    semantic = [speak(both.tokens, n, seed=n) for n in (40, 2, 0, 17)]
    voices = [None, voice(both.tokens, 8), None, voice(both.tokens, 50)]
    for temperature in (0, 0.7):
        together = both.ours.semantic_to_coarse(semantic, voice=voices, seed=[1, 2, 3, 4], temperature=temperature)
        for i in range(4):
            alone = both.ours.semantic_to_coarse(semantic[i], voice=voices[i], seed=i + 1, temperature=temperature)
            np.testing.assert_array_equal(together[i], alone)
    assert together[2].shape == (2, 0)


def test_more_than_twenty_windows(pair):
    both = pair()
    semantic, own_voice = speak(both.tokens, 90), voice(both.tokens, 20)
    actual = both.ours.semantic_to_coarse(semantic, voice=own_voice, temperature=0)
    assert actual.size > 20 * both.tokens.sliding_window_len
    np.testing.assert_array_equal(actual, expected(both, semantic, own_voice, temperature=0))


@pytest.mark.once
def test_bark_reads_one_prompt_for_eleven_windows(pair, monkeypatch):
    """Without a voice the first 11 windows, 660 ids, need one prefill; from then on each needs its own."""
    both = pair(BARK_WINDOWS, block_size=1024, layers=1, heads=1, width=16)
    forgotten = []
    forget = sampling.DecodeState.forget
    monkeypatch.setattr(sampling.DecodeState, "forget", lambda state: forgotten.append(len(seen)) or forget(state))
    seen: list[int] = []
    window = sampling.decode_window
    monkeypatch.setattr(sampling, "decode_window", lambda *a: seen.append(1) or window(*a))
    semantic = speak(both.tokens, 260)
    actual = both.ours.semantic_to_coarse(semantic, temperature=0)
    assert len(seen) == 13
    assert forgotten == [0, 11, 12]
    np.testing.assert_array_equal(actual, expected(both, semantic, temperature=0))


def test_what_bark_does_with_its_numbers():
    tokens = TokenConfig()
    assert tokens.coarse_per_semantic == 3.006012024048096
    assert tokens.max_semantic_history == 209
    counts = {100: 300, 209: 628, 256: 768, 499: 1500, 768: 2308}
    assert {n: coarse.steps_for(n, tokens) for n in counts} == counts
    semantic, flat = coarse.history(
        Voice(np.arange(309, dtype=np.int32), *(np.zeros((q, 464), np.int32) for q in (2, 8))), tokens
    )
    assert semantic[0] == 100
    assert (len(semantic), len(flat)) == (209, 626)


def test_a_window_as_it_is_drawn():
    tokens, flat = TokenConfig(), np.arange(10_070, 10_700)
    heads = np.stack([coarse.window_head(np.arange(n), 0, step, tokens) for n, step in ((300, 660), (9, 0))])
    prompts, last = coarse.window_prompts(heads, np.stack([flat, flat]), np.array([630, 0]))
    np.testing.assert_array_equal(prompts[0, 0, :256], np.arange(11, 267))  # round(660 / r) = 220 = 209 + 11
    assert prompts[0, 0, 256] == tokens.coarse_infer_token
    np.testing.assert_array_equal(prompts[0, 0, 257:886], flat[:-1])
    assert prompts[1, 0, :256].tolist() == [*range(9)] + [tokens.coarse_semantic_pad_token] * 247
    assert last.tolist() == [10_699, tokens.coarse_infer_token]


def test_codes_come_from_their_own_codebook(pair):
    """transformers lets codebook 1 draw ids past its end and folds them silently; here every code is in range."""
    both = pair(hf.tiny_tokens(codebook_size=32))
    codes = both.ours.semantic_to_coarse(speak(both.tokens, 60), temperature=50.0)
    assert codes.min() == 0
    assert codes.max() == 31
    assert not np.array_equal(codes[0], codes[1])


def test_only_the_drawable_part_of_the_head_is_scored(pair, monkeypatch):
    both, counts = pair(seed=9), []
    logits = GPT.logits

    def counted(self, hidden, first=0, count=None):
        counts.append(count)
        return logits(self, hidden, first, count)

    monkeypatch.setattr(GPT, "logits", counted)
    both.ours.semantic_to_coarse([speak(both.tokens, 5)] * 5)  # a batch size of its own: it is traced here
    assert counts == [both.tokens.codebook_size]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([1, 500]), "semantic holds 1..500, this checkpoint's tokens are 0..499"),
        (np.array([-1]), "semantic holds -1..-1"),
        (np.array([0.5]), "semantic holds float64, .* whole numbers"),
        (np.zeros((2, 3), int), r"semantic has shape \(2, 3\)"),
        ([np.zeros(3, int), np.array(["a"])], "semantic holds <U1"),
    ],
)
def test_bad_tokens_are_refused(pair, bad, message):
    with pytest.raises(ValueError, match=message):
        pair().ours.semantic_to_coarse(bad)
