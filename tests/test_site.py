"""The site as a reader meets it: built as `make site` builds it, then opened in Chromium without a network.

`make test-site`; pictures of some pages go to the folder BARK_SCREENSHOTS, if it is set.
"""

import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import make
import numpy as np
import pytest
from PIL import Image as Picture
from test_browser import CHROMIUM, FLAGS

ROOT = Path(__file__).parent.parent
PAGES = [
    *(f"docs/{path.stem}" for path in sorted((ROOT / "docs").glob("*.md"))),
    *(f"notebooks/{stem}" for stem in make.STEMS),
]

in_both_themes = pytest.mark.parametrize("theme", ["light", "dark"])
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `apt-get install chromium`")


class Links(HTMLParser):
    """List where a page leads, what it loads, and the places that a link can lead to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.places, self.bare = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag in ("img", "script", "audio", "link"):
            self.loads += [found[name] for name in ("src", "href") if found.get(name)]
            if tag == "img" and "alt" not in found:
                self.bare.append(found["src"][:60])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; a warning of Sphinx, such as a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", folder / "trees", "."]
    done = subprocess.run([*command, folder / "html"], cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Links(path) for path in site.rglob("*.html") if "_static" not in path.parts}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, site):
    """Return a function that opens a page offline; fail if one complains or asks for what is not there."""
    complaints, contexts = [], []

    def open_one(name, theme):
        context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme=theme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:200]))
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_load_state("load")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints


def test_every_page_is_built(site):
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert set(PAGES) <= built
    assert "index" in built  # where a visitor comes in
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")


def test_no_link_is_broken(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            target = urlparse(link)
            if target.scheme in ("http", "https", "mailto", "data"):
                if (
                    link.startswith(make.BLOB)
                    and not (ROOT / unquote(link.removeprefix(f"{make.BLOB}/").split("#")[0])).exists()
                ):
                    broken.append((path.name, link))
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path
            place = unquote(target.fragment)
            if not there.exists() or (place and there in pages and place not in pages[there].places):
                broken.append((path.name, link))
    assert not broken


def test_nothing_is_loaded_from_elsewhere(pages):
    assert not {url for page in pages.values() for url in page.loads if urlparse(url).scheme in ("http", "https")}


def test_every_picture_has_words(pages):
    assert not {path.name: page.bare for path, page in pages.items() if page.bare}


def test_the_api_is_documented(site, pages):
    api = pages[site / "docs" / "api.html"]
    names = "load Bark.generate Bark.read Bark.stream Speech Voice TokenConfig".split()
    assert {f"bark_jax.{name}" for name in names} <= api.places
    assert {f"bark_jax.notebook.{name}" for name in ("player", "steps", "keyboard", "panel")} <= api.places


@in_chromium
@in_both_themes
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads(open_page, name, theme):
    page = open_page(name, theme)
    assert page.locator(".bd-article h1").first.is_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    style = page.evaluate("(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))")
    ink, paper = (int(re.search(r"\d+", color)[0]) for color in style)
    assert (ink < 100 and paper > 200) if theme == "light" else (ink > 180 and paper < 60)
    words = page.locator(".bd-article").inner_text()
    assert "data:image" not in words  # Markdown that was not understood
    assert "![" not in words
    broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
    assert not broken
    if name.startswith("notebooks/"):
        assert page.locator("img[alt^='The journey of a sentence']").is_visible()
    if folder := os.environ.get("BARK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"site-{name.replace('/', '-')}-{theme}.png")


@in_chromium
@in_both_themes
def test_drawings_follow_the_theme_that_a_reader_chooses(open_page, theme):
    page = open_page("notebooks/03_text_to_semantic", theme)
    drawing = page.locator("img[alt^='The journey of a sentence']")
    for chosen in ("dark", "light"):
        page.evaluate("chosen => { document.documentElement.dataset.theme = chosen }", chosen)
        shade = np.median(np.array(Picture.open(io.BytesIO(drawing.screenshot())).convert("L")))
        assert shade < 60 if chosen == "dark" else shade > 200


@in_chromium
def test_outputs_lie_on_the_dark_page(open_page):
    """The theme of the site puts outputs and pictures on light cards with a margin, which ours do not need."""
    page = open_page("notebooks/01_architecture", "dark")
    player, picture = page.locator("[data-bark=player]").first, page.locator("img.bark-invert").first
    papers = player.evaluate("""node => {
        const found = [];
        for (let one = node; one !== document.body; one = one.parentNode)
            found.push(getComputedStyle(one).backgroundColor);
        return found;
    }""")
    assert set(papers) == {"rgba(0, 0, 0, 0)"}
    card = "image => (({padding, backgroundColor}) => [padding, backgroundColor])(getComputedStyle(image))"
    for image in (player.locator(".bark-spectrogram").first, picture):
        assert image.evaluate(card) == ["0px", "rgba(0, 0, 0, 0)"]


@in_chromium
@in_both_themes
def test_a_player_plays(open_page, theme):
    page = open_page("docs/index", theme)
    player = page.locator("[data-bark=player]").first
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("sound => sound.currentTime > 0.2", arg=player.locator("audio").element_handle())
    assert player.locator(".bark-line").evaluate("line => parseFloat(line.style.left)") > 0


@in_chromium
@in_both_themes
def test_takes_switch_and_a_slider_moves(open_page, theme):
    page = open_page("docs/voices", theme)
    player = page.locator("[data-bark=player]").first
    player.get_by_role("button", name="en_speaker_1").click()
    assert player.locator(".bark-now").get_attribute("data-label") == "en_speaker_1"
    steps = page.locator("[data-bark=steps]").first
    steps.get_by_role("slider", name="semantic temperature").press("ArrowRight")
    assert steps.locator("output").text_content() == "0.7"
    shown = steps.locator(".bark-step").evaluate_all(
        "parts => parts.filter(one => !one.hidden).map(one => one.dataset.label)"
    )
    assert shown == ["0.7"]
    steps.scroll_into_view_if_needed()
    if folder := os.environ.get("BARK_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"site-slider-{theme}.png")


@in_chromium
def test_every_player_of_every_page_starts(open_page):
    """The scripts run on each page, with no kernel there."""
    for name in PAGES:
        page = open_page(name, "light")
        started = page.evaluate("[...document.querySelectorAll('[data-bark=player]')].map(node => Boolean(node.bark))")
        assert all(started), name
