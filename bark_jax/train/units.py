"""Semantic units without a recogniser: any recording becomes semantic tokens by the nearest of some centres.

    samples ──▶ log-mels at 49.9 Hz ──▶ cepstra of five frames (t, 70) ──nearest centre──▶ units (t,)

This is the first round of HuBERT (arXiv 2106.07447): k-means over MFCCs, without the network that its later
rounds train. Such units say as much about the speaker as about the phone: `distil.py` makes better ones, where
recordings have phones or Whisper is installed. The centres are saved with a checkpoint as `units.safetensors`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.fft import dct
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bark_jax import units
from bark_jax.checkpoints.resolve import UNITS
from bark_jax.checkpoints.tensors import read_safetensors, write_safetensors
from bark_jax.train.data import Recordings
from bark_jax.train.spectra import FLOOR, mel_filters
from bark_jax.units import UnitEncoder

WINDOW = 1024  # samples, at 24 kHz
MEL_BANDS = 40
HIGHEST_HZ = 8_000.0
CEPSTRA = 14
LOUDNESS_WEIGHT = 0.4  # of the cepstrum 0
CONTEXT = (0.35, 0.6, 1.0, 0.6, 0.35)  # weights of the frames before, at and behind a place
BLOCK = 16_384  # rows whose distances are held at a time
LEARNT_FROM = 400_000  # frames: two hours


def features(samples: Float[np.ndarray, " n"], sample_rate: int, unit_rate_hz: float) -> Float[np.ndarray, "t 70"]:
    """Compute cepstra, each with those of its two neighbours on both sides."""
    count = int(len(samples) * unit_rate_hz / sample_rate)
    if count == 0:
        return np.zeros((0, CEPSTRA * len(CONTEXT)), np.float32)
    middles = np.round((np.arange(count) + 0.5) * sample_rate / unit_rate_hz).astype(int)
    emphasised = np.diff(samples, prepend=samples[:1] * 0) + 0.05 * samples
    padded = np.pad(emphasised, WINDOW // 2)
    windows = padded[middles[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW).astype(np.float32)
    magnitude = np.abs(np.fft.rfft(windows)).astype(np.float32) / (WINDOW / 4)
    logs = np.log(magnitude @ mel_filters(WINDOW, MEL_BANDS, sample_rate, HIGHEST_HZ) + FLOOR)
    cepstra = np.asarray(dct(logs, norm="ortho", axis=1))[:, :CEPSTRA]
    cepstra[:, 0] *= LOUDNESS_WEIGHT
    around = np.pad(cepstra, ((len(CONTEXT) // 2,) * 2, (0, 0)), mode="edge")
    return np.concatenate([weight * around[i : i + count] for i, weight in enumerate(CONTEXT)], axis=1)


def encode(
    samples: Float[np.ndarray, " n"], centres: Float[np.ndarray, "k 70"], sample_rate: int, unit_rate_hz: float
) -> Int[np.ndarray, " t"]:
    """Turn a recording into semantic tokens, in NumPy: recordings have many lengths."""
    found = features(samples, sample_rate, unit_rate_hz)
    return np.argmin(np.sum(centres**2, axis=1) - 2 * found @ centres.T, axis=1).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Cepstra:
    """Name units by the nearest centre: what `units.UnitEncoder` does where there is no such network."""

    centres: Float[np.ndarray, "k 70"]
    unit_rate_hz: float

    @property
    def vectors(self) -> Float[np.ndarray, "k 70"]:
        """A vector for each unit: near ones are of sounds that are alike."""
        return self.centres

    def encode(self, samples: Float[np.ndarray, " n"], sample_rate: int) -> Int[np.ndarray, " t"]:
        """Turn a recording into semantic tokens."""
        return encode(samples, self.centres, sample_rate, self.unit_rate_hz)

    def encode_all(self, rows: Sequence[np.ndarray], sample_rate: int) -> list[np.ndarray]:
        """Turn recordings into semantic tokens."""
        with threadpool_limits(1):  # the products are small: more threads of BLAS wait for each other
            return [self.encode(x, sample_rate) for x in rows]


def find(recordings: Recordings, count: int, unit_rate_hz: float) -> Cepstra:
    """Find the centres of that many units in recordings, or in some of them if there are many."""
    wanted, found = LEARNT_FROM, []
    for i in tqdm(np.random.default_rng(0).permutation(len(recordings)).tolist(), "units", unit="recording"):
        found.append(features(recordings[i], recordings.sample_rate, unit_rate_hz))
        wanted -= len(found[-1])
        if wanted < 0:
            break
    centres, _ = k_means(np.concatenate(found), count, seed=0, rounds=20)
    return Cepstra(centres, unit_rate_hz)


def load(folder: Path, unit_rate_hz: float) -> Cepstra | UnitEncoder:
    """Read what names the units of a checkpoint. Raises ValueError if it has nothing that does."""
    path = folder / UNITS
    if not path.is_file():
        raise ValueError(f"{folder} has no {UNITS}: its semantic tokens cannot be found in a recording")
    tensors = read_safetensors(path)
    if "centres" in tensors:
        return Cepstra(tensors["centres"].read().astype(np.float32), unit_rate_hz)
    return units.load(folder)


def save(found: Cepstra | UnitEncoder, folder: Path, dtype: Any = np.float32) -> None:
    """Write what names units to a checkpoint's folder."""
    if isinstance(found, Cepstra):
        write_safetensors({"centres": found.centres.astype(dtype)}, folder / UNITS, None)
    else:
        units.save(found, folder, dtype)


@jax.jit
def nearest(x: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Int[Array, " n"]:
    """Find the centre that each row is closest to."""
    norms = jnp.sum(centres**2, axis=1)

    def one(row):
        return jnp.argmin(norms - 2 * jnp.matmul(centres, row, precision=jax.lax.Precision.HIGHEST))

    return jax.lax.map(one, x, batch_size=BLOCK)


@functools.partial(jax.jit, static_argnames="rounds")
def lloyd(x: Float[Array, "n d"], centres: Float[Array, "k d"], rounds: int) -> Float[Array, "k d"]:
    """Move each centre to the mean of the rows that are closest to it, again and again."""

    def once(_, centres):
        code = nearest(x, centres)
        count = jnp.zeros(len(centres)).at[code].add(1.0)[:, None]
        total = jnp.zeros_like(centres).at[code].add(x)
        return jnp.where(count > 0, total / jnp.maximum(count, 1), centres)

    return jax.lax.fori_loop(0, rounds, once, centres)


def k_means(
    x: Float[np.ndarray, "n d"], k: int, *, seed: int, rounds: int = 10
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, " n"]]:
    """Find k centres of rows, and for each row the closest of them. Raises ValueError for fewer rows than centres."""
    if len(x) < k:
        raise ValueError(f"there are {len(x)} rows for {k} centres: use more recordings, or fewer centres")
    first = np.random.default_rng(seed).choice(len(x), k, replace=False)
    centres = lloyd(jnp.asarray(x), jnp.asarray(x[first]), rounds)
    return np.asarray(centres), np.asarray(nearest(jnp.asarray(x), centres))
