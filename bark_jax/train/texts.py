"""Sentences to learn from: English as it is written, and everyday words in everyday patterns.

    WordNet's examples ──┐
    PATTERNS             ├──training_lines──▶  (text, speaker), shuffled: any first part holds all kinds and speakers
    any words in a row ──┘

The examples stand between quotation marks in the glosses of WordNet 3.0 (Princeton University; Debian's package
`wordnet-base`). All numbers are words, so that what is read aloud is what a tokenizer of letters sees.
"""

import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from bark_jax.train.patterns import EVERYDAY, LISTS, PATTERNS, PLURALS, SPOKEN_LISTS, SPOKEN_PATTERNS

WORDNET = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
# What WordNet says of words that hurt: "(ethnic slur) ...", "offensive term for ...", "obscene words for ...".
HURTS = re.compile(
    r"ethnic slur|terms? of (abuse|contempt)|"
    r"\b(obscene|offensive|insulting|derogatory|disparaging|vulgar|abusive|contemptuous)\b.{0,40}?"
    r"\b(terms?|names?|words?|slang)\b"
)
LONGEST = 64  # characters of a sentence of everyday words
LONGEST_EXAMPLE = 96  # of an example of WordNet
SHORTEST_EXAMPLE = 15
FULL_STOP_SHARE = 0.9  # of the examples that have no mark at their end

TRAINING_COUNT, TRAINING_SEED = 24_000, 1  # 15 hours of speech, with those that are read twice
SHARES = {"examples": 0.80, "spoken": 0.12, "everyday": 0.08}  # of the texts
TWICE = 0.1  # of the texts, read by two speakers: a history is then learnt as a voice, not as a text


def entries(folder: Path = WORDNET) -> list[tuple[list[str], str]]:
    """Read the entries of WordNet: words of one meaning, and its gloss, a definition and examples between quotes.

    Raises:
        ValueError: WordNet is not installed.
    """
    missing = [name for part in PARTS_OF_SPEECH if not (folder / (name := f"data.{part}")).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}: install Debian's package wordnet-base")
    lines = [x for part in PARTS_OF_SPEECH for x in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines()]
    found = []
    for head, _, gloss in (line.partition(" | ") for line in lines if not line.startswith("  ")):  # the licence
        fields = head.split()  # an offset, two kinds, the number of words in hexadecimal, then each word and a number
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        found.append(([re.sub(r"\(.*", "", word).replace("_", " ").lower() for word in words], gloss))
    return found


def examples(folder: Path = WORDNET) -> list[str]:
    """Read the usage examples of WordNet that are plain English of a fitting length, as sentences.

    Raises:
        ValueError: WordNet is not installed.
    """
    found = (as_sentence(example) for _, gloss in entries(folder) for example in re.findall(r'"([^"]*)"', gloss))
    return sorted({text for text in found if text})


def hurts(folder: Path = WORDNET) -> Callable[[str], object]:
    """Return a test of whether a text has a word that WordNet calls a slur or obscene, in one of its meanings.

    Everyday words pass, whatever other meanings they have.

    Raises:
        ValueError: WordNet is not installed.
    """
    found = {word for words, gloss in entries(folder) if HURTS.search(gloss.partition('"')[0]) for word in words}
    either = "|".join(map(re.escape, sorted(found - set(EVERYDAY)))) or "(?!)"
    return re.compile(rf"\b({either})(s|es)?\b", re.IGNORECASE).search


def as_sentence(example: str) -> str | None:
    """Begin an example with a capital and end it with a mark; None where it is not plain English or does not fit."""
    text = re.sub(r"\s+", " ", example.replace("-", " ")).strip(" ,;:")
    plain = re.fullmatch(r"[A-Za-z' ,.?!;:]+", text) and not re.search(r"\b[A-Z]{2,}|\w\.\w|[.,?!;:]{2}|^'|'$", text)
    if not plain or "--" in example or re.search(r"\.(?=.)", text):
        return None
    text = text[0].upper() + text[1:]
    # A share, chosen by the text alone, keeps no mark at its end: people write so, too.
    unmarked = random.Random(text).random() > FULL_STOP_SHARE
    text += "" if text[-1] in ".?!" or unmarked else "."
    return text if SHORTEST_EXAMPLE <= len(text) <= LONGEST_EXAMPLE else None


def sentences(count: int, seed: int, *, common: Sequence[str] = (), without: Collection[str] = ()) -> list[str]:
    """Make that many different sentences of everyday words; the same for the same seed.

    Args:
        common: more words, for some of the sentences in any order; none: everyday words alone.
        without: sentences to leave out.
    """
    rng = random.Random(seed)
    return different(
        lambda: pattern(rng) if rng.random() < 0.45 else any_order(rng, common), count, without, longest=LONGEST
    )


