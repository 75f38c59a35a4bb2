"""Write files whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def new_file(path: str | os.PathLike, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a file to write that takes its name only when the block ends well.

    Until then it stands beside its place under a temporary name, and an error or Ctrl-C removes it.
    Missing folders are made.

    Raises:
        FileExistsError: there is such a file, and `force` is not set.
        OSError: it cannot be written there.
    """
    path = Path(path)
    refuse_existing(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp gives it to its owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise FileExistsError if there is such a file or folder and `force` is not set."""
    if path.exists() and not force:
        raise FileExistsError(
            f"{path} exists and is kept: choose another name, or replace it with --force (force=True)"
        )


def remove_leftovers(folder: Path, names: Collection[str]) -> None:
    """Remove what killed processes left in a folder of their `new_file`s of these names."""
    for path in folder.glob(f".*.{'[a-z0-9_]' * 8}"):
        if path.name[1:-9] in names:
            path.unlink(missing_ok=True)
