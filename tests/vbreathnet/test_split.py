"""Split first or augment first: what stays apart, and what the copies are."""

import dataclasses

import numpy as np
import pytest

from preprocessing.errors import InputError
from vbreathnet.augment import AugmentedImages
from vbreathnet.data import prepare
from vbreathnet.quality import check_enough
from vbreathnet.split import find_groups, split_samples


def silent(line: str) -> None:
    pass


@pytest.fixture
def store(small_config):
    return prepare(small_config, silent)


def test_copies_are_made_for_the_training_part_alone(small_config, store):
    samples = split_samples(small_config, store, seed=0)
    for label in range(3):
        counts = {
            part: int(((samples.parts == part) & (samples.labels == label)).sum())
            for part in ("train", "val", "test")
        }
        assert counts == {"train": 8, "val": 2, "test": 2}  # 80:20 of --per-class 10, and 2
    assert not samples.leaky
    bigger = split_samples(dataclasses.replace(small_config, per_class=30), store, seed=0)
    assert (bigger.copies[bigger.parts != "train"] == 0).all()
    assert (np.bincount(bigger.labels[bigger.of("train")]) == 24).all()
    apart = [set(bigger.rows[bigger.of(part)]) for part in ("train", "val", "test")]
    assert not (apart[0] & apart[1] or apart[0] & apart[2] or apart[1] & apart[2])
    # Copies go round: no image has two more than another.
    rows, times = np.unique(bigger.rows[bigger.of("train")], return_counts=True)
    assert times.max() - times.min() <= 1
    assert len(np.unique(bigger.keys)) == len(bigger.keys)


def test_per_class_zero_and_no_augmentation_take_the_images_as_they_are(small_config, store):
    as_found = split_samples(dataclasses.replace(small_config, per_class=0), store, seed=0)
    assert len(as_found.keys) == 36 and (as_found.copies == 0).all()
    config = dataclasses.replace(small_config, per_class=30, augmentation="none")
    assert (split_samples(config, store, seed=0).copies == 0).all()


def test_the_papers_order_leaks_and_says_so(small_config, store):
    config = dataclasses.replace(
        small_config, per_class=40, protocol="published-leaky-augment-first"
    )
    samples = split_samples(config, store, seed=0)
    assert samples.leaky and samples.describe(config.classes).startswith("LEAKY: ")
    train, val, test = (set(samples.rows[samples.of(p)]) for p in ("train", "val", "test"))
    assert train & val  # copies of one image on both sides
    assert not test & (train | val)
    assert len(samples.of("val")) == round(0.2 * 120)
    assert (samples.copies[samples.of("val")] > 0).any()


def test_known_patients_and_similar_pictures_stay_together(small_config, store):
    for row in store.index:
        row["patient_id"] = ""
    groups = find_groups(store)
    assert len(np.unique(groups)) == 36
    store.index[1]["patient_id"] = store.index[20]["patient_id"] = "one patient"
    store.index[2]["difference_hash"] = store.index[3]["difference_hash"]
    store.index[4]["near_duplicate_group"] = store.index[5]["near_duplicate_group"] = "given"
    lines = []
    groups = find_groups(store, lines.append)
    assert groups[1] == groups[20] and groups[2] == groups[3] and groups[4] == groups[5]
    assert len(np.unique(groups)) == 33
    assert lines[0].startswith("34 images without a given group: 33 groups")
    for seed in range(5):
        samples = split_samples(small_config, store, seed)
        for one, other in ((1, 20), (2, 3), (4, 5)):
            parts = [set(samples.parts[samples.rows == row]) for row in (one, other)]
            assert len(set.union(*parts)) <= 1, "a group is in two parts"


def test_a_training_epoch_depends_on_its_number_alone(small_config, store):
    config = dataclasses.replace(small_config, per_class=0, augmentation="every-epoch")
    samples = split_samples(config, store, seed=0)

    def images(epoch):
        batches = samples.training_epoch(config, epoch, "unit")
        return np.concatenate([x.numpy() for x, _ in batches])

    np.testing.assert_array_equal(images(1), images(1))
    assert not np.array_equal(np.sort(images(1), axis=0), np.sort(images(2), axis=0))
    fixed = dataclasses.replace(config, augmentation="copies")
    one, other = (
        np.concatenate([x.numpy() for x, _ in samples.training_epoch(fixed, epoch, "unit")])
        for epoch in (1, 2)
    )
    totals = [np.sort(x.sum(axis=(1, 2, 3))) for x in (one, other)]
    np.testing.assert_allclose(*totals)  # the same images in another order


def test_every_epoch_and_balancing_feed_no_image_twice(small_config, store):
    config = dataclasses.replace(small_config, per_class=30, augmentation="every-epoch")
    samples = split_samples(config, store, seed=0)
    fed = np.concatenate([x.numpy() for x, _ in samples.training_epoch(config, 0, "unit")])
    distinct = {image.tobytes() for image in fed}
    assert len(distinct) == len(fed) == 72
    originals = {(image / np.float32(255)).tobytes() for image in store.samples}
    assert not {image[..., 0].tobytes() for image in fed} & originals


def test_labels_come_one_hot_and_follow_their_images(small_config, store):
    samples = split_samples(small_config, store, seed=0)
    positions = samples.of("val")
    ((images, labels),) = samples.batches(small_config, positions, "unit")
    assert images.shape == (6, 96, 96, 3)
    np.testing.assert_array_equal(labels.numpy().argmax(axis=1), samples.labels[positions])
    expected = store.samples[samples.rows[positions[0]]] / np.float32(255)
    np.testing.assert_allclose(images[0, ..., 2], expected, atol=1e-6)


def test_shuffled_labels_keep_their_numbers_and_lose_their_images(small_config, store):
    config = dataclasses.replace(small_config, per_class=0)
    true = split_samples(config, store, seed=0)
    dealt = split_samples(dataclasses.replace(config, shuffle_labels=True), store, seed=0)
    label_of = dict(zip(true.rows, true.labels, strict=True))
    assert np.bincount(dealt.labels).tolist() == [12, 12, 12]
    kept = np.mean(
        [label_of[row] == label for row, label in zip(dealt.rows, dealt.labels, strict=True)]
    )
    assert kept < 0.7


def test_a_class_that_is_too_small_is_told_before_training(small_config, store):
    with pytest.raises(InputError, match="12 usable images of COVID; --test-per-class 11 .* 13"):
        check_enough(dataclasses.replace(small_config, test_per_class=11), store)
    check_enough(small_config, store)


def test_copies_are_moved_images_and_reproducible(store):
    images = AugmentedImages(store.samples, seed=1, rotation=10, shift=0.05, zoom=0.1)
    n = len(store.samples)
    original, copy, again, second = images[np.array([3, 3 + n, 3 + n, 3 + 2 * n])]
    np.testing.assert_array_equal(original, store.samples[3])
    np.testing.assert_array_equal(copy, again)
    assert not np.array_equal(copy, second) and not np.array_equal(copy, original)
    # Still the same film: moved a little it correlates with its original above all others.
    little = AugmentedImages(store.samples, seed=1, rotation=3, shift=0.01, zoom=0.02)
    (moved,) = little[np.array([3 + n])]
    others = [np.corrcoef(moved.ravel(), other.ravel())[0, 1] for other in store.samples]
    assert int(np.argmax(others)) == 3
    still = AugmentedImages(store.samples, seed=1, rotation=0, shift=0, zoom=0)
    np.testing.assert_array_equal(still[np.array([3 + n])][0], original)
