"""Read PyTorch files without PyTorch, and without running the code in them.

    file.bin, file.pt ──read_pickle──▶ dicts, lists, numbers, and for each tensor a LazyTensor ──.read()──▶ np.ndarray

`torch.save` writes a zip file, uncompressed: one pickle, `data.pkl`, that says which tensors there are, and
the bytes of each tensor's storage as an entry of its own.

    archive/data.pkl     {"wte": _rebuild_tensor_v2(storage 0, offset, size, stride), ...}
    archive/data/0       the bytes of storage 0
    archive/byteorder    "little"

A pickle is a program for a small machine, and may name any function of any module to be called. So this
reader knows the few names below and refuses all others. Each stands for a constructor of our own, which
checks its arguments: no class and no function of another module gets onto the machine's stack, and what
does get there lets nothing be changed. Only the bytes of tensors that are read are loaded.
"""

import dataclasses
import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from bark_jax.checkpoints.tensors import LazyTensor
from bark_jax.limits import (
    DIMENSIONS,
    PICKLE_BYTES,
    PICKLE_DEPTH,
    PICKLE_ITEMS,
    PICKLE_MEMO,
    open_regular,
    shown,
)

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # of files older than PyTorch 1.6
PLAIN = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]  # NumPy's names of dtypes
RESAVE = "open it where you have PyTorch and trust the file, and save its tensors with safetensors"


class Sealed:
    """What may lie on the pickle machine's stack: it refuses the state that a pickle wants to give it."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"it changes a {type(self).__name__}, which no checkpoint does")


@dataclasses.dataclass(frozen=True, eq=False)
class SealedTensor(Sealed, LazyTensor):
    """A LazyTensor on the stack; copies and pickles of it are plain ones."""

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyTensor, tuple(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True, eq=False)
class Storage(Sealed):
    """Say where in a file a storage lies, and how many elements it has."""

    file: Path
    start: int
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True, eq=False)
class DType(Sealed):
    """Stand for a torch storage type or a NumPy dtype."""

    dtype: np.dtype

    def __setstate__(self, state: Any) -> None:
        """Accept the state that NumPy writes for a plain dtype, and change nothing."""
        plain = [("<", None, None, None), ("|", None, None, None)]  # byte order, and no parts
        require(
            type(state) is tuple and state[1:5] in plain,
            f"it holds a NumPy dtype of the state {shown(state)}, not a plain one",
        )


class StateDict(dict):
    """A dict in the place of an OrderedDict."""

    def __setstate__(self, state: Any) -> None:
        """Pass over the attribute `_metadata` of torch's state dicts."""


@dataclasses.dataclass(frozen=True, eq=False)
class Constructor(Sealed):
    """Let the pickle machine call a function, and do nothing else with it."""

    function: Callable

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def require(condition: bool, message: str) -> None:
    """Refuse a pickle unless `condition` holds."""
    if not condition:
        raise pickle.UnpicklingError(message)


def rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> SealedTensor:
    """Stand for torch._utils._rebuild_tensor_v2; `offset` and `stride` count elements."""
    require(isinstance(storage, Storage), f"it builds a tensor from {shown(storage)}, not from a storage")
    require(all(type(x) in (tuple, list) for x in (size, stride)), f"it builds a tensor of size {shown(size)}")
    numbers = (offset, *size, *stride)
    sound = len(size) == len(stride) <= DIMENSIONS and all(type(n) is int and n >= 0 for n in numbers)
    require(sound, f"it builds a tensor with offset {shown(offset)}, size {shown(size)}, stride {shown(stride)}")
    start = storage.start + offset * storage.dtype.itemsize
    tensor = SealedTensor(storage.file, start, storage.dtype, tuple(size), tuple(stride))
    require(
        offset + tensor.span <= storage.count,
        f"a tensor reaches to element {offset + tensor.span} of a storage of {storage.count}",
    )
    return tensor


def rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> SealedTensor:
    """Stand for torch._utils._rebuild_parameter."""
    require(isinstance(tensor, SealedTensor), f"it builds a parameter from {shown(tensor)}, not from a tensor")
    return tensor


