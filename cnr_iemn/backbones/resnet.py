"""ResNeXt-50 (32x4d) and Wide-ResNet-50-2 in torchvision's form.

Paper: section 3.3 takes both as they are, with weights learnt on ImageNet. Released: layers, order,
padding and constants are torchvision's, which the authors' code loads; layers with weights bear the
names of its state dict.
"""

import math

import keras
from keras import layers

# name: (groups of the 3x3 convolutions, channels of a group for every 64 of a stage)
VARIANTS = {"resnext50_32x4d": (32, 4), "wide_resnet50_2": (1, 128)}
STAGE_BLOCKS = (3, 4, 6, 3)
STAGE_PLANES = (64, 128, 256, 512)
EXPANSION = 4
EPSILON = 1e-5
# The weight of the old average, which torch calls 1 - momentum. Torch averages the variance of a
# sample, n / (n - 1) times Keras' of the population; evaluation of loaded weights is the same.
MOMENTUM = 0.9


def build_resnet(
    name: str,
    input_shape: tuple[int | None, int | None, int],
    classes: int | None = None,
    grouped_conv: type[layers.Conv2D] = layers.Conv2D,
) -> keras.Model:
    """A residual network of 50 layers with grouped or with wide 3x3 convolutions.

    Parameters with 1,000 classes: 25,028,904 trainable (resnext50_32x4d), 68,883,240
    (wide_resnet50_2), and 68,224 moving statistics of batch norm each.

    Args:
        name: "resnext50_32x4d" or "wide_resnet50_2".
        input_shape: (height, width, channels).
        classes: logits; None ends the model at the pooled features.
        grouped_conv: layer of the grouped convolutions, called as Conv2D.

    Returns:
        An uncompiled model: float32 images (batch, height, width, channels) to pooled features
        (batch, 2048), or to logits (batch, classes).
    """
    groups, group_width = VARIANTS[name]
    # Comments give shapes for (224, 224, 3).
    images = keras.Input(input_shape, name="images")
    x = _conv(images, 64, 7, "conv1", stride=2)  # (B, 112, 112, 64)
    x = _norm(x, "bn1", relu=True)
    # Torch pads with -inf; after a ReLU zeros give the same maxima.
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="maxpool")(x)  # (B, 56, 56, 64)
    for stage, (blocks, planes) in enumerate(zip(STAGE_BLOCKS, STAGE_PLANES, strict=True), 1):
        for block in range(blocks):
            x = _bottleneck(
                x,
                f"layer{stage}.{block}",
                width=planes * group_width // 64 * groups,
                filters=planes * EXPANSION,
                stride=2 if stage > 1 and block == 0 else 1,
                groups=groups,
                grouped_conv=grouped_conv,
            )  # the last: (B, 7, 7, 2048)
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)  # (B, 2048)
    if classes is not None:
        x = _logits(x, classes, "fc")
    return keras.Model(images, x, name=name)


def _bottleneck(x, name, width, filters, stride, groups, grouped_conv):
    """1x1, 3x3 and 1x1 convolution, added to the shortcut, ReLU; the stride is on the 3x3."""
    y = _norm(_conv(x, width, 1, f"{name}.conv1"), f"{name}.bn1", relu=True)
    y = _conv(y, width, 3, f"{name}.conv2", stride, groups, grouped_conv)
    y = _norm(y, f"{name}.bn2", relu=True)
    y = _norm(_conv(y, filters, 1, f"{name}.conv3"), f"{name}.bn3")
    if stride > 1 or x.shape[-1] != filters:
        x = _conv(x, filters, 1, f"{name}.downsample.0", stride)
        x = _norm(x, f"{name}.downsample.1")
    x = layers.Add(name=f"{name}.add")([x, y])
    return layers.ReLU(name=f"{name}.relu")(x)


def _conv(x, filters, kernel, name, stride=1, groups=1, grouped_conv=layers.Conv2D):
    """A convolution without bias, padded alike on both sides as torch does."""
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    layer = layers.Conv2D if groups == 1 else grouped_conv
    return layer(
        filters,
        kernel,
        strides=stride,
        groups=groups,
        use_bias=False,
        # torchvision draws from N(0, 2 / fan out)
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )(x)


def _norm(x, name, relu=False):
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _logits(x, classes, name):
    limit = 1 / math.sqrt(x.shape[-1])  # of torch's uniform start of linear layers
    return layers.Dense(
        classes,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        dtype="float32",  # logits stay float32 under mixed precision
        name=name,
    )(x)
