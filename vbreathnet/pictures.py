"""The study's figures: curves (Figures 1 and 2), the gap of each network, confusion matrices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay


def save_curves(path: Path, history: Sequence[dict], best: int, title: str) -> None:
    """Accuracy and loss of training and validation over the epochs, as in Figures 1 and 2.

    Args:
        path: PNG to write.
        history: rows with epoch, accuracy, val_accuracy, loss and val_loss.
        best: the epoch whose weights were kept.
        title: shown above.
    """
    figure = Figure(figsize=(10, 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] + 1 for row in history]
    for axis, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axis.plot(epochs, [row[name] for row in history], marker=".", label=f"training {name}")
        validation = [row[f"val_{name}"] for row in history]
        axis.plot(epochs, validation, marker=".", label=f"validation {name}")
        axis.axvline(best + 1, color="gray", linestyle=":", label=f"kept: epoch {best + 1}")
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def save_gaps(path: Path, histories: dict[str, Sequence[dict]]) -> None:
    """Training less validation accuracy over the epochs, a line for each run.

    Training accuracy is what Keras reports during an epoch, with dropout and augmentation, so a
    network with more of both looks less overfitted than it is.

    Args:
        path: PNG to write.
        histories: name to rows with epoch, accuracy and val_accuracy.
    """
    gaps = {
        name: [row["accuracy"] - row["val_accuracy"] for row in history]
        for name, history in histories.items()
    }
    note = "training accuracy as training reports it: with dropout and augmentation"
    _save_lines(path, gaps, "training less validation accuracy", note)


def save_learning_rates(path: Path, histories: dict[str, Sequence[dict]]) -> None:
    """Validation accuracy over the epochs, a line for each learning rate of each baseline.

    Paper: section 3.2 found 0.01 ideal among several and shows none of them.

    Args:
        path: PNG to write.
        histories: name to rows with epoch and val_accuracy.
    """
    accuracies = {
        name: [row["val_accuracy"] for row in history] for name, history in histories.items()
    }
    _save_lines(path, accuracies, "validation accuracy")


def _save_lines(path: Path, lines: dict[str, list[float]], quantity: str, title: str = "") -> None:
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for name, values in lines.items():
        axis.plot(range(1, len(values) + 1), values, marker=".", label=name)
    if min(map(min, lines.values())) < 0:
        axis.axhline(0, color="gray", linewidth=0.8)
    axis.set_xlabel("epoch")
    axis.set_ylabel(quantity)
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=8)
    figure.savefig(path)


def save_confusion(path: Path, confusion: np.ndarray, classes: Sequence[str], title: str) -> None:
    """A confusion matrix with its counts; rows are the true class."""
    figure = Figure(figsize=(4.8, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    ConfusionMatrixDisplay(confusion, display_labels=classes).plot(
        ax=axis, colorbar=False, cmap="Blues"
    )
    axis.set_title(title, fontsize=10)
    figure.savefig(path)
