"""EnCodec, 24 kHz: samples to codes and codes to samples.

    samples (n,) ──encoder──▶ latents (t, d) ──quantizer.encode──▶ codes (q, t)         t = ceil(n / 320)
    samples (320 t,) ◀──decoder── latents (t, d) ◀──quantizer.decode── codes (q, t)

Samples are mono float32 at 24 000 Hz, full scale ±1; what the decoder returns is not clipped. Codes
are integers in 0..1023, q codebooks for each of 75 frames a second. This file knows nothing of
text, tokens or checkpoints: kernels are plain here, weight normalisation is folded on loading.

Every layer is causal. So a recording of any length goes through in chunks of fixed size, each layer
handing the next chunk its memory: a convolution its last inputs, the LSTM its state. Nothing is
computed twice, the result is that of the whole recording, and one compiled program serves all lengths.

Reference: "High Fidelity Neural Audio Compression", arXiv 2210.13438; facebookresearch/encodec.
Letters: b batch, t time (frames unless said to be samples), c channels, q codebooks, d latent width.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from bark_jax import parallel

CHUNK_FRAMES = 128  # 1.7 s: longer chunks are no faster, and short recordings pay for a whole one

# Inputs and outputs (b, t, c), kernels (size, c in, c out).
convolve = functools.partial(lax.conv_general_dilated, padding="VALID", dimension_numbers=("NWC", "WIO", "NWC"))

# What this file computes, for the fields of a Hugging Face config that could say otherwise.
COMPUTED = {
    "norm_type": "weight_norm",
    "use_causal_conv": True,
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
    "normalize": False,
    "audio_channels": 1,
    "chunk_length_s": None,
}


@dataclasses.dataclass(frozen=True)
class CodecConfig:
    """Hold the sizes of one codec; field names and defaults are those of facebook/encodec_24khz."""

    sampling_rate: int = 24_000  # Hz
    target_bandwidths: tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)  # kbit/s
    num_filters: int = 32  # channels at the sample rate; they double at each stage down
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)  # of the decoder; the encoder takes them backwards
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    num_residual_layers: int = 1
    dilation_growth_rate: int = 2
    compress: int = 2  # a residual block is this many times narrower inside
    use_conv_shortcut: bool = True
    num_lstm_layers: int = 2
    hidden_size: int = 128  # latent width, and that of a codebook entry
    codebook_size: int = 1024

    @property
    def hop_length(self) -> int:
        """Samples in a frame: 320."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_rate(self) -> int:
        """Frames in a second: 75."""
        return math.ceil(self.sampling_rate / self.hop_length)

    @property
    def num_quantizers(self) -> int:
        """Codebooks at the highest bandwidth: 32."""
        return self.codebooks_at(self.target_bandwidths[-1])

    def codebooks_at(self, kbps: float) -> int:
        """Count the codebooks that a bandwidth pays for: 1.5 kbit/s buys 2, 6 buys 8.

        Raises ValueError for a bandwidth that the codec was not trained at.
        """
        if kbps not in self.target_bandwidths:
            raise ValueError(f"bandwidth is {kbps} kbit/s: choose one of {', '.join(map(str, self.target_bandwidths))}")
        bits_per_second = self.frame_rate * math.log2(self.codebook_size)  # of one codebook
        return max(1, math.floor(1000 * kbps / bits_per_second))

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> "CodecConfig":
        """Read a Hugging Face `EncodecConfig` as a dict; its generic keys are passed over.

        Raises ValueError for a codec of another kind, such as the 48 kHz one.
        """
        computed = COMPUTED | {"codebook_dim": config.get("hidden_size", cls.hidden_size)}
        for name, value in computed.items():
            if config.get(name) not in (value, None):
                raise ValueError(
                    f"{name} is {config[name]!r}, this codec computes {value!r} only: "
                    "use a checkpoint of the kind of facebook/encodec_24khz"
                )
        names = {field.name for field in dataclasses.fields(cls)}
        found: dict[str, Any] = {name: config[name] for name in names & config.keys()}
        found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """Write the config as Hugging Face's `config.json` holds it; `from_dict` reads it back."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}
        return {"model_type": "encodec", "codebook_dim": self.hidden_size} | COMPUTED | values


@dataclasses.dataclass
class Chunk:
    """Say where a stretch of each recording stands, and carry the layers' memory across its edges.

        recording    |---- chunk 0 ----|---- chunk 1 ----|---- chunk 2 --|      the end, padded on the right
        memory     start            kept = past       kept = past

    `size`: samples in the stretch, a multiple of the hop. `remaining` (b,): samples from its start to
    the recording's end, at most `size`. `first`: whether the recordings start here. `past`: what the
    layers kept of the chunk before, in the order in which they run; None if there is none.
    """

    size: int
    remaining: Int[Array, " b"]
    first: Array | bool = True
    past: list[Any] | None = None
    kept: list[Any] = dataclasses.field(default_factory=list)

    def remaining_in(self, x: Float[Array, "b t c"]) -> Int[Array, "b 1 1"]:
        """Count the steps of `x` up to the recording's end, at whatever rate `x` has."""
        samples_per_step = self.size // x.shape[1]
        return -(-self.remaining[:, None, None] // samples_per_step)

    def recall(self, start: Any) -> Any:
        """Return what this layer kept of the chunk before, or `start` where the recordings start."""
        if self.past is None:
            return start
        past = self.past[len(self.kept)]
        return jax.tree.map(functools.partial(jnp.where, self.first), start, past)

    def join(self, start: Float[Array, "b p c"], x: Float[Array, "b t c"]) -> Float[Array, "b p+t c"]:
        """Put the p steps before `x` in front of it: the past, or `start` where there is none."""
        joined = jnp.concatenate([self.recall(start), x], axis=1)
        self.kept.append(joined[:, x.shape[1] :])
        return joined


def reflect_start(x: Float[Array, "b t c"], p: int, chunk: Chunk) -> Float[Array, "b p c"]:
    """Mirror the first p steps about step 0; a shorter recording is taken to go on with zeros.

    length 5, p = 3:   [3 2 1] 0 1 2 3 4           length 2, p = 3:   [. . 1] 0 1
    """
    head = jnp.pad(x, ((0, 0), (0, max(0, p + 1 - x.shape[1])), (0, 0)))[:, 1 : p + 1]
    inside = jnp.arange(1, p + 1)[:, None] < chunk.remaining_in(x)
    return jnp.where(inside, head, 0)[:, ::-1]


def reflect_end(joined: Float[Array, "b w c"], x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b w c"]:
    """Mirror the recording about its last step, to fill the last window of stride p.

        length 6, p = 4:   0 1 2 3 | 4 5 [4 3]         length 2, p = 4:   0 1 [. .]

    A recording of p steps or fewer goes on with zeros, as in the reference.
    """
    p = joined.shape[1] - x.shape[1]
    length = chunk.remaining_in(x)[:, :, 0]
    row, step = jnp.arange(x.shape[0])[:, None], jnp.arange(p)
    mirrored = joined[row, p + length - 2 - step]
    short = chunk.first & (length <= p)
    return joined.at[row, p + length + step].set(jnp.where(short[..., None], 0, mirrored), mode="drop")


class CausalConv(nnx.Module):
    """Convolve over the past only, with as many outputs as windows of `stride` inputs."""

    def __init__(self, c_in: int, c_out: int, size: int, *, stride: int = 1, dilation: int = 1, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (size, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out))
        self.stride, self.dilation = stride, dilation
        self.padding = (size - 1) * dilation + 1 - stride

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        if self.padding:
            joined = chunk.join(reflect_start(x, self.padding, chunk), x)
            x = reflect_end(joined, x, chunk) if self.stride > 1 else joined
        y = convolve(x, self.kernel[...], (self.stride,), rhs_dilation=(self.dilation,))
        return y + self.bias[...]


class UpConv(nnx.Module):
    """Turn each input into 2 s outputs and add them up at a distance of s (a transposed convolution).

    input 0   [ own | spill ]
    input 1         [ own | spill ]
    input 2               [ own | spill ]      the last spill is cut off: trimmed on the right
    """

    def __init__(self, c_in: int, c_out: int, stride: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (2 * stride, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out))
        self.stride = stride

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        b, t, c = x.shape
        joined = chunk.join(jnp.zeros((b, 1, c), x.dtype), x)
        own, spill = jnp.split(self.kernel[...], 2)
        y = jnp.einsum("btc,sce->btse", x, own) + jnp.einsum("btc,sce->btse", joined[:, :-1], spill)
        return y.reshape(b, t * self.stride, -1) + self.bias[...]


class ResidualBlock(nnx.Module):
    """Add a narrow, dilated look at the past to the signal."""

    def __init__(self, cfg: CodecConfig, c: int, dilation: int, *, rngs: nnx.Rngs):
        inner = c // cfg.compress
        self.narrow = CausalConv(c, inner, cfg.residual_kernel_size, dilation=dilation, rngs=rngs)
        self.widen = CausalConv(inner, c, 1, rngs=rngs)
        self.shortcut = CausalConv(c, c, 1, rngs=rngs) if cfg.use_conv_shortcut else None

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b t c"]:
        y = self.widen(nnx.elu(self.narrow(nnx.elu(x), chunk)), chunk)
        return y + (self.shortcut(x, chunk) if self.shortcut else x)


def residual_blocks(cfg: CodecConfig, c: int, rngs: nnx.Rngs) -> list[ResidualBlock]:
    """Build a stage's residual blocks, each looking further back than the one before."""
    dilations = [cfg.dilation_growth_rate**j for j in range(cfg.num_residual_layers)]
    return [ResidualBlock(cfg, c, dilation, rngs=rngs) for dilation in dilations]


class LSTMLayer(nnx.Module):
    """Run one LSTM layer over time; gates stand in torch's order: input, forget, cell, output."""

    def __init__(self, d: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.lecun_normal()
        self.input_kernel = nnx.Param(init(rngs.params(), (d, 4 * d)))
        self.hidden_kernel = nnx.Param(init(rngs.params(), (d, 4 * d)))
        self.bias = nnx.Param(jnp.zeros(4 * d))

    def __call__(self, x: Float[Array, "b t d"], chunk: Chunk) -> Float[Array, "b t d"]:
        driven = x @ self.input_kernel[...] + self.bias[...]  # of all steps at once
        hidden_kernel = self.hidden_kernel[...]

        def step(carry, driven):
            hidden, cell = carry
            i, f, g, o = jnp.split(driven + hidden @ hidden_kernel, 4, axis=-1)
            cell = nnx.sigmoid(f) * cell + nnx.sigmoid(i) * jnp.tanh(g)
            hidden = nnx.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zeros = jnp.zeros_like(x[:, 0])
        carry, hidden = lax.scan(step, chunk.recall((zeros, zeros)), driven.swapaxes(0, 1))
        chunk.kept.append(carry)
        return hidden.swapaxes(0, 1)


class LSTM(nnx.Module):
    """Add to the signal what a stack of LSTM layers makes of it."""

    def __init__(self, cfg: CodecConfig, d: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List([LSTMLayer(d, rngs=rngs) for _ in range(cfg.num_lstm_layers)])

    def __call__(self, x: Float[Array, "b t d"], chunk: Chunk) -> Float[Array, "b t d"]:
        y = x
        for layer in self.layers:
            y = layer(y, chunk)
        return x + y


class EncoderStage(nnx.Module):
    """Refine, then take windows of `stride` steps to one step of twice the channels."""

    def __init__(self, cfg: CodecConfig, c: int, stride: int, *, rngs: nnx.Rngs):
        self.residuals = nnx.List(residual_blocks(cfg, c, rngs))
        self.down = CausalConv(c, 2 * c, 2 * stride, stride=stride, rngs=rngs)

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        for block in self.residuals:
            x = block(x, chunk)
        return self.down(nnx.elu(x), chunk)


class DecoderStage(nnx.Module):
    """Take each step to `stride` steps of half the channels, then refine."""

    def __init__(self, cfg: CodecConfig, c: int, stride: int, *, rngs: nnx.Rngs):
        self.up = UpConv(c, c // 2, stride, rngs=rngs)
        self.residuals = nnx.List(residual_blocks(cfg, c // 2, rngs))

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        x = self.up(nnx.elu(x), chunk)
        for block in self.residuals:
            x = block(x, chunk)
        return x


class Encoder(nnx.Module):
    """Take samples (b, 320 t, 1) to latents (b, t, d): 24 000 steps a second to 75."""

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
    """Take latents (b, t, d) to samples (b, 320 t, 1): the encoder backwards."""

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
    """Name each latent by the nearest entry of a codebook, what is left by one of the next, and so on."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        shape = (cfg.num_quantizers, cfg.codebook_size, cfg.hidden_size)
        self.codebooks = nnx.Param(jax.random.normal(rngs.params(), shape))

    def encode(self, latents: Float[Array, "b t d"], q: int) -> Int[Array, "b q t"]:
        """Choose entries of the first q codebooks, always in float32."""

        def step(residual, entries):
            crossed = jnp.matmul(residual, entries.T, precision=lax.Precision.HIGHEST)
            distance = jnp.sum(residual**2, axis=-1, keepdims=True) - 2 * crossed + jnp.sum(entries**2, axis=-1)
            code = jnp.argmin(distance, axis=-1)
            return residual - entries[code], code

        codebooks = self.codebooks[:q].astype(jnp.float32)
        return lax.scan(step, latents.astype(jnp.float32), codebooks)[1].swapaxes(0, 1)

    def decode(self, codes: Int[Array, "b q t"]) -> Float[Array, "b t d"]:
        """Add up the entries."""
        q = jnp.arange(codes.shape[1])[:, None]
        return self.codebooks[...][q, codes].sum(axis=1)


class Codec(nnx.Module):
    """The whole codec. These two methods take whole recordings, or a chunk of each as `chunk` says."""

    def __init__(self, cfg: CodecConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        self.quantizer = ResidualQuantizer(cfg, rngs=rngs)

    def encode(self, samples: Float[Array, "b n"], q: int, chunk: Chunk | None = None) -> Int[Array, "b q t"]:
        """Take samples to codes of the first q codebooks; n need not be a multiple of the hop."""
        b, n = samples.shape
        padding = -n % self.cfg.hop_length
        chunk = chunk or Chunk(size=n + padding, remaining=jnp.full(b, n))
        x = jnp.pad(samples, ((0, 0), (0, padding))).astype(self.encoder.stem.bias.dtype)
        return self.quantizer.encode(self.encoder(x[..., None], chunk), q)

    def decode(self, codes: Int[Array, "b q t"], chunk: Chunk | None = None) -> Float[Array, "b n"]:
        """Take codes of the first q codebooks to samples; any q up to `num_quantizers` will do."""
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


@parallel.any_batch("rows")
def run_in_chunks(step: Callable, codec: Codec, rows: list[np.ndarray], size: int) -> np.ndarray:
    """Put rows (..., n) of any lengths through `step`, `size` of the n at a time; join what comes out.

    `size` is what CHUNK_FRAMES frames have of the n: as many codes, or `hop_length` times as many
    samples. Behind the end of a row that is shorter than the longest, the result is meaningless.
    """
    if not rows:
        raise ValueError("the list holds 0 recordings, the codec needs 1 or more")
    graphdef, state = nnx.split(codec)
    step, place = functools.partial(step, graphdef, state), functools.partial(parallel.place, like=state)
    samples_per_step = CHUNK_FRAMES * codec.cfg.hop_length // size
    lengths = np.array([row.shape[-1] for row in rows])
    memory, outputs = None, []
    for start in range(0, lengths.max(), size):
        parts = [row[..., start : start + size] for row in rows]
        batch = np.stack([np.pad(p, [(0, 0)] * (p.ndim - 1) + [(0, size - p.shape[-1])]) for p in parts])
        remaining = (np.clip(lengths - start, 0, size) * samples_per_step).astype(np.int32)
        if memory is None:  # zeros that no layer uses, so that the first chunk needs no program of its own
            _, shapes = jax.eval_shape(step, batch, remaining, True, None)
            memory = jax.tree.map(jnp.zeros_like, shapes)
        output, memory = step(*place((batch, remaining, start == 0, memory)))
        outputs.append(output)
    return np.concatenate(outputs, axis=-1)


def check_samples(x: np.ndarray, name: str) -> None:
    """Raise ValueError for what is not one channel of finite floats."""
    if x.ndim != 1:
        raise ValueError(f"{name} has shape {x.shape}, not (n,): pass a list, stereo mixed down by x.mean(axis=0)")
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
