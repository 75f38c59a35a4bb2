"""How figures are spoken, as rules: each a pattern of Oniguruma and the text that replaces what it matches.

    "$3.50 at 12:05"  ──MONEY──▶  "3 dollars and 50 cents at 12:05"  ──TIMES, NUMBERS──▶  "... at twelve oh five"

`letters.py` puts them into `tokenizer.json` as normalisers, which apply one rule after another to the whole text. A
replacement is a fixed text: where a rule depends on what stands before, its pattern starts with that and then has
`\\K`, which leaves it out of the match. How a number is said is first told by a mark after it, a character of the
private use area; a digit without a mark is read by itself, so none is lost. A pattern can start at few places of a
text and is bounded from there: time is linear.
"""

Rules = tuple[tuple[str, str], ...]

# Marks, each after the characters that it tells something of.
NUMBER, YEAR, ORDINAL, PLURAL, DIGITS = "\ue000\ue001\ue002\ue003\ue004"  # a number is said as
GROUP, CENTS, MONTH, RANGE, ROMAN, REIGN = "\ue005\ue006\ue007\ue008\ue009\ue00a"
SPELL, ADDRESS, SIGN, JOIN = "\ue00b\ue00c\ue00d\ue00e"  # letter by letter; sign of an address; join to what follows
TAG, TAG_END = "\ue010\ue011"  # around what is done, not said: "[laughs]"
SQUARED, CUBED, THIN = "\ue012\ue013\ue014"

ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"trillion": 12, "billion": 9, "million": 6, "thousand": 3}
MONTHS = "January February March April May June July August September October November December".split()
MONTH_NAME = rf"(?:{'|'.join(MONTHS)})"

# A sentence goes on, or ends: what follows a stop.
GOES_ON = r"(?! [A-Z]|[\"')]*$|[\"')]+ [A-Z])"
# No number of things follows: "in 1990 was", but not "in 1000 days", "in 1200 men".
NO_NOUN = (
    r"(?! (?!(?:was|is|his|this|its|as|has|does|us|across|always|perhaps|whose|yes)\b)[a-z]+s\b"
    r"| (?:people|men|women|children|feet|dollar|euro|mile|percent|per cent|million|thousand)\b)"
)

# ---------------------------------------------------------------------------------------------
# What digits stand for
# ---------------------------------------------------------------------------------------------

_first = r"(?<![\d.,'_/:])(?<!\d )[1-9]\d{0,2}\K"
GROUPS: Rules = (
    # A space joins numbers only where it looks so: after one or two digits, or before thousands.
    (rf"{_first}(?:(?<!\d{{3}})|(?= 000)) (?=\d{{3}}(?: \d{{3}}){{0,4}}(?![ .:/-]?\d))", GROUP),
    (rf"{_first}(?:['_{THIN}](?=\d{{3}}(?!\d))|\.(?=\d{{3}}\.\d{{3}}(?!\d)))", GROUP),
    (r"(?<![\d.,/:])[1-9]\d{0,2}\K,(?=\d{3}(?!\d))", GROUP),
    *((rf"{GROUP}\d{{3}}\K[,'_. {THIN}](?=\d{{3}}(?!\d))", GROUP) for _ in range(4)),
    (GROUP, ""),
    (THIN, " "),
)

_day, _month, _year = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1\d|20)\d\d"
_late_day = r"(?:1[3-9]|2\d|3[01])"
DATES: Rules = (
    (r"\d\K(?:[sS][tT]|[nN][dD]|[rR][dD]|[tT][hH])\b", ORDINAL),
    # Each in its own order: month/day/year (day/month/year where no month has that number), day.month.year, and
    # year-month-day.
    (rf"(?<![\d/]){_month}\K/(?={_day}/(?:\d\d)?\d\d(?![\d/]))", f"{MONTH} "),
    (rf"(?<![\d/]){_late_day}\K/(?={_month}/(?:\d\d)?\d\d(?![\d/]))", f"{ORDINAL} of "),
    (rf"(?<![\d.]){_day}\K\.(?={_month}\.\d{{4}}(?![\d.]))", f"{ORDINAL} of "),
    (rf"{ORDINAL} of \d\d?\K[/.](?=\d\d)", f"{MONTH}, "),
    (r"(?<![\d/-])\d{4}\K[/-](?=(?:0[1-9]|1[0-2])[/-](?:0[1-9]|[12]\d|3[01])(?![\d-]))", f"{YEAR}, "),
    (rf"{YEAR}, \d\d\K[/-]", f"{MONTH} "),
    *((rf"\b0?{number}{MONTH}", month + MONTH) for number, month in enumerate(MONTHS, 1)),
    (rf"{MONTH} 0?(?=\d)", f" {MONTH}"),
    (rf"{MONTH}\d\d?\K(?![\d/])", ORDINAL),
    (rf"{MONTH}\d\d?\K/", f"{ORDINAL}, "),
    (MONTH, ""),
    (rf"\b0(?=\d{ORDINAL} of )", ""),
    # May 5, 5 May, May 1968
    (rf"(?<= )\d\d?\K(?<={MONTH_NAME} \d|{MONTH_NAME} \d\d)(?![\d:./%°'{ORDINAL}{RANGE}-]){NO_NOUN}", ORDINAL),
    (rf"(?<![\d.,:/-])\d\d?\K (?={MONTH_NAME}\b)", f"{ORDINAL} of "),
    (rf"{ORDINAL} of {MONTH_NAME}\K,? (?={_year}\b)", ", "),
    (rf"(?<!the) (?=\d\d?{ORDINAL} of )", " the "),
    (rf"(?<={MONTH_NAME} |{MONTH_NAME}, |{ORDINAL} |{ORDINAL}, ){_year}\K(?![\d%]|'?s\b|[.,:/]\d){NO_NOUN}", YEAR),
)

