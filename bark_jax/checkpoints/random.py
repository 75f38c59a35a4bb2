"""Write a checkpoint of random weights in a published shape, to measure with: it makes noise.

In:  sizes of the transformers; vocabularies, codec and ids are Bark's.
Out: a folder in Hugging Face's layout, which this package and `transformers` load.
"""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax import text
from bark_jax.checkpoints.convert import hugging_face_config
from bark_jax.checkpoints.load import LoadPlan
from bark_jax.checkpoints.resolve import CONFIG, GENERATION_CONFIG, TOKENIZER_FILES, WEIGHTS
from bark_jax.checkpoints.tables import NETWORKS, Row, fold_conv, fold_up_conv, stack, transpose
from bark_jax.checkpoints.tensors import write_safetensors
from bark_jax.codec import CodecConfig
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.tokens import TokenConfig

SHAPES: dict[str, Any] = {
    "small": {"num_layers": 12, "num_heads": 12, "hidden_size": 768},
    "large": {"num_layers": 24, "num_heads": 16, "hidden_size": 1024},
    "tiny": {"num_layers": 2, "num_heads": 2, "hidden_size": 32},  # to test with; not published
}
COARSE_VOCABULARY, FINE_VOCABULARY = 12_096, 1_056  # as published: a few more ids than are used
TOKENS = TokenConfig()


def random_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """Make a Hugging Face `config.json` of Bark's vocabularies and codec, with transformers of such sizes."""
    semantic_sizes = (TOKENS.semantic_infer_token + 1, TOKENS.text_encoding_offset)
    return hugging_face_config({
        "semantic": GPTConfig(*semantic_sizes, **sizes),
        "coarse_acoustics": GPTConfig(COARSE_VOCABULARY, COARSE_VOCABULARY, **sizes),
        "fine_acoustics": FineConfig(FINE_VOCABULARY, **sizes),
        "codec_model": CodecConfig(),
    })  # fmt: skip


def write_random(sizes: dict[str, Any], folder: Path) -> None:
    """Write the folder: the configs, a tokenizer, and weights that are the same on every machine."""
    described = random_config(sizes)
    for name, content in ((CONFIG, described), (GENERATION_CONFIG, TOKENS.to_dict())):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    text.bytes_tokenizer().save(str(folder / TOKENIZER_FILES[0]))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, network in NETWORKS.items():
        cfg = network.read_config(described[network.config])
        plan = LoadPlan.make(functools.partial(network.module, cfg), network.table(cfg), {})
        for row in plan.table.rows:
            for key, shape in zip(row.sources, source_shapes(row, plan.parameters[row.target][1].shape), strict=True):
                tensors[f"{name}.{key}"] = random_weights(rng, key, shape)
    write_safetensors(tensors, folder / WEIGHTS[0])


def source_shapes(row: Row, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of the tensors of which a row of a table makes a parameter."""
    if row.transform is transpose:
        return [shape[::-1]]
    if row.transform is stack:
        return [shape[1:]] * len(row.sources)
    if row.transform in (fold_conv, fold_up_conv):
        size, c_in, c_out = shape
        first, second = (c_out, c_in) if row.transform is fold_conv else (c_in, c_out)
        return [(first, 1, 1), (first, second, size)]
    return [shape] * len(row.sources)


def random_weights(rng: np.random.Generator, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw weights as they are before training; scales are 1, biases 0."""
    if math.prod(shape) == max(shape):
        return np.full(shape, "bias" not in key, np.float32)
    return np.float32(0.02) * rng.standard_normal(shape, np.float32)
