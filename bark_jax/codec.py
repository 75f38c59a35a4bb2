"""EnCodec, 24 kHz: samples to codes and codes to samples.

    samples (n,) ──encoder──▶ latents (t, d) ──quantizer.encode──▶ codes (q, t)         t = ceil(n / 320)
    samples (320 t,) ◀──decoder── latents (t, d) ◀──quantizer.decode── codes (q, t)

Samples are mono float32 at 24 000 Hz, full scale ±1; the decoder's output is not clipped. Codes are
integers in 0..1023, q codebooks for each of 75 frames a second. Nothing here knows of text, tokens or
checkpoints. The layers, and how they process a recording in chunks, are in `codec_layers.py`.

Reference: "High Fidelity Neural Audio Compression", arXiv 2210.13438; facebookresearch/encodec.
Letters: b batch, t time (frames unless said to be samples), c channels, q codebooks, d latent width.
"""

import functools
import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from bark_jax import parallel
from bark_jax.codec_layers import LSTM, CausalConv, Chunk, CodecConfig, DecoderStage, EncoderStage

CHUNK_FRAMES = 128  # 1.7 s: longer chunks are no faster, and a short recording pays for a whole one


class Encoder(nnx.Module):
    """Encode samples (b, 320 t, 1) as latents (b, t, d): from 24 000 steps a second to 75."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        strides = cfg.upsampling_ratios[::-1]
        channels = [cfg.num_filters * 2**i for i in range(len(strides) + 1)]
        self.stem = CausalConv(1, channels[0], cfg.kernel_size, rngs=rngs)
        self.stages = nnx.List([EncoderStage(cfg, c, s, rngs=rngs) for c, s in zip(channels, strides, strict=False)])
        self.lstm = LSTM(cfg, channels[-1], rngs=rngs)
        self.head = CausalConv(channels[-1], cfg.hidden_size, cfg.last_kernel_size, rngs=rngs)

    def __call__(self, x: Float[Array, "b t 1"], chunk: Chunk) -> Float[Array, "b u d"]:
        x = self.stem(x, chunk)
        for stage in self.stages:
            x = stage(x, chunk)
        return self.head(nnx.elu(self.lstm(x, chunk)), chunk)


class Decoder(nnx.Module):
    """Decode latents (b, t, d) to samples (b, 320 t, 1): the mirror image of the encoder."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        strides = cfg.upsampling_ratios
        channels = [cfg.num_filters * 2**i for i in range(len(strides), -1, -1)]
        self.stem = CausalConv(cfg.hidden_size, channels[0], cfg.kernel_size, rngs=rngs)
        self.lstm = LSTM(cfg, channels[0], rngs=rngs)
        self.stages = nnx.List([DecoderStage(cfg, c, s, rngs=rngs) for c, s in zip(channels, strides, strict=False)])
        self.head = CausalConv(channels[-1], 1, cfg.last_kernel_size, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"], chunk: Chunk) -> Float[Array, "b u 1"]:
        x = self.lstm(self.stem(x, chunk), chunk)
        for stage in self.stages:
            x = stage(x, chunk)
        return self.head(nnx.elu(x), chunk)


class ResidualQuantizer(nnx.Module):
    """Quantise each latent to its nearest entry in a codebook, then the residual with the next codebook, and so on."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        shape = (cfg.num_quantizers, cfg.codebook_size, cfg.hidden_size)
        self.codebooks = nnx.Param(jax.random.normal(rngs.params(), shape))

    def encode(self, latents: Float[Array, "b t d"], q: int) -> Int[Array, "b q t"]:
        """Return the nearest entries in the first q codebooks, always computed in float32."""

        def step(residual, entries):
            crossed = jnp.matmul(residual, entries.T, precision=lax.Precision.HIGHEST)
            distance = jnp.sum(residual**2, axis=-1, keepdims=True) - 2 * crossed + jnp.sum(entries**2, axis=-1)
            code = jnp.argmin(distance, axis=-1).astype(jnp.int32)
            return residual - entries[code], code

        codebooks = self.codebooks[:q].astype(jnp.float32)
        return lax.scan(step, latents.astype(jnp.float32), codebooks)[1].swapaxes(0, 1)

    def decode(self, codes: Int[Array, "b q t"]) -> Float[Array, "b t d"]:
        """Sum the entries of all codebooks."""
        q = jnp.arange(codes.shape[1])[:, None]
        return self.codebooks[...][q, codes].sum(axis=1)


class Codec(nnx.Module):
    """The whole codec. Both methods process whole recordings, or the chunk of each that `chunk` describes."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        self.quantizer = ResidualQuantizer(cfg, rngs=rngs)

    def encode(self, samples: Float[Array, "b n"], q: int, chunk: Chunk | None = None) -> Int[Array, "b q t"]:
        """Encode samples as codes of the first q codebooks; n need not be a multiple of the hop."""
        b, n = samples.shape
        padding = -n % self.cfg.hop_length
        chunk = chunk or Chunk(size=n + padding, remaining=jnp.full(b, n))
        x = jnp.pad(samples, ((0, 0), (0, padding))).astype(self.encoder.stem.bias.dtype)
        return self.quantizer.encode(self.encoder(x[..., None], chunk), q)

    def decode(self, codes: Int[Array, "b q t"], chunk: Chunk | None = None) -> Float[Array, "b n"]:
        """Decode codes of the first q codebooks to samples, for any q up to `num_quantizers`."""
        b, _, t = codes.shape
        size = t * self.cfg.hop_length
        chunk = chunk or Chunk(size=size, remaining=jnp.full(b, size))
        return self.decoder(self.quantizer.decode(codes), chunk)[..., 0]


@functools.partial(jax.jit, static_argnames=("graphdef", "q"))
def encode_chunk(graphdef, state, samples, remaining, first, past, *, q):
    """Encode one chunk of each recording; return codes (b, q, t) and the memory for the next chunk."""
    chunk = Chunk(samples.shape[1], remaining, first, past)
    return nnx.merge(graphdef, state).encode(samples, q, chunk), chunk.kept


@functools.partial(jax.jit, static_argnames="graphdef")
def decode_chunk(graphdef, state, codes, remaining, first, past):
    """Decode one chunk of each recording; return samples (b, n) and the memory for the next chunk."""
    codec = nnx.merge(graphdef, state)
    chunk = Chunk(codes.shape[2] * codec.cfg.hop_length, remaining, first, past)
    return codec.decode(codes, chunk), chunk.kept


def run_in_chunks(step: Callable, codec: Codec, rows: list[np.ndarray], size: int) -> np.ndarray:
    """Run rows (..., n) of any lengths through `step` in chunks of `size` along n; join the outputs.

    `size` is the length of CHUNK_FRAMES frames along n: that many codes, or `hop_length` times as many
    samples. After the end of a row that is shorter than the longest, the result is meaningless.
    """
    if not rows:
        raise ValueError("the list holds 0 recordings, the codec needs 1 or more")
    count, (rows,) = len(rows), parallel.pad_rows(codec, rows)
    graphdef, state = nnx.split(codec)
    step, shard = functools.partial(step, graphdef, state), functools.partial(parallel.shard_like, like=state)
    samples_per_step = CHUNK_FRAMES * codec.cfg.hop_length // size
    lengths = np.array([row.shape[-1] for row in rows])
    memory, outputs = None, []
    for start in range(0, lengths.max(), size):
        parts = [row[..., start : start + size] for row in rows]
        batch = np.stack([np.pad(p, [(0, 0)] * (p.ndim - 1) + [(0, size - p.shape[-1])]) for p in parts])
        remaining = (np.clip(lengths - start, 0, size) * samples_per_step).astype(np.int32)
        if memory is None:  # zeros that no layer uses: the first chunk then needs no program of its own
            _, shapes = jax.eval_shape(step, batch, remaining, True, None)
            memory = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)  # jnp.zeros compiles one for each shape
        output, memory = step(*shard((batch, remaining, start == 0, memory)))
        outputs.append(output)
    return np.concatenate(outputs, axis=-1)[:count]


