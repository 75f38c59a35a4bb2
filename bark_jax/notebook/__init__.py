"""What the notebooks share: sound and tokens to hear and see, live controls, a panel to play with.

    play(speech)                   a player, the waveform, the mel spectrogram
    compare({"label": sound})      several takes on one scale
    tokens(speech)                 the tokens of each stage as pictures over time
    show(figure, alt)              a picture, and what it shows in words
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
    compare,
    device,
    play,
    png,
    show,
    sound_figure,
    tokens,
    tokens_figure,
)
from bark_jax.notebook.takes import Panel, panel

__all__ = [
    "COLORS",
    "WIDGET_VIEW",
    "Live",
    "Panel",
    "Sound",
    "check",
    "compare",
    "device",
    "live",
    "panel",
    "play",
    "png",
    "show",
    "sound_figure",
    "tokens",
    "tokens_figure",
    "view",
]
