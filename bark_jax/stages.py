"""The stages one by one: each takes one item, or a list of items as a batch.

    text ──▶ semantic (s,) ──▶ coarse (2, t) ──▶ fine (8, t) ──▶ samples (320 t,)

In:  the item, and with it voices, seeds and sampling options.
Out: what the next stage takes; every row of a batch comes out as it would alone.

Here inputs are checked; what a stage computes is in the file of its name.
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, Unpack, overload

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.stages import Lowered
from tokenizers import Tokenizer

from bark_jax import coarse, fine, inputs, options, parallel, programs, recording, semantic, units
from bark_jax.codec import Codec, decode_audio, encode_audio
from bark_jax.console import Progress, stage_bar
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.inputs import CoarseCall, FineCall, SemanticCall, VoiceSource
from bark_jax.options import STAGES, CoarseOptions, SemanticOptions
from bark_jax.sampling import Controls
from bark_jax.sound import read_sound
from bark_jax.speech import Codes, Samples, Semantic
from bark_jax.text import encode, show, unread
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice, VoiceLibrary, check_array, load_voice

Row: TypeAlias = np.ndarray | Sequence[int]
Recording: TypeAlias = np.ndarray | Sequence[float] | str | os.PathLike
MODULES = {"semantic": semantic, "coarse": coarse, "fine": fine}
FILTERS = {"semantic": options.table(SemanticOptions), "coarse": options.table(CoarseOptions), "fine": {}}


_first_process: int | None = None  # in which this package used JAX


def check_process() -> None:
    """Raise RuntimeError in a forked child of a process that has used JAX: there JAX would wait for ever."""
    global _first_process
    if _first_process is None:
        _first_process = os.getpid()
    if _first_process != os.getpid():
        raise RuntimeError(
            "this process was forked from one that had loaded a checkpoint, where JAX hangs: "
            'start it with multiprocessing.get_context("spawn")'
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Stages:
    """Hold the four networks of a checkpoint and all that belongs to them."""

    name: str
    tokens: TokenConfig
    tokenizer: Tokenizer
    voices: VoiceLibrary | None
    networks: Mapping[str, Any]  # with low memory, asking for one loads it and drops another
    dtype: jnp.dtype  # of the three transformers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.dtype})"

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

    @overload
    def text_to_semantic(self, text: str, **options: Unpack[SemanticCall]) -> Semantic: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def text_to_semantic(self, text: Sequence[str], **options: Unpack[SemanticCall]) -> list[Semantic]: ...
    def text_to_semantic(
        self,
        text: Any,
        *,
        voice: Any = None,
        seed: Any = 0,
        temperature: float | None = None,
        progress: Progress = False,
        **sampling: Unpack[SemanticOptions],
    ) -> Any:
        """Turn text into semantic tokens, int32 (s,); arguments and errors as in `generate`."""
        single, texts = inputs.texts(text)
        voices, seeds = self._voices(voice, len(texts)), inputs.seeds(seed, len(texts))
        settings = options.complete(sampling, SemanticOptions)
        controls, limits = self._control("semantic", temperature, settings), self._limits(settings, len(texts))
        ids = self._run("semantic", progress, self._text_ids(texts), voices, seeds, controls, limits=limits)
        return ids[0] if single else ids

    @overload
    def semantic_to_coarse(self, semantic: Row, **options: Unpack[CoarseCall]) -> Codes: ...
    @overload
    def semantic_to_coarse(self, semantic: Sequence[Row], **options: Unpack[CoarseCall]) -> list[Codes]: ...
    def semantic_to_coarse(
        self,
        semantic: Any,
        *,
        voice: Any = None,
        seed: Any = 0,
        temperature: float | None = None,
        progress: Progress = False,
        **sampling: Unpack[CoarseOptions],
    ) -> Any:
        """Turn semantic tokens (s,) into coarse codes, int32 (2, t); arguments and errors as in `generate`."""
        single, rows = inputs.rows(semantic)
        limit = self.tokens.semantic_vocab_size
        rows = [check_array("semantic", row, None, limit, may_be_empty=True) for row in rows]
        voices, seeds = self._voices(voice, len(rows)), inputs.seeds(seed, len(rows))
        controls = self._control("coarse", temperature, options.complete(sampling, CoarseOptions))
        codes = self._run("coarse", progress, rows, voices, seeds, controls)
        return codes[0] if single else codes

    @overload
    def coarse_to_fine(self, coarse: np.ndarray, **options: Unpack[FineCall]) -> Codes: ...
    @overload
    def coarse_to_fine(self, coarse: Sequence[np.ndarray], **options: Unpack[FineCall]) -> list[Codes]: ...
    def coarse_to_fine(
        self,
        coarse: Any,
        *,
        voice: Any = None,
        seed: Any = 0,
        temperature: float | None = None,
        progress: Progress = False,
    ) -> Any:
        """Turn coarse codes (2, t) into fine codes, int32 (8, t); arguments and errors as in `generate`."""
        single, rows = inputs.rows(coarse)
        q, limit = self.tokens.n_coarse_codebooks, self.tokens.codebook_size
        rows = [check_array("coarse", row, q, limit, may_be_empty=True) for row in rows]
        voices, seeds = self._voices(voice, len(rows)), inputs.seeds(seed, len(rows))
        codes = self._run("fine", progress, rows, voices, seeds, self._control("fine", temperature, {}))
        return codes[0] if single else codes

    @overload
    def decode(self, fine: np.ndarray) -> Samples: ...
    @overload
    def decode(self, fine: Sequence[np.ndarray]) -> list[Samples]: ...
    def decode(self, fine: Any) -> Any:
        """Turn codes (q, t) of the first q codebooks into samples, float32 (320 t,), not clipped.

        Raises:
            ValueError: the codes are out of range, or of more codebooks than the codec has.
        """
        check_process()
        single, rows = inputs.rows(fine)
        rows = [np.asarray(row) for row in rows]
        is_empty = [row.ndim == 2 and not row.shape[1] for row in rows]
        sounding = [row for row, empty in zip(rows, is_empty) if not empty]
        decoded = iter(decode_audio(self.codec, sounding) if sounding else [])
        samples = [np.zeros(0, np.float32) if empty else next(decoded) for empty in is_empty]
        return samples[0] if single else samples

    @overload
    def encode(  # pyright: ignore[reportOverlappingOverload]
        self, samples: Recording, kbps: float | None = None, *, sample_rate: int | None = None
    ) -> Codes: ...
    @overload
    def encode(
        self, samples: Sequence[Recording], kbps: float | None = None, *, sample_rate: int | None = None
    ) -> list[Codes]: ...
    def encode(self, samples: Any, kbps: float | None = None, *, sample_rate: int | None = None) -> Any:
        """Turn a recording into codes, int32 (q, t).

        Args:
            samples: mono float samples (n,) in -1..1, or the path of a sound file, whose channels are averaged.
            kbps: 1.5, 3, 6, 12 or 24, for 2, 4, 8, 16 or 32 codebooks. None: as many as the fine stage predicts, 8.
            sample_rate: of `samples`, in Hz; left out, they are taken to be at the codec's 24,000.

        Raises:
            ValueError: not mono, not finite, not at the codec's rate; a bandwidth it does not have.
        """
        check_process()
        single, sources = inputs.rows(samples)
        rows, rates = [], {sample_rate or self.sample_rate}
        for row in sources:
            if isinstance(row, str | os.PathLike):
                row, rate = read_sound(row)
                rates.add(rate)
            rows.append(np.asarray(row))
        if not rows:
            return []
        other_rate = next(iter(rates - {self.sample_rate}), self.sample_rate)
        if kbps is None:
            kbps = self.codec.cfg.bandwidth_of(self.tokens.n_fine_codebooks)
        codes = encode_audio(self.codec, rows, other_rate, kbps)
        return codes[0] if single else codes

    def voice(self, source: VoiceSource | np.ndarray, *, sample_rate: int | None = None) -> Voice:
        """Load a voice, or make one of a recording.

        A recording may have any rate and channels. The silence around the speech is cut off; what is left has to
        last 2 s or more, and of more than 10 s the part with most speech is taken.

        Args:
            source: the path of a sound file, or samples (n,) or (n, channels) in -1..1; or else a name that
                `voices` knows, the path of an .npz, its arrays or a `Voice`.
            sample_rate: of samples, in Hz; None: the codec's 24,000.

        Raises:
            ValueError: a recording is too short, too quiet or clipped; the checkpoint has no encoder of semantic
                units; or there is no such voice.
        """
        if not (isinstance(source, np.ndarray) or recording.is_recording(source)):
            return load_voice(source, self.tokens, self.voices)
        encoder = self._unit_encoder
        samples = recording.read(source, sample_rate, self.sample_rate)
        codes = self.encode(samples)
        coarse = codes[: self.tokens.n_coarse_codebooks]
        return Voice.from_arrays(encoder.encode(samples, self.sample_rate), coarse, codes, self.tokens)

    @functools.cached_property
    def _unit_encoder(self) -> units.UnitEncoder:
        if self.voices is None:
            raise ValueError(f"{self.name} has no folder, and so no encoder of semantic units: name a voice instead")
        return units.load(self.voices.folder)

    @functools.cached_property
    def _compiled(self) -> set[tuple[int, int]]:
        return set()

    def _later_programs(self, voices: list[Voice | None]) -> dict[str, Callable[[], Lowered]]:
        """Return what lowers the programs of the stages after the first, if a batch is the first of its kind.

        None on a mesh, and with low memory, where two networks are never there at once.
        """
        if not voices or not isinstance(self.networks, dict):
            return {}
        kind = rows, slots = len(voices), coarse.first_slots(voices, self.tokens)
        if kind in self._compiled or parallel.mesh_of(nnx.state(self.codec)):
            return {}
        self._compiled.add(kind)

        def lower(stage: str, network: nnx.Module) -> Lowered:
            return programs.lower(stage, network, nnx.state(network), self.tokens, rows, slots=slots)

        later = {"coarse": self.coarse_model, "fine": self.fine_model, "codec": self.codec}
        return {stage: functools.partial(lower, stage, network) for stage, network in later.items()}

    def _voices(self, voice: Any, count: int) -> list[Voice | None]:
        each = inputs.for_each("voice", voice, count)
        loaded = {id(one): None if one is None else self.voice(one) for one in each}
        return [loaded[id(one)] for one in each]

    def _text_ids(self, texts: list[str]) -> list[np.ndarray]:
        for words in texts:
            if left_out := unread(words, self.tokenizer):
                warnings.warn(
                    f"{self.name} cannot read {', '.join(left_out)} in {show(words)}: write it in words",
                    stacklevel=3,
                )
        return [encode(words, self.tokenizer, self.tokens) for words in texts]

    def _controls(self, settings: Mapping[str, Any]) -> dict[str, Controls]:
        return {stage: self._control(stage, settings[f"{stage}_temperature"], settings) for stage in STAGES}

    def _control(self, stage: str, temperature: Any, settings: Mapping[str, Any]) -> Controls:
        if temperature is None:
            temperature = getattr(self.tokens, f"{stage}_temperature")
        filters = {name: settings[name] for name in FILTERS.get(stage, ()) if name in Controls.__dataclass_fields__}
        return Controls.from_user(temperature, **filters, name=f"{stage}_temperature")

    def _limits(self, settings: Mapping[str, Any], count: int) -> list[int]:
        """Turn `max_seconds` into the most semantic tokens of each text."""
        each = inputs.for_each("max_seconds", settings["max_seconds"], count)
        return [semantic.token_limit(seconds, self.tokens) for seconds in each]

    def _run(
        self,
        stage: str,
        progress: Progress,
        rows: list,
        voices: list[Voice | None],
        seeds: list[int],
        controls: Controls,
        **limits: list[int],
    ) -> list:
        """Run one stage on a batch, with its bar. No rows are no work: no network is loaded."""
        if not rows:
            return []
        with stage_bar(stage, progress) as report:
            check_process()
            generate, model = MODULES[stage].generate, getattr(self, f"{stage}_model")
            return generate(model, self.tokens, rows, voices, seeds, controls, **limits, on_progress=report)
