"""The floors find a shortcut where there is one, and nothing in noise."""

import numpy as np
import pytest

from cnr_iemn.floors import (
    exchanged_accuracy,
    intensity_floor,
    scan_intensity,
    scan_thumbnails,
)
from replication.floors import majority_floor, thumbnail_floor


def _slices(seed: int, count: int = 120, classes: int = 3, side: int = 48):
    """Noise without any class in it."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 200, (count, side, side), dtype=np.uint8)
    return images, rng.permutation(np.arange(count) % classes)


@pytest.fixture
def parts():
    return [*_slices(1), *_slices(2)]


@pytest.mark.parametrize("floor", [thumbnail_floor, intensity_floor])
def test_nothing_is_found_in_noise(floor, parts):
    found = floor(*parts)
    assert 0.15 <= found["balanced_accuracy"] <= 0.52  # chance 0.33, standard error 0.043


def test_where_it_is_bright_is_found_in_thumbnails_alone(parts):
    for images, labels in (parts[:2], parts[2:]):
        for label, column in enumerate((8, 20, 32)):
            images[labels == label, 16:32, column : column + 8] += 30
    found = thumbnail_floor(*parts)
    assert found["accuracy"] >= 0.95 and found["balanced_accuracy"] >= 0.95
    assert found["scores"].shape == (120, 3)
    assert np.mean(found["scores"].argmax(axis=1) == parts[3]) == found["accuracy"]
    assert intensity_floor(*parts)["balanced_accuracy"] <= 0.52  # the same everywhere


def test_brightness_and_contrast_are_found_by_the_intensity_floor(parts):
    for images, labels in (parts[:2], parts[2:]):
        images[labels == 1] += 20
        images[labels == 2] //= 2
    assert intensity_floor(*parts)["balanced_accuracy"] == 1


def test_two_classes_get_two_columns_and_any_labels():
    train, test = _slices(5, 60, 2), _slices(6, 60, 2)
    for images, labels in (train, test):
        images[labels == 1] //= 2
    found = thumbnail_floor(train[0], train[1] + 4, iter(test[0]), test[1] + 4)
    assert found["accuracy"] == 1 and found["scores"].shape == (60, 2)
    assert set(found["predicted"]) == {4, 5}


def test_rare_classes_count_as_much_as_others():
    """Slices are mostly normal: a floor that says so always would be no floor at all."""
    parts = []
    for seed in (7, 8):
        images, labels = _slices(seed, 300, 10)
        labels = (labels == 0).astype(int)  # one slice in ten
        images[labels == 1, 8:24, 8:24] += 4  # next to nothing
        parts += [images, labels]
    majority = majority_floor(*parts)
    assert majority["accuracy"] == pytest.approx(0.9) and not majority["predicted"].any()
    assert majority["balanced_accuracy"] == 0.5
    assert thumbnail_floor(*parts, balanced=True)["balanced_accuracy"] > 0.55


def test_memory_mapped_slices_are_read_one_by_one(parts, tmp_path):
    path = tmp_path / "slices.npy"
    np.save(path, parts[0])
    mapped = np.load(path, mmap_mode="r")
    assert np.array_equal(
        thumbnail_floor((mapped[k] for k in range(120)), *parts[1:])["predicted"],
        thumbnail_floor(*parts)["predicted"],
    )


def test_what_is_no_gray_slice_is_refused(parts):
    for floor in (thumbnail_floor, intensity_floor):
        with pytest.raises(ValueError, match="uint8"):
            floor(parts[0] / 255, *parts[1:])
        with pytest.raises(ValueError, match="uint8"):
            floor(parts[0][..., None], *parts[1:])
        with pytest.raises(ValueError, match="labels"):
            floor(parts[0], parts[1][:-1], *parts[2:])


def _scans(seed: int, count: int = 90):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    scans = rng.normal(-600, 100, (count, 11, 32, 32)).astype(np.float32)
    return scans, labels


def test_cohorts_are_scored_by_one_another():
    (one, labels), (two, _) = _scans(9), _scans(10)
    assert scan_intensity(one[0]).shape == (2,) and scan_thumbnails(one[0]).shape == (5 * 256,)
    for features in (scan_intensity, scan_thumbnails):
        pair = tuple(np.stack([features(s) for s in scans]) for scans in (one, two))
        assert 0.2 <= exchanged_accuracy(pair, (labels, labels)) <= 0.48
    for scans in (one, two):
        scans[labels == 1, 2, 8:16] += 60  # a fifth from the head
        scans[labels == 2, 8, 8:16] += 60  # a fifth from the feet
    pair = tuple(np.stack([scan_thumbnails(s) for s in scans]) for scans in (one, two))
    assert exchanged_accuracy(pair, (labels, labels)) > 0.9
    # A rule that holds in one cohort alone is no shortcut.
    shuffled = (labels, np.random.default_rng(11).permutation(labels))
    assert exchanged_accuracy(pair, shuffled) <= 0.5
