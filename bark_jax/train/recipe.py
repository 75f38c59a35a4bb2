"""Recipes: the sizes of four networks, the ids they share, and how each is trained.

nano       the checkpoint that comes with the package
nano-more  more of it: with `--begin assets/nano`, which keeps what the codes and units mean
small      the published small shapes, for accelerators
tiny       to test with
"""

import dataclasses
from typing import Any

from bark_jax.checkpoints.configs import CODEC_FIELDS, FINE_FIELDS, GPT_FIELDS, TOKEN_FIELDS, contradictions
from bark_jax.checkpoints.load import id_problems
from bark_jax.checkpoints.random import SHAPES, TOKENS
from bark_jax.codec import CodecConfig
from bark_jax.files import user_path
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.limits import JSON_BYTES, Choice, Field, Number, build, parse_json, read_bytes, shown
from bark_jax.tokens import TokenConfig
from bark_jax.train.codec import CodecTraining
from bark_jax.train.distil import SOURCES, UnitsTraining
from bark_jax.train.transformers import Training
from bark_jax.units import RATE_HZ

FROM_1 = {"steps", "batch", "frames", "width"}  # other numbers of a training are 0 or more
SHARES = {  # of 1 at most
    "voice_probability", "corruption_rate", "held_out", "disturbed", "heard_part", "discriminators_from", "decoder_from"
}  # fmt: skip
OTHERS = {"source": Choice(SOURCES), "dtype": Choice(("float32", "bfloat16")), "seed": Number(0, 2**32 - 1)}


def training_fields(kind: type) -> dict[str, Field]:
    """Say which values the fields of a training may have."""
    return {
        field.name: OTHERS.get(field.name)
        or Number(int(field.name in FROM_1), 1 if field.name in SHARES else 10**9, whole=field.type is int)
        for field in dataclasses.fields(kind)
    }


