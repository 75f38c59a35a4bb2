"""The whole journey: load a checkpoint once, turn texts into speech.

    text ──▶ semantic (s,) ──▶ coarse (2, t) ──▶ fine (8, t) ──▶ samples (320 t,)

In:  a checkpoint; texts, voices, seeds and sampling options (`options.py`).
Out: `Speech`: the samples, and the tokens of every stage.

Each stage is one file of the package and one method here. All of them take one item, or a list of
items as a batch; every row of a batch comes out as it would alone.
"""

import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack, overload

import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from bark_jax import inputs, options, sentences
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import resolve
from bark_jax.console import Progress, Report, sentence_bar
from bark_jax.inputs import GenerateCall, ReadCall, VoiceSource
from bark_jax.long_form import BATCH_SIZE, in_background, join, sentence_by_sentence
from bark_jax.options import SamplingOptions
from bark_jax.platforms import default_dtype
from bark_jax.programs import compiling
from bark_jax.speech import Speech
from bark_jax.stages import Stages, check_process
from bark_jax.text import encode, load_tokenizer
from bark_jax.tokens import TokenConfig
from bark_jax.voices import VoiceLibrary, language_of


class Bark(Stages):
    """Speak with the four networks of a checkpoint; `load` makes one.

    It can be pickled, copied and sent to a spawned process, its weights with it (with low memory: where they lie
    on disk). Unpickled, the weights of a mesh are on one device. A forked process cannot use JAX.
    """

    @overload
    def generate(self, text: str, **options: Unpack[GenerateCall]) -> Speech: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def generate(self, text: Sequence[str], **options: Unpack[GenerateCall]) -> list[Speech]: ...
    def generate(
        self,
        text: Any,
        *,
        voice: Any = None,
        seed: Any = 0,
        progress: Progress = True,
        long_form: bool | str = False,
        **sampling: Unpack[SamplingOptions],
    ) -> Any:
        """Speak a text, or a list of texts as one batch; return a `Speech`, or a list.

        Args:
            text: what to say.
            voice: a name that `voices` knows, the path of an .npz, its arrays or a `Voice`; None lets the seed
                choose one. One for all texts, or one for each.
            seed: random seed, 0 to 2**32 - 1. One for all texts, or one for each.
            progress: show a bar for each stage on standard error; or a function, called as (stage, done, total).
            long_form: deprecated, call `read`.
            sampling: temperatures, filters and limits: `options.SamplingOptions` lists them.

        Raises:
            ValueError: something is out of its range, a text does not fit, or a voice is unusable.
            RuntimeError: this process was forked from one that had loaded a checkpoint; "spawn" it instead.
        """
        if long_form is not False:
            chain = _chain(long_form)
            return self.read(text, voice=voice, seed=seed, chain=chain, progress=progress, **sampling)
        single, texts = inputs.texts(text)
        voices, seeds = self._voices(voice, len(texts)), inputs.seeds(seed, len(texts))
        settings = options.complete(sampling)
        controls, limits = self._controls(settings), self._limits(settings, len(texts))
        text_ids = self._text_ids(texts)
        timings: dict[str, float] = {}
        with compiling(self._later_programs(voices)) as wait_for:
            with _timed(timings, "semantic"):
                ids = self._run("semantic", progress, text_ids, voices, seeds, controls["semantic"], limits=limits)
            for words, row in zip(texts, ids, strict=True):
                if not len(row):
                    warnings.warn(f"the model ended {words!r} before its first token: no sound", stacklevel=2)
            with _timed(timings, "coarse"):
                wait_for("coarse")
                two = self._run("coarse", progress, ids, voices, seeds, controls["coarse"])
            with _timed(timings, "fine"):
                wait_for("fine")
                eight = self._run("fine", progress, two, voices, seeds, controls["fine"])
            with _timed(timings, "codec"):
                wait_for("codec")
                samples = self.decode(eight)
        columns = zip(texts, seeds, samples, ids, two, eight, strict=True)
        speeches = [
            Speech(words, seed, x, self.sample_rate, s, c, f, timings, self.tokens)
            for words, seed, x, s, c, f in columns
        ]
        return speeches[0] if single else speeches

    @overload
    def read(self, text: str, **options: Unpack[ReadCall]) -> Speech: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def read(self, text: Sequence[str], **options: Unpack[ReadCall]) -> list[Speech]: ...
    def read(
        self,
        text: Any,
        *,
        voice: Any = None,
        seed: Any = 0,
        chain: bool = False,
        language: str | None = None,
        batch_size: int = BATCH_SIZE,
        progress: Progress = True,
        **sampling: Unpack[SamplingOptions],
    ) -> Any:
        """Read a text of any length aloud, sentence by sentence in one voice; a list of texts one after another.

        The speech holds that of every sentence. Sentence i has the seed seed + i, so `generate` makes it again alone.

        Args:
            voice: as in `generate`; with None, the first sentence sets the voice of the others.
            chain: each sentence continues the one before, whose tokens are its voice; one at a time.
            language: a code such as "de", whose abbreviations do not end a sentence; None: that of the voice's
                name, as v2/de_speaker_3, else guessed from the script.
            batch_size: how many sentences are spoken at once.
            progress: show one bar for all sentences; or a function, called for the stage "sentence" too.
            text, seed, sampling: as in `generate`; `max_seconds` is that of each sentence.

        Raises:
            ValueError: as `generate`, before the first sentence is spoken.
        """
        single, texts = inputs.texts(text)
        n, settings = len(texts), options.complete(sampling)
        voices, seeds = inputs.for_each("voice", voice, n), inputs.seeds(seed, n)
        limits = inputs.for_each("max_seconds", settings["max_seconds"], n)
        readings = [
            self._reading(words, own, number, chain, language, batch_size, settings | {"max_seconds": limit})
            for words, own, number, limit in zip(texts, voices, seeds, limits, strict=True)
        ]
        speeches = []
        for words, number, start in zip(texts, seeds, readings, strict=True):
            with sentence_bar(progress) as report:
                speeches.append(join(words, number, list(start(report))))
        return speeches[0] if single else speeches

    def stream(
        self,
        text: str,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        chain: bool = False,
        language: str | None = None,
        batch_size: int = 1,
        progress: Progress = True,
        long_form: bool | str | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Generator[Speech, None, None]:
        """Read a text as `read` does, and yield the `Speech` of each sentence while later ones are made.

        With a batch size of 1 the first sentence comes soonest. A thread makes them, and calls `progress` too;
        JAX's context managers do not reach it. Closing or dropping the iterator, and Ctrl-C, stop it.

        Args:
            long_form: deprecated; "continue" is `chain=True`.

        Raises:
            ValueError: as `read`, at once.
        """
        if not isinstance(text, str):
            raise ValueError(f"text is {text!r} of type {type(text).__name__}: stream one str")
        if long_form is not None:
            chain = _chain(long_form)
        start = self._reading(text, voice, seed, chain, language, batch_size, options.complete(sampling))
        return in_background(start, progress)

    def sentences(self, text: str, *, voice: VoiceSource = None, language: str | None = None) -> list[str]:
        """Split a text into the pieces that `read` speaks; arguments and errors as there."""
        if language is None and isinstance(voice, str | os.PathLike):
            language = language_of(voice)
        return sentences.split(text, self.tokenizer, self.tokens, language)

    def _reading(
        self,
        text: str,
        voice: Any,
        seed: Any,
        chain: bool,
        language: str | None,
        batch_size: Any,
        settings: dict[str, Any],
    ) -> Callable[[Report], Iterator[Speech]]:
        """Check all that `read` needs for one text, each sentence too; return what speaks it."""
        batch_size, (seed,) = inputs.check_count("batch_size", batch_size), inputs.seeds(seed, 1)
        self._controls(settings)
        self._limits(settings, 1)
        pieces = self.sentences(text, voice=voice, language=language)
        (loaded,) = self._voices(voice, 1)
        for piece in pieces:
            encode(piece, self.tokenizer, self.tokens)

        def speak(texts: Sequence[str], **others: Any) -> list[Speech]:
            return self.generate(texts, **settings, **others)

        return functools.partial(
            sentence_by_sentence, speak, pieces, loaded, seed, chained=chain, batch_size=batch_size
        )


def _chain(long_form: bool | str) -> bool:
    """Read the deprecated argument that `read` has made superfluous."""
    if long_form is not True and long_form != "continue":
        raise ValueError(f'long_form is {long_form!r}, it must be True, "continue" or, for a text that fits, False')
    new = "read(text, chain=True)" if long_form == "continue" else "read(text)"
    warnings.warn(f"long_form is deprecated and goes in 0.2: call {new}, or stream", DeprecationWarning, stacklevel=3)
    return long_form == "continue"


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - began


# ---------------------------------------------------------------------------------------------
# Loading
# ---------------------------------------------------------------------------------------------

DTYPES = ("float32", "bfloat16")


def load(
    checkpoint: str | Path | Sequence[str | Path] | None = None,
    *,
    dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    low_memory: bool = False,
    offline: bool = False,
    codec: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Bark:
    """Load a checkpoint, onto the default device or the devices of a mesh.

    Args:
        checkpoint: a hub name such as "suno/bark-small"; a folder in Hugging Face's or Suno's layout;
            Suno's three files; None for the embedded checkpoint, which speaks English.
        dtype: of the three transformers, "float32" or "bfloat16"; None: float32 on a CPU, bfloat16
            elsewhere. The codec is always float32.
        mesh: of `parallel.make_mesh`: weights and batches are split over its devices, the tokens stay the same.
        low_memory: load each network when its stage begins and drop the one before: memory for the largest is
            enough. Each generation reads all of them anew.
        offline: take hub names from the local cache alone.
        codec, tokenizer: for Suno's layout, which has neither: a folder or hub name each; None for
            facebook/encodec_24khz and BERT's multilingual cased one.

    Raises:
        ValueError: no such checkpoint, or a broken one: everything wrong with it is in one message; or a mesh
            that cannot share the heads.
        RuntimeError: this process was forked from one that had loaded a checkpoint; "spawn" it instead.
    """
    check_process()
    if not isinstance(mesh, Mesh | None):
        raise ValueError(f"mesh is {mesh!r} of type {type(mesh).__name__}: make one with parallel.make_mesh")
    dtype = check_dtype(dtype, mesh)
    found = resolve(checkpoint, offline=offline, codec=codec, tokenizer=tokenizer)
    tokens = TokenConfig.from_dict(found.generation_config)
    words = load_tokenizer(found.tokenizer_folder())
    library = VoiceLibrary(found.folder, dataclasses.replace(found, tensors={}).fetch)  # which keeps no tensors
    networks = load_networks(found, dtype, mesh=mesh, low_memory=low_memory)
    return Bark(found.name, tokens, words, library, networks, dtype)


def check_dtype(dtype: DTypeLike | None, mesh: Mesh | None = None) -> jnp.dtype:
    """Name the dtype of the transformers: None is the device's. Raises ValueError for one that they cannot have."""
    if dtype is None:
        return default_dtype(mesh)
    try:
        known = jnp.dtype(dtype).name in DTYPES
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"dtype is {dtype!r}, it must be {' or '.join(DTYPES)}")
    return jnp.dtype(dtype)
