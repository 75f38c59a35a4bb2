"""A text of any length to pieces that Bark can speak, one after another.

    text ──lines──▶ blocks ──sentencex──▶ sentences ──the long ones cut──▶ pieces of at most 256 ids and 14 seconds

In:  a text in one of Bark's languages, the tokenizer of a checkpoint.
Out: its sentences, whole where they fit. All characters but white space are kept, in their order.

A heading, an item of a list and a row of a table end with their line; other lines are wrapped text. `sentencex` finds
where sentences end: what it does not know of ordinals and quotations is added here, and of abbreviations in
`abbreviations.toml`. How long a piece will sound is estimated from its characters, by script. Time is linear in the
length of the text. Knows nothing of audio or networks.
"""

import functools
import math
import re
import tomllib
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import accumulate, pairwise

import sentencex
from tokenizers import Tokenizer

from bark_jax.text import check_text, collapse, count_ids
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

ABBREVIATIONS = "abbreviations.toml"
ORDINAL_LANGUAGES = ("de", "pl", "tr")  # a stop makes a number an ordinal: "am 3. Oktober"

CJK_LINES = ("CJK", "HIRAGANA", "KATAKANA")  # scripts whose lines may be wrapped after any character
CJK_STOPS, CJK_COMMAS, CLOSING = "。！？।", "、，；：", "”’」』）】》〉)]"
EITHER = "\"'«»“‘"  # open or close a quotation, by language
OPENING = "„‚「『（【《〈(["
CLOSED = f"[{re.escape(CLOSING + EITHER)}]*"
# What is left whole if it fits: up to white space, or up to a mark of a script that writes none after it.
ATOM = re.compile(rf"[^\s{CJK_STOPS}{CJK_COMMAS}]*[{CJK_STOPS}{CJK_COMMAS}]*{CLOSED}\s*")
CLAUSE, COMMA = re.compile(rf"[;:：；—–…]{CLOSED}$"), re.compile(rf"[,，、،]{CLOSED}$")
QUOTES = str.maketrans(dict.fromkeys(CLOSING + EITHER + OPENING, " "))

ITEM = re.compile(r"\d{1,3}|[IVX]+|[ivx]+")
BULLET = re.compile(r"\s*(?:[-*+•◦‣▪·]\s|[-–—]\s*[^\W_a-zß-ÿа-яё])")  # after a dash no small letter
NUMBERED = re.compile(r"\s*\(?(?:\d{1,3}|[a-zA-Z])[.)]\s")
HEADING, RULE = re.compile(r"\s*#{1,6}\s"), re.compile(r"[\s=*_~|:+-]{3,}$")
ROW = re.compile(r"\s*\||[^|]*\|[^|]*\||\s*[^\s\t][^\t]*\t")

# What it costs to cut: a cut at a clause is worth one more piece, a cut at mere white space is not.
PIECE, UNEVEN, AT_CLAUSE, AT_COMMA, AT_SPACE, AT_CHARACTER, FORBIDDEN = 2, 2, 0.25, 0.5, 5, 10, 1000
NEARBY = 8  # characters, within which a long word has a place to be cut
STRETCH, LOOKAHEAD = 2500, 300  # characters, that sentencex is given at once, and that may change where they end
SAMPLE = 2000  # characters, of which the ids of a longer text are estimated


def split(text: str, tokenizer: Tokenizer, tokens: TokenConfig, language: str | None = None) -> list[str]:
    """Split a text into pieces to speak one by one; there is at least one.

    Each has at most `max_input_semantic_length` ids, as the tokenizer counts them in that piece, and MAX_SHARE of the
    longest sound as estimated. Sentences that fit stay whole. The others are cut, into parts as even as may be: where a
    sentence ends within a quotation, at clause marks, else at white space, else between characters. What holds no
    letter or digit, or nothing that the tokenizer reads, stays with the sentence before it if it fits, or at the very
    beginning with the one after it.

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
    sentences: list[list[str]] = [[]]
    for block in _blocks(text):
        first, *others = _sentences(collapse(block), language)
        if sentences[-1] and _is_spoken(first) and any(map(_is_spoken, sentences[-1])):
            sentences.append([])
        sentences[-1].append(first)
        sentences += [[other] for other in others]
    return _fit([collapse(" ".join(parts)) for parts in sentences], tokenizer, tokens, language)


def guess_language(text: str) -> str:
    """Guess a language of Bark's from the script of most letters."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if character.isalpha():
            counts[LANGUAGE_OF_SCRIPT.get(_script(character), "en")] += count
    language = max(counts, key=counts.__getitem__, default="en")
    return "ja" if language == "zh" and counts["ja"] else language


def estimate_seconds(text: str) -> float:
    """Estimate how long a text sounds when it is read aloud."""
    return sum(map(_seconds, text))


def max_seconds(tokens: TokenConfig) -> float:
    """Return how long a piece may take, as estimated."""
    return MAX_SHARE * tokens.longest_s


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
# Where lines end sentences
# ---------------------------------------------------------------------------------------------


def _blocks(text: str) -> Iterator[str]:
    """Join the lines that are wrapped text; no sentence goes on from one block to the next."""
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            width, block = max(map(len, paragraph)), paragraph[:1]
            for before, after in pairwise(paragraph):
                if _line_ends(before.rstrip(), after, width):
                    yield " ".join(block)
                    block = []
                block.append(after)
            yield " ".join(block)
            paragraph = []


def _line_ends(before: str, after: str, width: int) -> bool:
    """Tell whether a line ends what it says: a heading, an item, a row, a stop without a space after it.

    Args:
        width: of the longest line around. A line that has room for the next word was not wrapped there.
    """
    if before.rstrip(CLOSING).endswith(tuple(CJK_STOPS)) or HEADING.match(before) or RULE.match(before):
        return True
    if BULLET.match(after) or HEADING.match(after) or ROW.match(before) or ROW.match(after):
        return True
    word = after.split(maxsplit=1)[0]
    is_wrapped = len(before) + 1 + (1 if _script(word[0]) in CJK_LINES else len(word)) > width
    is_item = bool(NUMBERED.match(before) or BULLET.match(before))
    if NUMBERED.match(after) and (is_item or not is_wrapped or before[-1] in f".!?:;…{CLOSING}{EITHER}"):
        return True
    if is_wrapped or before[-1] in ".,;-–—،、，":
        return False
    letter = next(filter(str.isalpha, after), "")
    if is_item:
        return not after[0].isspace()
    return letter.isupper() or (letter.upper() == letter.lower() and 5 * len(before) < 3 * width)


# ---------------------------------------------------------------------------------------------
# Where sentences end
# ---------------------------------------------------------------------------------------------