def check_samples(x: np.ndarray, name: str) -> None:
    """Raise ValueError for what is not one channel of finite floats."""
    if x.ndim != 1:
        channels = int(np.argmin(x.shape)) if x.ndim == 2 else 1
        raise ValueError(
            f"{name} has shape {x.shape}, not (n,): pass a list, stereo mixed down by x.mean(axis={channels})"
        )
    if x.dtype.kind != "f":
        raise ValueError(f"{name} holds {x.dtype}, not floats in -1..1: divide int16 samples by 32768.0")
    if not x.size:
        raise ValueError(f"{name} has 0 samples, the codec needs 1 or more: leave it out")
    if not np.isfinite(x).all():
        i = np.argmin(np.isfinite(x))
        raise ValueError(f"{name} is {x[i]} at sample {i}, not finite: repair it, for example by np.nan_to_num")


def check_codes(codes: np.ndarray, name: str, first: np.ndarray, cfg: CodecConfig) -> None:
    """Raise ValueError for what is not codes in range, of as many codebooks as `first`."""
    limit, top = cfg.num_quantizers, cfg.codebook_size - 1
    if codes.ndim != 2 or codes.dtype.kind not in "iu":
        raise ValueError(f"{name} is {codes.dtype} of shape {codes.shape}, not integers (q, t): pass a list of such")
    if not codes.size:
        raise ValueError(f"{name} has shape {codes.shape}, the codec needs 1 frame or more: leave it out")
    if len(codes) != len(first):
        raise ValueError(f"{name} has {len(codes)} codebooks, recording 0 has {len(first)}: decode them apart")
    if len(codes) > limit:
        raise ValueError(f"{name} has {len(codes)} codebooks, the codec has {limit}: pass codes[:{limit}]")
    if codes.min() < 0 or codes.max() > top:
        raise ValueError(f"{name} has codes {codes.min()}..{codes.max()}, not 0..{top}: remove offsets and padding")


