"""Checkpoints: find one, read what it says about itself, load its networks.

    hub name, folder, Suno's files ──resolve──▶ Checkpoint ──load──▶ the four networks, at once or in turn

Layouts that are read:

    Hugging Face    config.json, generation_config.json, model.safetensors or pytorch_model.bin, either
                    whole or in shards with an index; tokenizer files, speaker_embeddings_path.json
    Suno            text.pt, coarse.pt, fine.pt (small) or text_2.pt, coarse_2.pt, fine_2.pt (large);
                    the codec and the tokenizer come from elsewhere

A tensor is read when a network needs it, from its place in its file; no file is ever read or mapped as
a whole. What the tensors are called and where they go is the business of `weights.py`.
"""

import dataclasses
import functools
import gc
import importlib.resources
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike

from bark_jax import parallel
from bark_jax.checkpoints import pickles
from bark_jax.checkpoints.pickles import LazyTensor
from bark_jax.checkpoints.tables import NETWORKS, Network, Plan, check, fill, find_problems
from bark_jax.codec import Codec, CodecConfig
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.tokens import TokenConfig
from bark_jax.voices import LISTING

EMBEDDED = "nano"  # the folder of the package's assets that is loaded where nothing is named
CODEC = "facebook/encodec_24khz"  # of Suno's checkpoints
TOKENIZER = "google-bert/bert-base-multilingual-cased"  # of checkpoints that bring none
CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there, or its index, is taken
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
UNITS = "units.safetensors"  # the centres of semantic units, of checkpoints that were trained here
HUB_FILES = (CONFIG, GENERATION_CONFIG, "model*.safetensors*", "pytorch_model*.bin*", *TOKENIZER_FILES, LISTING)

SUNO_STEMS = {"text": "semantic", "coarse": "coarse_acoustics", "fine": "fine_acoustics"}
SUNO_SIZES = ("", "_2")  # small, large: text.pt, text_2.pt
SUNO_ARGUMENTS = {"n_layer": "num_layers", "n_head": "num_heads", "n_embd": "hidden_size"}  # -> Hugging Face's

SAFETENSORS_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


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
        return locate(self.tokenizer or TOKENIZER, TOKENIZER_FILES, "tokenizer=", offline=self.offline)[0]


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError, naming the file, for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object: fetch it again")
    return content


def read_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Read the header of a safetensors file: 8 bytes for its length, JSON, then the data.

    Raises:
        ValueError: the file is cut off or broken, or holds numbers of a kind that no weight has.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if size < 8 or start > size:
            raise ValueError(f"{path} has {size} bytes, its header alone has {start}: it is cut off, fetch it again")
        header = file.read(start - 8)
    tensors, end = {}, start
    try:
        for key, entry in json.loads(header).items():
            if key == "__metadata__":
                continue
            dtype, shape = SAFETENSORS_DTYPES[entry["dtype"]], tuple(map(int, entry["shape"]))
            first, last = entry["data_offsets"]
            if min(first, 0, *shape) < 0 or last - first != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{key} of shape {shape} cannot lie at bytes {first} to {last}")
            strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
            tensors[key] = LazyTensor(path, start + first, dtype, shape, strides)
            end = max(end, start + last)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has a broken header ({error!r}): fetch it again") from error
    if size != end:
        raise ValueError(
            f"{path} has {size} bytes, its header describes {end}: it is cut off or broken, fetch it again"
        )
    return tensors


def read_bin(path: Path) -> dict[str, LazyTensor]:
    """Read the names and places of the tensors in a `.bin`. Raises ValueError if it holds anything else."""
    return state_dict(pickles.read(path), path)


def state_dict(content: Any, path: Path) -> dict[str, LazyTensor]:
    """Check that what was read from a pickle is a dict of tensors."""
    if not isinstance(content, dict) or not all(isinstance(x, LazyTensor) for x in content.values()):
        raise ValueError(f"{path} holds no dict of tensors: it is no checkpoint's weights, fetch them again")
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
# Hub
# ---------------------------------------------------------------------------------------------


def download_folder(name: str, patterns: tuple[str, ...], *, offline: bool) -> Path:
    """Download the files of a hub repository that match, and return their folder in the local cache.

    Of weights in both formats, only the safetensors are taken.
    """
    import huggingface_hub

    def get(*, local: bool) -> str:
        if local:
            return huggingface_hub.snapshot_download(name, local_files_only=True)
        has_safetensors = any(file.endswith(".safetensors") for file in huggingface_hub.list_repo_files(name))
        ignored = ["*.bin*"] if has_safetensors else None
        return huggingface_hub.snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=ignored)

    return from_hub(name, get, offline=offline)


def download_file(name: str, revision: str, path: str, *, offline: bool) -> Path:
    """Download one file of a hub repository, and return its path in the local cache."""
    import huggingface_hub

    def get(*, local: bool) -> str:
        return huggingface_hub.hf_hub_download(name, path, revision=revision, local_files_only=local)

    return from_hub(f"{path} of {name}", get, offline=offline)


