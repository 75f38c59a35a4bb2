"""Find a checkpoint and read what it says about itself.

    hub name, folder, Suno's files ──resolve──▶ Checkpoint: its configs, the names and places of its tensors

Layouts that are read:

    Hugging Face    config.json, generation_config.json, model.safetensors or pytorch_model.bin, either
                    whole or in shards with an index; tokenizer files, speaker_embeddings_path.json
    Suno            text.pt, coarse.pt, fine.pt (small) or text_2.pt, coarse_2.pt, fine_2.pt (large);
                    the codec and the tokenizer come from elsewhere

A tensor is read when a network needs it, from its place in its file; no file is ever read or mapped as
a whole. `load.py` fills networks with them.
"""

import dataclasses
import importlib.resources
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bark_jax.checkpoints.configs import check_configs
from bark_jax.checkpoints.hub import download_file, locate
from bark_jax.checkpoints.pickles import read_pickle
from bark_jax.checkpoints.tensors import LazyTensor, read_safetensors
from bark_jax.files import user_path
from bark_jax.journey import CODEC, SAMPLED, STAGES
from bark_jax.limits import read_json, shown
from bark_jax.tokens import TokenConfig
from bark_jax.voices import DESCRIPTIONS, LISTING

EMBEDDED = "nano"  # the folder of the package's assets that is loaded where nothing is named
CODEC_SOURCE = "facebook/encodec_24khz"  # of Suno's checkpoints
TOKENIZER_SOURCE = "google-bert/bert-base-multilingual-cased"  # of checkpoints that bring none
CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there, or its index, is taken
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
UNITS = "units.safetensors"  # the encoder of semantic units, of checkpoints that were trained here
HUB_FILES = (
    CONFIG,
    GENERATION_CONFIG,
    "model*.safetensors*",
    "pytorch_model*.bin*",
    *TOKENIZER_FILES,
    LISTING,
    DESCRIPTIONS,
    UNITS,
)

