"""The command line: `python -m bark_jax COMMAND`, or `bark-jax COMMAND`.

Results go to standard output, progress and messages to standard error; `console.EXIT_CODES` are the exit codes.
Wrong input ends with one line that says what is wrong. Ctrl-C leaves no half-written file: of a long text, the
sentences spoken so far stay in a file of their own.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    hold_streams()
    with quiet_interrupt():
        from bark_jax.cli.commands import parser
        from bark_jax.console import run_command

        options = parser().parse_args(arguments)
    if arguments is None:  # a process of our own: what the imports made stays, no collection has to look at it again
        gc.freeze()
    return run_command(options)


def hold_streams() -> None:
    """Open what the parent has closed, as `>&-` does: else the next file that is opened gets what is printed."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, for the whole process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


@contextlib.contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once, in one line: imports in C would swallow a KeyboardInterrupt, or crash."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # as under nohup, or inside of another program
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(*_: object) -> None:
    os.write(2, b"\nbark-jax: interrupted, no file is half-written\n")
    os._exit(130)
