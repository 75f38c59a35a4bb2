"""Trained networks to a checkpoint: the tables of `tables.py`, read backwards.

GPT: blocks.0.attention.qkv.kernel (d, 3d) ──▶ {"layers.0.attn.att_proj.weight": (3d, d), ...}
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx

from bark_jax.checkpoints.tables import Table, add, fold_conv, fold_up_conv, keep, stack, transpose


def split_bias(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give all of an LSTM's bias to the first of torch's two."""
    return x, np.zeros_like(x)


def unfold(direction: np.ndarray) -> tuple[np.ndarray, ...]:
    """Undo weight normalisation: the scale is the norm."""
    norm = np.sqrt(np.sum(direction.astype(np.float32) ** 2, axis=tuple(range(1, direction.ndim)), keepdims=True))
    return norm, direction


def unfold_conv(kernel: np.ndarray) -> tuple[np.ndarray, ...]:
    return unfold(kernel.transpose(2, 1, 0))


def unfold_up_conv(kernel: np.ndarray) -> tuple[np.ndarray, ...]:
    return unfold(kernel.transpose(1, 2, 0))


def as_one(x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x,)


def transposed(x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.T,)


INVERSES: dict[Callable[..., np.ndarray], Callable[[np.ndarray], tuple[np.ndarray, ...]]] = {
    keep: as_one,
    transpose: transposed,
    add: split_bias,
    stack: tuple,
    fold_conv: unfold_conv,
    fold_up_conv: unfold_up_conv,
}


def export_tensors(module: Any, table: Table, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Turn a module's parameters into the tensors of a checkpoint, under Hugging Face's names."""
    parameters = {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(module))}
    made = {}
    for row in table.rows:
        parts = INVERSES[row.transform](np.asarray(parameters[row.target], np.float32))
        made |= {key: np.ascontiguousarray(part.astype(dtype)) for key, part in zip(row.sources, parts, strict=True)}
    return made
