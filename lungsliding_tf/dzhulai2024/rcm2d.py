"""RCM2d_Small: a small 2D network on every frame of a clip, then a GRU over the frames.

Paper: Dzhulai 2024, section V-A and Figure 2. Released: the authors' class of that name, which is
not the network of Figure 2; both are here. Padding, batch norm and the random weights to start
from are torch's, in which the paper works.
"""

import math

import keras
from keras import layers, ops

# Paper: Figure 2, from the parameters of each row. The fourth convolution has no residual block and
# no pooling. Released: three convolutions, each with both.
FILTERS = {"paper": (2, 4, 8, 16), "released": (4, 8, 16)}
POOLS = (4, 2, 2)  # of height and width after each residual block
FIRST_KERNEL = 7  # Inferred: 100 parameters are 2 x (49 + 1), so 7x7 on one channel
FEATURES = 512
GRU_UNITS = 1024
DROPOUT = 0.4  # Released: written into the class; Figure 2 shows where, not how much
MOMENTUM = 0.9  # the weight of the old average, which torch calls 1 - 0.1
EPSILON = 1e-5


def build_rcm2d(
    frames: int = 30,
    size: int = 256,
    dropout: float = DROPOUT,
    variant: str = "paper",
    normalise: bool = True,
    batch_norm_over: str = "clip",
) -> keras.Model:
    """Build the recurrent network that scores a clip for absent lung sliding.

    Dzhulai 2024, section V-A, Figure 2. Trainable parameters at 256 px: 6,827,717 (paper, as
    printed) and 6,832,273 (released), with any number of frames.

    Args:
        frames: of a clip, two or more.
        size: side of a frame, px, divisible by 16.
        dropout: before the dense layer and before the logit; of single pixels as well in the
            released variant.
        variant: "paper": convolution, ReLU, batch norm, and batch norm in residual blocks.
            "released": other filters; convolution, batch norm, ReLU; none in residual blocks.
        normalise: False leaves out the batch norm in front of the GRU, without which, says section
            V-A, training is hindered. It has 1,024 parameters.
        batch_norm_over: what mean and variance are of in training. "clip": each clip's own frames.
            Released: clips pass one by one through everything before the GRU, so that what all
            frames of a clip share is lost in training and kept in evaluation. Figure 2 shows one
            clip of 30 frames. "batch": all frames of all clips (Ours).

    Returns:
        An uncompiled model: float32 clips (batch, frames, size, size, 1), of mean 0 and SD 1, to
        float32 logits (batch, 1) of absent sliding.

    Raises:
        ValueError: an unknown variant or `batch_norm_over`, or a size that the network cannot take.
    """
    if variant not in FILTERS:
        raise ValueError(f"variant must be one of {sorted(FILTERS)}, not {variant!r}")
    if batch_norm_over not in ("clip", "batch"):
        raise ValueError(f"batch_norm_over must be clip or batch, not {batch_norm_over!r}")
    if frames < 2:
        raise ValueError(f"frames must be 2 or more, not {frames}: one has no variance")
    if size < 16 or size % math.prod(POOLS):
        raise ValueError(f"size must be divisible by {math.prod(POOLS)}, not {size}")
    per_clip = batch_norm_over == "clip"

    # Kernels and pools have length 1 in time: the same as 2D ones on each frame, without folding
    # frames into the batch and back, and as fast. Comments give shapes of the paper's variant for
    # 30 frames of 256 px: (batch, frames, height, width, channels).
    clip = keras.Input((frames, size, size, 1), name="clip")
    x = clip
    if variant == "released":
        x = layers.Dropout(dropout, name="pixel_dropout")(x)
    for stage, filters in enumerate(FILTERS[variant], start=1):
        x = _conv(x, filters, FIRST_KERNEL if stage == 1 else 3, f"stage{stage}_conv")
        x = _relu_and_norm(x, f"stage{stage}", per_clip, norm_first=variant == "released")
        if stage > len(POOLS):
            break
        x = _residual(x, f"stage{stage}_block", per_clip, with_norm=variant == "paper")
        pool = (1, POOLS[stage - 1], POOLS[stage - 1])
        x = layers.MaxPooling3D(pool, name=f"stage{stage}_pool")(x)  # (B, 30, 64, 64, 2), 32, 16
    # Torch flattens channels first; with random weights the order makes no difference.
    x = layers.Reshape((frames, -1), name="flatten")(x)  # (B, 30, 4096)
    x = layers.Dropout(dropout, name="flatten_dropout")(x)
    x = _linear(x, FEATURES, "features")  # (B, 30, 512)
    x = layers.ReLU(name="features_relu")(x)
    if normalise:
        x = _norm(x, "features_norm", per_clip)
    x = _gru(x)  # (B, 1024), of the last frame
    x = layers.Dropout(dropout, name="gru_dropout")(x)
    # The logit stays float32 under mixed precision.
    return keras.Model(clip, _linear(x, 1, "absent", dtype="float32"), name=f"rcm2d_{variant}")


