"""Whose voice it is: Resemblyzer's speaker encoder, and the nearest of known voices.

    samples ──▶ mels (t, 40) ──▶ stretches of 1.6 s ──3 LSTM layers──▶ their mean, an embedding (256,) of length 1

The weights come in the wheel of Resemblyzer; nothing of its code runs, so what it depends on is not needed.

Reference: resemble-ai/Resemblyzer (arXiv 1710.10467). Silences within speech are kept here.
"""

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from bark_jax.sound import resample

RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 40
STRETCH, STRIDE = 160, 80  # frames that are embedded at once, and from one stretch to the next
LOUDNESS = 10 ** (-30 / 20)  # root mean square to which all sound is brought
WIDTH, LAYERS = 256, 3


@functools.cache
def encoder() -> tuple[Any, Any]:
    """Load the LSTM and the linear layer after it."""
    import torch

    package = importlib.util.find_spec("resemblyzer")
    assert package is not None  # `judges.check` has looked
    path = Path(package.submodule_search_locations[0]) / "pretrained.pt"  # type: ignore[index]
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = torch.nn.LSTM(BANDS, WIDTH, LAYERS, batch_first=True), torch.nn.Linear(WIDTH, WIDTH)
    for module, name in ((lstm, "lstm"), (linear, "linear")):
        module.load_state_dict({key.split(".")[1]: x for key, x in state.items() if key.startswith(f"{name}.")})
    return lstm, linear


def mels(samples: Float[np.ndarray, " n"], sample_rate: int) -> Float[np.ndarray, "t 40"]:
    """Compute the power in 40 mel bands, 100 times a second, of sound of one loudness."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    resampled = resample(samples, sample_rate, RATE)
    level = np.sqrt(np.mean(resampled.astype(np.float64) ** 2)) if len(resampled) else 0.0
    level_samples = np.pad(resampled * (LOUDNESS / max(level, 1e-9)), (0, max(0, WINDOW - len(resampled))))
    bands = mel_filter_bank(WINDOW // 2 + 1, BANDS, 0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
    window = window_function(WINDOW, "hann")
    power = spectrogram(level_samples, window, WINDOW, HOP, power=2.0, mel_filters=bands, pad_mode="constant")
    return power.T.astype(np.float32)


def embed(sounds: Sequence[Float[np.ndarray, " _"]], sample_rate: int) -> Float[np.ndarray, "b 256"]:
    """Embed the voice of each sound; sounds of one voice have embeddings that point the same way."""
    import torch

    lstm, linear = encoder()
    made = np.zeros((len(sounds), WIDTH), np.float32)
    for row, samples in zip(made, sounds, strict=True):
        frames = mels(samples, sample_rate)
        frames = np.pad(frames, ((0, max(0, STRETCH - len(frames))), (0, 0)))
        stretches = np.stack([frames[i : i + STRETCH] for i in range(0, len(frames) - STRETCH + 1, STRIDE)])
        with torch.no_grad():
            _, (hidden, _) = lstm(torch.from_numpy(stretches))
            row[:] = torch.nn.functional.normalize(torch.relu(linear(hidden[-1]))).mean(dim=0).numpy()
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def name(
    embeddings: Float[np.ndarray, "b d"], known: dict[str, Float[np.ndarray, "n d"]], *, own: Sequence[str] = ()
) -> list[str]:
    """Name the voice that each embedding is nearest to.

    Args:
        known: the embeddings of some sounds of each voice.
        own: where the embeddings are among those known, the voice of each: it is compared with the others.
    """
    names, sums = list(known), np.stack([rows.sum(axis=0) for rows in known.values()])
    found = []
    for i, embedding in enumerate(embeddings):
        rest = sums.copy()
        if own:
            rest[names.index(own[i])] -= embedding
        lengths = np.linalg.norm(rest, axis=1)
        found.append(names[int(np.argmax(rest @ embedding / np.maximum(lengths, 1e-9)))])
    return found
