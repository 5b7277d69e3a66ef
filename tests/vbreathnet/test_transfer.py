import numpy as np
import pytest

keras = pytest.importorskip("keras")

from vbreathnet.transfer import IMAGENET_SCALING, build_transfer  # noqa: E402
from vbreathnet.weights import normalise_random_base  # noqa: E402

# Table 3: total and trainable parameters.
COUNTS = {
    "densenet121": (8_217_667, 1_180_163),
    "mobilenetv2": (3_733_059, 1_475_075),
    "vgg16": (15_305_027, 590_339),
}
LAST_OF_BASE = {"densenet121": "relu", "mobilenetv2": "out_relu", "vgg16": "block5_pool"}
HEADS = {
    "pool": ["head_conv", "head_pool", "head_dense"],
    "flatten": ["head_conv", "head_flatten", "head_dense"],
    "dense": ["head_flatten", "head_hidden", "head_dense"],
}


def counts(model):
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    return model.count_params(), trainable


@pytest.fixture(scope="module", params=COUNTS)
def base_and_model(request):
    """One small model a base: 96 px is the smallest side that all three take."""
    keras.utils.set_random_seed(0)
    model = build_transfer(request.param, (96, 96, 3))
    normalise_random_base(model, gray_images(16, seed=1))
    return request.param, model


def gray_images(number, seed=0):
    gray = np.random.default_rng(seed).random((number, 6, 6, 1), np.float32)
    return gray.repeat(16, axis=1).repeat(16, axis=2).repeat(3, axis=3)


@pytest.fixture
def images():
    return gray_images(3)


@pytest.mark.parametrize("base", COUNTS)
def test_parameters_are_table_3_at_224(base):
    model = build_transfer(base)
    assert model.input_shape == (None, 224, 224, 3)
    assert counts(model) == COUNTS[base]
    assert model.get_layer("head_conv").input.shape[1:3] == (7, 7)


@pytest.mark.parametrize("base", ["mobilenetv2", "vgg16"])
@pytest.mark.parametrize("head", ["flatten", "dense"])
def test_flattening_heads_give_table_3_at_96_only(base, head):
    model = build_transfer(base, (96, 96, 3), head=head)
    assert counts(model) == COUNTS[base]
    assert [layer.name for layer in model.layers[-3:]] == HEADS[head]
    assert counts(build_transfer(base, (128, 128, 3), head=head)) != COUNTS[base]


def test_model_is_flat_and_named(base_and_model):
    base, model = base_and_model
    assert counts(model) == COUNTS[base]
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert [layer.name for layer in model.layers[-3:]] == HEADS["pool"]
    assert model.layers[-4].name == LAST_OF_BASE[base]
    # What Grad-CAM asks for: a model to any layer and to the scores.
    both = keras.Model(model.input, [model.get_layer(LAST_OF_BASE[base]).output, model.output])
    assert both.output_shape[0][1:3] == (3, 3)


def test_scores_are_a_softmax(base_and_model, images):
    _, model = base_and_model
    scores = np.asarray(model(images, training=False))
    assert scores.shape == (3, 3) and scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5) and (scores >= 0).all()
    assert len({tuple(row) for row in scores.round(6).tolist()}) == 3


def test_scaling_is_the_one_of_keras_applications(base_and_model, images):
    base, model = base_and_model
    module = {"mobilenetv2": "mobilenet_v2", "densenet121": "densenet", "vgg16": "vgg16"}[base]
    expected = getattr(keras.applications, module).preprocess_input(images * 255)
    scaling = model.get_layer("imagenet_scaling")
    assert scaling.weights == []
    assert np.allclose(scaling(images), expected, rtol=1e-5, atol=1e-4)
    assert set(IMAGENET_SCALING) == set(COUNTS)


def test_training_moves_the_head_and_nothing_of_the_base(base_and_model, images):
    import tensorflow as tf

    _, model = base_and_model
    head = [w.path for layer in model.layers[-3:] for w in layer.weights]
    assert [w.path for w in model.trainable_variables] == head and len(head) == 4
    before = {w.path: np.asarray(w).copy() for w in model.weights}
    with tf.GradientTape() as tape:
        scores = model(images, training=True)
        loss = -tf.reduce_mean(tf.math.log(scores[:, 0]))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() and np.any(g) for g in gradients)
    keras.optimizers.SGD(0.1).apply(gradients, model.trainable_variables)
    after = {w.path: np.asarray(w).copy() for w in model.weights}
    moved = {path for path in after if not np.array_equal(before[path], after[path])}
    assert moved == set(head)


def test_save_and_load_round_trip(base_and_model, images, tmp_path):
    base, model = base_and_model
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    assert np.allclose(model(images), loaded(images), atol=1e-6)
    assert counts(loaded) == COUNTS[base]


def test_scaling_and_scores_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_transfer("vgg16", (96, 96, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("imagenet_scaling").compute_dtype == "float32"
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"base": "resnet50"}, "base must be one of"),
        ({"head": "attention"}, "head must be one of"),
        ({"input_shape": (224, 224, 1)}, "must be \\(height, width, 3\\)"),
        ({"input_shape": (None, 224, 3)}, "must be \\(height, width, 3\\)"),
        ({"input_shape": (224, 224)}, "must be \\(height, width, 3\\)"),
        ({"input_shape": (64, 64, 3)}, "96 px or more"),
        ({"weights": "no such file"}, "weights"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        build_transfer(**{"base": "vgg16", **options})
