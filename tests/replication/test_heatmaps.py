import numpy as np
import pytest

keras = pytest.importorskip("keras")

from replication import heatmaps  # noqa: E402


@pytest.fixture(scope="module")
def corner_model():
    """A network that looks at the upper left quarter of frames 2 and 3 alone."""
    weights = np.zeros((4, 8, 8, 1), np.float32)
    weights[2:, :4, :4] = 1
    clip = keras.Input((4, 8, 8, 1))
    x = keras.layers.Flatten()(clip)
    out = keras.layers.Dense(1, activation="sigmoid", name="sliding")(x)
    model = keras.Model(clip, out)
    model.set_weights([weights.reshape(-1, 1) * 0.05, np.zeros(1, np.float32)])
    return model


@pytest.fixture
def clip():
    return np.random.default_rng(0).random((1, 4, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def quarters_model():
    """Class k of three has the brightness of quarter k as its score: 0 upper left, 1 upper right,
    2 lower left. Nothing sees the lower right; `score_weight` makes the softmax sure."""
    return build_quarters_model(score_weight=1.0)


def build_quarters_model(score_weight: float):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(2, 1, name="conv")(images)
    x = keras.layers.BatchNormalization(name="norm", epsilon=0)(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.AveragePooling2D(16, name="pool")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    out = keras.layers.Dense(3, activation="softmax", name="scores")(x)
    model = keras.Model(images, out)
    # Channel 0 is the brightness; channel 1 its negative, which the ReLU removes.
    model.get_layer("conv").set_weights(
        [np.array([[[[1, -1]] * 3]], np.float32) / 3, np.zeros(2, np.float32)]
    )
    weights = np.zeros((2, 2, 2, 3), np.float32)  # row, column, channel, class
    for k, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
        weights[row, column, :, k] = score_weight
    model.get_layer("scores").set_weights([weights.reshape(8, 3), np.zeros(3, np.float32)])
    return model


def quarter(k: int) -> np.ndarray:
    seen = np.zeros((32, 32), bool)
    seen[16 * (k // 2) :, 16 * (k % 2) :][:16, :16] = True
    return seen


@pytest.fixture
def bright_images():
    return np.random.default_rng(1).uniform(0.5, 1, (3, 32, 32, 3)).astype(np.float32)


SALIENCY = [heatmaps.vanilla_saliency, heatmaps.smoothgrad]


@pytest.mark.parametrize("method", SALIENCY)
@pytest.mark.parametrize("positive", [True, False])
def test_heat_lies_where_the_network_looks(corner_model, clip, method, positive):
    heat = method(corner_model, clip, positive)
    assert heat.shape == (1, 4, 8, 8)
    assert 0 <= heat.min() and heat.max() == pytest.approx(1.0, abs=1e-4)
    seen = np.zeros((4, 8, 8), bool)
    seen[2:, :4, :4] = True
    assert heat[0][seen].min() > 0.5
    assert heat[0][~seen].max() < 1e-3


def test_smoothgrad_is_repeatable_and_leaves_the_random_state_alone(corner_model, clip):
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    first = heatmaps.smoothgrad(corner_model, clip, True, samples=3, seed=1)
    assert np.random.random() == expected
    assert np.array_equal(first, heatmaps.smoothgrad(corner_model, clip, True, samples=3, seed=1))


@pytest.mark.parametrize("method", SALIENCY)
def test_each_image_is_explained_for_its_own_class(quarters_model, bright_images, method):
    heat = method(quarters_model, bright_images, classes=[2, 0, 1])
    assert heat.shape == (3, 32, 32) and heat.dtype == np.float32
    for one, k in zip(heat, [2, 0, 1], strict=True):
        assert one[quarter(k)].min() > 0.5
        assert one[~quarter(k)].max() < 1e-3


def test_a_sure_softmax_is_explained_as_well(bright_images):
    model = build_quarters_model(score_weight=1000.0)
    bright_images[:, :16, :16] = 1
    assert model.predict(bright_images, verbose=0)[:, 0] == pytest.approx(1)
    heat = heatmaps.vanilla_saliency(model, bright_images, 0)
    assert heat[:, quarter(0)].min() > 0.5 and heat[:, ~quarter(0)].max() < 1e-3
    heat = heatmaps.gradcam(model, bright_images, 0)
    assert heat[:, quarter(0)].min() == pytest.approx(1, abs=1e-3)
    assert model.get_layer("scores").activation is keras.activations.softmax  # left as it was


def test_more_images_than_a_batch_give_the_maps_they_give_alone(quarters_model):
    images = np.random.default_rng(2).random((heatmaps.BATCH + 2, 32, 32, 3), np.float32)
    classes = np.arange(len(images)) % 3
    for method, options in (
        (heatmaps.vanilla_saliency, {}),
        (heatmaps.smoothgrad, {"samples": 3}),
        (heatmaps.gradcam, {}),
    ):
        together = method(quarters_model, images, classes, **options)
        alone = method(quarters_model, images[-1:], classes[-1], **options)
        np.testing.assert_allclose(together[-1:], alone, atol=1e-5)


def test_gradcam_follows_its_formula(quarters_model, bright_images):
    # d score / d feature is 1 / 256 in the class's quarter, so the mean weight is 1 / 1024 for
    # the brightness and the map is the brightness itself.
    heat = heatmaps.gradcam(quarters_model, bright_images, 1)
    brightness = bright_images.mean(axis=-1)
    expected = brightness / brightness.max(axis=(1, 2), keepdims=True)
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, expected, atol=1e-5)


@pytest.fixture(scope="module")
def clip_model():
    """The brightness of the second half of a clip's upper left quarter as a logit, after a ReLU
    and a pooling; a clip's maps are (2, 2, 2)."""
    clips = keras.Input((8, 16, 16, 1))
    x = keras.layers.Conv3D(1, 1, use_bias=False, activation="relu", name="conv")(clips)
    x = keras.layers.AveragePooling3D((4, 8, 8), name="pool")(x)
    out = keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(x))
    model = keras.Model(clips, out)
    weights = np.zeros((2, 2, 2, 1), np.float32)
    weights[1, 0, 0] = 1
    model.set_weights([np.ones((1, 1, 1, 1, 1), np.float32), weights.reshape(-1, 1)])
    return model


def test_a_clip_has_a_map_over_time_with_one_maximum(clip_model):
    clips = np.random.default_rng(3).uniform(0.2, 1, (2, 8, 16, 16, 1)).astype(np.float32)
    heat = heatmaps.gradcam(clip_model, clips, True)
    brightness = clips[..., 0]
    expected = brightness / brightness.max(axis=(1, 2, 3), keepdims=True)
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    assert not heatmaps.gradcam(clip_model, clips, False).any()


def test_hirescam_keeps_to_what_the_dense_layer_reads(clip_model):
    clips = np.random.default_rng(3).uniform(0.2, 1, (2, 8, 16, 16, 1)).astype(np.float32)
    heat = heatmaps.hirescam(clip_model, clips, True, layer="conv")
    seen = np.zeros((8, 16, 16), bool)
    seen[4:, :8, :8] = True
    brightness = np.where(seen, clips[..., 0], 0)
    expected = brightness / brightness.max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    # By default of the last maps, here the pooled ones: cells of 4 frames and 8x8 pixels.
    coarse = heatmaps.hirescam(clip_model, clips, True)[0]
    assert coarse[6:, :4, :4] == pytest.approx(1) and coarse[:2].max() == 0
    assert coarse[6:, 12:].max() == coarse[6:, :, 12:].max() == 0


def test_gradcam_without_evidence_is_zero_everywhere(quarters_model):
    heat = heatmaps.gradcam(quarters_model, np.zeros((2, 32, 32, 3), np.float32), 0)
    assert heat.shape == (2, 32, 32) and not heat.any()


def test_an_enlarged_map_stays_where_it_was(quarters_model, bright_images):
    bright_images[:] = 0
    bright_images[:, :16, 16:] = 1
    heat = heatmaps.gradcam(quarters_model, bright_images, 1, layer="pool")[0]
    # The map is 2x2; the value of a cell belongs to the cell's middle.
    assert heat.shape == (32, 32)
    assert heat[:8, 24:] == pytest.approx(1)  # from there to the border, not only in the corner
    assert heat[:16, :16].mean() == pytest.approx(heat[16:, 16:].mean())
    assert heat[24:, :8].max() == 0


def test_gradcam_takes_the_activation_after_the_last_convolution(quarters_model):
    assert heatmaps.last_feature_layer(quarters_model) == "relu"
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="last_conv")(images)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Conv2D(4, 1, activation="relu", name="head")(x)  # 1x1: no map
    out = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x))
    model = keras.Model(images, out)
    assert heatmaps.last_feature_layer(model) == "last_conv"
    assert heatmaps.gradcam(model, np.ones((1, 8, 8, 3), np.float32), True).shape == (1, 8, 8)


