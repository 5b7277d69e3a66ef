"""The backbones with fewer channels, for machines and cohorts that the published ones are too big
for."""

import math

import keras


def narrow_backbone(model: keras.Model, width: float) -> keras.Model:
    """The same network with a share of the channels in each convolution, with random weights.

    Ours: of ResNeXt-50 a quarter has 8 groups of 4 channels instead of 32, hence "8x4d". Depth,
    strides, padding and constants stay, so the maps keep their sizes.

    Args:
        model: of `build_backbone` without classes.
        width: share of the channels, more than 0 and at most 1.

    Returns:
        An uncompiled model with round(width * features) features.

    Raises:
        ValueError: some layer would have no channel, or groups that do not divide its channels.
    """

    def narrowed(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        for name in ("filters", "groups"):
            if name in config and config[name] > 1:
                config[name] = _scaled(config[name], width, layer.name)
        return layer.__class__.from_config(config)

    return keras.models.clone_model(model, clone_function=narrowed)


def _scaled(count: int, width: float, name: str) -> int:
    scaled = round(count * width)
    if scaled < 1 or not math.isclose(scaled, count * width):
        raise ValueError(
            f"a width of {width:g} leaves {count * width:g} of {count} channels in {name}"
        )
    return scaled
