"""The codec against Hugging Face's EnCodec, and what must hold without it."""

import functools
import math

import hf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_weights
from common import held
from flax import nnx
from transformers import EncodecConfig, EncodecModel

from bark_jax import codec as codec_module
from bark_jax.checkpoints.load import load_module
from bark_jax.checkpoints.tables import codec_table
from bark_jax.codec import Chunk, Codec, CodecConfig, decode_audio, encode_audio, run_in_chunks

RATE = 24_000
CONFIGS = {  # all at 75 frames a second
    "narrow": {"num_filters": 2, "hidden_size": 8},
    "deep": {
        "sampling_rate": 3000,
        "upsampling_ratios": [8, 5],
        "num_filters": 8,
        "num_residual_layers": 2,
        "num_lstm_layers": 1,
        "use_conv_shortcut": False,
        "hidden_size": 12,
        "codebook_size": 64,
        "target_bandwidths": [1.5, 3.0, 6.0],
    },
    "odd": {
        "sampling_rate": 2250,
        "upsampling_ratios": [2, 5, 3],
        "num_filters": 6,
        "num_residual_layers": 2,
        "dilation_growth_rate": 3,
        "compress": 3,
        "kernel_size": 5,
        "last_kernel_size": 3,
        "residual_kernel_size": 4,
        "num_lstm_layers": 3,
        "hidden_size": 10,
        "codebook_size": 256,
        "target_bandwidths": [6.0],
    },
}
LENGTHS = (1, 2, 5, 7, 8, 9, 16, 319, 320, 321, 639, 1000, 2561, 24_000)  # samples


def make_weights(config: EncodecConfig) -> dict[str, np.ndarray]:
    """Draw a codec whose codebooks are of the size of its latents, so that all entries are chosen."""
    weights = tiny_weights.codec(np.random.default_rng(0), config)
    return {name: 0.1 * x if name.endswith("embed") else x for name, x in weights.items()}


def build(**sizes) -> Codec:
    """Build ours with random weights."""
    config = EncodecConfig(**sizes)
    cfg = CodecConfig.from_dict(config.to_dict())
    return load_module(functools.partial(Codec, cfg), codec_table(cfg), held(make_weights(config)))


def build_both(**sizes) -> tuple[EncodecModel, Codec]:
    """Build Hugging Face's with the same weights, too; skip the test where torch is missing."""
    torch, config = hf.import_torch(), EncodecConfig(**sizes)
    model = EncodecModel(config).eval()
    model.load_state_dict({name: torch.from_numpy(x) for name, x in make_weights(config).items()}, strict=True)
    return model.requires_grad_(False), build(**sizes)


@pytest.fixture(scope="module", params=CONFIGS)
def both(request):
    return build_both(**CONFIGS[request.param])


