"""Gray levels inside the lungs of a slice: few numbers, for classifiers that train in seconds.

No part of the paper. Ours: exercise 6 puts a forest on these numbers in the place of the four slice
networks. Lesions are denser than lung and vessels are thin, so vessels are smoothed away first.
"""

import cv2
import numpy as np

LEVELS = 16  # Ours: bins of the 256 gray levels
# Ours: a median over 5 px and a margin of 2 px at 128 px; both grow with the slice.
REACH = 1 / 64  # of the side


def lung_levels(samples: np.ndarray) -> np.ndarray:
    """Shares of gray levels within the lungs, and their area, for each half of the picture.

    Args:
        samples: uint8 (slices, side, side, 2): gray, lung mask (0 or 255), as stored.

    Returns:
        float32 (slices, 34): 16 shares of the lung left of the middle of the lungs and its area as
        a share of the slice, then the same of the lung to the right. All 0 without lung.
    """
    return np.stack([_levels(sample) for sample in samples])


def _levels(sample: np.ndarray) -> np.ndarray:
    width = 2 * max(round(len(sample) * REACH), 1) + 1
    gray = cv2.medianBlur(np.ascontiguousarray(sample[..., 0]), width)
    mask = (sample[..., 1] > 0).astype(np.uint8)
    # Half of the chest wall lies in a border pixel: it would look like a lesion.
    lungs = cv2.erode(mask, np.ones((width, width), np.uint8)) > 0
    columns = np.flatnonzero(lungs.any(axis=0))
    middle = (columns[0] + columns[-1]) // 2 if columns.size else 0
    found = []
    for half in (slice(None, middle), slice(middle, None)):
        inside = gray[:, half][lungs[:, half]]
        shares = np.histogram(inside, LEVELS, range=(0, 256))[0] / max(inside.size, 1)
        found += [*shares, inside.size / lungs.size]
    return np.array(found, np.float32)
