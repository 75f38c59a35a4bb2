"""Train the three transformers by teacher forcing, on the very layouts that generation uses.

    semantic    text + voice, INFER ──▶ units, end of speech          prompts of `semantic.prompt`
    coarse      a window's head, the coarse ids before it ──▶ ids      heads of `coarse.window_head`
    fine        codebooks 0 to k of a window of frames ──▶ codebook k  `FineModel` itself

Every prompt is laid out by the function that lays it out in generation, so the two cannot drift apart. The
voice of an example is, now and then, another recording; one voice a folder is assumed.

Reference: the losses are nanoGPT's, with which Suno trained Bark; fine draws a random codebook for each step.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from bark_jax import coarse, semantic
from bark_jax.fine import FineConfig, FineModel
from bark_jax.gpt import GPT, GPTConfig, causal_hidden
from bark_jax.matmul import einsum_float32
from bark_jax.tokens import TokenConfig, flatten_codebooks
from bark_jax.train import loop
from bark_jax.voices import Voice

IGNORED = -1  # a target that counts for nothing
LOOK_AHEAD = 8  # units: 0.16 s
BUCKET = 32  # lengths of a batch are rounded up to a multiple: each length is a program


@dataclasses.dataclass(frozen=True)
class Training:
    """Hold how one of the transformers is trained."""

    steps: int
    batch: int  # sequences
    rate: float = 2e-3
    decay: float = 0.05
    voiced: float = 0.3  # how often an example continues a voice
    corrupted: float = 0.0  # how many of the units that are read behind the prompt are others, drawn at random
    look_weight: float = 0.0  # of the loss of what is said `LOOK_AHEAD` places later
    seed: int = 0
    dtype: str = "float32"  # of the products; the weights are float32


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Hold the tokens of all recordings: what the networks are trained on."""

    ids: list[np.ndarray]  # of the text
    semantic: list[np.ndarray]  # (n,)
    codes: list[np.ndarray]  # (q, t)

    def __len__(self) -> int:
        return len(self.semantic)

    def voice(self, i: int, tokens: TokenConfig) -> Voice:
        """Return recording i as a voice."""
        return Voice(self.semantic[i], self.codes[i][: tokens.n_coarse_codebooks], self.codes[i])


Example = dict[str, np.ndarray]  # and batches of them


def semantic_example(ids: np.ndarray, units: np.ndarray, voice: Voice | None, tokens: TokenConfig) -> Example:
    """Lay out one text and its units: the `prompt` (2, p), and behind it what is `read` and what is to be `said`."""
    units = units[: tokens.max_new_tokens]
    end = [tokens.eos_token_id] if len(units) < tokens.max_new_tokens else []
    said = np.concatenate([units, end]).astype(np.int32)
    read = np.concatenate([[tokens.semantic_infer_token], said[:-1]]).astype(np.int32)
    return {"prompt": semantic.prompt(ids, voice, tokens), "read": read, "said": said}


def coarse_example(
    units: np.ndarray, codes: np.ndarray, step: int, voice: Voice | None, tokens: TokenConfig
) -> Example:
    """Lay out the window in which generation draws the flat coarse ids from number `step` on.

    What it is given before them is read too, and counts as `said`: from the same head, it is as good a lesson.
    """
    old_units, old = coarse.history(voice, tokens)
    all_units = np.concatenate([old_units, units])
    flat = flatten_codebooks(codes[: tokens.n_coarse_codebooks], tokens)[: coarse.steps_for(len(units), tokens)]
    whole = np.concatenate([old, flat])[: len(old) + step + tokens.sliding_window_len]
    seen = whole[max(0, len(old) + step - tokens.max_coarse_history) :]
    head = coarse.window_head(all_units, len(old_units), step, tokens)
    read = np.concatenate([head[-1:], seen[:-1]]).astype(np.int32)
    return {"prompt": head[None, :-1], "read": read, "said": seen.astype(np.int32)}


def fine_example(codes: np.ndarray, voice: Voice | None, tokens: TokenConfig, rng: np.random.Generator) -> Example:
    """Cut a window of frames (q, t), padded as in generation; `begin` is the first frame that is to be said.

    Generation writes codes into the padding too, of all codebooks but the given. What it writes there is not
    taught; here any codes stand for it, so that the model learns to look at padding without believing it.
    """
    length = tokens.max_fine_input_length
    old = codes[:, :0] if voice is None else voice.fine[:, -tokens.max_fine_history_length :]
    whole = np.concatenate([old, codes], axis=1)
    first = int(rng.integers(0, max(1, whole.shape[1] - length + 1)))
    cut = whole[:, first : first + length]
    window = np.full((len(codes), length), tokens.fine_pad_token, np.int32)
    drawn = rng.integers(0, tokens.codebook_size, window.shape)
    window[tokens.n_coarse_codebooks :] = drawn[tokens.n_coarse_codebooks :]
    window[:, : cut.shape[1]] = cut
    begin = max(0, old.shape[1] - first) if first == 0 else int(rng.choice([0, length // 2]))
    return {"codes": window, "begin": np.array(begin, np.int32), "end": np.array(cut.shape[1], np.int32)}


def stack(examples: list[Example]) -> Example:
    """Make a batch of sequences: padded on the right, to a length that few batches do not share."""
    length = -(-max(len(each["said"]) for each in examples) // BUCKET) * BUCKET
    fill = {"read": 0, "said": IGNORED}
    batch = {
        name: np.stack([np.pad(each[name], (0, length - len(each[name])), constant_values=pad) for each in examples])
        for name, pad in fill.items()
    }
    return batch | {"prompt": np.stack([each["prompt"] for each in examples])}


def said_hidden(model: GPT, prompt: Int[Array, "b k p"], read: Int[Array, "b t"]) -> Float[Array, "b t d"]:
    """Run the prompt, whose k rows are summed, and what is read behind it; return what follows the latter."""
    x = jnp.concatenate([model.embed(prompt).sum(axis=1), model.embed(read)], axis=1)
    return causal_hidden(model, x)[:, prompt.shape[2] :]


def said_logits(model: GPT, prompt: Int[Array, "b k p"], read: Int[Array, "b t"]) -> Float[Array, "b t v"]:
    """Score what follows each id that is read behind the prompt."""
    return model.logits(said_hidden(model, prompt, read))


def cross_entropy(logits: Float[Array, "*s v"], said: Int[Array, "*s"]) -> tuple[Array, dict[str, Array]]:
    """Average over all devices what is said; return the loss, and the two figures to report."""
    counts = (said != IGNORED).astype(jnp.float32)
    target = jnp.maximum(said, 0)
    total = jax.lax.psum(counts.sum(), loop.DATA) / jax.lax.psum(1.0, loop.DATA)
    loss = jnp.sum(counts * optax.softmax_cross_entropy_with_integer_labels(logits, target)) / total
    right = jnp.sum(counts * (jnp.argmax(logits, axis=-1) == target).astype(jnp.float32)) / total
    return loss, {"loss": loss, "accuracy": right}


def semantic_loss(
    model: GPT, batch: Any, tokens: TokenConfig, step: Array, look: Any = None, look_weight: float = 0
) -> Any:
    """Score what is said next; and by a look, a linear map, what is said `LOOK_AHEAD` places later.

    Most units repeat the last one, so the loss of the next one alone teaches slowly where in the text it is.
    """
    hidden, said = said_hidden(model, batch["prompt"], batch["read"]), batch["said"]
    loss, figures = cross_entropy(model.logits(hidden)[..., : tokens.eos_token_id + 1], said)
    if look is not None:
        later = jnp.pad(said[:, LOOK_AHEAD:], ((0, 0), (0, LOOK_AHEAD)), constant_values=IGNORED)
        logits = einsum_float32("btd,dv->btv", model.norm(hidden), look)
        look_loss, look_figures = cross_entropy(logits, later)
        loss += look_weight * look_loss
        figures |= {"look": look_figures["loss"]}
    return loss, figures


def coarse_loss(model: GPT, batch: Any, tokens: TokenConfig, step: Array) -> Any:
    """Score against the codebook's own entries alone, as generation does."""
    logits, said = said_logits(model, batch["prompt"], batch["read"]), batch["said"]
    codebook = jnp.maximum(said - tokens.coarse_offset(0), 0) // tokens.codebook_size
    first = tokens.coarse_offset(0) + codebook * tokens.codebook_size
    of_codebook = [
        logits[..., tokens.coarse_offset(q) : tokens.coarse_offset(q + 1)] for q in range(tokens.n_coarse_codebooks)
    ]
    own = functools.reduce(
        lambda x, q: jnp.where((codebook == q)[..., None], of_codebook[q], x),
        range(1, tokens.n_coarse_codebooks),
        of_codebook[0],
    )
    return cross_entropy(own, jnp.where(said == IGNORED, IGNORED, said - first))


def fine_loss(model: FineModel, batch: Any, tokens: TokenConfig, step: Array) -> Any:
    """Predict a random codebook, one for the whole batch, from those before it."""
    key = jax.random.fold_in(jax.random.key(1), step)
    codebook = jax.random.randint(key, (), tokens.n_coarse_codebooks, tokens.n_fine_codebooks)
    return codebook_loss(model, batch, codebook, tokens)


def codebook_loss(model: FineModel, batch: Any, codebook: Array, tokens: TokenConfig) -> Any:
    """Predict one codebook from those before it; itself it sees up to `begin`."""
    codes, frame = batch["codes"], jnp.arange(batch["codes"].shape[2])
    to_say = frame >= batch["begin"][:, None]
    own = codes[:, codebook]
    seen = codes.at[:, codebook].set(jnp.where(to_say, tokens.fine_pad_token, own))
    said = jnp.where(to_say & (frame < batch["end"][:, None]), own, IGNORED)
    return cross_entropy(model(seen, codebook, tokens.codebook_size), said)


def train(
    make: Callable[..., Any],
    loss_of: Callable[..., Any],
    batch: Callable[[int], Any],
    tokens: TokenConfig,
    how: Training,
    folder: Path,
    model: Any,
) -> Any:
    """Train one transformer, a model in float32 that `make` made; return it with new weights.

    Args:
        make: makes such a model of `dtype` and `rngs`.
    """
    graphdef, params = nnx.split(model)
    trained: dict[str, Any] = {"network": params}
    if how.look_weight:
        trained["look"] = jnp.zeros((model.cfg.hidden_size, tokens.eos_token_id + 1))
    computing, _ = nnx.split(nnx.eval_shape(lambda: make(dtype=jnp.dtype(how.dtype), rngs=nnx.Rngs(0))))
    optimizer = loop.adam(how.rate, how.steps, b1=0.9, b2=0.98, decay=how.decay)

    def loss(params: Any, batch: Any, step: Array) -> Any:
        cast = jax.tree.map(lambda x: x.astype(how.dtype), params)
        extra = {"look": cast["look"], "look_weight": how.look_weight} if "look" in cast else {}
        return loss_of(nnx.merge(computing, cast["network"]), batch, tokens, step, **extra)

    def update(state: loop.State, batch: Any, step: Array) -> tuple[loop.State, loop.Losses]:
        gradients, losses = loop.mean_gradients(loss, state["params"], batch, step)
        params, optimizer_state = loop.descend(optimizer, gradients, state["params"], state["optimizer"])
        return {"params": params, "optimizer": optimizer_state}, jax.lax.pmean(losses, loop.DATA)

    def start() -> loop.State:
        return {"params": trained, "optimizer": optimizer.init(trained)}

    return nnx.merge(graphdef, loop.run(update, start, batch, folder, steps=how.steps)["params"]["network"])


def fresh(make: Callable[..., Any], seed: int) -> Any:
    """Make a model in float32 with the first weights of nanoGPT.

    Tables have a deviation of 0.02; kernels one that follows from their inputs, and less into the residual stream.
    """
    model = make(dtype=jnp.float32, rngs=nnx.Rngs(seed))

    def draw(path: Any, x: Array) -> Array:
        name = jax.tree_util.keystr(path)
        if x.ndim < 2:
            return x
        key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
        deviation = 0.02 if "embedding" in name or "head" in name else x.shape[0] ** -0.5
        if "'out'" in name or "'down'" in name:
            deviation *= (2 * model.cfg.num_layers) ** -0.5
        return deviation * jax.random.normal(key, x.shape, x.dtype)

    graphdef, params = nnx.split(model)
    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(draw, params))


def as_entries(entries: Float[Array, "q v d"], width: int, seed: int) -> Float[np.ndarray, "q v e"]:
    """Turn a codec's entries into tables of `width`: near entries stay near, and sums stay sums."""
    d = entries.shape[2]
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(max(d, width), min(d, width))))[0]
    turned = np.asarray(entries) @ (basis.T if width >= d else basis)
    return (0.1 * turned / turned.std()).astype(np.float32)


def train_semantic(
    cfg: GPTConfig, tokens: TokenConfig, data: Tokens, how: Training, folder: Path, begin: Any = None
) -> GPT:
    """Train text to units. Batches are of about one length."""
    lengths = np.array([len(units) for units in data.semantic])

    def batch(step: int) -> Any:
        rng = np.random.default_rng((how.seed, step))
        many = rng.integers(0, len(data), 8 * how.batch)
        chosen = many[np.argsort(lengths[many])].reshape(8, -1)[rng.integers(8)]
        examples = stack([
            semantic_example(data.ids[i], data.semantic[i], some_voice(rng, data, how, tokens), tokens) for i in chosen
        ])  # fmt: skip
        read = examples["read"]
        is_corrupted = (rng.random(read.shape) < how.corrupted) & (read < tokens.eos_token_id)
        others = rng.integers(0, tokens.semantic_vocab_size, read.shape)
        return examples | {"read": np.where(is_corrupted, others, read).astype(np.int32)}

    make = functools.partial(GPT, cfg)
    return train(make, semantic_loss, batch, tokens, how, folder, begin or fresh(make, how.seed))


def train_coarse(
    cfg: GPTConfig, tokens: TokenConfig, data: Tokens, how: Training, folder: Path, begin: Any = None
) -> GPT:
    """Train units to the coarse codebooks, each example a window of generation."""

    def batch(step: int) -> Any:
        rng = np.random.default_rng((how.seed, step))
        examples = []
        for i in rng.integers(0, len(data), how.batch):
            windows = max(1, -(-coarse.steps_for(len(data.semantic[i]), tokens) // tokens.sliding_window_len))
            # Behind a full history each window teaches as much; before that, a late one holds the early ones too.
            first = min(windows - 1, tokens.max_coarse_history // tokens.sliding_window_len)
            step_in = int(rng.integers(first, windows)) * tokens.sliding_window_len
            voice = some_voice(rng, data, how, tokens)
            examples.append(coarse_example(data.semantic[i], data.codes[i], step_in, voice, tokens))
        return stack(examples)

    make = functools.partial(GPT, cfg)
    return train(make, coarse_loss, batch, tokens, how, folder, begin or fresh(make, how.seed))


def train_fine(
    cfg: FineConfig,
    tokens: TokenConfig,
    data: Tokens,
    how: Training,
    folder: Path,
    begin: Any = None,
    *,
    entries: Float[Array, "q v d"],
) -> FineModel:
    """Train a codebook from those before it, a random one each step.

    Without a model to begin with, its tables begin as the `entries` of the codec's codebooks. What a sum of them
    means, and which of them are alike, is then not to be found out from how they go together.
    """

    def batch(step: int) -> Any:
        rng = np.random.default_rng((how.seed, step))
        chosen = rng.integers(0, len(data), how.batch)
        examples = [fine_example(data.codes[i], some_voice(rng, data, how, tokens), tokens, rng) for i in chosen]
        return {name: np.stack([each[name] for each in examples]) for name in examples[0]}

    make = functools.partial(FineModel, cfg)
    model = begin or fresh(make, how.seed)
    if begin is None:
        tables = model.codebook_embeddings
        first = as_entries(entries[: cfg.n_codes_total], cfg.hidden_size, how.seed)  # a codec may have more codebooks
        tables[...] = tables[...].at[:, : tokens.codebook_size].set(first)
    return train(make, fine_loss, batch, tokens, how, folder, model)


def some_voice(rng: np.random.Generator, data: Tokens, how: Training, tokens: TokenConfig) -> Voice | None:
    """Choose another recording to continue, or none."""
    return data.voice(int(rng.integers(len(data))), tokens) if rng.random() < how.voiced else None
