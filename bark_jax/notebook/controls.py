"""Live controls: widgets, and what a function returns for their values."""

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from bark_jax.notebook.pictures import COLORS
from bark_jax.notebook.steps import shown

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # the MIME type that stands for a widget in an output
WIDE = "36em"  # a control with its name and its value: 300 pixels and more to drag


class Live(widgets.VBox):
    """A box of controls that says what it is where a notebook is read and not run."""

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        display({"text/plain": "[live controls: run this cell to use them]", WIDGET_VIEW: view}, raw=True)


def live(draw: Callable[..., Any], **controls: Any) -> Live:
    """Show what `draw` returns for the controls' values, and update it whenever one changes.

    A box under the controls keeps what was shown before in view, to be compared.

    Args:
        draw: called with a value for each control; returns a matplotlib figure, a sound, a text, something
            shown (`player`, `picture`), or a list of these.
        controls: ipywidgets with a `value`, by the name of their argument; sliders act when released.
    """
    drawn, before = widgets.VBox(), widgets.VBox()
    keep = widgets.Checkbox(value=False, description="keep the one before", indent=False)

    def update(_: Any = None) -> None:
        values = {name: control.value for name, control in controls.items()}
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
        if keep.value and drawn.children:
            before.children = [widgets.HTML("<b>before:</b>"), *drawn.children]
        try:
            made = draw(**values)
            drawn.children = [view(item, words) for item in (made if isinstance(made, list) else [made])]
        except ValueError as error:
            drawn.children = [warning(str(error))]

    def forget(change: Mapping[str, Any]) -> None:
        if not change["new"]:
            before.children = []

    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.style = {"description_width": "initial"}
        control.layout = {"width": WIDE, "max_width": "100%"}
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(update, "value")
    keep.observe(forget, "value")
    update()
    return Live([widgets.VBox([*controls.values(), keep]), drawn, before])


def view(item: Any, alt: str = "A picture that follows the controls") -> widgets.Widget:
    """Make a widget that shows a figure, a sound (its player), something shown already, or a text."""
    return widgets.HTML(shown(item, alt).html())


def warning(text: str) -> widgets.HTML:
    return widgets.HTML(f'<p style="color: {COLORS["samples"]}">{html.escape(text)}</p>')
