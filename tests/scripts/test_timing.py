"""The scripts that measure where time goes, and what settings of TensorFlow cost."""

import importlib
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from preprocessing.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    """Imports a script."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module


def test_time_belongs_to_the_innermost_stage(monkeypatch, script):
    where_time_goes = script("where_time_goes")
    worked = [100.0]
    monkeypatch.setattr(where_time_goes, "core_seconds", lambda: sum(worked))
    clock = where_time_goes.Clock()
    inner = clock.timed("trace", worked.append)

    def outer():
        worked.append(0.25)
        inner(4.0)
        worked.append(0.5)

    worked.append(8.0)
    clock.timed("train", outer)()
    with clock.stage("report"):
        worked.append(16.0)
    assert clock.seconds == {"rest": 8.0, "train": 0.75, "trace": 4.0, "report": 16.0}
    assert clock.calls == {"train": 1, "trace": 1, "report": 1}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_the_work_of_this_process_and_of_its_children_counts(script):
    core_seconds = script("where_time_goes").core_seconds
    before, until = core_seconds(), time.process_time() + 0.3
    while time.process_time() < until:
        pass
    own = core_seconds()
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        running = core_seconds()
        child.communicate("\n")
    assert min(own - before, running - own, core_seconds() - own) > 0.25


def test_functions_are_timed_where_they_are_used(monkeypatch, script):
    where_time_goes = script("where_time_goes")
    maker, user = (types.ModuleType(f"replication.{name}") for name in ("maker", "user"))
    maker.draw = user.draw = lambda: "drawn"
    for module in (maker, user):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    places = {"pictures": ("replication.maker:draw", "replication.gone:draw")}
    monkeypatch.setattr(where_time_goes, "STAGES", places)
    clock = where_time_goes.Clock()
    where_time_goes.watch(clock)
    assert (user.draw(), maker.draw()) == ("drawn", "drawn")
    assert clock.calls == {"pictures": 2}


def test_settings_are_compared_within_a_round(script):
    cpu_settings = script("cpu_settings")
    own = cpu_settings.AS_SET
    seconds = {
        own: np.array([[1.0, 2.0], [2.0, 2.0], [4.0, 2.0]]),
        "XLA": np.array([[0.5, 4.0], [1.0, 2.0], [4.0, 2.0]]),
        "float": None,
    }
    assert cpu_settings.format_cells(seconds) == {
        own: "2.000 s; 2.000 s",
        "XLA": "0.50 [0.50, 1.00]; 1.00 [1.00, 2.00]",
        "float": "does not run",
    }


def test_the_table_names_the_command_that_makes_it(script, tmp_path, monkeypatch):
    cost_of_prepare = script("cost_of_prepare")
    whole = cost_of_prepare.Arguments()
    assert whole.folder == ROOT / "docs"
    assert whole.command == "python scripts/cost_of_prepare.py"
    part = cost_of_prepare.Arguments(study=("vbreathnet",), times=(1,))
    assert part.folder is None and part.command.endswith(" --study vbreathnet --times 1")
    assert cost_of_prepare.Arguments(docs="none").folder is None
    monkeypatch.setattr(cost_of_prepare, "make_phantoms", None)
    monkeypatch.setattr("sys.argv", ["cost_of_prepare.py", "--docs", str(tmp_path)])
    with pytest.raises(InputError, match="holds no scaling.md"):
        cost_of_prepare.main()


def test_a_network_that_takes_no_step_says_why(script, monkeypatch):
    cpu_settings = script("cpu_settings")
    monkeypatch.setenv("KERAS_BACKEND", "no backend")
    with pytest.raises(InputError, match="cmwra takes no step .*no backend.*; nothing to compare"):
        cpu_settings.measure("cmwra", [cpu_settings.AS_SET], 1)


def test_layouts_are_compared_by_the_same_convolution(script):
    cpu_settings = script("cpu_settings")
    pattern = r"[23]D, .*: channels last [\d.]+ s, channels first ([\d.]+) \[\1, \1\]"
    for line in cpu_settings.compare_layouts(1):
        assert re.fullmatch(pattern, line) or line.endswith("does not run here, as without oneDNN")
