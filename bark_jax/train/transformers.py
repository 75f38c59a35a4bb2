"""Train the three transformers by teacher forcing, on the very layouts that generation uses.

    semantic    text + voice, INFER ──▶ semantic tokens, end of speech
    coarse      semantic tokens around a window, the coarse ids before it ──▶ ids
    fine        codebooks 0 to k of a window of frames ──▶ codebook k

`batches.py` lays the examples out, at times after a voice: another recording of the same speaker.

Reference: the losses are nanoGPT's, with which Suno trained Bark; fine trains a random codebook at each step.
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

from bark_jax.fine import FineConfig, FineModel
from bark_jax.gpt import GPT, GPTConfig, causal_hidden
from bark_jax.matmul import einsum_float32
from bark_jax.tokens import TokenConfig
from bark_jax.train import batches, loop
from bark_jax.train.batches import IGNORED, Tokens

LOOKAHEAD = 8  # semantic tokens: 0.16 s
SINUSOIDS_HZ = (0.1, 25.0)
FIRST_WEIGHT = 3.0  # of the first codebook in the coarse loss: it holds what is said, the others how it sounds


@dataclasses.dataclass(frozen=True)
class Training:
    """Hold how one of the transformers is trained."""

    steps: int
    batch: int  # sequences
    rate: float = 2e-3
    decay: float = 0.05
    voice_probability: float = 0.7  # how often an example continues a voice
    corruption_rate: float = 0.0  # the share of input tokens that random ones replace; for coarse, the most in a row
    copies: int = 0  # perturbed copies of the recordings to learn from, see data.PerturbedCopy
    lookahead_weight: float = 0.0  # of the loss of the token `LOOKAHEAD` places later
    seconds: float | None = None  # the most that training may take
    seed: int = 0
    dtype: str = "float32"  # of the products; the weights are float32


def hidden_states(model: GPT, prompt: Int[Array, "b k p"], inputs: Int[Array, "b t"]) -> Float[Array, "b t d"]:
    """Run the prompt, whose k rows are summed, and the inputs after it; return the states of the inputs."""
    x = jnp.concatenate([model.embed(prompt).sum(axis=1), model.embed(inputs)], axis=1)
    return causal_hidden(model, x)[:, prompt.shape[2] :]


def next_logits(model: GPT, prompt: Int[Array, "b k p"], inputs: Int[Array, "b t"]) -> Float[Array, "b t v"]:
    """Score what follows each of the inputs, which follow the prompt."""
    return model.logits(hidden_states(model, prompt, inputs))


def cross_entropy(
    logits: Float[Array, "*s v"], targets: Int[Array, "*s"], weights: Float[Array, "*s"] | float = 1.0
) -> tuple[Array, dict[str, Array]]:
    """Average over the targets of all devices; return the loss, and the two figures to report."""
    counts = weights * (targets != IGNORED).astype(jnp.float32)
    target = jnp.maximum(targets, 0)
    total = jax.lax.psum(counts.sum(), loop.DATA) / jax.lax.psum(1.0, loop.DATA)
    loss = jnp.sum(counts * optax.softmax_cross_entropy_with_integer_labels(logits, target)) / total
    right = jnp.sum(counts * (jnp.argmax(logits, axis=-1) == target).astype(jnp.float32)) / total
    return loss, {"loss": loss, "accuracy": right}


def semantic_loss(
    model: GPT, batch: Any, tokens: TokenConfig, step: Array, lookahead: Any = None, lookahead_weight: float = 0
) -> Any:
    """Score the next token; and by `lookahead`, a linear map, the token `LOOKAHEAD` places later.

    Most tokens repeat the last one, so the loss of the next one alone teaches slowly where in the text it is.
    """
    hidden, targets = hidden_states(model, batch["prompt"], batch["inputs"]), batch["targets"]
    loss, figures = cross_entropy(model.logits(hidden)[..., : tokens.eos_token_id + 1], targets)
    if lookahead is not None:
        later = jnp.pad(targets[:, LOOKAHEAD:], ((0, 0), (0, LOOKAHEAD)), constant_values=IGNORED)
        logits = einsum_float32("btd,dv->btv", model.norm(hidden), lookahead)
        later_loss, later_figures = cross_entropy(logits, later)
        loss += lookahead_weight * later_loss
        figures |= {"lookahead": later_figures["loss"]}
    return loss, figures


def coarse_loss(model: GPT, batch: Any, tokens: TokenConfig, step: Array) -> Any:
    """Score against the codebook's own entries alone, as generation does; the first codebook counts most."""
    logits, targets = next_logits(model, batch["prompt"], batch["inputs"]), batch["targets"]
    codebook = jnp.maximum(targets - tokens.coarse_offset(0), 0) // tokens.codebook_size
    first = tokens.coarse_offset(0) + codebook * tokens.codebook_size
    of_codebook = [
        logits[..., tokens.coarse_offset(q) : tokens.coarse_offset(q + 1)] for q in range(tokens.n_coarse_codebooks)
    ]
    own = functools.reduce(
        lambda x, q: jnp.where((codebook == q)[..., None], of_codebook[q], x),
        range(1, tokens.n_coarse_codebooks),
        of_codebook[0],
    )
    weights = jnp.where(codebook == 0, FIRST_WEIGHT, 1.0)
    return cross_entropy(own, jnp.where(targets == IGNORED, IGNORED, targets - first), weights)


