"""Many devices: a mesh of them, which weights lie where, and batches that follow the weights.

In:  a mesh, data x model; weights by their paths; arrays with a row for each text.
Out: the same arrays, laid out over the devices.

    mesh 2x4              model 0     model 1     model 2     model 3
      data 0, rows 0..3   [heads 0]   [heads 1]   [heads 2]   [heads 3]    each line of devices holds all weights
      data 1, rows 4..7   [heads 0]   [heads 1]   [heads 2]   [heads 3]    once, and works on its own rows

More places on `data` take more texts at once; with more on `model` each device holds and reads less.
No module knows of this. A compiled function is split by XLA according to where its inputs lie, and the
devices exchange what passes between the layers; the tokens are those of one device. Nothing here knows
more of the package than the paths of its weights.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

# ---------------------------------------------------------------------------------------------
# The mesh
# ---------------------------------------------------------------------------------------------

DATA, MODEL = "data", "model"  # its axes


def parse_mesh(shape: str) -> tuple[int, int]:
    """Read a shape such as "4x2": 4 places on `data`, 2 on `model`. Raises ValueError for anything else."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", shape.strip())
    if not found:
        raise ValueError(f"the mesh is {shape!r}, it must be two numbers from 1 on, data x model, such as 4x2")
    return int(found[1]), int(found[2])


def make_mesh(data: int, model: int, devices: Sequence[Any] | None = None) -> Mesh:
    """Lay out devices as `data` lines of `model` each: all devices of this process, unless told which.

    Raises:
        ValueError: they are not as many.
    """
    devices = jax.local_devices() if devices is None else devices
    if data * model != len(devices):
        kind, count = devices[0].platform, len(devices)
        fake = f"XLA_FLAGS=--xla_force_host_platform_device_count={data * model}"
        raise ValueError(
            f"a mesh of {data}x{model} has {data * model} places, for {count} {kind} device{'s' * (count > 1)}: choose "
            f"numbers with the product {count}" + f", or to try it on a CPU start with {fake}" * (kind == "cpu")
        )
    return jax.make_mesh((data, model), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2, devices=devices)


# ---------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------

# Paths of parameters, as regular expressions -> the axis of the mesh along each of their own axes; () is whole
# on every device. A layer's first matrix is split by columns and its second by rows, so that what lies between
# them, some heads or some of the wide layer, never leaves its device: the columns of `qkv` are ordered by head.
SPECS = (
    (r"token_embedding\.embedding", P(MODEL, None)),
    (r"blocks\.\d+\.attention\.qkv\.kernel", P(None, MODEL)),
    (r"blocks\.\d+\.attention\.qkv\.bias", P(MODEL)),
    (r"blocks\.\d+\.attention\.out\.kernel", P(MODEL, None)),
    (r"blocks\.\d+\.attention\.out\.bias", P()),
    (r"blocks\.\d+\.mlp\.up\.kernel", P(None, MODEL)),
    (r"blocks\.\d+\.mlp\.up\.bias", P(MODEL)),
    (r"blocks\.\d+\.mlp\.down\.kernel", P(MODEL, None)),
    (r"blocks\.\d+\.mlp\.down\.bias", P()),
    (r"blocks\.\d+\.norm_[12]\.(scale|bias)", P()),
    (r"norm\.(scale|bias)", P()),
    (r"position_embedding\.embedding", P()),
    # 2% to 4% of the weights. Coarse and fine score a range of the ids at a time: from a split head the
    # devices would fetch all of it. In the semantic stage, drawing from split logits takes 9 exchanges.
    (r"head\.kernel", P()),
    (r"codebook_embeddings", P()),
    (r"(encoder|decoder|quantizer)\..+", P()),  # the codec
)


def sharding(path: str, shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """Say where the parts of one parameter lie.

    A vocabulary that the devices cannot share equally lies whole on each of them.

    Raises:
        ValueError: `SPECS` has no row for the path, or more than one.
    """
    specs = [spec for pattern, spec in SPECS if re.fullmatch(pattern, path)]
    if len(specs) != 1:
        raise ValueError(f"{path} matches {len(specs)} rows of parallel.SPECS, it must match one: mend the table")
    divides = all(axis is None or size % mesh.shape[axis] == 0 for size, axis in zip(shape, specs[0]))
    return NamedSharding(mesh, specs[0] if divides else P())


def put(value: np.ndarray, path: str, mesh: Mesh | None) -> jax.Array:
    """Copy one parameter to the devices, to each its own part; without a mesh to the default device."""
    return jax.device_put(value, None if mesh is None else sharding(path, value.shape, mesh))


def check_heads(configs: Mapping[str, Any], mesh: Mesh | None) -> None:
    """Raise ValueError where a network's heads cannot be shared equally; one without heads has no `num_heads`."""
    for name, cfg in configs.items():
        heads, model = getattr(cfg, "num_heads", 0), 1 if mesh is None else mesh.shape[MODEL]
        if heads % model:
            fits = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
            raise ValueError(
                f"{name} has {heads} heads, which {model} places on {MODEL} cannot share: choose one of {fits}"
            )


def mesh_of(params: Any) -> Mesh | None:
    """Find the mesh on which weights lie; None for weights on one device."""
    return getattr(jax.tree.leaves(params)[0].sharding, "mesh", None)


# ---------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------


def row_sharding(x: Any, mesh: Mesh) -> NamedSharding:
    """Say where an array of a batch lies: rows (b, ...) over `data`; of a cache (b, n, s, h) also heads over `model`.

    A number lies on every device.
    """
    return NamedSharding(mesh, P(DATA, MODEL) if np.ndim(x) == 4 else P(DATA) if np.ndim(x) else P())


def shard_like(batch: Any, *, like: Any) -> Any:
    """Lay out a tree of arrays over the mesh of the weights `like`; return it unchanged if they have none.

    The inputs of a compiled function are then laid out in the same way at every call, so it compiles once.
    """
    mesh = mesh_of(like)
    if mesh is None:
        return batch
    arrays, tree = jax.tree.flatten(batch)
    return jax.tree.unflatten(tree, jax.device_put(arrays, [row_sharding(x, mesh) for x in arrays]))


def pad_rows(module: nnx.Module, *columns: Sequence[Any]) -> list[list[Any]]:
    """Pad lists with an entry for each row of a batch, so that the `data` axis of the module's mesh divides it.

    The last entry is repeated; the caller trims the result. Without a mesh nothing is added.
    """
    mesh = mesh_of(nnx.state(module))
    missing = -len(columns[0]) % (1 if mesh is None else mesh.shape[DATA])
    return [[*column, *list(column[-1:]) * missing] for column in columns]
