"""What is written and no figure, as rules: characters, addresses, abbreviations, initials, Roman numerals, marks.

    "“Dr. Fox, e.g. at the B\u00adBC”"  ──▶  "doctor fox, for example at the b b c"

See `figures.py` for what a rule is, and for numbers.
"""

import sys
import unicodedata

from bark_jax.train.figures import (
    ADDRESS,
    CUBED,
    GOES_ON,
    MONTHS,
    ORDINAL,
    RANGE,
    REIGN,
    ROMAN,
    SIGN,
    SPELL,
    SQUARED,
    TAG,
    TAG_END,
    THIN,
    Rules,
)

# ---------------------------------------------------------------------------------------------
# Characters
# ---------------------------------------------------------------------------------------------


def digits_of_all_scripts() -> Rules:
    """Make the digits of all scripts those of ASCII."""
    found = [[] for _ in range(10)]
    for character in map(chr, range(128, sys.maxunicode + 1)):
        if unicodedata.category(character) == "Nd" and not unicodedata.normalize("NFKD", character).isascii():
            found[unicodedata.digit(character)].append(character)
    return tuple((f"[{''.join(same)}]", str(digit)) for digit, same in enumerate(found))


BEFORE_DECOMPOSITION: Rules = (
    (r"[\ue000-\uf8ff]", "\ufffd"),  # no mark comes from outside
    (r"\p{Cf}", ""),  # cannot be seen
    ("[™℠®]", ""),
    ("№", " No. "),
    ("≠|!=", " is not equal to "),
    ("≤|<=", " at most "),
    ("≥|>=", " at least "),
    (r"(?<!\S)[:;]-?[)(DP](?!\S)", ""),
    (r"(?<=\d)[\u00a0\u2007\u2009\u202f](?=\d{3})", THIN),
    ("²", SQUARED),
    ("³", CUBED),
    (r"\d\K(?=[¼-¾⅐-⅞])", " "),
)
LETTERS = {
    "[ßẞ]": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "[øØ]": "o", "[łŁ]": "l", "[đĐðÐ]": "d", "[þÞ]": "th",
    "ı": "i",
}  # fmt: skip
CHARACTERS: Rules = (
    (r"[\p{Mn}\p{Me}]", ""),
    *LETTERS.items(),
    *digits_of_all_scripts(),
    (r"[\s\x1c-\x1f]{2,}|[^\S ]|[\x1c-\x1f]", " "),
    ("[‘’‛′`]", "'"),
    ("[“”„‟″«»]|''", '"'),
    ("[‐‑]", "-"),
    ("。", ". "),
    ("、", ", "),
    ("⁄", "/"),
    (r"(?<=[\d%°]) ?[–‒] ?(?=[$£€]?\d)", RANGE),
    (r" ?− ?(?=[\d.])", " minus "),
    (" ?[—―–] ?|-{2,}", ", "),
)

# ---------------------------------------------------------------------------------------------
# Addresses, abbreviations, letters
# ---------------------------------------------------------------------------------------------

SIGNS_OF_ADDRESSES = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark", "=": "equals",
    "&": "and", "#": "hash", "~": "tilde", "%": "per cent", "+": "plus",
}  # fmt: skip
DOMAINS = r"(?:com|org|net|edu|gov|int|info|io|ai|dev|co|uk|us|eu|de|fr|es|it|nl|pl|ru|ca|au|jp|cn|in|br)"
_sign = r"[./_:?=&#~%+-]"
ADDRESSES: Rules = (
    (r"\b[hH][tT][tT][pP][sS]?://", ADDRESS),
    (rf"(?<![\w.@/{ADDRESS}-])(?=[\w-]+(?:\.[\w-]+)*\.{DOMAINS}\b(?![-\w])|[\w+-][\w.+-]*@[\w-]+\.\w|www\.)", ADDRESS),
    (rf"(?:{ADDRESS}|\G(?!\A){_sign})[^\s./_:?=&#~%+-]*\K(?={_sign}{{1,4}}[\w])", SIGN),
    (r"(?<=[A-Za-z]{2})\.(?=[A-Z][a-z])", ". "),
    (r"(?<=[A-Za-z]{2})\.(?=[a-z]{2})", " dot "),
    *((SIGN + (f"\\{sign}" if sign in ".?+" else sign), f" {word} ") for sign, word in SIGNS_OF_ADDRESSES.items()),
    (ADDRESS, ""),
    (r"\bwww\b", "w w w"),
    (r"\buk\b", "u k"),
)

TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "Prof": "professor", "St": "saint", "Mt": "mount",
    "Ft": "fort", "Gen": "general", "Col": "colonel", "Capt": "captain", "Lt": "lieutenant", "Sgt": "sergeant",
    "Rev": "reverend", "Gov": "governor", "Sen": "senator",
}  # fmt: skip
STREETS = {"St": "Street", "Ave": "Avenue", "Rd": "Road", "Blvd": "Boulevard"}  # after a name
BEFORE_NUMBERS = {
    "No": "number", "Nos": "numbers", "[Ff]ig": "figure", "[Vv]ol": "volume", "[Cc]h": "chapter", "pp": "pages",
    "pg?": "page",
}  # fmt: skip
ABBREVIATIONS = {
    "[Dd]r": "doctor", "[Pp]rof": "professor", "vs": "versus", "etc": "etcetera", "[Aa]pprox": "approximately",
    "[Jj]r": "junior", "[Ss]r": "senior", "[Dd]ept": "department", "[Ee]st": "established", "Mr": "mister",
    "Mrs": "missus", "Ms": "miz", "Inc": "incorporated", "Ltd": "limited", "Corp": "corporation",
}  # fmt: skip
SHORT_MONTHS = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}
# Said letter by letter though they have a vowel. All capitals without a vowel are, and all others are words.
INITIALS = (
    "AC AD AI AKA AMA API APR ASL ATM BCE BA CE CEO CFO CIA CIO COO CPU CTO DC DIY DNA DOB EEG EKG EMS EMT EPA ESL "
    "ESPN ETA EU EUR EV FAA FAQ FBI FDA GI GOP GPA GPU HIV IBM ID IDE IEEE IMDB IMF IO IOU IP IPA IPO IQ IRA IRS ISBN "
    "ISP KIA LAPD MBA MIA MIT MRI NBA NFT NGO NIH NSA NYU OCD OECD OJ OMG OS RNA ROI RV SEO SOS SUV UAE UCLA UDP UFO "
    "UI UK UN UPS URL USA USB USC USD USPS USSR UTC UV UX VIP VPN"
)
_unspelt = "MR|MRS|MS|DR|ST|JR|SR|MT|FT|LTD|VS|HM+|SH+|PSST|GR+|BR+|TSK|PF+T|M+|NTH|NDS?|RD|TH"

ABBREVIATED: Rules = (
    (r"\b[eE]\.g\.,?", "for example"),
    (r"\b[iI]\.e\.,?", "that is"),
    (r"\bw/o\b", "without"),
    (r"\bPh\.?D\b", "P H D"),
    (r"\bWW(?=II?\b)", "World War "),
    (r"(?<=\d):00(?= ?[aApP]\.?[mM]\b)", ""),
    (rf"(?<=\d) ?[aA]\.?[mM]\b(?:\.{GOES_ON})?", " a m"),
    (rf"(?<=\d) ?[pP]\.?[mM]\b(?:\.{GOES_ON})?", " p m"),
    *((rf"\b{short}\b\.?(?= ?\d)", month) for short, month in SHORT_MONTHS.items()),
    *((rf"\b{short}\.(?= ?\d)", word) for short, word in BEFORE_NUMBERS.items()),
    *((rf"(?<=\b[A-Z][a-z]{{1,20}} |\d[a-z]{{2}} ){short}\b", word) for short, word in STREETS.items()),
    *((rf"\b{short}\b\.?(?= [A-Z])", word) for short, word in TITLES.items()),
    (rf"\b(?:{'|'.join(ABBREVIATIONS)}|{'|'.join(STREETS.values())})\K\.{GOES_ON}", ""),
    *((rf"\b{short}\b", word) for short, word in ABBREVIATIONS.items()),
    # Stops after initials: between them, before a name, before what goes on.
    (r"(?<![\w'])[A-Za-z]\K\.(?=[A-Za-z]\b)", " "),
    (r"(?<![\w'])(?:[A-Z] ){0,3}[A-Z]\K\.(?=[,;:'-]| [a-z0-9])", ""),
    (r"(?<!\bU |\bU S |\bD )\b[A-HJ-Z]\K\.(?= [A-Z])", ""),
)

