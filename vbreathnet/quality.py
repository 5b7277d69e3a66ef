"""The filters of section 3.1: which images are too blurred, too flat or too hard to use.

Ours: section 3.2 says "contrast was set properly", which is read as these filters: no image is
changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from preprocessing.errors import InputError
from preprocessing.store import Store
from replication.records import write_csv
from vbreathnet.config import VBreathNetConfig

REMOVED_COLUMNS = ("file", "class", "reason", "measure", "value", "threshold")
EXAMPLES = 4  # removed images shown for each reason


@dataclass(frozen=True)
class Filter:
    """One reason to remove images: `removed` is a mask over the store's images."""

    reason: str
    flag: str
    measure: str
    threshold: float
    removed: np.ndarray


def apply_filters(config: VBreathNetConfig, store: Store) -> list[Filter]:
    """The three filters of section 3.1 on a store's measured sharpness and contrast."""
    sharpness, contrast = (store.column(name).astype(float) for name in ("sharpness", "contrast"))
    return [
        Filter("blurred", "--min-sharpness", "sharpness", config.min_sharpness,
               sharpness < config.min_sharpness),
        Filter("very low contrast", "--min-contrast", "contrast", config.min_contrast,
               contrast < config.min_contrast),
        Filter("high contrast", "--max-contrast", "contrast", config.max_contrast,
               contrast > config.max_contrast),
    ]  # fmt: skip


def kept_images(config: VBreathNetConfig, store: Store) -> np.ndarray:
    """Row numbers of the images that no filter removes.

    Raises:
        InputError: the thresholds leave nothing of a class.
    """
    removed = np.any([f.removed for f in apply_filters(config, store)], axis=0)
    classes = store.column("class")
    for name in config.classes:
        of_class = classes == name
        if of_class.any() and removed[of_class].all():
            raise InputError(
                f"{store.folder}: the thresholds remove all {of_class.sum()} images of {name}; "
                "lower --min-sharpness or --min-contrast, or raise --max-contrast"
            )
    return np.flatnonzero(~removed)


def check_enough(config: VBreathNetConfig, store: Store) -> None:
    """Refuse, before any training, a store with too few images of a class."""
    kept = kept_images(config, store)
    classes = store.column("class")[kept]
    for name in config.classes:
        found = int((classes == name).sum())
        if found < config.test_per_class + 2:
            raise InputError(
                f"{store.folder}: {found} usable images of {name}; --test-per-class "
                f"{config.test_per_class} and a training and a validation image need "
                f"{config.test_per_class + 2}: add images or lower --test-per-class"
            )


def report_quality(config: VBreathNetConfig, store: Store, say: Callable[[str], None]) -> None:
    """Write `removed.csv` and `figures/quality.png`, and say how many each filter removed.

    Raises:
        InputError: a class keeps too few images to train on.
    """
    filters = apply_filters(config, store)
    rows = [
        {
            "file": store.index[row]["file"],
            "class": store.index[row]["class"],
            "reason": one.reason,
            "measure": one.measure,
            "value": store.index[row][one.measure],
            "threshold": one.threshold,
        }
        for one in filters
        for row in np.flatnonzero(one.removed)
    ]
    write_csv(config.out / "removed.csv", rows, REMOVED_COLUMNS)
    for one in filters:
        say(f"{one.removed.sum()} of {len(one.removed)} images removed: {one.reason} "
            f"({one.measure}, {one.flag} {one.threshold:g})")  # fmt: skip
    path = config.out / "figures" / "quality.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_quality_picture(path, config.classes, store, filters)
    check_enough(config, store)


def save_quality_picture(
    path: Path, classes: tuple[str, ...], store: Store, filters: list[Filter]
) -> None:
    """Distributions of sharpness and contrast with their thresholds, and removed examples."""
    shown = [one for one in filters if one.removed.any()]
    figure = Figure(figsize=(10, 3.6 + 2.9 * len(shown)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    heights = (3.6, *([2.9] * len(shown)))
    top, *below = np.atleast_1d(figure.subfigures(1 + len(shown), 1, height_ratios=heights))
    axes = top.subplots(1, 2)
    measures = (("sharpness", "variance of the Laplacian"), ("contrast", "SD of gray levels"))
    for axis, (name, title) in zip(axes, measures, strict=True):
        _draw_distribution(axis, name, classes, store)
        for one in filters:
            if one.measure == name:
                axis.axvline(one.threshold, color="black", linestyle="--", linewidth=1)
        axis.set_xlabel(f"{title} (dashed: thresholds)")
        axis.set_ylabel("images")
    axes[0].legend(fontsize=8)
    for part, one in zip(below, shown, strict=True):
        part.suptitle(f"{one.reason}: {one.removed.sum()} removed, the most extreme", fontsize=10)
        _draw_removed(part.subplots(1, EXAMPLES), one, store)
    figure.savefig(path)


def _draw_distribution(axis, name: str, classes: tuple[str, ...], store: Store) -> None:
    values, of_image = store.column(name).astype(float), store.column("class")
    if name == "sharpness":  # spans orders of magnitude
        values = np.maximum(values, 0.1)
        edges = np.geomspace(values.min(), values.max() * 1.01, 50)
        axis.set_xscale("log")
    else:
        edges = np.linspace(0, max(values.max(), 100) * 1.01, 50)
    for name in classes:
        axis.hist(values[of_image == name], edges, histtype="step", label=name)


def _draw_removed(cells, one: Filter, store: Store) -> None:
    """The most extreme of what a filter removed."""
    rows = np.flatnonzero(one.removed)
    values = np.array([float(store.index[row][one.measure]) for row in rows])
    order = np.argsort(-values if one.flag.startswith("--max") else values)
    for cell in cells:
        cell.axis("off")
    for cell, position in zip(cells, order, strict=False):
        row = rows[position]
        cell.imshow(store.samples[row], cmap="gray", vmin=0, vmax=255)
        name = Path(store.index[row]["file"]).stem
        cell.set_title(f"{name}: {values[position]:.1f}", fontsize=8)
