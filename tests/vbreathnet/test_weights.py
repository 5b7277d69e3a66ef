import hashlib
import io
import threading
import time
import urllib.error

import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from preprocessing.errors import InputError  # noqa: E402
from vbreathnet import weights  # noqa: E402
from vbreathnet.transfer import build_transfer  # noqa: E402
from vbreathnet.weights import load_base_weights, weight_file  # noqa: E402

SHAPE = (96, 96, 3)


def as_keras_applications_ships(network, path):
    """Write a legacy .h5 with weights alone: what the groups of a full .h5 model hold."""
    full = path.with_name("full.h5")
    network.save(full)
    with h5py.File(full) as source, h5py.File(path, "w") as target:
        for name, value in source["model_weights"].attrs.items():
            target.attrs[name] = value
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", target)
    return path


@pytest.fixture(scope="module")
def mobilenet():
    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=SHAPE)
    for variable in network.weights:  # moving statistics too
        variable.assign(np.random.default_rng(len(variable.path)).random(variable.shape))
    return network


@pytest.fixture(scope="module")
def files(mobilenet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    as_keras_applications_ships(mobilenet, folder / weight_file("mobilenetv2", 96).name)
    mobilenet.save_weights(folder / "mobilenet.weights.h5")
    return folder


def values(variables):
    return [np.asarray(v).copy() for v in variables]


def base_of(model):
    return values(w for w in model.weights if "head_" not in w.path)


def assert_equal(some, others):
    assert len(some) == len(others)
    assert all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("kind", ["legacy", "keras3", "folder"])
def test_weights_of_a_file_or_folder_are_loaded_into_the_base(files, mobilenet, kind):
    source = {
        "legacy": files / weight_file("mobilenetv2", 96).name,
        "keras3": files / "mobilenet.weights.h5",
        "folder": files,
    }[kind]
    model = build_transfer("mobilenetv2", SHAPE)
    head = values(model.trainable_weights)
    load_base_weights(model, "mobilenetv2", source)
    assert_equal(base_of(model), values(mobilenet.weights))
    assert_equal(head, values(model.trainable_weights))  # untouched, and the base still frozen


def test_build_transfer_takes_a_path_as_keras_applications_does(files, mobilenet):
    path = str(files / weight_file("mobilenetv2", 96).name)
    model = build_transfer("mobilenetv2", SHAPE, weights=path)
    assert_equal(base_of(model), values(mobilenet.weights))


def test_files_are_those_that_keras_applications_names():
    """Against the text of the installed Keras, so that a moved file is noticed."""
    import inspect

    from keras.src.applications import densenet, mobilenet_v2, vgg16

    sources = {"densenet121": densenet, "mobilenetv2": mobilenet_v2, "vgg16": vgg16}
    for base, module in sources.items():
        text = inspect.getsource(module)
        wanted = weight_file(base)
        assert wanted.md5 in text
        assert wanted.url.rsplit("/", 2)[1] in text
        if base != "mobilenetv2":
            assert wanted.name in text
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_" in inspect.getsource(mobilenet_v2)
    assert weight_file("mobilenetv2", 100) == weight_file("mobilenetv2", 224)
    assert "1.0_96_no_top" in weight_file("mobilenetv2", 96).name


def assert_refused(model, base, source, match):
    with pytest.raises(InputError, match=match) as error:
        load_base_weights(model, base, source)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def vgg():
    return build_transfer("vgg16", SHAPE)


def test_wrong_files_say_what_does_not_fit(files, vgg, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "net.pth").write_text("torch")
    for path in files.glob("mobilenet*.h5"):
        message = assert_refused(vgg, "vgg16", path, "does not hold the weights of vgg16")
        assert weight_file("vgg16").url in message
    legacy = files / weight_file("mobilenetv2", 96).name
    assert_refused(vgg, "vgg16", legacy, "Layer count mismatch")
    assert_refused(vgg, "vgg16", tmp_path / "text.h5", "does not hold the weights")
    assert_refused(vgg, "vgg16", tmp_path / "net.pth", "not an .h5 weight file")
    assert_refused(vgg, "vgg16", tmp_path / "none.h5", "no such file; fetch")
    assert_refused(vgg, "vgg16", tmp_path, f"{weight_file('vgg16').name}: no such file")


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (urllib.error.HTTPError("https://x", 403, "Forbidden", {}, None), "Forbidden"),
    ],
)
def test_no_network_is_one_clear_line(vgg, keras_home, monkeypatch, error, reason):
    def no_network(*arguments, **options):
        raise error

    monkeypatch.setattr(weights.urllib.request, "urlopen", no_network)
    message = assert_refused(vgg, "vgg16", "imagenet", "ImageNet weights of vgg16 cannot be fetch")
    wanted = weight_file("vgg16")
    for part in (reason, wanted.name, wanted.url, "--weights FOLDER", "--weights random"):
        assert part in message
    assert list((keras_home / "models").iterdir()) == []


