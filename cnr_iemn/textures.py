"""Noise of the phantoms: what has no form of its own in lungs, lesions and picture."""

import cv2
import numpy as np

REACH = 260.0  # mm from the middle of the picture that noise in mm covers, to each side


def band_noise(
    rng: np.random.Generator, shape: tuple[int, int], fine: float, coarse: float
) -> np.ndarray:
    """float32 noise of unit SD between two scales (SDs of Gaussians, in px)."""
    white = rng.standard_normal(shape, np.float32)
    noise = cv2.GaussianBlur(white, (0, 0), fine) - 0.8 * cv2.GaussianBlur(white, (0, 0), coarse)
    return noise / noise.std()


class NoisePlanes:
    """Slices of fresh-looking noise from a few planes, cropped and flipped at random."""

    PLANES = 4
    SPARE = 48  # px by which planes are larger than slices

    def __init__(self, rng, shape: tuple[int, int], fine: float, coarse: float):
        self.rng, self.shape = rng, shape
        larger = (shape[0] + self.SPARE, shape[1] + self.SPARE)
        self.planes = [band_noise(rng, larger, fine, coarse) for _ in range(self.PLANES)]

    def next(self) -> np.ndarray:
        """float32 noise of unit SD; a view, not to be written to."""
        rng, (height, width) = self.rng, self.shape
        plane, top, left, flips = rng.integers(0, (self.PLANES, self.SPARE, self.SPARE, 4))
        view = self.planes[plane][top : top + height, left : left + width]
        return view[:: 1 - 2 * (flips & 1), :: 1 - (flips & 2)]


def _layers(rng, count: int, scale: float) -> np.ndarray:
    """(count, cells, cells) of unit SD over the reach, correlated over about `scale` mm."""
    cells = int(np.ceil(2 * REACH / (scale / 2))) + 1
    noise = rng.standard_normal((count, cells, cells), np.float32)
    for layer in noise:
        cv2.GaussianBlur(layer, (0, 0), 1.0, dst=layer)
    return noise / noise.std()


def _spread(layer: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The layer at px whose centres are at (1, width) x and (height, 1) y in mm."""
    step = 2 * REACH / (len(layer) - 1)
    pixel = (x[0, -1] - x[0, 0]) / (x.shape[1] - 1)
    scale = pixel / step
    move = np.array(
        [[scale, 0, (x[0, 0] + REACH) / step], [0, scale, (y[0, 0] + REACH) / step]], np.float64
    )
    return cv2.warpAffine(
        layer, move, (x.shape[1], y.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def smooth_noise(rng: np.random.Generator, scale: float, x, y) -> np.ndarray:
    """float32 (height, width) noise of about unit SD; the same in mm whatever the pixels are.

    Args:
        scale: mm over which it is correlated.
        x, y: (1, width) and (height, 1) mm from the middle of the picture, of pixels.
    """
    return _spread(_layers(rng, 1, scale)[0], x, y)


class SmoothVolume:
    """Noise in three dimensions, read slice by slice or at points.

    Args:
        scale: mm over which it is correlated.
        low, high: mm of z that it covers.
    """

    def __init__(self, rng: np.random.Generator, scale: float, low: float, high: float):
        self.step, self.low = scale / 2, low
        layers = _layers(rng, int(np.ceil((high - low) / self.step)) + 3, scale)
        layers = layers[:-1] + layers[1:]
        self.layers = layers / layers.std()

    def _place(self, z):
        place = np.clip((z - self.low) / self.step, 0, len(self.layers) - 1.001)
        below = np.floor(place).astype(int)
        share = (place - below).astype(np.float32)
        # Neighbouring layers share half their noise; their mean varies less than either.
        norm = np.sqrt((1 - share) ** 2 + share**2 + share * (1 - share))
        return below, share, norm

    def slice(self, z: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """float32 (height, width), of about unit SD."""
        below, share, norm = self._place(np.float64(z))
        layer = ((1 - share) * self.layers[below] + share * self.layers[below + 1]) / norm
        return _spread(layer.astype(np.float32), x, y)

    def points(self, xyz: np.ndarray) -> np.ndarray:
        """(n,) at (n, 3) mm."""
        below, share, norm = self._place(xyz[:, 2])
        step = 2 * REACH / (self.layers.shape[1] - 1)
        column, row = np.rint((xyz[:, :2].T + REACH) / step).astype(int)
        low, high = self.layers[below, row, column], self.layers[below + 1, row, column]
        return ((1 - share) * low + share * high) / norm
