"""The command line: `python -m bark_jax COMMAND`, or `bark-jax COMMAND`.

Results go to standard output, progress and messages to standard error. Bad input ends with exit
code 2 and one line that says what is wrong, a bulk job with bad lines among good ones with 1; Ctrl-C with
130, and nothing half-written: of a long text the sentences that are spoken stay in a file of their own.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

import bark_jax
from bark_jax import bench, describe, parallel
from bark_jax.bench import scaling
from bark_jax.bulk import run as bulk
from bark_jax.checkpoints.convert import convert as convert_checkpoint
from bark_jax.checkpoints.load import makers
from bark_jax.checkpoints.resolve import resolve
from bark_jax.files import refuse_existing
from bark_jax.long_form import BATCH_SIZE, silence, voice_of
from bark_jax.pipeline import DTYPES, Bark, check_dtype
from bark_jax.sound import GrowingWav
from bark_jax.speech import Speech
from bark_jax.text import fits
from bark_jax.tokens import TokenConfig
from bark_jax.train import cli as training
from bark_jax.voices import LANGUAGES, VoiceLibrary

EXAMPLES = """examples:
  bark-jax speak "Hello, my dog is cute." -o hello.wav
  bark-jax speak "Hello." --checkpoint suno/bark-small --voice v2/en_speaker_6 --seed 3 -o hello.wav
  bark-jax speak --file book.txt -o book.wav --save-voice me.npz
  bark-jax speak "And again." --voice me.npz -o again.wav
  bark-jax batch lines.txt -o out/ --batch-size 32
  bark-jax batch lines.jsonl -o out/ --checkpoint suno/bark-small --voice v2/en_speaker_6
  bark-jax voices --checkpoint suno/bark-small
  bark-jax convert text.pt coarse.pt fine.pt --codec facebook/encodec_24khz -o bark-small/
  bark-jax info --checkpoint bark-small/
  bark-jax bench --batch 1,8,32 --against transformers --json bench.json
  bark-jax scaling --mesh 1x1,4x1,2x2,1x4
  bark-jax train all --data recordings/ --config nano -o run/
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run_command(parser().parse_args(arguments))


def run_command(options: argparse.Namespace) -> int:
    """Run what `options` hold as `run`, with messages for errors and warnings; return its exit code."""
    _keep_compiled_programs()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return options.run(options) or 0
    except KeyboardInterrupt as stopped:
        print(f"\nbark-jax: interrupted, {_notes(stopped) or 'nothing is half-written'}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"bark-jax: error: {': '.join(filter(None, (_one_line(error), _notes(error))))}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="bark-jax",
        description="Bark, text to sound, in JAX.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"bark-jax {bark_jax.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog="\n".join(line for line in EXAMPLES.splitlines() if line.startswith(("ex", f"  bark-jax {name}"))),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    command = add("speak", speak, "speak a text, or a file of text of any length, into one WAV")
    _add_speak_options(command)
    command = add("batch", batch, "speak each line of a file into a WAV of its own; what is there is not made again")
    _add_batch_options(command)
    command = add("voices", list_voices, "list the voices of a checkpoint")
    _add_checkpoint_options(command)
    command = add("convert", convert, "write a checkpoint anew, in Hugging Face's layout with safetensors")
    command.add_argument("source", nargs="+", help="a folder, a hub name, or Suno's text.pt coarse.pt fine.pt")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--force", action="store_true", help="replace the folder if it exists")
    _add_origin_options(command)
    command = add("info", info, "print the networks of a checkpoint: modules, shapes, parameters, bytes")
    _add_dtype(command)
    _add_checkpoint_options(command)
    command = add("bench", bench.run, "measure the speed of every stage on this machine")
    bench.add_options(command)
    command = add("train", training.run, "train the networks on recordings of your own")
    training.add_options(command)
    command = add("scaling", scaling.run, "count what devices of a mesh hold and exchange, and compare their tokens")
    scaling.add_options(command)
    return top


def _add_origin_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--offline", action="store_true", help="take hub names from the local cache alone")
    command.add_argument("--codec", metavar="FOLDER_OR_NAME", help="codec for Suno's files (facebook/encodec_24khz)")
    command.add_argument(
        "--tokenizer", metavar="FOLDER_OR_NAME", help="tokenizer for Suno's files (BERT's, from the hub)"
    )


def _add_checkpoint_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        metavar="FOLDER_OR_NAME",
        help="a folder in Hugging Face's or Suno's layout, or a hub name such as suno/bark-small; "
        "without it the embedded checkpoint, small and English",
    )
    _add_origin_options(command)


def _add_dtype(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dtype", choices=DTYPES, help="of the transformers (float32 on a CPU, else bfloat16)")


def _add_mesh(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mesh", metavar="DxM", help="devices: batches are split over D of them, weights over M (one device)"
    )


def _add_speak_options(command: argparse.ArgumentParser) -> None:
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to say")
    what.add_argument("--file", type=Path, help="a file of UTF-8 text to speak in long form; - is standard input")
    command.add_argument("-o", "--output", type=Path, default=Path("speech.wav"), help="the WAV file (speech.wav)")
    command.add_argument("--force", action="store_true", help="replace files that exist")
    command.add_argument(
        "--save-voice",
        type=Path,
        metavar="NPZ",
        help="save the voice of the speech, in long form of its first sentence",
    )
    command.add_argument(
        "--long-form",
        action="store_const",
        const=True,
        default=False,
        help="speak a text sentence by sentence in one voice, as --file does, and a text that is too long for once",
    )
    command.add_argument(
        "--continue",
        dest="long_form",
        action="store_const",
        const="continue",
        help="long form in which each sentence continues the one before, one at a time",
    )
    command.add_argument(
        "--language", choices=LANGUAGES, help="of a long text (that of the voice's name, else guessed from the script)"
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        metavar="N",
        help=f"sentences of a long text at once ({BATCH_SIZE})",
    )
    _add_drawing_options(command)


def _add_batch_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "lines",
        type=Path,
        help="a UTF-8 file, a text on each line; if its name ends in .jsonl an object on each: text, and voice, seed, "
        "id (the name of its WAV, else the number of the line) where wanted",
    )
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="for the WAVs, manifest.jsonl and job.json"
    )
    command.add_argument(
        "--batch-size", type=int, default=bulk.BATCH_SIZE, metavar="N", help=f"lines at once ({bulk.BATCH_SIZE})"
    )
    command.add_argument("--force", action="store_true", help="make lines anew that were made with other settings")
    command.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="share the job with other processes, each with its own devices: an address of process 0, the same for "
        f"all; or '{parallel.AUTO}' where a TPU pod or another cluster knows it and the next two",
    )
    command.add_argument("--processes", type=int, metavar="N", help="how many processes there are")
    command.add_argument("--process", type=int, metavar="I", help="the number of this one, from 0 on")
    _add_drawing_options(command)


