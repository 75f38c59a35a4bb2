"""Texts to pieces: sentences in all of Bark's languages, what is too long cut, nothing lost."""

import random
import time

import hf
import pytest

from bark_jax import sentences
from bark_jax.tokens import TokenConfig
from bark_jax.train.letters import letters_tokenizer
from bark_jax.train.recipe import NANO
from bark_jax.voices import LANGUAGES

BARK = (hf.tokenizer(), TokenConfig())
CHECKPOINTS = (BARK, (hf.tokenizer(), hf.TOKENS), (letters_tokenizer(), NANO.tokens))

SENTENCES = {
    "de": [
        "Am 3. Oktober 1990 war es so.",
        "Der 1. FC Köln spielt im 21. Jahrhundert z. B. um 15.30 Uhr.",
        "Herr Dr. Müller, Dipl.-Ing. Schmidt und Frau Prof. Meier kamen, d.h. fast alle.",
        "Er sagte: „Ich komme.“",
        "»Nein!«, rief sie.",
        "Es ist ca. 3,5 km weit, inkl. Rückweg.",
    ],
    "en": [
        "Mr. Smith paid $3.50 to Dr. Jones at St. John's, e.g. for this.",
        "See https://example.com/a.b?c=d or write to a@b.co.uk now.",
        '"Go!" he cried.',
        "Wait... what?",
        "The U.S. is big.",
        "No?!?!",
        "J. R. R. Tolkien wrote it.",
        "[laughs] Oh, version 1.2.3 is out.",
        "(He left. It rained.)",
    ],
    "es": ["¿Cómo estás?", "¡Muy bien!", "El Sr. García y D. Juan viven en EE.UU. desde aprox. 1990.", "«Vale», dijo."],
    "fr": [
        "Bonjour !",
        "Comment ça va ?",
        "M. Dupont et Mme. Durand sont là.",
        "« Oui. » dit-il.",
        "J.-P. Sartre vivait au XXe siècle, p. ex. à Paris.",
    ],
    "hi": ["यह एक वाक्य है।", "डॉ. शर्मा ने 3.5 रु. 500 दिए।", "क्या हाल है?", "बहुत अच्छा!"],
    "it": [
        "Ciao!",
        "Come stai?",
        "Il Sig. Rossi abita al n. 5, v. pag. 10 e oltre.",
        "«Sì.» disse.",
        "Costa 3.50 euro.",
    ],
    "ja": [
        "今日は１．５度です。",
        "「行くよ。でもね。」と彼は言った。",
        "「本当？」って聞いた。",
        "すごい！！",
        "Dr. Kimは来た。",
        "それから…終わり。",
    ],
    "ko": ["안녕하세요.", "가격은 3.5달러입니다.", '"간다."라고 말했다.', "뭐라고?!", "Dr. Kim은 왔다.", "1. 첫째."],
    "pl": [
        "Dnia 3 maja był p. Nowak.",
        "W 1990 r. Kowalski, dr. Lis i św. Jan mieszkali przy ul. Długiej.",
        "Tak?",
        "Tak!",
    ],
    "pt": ["Olá!", "O Sr. Silva e a Profa. Ana vivem na av. Brasil.", "No séc. XX custava R$ 3,50.", "«Sim.» disse."],
    "ru": [
        "А. С. Пушкин родился в 1799 г. в Москве.",
        "— Нет! — крикнул он.",
        "Стоит 3.5 руб. за штуку, и т. д. и т. п., дорого.",
        "Г-н Иванов живёт на ул. Ленина, рис. 2 виден.",
        "«Да.»",
    ],
    "tr": ["Dr. Yılmaz ve Doç. Can geldi.", "2. Dünya Savaşı bitti.", "Saat 5.30'da geldi.", "“Evet.”", "Nasılsın?"],
    "zh": ["你好！", "他说：“我来了。走吧。”", "价格是3.5元。", "真的？！", "嗯……好。", "（完。）"],
}


