"""Export networks: the tables of `tables.py`, read backwards.

GPT: blocks.0.attention.qkv.kernel (d, 3d) ──▶ {"layers.0.attn.att_proj.weight": (3d, d), ...}
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from bark_jax.checkpoints.tables import Table


def export_tensors(module: nnx.Module, table: Table, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Turn a module's parameters into the tensors of a checkpoint, under Hugging Face's names."""
    leaves = nnx.to_flat_state(nnx.state(module))
    return export_parameters({".".join(map(str, path)): leaf[...] for path, leaf in leaves}, table, dtype)


def export_parameters(parameters: Mapping[str, Any], table: Table, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Turn parameters, by their paths in a module, into the tensors of a checkpoint."""
    tensors = {}
    for row in table.rows:
        parts = row.transform.inverse(np.asarray(parameters[row.target], np.float32))
        tensors |= {key: np.ascontiguousarray(part, dtype) for key, part in zip(row.sources, parts, strict=True)}
    return tensors
