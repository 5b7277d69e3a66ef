"""ImageNet weights: found, fetched, checked, loaded."""

import hashlib
import io
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

keras = pytest.importorskip("keras")

from cnr_iemn import weights  # noqa: E402
from cnr_iemn.backbones import build_backbone  # noqa: E402
from cnr_iemn.evaluate import why_other_weights  # noqa: E402
from cnr_iemn.weights import PUBLISHED, InitialWeights, digest_of, load_imagenet  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402

NAME = "resnext50_32x4d"
SAFETENSORS = f"{NAME}.safetensors"
PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@pytest.fixture(scope="module")
def model():
    """A backbone with a head of its own, as the study trains."""
    backbone = build_backbone(NAME, (32, 32, 3))
    head = keras.layers.Dense(3, name="class")(backbone.output)
    return keras.Model(backbone.input, head, name=NAME)


@pytest.fixture(scope="module")
def state(model):
    """torchvision's state dict for it, with logits: each entry has a value of its own."""
    shapes = {"fc.weight": (1000, 2048), "fc.bias": (1000,), "bn1.num_batches_tracked": ()}
    for layer in model.layers[:-1]:
        for variable in layer.weights:
            shape = tuple(variable.shape)
            torch_shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
            shapes[f"{layer.name}.{PARTS[variable.name]}"] = torch_shape
    return {
        name: np.full(shape, number, np.float32)
        for number, (name, shape) in enumerate(shapes.items())
    }


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    save_file(state, path / SAFETENSORS)
    return path


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def assert_loaded(model, state):
    for layer, entry in (("conv1", "conv1.weight"), ("layer4.2.conv2", "layer4.2.conv2.weight")):
        assert (np.asarray(model.get_layer(layer).kernel) == state[entry].flat[0]).all()
    norm = model.get_layer("layer3.5.bn3")
    assert (np.asarray(norm.moving_variance) == state["layer3.5.bn3.running_var"][0]).all()


def forget(model):
    for variable in model.weights:
        variable.assign(np.full(variable.shape, -1, np.float32))


def assert_refused(model, source, match, name=NAME):
    forget(model)
    with pytest.raises(InputError, match=match) as error:
        load_imagenet(model, name, source)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert all((np.asarray(w) == -1).all() for w in model.weights)
    return str(error.value)


@pytest.mark.parametrize("given", ["file", "folder"])
def test_weights_of_a_file_or_folder_are_loaded_into_the_backbone(model, state, folder, given):
    forget(model)
    record = load_imagenet(model, NAME, folder / SAFETENSORS if given == "file" else str(folder))
    assert_loaded(model, state)
    assert all((np.asarray(w) == -1).all() for w in model.layers[-1].weights)  # the head stays
    digest = sha256(folder / SAFETENSORS)
    assert record == InitialWeights(SAFETENSORS, digest, is_v1=False)
    assert str(record) == f"{SAFETENSORS}, SHA-256 {digest}, not known as IMAGENET1K_V1"
    assert why_other_weights(record) == [
        f"weights of {SAFETENSORS}, not known to be those of ImageNet"
    ]


def test_published_files_are_known_as_such(model, folder, monkeypatch):
    digest = sha256(folder / SAFETENSORS)
    wanted = weights.Published((), "timm/x", sha256=digest)
    monkeypatch.setitem(weights.PUBLISHED, NAME, wanted)
    record = load_imagenet(model, NAME, folder)
    assert str(record).endswith(f"{digest}, IMAGENET1K_V1")
    assert why_other_weights(record) == []  # whatever --weights named


def test_a_date_behind_a_name_is_no_digest(model, state, folder, tmp_path):
    shutil.copy(folder / SAFETENSORS, tmp_path / "resnext-20210801.safetensors")
    forget(model)
    load_imagenet(model, NAME, tmp_path / "resnext-20210801.safetensors")
    assert_loaded(model, state)


def test_a_digest_is_of_the_networks_file(folder, tmp_path):
    shutil.copy(folder / SAFETENSORS, tmp_path)
    (tmp_path / "densenet161.safetensors").write_bytes(b"other tensors")
    found = {name: digest_of(name, tmp_path) for name in (NAME, "densenet161")}
    assert found[NAME] == digest_of(NAME, folder / SAFETENSORS) == sha256(folder / SAFETENSORS)
    assert found["densenet161"] == hashlib.sha256(b"other tensors").hexdigest()
    (tmp_path / "densenet161.safetensors").write_bytes(b"still other tensors")
    assert digest_of("densenet161", tmp_path) != found["densenet161"]


def test_published_files_are_those_of_2021():
    digits = {"resnext50_32x4d": "7cdf4587", "densenet161": "8d451a50",
              "inception_v3": "1a9a5a14", "wide_resnet50_2": "95faca4d"}  # fmt: skip
    assert set(PUBLISHED) == set(digits)
    for name, wanted in PUBLISHED.items():
        assert wanted.torch_files[0].startswith(name)
        assert wanted.torch_files[0].endswith(f"-{digits[name]}.pth")
        assert wanted.repository == f"timm/{name}.tv_in1k"  # tv2_in1k would be V2
        assert len(wanted.sha256) == 64 or len(wanted.revision) == 40


