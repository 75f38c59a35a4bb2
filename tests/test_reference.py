"""The plain reference itself: against known values, and against transformers where that does as Suno does.

Nothing here touches the package's own networks: if a stage and the reference disagree, and this file is
green, the stage is wrong.
"""

import functools
import itertools
import types

import hf
import numpy as np
import pytest
import reference
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_jax.tokens import TokenConfig

torch = hf.import_torch()

BARK = TokenConfig()
TINY = hf.TOKENS
HEADS = 2
EOS = TINY.eos_token_id


@functools.cache
def model_and_weights(seed=0, bias=False):
    model = hf.tiny_bark(TINY, heads=HEADS, bias=bias, seed=seed).torch
    with torch.no_grad():
        # Such that the end of speech is drawn now and then, and ids past the second codebook never: the
        # processor of transformers would allow these, 12 behind the candidates.
        model.semantic.lm_head.weight[EOS] *= 2.5
        model.coarse_acoustics.lm_head.weight[TINY.coarse_semantic_pad_token :] = 0
    return model, {name: x.numpy() for name, x in model.state_dict().items()}


def a_voice(n, tokens=TINY, seed=0):
    """Make the voice twice: for the reference, and for transformers."""
    if n is None:
        return None, None
    arrays = {name: array.astype(np.int64) for name, array in hf.voice(tokens, n, seed).items()}
    ours = types.SimpleNamespace(**{name.removesuffix("_prompt"): array for name, array in arrays.items()})
    return ours, {name: torch.from_numpy(array) for name, array in arrays.items()}


def greedy_configs(model):
    generation = model.generation_config
    greedy = {"do_sample": False, "temperature": 1.0}
    return {
        "semantic_generation_config": BarkSemanticGenerationConfig(**generation.semantic_config | greedy),
        "coarse_generation_config": BarkCoarseGenerationConfig(**generation.coarse_acoustics_config | greedy),
        "fine_generation_config": BarkFineGenerationConfig(**generation.fine_acoustics_config | {"temperature": 1.0}),
    }


# Against transformers: networks.


@pytest.mark.parametrize("bias", [False, True])
def test_causal_logits_are_those_of_transformers(bias):
    model, weights = model_and_weights(bias=bias)
    for stage, size in (("semantic", 600), ("coarse_acoustics", TINY.coarse_infer_token + 1)):
        ids = np.random.default_rng(0).integers(size, size=64)
        with torch.no_grad():
            theirs = getattr(model, stage)(torch.from_numpy(ids)[None]).logits[0].numpy()
        ours = reference.causal_logits(weights, stage, HEADS, ids)
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("codebook", range(1, 8))
def test_fine_logits_are_those_of_transformers(bias, codebook):
    model, weights = model_and_weights(bias=bias)
    codes = np.random.default_rng(0).integers(TINY.codebook_size + 1, size=(8, 32))
    with torch.no_grad():
        theirs = model.fine_acoustics(codebook, torch.from_numpy(codes.T.copy())[None]).logits[0].numpy()
    ours = reference.fine_logits(weights, HEADS, codes, codebook)
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


# Against transformers: greedy generation, token for token.


@pytest.mark.parametrize("voice_length", [None, 5, 40])
@pytest.mark.parametrize("seed", range(3))
def test_greedy_semantic_is_that_of_transformers(seed, voice_length):
    model, weights = model_and_weights(seed)
    ours, theirs = a_voice(voice_length)
    ids = np.random.default_rng(seed).integers(len(hf.VOCABULARY), size=5 + 5 * seed)
    padded = np.pad(ids, (0, TINY.max_input_semantic_length - len(ids)))
    found = model.semantic.generate(
        torch.from_numpy(padded)[None],
        attention_mask=(torch.arange(len(padded)) < len(ids)).int()[None],
        history_prompt=theirs,
        semantic_generation_config=greedy_configs(model)["semantic_generation_config"],
    )[0].tolist()
    expected = found[: found.index(EOS)] if EOS in found else found
    text = ids + TINY.text_encoding_offset
    for temperature in (0, 0.7):
        out = reference.semantic(weights, HEADS, text, ours, TINY, temperature=temperature, min_eos_p=None)
        assert out.tolist() == expected


def test_the_semantic_comparisons_end_in_both_ways():
    lengths = set()
    for seed in range(3):
        text = np.random.default_rng(seed).integers(len(hf.VOCABULARY), size=5 + 5 * seed) + TINY.text_encoding_offset
        for n in (None, 5, 40):
            weights = model_and_weights(seed)[1]
            lengths.add(len(reference.semantic(weights, HEADS, text, a_voice(n)[0], TINY, min_eos_p=None)))
    assert min(lengths) < TINY.max_new_tokens == max(lengths)


