"""Files of named tensors, .safetensors and PyTorch's: read, converted, loaded into Keras."""

import errno
import importlib
import textwrap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from preprocessing.errors import InputError
from preprocessing.store import file_sha256

TORCH_SUFFIXES = (".pth", ".pt")


def read_tensors(path: str | Path, published: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The named tensors of a .safetensors, .pth or .pt file, in memory.

    PyTorch files are read with `weights_only=True`, which runs no code of theirs.

    Args:
        path: of the file.
        published: names of files that end with the first digits of their SHA-256, as torchvision's
            do. A file of such a name is checked; other names may end with a date or a commit.

    Raises:
        InputError: not such a file, damaged, no mapping of names to tensors, or PyTorch is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .safetensors, .pth or .pt file")
    if path.name in published:
        _check_name(path)
    if path.suffix in TORCH_SUFFIXES:
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


def load_entries(
    entries: Mapping[str, tuple[Any, tuple[int, ...]]],
    state: Mapping[str, np.ndarray],
    network: str,
    is_spare: Callable[[str], bool],
) -> None:
    """Give variables of Keras their values from a PyTorch network's state, all or none.

    Args:
        entries: name in the state: (variable, axes of the entry in the variable's order).
        state: names to arrays in torch's layout.
        network: whose state is expected, for the message.
        is_spare: whether an entry of the state that no variable takes may be ignored.

    Raises:
        InputError: an entry is missing, has another shape, or belongs to no variable.
    """
    missing = [name for name in entries if name not in state]
    unexpected = [name for name in state if name not in entries and not is_spare(name)]
    for names, what in ((missing, "lack"), (unexpected, "have no place in the model for")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"the weights {what} {', '.join(names[:3])}{more}; expected those of {network}"
            )
    values = {}
    for name, (variable, axes) in entries.items():
        value = np.asarray(state[name])
        shape = tuple(variable.shape[axes.index(axis)] for axis in range(len(axes)))
        if value.shape != shape:
            raise InputError(f"{name} has shape {value.shape}; the model expects {shape}")
        values[name] = value.transpose(axes)
    for name, (variable, _) in entries.items():
        variable.assign(values[name])


def shorten(error: object) -> str:
    """What an error says, on one line."""
    return textwrap.shorten(str(error), 300) or type(error).__name__


def _check_name(path: Path) -> None:
    digest, named = file_sha256(path), path.stem.rpartition("-")[2]
    if not digest.startswith(named):
        raise InputError(
            f"{path}: is damaged: its SHA-256 starts with {digest[:8]}, its name says {named}; "
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
    except MemoryError:
        raise
    except Exception as error:  # of any kind: PyTorch interprets whatever the file says
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a place before 0 is
            raise
        # What it says of such files is long, and advises to run the code in them.
        raise InputError(
            f"{path}: is damaged, or no PyTorch file of tensors alone; fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(x) for x in state.values()):
        raise InputError(
            f"{path}: expected a mapping of names to tensors, as torchvision's files are"
        )
    return {name: tensor.detach().numpy() for name, tensor in state.items()}
