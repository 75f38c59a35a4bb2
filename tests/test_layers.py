"""The package as layers: nothing imports upwards or in a circle, and nothing private of jax or any torch."""

import ast
import graphlib
from pathlib import Path

import pytest

import bark_jax

PACKAGE = Path(bark_jax.__file__).parent
FILES = {
    "bark_jax." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
} | {"bark_jax": PACKAGE / "__init__.py"}
FILES.pop("bark_jax.__init__")
LONGEST = 360  # lines of a file

# From the lowest on: a file imports from its own layer and those above it in this list. A folder is one entry.
LAYERS = (
    ("tokens", "files", "console", "limits", "journey", "platforms", "matmul", "parallel", "codec_layers"),
    ("options", "tokenizer_files", "numpy_files", "text", "sound", "recording", "voices", "gpt", "sampling", "codec"),
    ("inputs", "semantic", "coarse", "fine", "sentences", "describe"),
    ("checkpoints",),
    ("units", "speech", "long_form", "programs"),
    ("stages",),
    ("pipeline",),
    ("bark_jax",),  # `import bark_jax` gives what users call
    ("notebook", "bulk"),
    ("bench", "train"),
    ("cli",),
    ("__main__",),
)
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
# The comparison and two judges use torch, in functions only: `import bark_jax` and all that users call never do.
TORCH_ALLOWED = {"bark_jax.bench.transformers_baseline", "bark_jax.train.judges", "bark_jax.train.speakers"}


def place(module: str) -> str:
    """Return the entry of `LAYERS` that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def imports(module: str) -> set[str]:
    """List what a file imports anywhere, as whole names: modules where there is one, or attributes of them."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(module: str) -> set[str]:
    """List the files of the package that a file imports."""
    found = set()
    for name in imports(module):
        if name.split(".")[0] == "bark_jax" and not name.startswith("bark_jax.assets"):
            found.add(next(n for n in (name, name.rpartition(".")[0], "bark_jax") if n in FILES))
    return found - {module}


def test_every_file_has_a_layer():
    assert {place(module) for module in FILES} <= set(LAYER)


@pytest.mark.parametrize("module", FILES)
def test_nothing_imports_upwards(module):
    upwards = [other for other in own(module) if LAYER[place(other)] > LAYER[place(module)]]
    assert not upwards


def test_nothing_imports_in_a_circle():
    list(graphlib.TopologicalSorter({module: own(module) for module in FILES}).static_order())


@pytest.mark.parametrize("module", FILES)
def test_no_private_api_and_no_torch(module):
    for name in imports(module):
        assert not name.startswith(("jax._", "flax.nnx._")), name
        if name.split(".")[0] == "torch":
            assert module in TORCH_ALLOWED, name


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST
