"""The teacher: a free synthesiser reads sentences made here, into a folder of recordings.

    seed ──sentences──▶ texts ──flite──▶ FOLDER/wavs/00000.wav, ... and FOLDER/metadata.csv (LJSpeech's layout)

Sentences are everyday words in everyday patterns, everyday words in any order, and words of SCOWL's
list of the most common ones. The voice is flite's `rms`, statistical and synthetic, made from the
CMU Arctic recordings. Debian's packages `flite` and `scowl` bring what is needed.
"""

import concurrent.futures
import functools
import io
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from bark_jax.files import write_file
from bark_jax.train.data import METADATA, read_metadata

VOICE = "rms"
STRETCH = 0.9  # of durations: the voice is a slow reader
LONGEST = 64  # characters of a text
PADDING_S = (0.05, 0.1)  # silence kept before and behind the speech
SILENCE = 10 ** (-50 / 20)  # of full scale
COMMON_WORDS = ("/usr/share/dict/scowl/english-words.10", "/usr/share/dict/scowl/american-words.10")

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
).split()
COLOURS = "red green blue yellow black white orange purple brown pink".split()
ANIMALS = "dog cat bird fish horse cow sheep lion tiger rabbit mouse bear frog duck monkey wolf".split()
QUALITIES = "big small old young happy sad fast slow hot cold new good long little great nice".split()
THINGS = (
    "house tree river mountain water apple music table window door garden book bread milk city ocean fire star "
    "moon sun rain snow wind flower boat train car road school friend song picture story letter world"
).split()
VERBS = "see like want eat make find hear love open sing speak read know help play write".split()
PRONOUNS = "i you we they".split()
NAMES = "bark alice robert emma david".split()
PLACES = "in on under with near".split()
TIMES = "today tomorrow now".split()
DAYTIMES = "morning evening night".split()
OTHERS = (
    "hello goodbye yes no please thank sorry my your name is the a and this that are was can will not do have "
    "how what where when who why welcome to of for it he she there here very "
    "don't it's i'm let's that's can't"
).split()
EVERYDAY = sorted({
    *NUMBERS, *COLOURS, *ANIMALS, *QUALITIES, *THINGS, *VERBS, *PRONOUNS, *NAMES, *PLACES, *TIMES, *DAYTIMES, *OTHERS,
})  # fmt: skip

PLURALS = {
    "fishs": "fish", "sheeps": "sheep", "mouses": "mice", "wolfs": "wolves", "citys": "cities", "storys": "stories",
}  # fmt: skip

# Patterns of everyday sentences; a word in braces stands for one of a list.
LISTS = {
    "number": NUMBERS[1:20],
    "colour": COLOURS,
    "animal": ANIMALS,
    "quality": QUALITIES,
    "thing": THINGS,
    "verb": VERBS,
    "pronoun": PRONOUNS,
    "name": NAMES,
    "place": PLACES,
    "time": TIMES,
    "daytime": DAYTIMES,
}
PATTERNS = (
    "hello, my name is {name}.",
    "hello {name}, how are you {time}?",
    "good {daytime}, {name}.",
    "{pronoun} {verb} the {quality} {animal}.",
    "{pronoun} {verb} {number} {colour} {animal}s.",
    "the {colour} {animal} is {place} the {thing}.",
    "the {thing} is {quality} and {colour}.",
    "{pronoun} can {verb} the {thing} {time}.",
    "where is the {colour} {thing}?",
    "what is {place} the {quality} {thing}?",
    "thank you, {name}, and goodbye.",
    "yes, {pronoun} {verb} the {thing} and the {thing}.",
    "no, {pronoun} will not {verb} this {thing}.",
    "please {verb} the {quality} {thing}.",
    "welcome to the {quality} {thing}.",
    "a {quality} {colour} {animal} and a {thing}.",
    "there are {number} {thing}s {place} the {thing}.",
    "my {animal} is very {quality}.",
    "this is my {quality} {thing}.",
    "who is {place} the {colour} {thing}?",
    "the {animal} and the {animal} are {place} the {thing}.",
    "{name} and {name} {verb} {number} {thing}s.",
    "it was a {quality} {daytime}.",
    "do you {verb} my {animal}?",
    "i'm {quality}, and you are {quality}.",
    "it's {place} the {quality} {thing}.",
    "don't {verb} the {colour} {thing}.",
    "{number}, {number}, {number}, {number}.",
)


