"""The control experiment: clips against motion-frozen copies of themselves.

Ours: no real clip of absent sliding is at hand, so this is what real speckle can test: does the
network see motion at all, and does it see more than noise statistics? It says nothing about
patients without sliding, and its verdict is always "not comparable".
"""

import zlib

import cv2
import numpy as np

NOISE_BLUR = 1.0  # Ours: px; decoded ultrasound noise is correlated over about a pixel
TISSUE_FREE_SIDE = 15  # Ours: px; the darkest square of this side stands for "no tissue"


def freeze(clip: np.ndarray, native: np.ndarray, name: str) -> np.ndarray:
    """Repeat a clip's middle frame, with fresh noise of the clip's own temporal statistics.

    The noise has each pixel's temporal deviation and the clip's correlation from one native
    frame to the next. Where unifying to 30 fps repeated a native frame, the copy repeats it too,
    so that the frame rate does not give the copy away.

    Args:
        clip: uint8 (frames, height, width).
        native: native frame of each clip frame, non-decreasing (frames,).
        name: seeds the noise; the same name gives the same copy.

    Returns:
        uint8 (frames, height, width).
    """
    fresh = np.r_[True, np.diff(native) != 0]
    frames = clip[fresh].astype(np.float32)
    residual = frames - frames.mean(axis=0)
    deviation = residual.std(axis=0)
    persistence = _lag_one_correlation(residual)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    noise = np.empty_like(frames)
    for t in range(len(frames)):
        innovation = _unit_noise(rng, frames.shape[1:])
        noise[t] = (
            innovation
            if t == 0
            else (persistence * noise[t - 1] + np.sqrt(1 - persistence**2) * innovation)
        )
    # A short correlated series deviates less from its own mean than its law says: give each pixel
    # exactly the deviation that the clip has there.
    noise -= noise.mean(axis=0)
    noise /= np.maximum(noise.std(axis=0), 1e-6)
    frozen = frames[len(frames) // 2] + deviation * noise
    frozen = np.clip(np.round(frozen), 0, 255).astype(np.uint8)
    return frozen[np.cumsum(fresh) - 1]


def tissue_free_statistics(clip: np.ndarray) -> np.ndarray:
    """Noise statistics of the clip's darkest square: deviation, and correlation in time and space.

    Returns:
        float (3,): temporal deviation in gray levels, lag-1 correlation in time, lag-1
        correlation along x of the temporal residual.
    """
    side = min(TISSUE_FREE_SIDE, *clip.shape[1:])
    brightness = cv2.boxFilter(clip.mean(axis=0), -1, (side, side), anchor=(0, 0))
    valid = brightness[: clip.shape[1] - side + 1, : clip.shape[2] - side + 1]
    y, x = np.unravel_index(np.argmin(valid), valid.shape)
    patch = clip[:, y : y + side, x : x + side].astype(np.float32)
    residual = patch - patch.mean(axis=0)
    across = (residual[:, :, 1:] * residual[:, :, :-1]).sum() / max((residual**2).sum(), 1e-6)
    return np.array([residual.std(), _lag_one_correlation(residual), across])


def _lag_one_correlation(residual: np.ndarray) -> float:
    """Correlation of successive frames of a zero-mean residual, 0 to 0.99."""
    power = float((residual**2).sum())
    if power == 0:
        return 0.0
    return float(np.clip((residual[1:] * residual[:-1]).sum() / power, 0.0, 0.99))


def _unit_noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A field of unit-variance Gaussian noise, correlated over about a pixel."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), NOISE_BLUR)
    return noise / noise.std()
