"""Meshes of fake devices: the tokens of one device, what each holds, what they exchange; a job of two shares."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hf
import jax
import numpy as np
import pytest
import soundfile
from flax import nnx
from jax.sharding import PartitionSpec as P

import bark_jax
from bark_jax import parallel
from bark_jax.__main__ import main
from bark_jax.bench.exchanges import exchanges_in
from bark_jax.bench.programs import abstract_networks
from bark_jax.bulk import run as bulk
from bark_jax.checkpoints.random import SHAPES

D, LAYERS = 32, 1  # of the checkpoint, whose coarse model has an id space of 576 ids on both sides
HELPER = Path(__file__).with_name("eight_devices.py")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return hf.save(hf.tiny_bark(layers=LAYERS, heads=8, width=D), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def eight(checkpoint):
    """What the helper found out; see there."""
    command = [sys.executable, HELPER, checkpoint]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------
# On eight devices
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["8x1", "4x2", "2x4", "1x8"])
def test_a_mesh_speaks_as_one_device(eight, shape):
    """Batches of 1, 3 and 8 rows with their own voices, seeds and limits; greedy and drawn; every stage."""
    assert len(set(eight["lengths"])) > 3
    found = eight["meshes"][shape]["differences"]
    assert not any(found.values())
    assert len(found) >= 2


def test_training_is_shared_by_the_devices(eight):
    """Six of eight devices have equal parts of six rows; the weights are those of one device."""
    assert eight["training"]["devices"] == 6
    assert eight["training"]["difference"] < 1e-5


def test_other_texts_compile_nothing(eight):
    assert [found["compiled again"] for found in eight["meshes"].values()] == [[]] * 4


def test_each_device_holds_what_the_table_says(eight):
    for found in eight["meshes"].values():
        for name, on_each in found["held"].items():
            assert on_each == [found["table"][name]] * 8


def test_more_places_on_model_hold_less_each(eight):
    """Matrices of the layers and token embeddings are shared out, the rest of the coarse model is whole."""
    held = {shape: found["held"] for shape, found in eight["meshes"].items()}
    shared = 4 * (LAYERS * 12 * D * D + 576 * D)
    whole = held["8x1"]["coarse_acoustics"][0] - shared
    for shape, model in (("4x2", 2), ("2x4", 4), ("1x8", 8)):
        assert held[shape]["coarse_acoustics"][0] == whole + shared // model
        assert held[shape]["codec_model"] == held["8x1"]["codec_model"]


def test_a_vocabulary_that_does_not_divide_is_whole(eight):
    """The semantic model's has a number of ids that 4 divides and 8 does not."""
    table = hf.TOKENS.semantic_infer_token + 1
    assert (table % 4, table % 8) == (0, 4)
    four, eight_places = (eight["meshes"][shape]["held"]["semantic"][0] for shape in ("2x4", "1x8"))
    assert eight_places == four - 4 * LAYERS * 12 * D * D // 8 + 4 * table * D * 3 // 4


@pytest.mark.parametrize(("shape", "rows"), [("4x2", 4), ("1x8", 16)])
def test_devices_exchange_what_lies_between_layers_and_no_weights(eight, shape, rows):
    """For a layer the sums of its two halves, and once the embeddings of tokens: whole heads need no others."""
    for name, found in eight["exchanges"][shape].items():
        first_axes = {array[0] for one in found for array in one["arrays"] if array not in ([], [1])}
        assert first_axes == {rows}, "all but single numbers have a batch's rows"
        looped = [one for one in found if one["in_loop"] and one["arrays"] != [[]]]
        kinds = sorted(one["kind"] for one in looped)
        layers = 2
        assert kinds == ["all-reduce"] * (2 * layers + (name != "fine"))
    asked = [one for one in eight["exchanges"]["4x2"]["semantic"] if one["in_loop"] and one["arrays"] == [[]]]
    assert sum(one["bytes"] for one in asked) <= 2  # whether all rows have ended


PROGRAM = """HloModule toy

%body (x: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} all-gather(f32[4,2]{1,0} %x), channel_id=7, dimensions={1}
  ROOT %b = f32[4,8]{1,0} all-reduce(f32[4,8]{1,0} %a), channel_id=8, to_apply=%sum
}

%fused (x: f32[4,2]) -> f32[4,4] {
  ROOT %c = f32[4,4]{1,0} all-gather(f32[4,2]{1,0} %x), channel_id=7, dimensions={1}
}

ENTRY %main (x: f32[4,8]) -> f32[4,8] {
  %d = f32[4,4]{1,0} fusion(f32[4,2]{1,0} %x), kind=kCustom, calls=%fused
  %e = f32[2]{0} all-reduce(f32[2]{0} %y), to_apply=%sum
  ROOT %w = f32[4,8]{1,0} while(f32[4,8]{1,0} %x), condition=%cond, body=%body
}
"""


def test_exchanges_are_counted_by_channel():
    """One operation in two lines is one, as large as its largest line; one without a channel counts by itself."""
    found = exchanges_in(PROGRAM)
    assert [(one.kind, one.bytes, one.in_loop) for one in found] == [
        ("all-gather", 4 * 8 * 4, True),
        ("all-reduce", 4 * 8 * 4, True),
        ("all-reduce", 2 * 4, False),
    ]


