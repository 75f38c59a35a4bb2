"""Controls that need no kernel: a slider over what was made before, and a keyboard of short sounds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bark_jax.codec import check_samples
from bark_jax.notebook.pictures import picture
from bark_jax.notebook.player import MEDIA, player
from bark_jax.notebook.shown import Shown, data_url, text
from bark_jax.pipeline import Speech
from bark_jax.sound import sound_bytes


def shown(item: Any, alt: str) -> Shown:
    """Make something shown of a figure, a sound, words, or something shown already; `alt` is for figures."""
    if isinstance(item, Shown):
        return item
    if isinstance(item, Figure):
        return picture(item, alt)
    if isinstance(item, Speech | np.ndarray | Path):
        return player(item)
    return Shown(f"<pre>{text(item)}</pre>", str(item))


def steps(name: str, positions: Mapping[Any, Any], *, start: Any = None) -> Shown:
    """Make a slider whose positions were made before, so that it moves without a kernel.

    A sound that plays while the slider moves goes on at the same instant of the next position.

    Args:
        name: what the slider changes, such as "temperature".
        positions: by their labels, in order: a figure, a sound, words, something shown (`player`, `picture`), or a
            list of these.
        start: the label of the first position that is shown; None: the first.

    Raises:
        ValueError: there are no positions, or none is labelled `start`.
    """
    labels = list(positions)
    if not labels or (start is not None and start not in labels):
        raise ValueError(f"the positions are {labels}, the first to be shown is {start}: pass one of these")
    parts = ""
    for label, items in positions.items():
        items = items if isinstance(items, list) else [items]
        inside = "".join(shown(item, f"{name} {label}").body for item in items)
        parts += (
            f'<div class="bark-step" data-label="{text(label)}">'
            f'<div class="bark-position bark-label">{text(name)} {text(label)}</div>{inside}</div>'
        )
    first = 0 if start is None else labels.index(start)
    body = (
        f'<div data-bark="steps" role="group" aria-label="{text(name)}"><label class="bark-slider">'
        f'<span>{text(name)}</span><input type="range" min="0" max="{len(labels) - 1}" step="1" value="{first}">'
        f"<output>{text(labels[first])}</output></label>{parts}</div>"
    )
    return Shown(body, f"slider: {name} {', '.join(map(str, labels))}")


def keyboard(
    sounds: Sequence[np.ndarray] | np.ndarray,
    sample_rate: int = 24_000,
    *,
    name: str = "entry",
    columns: int = 32,
    levels: Sequence[float] | np.ndarray | None = None,
    suffix: str = ".ogg",
) -> Shown:
    """Make a keyboard of short sounds, one key each: a click or the arrow keys play them.

    The sounds travel as one file. 512 sounds of 0.1 s take about 200 kB as Ogg Vorbis.

    Args:
        sounds: samples, each (n,), or together (k, n).
        name: what a key is called, before its number.
        columns: keys in a row.
        levels: a number for each key, shown as its brightness, such as its loudness or pitch.
        suffix: ".ogg" or ".flac".

    Raises:
        ValueError: there are no sounds, one is not samples, or the levels are of another number.
    """
    pieces = [np.asarray(sound) for sound in sounds]
    if not pieces or (levels is not None and len(levels) != len(pieces)):
        raise ValueError(f"{len(pieces)} sounds and {0 if levels is None else len(levels)} levels: pass one for each")
    for number, piece in enumerate(pieces):
        check_samples(piece, f"sound {number}")
    url = data_url(sound_bytes(np.concatenate(pieces), sample_rate, suffix), MEDIA[suffix])
    lengths = [len(piece) / sample_rate for piece in pieces]
    digits = ""
    if levels is not None:
        numbers = np.asarray(levels, np.float64)
        spread = np.ptp(numbers) or 1
        digits = "".join(map(str, np.round((numbers - numbers.min()) / spread * 8 + 1).astype(int)))
    body = (
        f'<div data-bark="keyboard" data-name="{text(name)}" data-columns="{columns}" data-levels="{digits}" '
        f'data-lengths="{json.dumps(lengths)}" role="group" aria-label="Keyboard of {len(pieces)} sounds">'
        f'<div class="bark-bar"><output>{text(name)}: press a key</output></div><div class="bark-keys"></div>'
        f'<audio controls src="{url}"></audio></div>'
    )
    return Shown(body, f"keyboard of {len(pieces)} sounds")
