import numpy as np
import pytest

keras = pytest.importorskip("keras")

from preprocessing.errors import InputError  # noqa: E402
from replication import litert  # noqa: E402

MEAN_CHANGE = 0.02  # of a score by int8


def build_small_model():
    """Both orders of batch norm and ReLU, dropout, softmax; 50,000 parameters, not at rest."""
    keras.utils.set_random_seed(3)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(32, 3, padding="same")(images)
    x = keras.layers.BatchNormalization(name="norm_1")(keras.layers.ReLU()(x))
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(64, 3, padding="same")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm_2")(x))
    x = keras.layers.MaxPooling2D(4)(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    x = keras.layers.Dense(32, activation="relu")(x)
    x = keras.layers.BatchNormalization(name="norm_3")(x)
    out = keras.layers.Dense(3, activation="softmax", dtype="float32", name="scores")(x)
    model = keras.Model(images, out)
    rng = np.random.default_rng(4)
    for name in ("norm_1", "norm_2", "norm_3"):
        # gamma, beta, moving mean, moving variance
        shape = model.get_layer(name).gamma.shape
        drawn = [rng.uniform(*span, shape) for span in ((-1, 2), (-1, 1), (-0.2, 0.2), (0.2, 1))]
        model.get_layer(name).set_weights(drawn)
    return model


@pytest.fixture(scope="module")
def model(images):
    """As if trained: no class is far ahead for all images."""
    model = build_small_model()
    kernel, _ = model.get_layer("scores").get_weights()
    features = keras.Model(model.input, model.layers[-2].output).predict(images, verbose=0)
    model.get_layer("scores").set_weights([4 * kernel, -4 * (features @ kernel).mean(axis=0)])
    return model


@pytest.fixture(scope="module")
def images():
    """Coarse patterns, so that scores differ."""
    coarse = np.random.default_rng(5).random((24, 4, 4, 3), np.float32)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def files(model, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    return (
        litert.export_litert(model, folder / "float32.tflite"),
        litert.export_litert(model, folder / "int8.tflite", images),
    )


def test_float_file_predicts_what_keras_predicts(model, images, files):
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.2  # the images do make a difference
    scores = litert.predict_litert(files[0], images)
    assert scores.shape == (24, 3) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_int8_file_is_small_and_close(model, images, files):
    sizes = [file.stat().st_size for file in files]
    assert sizes[1] < 0.4 * sizes[0]
    scores = litert.predict_litert(files[1], images, threads=2)
    assert scores.dtype == np.float32
    assert np.abs(scores - model.predict(images, verbose=0)).mean() < MEAN_CHANGE


def test_int8_file_computes_in_integers_between_float_ends(files):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files[1]))
    interpreter.allocate_tensors()
    kinds = [detail["dtype"] for detail in interpreter.get_tensor_details()]
    assert kinds.count(np.float32) == 2  # input and output
    assert interpreter.get_input_details()[0]["dtype"] == np.float32
    assert np.int8 in kinds


def operations(file) -> list[str]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    return [detail["op_name"] for detail in interpreter._get_ops_details()]


def test_dropout_is_gone_and_batch_norm_leaves_at_most_its_shift(images, tmp_path):
    model = build_small_model()
    for name in ("norm_1", "norm_2", "norm_3"):
        norm = model.get_layer(name)
        norm.gamma.assign(np.abs(norm.gamma))
    file = litert.export_litert(model, tmp_path / "positive.tflite")
    assert operations(file) == [
        "CONV_2D", "ADD", "MAX_POOL_2D",  # batch norm after the ReLU
        "CONV_2D", "MAX_POOL_2D",  # and before it
        "RESHAPE", "FULLY_CONNECTED", "ADD", "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    scores = litert.predict_litert(file, images)
    np.testing.assert_allclose(scores, model.predict(images, verbose=0), atol=1e-4)


def test_channels_of_little_spread_survive_in_int8(model, images, tmp_path):
    """Channels a thousandfold smaller, and a batch norm that enlarges them again."""
    unequal = build_small_model()
    unequal.set_weights(model.get_weights())
    small = np.geomspace(1e-3, 1, 32)
    kernel, bias = unequal.layers[1].get_weights()
    unequal.layers[1].set_weights([kernel * small, bias * small])
    norm = unequal.get_layer("norm_1")
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    norm.set_weights([scale / small, beta, mean * small, np.full(32, 1 - norm.epsilon)])
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(unequal.predict(images, verbose=0), expected, atol=1e-4)
    scores = litert.predict_litert(
        litert.export_litert(unequal, tmp_path / "int8.tflite", images), images
    )
    assert np.abs(scores - expected).mean() < MEAN_CHANGE


def test_a_model_that_branches_is_exported_as_it_is(images, tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.Add()([keras.layers.BatchNormalization()(x), x])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    model.layers[2].gamma.assign(np.linspace(-2, 2, 8))
    file = litert.export_litert(model, tmp_path / "branching.tflite")
    scores = litert.predict_litert(file, images)
    np.testing.assert_allclose(scores, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_of_mixed_precision_gives_the_same_file(model, images, files, tmp_path, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build_small_model()
    finally:
        keras.config.set_dtype_policy(before)
    mixed.set_weights(model.get_weights())
    file = litert.export_litert(mixed, tmp_path / "mixed.tflite")
    np.testing.assert_allclose(
        litert.predict_litert(file, images), litert.predict_litert(files[0], images), atol=1e-5
    )
    assert mixed.layers[1].compute_dtype != "float32"  # the trained model is left as it was


def test_nothing_reaches_the_terminal_and_nothing_else_is_written(model, images, tmp_path, capfd):
    file = litert.export_litert(model, tmp_path / "quiet.tflite", images)
    litert.predict_litert(file, images)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == ["quiet.tflite"]
    print("still there")
    assert capfd.readouterr().out == "still there\n"


def test_a_failed_export_leaves_the_earlier_file(model, images, tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(b"earlier")
    for wrong in (images[:0], images[:, :16], images[..., :1]):
        with pytest.raises(ValueError, match="representative"):
            litert.export_litert(model, file, wrong)
    assert [f.name for f in tmp_path.iterdir()] == ["model.tflite"]
    assert file.read_bytes() == b"earlier"


@pytest.mark.parametrize("content", [b"", b"PNG", "truncated", None])
def test_a_damaged_file_is_named_in_one_line(images, files, tmp_path, content):
    file = tmp_path / "broken.tflite"
    if content is not None:
        whole = files[0].read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    with pytest.raises(InputError, match="broken.tflite") as caught:
        litert.predict_litert(file, images)
    assert "\n" not in str(caught.value) and "export" in str(caught.value)


def test_images_of_another_shape_are_refused(images, files):
    with pytest.raises(ValueError, match="takes images of"):
        litert.predict_litert(files[0], images[:, :16])


def test_time_is_that_of_one_image(images, files):
    seconds = litert.time_litert(files[0], images[0], runs=5)
    assert 0 < seconds < 1
