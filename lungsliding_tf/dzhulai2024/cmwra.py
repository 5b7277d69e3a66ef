"""CMWRA: two 3D convolutions on a clip's optical flow, which RAFT measures outside this network.

Paper: Dzhulai 2024, section V-B and Figure 8. Released: what the figure leaves out is taken from
the authors' class of that name. Padding, batch norm and the random weights to start from are
torch's, in which the paper works.
"""

import math

import keras
from keras import layers

FILTERS = (16, 32)
# Inferred: 592 = 16 x (2 x 18 + 1) and 9,248 = 32 x (16 x 18 + 1) parameters, and 39 flow fields
# that become 40: two frames by 3x3 px, padded by 1 on all sides, in time too.
KERNEL = (2, 3, 3)
DENSE_UNITS = (256, 128)
LAST_DROPOUT = 0.5  # Released: a fixed one after the second dense layer; Figure 8 gives none
# The weight of the old average, which torch calls 1 - 0.1. Torch averages the variance of a sample,
# n / (n - 1) times Keras' of the population: for 20 clips a dense layer's is 5 % more.
MOMENTUM = 0.9
EPSILON = 1e-5


def build_cmwra(
    frames: int = 40, size: int = 256, dropout: float = 0.65, flow_step: int = 1
) -> keras.Model:
    """Build the network that scores the optical flow of a clip for absent lung sliding.

    Dzhulai 2024, section V-B, Figure 8. Trainable parameters with 40 frames and a flow step of 1,
    without RAFT's: 335,588,305 at 256 px, which the rows of Figure 8 sum to, 5,286,865 at 32 px.

    Args:
        frames: of the clip that the flow is of.
        size: side of a flow field, px, four or more. Released: 256 whatever the frames' size, as
            they are resized before RAFT; the text trains on crops of 32 px.
        dropout: after the first dense layer. Paper: Table IV, whose values are the final model's.
        flow_step: frames between the two that a flow field is of. The released code allows 1 alone.

    Returns:
        An uncompiled model: float32 flow (batch, frames - flow_step, size, size, 2), px to the
        right and downwards, to float32 logits (batch, 1) of absent sliding.

    Raises:
        ValueError: no flow field is left, or a size below four.
    """
    if not 1 <= flow_step < frames:
        raise ValueError(
            f"flow_step must be 1 to {frames - 1} for {frames} frames, not {flow_step}"
        )
    if size < 4:
        raise ValueError(f"size must be 4 or more, not {size}")
    # Comments give shapes for 40 frames of 256 px: (batch, time, height, width, channels).
    flow = keras.Input((frames - flow_step, size, size, 2), name="flow")  # (B, 39, 256, 256, 2)
    x = flow
    for stage, filters in enumerate(FILTERS, start=1):
        # Two frames under padding of 1 make one more: (B, 40, 256, 256, 16), (B, 21, 128, 128, 32)
        x = _conv(x, filters, f"stage{stage}_conv")
        # Paper: Figure 8: ReLU before batch norm here, after it in the dense layers.
        x = _norm(layers.ReLU(name=f"stage{stage}_relu")(x), f"stage{stage}_norm")
        # Without padding, so rounded down as torch does. The paper's text prints 16 for the 10.
        x = layers.MaxPooling3D(2, name=f"stage{stage}_pool")(x)  # (B, 20, 128, 128, 16), 10, 64
    # Torch flattens channels first; with random weights the order makes no difference.
    x = layers.Flatten(name="flatten")(x)  # (B, 1310720); the paper's text prints 1318728
    rates = (dropout, LAST_DROPOUT)
    for number, (units, rate) in enumerate(zip(DENSE_UNITS, rates, strict=True), start=1):
        x = _norm(_linear(x, units, f"dense{number}"), f"dense{number}_norm")
        x = layers.ReLU(name=f"dense{number}_relu")(x)
        x = layers.Dropout(rate, name=f"dense{number}_dropout")(x)
    # The logit stays float32 under mixed precision.
    return keras.Model(flow, _linear(x, 1, "absent", dtype="float32"), name="cmwra")


def _norm(x, name):
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)


def _conv(x, filters, name):
    # Keras' "same" would keep the number of frames.
    x = layers.ZeroPadding3D(1, name=f"{name}_pad")(x)
    inputs = math.prod(KERNEL) * x.shape[-1]
    return layers.Conv3D(
        filters,
        KERNEL,
        kernel_initializer=_uniform(inputs),
        bias_initializer=_uniform(inputs),
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