@pytest.mark.parametrize("voice_length", [None, 3, 40])
@pytest.mark.parametrize("length", [1, 9, 24])
def test_greedy_coarse_is_that_of_transformers(length, voice_length):
    model, weights = model_and_weights()
    ours, theirs = a_voice(voice_length)
    semantic = np.random.default_rng(length).integers(TINY.semantic_vocab_size, size=length)
    configs = greedy_configs(model)
    del configs["fine_generation_config"]
    flat = model.coarse_acoustics.generate(
        torch.from_numpy(semantic.copy())[None], codebook_size=TINY.codebook_size, history_prompt=theirs, **configs
    )[0].numpy()
    codes = reference.coarse(weights, HEADS, semantic, ours, TINY)
    assert codes.shape == (2, len(flat) // 2)
    assert reference.flatten(codes, TINY).tolist() == flat.tolist()


@pytest.mark.parametrize("voice_length", [None, 5, 40])
@pytest.mark.parametrize("frames", [1, 16, 24, 32, 33, 49, 80])
def test_greedy_fine_is_that_of_transformers(frames, voice_length):
    model, weights = model_and_weights()
    ours, theirs = a_voice(voice_length)
    codes = np.random.default_rng(frames).integers(TINY.codebook_size, size=(2, frames))
    expected = model.fine_acoustics.generate(
        torch.from_numpy(reference.flatten(codes, TINY))[None],
        codebook_size=TINY.codebook_size,
        history_prompt=theirs,
        **greedy_configs(model),
    )[0].numpy()
    found = reference.fine(weights, HEADS, codes, ours, TINY)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[:2], codes)


# Filters.


def survivors(logits, **filters):
    return np.flatnonzero(np.isfinite(reference.filter_logits(np.array(logits), **filters))).tolist()


def test_top_p_keeps_the_first_that_goes_past_it():
    logits = np.log([0.1, 0.5, 0.15, 0.25])
    kept = {p: survivors(logits, temperature=1.0, top_p=p) for p in (0.0, 0.49, 0.51, 0.74, 0.76, 0.89, 0.91)}
    one, two, three = [1], [1, 3], [1, 2, 3]
    assert kept == {0.0: one, 0.49: one, 0.51: two, 0.74: two, 0.76: three, 0.89: three, 0.91: [0, 1, 2, 3]}


def test_top_p_counts_the_lower_id_of_a_tie_first():
    assert survivors([0.0, 0.0, 1.0, 0.0], temperature=1.0, top_p=0.6) == [0, 2]


def test_top_k_keeps_ties_with_the_last():
    assert survivors([1.0, 3.0, 2.0, 2.0, 0.0], temperature=1.0, top_k=2) == [1, 2, 3]
    assert survivors([1.0, 3.0, 2.0], temperature=1.0, top_k=9) == [0, 1, 2]


def test_the_temperature_comes_after_top_p():
    logits = np.log([0.6, 0.3, 0.1])
    # At temperature 0.3 the first alone holds more than 0.8.
    assert survivors(logits, temperature=0.3, top_p=0.8) == [0, 1]
    np.testing.assert_allclose(reference.filter_logits(logits, 0.3, top_p=0.8)[:2], logits[:2] / 0.3)


def test_top_k_comes_after_top_p():
    logits = np.log([0.4, 0.3, 0.3])
    # Of the two best alone, 0.4 / 0.7 is past 0.5; of all three it is not.
    assert len(survivors(logits, temperature=1.0, top_k=2, top_p=0.5)) == 2


def test_temperature_0_leaves_the_first_of_the_greatest():
    assert survivors([1.0, 3.0, 2.0, 3.0], temperature=0) == [1]
    p = reference.softmax(reference.filter_logits(np.array([1.0, 3.0, 2.0, 3.0]), 0, top_k=2, top_p=0.5))
    assert p.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_filters_keep_what_those_of_transformers_keep(seed):
    logits = np.random.default_rng(seed).normal(size=200) * 3
    for theirs, filters in (
        (TopKLogitsWarper(20), {"top_k": 20}),
        (TopPLogitsWarper(0.7), {"top_p": 0.7}),
        (TopPLogitsWarper(0.99), {"top_p": 0.99}),
    ):
        expected = theirs(None, torch.from_numpy(logits)[None])[0].numpy()
        np.testing.assert_array_equal(reference.filter_logits(logits, 1.0, **filters), expected)


