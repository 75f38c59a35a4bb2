"""What is written and no figure, as rules: characters, addresses, abbreviations, initials, Roman numerals, marks.

    "“Dr. Fox, e.g. at the B\u00adBC”"  ──▶  "doctor fox, for example at the b b c"

See `figures.py` for what a rule is, and for numbers.
"""

import sys
import unicodedata

from bark_jax.train.dates import MONTH_NAME, MONTHS
from bark_jax.train.figures import (
    ADDRESS,
    CUBED,
    GOES_ON,
    HUNDREDS_PLACE,
    ORDINAL,
    RANGE,
    REIGN,
    ROMAN,
    SIGN,
    SPELL,
    SQUARED,
    TAG,
    TAG_END,
    TENS_PLACE,
    THIN,
    THOUSANDS_PLACE,
    YEAR,
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


ENTITIES = {
    "amp|#0*38": "&", "nbsp|#0*160": " ", "quot|#0*34": '"', "apos|#0*39|[lr]squo": "'", "lt": "<", "gt": ">",
    "[mn]dash": "—", "hellip": "…",
}  # fmt: skip
HTML = {"b|i|u|a|em|strong|span|code|sub|sup|small|mark": "", "p|br|hr|div|h[1-6]|li|[uo]l|pre|table|t[rdh]": " "}
SAME = {"'": "´ʹʻʼʽ", ".": "٫", ",": "٬", "%": "٪﹪", "?": "؟⸮", ":": "∶", "/": "∕", "·": "⋅∙"}
BEFORE_DECOMPOSITION: Rules = (
    (r"[\ue000-\uf8ff]", "\ufffd"),  # no mark comes from outside
    (r"\p{Cf}", ""),  # cannot be seen
    ("[™℠®]", ""),
    *((f"&(?:{names});", character) for names, character in ENTITIES.items()),
    *((rf"</?(?:{names})(?: +[a-z-]+=[^<>]{{0,200}})? ?/?>", instead) for names, instead in HTML.items()),
    (r"№|\b[nN]\.?[°º] ?(?=\d)", " No. "),
    (r"(?<=\d)º|(?<=\d )º(?= ?[CF]\b)", "°"),
    ("={4,}", " "),
    ("={2,3}", "="),
    ("&&", "&"),
    (r"(?<![-=])[-=]{1,3}>|<-{1,3}(?![\d-])", ", "),
    ("≠|!=", " is not equal to "),
    ("≤|<=", " at most "),
    ("≥|>=", " at least "),
    *((f"[{same}]", character) for character, same in SAME.items()),
    ("‽", "?!"),
    (r"[①-⒛⓪-⓿㉑-㉟㊱-㊿]\K", " "),
    # exponents of more than one sign: 10⁻³, 10²³, x⁴
    (r"(?:[\d)]|\b[A-Za-z])\K(?=[⁺⁻][⁰¹²³⁴-⁹]|[⁰¹²³⁴-⁹]{2}|[⁰¹⁴-⁹])", "^"),
    (r"²(?=[⁺⁻⁰¹²³⁴-⁹])|(?<=[\^⁺⁻⁰¹²³⁴-⁹])²", "2"),
    (r"³(?=[⁺⁻⁰¹²³⁴-⁹])|(?<=[\^⁺⁻⁰¹³⁴-⁹]|[\^⁺⁻⁰¹³⁴-⁹]2)³", "3"),
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
SHORT_MONTHS = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}
SHORT_DAYS = {
    "Mon": "Monday", "Tue|Tues": "Tuesday", "Wed": "Wednesday", "Thu|Thur|Thurs": "Thursday", "Fri": "Friday",
    "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_month = "|".join((*MONTHS, *SHORT_MONTHS))
_named = "|".join((_month, *SHORT_DAYS, *SHORT_DAYS.values()))
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
    (r"(?<=[\d%°]) ?[–‒] ?(?=[$£€]?\d)|(?<=\d) ?[~〜] ?(?=\d)", RANGE),
    (r"\d ?[aApP]\.?[mM]\.?\K ?[–‒] ?(?=\d)|\d[A-Za-z]{1,2}\K[–‒](?=[$£€]?\d)", RANGE),
    (rf"\b(?:{_named})\b\.?\K ?[-–] ?(?=(?:{_named})\b)", RANGE),
    (r" ?− ?(?=[\d.$£€√])|(?<=\b[\w)]|\d) ?− ?(?=[A-Za-z]\b)", " minus "),
    (" ?[—―–⸺⸻] ?|-{2,}", ", "),
)

# ---------------------------------------------------------------------------------------------
# Addresses, abbreviations, letters
# ---------------------------------------------------------------------------------------------

SIGNS_OF_ADDRESSES = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark", "=": "equals",
    "&": "and", "#": "hash", "~": "tilde", "%": "per cent", "+": "plus",
}  # fmt: skip
DOMAINS = r"(?:(?i:com|org|net|edu|gov)|int|info|io|ai|dev|co|uk|us|eu|de|fr|es|it|nl|pl|ru|ca|au|jp|cn|in|br)"
_sign = r"[./_:?=&#~%+-]"
ADDRESSES: Rules = (
    (r"\b(?:[hH][tT][tT][pP][sS]?|s?ftp|ssh|wss?|git|file)://", ADDRESS),
    (rf"(?<![\w.@/{ADDRESS}-])(?=[\w-]+(?:\.[\w-]+)*\.{DOMAINS}\b(?![-\w])|[\w+-][\w.+-]*@[\w-]+\.\w|www\.)", ADDRESS),
    (rf"(?:{ADDRESS}|\G(?!\A){_sign})[^\s./_:?=&#~%+-]*\K(?={_sign}{{1,4}}[\w])", SIGN),
    (r"(?<![^\s(*/\"'])\.(?=(?:NET|com|org|net|edu|gov|txt|pdf|py|js|json|csv|png|jpe?g|wav|mp3|exe|zip)\b)", " dot "),
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
    "Rev": "reverend", "Gov": "governor", "Sen": "senator", "Maj": "major", "Pres": "president", "Hon": "honorable",
    "Rep": "representative", "Cpl": "corporal", "Adm": "admiral", "Cmdr": "commander", "Mme": "madame",
}  # fmt: skip
STREETS = {"St": "Street", "Ave": "Avenue", "Rd": "Road", "Blvd": "Boulevard"}  # after a name
BEFORE_NUMBERS = {  # with their stop, if they need it
    r"(?:No\.|no\.(?=\d))": "number", r"Nos\.": "numbers", r"[Ff]ig\b\.?": "figure", r"[Ff]igs\b\.?": "figures",
    r"[Vv]ol\b\.?": "volume", r"[Vv]ols\b\.?": "volumes", r"[Cc]h\.": "chapter", r"pp\.": "pages", r"pg?\.": "page",
    r"[Aa]pt\b\.?": "apartment", r"[Hh]wy\b\.?": "highway", r"[Bb]ldg\b\.?": "building", r"Rte\b\.?": "route",
    r"Rm\b\.?": "room", r"Ste\.": "suite", r"Sec\.": "section", r"Art\.": "article", r"Eq\.": "equation",
    r"Eqs\.": "equations", r"Op\.": "opus", r"Ex\.": "example", r"ca\.": "circa",
}  # fmt: skip
ABBREVIATIONS = {
    "[Dd]r": "doctor", "[Pp]rof": "professor", "vs": "versus", "etc": "etcetera", "[Aa]pprox": "approximately",
    "[Jj]r": "junior", "[Ss]r": "senior", "[Dd]ept": "department", "[Ee]st": "established", "Mr": "mister",
    "Mrs": "missus", "Ms": "miz", "Inc": "incorporated", "Ltd": "limited", "Corp": "corporation",
}  # fmt: skip
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
    (r"\bw/o(?:ut)?\b", "without"),
    (r"(?<!\S)w/ ?(?=[A-Za-z])", "with "),
    (r"\bPh\.?Ds\b", "P H D's"),
    (r"\bPh\.?D\b", "P H D"),
    (r"\b[BM]\K\.?Sc\b", " S C"),
    (r"\bWW ?(?=II?\b)", "World War "),
    (r"\bc\. ?(?=\d{3,4}\b)", "circa "),
    (r"(?<=[A-Za-z] )v\.(?= [A-Z])", "versus"),
    (r"(?<![\d.])\d\d?\K\.(?=[0-5]\d ?[aApP]\.?[mM]\b)", ":"),
    (r"(?<=\d):00(?= ?[aApP]\.?[mM]\b)", ""),
    (rf"(?<=\d) ?[aA]\.?[mM]\b(?:\.{GOES_ON})?", " a m"),
    (rf"(?<=\d) ?[pP]\.?[mM]\b(?:\.{GOES_ON})?", " p m"),
    *(
        (rf"\b{short}\b\.?(?=[ -]?\d| '\d|{RANGE})|(?<=\d[ -]|{RANGE}){short}\b", month)
        for short, month in SHORT_MONTHS.items()
    ),
    (rf"\d\K-(?={MONTH_NAME}\b)|\b{MONTH_NAME}\K-(?=\d)", " "),
    *(
        (rf"\b(?:{short})\b\.?(?={RANGE}|,? (?:\d|{MONTH_NAME}))|(?<={RANGE})(?:{short})\b", day)
        for short, day in SHORT_DAYS.items()
    ),
    *((rf"\b{short}(?= ?(?:\d|[IVX]{{2,}}\b))", word) for short, word in BEFORE_NUMBERS.items()),
    *((rf"(?<=\b[A-Z][a-z]{{1,20}} |\d[a-z]{{2}} ){short}\b", word) for short, word in STREETS.items()),
    *((rf"\b{short}\b\.?(?! [XYZ]\b)(?= [A-Z])", word) for short, word in TITLES.items()),
    *((rf"\b{short.upper()}\.(?= [A-Z])", TITLES[short]) for short in ("Mr", "Mrs", "Ms", "Dr", "Prof")),
    (rf"\b(?:{'|'.join(ABBREVIATIONS)}|{'|'.join(STREETS.values())})\K\.{GOES_ON}", ""),
    *((rf"\b{short}\b", word) for short, word in ABBREVIATIONS.items()),
    # Stops after initials: between them, before a name, before what goes on.
    (r"(?<![\w'])[A-Za-z]\K\.(?=[A-Za-z]\b)", " "),
    (r"(?<![\w'])(?:[A-Z] ){0,3}[A-Z]\K\.(?=[,;:'-]| [a-z0-9])", ""),
    (r"(?<!\bU |\bU S |\bD )\b[A-HJ-Z]\K\.(?= [A-Z])", ""),
    (r"(?<=[A-Za-z])\.(?=\d)", " dot "),
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
_roman = "M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
PLACES = (ROMAN, TENS_PLACE, HUNDREDS_PLACE, THOUSANDS_PLACE)


