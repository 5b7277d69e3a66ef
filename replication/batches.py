"""Batches for Keras from a memory-mapped sample store."""

import numpy as np
import tensorflow as tf


def make_dataset(
    samples: np.ndarray, rows: np.ndarray, labels: np.ndarray, batch_size: int, channels: int = 3
) -> tf.data.Dataset:
    """Batches from a memory-mapped uint8 store.

    Only the gray bytes of a batch are read; scaling to 0..1 (Ours: not stated) and widening to
    the three channels of the paper's input (section 3.2) happen in the graph.

    Args:
        samples: uint8 (n, ...), normally a memory map.
        rows: which samples, in the order they are fed.
        labels: 0 or 1 for each of `rows`.
        batch_size: samples a batch.
        channels: 3 for clips, 1 for M-mode images.

    Returns:
        A dataset of (float32 (batch, ..., channels), float32 (batch, 1)).
    """
    shape = samples.shape[1:]

    def read(batch: np.ndarray) -> np.ndarray:
        return samples[batch]

    def widen(batch: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gray = tf.numpy_function(read, [batch], tf.uint8, stateful=False)
        gray = tf.ensure_shape(gray, (None, *shape))[..., None]
        scaled = tf.cast(gray, tf.float32) / 255.0
        return tf.repeat(scaled, channels, axis=-1), label[:, None]

    pairs = tf.data.Dataset.from_tensor_slices((rows.astype(np.int64), labels.astype(np.float32)))
    return pairs.batch(batch_size).map(widen).prefetch(2)


def to_network_input(samples: np.ndarray, channels: int = 3) -> np.ndarray:
    """A few uint8 samples (n, ...) as the float32 (n, ..., channels) in 0..1 of `make_dataset`."""
    return np.repeat(samples[..., None].astype(np.float32) / 255.0, channels, axis=-1)
