"""A tokenizer of letters: English as it is written becomes letters, spaces and four marks.

    "My 21 dogs—Émile's!"  ──normalise──▶  "my twenty one dogs, emile's!"  ──▶  an id for each character

All of it is in `tokenizer.json`, so that this package and `transformers` read alike: the rules of `wording.py`,
`dates.py` and `figures.py` as normalisers. What they leave and no letter stands for, the pre-tokenizer removes.
"""

import functools

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from bark_jax.text import UNKNOWN
from bark_jax.train import dates, figures, wording

PAD = "[PAD]"
CHARACTERS = " ',.?!abcdefghijklmnopqrstuvwxyz"

BEFORE = wording.BEFORE_DECOMPOSITION
AS_WRITTEN = (
    *wording.CHARACTERS,
    *wording.ADDRESSES,
    *figures.GROUPS,
    *wording.ABBREVIATED,
    *wording.ROMAN_NUMERALS,
    *dates.DATES,
    *dates.YEARS,
    *figures.PHONES,
    *dates.TIMES,
    *figures.OPERATORS[:2],
    *figures.MONEY,
    *figures.MEASURES,
    *wording.CAPITALS,
)
IN_LOWER_CASE = (*wording.TAGS, *figures.FRACTIONS, *figures.OPERATORS[2:], *figures.NUMBERS, *wording.MARKS)


def letters_tokenizer() -> Tokenizer:
    """Build the tokenizer; ids are [UNK], [PAD], then `CHARACTERS`."""
    vocabulary = {character: i for i, character in enumerate((UNKNOWN, PAD, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    replace = [[normalizers.Replace(Regex(p), r) for p, r in rules] for rules in (BEFORE, AS_WRITTEN, IN_LOWER_CASE)]
    before, as_written, in_lower_case = replace
    steps = [*before, normalizers.NFKD(), *as_written, normalizers.Lowercase(), *in_lower_case]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(wording.UNREAD), "removed"),
            pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated"),
        ]
    )
    tokenizer.add_special_tokens([UNKNOWN, PAD])
    return tokenizer


@functools.cache
def _tokenizer() -> Tokenizer:
    return letters_tokenizer()


def spoken(text: str) -> str:
    """Write a text as it is spoken, in `CHARACTERS`; what cannot be read is left out."""
    return "".join(_tokenizer().encode(text, add_special_tokens=False).tokens)
