"""Grouped convolutions: Keras' numbers, computed in merged groups where that is faster."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from cnr_iemn.backbones import GroupedConv2D, grouped  # noqa: E402

CONVOLUTIONS = [
    # channels, filters, groups, options
    (128, 128, 32, {"padding": "same"}),
    (256, 256, 32, {"strides": 2}),
    (64, 128, 32, {"padding": "same", "use_bias": True, "activation": "relu"}),
    (60, 90, 30, {"dilation_rate": 2}),
    (96, 48, 2, {"kernel_size": (1, 3)}),  # 48 channels a group: nothing to merge
    (12, 12, 1, {}),
]


@pytest.mark.parametrize(("channels", "filters", "groups", "options"), CONVOLUTIONS)
def test_grouped_convolution_is_that_of_keras(channels, filters, groups, options):
    import tensorflow as tf

    options = {"kernel_size": 3, "use_bias": False, "groups": groups, **options}
    images = np.random.default_rng(0).standard_normal((2, 7, 8, channels)).astype(np.float32)
    images = tf.constant(images)
    ours = GroupedConv2D(filters, merged=True, bias_initializer="normal", **options)
    theirs = keras.layers.Conv2D(filters, **options)
    results = []
    for layer in (ours, theirs):
        layer.build(images.shape)
        layer.set_weights(ours.get_weights())
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, [images, *layer.trainable_variables])])
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


def convolutions_in_graph(layer):
    """How many convolutions a layer computes; TensorFlow has the native grouped one compiled."""
    import tensorflow as tf

    graph = tf.function(lambda x: layer(x)).get_concrete_function(tf.zeros((1, 6, 6, 128))).graph
    plain = sum(operation.type == "Conv2D" for operation in graph.get_operations())
    inner = graph.as_graph_def().library.function
    return plain + sum(node.op == "Conv2D" for function in inner for node in function.node_def)


def test_grouped_convolution_is_merged_on_cpus_and_native_on_gpus(monkeypatch):
    layer = GroupedConv2D(128, 3, groups=32)
    merged = 128 // grouped.MERGED_CHANNELS
    for devices, expected in ((["cpu:0"], merged), (["gpu:0", "gpu:1"], 1)):
        monkeypatch.setattr(keras.distribution, "list_devices", lambda found=devices: found)
        assert convolutions_in_graph(layer) == expected
        assert convolutions_in_graph(GroupedConv2D(128, 3, groups=32, merged=True)) == merged
        assert convolutions_in_graph(GroupedConv2D(128, 3, groups=32, merged=False)) == 1


def test_grouped_convolution_is_saved_with_its_choice(tmp_path):
    inputs = keras.Input((6, 6, 64))
    x = GroupedConv2D(64, 3, groups=16, merged=True, name="merged")(inputs)
    model = keras.Model(inputs, GroupedConv2D(32, 3, groups=8, name="open")(x))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    images = np.random.default_rng(0).random((2, 6, 6, 64), np.float32)
    np.testing.assert_array_equal(model(images), loaded(images))
    assert loaded.get_layer("merged").merged is True
    assert loaded.get_layer("open").merged is None


def test_grouped_convolution_works_in_bfloat16():
    images = np.random.default_rng(0).random((2, 6, 6, 64), np.float32)
    layer = GroupedConv2D(64, 3, groups=32, merged=True, dtype="mixed_bfloat16")
    exact = GroupedConv2D(64, 3, groups=32, merged=True)
    rounded = layer(images)
    exact.build(images.shape)
    exact.set_weights(layer.get_weights())
    assert rounded.dtype == "bfloat16" and layer.kernel.dtype == "float32"
    np.testing.assert_allclose(np.asarray(rounded, np.float32), exact(images), atol=0.02)
