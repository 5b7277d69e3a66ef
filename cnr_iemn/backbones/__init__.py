"""The four slice networks of the paper, in the form of torchvision, whose weights they take."""

from collections.abc import Mapping

import keras
import numpy as np

from cnr_iemn.backbones.densenet import build_densenet161
from cnr_iemn.backbones.grouped import GroupedConv2D
from cnr_iemn.backbones.inception import MINIMUM_SIDE as INCEPTION_SIDE
from cnr_iemn.backbones.inception import build_inception_v3
from cnr_iemn.backbones.narrow import narrow_backbone
from cnr_iemn.backbones.resnet import build_resnet
from cnr_iemn.backbones.torchvision import load_torchvision_weights

__all__ = ["BACKBONES", "GroupedConv2D", "build_backbone", "load_torchvision_weights"]

# Paper: section 3.3. name: (features, smallest side in px). Ours: 32 px, where the last map of the
# other three is 1x1, as keras.applications asks.
BACKBONES = {
    "resnext50_32x4d": (2048, 32),
    "densenet161": (2208, 32),
    "inception_v3": (2048, INCEPTION_SIDE),
    "wide_resnet50_2": (2048, 32),
}


def build_backbone(
    name: str,
    input_shape: tuple[int | None, int | None, int],
    weights: Mapping[str, np.ndarray] | None = None,
    classes: int | None = None,
    width: float = 1.0,
) -> keras.Model:
    """A slice network from images to its pooled features, or to logits.

    The model is flat, so that Grad-CAM reaches its layers. Layers with weights bear the names of
    torchvision's modules; the last is "avgpool" without classes, "fc" or "classifier" with them.

    Args:
        name: "resnext50_32x4d", "densenet161", "inception_v3" or "wide_resnet50_2".
        input_shape: (height, width, channels); height and width at least 32 px, 75 for
            inception_v3, or None for any.
        weights: torchvision's names to arrays, as `load_torchvision_weights` takes them (files and
            ImageNet weights: `cnr_iemn.weights`); None for random ones drawn as torchvision does.
        classes: number of logits; None for features.
        width: share of the channels that each convolution has, for random weights without classes
            (`narrow_backbone`); 1 is the published network.

    Returns:
        An uncompiled model: float32 images (batch, height, width, channels) to features (batch,
        2048), for densenet161 (batch, 2208), or to logits (batch, classes). Logits are float32 also
        under mixed precision.

    Raises:
        ValueError: an unknown name, or an input shape that the network cannot take.
        InputError: weights that do not fit.
    """
    if name not in BACKBONES:
        raise ValueError(f"name must be one of {', '.join(BACKBONES)}, not {name!r}")
    side = BACKBONES[name][1]
    if len(input_shape) != 3 or not input_shape[2]:
        raise ValueError(f"input_shape must be (height, width, channels), not {input_shape}")
    if any(size is not None and size < side for size in input_shape[:2]):
        raise ValueError(f"{name} takes images of {side} px or more, not {input_shape}")
    if name == "densenet161":
        model = build_densenet161(input_shape, classes)
    elif name == "inception_v3":
        model = build_inception_v3(input_shape, classes)
    else:
        model = build_resnet(name, input_shape, classes, grouped_conv=GroupedConv2D)
    if width != 1:
        if weights is not None or classes is not None:
            raise ValueError("a narrower network has random weights and no classes")
        return narrow_backbone(model, width)
    if weights is not None:
        load_torchvision_weights(model, weights)
    return model
