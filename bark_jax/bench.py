"""Measure this machine: how long every stage takes, and how near that is to what the hardware allows.

In:  a published shape, filled with random weights; seconds of sound; sizes of batches.
Out: a table on standard output, and a JSON file on request.

What the hardware allows is measured in the same run, by a sum over a large array and by matrix products.
Whatever reads so many bytes and does so many operations takes at least

    max(bytes / bytes read a second, operations / operations a second)

One step of decoding reads all weights for one token a row: its bytes count. Reading a prompt and filling
a window of the fine stage put many positions through the same weights: there the operations count.

`transformers` loads the same folder to compare with; only that comparison imports torch.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bark_jax import checkpoints, fine, semantic, text, weights
from bark_jax.codec import CodecConfig
from bark_jax.convert import write_safetensors
from bark_jax.describe import parameter_count
from bark_jax.files import new_file, refuse_existing
from bark_jax.fine import FineConfig, FineModel
from bark_jax.gpt import GPT, GPTConfig
from bark_jax.pipeline import DTYPES, Bark, load
from bark_jax.sampling import Controls
from bark_jax.table import cell, table
from bark_jax.tokens import TokenConfig, flatten_codebooks, unflatten_codebooks

SHAPES = {
    "small": {"num_layers": 12, "num_heads": 12, "hidden_size": 768},
    "large": {"num_layers": 24, "num_heads": 16, "hidden_size": 1024},
    "tiny": {"num_layers": 2, "num_heads": 2, "hidden_size": 32},  # to test with; not published
}
COARSE_VOCABULARY, FINE_VOCABULARY = 12_096, 1_056  # as published: a few more ids than are used
TOKENS = TokenConfig()
TEXT = "Hello, my dog is cute."  # short or long, the prompt has one length

READ_BYTES, READ_ROW_BYTES = 2**28, 2**15  # far more than a cache holds, and the rows that are summed
SQUARE = 2048  # rows and columns of a large matrix product
TRIES = 7  # of which the best counts, for what the device does at best
THEIR_REPEATS = 2  # they are slow, and steady


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Hold how long a part of the work takes, in seconds (the median), and how much comes out of it."""

    stage: str
    amount: float
    unit: str  # of the rate
    seconds: float
    compile_seconds: float | None = None  # the first call, less the median of the later ones
    least_seconds: float | None = None  # what the device allows
    their_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Add to the fields what follows from them."""
        return dataclasses.asdict(self) | {
            "rate": self.amount / self.seconds,
            "share_of_limit": self.least_seconds and self.least_seconds / self.seconds,
            "times_faster": self.their_seconds and self.their_seconds / self.seconds,
        }


def clock(run: Callable[..., Any], *inputs: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes until its result is there, and the result."""
    began = time.perf_counter()
    result = jax.block_until_ready(run(*inputs))
    return time.perf_counter() - began, result


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------
# What the device allows
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Work:
    """Count what has to be done, however it is done: floating-point operations, and bytes to read."""

    operations: float
    bytes: float

    @classmethod
    def of(cls, model: GPT | FineModel, positions: int, pairs: float, scored: int = 0, keys: float = 0) -> "Work":
        """Count for one pass of all rows together.

        A multiplication and an addition for each weight of a kernel at each of the new `positions`, and
        for each number of a key and of a value where a query meets them, in `pairs`. The weights of the
        blocks are read once, the head as far as it scores `scored` ids, and `keys` of the cache with
        their values. Embeddings do not count: of their tables a few rows are read.
        """
        layers, width = model.cfg.num_layers, model.cfg.hidden_size
        leaves = jax.tree.leaves(nnx.state(model.blocks))
        kernels = sum(leaf.size for leaf in leaves if leaf.ndim == 2)
        read = parameter_count(model.blocks) + parameter_count(model.norm) + (scored + 2 * layers * keys) * width
        operations = 2 * positions * (kernels + scored * width) + 4 * layers * width * pairs
        return cls(operations, leaves[0].dtype.itemsize * read)


def prompt_work(model: GPT, batch: int, length: int) -> Work:
    """Count for reading a prompt: no position sees those behind it, none is scored."""
    return Work.of(model, batch * length, batch * length * (length + 1) / 2)


def step_work(model: GPT, batch: int, scored: int, keys: float) -> Work:
    """Count for one step of decoding, with so many filled places in the cache of each row."""
    return Work.of(model, batch, batch * keys, scored, batch * keys)


