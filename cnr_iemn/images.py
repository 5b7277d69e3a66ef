"""Slices as the networks get them: cut to size, and augmented copies made when they are read."""

from dataclasses import dataclass

import cv2
import numpy as np

from cnr_iemn.config import CnrIemnConfig

GRAY, MASK = 0, 1  # channels of a stored slice


@dataclass(frozen=True)
class SliceImages:
    """Stored slices and, behind them, their augmented copies, at a network's size.

    Item `row` is the slice in that row of the store; item `row + n * copy`, n the length of the
    store, is copy number `copy` of it. A copy depends on (seed, row, copy) alone.

    Attributes:
        samples: uint8 (n, side, side, 2): gray, lung mask (0 or 255).
        size: side of what is returned.
        config: the amounts of augmentation.
        seed: of the copies.
    """

    samples: np.ndarray
    size: int
    config: CnrIemnConfig
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one pass over the slices; copies go on behind it."""
        return (len(self.samples), self.size, self.size, 2)

    def __getitem__(self, keys: np.ndarray) -> np.ndarray:
        """The items with these numbers: uint8 (len(keys), size, size, 2)."""
        return np.stack([self._item(*divmod(int(key), len(self.samples))) for key in keys])

    def _item(self, copy: int, row: int) -> np.ndarray:
        stored = self.samples[row]
        if copy:
            rng = np.random.default_rng((self.seed, row, copy))
            return augment_slice(stored, self.size, self.config, rng)
        if stored.shape[0] == self.size:
            return stored
        return _binary_mask(
            cv2.resize(stored, (self.size, self.size), interpolation=cv2.INTER_AREA)
        )


def augment_slice(
    stored: np.ndarray, size: int, config: CnrIemnConfig, rng: np.random.Generator
) -> np.ndarray:
    """A copy of a slice by the five operations of section 3.3.1, in the paper's order.

    Args:
        stored: uint8 (side, side, 2): gray, lung mask (0 or 255).
        size: side of the result.

    Returns:
        uint8 (size, size, 2). Geometry moves gray and mask together; brightness and contrast
        change gray alone (Ours: a mask has neither), hence also its product with the mask.
    """
    side = stored.shape[0]
    # All is drawn whether it is used or not, so that one operation's chance moves no other's draw.
    brightness, contrast = rng.uniform(1 - config.jitter, 1 + config.jitter, 2)
    jitters, flips, distorts = rng.random(3) < (
        config.jitter_chance,
        config.flip_chance,
        config.perspective_chance,
    )
    corners = _distorted_corners(side, config.perspective, rng)
    angle = rng.uniform(-config.rotation, config.rotation)
    corner = rng.uniform(0, (1 - config.crop) * side, 2)
    gray = stored[..., GRAY]
    if jitters:
        gray = _jitter(gray, brightness, contrast)
    # One warp for all that moves pixels: to interpolate once blurs less, and costs less.
    move = np.eye(3)
    if flips:
        move = np.array([[-1, 0, side - 1], [0, 1, 0], [0, 0, 1]]) @ move
    if distorts:
        move = cv2.getPerspectiveTransform(_corners(side), corners) @ move
    middle = ((side - 1) / 2, (side - 1) / 2)
    move = np.vstack([cv2.getRotationMatrix2D(middle, angle, 1), [0, 0, 1]]) @ move
    zoom = size / (config.crop * side)
    # Pixel areas are aligned, as `cv2.resize` does, not pixel centres.
    shift = (0.5 - corner) * zoom - 0.5
    move = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]]) @ move
    moved = np.stack([gray, stored[..., MASK]], axis=-1)
    # Ours: what comes in from outside is air without lung.
    return _binary_mask(cv2.warpPerspective(moved, move, (size, size), flags=cv2.INTER_LINEAR))


def _corners(side: int) -> np.ndarray:
    last = side - 1
    return np.array([[0, 0], [last, 0], [last, last], [0, last]], np.float32)


def _distorted_corners(side: int, distortion: float, rng: np.random.Generator) -> np.ndarray:
    """Where the four corners go: each moves inwards by up to `distortion` half sides.

    Released: this is what a distortion scale means in the library that the paper used.
    """
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = _corners(side) + inwards * rng.uniform(0, distortion * side / 2, (4, 2))
    return moved.astype(np.float32)


def _jitter(gray: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Brightness multiplies; contrast stretches about the mean."""
    values = gray * brightness
    values = (values - values.mean()) * contrast + values.mean()
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _binary_mask(image: np.ndarray) -> np.ndarray:
    """The image with its interpolated mask back at 0 and 255."""
    image[..., MASK] = np.where(image[..., MASK] > 127, 255, 0)
    return image
