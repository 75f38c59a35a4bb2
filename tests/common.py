"""What the tests of the stages share."""

import contextlib
import dataclasses
import signal

import hf
import jax
import numpy as np

from bark_jax import sampling, text
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

TEXTS = ["a little egg lay on a leaf", "Hello", "two three of moon"]


@contextlib.contextmanager
def foreground():
    """Start child processes as a shell does in the foreground: what nohup and & ignore, they would ignore too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def voice(tokens: TokenConfig, n: int, seed: int = 0) -> Voice:
    """Make a valid voice of n semantic tokens."""
    return Voice.from_dict(hf.voice(tokens, n, seed), tokens)


def ids(pair, words: str) -> np.ndarray:
    return text.encode(words, pair.ours.tokenizer, pair.tokens)


def draw_like(seed: int, stage: int):
    """Let the plain reference draw with the package's random numbers."""
    key = sampling.row_keys([seed], stage)[0]

    def choose(probabilities, _, *step):
        own = key
        for number in step:
            own = jax.random.fold_in(own, number)
        with np.errstate(divide="ignore"):
            return np.argmax(np.log(probabilities) + jax.random.gumbel(own, probabilities.shape), axis=-1)

    return choose


@dataclasses.dataclass
class Held:
    """Hold an array as a checkpoint's tensor; count how often it is read."""

    array: np.ndarray
    reads: int = 0

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self):
        self.reads += 1
        return self.array.copy()


def held(state: dict) -> dict[str, Held]:
    return {name: Held(np.asarray(x)) for name, x in state.items()}
