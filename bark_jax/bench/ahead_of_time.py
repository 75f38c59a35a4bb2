"""Compile the program of a stage for a TPU that is not here, in a process of its own.

In:  a `Request`: a target, a mesh, a shape, a stage, the rows of a batch.
Out: an `Outcome`: whether the program fits, bytes on each device, what the devices exchange.

The compiler is that of the package libtpu. It reads environment variables when it is loaded, it may crash, and only
one process at a time may load it unless told otherwise: hence the process, `python -m bark_jax.bench.ahead_of_time`.
JAX cannot read programs for absent devices back from its cache, so what was found is kept there instead.
"""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from bark_jax import parallel
from bark_jax.bench.exchanges import Exchange, cycles_of_turn, exchanges_in
from bark_jax.bench.programs import abstract_networks, bytes_on_each, lay_out, stage_program
from bark_jax.bench.target import Target
from bark_jax.files import write_file

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # a TPU of this machine stays free
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # else libtpu asks the servers of a cloud which machine it is on
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is used
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
PAIRS = "jax 0.10.2 + libtpu 0.0.42.1, 0.8.3 + 0.0.32, 0.7.2 + 0.0.23"  # that compile; 0.7.2 + 0.0.21.1 crashes
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


class CompilerCrashError(ValueError):
    """The compiler ended without a message, as it does with some versions, and near the limit of the memory."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Hold what to compile."""

    target: str
    mesh: tuple[int, int]
    sizes: dict[str, int]  # of the transformers
    dtype: str
    batch: int
    stage: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Hold what the compiler says of a program; bytes are those on each device."""

    weights: int = 0  # of the stage's network, of which a program may need a part
    arguments: int = 0  # weights, and the cache, which the results replace
    temporaries: int = 0  # and results that replace no argument
    code: int = 0
    cycles: int = 0  # of a turn of its loop, as the compiler estimates them
    exchanges: tuple[Exchange, ...] = ()
    too_large: str = ""  # the compiler's message, where the program does not fit

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.code

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Outcome":
        """Read what `dataclasses.asdict` and JSON have made of it, and use it up."""
        exchanges = (one | {"arrays": tuple(map(tuple, one["arrays"]))} for one in found.pop("exchanges"))
        return cls(**found, exchanges=tuple(Exchange(**one) for one in exchanges))

    def needed(self) -> tuple[int, int]:
        """Read from the message of a program that does not fit the bytes that it needs, and those that there are."""
        sizes = re.findall(r"(\d+(?:\.\d+)?)([KMG])\b", self.too_large)
        needed, available = (round(float(number) * UNITS[unit]) for number, unit in sizes[:2])
        return needed, available


def versions() -> dict[str, str]:
    """Return the versions of the compiler and of what it gets its programs from."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu")}


def compile_stage(request: Request) -> Outcome:
    """Compile a program in a process of its own, which takes minutes in the published shapes.

    Raises:
        ValueError: libtpu is not installed, or does not know the topology.
        CompilerCrashError: it crashes.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError("--target needs the compiler for TPUs: pip install 'bark-jax[tpu]'")
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(request))]
    folder = {"JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"] or ""}
    environment = os.environ | ENVIRONMENT | folder
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode < 0:
        name, found = signal.Signals(-done.returncode).name, versions()
        raise CompilerCrashError(
            f"the compiler crashed ({name}) at the {request.stage} stage with a batch of {request.batch}, with jax "
            f"{found['jax']} and libtpu {found['libtpu']}: try a smaller batch, or a pair that compiles: {PAIRS}"
        )
    if done.returncode:
        raise ValueError(f"--target is {request.target}: {done.stderr.strip().splitlines()[-1]}")
    return Outcome.from_dict(json.loads(done.stdout.splitlines()[-1]))


def kept(lowered: jax.stages.Lowered, target: str, compile_program: Callable[[], Outcome]) -> Outcome:
    """Return what was found of a program before, from JAX's folder of compiled programs; else compile it."""
    folder = jax.config.values["jax_compilation_cache_dir"]
    described = json.dumps([target, versions(), sorted(Outcome.__dataclass_fields__), lowered.as_text()])
    path = Path(folder or "", "targets", hashlib.sha256(described.encode()).hexdigest() + ".json")
    if folder and path.exists():
        return Outcome.from_dict(json.loads(path.read_bytes()))
    compiled = compile_program()
    if folder:
        write_file(path, json.dumps(dataclasses.asdict(compiled)).encode(), force=True, parents=True)
    return compiled


def compile_here(request: Request) -> Outcome:
    """Compile a program in this process, whose environment is `ENVIRONMENT`."""
    target = Target.parse(request.target)
    few = {"chips_per_host_bounds": (*target.sizes, 1, 1)[:3]} if target.chips < 4 else {}
    devices = topologies.get_topology_desc(platform="tpu", topology_name=target.name, **few).devices
    mesh = parallel.make_mesh(*request.mesh, devices)
    network = abstract_networks(request.sizes, request.dtype)[request.stage]
    weights = bytes_on_each(lay_out(network, mesh))
    lowered = stage_program(request.stage, network, mesh, request.batch)

    def compile_program() -> Outcome:
        try:
            program = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return Outcome(weights, too_large=str(error).splitlines()[0])
        memory = program.memory_analysis()
        assert memory is not None
        text = str(program.as_text())
        results = memory.output_size_in_bytes - memory.alias_size_in_bytes
        return Outcome(
            weights,
            memory.argument_size_in_bytes,
            memory.temp_size_in_bytes + results,
            memory.generated_code_size_in_bytes,
            cycles_of_turn(text),
            tuple(exchanges_in(text)),
        )

    return kept(lowered, request.target, compile_program)


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)
    print(json.dumps(dataclasses.asdict(compile_here(Request(**json.loads(sys.argv[1]))))))
