"""The panel: controls for one generation, and the takes made with them."""

import base64
import contextlib
import dataclasses
import functools
import html
import io
import itertools
import os
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from bark_jax import options, recording
from bark_jax.notebook.controls import Live, view, warning
from bark_jax.notebook.player import player
from bark_jax.notebook.shown import Shown
from bark_jax.options import STAGES
from bark_jax.pipeline import Bark, Speech
from bark_jax.text import fits
from bark_jax.voices import Voice

FIRST = "Speaking ... The first time, JAX compiles every stage: up to a minute passes before the bars move."


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
    recorded: widgets.Textarea  # out of sight: a recording as base64, from the recorder's script
    takes: list[Speech] = dataclasses.field(default_factory=list)
    voices: dict[str, Voice] = dataclasses.field(default_factory=dict)

    def generate(self, _: Any = None) -> None:
        """Speak the text as the controls say, in long form if it is long, and put the take on top of the others."""
        values = {name: control.value for name, control in self.controls.items()}
        told = {name: value for name, value in values.items() if name == "voice" or name.endswith("temperature")}
        self._say("Speaking ..." if self.takes else FIRST)
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
            self.message.children = [warning(str(error))]
        except KeyboardInterrupt:
            self.message.children = [warning("Stopped; the takes before are kept.")]
        else:
            self._add(speech, caption(**told))
            warnings_told = dict.fromkeys(str(one.message) for one in warned)
            self.message.children = (*self.message.children, *map(warning, warnings_told))
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
        """Show all takes in one player, which switches between them at the same instant."""
        sounds = {f"take {number}": take for number, take in enumerate(self.takes, 1) if len(take.samples)}
        if not sounds:
            self.message.children = [warning("There is no take yet: press Generate.")]
            return
        self.message.children = [view(player(sounds, title="All takes"))]

    def save(self, number: int, _: Any = None) -> None:
        """Write a take as a WAV file, and its tokens as a voice; files that exist are kept."""
        taken = {path.stem for path in self.folder.glob("take-*")}
        name = next(name for n in itertools.count(number) if (name := f"take-{n}") not in taken)
        try:
            self.takes[number - 1].save(self.folder / f"{name}.wav")
            self.takes[number - 1].voice().save(self.folder / f"{name}.npz")
            self._say(f"Saved {self.folder / name}.wav, and its voice as {name}.npz.")
        except (ValueError, OSError) as error:
            self.message.children = [warning(str(error))]

    def new_seed(self, _: Any = None) -> None:
        """Choose another seed, and generate."""
        old = self.controls["seed"].value
        self.controls["seed"].value = random.choice([seed for seed in range(1000) if seed != old])
        self.generate()

    def _say(self, text: str) -> None:
        self.message.children = [widgets.HTML(html.escape(text))]

    def _add(self, speech: Speech, settings: str) -> None:
        self.takes.append(speech)
        number = len(self.takes)
        parts = f", in {len(speech.sentences)} sentences" if speech.sentences else ""
        self._say(f"Take {number} was made in {sum(speech.timings.values()):.1f} s{parts}.")
        save = widgets.Button(description="Save", icon="save", layout={"width": "6em"})
        save.on_click(functools.partial(self.save, number))
        words = widgets.HTML(f"<b>take {number}</b>: {html.escape(repr(speech))}<br>{html.escape(settings)}")
        sound = (
            view(player(speech, title="")) if len(speech.samples) else warning("The model ended it at once: no sound.")
        )
        self.shown.children = (widgets.VBox([widgets.HBox([save, words]), sound]), *self.shown.children)
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
            self._learn(name, content)

    def take_microphone(self, change: Mapping[str, Any]) -> None:
        """Make a voice of what the microphone has recorded, and choose it."""
        if change["new"]:
            number = sum(name.startswith("recording ") for name in self.voices) + 1
            self._learn(f"recording {number}", base64.b64decode(change["new"]))

    def _learn(self, name: str, content: bytes) -> None:
        """Make a voice of a sound file, and choose it."""
        self._say(f"Listening to {name} ...")
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always", UserWarning)
                samples, rate = recording.read_file(io.BytesIO(content), name)
                self._offer(name, self.bark.voice(samples, sample_rate=rate))
        except ValueError as error:
            self.message.children = [warning(str(error))]
        else:
            self.controls["voice"].value = name
            self._say(f"{name} is a voice now, and chosen.")
            self.message.children = (*self.message.children, *(warning(str(one.message)) for one in warned))

    def _ipython_display_(self) -> None:
        """Show the panel where a cell ends with it."""
        together = widgets.Button(description="Compare all", icon="align-left")
        together.on_click(self.compare)
        another = widgets.Button(description="New seed", icon="random", tooltip="choose another seed, and generate")
        another.on_click(self.new_seed)
        text, *others = self.controls.values()
        knobs = widgets.VBox(others)
        buttons = widgets.HBox([self.generate_button, another, together, self.upload])
        voice = widgets.HBox([widgets.HTML(recorder(f"bark-{self.recorded.model_id}").html()), self.recorded])
        bars = widgets.HBox(list(self.bars.values()))
        Live([text, knobs, buttons, voice, bars, self.message, self.shown])._ipython_display_()


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
    style = {"description_width": "12em"}
    names = [] if bark.voices is None else bark.voices.names()
    layout = {"width": "44em", "max_width": "100%"}
    slider = functools.partial(widgets.FloatSlider, style=style, layout=layout)
    hint = "a name, a recording, an .npz file, take 1, ..."
    controls: dict[str, Any] = {
        "text": widgets.Textarea(value=text, description="text", layout=layout, style=style),
        "voice": widgets.Combobox(options=names, placeholder=hint, description="voice", layout=layout, style=style),
        "seed": widgets.IntText(value=0, description="seed", layout=layout, style=style),
    }
    usual = {"max_seconds": bark.tokens.longest_s if max_seconds is None else max_seconds}
    for name, option in options.table().items():
        if option.slider is None:
            continue
        least, most, step = option.slider
        most = bark.tokens.longest_s if most is None else most
        starts = (usual.get(name), option.default, getattr(bark.tokens, name, None), option.off)
        value = next(start for start in starts if start is not None)
        controls[name] = slider(
            value=value, min=min(least, most), max=most, step=step, description=name.replace("_", " ")
        )
    short, third = {"description_width": "initial"}, {"width": "14.5em", "max_width": "33%"}
    made = Panel(
        bark=bark,
        folder=Path(folder),
        controls=controls,
        generate_button=widgets.Button(description="Generate", button_style="primary", icon="play"),
        bars={stage: widgets.FloatProgress(max=1, description=stage, style=short, layout=third) for stage in STAGES},
        message=widgets.VBox(),
        shown=widgets.VBox(),
        upload=widgets.FileUpload(description="Voice, 2 to 10 s", accept="audio/*", layout={"width": "auto"}),
        recorded=widgets.Textarea(layout={"display": "none"}),
    )
    made.recorded.add_class(f"bark-{made.recorded.model_id}")
    made.recorded.observe(made.take_microphone, "value")
    made.generate_button.on_click(made.generate)
    made.upload.observe(made.take_recording, "value")
    return made


def recorder(target: str, rate: int = 24_000) -> Shown:
    """Make a button that records the microphone, for the text area in an element of the class `target`.

    What it leaves there is a WAV file of that rate, one channel, as base64.
    """
    return Shown(
        f'<div data-bark="recorder" data-target="{target}" data-rate="{rate}" class="bark-bar">'
        '<button type="button">Record</button><output>a voice, with the microphone</output></div>',
        "recorder",
        script="recorder.js",
    )


def caption(voice: str, **temperatures: float) -> str:
    """Say in words what a take was made with, beside its text and seed."""
    told = (f"{name.removesuffix('_temperature')} {value:g}" for name, value in temperatures.items())
    return f"voice {voice.strip() or 'none'}; temperatures: {', '.join(told)}"


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Read names and contents of a FileUpload: a mapping in ipywidgets 7, a sequence in 8."""
    files = [each["metadata"] | each for each in value.values()] if isinstance(value, Mapping) else value
    return [(each["name"], bytes(each["content"])) for each in files]
