"""Every network: parameters of the paper, shapes, gradients, saving, and what sets torch apart."""

from contextlib import contextmanager

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024.cmwra import build_cmwra  # noqa: E402
from lungsliding_tf.dzhulai2024.cmwru import build_cmwru  # noqa: E402
from lungsliding_tf.dzhulai2024.per_frame import build_cnn2d, build_inception, vote  # noqa: E402
from lungsliding_tf.dzhulai2024.rcm2d import ClipBatchNormalization, build_rcm2d  # noqa: E402

# What the rows of Figures 2, 8 and 15 sum to, and the same rule at other sizes.
COUNTS = {
    "rcm2d, Figure 2": (lambda: build_rcm2d(30, 256), 6_827_717),
    "rcm2d, 45 frames": (lambda: build_rcm2d(45, 256), 6_827_717),
    "rcm2d, released": (lambda: build_rcm2d(30, 256, variant="released"), 6_832_273),
    "rcm2d, not normalised": (lambda: build_rcm2d(30, 256, normalise=False), 6_827_717 - 1_024),
    "cmwra, Figure 8": (lambda: build_cmwra(40, 256), 335_588_305),
    "cmwra, crops": (lambda: build_cmwra(40, 32), 5_286_865),
    "cmwru, 34 frames": (lambda: build_cmwru(34, 256), 38_263_561),
    "cmwru, Figure 15": (lambda: build_cmwru(40, 256), 42_457_865),
    "cmwru, Table IV": (lambda: build_cmwru(45, 256), 50_846_473),
    # torchvision's 27,161,264 less auxiliary head and 1,000 classes, and without the scales of the
    # 94 batch norms, which keras.applications leaves out; then the logit.
    "inception": (
        lambda: build_inception(299),
        27_161_264 - 3_326_696 - 2_049_000 - 17_216 + 2_049,
    ),
    "cnn2d": (lambda: build_cnn2d(256), 23_585),
}


@contextmanager
def no_weights():
    """Networks built in here know the shapes of their weights and allocate none of them."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()  # or the next network built would initialise them after all


@pytest.mark.parametrize("name", COUNTS)
def test_trainable_parameters_are_those_of_the_figures(name):
    build, expected = COUNTS[name]
    with no_weights():  # the largest has 1.3 GB
        model = build()
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == expected


NETWORKS = {
    "rcm2d": lambda: build_rcm2d(3, 32),
    "rcm2d, released": lambda: build_rcm2d(3, 32, variant="released"),
    "rcm2d, over the batch": lambda: build_rcm2d(3, 16, batch_norm_over="batch"),
    "rcm2d, not normalised": lambda: build_rcm2d(2, 16, normalise=False),
    "cmwra": lambda: build_cmwra(6, 16),
    "cmwra, flow step": lambda: build_cmwra(6, 10, flow_step=3),
    "cmwru": lambda: build_cmwru(6, 18),
    "cnn2d": lambda: build_cnn2d(20),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return make(NETWORKS[request.param])


def make(build):
    keras.utils.set_random_seed(0)
    model = build()
    batch = np.random.default_rng(0).standard_normal((4, *model.input_shape[1:]), np.float32)
    return model, batch


def test_output_is_one_finite_logit_a_sample(network):
    model, batch = network
    logits = np.asarray(model(batch, training=False))
    assert logits.shape == (4, 1) and logits.dtype == np.float32
    assert np.isfinite(logits).all() and len(np.unique(logits)) == 4


def test_every_weight_gets_a_gradient_and_every_average_moves(network):
    assert_learns(*network)


def assert_learns(model, batch):
    import tensorflow as tf

    averages = [w for w in model.non_trainable_weights if "moving" in w.path]
    before = [np.asarray(w) for w in averages]
    labels = np.array([[0.0], [1.0], [1.0], [0.0]])
    with tf.GradientTape() as tape:
        logits = model(batch, training=True)
        loss = keras.ops.mean(keras.losses.binary_crossentropy(labels, logits, from_logits=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    # Biases right before a batch norm cancel; every kernel must matter.
    pairs = zip(model.trainable_variables, gradients, strict=True)
    assert [v.path for v, g in pairs if v.path.endswith("kernel") and not np.any(g)] == []
    assert averages
    for was, now in zip(before, averages, strict=True):
        assert np.isfinite(now).all() and np.any(was != np.asarray(now))


def test_save_and_load_round_trip(network, tmp_path):
    model, batch = network
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(model(batch), loaded(batch), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_has_a_name_of_its_own(name):
    """Keras would number them through the process."""
    with no_weights():
        one, other = ([layer.name for layer in NETWORKS[name]().layers] for _ in range(2))
    assert one == other


def test_inception_enlarges_small_frames_and_learns():
    model, batch = make(lambda: build_inception(32))
    images = model.get_layer("three_channels").output
    assert images.shape == (None, 75, 75, 3)
    shown = np.asarray(keras.Model(model.input, images)(batch))
    assert np.array_equal(shown[..., 0], shown[..., 2]) and shown.std() > 0.3
    assert_learns(model, batch)
    assert model(batch).shape == (4, 1)
    assert "enlarged" not in [layer.name for layer in build_inception(75).layers]


def test_padding_is_the_same_on_both_sides():
    """Keras' "same" would pad the far side alone where the stride is 2, and keep 39 frames."""
    with no_weights():
        residual, flow, recurrent = build_cmwru(8, 16), build_cmwra(40, 16), build_rcm2d(2, 16)
    for model in (residual, flow, recurrent):
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv3D):
                assert layer.padding == "valid"
            if isinstance(layer, keras.layers.ZeroPadding3D):
                assert all(before == after for before, after in layer.padding)
    strided = residual.get_layer("stage2_block1_1_conv")
    assert strided.strides == (2, 2, 2)
    assert strided.input.shape[1:4] == (8 + 2, 8 + 2, 8 + 2)
    times = [flow.get_layer(f"stage{i}_{part}").output.shape[1]
             for i in (1, 2) for part in ("conv", "pool")]  # fmt: skip
    assert times == [40, 20, 21, 10]  # of 39 flow fields


