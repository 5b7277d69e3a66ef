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
    """Training less validation accuracy over the epochs, a line for each network.

    Args:
        path: PNG to write.
        histories: name to rows with epoch, accuracy and val_accuracy.
    """
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for name, history in histories.items():
        epochs = [row["epoch"] + 1 for row in history]
        gaps = [row["accuracy"] - row["val_accuracy"] for row in history]
        axis.plot(epochs, gaps, marker=".", label=name)
    axis.axhline(0, color="gray", linewidth=0.8)
    axis.set_xlabel("epoch")
    axis.set_ylabel("training less validation accuracy")
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
