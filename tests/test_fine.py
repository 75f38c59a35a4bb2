"""Coarse to fine: every head, every window, against the plain reference and transformers."""

import hf
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from common import draw_like, voice

from bark_jax.fine import Windows
from bark_jax.journey import FINE

SIZES = [
    {"layers": 1, "heads": 1, "width": 16},
    {"layers": 2, "heads": 4, "width": 32, "bias": True},
    {"layers": 3, "heads": 2, "width": 48},
]


def frames(tokens, t, seed=0):
    return np.random.default_rng(seed).integers(tokens.codebook_size, size=(2, t)).astype(np.int32)


def expected(both, coarse, own_voice=None, seed=None, **options):
    choose = reference.greedy if seed is None else draw_like(seed, FINE.stream)
    return reference.fine(both.weights, both.heads, coarse, own_voice, both.tokens, choose=choose, **options)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("codebook", range(1, 8))
def test_logits_equal_transformers(pair, sizes, codebook):
    torch, both = hf.import_torch(), pair(**sizes)
    codes = np.random.default_rng(codebook).integers(both.tokens.codebook_size + 1, size=(2, 8, 20))
    with torch.no_grad():
        theirs = both.theirs.fine_acoustics(codebook, torch.tensor(codes.swapaxes(1, 2))).logits.numpy()
    ours = both.ours.fine_model(jnp.asarray(codes), codebook)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(both.ours.fine_model(jnp.asarray(codes), codebook, 5), ours[..., :5], atol=1e-6)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("history", [None, 2, 8, 40])
@pytest.mark.parametrize("t", [1, 16, 31, 32, 33, 49, 100])
def test_greedy_codes_equal_the_reference(pair, sizes, history, t):
    """Under, at and over one window of 32 frames, and its steps of 16; voices shorter and longer than 16."""
    both = pair(**sizes)
    own_voice = history and voice(both.tokens, history)
    coarse = frames(both.tokens, t)
    actual = both.ours.coarse_to_fine(coarse, voice=own_voice, temperature=0)
    assert actual.shape == (8, t)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual[:2], coarse)
    np.testing.assert_array_equal(actual, expected(both, coarse, own_voice, temperature=0))


@pytest.mark.parametrize("history", [None, 8, 40])
@pytest.mark.parametrize("t", [5, 32, 61])
def test_greedy_codes_equal_transformers(pair, history, t):
    """Theirs takes flat coarse ids, and is greedy at temperature 1."""
    from transformers.models.bark import generation_configuration_bark as configs

    torch, both = hf.import_torch(), pair()
    own_voice = history and voice(both.tokens, history)
    coarse = frames(both.tokens, t)
    flat = torch.tensor((coarse + both.tokens.semantic_vocab_size + np.array([[0], [32]])).T.reshape(1, -1))
    generation = both.theirs.generation_config
    theirs = both.theirs.fine_acoustics.generate(
        flat,
        semantic_generation_config=configs.BarkSemanticGenerationConfig(**generation.semantic_config),
        coarse_generation_config=configs.BarkCoarseGenerationConfig(**generation.coarse_acoustics_config),
        fine_generation_config=configs.BarkFineGenerationConfig(
            **generation.fine_acoustics_config | {"temperature": 1.0}
        ),
        codebook_size=both.tokens.codebook_size,
        history_prompt=None
        if own_voice is None
        else {name: torch.tensor(x, dtype=torch.long) for name, x in own_voice.to_dict().items()},
    )
    ours = both.ours.coarse_to_fine(coarse, voice=own_voice, temperature=0)
    np.testing.assert_array_equal(ours, theirs[0].numpy())


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_sampled_codes_equal_the_reference_with_our_random_numbers(pair, temperature):
    both = pair()
    coarse, own_voice = frames(both.tokens, 70), voice(both.tokens, 8)
    actual = both.ours.coarse_to_fine(coarse, voice=own_voice, seed=8, temperature=temperature)
    np.testing.assert_array_equal(actual, expected(both, coarse, own_voice, 8, temperature=temperature))


def test_a_row_of_a_batch_is_the_same_alone(pair):
    both = pair()
    coarse = [frames(both.tokens, t, seed=t) for t in (5, 90, 0, 33)]
    voices = [voice(both.tokens, 50), None, None, voice(both.tokens, 4)]
    for temperature in (0, 0.5):
        together = both.ours.coarse_to_fine(coarse, voice=voices, seed=[1, 2, 3, 4], temperature=temperature)
        for i in range(4):
            alone = both.ours.coarse_to_fine(coarse[i], voice=voices[i], seed=i + 1, temperature=temperature)
            np.testing.assert_array_equal(together[i], alone)
    assert together[2].shape == (8, 0)


def test_codes_stay_below_the_pad_token(pair):
    both = pair()
    codes = both.ours.coarse_to_fine(frames(both.tokens, 200), temperature=80.0)
    assert (codes.min(), codes.max()) == (0, both.tokens.codebook_size - 1)


def test_a_codebook_sees_itself_and_those_below_alone(pair):
    both = pair()
    codes = np.random.default_rng(0).integers(32, size=(1, 8, 12))
    logits = both.ours.fine_model(jnp.asarray(codes), 3)
    above, at = codes.copy(), codes.copy()
    above[:, 4:] += 1
    at[:, 3] += 1
    np.testing.assert_array_equal(both.ours.fine_model(jnp.asarray(above), 3), logits)
    assert np.abs(both.ours.fine_model(jnp.asarray(at), 3) - logits).max() > 1e-3


def test_every_frame_sees_every_other(pair):
    both = pair()
    codes = np.random.default_rng(0).integers(32, size=(1, 8, 12))
    changed = codes.copy()
    changed[:, 0, 11] = (changed[:, 0, 11] + 1) % 32
    first, second = (both.ours.fine_model(jnp.asarray(x), 2) for x in (codes, changed))
    assert (jnp.abs(first - second).max(axis=-1) > 1e-5).all()


def test_windows_of_bark():
    """No voice: 1,024 frames need one window, 1,025 two; a voice of 512 leaves room for 512."""
    assert [Windows(t, 0, 1024, 512).count for t in (1, 1024, 1025, 1536, 1537)] == [1, 1, 2, 2, 3]
    assert [Windows(t, 512, 1024, 512).count for t in (1, 512, 513)] == [1, 1, 2]
    cut = Windows(1100, 100, 1024, 512)
    assert cut.total == 1200
    assert [cut.span(n) for n in range(cut.count)] == [(0, 100), (176, 436)]


def test_one_program_for_all_lengths(pair, compilations):
    both = pair()
    both.ours.coarse_to_fine(frames(both.tokens, 3))
    before = len(compilations)
    for t in (1, 32, 33, 200):
        both.ours.coarse_to_fine(frames(both.tokens, t), voice=voice(both.tokens, 12), seed=t, temperature=t / 10)
    assert compilations[before:] == []


def test_nothing_is_left_unknown(pair):
    both = pair(hf.tiny_tokens(max_fine_input_length=24, max_fine_history_length=8))
    codes = both.ours.coarse_to_fine(frames(both.tokens, 50), temperature=0)
    np.testing.assert_array_equal(codes, expected(both, codes[:2], temperature=0))
    assert codes.max() < both.tokens.fine_pad_token


def test_jax_arrays_are_taken_and_numpy_given_back(pair):
    both = pair()
    coarse = frames(both.tokens, 4)
    codes = both.ours.coarse_to_fine(jnp.asarray(coarse))
    assert isinstance(codes, np.ndarray)
    np.testing.assert_array_equal(codes, both.ours.coarse_to_fine(coarse))
