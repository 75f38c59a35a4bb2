"""What notebooks show: players and pictures on honest scales, live controls, the panel."""

import base64
import io

import ipywidgets as widgets
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image as Picture

import bark_jax
from bark_jax import notebook, options
from bark_jax.sound import sound_bytes
from bark_jax.tokens import TokenConfig
from bark_jax.train import judges
from bark_jax.train.patterns import EVERYDAY

RATE = 24_000


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load(dtype="float32")


@pytest.fixture(scope="module")
def speech(bark):
    with pytest.warns(UserWarning, match=r"cannot read ♪ \(U\+266A\) in 'Hello <b> ♪'"):
        return bark.generate("Hello <b> ♪", max_seconds=0.5, progress=False)


def tone(level, seconds=0.5):
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_sound_file_is_played_at_its_own_rate(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(0.5), 16_000)
    assert 'data-seconds="0.7500"' in notebook.player(tmp_path / "tone.wav").body  # 12,000 samples
    with pytest.raises(ValueError, match=r"absent\.wav cannot be read as sound"):
        notebook.player("absent.wav")


def test_the_title_of_a_player_is_no_markup(speech):
    assert "Hello &lt;b&gt; ♪" in notebook.player(speech).body


def test_sounds_are_drawn_on_one_scale():
    figure = notebook.sound_figure({"soft": tone(0.1), "loud": tone(0.8, 0.25)}, RATE)
    waves, spectra = figure.axes[0:4:2], figure.axes[1:4:2]
    assert waves[0].get_ylim() == waves[1].get_ylim()
    assert waves[0].get_ylim()[1] == pytest.approx(0.8 * 1.05, rel=1e-3)
    assert waves[0].get_xlim() == waves[1].get_xlim() == (0, 0.5)
    limits = [ax.images[0].get_clim() for ax in spectra]
    assert limits[0] == limits[1]
    heights = [np.ptp(wave.collections[0].get_paths()[0].vertices[:, 1]) for wave in waves]
    assert heights[1] == pytest.approx(8 * heights[0], rel=1e-2)  # drawn as loud as they are


def test_a_click_shows_however_long_the_sound():
    samples = np.zeros(5 * RATE, np.float32)
    samples[12_345] = 0.9
    wave = notebook.sound_figure({"": samples}, RATE).axes[0]
    assert wave.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(0, np.float32), "the sound has 0 samples"),
        (np.zeros((2, 9), np.float32), r"the sound has shape \(2, 9\), not \(n,\)"),
        (np.full(9, 9000, np.int16), "the sound holds int16, not floats .* divide int16 samples by 32768"),
        (np.array([0, np.nan]), "the sound is nan at sample 1"),
    ],
)
def test_what_is_no_sound_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        notebook.player(bad)


def test_takes_of_two_rates_and_no_takes_are_refused(speech):
    slower = bark_jax.Speech(**{**vars(speech), "sample_rate": 16_000})
    with pytest.raises(ValueError, match=r"2 sample rates, \[16000, 24000\]"):
        notebook.player({"a": speech, "b": slower})
    with pytest.raises(ValueError, match="0 sample rates"):
        notebook.player({})


def test_tokens_of_a_speech_lie_on_one_time_axis(speech):
    figure = notebook.tokens_figure([speech.semantic, speech.coarse, speech.fine], speech.tokens)
    semantic, coarse, fine = figure.axes
    np.testing.assert_array_equal(semantic.lines[0].get_ydata(), speech.semantic)
    np.testing.assert_array_equal(fine.images[0].get_array(), speech.fine)
    assert coarse.images[0].get_extent()[1] == pytest.approx(speech.coarse.shape[1] / 75)
    assert semantic.lines[0].get_xdata()[-1] == pytest.approx((len(speech.semantic) - 1) / 50)


def test_tokens_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)"):
        notebook.tokens_figure([np.zeros((1, 2, 3), int)], TokenConfig())
    with pytest.raises(ValueError, match="nothing"):
        notebook.tokens_figure([], TokenConfig())


