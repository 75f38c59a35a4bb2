"""Programs for a TPU that is not here: what is asked for, what the figures allow; one small set is compiled."""

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys

import jax
import pytest

from bark_jax.__main__ import main
from bark_jax.bench import ahead_of_time, target_report
from bark_jax.bench.ahead_of_time import CompilerCrashError, Outcome, Request, compile_stage
from bark_jax.bench.exchanges import cycles_of_turn, exchanges_in, group_size
from bark_jax.bench.target import CHIPS, Roofline, Target, roofline
from bark_jax.checkpoints.random import SHAPES

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
needs_libtpu = pytest.mark.skipif(not HAS_LIBTPU, reason="needs libtpu: pip install 'bark-jax[tpu]'")
TINY = SHAPES["tiny"]


# ---------------------------------------------------------------------------------------------
# What is asked for
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "chips", "heads", "meshes"),
    [
        ("v5e:1x1", 1, 12, [(1, 1)]),
        ("v5e:2x4", 8, 16, [(8, 1), (4, 2), (2, 4), (1, 8)]),
        ("v6e:2x2", 4, 12, [(4, 1), (2, 2), (1, 4)]),
        ("v5p:2x2x2", 8, 12, [(8, 1), (4, 2), (2, 4)]),  # 8 places cannot share 12 heads
    ],
)
def test_a_target_has_meshes(name, chips, heads, meshes):
    target = Target.parse(name)
    assert (target.name, target.chips, target.meshes(heads)) == (name, chips, meshes)


