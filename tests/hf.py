"""Tiny random Bark models, to load and to compare with: `tiny_bark`, `save`.

    tiny = hf.tiny_bark(seed=0)              # a config of transformers, and weights as NumPy arrays
    hf.save(tiny, tmp_path)                  # a checkpoint folder with tokenizer and voices
    hf.save(tiny, tmp_path, layout="bin")    # in PyTorch's format: skips the test where torch is missing
    tiny.torch                               # transformers.BarkModel, eval mode, float32; skips likewise

All ids come from a `TokenConfig` (`hf.TOKENS` by default), and the model's own `generate` runs with
it. Sizes are Bark's in small, with the same slack: the semantic output vocabulary ends 12 ids after
the end token, the coarse one 12 ids after the second codebook, the fine one 8 ids after the codes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tokenizers
import transformers
from tiny_weights import Arrays, tiny_weights

from bark_jax.tokens import TokenConfig

NO_TORCH = "torch is not installed: comparisons with PyTorch and transformers run in the environments that have it"

WORDS = ["the", "moon", "egg", "leaf", "light", "little", "hello", "world", "Hello", "[laughs]", "##s", "##ing", "##er"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789äöüßéèñçığşйцукен月光下"
PUNCTUATION = ".,;:!?'\"-()[]…♪—、。"
VOICES = ("v2/en_speaker_6", "de_speaker_0", "announcer")
VOCABULARY = list(
    dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PUNCTUATION, *LETTERS, *("##" + c for c in LETTERS), *WORDS]
    )
)


def tiny_tokens(semantic_vocab_size: int = 500, codebook_size: int = 32, **others) -> TokenConfig:
    """Scale Bark's id space down; `others` are fields of TokenConfig.

    The longest sequences are 16 + 1 + 24 (semantic), 16 + 1 + 30 + 12 (coarse), 32 frames (fine).
    """
    text, coarse = semantic_vocab_size + 12, semantic_vocab_size + 2 * codebook_size
    fields = {
        "semantic_vocab_size": semantic_vocab_size,
        "semantic_pad_token": semantic_vocab_size,
        "eos_token_id": semantic_vocab_size,
        "text_encoding_offset": text,
        "text_pad_token": text + len(VOCABULARY),
        "semantic_infer_token": text + len(VOCABULARY) + 4,
        "max_input_semantic_length": 16,
        "max_new_tokens": 24,
        "coarse_semantic_pad_token": coarse,
        "coarse_infer_token": coarse + 2,
        "max_coarse_input_length": 16,
        "max_coarse_history": 30,
        "sliding_window_len": 12,
        "max_fine_input_length": 32,
        "max_fine_history_length": 16,
        "codebook_size": codebook_size,
    }
    return TokenConfig(**fields | others)


TOKENS = tiny_tokens()


def import_torch() -> Any:
    """Return torch, or skip the test that asks, or the file that asks while it is imported."""
    return pytest.importorskip("torch", reason=NO_TORCH)


@dataclasses.dataclass(frozen=True)
class TinyBark:
    """Hold a random Bark: its config, the ids to generate with, and weights under Hugging Face's names."""

    config: transformers.BarkConfig
    generation: dict[str, Any]
    weights: Arrays

    def network(self, name: str) -> Arrays:
        """Return the weights of one network, under their names in it."""
        return {key.removeprefix(f"{name}."): x for key, x in self.weights.items() if key.startswith(f"{name}.")}

    @functools.cached_property
    def torch(self) -> transformers.BarkModel:
        torch = import_torch()
        model = transformers.BarkModel(self.config)
        model.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in self.weights.items()}, strict=True)
        model.generation_config = transformers.GenerationConfig.from_dict(self.generation)
        return model.eval()


