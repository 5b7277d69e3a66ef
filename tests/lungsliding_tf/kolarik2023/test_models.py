import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.kolarik2023.mmode_resnet import build_mmode_resnet18  # noqa: E402
from lungsliding_tf.kolarik2023.resnet3d import _has_idle_taps, build_resnet3d  # noqa: E402

# Total and trainable parameters of keras-resnet3d with three input channels and one output.
COUNTS = {18: (33_215_233, 33_207_425), 34: (63_536_001, 63_520_769), 50: (46_265_345, 46_219_905)}

# What keras-resnet3d (commit f6e3a5c8, run under Keras 3.15) returns for the weights and the input
# of `reference_weights` and `reference_input`: two probabilities, five features of the first clip
# (evenly spread over the pooled vector) and the largest feature of both clips.
GOLDEN = {
    (18, 30): ([0.512499, 0.4940476], [0.0, 3.22609, 0.06892, 0.0, 0.81378], 7.53549),
    (18, 60): ([0.5977456, 0.6624186], [0.0, 2.00187, 0.44581, 0.0, 0.26583], 9.16083),
    (18, 90): ([0.7053587, 0.6937683], [0.0, 1.11582, 0.45904, 0.0, 0.15283], 10.15599),
    (34, 30): ([0.7367551, 0.6465762], [7.05623, 0.0, 2.6954, 2.30373, 0.43228], 9.31831),
    (34, 60): ([0.9423265, 0.9148234], [6.07842, 0.46442, 3.59613, 2.05952, 0.95517], 10.09715),
    (34, 90): ([0.9425465, 0.9488638], [5.22755, 1.15169, 3.79079, 2.20901, 0.66477], 12.8216),
    (50, 30): ([0.6969997, 0.7454149], [0.38383, 0.02976, 3.79046, 5.4984, 0.0], 7.57428),
    (50, 60): ([0.8200794, 0.8407683], [1.7515, 1.02974, 3.77444, 6.54029, 0.0], 9.46297),
    (50, 90): ([0.8464889, 0.8586447], [2.13419, 0.74623, 3.98632, 6.8187, 0.0], 9.11493),
}


def reference_tensor(name, shape):
    """The weight array that both the reference and the port hold: from its name and shape alone."""
    import zlib

    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("moving_variance"):
        value = 1 + 0.1 * np.abs(noise)
    elif name.endswith(("bias", "beta", "moving_mean")):
        value = 0.1 * noise
    elif len(shape) == 1:
        value = 1 + 0.1 * noise
    else:
        value = noise / np.sqrt(np.prod(shape[:-1]))
    return value.astype(np.float32)


@pytest.fixture(scope="module", params=[18, 34, 50])
def reference_weights(request):
    depth = request.param
    weights = [
        reference_tensor(f"keras/resnet3d_{depth}/{i}/{w.path.split('/')[-1]}", w.shape)
        for i, w in enumerate(build_resnet3d(depth, (8, 12, 12, 3)).weights)
    ]
    return depth, weights


@pytest.mark.parametrize("px", [30, 60, 90])
def test_resnet3d_equals_keras_resnet3d(reference_weights, px):
    depth, weights = reference_weights
    model = build_resnet3d(depth, (60, px, px, 3))
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert (model.count_params(), trainable) == COUNTS[depth]  # at every tile size
    model.set_weights(weights)
    both = keras.Model(model.input, [model.output, model.get_layer("features").output])
    clips = np.random.default_rng(5).standard_normal((2, 60, px, px, 3)).astype(np.float32)
    probability, features = (np.asarray(out) for out in both(clips, training=False))
    expected_probability, expected_features, largest = GOLDEN[depth, px]
    assert np.abs(features).max() == pytest.approx(largest, rel=1e-4)
    places = np.linspace(0, features.shape[1] - 1, 5).astype(int)
    assert np.abs(features[0, places] - expected_features).max() <= 1e-4 * largest
    assert np.abs(probability[:, 0] - expected_probability).max() <= 1e-4