def test_wrong_files_say_what_does_not_fit(model, state, folder, tmp_path):
    (tmp_path / "text.safetensors").write_text("not safetensors")
    whole = (folder / SAFETENSORS).read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "net.h5").write_text("Keras")
    damaged = tmp_path / f"{NAME}-7cdf4587.pth"
    damaged.write_text("something else")
    for name in ("text", "half"):
        assert_refused(model, tmp_path / f"{name}.safetensors", "cannot be read .*; fetch it again")
    assert_refused(model, tmp_path / "net.h5", "is not a weight file; expected .safetensors")
    assert_refused(model, damaged, "is damaged: its SHA-256 starts with .*, its name says 7cdf4587")
    assert_refused(model, tmp_path, "is damaged")  # found in the folder by torchvision's name
    assert_refused(model, tmp_path / "none.pth", "none.pth: no such file; fetch model.safetensors")
    message = assert_refused(model, tmp_path, "holds none of", name="densenet161")
    for part in ("densenet161.safetensors", "densenet161-8d451a50.pth", "--weights random"):
        assert part in message
    less = {k: v for k, v in state.items() if k != "layer1.0.downsample.0.weight"}
    save_file(less, tmp_path / "less.safetensors")
    match = r"less.safetensors: the weights lack layer1.0.downsample.0.weight; .* resnext50_32x4d"
    assert_refused(model, tmp_path / "less.safetensors", match)
    with pytest.raises(ValueError, match="name must be one of resnext50_32x4d, densenet161"):
        load_imagenet(model, "resnet50", folder)


@pytest.fixture
def hub(monkeypatch, folder):
    """The Hub's client: an empty cache, and a download that hands out the folder's file."""
    calls = []

    def download(**place):
        calls.append(place)
        return str(folder / SAFETENSORS)

    client = weights.huggingface_hub
    monkeypatch.setattr(client, "try_to_load_from_cache", lambda **place: None)
    monkeypatch.setattr(client, "hf_hub_download", download)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: io.BytesIO())
    return calls


def test_imagenet_fetches_the_pinned_file_once(model, state, folder, hub, monkeypatch):
    digest = sha256(folder / SAFETENSORS)
    wanted = weights.Published((), "timm/x.tv_in1k", sha256=digest)
    monkeypatch.setitem(weights.PUBLISHED, NAME, wanted)
    forget(model)
    assert load_imagenet(model, NAME, "imagenet").is_v1
    assert_loaded(model, state)
    place = {"repo_id": "timm/x.tv_in1k", "filename": "model.safetensors", "revision": "main"}
    assert hub == [place | {"force_download": False}]
    cached = str(folder / SAFETENSORS)
    monkeypatch.setattr(weights.huggingface_hub, "try_to_load_from_cache", lambda **place: cached)
    load_imagenet(model, NAME, "imagenet")  # asks for nothing more
    assert len(hub) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(model, folder, hub, monkeypatch, tmp_path):
    (tmp_path / "old").write_text("damaged")
    client = weights.huggingface_hub
    monkeypatch.setattr(client, "try_to_load_from_cache", lambda **place: str(tmp_path / "old"))
    wanted = weights.Published((), "timm/x", sha256=sha256(folder / SAFETENSORS))
    monkeypatch.setitem(weights.PUBLISHED, NAME, wanted)
    load_imagenet(model, NAME, "imagenet")
    assert [place["force_download"] for place in hub] == [True]


def test_a_replaced_file_is_refused(model, hub):
    assert_refused(model, "imagenet", "damaged or was replaced: its SHA-256 is not c0d85cba")
    assert len(hub) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("Name or service not known"), "Name or service not known"),
        (urllib.error.HTTPError("https://x", 403, "Forbidden", {}, None), "Forbidden"),
        (weights.HTTPError("connection lost"), "connection lost"),
    ],
)
def test_no_network_is_one_clear_line(model, hub, monkeypatch, error, reason):
    def no_network(*arguments, **options):
        raise error

    if isinstance(error, OSError):
        monkeypatch.setattr(urllib.request, "urlopen", no_network)
    else:
        monkeypatch.setattr(weights.huggingface_hub, "hf_hub_download", no_network)
    message = assert_refused(model, "imagenet", "weights of resnext50_32x4d cannot be fetched")
    for part in (reason, "timm/resnext50_32x4d.tv_in1k", SAFETENSORS, "--weights FOLDER"):
        assert part in message


def test_a_silent_network_does_not_hang(model, hub, monkeypatch):
    given_up, started = threading.Event(), time.monotonic()
    monkeypatch.setattr(weights, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *a, **k: given_up.wait(60) and io.BytesIO()
    )
    try:
        with pytest.raises(InputError, match="no answer within"):
            load_imagenet(model, NAME, "imagenet")
    finally:
        given_up.set()
    assert time.monotonic() - started < 30 and hub == []