def test_heads_that_cannot_be_shared_are_refused(eight):
    assert eight["refusal"] == "semantic has 4 heads, which 8 places on model cannot share: choose one of 1, 2, 4"


# ---------------------------------------------------------------------------------------------
# On two times four
# ---------------------------------------------------------------------------------------------


@pytest.mark.once
def test_two_processes_make_a_share_each(checkpoint, tmp_path):
    """Each has a mesh of its own four devices; together they leave what one process leaves."""
    texts = ["Hello", "the little egg", "moon", "a leaf of the little moon", "me and the egg"]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    command = [sys.executable, "-m", "bark_jax", "batch", tmp_path / "lines.txt", "-o", tmp_path / "out"]
    command += ["--checkpoint", checkpoint, "--dtype", "float32", "--batch-size", "2", "--max-seconds", "0.2"]
    command += ["--mesh", "4x1", "--no-progress"]
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ | four}
    processes = [subprocess.Popen([*command, "--share", f"{number}/2"], **pipes) for number in (1, 2)]
    shown = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], shown
    for (out, _), made in zip(shown, (3, 2)):  # batches of two, in turn; a process knows of its own lines
        assert f"of {made} lines {made} made, 0 done before, 0 failed" in out

    alone = bark_jax.load(checkpoint, dtype="float32")
    assert bulk.run(alone, texts, tmp_path / "alone", batch_size=2, max_seconds=0.2, progress=False).made == 5
    ours, theirs = tmp_path / "out", tmp_path / "alone"
    assert sorted(os.listdir(ours)) == sorted(os.listdir(theirs))
    assert (ours / "job.json").read_bytes() == (theirs / "job.json").read_bytes()
    for path in theirs.glob("*.wav"):
        np.testing.assert_allclose(soundfile.read(ours / path.name)[0], soundfile.read(path)[0], atol=2 / 32768)


# ---------------------------------------------------------------------------------------------
# On one
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_every_parameter_has_one_row_in_the_table(bias):
    mesh = parallel.make_mesh(1, 1)
    for network in abstract_networks(SHAPES["tiny"] | {"bias": bias}, "float32").values():
        for parts, leaf in nnx.to_flat_state(nnx.state(network)):
            parallel.sharding(".".join(map(str, parts)), leaf.shape, mesh)


def test_a_parameter_that_the_table_does_not_know_is_refused(monkeypatch):
    mesh, path = parallel.make_mesh(1, 1), "blocks.0.mlp.up.kernel"
    with pytest.raises(ValueError, match=r"blocks.0.mlp.gate matches 0 rows of parallel.SPECS, it must match one"):
        parallel.sharding("blocks.0.mlp.gate", (2, 2), mesh)
    monkeypatch.setattr(parallel, "SPECS", (*parallel.SPECS, (r"blocks\..*", P())))
    with pytest.raises(ValueError, match=f"{path} matches 2 rows"):
        parallel.sharding(path, (2, 2), mesh)


@pytest.mark.parametrize("shape", ["", "4", "4x", "0x2", "4x2x1", "4by2", "-1x2", "axb"])
def test_what_is_no_mesh_is_refused(shape):
    with pytest.raises(ValueError, match=re.escape(f"the mesh is {shape!r}, it must be two numbers from 1 on")):
        parallel.parse_mesh(shape)


def test_a_mesh_needs_as_many_devices(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["speak", "Hello", "--mesh", "4x2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "bark-jax: error: a mesh of 4x2 has 8 places, for 1 cpu device: choose numbers with the product 1, "
        "or to try it on a CPU start with XLA_FLAGS=--xla_force_host_platform_device_count=8"
    )
    assert list(tmp_path.iterdir()) == []


def test_speak_loads_on_the_mesh(tmp_path, capsys, monkeypatch):
    def load(checkpoint, *, mesh, **others):
        raise ValueError(f"loaded on {dict(mesh.shape)}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bark_jax, "load", load)
    assert main(["speak", "Hello", "--mesh", "1x1"]) == 2
    assert "loaded on {'data': 1, 'model': 1}" in capsys.readouterr().err


@pytest.mark.once
def test_scaling_prints_a_line_for_each_mesh():
    """It makes the devices itself: a process of its own."""
    command = [sys.executable, "-m", "bark_jax", "scaling", "--shape", "tiny", "--mesh", "1x2", "--batch", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["shape     tiny, float32, batch of 2", f"devices   2 x cpu, jax {jax.__version__}"]
    rows, layers, positions, d = 2, 2, 1024, 32
    label, *sizes = lines[4].split()
    assert (label, sizes[-1]) == ("1x2", f"{4 * rows * layers * 2 * positions * d / 2 / 2**20:,.1f}")
    between = 4 * rows * d / 1024  # KiB of what a layer hands on for a position, in float32
    step, codebook = (2 * layers + 1) * between, 2 * layers * positions * between  # two sums a layer; the embedding
    assert lines[-1].split() == ["1x2", "5", f"{step:,.1f}", "4", f"{codebook:,.1f}", "the", "same"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mesh", "1x1,8x1"], "a mesh of 8x1 has 8 places, for 1 cpu device"),
        (["--mesh", "1x1,"], "the mesh is ''"),
        (["--batch", "0"], "--batch is 0, it must be 1 or more"),
    ],
)
def test_scaling_refuses(capsys, arguments, message):
    assert main(["scaling", *arguments]) == 2
    assert message in capsys.readouterr().err
