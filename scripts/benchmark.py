"""Measure what the project claims about speed and memory, as ratios within one run.

    python scripts/benchmark.py                  # all rows; writes docs/benchmarks.md
    python scripts/benchmark.py --quick          # fewer repetitions
    python scripts/benchmark.py --rows prepare --out none

Each row times its work and its reference alternately and gives the median of the ratios with
their range, so that a busy machine slows both alike.
"""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from replication.cli import run_command

ROOT = Path(__file__).resolve().parents[1]
ROWS = ("prepare", "memory", "feeding", "jit", "precision", "auroc", "start")


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    rows: tuple[
        Literal["prepare", "memory", "feeding", "jit", "precision", "auroc", "start"], ...
    ] = ROWS
    """Which rows."""
    quick: bool = False
    """Three repetitions instead of seven."""
    out: str = str(ROOT / "docs" / "benchmarks.md")
    """Where to write the table; "none" only prints it."""


@dataclass(frozen=True)
class Row:
    """A finished measurement; `met` is None for a row without a target."""

    name: str
    measured: str
    reference: str
    result: str
    target: str
    met: bool | None


def compare(work: Callable, reference: Callable, repeats: int) -> tuple[list[float], float, float]:
    """Ratios of alternate runs, and the median seconds of both; one unmeasured run each first."""
    work(), reference()
    pairs = [(_seconds(work), _seconds(reference)) for _ in range(repeats)]
    ratios = [one / other for one, other in pairs]
    return ratios, *(statistics.median(column) for column in zip(*pairs, strict=True))


def prepare_row(repeats: int, folder: Path) -> list[Row]:
    """Cutting the tiles of a marked region against decoding the same video and nothing else."""
    import cv2

    from lungsliding_tf.kolarik2023 import data
    from lungsliding_tf.kolarik2023.config import KolarikConfig
    from preprocessing.clips import TILE_SETS

    phantoms = _phantoms(folder / "one", present=1, absent=1, seconds=(10.0, 10.0))
    rows = []
    for cell in ("2_30x30", "all_30x30"):
        config = KolarikConfig(data=phantoms, out=folder / "out")
        opened = [data._open_source(config, video) for video in data.read_labels(phantoms)]
        (source,) = [source for source in opened if source.info.width == 640][:1]
        source = data._with_grids(config, source, TILE_SETS[cell])

        def cut(source=source, config=config, cell=cell):
            target = Path(tempfile.mkdtemp(dir=folder)) / "store"
            shape = data._sample_shape(config, cell)
            with data.StoreWriter(target, {"sources": []}, shape) as writer:
                writer.finish_source(data._write_source(config, cell, source, writer))
                writer.close()

        def decode(source=source):
            capture = cv2.VideoCapture(str(source.info.path))
            while capture.read()[0]:
                pass
            capture.release()

        ratios, ours, theirs = compare(cut, decode, repeats)
        rows.append(
            _ratio_row(
                f"prepare {cell} of a 640x480 video", "bare decoding", ratios, ours, theirs, 1.5
            )
        )
    return rows


def memory_row(repeats: int, folder: Path) -> list[Row]:
    """Peak memory of a whole prepare process, for few and for many videos."""
    rows = []
    for videos in (4, 24):
        phantoms = _phantoms(
            folder / f"m{videos}", present=videos // 2, absent=videos // 2, seconds=(2.0, 8.0)
        )
        command = [sys.executable, str(ROOT / "scripts" / "train_kolarik2023.py"), "--cell",
                   "all_30x30", "--data", str(phantoms), "--out", str(folder / f"o{videos}"),
                   "--stop-after", "prepare"]  # fmt: skip
        code = (
            "import resource, subprocess, sys\n"
            f"subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        megabytes = int(out.stdout) / 1024
        rows.append(
            Row(f"peak memory of preparing {videos} videos", f"{megabytes:.0f} MB", "-",
                f"{megabytes:.0f} MB", "< 600 MB", megabytes < 600)
        )  # fmt: skip
    return rows


def feeding_row(repeats: int, folder: Path) -> list[Row]:
    """A training epoch from the memory-mapped store against one from float arrays in memory."""
    import keras

    from replication.batches import make_dataset, to_network_input

    samples = _noise_clips(folder, 96, 30)
    labels = np.arange(96) % 2
    in_memory = to_network_input(samples, scaling="standardized")
    model = _compiled_resnet(30)
    order = np.random.default_rng(0).permutation(96)

    def from_store():
        batches = make_dataset(samples, order, labels[order], 32, scaling="standardized")
        model.fit(batches, verbose=0, shuffle=False)

    def from_memory():
        model.fit(in_memory, labels[:, None].astype("float32"), batch_size=32, verbose=0)

    ratios, ours, theirs = compare(from_store, from_memory, repeats)
    keras.backend.clear_session()
    return [_ratio_row("epoch from the store", "epoch from arrays", ratios, ours, theirs, 1.05)]


def jit_row(repeats: int, folder: Path) -> list[Row]:
    """Why jit_compile is off on CPU: a step with XLA against one without."""
    batch = np.random.default_rng(0).random((8, 60, 30, 30, 3), np.float32)
    labels = np.ones((8, 1), np.float32)
    compiled, plain = _compiled_resnet(30, jit_compile=True), _compiled_resnet(30)
    ratios, ours, theirs = compare(
        lambda: compiled.train_on_batch(batch, labels),
        lambda: plain.train_on_batch(batch, labels),
        min(repeats, 3),
    )
    return [_ratio_row("step with jit_compile", "step without", ratios, ours, theirs, None)]


def precision_row(repeats: int, folder: Path) -> list[Row]:
    """A step of 32 clips under --precision auto against float32."""
    from replication.run import set_precision

    labels = np.ones((32, 1), np.float32)
    batch = np.random.default_rng(0).random((32, 60, 30, 30, 3), np.float32)
    plain = _compiled_resnet(30)
    policy = set_precision("auto")
    try:
        mixed = _compiled_resnet(30)
    finally:
        set_precision("float32")
    ratios, ours, theirs = compare(
        lambda: mixed.train_on_batch(batch, labels),
        lambda: plain.train_on_batch(batch, labels),
        repeats,
    )
    name = f"step of 32 clips of 30 px, auto ({policy})"
    return [_ratio_row(name, "float32", ratios, ours, theirs, None)]


def auroc_row(repeats: int, folder: Path) -> list[Row]:
    """The rank AUROC that the bootstrap uses against scikit-learn's."""
    from sklearn.metrics import roc_auc_score

    from replication.metrics import auroc

    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 400), rng.random(400)

    def hundred(function):
        for _ in range(100):
            function(labels, scores)

    ratios, ours, theirs = compare(lambda: hundred(auroc), lambda: hundred(roc_auc_score), repeats)
    return [_ratio_row("100 AUROC of 400 scores", "scikit-learn", ratios, ours, theirs, None)]


