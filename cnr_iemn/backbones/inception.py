"""Inception-v3 in torchvision's form, without its auxiliary head.

Paper: section 3.3 takes it as it is, with weights learnt on ImageNet. Released: layers, order,
padding and constants are torchvision's, which the authors' code loads; layers with weights bear the
names of its state dict.

It is not `keras.applications.InceptionV3`: batch norms have a scale, convolutions of stride 1 are
padded by zeros that the average pooling of a branch counts, and Keras' does not count them.
"""

import math

import keras
from keras import layers

MINIMUM_SIDE = 75  # below it the maps vanish in Mixed_7a
EPSILON, MOMENTUM = 1e-3, 0.9  # torch writes the momentum as 1 - 0.9
DROPOUT = 0.5


def build_inception_v3(
    input_shape: tuple[int | None, int | None, int], classes: int | None = None
) -> keras.Model:
    """Inception-v3, a network of parallel branches of factorised convolutions.

    Parameters with 1,000 classes: 23,834,568 trainable, and 34,432 moving statistics of batch norm.
    torchvision counts 27,161,264, with the auxiliary head.

    Args:
        input_shape: (height, width, channels), 75 px at least; the weights were learnt at 299 px.
        classes: logits, after dropout of one half; None ends the model at the pooled features.

    Returns:
        An uncompiled model: float32 images (batch, height, width, channels) to pooled features
        (batch, 2048), or to logits (batch, classes).
    """
    # Comments give shapes for (299, 299, 3).
    images = keras.Input(input_shape, name="images")
    x = _conv(images, 32, 3, "Conv2d_1a_3x3", stride=2)  # (B, 149, 149, 32)
    x = _conv(x, 32, 3, "Conv2d_2a_3x3")  # (B, 147, 147, 32)
    x = _conv(x, 64, 3, "Conv2d_2b_3x3", padding=1)
    x = layers.MaxPooling2D(3, strides=2, name="maxpool1")(x)  # (B, 73, 73, 64)
    x = _conv(x, 80, 1, "Conv2d_3b_1x1")
    x = _conv(x, 192, 3, "Conv2d_4a_3x3")  # (B, 71, 71, 192)
    x = layers.MaxPooling2D(3, strides=2, name="maxpool2")(x)  # (B, 35, 35, 192)
    for block, pool_filters in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _block_a(x, block, pool_filters)  # the last: (B, 35, 35, 288)
    x = _block_b(x, "Mixed_6a")  # (B, 17, 17, 768)
    widths = {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}
    for block, width in widths.items():
        x = _block_c(x, block, width)
    # Ours: no auxiliary head (`AuxLogits`, here). The paper does not mention it and has two heads
    # of its own. Released: the authors' later code for CT leaves its output out of the loss.
    x = _block_d(x, "Mixed_7a")  # (B, 8, 8, 1280)
    x = _block_e(_block_e(x, "Mixed_7b"), "Mixed_7c")  # (B, 8, 8, 2048)
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)  # (B, 2048)
    if classes is not None:
        x = layers.Dropout(DROPOUT, name="dropout")(x)
        limit = 1 / math.sqrt(x.shape[-1])  # of torch's uniform start of biases
        x = layers.Dense(
            classes,
            kernel_initializer=_initializer(),
            bias_initializer=keras.initializers.RandomUniform(-limit, limit),
            dtype="float32",  # logits stay float32 under mixed precision
            name="fc",
        )(x)
    return keras.Model(images, x, name="inception_v3")


def _block_a(x, name, pool_filters):
    """1x1; 1x1-5x5; 1x1-3x3-3x3; average pooling-1x1."""
    one = _conv(x, 64, 1, f"{name}.branch1x1")
    five = _conv(x, 48, 1, f"{name}.branch5x5_1")
    five = _conv(five, 64, 5, f"{name}.branch5x5_2", padding=2)
    three = _conv(x, 64, 1, f"{name}.branch3x3dbl_1")
    three = _conv(three, 96, 3, f"{name}.branch3x3dbl_2", padding=1)
    three = _conv(three, 96, 3, f"{name}.branch3x3dbl_3", padding=1)
    return _join(name, one, five, three, _pool_branch(x, name, pool_filters))


