"""`bark-jax batch`: each line of a file into a WAV of its own; a job that was stopped is resumed."""

import argparse
import re
from typing import Any

from bark_jax.bulk import run as bulk
from bark_jax.cli.options import add_sampling, generation, load, origin
from bark_jax.console import DONE, INCOMPLETE, say


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "lines",
        help="a file with one text per line; or, if its name ends in .jsonl, one object per line with text and "
        "optionally voice, seed and id (the name of its WAV; default: the line number); - is standard input, with "
        "objects if it begins with {",
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="for the WAVs, manifest.jsonl and job.json"
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
    command.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on the machines of a Ray cluster (default address: RAY_ADDRESS, else a cluster on this machine); "
        "lines may be Parquet too, and both paths in an object store, such as s3://bucket/out; needs bark-jax[ray]",
    )
    command.add_argument(
        "--records", choices=("jsonl", "parquet"), default="jsonl", help="with --ray: format (default: jsonl)"
    )
    add_sampling(command)


def share(word: str) -> tuple[int, int]:
    """Read I/N, counted from 1, as (index, count)."""
    found = re.fullmatch(r"(\d+)/(\d+)", word, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"the share is {word!r}, it must be I/N with I from 1 to N, such as 3/8")
    return int(found[1]) - 1, int(found[2])


def run(options: argparse.Namespace) -> int:
    settings = generation(options) | {"batch_size": options.batch_size, "force": options.force}
    if options.ray is None and options.records != "jsonl":
        raise ValueError(f"--records {options.records} goes with --ray alone: add --ray, or leave it out")
    try:
        if options.ray is None:
            lines = bulk.read_lines(options.lines)
            done = bulk.run(load(options), lines, options.output, share=options.share, **settings)
        else:
            done = run_on_ray(options, settings)
    except bulk.Incomplete as error:
        say(f"error: {error}")
        return INCOMPLETE
    print(f"{options.output}: {done}", flush=True)
    return INCOMPLETE if done.failed else DONE


def run_on_ray(options: argparse.Namespace, settings: dict[str, Any]) -> bulk.Summary:
    try:
        from bark_jax.bulk import on_ray
    except ModuleNotFoundError as error:
        raise ValueError(f"--ray needs {error.name}: pip install 'bark-jax[ray]'") from error
    if options.share != (0, 1):
        raise ValueError("--share does not go with --ray, which shares out the lines itself: leave it out")
    loading = origin(options) | {name: getattr(options, name) for name in ("dtype", "mesh", "low_memory")}
    settings |= {"address": options.ray or None, "records": options.records}
    return on_ray.run(loading, on_ray.read_lines(options.lines), options.output, **settings)
