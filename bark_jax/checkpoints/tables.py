"""Tables of weights: which tensors of a checkpoint fill which parameter of a module, and through which transform.

    {"layers.0.attn.att_proj.weight": LazyTensor (3d, d), ...} ──gpt_table──▶ GPT: blocks.0.attention.qkv.kernel (d, 3d)

A table has a row for each parameter of a module: its path, the tensors that it is made of under their
Hugging Face names, and a transform. Other spellings become these names first; keys that hold no weight
are listed, with the reason.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flax import nnx
from jax.typing import DTypeLike

from bark_jax.checkpoints.configs import read_codec_config, read_fine_config, read_gpt_config
from bark_jax.checkpoints.transforms import (
    ADD,
    FOLD_CONV,
    FOLD_UP_CONV,
    KEEP,
    STACK,
    TRANSPOSE,
    ByHead,
    Transform,
)
from bark_jax.codec import Codec, CodecConfig
from bark_jax.fine import FineConfig, FineModel
from bark_jax.gpt import GPT, GPTConfig
from bark_jax.journey import COARSE, CODEC, FINE, SEMANTIC

# Spellings of a key, as (regular expression, replacement): Suno's, and the older one of weight norm.
RENAMES = (
    (r"^_orig_mod\.", ""),  # torch.compile put it there
    (r"^transformer\.wte\.", "input_embeds_layer."),
    (r"^transformer\.wtes\.", "input_embeds_layers."),
    (r"^transformer\.wpe\.", "position_embeds_layer."),
    (r"^transformer\.ln_f\.", "layernorm_final."),
    (r"^transformer\.h\.", "layers."),
    (r"\.ln_([12])\.", r".layernorm_\1."),
    (r"\.attn\.c_attn\.", ".attn.att_proj."),
    (r"\.attn\.c_proj\.", ".attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.in_proj."),
    (r"\.mlp\.c_proj\.", ".mlp.out_proj."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)

# Keys that no parameter is made of, as regular expression -> reason.
IGNORED = {
    r"\.attn\.bias$": "the causal mask, a buffer: the biases are attn.att_proj.bias and attn.out_proj.bias",
    r"\.position_ids$": "0, 1, 2, ...",
    r"\.codebook\.(inited|cluster_size|embed_avg)$": "statistics with which the codebooks were trained",
}


def rename(key: str) -> str:
    """Give a key the name that the tables use."""
    for pattern, replacement in RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def is_ignored(key: str) -> bool:
    return any(re.search(pattern, key) for pattern in IGNORED)


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """Say what fills one parameter: `transform.forward` takes the source tensors, in their order."""

    target: str
    sources: tuple[str, ...]
    transform: Transform = KEEP


@dataclasses.dataclass(frozen=True)
class Table:
    """Hold the rows of one module, and keys that may be absent but else equal another key."""

    rows: tuple[Row, ...]
    ties: Mapping[str, str] = dataclasses.field(default_factory=dict)


# (path in the module, Hugging Face's key, transform), one source each.
Entry = tuple[str, str, Transform]
NORMS: tuple[Entry, ...] = (
    ("norm_1.scale", "layernorm_1.weight", KEEP),
    ("norm_2.scale", "layernorm_2.weight", KEEP),
)
NORM_BIASES: tuple[Entry, ...] = (
    ("norm_1.bias", "layernorm_1.bias", KEEP),
    ("norm_2.bias", "layernorm_2.bias", KEEP),
)
KERNELS: tuple[Entry, ...] = (
    ("attention.out.kernel", "attn.out_proj.weight", TRANSPOSE),
    ("mlp.up.kernel", "mlp.in_proj.weight", TRANSPOSE),
    ("mlp.down.kernel", "mlp.out_proj.weight", TRANSPOSE),
)
BIASES: tuple[Entry, ...] = (
    ("attention.out.bias", "attn.out_proj.bias", KEEP),
    ("mlp.up.bias", "mlp.in_proj.bias", KEEP),
    ("mlp.down.bias", "mlp.out_proj.bias", KEEP),
)
ENDS: tuple[Entry, ...] = (
    ("position_embedding.embedding", "position_embeds_layer.weight", KEEP),
    ("norm.scale", "layernorm_final.weight", KEEP),
)
END_BIAS: tuple[Entry, ...] = (("norm.bias", "layernorm_final.bias", KEEP),)
CAUSAL: tuple[Entry, ...] = (
    ("token_embedding.embedding", "input_embeds_layer.weight", KEEP),
    ("head.kernel", "lm_head.weight", TRANSPOSE),
)


def rows_of(entries: Iterable[Entry], target: str = "", source: str = "") -> list[Row]:
    """Build rows of entries; `target` and `source` are put before their names."""
    return [Row(f"{target}{path}", (f"{source}{key}",), transform) for path, key, transform in entries]


def transformer_rows(cfg: GPTConfig | FineConfig, *, norm_bias: bool) -> list[Row]:
    """Build the rows that all the transformers share."""
    rows, by_head = rows_of([*ENDS, *(END_BIAS if norm_bias else ())]), ByHead(cfg.num_heads)
    block = [*NORMS, ("attention.qkv.kernel", "attn.att_proj.weight", by_head), *KERNELS]
    block += NORM_BIASES if norm_bias else ()
    block += [("attention.qkv.bias", "attn.att_proj.bias", by_head), *BIASES] if cfg.bias else ()
    for i in range(cfg.num_layers):
        rows += rows_of(block, f"blocks.{i}.", f"layers.{i}.")
    return rows


def gpt_table(cfg: GPTConfig) -> Table:
    """Build the table of a causal model."""
    return Table((*rows_of(CAUSAL), *transformer_rows(cfg, norm_bias=cfg.bias)))


def fine_table(cfg: FineConfig) -> Table:
    """Build the table of the fine model: its LayerNorms always have biases, its heads are its tables."""
    tables = tuple(f"input_embeds_layers.{i}.weight" for i in range(cfg.n_codes_total))
    heads = {f"lm_heads.{i - cfg.n_codes_given}.weight": tables[i] for i in range(cfg.n_codes_given, cfg.n_codes_total)}
    return Table((Row("codebook_embeddings", tables, STACK), *transformer_rows(cfg, norm_bias=True)), heads)


def conv_rows(target: str, source: str, fold: Transform = FOLD_CONV) -> list[Row]:
    weight = f"{source}.conv.parametrizations.weight"
    return [
        Row(f"{target}.kernel", (f"{weight}.original0", f"{weight}.original1"), fold),
        Row(f"{target}.bias", (f"{source}.conv.bias",)),
    ]


def lstm_rows(target: str, source: str, num_layers: int) -> list[Row]:
    rows = []
    for i in range(num_layers):
        layer, lstm = f"{target}.layers.{i}", f"{source}.lstm"
        rows += [
            Row(f"{layer}.input_kernel", (f"{lstm}.weight_ih_l{i}",), TRANSPOSE),
            Row(f"{layer}.hidden_kernel", (f"{lstm}.weight_hh_l{i}",), TRANSPOSE),
            Row(f"{layer}.bias", (f"{lstm}.bias_ih_l{i}", f"{lstm}.bias_hh_l{i}"), ADD),
        ]
    return rows


def codec_table(cfg: CodecConfig) -> Table:
    """Build the table of the codec: Hugging Face numbers its layers in a row, activations included."""
    stages = range(len(cfg.upsampling_ratios))
    residuals = [[("residual", f"stages.{s}.residuals.{j}") for j in range(cfg.num_residual_layers)] for s in stages]
    elu = ("elu", "")
    encoder, decoder = [("conv", "stem")], [("conv", "stem"), ("lstm", "lstm")]
    for s in stages:
        encoder += [*residuals[s], elu, ("conv", f"stages.{s}.down")]
        decoder += [elu, ("up_conv", f"stages.{s}.up"), *residuals[s]]
    encoder += [("lstm", "lstm"), elu, ("conv", "head")]
    decoder += [elu, ("conv", "head")]
    rows = []
    for part, layers in (("encoder", encoder), ("decoder", decoder)):
        for i, (kind, name) in enumerate(layers):
            target, source = f"{part}.{name}", f"{part}.layers.{i}"
            match kind:
                case "conv":
                    rows += conv_rows(target, source)
                case "up_conv":
                    rows += conv_rows(target, source, FOLD_UP_CONV)
                case "lstm":
                    rows += lstm_rows(target, source, cfg.num_lstm_layers)
                case "residual":
                    rows += conv_rows(f"{target}.narrow", f"{source}.block.1")
                    rows += conv_rows(f"{target}.widen", f"{source}.block.3")
                    rows += conv_rows(f"{target}.shortcut", f"{source}.shortcut") if cfg.use_conv_shortcut else []
    codebooks = tuple(f"quantizer.layers.{i}.codebook.embed" for i in range(cfg.num_quantizers))
    return Table((*rows, Row("quantizer.codebooks", codebooks, STACK)))


# ---------------------------------------------------------------------------------------------
# Bark's four networks
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Network:
    """Say how one network is built from its section of Hugging Face's `config.json`."""

    config: str  # the section
    read_config: Callable[[dict[str, Any]], Any]
    module: Callable[..., nnx.Module]
    table: Callable[[Any], Table]

    def maker(self, cfg: Any, dtype: DTypeLike) -> Callable[..., nnx.Module]:
        """Return what builds the network when called with `rngs`: a transformer in `dtype`, the codec in float32."""
        return functools.partial(self.module, cfg, **({} if self.module is Codec else {"dtype": dtype}))


NETWORKS = {
    SEMANTIC.network: Network(SEMANTIC.config, read_gpt_config, GPT, gpt_table),
    COARSE.network: Network(COARSE.config, read_gpt_config, GPT, gpt_table),
    FINE.network: Network(FINE.config, read_fine_config, FineModel, fine_table),
    CODEC.network: Network(CODEC.config, read_codec_config, Codec, codec_table),
}
