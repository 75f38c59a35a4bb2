"""Resolve a path or a name on the Hugging Face hub to a local folder, and download what is missing.

What was downloaded stays in the cache of `huggingface_hub`, which is asked where there is no network.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from bark_jax.files import user_path


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
        except hub_errors() as error:
            reason = "" if local else f": {str(error).strip().splitlines()[0]}" if str(error).strip() else ""
            failures.append(f"{place} ({type(error).__name__}{reason})")
    raise ValueError(
        f"{what} cannot be found: tried {' and '.join(failures)}. Check the name; or, on a machine with a network, "
        "run `hf download NAME --local-dir FOLDER` and pass the folder; or load() the embedded checkpoint"
    )


def hub_errors() -> tuple[type[Exception], ...]:
    """List what `huggingface_hub` raises where it is not the caller's fault: no such name, no access, no connection.

    They have no base in common. Those of the system and of `requests` are OSErrors, a name or token that is none is a
    ValueError, and `hf_xet`, which downloads, raises RuntimeErrors. `huggingface_hub.errors` names the others, of every
    version since 0.25: its own, and the base of those of `httpx`, which took the place of `requests` in 1.0.
    """
    import huggingface_hub.errors

    named = vars(huggingface_hub.errors).values()
    return OSError, ValueError, RuntimeError, *(x for x in named if isinstance(x, type) and issubclass(x, Exception))


def locate(source: str | Path, patterns: tuple[str, ...], what: str, *, offline: bool) -> tuple[Path, str | None]:
    """Resolve a path or a hub name to a folder, and return the name too if it is the hub's.

    Raises:
        ValueError: it is neither, or the hub does not have it.
    """
    path = user_path(source)
    if os.path.isdir(path):  # False for a name that no file can have
        return path, None
    if (
        isinstance(source, str)
        and re.fullmatch(r"[\w.-]+/[\w.-]+", source)
        and not source.startswith(".")
        and path.suffix != ".pt"
    ):
        return download_folder(source, patterns, offline=offline), source
    raise ValueError(f"{what}{source} is no folder, and no hub name such as suno/bark-small: give one of these")
