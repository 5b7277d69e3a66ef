"""The study's own figures: the gap of each network, the learning rates of the baselines."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


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