BEFORE_YEARS = (
    "[Ii]n|[Ss]ince|[Uu]ntil|[Tt]ill|[Yy]ear|[Dd]uring|[Cc]irca|[Bb]orn|[Dd]ied|[Bb]y|[Ff]rom|[Tt]o|[Oo]f|[Bb]efore|"
    "[Aa]fter|[Ee]arly|[Ll]ate|[Mm]id|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter|[Tt]he|[Cc]opyright"
)
_not_more = rf"(?![\d%°$£€{YEAR}]|[.,:/]\d)"
YEARS: Rules = (
    (r"(?<![\d.,])1000s\b", "thousands"),
    (r"(?<![\d.,])100s(?= of\b)", "hundreds"),
    (r"(?<!\d)(?:1[1-9]|20)\d0\K'?s\b", YEAR + PLURAL),
    (r"(?<![\d.,$])[2-9]0\K'?s\b", PLURAL),
    (rf"(?<=\b(?:{BEFORE_YEARS}) |© ){_year}\K{_not_more}{NO_NOUN}", YEAR),
    (rf"\((?:born |died |c\. )?{_year}\K(?=\))", YEAR),
    (rf"(?<![\d.,:/$£€-]){_year}\K(?=[{RANGE}-](?:{_year}|\d\d)(?![\d.,%$£€-]))", YEAR),
    (rf"{YEAR}[{RANGE}-]{_year}\K(?!\d)", YEAR),
    (r"(?<![\d.,])\d{1,4}\K(?= ?(?:BCE?|AD|CE)\b)", YEAR),
    (r"\bAD \d{1,4}\K(?!\d)", YEAR),
    (rf"(?:^|[.!?] ){_year}\K(?= (?:was|is|saw|had|began|brought|will|would|marked)\b)", YEAR),
)

PHONES: Rules = (
    (r"(?<![\d.])\(?\d{3}(?:\)[-. ]?|[-. ])\d{3}\K[-. ](?=\d{4}(?!\d))", f"{DIGITS}, "),
    (rf"(?<!\d)\d{{3}}\K[-.) ]+(?=\d{{3}}{DIGITS}, )", f"{DIGITS}, "),
    (rf"(?<!\d)\d{{1,3}}\K[- ]\(?(?=\d{{3}}{DIGITS}, )", f"{DIGITS}, "),
    (r"(?<![\d.,-])\d{3}\K-(?=\d{4}(?![\d-]))(?!\d\d00)", f"{DIGITS}, "),
    # +44 20 7946 0958, 020 7946 0958; then chains of hyphens
    (
        r"(?:\+\d{1,3}(?=[ -]\(?\d{2,4}\)?[ -]?\d{3})|(?<![\d.,:/])0\d{2,4}(?=\)?[ -]\d{3})|\G(?<=[ .(-])\d{2,4})"
        r"\)?\K[ .-]\(?(?=\d{2})",
        f"{DIGITS}, ",
    ),
    (r"(?:(?<![\d.,-])\d+(?=-\d+-\d)|\G(?<=-)\d+)\K-(?=\d)", f"{DIGITS}, "),
    (rf"{DIGITS}, \d+\K(?!\d)(?!{DIGITS})", DIGITS),
    (rf"(?<=\b(?:[Cc]all|[Dd]ial|[PpZz][Ii][NnPp]|[Cc]ode) )\d{{3,}}\K(?![\d{DIGITS}%]|[.,:]\d){NO_NOUN}", DIGITS),
)

