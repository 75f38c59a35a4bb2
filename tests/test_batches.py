"""Batches: made on the device for many recordings, they are what generation's functions make one at a time."""

import jax
import numpy as np
import pytest

from bark_jax import coarse
from bark_jax.train import batches, examples, recipe

pytestmark = pytest.mark.usefixtures("quick_compilation")

TOKENS = recipe.TINY.tokens
SPEAKERS = ["ada", "ben", "ada", "ben", "ada", "cy", "ben", "ada"]
NONE = -1


@pytest.fixture(scope="module")
def data() -> batches.Tokens:
    """Recordings of many lengths, up to the longest, of three speakers."""
    rng = np.random.default_rng(0)
    counts = [3, 10, 21, 40, 61, 80, TOKENS.max_new_tokens - 1, TOKENS.max_new_tokens]
    ids = [rng.integers(2, 30, n).astype(np.int32) + TOKENS.text_encoding_offset for n in range(1, 9)]
    units = [rng.integers(0, TOKENS.semantic_vocab_size, n).astype(np.int32) for n in counts]
    frames = [round(1.5 * n) for n in counts]
    codes = [rng.integers(0, TOKENS.codebook_size, (TOKENS.n_fine_codebooks, t)).astype(np.int32) for t in frames]
    return batches.Tokens(ids, units, codes, SPEAKERS)


PAIRS = [(i, j) for i in range(len(SPEAKERS)) for j in (NONE, *range(len(SPEAKERS)))]


def expected(data, pairs, example):
    """Make an example of each pair of a recording and the one that it continues."""
    return [example(i, None if j == NONE else data.voice(j, TOKENS)) for i, j in pairs]


def assert_same(made, rows):
    """Compare a batch with examples, which end before it does."""
    for n, row in enumerate(rows):
        length = len(row["targets"])
        np.testing.assert_array_equal(made["prompt"][n], row["prompt"])
        np.testing.assert_array_equal(made["inputs"][n, :length], row["inputs"])
        np.testing.assert_array_equal(made["targets"][n, :length], row["targets"])
        assert (made["targets"][n, length:] == batches.IGNORED).all()


def test_semantic_batches_are_generations(data):
    tables, (chosen, voice) = batches.SemanticTables.make(data, TOKENS), np.array(PAIRS).T
    made = batches.semantic_batch(tables, TOKENS, chosen, voice, length=TOKENS.max_new_tokens)
    rows = expected(data, PAIRS, lambda i, v: examples.semantic_example(data.ids[i], data.semantic[i], v, TOKENS))
    assert_same(made, rows)
    short = batches.semantic_batch(tables, TOKENS, chosen, voice, length=20)
    np.testing.assert_array_equal(short["inputs"], made["inputs"][:, :20])


def test_coarse_batches_are_generations(data):
    tables, window = batches.CoarseTables.make(data, TOKENS), TOKENS.sliding_window_len
    steps = {i: range(0, coarse.steps_for(len(data.semantic[i]), TOKENS), window) for i in range(len(data))}
    cases = [(i, j, step) for i, j in PAIRS for step in steps[i]]
    chosen, voice, step = np.array(cases).T
    place = batches.semantic_places(step, TOKENS)
    made = batches.coarse_batch(tables, TOKENS, chosen, voice, step, place)
    rows = [
        examples.coarse_example(
            data.semantic[i], data.codes[i], step, None if j == NONE else data.voice(j, TOKENS), TOKENS
        )
        for i, j, step in cases
    ]
    assert_same(made, rows)


def test_coarse_batches_hold_windows_that_generation_has(data):
    make = batches.coarse_batches(data, TOKENS, batch=64, voice_probability=0.7, corruption_rate=0.0, seed=0)
    made = make(3)
    assert made["prompt"].shape == (64, 1, TOKENS.max_coarse_input_length)
    assert (made["targets"] != batches.IGNORED).any(axis=1).all()
    ids = np.asarray(made["targets"])[np.asarray(made["targets"]) != batches.IGNORED]
    assert ids.min() >= TOKENS.coarse_offset(0)
    assert ids.max() < TOKENS.coarse_offset(TOKENS.n_coarse_codebooks)


