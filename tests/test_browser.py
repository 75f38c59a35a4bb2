"""The panel of a notebook as a learner meets it: in JupyterLab, in a real browser, with a mouse.

`make test-browser`; pictures of what it saw go to the folder BARK_SCREENSHOTS, if that is set.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import make
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image as Picture

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NAME = "07_full_generation_on_tpu.ipynb"
# too long for the model at once
TYPED = "This was typed in a browser. The yellow bird is on the big tree, and the little green frog is near it."
SMALL = "small.ipynb"  # a notebook without a model
SMALL_CELLS = (
    """import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from bark_jax import notebook

def tone(hz):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(8 * 24_000) / 24_000)).astype(np.float32)

notebook.player({"low": tone(200), "high": tone(400)})""",
    "figure = Figure(figsize=(4, 1)); figure.text(0.5, 0.5, 'word'); notebook.picture(figure, 'Words on paper.')",
    "notebook.live(tone, hz=widgets.IntSlider(value=200, min=100, max=900))",
)
DRAWING = "The journey of a sentence"
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # or cells out of sight are not there
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
CONNECTED = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'"
ALL_RAN = "() => ![...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))"
RUN_ALL_S, GENERATE_S = 280, 120  # the folded solutions show no prompt: Generate may wait for them

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `apt-get install chromium`")


def with_the_panel_alone(notebook):
    """Keep the cells to the one that loads a checkpoint, and those of the panel; nbval runs the others."""
    sources = [cell.source if cell.cell_type == "code" else "" for cell in notebook.cells]
    loads = next(i for i, source in enumerate(sources) if "bark_jax.load(" in source)
    panel = next(i for i, source in enumerate(sources) if "notebook.panel(" in source)
    notebook.cells = notebook.cells[: loads + 1] + notebook.cells[panel : panel + 3]
    return notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab on a copy of the notebooks, and return its address."""
    folder = tmp_path_factory.mktemp("lab")
    nbformat.write(with_the_panel_alone(nbformat.read(ROOT / "notebooks" / NAME, 4)), folder / NAME)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells = [new_markdown_cell(make.embed_drawings(f"![{DRAWING}][journey-1]")), *map(new_code_cell, SMALL_CELLS)]
    small = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(small, folder / SMALL)
    for name, content in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    runtime = folder / "runtime"
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),  # or it opens what was open before
        "JUPYTER_RUNTIME_DIR": str(runtime),
    }
    options = ["--no-browser", "--allow-root", "--expose-app-in-browser", "--port=0", "--IdentityProvider.token="]
    with (folder / "log.txt").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log.txt").read_text()  # noqa: PT018
            time.sleep(0.2)
        yield json.loads(found[0].read_text())["url"]
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page(lab, request):
    """Open a notebook: the last one that generates, or the one that a test names."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        name = getattr(request, "param", NAME)
        page.goto(f"{lab}lab/workspaces/{Path(name).stem}/tree/{name}")  # of its own, where no other notebook is open
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", state="attached", timeout=60_000)
        yield page
        browser.close()


def test_the_panel_makes_a_speech_to_hear_and_see(page):
    page.wait_for_function(CONNECTED, timeout=60_000)
    page.evaluate("() => { window.ran = jupyterapp.commands.execute('notebook:run-all-cells') }")
    button = page.get_by_role("button", name="Generate")
    button.wait_for(timeout=RUN_ALL_S * 1000)
    page.wait_for_function(ALL_RAN, timeout=RUN_ALL_S * 1000)
    panel = page.locator(".jp-OutputArea-output", has=button)
    panel.locator("audio").wait_for(state="attached")  # the notebook itself made a take
    offered = panel.locator("datalist option").evaluate_all("options => options.map(option => option.value)")
    assert offered == [*(f"en_speaker_{i}" for i in range(8)), "take 1"]
    panel.locator("textarea:visible").fill(TYPED)
    button.click()
    panel.get_by_text("in 2 sentences").wait_for(timeout=GENERATE_S * 1000)
    panel.get_by_text(TYPED[:28]).wait_for()  # the take is shown after the message
    panel.locator("audio").nth(1).wait_for(state="attached")
    assert panel.locator("audio").count() == 2
    newest = panel.locator("audio").first
    page.wait_for_function("audio => audio.readyState >= 1", arg=newest.element_handle())
    assert newest.evaluate("audio => audio.duration") > 0.2
    picture = panel.locator("img[alt^='Waveform']").first
    assert picture.evaluate("image => image.naturalWidth") > 300
    player = panel.locator("[data-bark=player]").first
    player.get_by_role("button", name="Play").click()  # scripts run in widgets too
    page.wait_for_function("audio => audio.currentTime > 0.1", arg=newest.element_handle())
    assert player.locator(".bark-line").evaluate("line => parseFloat(line.style.left)") > 0
    track = panel.locator(".noUi-base").first
    assert track.bounding_box()["width"] > 250  # wide enough to drag
    panel.get_by_role("button", name="Compare all").click()
    panel.get_by_text("All takes").wait_for()
    panel.get_by_role("button", name="take 2").click()
    if folder := os.environ.get("BARK_SCREENSHOTS"):
        for theme in ("Light", "Dark"):
            page.evaluate(
                "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
            )
            page.wait_for_timeout(2000)
            panel.screenshot(path=Path(folder) / f"panel-{theme.lower()}.png")


@pytest.mark.parametrize("page", [SMALL], indirect=True)
def test_players_pictures_and_sliders_in_both_themes(page):
    page.wait_for_function(CONNECTED, timeout=60_000)
    page.evaluate("() => { window.ran = jupyterapp.commands.execute('notebook:run-all-cells') }")
    live = page.locator(".jp-OutputArea-output", has=page.locator(".noUi-base"))
    live.locator("[data-bark=player]").wait_for(timeout=120_000)
    shown, turned = page.locator("[data-bark=player]").first, live.locator("[data-bark=player]")
    for player in (shown, turned):  # an output, and inside a widget
        player.locator(".bark-play").click()
        sound = player.locator("audio").first.element_handle()
        page.wait_for_function("sound => sound.currentTime > 0.1", arg=sound)
        player.locator(".bark-play").click()
        assert player.locator(".bark-line").first.evaluate("line => parseFloat(line.style.left)") > 0
    stage = shown.locator(".bark-stage")
    stage.focus()
    for key in ("Home", "ArrowRight", "ArrowDown"):  # and JupyterLab does not take the keys
        page.keyboard.press(key)
    assert shown.locator(".bark-now").get_attribute("data-label") == "high"
    assert shown.locator(".bark-time").text_content() == "0.10 s of 8.00 s"
    assert stage.evaluate("stage => stage === document.activeElement")
    assert live.locator(".noUi-base").bounding_box()["width"] > 250  # wide enough to drag
    inverted = "image => getComputedStyle(image).filter.includes('invert')"
    for theme in ("Light", "Dark"):
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}")
        dark = "dark => document.body.dataset.jpThemeLight === (dark ? 'false' : 'true')"
        page.wait_for_function(dark, arg=theme == "Dark")
        assert page.locator("img[alt='Words on paper.']").evaluate(inverted) == (theme == "Dark")
        page.evaluate("document.body.style.colorScheme = ''")  # as older JupyterLabs leave it
        for system in ("dark", "light"):  # a drawing in Markdown follows JupyterLab, and not the system
            page.emulate_media(color_scheme=system)
            assert (lightness(page.locator(f"img[alt='{DRAWING}']")) < 128) == (theme == "Dark"), system
        if folder := os.environ.get("BARK_SCREENSHOTS"):
            page.wait_for_timeout(2000)
            page.screenshot(path=Path(folder) / f"lab-players-{theme.lower()}.png")


def lightness(locator):
    """Return the mean lightness of what is seen of an element, 0 (black) to 255."""
    return np.asarray(Picture.open(io.BytesIO(locator.screenshot())).convert("L")).mean()