def test_batch_norm_and_random_weights_are_torchs():
    keras.utils.set_random_seed(1)
    recurrent = build_rcm2d(2, 64, variant="released")
    for model in (recurrent, build_cmwru(4, 16), build_cmwra(4, 16), build_cnn2d(16)):
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
            elif isinstance(layer, (keras.layers.Dense, keras.layers.Conv3D, keras.layers.Conv2D)):
                inputs = np.prod(layer.kernel.shape[:-1])
                assert_uniform(layer.kernel, 1 / np.sqrt(inputs))
                if layer.use_bias:
                    assert_uniform(layer.bias, 1 / np.sqrt(inputs))
    for weight in recurrent.get_layer("gru").weights:
        assert_uniform(weight, 1 / 32)
        assert np.asarray(weight).std() == pytest.approx(1 / 32 / np.sqrt(3), rel=0.03)
    assert recurrent.get_layer("gru").cell.bias.shape == (2, 3 * 1024)


def assert_uniform(weight, limit):
    largest = np.abs(np.asarray(weight)).max()
    assert largest <= limit * (1 + 1e-6)
    if np.prod(weight.shape) >= 50:
        assert largest > 0.85 * limit


def test_dropout_rates():
    def rates(build):
        kinds = (keras.layers.Dropout, keras.layers.SpatialDropout3D)
        with no_weights():
            return {x.name: x.rate for x in build().layers if isinstance(x, kinds)}

    assert rates(lambda: build_rcm2d(2, 16)) == {"flatten_dropout": 0.4, "gru_dropout": 0.4}
    assert rates(lambda: build_rcm2d(2, 16, 0.1, variant="released")) == {
        "pixel_dropout": 0.1, "flatten_dropout": 0.1, "gru_dropout": 0.1
    }  # fmt: skip
    # The released code has a fixed rate in the second place.
    flow = rates(lambda: build_cmwra(4, 16, 0.2))
    assert flow == {"dense1_dropout": 0.2, "dense2_dropout": 0.5}
    residual = rates(lambda: build_cmwru(4, 16, 0.3))
    assert set(residual.values()) == {0.3} and len(residual) == 6 + 2


def test_residual_blocks_drop_whole_channels():
    layer = build_cmwru(2, 16, 0.3).get_layer("stage1_block1_dropout")
    dropped = np.asarray(layer(np.ones((5, 2, 3, 3, 40)), training=True)).reshape(5, 18, 40)
    assert np.ptp(dropped, axis=1).max() == 0
    assert 0.1 < (dropped == 0).mean() < 0.5


