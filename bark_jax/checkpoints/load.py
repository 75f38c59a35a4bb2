"""Load networks: match the tensors of a checkpoint with the parameters of modules, one to one, and fill these.

    Checkpoint ──load_networks──▶ the four networks, at once or in turn

Loading is strict both ways: what is missing, left over, there twice or of the wrong shape is reported all
at once, before anything is read. After that each tensor is read, transformed and put on the device before
the next one: there is never a second copy of the weights.
"""

import dataclasses
import functools
import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from bark_jax import parallel
from bark_jax.checkpoints.configs import read_token_config
from bark_jax.checkpoints.resolve import Checkpoint
from bark_jax.checkpoints.tables import NETWORKS, Network, Row, Table, is_ignored, rename
from bark_jax.codec import CodecConfig
from bark_jax.fine import FineConfig
from bark_jax.gpt import GPTConfig
from bark_jax.tokens import TokenConfig

# ---------------------------------------------------------------------------------------------
# One network
# ---------------------------------------------------------------------------------------------


@runtime_checkable
class Tensor(Protocol):
    """What a table can be filled from: a shape, a dtype, and an array on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def read(self) -> np.ndarray: ...


Tensors = Mapping[str, Tensor]


SHOWN_PROBLEMS = 200
Module = TypeVar("Module", bound=nnx.Module)
Make = Callable[..., Module]  # called with `rngs`


class OneKey(nnx.Rngs):
    """Give the same key to every initialiser of an abstract module, whose values nobody computes.

    To count keys takes a third of the time in which the module is traced.
    """

    def params(self) -> Key[Array, ""]:
        return jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class LoadPlan:
    """Hold an abstract module, which has no memory yet, and the tensors that will fill it."""

    graphdef: nnx.GraphDef
    parameters: dict[str, tuple[tuple, Any]]  # path -> its parts, and the abstract variable
    table: Table
    tensors: Tensors

    @classmethod
    def make(cls, make: Make[Any], table: Table, tensors: Tensors) -> "LoadPlan":
        graphdef, state = nnx.split(nnx.eval_shape(lambda: make(rngs=OneKey(0))))
        parameters = {".".join(map(str, parts)): (parts, variable) for parts, variable in nnx.to_flat_state(state)}
        return cls(graphdef, parameters, table, tensors)


def find_problems(plan: LoadPlan) -> list[str]:
    """Say everything that keeps tensors and parameters from matching one to one, a line for each.

    Only tensors that must equal others are read.
    """
    problems = []
    table, tensors = plan.table, plan.tensors
    found: dict[str, str] = {}  # the table's name -> the checkpoint's
    for key in tensors:
        name = rename(key)
        if is_ignored(name):
            continue
        if name in found:
            problems.append(f"there twice: {found[name]} and {key}")
        found[name] = key

    for row in table.rows:
        missing = [source for source in row.sources if source not in found]
        problems += [f"missing: {source}, for {row.target}" for source in missing]
        if row.target not in plan.parameters:
            problems.append(f"without a place: {row.target} is no parameter of the module")
        elif not missing:
            sources = {found[source]: tensors[found[source]] for source in row.sources}
            problems += shape_problems(row, sources, plan.parameters[row.target][1].shape)
    filled = {row.target for row in table.rows}
    problems += [f"not filled: {path}, the table has no row for it" for path in plan.parameters if path not in filled]

    known = {source for row in table.rows for source in row.sources} | table.ties.keys()
    problems += [f"unknown: {key}" for name, key in found.items() if name not in known]
    for name, other in table.ties.items():
        if name in found and other in found:
            x, y = tensors[found[name]], tensors[found[other]]
            if x.shape != y.shape or not np.array_equal(x.read(), y.read()):
                problems.append(f"not tied: {found[name]} differs from {found[other]}")
    return problems


def shape_problems(row: Row, sources: Tensors, expected: tuple[int, ...]) -> list[str]:
    """Put arrays of the sources' shapes, which take no memory, through the transform."""
    described = ", ".join(f"{key} {x.dtype} {x.shape}" for key, x in sources.items())
    if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in sources.values()):
        return [f"no floating numbers: {described}, for {row.target}"]
    try:
        got = row.transform.forward(*(np.broadcast_to(np.ones((), x.dtype), x.shape) for x in sources.values())).shape
    except ValueError as error:
        return [f"shapes that do not go together: {described}, for {row.target} {expected} ({error})"]
    return [f"wrong shape: {described} gives {got}, {row.target} is {expected}"] if got != expected else []