def fine_loss(model: FineModel, batch: Any, tokens: TokenConfig, step: Array) -> Any:
    """Predict a random codebook, one for the whole batch, from those before it."""
    key = jax.random.fold_in(jax.random.key(1), step)
    codebook = jax.random.randint(key, (), tokens.n_coarse_codebooks, tokens.n_fine_codebooks)
    return codebook_loss(model, batch, codebook, tokens)


def codebook_loss(model: FineModel, batch: Any, codebook: Array, tokens: TokenConfig) -> Any:
    """Predict one codebook from those before it; of itself it sees the frames before `begin`."""
    codes, frame = batch["codes"], jnp.arange(batch["codes"].shape[2])
    is_predicted = frame >= batch["begin"][:, None]
    own = codes[:, codebook]
    seen = codes.at[:, codebook].set(jnp.where(is_predicted, tokens.fine_pad_token, own))
    targets = jnp.where(is_predicted & (frame < batch["end"][:, None]), own, IGNORED)
    return cross_entropy(model(seen, codebook, tokens.codebook_size), targets)


def train(
    make: Callable[..., Any],
    loss_of: Callable[..., Any],
    batch: Callable[[int], Any],
    tokens: TokenConfig,
    training: Training,
    folder: Path,
    model: Any,
) -> Any:
    """Train one transformer, a model in float32 that `make` made; return it with new weights.

    Args:
        make: makes such a model of `dtype` and `rngs`.
    """
    graphdef, params = nnx.split(model)
    trained: dict[str, Any] = {"network": params}
    if training.lookahead_weight:
        trained["lookahead"] = jnp.zeros((model.cfg.hidden_size, tokens.eos_token_id + 1))
    computing, _ = nnx.split(nnx.eval_shape(lambda: make(dtype=jnp.dtype(training.dtype), rngs=nnx.Rngs(0))))
    optimizer = loop.muon(b1=0.9, b2=0.98, decay=training.decay)

    def loss(params: Any, batch: Any, step: Array) -> Any:
        cast = jax.tree.map(lambda x: x.astype(training.dtype), params)
        extra = {name: cast[name] for name in ("lookahead",) if name in cast}
        weight = {"lookahead_weight": training.lookahead_weight} if extra else {}
        return loss_of(nnx.merge(computing, cast["network"]), batch, tokens, step, **extra, **weight)

    def update(state: loop.State, batch: Any, moment: loop.Moment) -> tuple[loop.State, loop.Losses]:
        gradients, losses = loop.mean_gradients(loss, state["params"], batch, moment.step)
        rate = loop.learning_rate(training.rate, moment, training.steps)
        params, optimizer_state = loop.descend(optimizer, gradients, state["params"], state["optimizer"], rate)
        return {"params": params, "optimizer": optimizer_state}, jax.lax.pmean(losses, loop.DATA)

    def start() -> loop.State:
        return {"params": trained, "optimizer": optimizer.init(trained)}

    state = loop.run(update, start, batch, folder, steps=training.steps, seconds=training.seconds)
    return nnx.merge(graphdef, state["params"]["network"])


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
    cfg: GPTConfig, tokens: TokenConfig, data: Tokens, training: Training, folder: Path, begin: Any = None
) -> GPT:
    """Train text to semantic tokens; from the model `begin`, or from nothing."""
    batch = batches.semantic_batches(
        data,
        tokens,
        batch=training.batch,
        voice_probability=training.voice_probability,
        corruption_rate=training.corruption_rate,
        seed=training.seed,
    )
    make = functools.partial(GPT, cfg)
    return train(make, semantic_loss, batch, tokens, training, folder, begin or fresh(make, training.seed))