def test_tokens_follow_the_rates_of_a_config():
    config = TokenConfig(coarse_rate_hz=50, codebook_size=64)
    figure = notebook.tokens_figure([np.zeros((2, 100), int)], config)
    assert figure.axes[0].images[0].get_extent()[1] == 2
    assert figure.axes[0].images[0].get_clim() == (0, 63)


def test_pictures_are_small_and_the_same_every_time():
    first, again = (notebook.png(notebook.sound_figure({"": tone(0.5)}, RATE)) for _ in range(2))
    assert first == again
    assert Picture.open(io.BytesIO(first)).size[0] > 600
    assert len(first) < 60_000


def test_live_draws_anew_when_a_knob_turns():
    asked = []

    def draw(level, name):
        asked.append((level, name))
        return [f"{name}: {level}", tone(level), Figure()]

    box = notebook.live(draw, level=widgets.FloatSlider(value=0.5, max=1), name=widgets.Text(value="a"))
    knobs, drawn, before = box.children
    assert asked == [(0.5, "a")]
    words, sound, picture = (child.value for child in drawn.children)
    assert "a: 0.5" in words
    assert "<audio" in sound
    assert 'alt="level 0.5, name a"' in picture
    assert not knobs.children[0].continuous_update  # a slider under way draws nothing
    knobs.children[0].value = 0.25
    assert asked == [(0.5, "a"), (0.25, "a")]
    assert "a: 0.25" in drawn.children[0].value
    assert not before.children
    knobs.children[-1].value = True
    knobs.children[0].value = 0.75
    assert "a: 0.75" in drawn.children[0].value
    assert "a: 0.25" in before.children[1].value  # what was shown before stays, to be compared
    knobs.children[-1].value = False
    assert not before.children


def test_controls_are_words_where_a_notebook_is_only_read(bark, tmp_path, monkeypatch):
    displayed = []
    monkeypatch.setattr(notebook.controls, "display", lambda data, raw: displayed.append(data))
    notebook.live(str, object=widgets.IntSlider())._ipython_display_()
    notebook.panel(bark, folder=tmp_path)._ipython_display_()
    for data in displayed:
        assert data["text/plain"] == "[live controls: run this cell to use them]"
        assert data[notebook.WIDGET_VIEW]["model_id"]
    assert len(displayed) == 2


def test_live_shows_what_is_wrong_and_goes_on():
    def draw(k):
        if k == 0:
            raise ValueError("k is 0 < 1")
        return str(k)

    box = notebook.live(draw, k=widgets.IntSlider(value=0, max=3))
    assert "k is 0 &lt; 1" in box.children[1].children[0].value
    box.children[0].children[0].value = 2
    assert "2" in box.children[1].children[0].value


def press(panel, **values):
    for name, value in values.items():
        panel.controls[name].value = value
    panel.generate_button.click()


def test_the_panel_speaks_what_its_controls_say(bark, tmp_path):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel, text="One two", seed=3, semantic_temperature=0.3, coarse_temperature=0.9, fine_temperature=0.0)
    expected = bark.generate(
        "One two",
        seed=3,
        semantic_temperature=0.3,
        coarse_temperature=0.9,
        fine_temperature=0.0,
        max_seconds=0.5,
        progress=False,
    )
    np.testing.assert_array_equal(panel.takes[0].samples, expected.samples)
    assert [bar.value for bar in panel.bars.values()] == [1, 1, 1]
    assert "Take 1 was made in" in panel.message.children[0].value
    assert "<audio" in panel.shown.children[0].children[1].value
    told = panel.shown.children[0].children[0].children[1].value
    assert "voice none; temperatures: semantic 0.3, coarse 0.9, fine 0" in told
    assert "seed 3" in told
    assert not panel.generate_button.disabled


def test_a_new_seed_makes_another_take(bark, tmp_path):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel)
    panel.new_seed()
    first, second = panel.takes
    assert second.seed == panel.controls["seed"].value != first.seed


def test_the_first_press_says_that_it_compiles(bark, tmp_path, monkeypatch):
    panel = notebook.panel(bark, max_seconds=0.3, folder=tmp_path)
    said, say = [], panel._say
    monkeypatch.setattr(panel, "_say", lambda text: (said.append(text), say(text)))
    press(panel)
    press(panel)
    assert ["compiles every stage" in text for text in said if text.startswith("Speaking")] == [True, False]


