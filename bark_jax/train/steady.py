"""Turn a codec's latents so that the first codebooks hold what stays when the sound is shifted by a few samples.

    latents (n, d) of sound, and of the same sound shifted  ──axes──▶  A (d, d): latents @ A

An encoder writes the phase of each vibration into its latents: a shift by a thousandth of a second, which nobody hears,
changes most of the codes. No text says which phase is next, so a model of the codes can only guess. The coordinates
found here are sorted by how much more they vary from sound to sound than by a shift. Each is scaled to the part of its
variance that a shift leaves, so that a quantiser, which spends its first codebooks on what varies most, begins with
speech.

The axes are those of linear discriminant analysis: a sound is a class, its shifts are the members.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from bark_jax.codec import Codec

SHIFTS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)  # of a frame
LEAST = 0.02  # of a coordinate's variance is kept: what is nothing but phase still sounds
FLOOR = 1e-3  # of the mean variance by shifts, for directions in which latents do not vary


def axes(latents: Float[np.ndarray, "n d"], shifted: Sequence[Float[np.ndarray, "n d"]]) -> Float[np.ndarray, "d d"]:
    """Find the matrix that turns and scales latents; it leaves their mean variance as it is.

    Args:
        latents: at least a few thousand.
        shifted: those of the same frames of the same sounds, later by some samples.
    """
    d = latents.shape[1]
    of_sounds = np.cov(latents.T)
    of_shifts = sum(np.cov((each - latents).T) / 2 for each in shifted) / len(shifted)
    of_shifts += FLOOR * np.trace(of_shifts) / d * np.eye(d)
    ratios, directions = scipy.linalg.eigh(of_sounds, of_shifts)  # directions in which shifts vary by 1
    kept = np.clip(1 - 1 / np.maximum(ratios, 1), LEAST, 1)
    turned = (directions * np.sqrt(kept))[:, ::-1]
    return (turned * latents.std() / (latents @ turned).std()).astype(np.float32)


def turn(codec: Codec, matrix: Float[np.ndarray, "d d"]) -> Codec:
    """Let a codec's encoder turn its latents, and its decoder turn them back: its sound without a quantiser stays."""
    head, stem = codec.encoder.head, codec.decoder.stem
    head.kernel[...] = jnp.asarray(np.asarray(head.kernel[...]) @ matrix)
    head.bias[...] = jnp.asarray(np.asarray(head.bias[...]) @ matrix)
    back = np.linalg.inv(matrix.astype(np.float64))
    stem.kernel[...] = jnp.asarray(np.einsum("de,keo->kdo", back, np.asarray(stem.kernel[...])), jnp.float32)
    return codec
