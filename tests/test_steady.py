"""Latents are turned: what shifts leave alone comes first, and no sound changes."""

import jax
import numpy as np
import pytest
from flax import nnx

from bark_jax.codec import Chunk, Codec
from bark_jax.train import recipe, steady


def test_what_a_shift_leaves_alone_comes_first_and_is_largest():
    """Four hidden signals, of which shifts change the first two; mixed at random into eight latents."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.normal(size=(8, 8)))[0][:4] * np.array([[5.0], [5.0], [2.0], [1.0]])
    speech = rng.normal(size=(5_000, 2))

    def latents():
        return np.concatenate([rng.normal(size=(5_000, 2)), speech + 0.1 * rng.normal(size=speech.shape)], axis=1)

    latents_of = [latents() @ mixing + 1e-3 * rng.normal(size=(5_000, 8)) for _ in range(4)]
    matrix = steady.axes(latents_of[0], latents_of[1:])
    turned = latents_of[0] @ matrix
    assert turned.std() == pytest.approx(latents_of[0].std())
    variances = turned.var(axis=0)
    assert variances[:2].sum() > 0.9 * variances.sum()  # before, phase had 50 of 55 parts
    fitted = turned[:, :2] @ np.linalg.lstsq(turned[:, :2], speech, rcond=None)[0]
    assert np.corrcoef(fitted[:, 0], speech[:, 0])[0, 1] > 0.99
    assert np.linalg.cond(matrix) < 1e5  # it can be turned back


def test_a_turned_codec_sounds_as_before():
    codec = Codec(recipe.TINY.codec, rngs=nnx.Rngs(0))
    samples = 0.1 * jax.random.normal(jax.random.key(1), (1, 6_400, 1))
    latents = codec.encoder(samples, whole := Chunk(size=6_400, remaining=None))
    sound = codec.decoder(latents, whole)
    matrix = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    steady.turn(codec, matrix)
    turned = codec.encoder(samples, whole)
    np.testing.assert_allclose(turned, np.asarray(latents) @ matrix, rtol=0, atol=1e-4)
    np.testing.assert_allclose(codec.decoder(turned, whole), sound, rtol=0, atol=1e-4)
