"""Row of the lung segmentation: against the cited tutorial's own operations, same masks."""

import statistics
from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, median_and_range

SLICES, SIDE = 2, 512
TIMES_FASTER = 12


def segmentation_row(repeats: int, folder: Path) -> list[Row]:
    """Lung masks of synthetic slices, and the same masks by SciPy's and scikit-image's operations.

    Raises:
        RuntimeError: the masks differ somewhere.
    """
    from preprocessing.lungs import segment_lungs

    slices = [_chest(seed) for seed in range(SLICES)]
    for number, hu in enumerate(slices):
        if not np.array_equal(segment_lungs(hu), _tutorial_mask(hu)):
            raise RuntimeError(f"slice {number} has another mask than by the tutorial's operations")

    def ours():
        for hu in slices:
            segment_lungs(hu)

    def tutorial():
        for hu in slices:
            _tutorial_mask(hu)

    ratios, seconds, theirs = compare(ours, tutorial, min(repeats, 5))
    faster = [1 / ratio for ratio in ratios]
    median = statistics.median(faster)
    return [
        Row(
            f"lung mask of a slice of {SIDE} px",
            f"{seconds / SLICES:.3f} s",
            f"the tutorial's operations: {theirs / SLICES:.3f} s",
            f"{median_and_range(faster, 0)} times faster",
            f">= {TIMES_FASTER} times",
            median >= TIMES_FASTER,
        )
    ]


def _chest(seed: int) -> np.ndarray:
    """int16 HU: a body with two lungs of soft texture and vessels, and noise of 15 HU."""
    import cv2

    rng = np.random.default_rng(seed)
    hu = np.full((SIDE, SIDE), -1000, np.float32)
    cv2.ellipse(hu, (256, 256), (235, 180), 0, 0, 360, 45, -1)
    lungs = np.zeros((SIDE, SIDE), np.uint8)
    for x in (145, 367):
        cv2.ellipse(lungs, (x, 255), (72, 125), 0, 0, 360, 1, -1)
    cv2.ellipse(lungs, (285, 285), (75, 80), 0, 0, 360, 0, -1)  # the heart
    texture = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), np.float32), (0, 0), 4)
    hu[lungs == 1] = (-850 + 400 * texture)[lungs == 1]
    for x, y in rng.integers(70, 440, (400, 2)):
        if lungs[y, x]:
            cv2.circle(hu, (int(x), int(y)), int(rng.integers(1, 5)), 40, -1)
    hu = cv2.GaussianBlur(hu, (0, 0), 0.8) + rng.normal(0, 15, hu.shape)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _tutorial_mask(hu: np.ndarray) -> np.ndarray:
    """The tutorial's steps, each by the operation it uses, the two largest regions kept."""
    from scipy import ndimage
    from skimage import measure, segmentation

    regions = measure.label(segmentation.clear_border(hu < -400))
    found = measure.regionprops(regions)
    areas = sorted(region.area for region in found)
    for region in found:
        if len(areas) > 2 and region.area < areas[-2]:
            regions[tuple(region.coords.T)] = 0
    internal = regions > 0
    near, far = (ndimage.binary_dilation(internal, iterations=n) for n in (10, 55))
    gradient = np.hypot(ndimage.sobel(hu, 1), ndimage.sobel(hu, 0))
    gradient *= 255.0 / gradient.max()
    flooded = segmentation.watershed(gradient, internal * 255 + (near ^ far) * 128)
    outline = ndimage.morphological_gradient(flooded, size=(3, 3)).astype(bool)
    disc = np.ones((7, 7), int)
    for row, cut in ((0, 2), (1, 1), (5, 1), (6, 2)):
        disc[row, :cut] = disc[row, 7 - cut :] = 0
    outline |= ndimage.black_tophat(outline, structure=ndimage.iterate_structure(disc, 8))
    return ndimage.binary_closing(internal | outline, structure=np.ones((5, 5)), iterations=3)


ROWS = {"segmentation": segmentation_row}