@pytest.mark.parametrize("name", ["", "v5e", "v5e:", ":2x4", "v2:2x2", "v5e:2x2x2", "v5p:2x2", "v5e:0x2", "v5e:2x"])
def test_what_is_no_target_is_refused(name):
    """An empty name would silently mean the oldest chip."""
    with pytest.raises(ValueError, match=re.escape(f"--target is {name!r}, it must be a chip (v5e, v5p, v6e) and its")):
        Target.parse(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v5e:2x4", "--mesh", "2x2"], "a mesh of 2x2 does not fit the 8 chips of v5e:2x4 and 12 heads: choose one of"),
        (["v5e:2x4", "--mesh", "1x8"], "does not fit the 8 chips of v5e:2x4 and 12 heads: choose one of 8x1, 4x2, 2x4"),
        (["v5e:2x4", "--mesh", "eight"], "the mesh is 'eight'"),
        (["v9:2x4"], "--target is 'v9:2x4'"),
        (["v5e:2x4", "--batch", "0"], "--batch is 0, it must be 1 or more"),
    ],
)
def test_the_command_refuses(capsys, arguments, message):
    assert main(["scaling", "--shape", "small", "--target", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_compiler_is_named(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["scaling", "--shape", "tiny", "--target", "v5e:1x1"]) == 2
    assert "--target needs the compiler for TPUs: pip install 'bark-jax[tpu]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (
            -11,
            "",
            r"the compiler crashed \(SIGSEGV\) at the fine stage .* jax 0\.7\.2 and libtpu 0\.0\.21\.1: .*0\.7\.2 \+",
        ),
        (1, "Traceback\nINVALID_ARGUMENT: no such layout\n", "--target is v5e:3x3: INVALID_ARGUMENT: no such layout"),
    ],
)
def test_what_the_compiler_says_is_passed_on(monkeypatch, code, error, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(ahead_of_time, "versions", lambda: {"jax": "0.7.2", "libtpu": "0.0.21.1"})
    done = subprocess.CompletedProcess([], code, "", error)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
    with pytest.raises(ValueError, match=message):
        compile_stage(Request("v5e:3x3", (3, 3), TINY, "bfloat16", 1, "fine"))


# ---------------------------------------------------------------------------------------------
# What the figures allow
# ---------------------------------------------------------------------------------------------


def test_a_step_on_one_chip_reads_weights_and_cache():
    """12 d^2 weights and 2 norms a layer, a norm and the scored ids at the end; keys and values of all slots."""
    d, layers, slots, scored = 768, 12, 1024, 10_001
    numbers = layers * (12 * d * d + 2 * d) + d + scored * d + 2 * layers * slots * d
    step = roofline("semantic", "v5e", shape="small")
    assert step.bytes == 2 * numbers
    assert step.operations == 2 * (layers * 12 * d * d + scored * d) + 4 * layers * d * slots
    assert (step.sent, step.bound) == (0, "reading")
    assert step.least_seconds == pytest.approx(2 * numbers / 819e9)
    assert roofline("semantic", "v5e", keys=0).bytes == 2 * (numbers - 2 * layers * slots * d)
    assert roofline("semantic", "v5e", dtype="float32").bytes == 4 * numbers


def test_devices_share_layers_and_rows():
    """On 2x4 each has a quarter of the matrices and of the cache of four rows, and takes part in the sums of layers."""
    d, layers, slots, scored, rows, model = 1024, 24, 896, 1024, 4, 4
    step = roofline("coarse", "v5e", shape="large", batch=8, mesh=(2, 4))
    shared = layers * 12 * d * d + 2 * layers * rows * slots * d
    assert step.bytes == 2 * (shared / model + layers * 2 * d + d + scored * d)
    assert step.sent == 2 * 3 / 4 * (2 * layers + 1) * rows * d * 2
    assert roofline("coarse", "v5e", shape="large", batch=7, mesh=(2, 4)) == step  # a row is added


def test_a_codebook_is_bound_by_arithmetic_or_exchange():
    d, layers, t = 768, 12, 1024
    one = roofline("fine", "v6e", shape="small", batch=8)
    assert one.operations == 8 * (2 * t * (layers * 12 * d * d + 1024 * d) + 4 * layers * d * t * t)
    assert one.bound == "arithmetic"
    assert one.least_seconds == one.operations / 918e12
    shared = roofline("fine", "v5e", shape="small", batch=8, mesh=(2, 4))
    assert shared.sent == 2 * 3 / 4 * 2 * layers * 4 * t * d * 2
    assert shared.bound == "exchange"


def test_a_chunk_of_the_codec():
    """The convolutions of EnCodec at 24 kHz: 9,920 million multiplications in a second, but for the encoder's."""
    per_frame = 7 * 128 * 512 + 2 * 2 * 512 * 2048
    steps, c = 1, 512
    for stride in (8, 5, 4, 2):
        per_frame += steps * 2 * stride * c * c // 2
        steps, c = steps * stride, c // 2
        per_frame += steps * (3 * c * c // 2 + c * c // 2 + c * c)
    per_frame += steps * 7 * 32
    assert roofline("codec", "v5e").operations == 2 * 128 * per_frame
    assert roofline("codec", "v5e", batch=8, mesh=(2, 4)).operations == 4 * roofline("codec", "v5e").operations


def test_the_longest_work_sets_the_least_time():
    chip = CHIPS["v5e"]
    one = Roofline(chip, operations=197e12, bytes=819e9 / 2, sent=200e9 * 3)
    assert one.seconds == {"reading": 0.5, "arithmetic": 1, "exchange": 3}
    assert (one.least_seconds, one.bound, one.intensity) == (3, "exchange", 197e12 / 409.5e9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speak", "v5e"), "the stage is 'speak', it must be one of semantic, coarse, fine, codec"),
        (("fine", "v2"), "the chip is 'v2', it must be one of v5e, v5p, v6e"),
        (("fine", "v5e", "huge"), "the shape is 'huge', it must be one of small, large, tiny"),
    ],
)
def test_the_roofline_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        roofline(*arguments[:2], shape=(*arguments, "small")[2])


# ---------------------------------------------------------------------------------------------
# What devices exchange, and what fits
# ---------------------------------------------------------------------------------------------

PROGRAM = """HloModule toy

%region (x: bf16[4,64]) -> bf16[4,64] {
  %start = (bf16[2,64]{1,0:T(8,128)(2,1)}, bf16[8,64]{1,0:T(8,128)(2,1)}) all-gather-start(%x), channel_id=3, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}, backend_config={"window_config":{"estimated_cycles":"1830"}}
  %done = bf16[8,64]{1,0} all-gather-done(%start)
  ROOT %sum = bf16[4,64]{1,0:T(8,128)(2,1)} all-reduce(%x), channel_id=4, replica_groups=[2,4]<=[8], to_apply=%add, backend_config={"estimated_cycles":"70"}
}

ENTRY %main (x: bf16[4,64]) -> bf16[4,64] {
  %y = bf16[4,64]{1,0} reduce-scatter(%x), channel_id=5, replica_groups={{0,1}}, dimensions={0}
  ROOT %w = bf16[4,64]{1,0} while(%y), condition=%cond, body=%region
}
"""  # noqa: E501 - lines as XLA writes them


def test_what_each_device_sends_follows_from_the_kind_and_the_group():
    gather, reduce, scatter = exchanges_in(PROGRAM)
    assert [(one.kind, one.devices, one.bytes, one.sent, one.in_loop) for one in (gather, reduce, scatter)] == [
        ("all-gather", 4, 8 * 64 * 2, 3 / 4 * 8 * 64 * 2, True),
        ("all-reduce", 4, 4 * 64 * 2, 2 * 3 / 4 * 4 * 64 * 2, True),
        ("reduce-scatter", 2, 4 * 64 * 2, 4 * 64 * 2, False),
    ]


def test_cycles_are_those_of_a_turn_of_the_longest_loop():
    assert cycles_of_turn(PROGRAM) == 1900
    short = PROGRAM.replace("region", "short").replace('"1830"', '"1"').split("ENTRY")[0]
    again = "%y = bf16[4,64]{1,0} while(%x), condition=%cond, body=%short\n  ROOT"
    assert cycles_of_turn(short + PROGRAM.replace("ROOT %w", again + " %w")) == 1900
    assert cycles_of_turn(PROGRAM.replace("while(", "call(")) == 0


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("[2,4]<=[8]", 4),
        ("[4,2]<=[2,4]T(1,0)", 2),
        ("{{0,1,2},{3,4,5}}", 3),
        ("mesh['axis_0'=2,'axis_1'=1,'axis_2'=4], device_ids=([2,4]T(1,0)) {'axis_0','axis_2'}", 8),
        ("mesh['axis_0'=8] {'axis_0':(2)4}", 4),
        ("{}", 0),
    ],
)
def test_groups_are_read_as_xla_writes_them(groups, size):
    assert group_size(f"  %a = u32[]{{:T(128)}} all-reduce(%b), channel_id=2, replica_groups={groups}, x={{1}}") == size


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (128.75G) "
         "exceeds available HBM (15.75G).", 128.75),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity "
         "by 4.75G.", 20.5),
    ],
)  # fmt: skip
def test_messages_of_what_does_not_fit_are_read(message, needed):
    assert Outcome(too_large=message).needed() == (needed * 2**30, 15.75 * 2**30)


