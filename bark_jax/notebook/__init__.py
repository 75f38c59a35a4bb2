"""What the notebooks share: sound and tokens to hear and see, live controls, a panel to play with.

    player({"label": sound})       a line that moves over waveform, spectrogram and tokens; takes to switch between
    picture(figure, alt)           a figure, with words for those who do not see it
    steps("name", {label: item})   a slider over pictures or sounds that were made before
    keyboard(sounds)               a key for each of many short sounds

These need no kernel once they are made. They are values: the last line of a cell shows one, `display` any.

    live(draw, knob=widget)        what `draw` returns, updated when a knob turns
    check(answer, test)            say whether an answer to an exercise is right
    panel(bark)                    text, voice, seed and temperatures; generate, compare and save

A sound is a `Speech`, samples (n,), by default at 24 kHz, or a sound file's path. Nothing is made louder or
softer: where one sound seems louder than another, it is. Needs the extra `notebooks`; keeps to what ipywidgets
7 and 8 share.
"""

from bark_jax.notebook.controls import WIDGET_VIEW, Live, live, view
from bark_jax.notebook.exercises import check
from bark_jax.notebook.pictures import (
    COLORS,
    Sound,
    device,
    picture,
    png,
    sound_figure,
    tokens_figure,
)
from bark_jax.notebook.player import player
from bark_jax.notebook.shown import Shown
from bark_jax.notebook.steps import keyboard, steps
from bark_jax.notebook.takes import Panel, panel

__all__ = [
    "COLORS",
    "WIDGET_VIEW",
    "Live",
    "Panel",
    "Shown",
    "Sound",
    "check",
    "device",
    "keyboard",
    "live",
    "panel",
    "picture",
    "player",
    "png",
    "sound_figure",
    "steps",
    "tokens_figure",
    "view",
]
