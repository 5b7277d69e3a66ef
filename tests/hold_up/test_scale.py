"""Work in several processes and on a Dask cluster: the same results, whoever is killed meanwhile.

The cluster is a real one: a scheduler and workers as processes of their own on 127.0.0.1.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lungsliding_tf.kolarik2023.config import KolarikConfig
from lungsliding_tf.kolarik2023.data import prepare_all
from preprocessing.errors import InputError
from replication.workers import AHEAD, do_all, read_ahead

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")

# What processes do in these tests; a module that they can import.
WORK = """
import os, signal, sys, time
from pathlib import Path
from preprocessing.errors import InputError

def read(source):
    folder, number = source
    (folder / f"begun-{number}").touch()
    while number == 0 and not (folder / "begun-1").exists():  # the other process comes to work
        time.sleep(0.01)
    time.sleep(0.05 if number % 3 else 0.15)
    if number == 13:
        raise InputError("the thirteenth cannot be read")
    return number, os.getpid()

def slowly(folder, number, say):
    say(f"task {number}")
    (folder / f"{number}-{os.getpid()}").touch()
    time.sleep(1.0)
    (folder / f"done-{number}").touch()

def environment(source):
    return {name: os.environ.get(name) for name in source}, "tensorflow" in sys.modules

def where(source):
    return os.getcwd()

def end(source):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def silent(line: str) -> None:
    pass


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The module of `WORK`."""
    (tmp_path / "hold_up_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hold_up_work", raising=False)
    import hold_up_work

    return hold_up_work


# ---- processes of one machine -------------------------------------------------------------------


def test_results_come_in_order_and_readers_never_run_far_ahead(work, tmp_path):
    sources = [(tmp_path, number) for number in range(13)]
    found, processes = [], set()
    for number, process in read_ahead(work.read, sources, jobs=2):
        found.append(number)
        processes.add(process)
        time.sleep(0.1)  # a slow writer
        begun = len(list(tmp_path.glob("begun-*")))
        assert begun <= len(found) + 2 * AHEAD
    assert found == list(range(13))
    assert len(processes) == 2 and os.getpid() not in processes


def test_what_cannot_be_read_is_told_at_its_turn(work, tmp_path):
    found = []
    with pytest.raises(InputError, match="the thirteenth cannot be read"):
        for number, _ in read_ahead(work.read, [(tmp_path, n) for n in range(30)], jobs=2):
            found.append(number)
    assert found == list(range(13))
    assert len(list(tmp_path.glob("begun-*"))) <= 13 + 2 * AHEAD


def test_one_job_is_this_process(work, tmp_path):
    found = read_ahead(work.read, [(tmp_path, 1), (tmp_path, 2)])
    assert {process for _, process in found} == {os.getpid()}
    said: list[str] = []
    do_all(work.slowly, [(tmp_path, 1)], said.append, jobs=4)  # nothing to share
    assert said == ["task 1"] and (tmp_path / f"1-{os.getpid()}").exists()


def test_processes_share_the_cores_and_what_the_user_set_stays(work, monkeypatch):
    names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr("replication.workers.cpu_count", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    for found, has_tensorflow in read_ahead(work.environment, [names, names], jobs=2):
        assert found["TF_NUM_INTRAOP_THREADS"] == "3" and found["OMP_NUM_THREADS"] == "5"
        assert not has_tensorflow


@posix
def test_a_process_that_is_killed_is_one_clear_line(work):
    with pytest.raises(InputError, match="ended in the middle of its work.*run the same command"):
        list(read_ahead(work.end, [1, 2], jobs=2))


@posix
def test_processes_end_soon_after_a_killed_parent(work, tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=environment)
    wait_for(lambda: len(list(tmp_path.glob("done-*"))) >= 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not [one for one in processes_of(tmp_path) if is_running(one)], seconds=20)
    count = len(list(tmp_path.glob("[0-9]*")))
    time.sleep(1.5)
    assert len(list(tmp_path.glob("[0-9]*"))) == count < 60


PARENT = """
import sys
from pathlib import Path
import hold_up_work
from replication.workers import do_all
do_all(hold_up_work.slowly, [(Path(sys.argv[1]), n) for n in range(60)], print, jobs=2)
"""


def processes_of(folder: Path) -> set[int]:
    """The processes that `slowly` ran in."""
    return {int(path.name.split("-")[1]) for path in folder.glob("[0-9]*-*")}


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")  # a zombie, where nobody waits for it, does nothing
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.05)


# ---- the same store ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(small_phantoms, tmp_path_factory) -> KolarikConfig:
    return KolarikConfig(
        data=small_phantoms, out=tmp_path_factory.mktemp("one"), cell=("2_30x30", "64-frame"),
        max_tiles=4, mmode_columns=4, epochs=3, batch_size=4, smooth_samples=2, seeds=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(config) -> dict[str, str]:
    """The bytes of the stores that one process makes."""
    prepare_all(config, silent)
    return bytes_of(config.out)


def bytes_of(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.glob("stores/*/*"))
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


PREPARE = """
import sys
from pathlib import Path
from lungsliding_tf.kolarik2023.config import KolarikConfig
from lungsliding_tf.kolarik2023.data import prepare_all
data, out, jobs = sys.argv[1:]
prepare_all(KolarikConfig(data=Path(data), out=Path(out), cell=("2_30x30", "64-frame"), max_tiles=4,
                          mmode_columns=4, jobs=int(jobs)), print)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_any_number_of_jobs_writes_the_same_bytes_without_tensorflow(
    config, prepared, tmp_path, jobs
):
    for name in ("tensorflow", "keras"):  # whoever imports one of them fails
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not for prepare')\n")
    command = [sys.executable, "-c", PREPARE, str(config.data), str(tmp_path / "out"), str(jobs)]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert bytes_of(tmp_path / "out") == prepared


