"""Write what was trained as a checkpoint in Hugging Face's layout, which transformers loads too."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.checkpoints.convert import hugging_face_config
from bark_jax.checkpoints.export import export_tensors
from bark_jax.checkpoints.resolve import CONFIG, GENERATION_CONFIG, TOKENIZER_FILES
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.checkpoints.tensors import write_safetensors
from bark_jax.files import write_file
from bark_jax.journey import STAGES
from bark_jax.text import UNKNOWN
from bark_jax.train import units
from bark_jax.train.letters import PAD, letters_tokenizer
from bark_jax.train.recipe import Recipe
from bark_jax.train.units import Cepstra
from bark_jax.units import UnitEncoder

WEIGHTS, UNIT_NAMES = "model.safetensors", "units.json"


def write_checkpoint(
    output: Path,
    recipe: Recipe,
    networks: Mapping[str, Any],
    found_units: tuple[Cepstra | UnitEncoder, list[str]],
    *,
    dtype: Any,
    generation: Mapping[str, float],
) -> None:
    """Write networks, their sizes, the tokenizer and what names units into a folder.

    Args:
        networks: by the names of their stages.
        found_units: what finds units in a recording, and their names; none if they have no names.
        dtype: of the networks' weights; units are float16.
        generation: temperatures to state, by the names of `TokenConfig`.
    """
    tokens = dataclasses.replace(recipe.tokens, **generation)
    made, configs = {}, {}
    for stage in STAGES:
        cfg, how = getattr(recipe, stage.name), NETWORKS[stage.network]
        tensors = export_tensors(networks[stage.name], how.table(cfg), dtype)
        made |= {f"{stage.network}.{key}": x for key, x in tensors.items()}
        configs[stage.network] = cfg
    output.mkdir(parents=True, exist_ok=True)
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "pad_token": PAD}
    contents = {
        CONFIG: json.dumps(hugging_face_config(configs), indent=2),
        GENERATION_CONFIG: json.dumps(tokens.to_dict(), indent=2),
        TOKENIZER_FILES[0]: letters_tokenizer().to_str(pretty=True),
        TOKENIZER_FILES[2]: json.dumps(special, indent=2),
    }
    encoder, names = found_units
    if names:
        contents[UNIT_NAMES] = json.dumps(names, ensure_ascii=False, indent=0)
    for name, content in contents.items():
        end = "" if name == TOKENIZER_FILES[0] else "\n"
        write_file(output / name, f"{content}{end}".encode(), force=True)
    write_safetensors(made, output / WEIGHTS)
    units.save(encoder, output, np.float16)
