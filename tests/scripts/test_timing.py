"""The scripts that measure where time goes, and what settings of TensorFlow cost."""

import importlib
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    """Imports a script."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module


def work(seconds: float) -> None:
    """Keep a core busy."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_time_belongs_to_the_innermost_stage(script):
    clock = script("where_time_goes").Clock()
    inner = clock.timed("trace", work)

    def outer():
        work(0.2)
        inner(0.4)

    clock.timed("train", outer)()
    with clock.stage("report"):
        pass
    assert clock.seconds["train"] == pytest.approx(0.2, abs=0.06)
    assert clock.seconds["trace"] == pytest.approx(0.4, abs=0.06)
    assert clock.calls == {"train": 1, "trace": 1, "report": 1}


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
