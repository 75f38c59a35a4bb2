"""English words as phonemes, from the dictionaries of the package misaki: American or British.

    "The team is a unit."  ──Pronunciation──▶  "ðə tˈim ɪz ɐ jˈunət."

Words that the dictionaries lack are built from their stem (`-s`, `-ed`, `-ing`), with misaki's rules (Apache 2.0).
A word pronounced in two ways is read by the word before it. What stays unknown is left to the caller.
"""

import functools
import importlib.util
import json
import re
from pathlib import Path

VOWELS = set("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ")
MARKS = ",.?!;:"
TAPPED = set("AIOWYiuæɑəɛɪɹʊʌ")  # an American t after these is a flap

# A word after one of these is a verb, or is none.
BEFORE_VERB = set(
    "to i you we they he she it who will would can could may might must shall should do did does don't didn't doesn't "
    "won't can't couldn't wouldn't shouldn't please not let's i'll you'll we'll they'll he'll she'll never".split()
)
BEFORE_NOUN = set(
    "a an the my your his her its our their this these those no some any every each one two three of in on at for "
    "with from by into about under".split()
)
THIRD_PERSON = {"he", "she", "it", "who"}
# Words read in the usual way where the word before does not say otherwise.
USUAL = set(
    "house houses wind winds minute subject record records project contract desert concert mouth entrance progress "
    "merchandise perfect learned inside nearby overhead upset read used close".split()
)
WITH_NEXT = {("used", "to"): "VBD", ("excuse", "me"): "DEFAULT", ("lives", "in"): "VERB", ("live", "in"): "VERB"}
LIVED = "lˈɪvd"


def data_folder() -> Path:
    """Find the dictionaries of misaki. Raises ValueError if the package is not installed."""
    spec = importlib.util.find_spec("misaki")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the teacher's dictionary is missing: pip install 'bark-jax[teacher]' (Python 3.12 or older)")
    return Path(spec.submodule_search_locations[0]) / "data"


@functools.cache
def dictionary(name: str) -> dict[str, str | dict[str, str | None]]:
    """Read one of misaki's dictionaries, such as `us_gold`: a word's phonemes, or its phonemes by part of speech."""
    return json.loads((data_folder() / f"{name}.json").read_text(encoding="utf-8"))


