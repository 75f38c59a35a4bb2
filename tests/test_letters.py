"""The tokenizer of letters: English as people write it, read as it is spoken, and nothing lost without a word."""

import json
import random
import re
import time
from pathlib import Path
from unicodedata import unidata_version

import pytest
from num2words import num2words

from bark_jax import text
from bark_jax.train.letters import letters_tokenizer, spoken

FOLDER = Path(__file__).parent
EMBEDDED = FOLDER.parent / "assets" / "nano"
LETTERS = letters_tokenizer()


def pairs() -> list[tuple[str, str]]:
    """Read what is written and what is spoken."""
    lines = (FOLDER / "data" / "spoken.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split(" => ") for line in lines if line and not line.startswith("# ")]
    escape = re.compile(r"\\u([0-9a-f]{4})|\\([tn\\])")
    named = {"t": "\t", "n": "\n", "\\": "\\"}
    return [(escape.sub(lambda m: chr(int(m[1], 16)) if m[1] else named[m[2]], a), b) for a, b in found]


def words(number: float, **options: str) -> str:
    """Spell out a number as num2words does, without "and", hyphens and commas."""
    return re.sub("[-,]| and ", " ", num2words(number, **options)).replace("  ", " ")


@pytest.mark.parametrize(("written", "expected"), pairs())
def test_what_is_written_is_spoken(written, expected):
    assert spoken(written) == expected
    assert LETTERS.token_to_id("[UNK]") not in LETTERS.encode(written).ids


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello,  WORLD!", "hello, world!"),
        ("Émile's 21 dogs", "emile's twenty one dogs"),
        ("0 10 13 20 99", "zero ten thirteen twenty ninety nine"),
        ("100 101 110 342", "one hundred one hundred one one hundred ten three hundred forty two"),
        ("10,500 and 2024", "ten thousand five hundred and two thousand twenty four"),
        ("1000000", "one million"),
        ("3.5%", "three point five per cent"),
        ("3.1415926", "three point one four one five nine two six"),
        ("wait... (what)?", "wait. what?"),
        ("Mr. Fox & I", "mister fox and i"),
        ("well-known—“quoted”", "well known, quoted"),
    ],
)
def test_letters(text, spoken):
    tokenizer = letters_tokenizer()
    encoded = tokenizer.encode(text)
    assert "".join(encoded.tokens) == spoken
    assert tokenizer.token_to_id("[UNK]") not in encoded.ids


def test_a_character_that_no_letter_stands_for_is_left_out():
    assert letters_tokenizer().encode("a ж b").tokens == ["a", " ", "b"]


def test_numbers_are_those_of_an_oracle():
    rng = random.Random(0)
    for _ in range(300):
        number = rng.randrange(10 ** rng.randrange(1, 16))
        for written in (
            f"{number}",
            f"{number:,}",
            f"{number:,}".replace(",", "\u00a0"),
            f"{number:,}".replace(",", "\u202f"),
        ):
            assert spoken(written) == words(number), written
        suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        assert spoken(f"{number:,}{suffix}") == words(number, to="ordinal")
        whole, decimals = number % 10**6, f"{rng.randrange(10**11)}"
        digits = " ".join(words(int(digit)) for digit in decimals)
        assert spoken(f"{whole}.{decimals}") == f"{words(whole)} point {digits}"
        year = rng.randrange(1100, 2100)
        assert spoken(f"in {year}") == f"in {words(year, to='year')}"
        dollars, cents = rng.randrange(1, 10**5), rng.randrange(1, 100)
        main, _, small = words(dollars + cents / 100, to="currency", currency="USD").rpartition("dollar")
        assert (
            spoken(f"${dollars}.{cents:02}")
            == f"{main}dollar{'s' * (dollars > 1)} and {small.removeprefix('s').strip()}"
        )


DIGITS = "zero one two three four five six seven eight nine".split()