@pytest.mark.parametrize(("crashes_at", "tried"), [(None, [8]), (8, [8, 4])])
def test_the_batch_that_fits_is_one_that_was_compiled(monkeypatch, crashes_at, tried):
    """A compiler that needs 1 GiB for a row on a device refuses what does not fit into 15.75 GiB, or crashes."""
    asked = []

    def compile_stage(request):
        rows = request.batch // 2  # on each of two places of `data`
        asked.append(rows)
        if rows == crashes_at:
            raise CompilerCrashError("crashed")
        return Outcome() if rows <= 15 else Outcome(too_large=f"Used {rows}.00G of 15.75G hbm")

    monkeypatch.setattr(target_report, "compile_stage", compile_stage)
    request = Request("v5e:2x2", (2, 2), TINY, "bfloat16", 63, "fine")
    line = target_report.what_fits(request, Outcome(too_large="Used 32.00G of 15.75G hbm"))
    start = "fine does not fit with a batch of 63: it needs 32,768 MiB of 16,128"
    assert line == f"{start}; a batch of {2 * tried[-1]} does, it was compiled"
    assert asked == tried


# ---------------------------------------------------------------------------------------------
# One real set
# ---------------------------------------------------------------------------------------------


@needs_libtpu
@pytest.mark.parametrize("stage", ["semantic", "coarse", "fine"])
def test_no_weight_moves_on_a_tpu(stage):
    """Devices that share heads exchange what lies between layers, which has a batch's rows, and nothing else."""
    rows, layers = 24, TINY["num_layers"]  # no weight has an axis of 12
    found = compile_stage(Request("v5e:2x2", (2, 2), TINY, "bfloat16", rows, stage))
    assert not found.too_large
    assert all(array[0] == rows // 2 for one in found.exchanges for array in one.arrays if array not in ((), (1,)))
    between = [one for one in found.exchanges if one.in_loop and one.arrays[0]]
    assert {one.kind for one in between} == {"all-reduce"}
    assert len(between) == 2 * layers + (stage != "fine")


@needs_libtpu
def test_the_command_prints_all_stages():
    command = [sys.executable, "-m", "bark_jax", "scaling", "--target", "v5e:1x1", "--shape", "tiny", "--batch", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
    lines = done.stdout.splitlines()
    assert lines[2].startswith(f"versions  jax {jax.__version__}, ")
    stages = [f"1x1 {stage}" for stage in ("semantic", "coarse", "fine", "codec")]
    assert [line.split("  ")[0] for line in lines[5:9]] == stages
    assert all(" yes " in line for line in lines[5:9])


@needs_libtpu
def test_an_unknown_topology_is_passed_on(capsys):
    assert main(["scaling", "--target", "v5e:3x3", "--shape", "tiny"]) == 2
    assert "--target is v5e:3x3: " in capsys.readouterr().err


def test_what_was_found_survives_json():
    found = Outcome(1, 2, 3, 4, 5, tuple(exchanges_in(PROGRAM)))
    assert Outcome.from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found