def test_the_order_of_relu_and_batch_norm():
    with no_weights():
        models = {
            "paper": build_rcm2d(2, 16),
            "released": build_rcm2d(2, 16, variant="released"),
            "cmwra": build_cmwra(4, 16),
            "cmwru": build_cmwru(4, 16),
        }

    def order(model, stage):
        names = [layer.name for layer in models[model].layers]
        return sorted(("relu", "norm"), key=lambda kind: names.index(f"{stage}_{kind}"))

    assert order("paper", "stage1") == ["relu", "norm"]
    assert order("released", "stage1") == ["norm", "relu"]
    assert order("paper", "features") == order("released", "features") == ["relu", "norm"]
    assert order("cmwra", "stage1") == ["relu", "norm"]
    assert order("cmwra", "dense1") == order("cmwru", "stem") == ["norm", "relu"]


def test_clip_batch_norm_is_a_batch_norm_of_one_clip_after_the_other():
    rng = np.random.default_rng(3)
    clips = (3 + 2 * rng.standard_normal((3, 4, 5, 2, 6))).astype(np.float32)
    together = ClipBatchNormalization(momentum=0.9, epsilon=1e-5)
    one_by_one = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for layer in (together, one_by_one):
        layer.build(clips.shape)
        layer.gamma.assign(np.linspace(0.5, 2, 6))
        layer.beta.assign(np.linspace(-1, 1, 6))
    expected = np.concatenate([one_by_one(clip[None], training=True) for clip in clips])
    np.testing.assert_allclose(together(clips, training=True), expected, atol=1e-5)
    np.testing.assert_allclose(together.moving_mean, one_by_one.moving_mean, atol=1e-5)
    # What Keras keeps is of the population, torch's is of a sample: n / (n - 1) times as much.
    kept = 0.9**3
    sample = kept + (np.asarray(one_by_one.moving_variance) - kept) * 40 / 39
    np.testing.assert_allclose(together.moving_variance, sample, rtol=1e-5)
    for layer in (together, one_by_one):  # evaluation is the same with the same averages
        layer.moving_variance.assign(sample)
    np.testing.assert_allclose(together(clips), one_by_one(clips), atol=1e-5)


def test_what_all_frames_of_a_clip_share_is_lost_in_training_over_the_clip_alone():
    frames = np.random.default_rng(0).standard_normal((2, 4, 16, 16, 1)).astype(np.float32)
    brighter = frames * np.array([1, 3], np.float32)[:, None, None, None, None]
    for over, same in (("clip", True), ("batch", False)):
        keras.utils.set_random_seed(2)
        model = build_rcm2d(4, 16, dropout=0, batch_norm_over=over)
        for layer in model.layers:  # so that nothing but the scale of the frames differs
            if isinstance(layer, keras.layers.Conv3D):
                layer.bias.assign(np.zeros(layer.bias.shape))
        one, other = (np.asarray(model(x, training=True))[1, 0] for x in (frames, brighter))
        assert bool(abs(one - other) < 1e-3) is same, over


def test_votes_are_shares_of_frames():
    frames = np.array([[0.2, 0.5, 0.51, 1.0], [0.0, 0.0, 0.0, 0.9]])
    np.testing.assert_array_equal(vote(frames), [0.5, 0.25])
    np.testing.assert_array_equal(vote(frames, threshold=0.1), [1, 0.25])
    assert vote(frames[0]) == 0.5
    with pytest.raises(ValueError, match="lie in 0..1"):
        vote(np.array([[0.2, 1.7]]))
    with pytest.raises(ValueError, match="lie in 0..1"):
        vote(np.array([0.2, np.nan]))
    with pytest.raises(ValueError, match="needs frames"):
        vote(np.zeros((3, 0)))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: build_rcm2d(30, 250), "divisible by 16, not 250"),
        (lambda: build_rcm2d(1, 64), "frames must be 2 or more"),
        (lambda: build_rcm2d(variant="mine"), "paper.*released.*not 'mine'"),
        (lambda: build_rcm2d(batch_norm_over="frame"), "clip or batch"),
        (lambda: build_cmwru(0, 256), "1 frame of 2 px or more"),
        (lambda: build_cmwra(3, 32, flow_step=3), "1 to 2 for 3 frames, not 3"),
        (lambda: build_cmwra(40, 3), "size must be 4 or more"),
        (lambda: build_cnn2d(7), "size must be 8 or more"),
    ],
)
def test_bad_arguments_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_logits_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [build_rcm2d(2, 16), build_cmwru(2, 16), build_cmwra(3, 16), build_cnn2d(16)]
    finally:
        keras.config.set_dtype_policy("float32")
    for model in models:
        batch = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:]), np.float32)
        logits = model(batch, training=True)
        assert logits.dtype == "float32" and np.isfinite(logits).all()
