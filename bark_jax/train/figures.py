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
TENS_PLACE, HUNDREDS_PLACE, THOUSANDS_PLACE, DECIMAL = "\ue015\ue016\ue017\ue018"

ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"trillion": 12, "billion": 9, "million": 6, "thousand": 3}

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
    # 1.234,56 and, in rupees, 1,00,000
    (r"(?<![\d.,])\d{1,3}(?:\.\d{3}){1,4}\K,(?=\d\d(?!\d))", DECIMAL),
    (rf"(?<![\d.,])[1-9]\d{{0,2}}\K\.(?=\d{{3}}(?:\.\d{{3}}){{0,3}}{DECIMAL})", GROUP),
    *((r"₹ ?\d{1,7}\K,(?=(?:\d\d,){0,3}\d{3}(?![\d,]))", "") for _ in range(3)),
    # A space joins numbers only where it looks so: after one or two digits, or before thousands.
    (rf"{_first}(?:(?<!\d{{3}})|(?= 000)) (?=\d{{3}}(?: \d{{3}}){{0,4}}(?![ .:/-]?\d))", GROUP),
    (rf"{_first}(?:['_{THIN}](?=\d{{3}}(?!\d))|\.(?=\d{{3}}\.\d{{3}}(?!\d)))", GROUP),
    (r"(?<![\d.,/:])[1-9]\d{0,2}\K,(?=\d{3}(?!\d))", GROUP),
    *((rf"{GROUP}\d{{3}}\K[,'_. {THIN}](?=\d{{3}}(?!\d))", GROUP) for _ in range(4)),
    (GROUP, ""),
    (DECIMAL, "."),
    (THIN, " "),
)

PHONES: Rules = (
    (r"\+\d{1,3}\K ?\(0\) ?(?=\d)", " 0"),
    (r"\+\d{7,15}\K(?!\d)", DIGITS),
    (r"(?<![\d.])\(?\d{3}(?:\)[-. ]?|[-. ])\d{3}\K[-. ](?=\d{4}(?!\d))", f"{DIGITS}, "),
    (rf"(?<!\d)\d{{3}}\K[-.) ]+(?=\d{{3}}{DIGITS}, )", f"{DIGITS}, "),
    (rf"(?<!\d)\d{{1,3}}\K[- ]\(?(?=\d{{3}}{DIGITS}, )", f"{DIGITS}, "),
    (r"(?<![\d.,-])\d{3}\K-(?=\d{4}(?![\d-]))(?!\d\d00)", f"{DIGITS}, "),
    # +44 20 7946 0958, 020 7946 0958; then chains of hyphens
    (
        r"(?:\+\d{1,3}(?=[ -]\(?\d{2,4}\)?[ -]?\d{3}|(?:[ -]\d{1,2}){4,5}(?!\d))"
        r"|(?<![\d.,:/])(?:0\d{2,4}(?=\)?[ -]\d{3})|0\d(?=(?: \d\d){4}(?!\d))|\d{4}(?=(?: \d{4}){3}(?!\d)))"
        r"|\G(?<=[ .(-])\d{1,4})\)?\K[ .-]\(?(?=\d{2}|\d[ -]\d\d[ -]\d\d)",
        f"{DIGITS}, ",
    ),
    (r"(?<![\d.,-])1\K-(?=\d{3}-[A-Z]{2})", f"{DIGITS}, "),
    (r"(?:(?<![\d.,-])\d+(?=-\d+-\d)|\G(?<=-)\d+)\K-(?=\d)", f"{DIGITS}, "),
    (rf"{DIGITS}, \d+\K(?!\d)(?!{DIGITS})", DIGITS),
    (
        r"\b(?:[Cc]all|[Dd]ial|[PpZz][Ii][NnPp]:?|OTP:?|[Cc]ode(?: is|:)?) "
        rf"\d{{3,}}\K(?![\d{DIGITS}%]|[.,:]\d){NO_NOUN}",
        DIGITS,
    ),
)

CURRENCIES = {  # sign: one, cent
    r"US\$": ("u s dollar", "cent"), r"\bCA?\$": ("canadian dollar", "cent"),
    r"\bAU?\$": ("australian dollar", "cent"), r"\bNZ\$": ("new zealand dollar", "cent"),
    r"\bHK\$": ("hong kong dollar", "cent"), r"\$": ("dollar", "cent"), "£": ("pound", "pence"),
    "€": ("euro", "cent"), "¥": ("yen", "sen"), "₹": ("rupee", "paisa"), "¢": ("cent", ""), "₩": ("won", ""),
    "₽": ("ruble", ""), "₿": ("bitcoin", ""), "₺": ("lira", ""), "₴": ("hryvnia", ""), "฿": ("baht", ""),
    "₫": ("dong", ""), "₦": ("naira", ""), "₱": ("peso", ""), "₪": ("shekel", ""),
}  # fmt: skip
_scale = r"(?: ?(?:k|K|m|M|bn|B|b)\b| (?:hundred|thousand|million|billion|trillion)\b)"
_amount = rf"\d+(?:\.\d+)?(?:[{RANGE}-]\d+(?:\.\d+)?)?{_scale}?"