def start_row(repeats: int, folder: Path) -> list[Row]:
    """A second call of the front door, up to its help text."""
    command = [sys.executable, str(ROOT / "scripts" / "replicate.py"), "--help"]

    def start():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    start()
    seconds = statistics.median(_seconds(start) for _ in range(repeats))
    shown = f"{seconds:.1f} s"
    return [Row("second start of scripts/replicate.py", shown, "-", shown, "< 5 s", seconds < 5)]


def _seconds(work: Callable) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _ratio_row(
    name: str, reference: str, ratios: list[float], ours: float, theirs: float, most: float | None
) -> Row:
    ratio = statistics.median(ratios)
    return Row(
        name,
        f"{ours:.3f} s",
        f"{reference}: {theirs:.3f} s",
        f"{ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
        f"<= {most}" if most else "-",
        ratio <= most if most else None,
    )


def _phantoms(folder: Path, **cohort) -> Path:
    from lungsliding_tf.phantom import PhantomConfig, write_dataset

    return write_dataset(folder, PhantomConfig(**cohort), progress=False)


def _noise_clips(folder: Path, count: int, px: int) -> np.ndarray:
    path = folder / "clips.npy"
    clips = np.random.default_rng(0).integers(0, 255, (count, 60, px, px), np.uint8)
    np.save(path, clips)
    return np.load(path, mmap_mode="r")


def _compiled_resnet(px: int, jit_compile: bool = False):
    import keras

    from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

    model = build_resnet3d(18, (60, px, px, 3))
    model.compile(
        optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", jit_compile=jit_compile
    )
    return model


def _document(rows: list[Row], arguments: Arguments) -> str:
    """The table with machine, versions and command."""
    from importlib.metadata import version

    from replication.run import describe_environment

    machine = describe_environment("", "")
    command = "python scripts/benchmark.py" + (" --quick" if arguments.quick else "")
    versions = ", ".join(
        f"{p} {version(p)}" for p in ("tensorflow", "keras", "opencv-python-headless")
    )
    lines = [
        "# Benchmarks",
        "",
        f"Made on {datetime.date.today()} by `{command}`: {machine['cpu']}, {os.cpu_count()} "
        f"cores, {', '.join(machine['gpus']) or 'no GPU'}; Python {platform.python_version()}, "
        f"{versions}.",
        "Ratios are of alternate runs, median [lowest, highest]. Seconds are medians on a shared "
        "machine: compare ratios.",
        "",
        "| what | measured | reference | ratio or value | target | met |",
        "|---|---|---|---|---|---|",
    ]
    met = {None: "-", True: "yes", False: "**no**"}
    lines += [
        f"| {r.name} | {r.measured} | {r.reference} | {r.result} | {r.target} | {met[r.met]} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the rows, print them as they come, write the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    repeats = 3 if arguments.quick else 7
    measure = {
        "prepare": prepare_row,
        "memory": memory_row,
        "feeding": feeding_row,
        "jit": jit_row,
        "precision": precision_row,
        "auroc": auroc_row,
        "start": start_row,
    }
    rows: list[Row] = []
    for name in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure[name](repeats, Path(folder)):
                rows.append(row)
                print(
                    f"{row.name}: {row.result} (target {row.target}, {row.reference})", flush=True
                )
    if arguments.out != "none":
        Path(arguments.out).write_text(_document(rows, arguments), encoding="utf-8")
        print(f"written: {arguments.out}")


if __name__ == "__main__":
    run_command(main)
