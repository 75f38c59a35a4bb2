"""The site: the notebooks as they were run, the pages of this folder, and the API. `make site` builds it.

The sources lie in the whole repository, so that links between them hold on the code host as on the site.
"""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import samples  # noqa: E402

SETTINGS = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))

project = "Bark JAX"
author = "The authors of Bark JAX"
html_title = project
root_doc = "docs/index"
include_patterns = ["docs/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "assets", "bark_jax", "build", "dist", "runs", "shared", "tests", "*.egg-info"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks hold their outputs; tests run them
nb_custom_formats = {".ipynb": ["reader.read", {}, False]}
nb_mime_priority_overrides = [("html", "text/html", 0)]
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"

html_theme = "sphinx_book_theme"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
templates_path = ["."]
html_additional_pages = {"index": "root.html"}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "repository_url": SETTINGS["project"]["urls"]["Repository"],
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}


def setup(app):
    """Speak the samples before the pages that include them are read."""
    app.connect("builder-inited", lambda _: samples.write(HERE.parent / "build" / "samples"))
