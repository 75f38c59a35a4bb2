"""What the notebooks share: sound and tokens to hear and see, live controls, a panel to play with.

    play(speech)                   a player, the waveform, the mel spectrogram
    compare({"label": sound})      several takes on one scale
    tokens(speech)                 the tokens of each stage as pictures over time
    live(draw, knob=widget)        what `draw` returns, drawn anew when a knob turns
    panel(bark)                    text, voice, seed and temperatures; generate, compare and save

A sound is a `Speech`, samples (n,) at 24 kHz unless told, or a sound file's path. Nothing is made louder or
softer: where one sound seems louder than another, it is. Needs the extra `notebooks`; keeps to what ipywidgets
7 and 8 share.
"""

import contextlib
import dataclasses
import functools
import html
import io
import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import jax
import numpy as np
from IPython.display import HTML, Image, display
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image as Picture

from bark_jax import options, recording
from bark_jax.codec import check_samples
from bark_jax.journey import CODEC, SAMPLED
from bark_jax.options import STAGES
from bark_jax.pipeline import Bark, Speech
from bark_jax.sound import MEL_FLOOR_DB, mel_spectrogram, player, read_sound
from bark_jax.text import fits
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

# One colour for each stage of the journey, in every drawing and every plot.
COLORS = {"text": "#6b7280"} | {stage.name: stage.color for stage in SAMPLED} | {"samples": CODEC.color}
Sound = Speech | np.ndarray | str | os.PathLike
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # the MIME type that stands for a widget in an output

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


def play(sound: Sound, sample_rate: int = 24_000, title: str | None = None) -> None:
    """Show a player above the waveform and the mel spectrogram of a sound.

    Raises:
        ValueError: there is no sample in it, the samples are not mono finite floats, or no such file.
    """
    samples, sample_rate = _samples(sound, sample_rate)
    if title is None and isinstance(sound, Speech):
        title = repr(sound)
    if title is not None:
        display(HTML(f"<b>{html.escape(title)}</b>"))
    display(player(samples, sample_rate))
    display(Image(png(sound_figure({"": samples}, sample_rate))))


def compare(takes: Mapping[str, Sound], sample_rate: int = 24_000) -> None:
    """Show several sounds by name, one under the other: players, then pictures on one scale.

    Raises:
        ValueError: no takes, one without samples, or of different sample rates.
    """
    samples, sample_rate = _takes(takes, sample_rate)
    rows = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{player(x, sample_rate)._repr_html_()}</td></tr>"
        for label, x in samples.items()
    )
    display(HTML(f"<table>{rows}</table>"))
    display(Image(png(sound_figure(samples, sample_rate))))


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
        low, high = _envelope(x)
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


