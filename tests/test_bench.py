"""The benchmark: a run at the tiny shape, beside transformers; what it counts; what it refuses."""

import importlib.util
import json
import os
import subprocess
import sys

import hf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache

import bark_jax
from bark_jax import bench, sampling, semantic
from bark_jax.__main__ import main
from bark_jax.bench import fresh, report, timing
from bark_jax.bench import roofline as limits
from bark_jax.bench import transformers_baseline as theirs
from bark_jax.checkpoints.random import SHAPES, TOKENS, random_config, write_random
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.cli.commands import parser
from bark_jax.describe import parameter_count

STAGES = ["semantic", "coarse", "fine", "codec", "whole"]
PARTS = ["semantic prompt", "semantic steps", "coarse prompt", "coarse steps"]
HAS_TORCH = importlib.util.find_spec("torch") is not None
MODES = [theirs.EAGER, theirs.Mode("bfloat16"), theirs.Mode("bfloat16", "sdpa")]  # to compile takes minutes


@pytest.fixture(autouse=True, scope="module")
def settings_return():
    """Undo what the comparison changes for the rest of its process."""
    verbosity = transformers.logging.get_verbosity()
    yield
    transformers.logging.set_verbosity(verbosity)
    transformers.logging.enable_progress_bar()
    if HAS_TORCH:
        hf.import_torch().set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the command once; return the numbers, as they were written, the lines, and the folder of the trace.

    Where torch is missing, it runs without the comparison.
    """
    folder = tmp_path_factory.mktemp("bench")
    file, trace = folder / "new" / "numbers.json", folder / "trace"
    arguments = ["bench", "--shape", "tiny", "--seconds", "0.4", "--batch", "2", "--repeats", "1"]
    arguments += ["--json", str(file), "--profile", str(trace)]
    arguments += ["--against", "transformers"] if HAS_TORCH else []
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda line="", **options: printed.append(line) if not options else None)
        patch.setattr(theirs, "modes", lambda: MODES)
        patch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # as the command does
        compilation_cache.reset_cache()  # JAX asks once in a process whether the cache is wanted
        assert main(arguments) == 0
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
    return json.loads(file.read_text()), "\n".join(printed).splitlines(), trace


def test_every_part_is_measured_with_exact_counts(run):
    numbers, _, trace = run
    assert list(numbers["batches"]) == ["2"]
    rows = {row["stage"]: row for row in numbers["batches"]["2"]["rows"]}
    assert list(rows) == STAGES + PARTS
    amounts = [row["amount"] for row in rows.values()]
    assert amounts == [2 * x for x in (20, 60, 1, 0.4, 0.4)] + [2 * 256, 20 - 1, 2 * 256, 60 - 2]
    for row in rows.values():
        assert row["rate"] == pytest.approx(row["amount"] / row["seconds"])
    for name in STAGES[:-1]:
        assert rows[name]["seconds"] > 0  # the parts are differences, which a busy machine can turn over
        assert rows[name]["compiled"]["programs"] > rows[name]["compiled"]["from_cache"] == 0
        assert rows[name]["compiled"]["compile_seconds"] > 0
    assert rows["whole"]["seconds"] == pytest.approx(sum(rows[name]["seconds"] for name in STAGES[:-1]))
    for name in ["fine", *PARTS]:
        assert rows[name]["share_of_limit"] == pytest.approx(rows[name]["least_seconds"] / rows[name]["seconds"])
    assert list(trace.rglob("*.xplane.pb"))


def test_transformers_run_in_each_mode_that_they_have(run):
    hf.import_torch()
    numbers, lines, _ = run
    others = numbers["batches"]["2"]["others"]
    assert list(others) == ["eager, float32", "eager, bfloat16"]
    for seconds in others.values():
        assert list(seconds) == STAGES
        assert seconds["whole"] == pytest.approx(sum(seconds[name] for name in STAGES[:-1]))
    assert list(numbers["left_out"]) == ["sdpa, bfloat16"]
    assert any(line.startswith("left out  transformers, sdpa, bfloat16: ValueError: BarkModel does") for line in lines)
    ours = numbers["batches"]["2"]["rows"][0]["seconds"]
    best, words = min(x["semantic"] for x in others.values()), rows_below(lines, "batch of 2")["semantic"]
    assert float(words[-1].replace(",", "")) == pytest.approx(best / ours, rel=0.01)
    assert float(words[-3].replace(",", "")) == pytest.approx(others["eager, float32"]["semantic"] / ours, rel=0.01)


def test_the_machine_is_described(run):
    numbers, lines, _ = run
    assert numbers["shape"] == {"name": "tiny", "dtype": "float32"} | SHAPES["tiny"]
    assert numbers["versions"]["jax"] == jax.__version__
    if HAS_TORCH:
        assert numbers["versions"]["torch"] == hf.import_torch().__version__
        assert numbers["their_device"] == {"platform": "cpu", "name": f"cpu, {os.cpu_count()} threads"}
    assert numbers["device"]["platform"] == "cpu"
    assert numbers["limits"]["read"] > 0
    assert list(numbers["limits"]["products"]) == ["2048 x 2048 x 2048", "256 x 32 x 128"]
    other = numbers | {"device": {"platform": "tpu", "name": "some TPU", "cores": 2}}
    warning = "ANOTHER DEVICE"
    assert (warning in "\n".join(report.report_lines(other))) == HAS_TORCH  # without it there is nothing to compare
    assert warning not in "\n".join(lines)


def test_loading_is_measured_in_fresh_processes(run):
    numbers, _, _ = run
    processes = ["bark_jax.load", "the same, low_memory"]
    processes += ["BarkModel.from_pretrained", "the same, weights read"] if HAS_TORCH else []
    assert [one["process"] for one in numbers["loading"]] == processes
    for one in numbers["loading"]:
        assert one["seconds"] > 0
        assert one["peak_bytes"] >= one["imports_peak_bytes"] > 2**20
        assert one["device_peak_bytes"] is None


def test_the_first_sound_reads_the_cache_and_the_second_compiles_nothing(run):
    numbers, lines, _ = run
    names = ["start and imports", "load", "semantic", "coarse", "fine", "codec", "write", "the rest"]
    cold, warm = (numbers["first_sound"][name] for name in ("cold", "warm"))
    for found in (cold, warm):
        assert [one["part"] for one in found["parts"]] == names
        assert sum(one["seconds"] for one in found["parts"]) == pytest.approx(found["until_sound"])
        # A thread compiles the later stages while the first one runs: two at once.
        assert all(2 * one["seconds"] >= one["trace_seconds"] + one["compile_seconds"] for one in found["parts"])
        assert found["second"]["programs"] == 0
        assert found["until_sound"] + found["second"]["seconds"] > found["second"]["since_load"]
    assert cold["first"]["programs"] == warm["first"]["programs"] == sum(one["programs"] for one in warm["parts"])
    assert (cold["first"]["from_cache"], warm["first"]["from_cache"]) == (0, warm["first"]["programs"])
    assert rows_below(lines, "first sound").keys() >= {*names, "until the WAV is written", "from load() to its end"}


def rows_below(lines: list[str], heading: str) -> dict[str, list[str]]:
    """Read a table: the words behind the name of each row, to the next empty line."""
    top = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rows = {}
    for line in lines[top + 1 :]:
        if not line:
            break
        name, _, rest = line.partition("  ")
        rows[name] = rest.split()
    return rows


def test_the_tables_have_every_row(run):
    numbers, lines, _ = run
    assert list(rows_below(lines, "in a fresh process")) == [one["process"] for one in numbers["loading"]]
    assert list(rows_below(lines, "batch of 2")) == STAGES + PARTS
    if HAS_TORCH:
        assert list(rows_below(lines, "transformers, batch of 2")) == ["eager, float32", "eager, bfloat16"]


def test_scaling_is_shown_for_several_batches():
    def measured(rate):
        return {"rows": [{"stage": stage, "rate": rate, "unit": "x"} for stage in STAGES]}

    lines = report.scaling_table({1: measured(10.0), 8: measured(45.0)})
    assert [line.split()[:3] for line in lines[1:]] == [["1", "10", "(1x)"], ["8", "45", "(4.5x)"]]


def test_table():
    rows = [["a", 1234.5, None], ["longer", 0.01234, "two words"]]
    assert report.table("", "seconds", "note", rows=rows) == [
        "        seconds       note",
        "a         1,234",
        "longer   0.0123  two words",
    ]


def test_compilation_is_told_from_running():
    double = jax.jit(lambda x: 2 * jnp.sin(x))
    with timing.compilation() as first:
        seconds, _ = timing.clock(double, np.ones(3))
    with timing.compilation() as second:
        double(np.ones(3))
    assert first.programs == 1
    assert 0 < first.trace_seconds + first.compile_seconds <= seconds
    assert second == timing.Compilation()
    assert timing.covered([[0, 4], [1, 2], [3, 5], [7, 8]]) == 6


# ---------------------------------------------------------------------------------------------
# What is counted, for the small shape by hand
# ---------------------------------------------------------------------------------------------

D, L = 768, 12
KERNELS = L * 12 * D * D  # 3 d x d for queries, keys and values, d x d out, 4 d x d up and down
NORMS = (2 * L + 1) * D


def abstract(name: str, dtype=jnp.float32):
    network = NETWORKS[name]
    cfg = network.read_config(random_config(SHAPES["small"])[network.config])
    return nnx.eval_shape(lambda: network.module(cfg, dtype=dtype, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(("dtype", "width"), [(jnp.float32, 4), (jnp.bfloat16, 2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_work_of_a_step(batch, dtype, width):
    assert KERNELS == 84_934_656
    work = limits.step_work(abstract("semantic", dtype), batch, scored=10_001, keys=300)
    keys_and_values = 2 * 300 * L * D * batch
    assert work.bytes == width * (KERNELS + NORMS + 10_001 * D + keys_and_values)
    assert work.operations == 2 * batch * (KERNELS + 10_001 * D) + 2 * 2 * 300 * L * D * batch


def test_work_of_a_prompt():
    work = limits.prompt_work(abstract("coarse_acoustics"), 3, 256)
    pairs = sum(range(1, 257))
    assert work.operations == 3 * (2 * 256 * KERNELS + 4 * pairs * L * D)
    assert work.bytes == 4 * (KERNELS + NORMS)


def test_work_of_a_window():
    work = limits.window_work(abstract("fine_acoustics"), 2)
    each = 2 * 1024 * (KERNELS + 1024 * D) + 4 * 1024 * 1024 * L * D
    assert work.operations == 6 * 2 * each
    assert work.bytes == 6 * 4 * (KERNELS + 2 * NORMS + 1024 * D)  # these norms have biases


def test_the_least_time_is_that_of_what_takes_longer():
    device = limits.Limits(read=10.0, products={"large": 200.0, "small": 100.0})
    assert device.least_seconds(limits.Work(operations=400, bytes=10)) == 2
    assert device.least_seconds(limits.Work(operations=400, bytes=30)) == 3


@pytest.mark.parametrize("shape", ["small", "large"])
def test_published_shapes_have_the_published_number_of_weights(shape):
    """Of suno/bark-small and suno/bark, semantic model: tables, blocks, norms, head."""
    sizes = SHAPES[shape]
    layers, d = sizes["num_layers"], sizes["hidden_size"]
    network = NETWORKS["semantic"]
    cfg = network.read_config(random_config(sizes)[network.config])
    model = nnx.eval_shape(lambda: network.module(cfg, rngs=nnx.Rngs(0)))
    count = (129_600 + 1_024 + 10_048) * d + 12 * layers * d * d + (2 * layers + 1) * d
    assert parameter_count(model) == count


# ---------------------------------------------------------------------------------------------
# The comparison is between equals
# ---------------------------------------------------------------------------------------------


def test_both_sides_load_the_same_weights(tmp_path):
    """Greedy tokens of both are equal. (Later ones need not be: theirs may lie past the end of codebook 1.)"""
    hf.import_torch()
    write_random(SHAPES["tiny"], tmp_path)
    make, _ = theirs.prepare(tmp_path, theirs.EAGER)
    bark, others = bark_jax.load(tmp_path), make(12)
    texts, greedy = [np.array([10_050, 10_060])], sampling.Controls.from_user(0)
    spoken = others["semantic"](texts)
    np.testing.assert_array_equal(
        semantic.generate(bark.semantic_model, TOKENS, texts, [None], [0], greedy, limits=[12], early_stop=False),
        spoken,
    )
    coarse = others["coarse"](spoken[:, :4])
    np.testing.assert_array_equal(bark.semantic_to_coarse(list(spoken[:, :4]), temperature=0), coarse)
    codes = others["fine"](coarse)
    np.testing.assert_array_equal(codes[:, :2], coarse)
    np.testing.assert_allclose(bark.decode(list(codes)), others["codec"](codes), atol=1e-5)


def test_compiled_are_the_steps_and_the_blocks_and_the_tokens_stay(tmp_path, monkeypatch):
    torch = hf.import_torch()
    write_random(SHAPES["tiny"], tmp_path)
    calls = []

    def compile_nothing(function, **options):
        return lambda *inputs, **named: calls.append(function.__qualname__) or function(*inputs, **named)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    made = []
    for compiled in (False, True):
        make, why = theirs.prepare(tmp_path, theirs.Mode("float32", compiled=compiled))
        assert not why
        made.append(make(5)["semantic"]([np.full(256, 10_050, np.int32)]))
        coarse = make(5)["coarse"](made[-1])
    np.testing.assert_array_equal(*made)
    assert calls == ["BarkCausalModel.forward"] * (5 - 1 + 2 * coarse[0].shape[1] - 1)  # the first ends a prompt
    make(5)["fine"](coarse)
    assert len(calls) == 4 + 13 + 6 * SHAPES["tiny"]["num_layers"]


def test_a_mode_that_fails_says_why():
    def make(n):
        raise RuntimeError("no compiler. Install one\nTraceback")

    assert theirs.warm_up(make, 1) == "RuntimeError: no compiler"


def test_importing_it_imports_no_torch():
    code = "import sys, bark_jax.bench.first_sound; assert not {'torch', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------


def check(*arguments: str):
    return bench.check_options(parser().parse_args(["bench", *arguments]))


def test_options_that_are_taken():
    assert check() == ([1], 150)
    assert check("--batch", "1, 4,4", "--seconds", "0.04") == ([1, 4, 4], 2)
    assert check("--seconds", "15.39") == ([1], 768)


@pytest.mark.parametrize("batch", ["", "0", "1,", "-1", "two", "1.5", "1;2"])
def test_bad_batch(batch):
    with pytest.raises(ValueError, match=r"--batch is '.*', it must be whole numbers from 1 on, such as 4 or 1,4"):
        check(f"--batch={batch}")


@pytest.mark.parametrize("seconds", ["0", "0.02", "15.5", "-1", "nan", "inf"])
def test_bad_seconds(seconds):
    with pytest.raises(ValueError, match=r"--seconds is .*, it must be 0\.04 to 15\.39"):
        check(f"--seconds={seconds}")


def test_bad_repeats():
    with pytest.raises(ValueError, match="--repeats is 0, it must be 1 or more"):
        check("--repeats", "0")


@pytest.mark.parametrize("missing", [["torch"], ["torch", "transformers"]])
def test_nothing_to_compare_with(missing, monkeypatch):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    message = rf"--against needs {' and '.join(missing)}: pip install bark-jax\[compare\]"
    with pytest.raises(ValueError, match=message):
        check("--against", "transformers")
    check()


def test_a_file_is_kept(tmp_path, capsys):
    file = tmp_path / "numbers.json"
    file.write_text("kept")
    assert main(["bench", "--shape", "tiny", "--json", str(file)]) == 2
    assert "exists and is kept" in capsys.readouterr().err
    assert file.read_text() == "kept"
    check("--json", str(file), "--force")


def test_a_process_that_fails():
    with pytest.raises(ValueError, match=r"a process that loads .* failed \(ZeroDivisionError: division by zero\)"):
        fresh.run_fresh("-c", "1 / 0")
