"""Tensors in files: where one lies, and the safetensors format, read and written.

    model.safetensors ──read_safetensors──▶ {name: LazyTensor} ──.read()──▶ np.ndarray
    {name: LazyTensor or np.ndarray} ──write_safetensors──▶ model.safetensors

A safetensors file is 8 bytes with the length of its header, the header, which is JSON, and the data:

    | n | {"wte": {"dtype": "F32", "shape": [9, 4], "data_offsets": [0, 144]}, ...} | bytes of wte | ... |
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bark_jax.files import new_file
from bark_jax.limits import DIMENSIONS, HEADER_BYTES, open_regular, parse_json, shown

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
        ValueError: the file is cut off or broken, above a limit, or holds numbers of a kind that no weight has.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = 8 + int.from_bytes(file.read(8), "little")
        if size < 8 or start > size:
            raise ValueError(f"{path} has {size} bytes, its header alone has {start}: it is cut off, fetch it again")
        if start > HEADER_BYTES:
            raise ValueError(f"{path} has a broken header (of {start:,} bytes, the limit is {HEADER_BYTES:,})")
        header = file.read(start - 8)
    tensors, places = {}, []
    try:
        for key, entry in parse_json(header, pairs=_once).items():
            if key == "__metadata__":
                continue
            dtype, (first, last), sizes = DTYPES[entry["dtype"]], entry["data_offsets"], entry["shape"]
            if len(sizes) > DIMENSIONS or not all(type(n) is int and n >= 0 for n in (first, last, *sizes)):
                raise ValueError(f"{shown(key)} has the shape {shown(sizes)} at bytes {shown(first)} to {shown(last)}")
            if last - first != math.prod(sizes) * dtype.itemsize:
                raise ValueError(f"{shown(key)} of shape {shown(sizes)} cannot lie at bytes {first} to {last}")
            strides = tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))
            tensors[key] = LazyTensor(path, start + first, dtype, tuple(sizes), strides)
            places.append((first, last))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"KeyError({shown(error.args[0])})" if isinstance(error, KeyError) else repr(error)
        raise ValueError(f"{path} has a broken header ({reason}): fetch it again") from error
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise ValueError(
                f"{path} has a broken header (tensors overlap or leave a gap at byte {end}): fetch it again"
            )
        end = last
    if size != start + end:
        raise ValueError(
            f"{path} has {size} bytes, its header describes {start + end}: it is cut off or broken, fetch it again"
        )
    return tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of the pairs of a JSON object. Raises ValueError where a key comes twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


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
