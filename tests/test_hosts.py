"""Training on several hosts: two processes on this one end with the weights of one; files are written once."""

import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax.checkpoints.tensors import read_safetensors
from bark_jax.train import loop

TRAIN = ("-m", "bark_jax", "train", "all", "--config", "tiny", "--data")
ENVIRONMENT = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # programs compile in half the time


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def end(*processes: subprocess.Popen, code: int = 0) -> list[tuple[str, str]]:
    """Wait for processes; return what each wrote to standard output and to standard error."""
    shown = [process.communicate(timeout=900) for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), shown
    return shown


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def of_two(number: int, port: int) -> tuple[object, ...]:
    return "--coordinator-address", f"127.0.0.1:{port}", "--num-processes", 2, "--process-id", number


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """The tiny recipe, all parts: by one process with two devices, and by two with one each."""
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    recordings = folder / "recordings"
    (recordings / "wavs").mkdir(parents=True)
    for i in range(6):
        soundfile.write(recordings / "wavs" / f"{i}.wav", 0.1 * rng.normal(size=9_600 + 1_600 * i), 16_000)
    (recordings / "metadata.csv").write_text("".join(f"{i}|{i} cats and a dog\n" for i in range(6)))
    one, two, port = folder / "one", folder / "two", free_port()
    end(start(*TRAIN, recordings, "-o", one, "--cores", 2))
    both = (start(*TRAIN, recordings, "-o", two, "--cores", 1, *of_two(number, port)) for number in (0, 1))
    shown = end(*both)
    assert "checkpoint is done" in shown[0][0]
    assert "done" not in shown[1][0]  # process 0 alone says what was made
    return {"one": one, "two": two}


@pytest.mark.parametrize(("part", "within"), [("codec", 1e-5), ("semantic", 0), ("coarse", 0), ("fine", 1e-5)])
def test_two_processes_end_with_the_weights_of_one(runs, part, within):
    """To the bit, or to rounding where processes sum in another order: codebooks, and attention head by head."""
    one, two = (read_safetensors(folder / part / "model.safetensors") for folder in runs.values())
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name].read(), one[name].read(), rtol=0, atol=within)


def test_two_processes_write_the_files_of_one(runs):
    def files(folder: Path) -> set[str]:
        names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return {name for name in names if "/state/" not in name}

    assert files(runs["two"]) == files(runs["one"])
    for name in ("units.npy", "codes.npy", "recipe.json", "prepared/samples.npy", "checkpoint/units.safetensors"):
        assert (runs["two"] / name).read_bytes() == (runs["one"] / name).read_bytes()


LOOP = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from bark_jax.train import hosts, loop

steps, folder, number = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4])
if int(sys.argv[3]) > 1:
    hosts.connect(f"127.0.0.1:{sys.argv[5]}", 2, number)
loop.REPORT_STEPS = 2
rows = lambda step: np.arange(4.0, dtype=np.float32)[:, None] * (step + 1)

def update(state, batch, moment):
    mean = jax.lax.pmean(batch.mean(), loop.DATA)
    return {"x": state["x"] * 0.5 + mean, "calls": state["calls"]}, {"loss": mean}

before = {4: lambda state: state | {"calls": state["calls"] + number + 1},
          0.6: lambda state: state | {"calls": state["calls"] + 10}}  # before step 5 of 7, too
state = loop.run(update, lambda: {"x": jnp.float32(number), "calls": jnp.int32(0)}, rows, folder, steps=steps,
                 before=before)
print("x", float(state["x"]), int(state["calls"]))

def fail():
    raise OSError("no room")
if int(sys.argv[3]) > 1:
    hosts.first_alone(fail)
"""


def test_two_processes_go_on_with_what_one_began(tmp_path):
    """Both take the state that process 0 has; an error of process 0 ends the other too."""
    alone = end(start("-c", LOOP, 7, tmp_path / "alone", 1, 0))[0][0]
    end(start("-c", LOOP, 2, tmp_path / "moved", 1, 0))
    port = free_port()
    shown = end(*(start("-c", LOOP, 7, tmp_path / "moved", 2, number, port) for number in (0, 1)), code=1)
    lines = [next(line for line in out.splitlines() if line.startswith("x")) for out, _ in shown]
    assert lines[0] == lines[1] == alone.strip().splitlines()[-1] == "x 18.0234375 11"
    assert "OSError: no room" in shown[0][1]
    assert "ValueError: process 0 has stopped: its message says why" in shown[1][1]
    entries = [json.loads(line) for line in (tmp_path / "moved" / "log.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in entries] == [(2, 2.25), (4, 5.25), (6, 8.25)]


def device(process: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(process_index=process)


@pytest.mark.parametrize(("rows", "each"), [(8, 4), (6, 3), (4, 2), (2, 1), (14, 1)])
def test_every_process_has_equally_many_rows(rows, each, capsys):
    devices = [device(i % 2) for i in range(8)]  # a pod may number them across hosts
    kept = loop.sharing(devices, rows)
    assert [x.process_index for x in kept] == [0] * each + [1] * each
    assert bool(capsys.readouterr().out) == (each < 4)


def test_rows_that_processes_cannot_share_are_refused():
    with pytest.raises(ValueError, match="a batch of 9 is not a multiple of 2 processes: choose one with --batch"):
        loop.sharing([device(0), device(1)], 9)


@pytest.mark.parametrize("options", [["--distributed"], ["--num-processes", "2", "--process-id", "0"]])
def test_processes_that_cannot_find_each_other_say_what_to_pass(tmp_path, options):
    shown = end(start(*TRAIN, tmp_path, "-o", tmp_path / "run", *options), code=2)
    message = "elsewhere pass --coordinator-address, --num-processes and --process-id"
    assert message in shown[0][1].splitlines()[-1]
