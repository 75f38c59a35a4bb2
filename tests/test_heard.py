"""Every clip of the notebooks, as a recogniser hears it, is what the prose beside it promises.

A cell with players has in its metadata `heard`, a list with an entry for each player, in order:

    {"text": "Hello, my name is Bark.", "errors": 0.2}    at most this share of the words is wrong, and no word is cut
    {"text": "Hello, my name is Bark.", "lost": 0.8}      at least this share is wrong: the prose says that it is lost
    {"sound": "a tone"}                                   no words

The recogniser is Whisper tiny.en, as in `bark_jax/train/judges.py`: two words that sound alike to it count as one.
"""

import base64
import functools
import io
import re
from pathlib import Path

import make
import nbformat
import numpy as np
import pytest
import soundfile

from bark_jax.train import judges

FOLDER = Path(make.__file__).parent
PLAYER = re.compile(r"data:audio/[\w.+-]+;base64,([A-Za-z0-9+/=]+)")
FRAME_S, QUIET = 0.02, 0.12  # the last two frames are at most this loud, compared with the loudest one


def players(cell):
    """Return samples and rate of each player that a cell shows."""
    html = "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", ()))
    return [soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32") for data in PLAYER.findall(html)]


def loudness_at_the_end(samples, rate):
    frame = round(FRAME_S * rate)
    loudness = np.sqrt(np.mean(samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    return loudness[-2:].max() / loudness.max()


@functools.cache
def transcript(data: bytes, rate: int) -> str:
    """Write down a clip; the same clip is played in more than one cell."""
    (heard,) = judges.whisper([np.frombuffer(data, np.float32)], rate)
    return heard


def faults(promise, samples, rate):
    """Return what a clip is not that its promise says."""
    if "sound" in promise:
        return []
    heard = transcript(samples.tobytes(), rate)
    wrong = judges.compare([promise["text"]], [heard]).error_rate
    if "lost" in promise:
        return [] if wrong >= promise["lost"] else [f"{heard!r} is not lost: {wrong:.0%} of the words are wrong"]
    found = [] if wrong <= promise["errors"] else [f"{heard!r}, {wrong:.0%} of the words are wrong"]
    end = loudness_at_the_end(samples, rate)
    return found + ([f"it ends in a word, {end:.0%} as loud as it gets"] if end > QUIET else [])


@pytest.mark.parametrize("stem", make.STEMS)
def test_every_clip_is_what_the_prose_promises(stem):
    found, clips = [], 0
    for cell in nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4).cells:
        promises, sounds = cell.metadata.get("heard", []), players(cell)
        if len(promises) != len(sounds):
            found.append(f"{cell.id}: {len(sounds)} players and {len(promises)} promises")
            continue
        clips += len(sounds)
        for promise, (samples, rate) in zip(promises, sounds):
            found += [f"{cell.id}: {fault} for {promise}" for fault in faults(promise, samples, rate)]
    assert not found, "\n".join(found)
    assert clips


def test_a_broken_promise_is_found():
    reading, rate = soundfile.read(FOLDER.parent / "assets" / "reading.flac", dtype="float32")
    right = {"text": "He was not an ill-disposed young man.", "errors": 0.3}
    assert not faults(right, reading, rate)
    assert faults(right | {"text": "We see seven green frogs."}, reading, rate)
    assert faults({"text": right["text"], "lost": 0.8}, reading, rate)
    cut = reading[: np.argmax(np.abs(reading)) + 1]
    assert any("ends in a word" in fault for fault in faults(right, cut, rate))
    assert not faults({"sound": "a voice"}, cut, rate)