MODELS = {
    "resnet3d_18": (lambda: build_resnet3d(18, (8, 12, 12, 3)), (8, 12, 12, 3)),
    "resnet3d_34": (lambda: build_resnet3d(34, (8, 12, 12, 3)), (8, 12, 12, 3)),
    "resnet3d_50": (lambda: build_resnet3d(50, (8, 12, 12, 3)), (8, 12, 12, 3)),
    "mmode_resnet18": (lambda: build_mmode_resnet18((32, 64, 1)), (32, 64, 1)),
}


@pytest.fixture(scope="module", params=MODELS)
def model_and_batch(request):
    build, shape = MODELS[request.param]
    keras.utils.set_random_seed(0)
    batch = np.random.default_rng(0).random((3, *shape), np.float32)
    return build(), batch


def test_output_is_one_finite_probability_a_sample(model_and_batch):
    model, batch = model_and_batch
    out = np.asarray(model(batch, training=False))
    assert out.shape == (3, 1) and out.dtype == np.float32
    assert np.isfinite(out).all() and (out >= 0).all() and (out <= 1).all()


def test_every_trainable_variable_gets_a_gradient(model_and_batch):
    import tensorflow as tf

    model, batch = model_and_batch
    with tf.GradientTape() as tape:
        loss = keras.losses.binary_crossentropy(
            np.array([[0.0], [1.0], [1.0]]), model(batch, training=True)
        )
        loss = tf.reduce_mean(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    # Biases right before a batch normalisation cancel; every kernel must matter.
    idle = [
        v.path
        for v, g in zip(model.trainable_variables, gradients, strict=True)
        if v.path.endswith("kernel") and not np.any(g)
    ]
    assert idle == []


def test_save_and_load_round_trip(model_and_batch, tmp_path):
    model, batch = model_and_batch
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    assert np.allclose(model(batch), loaded(batch), atol=1e-6)


def test_mmode_resnet18_parameters():
    model = build_mmode_resnet18()
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    # torchvision's ResNet-18 has 11,689,512 with 3 channels and 1000 classes: less 2 * 64 * 49 for
    # the channels and 513 * 999 for the classes; Keras counts 9,600 moving statistics on top.
    assert trainable == 11_689_512 - 6_272 - 512_487 == 11_170_753
    assert model.count_params() == 11_170_753 + 9_600


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="depth must be one of"):
        build_resnet3d(101)
    with pytest.raises(ValueError, match="four positive sizes"):
        build_resnet3d(18, (60, None, 30, 3))


def test_layers_with_idle_taps_compute_in_float32_under_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        small, large = (build_resnet3d(18, (60, px, px, 3)) for px in (30, 90))
    finally:
        keras.config.set_dtype_policy("float32")

    def in_float32(model):
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv3D)]
        return {x.name for x in convolutions if x.compute_dtype == "float32"}

    # The last stage's maps are 2x1x1 at 30 px and 2x3x3 at 90 px.
    stage4 = {f"stage4_block{b}_{c}_conv" for b in (1, 2) for c in (1, 2)}
    assert in_float32(small) == stage4
    assert in_float32(large) == set()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "idle"),
    [(1, 3, 1, True), (2, 3, 1, False), (2, 3, 2, True), (4, 3, 2, False), (3, 3, 2, False),
     (30, 7, 2, False), (3, 7, 1, True)],
)  # fmt: skip
def test_idle_taps_are_those_without_gradient(size, kernel, stride, idle):
    import tensorflow as tf

    weights = tf.ones((kernel, 1, 1, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        out = tf.nn.conv3d(tf.ones((1, size, 1, 1, 1)), weights, [1, stride, 1, 1, 1], "SAME")
        loss = tf.reduce_sum(out)
    assert bool(np.any(tape.gradient(loss, weights).numpy() == 0)) is idle
    assert _has_idle_taps(size, kernel, stride) is idle
