"""RAFT's feature encoder and context encoder: residual networks to an eighth of the size.

Teed & Deng 2020, section 3.1 and appendix A. Released: layers, order, padding and constants are
torchvision's; layers with weights bear the names of its state dict.
"""

import math

import keras
from keras import layers

STRIDES = (1, 2, 2)  # of the three stages; the stem has 2
BLOCKS_A_STAGE = 2
EPSILON = 1e-5
# The weight of the old average, which torch calls 1 - momentum. Torch averages the variance of a
# sample, n / (n - 1) times Keras' of the population; evaluation of loaded weights is the same.
MOMENTUM = 0.9
# variant: (filters of the stem and the three stages, whether blocks are bottlenecks)
WIDTHS = {
    "small": ((32, 32, 64, 96), True),
    "large": ((64, 64, 96, 128), False),
}


def encode(image, variant: str, name: str, filters: int, norm: str | None):
    """Feature maps of images at an eighth of their size.

    Args:
        image: Keras tensor (batch, height, width, 3), sides divisible by 8.
        variant: "small" or "large".
        name: the torchvision module, "feature_encoder" or "context_encoder"; starts layers' names.
        filters: of the last convolution.
        norm: "instance" (each image's own mean and variance, no weights), "batch" or None.

    Returns:
        Keras tensor (batch, height / 8, width / 8, filters).
    """
    (stem, *stages), bottleneck = WIDTHS[variant]
    add_block = _bottleneck_block if bottleneck else _basic_block
    # Comments give shapes of the large variant for images of (128, 128, 3).
    x = _conv_norm(image, stem, 7, f"{name}.convnormrelu", norm, stride=2)  # (B, 64, 64, 64)
    for stage, (width, stride) in enumerate(zip(stages, STRIDES, strict=True), start=1):
        for block in range(BLOCKS_A_STAGE):
            x = add_block(x, width, f"{name}.layer{stage}.{block}", norm, 1 if block else stride)
    return _conv(x, filters, 1, f"{name}.conv")  # (B, 16, 16, 128) -> (B, 16, 16, 256)


def _basic_block(x, filters, name, norm, stride):
    """Two 3x3 convolutions, each with norm and ReLU, added to the shortcut, ReLU."""
    y = _conv_norm(x, filters, 3, f"{name}.convnormrelu1", norm, stride)
    y = _conv_norm(y, filters, 3, f"{name}.convnormrelu2", norm)
    return _add(x, y, name, norm, stride)


def _bottleneck_block(x, filters, name, norm, stride):
    """1x1, 3x3 and 1x1 convolution to a quarter of the filters and back, added as above."""
    y = _conv_norm(x, filters // 4, 1, f"{name}.convnormrelu1", norm)
    y = _conv_norm(y, filters // 4, 3, f"{name}.convnormrelu2", norm, stride)
    y = _conv_norm(y, filters, 1, f"{name}.convnormrelu3", norm)
    return _add(x, y, name, norm, stride)


def _add(x, y, name, norm, stride):
    """The sum with the block's input, projected where the size changes, then ReLU."""
    if stride > 1:
        x = _conv_norm(x, y.shape[-1], 1, f"{name}.downsample", norm, stride, relu=False)
    x = layers.Add(name=f"{name}.add")([x, y])
    return layers.ReLU(name=f"{name}.relu")(x)


def _conv_norm(x, filters, kernel, name, norm, stride=1, relu=True):
    x = _conv(x, filters, kernel, f"{name}.0", stride)
    if norm == "batch":
        x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}.1")(x)
    elif norm == "instance":
        x = layers.GroupNormalization(
            groups=-1, epsilon=EPSILON, center=False, scale=False, name=f"{name}.1"
        )(x)
    return layers.ReLU(name=f"{name}.2")(x) if relu else x


def _conv(x, filters, kernel, name, stride=1):
    """A convolution with bias, padded alike on both sides as torch does."""
    if kernel > 1 and stride > 1:  # Keras pads one side more
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    limit = 1 / math.sqrt(kernel * kernel * x.shape[-1])  # of torch's uniform start of biases
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        # Released: torchvision draws kernels of the encoders from N(0, 2 / fan out).
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
    )(x)