def _envelope(x: np.ndarray, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest sample of each of `points` stretches."""
    stretches = np.array_split(x, min(points, len(x)))
    return np.array([s.min() for s in stretches]), np.array([s.max() for s in stretches])


def _samples(sound: Sound, sample_rate: int) -> tuple[np.ndarray, int]:
    if isinstance(sound, Speech):
        sound, sample_rate = sound.samples, sound.sample_rate
    elif isinstance(sound, str | os.PathLike):
        sound, sample_rate = read_sound(sound)
    samples = np.asarray(sound)
    check_samples(samples, "the sound")
    return samples.astype(np.float32), sample_rate


def _takes(takes: Mapping[str, Sound], sample_rate: int) -> tuple[dict[str, np.ndarray], int]:
    found = {label: _samples(sound, sample_rate) for label, sound in takes.items()}
    rates = {rate for _, rate in found.values()}
    if len(rates) != 1:
        raise ValueError(f"the takes have {len(rates)} sample rates, {sorted(rates)}: pass takes of one")
    return {label: samples for label, (samples, _) in found.items()}, rates.pop()


def png(figure: Figure) -> bytes:
    """Draw a figure as a PNG of at most 256 colours, a third of the usual size."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, facecolor="white")
    Picture.open(buffer).convert("RGB").quantize(256, Picture.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
    return small.getvalue()


# ---------------------------------------------------------------------------------------------
# Tokens
# ---------------------------------------------------------------------------------------------


def tokens(*items: Speech | Voice | np.ndarray, config: TokenConfig | None = None) -> None:
    """Show tokens as pictures over time, each stage in its colour.

    Args:
        items: a `Speech` or a `Voice`: all of its stages; or arrays, semantic (s,) or codes (q, t).
        config: says the rates; None for those of the speech, or Bark's.

    Raises:
        ValueError: nothing to show, or an array of another shape.
    """
    config = config or next((item.tokens for item in items if isinstance(item, Speech)), TokenConfig())
    arrays: list[np.ndarray] = []
    for item in items:
        whole = isinstance(item, Speech | Voice)
        arrays += [item.semantic, item.coarse, item.fine] if whole else [np.asarray(item)]
    display(Image(png(tokens_figure(arrays, config))))


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


# ---------------------------------------------------------------------------------------------
# Live controls
# ---------------------------------------------------------------------------------------------


class Live(widgets.VBox):
    """A box of controls that says what it is where a notebook is read and not run."""

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        display({"text/plain": "[live controls: run this cell to use them]", WIDGET_VIEW: view}, raw=True)


def live(draw: Callable[..., Any], **controls: Any) -> Live:
    """Show what `draw` returns for the controls' values, and draw it anew whenever one changes.

    Args:
        draw: called with a value for each control; returns a matplotlib figure, a sound, a text, or a
            list of such things.
        controls: ipywidgets with a `value`, by the name of their argument; sliders act when released.
    """
    shown = widgets.VBox()

    def update(_: Any = None) -> None:
        try:
            drawn = draw(**{name: control.value for name, control in controls.items()})
            shown.children = [view(item) for item in (drawn if isinstance(drawn, list) else [drawn])]
        except ValueError as error:
            shown.children = [_warning(str(error))]

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
    if isinstance(item, Figure):
        import matplotlib.pyplot as plt

        plt.close(item)  # or a figure of pyplot would be shown once more, under the cell
        return widgets.Image(value=png(item), format="png")
    if isinstance(item, Speech | np.ndarray):
        samples, rate = _samples(item, 24_000)
        picture = widgets.Image(value=png(sound_figure({"": samples}, rate)), format="png")
        return widgets.VBox([widgets.HTML(player(samples, rate)._repr_html_()), picture])
    return widgets.HTML(f"<pre>{html.escape(str(item))}</pre>")


def _warning(text: str) -> widgets.HTML:
    return widgets.HTML(f'<p style="color: {COLORS["samples"]}">{html.escape(text)}</p>')


# ---------------------------------------------------------------------------------------------
# The panel
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Panel:
    """Hold the controls of `panel` and the takes made with them, newest last."""

    bark: Bark
    folder: Path
    controls: dict[str, Any]
    generate_button: widgets.Button
    bars: dict[str, widgets.FloatProgress]
    message: widgets.VBox
    shown: widgets.VBox
    upload: widgets.FileUpload
    takes: list[Speech] = dataclasses.field(default_factory=list)
    voices: dict[str, Voice] = dataclasses.field(default_factory=dict)

    def generate(self, _: Any = None) -> None:
        """Speak the text as the controls say, in long form if it is long, and put the take on top of the others."""
        values = {name: control.value for name, control in self.controls.items()}
        self._say("Speaking ...")
        self.generate_button.disabled = True
        for bar in self.bars.values():
            bar.value = 0
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always", UserWarning)
                text, voice = values.pop("text"), values.pop("voice")
                speak = self.bark.generate if fits(text, self.bark.tokenizer, self.bark.tokens) else self.bark.read
                voice = self.voices.get(voice, voice.strip() or None)
                speech = speak(text, voice=voice, progress=self.report, **values)
        except ValueError as error:
            self.message.children = [_warning(str(error))]
        except KeyboardInterrupt:
            self.message.children = [_warning("Stopped; the takes before are kept.")]
        else:
            self._add(speech)
            told = dict.fromkeys(str(one.message) for one in warned)
            self.message.children = (*self.message.children, *map(_warning, told))
        finally:
            self.generate_button.disabled = False

    def report(self, stage: str, done: int, total: int) -> None:
        """Fill the bars; a stage that has ended early is done all the same when the next one begins.

        A long text goes through the stages more than once, and the sentences that are done are counted.
        """
        if stage == "sentence":
            self._say(f"Speaking ... {done} of {total} sentences are done.")
            return
        place = STAGES.index(stage)
        for number, name in enumerate(STAGES):
            self.bars[name].value = done / max(1, total) if number == place else number < place

    def compare(self, _: Any = None) -> None:
        """Show all takes on one scale."""
        sounds = {f"take {number}": take for number, take in enumerate(self.takes, 1) if len(take.samples)}
        if not sounds:
            self.message.children = [_warning("There is no take yet: press Generate.")]
            return
        figure = sound_figure(*_takes(sounds, 24_000))
        self.message.children = [widgets.Image(value=png(figure), format="png")]

    def save(self, number: int, _: Any = None) -> None:
        """Write a take as a WAV file, and its tokens as a voice; files that exist are kept."""
        taken = {path.stem for path in self.folder.glob("take-*")}
        name = next(name for n in itertools.count(number) if (name := f"take-{n}") not in taken)
        try:
            self.takes[number - 1].save(self.folder / f"{name}.wav")
            self.takes[number - 1].voice().save(self.folder / f"{name}.npz")
            self._say(f"Saved {self.folder / name}.wav, and its voice as {name}.npz.")
        except (ValueError, OSError) as error:
            self.message.children = [_warning(str(error))]

    def _say(self, text: str) -> None:
        self.message.children = [widgets.HTML(html.escape(text))]

    def _add(self, speech: Speech) -> None:
        self.takes.append(speech)
        number = len(self.takes)
        parts = f", in {len(speech.sentences)} sentences" if speech.sentences else ""
        self._say(f"Take {number} was made in {sum(speech.timings.values()):.1f} s{parts}.")
        save = widgets.Button(description="Save", icon="save", layout={"width": "6em"})
        save.on_click(functools.partial(self.save, number))
        caption = widgets.HTML(f"<b>take {number}</b>: {html.escape(repr(speech))}")
        sound = view(speech) if len(speech.samples) else _warning("The model ended it at once: no sound.")
        self.shown.children = (widgets.VBox([widgets.HBox([save, caption]), sound]), *self.shown.children)
        with contextlib.suppress(ValueError):  # too short to be a voice
            self._offer(f"take {number}", speech.voice())

    def _offer(self, name: str, voice: Voice) -> None:
        """Add a voice to those that the panel knows."""
        self.voices[name] = voice
        known = self.controls["voice"].options
        self.controls["voice"].options = known if name in known else (*known, name)

    def take_recording(self, change: Mapping[str, Any]) -> None:
        """Make a voice of an uploaded recording, and choose it."""
        for name, content in uploaded(change["new"]):
            self._say(f"Listening to {name} ...")
            try:
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always", UserWarning)
                    samples, rate = recording.read_file(io.BytesIO(content), name)
                    self._offer(name, self.bark.voice(samples, sample_rate=rate))
            except ValueError as error:
                self.message.children = [_warning(str(error))]
            else:
                self.controls["voice"].value = name
                self._say(f"{name} is a voice now, and chosen.")
                self.message.children = (*self.message.children, *(_warning(str(one.message)) for one in warned))

    def _ipython_display_(self) -> None:
        """Show the panel where a cell ends with it."""
        together = widgets.Button(description="Compare all", icon="align-left")
        together.on_click(self.compare)
        text, *others = self.controls.values()
        knobs = widgets.HBox([widgets.VBox(others[:4]), widgets.VBox(others[4:])])
        buttons = widgets.HBox([self.generate_button, together, self.upload])
        bars = widgets.HBox(list(self.bars.values()))
        Live([text, knobs, buttons, bars, self.message, self.shown])._ipython_display_()


def panel(
    bark: Bark,
    text: str = "Hello, my name is bark.",
    *,
    max_seconds: float | None = None,
    folder: str | os.PathLike = ".",
) -> Panel:
    """Make a panel to play with; as the last line of a cell it shows itself.

    A text that is too long for once is spoken in long form; `max_seconds` is then that of each sentence.

    Args:
        text, max_seconds: what the controls say at first; None is as long as the checkpoint can speak at once.
        folder: where Save writes `take-1.wav` and its voice, `take-1.npz`.
    """
    style = {"description_width": "10em"}
    names = [] if bark.voices is None else bark.voices.names()
    slider = functools.partial(widgets.FloatSlider, style=style, layout={"width": "28em"})
    hint = "a name, a recording, an .npz file, take 1, ..."
    controls: dict[str, Any] = {
        "text": widgets.Textarea(value=text, description="text", layout={"width": "56em"}, style=style),
        "voice": widgets.Combobox(
            options=names, placeholder=hint, description="voice", layout={"width": "28em"}, style=style
        ),
        "seed": widgets.IntText(value=0, description="seed", layout={"width": "28em"}, style=style),
    }
    usual = {"max_seconds": bark.tokens.longest_s if max_seconds is None else max_seconds}
    for name, option in options.table().items():
        if option.slider is None:
            continue
        least, most, step = option.slider
        most = bark.tokens.longest_s if most is None else most
        value = usual.get(name, option.default)
        value = getattr(bark.tokens, name) if value is None else value
        controls[name] = slider(
            value=value, min=min(least, most), max=most, step=step, description=name.replace("_", " ")
        )
    made = Panel(
        bark=bark,
        folder=Path(folder),
        controls=controls,
        generate_button=widgets.Button(description="Generate", button_style="primary", icon="play"),
        bars={stage: widgets.FloatProgress(min=0, max=1, description=stage, style=style) for stage in STAGES},
        message=widgets.VBox(),
        shown=widgets.VBox(),
        upload=widgets.FileUpload(description="Your voice", accept="audio/*", tooltip="a recording of 2 to 10 s"),
    )
    made.generate_button.on_click(made.generate)
    made.upload.observe(made.take_recording, "value")
    return made


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Read names and contents of a FileUpload: a mapping in ipywidgets 7, a sequence in 8."""
    files = [each["metadata"] | each for each in value.values()] if isinstance(value, Mapping) else value
    return [(each["name"], bytes(each["content"])) for each in files]
