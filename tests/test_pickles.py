"""The reader of PyTorch's files: what torch saves comes back, and nothing in a pickle is ever run."""

import collections
import io
import os
import pickle
import zipfile
from typing import Any

import hf
import numpy as np
import pytest

from bark_jax.checkpoints import pickles
from bark_jax.checkpoints.pickles import read_pickle

torch = hf.import_torch()
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8]


def to_numpy(x: Any) -> np.ndarray:
    """Convert to float64 and back by value, because torch's bfloat16 has no NumPy array."""
    return x.detach().double().numpy()


def check_equal(ours, theirs):
    """Compare what this package and torch read: tensors by value, the rest as it is."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            check_equal(ours[key], theirs[key])
    elif isinstance(theirs, torch.Tensor):
        assert ours.shape == theirs.shape
        assert str(theirs.dtype) == f"torch.{ours.dtype}"
        assert ours.read().dtype == ours.dtype
        np.testing.assert_array_equal(ours.read().astype(np.float64), to_numpy(theirs))
    else:
        assert ours == theirs
        assert type(ours) in (int, float, bool, str, list, type(None))


def views(dtype: Any) -> dict[str, Any]:
    """Make tensors with every kind of strides, some of which share a storage."""
    x = torch.arange(-12, 12).reshape(4, 6).to(dtype)
    return {
        "whole": x,
        "transposed": x.T,
        "rows": x[1:3],
        "columns": x[:, 1::2],
        "corner": x[2:, 4:].T,
        "permuted": x.reshape(2, 2, 6).permute(2, 0, 1),
        "expanded": x[:1].expand(5, 6),
        "number": x[3, 5],
        "empty": torch.zeros((0, 3), dtype=dtype),
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_read_as_torch_reads_them(tmp_path, dtype):
    torch.save(views(dtype), tmp_path / "x.bin")
    check_equal(read_pickle(tmp_path / "x.bin"), views(dtype))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_everything_that_checkpoints_hold(tmp_path, protocol):
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    content = {
        "model": layer.state_dict(),  # an OrderedDict with an attribute
        "parameters": dict(layer.named_parameters()),
        "best_val_loss": np.float64(1.25),
        "scalars": [np.float32(0.5), np.float16(2), np.int64(-3), np.uint8(200), np.bool_(True)],
        "model_args": {"n_layer": 12, "bias": False, "name": "text", "dropout": 0.0, "none": None},
    }
    torch.save(content, tmp_path / "x.pt", pickle_protocol=protocol)
    ours = read_pickle(tmp_path / "x.pt")
    content["scalars"] = [x.item() for x in content["scalars"]]
    check_equal(ours, content | {"best_val_loss": 1.25})
    assert type(ours["best_val_loss"]) is float


def test_only_what_is_read_is_loaded(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"a": torch.ones(5), "b": torch.full((5,), 2.0)}, path)
    ours = read_pickle(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(np.float32(2).tobytes() * 5, np.float32(3).tobytes() * 5))
    np.testing.assert_array_equal(ours["b"].read(), np.full(5, 3, np.float32))
    assert not np.shares_memory(ours["a"].read(), ours["a"].read())
    path.write_bytes(data[: ours["a"].start + 4])
    with pytest.raises(ValueError, match=r"x\.bin ends 16 bytes before a tensor does: fetch it again"):
        ours["a"].read()


# What is refused. Pickles are written by hand: `write` puts one into the zip file of `torch.save`.


def write(path, program: bytes, *, byteorder=b"little", compression=zipfile.ZIP_STORED, folder="archive", **entries):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", program)
        archive.writestr(f"{folder}/byteorder", byteorder)
        for name, content in entries.items():
            archive.writestr(f"{folder}/data/{name.removeprefix('_')}", content)
    return path


def refused(path, *reasons: str):
    with pytest.raises(ValueError, match="is refused") as caught:
        read_pickle(path)
    for part in (str(path), *reasons, "Fetch it from its source"):
        assert part in str(caught.value)


class Call:
    """Pickle as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def called(function, *arguments, protocol: int = 2) -> bytes:
    return pickle.dumps({"weight": Call(function, *arguments)}, protocol)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {marker}",), f"{os.name}.system"),
        (eval, ("open({marker!r}, 'w')",), ".eval"),
        (exec, ("open({marker!r}, 'w')",), ".exec"),
        (open, ("{marker}", "w"), "io.open"),
        (getattr, ({}, "clear"), ".getattr"),
        (__import__, ("os",), ".__import__"),
        (np.load, ("{marker}",), "numpy.load"),
        (torch.load, ("{marker}",), "torch.serialization.load"),
        (collections.defaultdict, (list,), "collections.defaultdict"),
    ],
)
def test_no_other_function_is_called(tmp_path, function, arguments, name, protocol):
    marker = tmp_path / "marker"
    arguments = tuple(x.format(marker=str(marker)) if isinstance(x, str) else x for x in arguments)
    refused(write(tmp_path / "x.bin", called(function, *arguments, protocol=protocol)), "it asks for", name)
    assert not marker.exists()


