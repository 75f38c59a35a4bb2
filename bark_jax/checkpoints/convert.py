"""Write a checkpoint of any layout as a folder in Hugging Face's, with safetensors.

text.pt coarse.pt fine.pt ──┐
pytorch_model.bin           ├──convert──▶ config.json, generation_config.json, model.safetensors,
model-0000?-of-00003...   ──┘             tokenizer files, voices
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.checkpoints.load import network_config, plan_networks
from bark_jax.checkpoints.resolve import (
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER_FILES,
    UNITS,
    WEIGHTS,
    Checkpoint,
    resolve,
)
from bark_jax.checkpoints.tables import NETWORKS, is_ignored, rename
from bark_jax.checkpoints.tensors import LazyTensor, write_safetensors
from bark_jax.codec import CodecConfig
from bark_jax.files import refuse_existing, sync_folder, user_path, write_file
from bark_jax.gpt import GPT
from bark_jax.journey import FINE
from bark_jax.voices import DESCRIPTIONS, LISTING, VoiceLibrary


def convert(
    source: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    force: bool = False,
    offline: bool = False,
    codec: str | Path | None = None,
    tokenizer: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a checkpoint as a folder in Hugging Face's layout, which `transformers` loads too.

    Weights keep their dtype and go into one model.safetensors, one at a time. Tokenizer and voices
    come along where the source has them. The folder appears when it is complete: an error or
    Ctrl-C leaves no files, and a folder that was there stays as it was.

    Args:
        source, offline, codec, tokenizer: as for `resolve`.
        folder: to write; with `force` it may be a checkpoint's, which is replaced.
        progress: called with the bytes of weights written, and those there are.

    Raises:
        FileExistsError: `folder` exists and `force` is not set.
        ValueError: there is no such source, its weights are not those that its config describes, or
            `folder` holds something else than a checkpoint.
    """
    folder = user_path(folder)
    refuse_existing(folder, force=force)
    if folder.exists() and not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} holds no checkpoint, so force does not replace it: choose another folder")
    checkpoint = resolve(source, offline=offline, codec=codec, tokenizer=tokenizer)
    plan_networks(checkpoint)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished, replaced = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    try:
        unfinished.mkdir()
        config = checkpoint.config | {FINE.config: checkpoint.config[FINE.config] | {"tie_word_embeddings": True}}
        for name, content in ((CONFIG, config), (GENERATION_CONFIG, checkpoint.generation_config)):
            write_file(unfinished / name, json.dumps(content, indent=2).encode() + b"\n")
        copy_companions(checkpoint, unfinished)
        write_safetensors(published_tensors(checkpoint), unfinished / WEIGHTS[0], progress)
        if folder.exists():
            os.replace(folder, replaced)
        os.replace(unfinished, folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if replaced.exists():
            os.replace(replaced, folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def copy_companions(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy the tokenizer, the voices and the semantic units, where the checkpoint brings them."""
    has_tokenizer = any((checkpoint.folder / name).is_file() for name in TOKENIZER_FILES[:2])
    if checkpoint.tokenizer is not None or has_tokenizer:
        source = checkpoint.tokenizer_folder()
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                write_file(folder / name, (source / name).read_bytes())
    voices = []
    for paths in VoiceLibrary(checkpoint.folder).paths.values():
        voices += [paths.relative_to(checkpoint.folder)] if isinstance(paths, Path) else paths.values()
    others = [name for name in (LISTING, DESCRIPTIONS, UNITS) if (checkpoint.folder / name).is_file()]
    for name in [*others, *map(str, voices)]:
        write_file(folder / name, checkpoint.fetch(name).read_bytes(), parents=True)


def hugging_face_config(configs: Mapping[str, Any]) -> dict[str, Any]:
    """Make a `config.json` of the networks' configs, under their names in `NETWORKS`."""
    sections = {
        name: cfg.to_dict() if isinstance(cfg, CodecConfig) else dataclasses.asdict(cfg)
        for name, cfg in configs.items()
    }
    fine = sections[FINE.network]
    fine |= {"output_vocab_size": fine["input_vocab_size"], "tie_word_embeddings": True}
    named = {NETWORKS[name].config: {"model_type": name} | section for name, section in sections.items()}
    return {"model_type": "bark", "architectures": ["BarkModel"]} | named


def published_tensors(checkpoint: Checkpoint) -> dict[str, LazyTensor | np.ndarray]:
    """Name the tensors as published checkpoints do.

    The fine model's heads are left out: they are its tables. The codebooks' statistics stay and the
    causal masks are added, because `transformers` reports them as missing.
    """
    published = {}
    for name, network in NETWORKS.items():
        cfg = network_config(checkpoint, network)
        ties = network.table(cfg).ties
        named = {rename(key): x for key, x in checkpoint.tensors_of(name).items()}
        published |= {
            f"{name}.{key}": x
            for key, x in named.items()
            if key not in ties and (not is_ignored(key) or ".codebook." in key)
        }
        if network.module is GPT:
            mask = np.tril(np.ones((1, 1, cfg.block_size, cfg.block_size), bool))
            published |= {f"{name}.layers.{i}.attn.bias": mask for i in range(cfg.num_layers)}
    return published