_reign = r"(?:[IVX]{2,}\b|[VX]\b(?!\. [A-Z])|I\b(?=[,;:.!?)]|$))"
BEFORE_NUMERALS = (
    "War|Chapter|Part|Volume|Act|Scene|Book|Section|Phase|Appendix|Article|Type|Class|Level|Stage|Round|Episode|Season|"
    "Psalm|Bowl|Title|Grade"
)
MONARCHS = (
    "Henry|Louis|Elizabeth|George|Edward|Charles|James|William|Richard|Paul|Benedict|Pius|John|Gregory|Napoleon|"
    "Alexander|Nicholas|Philip|Catherine|Peter|Mary|Francis|Frederick|Ivan|Leo|Ramses|Ptolemy|Wilhelm|Christian|Gustav|"
    "Harald|Carlos|Felipe|Margaret|Innocent|Clement|Urban|Otto|Robert|David"
)
ROMAN_NUMERALS: Rules = (
    (rf"(?<=\b(?:{BEFORE_NUMERALS}) )[IVX]{{1,7}}\K(?![\w'])", ROMAN),
    (rf" (?={_reign})(?<=\b(?:{MONARCHS}) )", f" the {REIGN}"),
    (rf"{REIGN}[IVX]{{1,7}}\K", ROMAN + ORDINAL),
    (REIGN, ""),
    *((rf"\b{'X' * n}(?=(?:IX|IV|V?I{{0,3}}){ROMAN})", str(n)) for n in (3, 2, 1)),
    *((units + ROMAN, n) for units, n in zip("IX IV VIII VII VI V III II I".split(), "948765321")),
    (rf"\d\K{ROMAN}", "0"),
    (ROMAN, ""),
)

CAPITALS: Rules = (
    (r"\bC#", "C sharp"),
    (r"(?<![A-Z]{2} )\bUS\b(?! [A-Z]{2})", f"US{SPELL}"),
    (rf"\b[A-Z]{{2,5}}(?![A-Za-z])\K(?<=\b(?:{INITIALS.replace(' ', '|')}))", SPELL),
    (r"\b[A-Z]{2,4}\K(?=&[A-Z]\b)", SPELL),
    (rf"\b(?!(?:{_unspelt})\b)[B-DF-HJ-NP-TV-XZ]{{2,5}}\K(?![A-Za-z'{SPELL}])", SPELL),
    (r"\b[A-Z]{2,4}\Ks\b", f"{SPELL}'s"),
    *((rf"\b[A-Z]{{{n}}}\K(?=[A-Z]{SPELL})", f"{SPELL} ") for n in (4, 3, 2, 1)),
    (SPELL, ""),
)


ACTIONS = (
    r"(?:laugh|chuckl|giggl|sigh|gasp|cough|sneez|sniff|snor|yawn|cri|cry|sob|scream|shout|groan|moan|whisper|breath|"
    r"hum|whistl|sing|applau|clap|clears? [a-z ]{0,9}throat|hesitat|paus|silence|music|man\b|woman\b)[a-z]{0,8}"
)
TAGS: Rules = (
    (rf"\[(?={ACTIONS}\])", TAG),
    (rf"{TAG}[a-z ]{{1,30}}\K\]", TAG_END),
)
SPOKEN = "a-z ',.?!"
MARKS: Rules = (
    (r"[;:()\[\]{}|•]| - ", ", "),
    (r"(?<![a-z])'|'(?![a-z])", ""),
    (r"[^\P{P}',.?!]|[<>~^`¨´]", " "),
    (rf"[^{SPOKEN}{TAG}]\K(?=[a-z])", " "),
    (" {2,}", " "),
    (r" (?=[,.?!])", ""),
    (r"([,.?!])(?=\1)", ""),
    (r",(?=[.?!])|(?<=[.?!]),", ""),
    (r"([,.?!])(?=\1)", ""),
    (r"[,.?!]\K(?=[^ ,.?!'])", " "),
    (r"^[ ,]+|[ ,]+$", ""),
    (TAG, "["),
    (TAG_END, "]"),
)
_one = rf"(?>\[[a-z ]+\]|[^{SPOKEN}])"  # what cannot be read
_all = rf"(?>{_one}(?:[ ,.?!]*{_one})*)"
# What goes with it: marks and a space, so that what is left reads as if it had not been there.
UNREAD = "|".join(
    (
        rf"^[ ,.?!]*{_all}[ ,.?!]*",
        rf"(?<=[.?!]) {_all}[ ,.?!]*$",
        rf"[ ,]*{_all}[ ,]*$",
        rf"(?<=[.?!] ){_all}[ ,.?!]*",
        rf"(?<![.?!]),? ?{_all}(?=[.?!])",
        rf"(?<=, ){_all}[ ,]*",
        rf"(?<![,.?!]) ?{_all}",
    )
)