# Known values, with networks that say what a test wants.


@pytest.mark.parametrize(("n", "steps"), [(0, 0), (100, 300), (209, 628), (256, 768), (499, 1500), (768, 2308)])
def test_steps_of_the_coarse_stage(n, steps):
    assert reference.n_steps(n, BARK) == steps


def test_bark_ratio():
    assert reference.ratio(BARK) == 3.006012024048096


@pytest.mark.parametrize(
    ("n", "frames", "ns", "nc"),
    [
        (309, 464, 209, 626),  # the longest
        (499, 750, 209, 626),
        (158, 237, 157, 470),  # what fits the frames
        (100, 160, 100, 299),  # an odd number of coarse ids
        (101, 160, 100, 299),  # an even number of semantic ids
        (2, 3, 1, 1),
        (1, 2, 0, 0),
        (0, 0, 0, 0),
    ],
)
def test_trimmed_voices(n, frames, ns, nc):
    fine = np.arange(8 * frames).reshape(8, frames) % BARK.codebook_size
    voice = types.SimpleNamespace(semantic=np.arange(n), coarse=fine[:2], fine=fine)
    semantic, flat = reference.trim_voice(voice, BARK)
    assert semantic.tolist() == list(range(n))[n - ns :]
    last = [10_000 + 1024 * q + int(code) for frame in fine[:2].T for q, code in enumerate(frame)][:-2]
    assert flat.tolist() == last[len(last) - nc :]


class Scripted:
    """Stand in for a network: keep what it is fed, and give logits that depend on nothing."""

    def __init__(self, monkeypatch, name, logits):
        self.fed = []
        self.logits = np.array([logits], float)
        monkeypatch.setattr(reference, name, self)

    def __call__(self, weights, *args):
        self.fed.append(args)
        return self.logits


def test_the_semantic_prompt(monkeypatch):
    network = Scripted(monkeypatch, "semantic_logits", np.arange(BARK.text_encoding_offset))  # 10 000 is the greatest
    voice = types.SimpleNamespace(semantic=np.arange(309))
    out = reference.semantic({}, 1, np.array([10_050, 10_060]), voice, BARK, early_stop=False)
    assert out.tolist() == [9999] * 768
    _, text, history, rest = network.fed[0]
    assert text.tolist() == [10_050, 10_060] + [129_595] * 254
    assert history.tolist() == list(range(53, 309))
    assert rest.tolist() == [129_599]
    assert [len(text) + len(args[3]) for args in network.fed] == list(range(257, 1025))
    reference.semantic({}, 1, np.array([10_050]), types.SimpleNamespace(semantic=np.arange(3)), BARK)
    assert network.fed[-1][2].tolist() == [0, 1, 2] + [10_000] * 253
    reference.semantic({}, 1, np.array([10_050]), None, BARK)
    assert network.fed[-1][2].tolist() == [10_000] * 256


def test_the_end_of_speech_is_not_kept(monkeypatch):
    Scripted(monkeypatch, "semantic_logits", np.arange(BARK.text_encoding_offset))
    drawn = iter([5, 6, BARK.eos_token_id])

    def choose(p, stage, step):
        assert (p.shape, stage) == ((10_001,), "semantic")
        return next(drawn)

    assert reference.semantic({}, 1, np.array([10_050]), None, BARK, choose=choose, min_eos_p=None).tolist() == [5, 6]


@pytest.mark.parametrize(("min_eos_p", "length"), [(None, 24), (0.251, 24), (0.249, 0)])
def test_speech_ends_where_its_end_is_likely_enough(monkeypatch, min_eos_p, length):
    logits = np.full(TINY.text_encoding_offset, -np.inf)
    logits[[7, EOS]] = 0.5 * np.log([3.0, 1.0])  # at temperature 0.5, probabilities of 3/4 and 1/4
    logits[EOS + 1 :] = 100  # no candidates
    Scripted(monkeypatch, "semantic_logits", logits)
    arguments = {"temperature": 0.5, "min_eos_p": min_eos_p}
    text = np.array([TINY.text_encoding_offset])
    assert reference.semantic({}, 1, text, None, TINY, **arguments).tolist() == [7] * length
    assert reference.semantic({}, 1, text, None, TINY, **arguments, early_stop=False).tolist() == [7] * 24
    # What top-k takes away from the end of speech counts for nothing.
    assert reference.semantic({}, 1, text, None, TINY, **arguments, top_k=1).tolist() == [7] * 24