class Pronunciation:
    """Read English text as the phonemes that the teacher was trained on.

    Raises:
        ValueError: the dictionaries are not installed.
    """

    def __init__(self, *, british: bool):
        self.british = british
        accent = "gb" if british else "us"
        self.dictionaries = [dictionary(f"{accent}_gold"), dictionary(f"{accent}_silver")]

    def __call__(self, text: str) -> str | None:
        """Return the phonemes of a text with its marks, or None if it has a word that cannot be read."""
        tokens = re.findall(r"[A-Za-z']+|[,.?!;:]", text)
        spoken: list[str] = []
        vowel_follows: bool | None = None  # None: a mark or the end follows
        for i in reversed(range(len(tokens))):
            token = tokens[i]
            if token in MARKS:
                spoken.append(token)
                vowel_follows = None
                continue
            before = tokens[i - 1].lower() if i and tokens[i - 1] not in MARKS else ""
            after = tokens[i + 1].lower() if i + 1 < len(tokens) else ""
            phonemes = self.word(token, before, after, vowel_follows, first=i == 0)
            if not phonemes:
                return None
            spoken.append(" " + phonemes)
            vowel_follows = re.sub("[ˈˌ]", "", phonemes)[:1] in VOWELS
        return "".join(reversed(spoken)).strip()

    def word(
        self, word: str, before: str = "", after: str = "", vowel_follows: bool | None = False, *, first: bool = False
    ) -> str | None:
        """Return the phonemes of a word in its place, or None.

        Args:
            before: the word before it, lower case; empty: none.
            after: the word or mark that follows.
            vowel_follows: whether the next word begins with a vowel; None: a mark or the end follows.
        """
        lower = word.lower()
        weak = {
            "a": "ɐ",
            "an": "ɐn",
            "the": "ði" if vowel_follows else "ðə",
            "in": "ˈɪn" if vowel_follows is None else "ɪn",
            "i": "ˌI",
            "lived": LIVED,
        }
        if lower in weak:
            return weak[lower]
        if lower == "to" and vowel_follows is not None:
            return "tʊ" if vowel_follows else "tə"
        forms = (lower, word, word.capitalize()) if first else (word, lower, word.capitalize())
        entry = next((d[form] for d in self.dictionaries for form in forms if d.get(form)), None)
        if isinstance(entry, dict):
            if (lower, after) in WITH_NEXT:
                return entry[WITH_NEXT[lower, after]]
            usual = entry["DEFAULT"] if lower in USUAL and not first else None  # the first may be an order
            return choose(entry, before, vowel_follows) or usual
        return entry or self.inflected(lower)

    def inflected(self, word: str) -> str | None:
        """Return the phonemes of a word that ends in -s, -'s, -ed or -ing, from those of its stem."""
        for ending, stems, add in (
            ("s'", [word[:-1]], None),
            ("s", stems_of_s(word), self.add_s),
            ("d", [word[:-1], *([word[:-2]] if word.endswith("ed") and not word.endswith("eed") else [])], self.add_ed),
            ("ing", stems_of_ing(word), self.add_ing),
        ):
            if not word.endswith(ending) or word.endswith(2 * ending):
                continue
            for stem in stems:
                if len(stem) < 2 or stem == word:
                    continue
                phonemes = self.word(stem)
                if phonemes:
                    return add(phonemes) if add else phonemes
        return None

    def add_s(self, stem: str) -> str:
        if stem[-1] in "ptkfθ":
            return stem + "s"
        return stem + ("ɪz" if self.british else "ᵻz") if stem[-1] in "szʃʒʧʤ" else stem + "z"

    def add_ed(self, stem: str) -> str:
        if stem[-1] in "pkfθʃsʧ":
            return stem + "t"
        if stem[-1] == "t" and not self.british and stem[-2:-1] and stem[-2] in TAPPED:
            return stem[:-1] + "ɾᵻd"
        return stem + ("ɪd" if self.british else "ᵻd") if stem[-1] in "dt" else stem + "d"

    def add_ing(self, stem: str) -> str | None:
        if self.british and stem[-1] in "əː":
            return None  # whether an r is heard is not known
        if not self.british and stem[-1] == "t" and stem[-2:-1] and stem[-2] in TAPPED:
            return stem[:-1] + "ɾɪŋ"
        return stem + "ɪŋ"


def stems_of_s(word: str) -> list[str]:
    """List what a word that ends in -s may be a form of."""
    if word.endswith("'s"):
        return [word[:-2]]
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y", word[:-1]]
    return [word[:-1], *([word[:-2]] if word.endswith("es") and len(word) > 4 else [])]


def stems_of_ing(word: str) -> list[str]:
    """List what a word that ends in -ing may be a form of."""
    stem = word[:-3]
    doubled = len(stem) > 2 and stem[-1] == stem[-2]
    return [stem, stem + "e", *([stem[:-1]] if doubled else [])]


def choose(entry: dict[str, str | None], before: str, vowel_follows: bool | None) -> str | None:
    """Choose among the pronunciations of a word by the word before it; None where that does not tell."""
    if vowel_follows is None and entry.get("None"):
        return entry["None"]
    spoken = {phonemes for part, phonemes in entry.items() if phonemes and part not in ("None", "DT")}
    default = entry["DEFAULT"]
    if len(spoken) < 2:
        return default
    if before in THIRD_PERSON and entry.get("VBD"):
        return entry["VBD"]  # "he read"
    if before in BEFORE_VERB:
        return entry.get("VERB") or (default if "NOUN" in entry or "ADJ" in entry else None)
    if before in BEFORE_NOUN and "ADJ" not in entry:
        # Where noun and verb are alike, the other one is an adjective.
        return default if entry.get("NOUN") == entry.get("VERB") else entry.get("NOUN") or default
    return None
