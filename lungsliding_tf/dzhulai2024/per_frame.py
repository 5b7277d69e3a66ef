"""The paper's first attempts, discarded: networks that see one frame and no motion.

Paper: Dzhulai 2024, section III: InceptionV3 and 2D convolution "did not yield the desired
results"; neither network, training nor result is given.
"""

import math

import keras
from keras import layers

INCEPTION_SIDE = 75  # px; keras.applications takes no less
FILTERS = (16, 32, 64)
DROPOUT = 0.5
# The weight of the old average, which torch calls 1 - 0.1, and torch's epsilon: as in the paper's
# networks, see rcm2d.py.
MOMENTUM = 0.9
EPSILON = 1e-5


def build_inception(size: int = 256, weights: str | None = None) -> keras.Model:
    """Build an InceptionV3 that scores one frame for absent lung sliding.

    21,770,401 trainable parameters at any size. Layers before the logit keep the names that
    keras.applications gives them, which are numbered through the process.

    Args:
        size: side of a frame, px. Ours: frames below 75 px, the least that the network takes, are
            enlarged to that.
        weights: as keras.applications takes them, without top: None for random ones, "imagenet"
            (downloads) or the path of a file. Ours: None; the paper does not say.

    Returns:
        An uncompiled model: float32 frames (batch, size, size, 1), of mean 0 and SD 1, to float32
        logits (batch, 1) of absent sliding.

    Raises:
        ValueError: as keras.applications for `weights`.
    """
    frame = keras.Input((size, size, 1), name="frame")
    x = frame
    if size < INCEPTION_SIDE:
        x = layers.Resizing(INCEPTION_SIDE, INCEPTION_SIDE, name="enlarged")(x)
    x = layers.Concatenate(name="three_channels")([x, x, x])  # (B, 256, 256, 3)
    # Keras' own batch norm settings and weights to start from: no code was released.
    network = keras.applications.InceptionV3(
        include_top=False, weights=weights, input_tensor=x, input_shape=x.shape[1:], pooling="avg"
    )  # (B, 2048)
    return keras.Model(frame, _logit(network.output), name="inception")


def build_cnn2d(size: int = 256, dropout: float = DROPOUT) -> keras.Model:
    """Build a plain 2D network that scores one frame for absent lung sliding.

    Ours: section III says "2D convolution" and no more. 23,585 trainable parameters at any size.

    Args:
        size: side of a frame, px, eight or more.
        dropout: before the logit.

    Returns:
        An uncompiled model: float32 frames (batch, size, size, 1), of mean 0 and SD 1, to float32
        logits (batch, 1) of absent sliding.

    Raises:
        ValueError: a size below eight.
    """
    if size < 2 ** len(FILTERS):
        raise ValueError(f"size must be {2 ** len(FILTERS)} or more, not {size}")
    frame = keras.Input((size, size, 1), name="frame")
    x = frame
    for stage, filters in enumerate(FILTERS, start=1):
        inputs = 9 * x.shape[-1]
        x = layers.Conv2D(
            filters,
            3,
            padding="same",  # pads both sides alike, as torch does: the stride is 1
            kernel_initializer=_uniform(inputs),
            bias_initializer=_uniform(inputs),
            name=f"stage{stage}_conv",
        )(x)
        x = layers.BatchNormalization(
            momentum=MOMENTUM, epsilon=EPSILON, name=f"stage{stage}_norm"
        )(x)
        x = layers.ReLU(name=f"stage{stage}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)  # (B, 128, 128, 16), 64, 32
    x = layers.GlobalAveragePooling2D(name="features")(x)  # (B, 64)
    x = layers.Dropout(dropout, name="features_dropout")(x)
    return keras.Model(frame, _logit(x), name="cnn2d")


def vote(frame_probabilities, threshold: float = 0.5):
    """Scores of clips from those of their frames: the share of frames called absent.

    Ours: the paper does not say how frames decide on a video.

    Args:
        frame_probabilities: array (..., frames), probabilities of absent sliding in 0..1.
        threshold: a frame above it is called absent. Released: 0.5, not included, for clips.

    Returns:
        Array (...), shares in 0..1.

    Raises:
        ValueError: no frames, or values outside 0..1.
    """
    if frame_probabilities.ndim == 0 or frame_probabilities.shape[-1] == 0:
        raise ValueError(f"a clip needs frames; the array is {frame_probabilities.shape}")
    if not ((frame_probabilities >= 0) & (frame_probabilities <= 1)).all():
        raise ValueError("probabilities of frames lie in 0..1; logits need a sigmoid first")
    return (frame_probabilities > threshold).mean(axis=-1)


def _logit(features):
    inputs = features.shape[-1]
    return layers.Dense(
        1,
        kernel_initializer=_uniform(inputs),
        bias_initializer=_uniform(inputs),
        dtype="float32",  # stays float32 under mixed precision
        name="absent",
    )(features)


def _uniform(inputs):
    """Torch's start of weights and biases; Keras would draw Glorot's weights and zero biases."""
    limit = 1 / math.sqrt(inputs)
    return keras.initializers.RandomUniform(-limit, limit)
