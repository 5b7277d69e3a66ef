"""The study's figures: a run's curves and confusion matrices, and what its sweeps compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from lungsliding_tf.dzhulai2024.config import CLASSES
from lungsliding_tf.dzhulai2024.experiments import STUDY, Planned
from lungsliding_tf.dzhulai2024.sources import ABSENT_CLASS, PRESENT_CLASS
from preprocessing import splits
from replication import metrics
from replication.figures import save_comparison, save_confusion, save_curves
from replication.records import FIGURES, HISTORY, METRICS, PREDICTIONS
from replication.run import RunFolder, read_history
from replication.verdict import Experiment

CURVES = ("loss", "accuracy", "precision", "recall")  # Paper: Figures 3 to 6, 19 to 21
CONTROL_CLASSES = ("moving", "frozen")  # of --control-frozen, in the order of `CLASSES`


@dataclass(frozen=True)
class Sweep:
    """What a picture of one hyperparameter's values shows.

    Attributes:
        title: the hyperparameter.
        shown: what is drawn over the epochs.
        paper: the paper's figures of it, if any.
    """

    title: str
    shown: tuple[str, ...] = ("loss", "recall")
    paper: str = ""


# By the name that `experiments.plan` gives them. Ours: the paper draws two values at a time and
# does not say of which part; here all stand in one picture, for training and validation.
SWEEPS = {
    "flow_step": Sweep("flow step", paper="Figures 9 to 12"),
    "gamma": Sweep("gamma of the focal loss", ("recall",), "Figure 13"),
    "dropout": Sweep("dropout probability", ("recall",), "Figure 16"),
    "frames": Sweep("frames of a clip", paper="Figures 17 and 18"),
    "clipping": Sweep("gradient clipping"),
    "batch_size": Sweep("batch size"),
    "normalisation": Sweep("normalisation before the GRU"),
    "augmentation": Sweep("augmentation"),
}


@dataclass(frozen=True)
class Member:
    """A sweep's runs with one value; `suffix` is what sets flow, data and checks apart."""

    network: str
    sweep: str
    value: str
    suffix: str
    experiment: Experiment


def class_names(one: Planned) -> tuple[str, str]:
    """The classes in the order of their numbers."""
    return CONTROL_CLASSES if one.config.control_frozen else CLASSES


def save_run(folder: RunFolder, one: Planned, result: dict) -> None:
    """A run's curves (Figures 3 to 6, 19 to 21) and confusion matrices (Figures 7, 14, 22).

    Args:
        folder: of the run, with history.csv and predictions.csv; its figures/ receives curves.png
            and confusion-<part>.png.
        result: the run's metrics: the parts among them have a confusion matrix.

    Raises:
        InputError: damaged predictions.
    """
    run = f"{'LEAKY ' * result['leaky']}{one.name}, {folder.path.name}"
    history = folder.history()
    save_curves(folder.figures() / "curves.png", history, len(history) - 1, run, CURVES)
    for part in (splits.VAL, splits.TEST):
        if part in result:
            counts = count_clips(folder.path / PREDICTIONS, part)
            path = folder.figures() / f"confusion-{part}.png"
            save_confusion(path, counts, class_names(one), f"{run}: {part}")


def count_clips(predictions: Path, part: str) -> np.ndarray:
    """Clips of one part by true class (rows) and predicted one, each in the order of `CLASSES`.

    Raises:
        InputError: damaged predictions.
    """
    found = metrics.read_predictions(predictions, part, CLASSES[ABSENT_CLASS])
    predicted = np.where(found.scores >= metrics.THRESHOLD, ABSENT_CLASS, PRESENT_CLASS)
    return confusion_matrix(found.labels, predicted, labels=[PRESENT_CLASS, ABSENT_CLASS])


def save_sweeps(out: Path, experiments: Sequence[Experiment]) -> None:
    """Draw each sweep that has runs (Figures 9 to 13 and 16 to 18): figures/sweep_<name>.png.

    <name> is the hyperparameter's and, if the experiments' names go on, their end: values are
    compared only with the same flow, data and labels.

    Args:
        out: folder of the study, with the runs of the experiments.
        experiments: finished ones; those that belong to no sweep are not drawn.
    """
    groups: dict[tuple[str, str, str], list[Member]] = {}
    for e in experiments:
        member = member_of(e)
        if member:
            key = member.network, member.sweep, member.suffix
            groups.setdefault(key, []).append(member)
    for members in groups.values():
        _save_sweep(out, sorted(members, key=lambda member: _in_order(member.value)))


def member_of(e: Experiment) -> Member | None:
    """The sweep and value of an experiment, read off its folder's name; None if it has none.

    Names are <network>-<sweep>_<value>, or rcm2d-with_normalisation, and -<suffix>, if any.
    """
    network, setting, suffix = (*folder_name(e).split("-", 2), "", "")[:3]
    for sweep in SWEEPS:
        if setting.startswith(f"{sweep}_"):
            value = setting.removeprefix(f"{sweep}_")
        elif setting.endswith(f"_{sweep}"):
            value = setting.removesuffix(f"_{sweep}")
        else:
            continue
        return Member(network, sweep, value, suffix and f"-{suffix}", e)
    return None


def folder_name(e: Experiment) -> str:
    """The folder of an experiment's runs.

    Where runs of one folder have unlike settings, `verdict.load_runs` makes experiments of them
    whose names go on with the seeds: "cmwru-frames_34 (seed0, seed2)".
    """
    return e.name.partition(" (")[0]


def histories(out: Path, e: Experiment) -> list[list[dict[str, float]]]:
    """What the finished runs of an experiment recorded of each epoch."""
    folder = out / "runs" / STUDY / folder_name(e)
    seeds = e.name.partition(" (")[2].removesuffix(")")
    finished = sorted(path.parent for path in folder.glob(f"seed*/{METRICS}"))
    return [
        read_history(run / HISTORY)
        for run in finished
        if not seeds or run.name in seeds.split(", ")
    ]


def _in_order(value: str) -> tuple[float, str]:
    """Numbers by size, then words."""
    is_number = value.replace(".", "", 1).isdigit()
    return (float(value) if is_number else float("inf"), value)


def _save_sweep(out: Path, members: list[Member]) -> None:
    first = members[0]
    drawn = SWEEPS[first.sweep]
    runs = {
        # With the seeds, where the experiment names them.
        m.value.replace("_", " ") + m.experiment.name.removeprefix(folder_name(m.experiment)):
        histories(out, m.experiment) for m in members
    }  # fmt: skip
    leaky = any(m.experiment.leaky for m in members)
    title = f"{'LEAKY ' * leaky}{first.network.upper()}{first.suffix}: {drawn.title}"
    title += f"; compare the paper's {drawn.paper}" if drawn.paper else ""
    seeds = max(len(of_value) for of_value in runs.values())
    title += f"; thin: {seeds} seeds, thick: their mean" if seeds > 1 else ""
    folder = out / FIGURES
    folder.mkdir(exist_ok=True)
    path = folder / f"sweep_{first.sweep}{first.suffix}.png"
    save_comparison(path, runs, drawn.shown, title, drawn.title)
