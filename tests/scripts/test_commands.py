"""The commands: their exit status, their one line, and what they leave behind.

As processes where a process is what is tested: its memory, its signals, what decoders write.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from lungsliding_tf.kolarik2023.config import KolarikConfig

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["scripts/train_kolarik2023.py", "--cell", "2_30x30", "--depth", "18", "--epochs", "2",
         "--batch-size", "4", "--max-tiles", "2", "--smooth-samples", "2"]  # fmt: skip


def command(*arguments, **options):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finish(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def one_line(err):
    """The last line of stderr; nothing before it may be a stack trace."""
    assert "Traceback" not in err, err
    return err.strip().splitlines()[-1]


@pytest.fixture
def own_data(small_phantoms, tmp_path):
    copy = tmp_path / "my data"
    shutil.copytree(small_phantoms, copy)
    return copy


def test_help_lists_every_hyperparameter_with_its_default_and_section(call):
    code, out, _ = call("scripts/train_kolarik2023.py", "--help")
    assert code == 0
    for field in fields(KolarikConfig):
        assert f"--{field.name.replace('_', '-')}" in out
    plain = re.sub(r"[│\s]+", " ", out)
    assert "Clips a step (section 3.2). (default: 32)" in plain


def refused(status, err, expected):
    assert status == 2
    assert expected in one_line(err) and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: (d / "labels.csv").unlink(), "labels.csv: not found"),
        (lambda d: next(d.glob("videos/*.roi.json")).write_text("{"), "roi.json"),
        (lambda d: shutil.rmtree(d), "labels.csv: not found"),
    ],
)
def test_bad_input_is_one_line_and_status_2(call, own_data, tmp_path, damage, expected):
    damage(own_data)
    arguments = [*TRAIN, "--data", own_data, "--out", tmp_path / "o", "--stop-after", "prepare"]
    status, _, err = call(*arguments)
    refused(status, err, expected)
    assert not list((tmp_path / "o").glob("stores/2_30x30"))


def test_decoders_of_a_damaged_video_add_nothing_to_the_line(own_data, tmp_path):
    next(own_data.glob("videos/*.mp4")).write_bytes(b"")
    arguments = [*TRAIN, "--data", own_data, "--out", tmp_path / "o", "--stop-after", "prepare"]
    code, _, err = finish(command(*arguments))
    refused(code, err, "is empty (0 bytes)")
    assert not list((tmp_path / "o").glob("stores/2_30x30"))


def test_an_out_that_is_a_file_is_one_line(call, small_phantoms, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = [*TRAIN, "--data", small_phantoms, "--out", tmp_path / "file" / "o"]
    status, _, err = call(*arguments, "--stop-after", "prepare")
    refused(status, err, "Not a directory")


def test_impossible_flags_are_one_line(call, small_phantoms, tmp_path):
    arguments = [*TRAIN, "--data", small_phantoms, "--out", tmp_path, "--max-tiles", "-1"]
    code, _, err = call(*arguments)
    assert code == 2
    assert "--max-tiles is -1; it has to be 1 or more" in re.sub(r"[│\s]+", " ", err)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_prepare_needs_no_tensorflow_and_little_memory(small_phantoms, tmp_path):
    arguments = [*TRAIN[:1], "--cell", "all_30x30", "--data", small_phantoms, "--out", tmp_path]
    script = (
        "import re, runpy, sys\n"
        f"sys.argv = {[str(a) for a in arguments]!r} + ['--stop-after', 'prepare']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n"
        "    peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "    print('tensorflow' in sys.modules, peak)\n"
    )
    code, out, err = finish(command("-c", script))
    assert code == 0, err
    imported, peak_kilobytes = out.strip().splitlines()[-1].split()
    assert imported == "False"
    assert int(peak_kilobytes) < 600_000


def wait_for(condition, process, seconds=120):
    """Wait until `condition` holds; fail if the process ends first."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            code, out, err = finish(process)
            raise AssertionError(f"ended with {code} too early:\n{out}\n{err}")
        time.sleep(0.01)


def test_ctrl_c_during_prepare_leaves_no_store_and_the_next_run_carries_on(
    call, own_data, tmp_path
):
    out = tmp_path / "o"
    arguments = [*TRAIN, "--data", own_data, "--out", out, "--stop-after", "prepare"]
    progress = out / "stores" / "2_30x30.partial" / "progress.json"
    process = command(*arguments)
    wait_for(progress.exists, process)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and "run the same command again" in one_line(err)
    assert not (out / "stores" / "2_30x30").exists()
    done_before = json.loads(progress.read_text())["count"]

    code, _, err = call(*arguments)
    assert code == 0, err
    undisturbed = tmp_path / "undisturbed"
    call(*arguments[:-4], "--out", undisturbed, *arguments[-2:])
    ours, whole = (np.load(f / "stores/2_30x30/samples.npy") for f in (out, undisturbed))
    assert 0 < done_before <= len(ours)
    assert np.array_equal(ours, whole)
    indices = [(f / "stores/2_30x30/index.csv").read_text() for f in (out, undisturbed)]
    assert indices[0] == indices[1]


def test_ctrl_c_during_training_keeps_the_finished_epoch(small_phantoms, tmp_path):
    # The M-mode network has a third of the ResNet3D's weights to write.
    arguments = [*TRAIN, "--cell", "64-frame", "--mmode-columns", "2", "--epochs", "4"]
    arguments += ["--data", small_phantoms, "--out", tmp_path]
    folder = tmp_path / "runs/kolarik2023/mmode_resnet18-64-frame/seed0"
    process = command(*arguments)
    wait_for((folder / "history.csv").exists, process)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and "run the same command again" in one_line(err)
    assert not (folder / "model.keras").exists() and not (folder / "metrics.json").exists()
    first_epoch = (folder / "history.csv").read_text().splitlines()[1]

    code, out, err = finish(command(*arguments))
    assert code == 0, err
    lines = (folder / "history.csv").read_text().splitlines()
    assert lines[1] == first_epoch and len(lines) == 5
    assert "not comparable" in out
    code, out, _ = finish(command("scripts/verify.py", tmp_path))
    assert code == 0 and "Resnet-18" in out and "phantoms, not the paper's patients" in out


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_one_line_and_leaves_no_store(call, small_phantoms, tmp_path):
    limit = 2_000_000  # bytes a file may grow to: the store needs more
    arguments = [*TRAIN, "--data", small_phantoms, "--out", tmp_path, "--stop-after", "prepare"]
    arguments[arguments.index("--max-tiles") + 1] = "20"

    def small_disk():
        import resource  # POSIX only

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, _, err = finish(command(*arguments, preexec_fn=small_disk))
    assert code == 2 and "free space" in one_line(err)
    assert not (tmp_path / "stores" / "2_30x30").exists()
    code, _, err = call(*arguments)
    assert code == 0, err


def test_verify_without_runs_says_what_to_do(call, tmp_path):
    code, _, err = call("scripts/verify.py", tmp_path)
    assert code == 2 and "holds no finished run" in one_line(err)


def test_make_phantom_refuses_impossible_cohorts(call, tmp_path):
    arguments = ["ultrasound", "--out", tmp_path / "p", "--present", "-1"]
    code, _, err = call("scripts/make_phantom.py", *arguments)
    assert code == 2 and "at least one patient" in one_line(err)
    for kind in ("ultrasound", "frames"):
        code, _, err = call("scripts/make_phantom.py", kind, "--out", tmp_path / "p", "--jobs", "0")
        assert code == 2 and "jobs=0: expected at least 1" in one_line(err)
