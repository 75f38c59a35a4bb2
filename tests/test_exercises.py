"""The check of a learner's answer: no answer, a wrong one with its hint, a right one."""

import pytest

from bark_jax import notebook


def is_three(answer):
    assert answer == 3, "count again\nand more"


@pytest.mark.parametrize(
    ("answer", "passes", "says"),
    [(None, False, "No answer yet."), (2, False, "Not yet: count again\n"), (3, True, "Correct.")],
)
def test_an_answer_is_checked(answer, passes, says, capsys):
    assert notebook.check(answer, is_three) is passes
    assert says in capsys.readouterr().out


def test_a_test_without_a_hint_and_a_learners_own_error(capsys):
    def test(answer):
        assert answer()

    assert not notebook.check(lambda: False, test)
    assert "Not yet" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError):  # a mistake in the learner's code is shown as it is
        notebook.check(lambda: 1 / 0, test)
