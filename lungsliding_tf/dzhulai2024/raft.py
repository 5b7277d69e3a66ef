"""RAFT: optical flow by recurrent updates that look up correlations of all pairs of pixels.

Teed & Deng 2020 (arXiv 2003.12039). Paper: section V-B takes it as it is, pretrained. Released:
torchvision's `raft_large`.
"""

import keras
from keras import layers, ops

from lungsliding_tf.dzhulai2024.raft_encoders import encode
from lungsliding_tf.dzhulai2024.raft_update import SCALE, SIZES, FlowUpdates

UPDATES = 12  # Released: torchvision's default
SMALLEST_SIDE = 128  # Released: as torchvision; the last level of correlations has 2x2 pixels then
# variant: (channels of features, norm of the feature encoder, norm of the context encoder)
ENCODERS = {"small": (128, "instance", None), "large": (256, "instance", "batch")}


def build_raft(
    variant: str,
    updates: int = UPDATES,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
) -> keras.Model:
    """Build RAFT with random weights, drawn as torchvision draws them.

    Teed & Deng 2020, section 3, appendices A and B. Parameters: 990,162 (small), 5,257,536 (large)
    and 2,880 moving statistics of batch norm (large). Weights fit every image size and number of
    updates; those that are published: `raft_weights.load_raft`.

    Args:
        variant: "small" or "large".
        updates: how often the flow is refined; each one takes as long.
        input_shape: (height, width, 3); sides of 128 px or more, divisible by 8, or None for any.

    Returns:
        An uncompiled model: [first, second] float32 images (batch, height, width, 3) in -1..1, RGB,
        to the float32 flow (batch, height, width, 2) after the last update: how many px to the
        right and down the second image has what a pixel of the first shows.

    Raises:
        ValueError: an unknown variant, no update, or a size that the network cannot take; the
            latter also from calls of a model for any size, where Keras knows the size beforehand.
    """
    if variant not in ENCODERS:
        raise ValueError(f"variant must be one of {', '.join(ENCODERS)}, not {variant!r}")
    if updates < 1:
        raise ValueError(f"updates must be 1 or more, not {updates}")
    if len(input_shape) != 3 or input_shape[2] != 3:
        raise ValueError(f"input_shape must be (height, width, 3), not {input_shape}")
    _check_sides(*input_shape[:2])
    features, norm, context_norm = ENCODERS[variant]
    context = SIZES[variant].hidden + SIZES[variant].context

    # Comments give shapes of the large variant for (128, 128, 3).
    images = [keras.Input(input_shape, name=name) for name in ("image1", "image2")]
    x = ImagePairs(name="images")(images)  # (2 B, 128, 128, 3)
    x = encode(x, variant, "feature_encoder", features, norm)  # (2 B, 16, 16, 256)
    c = encode(images[0], variant, "context_encoder", context, context_norm)  # (B, 16, 16, 256)
    flow = FlowUpdates(variant, updates, name="flow")([x, c])  # (B, 128, 128, 2)
    return keras.Model(images, flow, name=f"raft_{variant}")


@keras.saving.register_keras_serializable(package="dzhulai2024")
class ImagePairs(layers.Layer):
    """All first and then all second images as one batch; sizes that RAFT cannot take raise."""

    def call(self, inputs):
        images = ops.concatenate(inputs, axis=0)
        _check_sides(*images.shape[1:3])
        if None not in images.shape[1:3]:
            return images
        # Sizes known only when the network runs: this does nothing or, with others, fails.
        batch, *sides, channels = ops.shape(images)
        sides = [ops.maximum(side // SCALE * SCALE, SMALLEST_SIDE) for side in sides]
        return ops.reshape(images, (batch, *sides, channels))

    def compute_output_shape(self, input_shapes):
        batch, *image = input_shapes[0]
        return (batch and 2 * batch, *image)


def _check_sides(*sides: int | None):
    known = [side for side in sides if side is not None]
    if any(side < SMALLEST_SIDE or side % SCALE for side in known):
        raise ValueError(
            f"RAFT takes images with sides of {SMALLEST_SIDE} px or more, divisible by {SCALE}, "
            f"not {sides[0]}x{sides[1]}; resize them"
        )
