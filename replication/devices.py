"""Several devices of one machine, such as its GPUs, that share each batch of a training run.

Each takes an equal part of the batch, and they average their gradients
(`tf.distribute.MirroredStrategy`). Batch norm takes its statistics over all of them, so that a
step is the step of one device.
"""

import functools

import keras
import tensorflow as tf

from preprocessing.errors import InputError


@functools.cache  # a second strategy would number its reductions as the first, and mix them up
def sharing_strategy() -> tf.distribute.Strategy | None:
    """All GPUs, or else what TensorFlow was told of CPUs; None where there is one device alone."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        return None
    return tf.distribute.MirroredStrategy([device.name for device in found])


def equal_parts(batches: tf.data.Dataset, devices: int) -> tf.data.Dataset:
    """Batches that so many devices can share: the last is cut to a multiple of their number.

    Ours: so less than one sample a device is left out of an epoch, others in each, since the order
    is drawn anew. TensorFlow would share it unequally and weigh all shares alike. A last batch of
    fewer samples than devices is repeated until each has one. The number of batches stays, and is
    known: TensorFlow counts a step more where it finds out that there is none left.

    Raises:
        InputError: whole batches cannot be shared equally.
    """
    first = next(iter(batches.take(1)), None)
    size = 0 if first is None else len(tf.nest.flatten(first)[0])
    if size % devices and size > devices:
        raise InputError(
            f"--batch-size {size} cannot be shared equally by {devices} devices; take "
            f"--batch-size {size - size % devices} or another multiple, or --devices one"
        )

    def share(*batch):
        size = tf.shape(tf.nest.flatten(batch)[0])[0]
        rows = tf.range(tf.maximum(size // devices, 1) * devices) % size
        return tf.nest.map_structure(lambda part: tf.gather(part, rows), batch)

    return batches.map(share)


def validate(judge: keras.Model, model: keras.Model, data: tf.data.Dataset) -> dict[str, float]:
    """The validation figures of an epoch, by a copy of the model on one device: nothing is shared.

    Args:
        judge: compiled as the model is; gets its weights.
    """
    judge.set_weights(model.get_weights())
    found = judge.evaluate(data, verbose=0, return_dict=True)
    return {f"val_{name}": value for name, value in found.items()}
