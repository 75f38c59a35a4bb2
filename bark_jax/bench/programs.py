"""The program of each stage for a mesh, from descriptions alone: no weight is made and no device is needed.

In:  the sizes of the networks, a mesh, whose devices may be a TPU's that is not here, the rows of a batch.
Out: lowered programs, with all inputs laid out as `parallel` lays them out.
"""

import functools
import math
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Lowered
from jax.typing import DTypeLike

from bark_jax import coarse, journey, parallel, programs, semantic
from bark_jax.checkpoints.random import TOKENS, random_config
from bark_jax.checkpoints.tables import NETWORKS

# Of the stages that decode: the loop, the shape of a row's prompt, and the most slots of the cache.
SEMANTIC = semantic.decode_spec(TOKENS), (2, TOKENS.max_input_semantic_length), semantic.max_slots(TOKENS)
COARSE = coarse.decode_spec(TOKENS), (1, coarse.max_slots(TOKENS)), coarse.max_slots(TOKENS)


def abstract_networks(sizes: dict[str, Any], dtype: DTypeLike) -> dict[str, Any]:
    """Make the networks of a shape without memory for their weights, by the names of their stages."""
    config, made = random_config(sizes), {}
    for stage in journey.STAGES:
        network = NETWORKS[stage.network]
        make = network.maker(network.read_config(config[network.config]), dtype)
        made[stage.name] = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))  # noqa: B023 - called at once
    return made


def lay_out(module: nnx.Module, mesh: Mesh) -> nnx.State:
    """Describe the parameters of a module, which may be abstract, as they would lie on a mesh."""
    described = []
    for parts, leaf in nnx.to_flat_state(nnx.state(module)):
        where = parallel.sharding(".".join(map(str, parts)), leaf.shape, mesh)
        described.append((parts, leaf.replace(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where))))
    return nnx.from_flat_state(described)


def lay_out_rows(batch: Any, mesh: Mesh) -> Any:
    """Describe arrays as `parallel.shard_like` would lay them out."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=parallel.row_sharding(x, mesh)), batch
    )


def bytes_on_each(described: Any) -> int:
    """Count the bytes of arrays on each device: the same on all of them."""
    leaves = jax.tree.leaves(described)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def padded(batch: int, mesh: Mesh) -> int:
    """Return the rows of a batch that `parallel.pad_rows` has padded."""
    return batch + -batch % mesh.shape[parallel.DATA]


def stage_program(stage: str, model: Any, mesh: Mesh, batch: int) -> Lowered:
    """Lower the program of a stage, for a batch of any number of rows."""
    describe = functools.partial(lay_out_rows, mesh=mesh)
    return programs.lower(stage, model, lay_out(model, mesh), TOKENS, padded(batch, mesh), describe=describe)
