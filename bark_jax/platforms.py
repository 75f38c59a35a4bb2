"""What depends on the kind of device: all of it asks for the platform here.

A function that computes differs by the platform that its program is compiled for, which need not be that of the
machine: programs for a TPU are compiled on a CPU too.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

Result = TypeVar("Result")


def by_platform(*args: jax.Array, default: Callable[..., Result], **others: Callable[..., Result]) -> Result:
    """Call the function for the platform that the program is compiled for, with the same arguments and shapes.

    `others` are those for "cpu", "cuda", "rocm" or "tpu"; `default` is for all that are not among them.
    """
    return jax.lax.platform_dependent(*args, default=default, **others)


def platform(mesh: Mesh | None = None) -> str:
    """Name the platform of a mesh's devices, or that of the default device: "cpu", "gpu" or "tpu"."""
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


def default_dtype(mesh: Mesh | None = None) -> jnp.dtype:
    """Return the dtype in which transformers run best: float32 on a CPU, bfloat16 elsewhere."""
    return jnp.dtype("float32" if platform(mesh) == "cpu" else "bfloat16")
