"""The floors find a shortcut where there is one, and nothing in noise."""

import numpy as np
import pytest

from replication.floors import majority_floor, thumbnail_floor
from vbreathnet.floors import border_floor


def _films(seed: int, count: int = 120, classes: int = 3, side: int = 56):
    """Noise without any class in it."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 200, (count, side, side), dtype=np.uint8)
    return images, rng.permutation(np.arange(count) % classes)


@pytest.fixture
def parts():
    return [*_films(1), *_films(2)]


@pytest.mark.parametrize("floor", [thumbnail_floor, border_floor])
def test_nothing_is_found_in_noise(floor, parts):
    found = floor(*parts)
    assert 0.15 <= found["balanced_accuracy"] <= 0.52  # chance 0.33, standard error 0.043


def test_brightness_is_found_in_thumbnails_and_scores_are_the_decision(parts):
    for images, labels in (parts[:2], parts[2:]):
        images[labels == 1, 20:36, 16:26] += 30
        images[labels == 2, 20:36, 30:40] += 30
    found = thumbnail_floor(*parts)
    assert found["accuracy"] >= 0.95 and found["balanced_accuracy"] >= 0.95
    assert found["scores"].shape == (120, 3)
    assert np.mean(found["scores"].argmax(axis=1) == parts[3]) == found["accuracy"]
    assert border_floor(*parts)["balanced_accuracy"] <= 0.52  # the middle is hidden from it


def test_the_border_alone_is_read_by_the_border_floor(parts):
    for images, labels in (parts[:2], parts[2:]):
        images[labels == 1, :4, :20] = 255
        images[labels == 2, -4:, -20:] = 255
    assert border_floor(*parts)["balanced_accuracy"] == 1


@pytest.mark.parametrize("side", [224, 299])
def test_the_frame_is_a_fourteenth_of_the_width(side):
    train, test = _films(3, 40, 2, side), _films(4, 40, 2, side)
    inside = side // 14 + 4
    for images, labels in (train, test):
        middle = images[:, inside:-inside, inside:-inside]
        middle[labels == 1] = 0
    assert border_floor(*train, *test)["balanced_accuracy"] <= 0.75
    for images, labels in (train, test):
        images[labels == 1, :, : side // 14 - 1] = 0
    assert border_floor(*train, *test)["balanced_accuracy"] == 1


def test_two_classes_get_two_columns_and_any_labels():
    train, test = _films(5, 60, 2), _films(6, 60, 2)
    for images, labels in (train, test):
        images[labels == 1] //= 2
    found = thumbnail_floor(train[0], train[1] + 4, list(test[0]), test[1] + 4)
    assert found["accuracy"] == 1 and found["scores"].shape == (60, 2)
    assert np.array_equal(found["scores"].argmax(axis=1), test[1])


def test_a_rare_class_lowers_no_floor_below_always_naming_the_common_one():
    """A network that ignores a rare class is no better than the floor that does."""
    parts = []
    for seed in (7, 8):
        images, labels = _films(seed, 300, 10)
        parts += [images, (labels == 0).astype(int)]  # one film in ten, and nothing to see
    majority = majority_floor(*parts)
    assert majority["accuracy"] == pytest.approx(0.9) and not majority["predicted"].any()
    assert majority["balanced_accuracy"] == 0.5
    assert thumbnail_floor(*parts)["accuracy"] >= 0.88


def test_memory_mapped_films_are_read_one_by_one(parts, tmp_path):
    path = tmp_path / "films.npy"
    np.save(path, parts[0])
    mapped = np.load(path, mmap_mode="r")
    assert np.allclose(
        thumbnail_floor(mapped, *parts[1:])["scores"], thumbnail_floor(*parts)["scores"]
    )


def test_what_is_no_gray_film_is_refused(parts):
    with pytest.raises(ValueError, match="uint8"):
        thumbnail_floor(parts[0] / 255, *parts[1:])
    with pytest.raises(ValueError, match="uint8"):
        border_floor(parts[0][..., None], *parts[1:])
    with pytest.raises(ValueError, match="labels"):
        thumbnail_floor(parts[0], parts[1][:-1], *parts[2:])
