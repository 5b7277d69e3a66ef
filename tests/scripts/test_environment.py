"""The front doors on a machine that has nothing but Python, with pip and venv faked or broken."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def project(tmp_path):
    """A project without libraries: installing it needs no network."""
    root = tmp_path / "a project"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "environment.py").write_text((SCRIPTS / "environment.py").read_text())
    (root / "scripts" / "hello.py").write_text(
        "import sys\n"
        "from environment import enter\n"
        "enter(tuple(a for a in sys.argv[1:] if not a.startswith('-')))\n"
        "print('inside', sys.prefix)\n"
    )
    (root / "constraints.txt").write_text("")
    (root / "pyproject.toml").write_text("")
    (root / "setup.cfg").write_text("")
    return root


def run(project, *arguments, prelude=""):
    """Run hello.py as a user does; `prelude` is Python that breaks something first."""
    script = project / "scripts" / "hello.py"
    code = f"{prelude}\nimport runpy, sys\nsys.argv = {[str(script), *arguments]!r}\n"
    code += f"sys.path.insert(0, {str(script.parent)!r})\nrunpy.run_path({str(script)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def fake_venv(project, pip_status=0):
    """A real .venv with a pip that only notes what it was asked for."""
    venv.create(project / ".venv", with_pip=False)
    (site_packages,) = (project / ".venv").rglob("site-packages")
    (site_packages / "pip").mkdir(exist_ok=True)
    (site_packages / "pip" / "__init__.py").write_text("")
    (site_packages / "pip" / "__main__.py").write_text(
        f"import sys\nopen({str(project / 'pip.log')!r}, 'a').write(' '.join(sys.argv) + '\\n')\n"
        f"raise SystemExit({pip_status})\n"
    )


def test_first_call_installs_pinned_and_the_second_does_not(project):
    fake_venv(project)
    first = run(project, "test")
    assert "installing the pinned libraries" in first.stdout, first.stderr
    log = (project / "pip.log").read_text().splitlines()
    assert len(log) == 1 and "constraints.txt" in log[0] and log[0].endswith(f"{project}[test]")
    second = run(project)
    assert "installing" not in second.stdout and "inside" in second.stdout
    assert len((project / "pip.log").read_text().splitlines()) == 1


def test_changed_requirements_or_extras_are_installed_and_none_is_lost(project):
    fake_venv(project)
    run(project, "test")
    run(project, "torch")
    assert "[test,torch]" in (project / "pip.log").read_text().splitlines()[-1]
    (project / "constraints.txt").write_text("numpy==2.0\n")
    run(project)
    assert "[test,torch]" in (project / "pip.log").read_text().splitlines()[-1]
    assert len((project / "pip.log").read_text().splitlines()) == 3


def test_a_copied_project_is_installed_as_its_own(project):
    """Its .venv, copied too, still finds the packages of the original."""
    fake_venv(project)
    run(project, "test")
    copy = project.with_name("a copy")
    shutil.copytree(project, copy, symlinks=True)
    assert f"inside {copy}" in run(copy).stdout
    assert (project / "pip.log").read_text().splitlines()[-1].endswith(f"{copy}[test]")


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_missing_venv_module_names_the_package(project, missing):
    prelude = f"import sys; sys.modules[{missing!r}] = None"
    result = run(project, prelude=prelude)
    version = f"python3.{sys.version_info[1]}-venv"
    assert result.returncode == 2
    assert f"apt install {version}" in result.stderr and "Traceback" not in result.stderr
    assert not (project / ".venv").exists()


def test_another_python_is_told_which_one_to_use(project):
    prelude = "import sys; sys.version_info = (3, 9, 1, 'final', 0)"
    result = run(project, prelude=prelude)
    assert result.returncode == 2
    assert "this is Python 3.9; use 3.11 to 3.13" in result.stderr


def test_a_failed_installation_is_not_taken_for_a_finished_one(project):
    fake_venv(project, pip_status=1)
    result = run(project)
    assert result.returncode == 2 and "run the same command again" in result.stderr
    assert not (project / ".venv" / "installed.txt").exists()
