"""A tokenizer of letters: English as it is written becomes letters, spaces and four marks.

    "My 21 dogs—Émile's!"  ──normalise──▶  "my twenty one dogs, emile's!"  ──▶  an id for each character

All of it is in `tokenizer.json`, so that this package and `transformers` read alike: case and accents are
dropped, numbers up to 999,999 are spelled out, longer ones and decimals (16 of them) digit by digit, a few signs become
words, and marks the nearest of `, . ? !`. What is left is unknown.
"""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from bark_jax.text import UNKNOWN

PAD = "[PAD]"
CHARACTERS = " ',.?!abcdefghijklmnopqrstuvwxyz"

ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()

SIGNS = {"&": "and", "%": "per cent", "@": "at", r"\+": "plus", "=": "equals", "°": "degrees"}
LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}

MOST_DECIMALS = 16  # that are read one by one

# In this order: (pattern, replacement). Patterns look around, so that digits are replaced one at a time.
WORDS = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"(?<=\d)\.(?=\d)", " point "),
    *((rf"(?<=point {'[0-9] ' * n}[0-9])(?=[0-9])", " ") for n in range(MOST_DECIMALS - 1)),  # one by one
    *((sign, f" {word} ") for sign, word in SIGNS.items()),
    *LETTERS.items(),
    (r"\bmr\.", "mister"),
    (r"\bmrs\.", "missus"),
    (r"\bdr\.", "doctor"),
)
NUMBERS = (
    (r"(?<![\d])0+(?=[1-9])", ""),
    (r"(?<=\b\d)(?=\d{3}\b)|(?<=\b\d{2})(?=\d{3}\b)|(?<=\b\d{3})(?=\d{3}\b)", " thousand "),
    (r"(?<=\b[1-9])(?=\d{2}\b)", " hundred "),
    (r"\b000\b|\b00\b", " "),
    (r"\b0(?=\d{2}\b)", " "),
    *((rf"\b{n}(?=[1-9]\b)", f"{word} ") for n, word in enumerate(TENS, 2)),
    *((rf"\b{n}0\b", word) for n, word in enumerate(TENS, 2)),
    *((rf"\b1{n}\b", word) for n, word in enumerate(TEENS)),
    (r"\b0(?=[1-9]\b)", " "),
    *((rf"{n}", f" {word} ") for n, word in enumerate(ONES, 1)),
    (r"0", " zero "),
)
MARKS = (
    ("[‘’`]", "'"),
    ("[;:—–()]| - ", ", "),
    ("…", "."),
    ('["“”«»*_/\\\\-]', " "),
    (r"\s+", " "),
    (r" (?=[,.?!])", ""),
    (r"([,.?!])(?=\1)", ""),
    (r",(?=[.?!])|(?<=[.?!]),", ""),
    (r"^[ ,]+|[ ,]+$", ""),
)


def letters_tokenizer() -> Tokenizer:
    """Build the tokenizer; ids are [UNK], [PAD], then `CHARACTERS`."""
    vocabulary = {character: i for i, character in enumerate((UNKNOWN, PAD, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    rules = [normalizers.Replace(Regex(pattern), words) for pattern, words in (*WORDS, *NUMBERS, *MARKS)]
    first = [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence([*first, *rules])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.add_special_tokens([UNKNOWN, PAD])
    return tokenizer
