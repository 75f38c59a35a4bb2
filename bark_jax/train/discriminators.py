"""Networks that tell recordings from a codec's sound, so that it learns what the spectral losses do not ask for.

    sound (b, n) ──stft, compressed──▶ (b, t, f, 2) ──layers──▶ scores (b, t, f / 32), for each window size

Such a network looks at phases too, and at the texture of noise: where a codec that only knows distances makes
buzzing of it. The codec gets two losses from them: to score high, and to give the same features in every layer.

Each layer is one product of matrices: the frames before and after join a frame, and a band the bands beside it or
those that become one with it. On a CPU that takes a twentieth of the time of convolutions over time and frequency.

Reference: the multi-scale STFT discriminator of "High Fidelity Neural Audio Compression", arXiv 2210.13438;
spectra are compressed here, so that the quiet high bands count, and the discriminators are narrower.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from bark_jax.train.spectra import magnitude, pre_emphasise, stft

WINDOWS = (512, 1024, 2048)  # samples
POWER = 0.3  # of a magnitude, when compressed
QUIET = 1e-4  # magnitudes below it are not lifted
JOINED = (16, 2)  # bands that become one, in each layer
DILATIONS = (1, 2)  # over time
Parts = dict[str, Array]


class Layer(nnx.Module):
    """Look at three frames: of one band and those that become one with it, or of one and its two neighbours."""

    def __init__(self, c_in: int, c_out: int, *, joined: int = 1, dilation: int = 1, rngs: nnx.Rngs):
        self.joined, self.dilation = joined, dilation
        bands = joined if joined > 1 else 3
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (3 * bands * c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out))

    def __call__(self, x: Float[Array, "b t f c"]) -> Float[Array, "b t g e"]:
        b, t, f, c = x.shape
        x = x.reshape(b, t, f // self.joined, self.joined * c) if self.joined > 1 else around(x, 1, axis=2)
        return around(x, self.dilation, axis=1) @ self.kernel[...] + self.bias[...]


def around(x: Float[Array, "b t f c"], distance: int, axis: int) -> Float[Array, "b t f 3*c"]:
    """Join each place with those at a distance before and after it, or with zeros where there is none."""
    padding = [(distance, distance) if i == axis else (0, 0) for i in range(4)]
    padded, size = jnp.pad(x, padding), x.shape[axis]
    parts = [jax.lax.slice_in_dim(padded, at, at + size, axis=axis) for at in (0, distance, 2 * distance)]
    return jnp.concatenate(parts, axis=-1)


class Discriminator(nnx.Module):
    """Score sound in windows of one size."""

    def __init__(self, window: int, c: int, *, rngs: nnx.Rngs):
        self.window = window
        inputs = (2, *(c for _ in JOINED[1:]))
        joining = [
            Layer(c_in, c, joined=joined, dilation=dilation, rngs=rngs)
            for c_in, joined, dilation in zip(inputs, JOINED, DILATIONS, strict=True)
        ]
        self.layers = nnx.List([*joining, Layer(c, c, rngs=rngs)])
        self.head = nnx.Linear(c, 1, rngs=rngs)

    def __call__(self, sound: Float[Array, "b n"]) -> tuple[Float[Array, "b t f"], list[Float[Array, "b t g c"]]]:
        """Return scores, high for recordings, and the features of each layer."""
        spectrum = stft(pre_emphasise(sound), self.window)[..., :-1]  # an even number of bands
        loudness = (magnitude(spectrum) + QUIET) ** (POWER - 1)
        x = jnp.stack([spectrum.real * loudness, spectrum.imag * loudness], axis=-1)
        features = []
        for layer in self.layers:
            x = nnx.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.head(x)[..., 0], features


class Discriminators(nnx.Module):
    """Score sound in windows of several sizes."""

    def __init__(self, c: int, *, rngs: nnx.Rngs):
        self.each = nnx.List([Discriminator(window, c, rngs=rngs) for window in WINDOWS])

    def __call__(self, sound: Float[Array, "b n"]) -> list[tuple[Array, list[Array]]]:
        return [discriminator(sound) for discriminator in self.each]


def own_loss(model: Discriminators, x: Float[Array, "b n"], y: Float[Array, "b n"]) -> tuple[Array, Parts]:
    """Score recordings `x` above 1 and a codec's sound `y` below -1: the hinge loss."""
    both = [score for score, _ in model(jnp.concatenate([x, y]))]
    real, made = ([score[part] for score in both] for part in (slice(len(x)), slice(len(x), None)))
    losses = [nnx.relu(1 - a).mean() + nnx.relu(1 + b).mean() for a, b in zip(real, made)]
    told = [((a > 0).mean(dtype=jnp.float32) + (b < 0).mean(dtype=jnp.float32)) / 2 for a, b in zip(real, made)]
    loss = jnp.stack(losses).mean()
    return loss, {"discriminators": loss, "told": jnp.stack(told).mean()}


def codec_losses(model: Discriminators, x: Float[Array, "b n"], y: Float[Array, "b n"]) -> Any:
    """Return what a codec gets from the discriminators: to be taken for a recording, and to have its features."""
    of_x, of_y = jax.lax.stop_gradient(model(x)), model(y)
    taken = jnp.stack([-score.mean() for score, _ in of_y]).mean()
    pairs = [(a, b) for (_, xs), (_, ys) in zip(of_x, of_y) for a, b in zip(xs, ys)]
    alike = jnp.stack([jnp.abs(a - b).mean() / jnp.abs(a).mean() for a, b in pairs]).mean()
    return {"taken": taken, "alike": alike}