def make_dtype(name: Any, align: Any, copy: Any) -> DType:
    """Stand for numpy.dtype, of plain numbers."""
    is_plain = type(name) is str and name in SCALARS
    require(is_plain, f"it holds a NumPy dtype {shown(name)}, not one of {', '.join(SCALARS)}")
    return DType(SCALARS[name])


def make_scalar(kind: Any, data: Any) -> bool | int | float:
    """Stand for numpy's constructor of scalars; return a Python number."""
    require(isinstance(kind, DType) and type(data) is bytes, "it builds a NumPy scalar from something else than bytes")
    require(len(data) == kind.dtype.itemsize, f"it builds a NumPy scalar {kind.dtype} from {len(data)} bytes")
    return np.frombuffer(data, kind.dtype)[0].item()


def encode(text: Any, encoding: Any) -> bytes:
    """Stand for _codecs.encode, which old pickles use to write bytes."""
    require(type(text) is str and encoding == "latin1", f"it encodes a text as {shown(encoding)}, not as latin1")
    return text.encode("latin1")


SCALARS = {name: np.dtype(name).newbyteorder("<") for name in PLAIN}
NAMES: dict[tuple[str, str], Sealed] = {
    ("torch", "DoubleStorage"): DType(SCALARS["f8"]),
    ("torch", "FloatStorage"): DType(SCALARS["f4"]),
    ("torch", "HalfStorage"): DType(SCALARS["f2"]),
    ("torch", "BFloat16Storage"): DType(np.dtype(ml_dtypes.bfloat16)),
    ("torch", "LongStorage"): DType(SCALARS["i8"]),
    ("torch", "IntStorage"): DType(SCALARS["i4"]),
    ("torch", "ShortStorage"): DType(SCALARS["i2"]),
    ("torch", "CharStorage"): DType(SCALARS["i1"]),
    ("torch", "ByteStorage"): DType(SCALARS["u1"]),
    ("torch", "BoolStorage"): DType(SCALARS["b1"]),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Constructor(rebuild_parameter),
    ("collections", "OrderedDict"): Constructor(StateDict),
    ("numpy", "dtype"): Constructor(make_dtype),
    ("numpy.core.multiarray", "scalar"): Constructor(make_scalar),
    ("numpy._core.multiarray", "scalar"): Constructor(make_scalar),
    ("_codecs", "encode"): Constructor(encode),
}


REFUSED_OPCODES = ("BYTEARRAY8", "EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER", "DUP", "LONG")
MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


def check_program(program: bytes) -> None:
    """Refuse a pickle that would hang or fill the memory, by following what it would do to the stack.

    A tuple that holds another several times, which does the same, is small in the file, and to hash it takes for
    ever; one that is nested deeply crashes Python. Lists and dicts cannot be hashed, and `shown` shows neither.
    """
    sizes: list[tuple[int, int] | None] = []  # of each value on the stack: its items and depth; None is a mark
    memo: dict[int, tuple[int, int]] = {}
    for opcode, argument, _ in pickletools.genops(program):
        require(opcode.name not in REFUSED_OPCODES, f"it has the opcode {opcode.name}, which no checkpoint needs")
        number = argument if isinstance(argument, int) else -1
        if opcode.name in MEMO_OPCODES:
            require(0 <= number < PICKLE_MEMO, f"it remembers a value as number {number}, {PICKLE_MEMO:,} at most")
        if opcode.name in MEMO_OPCODES or opcode.name == "MEMOIZE":
            require(bool(sizes) and sizes[-1] is not None, "it remembers a value where there is none")
            memo[len(memo) if opcode.name == "MEMOIZE" else number] = sizes[-1] or (1, 0)
            continue
        before = opcode.stack_before
        taken: list[tuple[int, int]] = []
        if pickletools.markobject in before:
            while sizes and sizes[-1] is not None:
                taken.append(sizes.pop() or (1, 0))
            require(bool(sizes), f"its opcode {opcode.name} has no mark")
            sizes.pop()
            before = before[: before.index(pickletools.markobject)]
        elif opcode.name == "POP" and sizes and sizes[-1] is None:
            sizes.pop()
            continue
        require(len(sizes) >= len(before), f"its opcode {opcode.name} finds too few values on the stack")
        for _ in before:
            taken.append(sizes.pop() or (1, 0))
        if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            require(number in memo, f"it asks for value {number}, which it does not remember")
            sizes.append(memo[number])
        elif opcode.name.startswith(("TUPLE", "EMPTY_TUPLE")):
            items, depth = 1 + sum(size for size, _ in taken), 1 + max((deep for _, deep in taken), default=0)
            require(items <= PICKLE_ITEMS and depth <= PICKLE_DEPTH, "its tuples are too large or nested too deeply")
            sizes.append((items, depth))
        else:
            sizes += [None if kind is pickletools.markobject else (1, 0) for kind in opcode.stack_after]