def test_temperatures_reach_3_and_their_sliders_can_be_dragged(bark, tmp_path):
    controls = notebook.panel(bark, folder=tmp_path).controls
    for stage in options.STAGES:
        slider = controls[f"{stage}_temperature"]
        assert slider.max == 3
        assert slider.layout.width == "44em"


def test_a_recording_of_the_microphone_becomes_a_voice(bark, tmp_path, monkeypatch):
    panel = notebook.panel(bark, max_seconds=0.3, folder=tmp_path)
    heard, voice = [], bark.generate("Hello.", max_seconds=1.0, progress=False).voice()
    monkeypatch.setattr(
        type(bark), "voice", lambda self, samples, sample_rate: heard.append((samples, sample_rate)) or voice
    )
    for level in (0.1, 0.2):
        panel.recorded.value = base64.b64encode(sound_bytes(tone(level, 2.0), RATE)).decode()
    assert panel.controls["voice"].value == "recording 2"
    assert [name for name in panel.voices if "recording" in name] == ["recording 1", "recording 2"]
    np.testing.assert_allclose(np.squeeze(heard[1][0]), tone(0.2, 2.0), atol=1e-4)
    assert heard[1][1] == RATE
    panel.recorded.value = "AAAA"
    assert "recording 3" in panel.message.children[0].value  # is no sound, and is named
    assert panel.controls["voice"].value == "recording 2"


def test_bars_are_full_although_a_speech_ends_early(bark, tmp_path):
    panel = notebook.panel(bark, folder=tmp_path)
    press(panel, text="Hello.")
    assert panel.takes[0].seconds < panel.controls["max_seconds"].value - 1
    assert [bar.value for bar in panel.bars.values()] == [1, 1, 1]


def test_the_panel_begins_with_what_the_checkpoint_knows(bark, tmp_path):
    controls = notebook.panel(bark, folder=tmp_path).controls
    assert controls["voice"].options == tuple(bark.voices.names()) == tuple(f"en_speaker_{i}" for i in range(8))
    temperatures = [getattr(bark.tokens, f"{stage}_temperature") for stage in options.STAGES]
    assert [controls[f"{stage}_temperature"].value for stage in options.STAGES] == temperatures
    assert controls["max_seconds"].value == controls["max_seconds"].max == pytest.approx(320 / 50)
    assert set(judges.words(controls["text"].value)) <= set(EVERYDAY)


def test_a_new_option_with_a_slider_is_in_the_panel(bark, tmp_path, monkeypatch):
    """And a new option needs no change of the panel."""
    new = {
        "min_p": options.Option(None, "P", "a new filter", (0, 1, 0.01), off=0.0),
        "flag": options.Option(3, "N", ""),
    }
    table = dict(options.table()) | new
    monkeypatch.setattr(options, "table", lambda *_: table)
    controls = notebook.panel(bark, folder=tmp_path).controls
    assert (controls["min_p"].value, controls["min_p"].max, controls["min_p"].description) == (0, 1, "min p")
    assert "flag" not in controls


def test_a_voice_of_the_checkpoint_speaks(bark, tmp_path):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel, text="More", voice="en_speaker_1")
    expected = bark.generate("More", voice="en_speaker_1", max_seconds=0.5, progress=False)
    np.testing.assert_array_equal(panel.takes[0].samples, expected.samples)


def test_a_text_that_is_too_long_for_once_is_spoken_in_long_form(bark, tmp_path, monkeypatch):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    said, say = [], panel._say
    monkeypatch.setattr(panel, "_say", lambda text: (said.append(text), say(text)))
    text = "The yellow bird is on the big tree in the garden. The green frog is in the cold river now. Good night!"
    press(panel, text=text)
    expected = bark.read(text, max_seconds=0.5, progress=False)
    np.testing.assert_array_equal(panel.takes[0].samples, expected.samples)
    assert "Speaking ... 1 of 3 sentences are done." in said
    assert "in 3 sentences" in panel.message.children[0].value
    assert [bar.value for bar in panel.bars.values()] == [1, 1, 1]
    assert "take 1" in panel.controls["voice"].options


