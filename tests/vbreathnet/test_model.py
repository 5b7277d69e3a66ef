"""The network against the counts that the paper prints."""

import math

import keras
import numpy as np
import pytest

from vbreathnet.model import build_vbreathnet


def count(variables) -> int:
    return sum(math.prod(v.shape) for v in variables)


@pytest.mark.parametrize("side", [200, 224, 256])
def test_parameters_equal_the_printed_count(side):
    model = build_vbreathnet((side, side, 3))
    assert model.count_params() == 792_291  # section 3.3
    assert count(model.trainable_variables) == 790_307


def test_other_sides_make_another_network():
    assert build_vbreathnet((150, 150, 3)).count_params() == 562_915
    assert build_vbreathnet((299, 299, 3)).count_params() == 1_087_203


def test_maps_shrink_from_112_to_4():
    model = build_vbreathnet()
    pools = [model.get_layer(f"block{n}_pool").output.shape[1:] for n in range(1, 7)]
    assert pools == [
        (112, 112, 128), (56, 56, 64), (28, 28, 32), (14, 14, 64), (7, 7, 128), (4, 4, 64)
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["conv-relu-norm", "conv-norm-relu"])
def test_scores_are_probabilities_and_every_weight_learns(order):
    keras.utils.set_random_seed(0)
    model = build_vbreathnet((64, 64, 3), classes=4, activation_order=order)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    images = np.random.default_rng(0).random((8, 64, 64, 3), dtype=np.float32)
    scores = model.predict(images, verbose=0)
    assert scores.shape == (8, 4)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    before = [w.copy() for w in model.get_weights()]
    model.fit(images, np.eye(4)[np.arange(8) % 4], verbose=0)
    for weight, start, now in zip(model.weights, before, model.get_weights(), strict=True):
        if "seed" not in weight.path:
            assert not np.array_equal(start, now), weight.path


def test_orders_differ_and_an_unknown_one_is_refused():
    names = [layer.name for layer in build_vbreathnet((64, 64, 3)).layers]
    assert names.index("block1_relu") < names.index("block1_norm")
    other = build_vbreathnet((64, 64, 3), activation_order="conv-norm-relu")
    names = [layer.name for layer in other.layers]
    assert names.index("block1_norm") < names.index("block1_relu")
    with pytest.raises(ValueError, match="activation_order"):
        build_vbreathnet(activation_order="relu")


def test_saves_and_loads_in_safe_mode(tmp_path):
    model = build_vbreathnet((64, 64, 3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    np.testing.assert_allclose(model.predict(images, verbose=0), loaded.predict(images, verbose=0))
