"""A text of any length to pieces that Bark can speak, one after another.

    text ──paragraphs──▶ sentences ──the long ones cut──▶ pieces of at most 256 ids and 14 seconds

In:  a text in one of Bark's languages, the tokenizer of a checkpoint.
Out: its sentences, whole where they fit. All characters but white space are kept, in their order.

`sentencex` finds where sentences end; what it does not know of abbreviations, ordinals and quotations
is added here. How long a piece will sound is estimated from its characters, by script. Knows nothing
of audio or networks.
"""

import bisect
import functools
import re
import unicodedata
from collections import Counter
from itertools import accumulate, pairwise

import sentencex
from tokenizers import Tokenizer

from bark_jax.text import check_text, collapse
from bark_jax.tokens import TokenConfig
from bark_jax.voices import LANGUAGES

MAX_SHARE = 0.91  # of the longest sound, what a piece may take as estimated: of Bark's 15.4 s, 14
# Read aloud, 14 alphabetic languages take 68 ms a character, and 17 languages have 370 syllables a minute; Chinese
# has 255 characters a minute, Japanese 357 (Trauzettel-Klosinski and Dietz, the IReST texts, 2012). Here a little
# slower: a character of Hangul is a syllable, two of Devanagari are, and a digit is a word.
CHARACTERS_PER_SECOND = {"CJK": 4, "DIGIT": 4, "HANGUL": 5, "HIRAGANA": 6, "KATAKANA": 6, "DEVANAGARI": 10}
OTHERS_PER_SECOND = 14  # letters of alphabets, spaces, punctuation
LANGUAGE_OF_SCRIPT = {
    "CJK": "zh",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "DEVANAGARI": "hi",
    "CYRILLIC": "ru",
}

# Abbreviations that sentencex takes for the end of a sentence if a capital or a number follows.
TITLES = ("Dr", "Mr", "Mrs", "Ms", "Prof")
ABBREVIATIONS = {
    "de": ("Bd", "Dipl", "Fa", "Ing", "Kap", "Tel", "inkl"),
    "es": ("Dña", "aprox"),
    "fr": ("Me", "Mgr", "Mlle", "Mme", "Pr", "St", "Ste"),
    "hi": ("डॉ", "पं", "प्रो", "मो", "रु", "श्री", "श्रीमती", "सं"),
    "it": ("pag",),
    "ja": TITLES,
    "ko": TITLES,
    "pl": ("Nr", "al", "dr", "gen", "godz", "im", "inż", "ks", "mgr", "nr", "ok", "pkt", "str", "św", "ul"),
    "pt": ("Exa", "Profa", "aprox", "av", "cap", "pág", "séc", "tel", "vol"),
    "ru": ("гл", "им", "ок", "ред", "рис", "св"),
    "tr": ("Alb", "Apt", "Av", "Cad", "Doç", "Hz", "Mah", "Müh", "Org", "Sn", "Sok", "Yrd"),
    "zh": TITLES,
}

CJK_STOPS, CJK_COMMAS, CLOSING = "。！？।", "、，；：", "”’」』）】》〉)]"
EITHER = "\"'«»“‘"  # open or close a quotation, by language
OPENING = "„‚「『（【《〈(["
CLOSED = f"[{re.escape(CLOSING + EITHER)}]*"
# A blank line ends a sentence, and so does the end of a line after a stop that no abbreviation has.
PARAGRAPH = re.compile(rf"\n\s*\n|(?<=[{CJK_STOPS}])\s*\n|(?<=[{CJK_STOPS}][{re.escape(CLOSING)}])\s*\n")
# What is left whole if it fits: up to white space, or up to a mark of a script that writes none behind it.
ATOM = re.compile(rf"[^\s{CJK_STOPS}{CJK_COMMAS}]*[{CJK_STOPS}{CJK_COMMAS}]*{CLOSED}\s*")
CLAUSE, COMMA = re.compile(rf"[;:：；—–…]{CLOSED}$"), re.compile(rf"[,，、،]{CLOSED}$")
QUOTES = str.maketrans(dict.fromkeys(CLOSING + EITHER + OPENING, " "))