def test_bars_begin_anew_with_the_next_sentence(bark, tmp_path):
    panel = notebook.panel(bark, folder=tmp_path)
    panel.report("fine", 1, 1)
    panel.report("sentence", 1, 2)
    panel.report("semantic", 1, 4)
    assert [bar.value for bar in panel.bars.values()] == [0.25, 0, 0]


def test_the_panel_tells_what_the_checkpoint_cannot_read(bark, tmp_path):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel, text="Good 晚 Alice")
    made, warning = panel.message.children
    assert "Take 1 was made in" in made.value
    assert "nano cannot read 晚 (U+665A)" in warning.value


def test_the_panel_keeps_its_takes_and_speaks_in_their_voices(bark, tmp_path):
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel, seed=1)
    press(panel, text="More", voice="take 1")
    assert "take 1" in panel.controls["voice"].options
    assert panel.controls["voice"].value == "take 1"
    voice = panel.takes[0].voice()
    expected = bark.generate("More", voice=voice, seed=1, max_seconds=0.5, progress=False)
    np.testing.assert_array_equal(panel.takes[1].samples, expected.samples)
    assert "More" in panel.shown.children[0].children[0].children[1].value  # the newest on top
    assert "voice take 1; temperatures" in panel.shown.children[0].children[0].children[1].value
    panel.compare()
    compared = panel.message.children[0].value
    assert compared.count("<audio") == 2
    assert 'data-label="take 2"' in compared


def test_the_panel_says_what_is_wrong(bark, tmp_path):
    panel = notebook.panel(bark, folder=tmp_path)
    panel.compare()
    assert "no take yet" in panel.message.children[0].value
    press(panel, text="   ")
    assert "text is empty" in panel.message.children[0].value
    press(panel, text="Hello", voice="nobody")
    assert "no voice &#x27;nobody&#x27;" in panel.message.children[0].value
    assert not panel.takes
    assert not panel.generate_button.disabled


def test_an_interrupt_keeps_the_takes(bark, tmp_path, monkeypatch):
    panel = notebook.panel(bark, max_seconds=0.3, folder=tmp_path)
    press(panel)
    monkeypatch.setattr(panel, "report", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    press(panel)
    assert "Stopped" in panel.message.children[0].value
    assert len(panel.takes) == 1
    assert not panel.generate_button.disabled


def test_saving_writes_sound_and_voice_and_keeps_what_is_there(bark, tmp_path):
    (tmp_path / "take-1.wav").write_text("of another day")
    panel = notebook.panel(bark, max_seconds=0.5, folder=tmp_path)
    press(panel)
    save = panel.shown.children[0].children[0].children[0]
    save.click()
    assert "take-2.wav" in panel.message.children[0].value
    assert (tmp_path / "take-1.wav").read_text() == "of another day"
    samples, _ = soundfile.read(tmp_path / "take-2.wav", dtype="float32")
    np.testing.assert_allclose(samples, np.clip(panel.takes[0].samples, -1, 1), atol=1e-4)
    again = bark.generate("Hi", voice=tmp_path / "take-2.npz", max_seconds=0.2, progress=False)
    assert len(again.samples)


def test_a_missing_accelerator_is_said_loudly(monkeypatch, tmp_path):
    for variable in ("COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE"):
        monkeypatch.delenv(variable, raising=False)
    (_, _, variables, tpu), (_, _, _, gpu) = notebook.pictures.ACCELERATORS
    absent, present = (str(tmp_path / "absent"),), (str(tmp_path),)
    monkeypatch.setattr(notebook.pictures, "ACCELERATORS", (("TPU", absent, variables, tpu), ("GPU", absent, (), gpu)))
    assert "***" not in notebook.device()
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    assert "*** THIS MACHINE HAS A TPU" in notebook.device()
    assert "jax[tpu]" in notebook.device()
    monkeypatch.setattr(notebook.pictures, "ACCELERATORS", (("GPU", present, (), gpu),))
    assert "*** THIS MACHINE HAS A GPU" in notebook.device()
    assert "jax[cuda13]" in notebook.device()
