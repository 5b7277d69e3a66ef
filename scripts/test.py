"""Run the tests: `python3 scripts/test.py [--slow] [pytest arguments]`.

In two processes; `-n 0` keeps them in one, for a debugger.

Makes .venv and installs what is needed on the first call. Needs Python 3.11 to 3.13, no more.
"""

import subprocess
import sys

from environment import ROOT, enter

# Each worker takes whole files, in order, and up to 4 GB of memory.
WORKERS = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def main() -> int:
    """Install what the tests need, then run ruff and pytest; the exit status is theirs."""
    enter(("exercises", "test"))
    arguments = sys.argv[1:]
    selection = [] if "--slow" in arguments else ["-m", "not slow"]
    arguments = [a for a in arguments if a != "--slow"]
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", str(ROOT)]).returncode
    tests = [sys.executable, "-m", "pytest", *WORKERS, *selection, *arguments]
    return subprocess.run(tests, cwd=ROOT).returncode or lint


if __name__ == "__main__":
    raise SystemExit(main())
