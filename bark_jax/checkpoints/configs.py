"""Configs of checkpoints: `config.json` and `generation_config.json`, each field checked before anything is built.

In:  JSON objects, whoever wrote them.
Out: GPTConfig, FineConfig, CodecConfig, TokenConfig; or one ValueError with everything that is wrong.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from bark_jax.codec import CodecConfig
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.journey import COARSE, CODEC, FINE, SEMANTIC
from bark_jax.limits import CODEBOOKS, Field, Flag, Number, Numbers, field_problems, shown
from bark_jax.tokens import SECTIONS, TOP_LEVEL, TokenConfig

IDS, LENGTH = Number(0, 2**24), Number(1, 2**16)
WIDTH, RATE_HZ = Number(1, 2**14), Number(0.1, 10_000, whole=False)
SAMPLE_RATE_HZ = Number(100, 384_000)
CODEBOOK_SIZE = Number(2, 2**16)

TRANSFORMER: dict[str, Field] = {
    "input_vocab_size": Number(1, 2**24),
    "num_layers": Number(1, 256),
    "num_heads": Number(1, 256),
    "hidden_size": WIDTH,
    "block_size": LENGTH,
    "bias": Flag(),
}
GPT_FIELDS = TRANSFORMER | {"output_vocab_size": Number(1, 2**24)}
FINE_FIELDS = TRANSFORMER | {"n_codes_total": Number(1, CODEBOOKS), "n_codes_given": Number(0, CODEBOOKS)}
CODEC_FIELDS: dict[str, Field] = {
    "sampling_rate": SAMPLE_RATE_HZ,
    "target_bandwidths": Numbers(Number(0.001, 1_000, whole=False), 16),
    "num_filters": Number(1, 1_024),
    "upsampling_ratios": Numbers(Number(1, 64), 8),
    "kernel_size": Number(1, 64),
    "last_kernel_size": Number(1, 64),
    "residual_kernel_size": Number(1, 64),
    "num_residual_layers": Number(0, 8),
    "dilation_growth_rate": Number(1, 8),
    "compress": Number(1, 64),
    "use_conv_shortcut": Flag(),
    "num_lstm_layers": Number(0, 8),
    "hidden_size": WIDTH,
    "codebook_size": CODEBOOK_SIZE,
}
TOKEN_FIELDS: dict[str, Field] = {
    "codebook_size": CODEBOOK_SIZE,
    "sample_rate": SAMPLE_RATE_HZ,
    "semantic_vocab_size": Number(1, 2**24),
    **dict.fromkeys(("semantic_pad_token", "eos_token_id", "text_encoding_offset", "text_pad_token"), IDS),
    **dict.fromkeys(("semantic_infer_token", "coarse_semantic_pad_token", "coarse_infer_token"), IDS),
    **dict.fromkeys(("max_input_semantic_length", "max_new_tokens", "max_coarse_input_length"), LENGTH),
    **dict.fromkeys(("sliding_window_len", "max_fine_input_length", "max_fine_history_length"), LENGTH),
    "max_coarse_history": Number(0, 2**16),
    "semantic_rate_hz": RATE_HZ,
    "coarse_rate_hz": RATE_HZ,
    "n_coarse_codebooks": Number(1, CODEBOOKS),
    "n_fine_codebooks": Number(1, CODEBOOKS),
    **{f"{stage.name}_temperature": Number(0, 100, whole=False) for stage in SECTIONS},
}


def read_gpt_config(section: Mapping[str, Any]) -> GPTConfig:
    """Read the config of a causal model. Raises ValueError for what is missing or out of its range."""
    return _read(GPTConfig, section, GPT_FIELDS, _head_problems)


def read_fine_config(section: Mapping[str, Any]) -> FineConfig:
    """Read the config of the fine model. Raises ValueError for what is missing, out of range or contradictory."""
    return _read(FineConfig, section, FINE_FIELDS, _fine_problems)


def read_codec_config(section: Mapping[str, Any]) -> CodecConfig:
    """Read the config of the codec; a missing field has the value of facebook/encodec_24khz.

    Raises:
        ValueError: a field is out of its range, or of a codec of another kind.
    """
    given = {name: field for name, field in CODEC_FIELDS.items() if name in section}
    _refuse(field_problems(section, given))
    cfg = CodecConfig.from_dict(dict(section))
    _refuse(_codec_problems(cfg))
    return cfg


def read_token_config(generation_config: Mapping[str, Any]) -> TokenConfig:
    """Read a `generation_config.json`; a missing field, or null, keeps Bark's value.

    Raises:
        ValueError: fields are out of their range, or contradict each other.
    """
    sections = [generation_config.get(stage.config) or {} for stage in SECTIONS]
    _refuse([f"{shown(section)} is no section of a config" for section in sections if not isinstance(section, dict)])
    values = {name: generation_config.get(name) for name in TOP_LEVEL}
    for (stage, names), section in zip(SECTIONS.items(), sections, strict=True):
        values |= {name: section.get(name) for name in names} | {
            f"{stage.name}_temperature": section.get("temperature")
        }
    given = {name: TOKEN_FIELDS[name] for name, value in values.items() if value is not None}
    _refuse(field_problems(values, given))
    tokens = TokenConfig.from_dict(dict(generation_config))
    _refuse(_token_problems(tokens))
    return tokens


READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    SEMANTIC.config: read_gpt_config,
    COARSE.config: read_gpt_config,
    FINE.config: read_fine_config,
    CODEC.config: read_codec_config,
}


def check_configs(config: Mapping[str, Any], generation_config: Mapping[str, Any], name: str) -> None:
    """Raise one ValueError with everything that is wrong in the configs of a checkpoint."""
    lines = []
    for section, read in READERS.items():
        try:
            read(config[section])
        except ValueError as error:
            lines.append(f"{section} of {name}: {error}")
    try:
        read_token_config(generation_config)
    except ValueError as error:
        lines.append(f"generation_config of {name}: {error}")
    if lines:
        raise ValueError("\n".join([*lines, "Fetch the configs again from the source of the weights"]))


def contradictions(cfg: GPTConfig | FineConfig | CodecConfig | TokenConfig) -> list[str]:
    """Say where the fields of a config contradict each other."""
    if isinstance(cfg, CodecConfig):
        return _codec_problems(cfg)
    if isinstance(cfg, TokenConfig):
        return _token_problems(cfg)
    section = dataclasses.asdict(cfg)
    return _fine_problems(section) if isinstance(cfg, FineConfig) else _head_problems(section)


def _read(cls: type, section: Mapping[str, Any], fields: dict[str, Field], problems: Callable[[Any], list[str]]) -> Any:
    _refuse(field_problems(section, fields))
    _refuse(problems(section))
    return cls(**{field.name: section[field.name] for field in dataclasses.fields(cls)})


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))


def _head_problems(section: Mapping[str, Any]) -> list[str]:
    width, heads = section["hidden_size"], section["num_heads"]
    return [f"hidden_size is {width}, which num_heads, {heads}, does not divide"] if width % heads else []


def _fine_problems(section: Mapping[str, Any]) -> list[str]:
    problems, entries = _head_problems(section), section["input_vocab_size"]
    if section.get("output_vocab_size", entries) != entries:
        problems.append(
            f"the fine model's output_vocab_size is {shown(section['output_vocab_size'])}, its input_vocab_size "
            f"{entries}: they must be equal, the heads are the tables"
        )
    if section["n_codes_given"] > section["n_codes_total"]:
        problems.append(f"n_codes_given is {section['n_codes_given']}, n_codes_total {section['n_codes_total']}")
    return problems


def _codec_problems(cfg: CodecConfig) -> list[str]:
    hop = math.prod(cfg.upsampling_ratios)
    widest = cfg.num_filters * 2 ** len(cfg.upsampling_ratios)
    reach = cfg.dilation_growth_rate ** max(cfg.num_residual_layers - 1, 0) * cfg.residual_kernel_size
    checks = (
        (
            hop > 2**14,
            f"upsampling_ratios are {cfg.upsampling_ratios}: {2**14} at most as a product",
        ),
        (
            widest > WIDTH.highest,
            f"num_filters is {cfg.num_filters}, so {widest} channels: {2**14} at most",
        ),
        (cfg.compress > cfg.num_filters, f"compress is {cfg.compress}, more than num_filters, {cfg.num_filters}"),
        (reach > 2**12, f"residual layers reach {reach} steps back, {2**12} at most"),
        (cfg.num_quantizers > 256, f"target_bandwidths pay for {cfg.num_quantizers} codebooks, 256 at most"),
    )
    return [why for is_wrong, why in checks if is_wrong]


def _token_problems(tokens: TokenConfig) -> list[str]:
    coarse, window = tokens.n_coarse_codebooks, tokens.sliding_window_len
    total, stride = tokens.max_fine_input_length, tokens.max_fine_history_length
    frames = tokens.coarse_rate_hz / tokens.semantic_rate_hz
    checks = (
        (
            window < coarse,
            f"sliding_window_len is {window}: it must be at least n_coarse_codebooks, {coarse}",
        ),
        (
            coarse > tokens.n_fine_codebooks,
            f"n_coarse_codebooks is {coarse}, above n_fine_codebooks",
        ),
        (stride > total, f"max_fine_history_length is {stride}, more than max_fine_input_length, {total}"),
        (not 0.1 <= frames <= 100, f"coarse_rate_hz is {frames:.3g} times semantic_rate_hz: 0.1 to 100 at most"),
        (
            tokens.text_pad_token <= tokens.text_encoding_offset,
            f"text_pad_token is {tokens.text_pad_token}: it must be above text_encoding_offset",
        ),
    )
    return [why for is_wrong, why in checks if is_wrong]