def common_words() -> list[str]:
    """Read the common words of Debian's package `scowl`, lower case and without marks."""
    missing = [path for path in COMMON_WORDS if not Path(path).is_file()]
    if missing:
        raise ValueError(f"there is no {' nor '.join(missing)}: install Debian's package scowl")
    words = {word for path in COMMON_WORDS for word in Path(path).read_text(encoding="latin-1").split()}
    return sorted(word for word in words if re.fullmatch(r"[a-z]{2,12}", word))


def sentences(count: int, seed: int, *, common: Sequence[str] = (), without: Sequence[str] = ()) -> list[str]:
    """Make so many different sentences; the same for the same seed.

    Args:
        common: words of which some sentences take some; none: everyday words alone.
        without: sentences that are not to come again.
    """
    rng, seen, made = random.Random(seed), set(without), []
    while len(made) < count:
        text = pattern(rng) if rng.random() < 0.45 else any_order(rng, common)
        if len(text) <= LONGEST and text not in seen:
            seen.add(text)
            made.append(text)
    return made


TRAINING_COUNT, TRAINING_SEED = 32_000, 1


def training_texts() -> list[str]:
    """Make the sentences of which the embedded checkpoint learnt to speak."""
    return sentences(TRAINING_COUNT, TRAINING_SEED, common=common_words())


def everyday_texts() -> list[str]:
    """Make many sentences of everyday words, which have every one of them in all its forms."""
    return sentences(6_000, 7)


def pattern(rng: random.Random) -> str:
    """Fill in one of the patterns."""
    filled = re.sub(r"\{(\w+)\}", lambda match: rng.choice(LISTS[match[1]]), rng.choice(PATTERNS))
    filled = re.sub(r"\w+", lambda match: PLURALS.get(match[0], match[0]), filled)
    return filled[0].upper() + filled[1:]


def any_order(rng: random.Random, common: Sequence[str]) -> str:
    """Put words side by side, everyday ones or half of them from `common`."""
    mixed = common if rng.random() < 0.5 else ()
    words = [
        rng.choice(common) if mixed and rng.random() < 0.6 else rng.choice(EVERYDAY) for _ in range(rng.randint(1, 9))
    ]
    return " ".join(words) + rng.choice(["", ".", ".", "?", "!"])


def speak(text: str, path: Path) -> None:
    """Let the teacher read a text into a WAV, the silence around it cut.

    Raises:
        ValueError: there is no flite, or it does not read the text.
    """
    flite = shutil.which("flite")
    if flite is None:
        raise ValueError("there is no flite, the teacher: install Debian's package flite")
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        done = subprocess.run(
            [flite, "-voice", VOICE, "--setf", f"duration_stretch={STRETCH}", "-t", text, "-o", file.name],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ValueError(f"flite does not read {text!r}: {done.stderr.strip()}")
        samples, rate = soundfile.read(file.name, dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, trim(samples, rate), rate, format="WAV")
    write_file(path, buffer.getvalue(), force=True)


def trim(samples: np.ndarray, rate: int) -> np.ndarray:
    """Cut the silence around speech, int16 (n,), but for `PADDING_S`."""
    (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) > SILENCE * 32768)
    if not loud.size:
        return samples
    before, behind = (int(seconds * rate) for seconds in PADDING_S)
    return samples[max(0, loud[0] - before) : loud[-1] + behind]


def record(texts: Sequence[str], folder: Path, *, workers: int | None = None) -> None:
    """Let the teacher read texts into a folder of LJSpeech's layout; what is there of the same text is kept.

    Raises:
        ValueError: as `speak`.
    """
    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    names = [f"{number:05d}" for number in range(len(texts))]
    before = {entry.name: entry.text for entry in read_metadata(folder)} if (folder / METADATA).is_file() else {}
    for name, text in zip(names, texts, strict=True):
        if before.get(name) != text:
            (folder / "wavs" / f"{name}.wav").unlink(missing_ok=True)
    lines = [f"{name}|{text}|{text}\n" for name, text in zip(names, texts, strict=True)]
    write_file(folder / METADATA, "".join(lines).encode(), force=True)
    paths = [folder / "wavs" / f"{name}.wav" for name in names]
    todo = [(text, path) for text, path in zip(texts, paths, strict=True) if not path.exists()]
    with concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        jobs = [pool.submit(functools.partial(speak, text, path)) for text, path in todo]
        try:
            for job in tqdm(concurrent.futures.as_completed(jobs), total=len(jobs), desc="teacher", unit="text"):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