def _block_b(x, name):
    """Halves height and width: 3x3; 1x1-3x3-3x3; maximum pooling."""
    three = _conv(x, 384, 3, f"{name}.branch3x3", stride=2)
    double = _conv(x, 64, 1, f"{name}.branch3x3dbl_1")
    double = _conv(double, 96, 3, f"{name}.branch3x3dbl_2", padding=1)
    double = _conv(double, 96, 3, f"{name}.branch3x3dbl_3", stride=2)
    pool = layers.MaxPooling2D(3, strides=2, name=f"{name}.branch_pool")(x)
    return _join(name, three, double, pool)


def _block_c(x, name, width):
    """1x1; 1x1-1x7-7x1; 1x1-7x1-1x7-7x1-1x7; average pooling-1x1."""
    across, down = ((1, 7), (0, 3)), ((7, 1), (3, 0))
    one = _conv(x, 192, 1, f"{name}.branch1x1")
    seven = _conv(x, width, 1, f"{name}.branch7x7_1")
    double = _conv(x, width, 1, f"{name}.branch7x7dbl_1")
    for part, filters, (kernel, padding) in ((2, width, across), (3, 192, down)):
        seven = _conv(seven, filters, kernel, f"{name}.branch7x7_{part}", padding=padding)
    for part, (kernel, padding) in enumerate((down, across, down, across), 2):
        filters = 192 if part == 5 else width
        double = _conv(double, filters, kernel, f"{name}.branch7x7dbl_{part}", padding=padding)
    return _join(name, one, seven, double, _pool_branch(x, name, 192))


def _block_d(x, name):
    """Halves height and width: 1x1-3x3; 1x1-1x7-7x1-3x3; maximum pooling."""
    three = _conv(x, 192, 1, f"{name}.branch3x3_1")
    three = _conv(three, 320, 3, f"{name}.branch3x3_2", stride=2)
    seven = _conv(x, 192, 1, f"{name}.branch7x7x3_1")
    seven = _conv(seven, 192, (1, 7), f"{name}.branch7x7x3_2", padding=(0, 3))
    seven = _conv(seven, 192, (7, 1), f"{name}.branch7x7x3_3", padding=(3, 0))
    seven = _conv(seven, 192, 3, f"{name}.branch7x7x3_4", stride=2)
    pool = layers.MaxPooling2D(3, strides=2, name=f"{name}.branch_pool")(x)
    return _join(name, three, seven, pool)


def _block_e(x, name):
    """1x1; 1x1 to 1x3 and 3x1; 1x1-3x3 to 1x3 and 3x1; average pooling-1x1."""
    one = _conv(x, 320, 1, f"{name}.branch1x1")
    single = _conv(x, 384, 1, f"{name}.branch3x3_1")
    double = _conv(x, 448, 1, f"{name}.branch3x3dbl_1")
    double = _conv(double, 384, 3, f"{name}.branch3x3dbl_2", padding=1)
    ends = [
        _conv(branch, 384, kernel, f"{name}.{layer}{side}", padding=padding)
        for branch, layer in ((single, "branch3x3_2"), (double, "branch3x3dbl_3"))
        for side, kernel, padding in (("a", (1, 3), (0, 1)), ("b", (3, 1), (1, 0)))
    ]
    return _join(name, one, *ends, _pool_branch(x, name, 192))


def _join(name, *branches):
    return layers.Concatenate(name=f"{name}.concat")(list(branches))


def _pool_branch(x, name, filters):
    """Average pooling of 3x3 that counts the zeros of its padding, then a 1x1 convolution."""
    x = layers.ZeroPadding2D(1, name=f"{name}.avgpool_pad")(x)
    x = layers.AveragePooling2D(3, strides=1, name=f"{name}.avgpool")(x)
    return _conv(x, filters, 1, f"{name}.branch_pool")


def _conv(x, filters, kernel, name, stride=1, padding=0):
    """Convolution without bias, batch norm, ReLU."""
    if padding != 0:
        x = layers.ZeroPadding2D(padding, name=f"{name}.conv_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        use_bias=False,
        kernel_initializer=_initializer(),
        name=f"{name}.conv",
    )(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}.bn")(x)
    return layers.ReLU(name=f"{name}.relu")(x)


def _initializer():
    # torchvision cuts N(0, 0.1) off at 20 standard deviations: a plain normal.
    return keras.initializers.RandomNormal(stddev=0.1)