# What it costs to cut, against 2 for each piece and up to 1 for its length: a cut at a clause is worth one more piece,
# a cut at mere white space is not.
PIECE, AT_CLAUSE, AT_COMMA, AT_SPACE, AT_CHARACTER, FORBIDDEN = 2, 0.25, 0.5, 5, 10, 1000


def split(text: str, tokenizer: Tokenizer, tokens: TokenConfig, language: str | None = None) -> list[str]:
    """Split a text into pieces to speak one by one; there is at least one.

    Each has at most `max_input_semantic_length` ids, and MAX_SHARE of the longest sound as estimated. Sentences that
    fit stay whole. The others are cut, into parts as even as may be: where a sentence ends within a
    quotation, at clause marks, else at white space, else between characters. What holds no letter or digit
    stays with the sentence before it, or at the very beginning with the one behind.

    Args:
        language: one of Bark's, as "de"; None: guessed from the script, English for Latin letters.

    Raises:
        ValueError: no text, or a language that Bark does not speak.
    """
    check_text(text)
    if language is None:
        language = guess_language(text)
    elif language not in LANGUAGES:
        raise ValueError(f"language is {language!r}, Bark speaks {', '.join(LANGUAGES)}: pass one of these, or None")
    sentences = [""]
    for paragraph in map(collapse, PARAGRAPH.split("\n".join(text.splitlines()))):
        first, *others = _sentences(paragraph, language) or [""]
        if _is_spoken(sentences[-1]) and _is_spoken(first):
            sentences.append(first)
        else:
            sentences[-1] += f" {first}"
        sentences += others
    return [piece for sentence in sentences for piece in _cut(collapse(sentence), tokenizer, tokens, language)]


def guess_language(text: str) -> str:
    """Guess a language of Bark's from the script of most letters."""
    counts = Counter(LANGUAGE_OF_SCRIPT.get(_script(letter), "en") for letter in text if letter.isalpha())
    language = max(counts, key=counts.__getitem__, default="en")
    return "ja" if language == "zh" and counts["ja"] else language


def estimate_seconds(text: str) -> float:
    """Estimate how long a text sounds when it is read aloud."""
    return sum(map(_seconds, text))


@functools.cache
def _script(character: str) -> str:
    """Return the first word of a character's Unicode name, its width aside: LATIN, CJK, DIGIT."""
    return re.split("[ -]", re.sub("^(HALF|FULL)WIDTH ", "", unicodedata.name(character, "")))[0]


@functools.cache
def _seconds(character: str) -> float:
    return 1 / CHARACTERS_PER_SECOND.get(_script(character), OTHERS_PER_SECOND)


def _is_spoken(text: str) -> bool:
    return any(map(str.isalnum, text))


# ---------------------------------------------------------------------------------------------
# Where sentences end
# ---------------------------------------------------------------------------------------------


def _sentences(text: str, language: str) -> list[str]:
    """Split a text without line breaks; end to end, the sentences are the text."""
    found: list[str] = []
    for sentence in sentencex.segment(language, text):  # pyright: ignore[reportAttributeAccessIssue]
        if found and _goes_on(found[-1], sentence, language):
            found[-1] += sentence
        else:
            found.append(sentence)
    return found


