"""ImageNet weights for the backbones: fetched, from files given, or converted once.

The authors' 2021 code loads torchvision's weights of that time, which torchvision calls
IMAGENET1K_V1 today; what it loads by default today (V2) scores 3 to 4 points higher on ImageNet.
"""

import hashlib
import importlib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
import numpy as np
import safetensors
import safetensors.numpy
from huggingface_hub.errors import HTTPError  # the base error of its HTTP library

from preprocessing.errors import InputError
from replication.download import ask

if TYPE_CHECKING:  # files are read and converted without Keras, which takes seconds to start
    import keras

IMAGENET = "imagenet"
# What the weights were learnt with: (mean, standard deviation) that images in 0..1 were scaled by.
# Inception's come from TensorFlow, which scales to -1..1; torchvision's `transform_input` turns the
# others' scaling into that one.
IMAGENET_SCALING = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION_SCALING = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_HUB_FILE = "model.safetensors"
_TORCH_SUFFIXES = (".pth", ".pt")
# torchvision's file names end with the first digits of the SHA-256.
_NAMED_DIGEST = re.compile(r"-([0-9a-f]{8})$")
# Seconds to wait for the server's first answer.
_ANSWER_SECONDS = 10
_NETWORK_ERRORS = (OSError, HTTPError)


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


def load_imagenet(model: "keras.Model", name: str, source: str | Path) -> str:
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
        Which weights they are, for the record: file, SHA-256, and whether they are those of 2021.

    Raises:
        ValueError: an unknown name.
        InputError: the file cannot be fetched, is not there, is damaged, or does not fit the model.
    """
    from cnr_iemn.backbones import load_torchvision_weights

    if name not in PUBLISHED:
        raise ValueError(f"name must be one of {', '.join(PUBLISHED)}, not {name!r}")
    path = _fetch(name) if source == IMAGENET else _given(name, Path(source))
    digest = _sha256(path)
    named = _NAMED_DIGEST.search(path.stem)
    if named and not digest.startswith(named[1]):
        raise InputError(
            f"{path}: is damaged: its SHA-256 starts with {digest[:8]}, its name says {named[1]}; "
            "fetch it again"
        )
    try:
        load_torchvision_weights(model, read_tensors(path))
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: {reason}") from error
    year = "IMAGENET1K_V1" if _is_v1(name, path, digest, source) else "not known as IMAGENET1K_V1"
    return f"{path.name}, SHA-256 {digest}, {year}"


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The named tensors of a .safetensors, .pth or .pt file, in memory.

    PyTorch files are read with `weights_only=True`, which runs no code of theirs.

    Raises:
        InputError: not such a file, damaged, no mapping of names to tensors, or PyTorch is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .safetensors, .pth or .pt file")
    if path.suffix in _TORCH_SUFFIXES:
        return _read_torch(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: is not a weight file; expected .safetensors, .pth or .pt")
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({_short(error)}); fetch it again") from error


def convert_to_safetensors(source: str | Path, target: str | Path) -> None:
    """Write the tensors of a PyTorch file as .safetensors, whole or not at all.

    Args:
        source: .pth or .pt file that holds a mapping of names to tensors, of any network.
        target: .safetensors file to write; one of that name is replaced.

    Raises:
        InputError: as `read_tensors`, or the target is no .safetensors file.
    """
    target = Path(target)
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: expected a file name that ends with .safetensors")
    # Tensors may share or skip memory; what is written may not.
    tensors = {name: np.array(value, order="C") for name, value in read_tensors(source).items()}
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(safetensors.numpy.save(tensors))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(
            f"{path}: PyTorch files need the extra `torch` (pip install -e .[torch]); or convert "
            "it where PyTorch is: python scripts/convert_weights.py FILE.pth OUT.safetensors"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of any kind: PyTorch interprets whatever the file says
        # What it says of such files is long, and advises to run the code in them.
        raise InputError(
            f"{path}: is damaged, or no PyTorch file of tensors alone; fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(x) for x in state.values()):
        raise InputError(
            f"{path}: expected a mapping of names to tensors, as torchvision's files are"
        )
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


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
        reason = _short(getattr(error, "reason", error))
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
    return not wanted.sha256 or _sha256(path) == wanted.sha256


def _is_v1(name: str, path: Path, digest: str, source: str | Path) -> bool:
    """Whether a file is one that is published as IMAGENET1K_V1."""
    wanted = PUBLISHED[name]
    fetched_by_commit = source == IMAGENET and not wanted.sha256
    return digest == wanted.sha256 or path.name in wanted.torch_files or fetched_by_commit


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(error: object) -> str:
    """What an error says, on one line."""
    return textwrap.shorten(str(error), 300) or type(error).__name__
