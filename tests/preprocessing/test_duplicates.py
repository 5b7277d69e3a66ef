import tracemalloc

import cv2
import numpy as np
import pytest

from preprocessing.duplicates import (
    difference_hash,
    near_duplicate_groups,
    near_duplicate_pairs,
)


def picture(seed, size=224):
    """Smooth and random: another seed is another patient."""
    noise = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 14)
    return cv2.normalize(smooth, None, 10, 245, cv2.NORM_MINMAX).astype(np.uint8)


def distance(a, b):
    return int(np.bitwise_count(a ^ b).sum())


def test_hash_is_32_bytes_of_the_gradient_s_sign():
    ramp = np.tile(np.arange(170, dtype=np.uint8), (160, 1))
    rising, falling = difference_hash(ramp), difference_hash(ramp[:, ::-1])
    assert rising.shape == (32,) and rising.dtype == np.uint8
    assert rising.tolist() == [255] * 32 and falling.tolist() == [0] * 32
    step = np.zeros((160, 170), np.uint8)
    step[:10, 10:] = 200  # the first of 16 rows rises once, at its first step
    assert difference_hash(step).tolist() == [128] + [0] * 31


def test_exports_of_one_film_are_near_and_other_films_far():
    original = picture(0)
    exports = [
        cv2.resize(original, (299, 299), interpolation=cv2.INTER_CUBIC),
        cv2.imdecode(cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0),
        (original * 0.8 + 20).astype(np.uint8),
    ]
    first = difference_hash(original)
    assert max(distance(first, difference_hash(e)) for e in exports) <= 6
    assert min(distance(first, difference_hash(picture(s))) for s in range(1, 20)) > 40


def chain(*distances, seed=0):
    """Hashes of which each differs from the one before in as many fresh bits."""
    bits = np.random.default_rng(seed).integers(0, 2, 256).astype(bool)
    hashes, at = [np.packbits(bits)], 0
    for flipped in distances:
        bits[at : at + flipped] ^= True
        at += flipped
        hashes.append(np.packbits(bits))
    return np.stack(hashes)


def test_groups_are_chains_of_near_pairs():
    hashes = chain(12, 12, 13, 0)
    assert near_duplicate_groups(hashes).tolist() == [0, 0, 0, 1, 1]
    assert near_duplicate_groups(hashes, max_distance=13).tolist() == [0] * 5
    assert near_duplicate_groups(hashes, max_distance=0).tolist() == [0, 1, 2, 3, 3]
    pairs, distances = near_duplicate_pairs(hashes)
    assert pairs.tolist() == [[0, 1], [1, 2], [3, 4]] and distances.tolist() == [12, 12, 0]


def test_pairs_equal_brute_force_across_blocks():
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 256, (1300, 32), np.uint8)
    hashes[1000:] = hashes[rng.permutation(1000)[:300]] ^ np.uint8(1)  # 32 bits apart
    bits = np.unpackbits(hashes, axis=1).astype(np.float32)
    apart = (bits @ (1 - bits).T + (1 - bits) @ bits.T).round().astype(int)
    expected = [tuple(p) for p in np.argwhere(np.triu(apart <= 32, 1))]
    pairs, distances = near_duplicate_pairs(hashes, 32)
    assert sorted(map(tuple, pairs.tolist())) == expected and len(expected) == 300
    assert np.array_equal(distances, apart[pairs[:, 0], pairs[:, 1]])


def test_no_images_and_one_image():
    assert near_duplicate_groups(np.empty((0, 32), np.uint8)).tolist() == []
    assert near_duplicate_groups(chain()).tolist() == [0]


def test_a_whole_data_set_needs_little_memory():
    hashes = np.random.default_rng(0).integers(0, 256, (15_000, 32), np.uint8)
    hashes[9_000:9_100] = hashes[:100]
    tracemalloc.start()
    groups = near_duplicate_groups(hashes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(groups[:100], groups[9_000:9_100]) and groups.max() + 1 == 14_900
    assert peak < 500e6


@pytest.mark.parametrize("hashes", [np.zeros((3, 8), np.uint8), np.zeros((3, 32), np.int64)])
def test_other_hashes_are_refused(hashes):
    with pytest.raises(ValueError, match="uint8"):
        near_duplicate_pairs(hashes)