def _goes_on(before: str, after: str, language: str) -> bool:
    """Tell a break that sentencex finds, and that is none."""
    if not (_is_spoken(before) and _is_spoken(after)):
        return True
    letters = filter(str.isalpha, before)
    if next(letters, "").isupper() and after.lstrip(f"{EITHER}{CLOSING}—–- ")[:1].islower():
        return True  # "Go!" he cried.
    if not before[-1].isspace():
        is_number_or_name = before.endswith((".", "．")) and not before.endswith("..")
        is_quoted = before[-1] in CLOSING + EITHER and _script(after[0]) in ("HIRAGANA", "HANGUL")  # 「はい。」と
        return is_number_or_name or is_quoted or after[0] in CLOSING
    *_, word = before.split()
    word = word.lstrip(EITHER + OPENING)
    if not word.endswith("."):
        return False
    word = word.removesuffix(".").split("-")[-1]  # J.-C., Dipl.-Ing.
    is_ordinal = word.isdecimal() and len(word) <= 3
    is_initial = len(word) == 1 and word.upper() != word.lower()
    return is_ordinal or is_initial or word in ABBREVIATIONS.get(language, ())


# ---------------------------------------------------------------------------------------------
# Sentences that are too long
# ---------------------------------------------------------------------------------------------


def max_seconds(tokens: TokenConfig) -> float:
    """Return how long a piece may take, as estimated."""
    return MAX_SHARE * tokens.longest_s


def _cut(sentence: str, tokenizer: Tokenizer, tokens: TokenConfig, language: str) -> list[str]:
    """Cut a sentence that is too long where it costs least: the best way to each place, from left to right."""

    def count_ids(texts: list[str]) -> list[int]:
        return [len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False)]

    both, *each = count_ids(["a b", "a", "b"])
    space = both - sum(each)  # ids of a space between words: it has one of its own where letters are read

    def measure(texts: list[str]) -> tuple[list[float], list[float]]:
        """Measure each text by its ids and by its seconds, as shares of what Bark can take."""
        ids = [
            (count + space * text[-1:].isspace()) / tokens.max_input_semantic_length
            for text, count in zip(texts, count_ids(texts), strict=True)
        ]
        return ids, [estimate_seconds(text) / max_seconds(tokens) for text in texts]

    if max(map(max, measure([sentence]))) <= 1:
        return [sentence]
    words = [word for word in ATOM.findall(sentence) if word]
    shares = zip(words, *measure(words), strict=True)
    atoms = [atom for word, *share in shares for atom in ([word] if max(share) <= 1 else word)]
    ids, seconds = (list(accumulate(shares, initial=0.0)) for shares in measure(atoms))
    spoken = list(accumulate(map(_is_spoken, atoms), initial=0))
    begins = list(accumulate(map(len, atoms), initial=0))
    inner = list(accumulate(map(len, _sentences(sentence.translate(QUOTES), language)), initial=0))
    ends = {bisect.bisect_right(begins, place) - 1 for place in inner}  # of inner sentences, as numbers of atoms

    costs, cuts = [0.0], [0]
    for end in range(1, len(atoms) + 1):
        ways = []
        for begin in range(end - 1, -1, -1):
            part = max(ids[end] - ids[begin], seconds[end] - seconds[begin])
            if part > 1 and ways:
                break
            silence = FORBIDDEN * (spoken[end] == spoken[begin])
            ways.append((costs[begin] + PIECE + part**2 + silence, begin))
        cost, begin = min(ways)
        costs.append(cost + (0 if end in ends or end == len(atoms) else _price(atoms[end - 1], atoms[end])))
        cuts.append(begin)

    places = [len(atoms)]
    while places[-1]:
        places.append(cuts[places[-1]])
    return ["".join(atoms[begin:end]).strip() for begin, end in pairwise(places[::-1])]


def _price(before: str, after: str) -> float:
    """Say how bad it is to cut between two atoms of a sentence."""
    if unicodedata.category(after[0]).startswith("M") or "\u200d" in (before[-1], after[0]):
        return FORBIDDEN  # they make one character
    if CLAUSE.search(before.rstrip()):
        return AT_CLAUSE
    if COMMA.search(before.rstrip()):
        return AT_COMMA
    return AT_SPACE if before[-1].isspace() else AT_CHARACTER
