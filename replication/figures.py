"""Figures that every study draws: training curves and confusion matrices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def save_curves(path: Path, history: Sequence[dict], best: int, title: str) -> None:
    """Accuracy and loss of training and validation over the epochs.

    One panel for the accuracy of each of the network's outputs, and one for the loss as a whole.

    Args:
        path: PNG to write.
        history: a row for each epoch with epoch (from 0), loss, val_loss, and accuracy and
            val_accuracy or, for a network of several outputs, <output>_accuracy and
            val_<output>_accuracy.
        best: the epoch whose weights were kept.
        title: shown above.
    """
    names = [name for name in history[0] if f"val_{name}" in history[0]]
    shown = [name for name in names if name == "accuracy" or name.endswith("_accuracy")] + ["loss"]
    figure = _figure(width=5 * len(shown), height=3.8)
    epochs = [row["epoch"] + 1 for row in history]
    for axis, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        label = name.replace("_", " ")
        axis.plot(epochs, [row[name] for row in history], marker=".", label=f"training {label}")
        validation = [row[f"val_{name}"] for row in history]
        axis.plot(epochs, validation, marker=".", label=f"validation {label}")
        axis.axvline(best + 1, color="gray", linestyle=":", label=f"kept: epoch {best + 1}")
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.savefig(path)


def save_confusion(path: Path, confusion: np.ndarray, classes: Sequence[str], title: str) -> None:
    """One confusion matrix; arguments as in `save_confusions`."""
    save_confusions(path, [(title, confusion)], classes)


def save_confusions(
    path: Path, confusions: Sequence[tuple[str, np.ndarray]], classes: Sequence[str]
) -> None:
    """Confusion matrices side by side, in percent of the true class and, below, in counts.

    Paper: CNR-IEMN, Figures 6 to 9: one matrix for each network, the true class down, the
    predicted one across.

    Args:
        path: PNG to write.
        confusions: (title, counts (true classes, predicted classes)) pairs.
        classes: names, in the order of the counts.
    """
    figure = _figure(width=3.9 * len(confusions), height=3.9)
    panels = figure.subplots(1, len(confusions), squeeze=False)[0]
    for axis, (title, counts) in zip(panels, confusions, strict=True):
        _draw_confusion(axis, np.asarray(counts), classes)
        axis.set_title(title, fontsize=10, parse_math=False)
    panels[0].set_ylabel("true class")
    figure.savefig(path)


def _draw_confusion(axis: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"counts of {counts.shape} for {len(classes)} classes")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        percent = f"{100 * shares[row, column]:.1f} %\n" if totals[row, 0] else ""
        axis.text(column, row, f"{percent}{count}", ha="center", va="center", fontsize=9,
                  color="white" if shares[row, column] > 0.6 else "black")  # fmt: skip
    places = range(len(classes))
    axis.set_xticks(places, classes, parse_math=False)
    axis.set_yticks(places, classes, parse_math=False)
    axis.set_xlabel("predicted class")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
