"""The exercises as notebooks: from their text to student versions, to a course, to answers.

Text becomes a notebook by jupytext, a notebook a student version by nbgrader; nothing here grades.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbclient
import nbformat

from preprocessing.errors import InputError
from preprocessing.store import write_text

EXERCISES = Path(__file__).resolve().parents[1] / "docs" / "exercises"
CONFIG = "nbgrader_config.py"
# The two lines of every exercise that a solution is run with other values of.
SIZE_LINE, STUDENT_LINE = 'SIZE = "classroom"', 'STUDENT = ""'
SECONDS = 1800  # for a cell
ANSWERS = "import json; print(json.dumps(answers))"


@dataclass(frozen=True)
class Solved:
    """A solution that ran to its end: its numbers by name, and its seconds."""

    answers: dict[str, float]
    seconds: float


def find_sources() -> list[Path]:
    """The exercises as text, in order."""
    return sorted(EXERCISES.glob("[0-9]_*.py"))


def read_source(
    path: Path, size: str = "classroom", student: str | None = None
) -> nbformat.NotebookNode:
    """An exercise with its solutions as a notebook.

    Args:
        path: its text.
        size: smoke or classroom; the size of its phantoms and networks.
        student: whose phantoms; nobody's yet if it is not given.
    """
    text = path.read_text(encoding="utf-8")
    for line in (SIZE_LINE, STUDENT_LINE):
        if text.count(f"\n{line}") != 1:
            raise InputError(f"{path}: expected the line {line} once; every exercise has it")
    text = text.replace(SIZE_LINE, f'SIZE = "{size}"')
    if student is not None:
        text = text.replace(STUDENT_LINE, f"STUDENT = {student!r}")
    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):  # jupytext draws names; these stay the same
        cell["id"] = f"cell-{number:02d}"
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.validate(notebook)
    return notebook


def write_course(course: Path, sources: Iterable[Path], size: str = "classroom") -> None:
    """An nbgrader course: `source/<exercise>/<exercise>.ipynb` and its settings.

    Raises:
        InputError: the folder holds an exercise already.
    """
    for path in sources:
        folder = course / "source" / path.stem
        if folder.exists():
            raise InputError(f"{folder}: exists; name a new course folder, or delete it")
        folder.mkdir(parents=True)
        nbformat.write(read_source(path, size), folder / f"{path.stem}.ipynb")
    shutil.copy(EXERCISES / CONFIG, course / CONFIG)


def run_nbgrader(course: Path, *arguments: str) -> None:
    """Run an nbgrader command in a course folder.

    Raises:
        InputError: it fails; with the last lines of what it says.
    """
    # It starts another program of the same environment by its name.
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course, env=os.environ | {"PATH": programs}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split()[-60:])
        raise InputError(f"nbgrader {' '.join(arguments)} failed in {course}: {said}")


def build_student_versions(out: Path, sources: Iterable[Path]) -> list[Path]:
    """Write the student version of each exercise into `out`, by nbgrader."""
    written = []
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder)
        write_course(course, sources)
        run_nbgrader(course, "generate_assignment", "--assignment=*", "--no-db")
        for made in sorted(course.glob("release/*/*.ipynb")):
            text = made.read_text(encoding="utf-8")
            written.append(out / made.name)
            write_text(written[-1], text if text.endswith("\n") else text + "\n")
    return written


def solve(path: Path, folder: Path, size: str, student: str) -> Solved:
    """Run an exercise's solution, with its tests, in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    notebook = read_source(path, size, student)
    notebook.cells.append(nbformat.v4.new_code_cell(ANSWERS))
    started = time.perf_counter()
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    answers = json.loads(notebook.cells[-1].outputs[0]["text"])
    nbformat.write(notebook, folder / f"{path.stem}.ipynb")
    return Solved(answers, time.perf_counter() - started)