def encode_audio(codec: Codec, samples: Iterable[ArrayLike], sample_rate: int, kbps: float) -> list[np.ndarray]:
    """Encode recordings (n,) of any lengths to int32 codes (q, ceil(n / 320)), each as if alone.

    `sample_rate` in Hz must be the codec's; `kbps` is one of the config's `target_bandwidths`.
    Raises ValueError for another rate or bandwidth, and for samples that are not mono finite floats.
    """
    cfg = codec.cfg
    if sample_rate != cfg.sampling_rate:
        common = math.gcd(sample_rate, cfg.sampling_rate)
        raise ValueError(
            f"sample rate is {sample_rate} Hz, the codec reads {cfg.sampling_rate} Hz: resample, for example by "
            f"scipy.signal.resample_poly(samples, {cfg.sampling_rate // common}, {sample_rate // common})"
        )
    rows = [np.asarray(row) for row in samples]
    for i, row in enumerate(rows):
        check_samples(row, f"recording {i}")
    step = functools.partial(encode_chunk, q=cfg.codebooks_at(kbps))
    codes = run_in_chunks(step, codec, [row.astype(np.float32) for row in rows], CHUNK_FRAMES * cfg.hop_length)
    return [c[:, : -(-row.size // cfg.hop_length)] for c, row in zip(codes, rows)]


def decode_audio(codec: Codec, codes: Iterable[ArrayLike]) -> list[np.ndarray]:
    """Decode codes (q, t) of any lengths t to float32 samples (320 t,), not clipped, each as if alone.

    All rows have the same q, from 1 to `num_quantizers`. Raises ValueError for another q, and for
    codes that are not integers in 0..`codebook_size` - 1.
    """
    rows = [np.asarray(row) for row in codes]
    for i, row in enumerate(rows):
        check_codes(row, f"recording {i}", rows[0], codec.cfg)
    samples = run_in_chunks(decode_chunk, codec, [row.astype(np.int32) for row in rows], CHUNK_FRAMES)
    return [x[: row.shape[1] * codec.cfg.hop_length].astype(np.float32) for x, row in zip(samples, rows)]