TIMES: Rules = (
    (r"(?<![\d:.])0(?=\d:\d\d(?!\d))", ""),
    (r"(?<![\d:.])(?:[1-9]|1[0-2])\K:00(?![\d:])", f"{NUMBER} o'clock"),
    (r"(?<![\d:.])\d\d?\K:00(?![\d:])", f"{NUMBER} hundred"),
    (r"\d\K:0(?=\d(?!\d))", f"{NUMBER} oh "),
    (r"(?<!\d)\d\d?\K:(?=[1-5]\d(?!\d))", f"{NUMBER} "),
    (r"\d\K:(?=\d)", " to "),
)

CURRENCIES = {  # sign: one, cent
    r"US\$": ("u s dollar", "cent"), r"\$": ("dollar", "cent"), "£": ("pound", "pence"), "€": ("euro", "cent"),
    "¥": ("yen", "sen"), "₹": ("rupee", "paisa"), "¢": ("cent", ""),
}  # fmt: skip
_scale = r"(?: ?(?:k|K|m|M|bn|B|b)\b| (?:hundred|thousand|million|billion|trillion)\b)"
_amount = rf"\d+(?:\.\d+)?(?:[{RANGE}-]\d+(?:\.\d+)?)?{_scale}?"


def _plural(word: str) -> str:
    return word if word in ("yen", "sen", "paisa", "pence") else word + "s"


def _money(sign: str, one: str, cent: str) -> Rules:
    """Bring a currency to what follows its amounts."""
    many = _plural(one)
    return (
        (rf"{sign} ?\d+\K{CENTS}0?(?=\d)", f" {many} and {CENTS}"),
        (rf"{many} and {CENTS}\d\d?\K", f" {_plural(cent)}"),
        (rf"{sign} ?{_amount}(?![\d{CENTS}])\K(?! {many})", f" {many}"),
        (rf"{sign} ?(?=\d)", ""),
        (rf"(?<=\d) ?{sign}", f" {many}"),
        (sign, f" {one} "),
    )


MONEY: Rules = (
    (rf"[$£€] ?\d+\K\.(?=\d\d(?!\d|\.\d))(?!\d\d{_scale})(?!\d\d[{RANGE}-]\d)", CENTS),
    (rf"{CENTS}00", ""),
    *(rule for sign, words in CURRENCIES.items() for rule in _money(sign, *words)),
    (rf"(?<!\d)0 (?:u s )?(?:dollar|pound|euro)s and {CENTS}", ""),
    (CENTS, ""),
    *(
        (rf"\d\K ?{short}(?= (?:u s )?(?:dollar|pound|euro|yen|rupee))", f" {word}")
        for short, word in {"[kK]": "thousand", "[mM]": "million", "(?:bn|[bB])": "billion"}.items()
    ),
)

