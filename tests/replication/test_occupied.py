"""Two commands in one folder: the second is refused, and a killed one leaves no lock behind."""

import os
import signal
import subprocess
import sys

import pytest

from preprocessing.errors import InputError
from replication.occupied import HOLDER, alone_in

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


def test_other_folders_are_free_and_so_is_this_one_afterwards(tmp_path, other):
    with alone_in(tmp_path / "elsewhere"), pytest.raises(KeyError):
        with alone_in(tmp_path / "third"):
            raise KeyError
    with alone_in(tmp_path / "third"):
        pass
