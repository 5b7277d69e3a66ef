"""Augmented copies of radiographs, made when they are read."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class AugmentedImages:
    """Images and their copies as one long array: item `copy * n + row` is a copy of image `row`.

    Copy 0 is the image itself; every other is turned, shifted and scaled by amounts that depend
    on seed, row, copy and epoch alone. Nothing is kept: a copy is made anew each time it is read.

    Attributes:
        images: uint8 (n, height, width), normally a memory map.
        seed: of all amounts.
        rotation: largest angle in degrees.
        shift: largest shift as a share of the side.
        zoom: largest change of scale, as a share.
        epoch: give each epoch a number of its own to draw the copies anew.
    """

    images: np.ndarray
    seed: int
    rotation: float
    shift: float
    zoom: float
    epoch: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one pass over the images; copies go on behind it."""
        return self.images.shape

    def __getitem__(self, keys: np.ndarray) -> np.ndarray:
        """The items with these numbers: uint8 (len(keys), height, width)."""
        return np.stack([self._item(*divmod(int(key), len(self.images))) for key in keys])

    def _item(self, copy: int, row: int) -> np.ndarray:
        image = np.ascontiguousarray(self.images[row])
        if copy == 0:
            return image
        # Ours: all of it, since the paper names no operation.
        rng = np.random.default_rng((self.seed, row, copy, self.epoch))
        height, width = image.shape
        angle = rng.uniform(-self.rotation, self.rotation)
        scale = rng.uniform(1 - self.zoom, 1 + self.zoom)
        move = rng.uniform(-self.shift, self.shift, 2) * (width, height)
        affine = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
        affine[:, 2] += move
        # Ours: outside the film is black, as at the collimated edges of many films. No mirroring:
        # the heart would change sides.
        return cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR)
