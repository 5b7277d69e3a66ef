"""Print the paper's numbers beside ours, from the run folders below --out folders.

    python scripts/verify.py replication-output/classroom
    python scripts/verify.py OUT OTHER_OUT --write results.md

Our metrics are recomputed from each run's predictions.csv; nothing is trained.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from preprocessing.store import write_text
from replication.cli import run_command
from replication.verdict import Experiment, format_verdicts, judge_runs, load_runs

SETTINGS = ("scaling", "precision", "epochs", "batch_size", "learning_rate", "max_tiles")


@dataclass(frozen=True)
class Arguments:
    """What to verify."""

    out: tyro.conf.Positional[tuple[Path, ...]]
    """The --out folders of training or replication commands."""
    paper: Literal["kolarik2023"] = "kolarik2023"
    """Which paper's tables."""
    write: Path | None = None
    """Also write the experiments as a Markdown table to this file."""


def main() -> None:
    """Judge every finished run of a paper."""
    arguments = tyro.cli(Arguments, description=__doc__)
    experiments = [e for out in arguments.out for e in load_runs(out / "runs" / arguments.paper)]
    if not experiments:
        raise InputError(
            f"{arguments.out[0]}: holds no finished run of {arguments.paper}; "
            f"run scripts/train_{arguments.paper}.py with --out {arguments.out[0]} first"
        )
    print("\n".join(_table(experiments)))
    print()
    print(format_verdicts(judge_runs(arguments.paper, experiments)))
    if arguments.write:
        dated = f"Written on {datetime.date.today()} by `scripts/verify.py`."
        write_text(arguments.write, "\n".join([dated, "", *_table(experiments)]) + "\n")


def _table(experiments: list[Experiment]) -> list[str]:
    """Experiments as the lines of a Markdown table: means over seeds, 95 % intervals."""
    lines = [
        "| experiment | settings | seeds | test clips / patients | AUROC, patients | AUROC, clips "
        "| accuracy, clips | floors, AUROC over patients |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for e in experiments:
        settings = ", ".join(f"{name} {e.config[name]}" for name in SETTINGS if name in e.config)
        n, patients = (round(e.mean("test", "clip", key)) for key in ("n", "patients"))
        lines.append(
            f"| {'LEAKY ' if e.leaky else ''}{e.name} | {settings} | {e.seeds} | {n} / {patients} "
            f"| {_interval(e, 'patient', 'auroc')} | {_interval(e, 'clip', 'auroc')} "
            f"| {_interval(e, 'clip', 'accuracy')} | {_floors(e)} |"
        )
    return lines


def _interval(experiment: Experiment, level: str, metric: str) -> str:
    value, low, high = (
        experiment.mean("test", level, metric, key) for key in ("value", "low", "high")
    )
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _floors(experiment: Experiment) -> str:
    if experiment.has("control_floors"):
        names = experiment.results[0]["control_floors"]
        values = (
            f"{n.replace('_', ' ')} {experiment.mean('control_floors', n):.3f}" for n in names
        )
        return "accuracy: " + ", ".join(values)
    if not experiment.has("floors"):
        return "-"
    return ", ".join(
        f"{name.replace('_', ' ')} {experiment.mean('floors', name, 'patient', 'floor'):.3f}"
        for name in experiment.results[0]["floors"]
    )


if __name__ == "__main__":
    run_command(main)
