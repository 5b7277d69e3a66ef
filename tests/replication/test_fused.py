"""The fused batch norm computes what Keras computes."""

import keras
import numpy as np
import pytest
from keras import layers

from replication.fused import (
    FusedBatchNormalization,
    with_fused_batch_norm,
    without_fused_batch_norm,
)


def build(shape: tuple[int, ...]) -> keras.Model:
    convolution = layers.Conv2D if len(shape) == 3 else layers.Conv3D
    inputs = keras.Input(shape)
    x = layers.BatchNormalization(momentum=0.7)(convolution(4, 3, activation="relu")(inputs))
    x = layers.Dense(5, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(1)(layers.BatchNormalization()(x)))


@pytest.mark.parametrize("shape", [(9, 8, 3), (5, 6, 7, 2)])
def test_training_gives_the_same_weights_as_keras(shape):
    keras.utils.set_random_seed(1)
    plain = build(shape)
    fused = with_fused_batch_norm(plain)
    assert sum(type(layer) is FusedBatchNormalization for layer in fused.layers) == 1
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, *shape)).astype(np.float32)
    targets = rng.normal(size=(16, 1)).astype(np.float32)
    before = plain.get_weights()
    for model in (plain, fused):
        model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse", jit_compile=False)
        model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for start, one, other in zip(before, plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
        assert not np.array_equal(start, other)  # every weight and moving average took part
    np.testing.assert_allclose(
        plain.predict(images, verbose=0), fused.predict(images, verbose=0), atol=1e-4
    )


def test_frozen_batch_norm_keeps_its_averages():
    model = build((9, 8, 3))
    for layer in model.layers[:-1]:
        layer.trainable = False
    fused = with_fused_batch_norm(model)
    assert [w.path for w in fused.trainable_variables] == [fused.layers[-1].kernel.path,
                                                           fused.layers[-1].bias.path]  # fmt: skip
    fused.compile(optimizer="sgd", loss="mse", jit_compile=False)
    before = fused.get_weights()
    fused.fit(np.ones((4, 9, 8, 3)), np.zeros((4, 1)), verbose=0)
    for start, now in zip(before[:-2], fused.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(start, now)


def test_the_way_back_has_only_layers_of_keras():
    fused = with_fused_batch_norm(build((9, 8, 3)))
    plain = without_fused_batch_norm(fused)
    assert not any(type(layer) is FusedBatchNormalization for layer in plain.layers)
    for one, other in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
