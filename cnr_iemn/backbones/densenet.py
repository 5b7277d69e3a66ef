"""DenseNet-161 in torchvision's form.

Paper: section 3.3 takes it as it is, with weights learnt on ImageNet. Released: layers, order,
padding and constants are torchvision's, which the authors' code loads; layers with weights bear the
names of its state dict.
"""

import math

import keras
from keras import layers

STEM_FILTERS, GROWTH = 96, 48
BLOCK_LAYERS = (6, 12, 36, 24)
BOTTLENECK = 4  # the 1x1 convolution of a layer gives 4 * GROWTH channels
EPSILON, MOMENTUM = 1e-5, 0.9  # torch writes the momentum as 1 - 0.9


def build_densenet161(
    input_shape: tuple[int | None, int | None, int], classes: int | None = None
) -> keras.Model:
    """A densely connected network: each layer reads the channels of all layers before it.

    Parameters with 1,000 classes: 28,681,000 trainable, and 219,936 moving statistics of batch
    norm.

    Args:
        input_shape: (height, width, channels).
        classes: logits; None ends the model at the pooled features.

    Returns:
        An uncompiled model: float32 images (batch, height, width, channels) to pooled features
        (batch, 2208), or to logits (batch, classes).
    """
    # Comments give shapes for (224, 224, 3).
    images = keras.Input(input_shape, name="images")
    x = layers.ZeroPadding2D(3, name="features.conv0_pad")(images)
    x = _conv(x, STEM_FILTERS, 7, "features.conv0", stride=2)  # (B, 112, 112, 96)
    x = _norm_relu(x, "features.norm0")
    # Torch pads with -inf; after a ReLU zeros give the same maxima.
    x = layers.ZeroPadding2D(1, name="features.pool0_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="features.pool0")(x)  # (B, 56, 56, 96)
    for block, depth in enumerate(BLOCK_LAYERS, 1):
        for layer in range(1, depth + 1):
            x = _dense_layer(x, f"features.denseblock{block}.denselayer{layer}")
        if block < len(BLOCK_LAYERS):
            x = _transition(x, f"features.transition{block}")
    x = _norm_relu(x, "features.norm5")  # (B, 7, 7, 2208)
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)  # (B, 2208)
    if classes is not None:
        limit = 1 / math.sqrt(x.shape[-1])  # of torch's uniform start of linear layers
        x = layers.Dense(
            classes,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            dtype="float32",  # logits stay float32 under mixed precision
            name="classifier",
        )(x)
    return keras.Model(images, x, name="densenet161")


def _dense_layer(x, name):
    """BN-ReLU-Conv1, BN-ReLU-Conv3, joined to what it read."""
    y = _conv(_norm_relu(x, f"{name}.norm1"), BOTTLENECK * GROWTH, 1, f"{name}.conv1")
    y = layers.ZeroPadding2D(1, name=f"{name}.conv2_pad")(_norm_relu(y, f"{name}.norm2"))
    y = _conv(y, GROWTH, 3, f"{name}.conv2")
    return layers.Concatenate(name=f"{name}.concat")([x, y])


def _transition(x, name):
    """BN-ReLU-Conv1 to half the channels, then halves height and width, rounding down."""
    x = _conv(_norm_relu(x, f"{name}.norm"), x.shape[-1] // 2, 1, f"{name}.conv")
    return layers.AveragePooling2D(2, name=f"{name}.pool")(x)


def _norm_relu(x, name):
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(x, filters, kernel, name, stride=1):
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        use_bias=False,
        # torchvision draws from N(0, 2 / fan in)
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_in", distribution="untruncated_normal"
        ),
        name=name,
    )(x)
