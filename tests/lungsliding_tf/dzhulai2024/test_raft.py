"""RAFT is torchvision's: its flow, gradients, names and parameter counts."""

import zlib

import numpy as np
import pytest
from safetensors.numpy import save_file

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024.raft import build_raft  # noqa: E402
from lungsliding_tf.dzhulai2024.raft_sampling import (  # noqa: E402
    correlation_pyramid,
    look_up,
    upsample_bilinear,
    upsample_convex,
)
from lungsliding_tf.dzhulai2024.raft_weights import (  # noqa: E402
    PARTS,
    PUBLISHED,
    load_raft,
    load_torchvision_weights,
)
from preprocessing.errors import InputError  # noqa: E402

COUNTS = {"small": (990_162, 0), "large": (5_257_536, 2_880)}  # trainable, moving statistics

# What torchvision 0.29 returns after 4 updates for the weights of `tensor` and the images of
# `image_pair`: the flow's norm and largest magnitude, and (x, y) at row 42, columns 7, 68 and 129
# of both images.
FLOWS = {
    "small": (5527.7935, 42.435738, [
        3.8073, 7.8352, -1.8133, 31.7433, -9.1106, 31.0868,
        6.8106, 8.1788, -3.4715, 33.4570, -6.0503, 34.6678]),
    "large": (3561.6475, 32.77176, [
        7.3585, 0.3128, 23.0270, 4.6773, 23.4402, 1.7282,
        8.5274, -0.5586, 20.0491, 3.3492, 24.1104, -2.0999]),
}  # fmt: skip
# Norms of torchvision's gradients of the mean squared flow after 3 updates. They tell where
# gradients are stopped.
GRADIENTS = {
    "small": {
        "feature_encoder.convnormrelu.0.weight": 76.301,
        "context_encoder.layer2.0.downsample.0.weight": 35.553,
        "update_block.motion_encoder.convcorr1.0.weight": 477.08,
        "update_block.motion_encoder.convflow1.0.weight": 11.667,
        "update_block.recurrent_block.convgru1.convz.weight": 852.73,
        "update_block.recurrent_block.convgru1.convq.bias": 17.724,
        "update_block.flow_head.conv2.weight": 1886.3,
    },
    "large": {
        "feature_encoder.convnormrelu.0.weight": 20.187,
        "context_encoder.layer2.0.downsample.0.weight": 24.003,
        "update_block.motion_encoder.convcorr1.0.weight": 436.17,
        "update_block.motion_encoder.convflow1.0.weight": 5.2626,
        "update_block.recurrent_block.convgru1.convz.weight": 312.42,
        "update_block.recurrent_block.convgru1.convq.bias": 7.5575,
        "update_block.flow_head.conv2.weight": 1779.8,
        "mask_predictor.conv.weight": 0.47761,
    },
}


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


def image_pair():
    """Random squares of 4 px, moved by 2 px down and 3 px to the left."""
    coarse = np.random.default_rng(7).uniform(-1, 1, (2, 32, 40, 3)).astype(np.float32)
    first = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return [first, np.roll(first, (2, -3), axis=(1, 2))]


def small_pair(height=128, width=128):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 1, height, width, 3))
    return list(images.astype(np.float32))


def entry_name(variable):
    return f"{variable.path.split('/')[-2]}.{PARTS[variable.name][0]}"


def reference_state(model):
    """The state dict of the reference for a model, with a counter that only torchvision has."""
    state = {"context_encoder.convnormrelu.1.num_batches_tracked": np.zeros((), np.int64)}
    for variable in model.weights:
        name, shape = entry_name(variable), tuple(variable.shape)
        torch_shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
        state[name] = tensor(name, torch_shape)
    return state


@pytest.fixture(scope="module", params=list(COUNTS))
def reference(request):
    """Each variant once, for any image size, with the reference's weights and 4 updates."""
    model = build_raft(request.param, updates=4)
    load_torchvision_weights(model, reference_state(model))
    return request.param, model


@pytest.fixture(scope="module")
def small():
    """The small variant with random weights and 2 updates, for images of 128 px."""
    keras.utils.set_random_seed(0)
    return build_raft("small", 2, (128, 128, 3))


@pytest.fixture(scope="module")
def small_file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "raft.safetensors"
    state = reference_state(small)
    save_file(state, path)
    return path, state


def test_flow_is_that_of_torchvision(reference):
    variant, model = reference
    norm, largest, values = FLOWS[variant]
    flow = np.asarray(model(image_pair(), training=False))
    assert flow.shape == (2, 128, 160, 2) and flow.dtype == np.float32
    some = flow[:, 42, 7:130:61].ravel()
    np.testing.assert_allclose(some, values, rtol=0, atol=1e-4 * largest)
    np.testing.assert_allclose(np.linalg.norm(flow), norm, rtol=1e-4)
    np.testing.assert_allclose(np.abs(flow).max(), largest, rtol=1e-4)


