"""The transformer alone: against transformers by value, and against itself with and without its cache."""

import dataclasses

import hf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax import gpt
from bark_jax.gpt import GPT, GPTConfig

SIZES = [
    {"layers": 1, "heads": 1, "width": 16},
    {"layers": 2, "heads": 4, "width": 32, "bias": True},
    {"layers": 3, "heads": 2, "width": 48},
    {"layers": 4, "heads": 8, "width": 64, "bias": True},
]


causal_logits = jax.jit(gpt.causal_logits)
step = jax.jit(lambda model, x, cache: model(x, cache))  # the hidden states, and the cache's new keys and values


@pytest.fixture(scope="module")
def model():
    return GPT(GPTConfig(50, 40, num_layers=2, num_heads=2, hidden_size=16, block_size=64), rngs=nnx.Rngs(0))


def run_in_pieces(model, x, pieces, *, slots=40, recent=16):
    """Feed x (b, t, d) in pieces of the given lengths, committing at every second one; return all logits."""
    cache = gpt.empty_cache(model.cfg, x.shape[0], slots, x.dtype).with_recent(recent)
    logits, at = [], 0
    for i, length in enumerate(pieces):
        hidden, new = step(model, x[:, at : at + length], cache)
        cache = cache.append(new)
        logits.append(model.logits(hidden))
        at += length
        if i % 2:
            cache = cache.commit().with_recent(recent)
    return jnp.concatenate(logits, axis=1)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("stage", ["semantic", "coarse_acoustics"])
@pytest.mark.parametrize("length", [1, 7, 64])
def test_logits_equal_transformers(pair, sizes, stage, length):
    torch, both = hf.import_torch(), pair(**sizes)
    theirs = getattr(both.theirs, stage)
    ours = both.ours.semantic_model if stage == "semantic" else both.ours.coarse_model
    ids = np.random.default_rng(length).integers(theirs.config.input_vocab_size, size=(2, length))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    actual = causal_logits(ours, ours.embed(jnp.asarray(ids)))
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("pieces", [[12], [1] * 12, [5, 1, 1, 5], [3, 4, 5], [11, 1]], ids=str)
def test_with_the_cache_as_without(model, pieces):
    x = jax.random.normal(jax.random.key(0), (2, 12, 16))
    np.testing.assert_allclose(run_in_pieces(model, x, pieces), causal_logits(model, x), atol=1e-5)


def test_rows_of_different_length_share_a_cache(model):
    """Commit rows as if one were 3 tokens shorter: its next token must not see the junk behind its end."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 16))
    cache = gpt.empty_cache(model.cfg, 2, 20, x.dtype)
    _, new = step(model, x, cache)
    cache = dataclasses.replace(cache.extend(new), length=jnp.array([8, 5]))
    last = jax.random.normal(jax.random.key(1), (2, 1, 16))
    hidden, _ = step(model, last, cache)
    for row, length in enumerate([8, 5]):
        whole = jnp.concatenate([x[row : row + 1, :length], last[row : row + 1]], axis=1)
        np.testing.assert_allclose(model.logits(hidden)[row, -1], causal_logits(model, whole)[0, -1], atol=1e-5)


def test_nothing_leaks_from_the_future(model):
    x = jax.random.normal(jax.random.key(0), (1, 10, 16))
    changed = x.at[:, 6].multiply(-1)
    before, after = causal_logits(model, x), causal_logits(model, changed)
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert (jnp.abs(before[:, 6:] - after[:, 6:]).max(axis=-1) > 1e-3).all()


def test_jitted_as_eager(model):
    x = jax.random.normal(jax.random.key(0), (2, 9, 16))
    np.testing.assert_allclose(causal_logits(model, x), gpt.causal_logits(model, x), atol=1e-5)


def test_part_of_the_head_gives_part_of_the_logits(model):
    hidden = jax.random.normal(jax.random.key(0), (2, 3, 16))
    np.testing.assert_allclose(model.logits(hidden, 7, 20), model.logits(hidden)[..., 7:27], atol=1e-6)


def test_the_cache_is_not_read_behind_its_length(model):
    x = jax.random.normal(jax.random.key(0), (1, 1, 16))
    clean = gpt.empty_cache(model.cfg, 1, 20, x.dtype).with_recent(4)
    dirty = dataclasses.replace(clean, past=jax.tree.map(lambda slots: slots + 9.0, clean.past))
    np.testing.assert_array_equal(step(model, x, clean)[0], step(model, x, dirty)[0])


@pytest.mark.parametrize("shape", [(16,), (1, 16), (5, 16), (2, 3, 16)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_linear_takes_any_shape(shape, dtype):
    layer = gpt.linear(16, 24, bias=True, dtype=dtype, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), shape, dtype)
    y = layer(x)
    assert y.dtype == dtype
    exact = np.asarray(x, np.float64) @ np.asarray(layer.kernel[...], np.float64)
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=0, atol=1e-5 if dtype == jnp.float32 else 2e-2)


def test_bfloat16_runs_in_bfloat16_and_scores_in_float32():
    model = GPT(GPTConfig(50, 40, num_layers=2, num_heads=2, hidden_size=16), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype(jnp.bfloat16)}
    x = model.embed(jnp.arange(6)[None])
    cache = gpt.empty_cache(model.cfg, 1, 0, x.dtype)
    with jax.numpy_dtype_promotion("standard"):  # flax's LayerNorm mixes the two
        hidden, _ = step(model, x, cache)
    assert hidden.dtype == jnp.bfloat16
    with jax.numpy_dtype_promotion("standard"):
        assert model.logits(hidden).dtype == jnp.float32


def test_sizes_of_bark_small():
    """The counts of suno/bark-small's semantic model, without building it."""
    cfg = GPTConfig(129_600, 10_048, num_layers=12, num_heads=12, hidden_size=768)
    shapes = nnx.state(nnx.eval_shape(lambda: GPT(cfg, rngs=nnx.Rngs(0))))
    blocks = 12 * (12 * 768**2 + 2 * 768)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == blocks + 768 * (129_600 + 1024 + 10_048 + 1)


def test_tiny_tokens_fit_the_tiny_models():
    assert hf.TOKENS.max_input_semantic_length + hf.TOKENS.max_new_tokens <= 64
