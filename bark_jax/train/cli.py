"""The command line of training: `python -m bark_jax train PART --data FOLDER --config RECIPE -o RUN`."""

import argparse
import contextlib
import dataclasses
import os
import sys
from typing import Any

from bark_jax.checkpoints.resolve import UNITS
from bark_jax.console import path

PARTS = {
    "units": "find the semantic units, and train the encoder that names them in any recording",
    "codec": "train the codec",
    "semantic": "train text to units",
    "coarse": "train units to the two coarse codebooks",
    "fine": "train each other codebook from those before it",
    "checkpoint": "put the parts together, in half precision and Hugging Face's layout, into RUN/checkpoint",
    "all": "all of these in turn",
}


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("part", choices=PARTS, help="; ".join(f"{name}: {what}" for name, what in PARTS.items()))
    command.add_argument(
        "--data",
        type=path,
        metavar="FOLDER",
        help="recordings in LJSpeech's layout: metadata.csv with `id|text` on each line, and wavs/id.wav; "
        "needed once for each RUN",
    )
    command.add_argument(
        "--config",
        default="nano",
        metavar="RECIPE",
        help="nano, nano-more (with --begin assets/nano), small (the published sizes), tiny, or a JSON file",
    )
    command.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        metavar="RUN",
        help="a folder for all parts; one there is gone on with",
    )
    command.add_argument(
        "--begin",
        metavar="FOLDER",
        help="train the networks of this checkpoint further, with its units, such as assets/nano on another voice",
    )
    command.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="of this part, where the recipe's will not do",
    )
    command.add_argument(
        "--seconds", type=int, metavar="N", help="the most that training this part may take; the rate follows the clock"
    )
    command.add_argument("--batch", type=int, metavar="N", help="recordings or sequences of a step of this part")
    command.add_argument("--cores", type=int, metavar="N", help="of a CPU, a device each (all)")
    command.add_argument(
        "--distributed",
        action="store_true",
        help="train on several hosts: start this command on each of them, with a RUN that all can write to; Slurm, "
        "Open MPI and Cloud TPU say which hosts there are, elsewhere the next three options do",
    )
    command.add_argument("--coordinator-address", metavar="HOST:PORT", help="where process 0 listens")
    command.add_argument("--num-processes", type=int, metavar="N", help="of all hosts together")
    command.add_argument("--process-id", type=int, metavar="I", help="of this one, from 0 on")


def run(options: argparse.Namespace) -> None:
    try:
        from bark_jax.train import hosts, loop, recipe
        from bark_jax.train.run import Run
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs {error.name}: pip install 'bark-jax[train]'") from error

    loop.use_all_cores(options.cores or os.cpu_count() or 1)
    others = options.coordinator_address, options.num_processes, options.process_id
    if options.distributed or others != (None, None, None):
        hosts.connect(*others)
    with contextlib.redirect_stdout(sys.stdout if hosts.is_first() else None):
        chosen = recipe.read(options.config)
        used = chosen
        for name in ("steps", "seconds", "batch"):
            if (number := getattr(options, name)) is not None:
                used = changed(used, options.part, name, number)
        made = Run(options.output, chosen, options.data, begin=options.begin, overrides=used)
        parts = [name for name in PARTS if name != "all"] if options.part == "all" else [options.part]
        for part in parts:
            if part == "checkpoint":
                hosts.first_alone(lambda: made.checkpoint(options.output / "checkpoint"))
            elif made.has(part):
                where = options.output / (UNITS if part == "units" else part)
                print(
                    f"{options.output}: {part} was done before, and is kept: to make it anew remove {where}", flush=True
                )
                continue
            else:
                getattr(made, part)()
            print(f"{options.output}: {part} is done", flush=True)


def changed(chosen: Any, part: str, name: str, number: int) -> Any:
    """Change the steps or the batch of one part. Raises ValueError for a part that has none, or a number below 1."""
    training = f"{part}_training"
    if number < 1 or not hasattr(chosen, training):
        raise ValueError(f"{name} is {number} for {part}: units, codec, semantic, coarse and fine take 1 or more")
    return dataclasses.replace(chosen, **{training: dataclasses.replace(getattr(chosen, training), **{name: number})})
