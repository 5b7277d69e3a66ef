"""ResNet3D-18, -34 and -50: pre-activation residual networks on video clips.

Paper: Kolárik 2023, section 3.2, uses the library keras-resnet3d (JihongJu) as it is.
Released: what the paper leaves out is taken from that library (commit f6e3a5c8): pre-activation
order, biases in all convolutions, projection shortcuts without batch normalisation,
he_normal weights, L2 of 1e-4 on every kernel.
"""

import math

import keras
from keras import layers

# depth: (blocks in each of the four stages, whether blocks are bottlenecks)
STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
}
STAGE_FILTERS = (64, 128, 256, 512)
BOTTLENECK_EXPANSION = 4
L2_FACTOR = 1e-4  # Released: `reg_factor` of the library, on kernels only


def build_resnet3d(
    depth: int,
    input_shape: tuple[int, int, int, int] = (60, 30, 30, 3),
    batch_norm_momentum: float = 0.99,
) -> keras.Model:
    """Build a 3D ResNet that scores a clip for the presence of lung sliding.

    Kolárik 2023, section 3.2, Tables 1 to 3. Parameters (total / trainable, any frame size):
    33,215,233 / 33,207,425 (18), 63,536,001 / 63,520,769 (34), 46,265,345 / 46,219,905 (50).

    Args:
        depth: 18, 34 or 50.
        input_shape: (frames, height, width, channels), all fixed. The paper feeds 60 frames of
            30, 60 or 90 px squared with gray replicated to 3 channels.
        batch_norm_momentum: weight of the old moving average. Released: 0.99, the Keras default;
            runs of a few dozen steps need less, or evaluation uses averages still near their
            initial values.

    Returns:
        An uncompiled model: float32 clips (batch, frames, height, width, channels), each of mean 0
        and SD 1 or in 0..1 (`KolarikConfig.scaling`), to float32 probabilities (batch, 1) of
        sliding being present.

    Raises:
        ValueError: unknown depth, or an input shape that is not four positive sizes.
    """
    if depth not in STAGES:
        raise ValueError(f"depth must be one of {sorted(STAGES)}, not {depth}")
    if len(input_shape) != 4 or any(size is None or size < 1 for size in input_shape):
        raise ValueError(f"input_shape must be four positive sizes, not {input_shape}")
    repetitions, bottleneck = STAGES[depth]
    add_block = _bottleneck_block if bottleneck else _basic_block
    momentum = batch_norm_momentum

    # Comments give shapes for (60, 30, 30, 3): (batch, frames, height, width, channels).
    clip = keras.Input(input_shape, name="clip")
    x = _conv(clip, 64, 7, 2, "stem_conv")  # (B, 30, 15, 15, 64)
    x = _batch_norm_relu(x, momentum, "stem")
    x = layers.MaxPooling3D(3, strides=2, padding="same", name="stem_pool")(x)  # (B, 15, 8, 8, 64)
    for stage, (filters, blocks) in enumerate(
        zip(STAGE_FILTERS, repetitions, strict=True), start=1
    ):
        for block in range(1, blocks + 1):
            x = add_block(
                x,
                filters,
                # Time is halved together with space: (B, 2, 1, 1, 512) after stage 4.
                stride=2 if stage > 1 and block == 1 else 1,
                # The stem has just normalised what the very first block reads.
                pre_activate=not (stage == 1 and block == 1),
                momentum=momentum,
                name=f"stage{stage}_block{block}",
            )
    x = _batch_norm_relu(x, momentum, "final")
    x = layers.AveragePooling3D(x.shape[1:4], strides=1, name="pool")(x)  # (B, 1, 1, 1, 512)
    features = layers.Flatten(name="features")(x)  # (B, 512)
    probability = layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(L2_FACTOR),
        dtype="float32",  # the score stays float32 under mixed precision
        name="sliding",
    )(features)
    return keras.Model(clip, probability, name=f"resnet3d_{depth}")


def _basic_block(x, filters, stride, pre_activate, momentum, name):
    """BN-ReLU-Conv3, BN-ReLU-Conv3, added to the shortcut; no ReLU after the addition."""
    y = _batch_norm_relu(x, momentum, f"{name}_1") if pre_activate else x
    y = _conv(y, filters, 3, stride, f"{name}_1_conv")
    y = _batch_norm_relu(y, momentum, f"{name}_2")
    y = _conv(y, filters, 3, 1, f"{name}_2_conv")
    return layers.Add(name=f"{name}_add")([_shortcut(x, y, name), y])


def _bottleneck_block(x, filters, stride, pre_activate, momentum, name):
    """BN-ReLU-Conv1, BN-ReLU-Conv3, BN-ReLU-Conv1 (4 x filters), added to the shortcut."""
    y = _batch_norm_relu(x, momentum, f"{name}_1") if pre_activate else x
    # Released: the stride is on the first 1x1x1 convolution, so 7 of 8 positions are never read.
    y = _conv(y, filters, 1, stride, f"{name}_1_conv")
    y = _batch_norm_relu(y, momentum, f"{name}_2")
    y = _conv(y, filters, 3, 1, f"{name}_2_conv")
    y = _batch_norm_relu(y, momentum, f"{name}_3")
    y = _conv(y, filters * BOTTLENECK_EXPANSION, 1, 1, f"{name}_3_conv")
    return layers.Add(name=f"{name}_add")([_shortcut(x, y, name), y])


def _shortcut(x, residual, name):
    """The block's input itself, or its 1x1x1 projection where the shape changes.

    Released: the projection reads the raw input (before BN-ReLU), is not padded and has no BN.
    """
    if x.shape == residual.shape:
        return x
    strides = tuple(
        math.ceil(a / b) for a, b in zip(x.shape[1:4], residual.shape[1:4], strict=True)
    )
    return _conv(x, residual.shape[-1], 1, strides, f"{name}_shortcut", padding="valid")


def _batch_norm_relu(x, momentum, name):
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(x, filters, kernel, stride, name, padding="same"):
    strides = (stride,) * 3 if isinstance(stride, int) else stride
    idle = any(_has_idle_taps(n, kernel, s) for n, s in zip(x.shape[1:4], strides, strict=True))
    return layers.Conv3D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(L2_FACTOR),
        # On CPU the bfloat16 gradient of kernel taps that meet nothing but padding is noise
        # instead of zero (TensorFlow 2.21, oneDNN), and the weights drift to NaN. These maps are
        # a few voxels small, so float32 costs nothing there.
        dtype="float32" if idle and padding == "same" else None,
        name=name,
    )(x)


def _has_idle_taps(size: int, kernel: int, stride: int) -> bool:
    """Whether some tap of a `same` kernel only ever meets padding along an axis of `size`."""
    outputs = math.ceil(size / stride)
    before = max((outputs - 1) * stride + kernel - size, 0) // 2
    reached = {
        t for o in range(outputs) for t in range(kernel) if 0 <= o * stride - before + t < size
    }
    return len(reached) < kernel
