"""The parser of all commands, and those that are a few lines."""

import argparse
from collections.abc import Callable

from tqdm import tqdm

import bark_jax
from bark_jax import bench, describe
from bark_jax.bench import scaling
from bark_jax.checkpoints.convert import convert as convert_checkpoint
from bark_jax.checkpoints.load import makers
from bark_jax.checkpoints.resolve import resolve
from bark_jax.cli import batch, speak
from bark_jax.cli.options import add_checkpoint, add_dtype, add_origin, origin
from bark_jax.console import EXIT_CODES, path, printable
from bark_jax.pipeline import check_dtype
from bark_jax.tokens import TokenConfig
from bark_jax.train import cli as training
from bark_jax.voices import VoiceLibrary

EXAMPLES = """examples:
  bark-jax speak "Hello, my dog is cute." -o hello.wav
  bark-jax speak "Hello." --checkpoint suno/bark-small --voice v2/en_speaker_6 --seed 3 -o hello.wav
  bark-jax speak --file book.txt -o book.wav --save-voice me.npz
  bark-jax speak "And again." --voice me.npz -o again.flac
  cat book.txt | bark-jax speak - -o - | aplay
  bark-jax batch lines.txt -o out/ --batch-size 32
  bark-jax batch lines.jsonl -o out/ --checkpoint suno/bark-small --voice v2/en_speaker_6
  bark-jax voices --checkpoint suno/bark-small
  bark-jax convert text.pt coarse.pt fine.pt --codec facebook/encodec_24khz -o bark-small/
  bark-jax info --checkpoint bark-small/
  bark-jax bench --batch 1,8,32 --against transformers --json bench.json
  bark-jax scaling --mesh 1x1,4x1,2x2,1x4
  bark-jax train all --data recordings/ --config nano -o run/
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="bark-jax",
        description="Bark, text to sound, in JAX.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"bark-jax {bark_jax.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, run, add_options, summary in COMMANDS:
        own = [line for line in EXAMPLES.splitlines() if line.startswith("ex") or f"bark-jax {name}" in line]
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog="\n".join([*own, "", EXIT_CODES]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        add_options(command)
    return top


def list_voices(options: argparse.Namespace) -> None:
    found = resolve(**origin(options))
    voices = VoiceLibrary(found.folder, found.fetch).info(TokenConfig.from_dict(found.generation_config))
    if not voices:
        raise ValueError(f"{found.name} has no voices: speak without one, or with an .npz")
    print(f"{'voice':24}{'language':12}{'tokens':>8}{'seconds':>9}")
    for voice in voices:
        length = "       -        -" if voice.seconds is None else f"{voice.semantic_tokens:8}{voice.seconds:9.1f}"
        description = f"  {printable(voice.description)}" if voice.description else ""
        print(f"{printable(voice.name):24}{voice.language or '-':12}{length}{description}")


def add_convert_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", nargs="+", help="a folder, a hub name, or Suno's text.pt coarse.pt fine.pt")
    command.add_argument("-o", "--output", type=path, required=True, metavar="FOLDER")
    command.add_argument("--force", action="store_true", help="replace the folder if it exists")
    add_origin(command)


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


def add_info_options(command: argparse.ArgumentParser) -> None:
    add_dtype(command)
    add_checkpoint(command)


def info(options: argparse.Namespace) -> None:
    dtype = check_dtype(options.dtype)
    networks = makers(resolve(**origin(options)), dtype)
    for label, make in networks.items():
        print(*describe.module_tree(label, make), sep="\n")
    print("", *describe.memory_table(networks), sep="\n")


Command = tuple[str, Callable[[argparse.Namespace], int | None], Callable[[argparse.ArgumentParser], None], str]
COMMANDS: tuple[Command, ...] = (
    ("speak", speak.run, speak.add_options, "speak a text, or read a file of text of any length, into one sound file"),
    ("batch", batch.run, batch.add_options, "speak each line of a file into its own WAV file; run again to resume"),
    ("voices", list_voices, add_checkpoint, "list the voices of a checkpoint"),
    ("convert", convert, add_convert_options, "convert a checkpoint to Hugging Face's layout with safetensors"),
    ("info", info, add_info_options, "print the networks of a checkpoint: modules, shapes, parameters, bytes"),
    ("bench", bench.run, bench.add_options, "measure the speed of every stage on this machine"),
    ("train", training.run, training.add_options, "train the networks on your own recordings"),
    ("scaling", scaling.run, scaling.add_options, "compare what the devices of a mesh hold, exchange and generate"),
)