def test_a_likelihood_at_the_threshold_ends_speech(monkeypatch):
    logits = np.full(TINY.text_encoding_offset, -np.inf)
    logits[[7, 8, 9, EOS]] = 0
    Scripted(monkeypatch, "semantic_logits", logits)
    assert len(reference.semantic({}, 1, np.array([TINY.text_encoding_offset]), None, TINY, min_eos_p=0.25)) == 0


def test_the_limit_of_time_is_passed_by_one_token(monkeypatch):
    Scripted(monkeypatch, "semantic_logits", np.arange(BARK.text_encoding_offset) == 5)
    lengths = {
        seconds: len(reference.semantic({}, 1, np.array([10_050]), None, BARK, max_seconds=seconds))
        for seconds in (0, 0.1, 5 / 49.9, 1)
    }
    assert lengths == {0: 1, 0.1: 5, 5 / 49.9: 6, 1: 50}


def coarse_prompts(monkeypatch, n, voice_length):
    """Run the coarse stage on n semantic ids; return what each window's first step reads."""
    network = Scripted(monkeypatch, "causal_logits", np.zeros(BARK.coarse_semantic_pad_token + 48))
    voice = None
    if voice_length is not None:
        voice, _ = a_voice(voice_length, BARK)
    codes = reference.coarse({}, 1, np.arange(n), voice, BARK)
    assert codes.tolist() == [[0] * (reference.n_steps(n, BARK) // 2)] * 2
    return [ids.tolist() for _, _, ids in network.fed]


def test_the_longest_coarse_sequence(monkeypatch):
    fed = coarse_prompts(monkeypatch, 768, 309)
    assert len(fed) == 2308
    assert max(map(len, fed)) + 1 == 256 + 1 + 630 + 60 == 947


def test_the_coarse_prompt(monkeypatch):
    voice, _ = a_voice(309, BARK)
    fed = coarse_prompts(monkeypatch, 100, 309)
    first, second = fed[0], fed[60]
    assert len(fed) == 300
    assert first[:256] == [*voice.semantic[100:], *range(47)]
    assert first[256] == 12_050
    assert first[257:] == reference.trim_voice(voice, BARK)[1].tolist()
    assert second[:256] == [*voice.semantic[120:], *range(67)]  # 60 steps are 20 semantic ids
    assert second[257:] == [*first[257 + 56 :], *[10_000, 11_024] * 30]
    fed = coarse_prompts(monkeypatch, 5, None)
    assert fed[0] == [0, 1, 2, 3, 4] + [12_048] * 251 + [12_050]


def test_coarse_windows_without_a_voice_go_on_from_each_other_for_a_while(monkeypatch):
    fed = coarse_prompts(monkeypatch, 768, None)
    windows = fed[::60]
    same = [after[: len(before)] == before for before, after in itertools.pairwise(windows)]
    assert same.index(False) + 1 == 11


def test_coarse_candidates_follow_the_global_step(monkeypatch):
    tokens = hf.tiny_tokens(sliding_window_len=5)
    Scripted(monkeypatch, "causal_logits", np.zeros(tokens.coarse_semantic_pad_token + 12))
    steps = []

    def choose(p, stage, step):
        assert (p.shape, stage) == ((tokens.codebook_size,), "coarse")
        steps.append(step)
        return step

    codes = reference.coarse({}, 1, np.arange(8), None, tokens, choose=choose)
    assert steps == list(range(24))
    assert codes.T.reshape(-1).tolist() == steps


def test_fine_choices_are_for_whole_windows(monkeypatch):
    Scripted(monkeypatch, "fine_logits", np.zeros(TINY.codebook_size + 8))
    calls = []

    def choose(p, stage, window, codebook):
        assert (p.shape, stage) == ((1, TINY.codebook_size), "fine")
        calls.append((window, codebook))
        return np.arange(32) + window - codebook + 10

    voice, _ = a_voice(40)
    codes = reference.fine({}, 1, np.zeros((2, 40), int), voice, TINY, choose=choose)
    # 16 frames of history and 40 new ones: windows of 32 begin at 0, 16 and 24, and fill their last 16.
    assert calls == [(window, codebook) for window in range(3) for codebook in range(2, 8)]
    for codebook in range(2, 8):
        expected = np.concatenate([np.arange(16, 32), np.arange(16, 24) + 1, np.arange(16, 32) + 2]) - codebook + 10
        np.testing.assert_array_equal(codes[codebook], expected)