def characters(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_of_every_language(language):
    for space in ("", " ") if language in ("ja", "zh") else (" ", "  ", "\u00a0", " \n", "\n\n", "\r\n\r\n"):
        text = space.join(SENTENCES[language])
        assert sentences.split(text, *BARK, language) == SENTENCES[language]


def test_a_line_break_is_a_space_and_a_blank_line_ends_a_sentence():
    text = "One line\nand the\u00a0same\u3000one\n\nNew one\n \t\r\n“Another.”\n\n\n* * *\n\nthe last"
    expected = ["One line and the same one", "New one", "“Another.” * * *", "the last"]
    assert sentences.split(text, *BARK) == expected
    assert sentences.split("一行。\n二行\n三行", *BARK) == ["一行。", "二行 三行"]


def test_marks_alone_are_no_piece():
    assert sentences.split("... Hello! !!! ... -- Yes. ♪\n\n!!", *BARK) == ["... Hello! !!! ...", "-- Yes. ♪ !!"]
    assert sentences.split("...", *BARK) == ["..."]


def test_a_long_sentence_is_cut_at_its_clauses_into_even_parts():
    times = (
        "it was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"
    )
    assert sentences.split(f"{times}; {times}.", *BARK) == [f"{times};", f"{times}."]
    clauses = sentences.split(f"{times}, " * 4, *BARK)
    assert len(clauses) == 3
    assert all(piece.endswith((" times,", " wisdom,", " foolishness,")) for piece in clauses)
    lengths = [len(piece) for piece in clauses]
    assert max(lengths) - min(lengths) < 30
    pieces = sentences.split("word " * 100, *BARK)
    assert [len(piece.split()) for piece in pieces] in ([33, 33, 34], [33, 34, 33], [34, 33, 33])
    village = "在很久很久以前，有一个小村庄，村庄里住着一位老人，他每天早上都会去山上砍柴"
    assert [piece[-1] for piece in sentences.split(f"{village}，{village}。", *BARK)] == ["，", "。"]
    assert [len(piece) for piece in sentences.split(village.replace("，", "") * 3, *BARK)] == [51, 51]


def test_a_long_quotation_is_cut_where_its_sentences_end():
    text = (
        "“I went home, and it was very late when I came. Nobody was there, so I looked for Mr. Smith in the garden; "
        "he was not there, or anywhere. Then I slept, and later I found a letter with my name on it,” she said."
    )
    first, second = sentences.split(text, *BARK)
    assert first.endswith("or anywhere.")
    assert second.startswith("Then I slept")


def test_a_mark_stays_with_the_letter_it_belongs_to():
    for letter in ("कि", "e\u0301", "👩\u200d👧"):
        assert {piece.replace(letter, "") for piece in sentences.split(letter * 300, *BARK)} == {""}


def test_random_texts_fit_and_lose_nothing():
    alphabet = [
        *"ab AB .?!…。！？।\n\r\t\u2028\x85\x0c\x00\ufeff\u200d\u0301\u00a0\u3000é你ハ한है'\"“”«»「」()[]0１.,;:—-¿¡"
    ]
    alphabet += ["Mr. ", "XIV. ", "3. ", "г. ", "https://a.b/c ", "...", "👩\u200d👧", "word " * 9]
    alphabet += [
        "\n- ",
        "\n\n000\n\n",
        "$5.50 ",
        "12:05",
        "1,000,000 ",
        "1990s",
        "\n# A\n",
        "| a | b |\n",
        "e.g. ",
        "5 km ",
    ]
    for seed in range(300):
        rng = random.Random(seed)
        letters = rng.sample(alphabet, rng.randrange(2, len(alphabet)))
        text = "a" + "".join(rng.choices(letters, k=rng.choice([3, 40, 200])))
        tokenizer, tokens = rng.choice(CHECKPOINTS)
        pieces = sentences.split(text, tokenizer, tokens, rng.choice([*LANGUAGES, None]))
        assert characters("".join(pieces)) == characters(text)
        for piece in pieces:
            assert piece == " ".join(piece.split()) != ""
            assert len(tokenizer.encode(piece, add_special_tokens=False).ids) <= tokens.max_input_semantic_length
            assert sentences.estimate_seconds(piece) < sentences.max_seconds(tokens) + 1e-6


ONE = {
    "de": [
        "Es steht auf Abb. 3 oben.", "Es sind fünf Tsd. Menschen.", "Das ist Frl. Müller.", "Am 3. Mai kam er.",
        "Es kam vgl. Bd. Zwei heraus.",
    ],
    "en": [
        "I met Ms. Smith.", "We met on Mon. 5 June.", "II. The Methods of it.", "Use a tool, e.g. The Hammer.",
        "It is approx. 6 miles.", "He drove to Ft. Knox.", "See Fig. 3, Vol. 2 here.",
        "Look, i.e. Read it.", "We climbed Mt. Fuji.", "Cats vs. Dogs is on.", "Ask Sgt. Pepper now.",
        "See p. 12 there.", "Wait... what?", '"Go!" he cried.', "The price is $3.50 now.", "Well, Gen. Lee came.",
    ],
    "es": ["Vino Dña. Ana hoy.", "Son aprox. 6 metros.", "El 5 ene. 2020 vino.", "Es el nº. 5 aquí."],
    "fr": ["Voici Mlle. Dupont ici.", "Il y a Mgr. Martin.", "Le 5 janv. 2020 il vint.", "C'est le no. 5 ici."],
    "hi": ["यह डॉ. शर्मा है।", "यह पं. नेहरू है।", "कीमत रु. 500 है।", "यह ई.पू. 500 है।"],
    "it": ["Ecco la Dott.ssa Rossi qui.", "Vedi pag. 10 qui.", "Sono circa. 6 qui."],
    "ja": ["彼はDr. Kimです。"],
    "ko": ["그는 Dr. Kim입니다."],
    "pl": [
        "To jest mgr. Nowak tutaj.", "Jest ok. 6 osób.", "Jest pięć tys. Polaków.", "Przy ul. Długiej stoi.",
        "Był tu ks. Jan.",
    ],
    "pt": [
        "A Profa. Ana veio.", "São aprox. 6 metros.", "Em 5 jan. 2020 veio.", "Na av. Brasil mora.",
        "Veja a pág. 10 aqui.",
    ],
    "ru": [
        "Это г-жа. Иванова здесь.", "Там пять млн. Русских.", "Это 5 янв. 2020 года.", "Это г-н. Иванов здесь.",
        "Он живёт на наб. Мойки.", "Смотри рис. 2 здесь.", "Там ок. 6 человек.",
    ],
    "tr": [
        "Dr. Can geldi.", "Prof. Can geldi.", "Bu M.Ö. 5 yüzyıl.", "Bu Doç. Can geldi.", "Bak Cad. No. 5 var.",
        "Yani bkz. Sayfa iki.", "O 2. Dünya Savaşı idi.",
    ],
    "zh": ["他是Dr. Kim先生。"],
}  # fmt: skip


@pytest.mark.parametrize(("language", "sentence"), [(key, one) for key, found in ONE.items() for one in found])
def test_no_sentence_ends_after_an_abbreviation(language, sentence):
    before, after = {"hi": ("वह आया।", "वह गया।"), "zh": ("是。", "不。"), "ja": ("はい。", "ええ。")}.get(
        language, ("Ooo.", "Eee.")
    )
    expected = [before, sentence, after]
    assert sentences.split(" ".join(expected), *BARK, language) == expected


def test_abbreviations_are_known_for_every_language():
    for language in LANGUAGES:
        always, numbers = sentences.abbreviations(language)
        assert always, language
        assert not any(word.endswith(".") for word in always | numbers), language


def test_a_sentence_may_end_after_what_looks_like_an_abbreviation():
    for expected in (
        ["He has no tel.", "I will call."],
        ["It was 1990.", "He left."],
        ["He ate apples etc.", "They left."],
    ):
        assert sentences.split(" ".join(expected), *BARK) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chapter One\nIt was late and the wind blew.", ["Chapter One", "It was late and the wind blew."]),
        ("# A title\nsome text\n## More\nand text", ["# A title", "some text", "## More", "and text"]),
        ("Title\n=====\nText here.", ["Title =====", "Text here."]),
        ("- milk\n- two eggs\n* bread\n• salt", ["- milk", "- two eggs", "* bread", "• salt"]),
        ("You need:\n1. milk\n2. eggs\n10) salt", ["You need:", "1. milk", "2. eggs", "10) salt"]),
        ("- milk and\n  honey\n- eggs", ["- milk and honey", "- eggs"]),
        ("- milk\nthen we go home", ["- milk", "then we go home"]),
        ("| Name | Age |\n|---|---|\n| Ann | 5 |", ["| Name | Age | |---|---|", "| Ann | 5 |"]),
        ("Name\tAge\nAnn\t5", ["Name Age", "Ann 5"]),
        ("— Vamos.\n— No quiero ir hoy.", ["— Vamos.", "— No quiero ir hoy."]),
        ("the old man went to see\nLondon and the sea", ["the old man went to see London and the sea"]),
        ("第一章\n昔々あるところにおじいさんがいました。", ["第一章", "昔々あるところにおじいさんがいました。"]),
        ("It was cold,\nBut I went.", ["It was cold, But I went."]),
        ("1. Eat. 2. Sleep.", ["1. Eat.", "2. Sleep."]),
        ("1. 2. 3. 4.", ["1. 2.", "3. 4."]),
    ],
)
def test_headings_items_and_rows_end_with_their_line(text, expected):
    assert sentences.split(text, *BARK) == expected


