"""The id space of a Bark checkpoint: vocabularies, offsets, pads, rates and window lengths.

All numbers that the stages share are defined here. The defaults are Bark's own, as published in the
`generation_config.json` of suno/bark. A checkpoint may state others, and the whole package follows it.

One id space serves the text and semantic tokens, another the semantic and coarse tokens:

    semantic model in   0 ........ 9 999 | 10 000 pad | 10 048 + text id ... | 129 595 text pad | 129 599 INFER
    semantic model out  0 ........ 9 999 | 10 000 end of speech
    coarse model        0 ........ 9 999 | 10 000 + codebook 0 | 11 024 + codebook 1 | 12 048 pad | 12 050 INFER
    fine model          0 .. 1 023 for each codebook | 1 024 not known yet
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Int

from bark_jax.journey import COARSE, FINE, SEMANTIC

IntArray = Int[np.ndarray, "..."]

# Where `generation_config.json` keeps the fields of `TokenConfig`.
TOP_LEVEL = ("codebook_size", "sample_rate")
SECTIONS = {
    SEMANTIC: (
        "semantic_vocab_size",
        "semantic_pad_token",
        "eos_token_id",
        "text_encoding_offset",
        "text_pad_token",
        "semantic_infer_token",
        "max_input_semantic_length",
        "max_new_tokens",
        "semantic_rate_hz",
    ),
    COARSE: (
        "coarse_semantic_pad_token",
        "coarse_infer_token",
        "max_coarse_input_length",
        "max_coarse_history",
        "sliding_window_len",
        "n_coarse_codebooks",
        "coarse_rate_hz",
    ),
    FINE: ("n_fine_codebooks", "max_fine_input_length", "max_fine_history_length"),
}


@dataclasses.dataclass(frozen=True)
class TokenConfig:
    """Hold the ids, lengths (in tokens or frames) and rates (in Hz) of one checkpoint.

    Field names are those of `generation_config.json`.
    """

    # text -> semantic
    semantic_vocab_size: int = 10_000
    semantic_pad_token: int = 10_000
    eos_token_id: int = 10_000
    text_encoding_offset: int = 10_048
    text_pad_token: int = 129_595
    semantic_infer_token: int = 129_599
    max_input_semantic_length: int = 256  # text ids, and semantic ids of the voice
    max_new_tokens: int = 768
    semantic_rate_hz: float = 49.9
    semantic_temperature: float = 0.7

    # semantic -> coarse
    coarse_semantic_pad_token: int = 12_048
    coarse_infer_token: int = 12_050
    max_coarse_input_length: int = 256  # semantic ids in one window
    max_coarse_history: int = 630  # flat coarse ids in one window
    sliding_window_len: int = 60  # new flat coarse ids in one window
    n_coarse_codebooks: int = 2
    coarse_rate_hz: float = 75
    coarse_temperature: float = 0.7

    # coarse -> fine
    n_fine_codebooks: int = 8
    max_fine_input_length: int = 1024  # frames in one window
    max_fine_history_length: int = 512  # frames of the voice; also the step from window to window
    fine_temperature: float = 0.5

    # codec
    codebook_size: int = 1024
    sample_rate: int = 24_000

    @property
    def longest_s(self) -> float:
        """Maximum seconds of speech in one generation: 15.4 for Bark."""
        return self.max_new_tokens / self.semantic_rate_hz

    @property
    def coarse_per_semantic(self) -> float:
        """Flat coarse tokens for one semantic token: 75 / 49.9 * 2 = 3.006 for Bark."""
        return self.coarse_rate_hz / self.semantic_rate_hz * self.n_coarse_codebooks

    @property
    def max_semantic_history(self) -> int:
        """Semantic tokens that correspond to a full coarse history: 209 for Bark."""
        return math.floor(self.max_coarse_history / self.coarse_per_semantic)

    @property
    def longest_coarse_window(self) -> int:
        """Ids in the longest window of the coarse model: semantic, INFER, history and new ones; 947 for Bark."""
        return self.max_coarse_input_length + 1 + self.max_coarse_history + self.sliding_window_len

    @property
    def fine_pad_token(self) -> int:
        """The code for "not known yet": one past the last code."""
        return self.codebook_size

    def coarse_offset(self, codebook: int) -> int:
        """First id of a codebook in the coarse vocabulary."""
        return self.semantic_vocab_size + codebook * self.codebook_size

    @classmethod
    def from_dict(cls, generation_config: dict[str, Any]) -> "TokenConfig":
        """Read the content of a `generation_config.json`; a missing field keeps Bark's value."""
        found = {key: generation_config.get(key) for key in TOP_LEVEL}
        for stage, keys in SECTIONS.items():
            section = generation_config.get(stage.config) or {}
            found |= {key: section.get(key) for key in keys}
            found[f"{stage.name}_temperature"] = section.get("temperature")
        return cls(**{key: value for key, value in found.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a `generation_config.json`; `from_dict` reads it back."""
        content: dict[str, Any] = {"model_type": "bark"} | {key: getattr(self, key) for key in TOP_LEVEL}
        for stage, keys in SECTIONS.items():
            temperature = getattr(self, f"{stage.name}_temperature")
            section = {key: getattr(self, key) for key in keys}
            content[stage.config] = section | {"do_sample": True, "temperature": temperature}
        return content


def flatten_codebooks(codes: IntArray, tokens: TokenConfig) -> IntArray:
    """Interleave codes (q, t) frame by frame into coarse-model ids (q t,).

    c0 t0, c1 t0, c0 t1, ...: the reference is `_flatten_codebooks` of suno-ai/bark.
    """
    offsets = np.array([[tokens.coarse_offset(q)] for q in range(len(codes))], dtype=np.int32)
    return (codes.astype(np.int32) + offsets).T.reshape(-1)


def unflatten_codebooks(flat: IntArray, tokens: TokenConfig) -> IntArray:
    """Undo `flatten_codebooks`: ids (n_coarse_codebooks t,) become codes (n_coarse_codebooks, t)."""
    q = tokens.n_coarse_codebooks
    offsets = np.array([[tokens.coarse_offset(i)] for i in range(q)], dtype=np.int32)
    return flat.reshape(-1, q).T.astype(np.int32) - offsets
