"""The exercises by nbgrader: an empty submission gets nothing, the solution all that a machine
grades."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "docs" / "exercises").glob("[0-9]_*.py"))
EMPTY, SOLVED = "ida", "ada"
# Sizes of phantoms and networks; at "classroom" the same round trip takes an hour.
SIZES = ["smoke", pytest.param("classroom", marks=pytest.mark.slow)]

each_exercise = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def notebooks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import exercise_notebooks

        yield exercise_notebooks


def submit(notebooks, course, source, size):
    """A course with one exercise, and two submissions: the student version, and the solution."""
    notebooks.write_course(course, [source], size)
    notebooks.run_nbgrader(course, "generate_assignment", f"--assignment={source.stem}")
    released = nbformat.read(course / "release" / source.stem / f"{source.stem}.ipynb", 4)
    for cell in released.cells:  # who answers nothing has typed an id all the same
        cell.source = cell.source.replace(notebooks.STUDENT_LINE, f'STUDENT = "{EMPTY}"')
    solved = notebooks.read_source(source, size, SOLVED)
    for student, notebook in ((EMPTY, released), (SOLVED, solved)):
        folder = course / "submitted" / student / source.stem
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{source.stem}.ipynb")


def grade(notebooks, course, source):
    """By student: {cell: (points of the machine, or None by hand; points possible)}."""
    from nbgrader.api import Gradebook

    notebooks.run_nbgrader(course, "autograde", f"--assignment={source.stem}")
    grades = {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in (EMPTY, SOLVED):
            of = gradebook.find_submission_notebook(source.stem, source.stem, student).grades
            grades[student] = {g.cell.name: (g.auto_score, g.max_score) for g in of}
    return grades


def errors(course, source, student):
    """What cells of an autograded notebook raised."""
    path = course / "autograded" / student / source.stem / f"{source.stem}.ipynb"
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
    plain = ["\n".join(o["traceback"][-3:]) for o in outputs if o["output_type"] == "error"]
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(plain))


@pytest.mark.parametrize("size", SIZES)
@each_exercise
def test_an_empty_submission_gets_nothing_and_the_solution_everything(
    notebooks, tmp_path, source, size
):
    submit(notebooks, tmp_path, source, size)
    grades = grade(notebooks, tmp_path, source)
    assert not errors(tmp_path, source, SOLVED)
    by_machine = {name: pair for name, pair in grades[SOLVED].items() if pair[0] is not None}
    assert all(got == most for got, most in by_machine.values()), by_machine
    assert all(not got for got, _ in grades[EMPTY].values()), grades[EMPTY]
    points = {name: most for name, (_, most) in grades[SOLVED].items()}
    assert sum(points.values()) == 20
    assert 10 <= sum(points[name] for name in by_machine) <= 16


def test_a_neighbours_numbers_are_not_ones_own(notebooks, tmp_path):
    source = SOURCES[0]
    notebooks.write_course(tmp_path, [source], "smoke")
    notebooks.run_nbgrader(tmp_path, "generate_assignment", f"--assignment={source.stem}")
    for student in (EMPTY, SOLVED):  # one copies from the other
        folder = tmp_path / "submitted" / student / source.stem
        folder.mkdir(parents=True)
        copied = notebooks.read_source(source, "smoke", SOLVED)
        nbformat.write(copied, folder / f"{source.stem}.ipynb")
    grades = grade(notebooks, tmp_path, source)
    assert "another student's id" in errors(tmp_path, source, EMPTY)
    assert sum(got or 0 for got, _ in grades[EMPTY].values()) < sum(
        got or 0 for got, _ in grades[SOLVED].values()
    )


def test_there_are_eight_in_the_order_of_their_numbers():
    assert [source.name[:2] for source in SOURCES] == [f"{number}_" for number in range(1, 9)]


@each_exercise
def test_the_committed_student_version_is_of_the_source_and_has_no_solution(notebooks, source):
    student = nbformat.read(source.with_suffix(".ipynb"), 4)
    nbformat.validate(student)
    whole = notebooks.read_source(source)
    assert [c.metadata.get("nbgrader", {}).get("grade_id") for c in student.cells] == [
        c.metadata.get("nbgrader", {}).get("grade_id") for c in whole.cells
    ]
    text = "\n".join(cell.source for cell in student.cells)
    assert "SOLUTION" not in text and "HIDDEN TESTS" not in text
    for given, solved in zip(student.cells, whole.cells, strict=True):
        marks = solved.metadata.get("nbgrader", {})
        if not marks.get("solution"):
            visible = re.sub(r"(?s)### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS\n?", "",
                             solved.source)  # fmt: skip
            assert given.source.strip() == visible.strip(), marks
        elif solved.cell_type == "markdown":
            assert given.source == "YOUR ANSWER HERE"
        else:
            stub = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"
            answer = r"(?s)([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION"
            cleared = re.sub(answer, stub, solved.source)
            assert given.source == cleared != solved.source, marks
    assert not any(cell.get("outputs") for cell in student.cells)


def test_notebooks_name_no_machine_and_use_no_magic(notebooks):
    for source in SOURCES:
        for cell in notebooks.read_source(source).cells:
            assert not re.search(r"(?m)^\s*[%!]|/home/|/work/|/root/|C:\\", cell.source), source


def test_opening_copies_what_is_not_there_and_leaves_what_is(tmp_path):
    own = tmp_path / "mine"
    own.mkdir()
    first = SOURCES[0].with_suffix(".ipynb").name
    (own / first).write_text("my work", encoding="utf-8")
    stub = tmp_path / "stub" / "jupyterlab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "__main__.py").write_text("import sys; print('lab', *sys.argv[1:])", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "scripts/exercises.py", "open", "--to", str(own), "--no-browser"],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(stub.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (own / first).read_text(encoding="utf-8") == "my work"
    assert len(list(own.glob("*.ipynb"))) == len(SOURCES)
    assert "stays as it is" in done.stdout and f"lab --notebook-dir={own}" in done.stdout


def test_a_course_folder_is_not_written_over(notebooks, tmp_path):
    from preprocessing.errors import InputError

    notebooks.write_course(tmp_path, SOURCES[:1])
    with pytest.raises(InputError, match="exists; name a new course folder"):
        notebooks.write_course(tmp_path, SOURCES[:1])


def test_an_exercise_without_its_two_lines_is_refused(notebooks, tmp_path):
    from preprocessing.errors import InputError

    broken = tmp_path / "1_broken.py"
    shutil.copy(SOURCES[0], broken)
    text = broken.read_text(encoding="utf-8").replace('SIZE = "classroom"', 'SIZE = "huge"')
    broken.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="expected the line SIZE"):
        notebooks.read_source(broken)


def test_expected_numbers_are_replaced_by_exercise_and_shown_with_their_range(
    notebooks, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from expected_numbers import write_expected

    def solved(**answers):
        return notebooks.Solved(answers, 3.0)

    write_expected("2_b", {"ada": solved(auroc=0.1), "ben": solved(auroc=0.9)}, tmp_path)
    write_expected("1_a", {"ada": solved(gap=0.25)}, tmp_path)
    page = write_expected("2_b", {"ada": solved(auroc=0.5), "ben": solved(auroc=0.7)}, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.index("## 1_a") < text.index("## 2_b")
    assert "| auroc | 0.6 | 0.5 to 0.7 | 0.5 | 0.7 |" in text and "0.9" not in text