FIELDS = {TokenConfig: TOKEN_FIELDS, CodecConfig: CODEC_FIELDS, GPTConfig: GPT_FIELDS, FineConfig: FINE_FIELDS} | {
    kind: training_fields(kind) for kind in (UnitsTraining, CodecTraining, Training)
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Hold all that decides what training makes of recordings."""

    tokens: TokenConfig
    codec: CodecConfig
    semantic: GPTConfig
    coarse: GPTConfig
    fine: FineConfig
    units_training: UnitsTraining
    codec_training: CodecTraining
    semantic_training: Training
    coarse_training: Training
    fine_training: Training

    def __post_init__(self):
        sizes = self.tokens, self.semantic, self.coarse, self.fine, self.codec
        problems = [problem for cfg in sizes for problem in contradictions(cfg)] + id_problems(*sizes)
        source, rate_hz = self.units_training.source, self.tokens.semantic_rate_hz
        if source != "cepstra" and rate_hz != RATE_HZ:
            problems.append(f"semantic_rate_hz is {rate_hz}, the units of {source} have {RATE_HZ}")
        if problems:
            raise ValueError(f"the sizes of the recipe do not fit each other: {'; '.join(problems)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Any) -> "Recipe":
        """Read what `to_dict` made, or JSON made of it. Raises ValueError with all fields that are missing or wrong."""
        kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(content, dict):
            raise ValueError(f"a recipe is a JSON object, not {shown(content)}")
        if content.keys() != kinds.keys():
            raise ValueError(f"a recipe has {', '.join(kinds)}, not {', '.join(map(shown, content))}")
        made, problems = {}, []
        for name, kind in kinds.items():
            try:
                made[name] = build(kind, content[name], FIELDS[kind])
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError("\n".join(problems))
        return cls(**made)

    def differences(self, other: "Recipe") -> list[str]:
        """Say which fields another recipe has otherwise, such as "coarse_training.steps is 3000, not 500"."""
        ours, theirs = self.to_dict(), other.to_dict()
        return [
            f"{section}.{name} is {x}, not {theirs[section][name]}"
            for section, fields in ours.items()
            for name, x in fields.items()
            if x != theirs[section][name]
        ]


def small_ids(semantic: int, text: int, codes: int, **others: Any) -> TokenConfig:
    """Number the ids as Bark does, without gaps: those of semantic tokens, of text, and of a codebook's entries.

    Args:
        others: lengths and rates of `TokenConfig`.
    """
    first_text, end_of_coarse = semantic + 1, semantic + 2 * codes
    return TokenConfig(
        semantic_vocab_size=semantic,
        semantic_pad_token=semantic,
        eos_token_id=semantic,
        text_encoding_offset=first_text,
        text_pad_token=first_text + text,
        semantic_infer_token=first_text + text + 1,
        coarse_semantic_pad_token=end_of_coarse,
        coarse_infer_token=end_of_coarse + 1,
        codebook_size=codes,
        **others,
    )


def recipe(tokens: TokenConfig, codec: CodecConfig, sizes: dict[str, dict[str, Any]], **training: Any) -> Recipe:
    """Build a recipe of transformers that are as long as the ids' windows need."""
    coarse_ids = tokens.coarse_infer_token + 1
    semantic_length = tokens.max_input_semantic_length + 1 + tokens.max_new_tokens
    return Recipe(
        tokens,
        codec,
        GPTConfig(
            tokens.semantic_infer_token + 1, tokens.eos_token_id + 1, **sizes["semantic"], block_size=semantic_length
        ),
        GPTConfig(coarse_ids, coarse_ids, **sizes["coarse"], block_size=tokens.longest_coarse_window),
        FineConfig(tokens.codebook_size + 1, **sizes["fine"], block_size=tokens.max_fine_input_length),
        **training,
    )


def gpt_sizes(layers: int, heads: int, width: int) -> dict[str, Any]:
    return {"num_layers": layers, "num_heads": heads, "hidden_size": width}


NANO = recipe(
    small_ids(
        semantic=512,
        text=34,
        codes=512,
        semantic_rate_hz=50.0,
        max_input_semantic_length=96,
        max_new_tokens=320,
        max_coarse_input_length=120,
        max_coarse_history=264,
        sliding_window_len=60,
        max_fine_input_length=256,
        max_fine_history_length=128,
    ),
    CodecConfig(
        num_filters=16,
        upsampling_ratios=(5, 8, 8),
        hidden_size=64,
        codebook_size=512,
        target_bandwidths=(1.5, 3.0, 6.0),
    ),
    {"semantic": gpt_sizes(4, 4, 256), "coarse": gpt_sizes(4, 4, 256), "fine": gpt_sizes(4, 4, 128)},
    units_training=UnitsTraining(source="phones"),
    codec_training=CodecTraining(
        steps=13_500,
        batch=8,
        frames=60,
        rate=1e-3,
        heard_part=0.5,
        spread_weight=0.05,
        discriminator_rate=1e-3,
        discriminators_from=0.6,
        decoder_from=0.7,
    ),
    semantic_training=Training(
        steps=8_000, batch=32, rate=1.5e-3, dtype="bfloat16", corruption_rate=0.15, lookahead_weight=0.3
    ),
    coarse_training=Training(steps=3_000, batch=16, dtype="bfloat16", corruption_rate=0.8, copies=6),
    fine_training=Training(steps=3_000, batch=16, dtype="bfloat16", copies=6),
)
# Muon at 1.5e-3 soon made trained weights worse; 8e-4 did not. The encoder and the codebooks of the codec stay.
NANO_MORE = dataclasses.replace(
    NANO,
    codec_training=dataclasses.replace(NANO.codec_training, steps=3_000, rate=5e-4, decoder_from=0.0),
    semantic_training=dataclasses.replace(NANO.semantic_training, steps=4_000, rate=8e-4),
    coarse_training=dataclasses.replace(NANO.coarse_training, steps=4_000, rate=8e-4),
    fine_training=dataclasses.replace(NANO.fine_training, steps=6_000, rate=8e-4),
)
SMALL = Recipe(
    TOKENS,
    CodecConfig(),
    GPTConfig(129_600, 10_048, **SHAPES["small"]),
    GPTConfig(12_096, 12_096, **SHAPES["small"]),
    FineConfig(1_056, **SHAPES["small"]),
    UnitsTraining(source="cepstra"),
    CodecTraining(steps=300_000, batch=64, frames=75, rate=3e-4),
    Training(steps=100_000, batch=64, rate=3e-4, dtype="bfloat16"),
    Training(steps=100_000, batch=64, rate=3e-4, dtype="bfloat16"),
    Training(steps=100_000, batch=64, rate=3e-4, dtype="bfloat16"),
)
TINY = recipe(
    small_ids(
        semantic=32,
        text=34,
        codes=64,
        max_input_semantic_length=32,
        max_new_tokens=96,
        max_coarse_input_length=32,
        max_coarse_history=60,
        sliding_window_len=20,
        max_fine_input_length=64,
        max_fine_history_length=32,
    ),
    CodecConfig(
        num_filters=4, upsampling_ratios=(5, 8, 8), hidden_size=16, codebook_size=64, target_bandwidths=(1.0, 2.0, 4.0)
    ),
    {name: gpt_sizes(1, 2, 16) for name in ("semantic", "coarse", "fine")},
    units_training=UnitsTraining(source="cepstra"),
    codec_training=CodecTraining(
        steps=8, batch=4, frames=30, unquantised_steps=4, heard_share=0.0, discriminator_width=0
    ),
    semantic_training=Training(steps=8, batch=4),
    coarse_training=Training(steps=8, batch=4),
    fine_training=Training(steps=8, batch=4),
)
RECIPES = {"nano": NANO, "nano-more": NANO_MORE, "small": SMALL, "tiny": TINY}


def read(name: str) -> Recipe:
    """Find a recipe by name, or read a JSON file. Raises ValueError for what is neither."""
    if name in RECIPES:
        return RECIPES[name]
    path = user_path(name)
    if not path.is_file():
        raise ValueError(f"config is {name}: choose one of {', '.join(RECIPES)}, or name a JSON file of a recipe")
    try:
        return Recipe.from_dict(parse_json(read_bytes(path, JSON_BYTES)))
    except ValueError as error:
        raise ValueError(f"{path} is no recipe: {error}") from error
