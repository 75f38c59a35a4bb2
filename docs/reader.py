"""How the site reads a notebook: solutions are folded, pictures keep their words, and no badge is loaded.

Drawings that travel in the notebook are taken from `assets` instead: MyST reads no SVG from a data URL.
"""

import html
import re

import nbformat
from nbformat import NotebookNode


def read(content: str) -> NotebookNode:
    """Read a notebook and adapt it to a page."""
    notebook = nbformat.reads(content, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = re.sub(r"!\[([^]]*)\]\(https?://[^)]*\)", r"\1", cell.source)
            source = re.sub(r"^\[[\w-]+\]: data:.*$", "", source, flags=re.MULTILINE)
            cell.source = re.sub(r"!\[([^]]*)\]\[([\w-]+)\]", r"![\1](../assets/\2.svg)", source)
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            cell.metadata.tags = [*tags, "hide-cell"]
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data and "text/html" not in data:
                words = output.metadata.get("image/png", {}).get("alt", "A picture of what the text says")
                url = "data:image/png;base64," + data.pop("image/png").replace("\n", "")
                data["text/html"] = f'<img class="bark-invert" src="{url}" alt="{html.escape(words)}">'
    return notebook
