"""Semantic units of a recording: a small encoder names what is said in each fiftieth of a second.

    samples (n,) ──log_mels──▶ (2 t, 80) ──UnitEncoder──▶ logits (t, k) ──argmax──▶ units (t,)        50 Hz

The encoder comes with a checkpoint, in `units.safetensors`. It is trained to name thirds of phones, or clusters of what
Whisper's encoder hears; both say little about the speaker (`train/distil.py`). So any recording becomes semantic
tokens, and with them a voice.

The log-mels are Whisper's. At 24 kHz a window of 600 samples has its frequencies in the same bins as one of 400
samples at 16 kHz, so recordings need not be resampled.

Letters: b batch, n samples, s frames at 100 Hz, t frames at 50 Hz, m mel bands, d width, k units.
"""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from bark_jax.checkpoints.resolve import UNITS
from bark_jax.checkpoints.tensors import read_safetensors, write_safetensors
from bark_jax.sound import resample

RATE_HZ = 50  # units in a second
MEL_BANDS, MELS_HZ = 80, 100
BINS, BIN_HZ = 201, 40  # of the spectrum, up to 8 kHz
RANGE = 8.0  # log10 of power that is kept below the loudest bin
BLOCK_S = 2.0  # recordings are padded with silence to a multiple of it, so that few lengths are compiled
SILENCE_S = 0.4  # at least; more than the convolutions see


@functools.cache
def mel_filters() -> Float[np.ndarray, "f m"]:
    """Build Whisper's 80 triangular filters: Slaney's scale, linear up to 1 kHz, each of area 1."""
    steps = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), MEL_BANDS + 2)
    edges_hz = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** ((steps - 15) / 27))
    hz = np.arange(BINS)[:, None] * BIN_HZ
    rising = (hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - hz) / np.diff(edges_hz)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (edges_hz[2:] - edges_hz[:-2])).astype(np.float32)


def reads(sample_rate: int) -> bool:
    """Say whether `log_mels` takes this rate in Hz: its windows and hops are whole numbers of samples."""
    return sample_rate >= 2 * (BINS - 1) * BIN_HZ and sample_rate % (2 * MELS_HZ) == 0


