"""Batches of examples for the three transformers, laid out on the device as generation lays out its prompts.

    tokens of all recordings ──once──▶ padded tables on the device ──rows chosen by the host──▶ a batch

What depends on one recording alone (its text, or itself as a voice) is laid out once, by the functions that
generation calls. What depends on a pair, this text after that voice, is gathered on the device: the host chooses
a few numbers for each step and waits for nothing. A voice is another recording of the same speaker.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from bark_jax import coarse, semantic
from bark_jax.tokens import TokenConfig, flatten_codebooks
from bark_jax.voices import Voice

IGNORED = -1  # a target that does not count in the loss
LENGTHS = 4  # of batches of the semantic model, evenly spaced: each length is a program

Batch = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Hold the tokens of all recordings: what the networks are trained on."""

    ids: list[np.ndarray]  # of the text
    semantic: list[np.ndarray]  # (n,)
    codes: list[np.ndarray]  # (q, t)
    speakers: list[str]  # the name of each recording's speaker

    def __len__(self) -> int:
        return len(self.semantic)

    def voice(self, i: int, tokens: TokenConfig) -> Voice:
        """Return recording i as a voice."""
        return Voice(self.semantic[i], self.codes[i][: tokens.n_coarse_codebooks], self.codes[i])


class Voices:
    """Choose for each recording another one of the same speaker, to be continued, or none."""

    def __init__(self, speakers: Sequence[str], probability: float):
        """Sort the recordings by speaker.

        Args:
            probability: how often an example continues a voice; the only recording of a speaker never does.
        """
        _, number, count = np.unique(np.asarray(speakers), return_inverse=True, return_counts=True)
        self.probability = probability
        self.order = np.argsort(number, kind="stable")  # recordings, those of a speaker together
        self.first = (np.cumsum(count) - count)[number]  # where in `order` those of a recording's speaker begin
        self.others = count[number] - 1
        self.place = np.empty(len(number), np.int64)
        self.place[self.order] = np.arange(len(number))
        self.place -= self.first

    def choose(self, rng: np.random.Generator, chosen: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """Return a recording for each of `chosen`; -1 for no voice."""
        others = self.others[chosen]
        nth = rng.integers(0, np.maximum(others, 1))
        nth += nth >= self.place[chosen]  # every one but itself
        has_voice = (rng.random(len(chosen)) < self.probability) & (others > 0)
        return np.where(has_voice, self.order[np.minimum(self.first[chosen] + nth, len(self.order) - 1)], -1)


def padded(rows: Sequence[np.ndarray], length: int, fill: int, dtype: Any = np.int32) -> Array:
    """Put rows (..., n) into one array (b, ..., length) on the device; what is longer is cut off."""
    whole = np.full((len(rows), *rows[0].shape[:-1], length), fill, dtype)
    for table, row in zip(whole, rows, strict=True):
        table[..., : row.shape[-1]] = row[..., :length]
    return jnp.asarray(whole)


def lengths(rows: Sequence[np.ndarray]) -> Int[np.ndarray, " n"]:
    """Return how long each row (..., n) is."""
    return np.array([row.shape[-1] for row in rows], np.int32)


def shifted(targets: Int[Array, "b t"], first: int) -> Int[Array, "b t"]:
    """Return the inputs after which `targets` follow: `first`, then all targets but the last."""
    before = jnp.maximum(targets[:, :-1], 0)
    return jnp.concatenate([jnp.full_like(before[:, :1], first), before], axis=1)


def after(
    old: Int[Array, "b n"], old_length: Int[Array, " b"], new: Int[Array, "b m"], at: Int[Array, "b t"]
) -> Int[Array, "b t"]:
    """Look up the places `at` of each row of `old`, cut to its length, followed by that of `new`."""
    index = at - old_length[:, None]
    return jnp.where(
        index < 0,
        jnp.take_along_axis(old, jnp.clip(at, 0, old.shape[1] - 1), axis=1),
        jnp.take_along_axis(new, jnp.clip(index, 0, new.shape[1] - 1), axis=1),
    )


@functools.partial(jax.jit, static_argnames=("first", "size", "blocks"))
def corrupt(
    inputs: Int[Array, "b t"], rate: float | Array, key: Array, *, first: int, size: int, blocks: int = 1
) -> Int[Array, "b t"]:
    """Put others at random in the place of a share of the ids that are read, each of the same block of ids.

    From `first` on there are so many `blocks` of `size` ids; ids outside of them stay.
    """
    where, which = jax.random.split(key)
    block = (inputs - first) // size
    is_corrupted = (jax.random.uniform(where, inputs.shape) < rate) & (block >= 0) & (block < blocks)
    others = first + block * size + jax.random.randint(which, inputs.shape, 0, size)
    return jnp.where(is_corrupted, others, inputs)


# ---------------------------------------------------------------------------------------------
# Semantic
# ---------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SemanticTables:
    """Hold each recording as `semantic.prompt` lays it out, text and voice, and what follows the prompt."""

    prompts: Int[Array, "n 2 p"]
    targets: Int[Array, "n t"]  # semantic tokens, the end of speech where it is reached, then IGNORED

    @classmethod
    def make(cls, data: Tokens, tokens: TokenConfig) -> "SemanticTables":
        voices = [Voice(units, np.zeros((0, 0), np.int32), np.zeros((0, 0), np.int32)) for units in data.semantic]
        prompts = [semantic.prompt(ids, voice, tokens) for ids, voice in zip(data.ids, voices, strict=True)]
        end = [tokens.eos_token_id]
        targets = padded([np.append(units, end) for units in data.semantic], tokens.max_new_tokens, IGNORED)
        return cls(jnp.asarray(np.stack(prompts)), targets)


@functools.partial(jax.jit, static_argnames=("tokens", "length"))
def semantic_batch(
    tables: SemanticTables,
    tokens: TokenConfig,
    chosen: Int[Array, " b"],
    voice: Int[Array, " b"],
    *,
    length: int,
) -> Batch:
    """Lay out texts after voices: the `prompt` (b, 2, p), the `inputs` that follow it and their `targets` (b, t).

    Args:
        voice: the recording that is continued, -1 for none.
        length: of inputs and targets; what is longer is cut off.
    """
    old = jnp.where((voice >= 0)[:, None], tables.prompts[voice, 1], tokens.semantic_pad_token)
    targets = tables.targets[chosen, :length]
    return {
        "prompt": jnp.stack([tables.prompts[chosen, 0], old], axis=1),
        "inputs": shifted(targets, tokens.semantic_infer_token),
        "targets": targets,
    }


def semantic_batches(
    data: Tokens, tokens: TokenConfig, *, batch: int, voice_probability: float, corruption_rate: float, seed: int
) -> Callable[[int], Batch]:
    """Return what makes the batch of a step, of recordings of about one length."""
    tables, voices = SemanticTables.make(data, tokens), Voices(data.speakers, voice_probability)
    count = np.minimum(lengths(data.semantic) + 1, tokens.max_new_tokens)  # targets
    spacing = -(-tokens.max_new_tokens // LENGTHS)

    def make(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        many = rng.integers(0, len(data), 8 * batch)
        chosen = many[np.argsort(count[many], kind="stable")].reshape(8, -1)[rng.integers(8)]
        length = min(-(-int(count[chosen].max()) // spacing) * spacing, tokens.max_new_tokens)
        made = semantic_batch(tables, tokens, chosen, voices.choose(rng, chosen), length=length)
        key = jax.random.fold_in(jax.random.key(seed), step)
        inputs = corrupt(made["inputs"], corruption_rate, key, first=0, size=tokens.semantic_vocab_size)
        return made | {"inputs": inputs}

    return make


# ---------------------------------------------------------------------------------------------
# Coarse
# ---------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CoarseTables:
    """Hold each recording as the coarse model writes it, and as the history that `coarse.history` cuts of it."""

    units: Int[Array, "n s"]  # semantic tokens, then padding
    flat: Int[Array, "n f"]  # flat coarse ids, then IGNORED
    old_units: Int[Array, "n r"]
    old_units_length: Int[Array, " n"]
    old_flat: Int[Array, "n h"]
    old_flat_length: Int[Array, " n"]

    @classmethod
    def make(cls, data: Tokens, tokens: TokenConfig) -> "CoarseTables":
        q = tokens.n_coarse_codebooks
        flat = [
            flatten_codebooks(codes[:q], tokens)[: coarse.steps_for(len(units), tokens)]
            for units, codes in zip(data.semantic, data.codes, strict=True)
        ]
        histories = [coarse.history(data.voice(i, tokens), tokens) for i in range(len(data))]
        old_units, old_flat = [old for old, _ in histories], [old for _, old in histories]
        pad = tokens.coarse_semantic_pad_token
        # Room for padding after the longest: a window looks past the end of its recording.
        longest = max(map(len, data.semantic)) + tokens.max_coarse_input_length
        return cls(
            padded(data.semantic, longest, pad),
            padded(flat, int(lengths(flat).max()) + 1, IGNORED),
            padded(old_units, tokens.max_semantic_history, pad),
            jnp.asarray(lengths(old_units)),
            padded(old_flat, tokens.max_coarse_history, IGNORED),
            jnp.asarray(lengths(old_flat)),
        )


@functools.partial(jax.jit, static_argnames="tokens")
def coarse_batch(
    tables: CoarseTables,
    tokens: TokenConfig,
    chosen: Int[Array, " b"],
    voice: Int[Array, " b"],
    step: Int[Array, " b"],
    place: Int[Array, " b"],
) -> Batch:
    """Lay out windows of generation: the `prompt` (b, 1, p), the `inputs` that follow it and their `targets` (b, t).

    The coarse ids that generation is given before its new ones are targets too: they teach as much.

    Args:
        voice: the recording that is continued, -1 for none.
        step: the number of the first new flat coarse id.
        place: the number of the semantic token at that time.
    """
    length = tokens.max_coarse_history + tokens.sliding_window_len
    n_units = jnp.where(voice >= 0, tables.old_units_length[voice], 0)
    n_flat = jnp.where(voice >= 0, tables.old_flat_length[voice], 0)

    first = jnp.maximum(0, n_units + place - tokens.max_semantic_history)[:, None]
    at = first + jnp.arange(tokens.max_coarse_input_length)
    around = after(tables.old_units[voice], n_units, tables.units[chosen], at)

    begin, end = jnp.maximum(0, n_flat + step - tokens.max_coarse_history), n_flat + step + tokens.sliding_window_len
    at = begin[:, None] + jnp.arange(length)
    seen = after(tables.old_flat[voice], n_flat, tables.flat[chosen], at)
    targets = jnp.where(at < end[:, None], seen, IGNORED)
    return {"prompt": around[:, None], "inputs": shifted(targets, tokens.coarse_infer_token), "targets": targets}


def semantic_places(step: Int[np.ndarray, " b"], tokens: TokenConfig) -> Int[np.ndarray, " b"]:
    """Return the number of the semantic token at the time of a flat coarse id, rounded as `coarse.window_head` does."""
    return np.round(step / tokens.coarse_per_semantic).astype(np.int32)


def last_with_first_head(tokens: TokenConfig) -> int:
    """Return the last window whose prompt begins as that of window 0: an example of it holds all windows before it."""
    return (tokens.max_coarse_history - 1) // tokens.sliding_window_len


def coarse_batches(
    data: Tokens, tokens: TokenConfig, *, batch: int, voice_probability: float, corruption_rate: float, seed: int
) -> Callable[[int], Batch]:
    """Return what makes the batch of a step, each example a window of generation, from `last_with_first_head` on.

    Rows are corrupted at rates from 0 to `corruption_rate`: where few codes before can be believed, units have to be.
    """
    tables, voices = CoarseTables.make(data, tokens), Voices(data.speakers, voice_probability)
    ids = np.array([coarse.steps_for(len(units), tokens) for units in data.semantic])
    windows = np.maximum(1, -(-ids // tokens.sliding_window_len))
    first = np.minimum(windows - 1, last_with_first_head(tokens))
    rates = np.linspace(0, corruption_rate, batch, dtype=np.float32)[:, None]

    def make(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(0, len(data), batch)
        number = rng.integers(first[chosen], windows[chosen]) * tokens.sliding_window_len
        voice, place = voices.choose(rng, chosen), semantic_places(number, tokens)
        made = coarse_batch(tables, tokens, chosen, voice, number, place)
        key = jax.random.fold_in(jax.random.key(seed), step)
        ids = {"first": tokens.coarse_offset(0), "size": tokens.codebook_size, "blocks": tokens.n_coarse_codebooks}
        return made | {"inputs": corrupt(made["inputs"], rates, key, **ids)}

    return make


# ---------------------------------------------------------------------------------------------
# Fine
# ---------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="tokens")
def fine_batch(
    codes: Int[Array, "n q t"],
    frames: Int[Array, " n"],
    tokens: TokenConfig,
    chosen: Int[Array, " b"],
    voice: Int[Array, " b"],
    first: Int[Array, " b"],
    key: Array,
) -> Batch:
    """Cut windows of `codes` (b, q, t), padded as in generation, and say in `end` where their frames end.

    Generation writes codes into the padding too, of all codebooks but the given. What it writes there is not
    taught; here random codes stand for it, so that the model learns to look at padding without believing it.

    Args:
        voice: the recording that is continued, -1 for none.
        first: the first frame of the window, counted from that of the voice's history.
    """
    length = tokens.max_fine_input_length
    n_old = jnp.where(voice >= 0, jnp.minimum(frames[voice], tokens.max_fine_history_length), 0)
    at = first[:, None] + jnp.arange(length)
    old_at, new_at = frames[voice][:, None] - n_old[:, None] + at, at - n_old[:, None]
    old, new = (
        jnp.take_along_axis(codes[rows], jnp.clip(places, 0, codes.shape[2] - 1)[:, None], axis=2).astype(jnp.int32)
        for rows, places in ((voice, old_at), (chosen, new_at))
    )
    end = jnp.minimum(n_old + frames[chosen] - first, length)
    padding = jax.random.randint(key, new.shape, 0, tokens.codebook_size)
    padding = padding.at[:, : tokens.n_coarse_codebooks].set(tokens.fine_pad_token)
    window = jnp.where((at < n_old[:, None])[:, None], old, new)
    return {"codes": jnp.where((jnp.arange(length) < end[:, None])[:, None], window, padding), "end": end}


def fine_batches(
    data: Tokens, tokens: TokenConfig, *, batch: int, voice_probability: float, seed: int
) -> Callable[[int], Batch]:
    """Return what makes the batch of a step: windows, and in `begin` the first frame of each that is predicted."""
    length, voices = tokens.max_fine_input_length, Voices(data.speakers, voice_probability)
    frames = lengths(data.codes)
    codes = padded(data.codes, int(frames.max()), 0, np.int16)
    frames_on_device = jnp.asarray(frames)

    def make(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(0, len(data), batch)
        voice = voices.choose(rng, chosen)
        n_old = np.where(voice >= 0, np.minimum(frames[voice], tokens.max_fine_history_length), 0)
        first = rng.integers(0, np.maximum(1, n_old + frames[chosen] - length + 1))
        later = rng.choice([0, length // 2], batch)
        begin = np.where(first == 0, n_old, later).astype(np.int32)
        key = jax.random.fold_in(jax.random.key(seed), step)
        made = fine_batch(codes, frames_on_device, tokens, chosen, voice, first, key)
        return made | {"begin": jnp.asarray(begin)}

    return make
