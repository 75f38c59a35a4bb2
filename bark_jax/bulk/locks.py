"""Locks: one job at a time in a folder, or several shares of one job. They end with the process that holds them.

They are those of `flock`. On NFS they hold among all hosts if the mount does not say `local_lock`; a file system
without locks makes the job fail at its start. Windows has none: there nothing stops a second job.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

from bark_jax.files import NO_LINKS

LOCK = ".lock"
PATIENCE_S = 2.0  # of a share, while another one holds the whole folder to end the job


@contextlib.contextmanager
def job_lock(folder: Path, share: tuple[int, int]) -> Iterator[None]:
    """Hold a folder for one job, or for one share of it, (index, count); other shares may hold it too.

    Raises:
        ValueError: another job, this very share, or a share of another count holds it.
        OSError: the file system has no locks.
    """
    index, count = share
    with contextlib.ExitStack() as held:
        if count == 1:
            held.enter_context(lock(folder / LOCK, busy=f"{folder} is in use by another job"))
        else:
            busy = f"{folder} is in use by another job, which is not a share of this one"
            held.enter_context(lock(folder / LOCK, shared=True, patience_s=PATIENCE_S, busy=busy))
            busy = f"share {index + 1}/{count} of {folder} is in use by another process"
            held.enter_context(lock(folder / f"{LOCK}.{index + 1}-of-{count}", busy=busy))
            for other in folder.glob(f"{LOCK}.*-of-*"):
                if not other.name.endswith(f"-of-{count}"):
                    with lock(other, busy=f"{folder} is in use by a share of another job, {other.name}"):
                        pass  # a killed process left it
        yield


@contextlib.contextmanager
def lock(path: Path, *, busy: str, shared: bool = False, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock on a file, which is made, and removed by the last one to hold it.

    Raises:
        ValueError: it is held by another; the message begins with `busy`.
    """
    if fcntl is None:
        yield
        return
    deadline = time.monotonic() + patience_s
    while True:
        try:
            handle = open_locked(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise ValueError(f"{busy}: wait for it to end, or choose another folder") from error
            time.sleep(0.05)
    try:
        yield
    finally:
        with contextlib.suppress(BlockingIOError):  # held by others too, who need the file
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def held_file(path: Path) -> Iterator[None]:
    """Wait for a file that others append to or replace, and keep them from it."""
    if fcntl is None:
        yield
        return
    handle = open_locked(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def open_locked(path: Path, operation: int) -> int:
    """Open a file, which is made if it is missing, and lock it. Raises BlockingIOError where `operation` says so."""
    assert fcntl is not None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o666)
        try:
            fcntl.flock(handle, operation)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.lstat(path)):
                    return handle
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError):
                error.filename = str(path)
            raise
        os.close(handle)  # it was removed or replaced meanwhile
