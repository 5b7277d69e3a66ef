"""Exercises 5 to 8 by nbgrader: an empty submission gets nothing, the solution everything.

Two files, so that two processes share the eight.
"""

from pathlib import Path

import pytest
from round_trip import check_round_trip

EXERCISES = Path(__file__).resolve().parents[2] / "docs" / "exercises"
SOURCES = sorted(EXERCISES.glob("[0-9]_*.py"))[4:]


# Sizes of phantoms and networks; at "classroom" the same round trip takes an hour.
@pytest.mark.parametrize("size", ["smoke", pytest.param("classroom", marks=pytest.mark.slow)])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_an_empty_submission_gets_nothing_and_the_solution_everything(
    notebooks, tmp_path, source, size
):
    check_round_trip(notebooks, tmp_path, source, size)