BROKEN = (  # what the pickle machine, zipfile and the constructors above raise for what is broken
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


class Reader(pickle.Unpickler):
    """Run the pickle of one file with the names above and no others."""

    def __init__(self, path: Path, file: BinaryIO, archive: zipfile.ZipFile):
        """`file` is open at `path`, and `archive` reads it too."""
        self.path, self.file = path, file
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in self.entries if name.endswith("/data.pkl")]
        require(len(pickles) == 1, f"it holds {len(pickles)} entries data.pkl, not one: torch.save did not write it")
        self.folder = pickles[0].removesuffix("data.pkl")
        order = f"{self.folder}byteorder"
        self.locate(pickles[0])
        if order in self.entries:
            self.locate(order)
            require(self.entries[order].file_size <= 16, "its byte order has more than 16 bytes")
            require(archive.read(order) == b"little", f"its byte order is {archive.read(order)!r}, not little")
        size = self.entries[pickles[0]].file_size
        require(size <= PICKLE_BYTES, f"its pickle has {size:,} bytes, the limit is {PICKLE_BYTES:,}")
        program = archive.read(pickles[0])
        check_program(program)
        super().__init__(io.BytesIO(program))

    def locate(self, name: str) -> int:
        """Return the byte at which the data of an entry start."""
        require(name in self.entries, f"it lacks the entry {name}")
        entry = self.entries[name]
        require(
            entry.compress_type == zipfile.ZIP_STORED, f"its entry {name} is compressed, torch.save stores it plain"
        )
        self.file.seek(entry.header_offset)
        header = self.file.read(30)  # the last 4 bytes: lengths of the name and the extra field that follow
        require(len(header) == 30 and header.startswith(b"PK\x03\x04"), f"its entry {name} is not where it should be")
        start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        end, size = start + entry.file_size, self.path.stat().st_size
        require(end <= size, f"its entry {name} ends at byte {end}, the file at {size}")
        return start

    def find_class(self, module: str, name: str) -> Sealed:
        require(
            (module, name) in NAMES,
            f"it asks for {ascii(f'{module}.{name}'[:200])[1:-1]}. A pickle may call what it names, and this reader "
            "knows tensors, dicts and numbers only",
        )
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", DType() as kind, str(key), str(), int(count)):
                name = f"{self.folder}data/{key}"
                start, bytes_there = self.locate(name), self.entries[name].file_size
                expected = count * kind.dtype.itemsize
                require(bytes_there == expected, f"its entry {name} has {bytes_there} bytes, not {expected}")
                return Storage(self.path, start, kind.dtype, count)
        raise pickle.UnpicklingError(f"it refers to {shown(pid)}, not to a storage")


def read_pickle(path: str | Path) -> Any:
    """Read what `torch.save` wrote, with a LazyTensor for each tensor and a Python number for each NumPy scalar.

    Raises ValueError, with the path and the reason, for a file that is broken or of another kind, and for
    one that names anything which a checkpoint does not need.
    """
    path = Path(path)
    with open_regular(path) as file:
        start = file.read(len(LEGACY_START))
        if start == LEGACY_START:
            raise ValueError(f"{path} is of the kind from before PyTorch 1.6, only later ones are read: {RESAVE}")
        if not start.startswith(b"PK\x03\x04"):
            raise ValueError(f"{path} starts with {start[:8]!r}, files of torch.save with b'PK': fetch it again")
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            size = path.stat().st_size
            raise ValueError(f"{path}, of {size} bytes, is cut off or broken ({error}): fetch it again") from error
        try:
            return Reader(path, file, archive).load()
        except BROKEN as error:
            raise ValueError(f"{path} is refused: {error}. Fetch it from its source, or {RESAVE}") from error
