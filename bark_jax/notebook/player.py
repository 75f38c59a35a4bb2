"""A player whose line moves over the waveform, the spectrogram and the tokens of one or more takes.

    takes ──▶ strips (pictures as wide as their sound is long) + sound files ──▶ HTML

The script is in `shown.js`: click or drag to seek; space plays; the arrows left and right seek by 0.1 s; the arrows
up and down, and the digits, choose a take, which goes on at the same instant.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from bark_jax.notebook.pictures import COLORS, Sound, envelope, one_rate
from bark_jax.notebook.shown import Shown, data_url, image, text
from bark_jax.pipeline import Speech
from bark_jax.sound import MEL_FLOOR_DB, mel_spectrogram, sound_bytes
from bark_jax.tokens import TokenConfig

Letters = tuple[str | Sequence[str], np.ndarray]  # pieces of a text (l,), and times (l,) or weights (t, l)
COLUMNS = 800  # of a picture, at most
MEDIA = {".flac": "audio/flac", ".ogg": "audio/ogg", ".wav": "audio/wav"}
RANGE_DB = 60  # of the spectrogram's colours
LETTERS_HZ = 50.0  # of letters that come with times


def player(
    takes: Sound | Mapping[str, Sound],
    sample_rate: int = 24_000,
    *,
    title: str | None = None,
    tokens: bool | Sequence[np.ndarray] = False,
    letters: Letters | Mapping[str, Letters] | None = None,
    suffix: str = ".flac",
) -> Shown:
    """Make a player of one sound, or of several takes that are compared: all on one scale of time, level and colour.

    Args:
        takes: a sound, or sounds by label; a `Speech`, samples (n,), or the path of a sound file.
        sample_rate: of samples, in Hz; a `Speech` and a file know their own.
        title: a line above it; None: that of a single `Speech`, or none.
        tokens: whether each `Speech` shows its tokens; or arrays that every take shows, semantic (s,) or codes (q, t).
        letters: a text that lights up as it is spoken: (pieces, times), the seconds (l,) at which each piece begins,
            in ascending order; or (pieces, weights), attention weights (s, l) of each semantic token. By label
            for several takes.
        suffix: ".flac", exact to 16 bits, or ".ogg", a fifth of the size.

    Raises:
        ValueError: no takes, no samples, or several sample rates; tokens or letters of another shape, or of no take.
    """
    sounds: Mapping[str, Sound] = takes if isinstance(takes, Mapping) else {"": takes}
    samples, rate = one_rate(sounds, sample_rate)
    if title is None and isinstance(takes, Speech):
        title = repr(takes)
    by_label = letters if isinstance(letters, Mapping) else {} if letters is None else dict.fromkeys(sounds, letters)
    if unknown := set(by_label) - set(sounds):
        raise ValueError(f"letters for {sorted(unknown)}, the takes are {sorted(sounds)}: use their labels")
    scale = Scale(
        seconds=max(map(len, samples.values())) / rate,
        level=max(0.1, *(float(np.abs(x).max()) for x in samples.values())),
        spectra={label: mel_spectrogram(x, rate) for label, x in samples.items()},
    )
    several = len(samples) > 1
    shown = ""
    for label, x in samples.items():
        sound = sounds[label]
        config = sound.tokens if isinstance(sound, Speech) else TokenConfig()
        if not isinstance(tokens, bool):
            arrays = [np.asarray(array) for array in tokens]
        else:
            arrays = [sound.semantic, sound.coarse, sound.fine] if tokens and isinstance(sound, Speech) else []
        seconds = len(x) / rate
        strips = scale.strips(label, x, rate) + "".join(_tokens(array, config, seconds) for array in arrays)
        heading = f'<div class="bark-label">{text(label)}</div>' if several else ""
        spoken = _letters(*by_label[label], config) if label in by_label else ""
        url = data_url(sound_bytes(x, rate, suffix), MEDIA[suffix])
        shown += (
            f'<div class="bark-take" data-label="{text(label)}" data-seconds="{seconds:.4f}">{heading}{spoken}'
            f'<div class="bark-strips{" bark-several" if several else ""}" '
            f'style="width:{100 * seconds / scale.seconds:.3f}%">{strips}<div class="bark-line"></div></div>'
            f'<audio controls preload="auto" src="{url}"></audio></div>'
        )
    heading = f'<div class="bark-title">{text(title)}</div>' if title else ""
    choices = "".join(
        f'<button type="button" class="bark-choose" aria-pressed="false">{text(label)}</button>' for label in samples
    )
    takes_bar = f'<span class="bark-bar" role="group" aria-label="Takes">{choices}</span>' if several else ""
    body = (
        f'<div data-bark="player" data-seconds="{scale.seconds:.4f}" role="group" '
        f'aria-label="Player: {text(title or "sound")}">{heading}<div class="bark-bar">'
        f'<button type="button" class="bark-play" aria-label="Play">▶</button><span class="bark-time"></span>'
        f'{takes_bar}</div><div class="bark-stage" role="slider" tabindex="0" aria-label="Time" aria-valuemin="0" '
        f'aria-valuemax="{scale.seconds:.2f}" aria-valuenow="0">{shown}</div>'
        f"{_axis(scale.seconds)}</div>"
    )
    return Shown(body, "player" + (": " + ", ".join(samples) if several else ""))


# ---------------------------------------------------------------------------------------------
# Strips: pictures whose width is the time of the sound
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scale:
    """Hold what all takes of a player share: the axis of time, the level and the colours."""

    seconds: float  # of the longest take
    level: float  # at the top of a waveform
    spectra: dict[str, np.ndarray]  # in dB, (m, t) each, by label

    @property
    def top_db(self) -> float:
        return max(MEL_FLOOR_DB + RANGE_DB, *(float(spectrum.max()) for spectrum in self.spectra.values()))

    def strips(self, label: str, x: Float[np.ndarray, " n"], rate: int) -> str:
        """Draw the waveform and the spectrogram of a take."""
        name = label or "the sound"
        wave = waveform(x, self.level, f"Waveform of {name}: {len(x) / rate:.1f} s, peak {np.abs(x).max():.2f}")
        words = f"Mel spectrogram of {name}: 0 Hz at the bottom to {rate // 2} Hz, {RANGE_DB} dB from black to white"
        mel = spectrogram(self.spectra[label], self.top_db, words)
        return _strip("waveform", 48, wave) + _strip("spectrogram", 84, mel)


def _strip(name: str, height: int, picture: str) -> str:
    return f'<div class="bark-strip" data-name="{text(name)}" style="--height:{height}px">{picture}</div>'


def _ramp(color: str, steps: int) -> UInt8[np.ndarray, "k 4"]:
    """Return a palette of one colour, from nearly transparent to opaque: it suits light and dark pages."""
    rgba = np.tile(np.array([*to_rgb(color), 0.0]) * 255, (steps, 1))
    rgba[:, 3] = np.linspace(20, 255, steps)
    return rgba.astype(np.uint8)


def waveform(x: Float[np.ndarray, " n"], loudest: float, alt: str, rows: int = 96) -> str:
    """Draw the lowest and the highest sample of each stretch; `loudest` is the top of the picture."""
    low, high = envelope(x, COLUMNS)
    levels = np.linspace(1, -1, rows)[:, None] * loudest
    half = loudest / (rows - 1)
    drawn = (levels <= high + half) & (levels >= low - half)  # (rows, columns)
    palette = np.array([[0, 0, 0, 0], [*(255 * np.array(to_rgb(COLORS["samples"]))), 255]], np.uint8)
    return image(drawn.astype(np.uint8), palette, alt, "waveform")


def spectrogram(decibels: Float[np.ndarray, "m t"], top_db: float, alt: str, levels: int = 40) -> str:
    """Draw a mel spectrogram, high bands on top, on `RANGE_DB` of colours below `top_db`."""
    groups = np.array_split(np.arange(decibels.shape[1]), min(COLUMNS, decibels.shape[1]))
    pooled = np.stack([decibels[:, group].max(axis=1) for group in groups], axis=1)
    share = np.clip((pooled - top_db + RANGE_DB) / RANGE_DB, 0, 1)
    palette = np.round(colormaps["magma"](np.linspace(0, 1, levels)) * 255).astype(np.uint8)
    return image(np.round(share[::-1] * (levels - 1)).astype(np.uint8), palette, alt, "spectrogram")


def _tokens(array: np.ndarray, config: TokenConfig, seconds: float) -> str:
    """Draw semantic tokens (s,) as dots, codes (q, t) as a row for each codebook, cut or filled to the seconds."""
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"tokens of the shape {array.shape}: pass semantic tokens (s,) or codes (q, t)")
    if array.ndim == 1:
        rate, rows, dot = config.semantic_rate_hz, 48, 3
        drawn = np.zeros((rows, dot * max(1, round(seconds * rate))), np.uint8)
        for place, token in enumerate(array[: drawn.shape[1] // dot]):
            top = round((1 - token / config.semantic_vocab_size) * (rows - 2))
            drawn[top : top + 2, dot * place : dot * place + dot - 1] = 1
        alt = f"{len(array)} semantic tokens, {rate:g} a second, as dots at the height of their ids"
        picture = image(drawn, _ramp(COLORS["semantic"], 2) * np.array([[0], [1]], np.uint8), alt, "semantic")
        return _strip("semantic", 48, picture)
    stage = "coarse" if len(array) <= config.n_coarse_codebooks else "fine"
    frames = max(1, round(seconds * config.coarse_rate_hz))
    steps = 255
    drawn = np.zeros((len(array), frames), np.uint8)
    kept = array[:, :frames]
    drawn[:, : kept.shape[1]] = 1 + kept * (steps - 1) // config.codebook_size
    palette = np.concatenate([np.zeros((1, 4), np.uint8), _ramp(COLORS[stage], steps)])
    alt = f"{len(array)} codebooks of {array.shape[1]} frames, {config.coarse_rate_hz:g} a second, coloured by entry"
    return _strip(f"{len(array)} codebooks", 11 * len(array), image(drawn, palette, alt, "codes"))


def _axis(total: float) -> str:
    """Return the seconds under the strips, at most 11 of them."""
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if total / step <= 10)
    ticks = np.arange(0, total + 1e-9, step)
    marks = (f'<span style="left:{100 * tick / total:.2f}%">{tick:g}</span>' for tick in np.round(ticks, 1))
    return f'<div class="bark-axis" aria-hidden="true">{"".join(marks)}</div>'


# ---------------------------------------------------------------------------------------------
# Letters
# ---------------------------------------------------------------------------------------------


def _letters(pieces: str | Sequence[str], spoken: Any, config: TokenConfig) -> str:
    """Return pieces of a text whose brightness follows the time, ten levels for each frame."""
    pieces, spoken = list(pieces), np.asarray(spoken, np.float64)
    if not pieces or spoken.shape[-1:] != (len(pieces),) or spoken.ndim not in (1, 2) or not np.isfinite(spoken).all():
        raise ValueError(
            f"{len(pieces)} letters with numbers of the shape {spoken.shape}: pass finite times (l,) or weights (t, l)"
        )
    if spoken.ndim == 1:
        if (np.diff(spoken) < 0).any():
            raise ValueError(f"the letters' times go back in time, {spoken.tolist()}: sort them")
        rate = LETTERS_HZ
        current = np.searchsorted(spoken, np.arange(int(spoken[-1] * rate) + 2) / rate + 1e-9, side="right") - 1
        weights = np.eye(len(pieces))[current] * (current >= 0)[:, None]
        weights = np.concatenate([weights, weights[-1:].repeat(int(0.3 * rate), axis=0)])  # the last one stays a while
    else:
        rate, weights = config.semantic_rate_hz, spoken
    most = np.maximum(weights.max(axis=1, keepdims=True), 1e-9)
    levels = np.round(np.clip(weights / most, 0, 1) * 9).astype(int)
    frames = " ".join("".join(map(str, frame)) for frame in levels)
    words = "".join(f"<span>{text(piece)}</span>" for piece in pieces)
    label = text("".join(pieces))
    data = f'aria-label="{label}" data-rate="{rate:g}" data-levels="{frames}"'
    return f'<p class="bark-letters" role="img" {data}>{words}</p>'
