"""What can only be measured in a process of its own: loading, its peak of memory, and the first sound."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bark_jax.bench.timing import say

PROBE = """
import json, sys, time
{imports}

def peak():
    if sys.platform == "linux":  # where getrusage counts the memory of the parent too
        return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

imported, began = peak(), time.perf_counter()
kept = {load}
seconds = time.perf_counter() - began
print(json.dumps(dict(seconds=seconds, peak_bytes=peak(), imports_peak_bytes=imported, device_peak_bytes={device})))
"""


def measure_loading(folder: Path, dtype: str | None, *, compare: bool) -> list[dict[str, Any]]:
    """Load the folder from files that the system has in its cache: seconds, and peaks of memory in bytes.

    With low memory all networks are asked for in turn. `transformers` may only map the file, and read a weight
    when it is first used: so all are read, too.
    """
    path, ours, theirs = str(folder), "import jax, bark_jax; jax.devices()", "import torch, transformers"
    load = f"bark_jax.load({path!r}, dtype={dtype!r}"
    in_turn = f"[type(x[name]) for x in [{load}, low_memory=True).networks] for name in x]"  # and none is kept
    on_device = "(jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')"  # None on a CPU
    programs: dict[str, tuple[str, str, str | None]] = {
        "bark_jax.load": (ours, f"{load})", on_device),
        "the same, low_memory": (ours, in_turn, on_device),
    }
    if compare:
        call = f"transformers.BarkModel.from_pretrained({path!r}, dtype=torch.float32)"
        programs["BarkModel.from_pretrained"] = (theirs, call, None)
        programs["the same, weights read"] = (theirs, f"[float(x.sum()) for x in {call}.parameters()]", None)
    found = []
    for name, (imports, call, device) in programs.items():
        say(f"load in a fresh process: {name}")
        found.append({"process": name, **run_fresh("-c", PROBE.format(imports=imports, load=call, device=device))})
    return found


def measure_first_sound(folder: Path, dtype: str | None) -> dict[str, Any]:
    """Speak a short sentence in two fresh processes: one fills the persistent cache, the other reads it.

    Returns what `first_sound` prints, as "cold" and as "warm".
    """
    found, others = {}, {name: x for name, x in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    for name, what in (("cold", "no program compiled before"), ("warm", "programs in the persistent cache")):
        say(f"first sound in a fresh process: {what}")
        flags = ["--dtype", dtype] if dtype else []
        arguments = [str(time.time()), str(folder), str(folder / f"{name}.wav"), *flags]
        cache = {"XDG_CACHE_HOME": str(folder / "cache")}  # where the command keeps programs
        found[name] = run_fresh("-m", "bark_jax.bench.first_sound", *arguments, environment=others | cache)
    return found


def run_fresh(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run Python in a process of its own and return the JSON of its last line. Raises ValueError if it fails."""
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # others may need the accelerator's memory
    environment = (os.environ.copy() if environment is None else environment) | shared
    command, where = [sys.executable, *arguments], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"a process that loads the checkpoint failed ({reason}): is there memory for it?")
    return json.loads(done.stdout.splitlines()[-1])
