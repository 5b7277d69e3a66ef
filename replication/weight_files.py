"""Files of named tensors: .safetensors and PyTorch's, read, checked and converted."""

import hashlib
import importlib
import re
import textwrap
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from preprocessing.errors import InputError

TORCH_SUFFIXES = (".pth", ".pt")
_NAMED_DIGEST = re.compile(r"-([0-9a-f]{8})$")


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The named tensors of a .safetensors, .pth or .pt file, in memory.

    PyTorch files are read with `weights_only=True`, which runs no code of theirs. If their name
    ends with digits of a SHA-256, as those of torchvision do, it must be theirs.

    Raises:
        InputError: not such a file, damaged, no mapping of names to tensors, or PyTorch is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .safetensors, .pth or .pt file")
    if path.suffix in TORCH_SUFFIXES:
        _check_name(path)
        return _read_torch(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: is not a weight file; expected .safetensors, .pth or .pt")
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({shorten(error)}); fetch it again") from error


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


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shorten(error: object) -> str:
    """What an error says, on one line."""
    return textwrap.shorten(str(error), 300) or type(error).__name__


def _check_name(path: Path) -> None:
    digest = sha256(path)
    named = _NAMED_DIGEST.search(path.stem)
    if named and not digest.startswith(named[1]):
        raise InputError(
            f"{path}: is damaged: its SHA-256 starts with {digest[:8]}, its name says {named[1]}; "
            "fetch it again"
        )


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
