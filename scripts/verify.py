"""Print the paper's numbers beside ours, from the run folders below --out folders.

    python scripts/verify.py replication-output/classroom
    python scripts/verify.py OUT OTHER_OUT --write results.md
    python scripts/verify.py OUT --paper vbreathnet       # of several papers, this one's alone

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
from vbreathnet.claims import judge_claims

PAPERS = ("kolarik2023", "vbreathnet", "cnr_iemn")
SETTINGS = ("scaling", "precision", "epochs", "batch_size", "learning_rate", "max_tiles",
            "image_size", "input_size", "width", "augmentation", "dropout", "batch_norm_momentum",
            "weights", "folds")  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What to verify."""

    out: tyro.conf.Positional[tuple[Path, ...]]
    """The --out folders of training or replication commands."""
    paper: Literal["kolarik2023", "vbreathnet", "cnr_iemn"] | None = None
    """Which paper's tables; all that have runs there if it is not given."""
    write: Path | None = None
    """Also write the experiments as a Markdown table to this file."""


def main() -> None:
    """Judge every finished run of a paper."""
    arguments = tyro.cli(Arguments, description=__doc__)
    chosen = (arguments.paper,) if arguments.paper else PAPERS
    found = {
        paper: [e for out in arguments.out for e in load_runs(out / "runs" / paper)]
        for paper in chosen
    }
    tables = []
    for paper, experiments in found.items():
        if experiments:
            tables += [*_table(experiments), ""]
            print("\n".join([*_table(experiments), ""]))
            print(format_verdicts(judge_runs(paper, experiments)))
            if paper == "vbreathnet":
                print("\n".join(judge_claims(experiments)))
    if not tables:
        raise InputError(
            f"{arguments.out[0]}: holds no finished run of {' or '.join(chosen)}; "
            f"run scripts/train_{chosen[0]}.py with --out {arguments.out[0]} first"
        )
    if arguments.write:
        dated = f"Written on {datetime.date.today()} by `scripts/verify.py`."
        write_text(arguments.write, "\n".join([dated, "", *tables]))


def _table(experiments: list[Experiment]) -> list[str]:
    """Experiments as the lines of a Markdown table: means over seeds, 95 % intervals."""
    if not experiments[0].classes:
        return _clip_table(experiments)
    return (
        _level_table(experiments)
        if "level" in experiments[0].config
        else (_image_table(experiments))
    )


def _level_table(experiments: list[Experiment]) -> list[str]:
    """For slices and patients: accuracies on the validation part, floors, the pointing game."""
    lines = [
        "| experiment | settings | seeds | n, val | accuracy | balanced accuracy "
        "| floors, balanced accuracy | RISE's maximum in the lesion (by chance) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for e in experiments:
        level = e.config["level"]
        floors = ", ".join(
            f"{name} {e.mean('floors', name, 'balanced_accuracy', 'floor'):.3f}"
            for name in e.results[0]["floors"]
        )
        pointing = "-"
        if e.has("rise") and all("pointing_game" in result["rise"] for result in e.results):
            pointing = "{:.2f} ({:.2f})".format(
                *(e.mean("rise", key) for key in ("pointing_game", "chance"))
            )
        lines.append(
            f"| {_name(e)} | {_settings(e)} | {e.seeds} | {e.mean('val', level, 'n'):.0f} {level}s "
            f"| {_interval(e, level, 'accuracy', 'val')} "
            f"| {_interval(e, level, 'balanced_accuracy', 'val')} | {floors} | {pointing} |"
        )
    return lines


def _image_table(experiments: list[Experiment]) -> list[str]:
    """For studies of several classes: accuracies, the gap, floors and Grad-CAM in the lungs."""
    lines = [
        "| experiment | settings | seeds | accuracy, val | accuracy, test | macro F1, test "
        "| training less val | floors, accuracy val / test | Grad-CAM in the lungs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for e in experiments:
        gap = [e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high")]
        floors = ", ".join(
            f"{name} {e.mean('floors', name, 'val', 'floor'):.3f} / "
            f"{e.mean('floors', name, 'test', 'floor'):.3f}"
            for name in e.results[0]["floors"]
        )
        lungs = "-"
        if e.has("lungs"):
            mass, area = e.mean("lungs", "gradcam_mass"), e.mean("lungs", "lung_area")
            lungs = f"{mass:.2f} of its mass, area {area:.2f}"
        lines.append(
            f"| {_name(e)} | {_settings(e)} | {e.seeds} "
            f"| {_interval(e, 'image', 'accuracy', 'val')} "
            f"| {_interval(e, 'image', 'accuracy')} | {_interval(e, 'image', 'macro_f1')} "
            f"| {gap[0]:+.3f} [{gap[1]:+.3f}, {gap[2]:+.3f}] | {floors} | {lungs} |"
        )
    return lines


def _clip_table(experiments: list[Experiment]) -> list[str]:
    """For studies of one class against the other: AUROC over patients and clips."""
    lines = [
        "| experiment | settings | seeds | test clips / patients | AUROC, patients | AUROC, clips "
        "| accuracy, clips | floors, AUROC over patients |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for e in experiments:
        n, patients = (round(e.mean("test", "clip", key)) for key in ("n", "patients"))
        lines.append(
            f"| {_name(e)} | {_settings(e)} | {e.seeds} | {n} / {patients} "
            f"| {_interval(e, 'patient', 'auroc')} | {_interval(e, 'clip', 'auroc')} "
            f"| {_interval(e, 'clip', 'accuracy')} | {_floors(e)} |"
        )
    return lines


def _name(experiment: Experiment) -> str:
    return ("LEAKY " if experiment.leaky else "") + experiment.name


def _settings(experiment: Experiment) -> str:
    config = experiment.config
    return ", ".join(f"{name} {config[name]}" for name in SETTINGS if name in config)


def _interval(experiment: Experiment, level: str, metric: str, part: str = "test") -> str:
    value, low, high = (
        experiment.mean(part, level, metric, key) for key in ("value", "low", "high")
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
