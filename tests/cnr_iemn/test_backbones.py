"""The slice networks are torchvision's: its numbers, names and parameter counts."""

import math
import zlib

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from cnr_iemn.backbones import (  # noqa: E402
    BACKBONES,
    GroupedConv2D,
    build_backbone,
    load_torchvision_weights,
)
from cnr_iemn.config import WIDTH_PARTS  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402
from replication.fused import with_fused_batch_norm, without_fused_batch_norm  # noqa: E402

# With 1,000 classes: trainable parameters as torchvision counts them, moving statistics.
# Inception's 27,161,264 less the 3,326,696 of the auxiliary head.
COUNTS = {
    "resnext50_32x4d": (25_028_904, 68_224),
    "densenet161": (28_681_000, 219_936),
    "inception_v3": (27_161_264 - 3_326_696, 34_432),
    "wide_resnet50_2": (68_883_240, 68_224),
}

# What torchvision 0.28 returns for the weights of `tensor` and the input of `golden_images`: norm
# of both vectors, largest magnitude, then six values of the first image, from 5, and six of the
# second, from 7, 211 (logits: 101) apart.
FEATURES = {
    "resnext50_32x4d": (71.026497, 5.867197, [
        0.0, 0.8624967, 1.7042812, 0.0165728, 0.0, 0.004057,
        0.5507403, 0.1596115, 0.1362664, 1.5012974, 0.0534412, 0.5426967]),
    "densenet161": (8.6285916, 0.6527151, [
        0.0, 0.0444673, 0.0, 0.0, 0.0553402, 0.1681777,
        0.0, 0.0038827, 0.0163046, 0.1006659, 0.0161975, 0.0008368]),
    "inception_v3": (7.7943497, 0.6311595, [
        0.0, 0.1089781, 0.013518, 0.0, 0.2252583, 0.3007233,
        0.274948, 0.0, 0.0, 0.042294, 0.1049229, 0.0]),
    "wide_resnet50_2": (68.827766, 4.7965374, [
        0.0185465, 0.1256379, 0.1281941, 0.0, 0.3646026, 0.2555705,
        0.2417644, 0.0768862, 0.3476003, 0.225217, 0.1257346, 0.5093707]),
}  # fmt: skip
LOGITS = {
    "resnext50_32x4d": (50.474041, 3.5000176, [
        -0.0549685, -0.7538334, -0.2414148, 0.1907648, 0.6983576, -0.361222,
        -1.1488183, 0.8140652, -3.1014311, -0.8468692, -0.9734912, -2.3461871]),
    "densenet161": (7.561026, 0.6110378, [
        0.2612062, 0.4359317, 0.0299156, 0.0106676, 0.2056717, -0.2332741,
        -0.1345361, 0.1011492, -0.1178255, -0.2823694, 0.1619441, -0.215512]),
    "inception_v3": (7.2259174, 0.5201792, [
        0.2488305, -0.0737094, 0.1911615, -0.0319093, 0.2683243, -0.0300518,
        -0.0017882, 0.0891016, -0.0138525, -0.0846362, -0.2781748, -0.187696]),
    "wide_resnet50_2": (49.091606, 3.923343, [
        -0.5748485, 0.655398, -0.4254171, -0.1846962, 0.1996136, 0.123745,
        -0.7109106, 0.2908256, -1.9290688, -1.629799, -0.6903089, -2.4354568]),
}  # fmt: skip


