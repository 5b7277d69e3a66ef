"""A slice network: a backbone with the class head, and in the multi-task scenario a second one."""

import keras
from keras import layers

# Ours: what is added to the features is scaled to about 0..1, where they lie themselves: the
# number of slices in two hundreds (no labelled scan has more), the location from head to foot.
SLICES_SCALE = 200


def build_slice_network(backbone: keras.Model, classes: int, regions: int = 0) -> keras.Model:
    """Put the heads of CNR-IEMN on a backbone (section 3.3.1, Figure 4).

    Input: float32 images (batch, height, width, 3) in 0..1. With `regions` a second input
    `position`, float32 (batch, 2): number of slices of the scan / 200, location of the slice in it
    (0 head, 1 foot); both are joined to the backbone's features, and there are two outputs.

    Args:
        backbone: of `build_backbone` without classes: pooled features.
        classes: of the first task.
        regions: of the second task, or 0 for one task alone (Tables 1 to 3).

    Returns:
        Model with softmax output `class` (batch, classes), or a dict of that and `region` (batch,
        regions). Parameters: the backbone's plus (features + 1) classes, or with two tasks
        (features + 3)(classes + regions).
    """
    features = backbone.output
    if not regions:
        return keras.Model(backbone.input, _softmax(features, classes, "class"), name=backbone.name)
    position = keras.Input((2,), name="position")
    # Ours: joined, with no layer in between. Section 3.3.1 says that both are added "into the deep
    # features (FC layer)", not how.
    joined = layers.Concatenate(name="join")([features, position])  # (B, features + 2)
    outputs = {
        "class": _softmax(joined, classes, "class"),
        "region": _softmax(joined, regions, "region"),
    }
    return keras.Model([backbone.input, position], outputs, name=backbone.name)


def _softmax(features, units: int, name: str):
    """A fully connected layer; Paper: section 3.3.1: initialised from a uniform distribution.

    Released: the bounds are those of the library that the paper used, +-1 / sqrt(inputs), which
    are a variance of 1 / (3 inputs). Ours: the bias starts at zero.
    """
    uniform = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    # Softmax in float32, also where the network computes in half precision.
    return layers.Dense(
        units, activation="softmax", kernel_initializer=uniform, name=name, dtype="float32"
    )(features)