def _add_drawing_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--voice", help="a name from `bark-jax voices`, or an .npz file")
    command.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    for stage, usual in (("semantic", 0.7), ("coarse", 0.7), ("fine", 0.5)):
        command.add_argument(
            f"--{stage}-temperature", type=float, metavar="T", help=f"0 is greedy; the checkpoint's ({usual} for Bark)"
        )
    command.add_argument("--temperature", type=float, metavar="T", help="the same for all three stages")
    command.add_argument("--top-k", type=int, metavar="K", help="draw among the K most probable tokens")
    command.add_argument("--top-p", type=float, metavar="P", help="draw among tokens that are together so probable")
    command.add_argument(
        "--min-eos-p",
        type=_number_or_off,
        default=0.2,
        metavar="P",
        help="end the speech where its end is so probable (0.2), or 'off'",
    )
    command.add_argument(
        "--max-seconds", type=float, metavar="S", help="end the speech, in long form each sentence, once it is longer"
    )
    _add_dtype(command)
    command.add_argument(
        "--low-memory", action="store_true", help="load the networks one at a time: the largest needs the most"
    )
    _add_mesh(command)
    command.add_argument("--no-progress", dest="progress", action="store_false", help="show no bars")
    _add_checkpoint_options(command)


def speak(options: argparse.Namespace) -> None:
    text = options.text if options.file is None else _read_text(options.file)
    _check_output(options.output, ".wav", force=options.force)
    if options.save_voice:
        _check_output(options.save_voice, ".npz", force=options.force)
    wav = GrowingWav(options.output, force=options.force)
    bark, how = _load(options), _drawing(options)
    if options.long_form or options.file or not fits(text, bark.tokenizer, bark.tokens):
        how |= {"long_form": options.long_form or True, "language": options.language, "batch_size": options.batch_size}
        _speak_sentences(bark, text, wav, how, options)
        return
    speech = bark.generate(text, **how)
    _save(speech, options.output, force=options.force)
    if options.save_voice:
        speech.voice().save(options.save_voice, force=options.force)
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in speech.timings.items())
    print(f"{options.output}: {speech.seconds:.2f} s of sound, seed {speech.seed}, made in seconds: {stages}")


