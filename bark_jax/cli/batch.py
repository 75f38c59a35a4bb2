"""`bark-jax batch`: each line of a file into a WAV of its own; a job that was stopped is resumed."""

import argparse
import re
from pathlib import Path

from bark_jax.bulk import run as bulk
from bark_jax.cli.options import add_sampling, generation, load
from bark_jax.console import DONE, INCOMPLETE, say


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "lines",
        help="a file with one text per line; or, if its name ends in .jsonl, one object per line with text and "
        "optionally voice, seed and id (the name of its WAV; default: the line number); - is standard input, with "
        "objects if it begins with {",
    )
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="for the WAVs, manifest.jsonl and job.json"
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=bulk.BATCH_SIZE,
        metavar="N",
        help=f"lines spoken at once (default: {bulk.BATCH_SIZE})",
    )
    command.add_argument("--force", action="store_true", help="make again the lines that were made with other settings")
    command.add_argument(
        "--share",
        type=share,
        default=(0, 1),
        metavar="I/N",
        help="speak only share I of N, 1/N to N/N: for schedulers that start N independent tasks, which write into one "
        "folder (default: 1/1)",
    )
    add_sampling(command)


def share(word: str) -> tuple[int, int]:
    """Read I/N, counted from 1, as (index, count)."""
    found = re.fullmatch(r"(\d+)/(\d+)", word, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"the share is {word!r}, it must be I/N with I from 1 to N, such as 3/8")
    return int(found[1]) - 1, int(found[2])


def run(options: argparse.Namespace) -> int:
    lines, settings = bulk.read_lines(options.lines), generation(options)
    settings |= {"batch_size": options.batch_size, "share": options.share, "force": options.force}
    bark = load(options)
    try:
        done = bulk.run(bark, lines, options.output, **settings)
    except bulk.Incomplete as error:
        say(f"error: {error}")
        return INCOMPLETE
    print(f"{options.output}: {done}", flush=True)
    return INCOMPLETE if done.failed else DONE
