"""An exercise by nbgrader, from source to grades: an empty submission and the solution."""

import re

import nbformat

EMPTY, SOLVED = "ida", "ada"


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


def check_round_trip(notebooks, course, source, size):
    """An empty submission gets nothing, the solution all that a machine grades."""
    submit(notebooks, course, source, size)
    grades = grade(notebooks, course, source)
    assert not errors(course, source, SOLVED)
    by_machine = {name: pair for name, pair in grades[SOLVED].items() if pair[0] is not None}
    assert all(got == most for got, most in by_machine.values()), by_machine
    assert all(not got for got, _ in grades[EMPTY].values()), grades[EMPTY]
    points = {name: most for name, (_, most) in grades[SOLVED].items()}
    assert sum(points.values()) == 20
    assert 10 <= sum(points[name] for name in by_machine) <= 16
