"""Tensors in files: where one lies, and the safetensors format, read and written.

    model.safetensors ──read_safetensors──▶ {name: LazyTensor} ──.read()──▶ np.ndarray
    {name: LazyTensor or np.ndarray} ──write_safetensors──▶ model.safetensors

A safetensors file is 8 bytes with the length of its header, the header, which is JSON, and the data:

    | n | {"wte": {"dtype": "F32", "shape": [9, 4], "data_offsets": [0, 144]}, ...} | bytes of wte | ... |
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bark_jax.files import new_file

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class LazyTensor:
    """Say where in a file a tensor lies; `read` loads it.

    `start` is the byte of its first element, `strides` count elements.
    """

    file: Path
    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """Count the elements from the first to the last, with what lies between them."""
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides)) if all(self.shape) else 0

    def read(self) -> np.ndarray:
        """Load the tensor into memory that nothing else refers to; where it is strided, the result is a view.

        Raises ValueError where the file ends too early.
        """
        flat = np.empty(self.span, self.dtype)
        with open(self.file, "rb") as file:
            file.seek(self.start)
            count = file.readinto(flat.view(np.uint8).data)
        if count != flat.nbytes:
            raise ValueError(f"{self.file} ends {flat.nbytes - count} bytes before a tensor does: fetch it again")
        strides = [s * self.dtype.itemsize for s in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides)


def read_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Read the header of a safetensors file: 8 bytes for its length, JSON, then the data.

    Raises:
        ValueError: the file is cut off or broken, or holds numbers of a kind that no weight has.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if size < 8 or start > size:
            raise ValueError(f"{path} has {size} bytes, its header alone has {start}: it is cut off, fetch it again")
        header = file.read(start - 8)
    tensors, end = {}, start
    try:
        for key, entry in json.loads(header).items():
            if key == "__metadata__":
                continue
            dtype, shape = DTYPES[entry["dtype"]], tuple(map(int, entry["shape"]))
            first, last = entry["data_offsets"]
            if min(first, 0, *shape) < 0 or last - first != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{key} of shape {shape} cannot lie at bytes {first} to {last}")
            strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
            tensors[key] = LazyTensor(path, start + first, dtype, shape, strides)
            end = max(end, start + last)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has a broken header ({error!r}): fetch it again") from error
    if size != end:
        raise ValueError(
            f"{path} has {size} bytes, its header describes {end}: it is cut off or broken, fetch it again"
        )
    return tensors


def write_safetensors(
    tensors: Mapping[str, LazyTensor | np.ndarray], path: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write tensors one by one, the widest numbers first, so that each lies at a multiple of its width.

    The file takes its name when all are written; one that is there is replaced.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, x in ordered:
        start, end = end, end + math.prod(x.shape) * x.dtype.itemsize
        header[key] = {"dtype": names[x.dtype], "shape": list(x.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with new_file(path, force=True, parents=True) as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for key, x in ordered:
            array = x.read() if isinstance(x, LazyTensor) else x
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            if progress:
                progress(header[key]["data_offsets"][1], end)
