import inspect
import json
import re

import numpy as np
import pytest
from tokenizers import processors

from bark_jax.text import bert_tokenizer, bytes_tokenizer, encode, load_tokenizer
from bark_jax.tokens import TokenConfig

BARK = TokenConfig()
SMALL = TokenConfig(text_encoding_offset=520, text_pad_token=600, max_input_semantic_length=8)

VOCABULARY = """\
[PAD] [UNK] [CLS] [SEP] [MASK] [MASK]s [ ] laughs MA ##N ' - … \u2014 , . ! ? ♪ 🙂 3 ##5 ##0 % \u00ad
Hello hello ##s world World w ##or ##ld a ##a ##b ##c Gr ##ü ##ß ##e grüße caf ##é café e \u0301 ##\u0301
I İ i ı ##\u0307 ﬁ ##ﬁ 日 本 語 東 京 는 한 ##국 ##어 П ##ри ##вет क ##े HELLO HELLO\u00a0
""".replace(" ", "\n")

TRICKY = [
    "Hello, world!",
    "  Hello \t\n world \u00a0 Hello\u3000world\u2003. ",
    "HELLO hello Hello",
    "Grüße grüße café cafe\u0301 e\u0301",
    "日本語 東京Hello東京, 한국어는 Привет के",
    "a\x00b a\x07b a\u200bb a\u00adb a\ufeffb a\ufffdb a\u202eb\r\n",
    "🙂 ♪ Hello ♪ 👩‍👩‍👧 🇫🇷",
    "a" * 99 + " " + "a" * 100 + " " + "a" * 101,
    "[laughs] [MAN] [MASK] [SEP]Hello[CLS]s [UNK] [ MASK ] [mask]",
    "35% - 3,50 … \u2014 it's Hello's",
    "İstanbul ﬁ ı",
    "\U0010ffff\ue000 \u0378",
]


@pytest.fixture
def vocab_folder(tmp_path):
    (tmp_path / "vocab.txt").write_text(VOCABULARY, encoding="utf-8")
    return tmp_path


def ids_of(text, tokenizer):
    return (encode(text, tokenizer, BARK) - BARK.text_encoding_offset).tolist()


@pytest.mark.parametrize("text", TRICKY)
def test_vocab_txt_gives_the_ids_of_transformers(vocab_folder, text):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast.from_pretrained(vocab_folder, do_lower_case=False)
    assert ids_of(text, load_tokenizer(vocab_folder)) == theirs.encode(text, add_special_tokens=False)


def test_vocab_txt_splits_as_bert_does(vocab_folder):
    ids = ids_of("Hellos,世 café 日本 MAN", load_tokenizer(vocab_folder))
    assert [VOCABULARY.split("\n")[i] for i in ids] == ["Hello", "##s", ",", "[UNK]", "café", "日", "本", "MA", "##N"]


def test_tokenizer_json_comes_before_vocab_txt_and_its_settings_are_dropped(vocab_folder):
    saved = bert_tokenizer({piece: i for i, piece in enumerate(["[UNK]", "Hello", ",", ".", "!", "?"])})
    saved.enable_truncation(3)
    saved.enable_padding(length=10)
    saved.post_processor = processors.TemplateProcessing(single="[UNK] $A", special_tokens=[("[UNK]", 0)])
    saved.save(str(vocab_folder / "tokenizer.json"))
    assert ids_of("Hello , . ! ?", load_tokenizer(vocab_folder)) == [1, 2, 3, 4, 5]


def test_a_folder_without_a_tokenizer_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"neither a tokenizer.json nor a vocab.txt"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", json.dumps({"model": 1}).encode()])
def test_a_broken_tokenizer_json_names_its_folder(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=tmp_path.name):
        load_tokenizer(tmp_path)


def test_a_vocab_txt_of_another_encoding_names_its_folder(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\ncaf\xe9\n")
    with pytest.raises(ValueError, match=tmp_path.name):
        load_tokenizer(tmp_path)


def test_ids_are_bytes():
    everything = "".join(chr(n) for n in range(0x250) if not chr(n).isspace())
    tokens = TokenConfig(max_input_semantic_length=2000)
    ids = encode(everything, bytes_tokenizer(), tokens) - tokens.text_encoding_offset
    assert ids.tolist() == list(everything.encode())
    assert bytes_tokenizer().get_vocab_size() == 256


@pytest.mark.parametrize("text", TRICKY)
def test_bytes_tokenizer_knows_every_text(text):
    tokens = TokenConfig(max_input_semantic_length=400)
    ids = encode(text, bytes_tokenizer(), tokens) - tokens.text_encoding_offset
    assert ids.tolist() == list(" ".join(text.split()).encode())


def test_white_space_is_collapsed_before_the_tokenizer():
    assert ids_of("\u2003 a \t\r\n\x1c b\u3000", bytes_tokenizer()) == list(b"a b")


def test_ids_are_shifted_past_the_semantic_ids():
    ids = encode("ab", bytes_tokenizer(), BARK)
    assert ids.dtype == np.int32
    assert ids.tolist() == [10_048 + 97, 10_048 + 98]


def test_a_text_may_fill_the_prompt():
    ids = encode("a" * 256, bytes_tokenizer(), BARK)
    assert ids.tolist() == [10_145] * 256


@pytest.mark.parametrize("text", [None, b"Hello", 3, ["Hello"]])
def test_only_a_str_is_text(text):
    unchecked = inspect.unwrap(encode)  # the tests' type checker would be the first to refuse
    with pytest.raises(ValueError, match=f"of type {type(text).__name__}: pass a str"):
        unchecked(text, bytes_tokenizer(), BARK)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000\x1f"])
def test_white_space_is_no_text(text):
    with pytest.raises(ValueError, match=r"empty or only white space"):
        encode(text, bytes_tokenizer(), BARK)


def test_a_text_of_control_characters_leaves_nothing(vocab_folder):
    with pytest.raises(ValueError, match=r"leaves nothing of text '.x07.u200b'"):
        encode("\x07\u200b", load_tokenizer(vocab_folder), BARK)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match=r"not valid Unicode.*position 1"):
        encode("a\ud83d", bytes_tokenizer(), BARK)


def test_too_long_a_text_is_refused_with_its_length_and_beginning():
    text = "In the light of the moon, a little egg " * 7 + "lay on a leaf, 301 letters!!"
    message = (
        "text has 301 tokens, Bark reads 256: shorten it, or read it in long form, with Bark.read or "
        "`speak --long-form`. It begins 'In the light of the moon, a little egg I…'"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode(text, bytes_tokenizer(), BARK)


def test_the_limit_is_the_checkpoints():
    with pytest.raises(ValueError, match=r"text has 9 tokens, Bark reads 8: .* begins 'aaaaaaaaa'"):
        encode("a" * 9, bytes_tokenizer(), SMALL)


def test_ids_may_not_reach_the_pad_token():
    assert encode("O", bytes_tokenizer(), SMALL).tolist() == [599]
    with pytest.raises(ValueError, match=r"text 'P' has the id 80, this checkpoint's text ids end at 79"):
        encode("P", bytes_tokenizer(), SMALL)
