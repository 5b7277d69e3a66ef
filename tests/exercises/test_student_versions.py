"""The exercises as they are given out: student versions, course folders, expected numbers."""

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

each_exercise = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


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
