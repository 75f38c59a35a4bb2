"""Training on several hosts: the same command is started on each, and all processes write to one folder.

    process 0   rows 0..3 of a batch ─┐
    process 1   rows 4..7 of a batch ─┴─▶ gradients, averaged ─▶ the same weights in all; files by process 0 alone

Every process reads the same files and so takes the same decisions. A file is written only inside of
`first_alone`, before and after which all wait for each other: none looks for a file while another writes it.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding


def connect(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connect this process with the others; call it before anything is computed. Arguments are those of JAX.

    Raises:
        ValueError: the others are not known, or a number is out of range.
    """
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    except ValueError as error:
        raise ValueError(
            f"the processes cannot find each other ({error}): Slurm, Open MPI and Cloud TPU tell JAX what it needs, "
            "elsewhere pass --coordinator-address, --num-processes and --process-id"
        ) from error


def is_first() -> bool:
    """Tell whether this is the process that writes files, logs and messages."""
    return jax.process_index() == 0


def first_alone(function: Callable[[], Any]) -> None:
    """Call a function in the first process, while the others wait; all wait for each other before it, too.

    Raises:
        ValueError: in the others, if it raised an error in the first.
    """
    multihost_utils.sync_global_devices("first_alone")
    is_done = False
    try:
        if is_first():
            function()
        is_done = True
    finally:
        is_done_there = bool(agreed(is_done))
    if not is_done_there:
        raise ValueError("process 0 has stopped: its message says why")


def agreed(value: Any) -> Any:
    """Return the value, numbers or arrays, that the first process has; all have to ask."""
    return multihost_utils.broadcast_one_to_all(value) if jax.process_count() > 1 else value


def put_whole(tree: Any, sharding: NamedSharding) -> Any:
    """Copy arrays to every device of a mesh: those that the first process has."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.make_array_from_process_local_data(sharding, agreed(jax.device_get(tree)))


def put_rows(batch: Any, sharding: NamedSharding) -> Any:
    """Copy a batch, which every process has made, to the devices of a mesh: each process copies its own rows."""
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)

    def put(x: Any) -> jax.Array:
        count = len(x) // jax.process_count()
        own = x[jax.process_index() * count :][:count]
        return jax.make_array_from_process_local_data(sharding, np.asarray(own), x.shape)

    return jax.tree.map(put, batch)