def window_work(model: FineModel, batch: int) -> Work:
    """Count for filling a window: a pass for each codebook that is not given; every frame sees every other."""
    t, passes = TOKENS.max_fine_input_length, TOKENS.n_fine_codebooks - TOKENS.n_coarse_codebooks
    one = Work.of(model, batch * t, batch * t * t, TOKENS.codebook_size)
    return Work(passes * one.operations, passes * one.bytes)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Hold what the device does in a second at best: bytes read, and operations of matrix products by their size."""

    read: float
    products: dict[str, float]

    def least_seconds(self, work: Work) -> float:
        return max(work.operations / max(self.products.values()), work.bytes / self.read)


def measure_limits(width: int, dtype: jnp.dtype) -> Limits:
    """Time sums over rows, and matrix products: a large one, and that of a prompt and a block's widest kernel."""

    def rate(amount: float, run: Callable[..., Any], *shapes: tuple[int, int]) -> float:
        inputs = [jnp.ones(shape, dtype) for shape in shapes]
        clock(run, *inputs)  # compiles
        return amount / min(clock(run, *inputs)[0] for _ in range(TRIES))

    larger = 1 if jax.default_backend() == "cpu" else 4  # an accelerator is done with the small ones in no time
    rows = (larger * READ_BYTES // READ_ROW_BYTES, READ_ROW_BYTES // dtype.itemsize)
    read = rate(larger * READ_BYTES, jax.jit(functools.partial(jnp.sum, axis=1)), rows)
    sizes = ((larger * SQUARE,) * 3, (TOKENS.max_input_semantic_length, width, 4 * width))
    products = {f"{m} x {k} x {n}": rate(2 * m * k * n, jax.jit(jnp.matmul), (m, k), (k, n)) for m, k, n in sizes}
    return Limits(read, products)


# ---------------------------------------------------------------------------------------------
# A checkpoint of random weights, and loading it
# ---------------------------------------------------------------------------------------------


def checkpoint_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """Make a Hugging Face `config.json` of Bark's vocabularies and codec, with transformers of such sizes."""
    semantic_sizes = (TOKENS.semantic_infer_token + 1, TOKENS.text_encoding_offset)
    fine_extras = {"output_vocab_size": FINE_VOCABULARY, "tie_word_embeddings": True}
    sections = {
        "semantic": dataclasses.asdict(GPTConfig(*semantic_sizes, **sizes)),
        "coarse_acoustics": dataclasses.asdict(GPTConfig(COARSE_VOCABULARY, COARSE_VOCABULARY, **sizes)),
        "fine_acoustics": dataclasses.asdict(FineConfig(FINE_VOCABULARY, **sizes)) | fine_extras,
        "codec_model": CodecConfig().to_dict(),
    }
    named = {weights.NETWORKS[name].config: {"model_type": name} | section for name, section in sections.items()}
    return {"model_type": "bark", "architectures": ["BarkModel"]} | named


def write_checkpoint(sizes: dict[str, Any], folder: Path) -> None:
    """Write random weights as a folder in Hugging Face's layout, which both sides load."""
    config = checkpoint_config(sizes)
    for name, content in ((checkpoints.CONFIG, config), (checkpoints.GENERATION_CONFIG, TOKENS.to_dict())):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    text.embedded_tokenizer().save(str(folder / checkpoints.TOKENIZER_FILES[0]))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, network in weights.NETWORKS.items():
        cfg = network.read_config(config[network.config])
        plan = weights.Plan.make(functools.partial(network.module, cfg), network.table(cfg), {})
        for row in plan.table.rows:
            for key, shape in zip(row.sources, source_shapes(row, plan.parameters[row.target][1].shape), strict=True):
                tensors[f"{name}.{key}"] = random_weights(rng, key, shape)
    write_safetensors(tensors, folder / checkpoints.WEIGHTS[0], None)


def source_shapes(row: weights.Row, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of the tensors of which a row of a table makes a parameter."""
    if row.transform is weights.transpose:
        return [shape[::-1]]
    if row.transform is weights.stack:
        return [shape[1:]] * len(row.sources)
    if row.transform in (weights.fold_conv, weights.fold_up_conv):
        size, c_in, c_out = shape
        first, second = (c_out, c_in) if row.transform is weights.fold_conv else (c_in, c_out)
        return [(first, 1, 1), (first, second, size)]
    return [shape] * len(row.sources)


def random_weights(rng: np.random.Generator, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw weights as they are before training; scales are 1, biases 0."""
    if math.prod(shape) == max(shape):
        return np.full(shape, "bias" not in key, np.float32)
    return np.float32(0.02) * rng.standard_normal(shape, np.float32)


PROBE = """
import sys, time
{imports}

def peak():
    if sys.platform == "linux":  # where getrusage counts the memory of the parent too
        return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

imported, began = peak(), time.perf_counter()
kept = {load}
print(time.perf_counter() - began, peak(), imported)
"""


def measure_loading(folder: Path, dtype: str | None, *, compare: bool, repeats: int) -> list[dict[str, Any]]:
    """Load the folder in fresh processes, from files that the system has in its cache: medians.

    `transformers` may only map the file, and read a weight when it is first used: so all are read, too.
    """
    path, our_imports = str(folder), "import jax, bark_jax; jax.devices()"
    programs = {"bark_jax.load": (our_imports, f"bark_jax.load({path!r}, dtype={dtype!r})")}
    if compare:
        their_imports = "import torch; from transformers import BarkModel"
        call = f"BarkModel.from_pretrained({path!r}, dtype=torch.float32)"
        programs["BarkModel.from_pretrained"] = (their_imports, call)
        programs["the same, weights read"] = (their_imports, f"[float(x.sum()) for x in {call}.parameters()]")
    found = []
    for name, (imports, call) in programs.items():
        runs = [probe(PROBE.format(imports=imports, load=call)) for _ in range(repeats)]
        medians = zip(("seconds", "peak_bytes", "imports_peak_bytes"), map(statistics.median, zip(*runs)))
        found.append({"process": name, **dict(medians)})
    return found


def probe(program: str) -> list[float]:
    """Run a program in a process of its own and return the numbers it prints. Raises ValueError if it fails."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # this process may hold the accelerator
    command, where = [sys.executable, "-c", program], Path(__file__).parents[1]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"a process that loads the checkpoint failed ({reason}): is there memory for it?")
    return [float(word) for word in done.stdout.split()]


# ---------------------------------------------------------------------------------------------
# The stages
# ---------------------------------------------------------------------------------------------

Stages = dict[str, Callable[[Any], Any]]  # each takes what the one before it returned: the rows of a batch


def our_stages(bark: Bark, n: int) -> Stages:
    """Return the stages, the first of which draws exactly n semantic tokens a row."""

    def to_semantic(prompts):
        controls, seeds = Controls.check(TOKENS.semantic_temperature), list(range(len(prompts)))
        limits = [n] * len(prompts)
        return semantic.generate(bark.semantic_model, TOKENS, prompts, seeds, controls, limits, early_stop=False)

    later = {"coarse": bark.semantic_to_coarse, "fine": bark.coarse_to_fine, "codec": bark.decode}
    return {"semantic": to_semantic, **later}


def their_stages(model: Any, n: int) -> Stages:
    """Return the stages of `transformers`, which take and return what ours do; the first two are greedy."""
    import torch
    from transformers.models.bark import generation_configuration_bark as configs

    ids, greedy = model.generation_config, {"do_sample": False, "temperature": 1.0, "top_k": None}
    exactly = {"min_new_tokens": n, "max_new_tokens": n}
    spoken = configs.BarkSemanticGenerationConfig(**ids.semantic_config | greedy | exactly)
    heard = configs.BarkCoarseGenerationConfig(**ids.coarse_acoustics_config | greedy)
    refined = configs.BarkFineGenerationConfig(**ids.fine_acoustics_config)

    def batch(rows):
        return torch.tensor(np.stack(rows), dtype=torch.long)

    def to_semantic(prompts):
        return model.semantic.generate(batch(prompts)[:, 0] - TOKENS.text_encoding_offset, spoken).numpy()

    def to_coarse(rows):
        flat = model.coarse_acoustics.generate(batch(rows), spoken, heard, ids.codebook_size).numpy()
        return [unflatten_codebooks(row, TOKENS) for row in flat]

    def to_fine(rows):
        flat = batch([flatten_codebooks(row, TOKENS) for row in rows])
        return model.fine_acoustics.generate(flat, spoken, heard, refined, ids.codebook_size).numpy()

    def to_samples(rows):
        return model.codec_decode(batch(rows)).numpy()

    stages = {"semantic": to_semantic, "coarse": to_coarse, "fine": to_fine, "codec": to_samples}
    return {name: torch.inference_mode()(stage) for name, stage in stages.items()}


def their_model(folder: Path) -> Any:
    """Load the folder with `transformers`, in float32, to run on all cores of the CPU from now on."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()  # it misses causal masks, which it makes, and needless statistics
    torch.set_num_threads(os.cpu_count() or 1)
    return transformers.BarkModel.from_pretrained(folder, dtype=torch.float32).eval()


def run_passes(prompts: list[np.ndarray], ours: Stages, theirs: Stages, repeats: int) -> tuple[dict, dict, dict]:
    """Run all stages once, to compile them, and then several times, taking turns with theirs.

    Returns lists of the seconds of our stages and of theirs, and what ours returned.
    """
    our_seconds, their_seconds, made = {name: [] for name in ours}, {name: [] for name in ours}, {}
    for number in range(1 + repeats):
        say(f"batch of {len(prompts)}: " + (f"pass {number} of {repeats}" if number else "compile"))
        rows = prompts
        for name, stage in ours.items():
            seconds, made[name] = clock(stage, rows)
            our_seconds[name].append(seconds)
            if name in theirs and 0 < number <= THEIR_REPEATS:
                seconds, also = clock(theirs[name], rows)
                their_seconds[name].append(seconds)
                assert [row.shape for row in made[name]] == [row.shape for row in also], f"{name}: counts differ"
            rows = made[name]
    return our_seconds, their_seconds, made


def measure_stages(
    bark: Bark, prompts: list[np.ndarray], theirs: Any, n: int, limits: Limits, repeats: int
) -> tuple[list[Measurement], list[np.ndarray]]:
    """Measure each stage, and the whole, of n semantic tokens a row; return these tokens too."""
    if theirs:
        say(f"batch of {len(prompts)}: transformers warms up")
        functools.reduce(lambda rows, stage: stage(rows), their_stages(theirs, 1).values(), prompts)
    beside = their_stages(theirs, n) if theirs else {}
    ours, others, made = run_passes(prompts, our_stages(bark, n), beside, repeats)
    for seconds in (ours, others):
        seconds["whole"] = [sum(one) for one in zip(*seconds.values())]
    frames, sound = made["fine"][0].shape[1], sum(map(len, made["codec"])) / bark.codec.cfg.sampling_rate
    windows = fine.Windows(frames, 0, TOKENS.max_fine_input_length, TOKENS.max_fine_history_length).count
    least = {"fine": windows * limits.least_seconds(window_work(bark.fine_model, len(prompts)))}
    measured = []
    for name, amount, unit in (
        ("semantic", sum(row.size for row in made["semantic"]), "tokens/s"),
        ("coarse", sum(row.size for row in made["coarse"]), "tokens/s"),
        ("fine", windows * len(prompts), "windows/s"),
        ("codec", sound, "s of sound/s"),
        ("whole", sound, "x real time"),
    ):
        first, seconds = ours[name][0], statistics.median(ours[name][1:])
        other = statistics.median(others[name]) if others[name] else None
        measured.append(Measurement(name, amount, unit, seconds, max(0.0, first - seconds), least.get(name), other))
    return measured, made["semantic"]


def measure_decoding(
    stage: str, model: GPT, run: Callable[[int], Any], n: int, scored: int, limits: Limits, repeats: int
) -> list[Measurement]:
    """Tell prompt and steps apart, by runs of 1 and of n semantic tokens, which read the same prompt once."""
    runs = [(clock(run, 1), clock(run, n)) for _ in range(repeats)]
    short, long = (statistics.median(seconds for seconds, _ in column) for column in zip(*runs))
    (_, short_rows), (_, long_rows) = runs[0]
    batch, few, steps = len(short_rows), short_rows[0].size, long_rows[0].size - short_rows[0].size
    length = TOKENS.max_input_semantic_length
    keys = length + few + (1 + steps) / 2  # on average; a token sees itself
    prompt_least = limits.least_seconds(prompt_work(model, batch, length))
    steps_least = steps * limits.least_seconds(step_work(model, batch, scored, keys))
    prompt = short - few / steps * (long - short)
    return [
        Measurement(f"{stage} prompt", batch * length, "tokens/s", prompt, least_seconds=prompt_least),
        Measurement(f"{stage} steps", steps, "steps/s", long - short, least_seconds=steps_least),
    ]


def measure_batch(bark: Bark, theirs: Any, n: int, batch: int, limits: Limits, repeats: int) -> list[Measurement]:
    """Measure a batch of n semantic tokens a row, beside `theirs` if that is not None."""
    prompts = [semantic.prompt(text.encode(TEXT, bark.tokenizer, TOKENS), None, TOKENS)] * batch
    measured, spoken = measure_stages(bark, prompts, theirs, n, limits, repeats)
    say(f"batch of {batch}: prompts and steps apart")
    heard = min(n, TOKENS.max_semantic_history)  # behind these the coarse stage has to read its prompt anew

    def draw(n):
        return our_stages(bark, n)["semantic"](prompts)

    def draw_coarse(n):
        return bark.semantic_to_coarse([row[:n] for row in spoken])

    measured += measure_decoding("semantic", bark.semantic_model, draw, n, TOKENS.eos_token_id + 1, limits, repeats)
    measured += measure_decoding("coarse", bark.coarse_model, draw_coarse, heard, TOKENS.codebook_size, limits, repeats)
    return measured


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    command.add_argument("--shape", choices=SHAPES, default="small", help="sizes of the checkpoint (small)")
    command.add_argument("--dtype", choices=DTYPES, help="of the transformers (float32 on a CPU, else bfloat16)")
    command.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of sound in each row (3)")
    command.add_argument("--batch", default="1", metavar="N[,N]", help="rows, or several numbers of them: 1,4 (1)")
    command.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of which the median counts (3)")
    command.add_argument("--against", choices=("transformers",), help="the same on the CPU in float32, to compare")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    command.add_argument("--force", action="store_true", help="replace the file if it exists")


def run(options: argparse.Namespace) -> None:
    """Measure what the options say, and print the table.

    Raises:
        ValueError: an option is out of its range, or what to compare with is not installed.
        FileExistsError: the file for the numbers exists, and `force` is not set.
    """
    batches, n = check_options(options)
    sizes, compare = SHAPES[options.shape], options.against is not None
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is measured too
    with tempfile.TemporaryDirectory(prefix="bark-jax-bench-") as name:
        say(f"write random weights of the {options.shape} shape to {name}")
        folder = Path(name)
        write_checkpoint(sizes, folder)
        say("load them in fresh processes")
        loading = measure_loading(folder, options.dtype, compare=compare, repeats=options.repeats)
        bark = load(folder, dtype=options.dtype)
        theirs = their_model(folder) if compare else None
        say("measure what the device allows")
        dtype = bark.semantic_model.head.kernel.dtype
        limits = measure_limits(sizes["hidden_size"], dtype)
        rows = {batch: measure_batch(bark, theirs, n, batch, limits, options.repeats) for batch in batches}
    packages = ("jax", "jaxlib", "flax", *(("torch", "transformers") if compare else ()))
    report = {
        "shape": {"name": options.shape, **sizes, "dtype": dtype.name},
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "limits": dataclasses.asdict(limits),
        "loading": loading,
        "batches": {batch: [row.to_dict() for row in measured] for batch, measured in rows.items()},
    }
    print("\n".join(report_lines(report)))
    if options.json:
        with new_file(options.json, force=options.force) as file:
            file.write(json.dumps(report, indent=2).encode() + b"\n")


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
        raise ValueError(f"--against needs {' and '.join(missing)}: pip install bark-jax[test]")
    if options.json:
        refuse_existing(options.json, force=options.force)
    return [int(word) for word in words], round(options.seconds * rate)


def report_lines(report: dict[str, Any]) -> list[str]:
    """Lay out the report for reading."""
    read, products = report["limits"]["read"], report["limits"]["products"]
    rates = (f"{rate / 1e9:.0f} GFLOP/s for {size}" for size, rate in products.items())
    lines = [
        "shape     " + ", ".join(f"{key} {value}" for key, value in report["shape"].items()) + ", random weights",
        "device    " + report["device"],
        "versions  " + ", ".join(f"{key} {value}" for key, value in report["versions"].items()),
        f"memory    {read / 1e9:.1f} GB/s read, for the sums of the rows of a large array; best of {TRIES}",
        f"products  {', '.join(rates)}; best of {TRIES}",
        "",
    ]
    loading = [
        [process, s, peak / 2**20, bare / 2**20] for process, s, peak, bare in map(dict.values, report["loading"])
    ]
    lines += table("in a fresh process", "load s", "peak MiB", "of it imports", rows=loading)
    header = ("compile s", "run s", "rate", "of the limit", "transformers s", "times faster")
    header = header if "transformers" in report["versions"] else header[:-2]
    for batch, rows in report["batches"].items():
        cells = [[row["stage"], row["compile_seconds"], row["seconds"], *rate_cells(row)] for row in rows]
        lines += ["", *table(f"batch of {batch}", *header, rows=cells)]
    return lines


def rate_cells(row: dict[str, Any]) -> list[Any]:
    share = row["share_of_limit"]
    of_limit = share and f"{share:.0%}"
    return [f"{cell(row['rate'])} {row['unit']}", of_limit, row["their_seconds"], row["times_faster"]]
