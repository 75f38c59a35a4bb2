"""Write files whole or not at all: neither a kill nor a full disk leaves half of one under its name."""

import codecs
import contextlib
import errno
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

NO_LINKS, NO_WAIT, BINARY = (getattr(os, f"O_{name}", 0) for name in ("NOFOLLOW", "NONBLOCK", "BINARY"))
BYTE_ORDER_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
STEM_BYTES = 240
UNSUPPORTED = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)  # the answers of folders that cannot be synced


@contextlib.contextmanager
def new_file(path: str | os.PathLike, *, force: bool = False, parents: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when the block ends without an error.

    Until then it has a temporary name in the same folder, and an error or Ctrl-C removes it. When the block has
    ended, the file is on the disk under its name. A symbolic link at `path` is replaced, not followed.

    Args:
        force: replace the file if it exists.
        parents: make missing folders.

    Raises:
        FileExistsError: the file exists and `force` is not set.
        OSError: it cannot be written, such as for lack of space; `filename` is `path`.
    """
    path = Path(path)
    refuse_existing(path, force=force)
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{stem(path.name)}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the error at hand says more
            temporary.unlink()
        if isinstance(error, OSError) and error.strerror and error.filename in (None, temporary, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def stem(name: str) -> str:
    """Return as much of a file's name as a temporary name has room for, of the 255 bytes that systems allow."""
    return os.fsencode(name)[:STEM_BYTES].decode(errors="ignore")


def write_file(path: str | os.PathLike, content: bytes, *, force: bool = False, parents: bool = False) -> None:
    """Write a whole file; arguments and errors as in `new_file`."""
    with new_file(path, force=force, parents=parents) as file:
        file.write(content)


def rescue(content: bytes, suffix: str) -> Path:
    """Write what found no room in its place to the temporary folder, the home or the current one; return the path.

    Raises:
        OSError: there is no room anywhere.
    """
    failed: list[str] = []
    for place in (tempfile.gettempdir, Path.home, Path.cwd):
        try:
            path = Path(place(), f"bark-jax-{secrets.token_hex(4)}{suffix}")
            write_file(path, content)
            return path
        except (OSError, RuntimeError) as error:  # gettempdir tries to write, too; home may not be known
            failed.append(str(error))
    raise OSError(f"no folder has room: {'; '.join(failed)}")


@runtime_checkable
class Writable(Protocol):
    """An open binary file, or what has its `write`."""

    def write(self, content: Any, /) -> Any: ...


def write_all(file: Writable, content: bytes) -> None:
    """Write to an open binary file, all of it even where each call takes only a part.

    Raises:
        ValueError: it is no file that bytes can be written to.
    """
    if not isinstance(file, Writable):
        raise ValueError(f"{file!r} of type {type(file).__name__} is no path and no open file: pass one of these")
    if isinstance(file, io.TextIOBase):
        raise ValueError(f"{file!r} is open for text: open it with mode 'wb'")
    if isinstance(file, io.IOBase) and not file.writable():
        raise ValueError(f"{file!r} is open for reading: open it with mode 'wb'")
    left = memoryview(content)
    while left:
        written = file.write(left)
        left = left[len(left) if written is None else written :]


def user_path(path: str | os.PathLike) -> Path:
    """Return a path with `~` expanded. Raises ValueError for what is no path, or needs a home that is not known."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise ValueError(f"{path!r} of type {type(path).__name__} is no path: pass a str")
    try:
        return Path(os.fsdecode(path)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{os.fsdecode(path)} needs a home directory, and none is known: set HOME") from error


def append(path: str | os.PathLike, content: bytes) -> None:
    """Add bytes to the end of a file, which is made if it is missing; when this returns they are on the disk.

    After an error, such as a full disk, or Ctrl-C the file has its old length.

    Raises:
        OSError: it cannot be written, or is a symbolic link; `filename` is `path`.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINKS | BINARY, 0o666)
    size = os.lseek(handle, 0, os.SEEK_END)
    left = memoryview(content)
    try:
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except BaseException as error:
        os.ftruncate(handle, size)
        if isinstance(error, OSError):
            error.filename = os.fspath(path)
        raise
    finally:
        os.close(handle)


def read_file(path: str | os.PathLike) -> bytes:
    """Read a whole file that another process may have put there: neither a link nor a pipe is followed.

    Raises:
        OSError: it does not exist, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | NO_LINKS | NO_WAIT | BINARY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    with open(handle, "rb") as file:
        return file.read()


def to_utf8(content: bytes, name: str) -> bytes:
    """Encode text in UTF-8, without a byte order mark, that has one of UTF-8, UTF-16 or UTF-32, or none: UTF-8.

    What has none is not checked, but for NUL characters, of which other encodings have many and text has none.

    Args:
        name: of the file, for messages.

    Raises:
        ValueError: it is damaged, or not text.
    """
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding == "utf-8":
        content = content.removeprefix(codecs.BOM_UTF8)
    elif encoding is not None:
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} begins as {encoding.upper()} and is not: {error}") from error
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise ValueError(f"{name} has a NUL character in line {line}, which text has not: save it as UTF-8")
    return content


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise FileExistsError if the file, folder or symbolic link exists and `force` is not set."""
    if os.path.lexists(path) and not force:
        raise FileExistsError(
            f"{path} exists and is kept: choose another name, or replace it with --force (force=True)"
        )


def remove_leftovers(folder: Path, names: Collection[str]) -> None:
    """Remove the temporary files that killed processes left of `new_file`s of these names."""
    stems = set(map(stem, names))
    for path in folder.glob(f".*.{'[a-z0-9_]' * 8}"):
        if path.name[1:-9] in stems:
            path.unlink(missing_ok=True)