def test_every_weight_gets_the_gradient_of_torchvision(reference):
    import tensorflow as tf

    variant, four = reference
    model = build_raft(variant, updates=3)
    model.set_weights(four.get_weights())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(image_pair(), training=False)))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    norms = {
        entry_name(variable): np.linalg.norm(gradient)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    # Biases right before an instance norm cancel; every kernel must matter.
    assert [name for name in norms if name.endswith("weight") and not norms[name] > 0] == []
    for name, expected in GRADIENTS[variant].items():
        assert norms[name] == pytest.approx(expected, rel=1e-3), name


def test_parameters_are_those_of_torchvision(reference):
    variant, model = reference
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert (trainable, model.count_params() - trainable) == COUNTS[variant]


def test_save_and_load_round_trip(reference, tmp_path):
    _, model = reference
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    images = small_pair()
    np.testing.assert_array_equal(loaded(images), model(images))


def test_flow_is_finite_and_grows_with_the_updates(small):
    flow = np.asarray(small(small_pair()))
    assert flow.shape == (1, 128, 128, 2) and np.isfinite(flow).all()
    once = build_raft("small", 1, (128, 128, 3))
    once.set_weights(small.get_weights())
    assert not np.allclose(once(small_pair()), flow)


def test_raft_trains_inside_a_larger_network(small):
    raft = build_raft("small", 2, (128, 128, 3))
    raft.set_weights(small.get_weights())
    images = keras.Input((2, 128, 128, 3))
    flow = raft([images[:, 0], images[:, 1]])
    score = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(flow))
    model = keras.Model(images, score)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    before = raft.get_weights()
    assert np.isfinite(model.train_on_batch(np.stack(small_pair(), axis=1), np.ones((1, 1))))
    moved = [not np.array_equal(a, b) for a, b in zip(before, raft.get_weights(), strict=True)]
    kernels = [w.name == "kernel" for w in raft.weights]
    assert all(move for move, kernel in zip(moved, kernels, strict=True) if kernel)


def test_a_network_for_any_size_is_that_of_one_size(small):
    anything = build_raft("small", 2)
    anything.set_weights(small.get_weights())
    assert anything.output_shape == (None, None, None, 2)
    expected = small.predict(small_pair(), verbose=0)
    unknown = keras.Input((None, None, 3))
    nested = keras.Model(unknown, anything([unknown, unknown[:, :, ::-1]]))
    image = small_pair()[0]
    np.testing.assert_allclose(anything(small_pair()), expected, atol=1e-5)
    np.testing.assert_allclose(nested(image), small([image, image[:, :, ::-1]]), atol=1e-5)


