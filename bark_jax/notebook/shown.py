"""What a notebook shows without a kernel: HTML that brings its style, its script and its data along.

It works in JupyterLab, Colab, VS Code, inside a widget and on a web page. Where scripts do not run, what is shown
stays: pictures with their words, and the browser's own players.
"""

import base64
import functools
import html
import importlib.resources
import io
import re
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Picture

# An image that loads starts the script: widgets and some viewers never run a <script>.
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class Shown:
    """Hold HTML that needs no kernel, and the words for where HTML is not shown."""

    def __init__(self, body: str, words: str, script: str = "shown.js"):
        self.body, self.words, self.script = body, words, script

    def __repr__(self) -> str:
        return f"[{self.words}]"

    def html(self) -> str:
        """Return the HTML with its style and script, ready for any page."""
        style, start = _short("picture.css"), ""
        if "data-bark=" in self.body:
            style += "\n" + _short("shown.css")
            start = f'<img src="{DOT}" alt="" hidden onload="({_attribute(_short(self.script))})(this.parentNode)">'
        return f'<div class="bark" data-lm-suppress-shortcuts="true"><style>{style}</style>{self.body}{start}</div>'

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}


def text(words: Any) -> str:
    """Return words as HTML, also inside a quoted attribute."""
    return html.escape(str(words))


def data_url(content: bytes, kind: str) -> str:
    """Return a file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image(indices: UInt8[np.ndarray, "h w"], palette: UInt8[np.ndarray, "k 4"], alt: str, kind: str) -> str:
    """Return an `<img>` of one pixel for each index, coloured by a palette of RGBA.

    Args:
        kind: what it shows, a class of the style sheet.
    """
    picture = Picture.frombytes("P", indices.shape[::-1], indices.tobytes())
    picture.putpalette(palette[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, transparency=palette[:, 3].tobytes())
    return f'<img class="bark-{kind}" src="{data_url(buffer.getvalue(), "image/png")}" alt="{text(alt)}">'


@functools.cache
def _short(name: str) -> str:
    """Read a file of this folder, without comments and indentation."""
    content = importlib.resources.files("bark_jax.notebook").joinpath(name).read_text(encoding="utf-8")
    content = re.sub(r"/\*.*?\*/", "", content, flags=re.DOTALL)
    lines = (line.strip() for line in content.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _attribute(script: str) -> str:
    return script.rstrip(";").replace("&", "&amp;").replace('"', "&quot;")
