"""Tokens that the published weights are known to give: run with BARK_CHECKPOINT set to suno/bark or its folder.

Greedy in all stages, no `min_eos_p`, float32, the first version of voice en_speaker_6; the tokens are
those that transformers' own tests expect of these weights.
"""

import os

import numpy as np
import pytest

import bark_jax

CHECKPOINT = os.environ.get("BARK_CHECKPOINT")
pytestmark = pytest.mark.skipif(
    not CHECKPOINT, reason="BARK_CHECKPOINT is not set to the published weights, suno/bark or a folder of them"
)

TEXT = "In the light of the moon, a little egg lay on a leaf"
SEMANTIC = [7363, 321, 41, 1461, 6915, 952, 326, 41, 41, 927]
COARSE = [
    11018,
    11391,
    10651,
    11418,
    10857,
    11620,
    10642,
    11366,
    10312,
    11528,
    10531,
    11516,
    10474,
    11051,
    10524,
    11051,
]
FINE = [
    [1018, 651, 857, 642, 312, 531, 474, 524, 524, 776],
    [367, 394, 596, 342, 504, 492, 27, 27, 822, 822],
    [961, 955, 221, 955, 955, 686, 939, 939, 479, 176],
    [638, 365, 218, 944, 853, 363, 639, 22, 884, 456],
    [302, 912, 524, 38, 174, 209, 879, 23, 910, 227],
    [440, 673, 861, 666, 372, 558, 49, 172, 232, 342],
    [244, 358, 123, 356, 586, 520, 499, 877, 542, 637],
    [806, 685, 905, 848, 803, 810, 921, 208, 625, 203],
]


@pytest.fixture(scope="module")
def speech():
    bark = bark_jax.load(CHECKPOINT, dtype="float32")
    greedy = {"semantic_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0, "min_eos_p": None}
    return bark.generate(TEXT, voice="en_speaker_6", **greedy)


def test_semantic_tokens(speech):
    assert speech.semantic[:10].tolist() == SEMANTIC


def test_coarse_codes(speech):
    flat = (speech.coarse + np.array([[10_000], [11_024]])).T.reshape(-1)
    assert flat[:16].tolist() == COARSE


def test_fine_codes(speech):
    np.testing.assert_array_equal(speech.fine[:, :10], FINE)
