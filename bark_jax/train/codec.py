"""Train the codec: what EnCodec learns from, as far as it pays on two cores.

    samples ──encoder──▶ latents ──quantiser──▶ sum of entries ──decoder──▶ samples, to sound like the first

    loss   log-mel and magnitude differences of pre-emphasised sound at four window sizes,
         + waveform difference, + commitment of the latents to their entries,
         + what a linear look at the latents misses of the frame's log-mels: so the encoder soon learns what matters

For the first steps there is no quantiser. Then its codebooks begin as the k-means of latents, follow them as
moving averages, and an entry that nothing is near to is put upon a latent. Each recording of a batch is
decoded from a random number of codebooks, so that the first ones matter most. At the end the decoder alone may
be trained further, on codes that stay.

References: "High Fidelity Neural Audio Compression", arXiv 2210.13438, for the losses and the dropout of
codebooks; "SoundStream", arXiv 2107.03312, for the codebooks' averages and revival.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from bark_jax.codec import Chunk, Codec, CodecConfig
from bark_jax.train import loop
from bark_jax.train.data import Recordings
from bark_jax.train.spectra import FLOOR, magnitudes, mel_filters, pre_emphasise, window_magnitudes
from bark_jax.train.units import k_means

WINDOWS = {256: 24, 512: 40, 1024: 80, 2048: 80}  # samples -> mel bands
CODEBOOKS = {2: 0.4, 3: 0.1, 4: 0.15, 6: 0.1, 8: 0.25}  # how many are used, how often
AVERAGE = 0.995  # of codebooks, over steps
DEAD = 0.005  # an entry chosen less often in a step, on average, is revived


@dataclasses.dataclass(frozen=True)
class CodecTraining:
    """Hold how a codec is trained."""

    steps: int = 10_000
    batch: int = 8  # recordings
    frames: int = 60  # of each
    rate: float = 2e-3
    unquantised_steps: int = 500
    waveform_weight: float = 0.2
    commitment_weight: float = 0.1
    look_weight: float = 0.5
    decoder_steps: int = 0  # at the end, of the decoder alone: see `tune_decoder`
    seed: int = 0


def whole(x: Float[Array, "b n"]) -> Chunk:
    return Chunk(size=x.shape[1], remaining=jnp.full(x.shape[0], x.shape[1]))


def spectral_losses(x: Float[Array, "b n"], y: Float[Array, "b n"], rate: int) -> dict[str, Array]:
    """Compare two sounds in log-mel bands and in magnitudes, averaged over the window sizes."""
    mel, magnitude = [], []
    for size, bands in WINDOWS.items():
        filters = mel_filters(size, bands, rate, highest_hz=0.375 * rate)
        a, b = magnitudes(x, size), magnitudes(y, size)
        mel.append(jnp.abs(jnp.log(a @ filters + FLOOR) - jnp.log(b @ filters + FLOOR)).mean())
        magnitude.append(jnp.abs(a - b).mean())
    return {"mel": jnp.stack(mel).mean(), "magnitude": jnp.stack(magnitude).mean()}


def sound_loss(
    x: Float[Array, "b n"], y: Float[Array, "b n"], rate: int, waveform_weight: float
) -> tuple[Array, dict[str, Array]]:
    """Compare two sounds, pre-emphasised; return the loss, and its parts: the waveform is in hundredths."""
    x, y = pre_emphasise(x), pre_emphasise(y)
    parts = spectral_losses(x, y, rate) | {"waveform": 100 * jnp.abs(x - y).mean()}
    return parts["mel"] + 3 * parts["magnitude"] + waveform_weight * parts["waveform"], parts


def frame_mels(x: Float[Array, "b n"], cfg: CodecConfig) -> Float[Array, "b t m"]:
    """Take log-mels of pre-emphasised sound in windows of 1,024 samples about the middle of each frame."""
    size, hop = 1024, cfg.hop_length
    before = (size - hop) // 2
    count = x.shape[1] // hop
    padded = jnp.pad(pre_emphasise(x), ((0, 0), (before, size)))
    windows = padded[:, hop * jnp.arange(count)[:, None] + jnp.arange(size)] * jnp.hanning(size)
    return jnp.log(
        window_magnitudes(windows) @ mel_filters(size, 80, cfg.sampling_rate, 0.375 * cfg.sampling_rate) + FLOOR
    )


def quantise(
    latents: Float[Array, "b t d"], codebooks: Float[Array, "q v d"], used: Int[Array, " b"]
) -> tuple[Float[Array, "b t d"], Array, Int[Array, "q b t"], Float[Array, "q b t d"]]:
    """Quantise with the first `used` codebooks of each row.

    Returns the sum of entries, through which gradients pass as if it were `latents`; the commitment loss;
    and of all codebooks the codes and the residuals that they were chosen for.
    """
    residual, total, commitment, codes, residuals = latents, jnp.zeros_like(latents), jnp.float32(0), [], []
    for q, entries in enumerate(codebooks):
        products = jnp.matmul(residual, entries.T, precision=jax.lax.Precision.HIGHEST)  # as the codec itself
        distance = jnp.sum(entries**2, axis=-1) - 2 * products
        code = jnp.argmin(distance, axis=-1)
        chosen, is_used = entries[code], (q < used)[:, None, None].astype(latents.dtype)
        codes.append(code)
        residuals.append(residual)
        commitment += jnp.mean(is_used * (residual - chosen) ** 2)
        residual = residual - chosen
        total += is_used * chosen
    passed = latents + jax.lax.stop_gradient(total - latents)
    return passed, commitment, jnp.stack(codes), jax.lax.stop_gradient(jnp.stack(residuals))


def average_codebooks(
    codebooks: dict[str, Array], codes: Int[Array, "q b t"], residuals: Float[Array, "q b t d"], key: Array
) -> dict[str, Array]:
    """Move every entry towards the mean of the residuals that chose it; revive those that none chooses."""

    def one(entry_sum, count, code, residual, key):
        residual = residual.reshape(-1, residual.shape[-1])
        chosen = jax.nn.one_hot(code.reshape(-1), len(count))
        count = AVERAGE * count + (1 - AVERAGE) * jax.lax.psum(chosen.sum(axis=0), loop.DATA)
        entry_sum = AVERAGE * entry_sum + (1 - AVERAGE) * jax.lax.psum(chosen.T @ residual, loop.DATA)
        everywhere = jax.lax.all_gather(residual, loop.DATA, tiled=True)
        others = everywhere[jax.random.randint(key, count.shape, 0, len(everywhere))]
        is_dead = count < DEAD
        return jnp.where(is_dead[:, None], 0.3 * others, entry_sum), jnp.where(is_dead, 0.3, count)

    keys = jax.random.split(key, len(codes))
    entry_sum, count = jax.vmap(one)(codebooks["sum"], codebooks["count"], codes, residuals, keys)
    return {"entries": entry_sum / count[..., None], "sum": entry_sum, "count": count}


def with_counts(entries: Float[Array, "q v d"]) -> dict[str, Array]:
    """Begin the moving averages of codebooks."""
    return {"entries": entries, "sum": 0.2 * entries, "count": jnp.full(entries.shape[:2], 0.2)}


def train(
    cfg: CodecConfig, how: CodecTraining, recordings: Recordings, folder: Path, begin: Codec | None = None
) -> Codec:
    """Train a codec on recordings; resume from `folder`, which also gets the log.

    Args:
        begin: a trained codec to begin with; None: random weights.
    """
    model = begin or Codec(cfg, rngs=nnx.Rngs(how.seed))
    graphdef, params = nnx.split(model)
    unquantised_steps = 0 if begin else how.unquantised_steps
    optimizer = loop.adam(b1=0.8, b2=0.99)
    batch = functools.partial(cut, cfg, how, recordings)

    def start() -> loop.State:
        look = 0.1 * jax.random.normal(jax.random.key(how.seed), (cfg.hidden_size, 80))
        trained = {"codec": params, "look": {"kernel": look, "bias": jnp.full(80, -5.0, jnp.float32)}}
        codebooks = with_counts(jnp.copy(model.quantizer.codebooks[...]))  # both are donated
        return {"params": trained, "optimizer": optimizer.init(trained), "codebooks": codebooks}

    def loss(trained: Any, codebooks: Any, batch: Any, is_quantised: Array) -> tuple[Array, Any]:
        codec, x = nnx.merge(graphdef, trained["codec"]), batch["samples"]
        latents = codec.encoder(x[..., None], whole(x))
        passed, commitment, codes, residuals = quantise(latents, codebooks["entries"], batch["used"])
        passed = jnp.where(is_quantised > 0, passed, latents)
        y = codec.decoder(passed, whole(x))[..., 0]
        total, parts = sound_loss(x, y, cfg.sampling_rate, how.waveform_weight)
        parts["commitment"] = commitment * is_quantised
        target = frame_mels(x, cfg)
        looks = [
            jnp.abs(z @ trained["look"]["kernel"] + trained["look"]["bias"] - target).mean() for z in (latents, passed)
        ]
        parts["look"] = looks[0] + is_quantised * looks[1]
        total = total + how.commitment_weight * parts["commitment"] + how.look_weight * parts["look"]
        return total, ({"loss": total} | parts, codes, residuals)

    def update(state: loop.State, batch: Any, moment: loop.Moment) -> tuple[loop.State, loop.Losses]:
        is_quantised = (moment.step >= unquantised_steps).astype(jnp.float32)
        gradients, (losses, codes, residuals) = loop.mean_gradients(
            loss, state["params"], state["codebooks"], batch, is_quantised
        )
        rate = loop.learning_rate(how.rate, moment, how.steps)
        params, optimizer_state = loop.descend(optimizer, gradients, state["params"], state["optimizer"], rate)
        key = jax.random.fold_in(jax.random.key(how.seed), moment.step)
        averaged = average_codebooks(state["codebooks"], codes, residuals, key)
        codebooks = jax.tree.map(lambda new, old: jnp.where(is_quantised > 0, new, old), averaged, state["codebooks"])
        state = {
            "params": params,
            "optimizer": optimizer_state,
            "codebooks": codebooks,
        }
        return state, jax.lax.pmean(losses, loop.DATA)

    def begin_codebooks(state: loop.State) -> loop.State:
        """Begin each codebook as the k-means of what those before it leave of many latents."""
        codec = nnx.merge(graphdef, jax.device_get(state["params"]["codec"]))
        encode = jax.jit(lambda x: codec.encoder(x[..., None], whole(x)))
        enough = -(-10 * cfg.codebook_size // (how.batch * how.frames))
        latents = np.concatenate([encode(batch(how.steps + i)["samples"]) for i in range(enough)])
        residual, entries = latents.reshape(-1, cfg.hidden_size), []
        for q in range(cfg.num_quantizers):
            centres, nearest = k_means(residual, cfg.codebook_size, seed=q)
            residual = residual - centres[nearest]
            entries.append(centres)
        return state | {"codebooks": with_counts(jnp.stack(entries))}

    before = {} if begin else {unquantised_steps: begin_codebooks}
    state = loop.run(update, start, batch, folder, steps=how.steps, before=before)
    codec = nnx.merge(graphdef, state["params"]["codec"])
    codec.quantizer.codebooks[...] = state["codebooks"]["entries"]
    return tune_decoder(codec, how, recordings, folder / "decoder") if how.decoder_steps else codec


def cut(cfg: CodecConfig, how: CodecTraining, recordings: Recordings, step: int) -> dict[str, np.ndarray]:
    """Cut the recordings of a step, (b, n), and choose how many codebooks each is decoded from, (b,)."""
    rng = np.random.default_rng((how.seed, step))
    used = rng.choice(list(CODEBOOKS), how.batch, p=list(CODEBOOKS.values()))
    return {"samples": recordings.crops(rng, how.batch, how.frames * cfg.hop_length), "used": used.astype(np.int32)}


def tune_decoder(model: Codec, how: CodecTraining, recordings: Recordings, folder: Path) -> Codec:
    """Train the decoder alone for `decoder_steps`; resume from `folder`, which also gets the log.

    The codes stay as they are, and with them all that has learnt them. At half the rate, and with a quarter of
    the weight of the waveform difference: the pitches are in step by now, what is missing is detail.
    """
    cfg, optimizer = model.cfg, loop.adam(b1=0.8, b2=0.99)
    graphdef, decoder, rest = nnx.split(model, nnx.PathContains("decoder"), ...)

    def start() -> loop.State:
        return {"params": decoder, "optimizer": optimizer.init(decoder), "rest": rest}

    def loss(params: Any, rest: Any, batch: Any) -> tuple[Array, Any]:
        codec, x = nnx.merge(graphdef, params, rest), batch["samples"]
        latents = codec.encoder(x[..., None], whole(x))
        passed, *_ = quantise(latents, codec.quantizer.codebooks[...], batch["used"])
        y = codec.decoder(passed, whole(x))[..., 0]
        total, parts = sound_loss(x, y, cfg.sampling_rate, how.waveform_weight / 4)
        return total, {"loss": total} | parts

    def update(state: loop.State, batch: Any, moment: loop.Moment) -> tuple[loop.State, loop.Losses]:
        gradients, losses = loop.mean_gradients(loss, state["params"], state["rest"], batch)
        rate = loop.learning_rate(how.rate / 2, moment, how.decoder_steps)
        params, moments = loop.descend(optimizer, gradients, state["params"], state["optimizer"], rate)
        return state | {"params": params, "optimizer": moments}, jax.lax.pmean(losses, loop.DATA)

    batch = functools.partial(cut, cfg, how, recordings)
    state = loop.run(update, start, batch, folder, steps=how.decoder_steps)
    return nnx.merge(graphdef, state["params"], state["rest"])
