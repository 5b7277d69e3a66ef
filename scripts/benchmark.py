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
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from benchmark_rows import (
    backbones,
    cnr_iemn,
    ct_reading,
    dzhulai2024,
    kolarik2023,
    raft,
    rise,
    segmentation,
    shared,
    vbreathnet,
)
from benchmark_rows.measuring import Row

from replication.cli import run_command

ROOT = Path(__file__).resolve().parents[1]
MEASURE = kolarik2023.ROWS | vbreathnet.ROWS
MEASURE |= ct_reading.ROWS | segmentation.ROWS | backbones.ROWS | rise.ROWS | cnr_iemn.ROWS
MEASURE |= dzhulai2024.ROWS | raft.ROWS | shared.ROWS


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    rows: tuple[Literal[tuple(MEASURE)], ...] = tuple(MEASURE)
    """Which rows."""
    quick: bool = False
    """Three repetitions instead of seven."""
    out: str = str(ROOT / "docs" / "benchmarks.md")
    """Where to write the table; "none" only prints it."""


def _document(rows: list[Row], arguments: Arguments) -> str:
    """The table with machine, versions and command."""
    from importlib.metadata import version

    from replication.environment import describe_environment

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
    rows: list[Row] = []
    for name in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            for row in MEASURE[name](repeats, Path(folder)):
                rows.append(row)
                print(
                    f"{row.name}: {row.result} (target {row.target}, {row.reference})", flush=True
                )
    if arguments.out != "none":
        Path(arguments.out).write_text(_document(rows, arguments), encoding="utf-8")
        print(f"written: {arguments.out}")


if __name__ == "__main__":
    run_command(main)
