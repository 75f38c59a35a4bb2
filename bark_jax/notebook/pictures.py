"""Sounds and tokens as pictures."""

import io
import os
from collections.abc import Mapping

import jax
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image as Picture

from bark_jax.codec import check_samples
from bark_jax.journey import CODEC, SAMPLED
from bark_jax.notebook.shown import Shown, data_url, text
from bark_jax.pipeline import Speech
from bark_jax.sound import MEL_FLOOR_DB, mel_spectrogram, read_sound
from bark_jax.tokens import TokenConfig

# One colour for each stage of the journey, in every drawing and every plot.
COLORS = {"text": "#6b7280"} | {stage.name: stage.color for stage in SAMPLED} | {"samples": CODEC.color}
Sound = Speech | np.ndarray | str | os.PathLike

# What a machine may have, where Linux or the runtime shows it, and what has to be installed for JAX to use it.
ACCELERATORS = (
    ("TPU", ("/dev/accel0", "/dev/vfio/0"), ("COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE"), "jax[tpu]"),
    ("GPU", ("/dev/nvidia0",), (), "jax[cuda13]"),
)


def device() -> str:
    """Name the devices that JAX runs on; loudly where there is a better one that it does not use."""
    found = jax.devices()
    lines = [f"JAX {jax.__version__} runs on {len(found)} x {found[0].device_kind} ({found[0].platform})"]
    for kind, paths, variables, package in ACCELERATORS if found[0].platform == "cpu" else ():
        if any(map(os.path.exists, paths)) or any(map(os.environ.get, variables)):
            lines.append(f"*** THIS MACHINE HAS A {kind}, AND JAX DOES NOT USE IT: install {package} ***")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------
# Sound
# ---------------------------------------------------------------------------------------------


def sound_figure(takes: Mapping[str, np.ndarray], sample_rate: int) -> Figure:
    """Draw waveforms (left) and mel spectrograms (right) of sounds (n,), all on the same scales."""
    figure = Figure(figsize=(9, 0.5 + 1.15 * len(takes)), layout="constrained")
    axes = figure.subplots(len(takes), 2, sharex=True, squeeze=False)
    loudest = max(0.1, *(np.abs(x).max() for x in takes.values()))
    spectra = [mel_spectrogram(x, sample_rate) for x in takes.values()]
    top = max(MEL_FLOOR_DB + 60, *(spectrum.max() for spectrum in spectra))
    decibels = ScalarMappable(Normalize(top - 60, top), "magma")
    longest = max(len(x) for x in takes.values()) / sample_rate
    for (label, x), spectrum, (left, right) in zip(takes.items(), spectra, axes):
        low, high = envelope(x)
        left.fill_between(np.linspace(0, len(x) / sample_rate, len(low)), low, high, color=COLORS["samples"], lw=0.5)
        left.set(ylim=(-1.05 * loudest, 1.05 * loudest), xlim=(0, longest))
        left.set_title(label, fontsize=9, loc="left")
        extent = (0, len(x) / sample_rate, 0, len(spectrum))
        right.imshow(spectrum, origin="lower", aspect="auto", extent=extent, cmap=decibels.cmap, norm=decibels.norm)
        right.set(ylim=(0, len(spectrum)), ylabel="mel band")
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    figure.colorbar(decibels, ax=axes[:, 1].tolist(), label="dB")
    return figure


def envelope(x: np.ndarray, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest sample of each of `points` stretches."""
    stretches = np.array_split(x, min(points, len(x)))
    return np.array([s.min() for s in stretches]), np.array([s.max() for s in stretches])


def samples_of(sound: Sound, sample_rate: int) -> tuple[np.ndarray, int]:
    if isinstance(sound, Speech):
        sound, sample_rate = sound.samples, sound.sample_rate
    elif isinstance(sound, str | os.PathLike):
        sound, sample_rate = read_sound(sound)
    samples = np.asarray(sound)
    check_samples(samples, "the sound")
    return samples.astype(np.float32), sample_rate


def one_rate(takes: Mapping[str, Sound], sample_rate: int) -> tuple[dict[str, np.ndarray], int]:
    found = {label: samples_of(sound, sample_rate) for label, sound in takes.items()}
    rates = {rate for _, rate in found.values()}
    if len(rates) != 1:
        raise ValueError(f"the takes have {len(rates)} sample rates, {sorted(rates)}: pass takes of one")
    return {label: samples for label, (samples, _) in found.items()}, rates.pop()


def picture(figure: Figure, alt: str, *, invert: bool = True) -> Shown:
    """Make a picture of a figure, with words for those who do not see it.

    Args:
        alt: what the picture shows, in a sentence that can stand in its place.
        invert: turn the lightness over in a dark theme; False for pictures that are dark already, such as
            spectrograms, which are dimmed there.

    Raises:
        ValueError: the words are empty.
    """
    if not alt.strip():
        raise ValueError("the picture has no words: say in `alt` what it shows")
    import matplotlib.pyplot as plt

    plt.close(figure)  # or a figure of pyplot would be shown once more, under the cell
    kind = "bark-invert" if invert else "bark-dim"
    url = data_url(png(figure), "image/png")
    return Shown(f'<p class="bark-picture"><img class="{kind}" src="{url}" alt="{text(alt)}"></p>', f"picture: {alt}")


def png(figure: Figure) -> bytes:
    """Draw a figure as a PNG of at most 256 colours, a third of the usual size."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, facecolor="white")
    Picture.open(buffer).convert("RGB").quantize(256, Picture.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
    return small.getvalue()


# ---------------------------------------------------------------------------------------------
# Tokens
# ---------------------------------------------------------------------------------------------


def tokens_figure(arrays: list[np.ndarray], config: TokenConfig) -> Figure:
    """Draw semantic tokens (s,) as dots, codes (q, t) as a row for each codebook, over one axis of seconds."""
    wrong = [x.shape for x in arrays if x.ndim not in (1, 2) or not x.size]
    if wrong or not arrays:
        raise ValueError(f"tokens of the shapes {wrong or 'of nothing'}: pass semantic tokens (s,) or codes (q, t)")
    heights = [1.1 if x.ndim == 1 else 0.3 + 0.16 * len(x) for x in arrays]
    figure = Figure(figsize=(9, 0.6 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(arrays), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for x, ax in zip(arrays, axes):
        if x.ndim == 1:
            seconds = np.arange(len(x)) / config.semantic_rate_hz
            ax.plot(seconds, x, ".", ms=3, color=COLORS["semantic"])
            ax.set(ylabel="id", ylim=(0, config.semantic_vocab_size))
            title = f"{len(x)} semantic tokens, {config.semantic_rate_hz:g} a second"
        else:
            stage = "coarse" if len(x) <= config.n_coarse_codebooks else "fine"
            q, t = x.shape
            ax.imshow(
                x,
                aspect="auto",
                interpolation="nearest",
                extent=(0, t / config.coarse_rate_hz, q - 0.5, -0.5),
                cmap=LinearSegmentedColormap.from_list(stage, ["#f3f4f6", COLORS[stage], "#111827"]),
                vmin=0,
                vmax=config.codebook_size - 1,
            )
            ax.set(ylabel="codebook", yticks=range(q))
            title = f"{q} codebooks of {t} frames, {config.coarse_rate_hz:g} a second"
        ax.set_title(title, fontsize=9, loc="left")
    axes[-1].set_xlabel("seconds")
    return figure