def from_hub(what: str, get: Callable[..., str], *, offline: bool) -> Path:
    """Try to `get` something from the hub, then from the local cache alone.

    Raises:
        ValueError: neither has it.
    """
    failures = []
    for place, local in (("huggingface.co", False), ("the local cache", True))[offline:]:
        try:
            return Path(get(local=local))
        except Exception as error:  # no such name, no access, no connection, no space: the library has a class for each
            reason = "" if local else f": {str(error).strip().splitlines()[0]}" if str(error).strip() else ""
            failures.append(f"{place} ({type(error).__name__}{reason})")
    raise ValueError(
        f"{what} is not to be had: tried {' and '.join(failures)}. Check the name; or, on a machine with a network, "
        "run `hf download NAME --local-dir FOLDER` and pass the folder; or load() the embedded checkpoint"
    )


def locate(source: str | Path, patterns: tuple[str, ...], what: str, *, offline: bool) -> tuple[Path, str | None]:
    """Find the folder that a path or a hub name stands for, and the name if it is the hub's.

    Raises:
        ValueError: it is neither, or the hub does not have it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path, None
    if (
        isinstance(source, str)
        and re.fullmatch(r"[\w.-]+/[\w.-]+", source)
        and not source.startswith(".")
        and path.suffix != ".pt"
    ):
        return download_folder(source, patterns, offline=offline), source
    raise ValueError(f"{what}{source} is no folder, and no hub name such as suno/bark-small: give one of these")


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
    name, options = EMBEDDED if checkpoint is None else str(checkpoint), {"tokenizer": tokenizer, "offline": offline}
    if checkpoint is None:
        checkpoint = Path(str(importlib.resources.files("bark_jax.assets") / EMBEDDED))
    if not isinstance(checkpoint, str | Path):
        return resolve_suno([Path(file) for file in checkpoint], codec or CODEC, options)
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
    return resolve_suno([folder / f"{stem}{sizes[0]}.pt" for stem in SUNO_STEMS], codec or CODEC, options)


def resolve_hugging_face(name: str, folder: Path, options: dict[str, Any]) -> Checkpoint:
    config = read_json(folder / CONFIG)
    missing = [network.config for network in NETWORKS.values() if not isinstance(config.get(network.config), dict)]
    if missing:
        raise ValueError(
            f"{folder / CONFIG} has no {', '.join(missing)}: it describes a {config.get('model_type')}, not a bark. "
            "Pass a checkpoint such as suno/bark-small"
        )
    return Checkpoint(name, folder, config, read_generation_config(folder), read_weights(folder), **options)


def resolve_suno(paths: list[Path], codec: str | Path, options: dict[str, Any]) -> Checkpoint:
    """Read Suno's three files, and the codec; ids are Bark's, unless they lie beside the first file."""
    if len(paths) != len(SUNO_STEMS):
        raise ValueError(f"the checkpoint is {len(paths)} files: pass Suno's three, text.pt, coarse.pt and fine.pt")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing: a checkpoint of Suno's is three files of one size")
    config: dict[str, Any] = {"model_type": "bark", "architectures": ["BarkModel"]}
    tensors = {}
    for network, path in zip(SUNO_STEMS.values(), paths):
        content = pickles.read(path)
        if not isinstance(content, dict) or not isinstance(content.get("model_args"), dict):
            raise ValueError(f"{path} has no model_args: it is none of Suno's files, fetch it again")
        section = {SUNO_ARGUMENTS.get(key, key): value for key, value in content["model_args"].items()}
        if "vocab_size" in section:  # older files have one for both
            section["input_vocab_size"] = section["output_vocab_size"] = section.pop("vocab_size")
        config[NETWORKS[network].config] = {"model_type": network} | section
        tensors |= {f"{network}.{key}": x for key, x in state_dict(content.get("model"), path).items()}
    codec_config, codec_tensors = read_codec(codec, offline=options["offline"])
    config[NETWORKS["codec_model"].config] = codec_config
    tensors |= {f"codec_model.{key}": x for key, x in codec_tensors.items()}
    folder = paths[0].parent
    return Checkpoint(str(folder), folder, config, read_generation_config(folder), tensors, **options)


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
        raise ValueError(
            f"{folder / CONFIG} describes a {config.get('model_type')}, not an encodec: pass one for codec"
        )
    return config, read_weights(folder)


# ---------------------------------------------------------------------------------------------
# Load
# ---------------------------------------------------------------------------------------------


def plan(checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32) -> dict[str, Plan]:
    """Plan for each network how its tensors fill it: the transformers in `dtype`, the codec in float32.

    Raises:
        ValueError: tensors and parameters do not match; all that is wrong, in all four, is in the message.
    """
    plans = {}
    for name, make in makers(checkpoint, dtype).items():
        table = NETWORKS[name].table(network_config(checkpoint, NETWORKS[name]))
        plans[name] = Plan.make(make, table, checkpoint.tensors_of(name))
    problems = {name: find_problems(one) for name, one in plans.items()}
    problems["no network"] = [f"unknown: {key}" for key in checkpoint.tensors if key.split(".")[0] not in NETWORKS]
    tokens = TokenConfig.from_dict(checkpoint.generation_config)
    problems["ids"] = id_problems(tokens, *(network_config(checkpoint, network) for network in NETWORKS.values()))
    check(problems, checkpoint.name)
    return plans


def makers(checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32) -> dict[str, Callable[..., Any]]:
    """Return how to make each network, called with `rngs`. Raises ValueError where a config will not do."""
    return {
        name: functools.partial(
            network.module,
            network_config(checkpoint, network),
            **({} if network.module is Codec else {"dtype": dtype}),
        )
        for name, network in NETWORKS.items()
    }


def id_problems(
    tokens: TokenConfig, semantic: GPTConfig, coarse: GPTConfig, fine: FineConfig, codec: CodecConfig
) -> list[str]:
    """Say where ids and lengths do not fit the networks: JAX would read another row or place."""
    semantic_length = tokens.max_input_semantic_length + tokens.max_new_tokens
    ids = (
        ("semantic_infer_token", tokens.semantic_infer_token, semantic.input_vocab_size, "semantic"),
        ("text_pad_token", tokens.text_pad_token, semantic.input_vocab_size, "semantic"),
        ("eos_token_id", tokens.eos_token_id, semantic.output_vocab_size, "semantic"),
        ("coarse_infer_token", tokens.coarse_infer_token, coarse.input_vocab_size, "coarse"),
        ("coarse_semantic_pad_token", tokens.coarse_semantic_pad_token, coarse.input_vocab_size, "coarse"),
        ("the last coarse id", tokens.coarse_offset(tokens.n_coarse_codebooks) - 1, coarse.output_vocab_size, "coarse"),
        ("the pad of codes", tokens.fine_pad_token, fine.input_vocab_size, "fine"),
    )
    lengths = (
        ("max_input_semantic_length + max_new_tokens", semantic_length, semantic.block_size, "semantic"),
        ("the longest coarse window", tokens.longest_coarse_window, coarse.block_size, "coarse"),
        ("max_fine_input_length", tokens.max_fine_input_length, fine.block_size, "fine"),
    )
    equals = (
        ("n_fine_codebooks", tokens.n_fine_codebooks, fine.n_codes_total, "the fine model"),
        ("codebook_size", tokens.codebook_size, codec.codebook_size, "the codec"),
        ("coarse_rate_hz", tokens.coarse_rate_hz, codec.frame_rate, "the codec"),
        ("sample_rate", tokens.sample_rate, codec.sampling_rate, "the codec"),
    )
    problems = [f"{name} is {x}, the {stage} model has ids 0..{n - 1}" for name, x, n, stage in ids if x >= n]
    problems += [f"{name} is {x}, the {stage} model has {n} positions" for name, x, n, stage in lengths if x > n]
    return problems + [f"{name} is {x}, {owner} has {n}" for name, x, n, owner in equals if x != n]


def network_config(checkpoint: Checkpoint, network: Network) -> Any:
    """Read the config of one network. Raises ValueError, naming the section, where it will not do."""
    try:
        return network.read_config(checkpoint.config[network.config])
    except ValueError as error:
        raise ValueError(f"{network.config} of {checkpoint.name}: {error}") from error


def load(
    checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32, *, mesh: Mesh | None = None, low_memory: bool = False
) -> Mapping[str, Any]:
    """Load the networks: `semantic`, `coarse_acoustics`, `fine_acoustics` in `dtype`, `codec_model` in float32.

    Args:
        mesh: of devices over which the weights are split.
        low_memory: load each when it is asked for, and drop the one before.

    Raises:
        ValueError: as `plan`; or the mesh cannot share the heads.
    """
    parallel.check_heads({name: network_config(checkpoint, network) for name, network in NETWORKS.items()}, mesh)
    plans = plan(checkpoint, dtype)
    loaders = {name: functools.partial(fill, one, mesh=mesh) for name, one in plans.items()}
    return OneAtATime(loaders) if low_memory else {name: load_one() for name, load_one in loaders.items()}


class OneAtATime(Mapping[str, nnx.Module]):
    """Hold one of several networks: the one asked for is loaded, after the one before it is dropped.

    Dropped is what nobody else holds: who keeps a network keeps its memory.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], nnx.Module]]):
        self.loaders = loaders
        self.held: dict[str, nnx.Module] = {}

    def __getitem__(self, name: str) -> nnx.Module:
        if name not in self.held:
            load_one = self.loaders[name]
            self.held.clear()
            gc.collect()  # nnx.split and nnx.merge leave cycles that keep the arrays
            self.held[name] = load_one()
        return self.held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaders)

    def __len__(self) -> int:
        return len(self.loaders)
