"""The filters and the draw, against the plain reference and against what users are promised."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from bark_jax import sampling
from bark_jax.journey import STAGES
from bark_jax.sampling import Controls


def prepared(logits, **controls):
    return np.asarray(sampling.prepare(jnp.asarray(logits, jnp.float32), Controls.from_user(**controls)))


@pytest.mark.parametrize("temperature", [0, 0.3, 0.7, 1, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 5, 40, 41, 1000])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.5, 0.9, 1])
def test_filters_equal_the_reference(temperature, top_k, top_p):
    logits = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32) * 3
    ours = prepared(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    for row, expected in zip(ours, logits):
        expected = reference.filter_logits(expected, temperature, top_k, top_p)
        np.testing.assert_array_equal(np.isinf(row), np.isinf(expected))
        np.testing.assert_allclose(row[np.isfinite(row)], expected[np.isfinite(expected)], rtol=1e-5)


def test_top_p_comes_before_temperature():
    """In the other order a temperature of 0.1 would leave the first id alone."""
    logits = np.log([[0.5, 0.3, 0.2]])
    assert np.isfinite(prepared(logits, temperature=0.1, top_p=0.6)).tolist() == [[True, True, False]]


def test_the_most_probable_always_stays():
    assert np.isfinite(prepared([[0, 5.0, 0]], temperature=0.7, top_p=1e-6)).tolist() == [[False, True, False]]


def test_ties_with_the_last_of_top_k_stay():
    assert np.isfinite(prepared([[3.0, 1, 2, 2, 0]], temperature=1, top_k=2)).tolist() == [
        [True, False, True, True, False]
    ]


def test_draws_follow_the_probabilities():
    logits = jnp.log(jnp.array([[0.1, 0.6, 0.3]]))
    keys = sampling.row_keys(list(range(4000)), 0)
    ids = sampling.sample(sampling.prepare(jnp.tile(logits, (4000, 1)), Controls.from_user(1)), keys)
    np.testing.assert_allclose(np.bincount(np.asarray(ids)) / 4000, [0.1, 0.6, 0.3], atol=0.03)


def test_a_row_draws_the_same_numbers_in_any_batch_and_under_any_default_generator():
    logits = jax.random.normal(jax.random.key(0), (3, 1000))
    together = sampling.sample(logits, sampling.row_keys([5, 6, 7], 1))
    with jax.default_prng_impl("rbg"):
        alone = [sampling.sample(logits[i : i + 1], sampling.row_keys([5 + i], 1))[0] for i in range(3)]
    assert together.tolist() == [int(i) for i in alone]


def test_stages_and_seeds_have_their_own_random_numbers():
    keys = [*sampling.row_keys([0, 1, 2**32 - 1], 0), *sampling.row_keys([0, 1, 2**32 - 1], 1)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1, it must be 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"temperature": "warm"}, "temperature is 'warm'"),
        ({"temperature": 1, "top_k": 0}, "top_k is 0, it must be a whole number of 1 or more"),
        ({"temperature": 1, "top_k": 2.5}, "top_k is 2.5"),
        ({"temperature": 1, "top_k": True}, "top_k is True"),
        ({"temperature": 1, "top_p": 0}, "top_p is 0, it must be above 0 and at most 1"),
        ({"temperature": 1, "top_p": 2}, "top_p is 2"),
        ({"temperature": 1, "min_eos_p": 1.5}, "min_eos_p is 1.5"),
        ({"temperature": 1, "min_eos_p": math.nan}, "min_eos_p is nan"),
    ],
)
def test_bad_controls_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Controls.from_user(**bad)


def test_a_huge_top_k_keeps_everything():
    assert np.isfinite(prepared([[1.0, 2, 3]], temperature=1, top_k=10**12)).all()


def test_each_stage_samples_from_a_stream_of_its_own():
    """Stored seeds give the same speech only while these numbers stay."""
    assert {stage.name: stage.stream for stage in STAGES} == {"semantic": 0, "coarse": 1, "fine": 2, "codec": 3}