class Numbers(np.random.Generator):
    """Return given numbers for random ones."""

    def __init__(self, first: int, later: int):
        super().__init__(np.random.PCG64(0))
        self.first, self.later = first, later

    def integers(self, low, high, size=None):
        if size is not None:
            return np.zeros(size, np.int32)
        assert low <= self.first < high
        return self.first

    def choice(self, options, *_):
        assert self.later in options
        return self.later


def test_fine_batches_are_generations(data):
    frames = batches.lengths(data.codes)
    codes = batches.padded(data.codes, int(frames.max()), 0, np.int16)
    length, cases = TOKENS.max_fine_input_length, []
    for i, j in PAIRS:
        old = 0 if j == NONE else min(frames[j], TOKENS.max_fine_history_length)
        last = max(0, old + frames[i] - length)
        cases += [(i, j, first) for first in sorted({0, last // 2, last})]
    chosen, voice, first = np.array(cases).T
    key = jax.random.key(0)
    made = batches.fine_batch(codes, frames, TOKENS, chosen, voice, first, key)
    for n, (i, j, first) in enumerate(cases):
        old = None if j == NONE else data.voice(j, TOKENS)
        row = examples.fine_example(data.codes[i], old, TOKENS, Numbers(first, 0))
        end = int(row["end"])
        assert made["end"][n] == end
        np.testing.assert_array_equal(made["codes"][n, :, :end], row["codes"][:, :end])
        q = TOKENS.n_coarse_codebooks
        assert (made["codes"][n, :q, end:] == TOKENS.fine_pad_token).all()
        assert (made["codes"][n, q:, end:] < TOKENS.codebook_size).all()


def test_fine_batches_predict_what_generation_writes(data):
    """The first window writes after the history; a later one all of it, or the second half."""
    make = batches.fine_batches(data, TOKENS, batch=200, voice_probability=0.7, seed=0)
    made = {name: np.asarray(x) for name, x in make(0).items()}
    assert (made["begin"] < made["end"]).all()
    half, most = TOKENS.max_fine_input_length // 2, TOKENS.max_fine_history_length
    assert {0, half} <= set(made["begin"].tolist()) <= {0, half, *range(most + 1)}


def test_a_voice_is_another_recording_of_the_same_speaker():
    voices, rng = batches.Voices(SPEAKERS, 1.0), np.random.default_rng(0)
    chosen = np.repeat(np.arange(len(SPEAKERS)), 100)
    found = voices.choose(rng, chosen)
    for i, speaker in enumerate(SPEAKERS):
        others = {j for j, name in enumerate(SPEAKERS) if name == speaker and j != i}
        assert set(found[chosen == i].tolist()) == (others or {NONE})  # cy has one recording


@pytest.mark.parametrize("probability", [0.0, 0.7, 1.0])
def test_some_examples_continue_a_voice(probability):
    voices = batches.Voices(["a"] * 50, probability)
    found = voices.choose(np.random.default_rng(0), np.arange(50).repeat(100))
    assert np.mean(found != NONE) == pytest.approx(probability, abs=0.02)


def test_a_batch_follows_from_its_seed_and_step(data):
    make, again, other = (
        batches.semantic_batches(data, TOKENS, batch=4, voice_probability=0.5, corruption_rate=0.5, seed=seed)
        for seed in (1, 1, 2)
    )
    for name, x in make(5).items():
        np.testing.assert_array_equal(x, again(5)[name])
    assert any(not np.array_equal(x, y) for x, y in zip(make(5).values(), make(6).values()))
    assert any(not np.array_equal(x, y) for x, y in zip(make(5).values(), other(5).values()))


@pytest.mark.parametrize("tokens", [made.tokens for made in recipe.RECIPES.values()], ids=recipe.RECIPES)
def test_the_first_windows_of_generation_are_trained(tokens):
    units = np.random.default_rng(0).integers(0, tokens.semantic_vocab_size, 1000)
    last = batches.last_with_first_head(tokens)
    heads = [coarse.window_head(units, 0, n * tokens.sliding_window_len, tokens) for n in range(last + 2)]
    for head in heads[1:-1]:
        np.testing.assert_array_equal(head, heads[0])
    is_full = (last + 1) * tokens.sliding_window_len > tokens.max_coarse_history
    assert is_full or not np.array_equal(heads[-1], heads[0])
