"""Networks that tell recordings from a codec's sound, so that it learns what the spectral losses do not ask for.

    sound (b, n) ──stft, compressed──▶ (b, t, f, 2) ──convolutions──▶ scores (b, t, f), for each window size

Such a network looks at phases too, and at the texture of noise: where a codec that only knows distances makes
buzzing of it. The codec gets two losses from them: to score high, and to give the same features in every layer.

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
DILATIONS = (1, 2, 4)  # over time
Parts = dict[str, Array]


class Convolution(nnx.Module):
    """Convolve over time and frequency, padded with zeros."""

    def __init__(self, c_in: int, c_out: int, size: tuple[int, int], stride: int, dilation: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (*size, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out))
        self.stride, self.dilation = stride, dilation

    def __call__(self, x: Float[Array, "b t f c"]) -> Float[Array, "b t g e"]:
        t, f = self.kernel.shape[:2]
        along_t, along_f = t // 2 * self.dilation, f // 2
        padding = [(along_t, along_t), (along_f, along_f)]
        how = {"rhs_dilation": (self.dilation, 1), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        y = jax.lax.conv_general_dilated(x, self.kernel[...], (1, self.stride), padding, **how)
        return y + self.bias[...]


class Discriminator(nnx.Module):
    """Score sound in windows of one size."""

    def __init__(self, window: int, c: int, *, rngs: nnx.Rngs):
        self.window = window
        down = [Convolution(c, c, (3, 9), 2, dilation, rngs) for dilation in DILATIONS]
        self.layers = nnx.List([Convolution(2, c, (3, 9), 1, 1, rngs), *down, Convolution(c, c, (3, 3), 1, 1, rngs)])
        self.head = Convolution(c, 1, (3, 3), 1, 1, rngs)

    def __call__(self, sound: Float[Array, "b n"]) -> tuple[Float[Array, "b t f"], list[Float[Array, "b t g c"]]]:
        """Return scores, high for recordings, and the features of each layer."""
        spectrum = stft(pre_emphasise(sound), self.window)
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