def tiny_bark(
    tokens: TokenConfig = TOKENS,
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 32,
    bias: bool = False,
    block_size: int = 64,
    codec_filters: int = 4,
    codec_ratios: tuple[int, ...] = (4, 2),
    codec_hidden: int = 16,
    codec_quantizers: int = 8,
    seed: int = 0,
) -> TinyBark:
    """Build one whose three transformers share `layers`, `heads`, `width`, `bias` and `block_size`.

    The codec runs at 75 frames a second, so its sample rate is 75 times the product of the ratios; the
    generation config states it too. Its bandwidths are those of a quarter, half and all of
    `codec_quantizers` codebooks.
    """
    sizes = {"num_layers": layers, "num_heads": heads, "hidden_size": width, "bias": bias, "block_size": block_size}
    vocabularies = {
        "semantic": (tokens.semantic_infer_token + 1, tokens.text_encoding_offset),
        "coarse_acoustics": (tokens.coarse_semantic_pad_token + 12,) * 2,
        "fine_acoustics": (tokens.codebook_size + 8,) * 2,
    }
    configs = {
        f"{name}_config": sizes | {"input_vocab_size": v_in, "output_vocab_size": v_out}
        for name, (v_in, v_out) in vocabularies.items()
    }
    configs["fine_acoustics_config"] |= {"n_codes_total": tokens.n_fine_codebooks, "n_codes_given": 1}
    sample_rate = 75 * math.prod(codec_ratios)
    bits_per_second = 75 * int(math.log2(tokens.codebook_size))  # of one codebook
    codec = transformers.EncodecConfig(
        sampling_rate=sample_rate,
        target_bandwidths=[codec_quantizers * part * bits_per_second / 1000 for part in (0.25, 0.5, 1)],
        num_filters=codec_filters,
        upsampling_ratios=list(codec_ratios),
        hidden_size=codec_hidden,
        codebook_size=tokens.codebook_size,
    )
    assert codec.num_quantizers == codec_quantizers
    config = transformers.BarkConfig(**configs, codec_config=codec.to_dict())
    return TinyBark(config, tokens.to_dict() | {"sample_rate": sample_rate}, tiny_weights(config, seed))


def tokenizer() -> tokenizers.Tokenizer:
    """Build a WordPiece tokenizer in the style of BERT multilingual cased."""
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece(prefix="##")
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")]
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


