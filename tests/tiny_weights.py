"""Random weights of a tiny Bark under Hugging Face's names, in NumPy, so that they can be had without torch.

Scales are near 1, codebooks and biases are random too: no weight keeps its initial value. Activations and
logits are of size 1. `hf.TinyBark.torch` loads them strictly, so names and shapes are those of transformers.
"""

import math
from collections.abc import Iterator

import numpy as np
import transformers

Arrays = dict[str, np.ndarray]
WEIGHT = "conv.parametrizations.weight"


def tiny_weights(config: transformers.BarkConfig, seed: int) -> Arrays:
    """Draw all the weights of `BarkModel(config).state_dict()`, buffers included."""
    rng = np.random.default_rng(seed)
    networks = {
        "semantic": causal(rng, config.semantic_config),
        "coarse_acoustics": causal(rng, config.coarse_acoustics_config),
        "fine_acoustics": fine(rng, config.fine_acoustics_config),
        "codec_model": codec(rng, config.codec_config),
    }
    return {f"{network}.{name}": x for network, arrays in networks.items() for name, x in arrays.items()}


def noise(rng: np.random.Generator, *shape: int, size: float = 1) -> np.ndarray:
    return np.float32(size) * rng.standard_normal(shape, np.float32)


def linear(rng: np.random.Generator, name: str, shape: tuple[int, int], bias: bool) -> Arrays:
    weight = {f"{name}.weight": noise(rng, *shape, size=1 / math.sqrt(shape[1]))}
    return weight | ({f"{name}.bias": noise(rng, shape[0], size=0.2)} if bias else {})


def norm(rng: np.random.Generator, name: str, width: int, bias: bool) -> Arrays:
    scale = {f"{name}.weight": 1 + noise(rng, width, size=0.2)}
    return scale | ({f"{name}.bias": noise(rng, width, size=0.2)} if bias else {})


def transformer(rng: np.random.Generator, config: transformers.PreTrainedConfig, norm_bias: bool) -> Arrays:
    """Draw what the causal models and the fine one share: positions, blocks, the last norm."""
    d, bias = config.hidden_size, config.bias
    arrays = {"position_embeds_layer.weight": noise(rng, config.block_size, d)}
    for i in range(config.num_layers):
        for name in ("layernorm_1", "layernorm_2"):
            arrays |= norm(rng, f"layers.{i}.{name}", d, norm_bias)
        for name, shape in (
            ("attn.att_proj", (3 * d, d)),
            ("attn.out_proj", (d, d)),
            ("mlp.in_proj", (4 * d, d)),
            ("mlp.out_proj", (d, 4 * d)),
        ):
            arrays |= linear(rng, f"layers.{i}.{name}", shape, bias)
    return arrays | norm(rng, "layernorm_final", d, norm_bias)


def causal(rng: np.random.Generator, config: transformers.PreTrainedConfig) -> Arrays:
    d, t = config.hidden_size, config.block_size
    masks = {f"layers.{i}.attn.bias": np.tril(np.ones((1, 1, t, t), bool)) for i in range(config.num_layers)}
    table = {"input_embeds_layer.weight": noise(rng, config.input_vocab_size, d)}
    body = transformer(rng, config, norm_bias=config.bias)
    return table | body | masks | linear(rng, "lm_head", (config.output_vocab_size, d), bias=False)


def fine(rng: np.random.Generator, config: transformers.PreTrainedConfig) -> Arrays:
    """Draw a fine model; each head is a table again."""
    q, given, shape = config.n_codes_total, config.n_codes_given, (config.input_vocab_size, config.hidden_size)
    tables = {f"input_embeds_layers.{i}.weight": noise(rng, *shape) for i in range(q)}
    heads = {f"lm_heads.{i - given}.weight": tables[f"input_embeds_layers.{i}.weight"] for i in range(given, q)}
    return tables | transformer(rng, config, norm_bias=True) | heads


def conv(rng: np.random.Generator, name: str, c_in: int, c_out: int, size: int, up: bool = False) -> Arrays:
    """Draw a convolution with weight norm, or a transposed one, whose weight is (in, out, size)."""
    bound = 1 / math.sqrt((c_out if up else c_in) * size)
    shape = (c_in, c_out, size) if up else (c_out, c_in, size)
    direction = rng.uniform(-bound, bound, shape).astype(np.float32)
    scale = np.sqrt(np.sum(direction**2, axis=(1, 2), keepdims=True)) * (1 + noise(rng, shape[0], 1, 1, size=0.2))
    bias = noise(rng, c_out, size=0.2)
    return {f"{name}.conv.bias": bias, f"{name}.{WEIGHT}.original0": scale, f"{name}.{WEIGHT}.original1": direction}


def lstm(rng: np.random.Generator, name: str, width: int, num_layers: int) -> Arrays:
    bound, arrays = 1 / math.sqrt(width), {}
    for i in range(num_layers):
        for part, shape in (("weight_ih", (width,)), ("weight_hh", (width,)), ("bias_ih", ()), ("bias_hh", ())):
            drawn = rng.uniform(-bound, bound, (4 * width, *shape)).astype(np.float32)
            arrays[f"{name}.lstm.{part}_l{i}"] = drawn
    return arrays


def codec(rng: np.random.Generator, config: transformers.EncodecConfig) -> Arrays:
    """Draw a codec. Hugging Face numbers all layers in a row, activations included."""
    d, filters, ratios = config.hidden_size, config.num_filters, config.upsampling_ratios
    widest, arrays = filters * 2 ** len(ratios), {}
    first, last = config.kernel_size, config.last_kernel_size

    def residuals(names: Iterator[str], c: int) -> Arrays:
        narrow, made = c // config.compress, {}
        for _, name in zip(range(config.num_residual_layers), names):
            made |= conv(rng, f"{name}.block.1", c, narrow, config.residual_kernel_size)
            made |= conv(rng, f"{name}.block.3", narrow, c, 1)
            made |= conv(rng, f"{name}.shortcut", c, c, 1) if config.use_conv_shortcut else {}
        return made

    def layers(part: str) -> Iterator[str]:
        yield from (f"{part}.layers.{i}" for i in range(99))

    name = layers("encoder")
    arrays |= conv(rng, next(name), config.audio_channels, filters, first)
    for stage, ratio in enumerate(reversed(ratios)):
        c = filters * 2**stage
        arrays |= residuals(name, c)
        next(name)  # ELU
        arrays |= conv(rng, next(name), c, 2 * c, 2 * ratio)
    arrays |= lstm(rng, next(name), widest, config.num_lstm_layers)
    next(name)
    arrays |= conv(rng, next(name), widest, d, last)

    name = layers("decoder")
    arrays |= conv(rng, next(name), d, widest, first) | lstm(rng, next(name), widest, config.num_lstm_layers)
    for stage, ratio in enumerate(ratios):
        c = widest // 2 ** (stage + 1)
        next(name)
        arrays |= conv(rng, next(name), 2 * c, c, 2 * ratio, up=True) | residuals(name, c)
    next(name)
    arrays |= conv(rng, next(name), filters, config.audio_channels, last)

    for i in range(config.num_quantizers):
        book, shape = f"quantizer.layers.{i}.codebook", (config.codebook_size, config.codebook_dim)
        arrays |= {f"{book}.inited": np.ones(1, np.float32), f"{book}.embed": noise(rng, *shape)}
        arrays |= {f"{book}.embed_avg": noise(rng, *shape)}
        arrays |= {f"{book}.cluster_size": rng.uniform(1, 9, shape[0]).astype(np.float32)}
    return arrays