@pytest.fixture(scope="module")
def codec():
    return build(**CONFIGS["narrow"])


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 8 frames, barely more than what the first convolution looks back."""
    monkeypatch.setattr(codec_module, "CHUNK_FRAMES", 8)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, n).astype(np.float32)


def random_codes(q: int, t: int, seed: int = 0, top: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (q, t)).astype(np.int32)


@functools.partial(jax.jit, static_argnums=0)
def latents_chunk(graphdef, state, samples, remaining, first, past):
    """Like `encode_chunk`, up to the quantiser; time last."""
    chunk = Chunk(samples.shape[1], remaining, first, past)
    return nnx.merge(graphdef, state).encoder(samples[..., None], chunk).swapaxes(1, 2), chunk.kept


def latents(codec: Codec, samples: np.ndarray) -> np.ndarray:
    """Latents (d, t) of one recording, in chunks."""
    size = codec_module.CHUNK_FRAMES * codec.cfg.hop_length
    return run_in_chunks(latents_chunk, codec, [samples], size)[0, :, : -(-samples.size // codec.cfg.hop_length)]


# Parity


def hf_latents(model, samples):
    torch = hf.import_torch()
    return model.encoder(torch.tensor(samples)[None, None])[0].numpy()


def hf_encode(model, samples, kbps):
    torch = hf.import_torch()
    return model.encode(torch.tensor(samples)[None, None], bandwidth=kbps).audio_codes[0, 0].numpy()


def hf_decode(model, codes):
    torch = hf.import_torch()
    return model.decode(torch.tensor(codes.astype(np.int64))[None, None], [None]).audio_values[0, 0].numpy()


def test_latents_match(both):
    model, codec = both
    for n in LENGTHS:
        expected = hf_latents(model, noise(n))
        np.testing.assert_allclose(latents(codec, noise(n)), expected, atol=2e-6, err_msg=f"{n} samples")


def test_codes_match_exactly(both):
    model, codec = both
    kbps = codec.cfg.target_bandwidths[-1]
    for n in LENGTHS:
        (codes,) = encode_audio(codec, [noise(n)], codec.cfg.sampling_rate, kbps)
        np.testing.assert_array_equal(codes, hf_encode(model, noise(n), kbps), f"{n} samples")


@pytest.mark.parametrize("both", ["narrow"], indirect=True)
@pytest.mark.parametrize("kbps", [1.5, 3.0, 6.0, 12.0])
def test_codes_match_at_each_bandwidth(both, kbps):
    model, codec = both
    (codes,) = encode_audio(codec, [noise(24_000)], RATE, kbps)
    np.testing.assert_array_equal(codes, hf_encode(model, noise(24_000), kbps))


def test_samples_match(both):
    model, codec = both
    for q, t in [(1, 9), (8, 1), (8, 2), (8, 3), (8, 5), (8, 7), (8, 75), (8, 300), (codec.cfg.num_quantizers, 20)]:
        codes = random_codes(q, t, top=codec.cfg.codebook_size)
        message = f"{q} codebooks, {t} frames"
        np.testing.assert_allclose(decode_audio(codec, [codes])[0], hf_decode(model, codes), atol=1e-5, err_msg=message)


@pytest.mark.once
def test_full_size_matches():
    model, codec = build_both()
    assert codec.cfg == CodecConfig()
    (codes,) = encode_audio(codec, [noise(24_001)], RATE, 6.0)
    np.testing.assert_array_equal(codes, hf_encode(model, noise(24_001), 6.0))
    (samples,) = decode_audio(codec, [codes])
    np.testing.assert_allclose(samples, hf_decode(model, codes), atol=1e-5)


# Chunks


def test_chunks_equal_the_whole(both, small_chunks):
    model, codec = both
    hop = codec.cfg.hop_length
    for n in (1, 8 * hop - 1, 8 * hop, 8 * hop + 1, 25 * hop + 5, 40 * hop + 3):
        expected = hf_latents(model, noise(n))
        np.testing.assert_allclose(latents(codec, noise(n)), expected, atol=2e-6, err_msg=f"{n} samples")
    for t in (1, 7, 8, 9, 26):
        codes = random_codes(8, t)
        np.testing.assert_allclose(decode_audio(codec, [codes])[0], hf_decode(model, codes), atol=1e-5, err_msg=f"{t}")


def test_the_plain_form_equals_the_chunked(codec, small_chunks):
    graphdef, state = nnx.split(codec)
    samples = noise(6500)
    codes = jax.jit(lambda state, x: nnx.merge(graphdef, state).encode(x, 8))(state, samples[None])
    np.testing.assert_array_equal(codes[0], encode_audio(codec, [samples], RATE, 6.0)[0])
    decoded = jax.jit(lambda state, x: nnx.merge(graphdef, state).decode(x))(state, codes)
    np.testing.assert_allclose(decoded[0], decode_audio(codec, [codes[0]])[0], atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("t", [1, 2, 30])
def test_recordings_that_fill_a_chunk_need_no_ends(codec, t):
    size = t * codec.cfg.hop_length
    inputs = jnp.asarray(np.stack([noise(size, seed) for seed in (0, 1)]))[..., None]
    for part in (codec.encoder, codec.decoder):
        run = nnx.jit(lambda part, inputs, remaining: part(inputs, Chunk(size, remaining)))
        without_ends = run(part, inputs, None)
        # Two programs: on some processors they round the last bit differently.
        np.testing.assert_allclose(without_ends, run(part, inputs, jnp.full(2, size)), rtol=0, atol=1e-6)
        inputs = without_ends


@pytest.mark.once
def test_each_row_equals_the_row_alone(codec, small_chunks):
    samples = [noise(n, seed=n) for n in (1, 2561, 7000, 320, 2559)]
    batch = encode_audio(codec, samples, RATE, 6.0)
    for row, together in zip(samples, batch, strict=True):
        np.testing.assert_array_equal(together, encode_audio(codec, [row], RATE, 6.0)[0])
    for row, together in zip(batch, decode_audio(codec, batch), strict=True):
        np.testing.assert_allclose(together, decode_audio(codec, [row])[0], atol=1e-5)


def test_no_length_compiles_anew(codec, small_chunks, compilations):
    encode_audio(codec, [noise(100)], RATE, 6.0)
    decode_audio(codec, [random_codes(8, 10)])
    retrained = jax.tree.map(jnp.negative, codec)
    compilations.clear()
    for n in (1, 320, 2560, 9000):
        encode_audio(retrained, [noise(n)], RATE, 6.0)
        decode_audio(retrained, [random_codes(8, -(-n // 320))])
    assert compilations == []


# Properties


@pytest.mark.once
@pytest.mark.parametrize("n", [1, 320, 321, 1000])
def test_shapes(codec, n, small_chunks):
    (codes,) = encode_audio(codec, [noise(n)], RATE, 6.0)
    assert codes.shape == (8, math.ceil(n / 320))
    assert codes.dtype == np.int32
    (samples,) = decode_audio(codec, [codes])
    assert samples.shape == (320 * codes.shape[1],)
    assert samples.dtype == np.float32


def test_the_decoder_looks_at_the_past_only(codec, small_chunks):
    codes = random_codes(8, 40)
    changed = codes.copy()
    changed[:, 30:] = 1
    before, after = decode_audio(codec, [codes])[0], decode_audio(codec, [changed])[0]
    np.testing.assert_array_equal(before[: 30 * 320], after[: 30 * 320])
    assert not np.array_equal(before[30 * 320 :], after[30 * 320 :])


def test_each_entry_is_quantised_to_itself(codec):
    entries = codec.quantizer.codebooks[0, :20][None]
    np.testing.assert_array_equal(codec.quantizer.encode(entries, 1)[0, 0], np.arange(20))
    np.testing.assert_array_equal(codec.quantizer.decode(jnp.arange(20)[None, None]), entries)


def test_bfloat16(codec, small_chunks):
    graphdef, state = nnx.split(codec)
    half = nnx.merge(graphdef, jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.bfloat16), state))
    codes = random_codes(8, 20)
    expected, found = decode_audio(codec, [codes])[0], decode_audio(half, [codes])[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert encode_audio(half, [noise(1000)], RATE, 6.0)[0].shape == (8, 4)


# Config


def test_config_reads_and_writes_hugging_face():
    assert CodecConfig.from_dict(EncodecConfig().to_dict()) == CodecConfig()
    found = CodecConfig.from_dict(EncodecConfig(**CONFIGS["odd"]).to_dict())
    assert CodecConfig.from_dict(found.to_dict()) == found
    assert EncodecConfig(**found.to_dict()).to_dict() == EncodecConfig(**CONFIGS["odd"]).to_dict()


def test_config_derives():
    cfg = CodecConfig()
    assert (cfg.hop_length, cfg.frame_rate, cfg.num_quantizers) == (320, 75, 32)
    assert [cfg.codebooks_at(kbps) for kbps in (1.5, 3.0, 6.0, 12.0, 24.0)] == [2, 4, 8, 16, 32]
    assert [cfg.bandwidth_of(codebooks) for codebooks in (2, 4, 8, 16, 32)] == [1.5, 3.0, 6.0, 12.0, 24.0]
    with pytest.raises(ValueError, match=r"has 5 codebooks: choose one of \[2, 4, 8, 16, 32\]"):
        cfg.bandwidth_of(5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("norm_type", "time_group_norm"),
        ("use_causal_conv", False),
        ("pad_mode", "constant"),
        ("trim_right_ratio", 0.5),
        ("normalize", True),
        ("audio_channels", 2),
        ("chunk_length_s", 1.0),
        ("codebook_dim", 64),
    ],
)
def test_config_refuses_what_is_not_computed(field, value):
    with pytest.raises(ValueError, match=rf"^{field} is {value!r}, .* only: use a checkpoint"):
        CodecConfig.from_dict({field: value})


# Bad input


@pytest.mark.parametrize(
    ("samples", "rate", "kbps", "message"),
    [
        ([noise(9)], 44_100, 6.0, r"44100 Hz, the codec reads 24000 Hz: .*resample_poly\(samples, 80, 147\)"),
        ([noise(9)], RATE, 5.0, r"bandwidth is 5.0 kbit/s: choose one of 1.5, 3.0, 6.0, 12.0, 24.0"),
        ([noise(9), noise(18).reshape(2, 9)], RATE, 6.0, r"recording 1 has shape \(2, 9\), .*x.mean\(axis=0\)"),
        (noise(9), RATE, 6.0, r"recording 0 has shape \(\), .*pass a list"),
        ([np.zeros(9, np.int16)], RATE, 6.0, r"recording 0 holds int16, .*divide int16 samples by 32768.0"),
        ([np.zeros(0, np.float32)], RATE, 6.0, r"recording 0 has 0 samples, the codec needs 1 or more: leave it out"),
        ([np.float32([0, 1, np.nan])], RATE, 6.0, r"recording 0 is nan at sample 2, .*nan_to_num"),
        ([np.float32([0, -np.inf, 0])], RATE, 6.0, r"recording 0 is -inf at sample 1, .*nan_to_num"),
        ([], RATE, 6.0, r"the list holds 0 recordings"),
    ],
)
def test_bad_samples_are_named(codec, samples, rate, kbps, message):
    with pytest.raises(ValueError, match=message):
        encode_audio(codec, samples, rate, kbps)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([np.zeros(9, np.int32)], r"recording 0 is int32 of shape \(9,\), not integers \(q, t\)"),
        (np.zeros(9, np.int32), r"recording 0 is int32 of shape \(\), not integers \(q, t\): pass a list"),
        ([np.zeros((8, 9), np.float32)], r"recording 0 is float32 of shape \(8, 9\), not integers"),
        ([np.zeros((8, 0), np.int32)], r"recording 0 has shape \(8, 0\), the codec needs 1 frame or more"),
        ([np.zeros((33, 2), np.int32)], r"recording 0 has 33 codebooks, the codec has 32: pass codes\[:32\]"),
        ([np.zeros((8, 2), np.int32), np.zeros((2, 2), np.int32)], r"recording 1 has 2 codebooks, recording 0 has 8"),
        ([np.full((8, 2), 1024)], r"recording 0 has codes 1024..1024, not 0..1023: remove"),
        ([np.full((8, 2), -1)], r"recording 0 has codes -1..-1, not 0..1023: remove"),
        ([], r"the list holds 0 recordings"),
    ],
)
def test_bad_codes_are_named(codec, codes, message):
    with pytest.raises(ValueError, match=message):
        decode_audio(codec, codes)
