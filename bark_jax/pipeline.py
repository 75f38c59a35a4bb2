"""The whole journey: load a checkpoint once, turn texts into speech.

    text ──▶ semantic (s,) ──▶ coarse (2, t) ──▶ fine (8, t) ──▶ samples (320 t,)

In:  a checkpoint; texts, voices, seeds and how to draw.
Out: `Speech`: the samples, and the tokens of every stage.

Each stage is one file of the package and one method here. All of them take one item, or a list of
items as a batch; every row of a batch comes out as it would alone.
"""

import contextlib
import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike
from tokenizers import Tokenizer
from tqdm import tqdm

from bark_jax import coarse, fine, sampling, semantic, sentences
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import resolve
from bark_jax.codec import Codec, decode_audio, encode_audio
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.long_form import BATCH_SIZE, Report, in_background, join, sentence_bar, sentence_by_sentence
from bark_jax.sampling import Controls, Progress
from bark_jax.sound import read_sound
from bark_jax.speech import Codes, Semantic, Speech
from bark_jax.text import encode, load_tokenizer, show, unknown_words
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice, VoiceLibrary, check_array, language_of, load_voice

StageProgress = bool | Report  # bars or none; or a function that is told of them


@dataclasses.dataclass(frozen=True, eq=False)
class Bark:
    """Hold the four networks of a checkpoint and all that belongs to them; `load` makes one."""

    name: str
    tokens: TokenConfig
    tokenizer: Tokenizer
    voices: VoiceLibrary | None
    networks: Mapping[str, Any]  # with low memory, asking for one loads it and drops another
    dtype: jnp.dtype  # of the three transformers

    def __repr__(self) -> str:
        return f"Bark({self.name!r}, {self.dtype})"

    @property
    def semantic_model(self) -> GPT:
        return self.networks["semantic"]

    @property
    def coarse_model(self) -> GPT:
        return self.networks["coarse_acoustics"]

    @property
    def fine_model(self) -> FineModel:
        return self.networks["fine_acoustics"]

    @property
    def codec(self) -> Codec:
        return self.networks["codec_model"]

    @property
    def sample_rate(self) -> int:
        """Of what it speaks, in Hz."""
        return self.tokens.sample_rate

    def generate(
        self,
        text: str | Sequence[str],
        *,
        voice: Any = None,
        seed: int | Sequence[int] = 0,
        semantic_temperature: float | None = None,
        coarse_temperature: float | None = None,
        fine_temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_eos_p: float | None = 0.2,
        max_seconds: float | Sequence[float | None] | None = None,
        progress: StageProgress = True,
        long_form: bool | str = False,
        language: str | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Any:
        """Speak a text, or a list of texts as one batch; return a `Speech`, or a list.

        In long form the texts may be of any length: each is spoken sentence by sentence in one voice, and its
        speech holds that of every sentence. Sentence i draws with seed + i, so `generate` makes it again alone.

        Args:
            text: what to say.
            voice: a name that `voices` knows, the path of an .npz, its arrays or a `Voice`; None for
                whatever voice the seed brings. One for all, or one for each text.
            seed: of all random numbers, 0 to 2**32 - 1. One for all, or one for each text.
            semantic_temperature, coarse_temperature, fine_temperature: 0 is greedy, 1 draws from the
                model's own probabilities; None takes the checkpoint's (Bark: 0.7, 0.7, 0.5).
            top_k, top_p: draw among the most probable only, in the first two stages.
            min_eos_p: end the speech where its end is at least as probable as this; None: where it is drawn.
            max_seconds: end the speech once it is longer; in long form that of each sentence. One for all, or
                one for each text.
            progress: show a bar for each stage on standard error; or a function, told the stage, how much of
                it is done, and of how much. In long form one bar for all sentences; the function is told of
                the stage "sentence" too.
            long_form: True: in one voice; where `voice` is None, that of the first sentence. "continue": each
                sentence continues the one before, whose tokens are its voice; one at a time.
            language: of a text in long form, as "de", to know its abbreviations; None: that of the voice's
                name, as v2/de_speaker_3, else guessed from the script.
            batch_size: how many sentences of a text in long form go at once.

        Raises:
            ValueError: something is out of its range, a text does not fit, a voice is unusable.
        """
        single, texts = _texts(text)
        if long_form:
            speeches = self._whole(
                texts,
                voice,
                seed,
                max_seconds,
                progress,
                long_form=long_form,
                language=language,
                batch_size=batch_size,
                semantic_temperature=semantic_temperature,
                coarse_temperature=coarse_temperature,
                fine_temperature=fine_temperature,
                top_k=top_k,
                top_p=top_p,
                min_eos_p=min_eos_p,
            )
            return speeches[0] if single else speeches
        spoken = self._semantic_inputs(texts, voice, seed, max_seconds)
        controls = {
            "semantic": self._controls("semantic", semantic_temperature, top_k, top_p, min_eos_p),
            "coarse": self._controls("coarse", coarse_temperature, top_k, top_p),
            "fine": self._controls("fine", fine_temperature),
        }
        text_ids, voices, seeds, limits = spoken
        timings: dict[str, float] = {}
        with _timed(timings, "semantic"):
            ids = self._semantic(text_ids, voices, seeds, controls["semantic"], limits, progress)
        for words, row in zip(texts, ids, strict=True):
            if not len(row):
                warnings.warn(f"the model ended {words!r} before its first token: no sound", stacklevel=2)
        with _timed(timings, "coarse"):
            two = self._coarse(ids, voices, seeds, controls["coarse"], progress)
        with _timed(timings, "fine"):
            eight = self._fine(two, voices, seeds, controls["fine"], progress)
        with _timed(timings, "codec"):
            samples = self.decode(eight)
        speeches = [
            Speech(
                text=texts[row],
                seed=seeds[row],
                samples=samples[row],
                sample_rate=self.sample_rate,
                semantic=ids[row],
                coarse=two[row],
                fine=eight[row],
                timings=timings,
                tokens=self.tokens,
            )
            for row in range(len(texts))
        ]
        return speeches[0] if single else speeches

    def stream(
        self,
        text: str,
        *,
        voice: Any = None,
        seed: int = 0,
        progress: StageProgress = True,
        long_form: bool | str = True,
        language: str | None = None,
        batch_size: int = 1,
        **options: Any,
    ) -> Generator[Speech, None, None]:
        """Speak a text of any length; yield the `Speech` of each sentence once it is done, while later ones are made.

        The sentences are those of `generate` in long form, and sound the same. They go one at a time, so that the
        first comes soon. They are made in a thread, which tells `progress` too and which jax's context managers
        do not reach; closing or dropping the iterator, and Ctrl-C, stop it.

        Args:
            options: the other arguments of `generate`.

        Raises:
            ValueError: as `generate`, here or when the iterator is read.
        """
        if not isinstance(text, str):
            raise ValueError(f"text is {text!r} of type {type(text).__name__}: stream one str")
        options |= {"long_form": long_form, "language": language, "batch_size": batch_size}
        return in_background(self._sentence_by_sentence(text, voice, seed, **options), progress)

    def sentences(self, text: str, *, voice: Any = None, language: str | None = None) -> list[str]:
        """Split a text into the pieces that long form speaks; arguments and errors as in `generate`."""
        if language is None and isinstance(voice, str | Path):
            language = language_of(voice)
        return sentences.split(text, self.tokenizer, self.tokens, language)

    def text_to_semantic(
        self,
        text: str | Sequence[str],
        *,
        voice: Any = None,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_eos_p: float | None = 0.2,
        max_seconds: float | Sequence[float | None] | None = None,
        progress: StageProgress = False,
    ) -> Any:
        """Turn text into semantic tokens, int32 (s,); arguments and errors as in `generate`."""
        single, texts = _texts(text)
        text_ids, voices, seeds, limits = self._semantic_inputs(texts, voice, seed, max_seconds)
        controls = self._controls("semantic", temperature, top_k, top_p, min_eos_p)
        rows = self._semantic(text_ids, voices, seeds, controls, limits, progress)
        return rows[0] if single else rows

    def semantic_to_coarse(
        self,
        semantic: Any,
        *,
        voice: Any = None,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        progress: StageProgress = False,
    ) -> Any:
        """Turn semantic tokens (s,) into coarse codes, int32 (2, t); arguments and errors as in `generate`."""
        single = _is_one(semantic)
        limit = self.tokens.semantic_vocab_size
        rows = [check_array("semantic", row, None, limit, may_be_empty=True) for row in _rows(semantic, single)]
        voices, seeds = self._voices(voice, len(rows)), _seeds(seed, len(rows))
        rows = self._coarse(rows, voices, seeds, self._controls("coarse", temperature, top_k, top_p), progress)
        return rows[0] if single else rows

    def coarse_to_fine(
        self,
        coarse: Any,
        *,
        voice: Any = None,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        progress: StageProgress = False,
    ) -> Any:
        """Turn coarse codes (2, t) into fine codes, int32 (8, t); arguments and errors as in `generate`."""
        single = _is_one(coarse)
        q, limit = self.tokens.n_coarse_codebooks, self.tokens.codebook_size
        rows = [check_array("coarse", row, q, limit, may_be_empty=True) for row in _rows(coarse, single)]
        voices, seeds = self._voices(voice, len(rows)), _seeds(seed, len(rows))
        rows = self._fine(rows, voices, seeds, self._controls("fine", temperature), progress)
        return rows[0] if single else rows

    def decode(self, fine: Any) -> Any:
        """Turn codes (q, t) of the first q codebooks into samples, float32 (320 t,), not clipped.

        Raises:
            ValueError: the codes are out of range, or of more codebooks than the codec has.
        """
        single = _is_one(fine)
        rows = [np.asarray(row) for row in _rows(fine, single)]
        sounding = [row for row in rows if row.ndim != 2 or row.shape[1]]
        decoded = iter(decode_audio(self.codec, sounding) if sounding else [])
        samples = [np.zeros(0, np.float32) if row.ndim == 2 and not row.shape[1] else next(decoded) for row in rows]
        return samples[0] if single else samples

    def encode(self, samples: Any, kbps: float = 6.0, *, sample_rate: int | None = None) -> Any:
        """Turn a recording into codes, int32 (q, t), of as many codebooks as `kbps` pays for.

        Args:
            samples: mono float samples (n,) in -1..1, or the path of a sound file.
            kbps: 1.5, 3, 6, 12 or 24: 2, 4, 8, 16 or 32 codebooks. Bark uses 6.
            sample_rate: of `samples`, in Hz; left out, they are taken to be at the codec's 24,000.

        Raises:
            ValueError: not mono, not finite, not at the codec's rate; a bandwidth it does not have.
        """
        single = _is_one(samples)
        expected = self.sample_rate
        rows, rates = [], {sample_rate or expected}
        for row in _rows(samples, single):
            if isinstance(row, str | os.PathLike):
                row, rate = read_sound(row)
                rates.add(rate)
            rows.append(row)
        if not rows:
            return []
        codes = encode_audio(self.codec, rows, next(iter(rates - {expected}), expected), kbps)
        return codes[0] if single else codes

    def _whole(
        self, texts: list[str], voice: Any, seed: Any, max_seconds: Any, progress: StageProgress, **options: Any
    ) -> list[Speech]:
        """Speak texts in long form, one after another."""
        voices, limits = _for_each("voice", voice, len(texts)), _for_each("max_seconds", max_seconds, len(texts))
        seeds = _seeds(seed, len(texts))
        starts = [
            self._sentence_by_sentence(words, own, number, max_seconds=limit, **options)
            for words, own, number, limit in zip(texts, voices, seeds, limits, strict=True)
        ]
        speeches = []
        for words, number, start in zip(texts, seeds, starts, strict=True):
            with sentence_bar(progress) as report:
                speeches.append(join(words, number, list(start(report))))
        return speeches

    def _sentence_by_sentence(
        self,
        text: str,
        voice: Any,
        seed: int,
        *,
        long_form: bool | str,
        language: str | None,
        batch_size: int,
        **options: Any,
    ) -> Callable[[Report], Iterator[Speech]]:
        """Check what long form needs; return what speaks a text in it."""
        if long_form is not True and long_form != "continue":
            raise ValueError(f'long_form is {long_form!r}, it must be True, "continue" or, for a text that fits, False')
        if isinstance(batch_size, bool) or not isinstance(batch_size, sampling.WHOLE_NUMBER) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}, it must be a whole number from 1 on")
        pieces = self.sentences(text, voice=voice, language=language)
        (loaded,), (seed,) = self._voices(voice, 1), _seeds(seed, 1)
        speak, chained = functools.partial(self.generate, **options), long_form == "continue"
        return functools.partial(
            sentence_by_sentence, speak, pieces, loaded, seed, chained=chained, batch_size=batch_size
        )

    def _semantic_inputs(
        self, texts: list[str], voice: Any, seed: Any, max_seconds: Any
    ) -> tuple[list[np.ndarray], list[Voice | None], list[int], list[int]]:
        """Check the inputs of the first stage; return text ids, voices, seeds and limits in tokens."""
        voices, seeds = self._voices(voice, len(texts)), _seeds(seed, len(texts))
        seconds = _for_each("max_seconds", max_seconds, len(texts))
        limits = [semantic.token_limit(one, self.tokens) for one in seconds]
        for words in texts:
            if unknown := unknown_words(words, self.tokenizer):
                warnings.warn(
                    f"{self.name} cannot read {', '.join(map(repr, unknown))} in {show(words)}: write it in letters",
                    stacklevel=3,
                )
        ids = [encode(words, self.tokenizer, self.tokens) for words in texts]
        return ids, voices, seeds, limits

    def _voices(self, voice: Any, count: int) -> list[Voice | None]:
        each = _for_each("voice", voice, count)
        loaded = {id(one): None if one is None else load_voice(one, self.tokens, self.voices) for one in each}
        return [loaded[id(one)] for one in each]

    def _controls(self, stage: str, temperature: float | None, *others: Any) -> Controls:
        if temperature is None:
            temperature = getattr(self.tokens, f"{stage}_temperature")
        return Controls.from_user(temperature, *others, name=f"{stage}_temperature")

    def _semantic(
        self,
        texts: list[np.ndarray],
        voices: list[Voice | None],
        seeds: list[int],
        controls: Controls,
        limits: list[int],
        progress: StageProgress,
    ) -> list[Semantic]:
        if not texts:
            return []
        with _bar("semantic", progress) as report:
            return semantic.generate(
                self.semantic_model, self.tokens, texts, voices, seeds, controls, limits=limits, on_progress=report
            )

    def _coarse(
        self,
        rows: list[Semantic],
        voices: list[Voice | None],
        seeds: list[int],
        controls: Controls,
        progress: StageProgress,
    ) -> list[Codes]:
        if not rows:
            return []
        with _bar("coarse", progress) as report:
            return coarse.generate(self.coarse_model, self.tokens, rows, voices, seeds, controls, on_progress=report)

    def _fine(
        self,
        rows: list[Codes],
        voices: list[Voice | None],
        seeds: list[int],
        controls: Controls,
        progress: StageProgress,
    ) -> list[Codes]:
        if not rows:
            return []
        with _bar("fine", progress) as report:
            return fine.generate(self.fine_model, self.tokens, rows, voices, seeds, controls, on_progress=report)


