"""Live controls: widgets, and what a function returns for their values."""

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from bark_jax.notebook.pictures import COLORS, png, samples_of, sound_figure
from bark_jax.notebook.shown import Shown
from bark_jax.pipeline import Speech
from bark_jax.sound import player

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # the MIME type that stands for a widget in an output


class Live(widgets.VBox):
    """A box of controls that says what it is where a notebook is read and not run."""

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        display({"text/plain": "[live controls: run this cell to use them]", WIDGET_VIEW: view}, raw=True)


def live(draw: Callable[..., Any], **controls: Any) -> Live:
    """Show what `draw` returns for the controls' values, and update it whenever one changes.

    Args:
        draw: called with a value for each control; returns a matplotlib figure, a sound, a text, something
            shown (`player`, `picture`), or a list of these.
        controls: ipywidgets with a `value`, by the name of their argument; sliders act when released.
    """
    shown = widgets.VBox()

    def update(_: Any = None) -> None:
        try:
            drawn = draw(**{name: control.value for name, control in controls.items()})
            shown.children = [view(item) for item in (drawn if isinstance(drawn, list) else [drawn])]
        except ValueError as error:
            shown.children = [warning(str(error))]

    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.style = {"description_width": "initial"}
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(update, "value")
    update()
    return Live([widgets.HBox(list(controls.values())), shown])


def view(item: Any) -> widgets.Widget:
    """Make a widget that shows a figure, a sound (player and pictures) or a text."""
    if isinstance(item, Shown):
        return widgets.HTML(item.html())
    if isinstance(item, Figure):
        import matplotlib.pyplot as plt

        plt.close(item)  # or a figure of pyplot would be shown once more, under the cell
        return widgets.Image(value=png(item), format="png")
    if isinstance(item, Speech | np.ndarray):
        samples, rate = samples_of(item, 24_000)
        picture = widgets.Image(value=png(sound_figure({"": samples}, rate)), format="png")
        return widgets.VBox([widgets.HTML(player(samples, rate)._repr_html_()), picture])
    return widgets.HTML(f"<pre>{html.escape(str(item))}</pre>")


def warning(text: str) -> widgets.HTML:
    return widgets.HTML(f'<p style="color: {COLORS["samples"]}">{html.escape(text)}</p>')
