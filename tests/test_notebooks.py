"""The notebook series as documents: complete, in order, executed, clean, taught the same way. nbval runs them."""

import ast
import copy
import re
from pathlib import Path

import draw
import make
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
LINES, FOLDED_LINES, VISIBLE_LINES = 15, 40, 700  # the most: of a visible cell, of a folded one, of a notebook
BYTES, IGNORED = 1_500_000, 6  # the most: bytes of a notebook, cells that are not compared
SILENT = ("assert", "np.testing", "plt.close")
IGNORE = {"nbval-ignore-output", "nbval-skip"}


@pytest.fixture(params=make.STEMS)
def stem(request):
    return request.param


@pytest.fixture
def book(stem):
    return nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4)


def cells(book, kind, tag=None):
    return [cell for cell in book.cells if cell.cell_type == kind and (not tag or tag in cell.metadata.get("tags", ()))]


def headings(book):
    prose = "\n".join(cell.source for cell in cells(book, "markdown"))
    return re.findall(r"^#+ .*$", re.sub(r"^```.*?^```", "", prose, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def test_the_series_is_complete():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == make.STEMS
    assert [stem[:3] for stem in make.STEMS] == [f"{n:02}_" for n in range(1, len(make.STEMS) + 1)]


def test_titles_badges_links_set_up_and_drawings_are_current(book, stem):
    """`make notebooks` would write the same: so each has its number and title, and leads to its neighbours."""
    fresh = copy.deepcopy(book)
    make.refresh(fresh, stem)
    make.clean(fresh)
    assert fresh == book
    place = make.STEMS.index(stem)
    assert book.cells[0].source.startswith(f"# {place + 1}. {make.SERIES[stem]}\n")
    assert f"{make.COLAB}/{stem}.ipynb" in book.cells[0].source
    assert [cell.id for cell in book.cells].index("set-up") == 2
    assert book.cells[-1].id == "next"
    if place + 1 < len(make.STEMS):
        assert f"({make.STEMS[place + 1]}.ipynb)" in book.cells[-1].source


def test_it_was_run_from_top_to_bottom(book):
    counts = [cell.execution_count for cell in cells(book, "code")]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in cells(book, "code") for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_it_shows_on_the_code_host_and_names_no_machine(book, stem):
    assert "widgets" not in book.metadata
    assert set(book.metadata) == {"kernelspec", "language_info"}
    text = (FOLDER / f"{stem}.ipynb").read_text(encoding="utf-8")
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.findall(
        r"""(?<![\w./])/(?:home|root|tmp|usr|work|content|private|Users|mnt|opt|var)/[\w./-]*""", text
    )
    assert len((FOLDER / f"{stem}.ipynb").read_bytes()) < BYTES


def shows_something(cell):
    """Whether a cell prints or displays, as far as its source tells."""
    tree = ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.MULTILINE))
    calls = [
        ast.unparse(node.func)
        for statement in tree.body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    ]
    names = "live player picture steps keyboard check".split()
    shown = {"print", "display", "plt.show", *(f"notebook.{name}" for name in names)}
    last = tree.body[-1] if tree.body else None
    ends_with_value = isinstance(last, ast.Expr) and not ast.unparse(last).startswith(SILENT)
    return bool(shown & set(calls)) or (ends_with_value and not isinstance(last.value, ast.Call))


def test_what_is_compared_has_an_output(book):
    """nbval passes a cell whose output was stripped."""
    bare = [cell.source for cell in cells(book, "code") if shows_something(cell) and not cell.outputs]
    assert not bare


def test_what_is_not_compared_is_little_and_asserts_something(book):
    loose = [cell for cell in cells(book, "code") if IGNORE & set(cell.metadata.get("tags", ()))]
    loose = [cell for cell in loose if cell.id != "set-up"]
    assert len(loose) <= IGNORED
    for cell in loose:
        assert re.search(r"^\s*(assert |np\.testing\.)", cell.source, re.MULTILINE), cell.source


def test_cells_are_short(book):
    long = {}
    for cell in cells(book, "code"):
        folded = make.FOLDING & set(cell.metadata.get("tags", ()))
        if (n := len(cell.source.splitlines())) > (FOLDED_LINES if folded else LINES):
            long[cell.source[:60]] = n
    assert not long
    assert make.visible_lines(book) <= VISIBLE_LINES


def test_what_is_folded_has_a_title(book):
    for cell in cells(book, "code"):
        if make.FOLDING & set(cell.metadata.get("tags", ())):
            assert cell.source.startswith("# @title "), cell.source
            assert cell.metadata.jupyter.source_hidden


