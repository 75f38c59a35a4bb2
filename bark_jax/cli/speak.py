"""`bark-jax speak`: a text, or a file of text of any length, into one sound file or a pipe."""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from bark_jax.cli.options import STREAM, add_sampling, check_output, generation, load
from bark_jax.console import INCOMPLETE, one_line, path, say
from bark_jax.files import rescue, to_utf8
from bark_jax.long_form import BATCH_SIZE, silence, voice_of
from bark_jax.pipeline import Bark
from bark_jax.sound import FORMATS, GrowingSound, SoundStream, sound_bytes
from bark_jax.speech import Speech
from bark_jax.text import fits
from bark_jax.voices import LANGUAGES


def add_options(command: argparse.ArgumentParser) -> None:
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to say; - reads standard input in long form")
    what.add_argument("--file", type=path, help="a file of UTF-8 text to read in long form; - is standard input")
    command.add_argument(
        "-o",
        "--output",
        type=path,
        default=Path("speech.wav"),
        help="the sound file, .wav, .flac or .ogg; - writes a WAV to standard output (default: speech.wav)",
    )
    command.add_argument("--force", action="store_true", help="replace files that exist")
    command.add_argument(
        "--save-voice",
        type=path,
        metavar="NPZ",
        help="save the voice of the speech (in long form, of its first sentence)",
    )
    command.add_argument(
        "--long-form",
        action="store_true",
        help="read the text sentence by sentence in one voice, as for --file and for a text that is too long otherwise",
    )
    command.add_argument(
        "--continue",
        dest="chain",
        action="store_true",
        help="long form in which each sentence continues the one before, one at a time",
    )
    command.add_argument(
        "--language",
        choices=LANGUAGES,
        help="of a text in long form (default: that of the voice's name, else guessed from the script)",
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        metavar="N",
        help=f"sentences spoken at once in long form (default: {BATCH_SIZE})",
    )
    add_sampling(command)


def run(options: argparse.Namespace) -> int | None:
    if options.text == str(STREAM):
        options.file = STREAM
    text = options.text if options.file is None else read_text(options.file)
    if options.file is None and os.path.isfile(text):
        say(f"warning: {text} is the name of a file, and is spoken as it is: --file reads what is in it")
    check_output(options.output, *FORMATS, force=options.force, stream=True)
    if options.save_voice:
        check_output(options.save_voice, ".npz", force=options.force)
    if options.output == STREAM:
        sound = SoundStream(sys.stdout.buffer)
    else:
        sound = GrowingSound(options.output, force=options.force)
    bark, settings = load(options), generation(options)
    if options.long_form or options.chain or options.file or not fits(text, bark.tokenizer, bark.tokens):
        settings |= {name: getattr(options, name) for name in ("chain", "language", "batch_size")}
        voice, result = read_aloud(bark, text, sound, settings, options)
    else:
        voice, result = speak(bark, text, settings, options)
    if options.output == STREAM:
        say(result)
    else:
        print(f"{options.output}: {result}")
    if options.save_voice and voice is None:
        say(f"error: {options.save_voice} is not written, the speech is too short for a voice: speak a longer text")
        return INCOMPLETE
    return None


def speak(bark: Bark, text: str, settings: dict[str, Any], options: argparse.Namespace) -> tuple[Any, str]:
    """Speak a text at once and write it; return its voice, and what to say of it."""
    speech = bark.generate(text, **settings)
    if options.output == STREAM:
        speech.save(sys.stdout.buffer)
    else:
        save(speech, options.output, force=options.force)
    voice = voice_of(speech)
    if options.save_voice and voice:
        voice.save(options.save_voice, force=options.force)
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in speech.timings.items())
    return voice, f"{speech.seconds:.2f} s of sound, seed {speech.seed}, made in seconds: {stages}"


def read_aloud(
    bark: Bark, text: str, sound: GrowingSound | SoundStream, settings: dict[str, Any], options: argparse.Namespace
) -> tuple[Any, str]:
    """Write a text in long form, each sentence once it is spoken, and the first voice that one of them makes."""
    began, spoken, voice = time.perf_counter(), 0, None
    total = len(bark.sentences(text, voice=settings["voice"], language=settings["language"]))
    try:
        with sound, contextlib.closing(bark.stream(text, **settings)) as speeches:
            for speech in speeches:
                try:
                    if spoken:
                        sound.write(silence(speech.sample_rate), speech.sample_rate)
                    sound.write(speech.samples, speech.sample_rate)
                except OSError as error:
                    if sound.partial:
                        error.add_note(f"sentence {spoken + 1} is kept in {keep(speech)}")
                    raise
                spoken += 1
                if options.save_voice and voice is None and (voice := voice_of(speech)):
                    voice.save(options.save_voice, force=options.force)
    except BaseException as error:
        if spoken and sound.partial:
            error.add_note(f"{sound.partial} holds {spoken} of {total} sentences")
        raise
    took = time.perf_counter() - began
    seed = settings["seed"]
    return voice, f"{sound.seconds:.2f} s of sound, {total} sentences, seed {seed}, made in {took:.1f} s"


def read_text(source: Path) -> str:
    name = "standard input" if source == STREAM else str(source)
    data = sys.stdin.buffer.read() if source == STREAM else source.read_bytes()
    try:
        text = to_utf8(data, name).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: {error}") from error
    if not text.strip():
        raise ValueError(f"{name} has no text")
    return text


def save(speech: Speech, target: Path, *, force: bool) -> None:
    """Save where asked for, or, if that fails now, where there is room: no speech is lost."""
    try:
        speech.save(target, force=force)
    except OSError as error:
        raise OSError(
            f"{target} could not be written ({one_line(error)}): the speech is kept in {keep(speech)}"
        ) from error


def keep(speech: Speech) -> Path:
    """Save a speech where there is room. Raises OSError where there is none at all."""
    return rescue(sound_bytes(speech.samples, speech.sample_rate), ".wav")
