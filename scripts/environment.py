"""Make and enter the project's virtual environment. Standard library only, any Python from 3.11."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "installed.txt"
_ENTERED = "LUNG_REPLICATION_VENV_ENTERED"  # tells the second start from the first
VERSIONS = ((3, 11), (3, 13))  # oldest and newest Python that all pinned libraries support


def enter(extras: tuple[str, ...] = ()) -> None:
    """Go on inside `.venv` with everything installed; made or brought up to date if need be.

    Starts the calling script anew under `.venv`'s Python unless it already runs there, so the
    lines after the call always see the installed libraries.
    """
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if not _is_installed(extras):
        _install(extras)
    if inside:
        os.environ.pop(_ENTERED, None)
    else:
        if os.environ.get(_ENTERED):
            _leave(f"{_python()} does not run inside {VENV}; delete that folder and run this again")
        os.environ[_ENTERED] = "yes"
        command = [str(_python()), *sys.argv]
        if os.name == "nt":  # execv on Windows returns to the shell before the work is done
            raise SystemExit(subprocess.run(command).returncode)
        os.execv(command[0], command)


def _is_installed(extras: tuple[str, ...]) -> bool:
    """Whether `.venv` works and holds what setup.cfg and constraints.txt now ask for."""
    if not _python().exists() or not STAMP.exists():
        return False
    stamp = STAMP.read_text().split()
    return stamp[:1] == [_wanted()] and set(extras) <= set(stamp[1:])


def _install(extras: tuple[str, ...]) -> None:
    """Make `.venv` and install the project with its pinned dependencies into it."""
    earlier = STAMP.read_text().split()[1:] if STAMP.exists() else []
    extras = tuple(sorted({*extras, *earlier}))  # one command does not take away another's extras
    STAMP.unlink(missing_ok=True)
    if not _works(_python()):
        _make_venv()
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    print("installing the pinned libraries into .venv (once, a few minutes) ...", flush=True)
    pip = [str(_python()), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), "-e", project])
    if done.returncode:
        _leave("pip could not install the libraries (its message is above); check the network and "
               "the free disk space (about 3 GB), then run the same command again")  # fmt: skip
    STAMP.write_text(" ".join([_wanted(), *extras]))


def _make_venv() -> None:
    oldest, newest = (".".join(map(str, version)) for version in VERSIONS)
    running = ".".join(map(str, sys.version_info[:2]))
    if not VERSIONS[0] <= sys.version_info[:2] <= VERSIONS[1]:
        command = " ".join(sys.argv)
        _leave(
            f"this is Python {running}; use {oldest} to {newest}, such as: python{newest} {command}"
        )
    missing = (
        "Python's venv module is missing; on Debian or Ubuntu: sudo apt install "
        f"python{running}-venv; on Fedora: sudo dnf install python3-pip; then run this again"
    )
    try:
        import ensurepip  # noqa: F401  Debian splits it off together with a working venv
        import venv
    except ImportError:
        _leave(missing)
    print("making .venv ...", flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=True)
    except subprocess.CalledProcessError:
        _leave(missing)


def _works(python: Path) -> bool:
    """Whether a Python starts and has pip: a copied or half-made .venv may not."""
    if not python.exists():
        return False
    probe = [str(python), "-c", "import pip"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def _python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _wanted() -> str:
    """A hash of what determines the installation."""
    # The packages are installed as this folder's: a copy of it would run the original's code.
    digest = hashlib.sha256(os.fsencode(ROOT))
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _leave(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2)
