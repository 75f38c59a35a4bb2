"""The command line: `python -m bark_jax COMMAND`, or `bark-jax COMMAND`.

Results go to standard output, progress and messages to standard error; `console.EXIT_CODES` are the exit codes.
Wrong input ends with one line that says what is wrong. Ctrl-C leaves no half-written file: of a long text, the
sentences spoken so far stay in a file of their own.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from bark_jax.cli.commands import parser
    from bark_jax.console import run_command

    return run_command(parser().parse_args(arguments))
