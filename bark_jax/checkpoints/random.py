"""Write a checkpoint of random weights in a published shape, to measure with: it makes noise.

In:  sizes of the transformers; vocabularies, codec and ids are Bark's.
Out: a folder in Hugging Face's layout, which this package and `transformers` load.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax import text
from bark_jax.checkpoints.convert import hugging_face_config
from bark_jax.checkpoints.export import export_parameters
from bark_jax.checkpoints.load import LoadPlan
from bark_jax.checkpoints.resolve import CONFIG, GENERATION_CONFIG, TOKENIZER_FILES, WEIGHTS
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.checkpoints.tensors import write_safetensors
from bark_jax.codec import CodecConfig
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.journey import COARSE, CODEC, FINE, SEMANTIC
from bark_jax.tokens import TokenConfig

SHAPES: dict[str, Any] = {
    "small": {"num_layers": 12, "num_heads": 12, "hidden_size": 768},
    "large": {"num_layers": 24, "num_heads": 16, "hidden_size": 1024},
    "tiny": {"num_layers": 2, "num_heads": 2, "hidden_size": 32},  # to test with; not published
}
COARSE_VOCABULARY, FINE_VOCABULARY = 12_096, 1_056  # as published: a few more ids than are used
TOKENS = TokenConfig()


def random_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """Make a Hugging Face `config.json` of Bark's vocabularies and codec, with transformers of these sizes."""
    semantic_sizes = (TOKENS.semantic_infer_token + 1, TOKENS.text_encoding_offset)
    return hugging_face_config({
        SEMANTIC.network: GPTConfig(*semantic_sizes, **sizes),
        COARSE.network: GPTConfig(COARSE_VOCABULARY, COARSE_VOCABULARY, **sizes),
        FINE.network: FineConfig(FINE_VOCABULARY, **sizes),
        CODEC.network: CodecConfig(),
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
        plan = LoadPlan.make(network.maker(cfg, "float32"), network.table(cfg), {})
        parameters = {
            row.target: random_parameter(rng, row.target, plan.parameters[row.target][1].shape)
            for row in plan.table.rows
        }
        tensors |= {f"{name}.{key}": x for key, x in export_parameters(parameters, plan.table).items()}
    write_safetensors(tensors, folder / WEIGHTS[0])


def random_parameter(rng: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Make a parameter as it is before training: scales are 1, biases 0, convolutions keep the size of their input."""
    if path.endswith(("scale", "bias")):
        return np.full(shape, path.endswith("scale"), np.float32)
    is_conv = len(shape) == 3 and path.endswith("kernel")  # (size, in, out)
    deviation = math.prod(shape[:2]) ** -0.5 if is_conv else 0.02
    return np.float32(deviation) * rng.standard_normal(shape, np.float32)
