"""Programs compiled in a thread before a stage needs them are those that it calls."""

import dataclasses
import json
import subprocess
import sys
import threading

import pytest

from bark_jax import load, parallel, programs

STAGES = {"coarse": "decode_window", "fine": "fill_window", "codec": "decode_chunk"}
SCRIPT = """
import json, sys
import jax, numpy as np
from bark_jax import load, programs

compiled, names, count = [], ("decode_window", "fill_window", "decode_chunk"), 2

def listen(event, duration, **details):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(str(details))

def found():
    return [name for name in names for details in compiled if name in details]

jax.monitoring.register_event_duration_secs_listener(listen)
bark = load()
voices = [bark.voice(sys.argv[1])] * count if sys.argv[1] else [None] * count
with programs.compiling(bark._later_programs(voices)) as wait_for:
    for stage in ("coarse", "fine", "codec"):
        wait_for(stage)
before = found()
compiled.clear()
rows = [np.arange(12, dtype=np.int32)] * count
coarse = bark.semantic_to_coarse(rows, voice=voices, progress=False)
bark.decode(bark.coarse_to_fine(coarse, voice=voices, progress=False))
print(json.dumps([before, found(), len(compiled)]))
"""


@pytest.mark.parametrize("voice", ["", "en_speaker_0"])
def test_a_stage_finds_the_program_that_was_compiled_before(voice):
    """In a process of its own, where types are not checked: what is compiled ahead has descriptions for arrays."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, voice], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ahead, later, small = json.loads(done.stdout.splitlines()[-1])
    assert ahead == list(STAGES.values())
    assert later == []
    assert small


def test_what_a_batch_of_a_kind_needs_is_compiled_once(pair):
    ours = dataclasses.replace(pair().ours)
    assert set(ours._later_programs([None])) == set(STAGES)
    assert ours._later_programs([None]) == {}
    assert set(ours._later_programs([None, None])) == set(STAGES)
    assert ours._later_programs([]) == {}


@pytest.mark.parametrize("how", [{"low_memory": True}, {"mesh": parallel.make_mesh(1, 1)}])
def test_networks_that_come_in_turn_or_lie_on_a_mesh_are_left_to_their_stages(how):
    assert load(**how)._later_programs([None]) == {}


def test_an_error_of_the_thread_is_left_to_the_stage():
    def fail():
        raise ValueError("no memory")

    with programs.compiling({"coarse": fail}) as wait_for:
        wait_for("coarse")
        wait_for("fine")  # which nobody compiles


def test_programs_that_nobody_waits_for_any_more_are_not_begun():
    begun, go_on, started = [], threading.Event(), threading.Event()

    def slow():
        started.set()
        assert go_on.wait(60)
        raise ValueError

    def later():
        begun.append(1)
        raise ValueError

    with programs.compiling({"coarse": slow, "fine": later}):
        assert started.wait(60)
    go_on.set()
    assert not begun
