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

from cnr_iemn.challenge import format_challenges
from preprocessing.errors import InputError
from preprocessing.store import write_text
from replication.cli import run_command
from replication.verdict import Experiment, format_verdicts, judge_runs, load_runs
from vbreathnet.claims import judge_claims

PAPERS = ("kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024")
SETTINGS = ("scaling", "precision", "epochs", "batch_size", "learning_rate", "max_tiles",
            "image_size", "input_size", "width", "augmentation", "dropout", "batch_norm_momentum",
            "weights", "folds", "frames", "side", "flow", "alpha")  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What to verify."""

    out: tyro.conf.Positional[tuple[Path, ...]]
    """The --out folders of training or replication commands."""
    paper: Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"] | None = None
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
            if paper == "cnr_iemn":
                print(format_challenges(experiments))
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
    cells = _clip_cells
    if experiments[0].classes:
        cells = _level_cells if "level" in experiments[0].config else _image_cells
    rows = [
        {"experiment": _name(e), "settings": _settings(e), "seeds": str(e.seeds), **cells(e)}
        for e in experiments
    ]
    lines = [f"| {' | '.join(line)} |" for line in (rows[0], *(row.values() for row in rows))]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def _level_cells(e: Experiment) -> dict[str, str]:
    """For slices and patients: accuracies on the validation part, floors, the pointing game."""
    level = e.config["level"]
    pointing = "-"
    if e.has("rise") and all("pointing_game" in result["rise"] for result in e.results):
        keys = ("pointing_game", "chance", "chance_in_lungs", "stable", "slices")
        hit, chance, in_lungs, stable, slices = (e.mean("rise", key) for key in keys)
        pointing = f"{hit:.2f} ({chance:.2f}, {in_lungs:.2f}); {round(stable, 1):g} of {slices:g}"
    return {
        "n, val": f"{e.mean('val', level, 'n'):.0f} {level}s",
        "accuracy": _interval(e, level, "accuracy", "val"),
        "balanced accuracy": _interval(e, level, "balanced_accuracy", "val"),
        "floors, balanced accuracy": ", ".join(
            f"{name} {e.mean('floors', name, 'balanced_accuracy', 'floor'):.3f}"
            for name in e.results[0]["floors"]
        ),
        "RISE's maximum in the lesion (by chance, in the lungs); stable maps": pointing,
    }


def _image_cells(e: Experiment) -> dict[str, str]:
    """For studies of several classes: accuracies, the gap, floors and Grad-CAM in the lungs."""
    gap, low, high = (e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high"))
    lungs = "-"
    if e.has("lungs"):
        mass, area = e.mean("lungs", "gradcam_mass"), e.mean("lungs", "lung_area")
        lungs = f"{mass:.2f} of its mass, area {area:.2f}"
    return {
        "accuracy, val": _interval(e, "image", "accuracy", "val"),
        "accuracy, test": _interval(e, "image", "accuracy"),
        "macro F1, test": _interval(e, "image", "macro_f1"),
        "training less val": f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]",
        "floors, accuracy val / test": ", ".join(
            f"{name} {e.mean('floors', name, 'val', 'floor'):.3f} / "
            f"{e.mean('floors', name, 'test', 'floor'):.3f}"
            for name in e.results[0]["floors"]
        ),
        "Grad-CAM in the lungs": lungs,
    }


def _clip_cells(e: Experiment) -> dict[str, str]:
    """For studies of one class against the other: AUROC over patients and clips."""
    clips, patients = (round(e.mean("test", "clip", key)) for key in ("n", "patients"))
    return {
        "test clips / patients": f"{clips} / {patients}",
        "AUROC, patients": _interval(e, "patient", "auroc"),
        "AUROC, clips": _interval(e, "clip", "auroc"),
        "accuracy, clips": _interval(e, "clip", "accuracy"),
        "floors, AUROC over patients": _floors(e),
    }


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
