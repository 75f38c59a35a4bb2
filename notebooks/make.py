"""Refresh, run and clean the notebooks: `make notebooks`, or `make notebooks ARGS="03 06"` for some of them.

    refresh   write what is the same everywhere: title, badge, links, the set-up cell, drawings, the reading time
    execute   run every cell, in order, in a fresh kernel
    clean     drop what differs from run to run and what viewers choke on

The repository's address stands in `pyproject.toml` alone. Cells with the ids `header`, `set-up` and `next` are
written here; a drawing is shown by `![words][name]`, and travels in the notebook as `[name]: data:...`, which
Jupyter, Colab and GitHub all show.

What a cell's metadata says:

    tags: hide-input   folded: plots, imports, checks of exercises; its first line is `# @title ...`
    tags: solution     folded: the solution of an exercise
    tags: answer       an exercise's cell for the learner: answers that are `...`, and the call of the check
    heard              for each player of the cell: what a recogniser must hear, see `tests/test_heard.py`
"""

import argparse
import base64
import math
import re
import time
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

import bark_jax
from bark_jax.notebook import WIDGET_VIEW

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
BLOB = f"{REPOSITORY}/blob/main"
COLAB = f"https://colab.research.google.com/github{urlparse(REPOSITORY).path}/blob/main/notebooks"

SERIES = {
    "01_architecture": "The architecture: the journey of a sentence",
    "02_weight_conversion": "Weight conversion: from a file to a network",
    "03_text_to_semantic": "Text to semantic tokens",
    "04_semantic_to_coarse": "Semantic tokens to coarse codes",
    "05_coarse_to_fine": "Coarse codes to fine codes",
    "06_encodec": "EnCodec: codes to sound, and sound to codes",
    "07_full_generation_on_tpu": "Full generation, on a TPU if there is one",
    "08_training_a_small_bark": "Training a small Bark",
}
STEMS = list(SERIES)
ROUTES = {  # what for, and the numbers of the notebooks
    "use": ("make speech, and know what each option does", (1, 7)),
    "understand": ("know how a text becomes sound, network by network", (1, 3, 4, 5, 6)),
    "engineer": ("load weights, run fast on accelerators, train", (2, 7, 8)),
}
KEPT_METADATA = ("tags", "cellView", "jupyter", "heard")  # of cells
FOLDING = {"solution", "hide-input"}  # tags
WORDS, LINES = 200, 15  # of prose and of visible code, that a reader reads in a minute
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab, in Jupyter
CELL_TIMEOUT_S = 300
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"  # KiB on Linux

SET_UP = f"""CHECKPOINT = None  # None: the small one that comes with Bark JAX; or "suno/bark-small", "suno/bark"

import sys
from importlib.metadata import distributions
from pathlib import Path

if "google.colab" in sys.modules:  # installs Bark JAX: jax and numpy stay as they are, flax is replaced by a newer one
    fixed = [f"{{d.name}}=={{d.version}}" for d in distributions() if d.name in ("jax", "jaxlib", "libtpu", "numpy")]
    Path("fixed.txt").write_text("\\n".join(fixed))
    %pip install --quiet --constraint fixed.txt "bark-jax @ git+{REPOSITORY}@v{bark_jax.__version__}"

import bark_jax
from bark_jax import notebook

print(notebook.device())"""


def refresh(notebook: NotebookNode, stem: str) -> None:
    """Write the cells and links that follow from the place in the series, the reading time, and the drawings."""
    place = STEMS.index(stem)
    head = [
        f"# {place + 1}. {SERIES[stem]}",
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({COLAB}/{stem}.ipynb)",
        f"![The journey of a sentence: text, semantic tokens, coarse codes, fine codes, sound][journey-{place + 1}]",
        f"Notebook {place + 1} of {len(STEMS)} of the series [Bark JAX]({REPOSITORY})."
        + (f" Before: {link(place - 1)}." if place else "")
        + (f" After: {link(place + 1)}." if place + 1 < len(STEMS) else ""),
        routes(place),
    ]
    if place + 1 < len(STEMS):
        foot = f"**Next:** {link(place + 1)}"
    else:
        foot = f"**That was the last one.** Now read the package: [pipeline.py]({BLOB}/bark_jax/pipeline.py) first."
    put(notebook, new_markdown_cell("\n\n".join(head), id="header"), 0)
    put(notebook, new_code_cell(SET_UP, id="set-up", metadata={"tags": ["nbval-ignore-output"]}), 2)
    put(notebook, new_markdown_cell(foot, id="next"), len(notebook.cells))
    for cell in notebook.cells:
        if FOLDING & set(cell.metadata.get("tags", ())):
            cell.metadata |= FOLDED
        if cell.cell_type == "markdown":
            cell.source = embed_drawings(re.sub(r"https://github\.com/[\w.-]+/[\w.-]+/blob/main", BLOB, cell.source))
    goals, minutes = notebook.cells[1], reading_minutes(notebook)
    goals.source = re.sub(r"([Rr]eading\s+time:\s+)\d+(\s+minutes)", rf"\g<1>{minutes}\g<2>", goals.source)


def routes(place: int) -> str:
    """Say which notebooks make up each route: as a map in the first notebook, as a line in the others."""
    names = [f"**{n}**" if n == place + 1 else f"[{n}]({stem}.ipynb)" for n, stem in enumerate(STEMS, 1)]
    ways = {route: " → ".join(names[n - 1] for n in numbers) for route, (_, numbers) in ROUTES.items()}
    pages = "[Cheat sheet](../docs/cheat-sheet.md): all figures on a page. [Glossary](../docs/glossary.md): all terms."
    if place:
        return f"Routes: {'; '.join(f'{route} {way}' for route, way in ways.items())}. {pages}"
    rows = [f"| {route} | {ROUTES[route][0]} | {way} |" for route, way in ways.items()]
    return "\n".join(["| route | you want to | notebooks |", "|---|---|---|", *rows, "", pages])


def reading_minutes(notebook: NotebookNode) -> int:
    """Count the minutes to read prose and visible code, rounded up to five; running and exercises take more."""
    prose = [cell.source.split("]: data:")[0] for cell in notebook.cells if cell.cell_type == "markdown"]
    words = sum(len(source.split()) for source in prose)
    return 5 * math.ceil((words / WORDS + visible_lines(notebook) / LINES) / 5)


def visible_lines(notebook: NotebookNode) -> int:
    """Count the lines of code that are not folded, without empty ones."""
    visible = [cell for cell in notebook.cells if not FOLDING & set(cell.metadata.get("tags", ()))]
    return sum(bool(line.strip()) for cell in visible if cell.cell_type == "code" for line in cell.source.splitlines())


def link(place: int) -> str:
    """Link to a notebook of the series, in the folder and on Colab."""
    stem = STEMS[place]
    return f"[{place + 1}. {SERIES[stem]}]({stem}.ipynb) ([Colab]({COLAB}/{stem}.ipynb))"


def put(notebook: NotebookNode, cell: NotebookNode, place: int) -> None:
    """Replace the source and metadata of the cell with the same id, or insert the cell at its place."""
    for old in notebook.cells:
        if old.get("id") == cell.id:
            old.source, old.metadata = cell.source, cell.metadata
            return
    notebook.cells.insert(place, cell)


def embed_drawings(source: str) -> str:
    """Define each drawing that a Markdown cell shows, from its file in `assets`."""
    source = re.sub(r"\n*^\[[\w-]+\]: data:.*$", "", source, flags=re.MULTILINE).rstrip()
    for name in dict.fromkeys(re.findall(r"!\[[^\]]*\]\[([\w-]+)\]", source)):
        encoded = base64.b64encode((ROOT / "assets" / f"{name}.svg").read_bytes()).decode()
        source += f"\n\n[{name}]: data:image/svg+xml;base64,{encoded}"
    return source


def execute(notebook: NotebookNode) -> int:
    """Run all cells in a fresh kernel; return the most memory that it took, in MiB.

    Raises CellExecutionError where a cell fails.
    """
    notebook.cells.append(new_code_cell(PEAK))
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        store_widget_state=False,
        coalesce_streams=True,
        record_timing=False,
    ).execute()
    return int(notebook.cells.pop().outputs[0].text) // 1024


def clean(notebook: NotebookNode) -> None:
    """Keep outputs and execution counts; drop progress, warnings, widgets' state and the machine's traces."""
    language = {"name": "python"}
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": language})
    notebook.nbformat_minor = 5
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            output.pop("transient", None)
            if "metadata" in output:  # of it only the words that stand for a picture
                alts = {kind: each.get("alt") for kind, each in output.metadata.items() if isinstance(each, dict)}
                output.metadata = {kind: {"alt": alt} for kind, alt in alts.items() if alt}
            output.get("data", {}).pop(WIDGET_VIEW, None)  # names a widget that is gone; its words stay


def main() -> None:
    parser = argparse.ArgumentParser(description="Refresh, run and clean the notebooks.")
    parser.add_argument("which", nargs="*", help="beginnings of their names, such as 03; none: all")
    parser.add_argument("--no-run", action="store_true", help="only refresh and clean")
    options = parser.parse_args()
    print(f"{'notebook':28}{'seconds':>8}{'MiB':>7}{'kB':>7}{'cells':>7}{'visible':>8}{'reading':>8}   lines, minutes")
    for stem in STEMS:
        if options.which and not stem.startswith(tuple(options.which)):
            continue
        path = FOLDER / f"{stem}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        refresh(notebook, stem)
        began = time.perf_counter()
        peak = 0 if options.no_run else execute(notebook)
        seconds = time.perf_counter() - began
        clean(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        size, lines, minutes = path.stat().st_size // 1000, visible_lines(notebook), reading_minutes(notebook)
        print(f"{stem:28}{seconds:8.0f}{peak:7,}{size:7,}{len(notebook.cells):7}{lines:8}{minutes:8}", flush=True)


if __name__ == "__main__":
    main()
