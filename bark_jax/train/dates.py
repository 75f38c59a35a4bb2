"""How dates, years, decades and times are spoken, as rules: see `figures.py` for what a rule is.

"in May 1968, at 12:05"  ──DATES, YEARS, TIMES──▶  "in may nineteen sixty eight, at twelve oh five"
"""

from bark_jax.train.figures import CUBED, MONTH, NO_NOUN, NUMBER, ORDINAL, PLURAL, RANGE, SQUARED, YEAR, Rules

MONTHS = "January February March April May June July August September October November December".split()
MONTH_NAME = rf"(?:{'|'.join(MONTHS)})"


_day, _month, _year = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1\d|20)\d\d"
_late_day = r"(?:1[3-9]|2\d|3[01])"
DATES: Rules = (
    (r"(?<![/.])\d\K(?:[rR][dD]|[tT][hH])s\b(?<!/\d[rt][dh]s)", ORDINAL + PLURAL),
    (r"\d\K(?:[sS][tT]|[nN][dD]|[rR][dD]|[tT][hH])\b", ORDINAL),
    # Each in its own order: month/day/year (day/month/year where no month has that number), day.month.year, and
    # year-month-day.
    (rf"(?<![\d/]){_month}\K/(?={_day}/(?:\d\d)?\d\d(?![\d/]))", f"{MONTH} "),
    (rf"(?<![\d/]){_late_day}\K/(?={_month}/(?:\d\d)?\d\d(?![\d/]))", f"{ORDINAL} of "),
    (rf"(?<![\d.]){_day}\K\.(?={_month}\.\d{{4}}(?![\d.]))", f"{ORDINAL} of "),
    (rf"(?<![\d/-]){_month}\K-(?={_day}-(?:19|20)\d\d(?![\d-]))", f"{MONTH} "),
    (rf"(?<![\d/-]){_late_day}\K-(?={_month}-(?:19|20)\d\d(?![\d-]))", f"{ORDINAL} of "),
    (rf"{ORDINAL} of \d\d?\K[/.-](?=\d\d)", f"{MONTH}, "),
    (r"-\d\d\KT(?=\d\d:\d\d)", " "),
    (r"(?<![\d/-])(?:19|20)\d\d\K-(?=(?:[1-9]|1[0-2])-(?:[1-9]|[12]\d|3[01])(?![\d-]))", f"{YEAR}, "),
    (r"(?<![\d/-])\d{4}\K[/-](?=(?:0[1-9]|1[0-2])[/-](?:0[1-9]|[12]\d|3[01])(?![\d-]))", f"{YEAR}, "),
    (rf"{YEAR}, \d\d?\K[/-]", f"{MONTH} "),
    *((rf"\b0?{number}{MONTH}", month + MONTH) for number, month in enumerate(MONTHS, 1)),
    (rf"{MONTH} 0?(?=\d)", f" {MONTH}"),
    (rf"{MONTH}\d\d?\K(?![\d/-])", ORDINAL),
    (rf"{MONTH}\d\d?\K[/-]", f"{ORDINAL}, "),
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
    "[Aa]fter|[Bb]etween|[Ee]stablished|[Ff]ounded|[Ee]arly|[Ll]ate|[Mm]id|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter|[Tt]he|[Cc]opyright"
)
_not_more = rf"(?![\d%°$£€{YEAR}]|[.,:/]\d)"
YEARS: Rules = (
    # durations, which are no decades: 2m30s
    (rf"\d ?h ?\d\d?\K ?m(?![\w{SQUARED}{CUBED}])", " min"),
    (r"(?<=\d)m(?= ?\d\d?s\b)", " min"),
    (r"\d ?(?:mins?|h|hrs?) ?\d\d?\K ?s\b", " sec"),
    # decades
    (r"(?<![\d.,])1000s\b", "thousands"),
    (r"(?<![\d.,])100s(?= of\b)", "hundreds"),
    (r"(?<![\d.,])10s(?= of\b)", "tens"),
    (r"(?<![\d.,])\d{1,3}000\Ks\b(?!\w)(?<!\b[12]000s)", PLURAL),
    (r"\b[Tt]he '?\K00'?s\b", "2000s"),
    (r"\b[Tt]he '?10\K'?s\b", PLURAL),
    (r"(?<!\d)(?:1[1-9]|20)\d0\K'?s\b", YEAR + PLURAL),
    (r"(?<![\d.,$])[2-9]0\K'?s\b", PLURAL),
    (rf"(?<=\b(?:{BEFORE_YEARS}) |© ){_year}\K{_not_more}{NO_NOUN}", YEAR),
    (rf"\b[Bb]etween {_year}{YEAR} and {_year}\K(?!\d)", YEAR),
    (rf"\b(?:[Pp]re|[Pp]ost|[Mm]id)-{_year}\K(?![\ds'])", YEAR),
    (rf"(?<![\d.,:/$£€-]){_year}\K(?=/(?:{_year}|\d\d)(?![\d/]))", YEAR),
    (rf"{YEAR}/{_year}\K(?!\d)", YEAR),
    (rf"\((?:born |died |c\. )?{_year}\K(?=\))", YEAR),
    (rf"(?<![\d.,:/$£€-]){_year}\K(?=[{RANGE}-](?:{_year}|\d\d)(?![\d.,%$£€-]))", YEAR),
    (rf"{YEAR}[{RANGE}-]{_year}\K(?!\d)", YEAR),
    (r"(?<![\d.,])\d{1,4}\K(?= ?(?:BCE?|AD|CE)\b)", YEAR),
    (r"\bAD \d{1,4}\K(?!\d)", YEAR),
    (rf"(?:^|[.!?] ){_year}\K(?= (?:was|is|saw|had|began|brought|will|would|marked)\b)", YEAR),
)

TIMES: Rules = (
    (r"(?<![\d:.])0(?=\d:\d\d(?!\d))", ""),
    (r"(?<![\d:.])(?:[1-9]|1[0-2])\K:00(?![\d:])", f"{NUMBER} o'clock"),
    (r"(?<![\d:.])\d\d?\K:00(?![\d:])", f"{NUMBER} hundred"),
    (r"\d\K:0(?=\d(?!\d))", f"{NUMBER} oh "),
    (r"(?<!\d)\d\d?\K:(?=[1-5]\d(?!\d))", f"{NUMBER} "),
    (r"\d\K:(?=\d)", " to "),
)
