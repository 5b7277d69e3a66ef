"""Figures that every study draws: training curves, settings compared, confusion matrices."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

History = Sequence[Mapping[str, float]]  # a row for each epoch: epoch (from 0), loss, val_loss, ...

CURVES_A_ROW = 3
# Told apart by readers with any colour vision (Okabe & Ito), and in gray by their markers.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_MARKERS = "os^Dv<>"
PARTS = {"training": "", "validation": "val_"}


def new_figure(width: float, height: float, layout: str = "constrained") -> Figure:
    """An empty figure of so many inches that no window and no state of matplotlib's belongs to."""
    figure = Figure(figsize=(width, height), dpi=110, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    partial = path.with_name(f".partial.{path.name}")
    figure.savefig(partial, format="png")
    partial.replace(path)


def save_curves(
    path: Path, history: History, best: int, title: str, shown: Sequence[str] = ()
) -> None:
    """Figures of training, and of validation where there are any, over the epochs.

    Args:
        path: PNG to write.
        history: a row for each epoch with epoch (from 0), loss, and accuracy or, for a network of
            several outputs, <output>_accuracy; the same of the validation part under val_<name>.
        best: the epoch whose weights were kept.
        title: shown above.
        shown: which of them, a panel for each. None given: the accuracy of each of the network's
            outputs, and the loss as a whole.
    """
    if not shown:
        names = [name for name in history[0] if not name.startswith("val_")]
        shown = [n for n in names if n == "accuracy" or n.endswith("_accuracy")] + ["loss"]
    rows = 1 if len(shown) <= CURVES_A_ROW else 2
    columns = -(-len(shown) // rows)
    figure = new_figure(width=5 * columns, height=3.8 * rows)
    epochs = [row["epoch"] + 1 for row in history]
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in panels[len(shown) :]:
        axis.set_axis_off()
    for axis, name in zip(panels, shown, strict=False):
        label = name.replace("_", " ")
        for part, prefix in PARTS.items():
            if prefix + name in history[0]:
                values = [row[prefix + name] for row in history]
                axis.plot(epochs, values, marker=".", label=f"{part} {label}")
        axis.axvline(best + 1, color="gray", linestyle=":", label=f"kept: epoch {best + 1}")
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def save_comparison(
    path: Path, runs: Mapping[str, Sequence[History]], shown: Sequence[str], title: str, legend: str
) -> None:
    """Figures of several settings over the epochs: training on the left, validation on the right.

    A thin line is a run; a thick one is the mean of a setting's runs.

    Args:
        path: PNG to write.
        runs: setting to the histories of its runs (one for each seed), of equal length and each
            with <name> and val_<name> for all names in `shown`.
        shown: a row of panels for each.
        title: shown above.
        legend: what the settings are of.
    """
    figure = new_figure(width=9.6, height=3.1 * len(shown) + 1.1)
    panels = figure.subplots(len(shown), len(PARTS), squeeze=False, sharex=True, sharey="row")
    for axis, (name, part) in zip(panels.flat, product(shown, PARTS), strict=True):
        for number, (setting, histories) in enumerate(runs.items()):
            values = np.array([[row[PARTS[part] + name] for row in one] for one in histories])
            _draw_runs(axis, values, number, setting)
        axis.set_title(f"{part} {name}", fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis, name in zip(panels[:, 0], shown, strict=True):
        axis.set_ylabel(name)
        if name != "loss":  # a share
            axis.set_ylim(-0.04, 1.04)
    for axis in panels[-1]:
        axis.set_xlabel("epoch")
    lines, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, title=legend, loc="outside lower center", ncols=len(labels),
                  fontsize=9, title_fontsize=9)  # fmt: skip
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def _draw_runs(axis: Axes, values: np.ndarray, number: int, label: str) -> None:
    """A setting's runs (runs, epochs) as thin lines and their mean as a thick one."""
    colour, epochs = LINE_COLOURS[number % len(LINE_COLOURS)], range(1, values.shape[1] + 1)
    if len(values) > 1:
        axis.plot(epochs, values.T, color=colour, linewidth=0.8, alpha=0.45)
    axis.plot(epochs, values.mean(axis=0), color=colour, linewidth=2.2, markersize=4.5,
              marker=LINE_MARKERS[number % len(LINE_MARKERS)], label=label)  # fmt: skip


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
    figure = new_figure(width=3.9 * len(confusions), height=3.9)
    panels = figure.subplots(1, len(confusions), squeeze=False)[0]
    for axis, (title, counts) in zip(panels, confusions, strict=True):
        draw_confusion(axis, np.asarray(counts), classes)
        axis.set_title(title, fontsize=10, parse_math=False)
    panels[0].set_ylabel("true class")
    save_figure(figure, path)


def draw_confusion(axis: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    """One confusion matrix on an axis; arguments as in `save_confusions`."""
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
