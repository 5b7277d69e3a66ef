"""CMWRU: a 3D convolutional network with residual blocks, the paper's final model.

Paper: Dzhulai 2024, section V-C and Figure 15. Released: what the figure leaves out is taken from
the authors' class of that name. Padding, batch norm and the random weights to start from are
torch's, in which the paper works.
"""

import math

import keras
from keras import layers

STEM_FILTERS = 8
# Released: kernel (3, 5, 5), no bias. The paper's text prints 680 parameters, which no such kernel
# has; 600 = 8 x 75 is what the code gives.
STEM_KERNEL = (3, 5, 5)
STAGES = ((16, 1), (32, 2), (64, 2))  # Paper: Figure 15: filters, stride in time, height and width
BLOCKS_A_STAGE = 2
DENSE_UNITS = (64, 32)
# The weight of the old average, which torch calls 1 - 0.1. Torch averages the variance of a sample,
# n / (n - 1) times Keras' of the population: for 20 clips a dense layer's is 5 % more.
MOMENTUM = 0.9
EPSILON = 1e-5


def build_cmwru(frames: int = 40, size: int = 256, dropout: float = 0.65) -> keras.Model:
    """Build the residual network that scores a clip for absent lung sliding.

    Dzhulai 2024, section V-C, Figure 15. Trainable parameters at 256 px: 38,263,561 (34 frames),
    42,457,865 (40, those of Figure 15), 50,846,473 (45, Table IV).

    Args:
        frames: of a clip; Figure 15 has 40, Table IV 45.
        size: side of a frame, px, two or more.
        dropout: of whole channels in the blocks, of units after the dense layers. Paper: Table IV.

    Returns:
        An uncompiled model: float32 clips (batch, frames, size, size, 1), of mean 0 and SD 1, to
        float32 logits (batch, 1) of absent sliding.

    Raises:
        ValueError: no frame, or a size below two.
    """
    if frames < 1 or size < 2:
        raise ValueError(f"a clip has 1 frame of 2 px or more, not {frames} of {size} px")
    # Comments give shapes for 40 frames of 256 px: (batch, frames, height, width, channels).
    clip = keras.Input((frames, size, size, 1), name="clip")
    x = _norm(_conv(clip, STEM_FILTERS, STEM_KERNEL, 1, "stem_conv"), "stem_norm")
    x = layers.ReLU(name="stem_relu")(x)
    # Without padding, so rounded down as torch does.
    x = layers.MaxPooling3D((1, 2, 2), name="stem_pool")(x)  # (B, 40, 128, 128, 8)
    for stage, (filters, stride) in enumerate(STAGES, start=1):
        for block in range(1, BLOCKS_A_STAGE + 1):
            name = f"stage{stage}_block{block}"
            x = _block(x, filters, stride if block == 1 else 1, dropout, name)
        # (B, 40, 128, 128, 16), (B, 20, 64, 64, 32), (B, 10, 32, 32, 64)
    # Torch flattens channels first; with random weights the order makes no difference.
    x = layers.Flatten(name="flatten")(x)  # (B, 655360)
    for number, units in enumerate(DENSE_UNITS, start=1):
        x = _norm(_linear(x, units, f"dense{number}"), f"dense{number}_norm")
        x = layers.ReLU(name=f"dense{number}_relu")(x)
        x = layers.Dropout(dropout, name=f"dense{number}_dropout")(x)
    # Released: the last row, 32 to 1, which Figure 15 lacks. The logit stays float32 under mixed
    # precision.
    return keras.Model(clip, _linear(x, 1, "absent", dtype="float32"), name="cmwru")


def _block(x, filters, stride, dropout, name):
    """Conv-BN-ReLU-Conv-BN, whole channels dropped, added to the shortcut, ReLU."""
    y = _norm(_conv(x, filters, (3, 3, 3), stride, f"{name}_1_conv"), f"{name}_1_norm")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = _norm(_conv(y, filters, (3, 3, 3), 1, f"{name}_2_conv"), f"{name}_2_norm")
    # Torch's Dropout3d: a channel of a clip is dropped as a whole.
    y = layers.SpatialDropout3D(dropout, name=f"{name}_dropout")(y)
    if x.shape != y.shape:
        x = _conv(x, filters, (1, 1, 1), stride, f"{name}_shortcut_conv")
        x = _norm(x, f"{name}_shortcut_norm")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))


def _norm(x, name):
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)


def _conv(x, filters, kernel, stride, name):
    """A convolution without bias, padded alike on all sides.

    With stride 2 on even sizes Keras' "same" pads the far side alone: the same shape, a grid that
    is shifted by one.
    """
    if math.prod(kernel) > 1:
        x = layers.ZeroPadding3D(tuple(k // 2 for k in kernel), name=f"{name}_pad")(x)
    return layers.Conv3D(
        filters,
        kernel,
        strides=stride,
        use_bias=False,
        kernel_initializer=_uniform(math.prod(kernel) * x.shape[-1]),
        name=name,
    )(x)


def _linear(x, units, name, dtype=None):
    return layers.Dense(
        units,
        kernel_initializer=_uniform(x.shape[-1]),
        bias_initializer=_uniform(x.shape[-1]),
        dtype=dtype,
        name=name,
    )(x)


def _uniform(inputs):
    """Torch's start of weights and biases; Keras would draw Glorot's weights and zero biases."""
    limit = 1 / math.sqrt(inputs)
    return keras.initializers.RandomUniform(-limit, limit)