def tensor(name, shape):
    """The weights that the reference numbers were computed with, from name and shape alone."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        noise = 1 + 0.1 * np.abs(noise)
    elif name.endswith(("running_mean", "bias")):
        noise = 0.1 * noise
    elif len(shape) == 1:
        noise = 1 + 0.1 * noise
    else:
        noise = noise / np.sqrt(np.prod(shape[1:]))
    return noise.astype(np.float32)


def torch_entries(model):
    """The state dict that torchvision has for a model's layers: name -> shape."""
    entries = {}
    for layer in model.layers:
        shapes = [tuple(w.shape) for w in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            entries |= {f"{layer.name}.{part}": shapes[0] for part in parts}
        elif shapes:
            entries[f"{layer.name}.weight"] = (shapes[0][-1], shapes[0][-2], *shapes[0][:-2])
            entries |= {f"{layer.name}.bias": shape for shape in shapes[1:]}
    return entries


def golden_images(name):
    side = 139 if name == "inception_v3" else 96
    images = np.random.default_rng(7).standard_normal((2, 3, side, side)).astype(np.float32)
    return images.transpose(0, 2, 3, 1)


def small_images(name, number=2):
    side = BACKBONES[name][1]
    return np.random.default_rng(0).random((number, side, side, 3), np.float32)


@pytest.fixture(scope="module")
def drawn():
    """Kernels of each network of `reference` as they were drawn, before weights were loaded."""
    return {}


# Where each network's rule for random kernels shows, and the standard deviation that it gives.
DRAWN = {
    "resnext50_32x4d": ("layer3.0.conv2", (2 / (512 * 9)) ** 0.5),  # sqrt(2 / (filters * area))
    "wide_resnet50_2": ("layer3.0.conv2", (2 / (512 * 9)) ** 0.5),
    # sqrt(2 / (channels * area))
    "densenet161": ("features.denseblock1.denselayer1.conv2", (2 / (192 * 9)) ** 0.5),
    "inception_v3": ("Mixed_7b.branch1x1.conv", 0.1),
}


@pytest.fixture(scope="module", params=list(BACKBONES))
def reference(request, drawn):
    """Each network once, with the reference's weights."""
    keras.utils.set_random_seed(1)
    model = build_backbone(request.param, (None, None, 3), classes=1000)
    layers = model.get_layer(DRAWN[request.param][0]), model.layers[-1]
    drawn[request.param] = [layer.get_weights()[0] for layer in layers]
    state = {name: tensor(name, shape) for name, shape in torch_entries(model).items()}
    state["bn1.num_batches_tracked"] = np.zeros((), np.int64)
    load_torchvision_weights(model, state)
    return request.param, model, state


@pytest.fixture(scope="module")
def resnext():
    keras.utils.set_random_seed(0)
    return build_backbone("resnext50_32x4d", (32, 32, 3), classes=3)


def test_features_and_logits_are_those_of_torchvision(reference):
    name, model, _ = reference
    both = keras.Model(model.input, [model.get_layer("avgpool").output, model.output])
    features, logits = (np.asarray(x) for x in both(golden_images(name), training=False))
    for ours, (norm, largest, values), step in (
        (features, FEATURES[name], 211),
        (logits, LOGITS[name], 101),
    ):
        some = np.concatenate([ours[0, 5::step][:6], ours[1, 7::step][:6]])
        np.testing.assert_allclose(some, values, rtol=0, atol=1e-4 * largest)
        np.testing.assert_allclose(np.linalg.norm(ours), norm, rtol=1e-4)
        np.testing.assert_allclose(np.abs(ours).max(), largest, rtol=1e-4)


def test_parameters_are_those_of_torchvision(reference):
    name, model, _ = reference
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert (trainable, model.count_params() - trainable) == COUNTS[name]


def test_model_is_flat_and_ends_in_features_or_logits(reference):
    name, model, _ = reference
    features, side = BACKBONES[name]
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert model.get_layer("avgpool").output.shape == (None, features)
    assert model.output_shape == (None, 1000)
    small = model(np.zeros((1, side, side, 3), np.float32), training=False)
    assert np.isfinite(small).all()


def test_every_weight_that_trains_gets_a_gradient(reference):
    import tensorflow as tf

    name, model, _ = reference
    with tf.GradientTape() as tape:
        logits = model(small_images(name, 4), training=True)
        loss = tf.reduce_mean(tf.square(logits))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    # At the smallest side some maps are single pixels: a mean over them can be the value itself.
    assert np.mean([np.any(g) for g in gradients]) > 0.99


def test_save_and_load_round_trip(reference, tmp_path):
    name, model, _ = reference
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    images = small_images(name)
    np.testing.assert_array_equal(model(images, training=False), loaded(images, training=False))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_weights_without_logits_fit_the_features(resnext):
    name = "resnext50_32x4d"
    features = build_backbone(name, (32, 32, 3))
    entries = torch_entries(resnext)
    state = {entry: tensor(entry, shape) for entry, shape in entries.items()}
    load_torchvision_weights(features, state)
    assert features.layers[-1].name == "avgpool"
    kernel = np.asarray(features.get_layer("layer4.2.conv2").kernel)
    np.testing.assert_array_equal(kernel, state["layer4.2.conv2.weight"].transpose(2, 3, 1, 0))
    without = {entry: value for entry, value in state.items() if not entry.startswith("fc")}
    built = build_backbone(name, (32, 32, 3), weights=without)
    images = small_images(name)
    np.testing.assert_array_equal(features(images), built(images))
    with pytest.raises(InputError, match="the weights lack fc.weight, fc.bias; expected"):
        load_torchvision_weights(resnext, without)


def test_a_larger_model_keeps_its_other_layers(resnext):
    x = keras.layers.Dense(5, name="head")(resnext.get_layer("avgpool").output)
    larger = keras.Model(resnext.input, [x, keras.layers.BatchNormalization(name="norm")(x)])
    head = [np.asarray(w) for w in larger.get_layer("head").weights]
    entries = torch_entries(keras.Model(resnext.input, resnext.get_layer("avgpool").output))
    load_torchvision_weights(larger, {e: tensor(e, shape) for e, shape in entries.items()})
    for before, now in zip(head, larger.get_layer("head").weights, strict=True):
        np.testing.assert_array_equal(before, now)
    first = np.asarray(larger.get_layer("bn1").moving_mean)
    np.testing.assert_array_equal(first, tensor("bn1.running_mean", (64,)))


def test_wrong_weights_are_named_and_nothing_is_loaded(resnext):
    entries = torch_entries(resnext)
    state = {name: np.zeros(shape, np.float32) for name, shape in entries.items()}
    before = resnext.get_weights()

    def refused(changed, match):
        with pytest.raises(InputError, match=match) as error:
            load_torchvision_weights(resnext, changed)
        assert "\n" not in str(error.value)

    refused({k: v for k, v in state.items() if k != "layer2.0.bn1.bias"}, "lack layer2.0.bn1.bias;")
    refused({}, r"lack conv1.weight, bn1.weight, bn1.bias and \d+ more; .* resnext50_32x4d")
    refused(state | {"layer5.conv.weight": np.zeros(1)}, "no place .* for layer5.conv.weight;")
    wide = {"layer1.0.conv2.weight": np.zeros((128, 128, 3, 3))}
    refused(
        state | wide, r"layer1.0.conv2.weight has shape \(128, 128, 3, 3\); .* \(128, 4, 3, 3\)"
    )
    for old, now in zip(before, resnext.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    with pytest.raises(ValueError, match="no layer of a backbone"):
        load_torchvision_weights(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), {})


def test_old_names_of_densenet_and_the_auxiliary_head_are_known(reference):
    name, model, state = reference
    if name not in ("densenet161", "inception_v3"):
        pytest.skip("no such names")
    old = {
        key.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.").replace("conv2.", "conv.2.")
        if "denselayer" in key else key: value
        for key, value in state.items()
    }  # fmt: skip
    old["AuxLogits.conv0.conv.weight"] = np.zeros((128, 768, 1, 1))
    assert (set(old) & set(state) < set(state)) == (name == "densenet161")
    load_torchvision_weights(model, old)


def test_random_weights_are_drawn_as_torchvision_draws_them(reference, drawn):
    name, model, _ = reference
    kernel, logits = drawn[name]
    assert kernel.std() == pytest.approx(DRAWN[name][1], rel=0.02)
    if name != "inception_v3":
        assert np.abs(logits).max() <= logits.shape[0] ** -0.5
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {norm.epsilon for norm in norms} == {1e-3 if name == "inception_v3" else 1e-5}
    assert {norm.momentum for norm in norms} == {0.9}


def test_training_with_the_fused_batch_norm(resnext):
    images, labels = small_images("resnext50_32x4d", 4), np.array([0, 1, 2, 0])
    fused = with_fused_batch_norm(resnext)
    assert any(isinstance(layer, GroupedConv2D) for layer in fused.layers)
    np.testing.assert_allclose(fused(images), resnext(images), atol=1e-5)
    before = fused.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fused.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True, jit_compile=False)
    assert np.isfinite(fused.train_on_batch(images, labels))
    moved = [not np.array_equal(a, b) for a, b in zip(before, fused.get_weights(), strict=True)]
    assert np.mean(moved) > 0.99
    back = without_fused_batch_norm(fused)
    np.testing.assert_allclose(back(images), fused(images), rtol=1e-3, atol=1e-4)


