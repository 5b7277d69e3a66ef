"""The command: which rows are measured, and the table that is made of them."""

import datetime
import multiprocessing
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark_rows import (
    backbones,
    cnr_iemn,
    ct_reading,
    dzhulai2024,
    gpu,
    kolarik2023,
    raft,
    rise,
    segmentation,
    shared,
    shares,
    vbreathnet,
)
from benchmark_rows.measuring import Row, not_measured
from preprocessing.errors import InputError
from preprocessing.store import write_text

TABLE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
MEASURE = kolarik2023.ROWS | vbreathnet.ROWS
MEASURE |= ct_reading.ROWS | segmentation.ROWS | backbones.ROWS | rise.ROWS | cnr_iemn.ROWS
MEASURE |= dzhulai2024.ROWS | raft.ROWS | shared.ROWS | shares.ROWS | gpu.ROWS
REPEATS, QUICK_REPEATS = 7, 3
# What takes seconds, of every kind.
QUICK = ("prepare", "ct_reading", "segmentation", "grouped_convolution", "stored_flow", "auroc",
         "start", "share_resnet3d_18", "share_vbreathnet", "share_frame_cnn2d",
         *gpu.ROWS)  # fmt: skip

NOTES = """\
Ratios are of alternate runs, median [lowest, highest]. Seconds are medians on a shared machine:
compare ratios.

The share is a network's rate beside that of a plain matrix product in float32 on the same cores, in
turns; under mixed precision that of a product in the same type too. Arithmetic is counted in the
graph of a forward pass: two operations for each multiply-add of convolutions and matrix products.
Products with padding or with filled-in zeros do not count, nor do batch norm, activations, pooling
and the optimizer. A training step counts as three forward passes.

What a share lacks is memory's: convolutions of few channels (RCM2d has 2 to 16, and a GRU that goes
frame by frame), depthwise ones (MobileNetV2), batch norm, and an optimizer that goes through tens
of millions of weights for a few samples (CMWRA) move many bytes for each multiplication. Wide
convolutions and little else, as in VGG16, come near the product; the last maps of a ResNet3D at
30 px are one or two voxels wide, too small to fill the cores."""


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    rows: tuple[Literal[tuple(MEASURE)], ...] = ()
    """Which rows; all if not given."""
    quick: bool = False
    """Three repetitions instead of seven and, if --rows names none, these rows: prepare,
    ct_reading, segmentation, grouped_convolution, stored_flow, auroc, start,
    share_resnet3d_18, share_vbreathnet, share_frame_cnn2d, gpu_*."""
    out: str = ""
    """Where to write the table; "none" only prints it. If not given, all rows with all repetitions
    renew docs/benchmarks.md, and anything less only prints."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """The rows to measure."""
        return self.rows or (QUICK if self.quick else tuple(MEASURE))

    @property
    def file(self) -> Path | None:
        """Where the table goes."""
        if self.out:
            return None if self.out == "none" else Path(self.out)
        return None if self.quick or self.rows else TABLE

    @property
    def command(self) -> str:
        """What to type for the same."""
        rows = ["--rows", *self.rows] if self.rows else []
        return " ".join(["python3 scripts/benchmark.py", *["--quick"] * self.quick, *rows])


def main(description: str) -> None:
    """Measure the rows, print them as they come, write the table."""
    import tyro

    arguments = tyro.cli(Arguments, description=description)
    if arguments.file and not arguments.file.parent.is_dir():  # not after half an hour
        raise InputError(f"--out {arguments.file}: there is no folder {arguments.file.parent}")
    gpu.share_gpu_memory()
    started = time.perf_counter()
    rows: list[Row] = []
    for name in arguments.chosen:
        if arguments.quick:  # a process for each would take longer than its rows
            rows += _measure(name, QUICK_REPEATS)
        else:
            rows += measure_apart(name, REPEATS)
    minutes = (time.perf_counter() - started) / 60
    table = document(rows, arguments.command, minutes)
    print(f"{len(rows)} rows in {minutes:.1f} minutes")
    if arguments.file:
        write_text(arguments.file, table)
        print(f"written: {arguments.file}")


def measure_apart(name: str, repeats: int) -> list[Row]:
    """The rows of one name, in a process of their own.

    Networks stay in a process's memory: those of all rows together do not fit into 24 GB. Where the
    process is killed, as when memory runs out, its row says so and the others are not lost.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, spawn) as pool:
            return pool.submit(_measure, name, repeats).result()
    except BrokenProcessPool:
        row = not_measured(name, "its process was killed, as when memory runs out", name)
        print(f"{row.name}: {row.result}", flush=True)
        return [row]


def _measure(name: str, repeats: int) -> list[Row]:
    """The rows of one name, printed."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = MEASURE[name](repeats, Path(folder))
    for row in rows:
        share = f", {row.share} of a matrix product's rate" if row.share != "-" else ""
        print(f"{row.name}: {row.measured}, {row.result}{share} (target {row.target}"
              f"{', MISSED' if row.met is False else ''}; {row.reference})")  # fmt: skip
    print(f"  {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return rows


def document(rows: list[Row], command: str, minutes: float) -> str:
    """The table with machine, versions and command."""
    from importlib.metadata import version

    from replication.environment import describe_environment

    machine = describe_environment("", "")
    versions = ", ".join(
        f"{p} {version(p)}" for p in ("tensorflow", "keras", "opencv-python-headless")
    )
    lines = [
        "# Benchmarks",
        "",
        f"Made on {datetime.date.today()} by `{command}` in {minutes:.0f} minutes: "
        f"{machine['cpu']}, {os.cpu_count()} cores, {', '.join(machine['gpus']) or 'no GPU'}; "
        f"Python {platform.python_version()}, {versions}.",
        "",
        NOTES,
        "",
        "| what | measured | reference | ratio or value | share of a plain large matrix product "
        "| target | met |",
        "|---|---|---|---|---|---|---|",
    ]
    met = {None: "-", True: "yes", False: "**no**"}
    lines += [
        f"| {r.name} | {r.measured} | {r.reference} | {r.result} | {r.share} | {r.target} "
        f"| {met[r.met]} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
