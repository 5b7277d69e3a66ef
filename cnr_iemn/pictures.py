"""The study's figures: segmented slices (Figures 1, 12), heat maps (13 to 15), a scan's strip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnr_iemn.config import CLASSES, PAPER_ROWS, SCENARIOS
from cnr_iemn.images import GRAY, MASK
from preprocessing import splits
from replication.figures import save_confusions
from replication.verdict import Experiment

CLASS_COLOURS = ("tab:green", "tab:red", "tab:orange")  # of CLASSES
STRIP_COLUMNS, STRIP_SLICES = 10, 30
DISCLAIMER = "Not for diagnosis: a replication of a study, on what it was trained with."


def save_segmentation(path: Path, slices: Sequence[np.ndarray], titles: Sequence[str]) -> None:
    """Rows of slice, lung mask and segmented slice, as in Figure 1.

    Args:
        path: PNG to write.
        slices: uint8 (side, side, 2): gray, mask.
        titles: of the rows.
    """
    figure = _figure(6.6, 2.3 * len(slices))
    for axes, sample, title in zip(
        figure.subplots(len(slices), 3, squeeze=False), slices, titles, strict=True
    ):
        gray, mask = sample[..., GRAY], sample[..., MASK]
        for axis, picture in zip(axes, (gray, mask, np.where(mask, gray, 0)), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
        axes[0].set_title(title, fontsize=8, loc="left", parse_math=False)
    _save(figure, path)


def save_scenario_confusions(folder: Path, experiments: Sequence[Experiment]) -> None:
    """The confusion matrices of the networks of each scenario, as in Figures 6 to 9."""
    for scenario in SCENARIOS:
        matrices = [
            (PAPER_ROWS[e.config["network"]] + (f", {e.seeds} seeds" if e.seeds > 1 else ""),
             sum(np.array(result[splits.VAL]["slice"]["confusion"]) for result in e.results))
            for e in experiments if e.config.get("scenario") == scenario
        ]  # fmt: skip
        if matrices:
            save_confusions(folder / f"confusions_{scenario}.png", matrices, CLASSES)


def save_strip(path: Path, slices: np.ndarray, scores: np.ndarray, title: str) -> None:
    """Slices of a scan from head to foot, each framed in the colour of its class.

    Args:
        path: PNG to write.
        slices: uint8 (n, side, side, 2).
        scores: float (n, classes), mean over the networks.
        title: shown above.
    """
    shown = np.unique(np.linspace(0, len(slices) - 1, STRIP_SLICES).round().astype(int))
    rows = -(-len(shown) // STRIP_COLUMNS)
    figure = _figure(1.15 * STRIP_COLUMNS, 1.4 * rows + 0.9)
    axes = figure.subplots(rows, STRIP_COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_visible(False)
    for axis, number in zip(axes, shown, strict=False):
        axis.set_visible(True)
        axis.imshow(slices[number, ..., GRAY], cmap="gray", vmin=0, vmax=255)
        label = int(scores[number].argmax())
        axis.set_title(f"{number}: {CLASSES[label]} {scores[number, label]:.2f}", fontsize=6)
        for spine in axis.spines.values():
            spine.set_color(CLASS_COLOURS[label])
            spine.set_linewidth(2)
    figure.suptitle(f"{title}\n{DISCLAIMER}", fontsize=9, parse_math=False)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    partial = path.with_name(f".partial.{path.name}")
    figure.savefig(partial, format="png")
    partial.replace(path)
