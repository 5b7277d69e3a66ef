"""ImageNet weights for the backbones: fetched, or from files given.

The authors' 2021 code loads torchvision's weights of that time, which torchvision calls
IMAGENET1K_V1 today; what it loads by default today (V2) scores 3 to 4 points higher on ImageNet.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
from huggingface_hub.errors import HTTPError  # the base error of its HTTP library

from preprocessing.errors import InputError
from preprocessing.store import file_sha256, remembered_sha256
from replication.download import ask
from replication.weight_files import read_tensors, shorten

if TYPE_CHECKING:  # files are read and converted without Keras, which takes seconds to start
    import keras

IMAGENET, RANDOM = "imagenet", "random"
# What the weights were learnt with: (mean, standard deviation) that images in 0..1 were scaled by.
# Inception's come from TensorFlow, which scales to -1..1; torchvision's `transform_input` turns the
# others' scaling into that one.
IMAGENET_SCALING = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION_SCALING = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_HUB_FILE = "model.safetensors"
# Seconds to wait for the server's first answer.
_ANSWER_SECONDS = 10
_NETWORK_ERRORS = (OSError, HTTPError)


@dataclass(frozen=True)
class InitialWeights:
    """What a backbone starts from, for the record.

    Attributes:
        file: name of the weight file; "random" without one.
        sha256: of the file; "" without one.
        is_v1: whether it is one that is published as IMAGENET1K_V1, the weights of 2021.
    """

    file: str = RANDOM
    sha256: str = ""
    is_v1: bool = False

    def __str__(self) -> str:
        if not self.sha256:
            return self.file
        year = "IMAGENET1K_V1" if self.is_v1 else "not known as IMAGENET1K_V1"
        return f"{self.file}, SHA-256 {self.sha256}, {year}"


@dataclass(frozen=True)
class Published:
    """Where the V1 weights of a network are.

    Entries on the Hub bear torchvision's names: timm, whose files these are, took its networks from
    there. The file is pinned by its SHA-256, or by the commit where the digest is not known.
    """

    torch_files: tuple[str, ...]
    repository: str
    sha256: str = ""
    revision: str = "main"


# Ours: the names inside the files are those of timm's code, which builds the four networks with
# torchvision's module names; the files themselves could not be opened when this was written. One
# that differs is refused with the entries that do.
PUBLISHED = {
    "resnext50_32x4d": Published(
        ("resnext50_32x4d-7cdf4587.pth",),
        "timm/resnext50_32x4d.tv_in1k",
        sha256="c0d85cba49c0e9dedbcf6d4e572e2c5ea5eb68e9d64d0564811fd54d4f72939a",
    ),
    "densenet161": Published(
        ("densenet161-8d451a50.pth",),
        "timm/densenet161.tv_in1k",
        revision="359c7ecf29a2da61381f4725fe59889ca80ad29b",
    ),
    # torchvision wrote Inception's file anew in May 2021, with the same values.
    "inception_v3": Published(
        ("inception_v3_google-1a9a5a14.pth", "inception_v3_google-0cc3c7bd.pth"),
        "timm/inception_v3.tv_in1k",
        sha256="9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
    ),
    "wide_resnet50_2": Published(
        ("wide_resnet50_2-95faca4d.pth",),
        "timm/wide_resnet50_2.tv_in1k",
        sha256="df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c",
    ),
}


def load_imagenet(model: "keras.Model", name: str, source: str | Path) -> InitialWeights:
    """Load ImageNet weights into the backbone of a model; other layers stay.

    The weights were learnt on images in 0..1 less a mean and over a standard deviation by channel:
    `IMAGENET_SCALING`, and `INCEPTION_SCALING` for inception_v3. The study feeds 0..1. Released: so
    does the authors' later code for CT; the paper states no scaling. Ours: without torchvision's
    `transform_input` for inception_v3, which that code has by default and which expects the
    other scaling; training starts from an input of other offset and contrast by channel.

    Args:
        model: what `build_backbone(name, ...)` returned, without classes or with 1,000, or a flat
            model on top of it.
        name: of the backbone.
        source: "imagenet" fetches the 2021 weights from the Hugging Face Hub, once; else a
            .safetensors, .pth or .pt file with torchvision's names, or a folder that holds
            `<name>.safetensors` or torchvision's file under its own name.

    Returns:
        Which weights they are, for the record.

    Raises:
        ValueError: an unknown name.
        InputError: the file cannot be fetched, is not there, is damaged, or does not fit the model.
    """
    from cnr_iemn.backbones import load_torchvision_weights

    if name not in PUBLISHED:
        raise ValueError(f"name must be one of {', '.join(PUBLISHED)}, not {name!r}")
    path = _fetch(name) if source == IMAGENET else _given(name, Path(source))
    try:
        load_torchvision_weights(model, read_tensors(path, PUBLISHED[name].torch_files))
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: {reason}") from error
    digest = file_sha256(path)
    return InitialWeights(path.name, digest, _is_v1(name, path, digest, source))


def digest_of(name: str, source: str | Path) -> str:
    """SHA-256 of the file that `source`, a file or a folder, is or holds for a network.

    Raises:
        InputError: there is none.
    """
    return remembered_sha256(_given(name, Path(source)))


def _given(name: str, source: Path) -> Path:
    """The weight file that `source` names or holds."""
    if not source.is_dir():
        if source.is_file():
            return source
        raise InputError(f"{source}: no such file; {_elsewhere(name)}")
    names = (f"{name}.safetensors", *PUBLISHED[name].torch_files)
    for candidate in names:
        if (source / candidate).is_file():
            return source / candidate
    raise InputError(f"{source}: holds none of {', '.join(names)}; {_elsewhere(name)}")


def _fetch(name: str) -> Path:
    """The weight file in the Hub's own cache, downloaded if it is not there yet."""
    wanted = PUBLISHED[name]
    place = {
        "repo_id": wanted.repository,
        "filename": _HUB_FILE,
        "revision": wanted.revision,
    }
    cached = huggingface_hub.try_to_load_from_cache(**place)
    if isinstance(cached, str) and _is_whole(Path(cached), wanted):
        return Path(cached)
    try:
        # The Hub's own client tries again for half a minute, with a line for each.
        ask(huggingface_hub.hf_hub_url(**place), _ANSWER_SECONDS)
        path = Path(
            huggingface_hub.hf_hub_download(**place, force_download=isinstance(cached, str))
        )
        if not _is_whole(path, wanted):
            raise OSError(f"it arrived damaged or was replaced: its SHA-256 is not {wanted.sha256}")
    except _NETWORK_ERRORS as error:
        reason = shorten(getattr(error, "reason", error))
        raise InputError(
            f"ImageNet weights of {name} cannot be fetched ({reason}); {_elsewhere(name)}"
        ) from error
    return path


def _elsewhere(name: str) -> str:
    """What to do without the file."""
    wanted = PUBLISHED[name]
    return (
        f"fetch {_HUB_FILE} of https://huggingface.co/{wanted.repository} on another machine, save "
        f"it as {name}.safetensors and pass --weights FOLDER, or ask for random weights with "
        "--weights random"
    )


def _is_whole(path: Path, wanted: Published) -> bool:
    return not wanted.sha256 or file_sha256(path) == wanted.sha256


def _is_v1(name: str, path: Path, digest: str, source: str | Path) -> bool:
    """Whether a file is one that is published as IMAGENET1K_V1."""
    wanted = PUBLISHED[name]
    fetched_by_commit = source == IMAGENET and not wanted.sha256
    return digest == wanted.sha256 or path.name in wanted.torch_files or fetched_by_commit
