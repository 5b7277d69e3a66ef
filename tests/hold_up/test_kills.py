"""`kill -9` at random moments of every stage, then the same command again.

The result has to equal an undisturbed run's; nothing half-written may be taken for whole, and
nothing that was finished may be done twice. `docs/reliability.md` says what came of it.

A moment is drawn from within the stage, from when the command has it in hand on: until then, for
seconds, a command that goes on where another was killed only imports libraries. How long a stage
lasts on this machine, the undisturbed run tells.
"""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from replication.occupied import RUN_LOCK
from replication.report_pictures import REPORT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who has a lock"),
]
ROOT = Path(__file__).resolve().parents[2]
WHATEVER_ENDS_A_RUN = ("model.keras", "classifier.json", "classifier.skops", "metrics.json")


@dataclass(frozen=True)
class Stage:
    """A stage that goes on from when one file of the output folder is there until another is.

    Attributes:
        name, begins, ends: of the stage and the two files.
        in_hand: whether a command, started at a time in ns, has begun to work on it.
        kills: how often it is killed.
        share: within which share of the seconds that it lasts undisturbed.
    """

    name: str
    begins: str
    ends: str
    in_hand: Callable[[Path, int], bool]
    kills: int
    share: float

    def is_over(self, out: Path) -> bool:
        return (out / self.ends).exists()

    def is_worked_on(self, out: Path, started: int) -> bool:
        begun = (out / self.begins).exists() and not self.is_over(out)
        return begun and self.in_hand(out, started)


def locked(pattern: str) -> Callable[[Path, int], bool]:
    """Whether a living process has one of these locks; the file alone outlives a killed one."""

    def in_hand(out: Path, started: int) -> bool:
        held = Path("/proc/locks").read_text()
        return any(f":{state.st_ino} " in held for state in states(out, pattern))

    return in_hand


def written(pattern: str) -> Callable[[Path, int], bool]:
    """Whether one of these files was written since a command started."""
    return lambda out, started: any(s.st_mtime_ns > started for s in states(out, pattern))


def states(out: Path, pattern: str) -> Iterator[os.stat_result]:
    """Of the files of a pattern; the command may remove one meanwhile."""
    for path in out.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            yield path.stat()


@dataclass(frozen=True)
class Study:
    """A command small enough to be killed often, and how many epochs its networks train."""

    command: tuple[str, ...]
    stages: tuple[Stage, ...]
    epochs: int

    def on(self, data: Path, out: Path) -> list[str]:
        return [*self.command, "--data", str(data), "--out", str(out)]


def prepare(store: str, kills: int, share: float) -> Stage:
    partial = f"stores/{store}.partial"
    return Stage("prepare", partial, f"stores/{store}", written(f"{partial}/*"), kills, share)


def training_and_evaluation(run: str, kills: tuple[int, int]) -> tuple[Stage, Stage]:
    model, in_hand = f"{run}/model.keras", locked(f"{run}/{RUN_LOCK}")
    return (
        Stage("training", f"{run}/config.json", model, in_hand, kills[0], 0.7),
        Stage("evaluation", model, f"{run}/metrics.json", in_hand, kills[1], 0.5),
    )


MMODE = "runs/kolarik2023/mmode_resnet18-64-frame/seed0"
KOLARIK = Study(
    ("scripts/train_kolarik2023.py", "--cell", "64-frame", "--mmode-columns", "4", "--epochs", "5",
     "--batch-size", "4", "--smooth-samples", "2"),
    (
        prepare("64-frame", kills=6, share=0.4),
        *training_and_evaluation(MMODE, kills=(7, 5)),
    ),
    epochs=5,
)  # fmt: skip

