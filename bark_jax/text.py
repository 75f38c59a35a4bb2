"""Text to ids: the first step of the journey.

    " Hello,  world" ──collapse white space──▶ "Hello, world" ──tokenizer, offset──▶ ids (3,)

Bark reads the pieces of BERT's multilingual cased vocabulary, without BERT's special tokens, shifted
past the semantic ids. Nothing is cut: a text that does not fit is refused. Knows nothing of audio.

Reference: `generate_text_semantic` of suno-ai/bark.
"""

import re
import unicodedata
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bark_jax.limits import JSON_BYTES, read_bytes
from bark_jax.tokenizer_files import read_tokenizer, refusing_panics
from bark_jax.tokens import TokenConfig

UNKNOWN = "[UNK]"  # by that name BERT's tokenizers and ours
BERT_SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
SHOWN_CHARACTERS = 40  # of a text in a message
BATCH = 4096  # texts whose ids are counted at once
SAID = ("Cc", "Cn", "Co", "Sc", "Sm", "So")  # categories of characters that stand for words, as letters and numbers do
TOO_LONG = "shorten it, or read it in long form, with Bark.read or `speak --long-form`"  # the remedy
TAG = re.compile(r"\[[^\[\]]{1,40}\]")  # [laughs]


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Read the tokenizer of a checkpoint folder: `tokenizer.json`, else BERT's `vocab.txt` (taken as cased).

    Raises:
        ValueError: the folder holds neither file, or the file is broken.
    """
    whole, vocabulary = Path(folder, "tokenizer.json"), Path(folder, "vocab.txt")
    try:
        if whole.is_file():
            tokenizer = read_tokenizer(whole)
        elif vocabulary.is_file():
            read_bytes(vocabulary, JSON_BYTES).decode()
            with refusing_panics():
                tokenizer = bert_tokenizer(models.WordPiece.read_file(str(vocabulary)))
        else:
            raise FileNotFoundError("it has neither a tokenizer.json nor a vocab.txt")
    except (ValueError, OSError) as error:
        raise ValueError(f"no tokenizer can be read from {folder}: {error}") from error
    # A file may carry the settings of its last use; here nothing is cut, and the semantic stage pads.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def bert_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """Build BERT's cased WordPiece tokenizer from piece -> id."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([token for token in BERT_SPECIAL_TOKENS if token in vocabulary])
    return tokenizer


def bytes_tokenizer() -> Tokenizer:
    """Build a tokenizer that knows every text: its ids are the bytes of the text's UTF-8, 0..255."""
    # ByteLevel writes a printable byte as the character of that number, the others as 256, 257, ... in their order.
    alphabet = {ord(character) for character in pre_tokenizers.ByteLevel.alphabet()}
    printable = {number for number in alphabet if number < 256}
    others = zip(sorted(set(range(256)) - printable), sorted(alphabet - printable), strict=True)
    character_of = {byte: byte for byte in printable} | dict(others)
    vocabulary = {chr(character_of[byte]): byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def fits(text: str, tokenizer: Tokenizer, tokens: TokenConfig) -> bool:
    """Tell whether a text has few enough tokens to be spoken at once. Raises ValueError as `check_text` does."""
    check_text(text)
    return len(_ids(collapse(text), tokenizer)) <= tokens.max_input_semantic_length


def unread(text: str, tokenizer: Tokenizer) -> list[str]:
    """Name what the tokenizer cannot read of a text, each once: characters with their code points, tags, words.

    That is what it leaves out, or knows only as its unknown token. Punctuation, accents and characters that cannot be
    seen are no loss, and are not named.
    """
    unknown = tokenizer.token_to_id(UNKNOWN)
    nothing = ([], *(_ids(one, tokenizer) for one in ("11", "1 1")))

    def is_read(part: str) -> bool:
        # Some signs are read between numbers only: 5×3.
        return any((ids := _ids(one, tokenizer)) not in nothing and unknown not in ids for one in (part, f"1{part}1"))

    said = [one for one in dict.fromkeys(text) if one.isalnum() or unicodedata.category(one) in SAID]
    characters = [one for one in said if not one.isspace() and not is_read(one)]
    tags = [tag for tag in dict.fromkeys(TAG.findall(text)) if not is_read(tag)]
    words = [
        word
        for word in dict.fromkeys(text.split())
        if unknown in _ids(word, tokenizer) and not any(one in word for one in (*characters, *tags))
    ]
    return [*map(name_character, characters), *tags, *words]


def name_character(character: str) -> str:
    """Show a character and its code point: 😀 (U+1F600)."""
    code = f"U+{ord(character):04X}"
    return f"{character} ({code})" if character.isprintable() else code


def check_text(text: object) -> None:
    """Raise ValueError for what is not a string, not valid Unicode, or only white space."""
    if not isinstance(text, str):
        raise ValueError(f"text is {text!r} of type {type(text).__name__}: pass a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"text is not valid Unicode: {error}: decode its bytes as UTF-8") from error
    if not text.strip():
        raise ValueError("text is empty or only white space: pass at least one word")


def collapse(text: str) -> str:
    """Make one space of all white space between words, and none around them."""
    return " ".join(text.split())


def show(text: str) -> str:
    """Quote a text in a message, its end left out if it is long."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _ids(text: str, tokenizer: Tokenizer) -> list[int]:
    with refusing_panics():
        return tokenizer.encode(text, add_special_tokens=False).ids


def count_ids(texts: list[str], tokenizer: Tokenizer) -> list[int]:
    """Count the ids of each text."""
    counts: list[int] = []
    for begin in range(0, len(texts), BATCH):
        with refusing_panics():
            encoded = tokenizer.encode_batch_fast(texts[begin : begin + BATCH], add_special_tokens=False)
        counts += map(len, encoded)
    return counts


def encode(
    text: str, tokenizer: Tokenizer, tokens: TokenConfig, *, too_long: str = TOO_LONG
) -> Int32[np.ndarray, " n"]:
    """Turn a text into ids of the semantic model (n,), in text_encoding_offset .. text_pad_token - 1.

    White space is collapsed and stripped first. There is at least one id and at most
    `max_input_semantic_length`.

    Args:
        too_long: the remedy for a text with too many ids, for the message.

    Raises:
        ValueError: not a string, no text, no id, too many ids, or a tokenizer that is not this checkpoint's.
    """
    check_text(text)
    text = collapse(text)
    shown = show(text)
    ids = np.array(_ids(text, tokenizer), dtype=np.int64)
    limit = tokens.max_input_semantic_length
    if len(ids) == 0:
        raise ValueError(f"the tokenizer leaves nothing of text {shown}: write it with letters or punctuation")
    if len(ids) > limit:
        raise ValueError(f"text has {len(ids)} tokens, Bark reads {limit}: {too_long}. It begins {shown}")
    highest = tokens.text_pad_token - 1 - tokens.text_encoding_offset
    if ids.max() > highest:
        raise ValueError(
            f"text {shown} has the id {ids.max()}, this checkpoint's text ids end at {highest}: "
            "use the tokenizer that belongs to the checkpoint"
        )
    return (ids + tokens.text_encoding_offset).astype(np.int32)
