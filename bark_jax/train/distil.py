"""Learn the encoder of units: a small network names the phones of a recording, or what a large network hears.

    phones and pitch of recordings ─────────────────────────────────────────────▶ units (t,)     `phones.py`
    recordings ─▶ log-mels ─▶ Whisper's encoder ─▶ PCA to 64 ─▶ k-means ─▶ clusters, units (t,)
                     └──────▶ UnitEncoder ──────────────────────────────────────▶ units (t,)

Where nothing says which phones are spoken, Whisper is asked. It learnt to write down what anybody says, so its features
say much of the phones and little of the voice: with cepstra a unit says both. Half of what the small encoder learns
from is disturbed, by noise, by another tone and by another length of the throat, so that it hears the same in voices
that it has not met.

Reference: the units are those of HuBERT's second round, arXiv 2106.07447, with Whisper in the place of the first.
Letters: b batch, s frames at 100 Hz, t frames at 50 Hz, m mel bands, d width of the features.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from bark_jax.files import write_file
from bark_jax.train import hosts, loop, whisper
from bark_jax.train.data import Recordings
from bark_jax.train.units import k_means, nearest
from bark_jax.units import RATE_HZ, SILENCE_S, UnitEncoder, log_mels

COMPONENTS = 64  # of the features' variance, those that are kept
CLUSTERED = 400_000  # frames at most
HEARD_AT_ONCE = 32  # recordings
NO_UNIT = -1
TO_E = 4 * np.log(10).item()  # from Whisper's log-mels to natural logarithms of power
SOURCES = "phones", "whisper", "cepstra"  # of units
TEACHER, AGREEMENT = "teacher.npz", "agreement.json"


@dataclasses.dataclass(frozen=True)
class UnitsTraining:
    """Hold how the encoder of units is trained."""

    source: str = "whisper"  # phones, where recordings have them; or cepstra: no encoder then, and nothing to train
    hours: float = 6.0  # of recordings that are listened to, at most
    held_out: float = 0.02  # of these, for the agreement that is told
    steps: int = 3_000
    seconds: float | None = None  # stop after so much time, if the steps are not done by then
    batch: int = 64  # recordings
    frames: int = 200  # of each, at most
    rate: float = 2e-3
    width: int = 128
    disturbed: float = 0.5  # of the recordings of a batch
    seed: int = 0

    def __post_init__(self):
        if self.source not in SOURCES:
            raise ValueError(f"units are learnt from {self.source!r}: choose {' or '.join(SOURCES)}")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Hold what makes clusters of features."""

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "d 64"]
    centres: Float[np.ndarray, "k 64"]

    def units(self, features: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
        return np.asarray(nearest(self.project(features), jnp.asarray(self.centres)))

    def project(self, features: Float[np.ndarray, "n d"]) -> Float[Array, "n 64"]:
        return (jnp.asarray(features, jnp.float32) - self.mean) @ self.axes


@dataclasses.dataclass(frozen=True)
class Named:
    """Hold recordings as the encoder meets them: log-mels (2 t, m) in half precision, and their units (t,)."""

    mels: list[np.ndarray]
    units: list[np.ndarray]

    def __getitem__(self, part: slice) -> "Named":
        return Named(self.mels[part], self.units[part])


def with_units(recordings: Recordings, chosen: Int[np.ndarray, " r"], units: Sequence[np.ndarray]) -> Named:
    """Hear recordings whose units are known, (t,) of each recording."""
    hear = jax.jit(lambda samples: (log_mels(samples, recordings.sample_rate).astype(jnp.float16),))
    named = Named([], [])
    for i, (t, mels) in zip(chosen, listen(recordings, chosen, hear), strict=True):
        named.units.append(units[i][:t])
        named.mels.append(mels[: 2 * len(named.units[-1])])
    return named


def name_by_whisper(recordings: Recordings, chosen: Int[np.ndarray, " r"], k: int, seed: int, folder: Path) -> Named:
    """Find clusters of what Whisper's encoder hears in recordings; `folder` gets what makes them."""
    graphdef, state = nnx.split(whisper.load())

    @jax.jit
    def hear(state: Any, samples: Float[Array, "b n"]) -> tuple[Array, Array]:
        mels = log_mels(samples, recordings.sample_rate)
        return mels.astype(jnp.float16), nnx.merge(graphdef, state)(mels)[-1].astype(jnp.float16)

    mels, features = [], []
    for t, its_mels, its_features in listen(recordings, chosen, functools.partial(hear, state)):
        mels.append(its_mels[: 2 * t])
        features.append(its_features[:t])
    teacher = cluster(np.concatenate(features), k, seed)
    hosts.first_alone(lambda: np.savez(folder / TEACHER, **dataclasses.asdict(teacher)))
    units = load_teacher(folder).units(np.concatenate(features))
    return Named(mels, np.split(units, np.cumsum([len(x) for x in features])[:-1]))


def listen(
    recordings: Recordings, chosen: Int[np.ndarray, " r"], hear: Callable[[np.ndarray], tuple[Array, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Hear recordings, each followed by silence; yield how many units each has, and what is heard of it.

    Raises:
        ValueError: one is too long for Whisper.
    """
    rate = recordings.sample_rate
    seconds = np.ceil(recordings.lengths[chosen].max() / rate + SILENCE_S)
    if seconds > whisper.LONGEST_S:
        raise ValueError(f"a recording is {seconds:.0f} s long, units are learnt from {whisper.LONGEST_S} s at most")
    for first in tqdm(range(0, len(chosen), HEARD_AT_ONCE), "listen", unit="batch"):
        sounds = [recordings[int(i)] for i in chosen[first : first + HEARD_AT_ONCE]]
        batch = np.zeros((HEARD_AT_ONCE, int(seconds * rate)), np.float32)
        for row, sound in zip(batch, sounds):
            row[: len(sound)] = sound
        heard = [np.asarray(x) for x in hear(batch)]
        for i, sound in enumerate(sounds):
            yield len(sound) * RATE_HZ // rate, *(x[i] for x in heard)


def cluster(features: Float[np.ndarray, "n d"], k: int, seed: int) -> Teacher:
    """Find k clusters of features, each axis scaled to a deviation of 1, in their main directions."""
    if len(features) > CLUSTERED:
        features = features[np.random.default_rng(seed).choice(len(features), CLUSTERED, replace=False)]
    x = features.astype(np.float32)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    x = (x - mean) / deviation
    axes = np.linalg.eigh(x.T @ x / len(x))[1][:, ::-1][:, :COMPONENTS]
    centres, _ = k_means(x @ axes, k, seed=seed, rounds=20)
    return Teacher(mean, (axes / deviation[:, None]).astype(np.float32), centres)


def disturb(mels: Float[Array, "b s m"], key: Array, share: float) -> Float[Array, "b s m"]:
    """Warp the bands of some rows by up to an eighth, tilt them, and put noise under them."""
    b, _, m = mels.shape
    keys = jax.random.split(key, 5)
    warp, tilt, level, slope = (jax.random.uniform(k, (b, 1), minval=-1.0) for k in keys[:4])
    band = jnp.arange(m, dtype=jnp.float32)
    place = jnp.clip(band * (1 + 0.125 * warp), 0.0, m - 1.0)  # (b, m)
    low = jnp.floor(place).astype(jnp.int32)
    part = (place - low.astype(jnp.float32))[:, None]
    lower, upper = (jnp.take_along_axis(mels, i[:, None], axis=2) for i in (low, jnp.minimum(low + 1, m - 1)))
    x = (1 - part) * lower + part * upper
    line = jnp.linspace(-1, 1, m)
    x = x + (0.15 * tilt * line)[:, None]
    noise = x.max(axis=(1, 2))[:, None] - 1.25 + 0.75 * level + 0.2 * slope * line  # 20 to 80 dB below the loudest
    x = jnp.logaddexp(TO_E * x, TO_E * noise[:, None]) / TO_E
    x = jnp.maximum(x, x.max(axis=(1, 2), keepdims=True) - 2)  # the floor that log_mels sets
    return jnp.where(jax.random.bernoulli(keys[4], share, (b, 1, 1)), x, mels)


def cut(mels: list[np.ndarray], units: list[np.ndarray], how: UnitsTraining, step: int) -> dict[str, np.ndarray]:
    """Cut log-mels of a step and their units; what is shorter is followed by silence, which has no unit."""
    rng = np.random.default_rng((how.seed, step))
    batch = {
        "mels": np.zeros((how.batch, 2 * how.frames, mels[0].shape[1]), np.float16),
        "units": np.full((how.batch, how.frames), NO_UNIT, np.int32),
    }
    for row, i in enumerate(rng.integers(0, len(mels), how.batch)):
        first = int(rng.integers(0, max(1, len(units[i]) - how.frames + 1)))
        own, its_mels = units[i][first : first + how.frames], mels[i][2 * first :][: 2 * how.frames]
        batch["units"][row, : len(own)] = own
        batch["mels"][row] = its_mels.min()
        batch["mels"][row, : len(its_mels)] = its_mels
    return batch


def score(encoder: UnitEncoder, mels: Float[Array, "b s m"], units: Int[Array, "b t"]) -> tuple[Array, loop.Losses]:
    """Return the cross-entropy of units, and the share of them that are named."""
    is_unit = (units != NO_UNIT).astype(jnp.float32)
    logits = encoder(mels, is_unit.sum(axis=1).astype(jnp.int32))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(units, 0))
    right = (jnp.argmax(logits, axis=-1) == units).astype(jnp.float32)
    loss, right = ((is_unit * x).sum() / is_unit.sum() for x in (loss, right))
    return loss, {"loss": loss, "accuracy": right}


def train(
    recordings: Recordings, k: int, how: UnitsTraining, folder: Path, units: Sequence[np.ndarray] | None = None
) -> UnitEncoder:
    """Train an encoder of k units; resume from `folder`, which also gets the log, clusters, and the agreement.

    Args:
        units: those that phones name, (t,) of each recording; None: Whisper is asked.

    Raises:
        ValueError: Whisper's weights are not installed, or the recordings are too few or too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(how.seed).permutation(len(recordings))
    hours = np.cumsum(recordings.lengths[order]) / recordings.sample_rate / 3600
    chosen = order[: max(2, int(np.searchsorted(hours, how.hours)))]
    if units is None:
        named = name_by_whisper(recordings, chosen, k, how.seed, folder)
    else:
        named = with_units(recordings, chosen, units)
    count = max(1, int(how.held_out * len(named.mels)))
    unseen, named = named[:count], named[count:]

    model = UnitEncoder(k, how.width, rngs=nnx.Rngs(how.seed))
    graphdef, params = nnx.split(model)
    optimizer = loop.adam(b1=0.9, b2=0.98, decay=0.05)

    def start() -> loop.State:
        return {"params": params, "optimizer": optimizer.init(params)}

    def update(state: loop.State, batch: Any, moment: loop.Moment) -> tuple[loop.State, loop.Losses]:
        key = jax.random.fold_in(jax.random.key(how.seed), moment.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(loop.DATA))
        mels = disturb(batch["mels"].astype(jnp.float32), key, how.disturbed)
        gradients, losses = loop.mean_gradients(
            lambda params: score(nnx.merge(graphdef, params), mels, batch["units"]), state["params"]
        )
        rate = loop.learning_rate(how.rate, moment, how.steps)
        params, moments = loop.descend(optimizer, gradients, state["params"], state["optimizer"], rate)
        return {"params": params, "optimizer": moments}, jax.lax.pmean(losses, loop.DATA)

    batch = functools.partial(cut, named.mels, named.units, how)
    state = loop.run(update, start, batch, folder, steps=how.steps, seconds=how.seconds)
    encoder = nnx.merge(graphdef, state["params"])
    found = agreement(encoder, unseen)
    line = json.dumps({"agreement": found}).encode() + b"\n"
    hosts.first_alone(lambda: write_file(folder / AGREEMENT, line, force=True))
    print(f"units: {found:.1%} of the frames of {count} recordings held out are named right", flush=True)
    return encoder


def agreement(encoder: UnitEncoder, named: Named) -> float:
    """Return the share of units that the encoder names."""
    score_row = nnx.jit(score)
    longest = max(len(x) for x in named.units)
    right = total = 0.0
    for mels, units in zip(named.mels, named.units):
        padded_units = np.pad(units, (0, longest - len(units)), constant_values=NO_UNIT)
        padded = np.pad(mels, ((0, 2 * longest - len(mels)), (0, 0)), constant_values=mels.min())
        _, found = score_row(encoder, jnp.asarray(padded[None], jnp.float32), jnp.asarray(padded_units[None]))
        right, total = right + float(found["accuracy"]) * len(units), total + len(units)
    return right / total


def load_teacher(folder: Path) -> Teacher:
    """Read what `train` found."""
    with np.load(folder / TEACHER) as found:
        return Teacher(**found)