WHOLE = "runs/cnr_iemn/multitask-resnext50_32x4d-random_weights/seed0"
FOLD_0 = "runs/cnr_iemn_folds/multitask-resnext50_32x4d-random_weights/seed0-fold0of2"
FOLD_1 = FOLD_0.replace("fold0", "fold1")
# The last of the classifiers, XGBoost on what the whole network said of its own scans.
PATIENTS = "runs/cnr_iemn/patients-resnext50_32x4d-xgboost-published_in_sample-random_weights/seed0"
CNR_IEMN = Study(
    ("scripts/train_cnr_iemn.py", "--scenario", "multitask", "--network", "resnext50_32x4d",
     "--weights", "random", "--width", "0.25", "--store-size", "48", "--input-size", "32",
     "--normal-scans", "4", "--batch-size", "16", "--epochs", "2", "--folds", "2",
     "--rise-slices", "1", "--rise-masks", "128"),
    (
        prepare("slices", kills=3, share=0.6),
        *training_and_evaluation(WHOLE, kills=(1, 1)),
        Stage("folds", f"{FOLD_0}/config.json", f"{FOLD_1}/metrics.json",
              locked(f"runs/cnr_iemn_folds/*/*/{RUN_LOCK}"), 2, 0.6),
        Stage("patients", f"{FOLD_1}/metrics.json", f"{PATIENTS}/metrics.json",
              written("runs/cnr_iemn/patients-*/seed0/*"), 2, 0.6),
    ),
    epochs=2,
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
    samples: dict[Path, int] = field(default_factory=dict)

    def look(self) -> None:
        for name, value in (*self._finished_stores(), *self._finished_runs()):
            assert self.seen.setdefault(name, value) == value, f"{name} was made twice"
        for progress in self.out.glob("stores/*.partial/progress.json"):
            count = json.loads(progress.read_text())["count"]
            assert count >= self.samples.get(progress, 0), f"{progress}: a source was read twice"
            self.samples[progress] = count

    def _finished_stores(self) -> Iterator[tuple[str, object]]:
        """Whatever a later command may not make again, with what would change if it did."""
        for store in (p for p in self.out.glob("stores/*") if p.suffix != ".partial"):
            samples = np.load(store / "samples.npy", mmap_mode="r")
            assert len(samples) == len(rows(store / "index.csv"))
            assert not (store / "progress.json").exists()
            yield str(store), (store / "samples.npy").stat().st_mtime_ns

    def _finished_runs(self) -> Iterator[tuple[str, object]]:
        for run in runs_of(self.out):
            if (run / "history.csv").exists():
                for row in rows(run / "history.csv"):  # its seconds are of this epoch and no other
                    yield f"{run}: epoch {row['epoch']}", tuple(row.items())
            if (run / "metrics.json").exists():
                json.loads((run / "metrics.json").read_text())
            for path in (run / name for name in WHATEVER_ENDS_A_RUN if (run / name).exists()):
                # A classifier takes a moment: with its run unfinished it is fitted anew.
                if path.suffix == ".keras" or (run / "metrics.json").exists():
                    yield str(path), path.stat().st_mtime_ns


def runs_of(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("runs/**/config.json"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def seconds_undisturbed(study: Study, data: Path, out: Path) -> dict[str, float]:
    """Let a study's command do all its work; how long each stage lasted."""
    started, process = time.time_ns(), start(*study.on(data, out))
    begun, ended, until = {}, {}, time.monotonic() + 600
    while process.poll() is None:
        assert time.monotonic() < until, "the command hangs"
        for stage in study.stages:
            if stage.name not in begun and stage.is_worked_on(out, started):
                begun[stage.name] = time.monotonic()
            if stage.name in begun and stage.name not in ended and stage.is_over(out):
                ended[stage.name] = time.monotonic()
        time.sleep(0.002)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return {name: ended.get(name, time.monotonic()) - since for name, since in begun.items()}


def killed_in(stage: Stage, out: Path, delay: float, *arguments) -> bool:
    """Start a command and kill it, some time after it has a stage in hand, or at the stage's end.

    Returns:
        False if the stage is over already.
    """
    if stage.is_over(out):
        return False
    started, process = time.time_ns(), start(*arguments)
    until = time.monotonic() + 120
    while process.poll() is None and not stage.is_worked_on(out, started):
        assert time.monotonic() < until, f"{stage.name} never began"
        time.sleep(0.002)
    until = time.monotonic() + delay
    while time.monotonic() < until and process.poll() is None and not stage.is_over(out):
        time.sleep(0.002)
    ended = process.poll() is not None
    assert not ended or process.returncode == 0, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return not ended


def kill_often(
    study: Study, seconds: dict[str, float], data: Path, out: Path, seed: int
) -> dict[str, int]:
    """Kill a study's command in each stage, then let it end; how often each was killed."""
    chance, command, witness = random.Random(seed), study.on(data, out), Witness(out)
    kills = {}
    for stage in study.stages:
        kills[stage.name] = 0
        for _ in range(stage.kills):
            delay = chance.uniform(0, stage.share * seconds[stage.name])
            if not killed_in(stage, out, delay, *command):
                break
            kills[stage.name] += 1
            witness.look()
    complete(*command)
    witness.look()
    shown = {name: f"{number} within {seconds[name]:.1f} s" for name, number in kills.items()}
    print(f"kills: {shown}")
    return kills


def assert_same_result(study: Study, ours: Path, theirs: Path) -> None:
    stores = sorted(path.relative_to(theirs) for path in theirs.glob("stores/*"))
    for name in (store / file for store in stores for file in ("samples.npy", "index.csv")):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    runs = [path.relative_to(theirs) for path in runs_of(theirs)]
    assert stores and runs and runs == [path.relative_to(ours) for path in runs_of(ours)]
    for run in runs:
        one, other = (rows(out / run / "predictions.csv") for out in (ours, theirs))
        assert [row["sample_id"] for row in one] == [row["sample_id"] for row in other]
        names = [name for name in one[0] if name.startswith("score_")]
        scores = [[[float(row[n]) for n in names] for row in table] for table in (one, other)]
        np.testing.assert_allclose(*scores, atol=1e-5)
        if (ours / run / "model.keras").exists():
            assert len(rows(ours / run / "history.csv")) == study.epochs
    for out in (ours, theirs):
        assert not [p for p in out.rglob("*") if ".partial" in p.name or p.suffix == ".tmp"]


@pytest.fixture(scope="module")
def undisturbed(small_phantoms, tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """An output folder, and how long each stage lasted."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, seconds_undisturbed(KOLARIK, small_phantoms, out)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """4 phantom scans of each class, 64 px."""
    from cnr_iemn.phantom import write_cohort

    return write_cohort(
        tmp_path_factory.mktemp("scans") / "data", covid=4, cap=4, normal=4, labelled_covid=4,
        labelled_cap=4, size=64, slice_spacing=25.0, seed=5, jobs=2, progress=False,
    )  # fmt: skip


def test_kills_of_a_study_and_its_result_is_the_same(small_phantoms, undisturbed, tmp_path):
    whole, seconds = undisturbed
    kills = kill_often(KOLARIK, seconds, small_phantoms, tmp_path, seed=20261129)
    assert kills["prepare"] >= 2 and kills["training"] >= 4 and kills["evaluation"] >= 3
    assert sum(kills.values()) >= 12
    assert_same_result(KOLARIK, tmp_path, whole)


def test_kills_of_a_study_of_folds_and_patients_and_its_result_is_the_same(scans, tmp_path):
    """Scans read by processes, a network for each fold, classifiers on what they predict."""
    whole, ours = tmp_path / "undisturbed", tmp_path / "ours"
    kills = kill_often(
        CNR_IEMN, seconds_undisturbed(CNR_IEMN, scans, whole), scans, ours, seed=4
    )
    assert all(kills.values()) and sum(kills.values()) >= 6
    assert_same_result(CNR_IEMN, ours, whole)


def test_six_kills_of_the_report_leave_a_whole_page_or_none(undisturbed, tmp_path):
    chance = random.Random(3)
    page, killed = tmp_path / "page.html", 0
    out, _ = undisturbed
    command = ("scripts/report.py", out, "--write", page)
    begun = time.monotonic()
    complete(*command)
    seconds, whole = time.monotonic() - begun, page.read_text(encoding="utf-8")
    for _ in range(20):  # a machine that is less busy than before ends before it is killed
        if killed == 6:
            break
        page.unlink(missing_ok=True)
        shutil.rmtree(out / "figures" / REPORT)  # its pictures are drawn each time
        process = start(*command)
        time.sleep(chance.uniform(0.2, 0.8) * seconds)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not page.exists() or page.read_text(encoding="utf-8").rstrip().endswith("</html>")
        (out / "figures" / REPORT).mkdir(exist_ok=True)
    complete(*command)
    assert killed == 6
    assert abs(len(whole) - len(page.read_text(encoding="utf-8"))) < 500  # its time
    print(f"kills of the report: {killed}")
