"""Spectra for losses and features: short-time Fourier transforms and mel bands, in JAX.

Letters: b batch, n samples, t frames, f frequencies, m mel bands.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

PRE_EMPHASIS = 0.95
FLOOR = 1e-4  # of mel magnitudes


def mel_filters(size: int, bands: int, sample_rate: int, highest_hz: float) -> Float[np.ndarray, "f m"]:
    """Build triangular filters, evenly spaced on the mel scale (HTK's), of about equal energy in white noise."""
    edges_mel = np.linspace(0, 2595 * np.log10(1 + highest_hz / 700), bands + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    hz = np.arange(size // 2 + 1)[:, None] * sample_rate / size
    rising = (hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - hz) / (edges_hz[2:] - edges_hz[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles / np.sqrt(np.maximum(triangles.sum(axis=0), 1e-6))).astype(np.float32)


def pre_emphasise(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    """Lift high frequencies: y[n] = x[n] - 0.95 x[n-1]. Speech has little energy there, and much of its sense."""
    return x - PRE_EMPHASIS * jnp.pad(x, ((0, 0), (1, 0)))[:, :-1]


def stft(x: Float[Array, "b n"], size: int) -> Complex[Array, "b t f"]:
    """Take a short-time Fourier transform with Hann windows, four of them over each sample.

    A sine of amplitude 1 has magnitude 1. Ends are padded with zeros, half a window on both sides.
    """
    hop = size // 4
    x = jnp.pad(x, ((0, 0), (size // 2, size // 2 + -x.shape[1] % hop)))
    blocks = x.reshape(x.shape[0], -1, hop)
    count = blocks.shape[1] - 3
    windows = jnp.concatenate([blocks[:, i : i + count] for i in range(4)], axis=-1) * np.hanning(size)
    return jnp.fft.rfft(windows) / (size / 4)


def magnitudes(x: Float[Array, "b n"], size: int) -> Float[Array, "b t f"]:
    """Take the magnitudes of `stft`; at silence too they have a gradient."""
    return magnitude(stft(x, size))


def window_magnitudes(windows: Float[Array, "b t n"]) -> Float[Array, "b t f"]:
    """Transform windows of sound; a sine of amplitude 1 under a Hann window has magnitude 1."""
    return magnitude(jnp.fft.rfft(windows) / (windows.shape[-1] / 4))


def magnitude(spectrum: Complex[Array, "b t f"]) -> Float[Array, "b t f"]:
    return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-14)