def voice(tokens: TokenConfig = TOKENS, n: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw a valid voice of n semantic tokens, in the mixed dtypes that published voices have.

    Hugging Face's `generate` takes it as int64 tensors.
    """
    rng = np.random.default_rng(seed)
    t = round(n * tokens.coarse_rate_hz / tokens.semantic_rate_hz)
    fine = rng.integers(tokens.codebook_size, size=(tokens.n_fine_codebooks, t))
    return {
        "semantic_prompt": rng.integers(tokens.semantic_vocab_size, size=n).astype(np.int64),
        "coarse_prompt": fine[: tokens.n_coarse_codebooks].astype(np.int32),
        "fine_prompt": fine.astype(np.uint16),
    }


def save_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", settings)


def save_voices(folder: Path, tokens: TokenConfig = TOKENS) -> None:
    """Write voices as hub checkpoints have them: .npy files, and a list of their paths."""
    listing: dict = {"repo_or_path": "suno/bark"}
    for seed, name in enumerate(VOICES):
        listing[name] = {part: f"speaker_embeddings/{name}_{part}.npy" for part in voice()}
        for part, array in voice(tokens, seed=seed).items():
            path = folder / listing[name][part]
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    write_json(folder / "speaker_embeddings_path.json", listing)


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def state_dict(weights: Arrays, *, weight_norm: str = "parametrizations", tied_heads: bool = True) -> Arrays:
    """Copy the weights under the names of a published checkpoint.

    `weight_norm`: "parametrizations" (...parametrizations.weight.original0, original1) or "g_v"
    (...weight_g, weight_v). `tied_heads`: leave out the fine model's heads, which are its tables again.
    """
    state = {name: x.copy() for name, x in weights.items()}
    if tied_heads:
        state = {name: x for name, x in state.items() if "lm_heads." not in name}
    if weight_norm == "g_v":
        for i, letter in enumerate("gv"):
            old, new = f"parametrizations.weight.original{i}", f"weight_{letter}"
            state = {name.replace(old, new): x for name, x in state.items()}
    return state


def write_torch(state: Arrays, path: Path) -> None:
    """Write a `.bin` or `.pt` file."""
    torch = import_torch()
    torch.save({name: torch.from_numpy(x) for name, x in state.items()}, path)


def save_weights(state: Arrays, folder: Path, layout: str) -> None:
    """Write weights as "safetensors", "bin", or in three shards with an index: "sharded", "sharded_bin"."""
    if layout in ("safetensors", "sharded"):
        stem, suffix, write = "model", "safetensors", safetensors.numpy.save_file
    else:
        stem, suffix, write = "pytorch_model", "bin", write_torch
    if layout in ("safetensors", "bin"):
        write(state, folder / f"{stem}.{suffix}")
        return
    names, weight_map = sorted(state), {}
    for i in range(3):
        file = f"{stem}-{i + 1:05}-of-00003.{suffix}"
        write({name: state[name] for name in names[i::3]}, folder / file)
        weight_map |= dict.fromkeys(names[i::3], file)
    total = sum(x.nbytes for x in state.values())
    write_json(folder / f"{stem}.{suffix}.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def by_head(fused, heads: int):
    """Order the rows of all queries, all keys, all values (3d, ...) as those of head 0, of head 1, ..."""
    d = len(fused) // 3
    h = d // heads
    return fused[[third * d + head * h + i for head in range(heads) for third in range(3) for i in range(h)]]


def suno_name(name: str) -> str:
    """Name a transformer's weight as Suno's training code does, compiled."""
    renames = (
        ("input_embeds_layer.", "transformer.wte."),
        ("input_embeds_layers.", "transformer.wtes."),
        ("position_embeds_layer.", "transformer.wpe."),
        ("layernorm_final.", "transformer.ln_f."),
        ("layers.", "transformer.h."),
        ("layernorm_", "ln_"),
        ("attn.att_proj", "attn.c_attn"),
        ("attn.out_proj", "attn.c_proj"),
        ("mlp.in_proj", "mlp.c_fc"),
        ("mlp.out_proj", "mlp.c_proj"),
    )
    for old, new in renames:
        if old in name and not (old == "layers." and "wtes" in name):
            name = name.replace(old, new)
    return "_orig_mod." + name


def save_suno(tiny: TinyBark, folder: Path, *, large: bool = False, old_args: bool = False) -> None:
    """Write text.pt, coarse.pt, fine.pt (or text_2.pt, ...) and, in `encodec/`, a codec of Hugging Face.

    `old_args`: one `vocab_size` for both vocabularies, where these are equal (coarse and fine).
    """
    torch, model = import_torch(), tiny.torch
    folder.mkdir(parents=True, exist_ok=True)
    for stem, network in (("text", model.semantic), ("coarse", model.coarse_acoustics), ("fine", model.fine_acoustics)):
        cfg = network.config
        args = {"n_layer": cfg.num_layers, "n_head": cfg.num_heads, "n_embd": cfg.hidden_size}
        args |= {"block_size": cfg.block_size, "bias": cfg.bias, "dropout": 0.0}
        if old_args and cfg.input_vocab_size == cfg.output_vocab_size:
            args |= {"vocab_size": cfg.input_vocab_size}
        else:
            args |= {"input_vocab_size": cfg.input_vocab_size, "output_vocab_size": cfg.output_vocab_size}
        if stem == "fine":
            args |= {"n_codes_total": cfg.n_codes_total, "n_codes_given": cfg.n_codes_given}
        # Not cloned: the tied heads share their storage with the tables, as in Suno's files.
        state = {suno_name(name): x.detach() for name, x in network.state_dict().items()}
        content = {"model_args": args, "model": state, "best_val_loss": np.float64(2.5), "iter_num": 7}
        torch.save(content, folder / f"{stem}{'_2' if large else ''}.pt")
    codec = folder / "encodec"
    codec.mkdir(exist_ok=True)
    write_json(codec / "config.json", tiny.config.codec_config.to_dict())
    save_weights(state_dict(tiny.network("codec_model"), weight_norm="g_v"), codec, "safetensors")


def save(
    tiny: TinyBark,
    folder: Path,
    layout: str = "safetensors",
    *,
    weight_norm: str = "parametrizations",
    tied_heads: bool = True,
    tokens: TokenConfig = TOKENS,
) -> Path:
    """Write a checkpoint folder with tokenizer and voices, and return it.

    `layout`: "safetensors", "sharded", "bin", "sharded_bin" (Hugging Face, with config.json), or "suno"
    (text.pt, coarse.pt, fine.pt, and a codec folder `encodec`; weight_norm and tied_heads have no say).
    All hold the same weights. `tokens` draws the voices; the ids are those of the model.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    save_voices(folder, tokens)
    ids = tokens.to_dict() | {"sample_rate": tiny.generation["sample_rate"]}
    write_json(folder / "generation_config.json", ids)
    if layout == "suno":
        save_suno(tiny, folder)
    else:
        write_json(folder / "config.json", tiny.config.to_dict() | {"architectures": ["BarkModel"]})
        save_weights(state_dict(tiny.weights, weight_norm=weight_norm, tied_heads=tied_heads), folder, layout)
    return folder
