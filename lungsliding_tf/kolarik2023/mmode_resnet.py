"""The 2D ResNet-18 on 64-frame M-mode images: the comparison row of Kolárik 2023, Table 5.

Paper: Table 5 takes its numbers from Jaščur et al. 2021 (10.3390/app11156976), who classify
64-frame M-mode images with a ResNet-18. Ours: the network of He et al. 2016 (post-activation,
batch normalisation after each convolution, no convolution bias) with one input channel and a
sigmoid; neither paper prints its parameters.
"""

import keras
from keras import layers

STAGE_FILTERS = (64, 128, 256, 512)
BLOCKS_A_STAGE = 2


def build_mmode_resnet18(
    input_shape: tuple[int, int, int] = (128, 64, 1), batch_norm_momentum: float = 0.99
) -> keras.Model:
    """Build the ResNet-18 that scores an M-mode image for the presence of lung sliding.

    11,180,353 parameters, 11,170,753 trainable, at any input size with one channel.

    Args:
        input_shape: (depth, frames, channels).
        batch_norm_momentum: weight of the old moving average.

    Returns:
        An uncompiled model: float32 images (batch, depth, frames, channels), each of mean 0 and SD
        1 or in 0..1, to float32 probabilities (batch, 1) of sliding being present (seashore
        rather than barcode).
    """
    # Comments give shapes for (128, 64, 1): (batch, depth, frames, channels).
    image = keras.Input(input_shape, name="mmode")
    x = _conv(image, 64, 7, 2, "stem_conv")  # (B, 64, 32, 64)
    x = _batch_norm(x, batch_norm_momentum, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)  # (B, 32, 16, 64)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        for block in range(1, BLOCKS_A_STAGE + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            x = _block(x, filters, stride, batch_norm_momentum, name)
    features = layers.GlobalAveragePooling2D(name="features")(x)  # (B, 4, 2, 512) -> (B, 512)
    probability = layers.Dense(1, activation="sigmoid", dtype="float32", name="sliding")(features)
    return keras.Model(image, probability, name="mmode_resnet18")


def _block(x, filters, stride, momentum, name):
    """Conv-BN-ReLU-Conv-BN, added to the shortcut, then ReLU."""
    y = _batch_norm(_conv(x, filters, 3, stride, f"{name}_1_conv"), momentum, f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = _batch_norm(_conv(y, filters, 3, 1, f"{name}_2_conv"), momentum, f"{name}_2")
    if x.shape != y.shape:
        x = _conv(x, filters, 1, stride, f"{name}_shortcut_conv")
        x = _batch_norm(x, momentum, f"{name}_shortcut")
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(y)


def _batch_norm(x, momentum, name):
    return layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)


def _conv(x, filters, kernel, stride, name):
    return layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
