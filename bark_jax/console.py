"""What every command shares: exit codes, messages in one line, tables, and bars on standard error."""

import argparse
import contextlib
import functools
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from bark_jax.files import user_path

DONE, INCOMPLETE, FAILED, INTERRUPTED, READER_GONE = 0, 1, 2, 130, 141  # the last two as a shell has them
EXIT_CODES = """exit codes:
  0    everything asked for was made
  1    some of it could not be made, as the messages say; the rest was
  2    wrong input, or a file that cannot be read or written
  130  interrupted with Ctrl-C
  141  the reader of standard output has closed it, as `head` does
"""

Report: TypeAlias = Callable[[str, int, int], None]  # called as (stage, done, total)
Progress: TypeAlias = bool | Report  # bars on standard error or none; or a function to call instead


def run_command(options: argparse.Namespace) -> int:
    """Call `options.run(options)`, show errors and warnings in one line each, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may have what the terminal has not
    keep_compiled_programs()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = options.run(options) or DONE
            print(end="", flush=True)
            return code
    except KeyboardInterrupt as stopped:
        say(f"interrupted, {_notes(stopped) or 'no file is half-written'}", end_bar=True)
        return INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return READER_GONE
    except (ValueError, OSError) as error:
        say(f"error: {', '.join(filter(None, (one_line(error), _notes(error))))}")
        return FAILED


def say(message: str, *, end_bar: bool = False) -> None:
    """Write one line to standard error, on a line of its own where a bar may be."""
    with contextlib.suppress(OSError):  # nobody reads it any more, or it goes to a disk that is full
        tqdm.write("\n" * end_bar + f"bark-jax: {printable(message)}", file=sys.stderr)


def path(word: str) -> Path:
    """Read the name of a file or folder for `argparse`, with `~` expanded."""
    try:
        return user_path(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def one_line(error: Exception) -> str:
    """Return the message of an error as one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def printable(text: str) -> str:
    """Write control characters as escapes, so that a name from a file cannot steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def discard_output() -> None:
    """Send standard output nowhere, so that Python's own flush at exit does not fail a second time."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def keep_compiled_programs() -> None:
    """Let JAX keep its compiled programs for the next run, unless the user has chosen a place for them.

    None are kept where there is no home directory to write to, as for a container's user without an entry in
    /etc/passwd.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bark-jax")
        folder.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError):
        return
    if not os.access(folder, os.W_OK):
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # the small programs add up


def _notes(error: BaseException) -> str:
    return ": ".join(getattr(error, "__notes__", ()))


def _show_warning(message: Warning | str, *_: Any) -> None:
    say(f"warning: {' '.join(str(message).split())}")


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------


def table(*header: str, rows: Sequence[Sequence[Any]]) -> list[str]:
    """Align the cells under a header: the first column to the left, the others to the right."""
    cells = [header, *([cell(x) for x, _ in zip(row, header)] for row in rows)]
    first, *others = [max(map(len, column)) for column in zip(*cells)]
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]).rstrip() for row in cells]


def cell(value: Any) -> str:
    """Write a number with three digits or more; nothing for None."""
    if value is None or isinstance(value, str):
        return printable(value or "")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------------------------------------
# Bars
# ---------------------------------------------------------------------------------------------

BAR = "{desc} {percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


@contextlib.contextmanager
def stage_bar(stage: str, progress: Progress) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call as (done, total): it moves the bar of a stage, or calls `progress`."""
    if callable(progress):
        yield functools.partial(progress, stage)
        return
    with tqdm(desc=f"{stage:8}", total=1, bar_format=BAR, disable=not progress) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
        bar.total = bar.n  # a speech may end early
        bar.refresh()


@contextlib.contextmanager
def sentence_bar(progress: Progress) -> Iterator[Report]:
    """Give a function to call as (stage, done, total): it moves one bar for all sentences, or is `progress`."""
    if callable(progress):
        yield progress
        return
    with tqdm(desc="sentence", total=1, bar_format=BAR + "{postfix}", miniters=0, disable=not progress) as bar:

        def report(stage: str, done: int, total: int) -> None:
            if stage == "sentence":
                bar.total = total
                bar.set_postfix_str("", refresh=False)
                bar.update(done - bar.n)
            else:
                bar.set_postfix_str(f"{stage} {done}/{total}", refresh=False)
                bar.update(0)

        yield report
