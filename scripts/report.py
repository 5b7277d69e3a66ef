"""One HTML page from run folders: verdicts, curves, matrices, heat maps, data, audit.

    python scripts/report.py replication-output/classroom
    python scripts/report.py OUT OTHER_OUT --write page.html

The page needs no network and no script. Nothing is trained; pictures that only the page has are
also written as PNG, into figures/report of each output folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from papers import gather, judge_paper

from preprocessing.errors import InputError
from replication.cli import run_command
from replication.report import write_report


@dataclass(frozen=True)
class Arguments:
    """What to report."""

    out: tyro.conf.Positional[tuple[Path, ...]]
    """The --out folders of training or replication commands, or folders of runs in them."""
    paper: Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"] | None = None
    """Which paper's runs; all if it is not given."""
    margin: float | None = None
    """As for scripts/verify.py."""
    write: Path | None = None
    """HTML file to write; report.html in the first folder if it is not given."""


def main() -> None:
    """Write the page of every finished run; missing seeds are said on it."""
    arguments = tyro.cli(Arguments, description=__doc__)
    make_report(arguments.out, arguments.write, arguments.paper, arguments.margin)


def make_report(
    out: tuple[Path, ...],
    write: Path | None = None,
    paper: str | None = None,
    margin: float | None = None,
) -> Path:
    """Judge what is finished below the folders and write the page.

    Raises:
        InputError: no folder is named, or none holds a finished run.
    """
    if not out:
        raise InputError("name a folder with runs, such as replication-output/classroom")
    path = write or out[0] / "report.html"
    experiments, gaps = gather(out, paper, partial=True)
    judgements = [judge_paper(name, found, margin) for name, found in experiments.items()]
    # Names alone: a page is handed on, and whose machine it was made on is nobody's business.
    command = " ".join(["python scripts/report.py", *(folder.resolve().name for folder in out)])
    for folder in out:
        gaps = [gap.replace(f"{folder.resolve().parent}{os.sep}", "") for gap in gaps]
    write_report(path, judgements, [f"missing: {gap}" for gap in gaps], command)
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


if __name__ == "__main__":
    run_command(main)
