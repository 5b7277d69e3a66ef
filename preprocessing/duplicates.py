"""Near-duplicate radiographs: difference hashes, and groups of images that differ by a few bits.

One patient's film, exported twice, must not lie in the training and the test set at once, and the
data sets of chest radiographs name no patients.
"""

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preprocessing.radiographs import check_gray

HASH_SIDE = 16
HASH_BYTES = HASH_SIDE * HASH_SIDE // 8

# Ours: at most 12 of 256 bits. Exports of one film differ by up to about a dozen bits; so do, now
# and then, two children who were positioned alike, which costs nothing but a larger group.
MAXIMUM_DISTANCE = 12

# Images compared at once; 512 of them against 15,000 need about 250 MB.
_BLOCK = 512


def difference_hash(image: np.ndarray) -> np.ndarray:
    """A 256-bit fingerprint of an image's coarse shape: where brightness rises to the right.

    Ours: 16 rows of 17 area averages, and the sign of each horizontal step (dHash).

    Args:
        image: uint8 (height, width), 0 to 255.

    Returns:
        uint8 (32,): 256 bits, row by row, the first one highest.

    Raises:
        ValueError: not an 8-bit gray image.
    """
    check_gray(image)
    # In float: rounded averages would hide the slight steps of smooth regions.
    small = cv2.resize(
        image.astype(np.float32), (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA
    )
    return np.packbits(small[:, 1:] > small[:, :-1])


def near_duplicate_pairs(
    hashes: np.ndarray, max_distance: int = MAXIMUM_DISTANCE
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of images whose hashes differ by at most `max_distance` bits.

    Args:
        hashes: uint8 (n, 32) of `difference_hash`.
        max_distance: bits, 0 to 256.

    Returns:
        int64 (pairs, 2), the lower index first, and their distances in bits, int64 (pairs,).

    Raises:
        ValueError: hashes of another shape or type.
    """
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != HASH_BYTES:
        raise ValueError(
            f"expected hashes as uint8 (n, {HASH_BYTES}), got {hashes.dtype} {hashes.shape}"
        )
    words = np.ascontiguousarray(hashes).view(np.uint64)  # (n, 4)
    pairs, distances = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(words), _BLOCK):
        block, others = words[start : start + _BLOCK], words[start:]
        differing = np.zeros((len(block), len(others)), np.uint16)
        for word in range(words.shape[1]):
            differing += np.bitwise_count(block[:, None, word] ^ others[None, :, word])
        row, column = np.nonzero(differing <= max_distance)
        new = column > row  # neither an image with itself nor a pair twice
        pairs.append(np.column_stack([row[new], column[new]]) + start)
        distances.append(differing[row[new], column[new]].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(distances)


def near_duplicate_groups(hashes: np.ndarray, max_distance: int = MAXIMUM_DISTANCE) -> np.ndarray:
    """Number the groups of near-duplicate images.

    Two images are in one group when a chain of pairs joins them, each at most `max_distance` bits
    apart.

    Args:
        hashes: uint8 (n, 32) of `difference_hash`.
        max_distance: bits, 0 to 256.

    Returns:
        int array (n,): group numbers from 0, in the order in which groups first appear.

    Raises:
        ValueError: hashes of another shape or type.
    """
    pairs, _ = near_duplicate_pairs(hashes, max_distance)
    n = len(hashes)
    joined = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return connected_components(joined, directed=False)[1]
