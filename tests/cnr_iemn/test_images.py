"""Slices at a network's size, their augmented copies, and the channels that networks get."""

import dataclasses

import cv2
import numpy as np
import pytest

from cnr_iemn.batches import make_batches, positions, stack_channels
from cnr_iemn.images import GRAY, MASK, SliceImages, augment_slice
from cnr_iemn.split import Scans

OFF = dict(jitter_chance=0.0, flip_chance=0.0, perspective_chance=0.0, rotation=0.0, crop=1.0)


def square(side=120, value=200) -> np.ndarray:
    """A bright square off the middle, in gray and mask alike."""
    sample = np.zeros((side, side, 2), np.uint8)
    sample[side // 4 : side // 2, side // 2 : 4 * side // 5] = (value, 255)
    return sample


def noise(count=5, side=40) -> np.ndarray:
    samples = np.random.default_rng(3).integers(1, 256, (count, side, side, 2), dtype=np.uint8)
    samples[..., MASK] = 255 * (cv2.blur(samples[..., GRAY], (9, 9)) > 128)
    return samples


@pytest.fixture
def strong(small_config):
    """Every operation always."""
    return dataclasses.replace(
        small_config, jitter_chance=1.0, flip_chance=1.0, perspective_chance=1.0
    )


def draw(seed=1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_copies_are_seeded_and_repeatable(strong):
    sample = noise(1)[0]
    one, same, other = (augment_slice(sample, 32, strong, draw(seed)) for seed in (1, 1, 2))
    assert one.shape == (32, 32, 2) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.3


@pytest.mark.parametrize("seed", range(12))
def test_geometry_moves_image_and_mask_together(strong, seed):
    moved = augment_slice(square(), 96, dataclasses.replace(strong, jitter_chance=0.0), draw(seed))
    bright, mask = moved[..., GRAY] > 100, moved[..., MASK] > 0
    if mask.any():
        assert (bright & mask).sum() / (bright | mask).sum() > 0.95
    assert set(np.unique(moved[..., MASK])) <= {0, 255}


def test_the_square_is_seen_and_moves(strong):
    moved = [augment_slice(square(), 96, strong, draw(seed))[..., MASK] for seed in range(12)]
    assert np.mean([mask.any() for mask in moved]) > 0.8
    assert len({mask.tobytes() for mask in moved}) > 8


def test_jitter_changes_gray_and_leaves_the_mask(small_config):
    config = dataclasses.replace(small_config, **OFF | {"jitter_chance": 1.0}, jitter=0.2)
    sample = noise(1)[0]
    for seed in range(5):
        copy = augment_slice(sample, 40, config, draw(seed))
        np.testing.assert_array_equal(copy[..., MASK], sample[..., MASK])
        assert (copy[..., GRAY] != sample[..., GRAY]).mean() > 0.5
        # Brightness is a factor of 0.8 to 1.2, and so is contrast, about the mean.
        before, now = (float(s[..., GRAY].mean()) for s in (sample, copy))
        assert 0.75 < now / before < 1.25
        assert 0.6 < copy[..., GRAY].std() / sample[..., GRAY].std() < 1.45


def test_without_any_operation_a_copy_is_the_slice(small_config):
    config = dataclasses.replace(small_config, **OFF)
    sample = noise(1)[0]
    np.testing.assert_array_equal(augment_slice(sample, 40, config, draw()), sample)


def test_a_flip_is_horizontal(small_config):
    config = dataclasses.replace(small_config, **OFF | {"flip_chance": 1.0})
    sample = noise(1)[0]
    np.testing.assert_array_equal(augment_slice(sample, 40, config, draw()), sample[:, ::-1])


def test_a_crop_without_shrinking_is_a_part_of_the_slice(small_config):
    config = dataclasses.replace(small_config, **OFF | {"crop": 0.5})
    sample = cv2.GaussianBlur(noise(1, 80)[0], (0, 0), 4)
    copy = augment_slice(sample, 40, config, draw(3))
    found = cv2.matchTemplate(sample[..., GRAY], copy[..., GRAY], cv2.TM_CCOEFF_NORMED)
    assert found.max() > 0.99


def test_the_rotation_stays_within_its_degrees(small_config):
    config = dataclasses.replace(small_config, **OFF | {"rotation": 30.0})
    bar = np.zeros((120, 120, 2), np.uint8)
    bar[55:65, 10:110] = 255
    angles = []
    for seed in range(30):
        rows, columns = np.nonzero(augment_slice(bar, 120, config, draw(seed))[..., MASK])
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
    assert 20 < max(angles) < 31 and -31 < min(angles) < -20


def test_what_comes_in_from_outside_is_air_without_lung(small_config):
    config = dataclasses.replace(small_config, **OFF | {"rotation": 45.0})
    white = np.full((60, 60, 2), 255, np.uint8)
    turned = [augment_slice(white, 60, config, draw(seed)) for seed in range(20)]
    corner = np.array([copy[0, 0] for copy in turned])
    assert (corner[:, GRAY] == 0).any()
    assert all(set(np.unique(copy[..., MASK])) <= {0, 255} for copy in turned)
    assert all((copy[30, 30] == 255).all() for copy in turned)
    outside = corner[:, GRAY] == 0
    assert (corner[outside, MASK] == 0).all()


def test_items_behind_the_store_are_copies_of_its_rows(strong):
    samples = noise(5)
    images = SliceImages(samples, 40, strong, seed=7)
    np.testing.assert_array_equal(images[np.array([3, 0])], samples[[3, 0]])
    second = images[np.array([3 + 2 * 5])][0]
    expected = augment_slice(samples[3], 40, strong, np.random.default_rng((7, 3, 2)))
    np.testing.assert_array_equal(second, expected)
    assert len({images[np.array([3 + 5 * copy])].tobytes() for copy in range(4)}) == 4
    # A copy is the same whatever is asked for beside it.
    np.testing.assert_array_equal(images[np.array([1, 13, 4])][1], second)
    assert (SliceImages(samples, 40, strong, seed=8)[np.array([13])][0] != second).any()


def test_other_sizes_keep_a_binary_mask(strong):
    samples = noise(2, 60)
    small = SliceImages(samples, 32, strong, seed=0)[np.array([0, 1])]
    assert small.shape == (2, 32, 32, 2)
    assert set(np.unique(small[..., MASK])) == {0, 255}
    assert abs(float(small[..., GRAY].mean()) - samples[..., GRAY].mean()) < 2


def test_channels_are_gray_mask_and_their_product():
    images = noise(2)
    channels = stack_channels(images, gray_only=False).numpy()
    gray, mask = images[..., GRAY] / 255, images[..., MASK] / 255
    assert channels.dtype == np.float32 and channels.shape == (2, 40, 40, 3)
    for number, expected in enumerate((gray, mask, gray * mask)):
        np.testing.assert_allclose(channels[..., number], expected, atol=1e-6)
    plain = stack_channels(images, gray_only=True).numpy()
    for number in range(3):
        np.testing.assert_allclose(plain[..., number], gray, atol=1e-6)


def test_positions_are_the_scans_length_and_the_place_in_it():
    found = positions(np.array([0, 50, 99]), np.array([100, 100, 100]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.5, 0.0], [0.5, 0.5], [0.5, 0.99]], atol=1e-6)


def test_batches_pair_slices_with_classes_and_regions(make_store, small_config):
    store = make_store([("a", 0), ("b", 1), ("c", 2)], slices=10)
    config = dataclasses.replace(small_config, batch_size=4)
    scans = Scans.of(store)
    labels = np.repeat([0, 1, 2], 10)
    keys = np.array([0, 12, 29, 7, 30 + 12])  # the last is a copy
    batches = list(make_batches(config, scans, keys, "densenet161", "multitask", 3, labels))
    assert [len(x[0]) for x, _ in batches] == [4, 1]
    (image, position), target = batches[0]
    images = SliceImages(store.samples, 32, config, 3)
    np.testing.assert_allclose(image, stack_channels(images[keys[:4]], False), atol=1e-6)
    np.testing.assert_allclose(position[:, 1], [0, 0.2, 0.9, 0.7], atol=1e-6)
    np.testing.assert_allclose(position[:, 0], 10 / 200)
    assert target["class"].numpy().argmax(axis=1).tolist() == [0, 1, 2, 0]
    assert target["region"].numpy().argmax(axis=1).tolist() == [0, 1, 4, 3]
    (copy, place), answer = batches[1]
    np.testing.assert_allclose(copy, stack_channels(images[keys[4:]], False), atol=1e-6)
    assert place.numpy()[0, 1] == pytest.approx(0.2)
    assert answer["class"].numpy().argmax() == 1 and answer["region"].numpy().argmax() == 1


def test_one_task_has_images_and_classes_alone(make_store, small_config):
    store = make_store([("a", 0), ("b", 1)])
    keys, labels = np.arange(8), np.repeat([0, 1], 4)
    arguments = (small_config, Scans.of(store), keys, "densenet161")
    ((image, target),) = make_batches(*arguments, "gray", 0, labels)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert target.shape == (8, 3)
    ((alone,),) = make_batches(*arguments, "segmented", 0)
    assert set(np.unique(alone[..., 1])) == {0, 1}
