"""Say what networks are made of, and what memory they take, without their weights.

`module_tree` prints like torch's `print(model)`: modules are listed by name, with the shapes and the number
of their parameters; equal neighbours in a list are printed once. `memory_table` counts bytes.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping

import jax
from flax import nnx

from bark_jax.console import table
from bark_jax.gpt import GPT

WIDTH = 66  # of a line without the count after it: a whole line fits into 80 columns


def parameter_count(module: nnx.Module) -> int:
    """Count the numbers in all parameters of a module."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module)))


def parameter_bytes(module: nnx.Module) -> int:
    """Count the bytes of all parameters of a module, each in its own dtype."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(nnx.state(module)))


def cache_bytes(model: GPT) -> int:
    """Count the bytes of the keys and values of one row that fills all positions."""
    cfg = model.cfg
    return 2 * cfg.num_layers * cfg.block_size * cfg.hidden_size * model.head.kernel.dtype.itemsize


def memory_table(networks: Mapping[str, Callable[..., nnx.Module]]) -> list[str]:
    """Return the lines of a table of what the networks take, each made by calling it with `rngs`.

    The last two rows are all of them together, and the largest: with low memory one is held at a time.
    """
    rows, sizes = [], []
    for name, make in networks.items():
        module = nnx.eval_shape(lambda make=make: make(rngs=nnx.Rngs(0)))
        dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(nnx.state(module))})
        cache = mebibytes(cache_bytes(module)) if isinstance(module, GPT) else ""
        sizes.append(parameter_bytes(module))
        rows.append([name, f"{parameter_count(module):,}", ", ".join(dtypes), mebibytes(sizes[-1]), cache])
    rows += [[name, "", "", mebibytes(size), ""] for name, size in (("all", sum(sizes)), ("one at a time", max(sizes)))]
    return table("network", "parameters", "dtype", "MiB", "KV cache of a row, MiB", rows=rows)


def mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f}"


def module_tree(label: str, make: Callable[..., nnx.Module]) -> list[str]:
    """Return the lines of the tree of the module that `make`, called with `rngs`, would build.

    Modules are listed in the order in which they are made, which is lost when a module is loaded.
    """
    lines: list[str] = []

    def build() -> None:
        lines.extend(_tree(label, make(rngs=nnx.Rngs(0)), 0))

    jax.eval_shape(build)  # no array is ever made
    return lines


def _tree(label: str, module: nnx.Module, indent: int) -> Iterator[str]:
    shapes, children = [], []
    for name, value in vars(module).items():
        if isinstance(value, nnx.Variable):
            shapes.append(f"{name} {tuple(value.shape)}")
        elif isinstance(value, nnx.List):
            children += [(f"{name}.{place}", child) for place, child in _runs(list(value))]
        elif isinstance(value, nnx.Module):
            children.append((name, value))
    margin = "  " * indent
    head = f"{margin}({label}): {type(module).__name__}({', '.join(shapes)}{'' if children else ')'}"
    *first, last = textwrap.wrap(head, WIDTH, subsequent_indent=f"{margin}    ", break_long_words=False)
    yield from first
    yield f"{last:{WIDTH}} {parameter_count(module):>13,}"
    for name, child in children:
        yield from _tree(name, child, indent + 1)
    if children:
        yield f"{margin})"


def _runs(modules: list[nnx.Module]) -> Iterator[tuple[str, nnx.Module]]:
    """Yield the first module of each run of modules with equal parameters, under its places in the list."""
    first = 0
    for place, module in enumerate(modules):
        following = modules[place + 1] if place + 1 < len(modules) else None
        if following is None or _shapes(following) != _shapes(module):
            repeats = f", {place - first + 1} times" if place > first else ""
            yield (f"{first}..{place}{repeats}" if repeats else str(place)), modules[first]
            first = place + 1


def _shapes(module: nnx.Module) -> list[tuple]:
    return [(path, leaf.shape) for path, leaf in nnx.to_flat_state(nnx.state(module))]
