"""Refresh, run and clean the notebooks: `make notebooks`, or `make notebooks ARGS="03 06"` for some of them.

    refresh   write what is the same everywhere: title, badge, links, the set-up cell, the drawings
    execute   run every cell, in order, in a fresh kernel
    clean     drop what differs from run to run and what viewers choke on

The repository's address stands in `pyproject.toml` alone. Cells with the ids `header`, `set-up` and `next` are
written here; a drawing is shown by `![words][name]`, and travels in the notebook as `[name]: data:...`, which
Jupyter, Colab and GitHub all show.
"""

import argparse
import base64
import re
import time
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

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
KEPT_METADATA = ("tags", "cellView", "jupyter")  # of cells
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab, in Jupyter
FOLDED_TAGS = {"solution", "hide-input"}  # solutions of exercises, and the code of pictures
CELL_TIMEOUT_S = 300
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"  # KiB on Linux

SET_UP = f"""# Set-up, the same in every notebook. On Colab it installs Bark JAX and moves neither jax nor numpy.
CHECKPOINT = None  # None: the small one that comes with Bark JAX; or "suno/bark-small", "suno/bark"

import sys
from importlib.metadata import distributions
from pathlib import Path


def fixed():
    names = ("jax", "jaxlib", "libtpu", "numpy")
    return sorted({{f"{{d.name}}=={{d.version}}" for d in distributions() if d.name in names}})


if "google.colab" in sys.modules:
    before = fixed()
    Path("fixed.txt").write_text("\\n".join(before))
    %pip install --quiet --constraint fixed.txt "bark-jax @ git+{REPOSITORY}"
    assert fixed() == before, f"the installation changed {{before}} to {{fixed()}}: restart the runtime"

import bark_jax
from bark_jax import notebook

print(notebook.device())"""


def refresh(notebook: NotebookNode, stem: str) -> None:
    """Write the cells and links that follow from the place in the series, and embed the drawings."""
    place = STEMS.index(stem)
    head = [
        f"# {place + 1}. {SERIES[stem]}",
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({COLAB}/{stem}.ipynb)",
        f"![The journey of a sentence][journey-{place + 1}]",
        f"Notebook {place + 1} of {len(STEMS)} of the series [Bark JAX]({REPOSITORY})."
        + (f" Before: {link(place - 1)}." if place else "")
        + (f" After: {link(place + 1)}." if place + 1 < len(STEMS) else ""),
    ]
    if place + 1 < len(STEMS):
        foot = f"**Next:** {link(place + 1)}"
    else:
        foot = f"**That was the last one.** Now read the package: [pipeline.py]({BLOB}/bark_jax/pipeline.py) first."
    put(notebook, new_markdown_cell("\n\n".join(head), id="header"), 0)
    put(notebook, new_code_cell(SET_UP, id="set-up", metadata={"tags": ["nbval-ignore-output"]}), 2)
    put(notebook, new_markdown_cell(foot, id="next"), len(notebook.cells))
    for cell in notebook.cells:
        if FOLDED_TAGS & set(cell.metadata.get("tags", ())):
            cell.metadata |= FOLDED
        if cell.cell_type == "markdown":
            cell.source = embed_drawings(re.sub(r"https://github\.com/[\w.-]+/[\w.-]+/blob/main", BLOB, cell.source))


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
    print(
        f"{'notebook':28}{'seconds':>8}{'MiB':>7}{'kB':>7}{'cells':>7}{'prose':>7}{'code':>6}   lines of prose and code"
    )
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
        prose, code = (count_lines(notebook, kind) for kind in ("markdown", "code"))
        size = path.stat().st_size // 1000
        print(f"{stem:28}{seconds:8.0f}{peak:7,}{size:7,}{len(notebook.cells):7}{prose:7}{code:6}", flush=True)


def count_lines(notebook: NotebookNode, kind: str) -> int:
    """Count the lines of all cells of a kind, without empty ones and drawings."""
    lines = [line for cell in notebook.cells if cell.cell_type == kind for line in cell.source.splitlines()]
    return sum(bool(line.strip()) and "]: data:" not in line for line in lines)


if __name__ == "__main__":
    main()
