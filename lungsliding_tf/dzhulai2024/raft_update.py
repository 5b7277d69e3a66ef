"""RAFT's recurrent updates of the flow.

Teed & Deng 2020, section 3.3 and appendix A. Released: layers, order and constants are
torchvision's; layers with weights bear the names of its state dict.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops

from lungsliding_tf.dzhulai2024.raft_sampling import (
    correlation_pyramid,
    look_up,
    pixel_positions,
    upsample_bilinear,
    upsample_convex,
)

LEVELS = 4  # of the correlations; Teed & Deng, section 3.2
SCALE = 8  # of the image to its features, and to the flow before upsampling; section 3.1
MASK_FACTOR = 0.25  # Released: weakens the gradients of the mask


@dataclass(frozen=True)
class UpdateSizes:
    """Channels, by part; tuples have a number for each convolution."""

    # Teed & Deng, section 3.2, print a window by the 1-norm. Released: code and weights read all
    # (2r + 1)^2 points, a window by the maximum norm.
    radius: int
    hidden: int
    context: int
    correlations: tuple[int, ...]
    flow: tuple[int, int]
    motion: int
    gru_kernels: tuple[tuple[int, int], ...]
    head: int
    mask: int | None  # None: the flow is upsampled bilinearly


SIZES = {
    "small": UpdateSizes(
        radius=3,
        hidden=96,
        context=64,
        correlations=(96,),
        flow=(64, 32),
        motion=82,
        gru_kernels=((3, 3),),
        head=128,
        mask=None,
    ),
    "large": UpdateSizes(
        radius=4,
        hidden=128,
        context=128,
        correlations=(256, 192),
        flow=(128, 64),
        motion=128,
        gru_kernels=((1, 5), (5, 1)),
        head=256,
        mask=256,
    ),
}


@keras.saving.register_keras_serializable(package="dzhulai2024")
class FlowUpdates(layers.Layer):
    """From features of two images and context of the first to the flow, in several updates.

    All updates share one set of weights. As in the paper no gradient runs through the flow that an
    update starts from; the hidden state carries it from update to update.

    Args:
        variant: "small" or "large".
        updates: how many.

    Inputs are features (2 * batch, height, width, channels), all first images before all second
    ones, and context (batch, height, width, hidden + context channels). The output is the flow
    (batch, 8 * height, 8 * width, 2), float32 also under mixed precision.
    """

    def __init__(self, variant: str, updates: int, **kwargs):
        # Convolutions cast what they read; correlations and positions stay float32.
        super().__init__(autocast=False, **kwargs)
        self.variant = variant
        self.updates = updates
        self.sizes = SIZES[variant]
        self.convs = {
            name: _conv(name, *shape, dtype=self.dtype_policy)
            for name, shape in _convolutions(self.sizes).items()
        }

    def build(self, input_shapes):
        for name, (channels, *_) in _convolutions(self.sizes).items():
            self.convs[name].build((None, None, None, channels))

    def call(self, inputs):
        features, context = inputs
        # Comments give shapes of the large variant for images of (128, 128, 3).
        first, second = ops.split(ops.cast(features, "float32"), 2, axis=0)  # (B, 16, 16, 256)
        pyramid = correlation_pyramid(first, second, LEVELS)  # (256 B, 16, 16) to (256 B, 2, 2)
        hidden, context = ops.split(context, [self.sizes.hidden], axis=-1)
        hidden, context = ops.tanh(hidden), ops.relu(context)  # (B, 16, 16, 128)
        grus = [self._without_context(gru, context) for gru in range(len(self.sizes.gru_kernels))]
        start = pixel_positions(*ops.shape(features)[1:3])
        flow = ops.zeros_like(first[..., :2])
        # Not one of Keras' loops, whose gradients TensorFlow does not compile for a GPU.
        for _ in range(self.updates):
            flow = ops.stop_gradient(flow)
            correlations = look_up(pyramid, start + flow, self.sizes.radius)  # (B, 16, 16, 324)
            motion = self._encode_motion(correlations, flow)  # (B, 16, 16, 128)
            for gru in grus:
                hidden = _gru_step(*gru, hidden, motion)  # (B, 16, 16, 128)
            change = self._run("update_block.flow_head", ("conv1", "conv2"), hidden)
            flow = flow + ops.cast(change, "float32")  # (B, 16, 16, 2)
        if self.sizes.mask is None:
            return upsample_bilinear(flow, SCALE)  # (B, 128, 128, 2)
        mask = self._run("mask_predictor", ("convrelu.0", "conv"), hidden)  # (B, 16, 16, 576)
        return upsample_convex(flow, MASK_FACTOR * ops.cast(mask, "float32"), SCALE)

    def _encode_motion(self, correlations, flow):
        """What a GRU reads of the correlations around the flow's end, and of the flow."""
        encoder = "update_block.motion_encoder"
        numbers = range(1, len(self.sizes.correlations) + 1)
        x = self._run(encoder, [f"convcorr{number}.0" for number in numbers], correlations)
        y = self._run(encoder, ("convflow1.0", "convflow2.0"), flow)
        x = self._run(encoder, ("conv.0",), ops.concatenate([x, y], axis=-1))
        return ops.concatenate([x, ops.cast(flow, x.dtype)], axis=-1)

    def _without_context(self, gru, context):
        """A GRU's kernels for hidden state and motion, and its gates' terms of the context.

        torchvision convolves hidden state, context and motion side by side at each update. The
        context is always the same, and so is its share of the sum: computed once, it saves an
        eighth of the time, and a sixth of a training step's.

        Returns:
            Kernel of the gates z and r, kernel of q, terms of z and r, terms of q.
        """
        hidden, depth = self.sizes.hidden, self.sizes.context
        gates = [
            self.convs[f"update_block.recurrent_block.convgru{gru + 1}.conv{g}"] for g in "zrq"
        ]
        kernels = [ops.cast(gate.kernel, self.compute_dtype) for gate in gates]
        kernels = [ops.split(kernel, [hidden, hidden + depth], axis=2) for kernel in kernels]
        z, r, q = (ops.concatenate([kernel[0], kernel[2]], axis=2) for kernel in kernels)
        fixed = ops.concatenate([kernel[1] for kernel in kernels], axis=-1)
        bias = ops.cast(ops.concatenate([gate.bias for gate in gates]), self.compute_dtype)
        terms = ops.conv(context, fixed, padding="same") + bias
        return ops.concatenate([z, r], axis=-1), q, *ops.split(terms, [2 * hidden], axis=-1)

    def _run(self, module, names, x):
        for name in names:
            x = self.convs[f"{module}.{name}"](x)
        return x

    def compute_output_spec(self, inputs):
        batch, *sides, _ = inputs[1].shape
        sides = [side and SCALE * side for side in sides]  # None where any is taken
        return keras.KerasTensor((batch, *sides, 2), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "variant": self.variant, "updates": self.updates}