SUNO_SIZES = ("", "_2")  # small, large: text.pt, text_2.pt
SUNO_ARGUMENTS = {"n_layer": "num_layers", "n_head": "num_heads", "n_embd": "hidden_size"}  # -> Hugging Face's


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """Hold what a checkpoint says about itself, and where its tensors lie; nothing is loaded yet.

    `config` is Hugging Face's `config.json`, `generation_config` the file of that name, whatever the
    layout. `tensors` are named `semantic.*`, `coarse_acoustics.*`, `fine_acoustics.*`, `codec_model.*`.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    generation_config: dict[str, Any]
    tensors: dict[str, LazyTensor]
    tokenizer: str | Path | None = None  # a folder or hub name, where the checkpoint's own is not wanted
    repository: str | None = None  # on the hub, where `folder` is a part of one
    offline: bool = False

    def tensors_of(self, network: str) -> dict[str, LazyTensor]:
        """Select the tensors of one network, without its name before theirs."""
        prefix = f"{network}."
        return {key.removeprefix(prefix): x for key, x in self.tensors.items() if key.startswith(prefix)}

    def fetch(self, path: str) -> Path:
        """Find a file of the checkpoint, downloading it if it comes from the hub; `path` is relative.

        Raises:
            ValueError: the path leads out of the checkpoint, or there is no such file.
        """
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{path} lies outside of the checkpoint {self.name}: name a file in it")
        if not (self.folder / path).is_file() and self.repository:
            return download_file(self.repository, self.folder.name, path, offline=self.offline)
        if not (self.folder / path).is_file():
            raise ValueError(f"the checkpoint {self.folder} has no file {path}: fetch the whole of it again")
        return self.folder / path

    def tokenizer_folder(self) -> Path:
        """Find the folder of the tokenizer: the one asked for, the checkpoint's, or else BERT's of the hub.

        Raises:
            ValueError: there is no such folder, and it cannot be downloaded.
        """
        if self.tokenizer is None and any((self.folder / name).is_file() for name in TOKENIZER_FILES[:2]):
            return self.folder
        return locate(self.tokenizer or TOKENIZER_SOURCE, TOKENIZER_FILES, "tokenizer=", offline=self.offline)[0]


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------


def read_bin(path: Path) -> dict[str, LazyTensor]:
    """Read the names and places of the tensors in a `.bin`. Raises ValueError if it holds anything else."""
    return state_dict(read_pickle(path), path)


def state_dict(content: Any, path: Path) -> dict[str, LazyTensor]:
    """Check that what was read from a pickle is a dict of tensors."""
    if not isinstance(content, dict) or not all(isinstance(x, LazyTensor) for x in content.values()):
        raise ValueError(f"{path} holds no dict of tensors: it is no checkpoint's weights, fetch them again")
    for key, x in content.items():
        if not isinstance(key, str) or math.prod(x.shape) > x.span:
            raise ValueError(f"{path} has a tensor {shown(key)} that repeats its numbers: fetch it again")
    return content


def read_weights(folder: Path) -> dict[str, LazyTensor]:
    """Find the tensors of a folder in Hugging Face's layout, in one file or in shards.

    Raises:
        ValueError: there is no file of weights, or one is broken, missing or at odds with the index.
    """
    for name in WEIGHTS:
        read = read_safetensors if name.endswith(".safetensors") else read_bin
        if (folder / name).is_file():
            return read(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return read_shards(folder / f"{name}.index.json", read)
    raise not_a_checkpoint(folder, [*WEIGHTS, *(f"{name}.index.json" for name in WEIGHTS)])


def read_shards(index: Path, read: Callable[[Path], dict[str, LazyTensor]]) -> dict[str, LazyTensor]:
    """Put together the shards that an index lists."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or any(Path(str(file)).name != file for file in weight_map.values()):
        raise ValueError(f"{index} has no weight_map from keys to files beside it: fetch it again")
    problems, tensors = [], {}
    for file in sorted(set(weight_map.values())):
        if not (index.parent / file).is_file():
            problems.append(f"{file} is missing")
            continue
        shard = read(index.parent / file)
        problems += [f"{key} is not in {file}" for key, f in weight_map.items() if f == file and key not in shard]
        problems += [
            f"{key} is in {file}, not in {weight_map.get(key)}" for key in shard if weight_map.get(key) != file
        ]
        tensors |= shard
    if problems:
        raise ValueError(f"{index} and its files do not agree: {'; '.join(problems)}: fetch the folder again")
    return tensors


def not_a_checkpoint(folder: Path, wanted: list[str]) -> ValueError:
    """Make the error that says what was looked for in a folder, and what is there."""
    there = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    return ValueError(
        f"{folder} is no checkpoint: it has none of {', '.join(wanted)}. It has {shown or 'no files at all'}. "
        "Pass a folder with such files, or a hub name such as suno/bark-small"
    )


# ---------------------------------------------------------------------------------------------
# Resolve
# ---------------------------------------------------------------------------------------------


