"""Tokenizers from files of others: checked before the library builds anything of them.

    tokenizer.json ──read_tokenizer──▶ Tokenizer

The library runs no code of a file, but trusts it: a chain of rules may make gigabytes of one letter, and a
damaged file may end in a panic.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from bark_jax.limits import (
    CONTENT_CHARACTERS,
    GROWTH,
    JSON_BYTES,
    PATTERN_CHARACTERS,
    TOKENIZER_RULES,
    Number,
    parse_json,
    read_bytes,
    shown,
)

MODELS = ("WordPiece", "BPE", "WordLevel", "Unigram")
PROBE = "".join(map(chr, [*range(32, 127), *range(160, 0x250)]))  # every letter of European languages
ID = Number(0, 2**24)


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        ValueError: it is broken, above a limit, or its rules make texts grow without end.
        OSError: it cannot be read.
    """
    raw = read_bytes(path, JSON_BYTES)
    content = parse_json(raw)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError("it is no object with a model")
    check_model(content["model"])
    rules = [one for part in ("normalizer", "pre_tokenizer") for one in _rules(content.get(part))]
    if len(rules) > TOKENIZER_RULES:
        raise ValueError(f"it has {len(rules)} rules, the limit is {TOKENIZER_RULES}")
    for rule in rules:
        _check_rule(rule)
    with refusing_panics():
        tokenizer = Tokenizer.from_str(raw.decode())
        check_growth(tokenizer, [rule["content"] for rule in rules if isinstance(rule.get("content"), str)])
    return tokenizer


@contextlib.contextmanager
def refusing_panics() -> Iterator[None]:
    """Raise ValueError where the library fails: it has no exception of its own, and a panic is no Exception."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise ValueError(str(error)) from error


def check_model(model: dict[str, Any]) -> None:
    """Refuse a model of another kind, and ids that no checkpoint has."""
    if model.get("type", "BPE") not in MODELS:
        raise ValueError(f"its model is of the type {shown(model['type'])}, not one of {', '.join(MODELS)}")
    vocabulary = model.get("vocab")
    ids = vocabulary.values() if isinstance(vocabulary, dict) else ()
    wrong = next((why for one in ids if (why := ID.problem(one))), None)
    if wrong:
        raise ValueError(f"an id of its vocabulary {wrong}")


def _rules(part: Any) -> Iterator[dict[str, Any]]:
    """List the rules of a part, those of sequences in it one by one."""
    if isinstance(part, dict):
        inner = part.get("normalizers", part.get("pretokenizers"))
        if not isinstance(inner, list):
            yield part
        for one in inner if isinstance(inner, list) else ():
            yield from _rules(one)


def _check_rule(rule: dict[str, Any]) -> None:
    if rule.get("type") == "Precompiled":
        raise ValueError("it has a Precompiled normalizer, which nothing here needs")
    pattern = rule.get("pattern")
    sought = pattern.values() if isinstance(pattern, dict) else [pattern]
    written = [rule.get("content"), rule.get("prepend"), rule.get("replacement")]
    for limit, texts in ((PATTERN_CHARACTERS, sought), (CONTENT_CHARACTERS, written)):
        if any(isinstance(one, str) and len(one) > limit for one in texts):
            raise ValueError(f"a rule has a text of more than {limit:,} characters")


def check_growth(tokenizer: Tokenizer, contents: list[str]) -> None:
    """Try the normalizers one after another on letters and on what they write themselves.

    Raises:
        ValueError: a text becomes too long.
    """
    text = PROBE + "".join(f" {content}" for content in contents)
    limit = GROWTH * len(text)
    for step in _steps(tokenizer.normalizer):
        text = step.normalize_str(text)
        if len(text) > limit:
            raise ValueError(f"its normalizers make texts grow more than {GROWTH} times")


def _steps(normalizer: Any) -> Iterator[Any]:
    if isinstance(normalizer, normalizers.Sequence):
        for i in range(len(normalizer)):
            yield from _steps(normalizer[i])
    elif normalizer is not None:
        yield normalizer
