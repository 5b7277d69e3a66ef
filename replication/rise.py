"""RISE: what a classifier looks at, from its answers to randomly masked copies of an image.

Petsiuk, Das and Saenko 2018 (arXiv 1806.07421). The model is seen from outside alone: any
function from images to class probabilities will do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.transform import resize
from threadpoolctl import threadpool_limits
from tqdm import tqdm

# Ours: CNR-IEMN, section 4.5, names RISE without parameters; these are the RISE paper's.
MASKS, GRID, KEEP = 4000, 7, 0.5
# Ours: where two halves correlate by 0.9, their mean correlates by about 0.97 with the map of
# endlessly many masks (Spearman and Brown: the root of 2 r / (1 + r)).
TOLERANCE = 0.1
LOOK_EVERY = 512  # masks between two looks at whether the maps are stable

# From float32 (n, height, width, channels) to probabilities (n, classes).
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class RiseMaps:
    """What `rise` returns.

    Attributes:
        maps: float32 (classes, height, width), 0 or more: for each pixel about the mean
            probability of the class while that pixel is seen.
        masks: how many masks were used.
        agreement: float64 (classes,), how the two maps that the even and the odd batches give
            correlate; 1 for a class that was never given any probability.
        stable: whether all agree within the tolerance; if not, other masks would draw another map.
    """

    maps: np.ndarray
    masks: int
    agreement: np.ndarray
    stable: bool


def rise(
    predict: Predict,
    image: np.ndarray,
    classes: Sequence[int] | None = None,
    masks: int = MASKS,
    grid: int = GRID,
    keep: float = KEEP,
    batch_size: int = 64,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    divide_by_seen: bool = False,
    baseline: float = 0.0,
    progress: bool = False,
) -> RiseMaps:
    """Explain one image: its masks, weighted by what the model says to the image behind each.

    Masks are made a batch at a time; memory does not grow with their number. Ours: even and odd
    batches are summed apart, and no more masks are drawn once the two maps agree.

    Args:
        predict: gives probabilities (n, classes) for float32 (n, height, width, channels), always
            `batch_size` images: `model.predict_on_batch` for a Keras model with one input; other
            inputs are bound by the caller. The next call overwrites the images.
        image: float (height, width, channels), scaled as the network was trained.
        classes: indices of the classes to explain; None: all.
        masks: at most this many, rounded up to whole batches, at least two.
        grid: cells along each side of a mask before it is enlarged.
        keep: probability that a cell is seen.
        batch_size: images a call of `predict`.
        seed: of the masks.
        tolerance: stop when the two maps correlate by at least 1 less this for each class; 0: use
            all masks.
        divide_by_seen: Ours: divide by how often each pixel was seen, not by how often it is seen
            on average (masks times keep), as RISE does. The maps tend to the same limit; the noise
            of uneven masks, which a probability high everywhere brings in, cancels out, and about
            a fifth of the masks will do.
        baseline: what a masked pixel is set to. RISE: 0.
        progress: whether to show a progress bar (on a terminal).

    Returns:
        The maps, the number of masks, and whether the maps are stable.

    Raises:
        ValueError: an argument is out of range, or `predict` does not give probabilities.
    """
    _check(image, masks, grid, keep, batch_size)
    height, width, _ = image.shape
    rng = np.random.default_rng(seed)
    rows, columns = _cell_weights(height, grid), _cell_weights(width, grid)
    contrast = image.astype(np.float32) - np.float32(baseline)
    images = np.empty((batch_size, *image.shape), np.float32)
    # Whole batches only: Keras traces a model anew for a batch of another size.
    batches = -(-masks // batch_size)
    look_every = 2 * max(LOOK_EVERY // (2 * batch_size), 1)  # either half has as many masks
    bar = tqdm(total=batches * batch_size, unit=" masks", disable=None if progress else True)
    # More of OpenBLAS' threads spin on after each product and keep the cores from the model.
    with bar, threadpool_limits(1, user_api="blas"):
        for batch in range(batches):
            made = _make_masks(rng, batch_size, keep, rows, columns)
            for channel in range(image.shape[-1]):  # NumPy is slow where its inner loop is 3 long
                np.multiply(contrast[..., channel], made, out=images[..., channel])
            if baseline:
                images += np.float32(baseline)
            scores = _checked(predict(images), batch_size, classes)
            if batch == 0:
                sums = np.zeros((2, scores.shape[1], height * width), np.float32)
                seen = np.full((2, 1, height * width), np.finfo(np.float32).tiny)  # never 0
            made = made.reshape(batch_size, -1)
            sums[batch % 2] += scores.T @ made
            seen[batch % 2] += made.sum(axis=0) if divide_by_seen else keep * batch_size
            bar.update(batch_size)
            if (batch + 1) % look_every == 0 or batch + 1 == batches:
                agreement = _agreement(sums / seen)
                stable = bool((agreement >= 1 - tolerance).all())
                if stable:
                    break
    maps = (sums.sum(axis=0) / seen.sum(axis=0)).reshape(-1, height, width)
    return RiseMaps(maps, (batch + 1) * batch_size, agreement, stable)


def _check(image: np.ndarray, masks: int, grid: int, keep: float, batch_size: int) -> None:
    if image.ndim != 3 or image.dtype.kind != "f" or not np.isfinite(image).all():
        raise ValueError(
            f"an image is a finite float (height, width, channels), not {image.dtype} {image.shape}"
        )
    if not 0 < keep < 1:
        raise ValueError(f"keep is {keep}; the share of cells seen lies between 0 and 1")
    if not 2 <= grid <= min(image.shape[:2]):
        raise ValueError(f"grid is {grid}; a mask has 2 cells a side, or up to one a pixel")
    if batch_size < 1 or masks <= batch_size:
        raise ValueError(f"{masks} masks in batches of {batch_size}; there must be two batches")


def _cell_weights(side: int, grid: int) -> np.ndarray:
    """float32 (offsets, grid, side): along one side, how much of each cell a pixel shows.

    A mask is enlarged bilinearly to a cell more than the image, which is cut out of it at one of
    the offsets. Released: the authors enlarge with scikit-image's border mode "reflect", in which
    the outermost half cell fades towards its neighbour; OpenCV would repeat the border cell, and
    masks would differ by up to 0.5 there. Enlarging the unit matrix gives the weights of all
    masks; a mask is then a product of small matrices, which is no slower than OpenCV.
    """
    cell = -(-side // grid)
    enlarged = ((grid + 1) * cell, grid)
    weights = resize(np.eye(grid), enlarged, order=1, mode="reflect", anti_aliasing=False)
    return np.lib.stride_tricks.sliding_window_view(weights.astype(np.float32), side, axis=0)[:cell]


def _make_masks(
    rng: np.random.Generator, count: int, keep: float, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """float32 (count, height, width) in 0..1."""
    grid = rows.shape[1]
    # One row of random numbers a mask, so that masks do not depend on the batch size.
    drawn = rng.random((count, 2 + grid * grid))
    vertical = rows[(drawn[:, 0] * len(rows)).astype(int)]
    horizontal = columns[(drawn[:, 1] * len(columns)).astype(int)]
    cells = (drawn[:, 2:] < keep).astype(np.float32).reshape(count, grid, grid)
    return vertical.swapaxes(1, 2) @ (cells @ horizontal)


def _checked(scores: np.ndarray, count: int, classes: Sequence[int] | None) -> np.ndarray:
    """float32 (count, classes) of the classes asked for."""
    scores = np.asarray(scores, np.float32)
    if scores.ndim != 2 or len(scores) != count:
        raise ValueError(f"predict gave {scores.shape} for {count} images, not (images, classes)")
    if not (scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
        raise ValueError(
            f"predict gave {scores.min():.3g} to {scores.max():.3g}; RISE needs probabilities"
        )
    return scores if classes is None else scores[:, list(classes)]


def _agreement(maps: np.ndarray) -> np.ndarray:
    """float64 (classes,): how the two of (2, classes, pixels) correlate over the pixels."""
    centred = maps - maps.mean(axis=2, keepdims=True, dtype=np.float64)
    covariance = (centred[0] * centred[1]).sum(axis=1)
    spread = np.sqrt((centred**2).sum(axis=2).prod(axis=0))
    silent = ~maps.any(axis=(0, 2))
    return np.divide(covariance, spread, out=silent.astype(np.float64), where=spread > 0)