def resolve(
    checkpoint: str | Path | Sequence[str | Path] | None,
    *,
    offline: bool = False,
    codec: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Checkpoint:
    """Find a checkpoint and read its configs and the names and places of its tensors.

    Args:
        checkpoint: a hub name; a folder in either layout; Suno's three files, in the order of the stages; or
            None for the embedded one.
        offline: take hub names from the local cache alone.
        codec: for Suno's layout, a folder or hub name of Hugging Face's EncodecModel; None for
            facebook/encodec_24khz.
        tokenizer: a folder or hub name; None for the checkpoint's own, or else BERT's multilingual cased.

    Raises:
        ValueError: there is no such checkpoint, or a file of it is missing or broken.
    """
    if isinstance(checkpoint, os.PathLike):
        checkpoint = user_path(checkpoint)
    name, options = EMBEDDED if checkpoint is None else str(checkpoint), {"tokenizer": tokenizer, "offline": offline}
    if checkpoint is None:
        checkpoint = Path(str(importlib.resources.files("bark_jax.assets") / EMBEDDED))
    if isinstance(checkpoint, Sequence) and not isinstance(checkpoint, str | bytes):
        return resolve_suno([user_path(file) for file in checkpoint], codec or CODEC_SOURCE, options)
    folder, repository = locate(checkpoint, HUB_FILES, "", offline=offline)
    if (folder / CONFIG).is_file():
        if codec is not None:
            raise ValueError(f"{name} has a codec of its own, and codec is {codec}: leave it out")
        return resolve_hugging_face(name, folder, options | {"repository": repository})
    sizes = [size for size in SUNO_SIZES if (folder / f"text{size}.pt").is_file()]
    if not sizes:
        raise not_a_checkpoint(folder, [CONFIG, *(f"text{size}.pt" for size in SUNO_SIZES)])
    if len(sizes) > 1:
        raise ValueError(f"{folder} has both text.pt, small, and text_2.pt, large: pass the three files of one size")
    return resolve_suno([folder / f"{stage.suno}{sizes[0]}.pt" for stage in SAMPLED], codec or CODEC_SOURCE, options)


def resolve_hugging_face(name: str, folder: Path, options: dict[str, Any]) -> Checkpoint:
    config = read_json(folder / CONFIG)
    missing = [stage.config for stage in STAGES if not isinstance(config.get(stage.config), dict)]
    if missing:
        raise ValueError(
            f"{folder / CONFIG} has no {', '.join(missing)}: it describes a {_model_type(config)}, not a bark. "
            "Pass a checkpoint such as suno/bark-small"
        )
    generation_config = read_generation_config(folder)
    check_configs(config, generation_config, name)
    return Checkpoint(name, folder, config, generation_config, read_weights(folder), **options)


def resolve_suno(paths: list[Path], codec: str | Path, options: dict[str, Any]) -> Checkpoint:
    """Read Suno's three files, and the codec; ids are Bark's, unless they lie beside the first file."""
    if len(paths) != len(SAMPLED):
        raise ValueError(f"the checkpoint is {len(paths)} files: pass Suno's three, text.pt, coarse.pt and fine.pt")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing: a checkpoint of Suno's is three files of one size")
    config: dict[str, Any] = {"model_type": "bark", "architectures": ["BarkModel"]}
    tensors = {}
    for stage, path in zip(SAMPLED, paths):
        content = read_pickle(path)
        if not isinstance(content, dict) or not isinstance(content.get("model_args"), dict):
            raise ValueError(f"{path} has no model_args: it is none of Suno's files, fetch it again")
        section = {SUNO_ARGUMENTS.get(key, key): value for key, value in content["model_args"].items()}
        if "vocab_size" in section:  # older files have one for both
            section["input_vocab_size"] = section["output_vocab_size"] = section.pop("vocab_size")
        config[stage.config] = {"model_type": stage.network} | section
        tensors |= {f"{stage.network}.{key}": x for key, x in state_dict(content.get("model"), path).items()}
    codec_config, codec_tensors = read_codec(codec, offline=options["offline"])
    config[CODEC.config] = codec_config
    tensors |= {f"{CODEC.network}.{key}": x for key, x in codec_tensors.items()}
    folder = paths[0].parent
    generation_config = read_generation_config(folder)
    check_configs(config, generation_config, str(folder))
    return Checkpoint(str(folder), folder, config, generation_config, tensors, **options)


def read_generation_config(folder: Path) -> dict[str, Any]:
    """Read the ids of a checkpoint; one that states none has Bark's."""
    path = folder / GENERATION_CONFIG
    return read_json(path) if path.is_file() else TokenConfig().to_dict()


def read_codec(source: str | Path, *, offline: bool = False) -> tuple[dict[str, Any], dict[str, LazyTensor]]:
    """Read the config and find the tensors of a Hugging Face EncodecModel, in a folder or on the hub.

    Raises:
        ValueError: there is no such codec, or a file of it is missing or broken.
    """
    folder, _ = locate(source, HUB_FILES, "codec=", offline=offline)
    if not (folder / CONFIG).is_file():
        raise not_a_checkpoint(folder, [CONFIG])
    config = read_json(folder / CONFIG)
    if config.get("model_type") != "encodec":
        raise ValueError(f"{folder / CONFIG} describes a {_model_type(config)}, not an encodec: pass one for codec")
    return config, read_weights(folder)


def _model_type(config: dict[str, Any]) -> str:
    kind = config.get("model_type")
    return kind if isinstance(kind, str) and kind.isidentifier() and len(kind) <= 60 else shown(kind)
