"""Two commands in one folder: the second is refused, and a killed one leaves no lock behind."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from preprocessing.errors import InputError
from replication.occupied import HOLDER, RUN_LOCK, alone_in, in_turn

HOLD = """
import sys, time
from pathlib import Path
from replication.occupied import alone_in
with alone_in(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that works in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "in"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_which_one_holds_the_folder(tmp_path, other):
    with pytest.raises(InputError, match=f"process {other.pid} on .* works in this folder"):
        with alone_in(tmp_path / "out"):
            pass
    assert other.poll() is None


def test_a_killed_process_leaves_the_folder_free(tmp_path, other):
    other.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    other.wait()
    assert (tmp_path / "out" / HOLDER).exists()  # its note stays, and means nothing
    with alone_in(tmp_path / "out"):
        assert str(os.getpid()) in (tmp_path / "out" / HOLDER).read_text()
    assert not (tmp_path / "out" / HOLDER).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_run_folder_is_waited_for_until_the_other_process_is_gone(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("alone_in", "in_turn"), str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline().strip() == "in"
    said, began = [], []

    def say(text):
        said.append(text)
        began.append(time.monotonic())
        threading.Timer(0.5, process.kill).start()

    with in_turn(tmp_path, say):
        assert time.monotonic() - began[0] >= 0.5 and (tmp_path / RUN_LOCK).exists()
    process.wait()
    assert said == [f"{tmp_path}: another process has it in hand, waiting for it"]
    assert list(tmp_path.iterdir()) == []
    with in_turn(tmp_path, said.append):  # nobody to wait for
        assert len(said) == 1


def test_of_many_processes_one_is_in_a_run_folder_at_a_time(tmp_path):
    """Though each takes the lock's file away when it leaves."""
    code = HOLD.replace("alone_in", "in_turn").replace(
        "    time.sleep(60)\n",
        "    path = Path(sys.argv[1]) / 'held'\n"
        "    path.touch(exist_ok=False)\n"
        "    time.sleep(0.05)\n"
        "    path.unlink()\n",
    ).replace("with in_turn", "for _ in range(5):\n  with in_turn")  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_free_and_so_is_this_one_afterwards(tmp_path, other):
    with alone_in(tmp_path / "elsewhere"), pytest.raises(KeyError):
        with alone_in(tmp_path / "third"):
            raise KeyError
    with alone_in(tmp_path / "third"):
        pass
