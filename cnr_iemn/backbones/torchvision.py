"""Weights of torchvision's networks under the names of its state dict.

A layer bears the path of the module whose weights it holds: the kernel of the layer
"layer1.0.conv1" is the entry "layer1.0.conv1.weight".
"""

import re
from collections.abc import Mapping

import keras
import numpy as np

from replication.weight_files import load_entries

# Layers that are a backbone's, by name; every other layer of a model keeps its weights.
BACKBONE_LAYER = re.compile(
    r"(conv1|bn1|layer[1-4]\..+"  # ResNets
    r"|features\..+"  # DenseNet
    r"|(Conv2d|Mixed)_\w+\..+"  # Inception
    r"|fc|classifier)"
)
_LOGITS = ("fc", "classifier")
_AUXILIARY = "AuxLogits."
_COUNTER = ".num_batches_tracked"
# The published file of DenseNet-161 says "denselayer1.norm.1" where torchvision says
# "denselayer1.norm1" today.
_OLD_DENSE_LAYER = re.compile(r"(.*\.denselayer\d+\.(?:norm|conv))\.([12])\.(\w+)")


def load_torchvision_weights(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Load the weights of a backbone, all or none.

    Entries that no backbone has a layer for are ignored where torchvision has them: counters of
    batches, Inception's auxiliary head, and the logits where the model has none.

    Args:
        model: what `build_backbone` returned, or a flat model on top of it; other layers, whose
            names are not those of torchvision's modules, stay as they are.
        state: torchvision's names to arrays in torch's layout: kernels (out, in / groups, height,
            width), dense weights (out, in).

    Raises:
        InputError: an entry is missing, has another shape, or belongs to no layer.
        ValueError: no layer of the model is a backbone's.
    """
    state = {_today(name): value for name, value in state.items()}
    expected = {
        name: (variable, axes)
        for layer in model.layers
        if layer.weights and BACKBONE_LAYER.fullmatch(layer.name)
        for name, variable, axes in _entries(layer)
    }
    if not expected:
        raise ValueError(f"{model.name} has no layer of a backbone")
    logits = {name for name in expected if name.startswith(_LOGITS)}
    load_entries(
        expected, state, f"torchvision's {model.name}", lambda name: _is_spare(name, logits)
    )


def _entries(layer: keras.Layer):
    """What a layer holds: (entry, variable, axes of the entry in the variable's order)."""
    if isinstance(layer, keras.layers.BatchNormalization):
        yield f"{layer.name}.weight", layer.gamma, (0,)
        yield f"{layer.name}.bias", layer.beta, (0,)
        yield f"{layer.name}.running_mean", layer.moving_mean, (0,)
        yield f"{layer.name}.running_var", layer.moving_variance, (0,)
        return
    axes = (1, 0) if isinstance(layer, keras.layers.Dense) else (2, 3, 1, 0)
    yield f"{layer.name}.weight", layer.kernel, axes
    if layer.use_bias:
        yield f"{layer.name}.bias", layer.bias, (0,)


def _today(name: str) -> str:
    """The name of an entry in today's torchvision."""
    return _OLD_DENSE_LAYER.sub(r"\1\2.\3", name)


def _is_spare(name: str, logits: set[str]) -> bool:
    """Whether torchvision has an entry that the model need not have."""
    if name.endswith(_COUNTER) or name.startswith(_AUXILIARY):
        return True
    return not logits and name.rpartition(".")[0] in _LOGITS
