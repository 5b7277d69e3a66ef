"""Full disks, folders that cannot be written, two commands at once, files that change meanwhile."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from preprocessing.video import probe, read_frames, write_mp4

ROOT = Path(__file__).resolve().parents[2]
RUN = Path("runs/kolarik2023/mmode_resnet18-64-frame/seed0")
TRAIN = ["scripts/train_kolarik2023.py", "--cell", "64-frame", "--mmode-columns", "1",
         "--epochs", "1", "--batch-size", "4", "--smooth-samples", "2"]  # fmt: skip
PREPARE = [*TRAIN, "--stop-after", "prepare"]
posix = pytest.mark.skipif(os.name == "nt", reason="limits, rights and mounts are POSIX's")


def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[int, str]:
    _, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, err.strip()


@pytest.fixture
def own_data(small_phantoms, tmp_path) -> Path:
    return shutil.copytree(small_phantoms, tmp_path / "my data")


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system of a few MB; the test is skipped where none may."""
    places = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount a small disk")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@posix
def test_a_small_disk_that_fills_in_training_is_one_line_and_work_goes_on_with_more_room(
    small_phantoms, small_disk
):
    # The store takes 1 MB, the network 45 MB, its state with the optimizer's 134 MB.
    out = small_disk("size=80m")
    arguments = [*TRAIN, "--data", small_phantoms, "--out", out / "o"]
    code, err = finish(start(*arguments))
    assert code == 2 and len(err.splitlines()) == 1, err
    assert "free space or choose another --out" in err
    folder = out / "o" / RUN
    assert not (folder / "history.csv").exists() and not (folder / "model.keras").exists()
    store = np.load(out / "o" / "stores" / "64-frame" / "samples.npy", mmap_mode="r")
    subprocess.run(["mount", "-o", "remount,size=600m", str(out)], check=True)
    made = (out / "o" / "stores" / "64-frame" / "samples.npy").stat().st_mtime_ns
    assert finish(start(*arguments))[0] == 0
    assert (folder / "metrics.json").exists() and len(store)
    assert (out / "o" / "stores" / "64-frame" / "samples.npy").stat().st_mtime_ns == made
    assert not list(folder.glob(".partial*"))


@posix
def test_a_disk_that_cannot_be_written_is_one_line(small_phantoms, small_disk):
    out = small_disk("ro")
    code, err = finish(start(*PREPARE, "--data", small_phantoms, "--out", out / "o"))
    assert code == 2 and len(err.splitlines()) == 1
    assert str(out) in err and "Read-only file system" in err


def test_an_output_folder_that_is_a_file_is_one_line(small_phantoms, tmp_path):
    (tmp_path / "o").write_text("mine")
    code, err = finish(start(*PREPARE, "--data", small_phantoms, "--out", tmp_path / "o"))
    assert code == 2 and len(err.splitlines()) == 1 and str(tmp_path / "o") in err
    assert (tmp_path / "o").read_text() == "mine"


@posix
def test_the_second_of_two_commands_in_one_folder_is_told_who_holds_it(small_phantoms, tmp_path):
    arguments = [*TRAIN, "--data", small_phantoms, "--out", tmp_path]
    first = start(*arguments)
    until = time.monotonic() + 60
    while not (tmp_path / ".occupied.json").exists():
        assert time.monotonic() < until and first.poll() is None
        time.sleep(0.02)
    code, err = finish(start(*arguments))
    assert code == 2 and re.search(rf"process {first.pid} on .* works in this folder", err), err
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert finish(start(*PREPARE, "--data", small_phantoms, "--out", tmp_path))[0] == 0


@pytest.mark.slow
def test_a_source_that_changes_after_prepare_is_noticed(own_data, tmp_path):
    out = tmp_path / "o"
    assert finish(start(*PREPARE, "--data", own_data, "--out", out))[0] == 0
    before = np.load(out / "stores" / "64-frame" / "samples.npy")
    trained = finish(start(*TRAIN, "--stop-after", "train", "--data", own_data, "--out", out))
    assert trained[0] == 0, trained[1]
    changed = next((own_data / "videos").glob("*.mp4"))
    frames, fps = [255 - frame for frame in read_frames(changed)], probe(changed).fps
    write_mp4(changed, frames, fps)
    code, err = finish(start(*TRAIN, "--data", own_data, "--out", out))
    assert code == 2 and "its source files have changed since" in err.splitlines()[-1], err
    after = np.load(out / "stores" / "64-frame" / "samples.npy")
    assert before.shape != after.shape or not np.array_equal(before, after)
    assert (out / RUN / "model.keras").exists()  # nothing of the earlier run is lost
