"""Batches of slices for Keras; the networks' channels are made inside the graph."""

import numpy as np
import tensorflow as tf

from cnr_iemn.config import CLASSES, CnrIemnConfig, Scenario
from cnr_iemn.images import GRAY, MASK, SliceImages
from cnr_iemn.multitask import SLICES_SCALE
from cnr_iemn.split import Scans


def positions(number: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """float32 (n, 2): the second input of `build_slice_network`.

    Args:
        number: int (n,), of each slice from the head.
        slices: int (n,), how many its scan has.
    """
    # Paper: section 3.3.1: the number of slices and the location of the slice are added. Ours: the
    # location is the number among the sorted slices, in 0..1.
    return np.stack([slices / SLICES_SCALE, number / slices], axis=1).astype(np.float32)


def stack_channels(images: tf.Tensor, gray_only: bool) -> tf.Tensor:
    """Stored slices as the networks' inputs, inside the graph.

    Paper: section 3.3.1: gray image, segmented lungs, and the product of both; section 4.2.1: the
    gray image three times. Inferred: the second channel is the mask itself, not the slice in it,
    which is the third.

    Args:
        images: uint8 (batch, size, size, 2).
        gray_only: the gray image three times, for Table 1.

    Returns:
        float32 (batch, size, size, 3) in 0..1.
    """
    unit = tf.cast(images, tf.float32) / 255.0
    gray, mask = unit[..., GRAY], unit[..., MASK]
    channels = [gray, gray, gray] if gray_only else [gray, mask, gray * mask]
    return tf.stack(channels, axis=-1)


def make_batches(
    config: CnrIemnConfig,
    scans: Scans,
    keys: np.ndarray,
    network: str,
    scenario: Scenario,
    seed: int,
    labels: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Slices and copies as a tf.data.Dataset, in the given order.

    Args:
        keys: items of `SliceImages`.
        network: whose input size they are cut to.
        scenario: decides the channels, and whether there is a second input and a second target.
        seed: of the copies.
        labels: class of each slice of the store; None for input alone.

    Returns:
        Batches of image, or (image, position) with two tasks; paired with one-hot classes, or a
        dict of classes and regions, if `labels` are given.
    """
    images = SliceImages(scans.store.samples, config.size_of(network), config, seed)
    rows = keys % len(scans.store.samples)
    both_tasks = scenario == "multitask"

    def load(batch: tf.Tensor) -> tf.Tensor:
        stored = tf.numpy_function(lambda b: images[b], [batch], tf.uint8, stateful=False)
        stored = tf.ensure_shape(stored, (None, *images.shape[1:]))
        return stack_channels(stored, gray_only=scenario == "gray")

    def element(batch, position, target=None):
        image = load(batch)
        inputs = (image, position) if both_tasks else image
        return (inputs,) if target is None else (inputs, target)

    columns = [keys.astype(np.int64), positions(*scans.places)[rows]]
    if labels is not None:
        one_hot = np.eye(len(CLASSES), dtype=np.float32)[labels[rows]]
        regions = np.eye(config.regions, dtype=np.float32)[scans.regions(config.regions)[rows]]
        columns.append({"class": one_hot, "region": regions} if both_tasks else one_hot)
    options = tf.data.Options()
    options.autotune.enabled = False  # see `replication.batches.make_dataset`
    dataset = tf.data.Dataset.from_tensor_slices(tuple(columns)).batch(config.batch_size)
    return dataset.map(element, num_parallel_calls=1).prefetch(2).with_options(options)
