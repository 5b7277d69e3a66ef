"""Whether a heat map is right: against the known lesion, and against what the model does."""

from collections.abc import Callable

import cv2
import numpy as np

STEPS = 224  # Released: 224 pixels a step of an image of 224x224
# Released: the start of insertion is blurred with SD 5 over 11 pixels, at 224x224.
BLUR_WIDTH, BLUR_SD, BLUR_SIDE = 11, 5.0, 224


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether each map is hottest inside the lesion (Zhang et al. 2016, arXiv 1608.00507).

    Ours: the maximum itself counts, without a tolerance around it; where several pixels are the
    hottest all of them have to lie inside, so that a map without any peak points at nothing.
    What guessing would score is `pointing_chance`.

    Args:
        maps: (n, height, width).
        masks: (n, height, width), lesions nonzero.

    Returns:
        bool (n,).

    Raises:
        ValueError: shapes differ, a map is not finite, or a mask has no lesion.
    """
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape}, not one (n, height, width)")
    if not np.isfinite(maps).all():
        raise ValueError("a map has values that are NaN or infinite")
    lesions = masks != 0
    if not lesions.any(axis=(1, 2)).all():
        raise ValueError("a mask without lesion; only images with one can be pointed at")
    hottest = maps == maps.max(axis=(1, 2), keepdims=True)
    return ~(hottest & ~lesions).any(axis=(1, 2))


def pointing_chance(masks: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
    """How often a pixel drawn at random lies in the lesion: the floor of `pointing_game`.

    Args:
        masks: (n, height, width), lesions nonzero.
        within: (n, height, width), nonzero where the pixel is drawn, such as the lungs: a map
            that only knows where the lungs are scores this. None: the whole image.

    Returns:
        float64 (n,) in 0..1, NaN where `within` is empty.
    """
    lesions = masks != 0
    area = np.ones_like(lesions) if within is None else within != 0
    pixels = area.sum(axis=(1, 2))
    inside = (lesions & area).sum(axis=(1, 2))
    return np.divide(inside, pixels, out=np.full(len(masks), np.nan), where=pixels > 0)


def insertion_deletion(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    heatmap: np.ndarray,
    class_index: int,
    steps: int = STEPS,
    batch_size: int = 64,
) -> tuple[float, float]:
    """How fast the class appears and disappears with the map's hottest pixels.

    RISE (arXiv 1806.07421, section 4.2). Insertion: the image's pixels, the hottest first, are put
    into its blurred copy. Deletion: they are set to 0. Both are the area under the probability of
    the class over the share of pixels done, by the trapezoidal rule.

    Ours: the blur grows with the image's side, and mirrors the border.

    Args:
        predict: gives probabilities (n, classes) for float32 (n, height, width, channels).
        image: float (height, width, channels), scaled as the network was trained.
        heatmap: (height, width); pixels of the same heat follow one another row by row.
        class_index: the class that the map explains.
        steps: how many times pixels are moved; steps + 1 images are scored for each of the two.
        batch_size: images a call of `predict`.

    Returns:
        Insertion, better the higher, and deletion, better the lower; each 0 to 1.

    Raises:
        ValueError: shapes do not fit, the map is not finite, or steps is not 1 to its pixels.
    """
    if image.ndim != 3 or heatmap.shape != image.shape[:2]:
        raise ValueError(f"a heat map of {heatmap.shape} for an image of {image.shape}")
    if not np.isfinite(heatmap).all():
        raise ValueError("the heat map has values that are NaN or infinite")
    if not 1 <= steps <= heatmap.size:
        raise ValueError(f"steps is {steps}; a map of {heatmap.size} pixels takes 1 to that many")
    image = image.astype(np.float32)
    # The position of each pixel in the order from the hottest to the coldest.
    rank = np.empty(heatmap.size, int)
    rank[np.argsort(-heatmap.ravel().astype(np.float64), kind="stable")] = np.arange(heatmap.size)
    moved = np.rint(np.linspace(0, heatmap.size, steps + 1)).astype(int)
    areas = []
    for start, end in ((_blurred(image), image), (image, np.zeros_like(image))):
        scores = []
        for first in range(0, steps + 1, batch_size):
            done = rank.reshape(heatmap.shape) < moved[first : first + batch_size, None, None]
            images = np.where(done[..., None], end, start)
            scores.append(np.asarray(predict(images))[:, class_index])
        areas.append(float(np.trapezoid(np.concatenate(scores), moved / heatmap.size)))
    return areas[0], areas[1]


def _blurred(image: np.ndarray) -> np.ndarray:
    scale = max(image.shape[:2]) / BLUR_SIDE
    width = 2 * max(round(BLUR_WIDTH // 2 * scale), 1) + 1
    blurred = cv2.GaussianBlur(image, (width, width), BLUR_SD * scale)
    return blurred.reshape(image.shape)  # OpenCV drops the axis of a single channel