G = {  # names as the pickle machine asks for them
    "OrderedDict": b"ccollections\nOrderedDict\n",
    "tensor": b"ctorch._utils\n_rebuild_tensor_v2\n",
    "parameter": b"ctorch._utils\n_rebuild_parameter\n",
    "float": b"ctorch\nFloatStorage\n",
    "dtype": b"cnumpy\ndtype\n",
    "scalar": b"cnumpy.core.multiarray\nscalar\n",
    "encode": b"c_codecs\nencode\n",
}
STORAGE = b"(X\x07\x00\x00\x00storage" + G["float"] + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"  # 4 elements


def text(x: str) -> bytes:
    """Push a string."""
    return b"X" + len(x.encode()).to_bytes(4, "little") + x.encode()


def tensor(offset=b"K\x00", size=b"K\x04\x85", stride=b"K\x01\x85", storage=STORAGE) -> bytes:
    """Push a tensor."""
    return G["tensor"] + b"(" + storage + offset + size + stride + b"\x89" + G["OrderedDict"] + b")RtR"


PROGRAMS = {
    # Attributes of a known name, and known names from elsewhere.
    "attribute": (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "collections.OrderedDict.__init__"),
    "path": (b"\x80\x04\x8c\x05torch\x8c\x19_utils._rebuild_tensor_v2\x93.", "torch._utils._rebuild_tensor_v2"),
    "module": (b"cos\nOrderedDict\n.", "os.OrderedDict"),
    "float8": (b"ctorch._utils\n_rebuild_tensor_v3\n.", "torch._utils._rebuild_tensor_v3"),
    "array": (b"cnumpy._core.multiarray\n_reconstruct\n.", "numpy._core.multiarray._reconstruct"),
    "extension": (b"\x82\x01.", "unregistered extension"),
    # State for what is on the stack: functions, types, tensors, storages, dicts.
    "state of a function": (G["tensor"] + b"}b.", "it changes a Constructor"),
    "slots of a function": (G["encode"] + b"N}" + text("function") + b"K\x01s\x86b.", "it changes a Constructor"),
    "state of a type": (G["float"] + b"}b.", "it holds a NumPy dtype of the state"),
    "state of a tensor": (tensor() + b"}" + text("file") + text("/etc/passwd") + b"sb.", "it changes a SealedTensor"),
    "state of a storage": (STORAGE + b"}b.", "it changes a Storage"),
    "state of a plain dict": (b"}}" + text("a") + b"K\x01sb.", "__dict__"),
    "dtype of parts": (
        G["dtype"] + text("f4") + b"\x89\x88\x87R(K\x03" + text("|") + b"K\x01NNK\x00K\x00K\x00tb.",
        "not a plain one",
    ),
    "big-endian dtype": (
        G["dtype"] + text("f4") + b"\x89\x88\x87R(K\x03" + text(">") + b"NNNK\x00K\x00K\x00tb.",
        "not a plain one",
    ),
    # Objects made without a call.
    "new object": (G["OrderedDict"] + b")\x81.", "NEWOBJ"),
    "new function": (G["tensor"] + b")\x81.", "NEWOBJ"),
    "instance": (b"(ios\nsystem\n.", "os.system"),
    "call of a tensor": (tensor() + b")R.", "not callable"),
    "call of a storage": (STORAGE + b")R.", "not callable"),
    "call of a type": (G["float"] + b")R.", "not callable"),
    # Known names with arguments that they do not take.
    "codec": (G["encode"] + text("abc") + text("rot13") + b"\x86R.", "'rot13', not as latin1"),
    "codec for code": (G["encode"] + text("abc") + text("unicode_escape") + b"\x86R.", "not as latin1"),
    "codec of bytes": (b"\x80\x03" + G["encode"] + b"C\x01a" + text("latin1") + b"\x86R.", "not as latin1"),
    "codec, errors": (G["encode"] + text("abc") + text("latin1") + text("x") + b"\x87R.", "positional argument"),
    "object scalar": (G["dtype"] + text("O8") + b"\x89\x88\x87R.", "a NumPy dtype 'O8', not one of"),
    "void scalar": (G["dtype"] + text("V9") + b"\x89\x88\x87R.", "a NumPy dtype 'V9', not one of"),
    "short scalar": (
        b"\x80\x03" + G["scalar"] + G["dtype"] + text("f4") + b"\x89\x88\x87RC\x01a\x86R.",
        "a NumPy scalar float32 from 1 bytes",
    ),
    "scalar of a string": (G["scalar"] + text("f4") + text("abcd") + b"\x86R.", "from something else than bytes"),
    "tensor of nothing": (tensor(storage=b"N") + b".", "it builds a tensor from None"),
    "tensor behind the end": (tensor(offset=b"K\x01") + b".", "a tensor reaches to element 5 of a storage of 4"),
    "strides behind the end": (tensor(stride=b"K\x02\x85") + b".", "a tensor reaches to element 7 of a storage of 4"),
    "tensor before the start": (tensor(offset=b"J\xff\xff\xff\xff") + b".", "offset -1"),
    "backward stride": (tensor(stride=b"J\xff\xff\xff\xff\x85") + b".", "stride (-1,)"),
    "sizes without strides": (tensor(size=b"K\x02K\x02\x86") + b".", "size (2, 2), stride (1,)"),
    "fraction of an offset": (tensor(offset=b"\x88") + b".", "offset True"),
    "parameter of nothing": (G["parameter"] + b"N\x89N\x87R.", "it builds a parameter from None"),
    # Storages.
    "other reference": (text("x") + b"Q.", "it refers to 'x', not to a storage"),
    "storage of no type": (STORAGE.replace(G["float"], b"N") + b".", "not to a storage"),
    "no such storage": (STORAGE.replace(text("0"), text("9")) + b".", "it lacks the entry archive/data/9"),
    "longer storage": (STORAGE.replace(b"K\x04", b"K\x05") + b".", "has 16 bytes, not 20"),
    # Broken programs.
    "nothing": (b"", "exhausted"),
    "cut off": (b"\x80\x02}q\x00(X\x03\x00", "not enough data"),
    "no program": (b"\xff\xfe", "unknown"),
    "empty stack": (b"R.", "stack"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_other_program_is_run(tmp_path, name):
    program, reason = PROGRAMS[name]
    before = {key: vars(one).copy() for key, one in pickles.NAMES.items()}
    refused(write(tmp_path / "x.bin", program, _0=bytes(16)), reason)
    assert {key: vars(one) for key, one in pickles.NAMES.items()} == before


def test_the_programs_differ_from_sound_ones_in_one_point(tmp_path):
    sound = {
        "tensor": tensor(),
        "parameter": G["parameter"] + b"(" + tensor() + b"\x89NtR",
        "bytes": G["encode"] + text("é") + text("latin1") + b"\x86R",
        "scalar": b"\x80\x03" + G["scalar"] + G["dtype"] + text("i1") + b"\x89\x88\x87RC\x01a\x86R",
        "state of a dict": G["OrderedDict"] + b")R}" + text("_metadata") + b"Nsb",
    }
    read = {
        name: read_pickle(write(tmp_path / f"{name}.bin", program + b".", _0=np.arange(4, dtype="<f4").tobytes()))
        for name, program in sound.items()
    }
    np.testing.assert_array_equal(read["tensor"].read(), [0, 1, 2, 3])
    np.testing.assert_array_equal(read["parameter"].read(), [0, 1, 2, 3])
    assert (read["bytes"], read["scalar"], read["state of a dict"]) == (b"\xe9", 97, {})


# Files that are broken, or of another kind.


def test_kinds_of_files(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "legacy.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"legacy\.bin is of the kind from before PyTorch 1\.6.*safetensors"):
        read_pickle(tmp_path / "legacy.bin")
    for name, content in (("page.bin", b"<html>"), ("empty.bin", b""), ("bare.bin", pickle.dumps({}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} starts with .* files of torch\.save with b'PK': fetch it again"):
            read_pickle(tmp_path / name)
    refused(write(tmp_path / "big.bin", b"N.", byteorder=b"big"), "its byte order is b'big', not little")
    refused(write(tmp_path / "small.bin", b"N." * 999, compression=zipfile.ZIP_DEFLATED), "data.pkl is compressed")
    with zipfile.ZipFile(tmp_path / "other.bin", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    refused(tmp_path / "other.bin", "it holds 0 entries data.pkl, not one")
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "missing.bin")


@pytest.mark.parametrize("part", [0.05, 0.3, 0.7, 0.95, 0.999])
def test_files_that_are_cut_off(tmp_path, part):
    torch.save(views(torch.float32), tmp_path / "whole.bin")
    data = (tmp_path / "whole.bin").read_bytes()
    (tmp_path / "x.bin").write_bytes(data[: int(part * len(data))])
    with pytest.raises(ValueError, match=r"x\.bin, of \d+ bytes, is cut off or broken .*: fetch it again"):
        read_pickle(tmp_path / "x.bin")


def test_files_with_damage_inside(tmp_path):
    torch.save({"a": torch.arange(99.0)}, tmp_path / "x.bin")
    data = (tmp_path / "x.bin").read_bytes()
    entries = {entry.filename: entry for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()}
    for place, reason in (
        (entries["x/data/0"].header_offset, "its entry x/data/0 is not where it should be"),
        (data.index(b"_rebuild_tensor_v2"), "Bad CRC-32 for file 'x/data.pkl'"),
    ):
        broken = bytearray(data)
        broken[place] ^= 1
        (tmp_path / "x.bin").write_bytes(broken)
        refused(tmp_path / "x.bin", reason)