def test_a_silent_network_does_not_hang(vgg, keras_home, monkeypatch):
    given_up, late, started = threading.Event(), Response(b""), time.monotonic()
    monkeypatch.setattr(weights, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(
        weights.urllib.request, "urlopen", lambda *a, **k: given_up.wait(60) and late
    )
    try:
        assert_refused(vgg, "vgg16", "imagenet", "no answer within")
    finally:
        given_up.set()
    assert time.monotonic() - started < 30


class Response(io.BytesIO):
    """What urlopen returns; `headers` promise `promised` bytes."""

    def __init__(self, data, promised=None):
        super().__init__(data)
        self.headers = {"Content-Length": str(promised or len(data))}


def serve(monkeypatch, *responses):
    """Answer the first question about the file, then the downloads, one after another."""
    waiting = [Response(b""), *responses]
    monkeypatch.setattr(weights.urllib.request, "urlopen", lambda *a, **k: waiting.pop(0))
    return waiting


def test_a_download_is_kept_where_keras_looks(files, mobilenet, keras_home, monkeypatch):
    wanted = weight_file("mobilenetv2", 96)
    waiting = serve(monkeypatch, Response((files / wanted.name).read_bytes()))
    model = build_transfer("mobilenetv2", SHAPE)
    load_base_weights(model, "mobilenetv2", "imagenet")
    assert waiting == []
    assert [p.name for p in (keras_home / "models").iterdir()] == [wanted.name]
    load_base_weights(model, "mobilenetv2", "imagenet")  # asks for nothing more
    assert_equal(base_of(model), values(mobilenet.weights))


def test_lost_connections_and_damaged_files_are_not_kept(vgg, keras_home, monkeypatch):
    serve(monkeypatch, Response(b"half", promised=8))
    assert_refused(vgg, "vgg16", "imagenet", "4 of 8 bytes arrived")
    serve(monkeypatch, Response(b"something else"))
    assert_refused(vgg, "vgg16", "imagenet", "arrived damaged")
    assert list((keras_home / "models").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(vgg, keras_home, monkeypatch, tmp_path):
    network = keras.Model(vgg.input, vgg.get_layer("head_conv").input)
    good = as_keras_applications_ships(network, tmp_path / "good.h5").read_bytes()
    wanted = weights.WeightFile("vgg.h5", "vgg16", hashlib.md5(good).hexdigest())
    monkeypatch.setattr(weights, "weight_file", lambda base, side: wanted)
    (keras_home / "models").mkdir()
    (keras_home / "models" / "vgg.h5").write_bytes(good[:1000])
    waiting = serve(monkeypatch, Response(good))
    load_base_weights(vgg, "vgg16", "imagenet")
    assert waiting == [] and (keras_home / "models" / "vgg.h5").read_bytes() == good


def test_a_random_base_is_given_statistics_that_keep_its_features_alive():
    keras.utils.set_random_seed(0)
    model = build_transfer("mobilenetv2", SHAPE)
    images = np.random.default_rng(0).random((16, 6, 6, 1), np.float32)
    images = images.repeat(16, axis=1).repeat(16, axis=2).repeat(3, axis=3)
    features = keras.Model(model.input, model.get_layer("head_conv").input)
    kernels = values(w for w in model.weights if w.path.endswith("kernel"))
    assert values([features(images)])[0].max() < 1e-6
    weights.normalise_random_base(model, images)
    alive = values([features(images)])[0]
    assert 0.1 < alive.std() < 3 and alive.std(axis=0).mean() > 0.05
    assert_equal(kernels, values(w for w in model.weights if w.path.endswith("kernel")))
    assert len(model.trainable_weights) == 4
    assert model.get_layer("bn_Conv1").momentum == 0.999