def spoken_sentences(count: int, seed: int, *, without: Collection[str] = ()) -> list[str]:
    """Make that many different sentences with numbers, times, prices, dates, greetings, questions and exclamations."""
    rng = random.Random(seed)
    return different(
        lambda: pattern(rng, SPOKEN_PATTERNS, {**LISTS, **SPOKEN_LISTS}), count, without, longest=LONGEST_EXAMPLE
    )


def different(make: Callable[[], str], count: int, without: Collection[str], *, longest: int) -> list[str]:
    """Call `make` until it gave `count` texts that differ from each other and from `without`."""
    seen, made = set(without), []
    while len(made) < count:
        text = make()
        if len(text) <= longest and text not in seen:
            seen.add(text)
            made.append(text)
    return made


def pattern(rng: random.Random, patterns: Sequence[str] = PATTERNS, lists: Mapping[str, Sequence[str]] = LISTS) -> str:
    """Fill in one of the patterns."""
    filled = re.sub(r"\{(\w+)\}", lambda match: rng.choice(lists[match[1]]), rng.choice(patterns))
    filled = re.sub(r"\w+", lambda match: PLURALS.get(match[0], match[0]), filled)
    return filled[0].upper() + filled[1:]


def any_order(rng: random.Random, common: Sequence[str] = ()) -> str:
    """Put words side by side, everyday ones or half of them from `common`."""
    mixed = common if rng.random() < 0.5 else ()
    words = [
        rng.choice(common) if mixed and rng.random() < 0.6 else rng.choice(EVERYDAY) for _ in range(rng.randint(1, 9))
    ]
    return " ".join(words) + rng.choice(["", ".", ".", "?", "!"])


def everyday_candidates(count: int, seed: int) -> list[str]:
    """Make the sentences of everyday words among which those of `training_texts` are found."""
    return sentences(2 * round(count * SHARES["everyday"]), seed)


def everyday_texts() -> list[str]:
    """Make many sentences of everyday words, which have every one of them in all its forms."""
    return sentences(6_000, 7)


def training_texts(
    count: int | None = None,
    seed: int = TRAINING_SEED,
    *,
    without: Iterable[str] = (),
    readable: Callable[[str], object] = bool,
    folder: Path = WORDNET,
) -> list[str]:
    """Mix the texts to learn from, each once, in an order that the seed decides.

    Args:
        count: how many; None: `TRAINING_COUNT`.
        without: texts that are judged and not trained on; case and marks do not count.
        readable: whether the teacher can read a text.
        folder: where WordNet is.

    Raises:
        ValueError: WordNet is not installed, or has too few examples for that many texts.
    """
    count = TRAINING_COUNT if count is None else count
    rng, left_out = random.Random(seed), {words_of(text) for text in without}
    wanted = {kind: round(count * share) for kind, share in SHARES.items()}
    # A few more than wanted, for those that are left out.
    made = [examples(folder), spoken_sentences(wanted["spoken"] * 2, seed), everyday_candidates(count, seed)]
    rng.shuffle(made[0])
    is_hurtful = hurts(folder)
    made[0] = [text for text in made[0] if not is_hurtful(text)]
    texts: list[str] = []
    for kind, candidates in zip(wanted, made, strict=True):
        fitting = []
        for text in candidates:
            if len(fitting) == wanted[kind]:
                break
            if words_of(text) not in left_out and readable(text):
                left_out.add(words_of(text))
                fitting.append(text)
        if len(fitting) < wanted[kind]:
            raise ValueError(f"{wanted[kind]:,} texts of {kind} are wanted, there are {len(fitting):,}: ask for fewer")
        texts += fitting
    rng.shuffle(texts)
    return texts


def training_lines(texts: Sequence[str], speakers: Sequence[str], seed: int = TRAINING_SEED) -> list[tuple[str, str]]:
    """Give each text a speaker, and some texts a second one, such that any first part holds all speakers alike."""
    rng = random.Random(seed)
    doubled = [text for text in texts for _ in range(2 if rng.random() < TWICE else 1)]
    lines: list[tuple[str, str]] = []
    turn: list[str] = []
    for i, text in enumerate(doubled):
        if i % len(speakers) == 0:
            turn = rng.sample(speakers, len(speakers))
        speaker = turn[i % len(speakers)]
        if lines and lines[-1] == (text, speaker):  # a new turn began with the speaker of the last line
            speaker = turn[(i + 1) % len(speakers)]
        lines.append((text, speaker))
    return lines


def words_of(text: str) -> str:
    """Write a text as its words alone, lower case."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))