def _plural(word: str) -> str:
    return word if word in ("yen", "sen", "paisa", "pence", "won", "baht", "dong", "naira") else word + "s"


def _money(sign: str, one: str, cent: str) -> Rules:
    """Bring a currency to what follows its amounts."""
    many = _plural(one)
    return (
        (rf"{sign} ?\d+\K{CENTS}0?(?=\d)", f" {many} and {CENTS}"),
        (rf"{many} and {CENTS}\d\d?(?!\d)\K(?! {cent})", f" {_plural(cent)}"),
        (rf"{sign} ?{_amount}(?![\d{CENTS}])\K(?! {many})", f" {many}"),
        (rf"{sign} ?(?=\d)", ""),
        (rf"(?<=\d) ?{sign}", f" {many}"),
        (sign, f" {one} "),
    )


_currencies = "|".join(one for one, _ in CURRENCIES.values())
MONEY: Rules = (
    *((rf"{sign} minus (?=\.?\d)", f" minus {sign[-1]}") for sign in (r"\$", "£", "€")),
    (r"[$£€]\K(?=\.\d)", "0"),
    (rf"[$£€] ?\d+\K\.(?=\d\d(?!\d|\.\d))(?!\d\d{_scale})(?!\d\d[{RANGE}-]\d)", CENTS),
    (rf"{CENTS}00", ""),
    *(rule for sign, words in CURRENCIES.items() for rule in _money(sign, *words)),
    (rf"(?<!\d)0 (?:[a-z ]{{1,12}} )?(?:dollar|pound|euro)s and {CENTS}", ""),
    (CENTS, ""),
    *(
        (rf"\d\K ?{short}(?= (?:{_currencies}))", f" {word}")
        for short, word in {"[kK]": "thousand", "[mM]": "million", "(?:bn|[bB])": "billion"}.items()
    ),
)

