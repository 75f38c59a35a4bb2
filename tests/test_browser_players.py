"""Players, steps and keyboards as they are used: in a real browser, by mouse and by keyboard, in light and in dark.

The page has no kernel and no network. `make test-browser`; pictures go to the folder BARK_SCREENSHOTS, if it is set.
"""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image as Picture
from test_browser import CHROMIUM, FLAGS

from bark_jax import notebook
from bark_jax.notebook.takes import recorder

MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # it beeps once a second
RATE, SECONDS = 24_000, 8.0  # long, for machines that are slow to look

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `apt-get install chromium`")


def tone(hz, seconds=SECONDS):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def figure(words):
    drawn = Figure(figsize=(4, 1))
    drawn.text(0.5, 0.5, words)
    return drawn


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS + MICROPHONE)
        yield browser
        browser.close()


@pytest.fixture
def theme(request):
    return getattr(request, "param", "light")


in_both_themes = pytest.mark.parametrize("theme", ["light", "dark"], indirect=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Write a page with one of each."""
    codes = np.arange(1200).reshape(2, 600) % 1024
    shown = [
        notebook.player(tone(200), letters=("abcd", np.array([0.0, 2.0, 4.0, 6.0])), tokens=[codes]),
        notebook.player({"low": tone(200), "high": tone(400), "short": tone(800, 0.5)}, title="Three tones"),
        notebook.steps("tone", {hz: [figure(str(hz)), tone(hz)] for hz in (200, 400, 800)}),
        notebook.keyboard([tone(100 + 10 * i, 0.1) for i in range(64)], columns=16, levels=range(64)),
        notebook.picture(figure("words"), "Words on paper."),
    ]
    head = '<meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>players</title>'
    body = "".join(f"<section>{one.html()}</section>" for one in shown)
    path = tmp_path_factory.mktemp("players") / "page.html"
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>", encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, theme, address):
    """Open the page offline; fail if it complains."""
    context = browser.new_context(viewport={"width": 1000, "height": 1000}, color_scheme=theme, offline=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_function("() => document.querySelectorAll('[data-bark]').length > 0")
    yield page
    if folder := os.environ.get("BARK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"players-{theme}.png", full_page=True)
    context.close()
    assert not complaints


def seconds(player):
    return float(player.locator(".bark-time").text_content().split()[0])


def line(player, take=0):
    """Return the place of the line over a take's pictures, 0 to 1."""
    box, strips = (player.locator(name).nth(take).bounding_box() for name in (".bark-line", ".bark-strips"))
    return (box["x"] + box["width"] / 2 - strips["x"]) / strips["width"]


def paused(player):
    return player.locator("audio").evaluate_all("sounds => sounds.map(sound => sound.paused)")


def lit(player):
    letters = player.locator(".bark-letters span")
    return [letter.text_content() for letter in letters.all() if "--level: 1" in (letter.get_attribute("style") or "")]


@in_both_themes
def test_the_line_moves_while_it_plays(page):
    player = page.locator("[data-bark=player]").first
    button = player.get_by_role("button", name="Play")
    assert line(player) == pytest.approx(0, abs=0.01)
    button.click()
    page.wait_for_function("sound => sound.currentTime > 0.6", arg=player.locator("audio").element_handle())
    player.get_by_role("button", name="Pause").click()
    assert paused(player) == [True]
    assert 0.6 < seconds(player) < SECONDS
    assert line(player) == pytest.approx(seconds(player) / SECONDS, abs=0.01)
    assert lit(player) == ["abcd"[int(seconds(player) / 2)]]
    assert player.locator(".bark-stage").get_attribute("aria-valuenow") == f"{seconds(player):.2f}"


def test_it_stops_at_its_end_and_begins_anew(page):
    player = page.locator("[data-bark=player]").first
    player.locator(".bark-stage").press("End")
    player.locator(".bark-stage").press("ArrowLeft")
    player.locator(".bark-play").click()
    page.wait_for_function("sound => sound.ended", arg=player.locator("audio").element_handle())
    player.get_by_role("button", name="Play").wait_for()
    assert seconds(player) == pytest.approx(SECONDS, abs=0.05)
    player.locator(".bark-play").click()
    assert seconds(player) < SECONDS / 2


def test_a_click_and_a_drag_seek(page):
    player = page.locator("[data-bark=player]").first
    box = player.locator(".bark-stage").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 80)
    assert seconds(player) == pytest.approx(2, abs=0.05)
    assert line(player) == pytest.approx(0.25, abs=0.01)
    assert paused(player) == [True]
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 80)
    page.mouse.up()
    assert seconds(player) == pytest.approx(4.8, abs=0.05)
    assert lit(player) == ["c"]


def test_takes_switch_at_the_same_instant(page):
    player = page.locator("[data-bark=player]").nth(1)
    high = player.get_by_role("button", name="high")
    box = player.locator(".bark-stage").bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 60)
    high.click()
    assert seconds(player) == pytest.approx(2.4, abs=0.05)
    assert high.get_attribute("aria-pressed") == "true"
    player.locator(".bark-play").click()
    page.wait_for_timeout(200)
    before = seconds(player)
    player.get_by_role("button", name="low").click()
    assert before <= seconds(player) < before + 2
    assert paused(player) == [False, True, True]
    now, *lines = player.evaluate("""node => [
        parseFloat(node.querySelector('.bark-time').textContent),
        ...[...node.querySelectorAll('.bark-line')].map(line => parseFloat(line.style.left) / 100),
    ]""")
    assert lines[:2] == pytest.approx([now / SECONDS] * 2, abs=0.001)
    player.get_by_role("button", name="short").click()  # which has ended by then
    assert paused(player) == [True, True, True]
    assert seconds(player) == pytest.approx(0.5, abs=0.01)
    assert line(player, 2) == pytest.approx(1, abs=0.01)