def log_mels(samples: Float[Array, "b n"], sample_rate: int) -> Float[Array, "b s 80"]:
    """Compute Whisper's log-mels, 100 in a second, in windows of 25 ms; the loudest bin of a row sets its floor.

    Raises:
        ValueError: the rate is not one that `reads` takes.
    """
    if not reads(sample_rate):
        raise ValueError(f"sample rate is {sample_rate} Hz: resample to 16000 or 24000 Hz first")
    half_hop = sample_rate // (2 * MELS_HZ)  # a window has five of them
    window = 5 * half_hop
    count = samples.shape[1] // (2 * half_hop)
    padded = jnp.pad(samples, ((0, 0), (window // 2, window // 2)), mode="reflect")
    blocks = jnp.pad(padded, ((0, 0), (0, -padded.shape[1] % half_hop))).reshape(len(samples), -1, half_hop)
    windows = jnp.concatenate([blocks[:, i : i + 2 * count : 2][:, :count] for i in range(5)], axis=-1)
    hann = jnp.asarray(np.hanning(window + 1)[:-1], jnp.float32)
    spectrum = jnp.fft.rfft(windows * hann)[..., :BINS]
    power = (spectrum.real**2 + spectrum.imag**2) * (BINS * 2 - 2) ** 2 / window**2
    logs = jnp.log10(jnp.maximum(power @ mel_filters(), 1e-10))
    return (jnp.maximum(logs, logs.max(axis=(1, 2), keepdims=True) - RANGE) + 4) / 4


class Convolution(nnx.Module):
    """Convolve around each frame, padded with zeros."""

    def __init__(self, c_in: int, c_out: int, size: int, *, stride: int = 1, dilation: int = 1, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (size, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out))
        self.stride, self.dilation = stride, dilation
        self.padding = (size // 2 * dilation, size // 2 * dilation)

    def __call__(self, x: Float[Array, "b t c"]) -> Float[Array, "b u e"]:
        how = {"rhs_dilation": (self.dilation,), "dimension_numbers": ("NWC", "WIO", "NWC")}
        y = jax.lax.conv_general_dilated(x, self.kernel[...], (self.stride,), [self.padding], **how)
        return y + self.bias[...]


class Attention(nnx.Module):
    """Let every frame look at all that are not padding. What is near, the convolutions have seen."""

    def __init__(self, d: int, heads: int, *, rngs: nnx.Rngs):
        self.qkv, self.out = nnx.Linear(d, 3 * d, rngs=rngs), nnx.Linear(d, d, rngs=rngs)
        self.heads = heads

    def __call__(self, x: Float[Array, "b t d"], is_sound: Bool[Array, "b t"]) -> Float[Array, "b t d"]:
        q, k, v = (part.reshape(*x.shape[:2], self.heads, -1) for part in jnp.split(self.qkv(x), 3, axis=-1))
        seen = jnp.broadcast_to(is_sound[:, None, None], (len(x), 1, x.shape[1], x.shape[1]))
        return self.out(jax.nn.dot_product_attention(q, k, v, mask=seen).reshape(x.shape))


class UnitEncoder(nnx.Module):
    """Score the units of each frame: convolutions over near frames, then attention over all."""

    def __init__(self, k: int, d: int = 128, *, rngs: nnx.Rngs):
        self.stem = nnx.List([Convolution(MEL_BANDS, d, 3, rngs=rngs), Convolution(d, d, 3, stride=2, rngs=rngs)])
        self.near = nnx.List([Convolution(d, d, 5, dilation=2**i, rngs=rngs) for i in range(3)])
        self.all = nnx.List([Attention(d, 4, rngs=rngs) for _ in range(2)])
        self.up = nnx.List([nnx.Linear(d, 4 * d, rngs=rngs) for _ in range(2)])
        self.down = nnx.List([nnx.Linear(4 * d, d, rngs=rngs) for _ in range(2)])
        self.norms = nnx.List([nnx.LayerNorm(d, rngs=rngs) for _ in range(8)])
        self.head = nnx.Linear(d, k, rngs=rngs)

    def __call__(self, mels: Float[Array, "b s 80"], lengths: Int[Array, " b"]) -> Float[Array, "b t k"]:
        """Score log-mels; `lengths` says how many of the t frames of each row are no padding."""
        x = mels
        for convolution in self.stem:
            x = nnx.gelu(convolution(x))
        is_sound = jnp.arange(x.shape[1]) < lengths[:, None]
        norms = iter(self.norms)
        for convolution in self.near:
            x = x + nnx.gelu(convolution(next(norms)(x)))
        for attention, up, down in zip(self.all, self.up, self.down):
            x = x + attention(next(norms)(x), is_sound)
            x = x + down(nnx.gelu(up(next(norms)(x))))
        return self.head(next(norms)(x))

    @property
    def vectors(self) -> Float[np.ndarray, "k d"]:
        """A vector for each unit: near ones are of sounds that are alike."""
        return np.asarray(self.head.kernel[...]).T

    def encode(self, samples: Float[np.ndarray, " n"], sample_rate: int) -> Int[np.ndarray, " t"]:
        """Name the unit of each fiftieth of a second of a recording; another rate than 16 or 24 kHz is resampled."""
        return self.encode_all([samples], sample_rate)[0]

    def encode_all(self, rows: list[np.ndarray], sample_rate: int) -> list[np.ndarray]:
        """Name the units of recordings of any lengths at once."""
        if not reads(sample_rate):
            rows, sample_rate = [resample(x, sample_rate, 24_000) for x in rows], 24_000
        counts = np.array([len(x) * RATE_HZ // sample_rate for x in rows])
        longest = max(len(x) for x in rows) / sample_rate + SILENCE_S
        size = math.ceil(longest / BLOCK_S) * int(BLOCK_S * sample_rate)
        batch = np.stack([np.pad(x, (0, size - len(x))) for x in rows]).astype(np.float32)
        found = np.asarray(most_likely(*nnx.split(self), batch, counts, sample_rate=sample_rate))
        return [row[:count].astype(np.int32) for row, count in zip(found, counts)]


@functools.partial(jax.jit, static_argnames=("graphdef", "sample_rate"))
def most_likely(graphdef, state, samples, lengths, *, sample_rate):
    """Name the unit of each frame: samples (b, n) to units (b, t)."""
    return jnp.argmax(nnx.merge(graphdef, state)(log_mels(samples, sample_rate), lengths), axis=-1)


def load(folder: Path) -> UnitEncoder:
    """Read the encoder that a checkpoint brings.

    Raises:
        ValueError: it brings none.
    """
    path = folder / UNITS
    tensors = read_safetensors(path) if path.is_file() else {}
    if "head.kernel" not in tensors:
        raise ValueError(f"{folder} has no encoder of semantic units: a recording becomes no voice of this checkpoint")
    d, k = tensors["head.kernel"].shape
    graphdef, state = nnx.split(nnx.eval_shape(lambda: UnitEncoder(k, d, rngs=nnx.Rngs(0))))
    flat = nnx.to_flat_state(state)
    read = [(key, leaf.replace(jnp.asarray(tensors[name(key)].read(), jnp.float32))) for key, leaf in flat]
    return nnx.merge(graphdef, nnx.from_flat_state(read))


def save(encoder: UnitEncoder, folder: Path, dtype: type = np.float32) -> None:
    """Write an encoder to a checkpoint's folder."""
    flat = nnx.to_flat_state(nnx.state(encoder))
    write_safetensors({name(key): np.asarray(leaf[...]).astype(dtype) for key, leaf in flat}, folder / UNITS, None)


def name(key: tuple) -> str:
    return ".".join(map(str, key))