def test_a_nested_model_has_no_feature_maps_to_offer(quarters_model):
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, quarters_model(images))
    for method in (heatmaps.gradcam, heatmaps.hirescam):
        with pytest.raises(ValueError, match="build it flat"):
            method(model, np.zeros((1, 32, 32, 3), np.float32), 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"classes": 3}, "model of 3 classes"),
        ({"classes": [0, 1]}, "for 3 images"),
        ({"classes": 0, "layer": "no_such"}, "no layer no_such"),
        ({"classes": 0, "layer": "flatten"}, "height, width, channels"),
    ],
)
def test_wrong_questions_are_refused(quarters_model, bright_images, options, reason):
    with pytest.raises(ValueError, match=reason):
        heatmaps.gradcam(quarters_model, bright_images, **options)


def test_small_gradients_of_one_output_are_seen_in_mixed_precision():
    images = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(images)
    x = keras.layers.Dense(1, use_bias=False, dtype="mixed_float16", name="hidden")(x)
    model = keras.Model(images, keras.layers.Dense(1, use_bias=False)(x))
    upper = np.repeat([1e-4, 0], 32).astype(np.float32)[:, None]
    model.set_weights([upper, np.full((1, 1), 1e-4, np.float32)])
    heat = heatmaps.vanilla_saliency(model, np.ones((1, 8, 8, 1), np.float32), True)[0]
    assert heat[:4].min() > 0 == heat[4:].max()  # 1e-8 is 0 in float16
    assert model.get_layer("hidden").compute_dtype == "float16"  # left as it was


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_changes_no_map(quarters_model, bright_images, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build_quarters_model(score_weight=1.0)
    finally:
        keras.config.set_dtype_policy(before)
    for method in (heatmaps.vanilla_saliency, heatmaps.gradcam):
        heat = method(mixed, bright_images, 1)
        assert heat.dtype == np.float32
        np.testing.assert_allclose(heat, method(quarters_model, bright_images, 1), atol=1e-5)


def test_lung_mass_is_a_share_and_its_chance_level_the_area():
    masks = np.zeros((3, 10, 10), np.uint8)
    masks[:, :, :3] = 255
    maps = np.zeros((3, 10, 10), np.float32)
    maps[0] = 1  # spread evenly
    maps[1, 0, 0], maps[1, 0, 9] = 0.75, 0.25
    mass = heatmaps.lung_mass(maps, masks)
    assert mass.dtype == np.float64
    np.testing.assert_allclose(mass, [0.3, 0.75, np.nan])
    np.testing.assert_allclose(heatmaps.lung_area(masks), [0.3, 0.3, 0.3])


def test_lung_mass_resizes_nothing_and_needs_heat():
    maps = np.ones((1, 8, 8), np.float32)
    for masks in (np.ones((1, 8, 9)), np.ones((8, 8))):
        with pytest.raises(ValueError, match="not one"):
            heatmaps.lung_mass(maps, masks)
    for wrong in (-1, np.nan):
        with pytest.raises(ValueError, match="0 or more"):
            heatmaps.lung_mass(maps * wrong, np.ones((1, 8, 8)))