def test_a_click_on_a_take_chooses_it(page):
    player = page.locator("[data-bark=player]").nth(1)
    box = player.locator(".bark-strips").nth(1).bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 20)
    assert player.locator(".bark-now").get_attribute("data-label") == "high"
    assert seconds(player) == pytest.approx(4, abs=0.05)


def test_the_keyboard_does_all_of_it(page):
    player = page.locator("[data-bark=player]").nth(1)
    page.keyboard.press("Tab")  # to the first player's button
    for _ in range(20):
        if player.locator(".bark-stage").evaluate("stage => stage === document.activeElement"):
            break
        page.keyboard.press("Tab")
    stage = player.locator(".bark-stage")
    assert stage.evaluate("stage => stage.matches(':focus-visible') && getComputedStyle(stage).outlineStyle") == "solid"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert seconds(player) == pytest.approx(0.3, abs=0.01)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert player.locator(".bark-now").get_attribute("data-label") == "high"
    assert seconds(player) == pytest.approx(0.2, abs=0.01)
    assert "high" in stage.get_attribute("aria-valuetext")
    page.keyboard.press("3")
    assert player.locator(".bark-now").get_attribute("data-label") == "short"
    page.keyboard.press("1")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.wait_for_function("sound => sound.currentTime > 0.1", arg=player.locator("audio").first.element_handle())
    page.keyboard.press("Space")
    assert paused(player) == [True, True, True]
    assert page.evaluate("scrollY") < 900  # space has not scrolled away


def test_only_one_player_plays(page):
    first, second = (page.locator("[data-bark=player]").nth(place) for place in (0, 1))
    first.locator(".bark-play").click()
    second.locator(".bark-play").click()
    assert paused(first) == [True]
    assert paused(second) == [False, True, True]


@in_both_themes
def test_steps_move_without_a_kernel(page):
    steps = page.locator("[data-bark=steps]")
    slider = steps.get_by_role("slider", name="tone")
    visible = "parts => parts.filter(part => !part.hidden).map(part => part.dataset.label)"
    assert steps.locator(".bark-step").evaluate_all(visible) == ["200"]
    assert slider.bounding_box()["width"] > 300
    steps.locator(".bark-play:visible").click()
    page.wait_for_timeout(300)
    slider.press("ArrowRight")
    assert steps.locator(".bark-step").evaluate_all(visible) == ["400"]
    assert steps.locator("output").text_content() == "400"
    assert paused(steps) == [True, False, True]
    assert 0.1 < seconds(steps.locator(".bark-step").nth(1)) < SECONDS  # goes on
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert steps.locator(".bark-step").evaluate_all(visible) == ["800"]
    assert steps.locator("img[alt='tone 800']").is_visible()
    assert not steps.locator("img[alt='tone 200']").is_visible()


def test_keys_play_their_sounds(page):
    keyboard = page.locator("[data-bark=keyboard]")
    keys = keyboard.locator(".bark-key")
    assert keys.count() == 64
    keys.nth(17).click()
    page.wait_for_function("board => board.dataset.played === '17'", arg=keyboard.element_handle())
    page.keyboard.press("ArrowDown")
    page.wait_for_function("board => board.dataset.played === '33'", arg=keyboard.element_handle())
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("board => board.dataset.played === '32'", arg=keyboard.element_handle())
    assert keyboard.locator("output").text_content() == "entry 32"
    reachable = keys.evaluate_all("keys => keys.filter(key => key.tabIndex === 0).length")
    assert reachable == 1  # one stop of the tabulator, not 64


def test_a_widget_that_sets_html_starts_the_script_too(page):
    page.evaluate("() => { document.body.innerHTML = document.querySelector('section').innerHTML }")
    player = page.locator("[data-bark=player]")
    player.locator(".bark-play").click()
    page.wait_for_function("sound => sound.currentTime > 0.1", arg=player.locator("audio").element_handle())
    assert line(player) > 0.1 / SECONDS - 0.001


def luminance(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color) / 255]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@in_both_themes
def test_words_can_be_read_and_pictures_do_not_glare(page, theme):
    player = page.locator("[data-bark=player]").nth(1)
    ink = player.locator(".bark-time").evaluate("node => getComputedStyle(node).color.match(/\\d+/g).map(Number)")
    paper = 0.007 if theme == "dark" else 1.0  # of Chromium's page, #121212 or white
    light, dark = sorted([luminance(ink[:3]), paper], reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7
    with_paper = page.locator("img[alt='Words on paper.']").screenshot(type="png")
    shade = np.median(np.array(Picture.open(io.BytesIO(with_paper)).convert("L")))
    assert shade < 40 if theme == "dark" else shade > 240


def test_a_recorder_hands_over_a_wav_file(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f'<div class="there"><textarea></textarea></div>{recorder("there").html()}', encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop").wait_for()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("() => document.querySelector('textarea').value")
    content = base64.b64decode(page.locator("textarea").input_value())
    assert "s were recorded" in page.locator("output").text_content()
    page.close()
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == RATE
    assert samples.ndim == 1
    assert len(samples) > 2 * RATE
    assert np.abs(samples).max() > 0.01