_nouns = (
    r"[a-z]*(?:gram|meter|liter|second|watt|volt|joule|calorie|byte|pascal|bit|decibel|ampere|yard|mile|pound|ounce|"
    r"hour|minute|year|week|gallon|pixel|dollar|euro|rupee|cent|degree|ruble|bitcoin|lira|hryvnia|peso|shekel|"
    r"teaspoon|tablespoon|quart|hectare|ohm)"
)
PREFIXES = {
    "[kK]": "kilo", "(?:M|m(?=[bB]))": "mega", "[gG]": "giga", "[tT]": "tera", "m": "milli", "c": "centi", "d": "deci",
    "h": "hecto", "[μµu]": "micro", "n": "nano",
}  # fmt: skip
_prefixed = r"(?:Ω|[mM]|[gG]|[lL]|s|[hH]z|W|Wh|V|A|J|cal|[bB]|bps|Pa)"
UNITS = {  # after a prefix or a digit
    "Hz": "hertz", "Wh": "watt hours", "bps": "bits per second", "Pa": "pascals", "m": "meters", "g": "grams",
    "[lL]": "liters", "s": "seconds", "W": "watts", "V": "volts", "Ω": "ohms",
}  # fmt: skip
AFTER_PREFIXES = {
    "M": "meters", "G": "grams", "[hH]z": "hertz", "A": "amperes", "J": "joules", "cal": "calories", "[bB]": "bytes",
}  # fmt: skip
OTHER_UNITS = {
    "dBA?": "decibels", "ft": "feet", "yds?": "yards", "mi": "miles", "lbs?": "pounds", "oz": "ounces",
    "(?:hrs?|h)": "hours", "mins?": "minutes", "secs?": "seconds", "yrs?": "years", "wks?": "weeks", "gal": "gallons",
    "px": "pixels", "mph": "miles per hour", "kph": "kilometers per hour", "fps": "frames per second",
    "mpg": "miles per gallon", "bpm": "beats per minute", "psi": "pounds per square inch", "tsp": "teaspoons",
    "tbsp": "tablespoons", "qts?": "quarts", "ha": "hectares", "mAh": "milliampere hours", "mcg": "micrograms",
    "ppm": "parts per million", "dpi": "dots per inch", "rpm": "revolutions per minute",
}  # fmt: skip
_end = r"(?![A-Za-z'])"
_over = r"\d ?(?:[kmµμ]?g|[kcm]?m|[mk]?[lL]|k?W|k?Wh|k?cal|k?J|[kKMGT]?[bB]|ft|mi|lbs?|oz|V|N)"
_under = rf"(?:[kmµμ]?g|lbs?|oz|[kcm]?m[{SQUARED}{CUBED}]?|ft|mi|[md]?[lL]|hr?|min|s(?:ec)?|kWh|gal|ha)"
MEASURES: Rules = (
    (rf"\d\K ?sq\.? ?(?=(?:[kcm]?m|ft|mi|in|yds?){_end})", f" square {JOIN}"),
    (rf"\d\K ?cu\.? ?(?=(?:[kcm]?m|ft|in|yds?){_end})", f" cubic {JOIN}"),
    (rf"[\d{JOIN}]\K ?in(?=\.)", " inches"),
    (
        rf"[\d{JOIN}] ?(?:ft|inches|lbs?|oz|hrs?|mins?|secs?|yds?|yrs?|wks?|mi|km|kg|cm|mm|gal)\K\."
        r"(?= [a-z]| \d+ ?[a-z])",
        "",
    ),
    (r"[\d/] ?[kcm]?m\K2(?!\w)|\d (?:ft|mi|yd)\K2(?!\w)", SQUARED),
    (r"[\d/] ?[kcm]?m\K3(?!\w)|\d (?:ft|yd)\K3(?!\w)", CUBED),
    (
        rf"(?:{_over}[{SQUARED}{CUBED}]?|dollars|cents|pounds|pence|euros|rupees|meters|feet|miles|liters|grams|bytes|bits)"
        rf"\K/(?={_under}{_end})",
        f" per {JOIN}",
    ),
    (r"\d ?[lL]\K/(?=\d)", " per "),
    # marks of angles, feet and inches; a quotation that was opened is closed first
    (r"° ?\d\d?(?:\.\d+)?\K'", " minutes "),
    (r"minutes +\d\d?(?:\.\d+)?\K\"", " seconds "),
    (r"(?<![\w.,!?%)'\"])\"(?=\S)[^\"]*\K\"", "»"),
    (r"(?<![\w.,!?%)'\"])'(?!\d0s)(?=\S)(?:[^']|'(?=\w)){0,200}\K'(?!\w)", "»"),
    (r"\d\K' ?(\d\d?)\K(?:\"|'')", " inches"),
    (r"\d\K' ?(?=\d\d? inches)", " feet "),
    (r"\b[Aa]n? \d+(?:\.\d+)?\K\"", " inch "),
    (r"\b[Aa]n? \d+\K'(?! ?\d|\w)", " foot "),
    (r"(?<![A-Za-wyz_.\d])\d+(?:\.\d+)?\K\"", " inches "),
    (r"(?<![\w.])\d+(?:\.\d+)?\K'(?! ?\d|\w)", " feet "),
    (rf"(?<=[\d{JOIN}])in(?![A-Za-z'.])", " inches"),
    (rf"[\d{JOIN}]\K ?(?=(?:[kcm]?m|ft|mi|yd){SQUARED})", f" square {JOIN}"),
    (rf"[\d{JOIN}]\K ?(?=(?:[kcm]?m|ft|yd){CUBED})", f" cubic {JOIN}"),
    *((rf"(?<=[\d{JOIN}]) ?{short}{_end}", f" {word}") for short, word in OTHER_UNITS.items()),
    *((rf"(?<=[\d{JOIN}]) ?{short}(?={_prefixed}{_end})", f" {word}{JOIN}") for short, word in PREFIXES.items()),
    *((rf"(?<=[\d{JOIN}]) ?{short}{_end}", f" {word}") for short, word in UNITS.items()),
    *((rf"{JOIN} ?{short}{_end}", f"{JOIN} {word}") for short, word in AFTER_PREFIXES.items()),
    (f"{JOIN} ?", ""),
    (rf"(?:meters|feet|miles|yards)\K[{SQUARED}{CUBED}]", ""),
    (rf"\bper (?:square |cubic )?{_nouns}\Ks\b", ""),
    (r"\bper (?:square |cubic )?\Kfeet\b", "foot"),
    (r"(?:dollars|cents|pounds|pence|euros|liters|meters|miles|grams)\K/(?=[a-z])", " per "),
    (r" ?° ?C\b", " degrees celsius"),
    (r" ?° ?F\b", " degrees fahrenheit"),
    (r" ?° ?K\b", " kelvin"),
    (r" ?°", " degrees "),
    (r"(?<![\d.,/])1 feet\b", "1 foot"),
    (r"(?<![\d.,/])1 inches\b", "1 inch"),
    (r"(?<![\d.,/])1 pence\b", "1 penny"),
    (rf"(?<![\d.,/])1 (?:[a-z]+ )?{_nouns}\Ks\b", ""),
    (r"(?:inches|feet) ?\Kx(?=\d)", " by "),
    (r"(?:[1-9]|[\d.]0)\K(?:x| [x×X] )(?=\d)", " by "),
    (r"\d\Kx(?= [a-z])", " times"),
)

