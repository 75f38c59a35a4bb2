"""What a codec's sound is compared by, and how the comparisons share one step.

    spectral     log-mel and magnitude differences of pre-emphasised sound at four window sizes
    waveform     differences of pre-emphasised samples
    heard        differences of what Whisper's encoder makes of both

Each loss has a gradient at the sound. `balance` adds these up at a fixed share each, whatever their scales are.

References: "High Fidelity Neural Audio Compression", arXiv 2210.13438, for the spectral losses and the balancer.
Letters: b batch, n samples, t frames, m mel bands, d width.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bark_jax import units
from bark_jax.codec import CodecConfig
from bark_jax.train import loop
from bark_jax.train.spectra import FLOOR, magnitudes, mel_filters, pre_emphasise, window_magnitudes
from bark_jax.train.whisper import WhisperEncoder

WINDOWS = {256: 24, 512: 40, 1024: 80, 2048: 80}  # samples -> mel bands
HIGHEST = 0.5  # of the sample rate: all that there is
HEARD_LAYERS = 3  # the last ones of Whisper's encoder
AVERAGE = 0.99  # of the gradients' norms, over steps

Parts = dict[str, Array]


def spectral_losses(x: Float[Array, "b n"], y: Float[Array, "b n"], rate: int) -> Parts:
    """Compare two sounds in log-mel bands and in magnitudes, averaged over the window sizes."""
    mel, magnitude = [], []
    for size, bands in WINDOWS.items():
        filters = mel_filters(size, bands, rate, HIGHEST * rate)
        both = magnitudes(jnp.concatenate([x, y]), size)
        logs = jnp.log(both @ filters + FLOOR)
        mel.append(jnp.abs(logs[: len(x)] - logs[len(x) :]).mean())
        magnitude.append(jnp.abs(both[: len(x)] - both[len(x) :]).mean())
    return {"mel": jnp.stack(mel).mean(), "magnitude": jnp.stack(magnitude).mean()}


def spectral_loss(x: Float[Array, "b n"], y: Float[Array, "b n"], rate: int) -> tuple[Array, Parts]:
    """Compare two sounds in all that `spectral_losses` does, pre-emphasised."""
    parts = spectral_losses(pre_emphasise(x), pre_emphasise(y), rate)
    return parts["mel"] + 3 * parts["magnitude"], parts


def waveform_loss(x: Float[Array, "b n"], y: Float[Array, "b n"]) -> tuple[Array, Parts]:
    """Compare samples of pre-emphasised sound, in hundredths of full scale."""
    loss = 100 * jnp.abs(pre_emphasise(x) - pre_emphasise(y)).mean()
    return loss, {"waveform": loss}


def heard_loss(
    encoder: WhisperEncoder, x: Float[Array, "b n"], y: Float[Array, "b n"], rate: int
) -> tuple[Array, Parts]:
    """Compare what the last layers of Whisper's encoder make of two sounds, as a share of what they make of `x`."""
    of_both = encoder(units.log_mels(jnp.concatenate([x, y]), rate))[-HEARD_LAYERS:]
    pairs = [(both[: len(x)], both[len(x) :]) for both in of_both]
    loss = jnp.stack([jnp.abs(a - b).mean() / jnp.abs(a).mean() for a, b in pairs]).mean()
    return loss, {"heard": loss}


def frame_mels(x: Float[Array, "b n"], cfg: CodecConfig) -> Float[Array, "b t m"]:
    """Take log-mels of pre-emphasised sound in windows of 1,024 samples about the middle of each frame."""
    size, hop = 1024, cfg.hop_length
    before = (size - hop) // 2
    count = x.shape[1] // hop
    padded = jnp.pad(pre_emphasise(x), ((0, 0), (before, size)))
    windows = padded[:, hop * jnp.arange(count)[:, None] + jnp.arange(size)] * jnp.hanning(size)
    filters = mel_filters(size, 80, cfg.sampling_rate, HIGHEST * cfg.sampling_rate)
    return jnp.log(window_magnitudes(windows) @ filters + FLOOR)


def balance(
    gradients: Mapping[str, Float[Array, "b n"]], shares: Mapping[str, Array | float], norms: Parts
) -> tuple[Float[Array, "b n"], Parts]:
    """Add up the gradients of losses at the sound, each scaled to its share of a row's norm of 1.

    Args:
        shares: how much each loss counts, beside the others.
        norms: the moving averages of the gradients' norms; 0 for a loss that has had none.

    Returns the sum, which is that of a mean over all rows of the batch, and the new averages.
    """
    rows = len(next(iter(gradients.values()))) * jax.lax.psum(1, loop.DATA)
    every = sum(jnp.asarray(share, jnp.float32) for share in shares.values())
    total, averages = jnp.float32(0), {}
    for name, gradient in gradients.items():
        norm = jax.lax.pmean(jnp.sqrt(jnp.sum(gradient**2, axis=1)).mean(), loop.DATA)
        averages[name] = jnp.where(norms[name] > 0, AVERAGE * norms[name] + (1 - AVERAGE) * norm, norm)
        total += shares[name] / every / rows * gradient / jnp.maximum(averages[name], 1e-12)
    return total, averages


def directions(latents: Float[Array, "b t d"]) -> Array:
    """Count the directions in which latents vary: d for all alike, 1 for a line (the participation ratio)."""
    rows = latents.reshape(-1, latents.shape[-1])
    rows = rows - rows.mean(axis=0)
    covariance = rows.T @ rows / len(rows)
    return jnp.trace(covariance) ** 2 / jnp.maximum(jnp.sum(covariance**2), 1e-12)


def entries_used(codes: Int[Array, "b t"], count: int) -> Array:
    """Count the entries that codes use, as if all were used alike: e to the entropy."""
    share = jnp.zeros(count).at[codes.reshape(-1)].add(1.0 / codes.size)
    return jnp.exp(-jnp.sum(share * jnp.log(jnp.maximum(share, 1e-9))))