def _texts(text: Any) -> tuple[bool, list[str]]:
    """Tell one text from a list of them, and return the list."""
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise ValueError(f"text is {text!r} of type {type(text).__name__}: pass a str, or a list of them")
    return isinstance(text, str), [text] if isinstance(text, str) else list(text)


def _is_one(value: Any) -> bool:
    """Tell one array, or list of numbers, from a batch: a list of arrays."""
    if isinstance(value, list | tuple):
        return len(value) > 0 and isinstance(value[0], sampling.NUMBER)
    return True


def _rows(value: Any, single: bool) -> list[Any]:
    return [value] if single else list(value)


def _for_each(name: str, value: Any, count: int) -> list[Any]:
    """Repeat one value for every text, or check that a list has one for each."""
    if not isinstance(value, list | tuple | np.ndarray):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} is a list of {len(value)} for {count} texts: pass one for all, or one for each")
    return list(value)


def _seeds(seed: Any, count: int) -> list[int]:
    return [check_seed(one) for one in _for_each("seed", seed, count)]


def check_seed(seed: Any) -> int:
    """Return a seed as an int. Raises ValueError for what is none."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}, it must be a whole number from 0 to {2**32 - 1}")
    return int(seed)


@contextlib.contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - began


@contextlib.contextmanager
def _bar(stage: str, progress: StageProgress) -> Iterator[Progress]:
    """Show a bar on standard error, or tell a function; what is reported is how much is done, and of how much."""
    if callable(progress):
        yield functools.partial(progress, stage)
        return
    form = "{desc} {percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
    with tqdm(desc=f"{stage:8}", total=1, bar_format=form, disable=not progress) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
        bar.total = bar.n  # a speech may end early
        bar.refresh()


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
    """
    dtype = check_dtype(dtype)
    found = resolve(checkpoint, offline=offline, codec=codec, tokenizer=tokenizer)
    tokens = TokenConfig.from_dict(found.generation_config)
    words = load_tokenizer(found.tokenizer_folder())
    library = VoiceLibrary(found.folder, found.fetch)
    networks = load_networks(found, dtype, mesh=mesh, low_memory=low_memory)
    return Bark(found.name, tokens, words, library, networks, dtype)


def check_dtype(dtype: DTypeLike | None) -> jnp.dtype:
    """Name the dtype of the transformers: None is the device's. Raises ValueError for one that they cannot have."""
    if dtype is None:
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    try:
        known = jnp.dtype(dtype).name in DTYPES
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"dtype is {dtype!r}, it must be {' or '.join(DTYPES)}")
    return jnp.dtype(dtype)