@keras.saving.register_keras_serializable(package="dzhulai2024")
class ClipBatchNormalization(layers.BatchNormalization):
    """Batch norm that takes, in training, mean and variance of each clip by itself.

    The moving averages end where torch's do when clips come one after the other: later clips of a
    batch weigh more. Evaluation is that of `keras.layers.BatchNormalization`.

    Input: (batch, frames, ..., channels), two values or more a clip and channel.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")
        axes = tuple(range(1, len(x.shape) - 1))
        mean, variance = ops.moments(x, axes=axes, keepdims=True)
        values = math.prod(x.shape[axis] for axis in axes)
        self._follow(self.moving_mean, mean)
        # Torch divides by n - 1 in what it keeps for evaluation, by n in what it normalises with.
        self._follow(self.moving_variance, variance * (values / (values - 1)))
        normed = (x - mean) * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return ops.cast(normed, self.compute_dtype)

    def _follow(self, average, of_clips):
        """Move an average over each clip's value in turn, in one step."""
        of_clips = ops.reshape(of_clips, (-1, of_clips.shape[-1]))
        clips = ops.shape(of_clips)[0]
        ages = ops.cast(ops.arange(clips - 1, -1, -1, dtype="int32"), "float32")
        weights = (1 - self.momentum) * ops.power(self.momentum, ages)
        kept = ops.power(self.momentum, ops.cast(clips, "float32"))
        average.assign(average * kept + ops.sum(weights[:, None] * of_clips, axis=0))


def _residual(x, name, per_clip, with_norm):
    """Conv3-ReLU-Conv3-ReLU, in the paper's variant batch norm, added to what the block reads."""
    y = layers.ReLU(name=f"{name}_1_relu")(_conv(x, x.shape[-1], 3, f"{name}_1_conv"))
    y = layers.ReLU(name=f"{name}_2_relu")(_conv(y, x.shape[-1], 3, f"{name}_2_conv"))
    if with_norm:
        y = _norm(y, f"{name}_norm", per_clip)
    # Inferred: Figure 2 cannot show an addition; the block's name says so. Released: the last step.
    return layers.Add(name=f"{name}_add")([y, x])


def _relu_and_norm(x, name, per_clip, norm_first):
    # Paper: Figure 2 lists ReLU before batch norm, against custom. Released: the other way round.
    if norm_first:
        return layers.ReLU(name=f"{name}_relu")(_norm(x, f"{name}_norm", per_clip))
    return _norm(layers.ReLU(name=f"{name}_relu")(x), f"{name}_norm", per_clip)


def _norm(x, name, per_clip):
    layer = ClipBatchNormalization if per_clip else layers.BatchNormalization
    return layer(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)


def _conv(x, filters, kernel, name):
    """A convolution of each frame, padded alike on all sides as torch does."""
    margin = kernel // 2
    x = layers.ZeroPadding3D((0, margin, margin), name=f"{name}_pad")(x)
    limit = 1 / math.sqrt(kernel * kernel * x.shape[-1])
    return layers.Conv3D(
        filters,
        (1, kernel, kernel),
        kernel_initializer=_uniform(limit),
        bias_initializer=_uniform(limit),
        name=name,
    )(x)


def _linear(x, units, name, dtype=None):
    limit = 1 / math.sqrt(x.shape[-1])
    return layers.Dense(
        units,
        kernel_initializer=_uniform(limit),
        bias_initializer=_uniform(limit),
        dtype=dtype,
        name=name,
    )(x)


def _gru(x):
    limit = 1 / math.sqrt(GRU_UNITS)
    return layers.GRU(
        GRU_UNITS,
        # Inferred: 4,724,736 parameters are two bias vectors, of which torch has the reset gate
        # multiply the second with the recurrent product. Gates are stored z, r, n; torch's r, z, n.
        reset_after=True,
        kernel_initializer=_uniform(limit),
        recurrent_initializer=_uniform(limit),
        bias_initializer=_uniform(limit),
        name="gru",
    )(x)


def _uniform(limit):
    """Torch's start of weights and biases: U(+-1 / sqrt(inputs)), of the GRU U(+-1 / sqrt(units)).

    Keras would draw Glorot's and orthogonal weights and set biases to zero.
    """
    return keras.initializers.RandomUniform(-limit, limit)