@functools.cache
def abbreviations(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Read what does not end a sentence in spite of its stop: before anything, and before a number."""
    content = resources.files("bark_jax").joinpath(ABBREVIATIONS).read_text(encoding="utf-8")
    listed = tomllib.loads(content)[language]
    return frozenset(listed["always"].split()), frozenset(listed["numbers"].split())


def _sentences(text: str, language: str) -> list[str]:
    """Split a text without line breaks; end to end, the sentences are the text."""
    found: list[list[str]] = []
    letter, end, is_spoken = "", "", False  # the sentence's first letter, its last characters, has it letters or digits
    for part in _parts(text, language):
        if found and not (is_spoken and _is_spoken(part) and _ends(letter, end, part, language)):
            found[-1].append(part)
        else:
            found.append([part])
            letter, end, is_spoken = "", "", False
        letter = letter or next(filter(str.isalpha, part), "")
        end = (end + part)[-SAMPLE:]
        is_spoken = is_spoken or _is_spoken(part)
    return ["".join(parts) for parts in found] or [""]


def _parts(text: str, language: str) -> Iterator[str]:
    """Split a text with sentencex, a stretch at a time: its time grows with the square of the number of sentences."""
    begin, length = 0, STRETCH
    while begin < len(text):
        parts = list(sentencex.segment(language, text[begin : begin + length]))  # pyright: ignore[reportAttributeAccessIssue]
        if begin + length < len(text):
            # What follows decides where the last ones end.
            inside = bisect_right(list(accumulate(map(len, parts))), length - LOOKAHEAD)
            parts = parts[:inside]
        yield from parts
        begin += sum(map(len, parts))
        length = STRETCH if parts else 2 * length


def _ends(letter: str, before: str, after: str, language: str) -> bool:
    """Tell whether a sentence ends where sentencex says so.

    Args:
        letter: the first of the sentence.
        before: its end.
        after: what follows.
    """
    if letter.isupper() and after.lstrip(f"{EITHER}{CLOSING}—–- ")[:1].islower():
        return False  # "Go!" he cried.
    if not before[-1].isspace():
        is_number_or_name = before.endswith((".", "．")) and not before.endswith("..")
        is_quoted = before[-1] in CLOSING + EITHER and _script(after[0]) in ("HIRAGANA", "HANGUL")  # 「はい。」と
        return not (is_number_or_name or is_quoted or after[0] in CLOSING)
    word = before.rsplit(maxsplit=1)[-1].strip().lstrip(EITHER + OPENING)
    if _script(word[:1] or ".") in CJK_LINES:
        word = "".join(filter(str.isascii, word))  # 他是Dr.
    if not word.endswith("."):
        return True
    is_alone = before.strip() == word
    whole = word.removesuffix(".")
    word = whole.split("-")[-1]  # J.-C., Dipl.-Ing.
    if is_alone and ITEM.fullmatch(word):
        return False
    if word.isdecimal():
        return not (len(word) <= 3 and language in ORDINAL_LANGUAGES)
    is_initial = len(word) == 1 and word.upper() != word.lower()
    always, numbers = abbreviations(language)
    names = {whole, word, word[:1].lower() + word[1:]} if len(word) > 2 else {whole, word}
    return not (is_initial or names & always or (names & numbers and after.lstrip(EITHER + OPENING)[:1].isdigit()))


# ---------------------------------------------------------------------------------------------
# Sentences that are too long
# ---------------------------------------------------------------------------------------------


def _fit(pieces: list[str], tokenizer: Tokenizer, tokens: TokenConfig, language: str) -> list[str]:
    """Cut what is too long, and measure and cut the parts again until all fit."""
    most_ids, most_seconds = tokens.max_input_semantic_length, max_seconds(tokens)
    sample = max(pieces, key=len)[:SAMPLE]
    ids_per_second = count_ids([sample], tokenizer)[0] / estimate_seconds(sample)

    def fit(piece: str, measured: bool) -> list[str]:
        seconds = estimate_seconds(piece)
        if seconds > most_seconds and len(piece) > 1:
            share = max(seconds / most_seconds, seconds * ids_per_second / most_ids)
        elif measured and counts[piece] > most_ids and len(piece) > 1:
            share = counts[piece] / most_ids
        else:
            return [piece]
        return [part for one in _cut(piece, share, language) for part in fit(one, False)]

    counts: dict[str, int] = {}
    cut: dict[str, list[str]] = {}
    pieces = [part for piece in pieces for part in fit(piece, False)]
    while new := [piece for piece in dict.fromkeys(pieces) if piece not in counts]:
        counts |= zip(new, count_ids(new, tokenizer), strict=True)
        cut |= {piece: fit(piece, True) for piece in new}
        while any(cut.get(piece, [piece]) != [piece] for piece in pieces):
            pieces = [part for piece in pieces for part in cut.get(piece, [piece])]
    groups: list[list[str]] = []
    seconds, is_read = 0.0, True
    for piece in pieces:
        more = estimate_seconds(piece) + _seconds(" ")
        if groups and not (counts[piece] and is_read) and seconds + more <= max_seconds(tokens):
            groups[-1].append(piece)
            seconds, is_read = seconds + more, is_read or counts[piece] > 0
        else:
            groups.append([piece])
            seconds, is_read = more, counts[piece] > 0
    joined = [" ".join(group) for group in groups]
    if len(joined) < len(pieces) and max(count_ids(joined, tokenizer)) <= tokens.max_input_semantic_length:
        return joined
    return pieces


def _cut(text: str, share: float, language: str) -> list[str]:
    """Cut a text where it costs least, from left to right.

    Args:
        share: of what a piece can hold, that the text takes; more than 1.
    """
    sizes = list(accumulate(map(_seconds, text), initial=0.0))
    room = sizes[-1] / share
    places = list(_places(text, sizes, room))
    spoken = list(accumulate(map(str.isalnum, text), initial=0))
    inner = set(accumulate(map(len, _sentences(text.translate(QUOTES), language))))

    def cost(end: int) -> float:
        part = (sizes[end] - sizes[begin]) / room
        more = PIECE * (math.ceil(left - part - 1e-9) - count + 1)
        silence = FORBIDDEN * (spoken[begin] == spoken[end] or spoken[end] == spoken[-1])
        return more + UNEVEN * (part - left / count) ** 2 + silence + (0 if end in inner else _price(text, end))

    begin, first, parts = 0, 0, []
    while (left := (sizes[-1] - sizes[begin]) / room) > 1 + 1e-9 and first < len(places):
        count = math.ceil(left - 1e-9)
        last = bisect_right(places, sizes[begin] + room * (1 + 1e-9), lo=first, key=sizes.__getitem__)
        end = min(places[first : max(last, first + 1)], key=cost)
        parts.append(text[begin:end])
        begin, first = end, bisect_right(places, end, lo=first)
    return [part for part in map(str.strip, (*parts, text[begin:])) if part]


def _places(text: str, sizes: list[float], room: float) -> Iterable[int]:
    """Yield where a text may be cut: after its words, and within those that are too long."""
    for atom in ATOM.finditer(text):
        begin, end = atom.span()
        count = math.ceil((sizes[end] - sizes[begin]) / room)
        for n in range(1, count):
            near = begin + (end - begin) * n // count
            yield next((place for place in range(near, min(near + NEARBY, end)) if not _is_joined(text, place)), near)
        if begin < end < len(text):
            yield end


def _is_joined(text: str, place: int) -> bool:
    """Tell whether the characters before and after a place make one."""
    return unicodedata.category(text[place]).startswith("M") or "\u200d" in text[place - 1 : place + 1]


def _price(text: str, place: int) -> float:
    """Say how bad it is to cut a text at a place within it."""
    before = text[max(0, place - NEARBY) : place]
    words = before.rstrip()
    if _is_joined(text, place):
        return FORBIDDEN
    if words and not words[-1].isalnum():
        if CLAUSE.search(words):
            return AT_CLAUSE
        if COMMA.search(words):
            return AT_COMMA
    return AT_SPACE if before[-1].isspace() else AT_CHARACTER
