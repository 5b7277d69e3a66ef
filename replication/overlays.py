"""Pictures of heat maps over the images they explain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from replication.figures import new_figure, save_figure

FRAME_STEP = 6  # Paper: Kolárik 2023, section 4.5: the frames of Figure 5 are six apart

# Turbo as far as red: its last eighth darkens, and the hottest place would look cooler.
HEAT_COLOURS = ListedColormap(colormaps["turbo"](np.linspace(0, 0.875, 256)))
HEAT_OPACITY = 0.65  # of the hottest pixel; opacity falls with heat, so that cold lung stays gray
LUNG_OUTLINE, LESION_OUTLINE = "white", "magenta"

# Saliency is speckle, whose brightest pixels outshine the rest: drawn as it is, hardly one in a
# hundred would be seen. For the eye alone it is blurred (SD as a share of the width) and
# stretched between two quantiles, so that half of the image stays gray.
SALIENCY_BLUR, SALIENCY_QUANTILES = 0.012, (0.5, 0.995)


@dataclass(frozen=True)
class OverlayRow:
    """One image of `save_overlays`.

    Attributes:
        caption: such as "COVID-12: COVID, said Normal 0.71".
        image: (height, width) gray, 0..1 or 0..255.
        saliency: (height, width) in 0..1.
        gradcam: (height, width) in 0..1.
        lungs: (height, width), lungs nonzero, drawn as an outline; None if unknown.
    """

    caption: str
    image: np.ndarray
    saliency: np.ndarray
    gradcam: np.ndarray
    lungs: np.ndarray | None = None


def save_overlays(path: Path, rows: Sequence[OverlayRow], title: str) -> None:
    """Save a contact sheet: a row for each image with input, saliency and Grad-CAM overlays.

    Paper: V-BreathNet, section 3.3: the maps are laid over the original image (Figure 3). The
    saliency is blurred and stretched for the eye; nothing is measured on it.

    Args:
        path: PNG to write.
        rows: at least one.
        title: shown above.
    """
    figure = new_figure(width=6.6, height=2.4 * len(rows) + 0.7, layout="tight")
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        _draw_image(axes[0], row.image)
        for axis, heat in zip(axes[1:], (for_the_eye(row.saliency), row.gradcam), strict=True):
            _draw_overlay(axis, row.image, heat)
            if row.lungs is not None:
                axis.contour(row.lungs != 0, [0.5], colors=LUNG_OUTLINE, linewidths=0.9)
        # Outside the layout, or the caption's length would push the columns apart.
        axes[0].text(0, -0.02, row.caption, transform=axes[0].transAxes, fontsize=9,
                     va="top", parse_math=False, in_layout=False)  # fmt: skip
    for axis, name in zip(grid[0], ("input", "saliency", "Grad-CAM"), strict=True):
        axis.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def save_layer_comparison(
    path: Path, image: np.ndarray, maps_by_layer: Mapping[str, np.ndarray], title: str
) -> None:
    """Save one image beside its Grad-CAM from several layers.

    Paper: V-BreathNet, section 4, compares the first layer (edges of the lung, heart, diaphragm)
    with deeper ones (opacity).

    Args:
        path: PNG to write.
        image: (height, width) gray, 0..1 or 0..255.
        maps_by_layer: layer name to (height, width) in 0..1, drawn in this order.
        title: shown above.
    """
    columns = 1 + len(maps_by_layer)
    figure = new_figure(width=2.2 * columns, height=2.75, layout="tight")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    _draw_image(axes[0], image)
    axes[0].set_title("input", fontsize=9)
    for axis, (layer, heat) in zip(axes[1:], maps_by_layer.items(), strict=True):
        _draw_overlay(axis, image, heat)
        axis.set_title(layer, fontsize=9, parse_math=False)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


@dataclass(frozen=True)
class HeatmapRow:
    """One CT slice of `save_heatmap_rows`.

    Attributes:
        caption: such as "P001, slice 77: COVID-19".
        image: (height, width) gray, 0..1 or 0..255.
        lungs: (height, width), the lung mask, nonzero inside.
        maps: network to (height, width), in any unit.
        lesions: (height, width), nonzero inside, drawn as an outline; None if unknown.
    """

    caption: str
    image: np.ndarray
    lungs: np.ndarray
    maps: Mapping[str, np.ndarray]
    lesions: np.ndarray | None = None


def save_heatmap_rows(path: Path, rows: Sequence[HeatmapRow], title: str) -> None:
    """Save a row for each slice: the slice, its segmented lungs, and the map of each network.

    Paper: CNR-IEMN, Figures 13 to 15. Ours: each map is stretched from its lowest to its highest
    value, since those of unlike networks have unlike ranges; nothing is measured on it.

    Args:
        path: PNG to write.
        rows: at least one, all with maps of the same networks.
        title: shown above.
    """
    networks = list(rows[0].maps)
    columns = 2 + len(networks)
    figure = new_figure(width=2.2 * columns, height=2.45 * len(rows) + 0.7, layout="tight")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        _draw_image(axes[0], row.image)
        _draw_image(axes[1], np.where(row.lungs != 0, row.image, 0).astype(row.image.dtype))
        for axis, network in zip(axes[2:], networks, strict=True):
            _draw_overlay(axis, row.image, _stretched(row.maps[network]))
        if row.lesions is not None:
            for axis in (axes[0], *axes[2:]):
                axis.contour(row.lesions != 0, [0.5], colors=LESION_OUTLINE, linewidths=0.9)
        axes[0].text(0, -0.02, row.caption, transform=axes[0].transAxes, fontsize=9,
                     va="top", parse_math=False, in_layout=False)  # fmt: skip
    for axis, name in zip(grid[0], ("input", "lungs", *networks), strict=True):
        axis.set_title(name, fontsize=9, parse_math=False)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def save_contact_sheet(
    path: Path,
    clip: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    title: str,
    frame_step: int = FRAME_STEP,
    overlaid: bool = False,
) -> None:
    """Save the layout of Kolárik 2023, Figure 5: columns are frames, rows input and heat maps.

    Args:
        path: PNG to write.
        clip: (frames, height, width) gray, 0..1 or 0..255.
        maps: (row title, (frames, height, width) in 0..1) pairs.
        title: shown above.
        frame_step: every how many frames a column is drawn.
        overlaid: lay the maps over the frames, so that one sees what is hot, instead of drawing
            them alone.
    """
    chosen = range(0, clip.shape[0], frame_step)
    # One scale for all frames of a row: a dark frame is one that matters less.
    gray = {"cmap": "gray", "vmin": float(np.min(clip)), "vmax": float(np.max(clip))}
    figure = new_figure(
        width=1.15 * len(chosen) + 0.4, height=1.25 * (1 + len(maps)) + 0.6, layout="tight"
    )
    axes = figure.subplots(1 + len(maps), len(chosen), squeeze=False)
    for axes_row, (name, heat) in zip(axes, [("input", None), *maps], strict=True):
        for axis, frame in zip(axes_row, chosen, strict=True):
            if heat is None or overlaid:
                axis.imshow(clip[frame], **gray, interpolation="auto" if overlaid else "nearest")
            if heat is not None and overlaid:
                _lay_over(axis, heat[frame])
            elif heat is not None:
                low, high = float(np.min(heat)), float(np.max(heat))
                axis.imshow(heat[frame], cmap="inferno", vmin=low, vmax=high,
                            interpolation="nearest")  # fmt: skip
            axis.set_xticks([])
            axis.set_yticks([])
        axes_row[0].set_ylabel(name, fontsize=9, parse_math=False)
    for axis, frame in zip(axes[0], chosen, strict=True):
        axis.set_title(f"frame {frame}", fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def for_the_eye(saliency: np.ndarray) -> np.ndarray:
    """Saliency blurred and stretched as it is drawn; see `SALIENCY_BLUR`.

    Args:
        saliency: float ([frames,] height, width).

    Returns:
        The same shape, 0..1; all frames of a clip are stretched alike.
    """
    deviation = max(SALIENCY_BLUR * saliency.shape[-1], 0.5)
    frames = saliency.reshape(-1, *saliency.shape[-2:])
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), deviation) for frame in frames])
    blurred = blurred.reshape(saliency.shape)
    low, high = np.quantile(blurred, SALIENCY_QUANTILES)
    return np.clip((blurred - low) / (high - low), 0, 1) if high > low else blurred


def _draw_image(axis: Axes, image: np.ndarray) -> None:
    # A fixed range, so that a pale radiograph looks as pale as the network saw it.
    top = 1 if np.issubdtype(image.dtype, np.floating) and image.max() <= 1 else 255
    axis.imshow(image, cmap="gray", vmin=0, vmax=top)
    axis.set_axis_off()


def _stretched(heat: np.ndarray) -> np.ndarray:
    """From 0 to 1; a map without contrast is all 0."""
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)


def _draw_overlay(axis: Axes, image: np.ndarray, heat: np.ndarray) -> None:
    if heat.shape != image.shape:
        raise ValueError(f"a heat map of {heat.shape} for an image of {image.shape}")
    _draw_image(axis, image)
    _lay_over(axis, heat)


def _lay_over(axis: Axes, heat: np.ndarray) -> None:
    axis.imshow(heat, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=HEAT_OPACITY * np.clip(heat, 0, 1))
