"""Batches for Keras from a memory-mapped sample store."""

import keras
import numpy as np
import tensorflow as tf

SCALINGS = ("standardized", "unit")
# Keeps a clip without any contrast from being divided by zero; a gray level is 1 / 255 = 0.004.
MINIMUM_DEVIATION = 0.01


def make_dataset(
    samples: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    channels: int = 3,
    scaling: str = "unit",
) -> tf.data.Dataset:
    """Batches from a memory-mapped uint8 store.

    Only the gray bytes of a batch are read; scaling and widening to the network's channels happen
    in the graph.

    Args:
        samples: uint8 (n, ...), normally a memory map; or anything else with that `shape` that
            takes an array of row numbers as index, such as images that are augmented when read.
        rows: which samples, in the order they are fed.
        labels: for each of `rows` 0 or 1, or one-hot rows (len(rows), classes).
        batch_size: samples a batch.
        channels: how often gray is repeated.
        scaling: "unit" divides by 255; "standardized" then gives each sample mean 0 and SD 1.

    Returns:
        A dataset of (float32 (batch, ..., channels), float32 (batch, 1 or classes)).
    """
    shape = samples.shape[1:]
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {SCALINGS}, not {scaling}")

    def read(batch: np.ndarray) -> np.ndarray:
        return samples[batch]

    def load(batch: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gray = tf.numpy_function(read, [batch], tf.uint8, stateful=False)
        gray = tf.cast(tf.ensure_shape(gray, (None, *shape)), tf.float32) / 255.0
        if scaling == "standardized":
            axes = list(range(1, len(shape) + 1))
            mean, variance = tf.nn.moments(gray, axes, keepdims=True)
            gray = (gray - mean) / tf.maximum(tf.sqrt(variance), MINIMUM_DEVIATION)
        return tf.repeat(gray[..., None], channels, axis=-1), label

    targets = labels.astype(np.float32).reshape(len(rows), -1)
    pairs = tf.data.Dataset.from_tensor_slices((rows.astype(np.int64), targets))
    options = tf.data.Options()
    # Nothing here is left to tune, and the tuner's thread sleeps in doubling periods (10 ms, 20 ms,
    # ... 41 s) that an ending epoch waits for: measured with TensorFlow 2.21, 6.4 s become 10.2 s.
    options.autotune.enabled = False
    return pairs.batch(batch_size).map(load).prefetch(2).with_options(options)


def predict(model: keras.Model, batches: tf.data.Dataset) -> np.ndarray | dict[str, np.ndarray]:
    """What a model answers, as `model.predict` returns it, from a graph that is traced once.

    Keras traces one for whole batches, and another for a smaller last batch: 2 to 10 s of a deep
    network.
    """
    model.make_predict_function()
    model.predict_function.get_concrete_function([batches.element_spec])  # batches of any size
    return model.predict(batches, verbose=0)


def to_network_input(samples: np.ndarray, channels: int = 3, scaling: str = "unit") -> np.ndarray:
    """A few uint8 samples (n, ...) as `make_dataset` feeds them: float32 (n, ..., channels)."""
    ((batch, _),) = make_dataset(
        samples, np.arange(len(samples)), np.zeros(len(samples)), len(samples), channels, scaling
    )
    return batch.numpy()
