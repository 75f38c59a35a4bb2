"""Arrays of plain numbers from .npz and .npy files of others, without evaluating or unpickling anything."""

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from bark_jax.limits import DIMENSIONS, VOICE_BYTES, read_bytes, shown

BROKEN = (  # what zipfile, zlib and NumPy raise for broken files, besides OSError and ValueError
    TypeError,
    EOFError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# The header of an .npy as NumPy writes it, for plain numbers: nothing else is evaluated, or unpickled.
NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|][biuf]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,12}, ?)*\d{0,12})\), \} *\n"
)


def read_numpy(path: str | Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Read the arrays of these names from an .npz, or the one of an .npy under the name "array".

    What else an .npz holds is not read.

    Raises:
        ValueError: it is broken, above a limit, or holds other than arrays of plain numbers.
        OSError: it cannot be read, or is not a regular file.
    """
    content = read_bytes(path, VOICE_BYTES)
    try:
        if not content.startswith(b"PK"):
            return {"array": _array(content)}
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            held = [name for name in names if f"{name}.npy" in archive.namelist()]
            return {name: _array(_entry(archive, f"{name}.npy")) for name in held}
    except BROKEN as error:
        raise ValueError(str(error)) from error


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpack an entry. Raises ValueError where it is above the limit, encrypted, or packed as no .npz is."""
    entry = archive.getinfo(name)
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is encrypted, or compressed in a way that NumPy does not use")
    with archive.open(entry) as file:
        content = file.read(VOICE_BYTES + 1)
    if len(content) > VOICE_BYTES:
        raise ValueError(f"{name} has more than {VOICE_BYTES:,} bytes, which is the limit for an array of a voice")
    return content


def _array(content: bytes) -> np.ndarray:
    """Read an .npy. Raises ValueError where it is anything else, or holds other than plain numbers."""
    if not content.startswith(b"\x93NUMPY"):
        raise ValueError(f"it begins with {content[:6]!r}, not as an .npy or .npz")
    width = 2 if content[6:7] == b"\1" else 4  # of the length of the header
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    header = NPY_HEADER.fullmatch(content[8 + width : start])
    if not header:
        raise ValueError(f"its header is {shown(content[8 + width : start])}, that of no array of plain numbers")
    dtype, shape = np.dtype(header[1].decode()), [int(size) for size in header[3].split(b",") if size.strip()]
    if len(shape) > DIMENSIONS or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"an array {dtype} of shape {shown(shape)} does not have {len(content) - start} bytes")
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if header[2] == b"True" else "C")