def test_an_unusable_video_is_left_out_whoever_reads_it(config, tmp_path):
    data = shutil.copytree(config.data, tmp_path / "data")
    broken = sorted(data.glob("videos/*.avi"))[0]  # which is noticed where the frames end
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    stores = {}
    for jobs in (1, 2):
        given = replace(config, data=data, out=tmp_path / str(jobs), jobs=jobs, skip_unusable=True)
        prepare_all(given, silent)
        stores[jobs] = bytes_of(given.out)
    assert stores[1] == stores[2] and stores[1]
    with pytest.raises(InputError, match=broken.name):
        prepare_all(replace(given, out=tmp_path / "stop", skip_unusable=False), silent)


# ---- a cluster ---------------------------------------------------------------------------------


@dataclass
class Cluster:
    """Processes of a scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]


@contextlib.contextmanager
def dask_cluster(
    folder: Path, *options: str, path: str = "", workers: int = 2, **settings: str
) -> Iterator[Cluster]:
    """A scheduler and its workers on loopback, each in a process of its own."""
    pytest.importorskip("distributed")
    file, log = folder / "scheduler.json", (folder / "dask.log").open("w")
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", **settings}

    def start(program: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    started = [start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                     "--no-jupyter", "--scheduler-file", str(file))]  # fmt: skip
    try:
        wait_for(file.exists)
        address = json.loads(file.read_text())["address"]
        options = options or ("--nthreads", "1")
        started += [start("worker", address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard",
                          "--local-directory", str(folder), *options)
                    for _ in range(workers)]  # fmt: skip
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield Cluster(address, started[0], started[1:])
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        log.close()


@posix
def test_a_killed_worker_costs_a_cluster_nothing(work, config, prepared, tmp_path, capfd):
    with dask_cluster(tmp_path, path=str(tmp_path)) as cluster:
        given = replace(config, out=tmp_path / "out", cell=("64-frame",), cluster=cluster.address)
        prepare_all(given, silent)
        assert bytes_of(given.out).items() <= prepared.items() and bytes_of(given.out)
        here = {os.getcwd()}  # of the command, not of the worker
        assert set(read_ahead(work.where, [1, 2], cluster=cluster.address)) == here
        with pytest.raises(InputError, match="the thirteenth cannot be read"):
            list(read_ahead(work.read, [(tmp_path, 13)], cluster=cluster.address))
        killer = subprocess.Popen(
            [sys.executable, "-c", KILLER, str(tmp_path), str(cluster.workers[0].pid)],
            stdout=subprocess.PIPE,
        )
        killer.stdout.readline()
        tasks = [(tmp_path, number) for number in range(6)]
        do_all(work.slowly, tasks, silent, cluster=cluster.address)
        killer.communicate()
    assert cluster.workers[0].returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.glob("done-*")} == {f"done-{n}" for n in range(6)}
    assert processes_of(tmp_path) == {worker.pid for worker in cluster.workers}
    # What the killed worker had begun, and what it had ended if the kill came late: again.
    assert len(list(tmp_path.glob("[0-9]*-*"))) in (7, 8)
    assert "task 5" in capfd.readouterr().out, "lines of workers are printed where the command runs"


KILLER = """
import os, signal, sys, time
from pathlib import Path
folder, process = Path(sys.argv[1]), int(sys.argv[2])
print("watching", flush=True)
while not list(folder.glob(f"[0-9]*-{process}")):
    time.sleep(0.02)
