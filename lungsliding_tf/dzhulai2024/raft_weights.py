"""RAFT with published weights: torchvision's names, and the files that hold them."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from lungsliding_tf.dzhulai2024.raft import UPDATES, build_raft
from preprocessing.errors import InputError
from replication.weight_files import load_entries, read_tensors

# Released: torchvision's default weights (C_T_SKHT_V2, C_T_V2).
PUBLISHED = {
    "small": "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
    "large": "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
}
# Keras' name of a variable: (torch's, the axes of torch's array in Keras' order)
PARTS = {
    "kernel": ("weight", (2, 3, 1, 0)),  # from (out, in, height, width)
    "bias": ("bias", (0,)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
_COUNTER = ".num_batches_tracked"  # of batch norm; evaluation does not need it
# An entry that both variants have, with other shapes.
_STEM = "feature_encoder.convnormrelu.0.weight"
_STEM_FILTERS = {32: "small", 64: "large"}


def load_raft(
    variant: str,
    weights: str | Path,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    updates: int = UPDATES,
) -> keras.Model:
    """Build RAFT and load the weights of a file.

    Args:
        variant: "small" or "large".
        weights: .safetensors file (of `scripts/convert_weights.py`), .pth or .pt file with
            torchvision's names.
        input_shape, updates: as for `build_raft`, which says what the model takes and returns.

    Raises:
        ValueError: as `build_raft`.
        InputError: the file is not there, is damaged, or holds the other variant or another
            network.
    """
    model = build_raft(variant, updates, input_shape)
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; download {PUBLISHED[variant]} and pass it, or what "
            "python scripts/convert_weights.py makes of it"
        )
    state = read_tensors(path, [Path(url).name for url in PUBLISHED.values()])
    stem = state.get(_STEM)
    found = _STEM_FILTERS.get(len(stem)) if stem is not None and stem.ndim == 4 else None
    if found not in (None, variant):
        raise InputError(
            f"{path}: holds raft_{found}, not raft_{variant}; pass {PUBLISHED[variant]} or choose "
            f"the {found} variant"
        )
    try:
        load_torchvision_weights(model, state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return model


def load_torchvision_weights(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Load the weights of torchvision's RAFT, all or none.

    Args:
        model: what `build_raft` returned.
        state: torchvision's names to arrays in torch's layout: kernels (out, in, height, width).
            Counters of batches are ignored.

    Raises:
        InputError: an entry is missing, has another shape, or belongs to no layer.
    """
    entries = dict(_entry(variable) for variable in model.weights)
    load_entries(
        entries, state, f"torchvision's {model.name}", lambda name: name.endswith(_COUNTER)
    )


def _entry(variable: keras.Variable):
    """torchvision's name for a variable, and (the variable, axes of the entry in its order)."""
    *_, layer, _ = variable.path.split("/")
    part, axes = PARTS[variable.name]
    return f"{layer}.{part}", (variable, axes)
