"""Measure this machine: how long every stage takes, and how near that is to what the hardware allows.

In:  a published shape, filled with random weights; seconds of sound; sizes of batches.
Out: tables on standard output, and a JSON file on request.

    fresh.py, first_sound.py   loading, its memory, the first sound: each in a process of its own
    roofline.py                what the device allows, measured in the same run
    stages.py, transformers_baseline.py    the stages, beside those of `transformers` on the same weights
    report.py                  the tables

The command `scaling` stands beside it: meshes in `scaling.py`, and TPUs that are not at hand in `target.py`,
`ahead_of_time.py` and `target_report.py`; `programs.py` and `exchanges.py` serve both.
"""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import math
import os
import tempfile
from pathlib import Path

import jax

from bark_jax.bench import transformers_baseline as theirs
from bark_jax.bench.fresh import measure_first_sound, measure_loading
from bark_jax.bench.report import report_lines
from bark_jax.bench.roofline import measure_limits, prompt_work, step_work, window_work
from bark_jax.bench.stages import measure_batch
from bark_jax.bench.timing import clock, say
from bark_jax.checkpoints.random import SHAPES, TOKENS, write_random
from bark_jax.console import path
from bark_jax.files import refuse_existing, write_file
from bark_jax.pipeline import DTYPES, load

__all__ = ["add_options", "clock", "measure_limits", "prompt_work", "run", "step_work", "window_work"]


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    command.add_argument("--shape", choices=SHAPES, default="small", help="sizes of the checkpoint (small)")
    command.add_argument("--dtype", choices=DTYPES, help="of the transformers (float32 on a CPU, else bfloat16)")
    command.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of sound in each row (3)")
    command.add_argument("--batch", default="1", metavar="N[,N]", help="rows, or several numbers of them: 1,8,32 (1)")
    command.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of which the median counts (3)")
    command.add_argument(
        "--against", choices=("transformers",), help="the same weights there, as it comes and in its fastest modes"
    )
    command.add_argument("--json", type=path, metavar="FILE", help="write the numbers here too")
    command.add_argument("--force", action="store_true", help="replace the file if it exists")
    command.add_argument(
        "--profile", type=path, metavar="FOLDER", help="write a trace of one pass of the first batch here, for XProf"
    )


def run(options: argparse.Namespace) -> None:
    """Measure what the options say, and print the tables.

    Raises:
        ValueError: an option is out of its range, or what to compare with is not installed.
        FileExistsError: the file for the numbers exists, and `force` is not set.
    """
    batches, n = check_options(options)
    sizes, compare = SHAPES[options.shape], options.against is not None
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured too
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else nobody beside us has an accelerator's memory
    with tempfile.TemporaryDirectory(prefix="bark-jax-bench-") as name:
        say(f"write random weights of the {options.shape} shape to {name}")
        folder = Path(name)
        write_random(sizes, folder)
        loading = measure_loading(folder, options.dtype, compare=compare)  # before this process takes a TPU
        first_sound = measure_first_sound(folder, options.dtype)
        bark = load(folder, dtype=options.dtype)
        others, left_out = {}, {}
        for mode in theirs.modes() if compare else ():
            say(f"load with transformers: {mode.name}")
            make, why = theirs.prepare(folder, mode)
            if make:
                others[mode.name] = make
            else:
                left_out[mode.name] = why
        say("measure what the device allows")
        limits = measure_limits(sizes["hidden_size"], bark.dtype)
        measured = {}
        for batch in batches:
            profile = None if measured else options.profile
            measured[batch] = measure_batch(bark, others, n, batch, limits, options.repeats, profile)
    packages = ("jax", "jaxlib", "flax", *(("torch", "transformers") if compare else ()))
    device = jax.devices()[0]
    report = {
        "shape": {"name": options.shape, **sizes, "dtype": bark.dtype.name},
        "seconds": options.seconds,
        "device": {"platform": device.platform, "name": device.device_kind, "cores": os.cpu_count()},
        "their_device": theirs.device() if compare else None,
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "limits": dataclasses.asdict(limits),
        "loading": loading,
        "first_sound": first_sound,
        "batches": measured,
        "left_out": left_out,
    }
    print("\n".join(report_lines(report)))
    if options.json:
        write_file(options.json, json.dumps(report, indent=2).encode() + b"\n", force=options.force, parents=True)


def check_options(options: argparse.Namespace) -> tuple[list[int], int]:
    """Return the sizes of batches, and the semantic tokens that make so many seconds; raise as `run`."""
    words = [word.strip() for word in options.batch.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(f"--batch is {options.batch!r}, it must be whole numbers from 1 on, such as 4 or 1,4")
    rate, fewest, most = TOKENS.semantic_rate_hz, 2, TOKENS.max_new_tokens
    if not (math.isfinite(options.seconds) and fewest <= round(options.seconds * rate) <= most):
        raise ValueError(f"--seconds is {options.seconds}, it must be {fewest / rate:.2f} to {most / rate:.2f}")
    if options.repeats < 1:
        raise ValueError(f"--repeats is {options.repeats}, it must be 1 or more")
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if options.against and missing:
        raise ValueError(f"--against needs {' and '.join(missing)}: pip install bark-jax[compare]")
    if options.json:
        refuse_existing(options.json, force=options.force)
    return [int(word) for word in words], round(options.seconds * rate)
