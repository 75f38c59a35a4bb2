"""Voices: the tokens of a recording that a generation continues, so that it sounds like it.

    semantic (n,) at 49.9 Hz, coarse (2, t) and fine (8, t) at 75 Hz: one recording, three times

A voice is a Suno `.npz` of three arrays, an entry of a checkpoint's `speaker_embeddings_path.json`, or
the three arrays of a generation. Whatever its source, it is checked here and nowhere else. This file
knows nothing of the hub (a missing file is asked of a callable) and cuts nothing: each stage takes of
a voice what it can read.

Reference: `_load_history_prompt` and the checks at the head of each stage of suno-ai/bark.
"""

import dataclasses
import difflib
import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Int32

from bark_jax.files import Writable, user_path, write_all, write_file
from bark_jax.limits import read_json
from bark_jax.numpy_files import read_numpy
from bark_jax.tokens import TokenConfig

PROMPTS = ("semantic_prompt", "coarse_prompt", "fine_prompt")  # names of the arrays in Suno's files
LISTING = "speaker_embeddings_path.json"  # of a Hugging Face checkpoint: voice -> prompt -> path of a .npy
DESCRIPTIONS = "voices.json"  # where a checkpoint says what its voices are like: voice -> a line
PROMPT_FOLDERS = ("", "prompts", "assets/prompts")  # where a checkpoint folder may hold Suno's .npz files
LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "zh": "Chinese",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Voice:
    """Hold the tokens of one recording, without offsets; voices of equal tokens are equal.

    The arrays are taken as they are: `from_arrays` is the way in for arrays that need checking.
    """

    semantic: Int32[np.ndarray, " n"]
    coarse: Int32[np.ndarray, "q t"]
    fine: Int32[np.ndarray, "p t"]

    def __hash__(self) -> int:
        return hash(tuple((x.shape, x.astype(np.int64).tobytes()) for x in self.to_dict().values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Voice) and all(map(np.array_equal, self.to_dict().values(), other.to_dict().values()))

    @classmethod
    def from_arrays(cls, semantic: Any, coarse: Any, fine: Any, tokens: TokenConfig) -> "Voice":
        """Check three arrays of any integer type and copy them to int32.

        semantic (n,) in 0..semantic_vocab_size-1; coarse (n_coarse_codebooks, t) and fine
        (n_fine_codebooks, t) in 0..codebook_size-1; t / n as the rates have it, to one decimal.

        Raises:
            ValueError: an array is not such, or the three do not belong together.
        """
        semantic = check_array("semantic_prompt", semantic, None, tokens.semantic_vocab_size)
        coarse = check_array("coarse_prompt", coarse, tokens.n_coarse_codebooks, tokens.codebook_size)
        fine = check_array("fine_prompt", fine, tokens.n_fine_codebooks, tokens.codebook_size)
        n, frames = len(semantic), coarse.shape[1]
        if fine.shape[1] != frames:
            raise ValueError(
                f"fine_prompt has {fine.shape[1]} frames, coarse_prompt {frames}: take all arrays of one recording"
            )
        found, wanted = round(frames / n, 1), round(tokens.coarse_rate_hz / tokens.semantic_rate_hz, 1)
        if found != wanted:
            raise ValueError(
                f"coarse_prompt has {frames} frames for the {n} tokens of semantic_prompt, {found} for each and not "
                f"{wanted}: take all arrays of one recording, and one of 10 semantic tokens or more"
            )
        return cls(semantic, coarse, fine)

    @classmethod
    def from_dict(cls, arrays: Mapping[str, Any], tokens: TokenConfig) -> "Voice":
        """Check arrays named as in Suno's files: semantic_prompt, coarse_prompt, fine_prompt.

        Raises:
            ValueError: an array is missing, or as `from_arrays`.
        """
        missing = [name for name in PROMPTS if name not in arrays]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing: a voice has {', '.join(PROMPTS)}, not {sorted(arrays)}")
        semantic, coarse, fine = (arrays[name] for name in PROMPTS)
        return cls.from_arrays(semantic, coarse, fine, tokens)

    def to_dict(self) -> dict[str, Int32[np.ndarray, "..."]]:
        """Name the arrays as in Suno's files."""
        return dict(zip(PROMPTS, (self.semantic, self.coarse, self.fine), strict=True))

    def save(self, target: str | os.PathLike | Writable, *, force: bool = False) -> None:
        """Write a Suno `.npz` to a path or to an open binary file. A file is whole or not there.

        Raises:
            ValueError: the path does not end in .npz.
            FileExistsError: the file exists and `force` is not set.
        """
        buffer = io.BytesIO()
        np.savez(buffer, semantic_prompt=self.semantic, coarse_prompt=self.coarse, fine_prompt=self.fine)
        if not isinstance(target, str | os.PathLike):
            write_all(target, buffer.getvalue())
            return
        path = user_path(target)
        if path.suffix.lower() != ".npz":
            raise ValueError(f"{path} does not end in .npz: a voice file does")
        write_file(path, buffer.getvalue(), force=force, parents=True)


def check_array(
    name: str, array: Any, rows: int | None, limit: int, *, may_be_empty: bool = False
) -> Int32[np.ndarray, "..."]:
    """Check tokens (rows, t), or with rows None (n,), to lie in 0..limit-1; copy them to int32.

    Raises:
        ValueError: another shape, no whole numbers, none at all, or one out of range.
    """
    array = np.asarray(array)
    shape = "(n,)" if rows is None else f"({rows}, t)"
    if array.ndim != (1 if rows is None else 2) or (rows is not None and len(array) != rows):
        raise ValueError(f"{name} has shape {array.shape}, this checkpoint's has {shape}")
    if array.size == 0 and may_be_empty:
        return array.astype(np.int32)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} holds {array.dtype}, tokens are whole numbers: cast it to int32")
    if array.size == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}: a voice has at least one token")
    if array.min() < 0 or array.max() >= limit:
        raise ValueError(f"{name} holds {array.min()}..{array.max()}, this checkpoint's tokens are 0..{limit - 1}")
    return array.astype(np.int32)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a voice from an .npz, or the one of an .npy under the name "array"; nothing in them is run.

    Raises:
        ValueError: no such file, above a limit, or not one of plain arrays of numbers.
    """
    try:
        return read_numpy(path, PROMPTS)
    except FileNotFoundError as error:
        raise ValueError(f"there is no voice file {path}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is broken or no NumPy file of plain arrays: {error}") from error


@dataclasses.dataclass(frozen=True)
class VoiceInfo:
    """Hold one row of a list of voices; lengths are None where the files are not on this machine."""

    name: str
    language: str | None
    semantic_tokens: int | None
    seconds: float | None
    description: str | None = None


class VoiceLibrary:
    """Know the voices of a checkpoint folder: those its listing names, and the .npz files it holds.

    `fetch` gets a file that the listing names and the folder lacks: path in the repository -> local
    path. The listing's `repo_or_path` is not followed: the files belong to the checkpoint at hand.

    Raises:
        ValueError: the listing is not JSON, or not voice -> prompt -> path inside the checkpoint; or the descriptions
            are not voice -> text.
    """

    def __init__(self, folder: str | Path, fetch: Callable[[str], str | Path] | None = None):
        self.folder = Path(folder)
        self.fetch = fetch
        self.paths: dict[str, dict[str, str] | Path] = _listed(self.folder / LISTING) | _held(self.folder)
        self.descriptions = _described(self.folder / DESCRIPTIONS)

    def names(self) -> list[str]:
        """List the voices, in the order of the alphabet."""
        return sorted(self.paths)

    def load(self, name: str, tokens: TokenConfig) -> Voice:
        """Read one voice, fetching the files that are not on this machine.

        Raises:
            ValueError: no voice has this name, or its files are missing, broken or no voice.
        """
        paths = self._find(name)
        try:
            if isinstance(paths, Path):
                return Voice.from_dict(read_arrays(paths), tokens)
            local = {prompt: self._local(path) for prompt, path in paths.items()}
            return Voice.from_dict({prompt: read_arrays(path)["array"] for prompt, path in local.items()}, tokens)
        except ValueError as error:
            raise ValueError(f"voice {name!r}: {error}") from error

    def info(self, tokens: TokenConfig) -> list[VoiceInfo]:
        """Describe every voice, for a list; fetches nothing."""
        return [self._info(name, tokens) for name in self.names()]

    def _info(self, name: str, tokens: TokenConfig) -> VoiceInfo:
        language = LANGUAGES.get(language_of(name) or "")
        paths = self.paths[name]
        is_here = isinstance(paths, Path) or all((self.folder / path).is_file() for path in paths.values())
        n = len(self.load(name, tokens).semantic) if is_here else None
        seconds = None if n is None else n / tokens.semantic_rate_hz
        return VoiceInfo(name, language, n, seconds, self.descriptions.get(name))

    def _find(self, name: str) -> dict[str, str] | Path:
        name = name.replace("\\", "/")
        if name in self.paths:
            return self.paths[name]
        if not self.paths:
            raise ValueError(f"no voice {name!r}: the checkpoint in {self.folder} has no voices; pass an .npz file")
        closest = difflib.get_close_matches(name, self.names(), cutoff=0)
        raise ValueError(f"no voice {name!r} among the {len(self.paths)} of this checkpoint: try {', '.join(closest)}")

    def _local(self, path: str) -> Path:
        if (self.folder / path).is_file() or self.fetch is None:
            return self.folder / path
        return Path(self.fetch(path))


def language_of(name: str | os.PathLike) -> str | None:
    """Read the language from the name of a voice or its file, as "de" of v2/de_speaker_3, if it tells one."""
    speaker = re.fullmatch(r"([a-z]{2})_speaker_\d+", PureWindowsPath(os.fsdecode(name)).stem)
    return speaker[1] if speaker and speaker[1] in LANGUAGES else None


def _listed(listing: Path) -> dict[str, dict[str, str]]:
    """Read the voices of a `speaker_embeddings_path.json`, if there is one."""
    if not listing.is_file():
        return {}
    try:
        voices = read_json(listing)
        voices.pop("repo_or_path", None)
        found = {name: {prompt: paths[prompt] for prompt in PROMPTS} for name, paths in voices.items()}
        for path in (Path(path) for paths in found.values() for path in paths.values()):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{path} lies outside of the checkpoint")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{listing} is no list of voices with {', '.join(PROMPTS)} for each: {repr(error)[:300]}"
        ) from error
    return found


def _described(path: Path) -> dict[str, str]:
    """Read the lines about voices, if there are any."""
    if not path.is_file():
        return {}
    lines = read_json(path)
    if not all(isinstance(line, str) for line in lines.values()):
        raise ValueError(f"{path} is no object of voice -> description: mend or remove it")
    return {name: " ".join(line.split()) for name, line in lines.items()}


def _held(folder: Path) -> dict[str, Path]:
    """Find .npz files in Suno's layout: `announcer.npz`, `v2/en_speaker_6.npz`."""
    return {
        path.relative_to(prompts).with_suffix("").as_posix(): path
        for prompts in (folder / sub for sub in PROMPT_FOLDERS)
        for path in (*prompts.glob("*"), *prompts.glob("v2/*"))
        if path.suffix.lower() == ".npz"
    }


