"""The exercises: open them, rebuild them, make a course of them, see what numbers to expect.

    python3 scripts/exercises.py                  # copies them to my-exercises, opens JupyterLab
    python3 scripts/exercises.py build            # student notebooks from docs/exercises/*.py
    python3 scripts/exercises.py course COURSE    # a course folder for nbgrader
    python3 scripts/exercises.py expect           # docs/exercises/expected.md: solutions, run

Makes .venv and installs what is needed on the first call. Needs Python 3.11 to 3.13, no more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from environment import enter

LAB = [sys.executable, "-m", "jupyterlab"]


@dataclass(frozen=True)
class Open:
    """Copy the exercises to a folder of your own and open them in JupyterLab."""

    to: Path = Path("my-exercises")
    """The folder; notebooks that are there already stay as they are."""
    browser: bool = True
    """Open a browser; without one, the address is printed."""
    port: int = 8888
    """Of this machine; the next free one if it is taken."""


@dataclass(frozen=True)
class Build:
    """Write the student notebooks anew, beside their sources."""


@dataclass(frozen=True)
class Course:
    """Make a course folder for nbgrader: sources with solutions, and its settings."""

    folder: Path
    """A new folder."""


@dataclass(frozen=True)
class Expect:
    """Run the solutions for several students and write down their numbers."""

    students: tuple[str, ...] = ("ada", "ben", "cleo", "dan", "eva")
    """Whose phantoms."""
    exercise: tuple[int, ...] = ()
    """Numbers of the exercises; all if none is given. Those of the others stay as they are."""


def open_exercises(arguments: Open) -> None:
    """Copy what is not there yet, and become JupyterLab."""
    from exercise_notebooks import EXERCISES

    arguments.to.mkdir(parents=True, exist_ok=True)
    for notebook in sorted(EXERCISES.glob("[0-9]_*.ipynb")):
        target = arguments.to / notebook.name
        print(f"{target}: {'stays as it is' if target.exists() else 'new'}")
        if not target.exists():
            shutil.copy(notebook, target)
    command = [*LAB, f"--notebook-dir={arguments.to}", f"--port={arguments.port}"]
    command += [] if arguments.browser else ["--no-browser"]
    if hasattr(os, "getuid") and os.getuid() == 0:  # in a container; JupyterLab refuses it else
        command.append("--allow-root")
    raise SystemExit(subprocess.run(command).returncode)


def build(arguments: Build) -> None:
    """Student versions of all exercises."""
    from exercise_notebooks import EXERCISES, build_student_versions, find_sources

    for path in build_student_versions(EXERCISES, find_sources()):
        print(path)


def make_course(arguments: Course) -> None:
    """A course folder, and what to type next."""
    from exercise_notebooks import find_sources, write_course

    write_course(arguments.folder, find_sources())
    print(f"{arguments.folder}: next, in it: nbgrader generate_assignment '--assignment=*'")


def expect(arguments: Expect) -> None:
    """Run solutions and write the table of their numbers."""
    from exercise_notebooks import find_sources, solve
    from expected_numbers import write_expected

    chosen = [s for s in find_sources() if int(s.name[0]) in (arguments.exercise or range(10))]
    for source in chosen:
        solved = {}
        for student in arguments.students:
            with tempfile.TemporaryDirectory() as folder:
                solved[student] = solve(source, Path(folder), "classroom", student)
            print(f"{source.stem}, {student}: {solved[student].seconds:.0f} s", flush=True)
        print(write_expected(source.stem, solved))


def main() -> None:
    """Read the command line and do it."""
    import tyro

    actions = {Open: open_exercises, Build: build, Course: make_course, Expect: expect}
    arguments = tyro.cli(Open | Build | Course | Expect, default=Open(), description=__doc__)
    actions[type(arguments)](arguments)


if __name__ == "__main__":
    enter(("exercises",))
    sys.path.insert(0, str(Path(__file__).parent))
    from replication.cli import run_command

    run_command(main)