time.sleep(0.3)
os.kill(process, signal.SIGKILL)
"""


@posix
def test_a_task_that_ends_its_workers_is_one_clear_line_and_no_hang(work, tmp_path):
    failures = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # 3 if nothing is said
    with dask_cluster(tmp_path, path=str(tmp_path), **failures) as cluster:
        said = "a task ended 1 worker.*look into their logs.*run the same command"
        with pytest.raises(InputError, match=said):
            list(read_ahead(work.end, [1], cluster=cluster.address))


@posix
def test_a_scheduler_that_ends_is_one_clear_line_and_no_hang(work, tmp_path, capfd):
    def end_scheduler():
        wait_for(lambda: list(tmp_path.glob("[0-9]*-*")))
        cluster.scheduler.kill()

    with dask_cluster(tmp_path, path=str(tmp_path)) as cluster:
        threading.Thread(target=end_scheduler).start()
        with pytest.raises(InputError, match="the scheduler is gone"):
            do_all(work.slowly, [(tmp_path, n) for n in range(30)], silent, cluster=cluster.address)
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_no_cluster_for_us_is_refused(work, tmp_path, monkeypatch):
    monkeypatch.setattr("replication.workers.CONNECT_SECONDS", 2)
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        list(read_ahead(work.where, [1], cluster="tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        list(read_ahead(work.where, [1], cluster="here"))
    with dask_cluster(tmp_path, "--nthreads", "2", workers=1) as cluster:
        with pytest.raises(InputError, match="a worker of 2 threads; start .* --nthreads 1"):
            list(read_ahead(work.where, [1], cluster=cluster.address))
        cluster.workers[0].kill()
        cluster.workers[0].wait()
        with pytest.raises(InputError, match="has no worker"):
            list(read_ahead(work.where, [1], cluster=cluster.address))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="--cluster needs Dask, which is not installed"):
        list(read_ahead(work.where, [1], cluster="tcp://127.0.0.1:9"))


# ---- whole studies -------------------------------------------------------------------------------

RUNS = [Path(f"runs/kolarik2023/mmode_resnet18-64-frame/seed{seed}") for seed in (0, 1)]
TRAIN = ["scripts/train_kolarik2023.py", "--cell", "64-frame", "--mmode-columns", "4", "--seeds",
         "2", "--epochs", "4", "--batch-size", "4", "--smooth-samples", "2"]  # fmt: skip


# With another number of threads sums end in other last digits, which training makes large.
PINNED = {name: "1" for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
                                 "OMP_NUM_THREADS")}  # fmt: skip


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, text=True, env={**os.environ, **PINNED},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def complete(*arguments) -> None:
    process = start(*arguments)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_predictions(ours: Path, theirs: Path) -> None:
    for run in RUNS:
        one, other = ((out / run / "predictions.csv").read_bytes() for out in (ours, theirs))
        assert one == other
        assert len(rows(ours / run / "history.csv")) == 4
    assert not [path for path in ours.rglob("*") if ".partial" in path.name or path.name == ".lock"]


@pytest.fixture(scope="module")
def undisturbed(small_phantoms, tmp_path_factory) -> Path:
    """The study by one process."""
    out = tmp_path_factory.mktemp("undisturbed")
    complete(*TRAIN, "--data", small_phantoms, "--out", out)
    return out


def finished_epochs(out: Path) -> dict[tuple[Path, str], dict[str, str]]:
    """Every finished epoch with its seconds, which are of no other."""
    return {(run, row["epoch"]): row for run in RUNS if (out / run / "history.csv").exists()
            for row in rows(out / run / "history.csv")}  # fmt: skip


@posix
@pytest.mark.slow
def test_a_study_on_a_cluster_goes_on_where_a_killed_worker_was(
    small_phantoms, undisturbed, tmp_path
):
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask_cluster(folder, **PINNED) as cluster:
        command = [*TRAIN, "--data", small_phantoms, "--out", tmp_path / "out",
                   "--cluster", cluster.address]  # fmt: skip
        process = start(*command)
        wait_for(lambda: len(finished_epochs(tmp_path / "out")) >= 2, seconds=240)
        before = finished_epochs(tmp_path / "out")
        cluster.workers[0].kill()
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
        assert cluster.workers[1].poll() is None
    after = finished_epochs(tmp_path / "out")
    assert {key: after[key] for key in before} == before, "a finished epoch was done again"
    assert_same_predictions(tmp_path / "out", undisturbed)


@posix
@pytest.mark.slow
def test_two_jobs_give_what_one_gives_after_the_command_was_killed(
    small_phantoms, undisturbed, tmp_path
):
    command = [*TRAIN, "--data", small_phantoms, "--out", tmp_path, "--jobs", "2"]
    process = start(*command)
    wait_for(lambda: len(finished_epochs(tmp_path)) >= 2, seconds=240)
    before = finished_epochs(tmp_path)
    process.kill()
    process.communicate()
    complete(*command)  # at once: processes of the first may still be there
    after = finished_epochs(tmp_path)
    assert {key: after[key] for key in before} == before, "a finished epoch was done again"
    assert_same_predictions(tmp_path, undisturbed)
