"""Options that several commands share: how they are declared, and what they stand for."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bark_jax
from bark_jax import options as sampling_options
from bark_jax import parallel
from bark_jax.files import refuse_existing
from bark_jax.pipeline import DTYPES, Bark

STREAM = Path("-")  # standard input or output


def add_origin(command: argparse.ArgumentParser) -> None:
    command.add_argument("--offline", action="store_true", help="look for hub names in the local cache only")
    command.add_argument("--codec", metavar="FOLDER_OR_NAME", help="codec for Suno's files (facebook/encodec_24khz)")
    command.add_argument(
        "--tokenizer", metavar="FOLDER_OR_NAME", help="tokenizer for Suno's files (BERT's, from the hub)"
    )


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        metavar="FOLDER_OR_NAME",
        help="a folder in Hugging Face's or Suno's layout, or a hub name such as suno/bark-small "
        "(default: the embedded checkpoint, small and English)",
    )
    add_origin(command)


def add_dtype(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dtype", choices=DTYPES, help="of the transformers (default: float32 on a CPU, else bfloat16)"
    )


def add_sampling(command: argparse.ArgumentParser) -> None:
    """Add the voice, the seed, every option of `options.SamplingOptions`, and how to load the networks."""
    command.add_argument(
        "--voice", help="a name from `bark-jax voices`, an .npz file, or a recording of 2 to 10 s such as me.wav"
    )
    command.add_argument("--seed", type=number(whole=True), default=0, metavar="N", help="random seed (default: 0)")
    for name, option in sampling_options.table().items():
        command.add_argument(
            f"--{name.replace('_', '-')}",
            type=number(whole=sampling_options.is_whole(name), off=option.default is not None),
            default=option.default,
            metavar=option.metavar,
            help=option.help,
        )
    command.add_argument(
        "--temperature", type=number(), metavar="T", help="temperature of the stages that have none of their own"
    )
    add_dtype(command)
    command.add_argument(
        "--low-memory",
        action="store_true",
        help="load one network at a time, so that memory for the largest is enough",
    )
    command.add_argument(
        "--mesh", metavar="DxM", help="devices: split batches over D of them, weights over M (default: one device)"
    )
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show bars on standard error (default: if it is a terminal)",
    )
    add_checkpoint(command)


def number(*, whole: bool = False, off: bool = False) -> Callable[[str], float | None]:
    """Return a function that reads a number, or with `off` the word "off" as None."""
    kind, wanted = (int, "a whole number") if whole else (float, "a number")

    def read(word: str) -> float | None:
        if off and word == "off":
            return None
        try:
            return kind(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not {wanted}{' or off' if off else ''}") from None

    return read


def load(options: argparse.Namespace) -> Bark:
    mesh = None if options.mesh is None else parallel.make_mesh(*parallel.parse_mesh(options.mesh))
    return bark_jax.load(**origin(options), dtype=options.dtype, mesh=mesh, low_memory=options.low_memory)


def origin(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("checkpoint", "offline", "codec", "tokenizer")}


def generation(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Bark.generate` that the options stand for."""
    chosen = {name: getattr(options, name) for name in ("voice", "seed", *sampling_options.table())}
    for name in (name for name in chosen if name.endswith("_temperature")):
        if chosen[name] is None:
            chosen[name] = options.temperature
    return chosen | {"progress": shows_bars(options)}


def shows_bars(options: argparse.Namespace) -> bool:
    return sys.stderr.isatty() if options.progress is None else options.progress


def check_output(path: Path, *suffixes: str, force: bool, stream: bool = False) -> None:
    """Find out before the long work whether its result can be written; with `stream`, - is standard output."""
    if stream and path == STREAM:
        if sys.stdout is None:
            raise ValueError("standard output is closed: name a file with -o")
        if sys.stdout.isatty():
            raise ValueError("standard output is a terminal: pipe the sound into a program, or name a file with -o")
        return
    if path.is_dir() or path.suffix.lower() not in suffixes:
        wanted = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        raise ValueError(f"{path} does not name a {wanted} file: end it with a name such as speech{suffixes[0]}")
    refuse_existing(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} cannot be written to: choose another place with -o")
