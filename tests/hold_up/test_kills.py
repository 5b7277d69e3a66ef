"""`kill -9` at random moments of every stage, then the same command again.

The result has to equal an undisturbed run's; nothing half-written may be taken for whole, and
nothing that was finished may be done twice. `docs/reliability.md` says what came of it.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9"),
]
ROOT = Path(__file__).resolve().parents[2]
RUN = Path("runs/kolarik2023/mmode_resnet18-64-frame/seed0")
STORE = Path("stores/64-frame")
TRAIN = ["scripts/train_kolarik2023.py", "--cell", "64-frame", "--mmode-columns", "4",
         "--epochs", "5", "--batch-size", "4", "--smooth-samples", "2"]  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """When a stage goes on, how often it is killed, and within how many seconds of its start."""

    name: str
    goes_on: Callable[[Path], bool]
    kills: int
    within: float


STAGES = (
    Stage("prepare", lambda out: (out / f"{STORE}.partial").exists(), 6, 0.5),
    Stage("training", lambda out: (out / RUN / "config.json").exists()
          and not (out / RUN / "model.keras").exists(), 7, 9.0),
    Stage("evaluation", lambda out: (out / RUN / "model.keras").exists()
          and not (out / RUN / "metrics.json").exists(), 5, 1.2),
)  # fmt: skip


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def complete(*arguments) -> None:
    process = start(*arguments)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


@dataclass
class Witness:
    """Remembers what was finished, and looks whether it is still the same."""

    out: Path
    seen: dict[str, object] = field(default_factory=dict)

    def look(self) -> None:
        for name, value in self._finished():
            assert self.seen.setdefault(name, value) == value, f"{name} was made twice"

    def _finished(self) -> Iterator[tuple[str, object]]:
        """Whatever a later run may not make again, with what would change if it did."""
        store, run = self.out / STORE, self.out / RUN
        if store.exists():
            samples = np.load(store / "samples.npy", mmap_mode="r")
            assert len(samples) == len(rows(store / "index.csv"))
            assert not (store / "progress.json").exists()
            yield "store", (store / "samples.npy").stat().st_mtime_ns
        if (run / "history.csv").exists():
            for row in rows(run / "history.csv"):  # its seconds are of this epoch and no other
                yield f"epoch {row['epoch']}", tuple(row.items())
        if (run / "model.keras").exists():
            yield "model", (run / "model.keras").stat().st_mtime_ns
        if (run / "metrics.json").exists():
            json.loads((run / "metrics.json").read_text())
            yield "metrics", (run / "metrics.json").stat().st_mtime_ns


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def killed_in(stage: Stage, out: Path, delay: float, *arguments) -> bool:
    """Start a command, kill it some time after the stage began; False if it ended before."""
    process = start(*arguments)
    until = time.monotonic() + 120
    while process.poll() is None and not stage.goes_on(out):
        assert time.monotonic() < until, f"{stage.name} never began"
        time.sleep(0.002)
    time.sleep(delay)
    ended = process.poll() is not None
    assert not ended or process.returncode == 0, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return not ended


@pytest.fixture(scope="module")
def undisturbed(small_phantoms, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    complete(*TRAIN, "--data", small_phantoms, "--out", out)
    complete("scripts/report.py", out)
    return out


def test_eighteen_kills_of_a_study_and_its_result_is_the_same(
    small_phantoms, undisturbed, tmp_path
):
    chance = random.Random(20261129)
    command = [*TRAIN, "--data", small_phantoms, "--out", tmp_path]
    witness, kills = Witness(tmp_path), dict.fromkeys([stage.name for stage in STAGES], 0)
    for stage in STAGES:
        for _ in range(stage.kills):
            kills[stage.name] += killed_in(
                stage, tmp_path, chance.uniform(0, stage.within), *command
            )
            witness.look()
    complete(*command)
    witness.look()
    print(f"kills: {kills}")
    assert kills["prepare"] >= 2 and kills["training"] >= 4 and kills["evaluation"] >= 3
    assert sum(kills.values()) >= 12
    assert_same_result(tmp_path, undisturbed)


def assert_same_result(ours: Path, theirs: Path) -> None:
    for name in ("samples.npy", "index.csv"):
        assert (ours / STORE / name).read_bytes() == (theirs / STORE / name).read_bytes()
    one, other = (rows(out / RUN / "predictions.csv") for out in (ours, theirs))
    assert [row["sample_id"] for row in one] == [row["sample_id"] for row in other]
    scores = [[float(row["score_present"]) for row in table] for table in (one, other)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    for out in (ours, theirs):
        assert not [p for p in out.rglob("*") if ".partial" in p.name or p.suffix == ".tmp"]
    assert len(rows(ours / RUN / "history.csv")) == 5


def test_six_kills_of_the_report_leave_a_whole_page_or_none(undisturbed, tmp_path):
    chance = random.Random(3)
    page, killed = tmp_path / "page.html", 0
    for _ in range(6):
        process = start("scripts/report.py", undisturbed, "--write", page)
        time.sleep(chance.uniform(2, 9))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not page.exists() or page.read_text(encoding="utf-8").rstrip().endswith("</html>")
        page.unlink(missing_ok=True)
    complete("scripts/report.py", undisturbed, "--write", page)
    assert killed >= 3
    whole, ours = ((undisturbed / "report.html"), page)
    assert abs(len(whole.read_text()) - len(ours.read_text())) < 500  # its command and its time