def test_it_has_goals_exercises_and_a_recap(book):
    found = headings(book)
    assert found[1] == "## What you will be able to explain"
    assert found.index("## Exercises") < found.index("## Recap")
    goals = " ".join(book.cells[1].source.split())
    assert "**Needs:**" in goals
    assert "seconds on two CPU cores" in goals
    assert f"eading time: {make.reading_minutes(book)} minutes" in goals
    assert re.search(r"\d MB|\d GB", goals)


def test_every_exercise_has_a_folded_solution_that_ran(book):
    exercises = [line for line in headings(book) if line.startswith("### Exercise ")]
    solutions = cells(book, "code", "solution")
    assert len(exercises) >= 3
    assert [line[:14] for line in exercises] == [f"### Exercise {n}" for n in range(1, len(exercises) + 1)]
    assert [cell.source.splitlines()[0] for cell in solutions] == [
        f"# @title Solution {n}" for n in range(1, len(exercises) + 1)
    ]
    for cell in solutions:
        assert cell.metadata.jupyter.source_hidden
        assert cell.metadata.cellView == "form"
        assert "assert" in cell.source


def test_every_exercise_has_a_check_of_the_learners_answer(book):
    """No answer is there at first; the folded solution shows an answer that the check refuses, and one that passes."""
    answers = cells(book, "code", "answer")
    assert len(answers) == len(cells(book, "code", "solution"))
    for n, (answer, solution) in enumerate(zip(answers, cells(book, "code", "solution")), 1):
        assert re.search(rf"^answer_{n} = None\b", answer.source, re.MULTILINE)
        assert f"notebook.check(answer_{n}, test_{n})" in answer.source
        assert "No answer yet" in answer.outputs[0].text
        assert re.search(rf"^assert not notebook\.check\(.*, test_{n}\)$", solution.source, re.MULTILINE)
        assert re.search(rf"^assert notebook\.check\(.*, test_{n}\)$", solution.source, re.MULTILINE)
        assert book.cells.index(answer) < book.cells.index(solution)


def test_it_begins_with_a_warm_up(book):
    assert sum("**Warm-up:**" in cell.source for cell in cells(book, "markdown")) == 1


def test_pictures_have_words(book):
    """Every drawing, and every picture that a cell shows, says in words what is on it."""
    for cell in cells(book, "markdown"):
        assert not re.search(r"!\[\s*\]", cell.source)
    for cell in cells(book, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                assert output.metadata.get("image/png", {}).get("alt"), cell.source
            for image in re.findall(r"<img[^>]*>", data.get("text/html", "")):
                assert re.search(r'alt="[^"]+"', image) or " hidden " in image, cell.source


def test_the_routes_lead_through_the_whole_series():
    assert {n for _, numbers in make.ROUTES.values() for n in numbers} == set(range(1, len(make.STEMS) + 1))
    assert all(list(numbers) == sorted(numbers) for _, numbers in make.ROUTES.values())


def test_what_it_builds_is_checked(book):
    """At least every third cell of code asserts something."""
    checks = [cell for cell in cells(book, "code") if re.search(r"assert", cell.source)]
    assert len(checks) >= len(cells(book, "code")) / 3


def test_there_is_something_to_hear_and_to_turn(book):
    source = "\n".join(cell.source for cell in cells(book, "code"))
    assert re.search(r"notebook\.(player|steps)\(", source)
    assert re.search(r"notebook\.(live|panel|steps|keyboard)\(", source)


def test_links_lead_somewhere(book):
    prose = "\n".join(cell.source for cell in cells(book, "markdown"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(make.BLOB):
            assert (ROOT / target.removeprefix(make.BLOB + "/").split("#")[0]).exists(), target
        elif target.startswith(make.COLAB):
            assert (FOLDER / target.removeprefix(make.COLAB + "/")).exists(), target
        elif not target.startswith("http"):
            assert (FOLDER / target).exists(), target


def test_every_drawing_is_shown_and_drawn():
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.ipynb"):
        shown += "".join(cell.source for cell in cells(nbformat.read(path, as_version=4), "markdown"))
    for name, content in draw.render().items():
        assert (ROOT / "assets" / name).read_text(encoding="utf-8") == content, "run `make drawings`"
        assert f"assets/{name}" in shown or f"][{name.removesuffix('.svg')}]" in shown, name
    assert {path.name for path in (ROOT / "assets").glob("*.svg")} == set(draw.render())
