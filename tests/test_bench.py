"""The benchmark: a run at the tiny shape, beside transformers; what it counts; what it refuses."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx

import bark_jax
from bark_jax import bench, weights
from bark_jax.__main__ import main, parser

STAGES = ["semantic", "coarse", "fine", "codec", "whole"]
PARTS = ["semantic prompt", "semantic steps", "coarse prompt", "coarse steps"]


@pytest.fixture(autouse=True, scope="module")
def settings_return():
    """Undo what the command changes for the rest of its process."""
    verbosity, threads = transformers.logging.get_verbosity(), torch.get_num_threads()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    transformers.logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Run the command once; return the numbers, as they were written, and the lines."""
    file = tmp_path_factory.mktemp("bench") / "new" / "numbers.json"
    arguments = ["bench", "--shape", "tiny", "--seconds", "0.4", "--batch", "2", "--repeats", "1"]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda line, **options: printed.append(line) if not options else None)
        assert main([*arguments, "--against", "transformers", "--json", str(file)]) == 0
    return json.loads(file.read_text()), "\n".join(printed).splitlines()


def test_every_part_is_measured_with_exact_counts(report):
    numbers, _ = report
    assert list(numbers["batches"]) == ["2"]
    rows = {row["stage"]: row for row in numbers["batches"]["2"]}
    assert list(rows) == STAGES + PARTS
    amounts = [row["amount"] for row in rows.values()]
    assert amounts == [2 * x for x in (20, 60, 1, 0.4, 0.4)] + [2 * 256, 20 - 1, 2 * 256, 60 - 2]
    for row in rows.values():
        assert row["rate"] == pytest.approx(row["amount"] / row["seconds"])
    for name in STAGES:
        assert rows[name]["seconds"] > 0  # the parts are differences, which a busy machine can turn over
        assert rows[name]["times_faster"] == pytest.approx(rows[name]["their_seconds"] / rows[name]["seconds"])
        assert rows[name]["compile_seconds"] >= 0
    for kind in ("seconds", "their_seconds"):
        assert rows["whole"][kind] == pytest.approx(sum(rows[name][kind] for name in STAGES[:-1]))
    for name in ["fine", *PARTS]:
        assert rows[name]["share_of_limit"] == pytest.approx(rows[name]["least_seconds"] / rows[name]["seconds"])


def test_the_machine_is_described(report):
    numbers, _ = report
    assert numbers["shape"] == {"name": "tiny", "dtype": "float32"} | bench.SHAPES["tiny"]
    assert numbers["versions"]["jax"] == jax.__version__
    assert numbers["versions"]["torch"] == torch.__version__
    assert numbers["limits"]["read"] > 0
    assert list(numbers["limits"]["products"]) == ["2048 x 2048 x 2048", "256 x 32 x 128"]
    processes = ["bark_jax.load", "BarkModel.from_pretrained", "the same, weights read"]
    assert [one["process"] for one in numbers["loading"]] == processes
    for one in numbers["loading"]:
        assert one["seconds"] > 0
        assert one["peak_bytes"] >= one["imports_peak_bytes"] > 2**20


def test_the_table_has_every_row(report):
    _, lines = report
    for heading, names in (("in a fresh process", ["bark_jax.load", "BarkModel"]), ("batch of 2", STAGES + PARTS)):
        top = next(i for i, line in enumerate(lines) if line.startswith(heading))
        assert [line[: len(name)] for line, name in zip(lines[top + 1 :], names)] == names
    stages = lines[top : top + 1 + len(STAGES)]
    assert len({len(line) for line in stages}) == 1
    assert stages[0].endswith("transformers s  times faster")


def test_table():
    rows = [["a", 1234.5, None], ["longer", 0.01234, "two words"]]
    assert bench.table("", "seconds", "note", rows=rows) == [
        "        seconds       note",
        "a         1,234",
        "longer   0.0123  two words",
    ]


# ---------------------------------------------------------------------------------------------
# What is counted, for the small shape by hand
# ---------------------------------------------------------------------------------------------

D, L = 768, 12
KERNELS = L * 12 * D * D  # 3 d x d for queries, keys and values, d x d out, 4 d x d up and down
NORMS = (2 * L + 1) * D


