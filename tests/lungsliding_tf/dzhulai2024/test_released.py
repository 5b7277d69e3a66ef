"""The networks return what the authors' classes return for the same weights and input."""

import zlib

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024.cmwra import build_cmwra  # noqa: E402
from lungsliding_tf.dzhulai2024.cmwru import build_cmwru  # noqa: E402
from lungsliding_tf.dzhulai2024.rcm2d import build_rcm2d  # noqa: E402

NETWORKS = {
    "cmwru": lambda: build_cmwru(7, 32, dropout=0),
    "cmwra": lambda: build_cmwra(7, 20, dropout=0),
    "rcm2d": lambda: build_rcm2d(4, 256, dropout=0, variant="released"),
}
# Logits of three clips by torch 2.13, with the weights of `tensor` and no dropout: in evaluation,
# and in training.
LOGITS = {
    "cmwru": ([0.0412748, 0.097662, -0.0529294], [-0.296524, -1.1285619, 0.443718]),
    "cmwra": ([0.5973591, 0.3832722, 0.4782211], [0.91293, -0.0923028, -0.1751284]),
    "rcm2d": ([0.2226395, 0.2039006, 0.1554852], [0.2501024, 0.1318907, 0.2456709]),
}
# The first two running means and variances of the recurrent network after the training pass, in
# which one clip passes after the other.
AVERAGES = {
    "stage1_norm": ([-0.022556, -0.052249], [1.007852, 0.992776]),
    "stage2_norm": ([-0.634802, 0.745761], [0.886495, 0.995914]),
    "stage3_norm": ([-0.223668, 0.3574], [0.905725, 0.943623]),
    "features_norm": ([0.165389, 0.082519], [0.914101, 0.777651]),
}


def modules(name):
    """Our layers with weights -> modules of the authors' classes."""
    if name == "rcm2d":
        places = {"conv": "1", "norm": "2", "block_1_conv": "4.conv1", "block_2_conv": "4.conv2"}
        names = {"features": "conv_layers.18", "features_norm": "conv_layers.20", "gru": "gru"}
        for stage in (1, 2, 3):  # five modules a stage
            for ours, place in places.items():
                number, *rest = place.split(".")
                number = str(int(number) + 5 * (stage - 1))
                names[f"stage{stage}_{ours}"] = ".".join(["conv_layers", number, *rest])
        return {**names, "absent": "fc_layers.1"}
    head = ("dense1", "dense1_norm", "dense2", "dense2_norm", "absent")
    if name == "cmwra":
        stages = ("stage1_conv", "stage1_norm", "stage2_conv", "stage2_norm")
        names = {ours: f"conv_layers.{i}" for ours, i in zip(stages, (0, 2, 4, 6), strict=True)}
        places = (1, 2, 5, 6, 9)
    else:
        parts = {"1_conv": "conv1", "1_norm": "bn1", "2_conv": "conv2", "2_norm": "bn2",
                 "shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}  # fmt: skip
        names = {"stem_conv": "conv1", "stem_norm": "bn1"}
        for stage in (1, 2, 3):
            for block in (1, 2):
                for ours, theirs in parts.items():
                    names[f"stage{stage}_block{block}_{ours}"] = (
                        f"layer{stage}.{block - 1}.{theirs}"
                    )
        places = (0, 1, 4, 5, 8)
    return names | {ours: f"fc_layers.{i}" for ours, i in zip(head, places, strict=True)}


def tensor(name, shape):
    """The weights that the reference numbers were computed with, from name and shape alone."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        noise = 1 + 0.1 * np.abs(noise)
    elif name.endswith(("running_mean", "bias")) or ".bias_" in name:
        noise = 0.1 * noise
    elif len(shape) == 1:
        noise = 1 + 0.1 * noise
    else:
        noise = noise / np.sqrt(np.prod(shape[1:]))
    return noise.astype(np.float32)


def set_weights(model, name):
    flat = next(x for x in model.layers if x.name == "flatten").input.shape[1:]
    names = modules(name)
    with_weights = [layer for layer in model.layers if layer.weights]
    assert {layer.name for layer in with_weights} <= names.keys()
    for layer in with_weights:
        module = names[layer.name]
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [tensor(f"{module}.{part}", layer.gamma.shape) for part in parts]
        elif isinstance(layer, keras.layers.GRU):
            values = gru_weights(module, *layer.cell.kernel.shape)
        else:
            kernel = layer.kernel.shape
            two_d = name == "rcm2d" and len(kernel) == 5  # torch has no axis of length 1 there
            sizes = kernel[1:-2] if two_d else kernel[:-2]
            weight = tensor(f"{module}.weight", (kernel[-1], kernel[-2], *sizes))
            if layer.name in ("features", "dense1"):  # reads what was flattened, channels first
                if name == "rcm2d":
                    flat = flat[-3:]
                weight = weight.reshape(-1, flat[-1], *flat[:-1])
                weight = np.moveaxis(weight, 1, -1).reshape(kernel[-1], kernel[-2])
            weight = np.moveaxis(weight, (0, 1), (-1, -2)).reshape(kernel)
            values = [weight] + [tensor(f"{module}.bias", kernel[-1:])] * layer.use_bias
        layer.set_weights(values)


def gru_weights(module, inputs, gates):
    """Torch's gates r, z, n of a GRU as Keras' z, r, n."""
    units = gates // 3

    def swapped(name, shape):
        r, z, n = np.split(tensor(f"{module}.{name}", shape), 3)
        return np.concatenate([z, r, n])

    kernel, recurrent = (
        swapped("weight_ih_l0", (gates, inputs)),
        swapped("weight_hh_l0", (gates, units)),
    )
    biases = [swapped(name, (gates,)) for name in ("bias_ih_l0", "bias_hh_l0")]
    return [kernel.T, recurrent.T, np.stack(biases)]


@pytest.fixture(scope="module", params=NETWORKS)
def reference(request):
    name = request.param
    model = NETWORKS[name]()
    set_weights(model, name)
    if name == "cmwra":
        model.get_layer("dense2_dropout").rate = 0.0
    clips = np.random.default_rng(5).standard_normal((3, *model.input_shape[1:]))
    return name, model, clips.astype(np.float32)


def test_logits_are_those_of_the_released_classes(reference):
    name, model, clips = reference
    for training, expected in zip((False, True), LOGITS[name], strict=True):
        logits = np.asarray(model(clips, training=training))[:, 0]
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    if name == "rcm2d":
        for layer, (means, variances) in AVERAGES.items():
            layer = model.get_layer(layer)
            np.testing.assert_allclose(np.asarray(layer.moving_mean)[:2], means, atol=1e-4)
            np.testing.assert_allclose(np.asarray(layer.moving_variance)[:2], variances, atol=1e-4)
