"""The study's figures: segmented slices (Figures 1, 12), heat maps (13 to 15), a scan's strip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnr_iemn.config import CLASSES, PAPER_ROWS, SCENARIOS
from cnr_iemn.images import GRAY, MASK
from preprocessing import splits
from replication.figures import new_figure, save_confusions, save_figure
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
    figure = new_figure(6.6, 2.3 * len(slices))
    for axes, sample, title in zip(
        figure.subplots(len(slices), 3, squeeze=False), slices, titles, strict=True
    ):
        gray, mask = sample[..., GRAY], sample[..., MASK]
        for axis, picture in zip(axes, (gray, mask, np.where(mask, gray, 0)), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
        axes[0].set_title(title, fontsize=8, loc="left", parse_math=False)
    save_figure(figure, path)


def title_of(experiment: Experiment) -> str:
    """The network of a slice experiment and, below it, what its name has beyond the network's."""
    network = experiment.config["network"]
    beyond = experiment.name.removeprefix(f"{experiment.config['scenario']}-{network}")
    parts = [part.replace("_", " ") for part in beyond.split("-") if part]
    return f"{PAPER_ROWS[network]}\n{', '.join(parts)}".strip()


def save_scenario_confusions(folder: Path, experiments: Sequence[Experiment]) -> None:
    """The confusion matrices of the networks of each scenario, as in Figures 6 to 9."""
    for scenario in SCENARIOS:
        matrices = [
            (title_of(e) + (f", {e.seeds} seeds" if e.seeds > 1 else ""),
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
    figure = new_figure(1.15 * STRIP_COLUMNS, 1.4 * rows + 0.9)
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
    save_figure(figure, path)