_denominator = r"(?:[3-9]|1\d|20|32|64|100|1000)(?![\d/])"
FRACTIONS: Rules = (
    (r"(?<![\d/.])24/7(?![\d/])", "24 7"),
    (r"(?<![\d/.])9/11(?![\d/])", "9 11"),
    (r"(?<![\d/.])50[/-]50(?![\d/])", "50 50"),
    (r"(?<![\d/.])20/20(?![\d/])", "20 20"),
    (r"(?<![\d/.])(?:5\K/(?=5(?![\d/]))|10\K/(?=10(?![\d/]))|100\K/(?=100(?![\d/])))", " out of "),
    (r"\d/[1-9]\d*\K(?:rd|th)s\b", ""),
    (r"\d\K-(?=\d/\d)", " "),
    (r"(?<![\d/.])\d+\K 1/2(?![\d/])", " and a half"),
    (r"(?<![\d/.])\d+\K (?=\d\d?/\d)", " and "),
    (r"(?<![\d/.])1/2(?= (?:an?|the|of|my|his|her|its|their|our|your|this|that)\b)", "half"),
    (r"(?<![\d/.])1/2(?= (?:hour|inch|ounce|acre)(?:e?s)?\b)", "half an"),
    (
        r"(?<![\d/.])1/2(?! (?:and|or|to|in|is|was|as|at|plus|minus|full|empty|from|on|by|for|with|are|were|will|but|"
        r"than|then|times|equals|more|less|per)\b)(?= [a-z])",
        "half a",
    ),
    (rf"\bhalf an? {_nouns}\Ks\b", ""),
    (r"\bhalf an inch\Kes\b", ""),
    (r"(?<![\d/.])1/2(?![\d/])", "1 half "),
    (r"(?<![\d/.])1/4(?![\d/])", "1 quarter"),
    (r"(?<![\d/.])\d\K/2(?![\d/])", " halves"),
    (r"(?<![\d/.])\d\K/4(?![\d/])", " quarters"),
    (rf"(?<![\d/.])1/{_denominator}\K(?!{ORDINAL})", ORDINAL),
    (rf"(?<![\d/.])(?:\d|\d\d(?=/\d\d))/{_denominator}\K(?!{ORDINAL})", ORDINAL + PLURAL),
    (rf"/100{ORDINAL}", f" hundred{ORDINAL}"),
    (rf"/1000{ORDINAL}", f" thousand{ORDINAL}"),
    (rf"\d\K/(?=\d+{ORDINAL})", " "),
    (rf"\d{{4}}{YEAR}?\K/(?=\d{{2,4}}(?!\d))", " "),
    (r"\d\K/(?=\d)", " over "),
)

OPERATORS: Rules = (
    (rf"(?<![\w.)%°{YEAR}{ORDINAL}{PLURAL}])-(?=[$£€]?\.?\d)", " minus "),
    (r"\d(?:[kKmMbB]|bn)?\K-(?=[$£€]\d)|(?:[%°]|\d [ap] m|\d(?:[kKM]|kg|g|[kcm]?m|lbs?|ft|mi))\K-(?=\d)", RANGE),
    (r"\d\K - (?=\d)", " minus "),
    (r"\de\K-(?=\d)", " minus "),
    (r"(?<=[\w)]) ?× ?|(?<=[\d)]) ?\* ?(?=[\d(])|(?<=\d) ?· ?(?=\d)", " times "),
    ("÷", " divided by "),
    ("±", " plus or minus "),
    (r"~(?=\d)|≈", " about "),
    ("‰", " per thousand"),
    ("∞", " infinity "),
    ("π", " pi "),
    (r"(?<=\w )<(?= \w)|<(?= ?\d| {1,2}minus \d)", " less than "),
    (r"(?<=\w )>(?= \w)|>(?= ?\d| {1,2}minus \d)", " greater than "),
    ("√", " square root of "),
    ("‱", " per ten thousand"),
    (r"#(?=\d)", " number "),
    (r"#(?=[A-Za-z])", " hashtag "),
    (SQUARED, " squared "),
    (CUBED, " cubed "),
    (r"\^ ?(?=[^\W_]|\()", " to the power of "),
    ("§§ ?", " sections "),
    ("§ ?", " section "),
    ("¶ ?", " paragraph "),
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