def _place(mark: str, higher: str, one: str, five: str, ten: str) -> Rules:
    """Make a digit of what stands before a mark, and a higher mark before it."""
    written = (one + ten, one + five, *(five + one * n for n in (3, 2, 1, 0)), *(one * n for n in (3, 2, 1, 0)))
    return tuple((letters + mark, higher + digit) for letters, digit in zip(written, "9487653210", strict=True))


ROMAN_NUMERALS: Rules = (
    (rf"(?<=\b(?:{BEFORE_NUMERALS}) )(?:[IVX]|[IVXL]{{2,9}})\K(?![\w'])", ROMAN),
    (rf"(?<=\b(?:{'|'.join(BEFORE_NUMBERS.values())}) )[IVXL]{{2,9}}\K(?![\w'])", ROMAN),
    (rf" (?={_reign})(?<=\b(?:{MONARCHS}) )", f" the {REIGN}"),
    (rf"{REIGN}[IVX]{{1,7}}\K", ROMAN + ORDINAL),
    (REIGN, ""),
    # after a name; and what is long enough to be nothing else
    (rf"(?<=\b[A-Z][a-z]{{1,15}} )(?<!\bThe |\bAn? )(?=[IVX]{{2}}){_roman}\K(?![\w'{ROMAN}])", ROMAN),
    (rf"\b(?=[IVXLCDM]{{4}}|XI[IVX]|XX[IV]|XV|VII|III){_roman}\K(?![\w'{ROMAN}])", ROMAN),
    (rf"{ROMAN}\K(?= [Cc]entur)", ORDINAL),
    (rf"\bM[MDCLXVI]{{3,}}{ROMAN}\K", YEAR),
    # from the units on, each place with a mark of its own
    *(
        rule
        for mark, higher, (one, five, ten) in zip(PLACES, PLACES[1:], ("IVX", "XLC", "CDM"), strict=False)
        for rule in _place(mark, higher, one, five, ten)
    ),
    *((rf"{'M' * n}{PLACES[-1]}", str(n)) for n in (3, 2, 1)),
    (rf"{PLACES[-1]}0*(?=\d)", ""),
)

_short = "AN|AS|AT|BE|BY|DO|GO|HE|IF|IN|IS|IT|ME|MY|NO|OF|ON|OR|SO|TO|UP|US|WE"
CAPITALS: Rules = (
    (r"\bC#", "C sharp"),
    (r"(?<![A-Z]{2} )\bUS\b(?! [A-Z]{2})", f"US{SPELL}"),
    (rf"\b[A-Z]{{2,5}}(?![A-Za-z])\K(?<=\b(?:{INITIALS.replace(' ', '|')}))", SPELL),
    (r"\b[A-Z]{2,4}\K(?=&[A-Z]\b)", SPELL),
    (r"&[A-Z]\K(?=s\b)", "'"),
    (rf"\b(?!{_short})[A-Z]{{2}}\K(?=\d)", SPELL),
    (rf"\b(?!(?:{_unspelt})\b)[B-DF-HJ-NP-TV-XZ]{{2,5}}\K(?![A-Za-z{SPELL}]|'(?!s\b))", SPELL),
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
