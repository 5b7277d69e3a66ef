"""What numbers the exercises' solutions give: docs/exercises/expected.csv and expected.md."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from exercise_notebooks import EXERCISES, Solved

from preprocessing.store import write_text
from replication.records import read_csv, write_csv
from replication.verdict_tables import markdown_table

TABLE, PAGE = "expected.csv", "expected.md"
COLUMNS = ("exercise", "number", "student", "value")
SECONDS = "seconds of the whole notebook, on 2 cores"
TITLE = """# What numbers to expect

Written by `python3 scripts/exercises.py expect`, which runs each solution for several student ids.
The phantoms differ from id to id, and so do the numbers; a submission outside of the range is not
wrong for that, and is graded against its own phantoms. Training differs a little between machines
too. Seconds are of a machine with other work to do.
"""


def write_expected(exercise: str, solved: Mapping[str, Solved], folder: Path = EXERCISES) -> Path:
    """Replace the numbers of one exercise in the table, and write the page anew.

    Args:
        exercise: the name of its source, without suffix.
        solved: by student.
        folder: of table and page.
    """
    rows = [row for row in read_expected(folder) if row["exercise"] != exercise]
    for student, one in solved.items():
        for number, value in (one.answers | {SECONDS: one.seconds}).items():
            rows.append({"exercise": exercise, "number": number, "student": student,
                         "value": f"{value:.4g}"})  # fmt: skip
    rows.sort(key=lambda row: row["exercise"])  # the order within an exercise stays
    write_csv(folder / TABLE, rows, COLUMNS)
    write_text(folder / PAGE, "\n".join([TITLE, *_tables(rows)]))
    return folder / PAGE


def read_expected(folder: Path = EXERCISES) -> list[dict[str, str]]:
    """The table's rows; none if it is not there yet."""
    path = folder / TABLE
    return read_csv(path) if path.exists() else []


def _tables(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """A table for each exercise: numbers down, students across, and the mean and range."""
    values: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        numbers = values.setdefault(row["exercise"], {})
        numbers.setdefault(row["number"], {})[row["student"]] = row["value"]
    lines = []
    for exercise, numbers in values.items():
        lines += [f"## {exercise}", ""]
        lines += markdown_table([_line(number, of) for number, of in numbers.items()])
        lines.append("")
    return lines


def _line(number: str, of: Mapping[str, str]) -> dict[str, str]:
    found = [float(value) for value in of.values()]
    mean, least, most = sum(found) / len(found), min(found), max(found)
    return {"number": number, "mean": f"{mean:.3g}", "range": f"{least:.3g} to {most:.3g}", **of}