def check_problems(problems: Mapping[str, list[str]], source: str) -> None:
    """Raise one ValueError with all the problems of all the networks, if there are any."""
    lines = [f"  {network}: {problem}" for network, found in problems.items() for problem in found]
    if lines:
        raise ValueError(
            f"{source} is not what its config describes, in {len(lines)} point{'s' * (len(lines) > 1)}:\n"
            + "\n".join(lines[:SHOWN_PROBLEMS])
            + f"\n  and {len(lines) - SHOWN_PROBLEMS} more" * (len(lines) > SHOWN_PROBLEMS)
            + "\nTake config and weights from the same source, and fetch what is broken again"
        )


def fill(plan: LoadPlan, dtype: DTypeLike | None = None, mesh: Mesh | None = None) -> Any:
    """Read, transform and place tensor after tensor; return the module. `find_problems` has found none.

    Parameters get `dtype`, or else the one that they have in the module; on a mesh each device gets its parts.
    """
    found = {rename(key): tensor for key, tensor in plan.tensors.items()}
    filled = []
    for row in plan.table.rows:
        parts, variable = plan.parameters[row.target]
        value = row.transform.forward(*(found[source].read() for source in row.sources))
        value = np.ascontiguousarray(value.astype(dtype or variable.dtype, copy=False))
        filled.append((parts, variable.replace(jax.block_until_ready(parallel.put(value, row.target, mesh)))))
    return nnx.merge(plan.graphdef, nnx.from_flat_state(filled))


def load_module(make: Make[Module], table: Table, tensors: Tensors, dtype: DTypeLike | None = None) -> Module:
    """Build a module from a checkpoint's tensors; `dtype` is that of all parameters.

    `make` is called with `rngs` to build the module abstractly: no initial value is ever computed.

    Raises:
        ValueError: tensors and parameters do not match one to one; all that is wrong is in the message.
    """
    plan = LoadPlan.make(make, table, tensors)
    check_problems({"network": find_problems(plan)}, "the checkpoint")
    return fill(plan, dtype)


# ---------------------------------------------------------------------------------------------
# All networks of a checkpoint
# ---------------------------------------------------------------------------------------------


def plan_networks(checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32) -> dict[str, LoadPlan]:
    """Plan for each network how its tensors fill it: the transformers in `dtype`, the codec in float32.

    Raises:
        ValueError: tensors and parameters do not match; all that is wrong, in all four, is in the message.
    """
    plans = {}
    for name, make in makers(checkpoint, dtype).items():
        table = NETWORKS[name].table(network_config(checkpoint, NETWORKS[name]))
        plans[name] = LoadPlan.make(make, table, checkpoint.tensors_of(name))
    problems = {name: find_problems(one) for name, one in plans.items()}
    problems["no network"] = [f"unknown: {key}" for key in checkpoint.tensors if key.split(".")[0] not in NETWORKS]
    tokens = read_token_config(checkpoint.generation_config)
    problems["ids"] = id_problems(tokens, *(network_config(checkpoint, network) for network in NETWORKS.values()))
    check_problems(problems, checkpoint.name)
    return plans


def makers(checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32) -> dict[str, Callable[..., Any]]:
    """Return how to make each network, called with `rngs`. Raises ValueError for a config out of range."""
    return {name: network.maker(network_config(checkpoint, network), dtype) for name, network in NETWORKS.items()}


