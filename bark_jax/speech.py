"""What a generation gives back: `Speech`, the sound of a text and the tokens of every stage.

It can be heard, saved, and made a voice of. Knows nothing of networks.
"""

import dataclasses
import html
import os

import numpy as np
from jaxtyping import Float32, Int32

from bark_jax.files import Writable, user_path, write_all, write_file
from bark_jax.sound import player, sound_bytes, sound_suffix
from bark_jax.text import show
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

Semantic = Int32[np.ndarray, " _"]
Codes = Int32[np.ndarray, "_ _"]  # (q, t)
Samples = Float32[np.ndarray, " _"]


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
    """Hold one spoken text: its sound, and the tokens of every stage that led to it.

    A text in long form has a speech for each of its sentences; its tokens are theirs, end to end, and its
    sound is theirs with pauses between.
    """

    text: str
    seed: int
    samples: Float32[np.ndarray, " n"]  # not clipped
    sample_rate: int  # Hz
    semantic: Semantic
    coarse: Codes
    fine: Codes
    timings: dict[str, float]  # seconds in each stage; of the whole batch, where there was one
    tokens: TokenConfig
    sentences: tuple["Speech", ...] = ()

    def __repr__(self) -> str:
        return f"Speech({show(self.text)}, {self.seconds:.2f} s at {self.sample_rate} Hz, seed {self.seed})"

    def _repr_html_(self) -> str:
        """Show the speech in a notebook as a player."""
        player_html = player(self.samples, self.sample_rate)._repr_html_() if len(self.samples) else "no sound"
        return f"<p>{html.escape(repr(self))}</p>{player_html}"

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.samples) / self.sample_rate

    def save(self, target: str | os.PathLike | Writable, *, format: str | None = None, force: bool = False) -> None:
        """Write a sound file, clipped to -1..1: WAV or FLAC, 16-bit PCM, or Ogg Vorbis. A file is whole or not there.

        Args:
            target: a path, in which `~` is the home directory; or an open binary file, which stays open.
            format: "wav", "flac" or "ogg"; None: that of the path's suffix, or WAV for an open file.
            force: replace the file if it exists.

        Raises:
            FileExistsError: the file exists and `force` is not set.
            ValueError: the format is none of these.
        """
        if isinstance(target, str | os.PathLike):
            path = user_path(target)
            suffix = sound_suffix(path if format is None else f".{format}")
            write_file(path, sound_bytes(self.samples, self.sample_rate, suffix), force=force, parents=True)
        else:
            write_all(target, sound_bytes(self.samples, self.sample_rate, sound_suffix(f".{format or 'wav'}")))

    def voice(self) -> Voice:
        """Make a voice of these tokens, for other texts to be spoken with.

        Raises:
            ValueError: the speech is too short for one.
        """
        try:
            return Voice.from_arrays(self.semantic, self.coarse, self.fine, self.tokens)
        except ValueError as error:
            raise ValueError(f"{self!r} is too short for a voice: speak a longer text") from error