def _gru_step(kernel_zr, kernel_q, terms_zr, terms_q, hidden, motion):
    """The next hidden state; z and r share a convolution."""
    x = ops.concatenate([hidden, motion], axis=-1)
    gates = ops.sigmoid(ops.conv(x, kernel_zr, padding="same") + terms_zr)
    z, r = ops.split(gates, 2, axis=-1)
    x = ops.concatenate([r * hidden, motion], axis=-1)
    q = ops.tanh(ops.conv(x, kernel_q, padding="same") + terms_q)
    return (1 - z) * hidden + z * q


def _convolutions(sizes: UpdateSizes) -> dict[str, tuple]:
    """(channels, filters, kernel, activation) of each, by its torchvision name."""
    convs = {}
    channels = LEVELS * (2 * sizes.radius + 1) ** 2
    for number, filters in enumerate(sizes.correlations, start=1):
        side = 1 if number == 1 else 3
        convs[f"motion_encoder.convcorr{number}.0"] = (channels, filters, (side, side), "relu")
        channels = filters
    first, second = sizes.flow
    convs["motion_encoder.convflow1.0"] = (2, first, (7, 7), "relu")
    convs["motion_encoder.convflow2.0"] = (first, second, (3, 3), "relu")
    # The flow itself makes up the last two channels of motion.
    convs["motion_encoder.conv.0"] = (channels + second, sizes.motion - 2, (3, 3), "relu")
    channels = sizes.hidden + sizes.context + sizes.motion
    for number, kernel in enumerate(sizes.gru_kernels, start=1):
        for gate in "zrq":
            name = f"recurrent_block.convgru{number}.conv{gate}"
            convs[name] = (channels, sizes.hidden, kernel, None)
    convs["flow_head.conv1"] = (sizes.hidden, sizes.head, (3, 3), "relu")
    convs["flow_head.conv2"] = (sizes.head, 2, (3, 3), None)
    convs = {f"update_block.{name}": shape for name, shape in convs.items()}
    if sizes.mask is not None:
        convs["mask_predictor.convrelu.0"] = (sizes.hidden, sizes.mask, (3, 3), "relu")
        convs["mask_predictor.conv"] = (sizes.mask, 9 * SCALE**2, (1, 1), None)
    return convs


def _conv(name, channels, filters, kernel, activation, dtype):
    # Released: torch's default start, uniform up to 1 / sqrt(fan in), of biases as well.
    limit = 1 / math.sqrt(channels * math.prod(kernel))
    return layers.Conv2D(
        filters,
        kernel,
        padding="same",
        activation=activation,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        dtype=dtype,
        name=name,
    )
