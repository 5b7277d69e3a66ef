"""Print the paper's numbers beside ours, from the run folders below an --out folder.

    python scripts/verify.py replication-output/classroom
    python scripts/verify.py replication-output/classroom --paper kolarik2023

Our metrics are recomputed from each run's predictions.csv; nothing is trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from replication.cli import run_command
from replication.verdict import format_verdicts, judge_runs, load_runs


@dataclass(frozen=True)
class Arguments:
    """What to verify."""

    out: tyro.conf.Positional[Path]
    """The --out folder of a training or replication command."""
    paper: Literal["kolarik2023"] = "kolarik2023"
    """Which paper's tables."""


def main() -> None:
    """Judge every finished run of a paper."""
    arguments = tyro.cli(Arguments, description=__doc__)
    experiments = load_runs(arguments.out / "runs" / arguments.paper)
    if not experiments:
        raise InputError(
            f"{arguments.out}: holds no finished run of {arguments.paper}; "
            f"run scripts/train_{arguments.paper}.py with --out {arguments.out} first"
        )
    for experiment in experiments:
        clip = [experiment.mean("test", "clip", "auroc", k) for k in ("value", "low", "high")]
        leaky = "LEAKY " if experiment.leaky else ""
        print(
            f"{leaky}{experiment.name}: {experiment.seeds} seed(s), AUROC over clips "
            f"{clip[0]:.3f} [{clip[1]:.3f}, {clip[2]:.3f}]"
        )
    print(format_verdicts(judge_runs(arguments.paper, experiments)))


if __name__ == "__main__":
    run_command(main)
