"""ImageNet weights for the transfer-learning baselines: fetched, from files given, or random.

The files are those of keras.applications; a download goes where Keras looks for them as well.
"""

import hashlib
import os
import shutil
import textwrap
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from preprocessing.errors import InputError
from preprocessing.store import remembered_sha256
from replication.download import NETWORK_ERRORS, ask

IMAGENET, RANDOM = "imagenet", "random"

_STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications"
_MOBILENET_SIDES = (96, 128, 160, 192, 224)
# Seconds to wait for the server's first answer, and for each piece of the download.
_ANSWER_SECONDS, _READ_SECONDS = 10, 30


@dataclass(frozen=True)
class WeightFile:
    """A weight file of keras.applications, without top. `md5` is empty where Keras knows none."""

    name: str
    folder: str
    md5: str = ""

    @property
    def url(self) -> str:
        return f"{_STORAGE}/{self.folder}/{self.name}"


def weight_file(base: str, side: int = 224) -> WeightFile:
    """The file that keras.applications loads for `base` and images of `side` px."""
    if base == "densenet121":
        name = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
        return WeightFile(name, "densenet", "30ee3e1110167f948a6b9946edeeb738")
    if base == "vgg16":
        name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
        return WeightFile(name, "vgg16", "6d6bbae143d832006294945121d1f1fc")
    # MobileNetV2 was trained at five sizes; Keras takes those of 224 for any other.
    trained_at = side if side in _MOBILENET_SIDES else 224
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{trained_at}_no_top.h5"
    return WeightFile(name, "mobilenet_v2")


def load_base_weights(model: keras.Model, base: str, source: str | Path) -> None:
    """Load ImageNet weights into the base of a model of `build_transfer`; the head stays.

    Args:
        model: what `build_transfer(base, ...)` returned.
        base: "densenet121", "mobilenetv2" or "vgg16".
        source: "imagenet" downloads the file once; else a weight file without top, as
            keras.applications (.h5) or Keras 3 (.weights.h5) writes it, or a folder that holds the
            files of keras.applications under their own names.

    Raises:
        InputError: the file cannot be fetched, is not there, or does not fit the network.
    """
    wanted = weight_file(base, model.input_shape[1])
    path = _fetch(base, wanted) if source == IMAGENET else _given(base, wanted, Path(source))
    network = _base_of(model)
    try:
        with warnings.catch_warnings():
            # Keras only warns of some layers that it leaves as they were.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        reason = textwrap.shorten(str(error), 300)
        raise InputError(
            f"{path}: does not hold the weights of {base} without top ({reason}); "
            f"expected {wanted.name} from {wanted.url}"
        ) from error


def normalise_random_base(model: keras.Model, images: np.ndarray) -> None:
    """Give a base of random weights the batch-norm statistics that fit its own activations.

    Ours: with their initial statistics frozen batch norms pass everything on as it is, and random
    weights shrink it from layer to layer: the features of MobileNetV2 end at 1e-11, of which no
    head can learn anything. One pass over unlabelled images sets each mean and variance.

    Args:
        model: what `build_transfer` returned, with random weights.
        images: float32 (n, height, width, 3) in 0..1, as for the model; 32 or more of the training
            set, in memory at once.
    """
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not norms:  # VGG16
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.trainable, norm.momentum = True, 0.0
    _base_of(model)(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.trainable, norm.momentum = False, momentum


def _base_of(model: keras.Model) -> keras.Model:
    """The part of a transfer model before its head, sharing its layers."""
    first_of_head = next(layer for layer in model.layers if layer.name.startswith("head_"))
    return keras.Model(model.input, first_of_head.input)


def is_published(base: str, side: int, source: str | Path) -> bool:
    """Whether a source is the file of keras.applications, by checksum or else by its name."""
    wanted = weight_file(base, side)
    path = Path(source) / wanted.name if Path(source).is_dir() else Path(source)
    return path.is_file() and path.name == wanted.name and _is_whole(path, wanted)


def digest_of(base: str, side: int, source: str | Path) -> str:
    """SHA-256 of the file that `source`, a file or a folder, is or holds for a network.

    Raises:
        InputError: there is none.
    """
    return remembered_sha256(_given(base, weight_file(base, side), Path(source)))


def _given(base: str, wanted: WeightFile, source: Path) -> Path:
    """The weight file that `source` names or holds."""
    path = source / wanted.name if source.is_dir() else source
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; fetch the ImageNet weights of {base} from {wanted.url}, or ask "
            "for random weights with --weights random"
        )
    if path.suffix != ".h5":
        raise InputError(f"{path}: is not an .h5 weight file; expected {wanted.name}")
    return path


def _fetch(base: str, wanted: WeightFile) -> Path:
    """The weight file in Keras' own cache, downloaded if it is not there yet."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    path = Path(home) / "models" / wanted.name
    if path.exists() and _is_whole(path, wanted):
        return path
    partial = path.with_name(f".{wanted.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ask(wanted.url, _ANSWER_SECONDS)
        _download(wanted.url, partial)
        if not _is_whole(partial, wanted):
            raise OSError(f"it arrived damaged: its MD5 is not {wanted.md5}")
        return partial.replace(path)
    except NETWORK_ERRORS as error:
        reason = textwrap.shorten(str(getattr(error, "reason", error)), 300)
        raise InputError(
            f"ImageNet weights of {base} cannot be fetched ({reason}); fetch {wanted.name} from "
            f"{wanted.url} on another machine and pass --weights FOLDER, or ask for random weights "
            "with --weights random"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _download(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_READ_SECONDS) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length", 0)) or None
        name = url.rsplit("/", 1)[1]
        with tqdm.wrapattr(response, "read", total=total, desc=name, disable=None) as body:
            shutil.copyfileobj(body, file)
    if total and path.stat().st_size != total:  # a lost connection looks like the end of the file
        raise OSError(f"{path.stat().st_size} of {total} bytes arrived")


def _is_whole(path: Path, wanted: WeightFile) -> bool:
    if not wanted.md5:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == wanted.md5