def load_voice(
    source: Voice | Mapping[str, Any] | str | os.PathLike | None,
    tokens: TokenConfig,
    library: VoiceLibrary | None = None,
) -> Voice:
    """Load and check a voice.

    `source` is a Voice, a mapping with Suno's three arrays, an .npz file (any `os.PathLike`, or a str that
    ends in .npz), or a name that `library` knows, such as v2/en_speaker_6, en_speaker_6, announcer.

    Raises:
        ValueError: there is no such voice, or it is none for this checkpoint.
    """
    if isinstance(source, Voice):
        return Voice.from_dict(source.to_dict(), tokens)
    if isinstance(source, Mapping):
        return Voice.from_dict(source, tokens)
    if isinstance(source, os.PathLike) or (isinstance(source, str) and source.lower().endswith(".npz")):
        try:
            return Voice.from_dict(read_arrays(user_path(source)), tokens)
        except ValueError as error:
            raise ValueError(f"voice {os.fsdecode(source)!r}: {error}") from error
    if not isinstance(source, str):
        raise ValueError(f"voice is a {type(source).__name__}: pass a name, an .npz file, the three arrays or a Voice")
    try:
        if library is None:
            raise ValueError(f"no voice {source!r}: this checkpoint has no voices; pass an .npz file")
        return library.load(source, tokens)
    except ValueError as error:
        if user_path(f"{source}.npz").is_file():
            raise ValueError(f"{error}. There is a file {source}.npz: pass its whole name") from error
        raise