@pytest.mark.parametrize(
    "text", ["000", "Hello.\n\n000\n\nBye.", "He came. 00. He left.", "1 000 000", "😀 Hello. 😀😀"]
)
def test_every_piece_has_something_to_say(text):
    tokenizer, tokens = CHECKPOINTS[2]
    for piece in sentences.split(text, tokenizer, tokens):
        assert 0 < len(tokenizer.encode(piece, add_special_tokens=False).ids) <= tokens.max_input_semantic_length


def test_a_piece_is_measured_as_it_is_spoken():
    """What a tokenizer makes of two parts is not always the sum: here a number is longer as a whole."""
    tokenizer, tokens = CHECKPOINTS[2]
    text = "We have 777,777,777 and 777,777,777 of them, or 373,373,373,373 of all, " * 20
    pieces = sentences.split(text, tokenizer, tokens)
    assert characters("".join(pieces)) == characters(text)
    sizes = [len(tokenizer.encode(piece, add_special_tokens=False).ids) for piece in pieces]
    assert max(sizes) <= tokens.max_input_semantic_length


SHAPES = [
    *(
        "1. 2. 3. ",
        "a. ",
        "A. ",
        "(",
        '"a. ',
        "word ",
        "a ",
        "a, ",
        "...",
        "!",
        "x",
        "“a. B” ",
        "- milk\n",
        "\n",
        "A\n",
    ),
    *(
        "0",
        "字",
        "字。",
        "😀",
        "a\u0301",
        "\u0301",
        "| a | b |\n",
        "Mr. ",
        "a\tb\n",
        ", ",
        "e.g. ",
        "「字。」",
        "1.\n",
        "\u200d",
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(shape):
    def seconds(length: int) -> float:
        text, start = ("x" + shape * length)[:length], time.process_time()
        pieces = sentences.split(text, *BARK)
        taken = time.process_time() - start
        assert characters("".join(pieces)) == characters(text)
        return taken

    assert seconds(60_000) < 8 * (seconds(15_000) + 0.03)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_is_guessed_from_the_script(language):
    guessed = sentences.guess_language(" ".join(SENTENCES[language]))
    assert guessed == (language if language in ("hi", "ja", "ko", "ru", "zh") else "en")


def test_seconds_go_by_the_script():
    assert sentences.estimate_seconds("a" * 140) == pytest.approx(10)
    assert sentences.estimate_seconds("字" * 40) == pytest.approx(10)
    assert sentences.estimate_seconds("한" * 50) == pytest.approx(10)
    assert sentences.estimate_seconds("1１") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "language", "message"),
    [
        (" \n ", None, "text is empty or only white space"),
        ("\ud800", None, "text is not valid Unicode"),
        ("Hei", "fi", "language is 'fi', Bark speaks de, en, .*: pass one of these, or None"),
    ],
)
def test_bad_input_is_refused(text, language, message):
    with pytest.raises(ValueError, match=message):
        sentences.split(text, *BARK, language)
