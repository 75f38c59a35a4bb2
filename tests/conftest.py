"""Set up every test: exact float32, strict types of arrays, shapes checked, threads shared fairly."""

import ctypes
import dataclasses
import functools
import gc
import importlib.util
import os
from pathlib import Path

# Compiled programs are kept from run to run, small ones too, also those of notebooks and of processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "bark-jax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jax
import jaxtyping

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_dtype_promotion", "strict")
if importlib.util.find_spec("torch"):
    import torch

    torch.set_num_threads(1)

# From here on the shapes in the package's signatures are checked at every call.
jaxtyping.install_import_hook("bark_jax", "typecheck.typechecker")

import hf  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pytest  # noqa: E402

import bark_jax  # noqa: E402
from bark_jax.tokens import TokenConfig  # noqa: E402

# The files that take longest, in this order: no worker should begin one of them when the others have finished.
LONGEST = (
    "test_train.py",
    "test_bench.py",
    "test_nano.py",
    "test_colab.py",
    "07_full_generation_on_tpu.ipynb",
    "08_training_a_small_bark.ipynb",
    "test_browser.py",
    "test_hosts.py",
    "test_parallel.py",
    "test_pipeline.py",
    "test_bulk.py",
    "test_main.py",
)


class Memory:
    """How large a worker may grow before it drops compiled programs."""

    most = 3 * 2**29
    step = 2**29  # of growth since the last drop, before the next one


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold the same random weights three times: as plain arrays, loaded by us, and in transformers."""

    tiny: hf.TinyBark
    ours: bark_jax.Bark
    heads: int
    tokens: TokenConfig

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return self.tiny.weights

    @property
    def theirs(self):
        """Return the model of transformers; skip the test where torch is missing."""
        return self.tiny.torch


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Make pairs; the arguments are those of `hf.tiny_bark`, and the same ones give the same pair."""

    @functools.cache
    def make(tokens: TokenConfig = hf.TOKENS, heads: int = 2, **sizes) -> Pair:
        tiny = hf.tiny_bark(tokens, heads=heads, **sizes)
        folder = hf.save(tiny, tmp_path_factory.mktemp("checkpoint"), tokens=tokens)
        return Pair(tiny, bark_jax.load(folder, dtype="float32"), heads, tokens)

    return make


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> str:
    """Name a folder of small random weights, in the layout of the published ones."""
    return str(hf.save(hf.tiny_bark(), tmp_path_factory.mktemp("checkpoint")))


COMPILED: list[str] = []


def listen(event: str, duration: float, **details) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(str(details))


jax.monitoring.register_event_duration_secs_listener(listen)


@pytest.fixture
def compilations():
    """List what XLA compiles, or takes from the persistent cache, from here on."""
    COMPILED.clear()
    return COMPILED


@pytest.fixture(scope="module")
def quick_compilation():
    """Compile without most optimizations: for tests whose programs are large and run a few times."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def bounded_memory():
    """Drop compiled programs, and give their memory back, once a worker has grown."""
    yield
    memory = psutil.Process().memory_info
    if memory().rss > Memory.most:
        jax.clear_caches()
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # of glibc
            libc.malloc_trim(0)
        Memory.most = max(Memory.most, memory().rss + Memory.step)


@pytest.fixture(autouse=True, scope="module")
def programs_of_a_file():
    """Drop the programs that a file compiled."""
    yield
    jax.clear_caches()
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter) -> None:
    """Say in one line what was not compared because torch is missing."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if hf.NO_TORCH in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests or files skipped: {hf.NO_TORCH}")