def test_logits_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_backbone("resnext50_32x4d", (32, 32, 3), classes=3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("layer1.0.conv2").compute_dtype == "bfloat16"
    logits = model(small_images("resnext50_32x4d"))
    assert logits.dtype == "float32" and np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("resnet50", (64, 64, 3), "resnext50_32x4d, densenet161, inception_v3, wide_resnet50_2"),
        ("inception_v3", (74, 75, 3), "75 px or more"),
        ("densenet161", (32, 31, 3), "32 px or more"),
        ("resnext50_32x4d", (64, 64), "height, width, channels"),
        ("resnext50_32x4d", (64, 64, None), "height, width, channels"),
    ],
)
def test_bad_arguments_are_refused(name, shape, match):
    with pytest.raises(ValueError, match=match):
        build_backbone(name, shape)


WIDTHS = {"resnext50_32x4d": (0.25, 4), "densenet161": (0.3333333333, 3)}  # may be rounded


def test_width_takes_a_share_of_the_channels(reference):
    name, model, _ = reference
    if name not in WIDTHS:
        pytest.skip("two are enough")
    features, side = BACKBONES[name]
    width, parts = WIDTHS[name]
    whole = keras.Model(model.input, model.get_layer("avgpool").output)
    narrow = build_backbone(name, (side, side, 3), width=width)
    assert narrow.output_shape == (None, features // parts)
    assert [layer.name for layer in narrow.layers] == [layer.name for layer in whole.layers]
    every_map = keras.Model(model.input, [layer.output for layer in whole.layers])
    shapes = every_map.compute_output_shape((1, side, side, 3))
    for thin, layer, shape in zip(narrow.layers, whole.layers, shapes, strict=True):
        assert type(thin) is type(layer)
        assert thin.output.shape[1:-1] == shape[1:-1]  # maps keep their sizes
        if isinstance(layer, keras.layers.Conv2D):
            assert thin.filters == layer.filters // parts
            assert thin.groups == max(layer.groups // parts, 1)
            assert (thin.strides, thin.padding) == (layer.strides, layer.padding)
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (thin.epsilon, thin.momentum) == (layer.epsilon, layer.momentum)
    assert narrow.count_params() < 1.6 / parts**2 * whole.count_params()
    outputs = np.asarray(narrow(small_images(name)))
    assert np.isfinite(outputs).all() and outputs.std() > 0


def test_widths_are_parts_that_leave_every_layer_whole_channels(reference):
    name, model, _ = reference
    settings = [layer.get_config() for layer in model.layers]
    counts = [one[key] for one in settings for key in ("filters", "groups") if one.get(key, 1) > 1]
    assert math.gcd(*counts) == WIDTH_PARTS[name]


def test_width_has_random_weights_and_whole_channels():
    shape = (32, 32, 3)
    with pytest.raises(ValueError, match="random weights and no classes"):
        build_backbone("resnext50_32x4d", shape, classes=3, width=0.5)
    with pytest.raises(ValueError, match="random weights and no classes"):
        build_backbone("resnext50_32x4d", shape, weights={}, width=0.5)
    with pytest.raises(ValueError, match="a width of 0.3 leaves .* channels in conv1"):
        build_backbone("resnext50_32x4d", shape, width=0.3)
