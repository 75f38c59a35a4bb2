"""The layers of EnCodec: causal convolutions, the LSTM, and the stages that they form.

Every layer is causal. A recording of any length is therefore processed in chunks of fixed size, and each
layer passes its memory on to the next chunk: a convolution its last inputs, the LSTM its state. Nothing is
computed twice, the result is that of the whole recording, and one compiled program serves all lengths.

Kernels are plain: weight normalisation is folded on loading. Reference: facebookresearch/encodec.
Letters: b batch, t time (steps at the rate of the layer), c channels, d latent width.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int

# Inputs and outputs (b, t, c), kernels (size, c in, c out).
convolve = functools.partial(lax.conv_general_dilated, padding="VALID", dimension_numbers=("NWC", "WIO", "NWC"))

# The values that this codec supports, for fields of a Hugging Face config that could differ.
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
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)  # of the decoder; the encoder uses them in reverse
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
        """Return the number of codebooks at a bandwidth: 2 at 1.5 kbit/s, 8 at 6 kbit/s.

        Raises ValueError for a bandwidth that the codec was not trained at.
        """
        if kbps not in self.target_bandwidths:
            raise ValueError(f"bandwidth is {kbps} kbit/s: choose one of {', '.join(map(str, self.target_bandwidths))}")
        bits_per_second = self.frame_rate * math.log2(self.codebook_size)  # of one codebook
        return max(1, math.floor(1000 * kbps / bits_per_second))

    def bandwidth_of(self, codebooks: int) -> float:
        """Return the bandwidth, in kbit/s, that has this number of codebooks: 6 for 8.

        Raises ValueError if the codec has no such bandwidth.
        """
        counts = [self.codebooks_at(kbps) for kbps in self.target_bandwidths]
        if codebooks not in counts:
            raise ValueError(f"no bandwidth of the codec has {codebooks} codebooks: choose one of {counts}")
        return self.target_bandwidths[counts.index(codebooks)]

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> "CodecConfig":
        """Read a Hugging Face `EncodecConfig` as a dict; its generic keys are ignored.

        Raises ValueError for another kind of codec, such as the 48 kHz one.
        """
        computed = COMPUTED | {"codebook_dim": config.get("hidden_size", cls.hidden_size)}
        for name, value in computed.items():
            if config.get(name) not in (value, None):
                raise ValueError(
                    f"{name} is {config[name]!r}, this codec supports {value!r} only: "
                    "use a checkpoint such as facebook/encodec_24khz"
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
    """Hold the position of a stretch of each recording, and the memory of the layers between two stretches.

        recording    |---- chunk 0 ----|---- chunk 1 ----|---- chunk 2 --|      the end, padded on the right
        memory     start            kept = past       kept = past

    `size`: samples in the stretch, a multiple of the hop. `remaining` (b,): samples from its start to
    the recording's end, at most `size`; None where no recording ends before that, which spares the layers
    looking for ends. `first`: whether the recordings start here. `past`: what the layers kept of the
    previous chunk, in the order in which they run; None if there is none.
    """

    size: int
    remaining: Int[Array, " b"] | None
    first: Array | bool = True
    past: list[Any] | None = None
    kept: list[Any] = dataclasses.field(default_factory=list)

    def remaining_in(self, x: Float[Array, "b t c"]) -> Int[Array, "b 1 1"]:
        """Return the number of steps of `x` up to the recording's end, at the rate of `x`."""
        assert self.remaining is not None
        samples_per_step = self.size // x.shape[1]
        return -(-self.remaining[:, None, None] // samples_per_step)

    def recall(self, start: Any) -> Any:
        """Return what this layer kept of the previous chunk, or `start` where the recordings start."""
        if self.past is None:
            return start
        past = self.past[len(self.kept)]
        return jax.tree.map(functools.partial(jnp.where, self.first), start, past)

    def join(self, start: Float[Array, "b p c"], x: Float[Array, "b t c"]) -> Float[Array, "b p+t c"]:
        """Prepend the p steps before `x`: the past, or `start` where there is none."""
        joined = jnp.concatenate([self.recall(start), x], axis=1)
        self.kept.append(joined[:, x.shape[1] :])
        return joined


def reflect_start(x: Float[Array, "b t c"], p: int, chunk: Chunk) -> Float[Array, "b p c"]:
    """Reflect the first p steps about step 0; a shorter recording continues with zeros.

    length 5, p = 3:   [3 2 1] 0 1 2 3 4           length 2, p = 3:   [. . 1] 0 1
    """
    head = jnp.pad(x, ((0, 0), (0, max(0, p + 1 - x.shape[1])), (0, 0)))[:, 1 : p + 1]
    if chunk.remaining is None:
        return head[:, ::-1]
    inside = jnp.arange(1, p + 1)[:, None] < chunk.remaining_in(x)
    return jnp.where(inside, head, 0)[:, ::-1]


def reflect_end(joined: Float[Array, "b w c"], x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b w c"]:
    """Reflect the recording about its last step, to fill the last window of stride p.

        length 6, p = 4:   0 1 2 3 | 4 5 [4 3]         length 2, p = 4:   0 1 [. .]

    A recording of p steps or fewer continues with zeros, as in the reference.
    """
    if chunk.remaining is None:
        return joined
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
    """Transposed convolution: each input makes 2 s outputs, which are added up at a distance of s.

    input 0   [ own | spill ]
    input 1         [ own | spill ]
    input 2               [ own | spill ]      the last spill is trimmed
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
    """Add the output of two convolutions, the first narrow and dilated, to the signal."""

    def __init__(self, cfg: CodecConfig, c: int, dilation: int, *, rngs: nnx.Rngs):
        inner = c // cfg.compress
        self.narrow = CausalConv(c, inner, cfg.residual_kernel_size, dilation=dilation, rngs=rngs)
        self.widen = CausalConv(inner, c, 1, rngs=rngs)
        self.shortcut = CausalConv(c, c, 1, rngs=rngs) if cfg.use_conv_shortcut else None

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b t c"]:
        y = self.widen(nnx.elu(self.narrow(nnx.elu(x), chunk)), chunk)
        return y + (self.shortcut(x, chunk) if self.shortcut else x)


def residual_blocks(cfg: CodecConfig, c: int, rngs: nnx.Rngs) -> list[ResidualBlock]:
    """Build the residual blocks of a stage, each with a longer receptive field than the one before."""
    dilations = [cfg.dilation_growth_rate**j for j in range(cfg.num_residual_layers)]
    return [ResidualBlock(cfg, c, dilation, rngs=rngs) for dilation in dilations]


class LSTMLayer(nnx.Module):
    """Run one LSTM layer over time; the gates are in torch's order: input, forget, cell, output."""

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
    """Add the output of a stack of LSTM layers to the signal."""

    def __init__(self, cfg: CodecConfig, d: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List([LSTMLayer(d, rngs=rngs) for _ in range(cfg.num_lstm_layers)])

    def __call__(self, x: Float[Array, "b t d"], chunk: Chunk) -> Float[Array, "b t d"]:
        y = x
        for layer in self.layers:
            y = layer(y, chunk)
        return x + y


class EncoderStage(nnx.Module):
    """Apply the residual blocks, then downsample by `stride` to twice the channels."""

    def __init__(self, cfg: CodecConfig, c: int, stride: int, *, rngs: nnx.Rngs):
        self.residuals = nnx.List(residual_blocks(cfg, c, rngs))
        self.down = CausalConv(c, 2 * c, 2 * stride, stride=stride, rngs=rngs)

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        for block in self.residuals:
            x = block(x, chunk)
        return self.down(nnx.elu(x), chunk)


class DecoderStage(nnx.Module):
    """Upsample by `stride` to half the channels, then apply the residual blocks."""

    def __init__(self, cfg: CodecConfig, c: int, stride: int, *, rngs: nnx.Rngs):
        self.up = UpConv(c, c // 2, stride, rngs=rngs)
        self.residuals = nnx.List(residual_blocks(cfg, c // 2, rngs))

    def __call__(self, x: Float[Array, "b t c"], chunk: Chunk) -> Float[Array, "b u e"]:
        x = self.up(nnx.elu(x), chunk)
        for block in self.residuals:
            x = block(x, chunk)
        return x