def _speak_sentences(bark: Bark, text: str, wav: GrowingWav, how: dict[str, Any], options: argparse.Namespace) -> None:
    """Write a text in long form, each sentence once it is spoken, and the first voice that one of them makes."""
    began, spoken, voice = time.perf_counter(), 0, None
    total = len(bark.sentences(text, voice=how["voice"], language=how["language"]))
    try:
        with wav, contextlib.closing(bark.stream(text, **how)) as speeches:
            for speech in speeches:
                if spoken:
                    wav.write(silence(speech.sample_rate), speech.sample_rate)
                wav.write(speech.samples, speech.sample_rate)
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
    print(f"{wav.path}: {wav.seconds:.2f} s of sound, {total} sentences, seed {how['seed']}, made in {took:.1f} s")


def batch(options: argparse.Namespace) -> int:
    lines, how = bulk.read_lines(options.lines), _drawing(options)
    how |= {"batch_size": options.batch_size, "force": options.force}
    with parallel.share_of_job(options.coordinator, options.processes, options.process) as share:
        done = bulk.run(_load(options), lines, options.output, share=share, **how)
        print(f"{options.output}: {done}", flush=True)
    return 1 if done.failed else 0


def list_voices(options: argparse.Namespace) -> None:
    found = resolve(**_origin(options))
    voices = VoiceLibrary(found.folder, found.fetch).info(TokenConfig.from_dict(found.generation_config))
    if not voices:
        raise ValueError(f"{found.name} has no voices: speak without one, or with an .npz")
    print(f"{'voice':24}{'language':12}{'tokens':>8}{'seconds':>9}")
    for voice in voices:
        length = "       -        -" if voice.seconds is None else f"{voice.semantic_tokens:8}{voice.seconds:9.1f}"
        print(f"{voice.name:24}{voice.language or '-':12}{length}")


def convert(options: argparse.Namespace) -> None:
    source = options.source[0] if len(options.source) == 1 else options.source
    with tqdm(desc="convert", unit="B", unit_scale=True, disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        convert_checkpoint(
            source,
            options.output,
            force=options.force,
            offline=options.offline,
            codec=options.codec,
            tokenizer=options.tokenizer,
            progress=report,
        )
    print(f"{options.output}: written; bark_jax.load and transformers' BarkModel.from_pretrained read it")


def info(options: argparse.Namespace) -> None:
    dtype = check_dtype(options.dtype)
    networks = makers(resolve(**_origin(options)), dtype)
    for label, make in networks.items():
        print(*describe.module_tree(label, make), sep="\n")
    print("", *describe.memory_table(networks), sep="\n")


def _load(options: argparse.Namespace) -> bark_jax.Bark:
    mesh = None if options.mesh is None else parallel.make_mesh(*parallel.parse_mesh(options.mesh))
    return bark_jax.load(**_origin(options), dtype=options.dtype, mesh=mesh, low_memory=options.low_memory)


def _origin(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("checkpoint", "offline", "codec", "tokenizer")}


def _drawing(options: argparse.Namespace) -> dict[str, Any]:
    temperatures = ("semantic_temperature", "coarse_temperature", "fine_temperature")
    names = ("voice", "seed", "top_k", "top_p", "min_eos_p", "max_seconds", "progress")
    chosen = {name: _first_given(getattr(options, name), options.temperature) for name in temperatures}
    return chosen | {name: getattr(options, name) for name in names}


def _read_text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if path == Path("-") else path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    if not text.strip():
        raise ValueError(f"{path} has no text")
    return text


def _check_output(path: Path, suffix: str, *, force: bool) -> None:
    """Find out before the long work whether its result can be written."""
    if path.is_dir() or path.suffix.lower() != suffix:
        raise ValueError(f"{path} does not name a {suffix} file: end it with a name such as speech{suffix}")
    refuse_existing(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} cannot be written to: choose another place with -o")


def _save(speech: Speech, path: Path, *, force: bool) -> None:
    """Save where asked for, or, if that fails now, where there is room: no speech is lost."""
    try:
        speech.save(path, force=force)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix="bark-jax-", suffix=".wav", delete=False) as file:
            speech.save(file.name, force=True)
        raise OSError(f"{path} could not be written ({_one_line(error)}): the speech is kept in {file.name}") from error


def _first_given(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _notes(error: BaseException) -> str:
    return ": ".join(getattr(error, "__notes__", ()))


def _number_or_off(word: str) -> float | None:
    return None if word == "off" else float(word)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"bark-jax: warning: {message}", file=sys.stderr)


def _keep_compiled_programs() -> None:
    """Let a second run start with the programs of the first, unless the user has chosen otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "bark-jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # the small programs add up


if __name__ == "__main__":
    sys.exit(main())
