"""What scores are worth at every threshold: ROC, precision-recall and calibration, as a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from replication.experiments import Experiment
from replication.figures import LINE_COLOURS, draw_confusion, new_figure, save_figure
from replication.metrics import THRESHOLD, read_predictions
from replication.multiclass import ClassPredictions, confusion_matrix, read_class_predictions
from replication.records import PREDICTIONS, read_csv

# Ours: bins of equal numbers of samples, since most scores lie near 0 and 1; fewer where there are
# few samples.
BINS, SAMPLES_A_BIN = 10, 10
SCORE = "score_"  # how the columns of scores begin


@dataclass(frozen=True)
class Scores(ClassPredictions):
    """The scores of one run on one part.

    `by_threshold`: of two classes the second is the positive one, which a threshold decides, as
    the metrics of such a run have it; else the highest score decides.
    """

    by_threshold: bool = False

    @property
    def predicted(self) -> np.ndarray:
        """int (n,): the class that each sample is said to be."""
        if self.by_threshold:
            return (self.scores[:, 1] >= THRESHOLD).astype(int)
        return super().predicted

    @property
    def drawn(self) -> list[int]:
        """The classes that have curves: the positive one of two, else each; if both sides occur."""
        columns = [1] if len(self.classes) == 2 else range(len(self.classes))
        return [c for c in columns if 0 < np.sum(self.labels == c) < len(self.labels)]


def read_scores(e: Experiment, part: str) -> list[Scores]:
    """The scores of each run of an experiment on a part, as the paper counts samples."""
    found = []
    for folder in e.folders:
        file = folder / PREDICTIONS
        if e.classes:
            p = read_class_predictions(file, part, e.classes)
            found.append(Scores(e.classes, p.samples, p.patients, p.labels, p.scores))
            continue
        positive = e.config["positive"]
        columns = [name for name in read_csv(file)[0] if name.startswith(SCORE)]
        others = [name.removeprefix(SCORE) for name in columns if name != SCORE + positive]
        p = read_predictions(file, part, positive).by_unit(e.config.get("vote", "mean"))
        values = np.stack([1 - p.scores, p.scores], axis=1)
        other = others[0] if len(others) == 1 else f"not {positive}"
        classes = (other, positive)
        found.append(Scores(classes, p.units, p.patients, p.labels, values, by_threshold=True))
    return found


def save_performance(path: Path, runs: Sequence[Scores], title: str) -> None:
    """Four panels: confusion matrix, ROC, precision-recall and calibration.

    The matrix is of the first run; curves are of each, thin where there are several, one colour for
    each class against all others.

    Args:
        path: PNG to write.
        runs: of the seeds of one experiment.
        title: shown above.
    """
    figure = new_figure(width=8.4, height=8.0)
    (matrix, roc), (recall, calibration) = figure.subplots(2, 2)
    draw_confusion(matrix, confusion_matrix(runs[0]), runs[0].classes)
    matrix.set_ylabel("true class")
    matrix.set_title("confusion matrix" + (", first seed" if len(runs) > 1 else ""), fontsize=10)
    for draw, axis in ((_draw_roc, roc), (_draw_recall, recall), (_draw_calibration, calibration)):
        for class_number in sorted({c for scores in runs for c in scores.drawn}):
            _draw_class(draw, axis, runs, class_number)
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.set_aspect("equal")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(fontsize=7, loc="lower right" if axis is roc else "best")
        else:
            axis.text(0.5, 0.5, "one class alone", ha="center", transform=axis.transAxes)
    _label(roc, "ROC", "1 - specificity", "sensitivity")
    _label(recall, "precision and recall", "recall", "precision")
    _label(calibration, "calibration", "mean score of a bin", "share that is of the class")
    if len(runs) > 1:
        title += f" ({len(runs)} seeds; the legends have their mean)"
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def _label(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def _draw_class(
    draw: Callable[..., tuple[str, float]], axis: Axes, runs: Sequence[Scores], class_number: int
) -> None:
    """One class against all others in each run; the legend has the mean of what is measured."""
    classes = runs[0].classes
    colour = LINE_COLOURS[(class_number - (len(classes) == 2)) % len(LINE_COLOURS)]
    style = {"color": colour, "linewidth": 1.8 if len(runs) == 1 else 1.0}
    measured, lines = [], []
    for scores in (scores for scores in runs if class_number in scores.drawn):
        truth = (scores.labels == class_number).astype(int)
        lines += axis.plot([], [], **style)
        name, value = draw(axis, truth, scores.scores[:, class_number], style)
        measured.append(value)
    lines[0].set_label(f"{classes[class_number]}: {name} {np.mean(measured):.3f}")


def _draw_roc(axis: Axes, truth: np.ndarray, values: np.ndarray, style: dict) -> tuple[str, float]:
    wrong, right, _ = roc_curve(truth, values)
    axis.plot(wrong, right, **style)
    axis.plot([0, 1], [0, 1], color="gray", linewidth=0.7, linestyle=":")
    return "area", roc_auc_score(truth, values)


def _draw_recall(
    axis: Axes, truth: np.ndarray, values: np.ndarray, style: dict
) -> tuple[str, float]:
    precision, recall, _ = precision_recall_curve(truth, values)
    # A step for each threshold: between two there is none, and a straight line would flatter.
    axis.plot(recall, precision, drawstyle="steps-post", **style)
    axis.axhline(truth.mean(), color=style["color"], linewidth=0.7, linestyle=":")
    return "average precision", average_precision_score(truth, values)


def _draw_calibration(
    axis: Axes, truth: np.ndarray, values: np.ndarray, style: dict
) -> tuple[str, float]:
    bins = int(np.clip(len(truth) // SAMPLES_A_BIN, 2, BINS))
    share, mean = calibration_curve(truth, values, n_bins=bins, strategy="quantile")
    axis.plot(mean, share, marker="o", markersize=4, **style)
    axis.plot([0, 1], [0, 1], color="gray", linewidth=0.7, linestyle=":")
    return "Brier score", brier_score_loss(truth, values)
