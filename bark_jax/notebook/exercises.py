"""Exercises that check the learner's own answer."""

from collections.abc import Callable
from typing import Any


def check(answer: Any, test: Callable[[Any], None]) -> bool:
    """Run a test on the answer to an exercise, print what it says, and return whether the answer passes.

    Args:
        answer: what the learner found or wrote; None stands for no answer yet.
        test: raises AssertionError with a hint for a wrong answer.
    """
    if answer is None:
        print("No answer yet. Replace None in this cell, and run it again.")
        return False
    try:
        test(answer)
    except AssertionError as error:
        hint = str(error).strip().splitlines()
        print("Not yet: " + (hint[0] if hint else "the check failed"))
        return False
    print("Correct.")
    return True
