"""Exercises 1 to 4 by nbgrader: an empty submission gets nothing, the solution everything.

Two files, so that two processes share the eight.
"""

from pathlib import Path

import nbformat
import pytest
from round_trip import EMPTY, SOLVED, check_round_trip, errors, grade

EXERCISES = Path(__file__).resolve().parents[2] / "docs" / "exercises"
SOURCES = sorted(EXERCISES.glob("[0-9]_*.py"))[:4]


# Sizes of phantoms and networks; at "classroom" the same round trip takes an hour.
@pytest.mark.parametrize("size", ["smoke", pytest.param("classroom", marks=pytest.mark.slow)])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_an_empty_submission_gets_nothing_and_the_solution_everything(
    notebooks, tmp_path, source, size
):
    check_round_trip(notebooks, tmp_path, source, size)


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