_nouns = (
    r"[a-z]*(?:gram|meter|liter|second|watt|volt|joule|calorie|byte|pascal|bit|decibel|ampere|yard|mile|pound|ounce|"
    r"hour|minute|year|week|gallon|pixel|dollar|euro|rupee|cent|degree)"
)
PREFIXES = {
    "[kK]": "kilo", "(?:M|m(?=[bB]))": "mega", "[gG]": "giga", "[tT]": "tera", "m": "milli", "c": "centi", "d": "deci",
    "h": "hecto", "[μµu]": "micro", "n": "nano",
}  # fmt: skip
_prefixed = r"(?:[mM]|[gG]|[lL]|s|[hH]z|W|Wh|V|A|J|cal|[bB]|bps|Pa)"
UNITS = {  # after a prefix or a digit
    "Hz": "hertz", "Wh": "watt hours", "bps": "bits per second", "Pa": "pascals", "m": "meters", "g": "grams",
    "[lL]": "liters", "s": "seconds", "W": "watts", "V": "volts",
}  # fmt: skip
AFTER_PREFIXES = {
    "M": "meters", "G": "grams", "[hH]z": "hertz", "A": "amperes", "J": "joules", "cal": "calories", "[bB]": "bytes",
}  # fmt: skip
OTHER_UNITS = {
    "dBA?": "decibels", "ft": "feet", "yds?": "yards", "mi": "miles", "lbs?": "pounds", "oz": "ounces",
    "(?:hrs?|h)": "hours", "mins?": "minutes", "secs?": "seconds", "yrs?": "years", "wks?": "weeks", "gal": "gallons",
    "px": "pixels", "mph": "miles per hour", "kph": "kilometers per hour", "fps": "frames per second",
    "ppm": "parts per million", "dpi": "dots per inch", "rpm": "revolutions per minute",
}  # fmt: skip
_end = r"(?![A-Za-z'])"
MEASURES: Rules = (
    (r"\d\K' ?(\d\d?)\K(?:\"|'')", " inches"),
    (r"\d\K' ?(?=\d\d? inches)", " feet "),
    (r"(?<=\d)in(?![A-Za-z'.])", " inches"),
    (rf"\d\K ?(?=(?:[kcm]?m|ft|mi|yd){SQUARED})", f" square {JOIN}"),
    (rf"\d\K ?(?=(?:[kcm]?m|ft|yd){CUBED})", f" cubic {JOIN}"),
    *((rf"(?<=[\d{JOIN}]) ?{short}{_end}", f" {word}") for short, word in OTHER_UNITS.items()),
    *((rf"(?<=[\d{JOIN}]) ?{short}(?={_prefixed}{_end})", f" {word}{JOIN}") for short, word in PREFIXES.items()),
    *((rf"(?<=[\d{JOIN}]) ?{short}{_end}", f" {word}") for short, word in UNITS.items()),
    *((rf"{JOIN} ?{short}{_end}", f"{JOIN} {word}") for short, word in AFTER_PREFIXES.items()),
    (f"{JOIN} ?", ""),
    (rf"(?:meters|feet|miles|yards)\K[{SQUARED}{CUBED}]", ""),
    (rf"(?:meters|miles|feet|watts|liters)\K/hr?{_end}", " per hour"),
    (rf"(?:meters|miles|feet|bytes|bits|liters|grams)\K/s(?:ec)?{_end}", " per second"),
    (rf"(?:meters|liters|grams)\K/min{_end}", " per minute"),
    (r"(?:dollars|cents|pounds|pence|euros|liters|meters|miles|grams)\K/(?=[a-z])", " per "),
    (r" ?° ?C\b", " degrees celsius"),
    (r" ?° ?F\b", " degrees fahrenheit"),
    (r" ?°", " degrees "),
    (r"(?<![\d.,/])1 feet\b", "1 foot"),
    (r"(?<![\d.,/])1 inches\b", "1 inch"),
    (r"(?<![\d.,/])1 pence\b", "1 penny"),
    (rf"(?<![\d.,/])1 (?:[a-z]+ )?{_nouns}\Ks\b", ""),
    (r"\d\K(?:x| [x×X] )(?=\d)", " by "),
    (r"\d\Kx(?= [a-z])", " times"),
)

_denominator = r"(?:[3-9]|1\d|20|32|64|100|1000)(?![\d/])"
FRACTIONS: Rules = (
    (r"(?<![\d/.])24/7(?![\d/])", "24 7"),
    (r"(?<![\d/.])9/11(?![\d/])", "9 11"),
    (r"(?<![\d/.])50[/-]50(?![\d/])", "50 50"),
    (r"\d\K-(?=\d/\d)", " "),
    (r"(?<![\d/.])\d+\K 1/2(?![\d/])", " and a half"),
    (r"(?<![\d/.])\d+\K (?=\d\d?/\d)", " and "),
    (r"(?<![\d/.])1/2(?= (?:an?|the|of|my|his|her|its|their|our|your|this|that)\b)", "half"),
    (r"(?<![\d/.])1/2(?= (?:hour|inch|ounce|acre)\b)", "half an"),
    (
        r"(?<![\d/.])1/2(?! (?:and|or|to|in|is|was|as|at|plus|minus|full|empty|from|on|by|for|with|are|were|will|but|"
        r"than|then|times|equals|more|less|per)\b)(?= [a-z])",
        "half a",
    ),
    (r"(?<![\d/.])1/2(?![\d/])", "1 half"),
    (r"(?<![\d/.])1/4(?![\d/])", "1 quarter"),
    (r"(?<![\d/.])\d\K/2(?![\d/])", " halves"),
    (r"(?<![\d/.])\d\K/4(?![\d/])", " quarters"),
    (rf"(?<![\d/.])1/{_denominator}\K(?!{ORDINAL})", ORDINAL),
    (rf"(?<![\d/.])(?:\d|\d\d(?=/\d\d))/{_denominator}\K(?!{ORDINAL})", ORDINAL + PLURAL),
    (rf"/100{ORDINAL}", f" hundred{ORDINAL}"),
    (rf"/1000{ORDINAL}", f" thousand{ORDINAL}"),
    (rf"\d\K/(?=\d+{ORDINAL})", " "),
    (r"\d{4}\K/(?=\d{2,4}(?!\d))", " "),
    (r"\d\K/(?=\d)", " over "),
)

