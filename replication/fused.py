"""Batch norm and Adam by TensorFlow's fused kernels: the same mathematics, less memory moved.

Keras composes both of elementwise operations, each of which writes a tensor of the feature map's,
or of the weights', size. At 224 px those of batch norm are most of a training step on a CPU; with
small inputs those of Adam are, on the 25 million weights of a ResNet. The fused kernels need one
(`scripts/benchmark.py --rows fused_batch_norm fused_adam`).
"""

import keras
import tensorflow as tf
from keras import layers

FUSED_RANKS = (4, 5)  # (batch, height, width, channels) and with frames


class FusedBatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis; only the training step differs."""

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        normed, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.cast(inputs, self.compute_dtype),
            tf.cast(self.gamma, tf.float32),
            tf.cast(self.beta, tf.float32),
            epsilon=self.epsilon,
            is_training=True,
            data_format="NHWC" if inputs.shape.rank == 4 else "NDHWC",
        )
        # The kernel's variance is of a sample, n / (n - 1) times the population's that Keras keeps.
        values = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
        variance *= (values - 1) / values
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return normed


def with_fused_batch_norm(model: keras.Model) -> keras.Model:
    """A copy of a model, weights included, that normalizes feature maps by the fused kernel."""
    return _copy(model, _to_fused)


def with_synchronized_batch_norm(model: keras.Model) -> keras.Model:
    """A copy whose batch norm takes its statistics over all devices that share a batch.

    To be made under their strategy. Without it each would take those of its own part of the batch,
    and the moving averages would be the first device's.
    """
    return _copy(model, _to_synchronized)


def without_fused_batch_norm(model: keras.Model) -> keras.Model:
    """The copy back: only Keras' own layers for one device, as a saved model should have."""
    return _copy(model, _to_plain)


def _copy(model: keras.Model, change) -> keras.Model:
    # Keras compiles the clone of a compiled model, with an optimizer of its own: twice the weights
    # in memory, and in the file of a saved model.
    compiled, model.compiled = model.compiled, False
    copy = keras.models.clone_model(model, clone_function=change)
    model.compiled = compiled
    copy.set_weights(model.get_weights())
    for layer, original in zip(copy.layers, model.layers, strict=True):
        layer.trainable = original.trainable
    return copy


def _to_fused(layer: keras.Layer) -> keras.Layer:
    if type(layer) is layers.BatchNormalization and _can_fuse(layer):
        return FusedBatchNormalization.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())


def _can_fuse(layer: layers.BatchNormalization) -> bool:
    rank = len(layer.input.shape)
    return rank in FUSED_RANKS and layer.axis in (-1, rank - 1) and layer.center and layer.scale


def _to_synchronized(layer: keras.Layer) -> keras.Layer:
    synchronized = {"synchronized": True} if type(layer) is layers.BatchNormalization else {}
    return layer.__class__.from_config(layer.get_config() | synchronized)


def _to_plain(layer: keras.Layer) -> keras.Layer:
    if type(layer) in (layers.BatchNormalization, FusedBatchNormalization):
        config = layer.get_config() | {"synchronized": False}
        return layers.BatchNormalization.from_config(config)
    return layer.__class__.from_config(layer.get_config())


@keras.saving.register_keras_serializable(package="replication")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` without AMSGrad; only the speed differs, of tracing as well."""

    def update_step(self, gradient, variable, learning_rate):
        place = self._get_variable_index(variable)  # Keras hands over TensorFlow's own variable
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )
