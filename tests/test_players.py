"""What needs no kernel: players, pictures, steps and keyboards, read as HTML. `test_browser.py` uses them."""

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

import bark_jax
from bark_jax import notebook
from bark_jax.tokens import TokenConfig

RATE = 24_000


class Tree(HTMLParser):
    """List the elements of an HTML text as (tag, attributes), and what is open at the end."""

    VOID = ("img", "input", "br")

    def __init__(self, content):
        super().__init__()
        self.found, self.open, self.words = [], [], []
        self.feed(content)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, name=""):
        return [attributes for found, attributes in self.found if found == tag and name in attributes.get("class", "")]


def content(url):
    return io.BytesIO(base64.b64decode(url.split(",")[1]))


def pixels(image):
    return np.array(Image.open(content(image["src"])).convert("RGBA"))


def tone(level, seconds=0.5, hz=440):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def speech():
    return bark_jax.load(dtype="float32").generate("Hello.", max_seconds=0.5, progress=False)


def test_a_player_holds_the_samples_of_each_take():
    takes = {"soft": tone(0.1), "<b>": tone(0.8, 0.25)}
    shown = notebook.player(takes)
    tree = Tree(shown.html())
    for audio, x in zip(tree.all("audio"), takes.values(), strict=True):
        played, rate = soundfile.read(content(audio["src"]), dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(played, x, atol=1 / 2**15)
    assert [take["data-label"] for take in tree.all("div", "bark-take")] == ["soft", "<b>"]
    assert "<b>" in tree.words  # a label is no markup
    assert repr(shown) == "[player: soft, <b>]"
    assert shown._repr_mimebundle_()["text/plain"] == repr(shown)


def test_all_takes_are_on_one_scale():
    soft, loud = tone(0.1), tone(0.8, 0.25)
    tree = Tree(notebook.player({"soft": soft, "loud": loud}).html())
    (node,) = [div for div in tree.all("div") if div.get("data-bark") == "player"]
    assert float(node["data-seconds"]) == 0.5
    assert [div["style"] for div in tree.all("div", "bark-strips")] == ["width:100.000%", "width:50.000%"]
    heights = [np.count_nonzero(pixels(wave)[..., 3].any(axis=1)) for wave in tree.all("img", "bark-waveform")]
    assert heights[1] == pytest.approx(8 * heights[0], rel=0.1)  # drawn as loud as they are
    brightest = [pixels(mel)[..., :3].sum(-1).max() for mel in tree.all("img", "bark-spectrogram")]
    assert brightest[0] < brightest[1] == 252 + 253 + 191  # the top of magma


def test_a_click_shows_however_long_the_sound():
    samples = np.zeros(20 * RATE, np.float32)
    samples[240_000] = 0.9
    (wave,) = Tree(notebook.player(samples).html()).all("img", "bark-waveform")
    column = pixels(wave)[..., 3].argmax(axis=1)[:40]
    assert pixels(wave)[20, 400, 3] == 255
    assert set(column[5:]) == {400}
    assert pixels(wave).shape[1] == 800


def test_low_bands_are_at_the_bottom_of_a_spectrogram():
    (mel,) = Tree(notebook.player(tone(0.5, hz=200)).html()).all("img", "bark-spectrogram")
    bright = pixels(mel)[:, 25, :3].sum(-1)
    assert bright.argmax() > 70


def test_tokens_lie_under_the_time_at_which_they_sound(speech):
    tree = Tree(notebook.player(speech, tokens=True).html())
    (semantic,), (coarse, fine) = tree.all("img", "bark-semantic"), tree.all("img", "bark-codes")
    frames = round(speech.seconds * speech.tokens.coarse_rate_hz)
    assert pixels(coarse).shape[:2] == (2, frames)
    assert pixels(fine).shape[:2] == (8, frames)
    brightness = pixels(fine)[..., 3].astype(int)
    order = np.argsort(speech.fine, axis=None)
    assert (np.diff(brightness.ravel()[order]) >= 0).all()  # the higher the entry the stronger
    dots = pixels(semantic)
    for place, token in enumerate(speech.semantic):
        if 3 * place >= dots.shape[1]:
            break
        top = np.flatnonzero(dots[:, 3 * place, 3])[0]
        assert top == round((1 - token / speech.tokens.semantic_vocab_size) * 46)
    assert "semantic" not in notebook.player(speech).body


def test_tokens_that_are_shorter_or_longer_than_the_sound_keep_their_places():
    codes = np.full((2, 100), 900)
    (short,) = Tree(notebook.player(tone(0.1, 2.0), tokens=[codes]).html()).all("img", "bark-codes")
    (long,) = Tree(notebook.player(tone(0.1, 1.0), tokens=[codes]).html()).all("img", "bark-codes")
    assert pixels(short).shape[:2] == (2, 150)
    assert (pixels(short)[:, :100, 3] > 100).all()
    assert not pixels(short)[:, 100:, 3].any()
    assert pixels(long).shape[:2] == (2, 75)
    with pytest.raises(ValueError, match=r"shape \(1, 2, 3\)"):
        notebook.player(tone(0.1), tokens=[np.zeros((1, 2, 3), int)])


def levels(shown):
    (letters,) = Tree(shown.html()).all("p", "bark-letters")
    return float(letters["data-rate"]), letters["data-levels"].split(" ")


def test_letters_light_up_at_their_times():
    rate, frames = levels(notebook.player(tone(0.1), letters=("ab", np.array([0.1, 0.3]))))
    at = [frames[int(seconds * rate)] for seconds in (0.05, 0.1, 0.29, 0.31, 0.5)]
    assert at == ["00", "90", "90", "09", "09"]
    assert len(frames) < 0.7 * rate  # and go out after the last


def test_letters_glow_by_their_weights():
    weights = np.array([[0.02, 0.01, 0], [0, 0.1, 0.2]])
    rate, frames = levels(notebook.player(tone(0.1), letters=(["th", "e", "<"], weights)))
    assert rate == TokenConfig().semantic_rate_hz
    assert frames == ["940", "049"] or frames == ["950", "049"]
    shown = notebook.player({"a": tone(0.1), "b": tone(0.2)}, letters={"b": ("xyz", weights)})
    assert shown.body.index('data-label="b"') < shown.body.index("bark-letters")


@pytest.mark.parametrize(
    ("letters", "message"),
    [
        (("abc", np.zeros(2)), r"3 letters with numbers of the shape \(2,\)"),
        (("", np.zeros(0)), "0 letters"),
        (("ab", np.array([0.2, 0.1])), "go back in time"),
        (("ab", np.array([0.2, np.nan])), "pass finite"),
        ({"nobody": ("ab", np.zeros(2))}, r"letters for \['nobody'\]"),
    ],
)
def test_letters_that_do_not_fit_are_refused(letters, message):
    with pytest.raises(ValueError, match=message):
        notebook.player(tone(0.1), letters=letters)


def test_what_is_no_sound_is_refused():
    with pytest.raises(ValueError, match="0 sample rates"):
        notebook.player({})
    with pytest.raises(ValueError, match="the sound has 0 samples"):
        notebook.player(np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="sound 1 is nan at sample 1"):
        notebook.keyboard([tone(0.1), np.array([0.0, np.nan, np.nan], np.float32)])


def figure(words):
    drawn = Figure(figsize=(4, 2))
    drawn.text(0.5, 0.5, words)
    return drawn


def test_a_picture_has_words():
    shown = notebook.picture(figure("a"), 'A "<b>" that\nrises.')
    (image,) = Tree(shown.body).all("img")
    assert image["alt"] == 'A "<b>" that\nrises.'
    assert repr(shown) == '[picture: A "<b>" that\nrises.]'
    assert pixels(image).shape[1] == 360
    assert "bark-dim" in notebook.picture(figure("a"), "Dark.", invert=False).body
    with pytest.raises(ValueError, match="no words"):
        notebook.picture(figure("a"), " ")


def test_steps_hold_every_position():
    shown = notebook.steps(
        "level", {0.1: [figure("soft"), tone(0.1)], 0.8: notebook.player(tone(0.8)), "none": "no <i>"}
    )
    tree = Tree(shown.html())
    assert [step["data-label"] for step in tree.all("div", "bark-step")] == ["0.1", "0.8", "none"]
    assert [image["alt"] for image in tree.all("img") if "bark-invert" in image.get("class", "")] == ["level 0.1"]
    assert "no <i>" in tree.words
    peaks = [np.abs(soundfile.read(content(audio["src"]))[0]).max() for audio in tree.all("audio")]
    np.testing.assert_allclose(peaks, [0.1, 0.8], atol=1e-3)
    (slider,) = tree.all("input")
    assert (slider["max"], slider["value"]) == ("2", "0")
    assert Tree(notebook.steps("level", {1: "a", 2: "b"}, start=2).html()).all("input")[0]["value"] == "1"
    assert repr(shown) == "[slider: level 0.1, 0.8, none]"
    assert len(tree.all("style")) == 1  # script and style travel once
    with pytest.raises(ValueError, match=r"the positions are \[1\], the first to be shown is 2"):
        notebook.steps("level", {1: "a"}, start=2)
    with pytest.raises(ValueError, match=r"the positions are \[\]"):
        notebook.steps("level", {})


def test_a_keyboard_packs_its_sounds():
    sounds = [tone(0.5, 0.1, hz) for hz in (200, 400, 800)]
    shown = notebook.keyboard(sounds, levels=[1, 3, 2], suffix=".flac", name="code")
    tree = Tree(shown.html())
    (node,) = [div for div in tree.all("div") if div.get("data-bark") == "keyboard"]
    assert json.loads(node["data-lengths"]) == [0.1, 0.1, 0.1]
    assert node["data-levels"] == "195"
    samples, _ = soundfile.read(content(tree.all("audio")[0]["src"]), dtype="float32")
    np.testing.assert_allclose(samples, np.concatenate(sounds), atol=1 / 2**15)
    assert len(notebook.keyboard(np.stack(sounds)).body) < len(shown.body)
    with pytest.raises(ValueError, match="3 sounds and 2 levels"):
        notebook.keyboard(sounds, levels=[1, 2])
    with pytest.raises(ValueError, match="0 sounds"):
        notebook.keyboard([])


def test_a_keyboard_of_a_whole_codebook_is_small():
    noise = np.random.default_rng(0).normal(0, 0.1, (512, 2400)).astype(np.float32)
    assert len(notebook.keyboard(noise).html()) < 500_000


def test_every_image_has_words_and_every_control_a_name(speech):
    parts = [notebook.player({"a": speech, "b": tone(0.1)}, tokens=True), notebook.keyboard([tone(0.1)])]
    tree = Tree(notebook.steps("kind", dict(enumerate(parts))).html())
    words = [image["alt"] for image in tree.all("img")]
    assert words.count("") == 1  # the one that starts the script
    assert all(div["aria-label"] for div in tree.all("div") if "role" in div)
    ids = [attributes["id"] for _, attributes in tree.found if "id" in attributes]
    assert not ids  # the same output may stand twice on a page


def test_nothing_is_loaded_from_elsewhere(speech):
    content = notebook.player(speech, tokens=True).html() + notebook.keyboard([tone(0.1)]).html()
    for _, attributes in Tree(content).found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http" not in content


def test_a_widget_shows_the_same_html(speech):
    shown = notebook.player(speech)
    assert notebook.view(shown).value == shown.html()
