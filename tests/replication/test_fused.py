"""The fused batch norm and Adam compute what Keras computes."""

import keras
import numpy as np
import pytest
from keras import layers

from replication.fused import (
    FusedAdam,
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


@pytest.mark.parametrize("settings", [{}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}])
def test_adam_gives_the_same_weights_as_keras_at_every_rate(settings):
    keras.utils.set_random_seed(2)
    first = build((9, 8, 3))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, 9, 8, 3)).astype(np.float32)
    targets = rng.normal(size=(16, 1)).astype(np.float32)
    models = [first, keras.models.clone_model(first)]
    models[1].set_weights(first.get_weights())
    start = first.get_weights()
    for model, adam in zip(models, (keras.optimizers.Adam, FusedAdam), strict=True):
        model.compile(adam(0.01, **settings), loss="mse", jit_compile=False)
        for rate in (0.01, 0.001, 0.02):
            model.optimizer.learning_rate = rate
            model.fit(images, targets, batch_size=4, shuffle=False, verbose=0)
        assert int(model.optimizer.iterations) == 12
    for before, one, other in zip(start, *(m.get_weights() for m in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
        assert np.abs(one - before).max() > 1e-3
    plain, fused = ([np.asarray(v) for v in model.optimizer.variables] for model in models)
    for one, other in zip(plain, fused, strict=True):  # what a resumed run starts from
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)


def test_adam_is_saved_under_its_name():
    config = keras.optimizers.serialize(FusedAdam(0.5, beta_1=0.7))
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, FusedAdam) and again.beta_1 == 0.7
    assert float(again.learning_rate) == 0.5