def begin_coarse(
    model: GPT, tokens: TokenConfig, entries: Float[Array, "q v d"], unit_vectors: Float[np.ndarray, "k e"], seed: int
) -> GPT:
    """Let the coarse model begin with what is known: which tokens are alike, and what happens at the same time.

    Rows of the token table begin as the vectors of the units and the codec's entries, columns of the head as the
    entries. Positions begin as sinusoids of the time at which the token there is heard ("Attention is all you need",
    arXiv 1706.03762, has them of the position): a code finds the units of its moment.
    """
    width, units = model.cfg.hidden_size, tokens.semantic_vocab_size
    alike = as_entries(jnp.asarray(unit_vectors - unit_vectors.mean(axis=0))[None], width, seed)
    codes = as_entries(entries[: tokens.n_coarse_codebooks], width, seed).reshape(-1, width)
    table, head = model.token_embedding.embedding, model.head.kernel
    table[...] = table[...].at[: units + len(codes)].set(np.concatenate([alike[0], codes]))
    head[...] = head[...].at[:, units : units + len(codes)].set(0.5 * codes.T)
    position = np.arange(model.cfg.block_size)
    after_units = (position - tokens.max_coarse_input_length) / (tokens.coarse_rate_hz * tokens.n_coarse_codebooks)
    seconds = np.where(after_units < 0, position / tokens.semantic_rate_hz, after_units)
    angles = 2 * np.pi * seconds[:, None] * np.geomspace(*SINUSOIDS_HZ, -(-width // 2))
    sinusoids = 0.1 * np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]
    model.position_embedding.embedding[...] = jnp.asarray(sinusoids, jnp.float32)
    return model


def begin_fine(model: FineModel, tokens: TokenConfig, entries: Float[Array, "q v d"], seed: int) -> FineModel:
    """Let the tables begin as the codec's entries: they say which codes are alike, and what a sum of them means."""
    tables = model.codebook_embeddings
    first = as_entries(entries[: model.cfg.n_codes_total], model.cfg.hidden_size, seed)  # a codec may have more
    tables[...] = tables[...].at[:, : tokens.codebook_size].set(first)
    return model


def train_coarse(
    cfg: GPTConfig,
    tokens: TokenConfig,
    data: Tokens,
    training: Training,
    folder: Path,
    begin: Any = None,
    *,
    entries: Float[Array, "q v d"],
    unit_vectors: Float[np.ndarray, "k e"],
) -> GPT:
    """Train semantic tokens to the coarse codebooks; from the model `begin`, or as `begin_coarse` does."""
    batch = batches.coarse_batches(
        data,
        tokens,
        batch=training.batch,
        voice_probability=training.voice_probability,
        corruption_rate=training.corruption_rate,
        seed=training.seed,
    )
    make = functools.partial(GPT, cfg)
    model = begin or begin_coarse(fresh(make, training.seed), tokens, entries, unit_vectors, training.seed)
    return train(make, coarse_loss, batch, tokens, training, folder, model)


def train_fine(
    cfg: FineConfig,
    tokens: TokenConfig,
    data: Tokens,
    training: Training,
    folder: Path,
    begin: Any = None,
    *,
    entries: Float[Array, "q v d"],
) -> FineModel:
    """Train a codebook from those before it, a random one at each step; from `begin`, or as `begin_fine` does."""
    batch = batches.fine_batches(
        data, tokens, batch=training.batch, voice_probability=training.voice_probability, seed=training.seed
    )
    make = functools.partial(FineModel, cfg)
    model = begin or begin_fine(fresh(make, training.seed), tokens, entries, training.seed)
    return train(make, fine_loss, batch, tokens, training, folder, model)