OPERATORS: Rules = (
    (rf"(?<![\w.)%°{YEAR}{ORDINAL}{PLURAL}])-(?=[$£€]?\.?\d)", " minus "),
    (r"(?<=\d)-(?=[$£€]\d)|(?<=[%°]|\d [ap] m)-(?=\d)", RANGE),
    (r"\d\K - (?=\d)", " minus "),
    (r"(?<=[\w)]) ?× ?|(?<=[\d)]) ?\* ?(?=[\d(])", " times "),
    ("÷", " divided by "),
    ("±", " plus or minus "),
    (r"~(?=\d)|≈", " about "),
    ("‰", " per thousand"),
    ("∞", " infinity "),
    ("π", " pi "),
    (r"(?<=\w )<(?= \w)|(?<=\d)<(?=\d)", " less than "),
    (r"(?<=\w )>(?= \w)|(?<=\d)>(?=\d)", " greater than "),
    (r"#(?=\d)", " number "),
    (r"#(?=[A-Za-z])", " hashtag "),
    (SQUARED, " squared "),
    (CUBED, " cubed "),
    (r"\^(?=[\w(])", " to the power of "),
    ("§ ?", " section "),
    ("©", " copyright "),
    (r"\+", " plus "),
    ("=", " equals "),
    ("&", " and "),
    ("@", " at "),
    ("%", " per cent "),
)

_words = (
    *((rf"1{n}{NUMBER}", f" {word} ") for n, word in enumerate(TEENS)),
    *((rf"{n}0{NUMBER}", f" {word} ") for n, word in enumerate(TENS, 2)),
    *((rf"{n}(?=[1-9]{NUMBER})", f" {word} ") for n, word in enumerate(TENS, 2)),
    *((rf"{n}{NUMBER}?", f" {word} ") for n, word in enumerate(ONES, 1)),
    (rf"0{NUMBER}?", " zero "),
)
NUMBERS: Rules = (
    (rf"{RANGE}|(?<=[\d{YEAR}{ORDINAL}{PLURAL}])-(?=\d)", " to "),
    (r"(?<=[A-Za-z])[-](?=\d)", " "),
    (r"\b[vV]\.?(?=\d)", "version "),
    (r"(?<![\d.])[1-9]\d{0,14}\K" + rf"(?![\d{YEAR}{DIGITS}{NUMBER}])", NUMBER),
    (r"\.[1-9]\d{0,14}\K(?=\.\d)", NUMBER),
    (rf"\.\d{{1,15}}{NUMBER}?\.[1-9]\d{{0,14}}\K(?![\d{NUMBER}])", NUMBER),
    (rf"(?<=\d|{NUMBER})\.(?=\d)", " point "),
    (r"(?<![\w.])\.(?=\d)", "point "),
    # years
    (rf"[1-9]00\d\K{YEAR}", NUMBER),
    (rf"\d\d\K00{YEAR}", f"{NUMBER} hundred "),
    (rf"\d\d\K0(?=\d{YEAR})", f"{NUMBER} oh "),
    (rf"\d\d\K(?=\d\d{YEAR})", f"{NUMBER} "),
    (YEAR, NUMBER),
    *((rf"\d\K(?=\d{{{zeros}}}{NUMBER})", f"{NUMBER} {scale} ") for scale, zeros in SCALES.items()),
    (rf" 000{NUMBER} (?:billion|million|thousand)(?= )", ""),
    (rf"(?:trillion|billion|million|thousand)\K 000{NUMBER}", ""),
    (rf"(?:trillion|billion|million|thousand) \K00?(?=\d{{1,2}}{NUMBER})", ""),
    (rf"\d\K(?=\d\d{NUMBER})", " hundred "),
    (rf"hundred \K00{NUMBER}|hundred \K0(?=\d{NUMBER})", ""),
    *_words,
    (f"[{NUMBER}{DIGITS}]", ""),
    # endings
    *(
        (rf"{one} *{ORDINAL}", nth)
        for one, nth in {
            "one": "first",
            "two": "second",
            "three": "third",
            "five": "fifth",
            "eight": "eighth",
            "nine": "ninth",
            "twelve": "twelfth",
        }.items()
    ),
    (rf"y *(?={ORDINAL})", "ie"),
    (rf" *{ORDINAL}", "th"),
    (rf"y *{PLURAL}", "ies "),
    (rf"(?<=six) *{PLURAL}", "es "),
    (rf" *{PLURAL}", "s "),
)