def test_no_digit_is_lost():
    """Digits among any characters are said: each by its name, or in a word that holds its name."""
    said = {
        "1": "one|ten|eleven|twel|teen|first|half|quarter", "2": "two|twel|twent|second|hal|march", "3": "three|thir",
        "4": "four|fort|quarter", "5": "five|fif", "6": "six", "7": "seven", "8": "eigh", "9": "nin",
    }  # fmt: skip
    rng = random.Random(1)
    around = [
        *"abzAZ ,.;:!?-–—'\"()[]{}/*+=#@&%$£€°×^~_|\\½²😀ж\u200b\u00a0",
        " km",
        " am",
        "th",
        "s",
        "www.",
        " of ",
        "$",
        "€",
    ]
    for _ in range(3000):
        digit = rng.choice("123456789")
        before, after = ("".join(rng.choices(around, k=rng.randrange(6))) for _ in range(2))
        assert re.search(said[digit], spoken(before + digit + after)), before + digit + after
        zeros = f"{re.sub('[½²]', '', before)} 00{digit}{after}"
        assert re.search(f"zero zero.*(?:{said[digit]})", spoken(zeros)), zeros


def test_texts_of_any_characters_are_read():
    """No text breaks the tokenizer, and it never yields anything but its letters and single spaces."""
    rng = random.Random(2)
    parts = [
        *"aBIVX019 .,:/-–'\"$€%°()[]@#&*+=<^½²😀ж\u0301\u200b\n_\\|;!?é한ß٣\ue000\ue00c\ue011",
        " a.m.",
        " 5 km",
        "1990s",
    ]
    parts += [
        "St. ",
        "U.S. ",
        "http://",
        "www.",
        "12/05/2024",
        "12:05",
        "[laughs]",
        " May 5",
        "555-1234",
        "+1 ",
        "Henry VIII",
    ]
    for _ in range(1000):
        written = "".join(rng.choices(rng.sample(parts, rng.randrange(2, 30)), k=rng.randrange(1, 40)))
        said = spoken(written)
        assert re.fullmatch("[a-z ',.?!]*", said), written
        assert "  " not in said, written
        assert said == said.strip(" ,"), written


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("Hello 😀, ♪ you ♪", ["😀 (U+1F600)", "♪ (U+266A)"]),
        ("[laughs] Well, [clears throat] [no]", ["[laughs]", "[clears throat]"]),
        ("a\x00b \ue000 \ufffd", ["U+0000", "U+E000", "\ufffd (U+FFFD)"]),
        ("Жизнь 東", ["Ж (U+0416)", "и (U+0438)", "з (U+0437)", "н (U+043D)", "ь (U+044C)", "東 (U+6771)"]),
        ("→ x", ["→ (U+2192)"]),
        ("5×3 −2 £3 a<b ½ x² 10÷5 ±1 ≤2 “é” (x) a\u200bb co\u00adop ﬁ １ ٣ #1 a_b 20°C", []),
    ],
)
def test_what_cannot_be_read_is_named(written, named):
    assert text.unread(written, LETTERS) == named


@pytest.mark.skipif(unidata_version != "14.0.0", reason="the rules follow Unicode 14, as in Python 3.11")
def test_the_embedded_checkpoint_has_these_rules():
    assert json.loads((EMBEDDED / "tokenizer.json").read_text(encoding="utf-8")) == json.loads(LETTERS.to_str())


def test_transformers_reads_alike():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(EMBEDDED)
    for written, _ in pairs():
        assert theirs.encode(written, add_special_tokens=False) == LETTERS.encode(written, add_special_tokens=False).ids


SHAPES = [
    *("1. 2. 3. ", "1,000,000,000,", "1 000 000 ", "1-", "12:05:", "1/2/", "a.b/", "http://a/b", "a@", "-", "--- "),
    *("A.", "A B ", "$1.00", "😀", "😀, ", ", ! ", "[laughs]", "[a", "'", "IV", "XX", "0", "9", "1.", ".1", "1e"),
    *("st ", "May 5 ", "5 km/h ", "word ", "don't ", "((", "\u0301", "ж.", "555-", "+1 22 ", "2024-05-12", "½"),
    *("NASA", "BBC ", "www.", "_", "%", "\n", '"a ', "'a ", "1' ", '1" ', "1~", "II ", "MCM", "5 ft. ", "<b ", "&amp;"),
    *("₹1,00,", "1.000,", "5 km/", "1¹", "Mon-", "9am–", "$1M–", "+1 (0)", "0x1", "5h ", "v. A", "= ", "1 m2 "),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(shape):
    def seconds(length: int) -> float:
        written, start = (shape * length)[:length], time.process_time()
        spoken(written)
        return time.process_time() - start

    assert seconds(40_000) < 8 * (seconds(10_000) + 0.02)
