"""A command called in this process: a start of Python and its libraries less for each test."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(monkeypatch, capfd):
    """Calls a script as its process would; (exit status, stdout, stderr), decoders' notes too."""

    def call_script(script, *arguments) -> tuple[int, str, str]:
        monkeypatch.chdir(ROOT)
        monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # as Python does for a script
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capfd.readouterr()
        status = 0
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as leaving:
            status = leaving.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return status, out, err

    return call_script