def abstract(name: str, dtype=jnp.float32):
    network = weights.NETWORKS[name]
    cfg = network.read_config(bench.checkpoint_config(bench.SHAPES["small"])[network.config])
    return nnx.eval_shape(lambda: network.module(cfg, dtype=dtype, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(("dtype", "width"), [(jnp.float32, 4), (jnp.bfloat16, 2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_work_of_a_step(batch, dtype, width):
    assert KERNELS == 84_934_656
    work = bench.step_work(abstract("semantic", dtype), batch, scored=10_001, keys=300)
    keys_and_values = 2 * 300 * L * D * batch
    assert work.bytes == width * (KERNELS + NORMS + 10_001 * D + keys_and_values)
    assert work.operations == 2 * batch * (KERNELS + 10_001 * D) + 2 * 2 * 300 * L * D * batch


def test_work_of_a_prompt():
    work = bench.prompt_work(abstract("coarse_acoustics"), 3, 256)
    pairs = sum(range(1, 257))
    assert work.operations == 3 * (2 * 256 * KERNELS + 4 * pairs * L * D)
    assert work.bytes == 4 * (KERNELS + NORMS)


def test_work_of_a_window():
    work = bench.window_work(abstract("fine_acoustics"), 2)
    each = 2 * 1024 * (KERNELS + 1024 * D) + 4 * 1024 * 1024 * L * D
    assert work.operations == 6 * 2 * each
    assert work.bytes == 6 * 4 * (KERNELS + 2 * NORMS + 1024 * D)  # these norms have biases


def test_the_least_time_is_that_of_what_takes_longer():
    limits = bench.Limits(read=10.0, products={"large": 200.0, "small": 100.0})
    assert limits.least_seconds(bench.Work(operations=400, bytes=10)) == 2
    assert limits.least_seconds(bench.Work(operations=400, bytes=30)) == 3


@pytest.mark.parametrize("shape", ["small", "large"])
def test_published_shapes_have_the_published_number_of_weights(shape):
    """Of suno/bark-small and suno/bark, semantic model: tables, blocks, norms, head."""
    sizes = bench.SHAPES[shape]
    layers, d = sizes["num_layers"], sizes["hidden_size"]
    network = weights.NETWORKS["semantic"]
    cfg = network.read_config(bench.checkpoint_config(sizes)[network.config])
    model = nnx.eval_shape(lambda: network.module(cfg, rngs=nnx.Rngs(0)))
    count = (129_600 + 1_024 + 10_048) * d + 12 * layers * d * d + (2 * layers + 1) * d
    assert bench.parameter_count(model) == count


# ---------------------------------------------------------------------------------------------
# The comparison is between equals
# ---------------------------------------------------------------------------------------------


def test_both_sides_load_the_same_weights(tmp_path):
    """Greedy tokens of both are equal. (Later ones need not be: theirs may lie past the end of codebook 1.)"""
    bench.write_checkpoint(bench.SHAPES["tiny"], tmp_path)
    bark, theirs = bark_jax.load(tmp_path), bench.their_stages(bench.their_model(tmp_path), 12)
    prompts = [bench.semantic.prompt(np.array([10_050, 10_060]), None, bench.TOKENS)]
    spoken = theirs["semantic"](prompts)
    np.testing.assert_array_equal(
        bench.semantic.generate(
            bark.semantic_model, bench.TOKENS, prompts, [0], bench.Controls.check(0), [12], early_stop=False
        ),
        spoken,
    )
    coarse = theirs["coarse"](spoken[:, :4])
    np.testing.assert_array_equal(bark.semantic_to_coarse(list(spoken[:, :4]), temperature=0), coarse)
    codes = theirs["fine"](coarse)
    np.testing.assert_array_equal(codes[:, :2], coarse)
    np.testing.assert_allclose(bark.decode(list(codes)), theirs["codec"](codes), atol=1e-5)


def test_importing_it_imports_no_torch():
    code = "import sys, bark_jax.bench; assert not {'torch', 'transformers'} & sys.modules.keys()"
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
    message = rf"--against needs {' and '.join(missing)}: pip install bark-jax\[test\]"
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
        bench.probe("1 / 0")
