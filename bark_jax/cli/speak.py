"""`bark-jax speak`: a text, or a file of text of any length, into one sound file."""

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from bark_jax.cli.options import STREAM, add_sampling, check_output, generation, load
from bark_jax.console import one_line
from bark_jax.files import rescue, to_utf8
from bark_jax.long_form import BATCH_SIZE, silence, voice_of
from bark_jax.pipeline import Bark
from bark_jax.sound import GrowingWav, sound_bytes
from bark_jax.speech import Speech
from bark_jax.text import fits
from bark_jax.voices import LANGUAGES


def add_options(command: argparse.ArgumentParser) -> None:
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to say")
    what.add_argument("--file", type=Path, help="a file of UTF-8 text to read in long form; - is standard input")
    command.add_argument(
        "-o", "--output", type=Path, default=Path("speech.wav"), help="the WAV file (default: speech.wav)"
    )
    command.add_argument("--force", action="store_true", help="replace files that exist")
    command.add_argument(
        "--save-voice",
        type=Path,
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


def run(options: argparse.Namespace) -> None:
    text = options.text if options.file is None else read_text(options.file)
    check_output(options.output, ".wav", force=options.force)
    if options.save_voice:
        check_output(options.save_voice, ".npz", force=options.force)
    wav = GrowingWav(options.output, force=options.force)
    bark, settings = load(options), generation(options)
    if options.long_form or options.chain or options.file or not fits(text, bark.tokenizer, bark.tokens):
        settings |= {name: getattr(options, name) for name in ("chain", "language", "batch_size")}
        read_aloud(bark, text, wav, settings, options)
        return
    speech = bark.generate(text, **settings)
    save(speech, options.output, force=options.force)
    if options.save_voice:
        speech.voice().save(options.save_voice, force=options.force)
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in speech.timings.items())
    print(f"{options.output}: {speech.seconds:.2f} s of sound, seed {speech.seed}, made in seconds: {stages}")


def read_aloud(bark: Bark, text: str, wav: GrowingWav, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Write a text in long form, each sentence once it is spoken, and the first voice that one of them makes."""
    began, spoken, voice = time.perf_counter(), 0, None
    total = len(bark.sentences(text, voice=settings["voice"], language=settings["language"]))
    try:
        with wav, contextlib.closing(bark.stream(text, **settings)) as speeches:
            for speech in speeches:
                try:
                    if spoken:
                        wav.write(silence(speech.sample_rate), speech.sample_rate)
                    wav.write(speech.samples, speech.sample_rate)
                except OSError as error:
                    error.add_note(f"sentence {spoken + 1} is kept in {keep(speech)}")
                    raise
                spoken += 1
                if options.save_voice and voice is None and (voice := voice_of(speech)):
                    voice.save(options.save_voice, force=options.force)
    except BaseException as error:
        if spoken:
            error.add_note(f"{wav.partial} holds {spoken} of {total} sentences")
        raise
    if options.save_voice and voice is None:
        raise ValueError(f"{options.save_voice} is not written: no sentence is long enough for a voice")
    took = time.perf_counter() - began
    print(f"{wav.path}: {wav.seconds:.2f} s of sound, {total} sentences, seed {settings['seed']}, made in {took:.1f} s")


def read_text(path: Path) -> str:
    data = sys.stdin.buffer.read() if path == STREAM else path.read_bytes()
    try:
        text = to_utf8(data, str(path)).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    if not text.strip():
        raise ValueError(f"{path} has no text")
    return text


def save(speech: Speech, path: Path, *, force: bool) -> None:
    """Save where asked for, or, if that fails now, where there is room: no speech is lost."""
    try:
        speech.save(path, force=force)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({one_line(error)}): the speech is kept in {keep(speech)}"
        ) from error


def keep(speech: Speech) -> Path:
    """Save a speech where there is room. Raises OSError where there is none at all."""
    return rescue(sound_bytes(speech.samples, speech.sample_rate), ".wav")