def id_problems(
    tokens: TokenConfig, semantic: GPTConfig, coarse: GPTConfig, fine: FineConfig, codec: CodecConfig
) -> list[str]:
    """Say where ids and lengths do not fit the networks: JAX would read another row or place."""
    semantic_length = tokens.max_input_semantic_length + tokens.max_new_tokens
    ids = (
        ("semantic_infer_token", tokens.semantic_infer_token, semantic.input_vocab_size, "semantic"),
        ("text_pad_token", tokens.text_pad_token, semantic.input_vocab_size, "semantic"),
        ("eos_token_id", tokens.eos_token_id, semantic.output_vocab_size, "semantic"),
        ("coarse_infer_token", tokens.coarse_infer_token, coarse.input_vocab_size, "coarse"),
        ("coarse_semantic_pad_token", tokens.coarse_semantic_pad_token, coarse.input_vocab_size, "coarse"),
        ("the last coarse id", tokens.coarse_offset(tokens.n_coarse_codebooks) - 1, coarse.output_vocab_size, "coarse"),
        ("the pad of codes", tokens.fine_pad_token, fine.input_vocab_size, "fine"),
    )
    lengths = (
        ("max_input_semantic_length + max_new_tokens", semantic_length, semantic.block_size, "semantic"),
        ("the longest coarse window", tokens.longest_coarse_window, coarse.block_size, "coarse"),
        ("max_fine_input_length", tokens.max_fine_input_length, fine.block_size, "fine"),
    )
    equals = (
        ("n_fine_codebooks", tokens.n_fine_codebooks, fine.n_codes_total, "the fine model"),
        ("codebook_size", tokens.codebook_size, codec.codebook_size, "the codec"),
        ("coarse_rate_hz", tokens.coarse_rate_hz, codec.frame_rate, "the codec"),
        ("sample_rate", tokens.sample_rate, codec.sampling_rate, "the codec"),
    )
    problems = [f"{name} is {x}, the {stage} model has ids 0..{n - 1}" for name, x, n, stage in ids if x >= n]
    problems += [f"{name} is {x}, the {stage} model has {n} positions" for name, x, n, stage in lengths if x > n]
    return problems + [f"{name} is {x}, {owner} has {n}" for name, x, n, owner in equals if x != n]


def network_config(checkpoint: Checkpoint, network: Network) -> Any:
    """Read the config of one network. Raises ValueError, with the section's name, if it is out of range."""
    try:
        return network.read_config(checkpoint.config[network.config])
    except ValueError as error:
        raise ValueError(f"{network.config} of {checkpoint.name}: {error}") from error


def load_networks(
    checkpoint: Checkpoint, dtype: DTypeLike = jnp.float32, *, mesh: Mesh | None = None, low_memory: bool = False
) -> Mapping[str, Any]:
    """Load the networks: `semantic`, `coarse_acoustics`, `fine_acoustics` in `dtype`, `codec_model` in float32.

    Args:
        mesh: of devices over which the weights are split.
        low_memory: load each when it is asked for, and drop the one before.

    Raises:
        ValueError: as `plan_networks`; or the mesh cannot share the heads.
    """
    parallel.check_heads({name: network_config(checkpoint, network) for name, network in NETWORKS.items()}, mesh)
    plans = plan_networks(checkpoint, dtype)
    loaders = {name: functools.partial(fill, one, mesh=mesh) for name, one in plans.items()}
    return OneAtATime(loaders) if low_memory else {name: load_one() for name, load_one in loaders.items()}


class OneAtATime(Mapping[str, nnx.Module]):
    """Hold one of several networks: the one asked for is loaded, after the one before it is dropped.

    Dropped is what nobody else holds: who keeps a network keeps its memory.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], nnx.Module]]):
        self.loaders = loaders
        self.held: dict[str, nnx.Module] = {}

    def __getitem__(self, name: str) -> nnx.Module:
        if name not in self.held:
            load_one = self.loaders[name]
            self.held.clear()
            gc.collect()  # nnx.split and nnx.merge leave cycles that keep the arrays
            self.held[name] = load_one()
        return self.held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaders)

    def __len__(self) -> int:
        return len(self.loaders)
