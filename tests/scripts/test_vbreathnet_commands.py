"""The V-BreathNet commands: help, bad input, and, as processes, what decoders and signals do."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from vbreathnet.config import VBreathNetConfig
from vbreathnet.phantom import write_cohort

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["scripts/train_vbreathnet.py", "--model", "v-breathnet", "--image-size", "96",
         "--test-per-class", "2", "--per-class", "10", "--batch-size", "8", "--epochs", "3",
         "--min-sharpness", "0", "--min-contrast", "0", "--stop-after"]  # fmt: skip


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(*arguments) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("films") / "data"
    return write_cohort(out, per_class=8, seed=2, size=100, progress=False)


@pytest.fixture
def data(films, tmp_path) -> Path:
    """A copy of the films that a test may damage."""
    return shutil.copytree(films, tmp_path / "my data")


def test_help_lists_every_hyperparameter_with_its_default_and_section(call):
    code, out, _ = call("scripts/train_vbreathnet.py", "--help")
    assert code == 0
    for field in fields(VBreathNetConfig):
        assert f"--{field.name.replace('_', '-')}" in out
    plain = re.sub(r"[│\s]+", " ", out)
    assert "Of RMSprop, at the start (section 3.3). (default: 0.001)" in plain


def images(data: Path, label: str) -> list[Path]:
    return sorted((data / label / "images").iterdir())


def empty_a_class(data: Path) -> None:
    for path in images(data, "Normal"):
        path.unlink()


def leave_one(data: Path) -> None:
    for path in images(data, "Normal")[1:]:
        path.unlink()


def rename_a_text(data: Path) -> None:
    images(data, "COVID")[0].write_text("file,label\n1,2\n")


def truncate_a_jpeg(data: Path) -> None:
    path = images(data, "COVID")[0]
    content = cv2.imencode(".jpg", cv2.imread(str(path), 0))[1].tobytes()
    path.with_suffix(".jpg").write_bytes(content[: len(content) // 2])
    path.unlink()


def put_a_pixel(data: Path) -> None:
    cv2.imwrite(str(images(data, "COVID")[0]), np.zeros((1, 1), np.uint8))


def copy_across_classes(data: Path) -> None:
    shutil.copy(images(data, "COVID")[0], data / "Normal/images/Normal-9.png")


@pytest.mark.parametrize(
    ("damage", "flags", "expected"),
    [
        (empty_a_class, (), "Normal: holds no image"),
        (rename_a_text, (), "COVID-1.png"),
        (put_a_pixel, (), "COVID-1.png"),
        (copy_across_classes, (), "Normal-9.png: is the same picture as COVID/images/COVID-1.png"),
        (lambda data: None, ("--min-sharpness", "1e9"), "the thresholds remove all 8 images of"),
        (lambda data: None, ("--val-fraction", "1.5"), "--val-fraction is 1.5"),
        (leave_one, (), "1 usable images of Normal; --test-per-class 2"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(call, data, tmp_path, damage, flags, expected):
    damage(data)
    arguments = [*TRAIN, "prepare", "--data", data, "--out", tmp_path / "out", *flags]
    code, _, err = call(*arguments)
    assert code == 2
    assert expected in re.sub(r"[│\s]+", " ", err)
    if "--val-fraction" not in flags:  # tyro draws a box around what it refuses
        assert len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("stores/*.partial"))


def test_decoders_of_a_truncated_film_add_nothing_to_the_line(data, tmp_path):
    truncate_a_jpeg(data)
    code, _, err = run(*TRAIN, "prepare", "--data", data, "--out", tmp_path / "out")
    assert code == 2
    assert "COVID-1.jpg" in err and len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("stores/*.partial"))


def test_16_bit_and_rgba_files_are_read(call, data, tmp_path):
    one, two = images(data, "COVID")[:2]
    gray = cv2.imread(str(one), 0)
    assert cv2.imwrite(str(one), gray.astype(np.uint16) * 257)
    assert cv2.imwrite(str(two), np.dstack([cv2.imread(str(two)), np.full(gray.shape, 255)]))
    code, out, err = call(*TRAIN, "prepare", "--data", data, "--out", tmp_path / "out")
    assert (code, err) == (0, "") and "8 COVID, 8 Normal, 8 Viral Pneumonia" in out


def test_a_killed_training_goes_on_after_its_last_epoch(films, tmp_path):
    arguments = [*TRAIN, "train", "--data", films, "--out", tmp_path]
    history = tmp_path / "runs/vbreathnet/v-breathnet/seed0/history.csv"
    process = start(*arguments)
    until = time.monotonic() + 120
    while not history.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert history.exists()
    with history.open() as file:
        before = list(csv.DictReader(file))
    code, _, _ = run(*arguments)
    with history.open() as file:
        after = list(csv.DictReader(file))
    assert code == 0 and len(after) == 3
    assert after[: len(before)] == before
    assert (history.parent / "model.keras").exists()