@pytest.mark.parametrize("sides", [(120, 128), (128, 132)])
def test_sizes_that_raft_cannot_take_are_refused(sides):
    import tensorflow as tf

    match = f"128 px or more, divisible by 8, not {sides[0]}x{sides[1]}"
    with pytest.raises(ValueError, match=match):
        build_raft("small", 1, (*sides, 3))
    anything = build_raft("small", 1)
    with pytest.raises(ValueError, match=match):
        anything(small_pair(*sides))
    shape = tf.TensorSpec((1, None, None, 3))  # known only when it runs
    graph = tf.function(lambda *images: anything(list(images)), input_signature=[shape, shape])
    graph(*small_pair())
    with pytest.raises(tf.errors.InvalidArgumentError, match="Input to reshape"):
        graph(*small_pair(*sides))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("medium",), "variant must be one of small, large, not 'medium'"),
        (("small", 0), "updates must be 1 or more"),
        (("small", 1, (128, 128)), "height, width, 3"),
        (("small", 1, (128, 128, 1)), "height, width, 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        build_raft(*arguments)


def test_flow_stays_float32_under_mixed_precision(small, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_raft("small", 2, (128, 128, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(small.get_weights())
    flow, exact = mixed(small_pair()), np.asarray(small(small_pair()))
    assert flow.dtype == "float32"
    assert mixed.get_layer("flow").convs["update_block.flow_head.conv1"].compute_dtype == "bfloat16"
    assert np.abs(flow - exact).mean() < 0.05 * np.abs(exact).mean()
    mixed.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(small_pair()), flow)


def bilinear(volume, x, y):
    """One value of (w, h) by hand, zero outside."""
    value = 0.0
    for column in (int(np.floor(x)), int(np.floor(x)) + 1):
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            if 0 <= column < volume.shape[0] and 0 <= row < volume.shape[1]:
                value += (1 - abs(x - column)) * (1 - abs(y - row)) * volume[column, row]
    return value


def test_look_ups_are_bilinear_with_zeros_outside():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 2, 5, 6, 7)).astype(np.float32)
    pyramid = [np.asarray(level) for level in correlation_pyramid(first, second, 2)]
    assert [level.shape for level in pyramid] == [(60, 6, 5), (60, 3, 2)]
    products = np.einsum("bhwc,byxc->bhwxy", first, second).reshape(60, 6, 5) / np.sqrt(7)
    np.testing.assert_allclose(pyramid[0], products, atol=1e-5)
    pooled = products[:, :, :4].reshape(60, 3, 2, 2, 2).mean(axis=(2, 4))  # the odd row is left
    np.testing.assert_allclose(pyramid[1], pooled, atol=1e-5)
    positions = rng.uniform(-4, 9, (2, 5, 6, 2)).astype(np.float32)
    positions[0, 0, 0] = (1e6, -1e6)
    positions[0, 0, 1] = (5, 4)  # a corner pixel, exactly
    found = np.asarray(look_up(pyramid, positions, radius=1)).reshape(60, 2, 3, 3)
    for pixel, (x, y) in enumerate(positions.reshape(60, 2)):
        for level in range(2):
            for i, j in np.ndindex(3, 3):
                where = (x / 2**level + i - 1, y / 2**level + j - 1)
                expected = bilinear(pyramid[level][pixel], *where)
                assert found[pixel, level, i, j] == pytest.approx(expected, abs=1e-5)


def test_a_uniform_flow_stays_uniform_and_its_unit_becomes_the_image():
    flow = np.tile(np.float32([1.5, -2.0]), (2, 4, 5, 1))
    ramp = flow * np.arange(5, dtype=np.float32)[:, None]
    fine = np.asarray(upsample_bilinear(flow, 8))
    assert fine.shape == (2, 32, 40, 2)
    np.testing.assert_allclose(fine, np.broadcast_to([12.0, -16.0], fine.shape), rtol=1e-6)
    along = np.linspace(0, 4, 40)[:, None] * [12.0, -16.0]
    np.testing.assert_allclose(upsample_bilinear(ramp, 8)[1, 17], along, atol=1e-4)
    # A mask that prefers the middle one of the nine copies it.
    mask = np.zeros((2, 4, 5, 9, 64), np.float32)
    mask[..., 4, :] = 50
    copied = np.asarray(upsample_convex(ramp, mask.reshape(2, 4, 5, 576), 8))
    np.testing.assert_allclose(copied, 8 * ramp.repeat(8, axis=1).repeat(8, axis=2), atol=1e-6)


def test_weights_of_a_file_are_loaded(small_file):
    path, state = small_file
    model = load_raft("small", str(path), (128, 128, 3), updates=1)
    assert model.input_shape == [(None, 128, 128, 3)] * 2
    for variable in model.weights:
        value = state[entry_name(variable)]
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        np.testing.assert_array_equal(variable, value)


def test_pytorch_files_are_loaded(small_file, tmp_path):
    torch = pytest.importorskip("torch")
    path, state = small_file
    torch.save({name: torch.tensor(x) for name, x in state.items()}, tmp_path / "raft.pth")
    ours, theirs = (load_raft("small", p, updates=1) for p in (path, tmp_path / "raft.pth"))
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_files_say_what_to_do(small_file, tmp_path):
    path, state = small_file

    def refused(variant, file, match):
        with pytest.raises(InputError, match=match) as error:
            load_raft(variant, file)
        assert "\n" not in str(error.value) and len(str(error.value)) < 500
        return str(error.value)

    for variant, name in (("small", "C_T_V2-01064c6d"), ("large", "C_T_SKHT_V2-ff5fadd5")):
        message = refused(variant, tmp_path / "none.pth", "none.pth: no such file; download")
        assert f"https://download.pytorch.org/models/raft_{variant}_{name}.pth" in message
        assert PUBLISHED[variant] in message and "scripts/convert_weights.py" in message
    refused("large", path, "raft.safetensors: holds raft_small, not raft_large; .*ff5fadd5.pth")
    save_file({"conv1.weight": np.ones((64, 3, 7, 7))}, tmp_path / "net.safetensors")
    match = "net.safetensors: the weights lack .* and 103 more; expected those of .* raft_small"
    refused("small", tmp_path / "net.safetensors", match)
    save_file(state | {"extra.bias": np.ones(2)}, tmp_path / "more.safetensors")
    refused("small", tmp_path / "more.safetensors", "no place in the model for extra.bias;")
    wide = {"update_block.flow_head.conv2.weight": np.ones((2, 128, 1, 1), np.float32)}
    save_file(state | wide, tmp_path / "wide.safetensors")
    refused("small", tmp_path / "wide.safetensors", r"shape \(2, 128, 1, 1\); .*\(2, 128, 3, 3\)")
    (tmp_path / "raft_small_C_T_V2-01064c6d.pth").write_text("half")
    refused("small", tmp_path / "raft_small_C_T_V2-01064c6d.pth", "is damaged: its SHA-256")
    with pytest.raises(ValueError, match="variant must be"):
        load_raft("medium", path)
