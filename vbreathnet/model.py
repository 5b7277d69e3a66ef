"""V-BreathNet, the convolutional network of the paper's section 3.3."""

import keras
from keras import layers

# Paper: section 3.3: filters run from 128 to 32 and back to 128, the letter V, and end with 64 to
# keep the dense layer small. Inferred: of the V-shaped sequences only 128-64-32-64-128-64 with 3x3
# kernels, three input channels and batch norm after the dense layer gives 792,291 parameters.
FILTERS = (128, 64, 32, 64, 128, 64)
DENSE_UNITS = 512  # Paper: section 3.3, with ReLU


def build_vbreathnet(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 3,
    dropout: float = 0.2,
    dense_dropout: float = 0.5,
    batch_norm_momentum: float = 0.99,
    activation_order: str = "conv-relu-norm",
) -> keras.Model:
    """V-BreathNet: six blocks of convolution, batch norm, max pooling and dropout, then two dense.

    Args:
        input_shape: (height, width, channels); float32 images in 0..1, gray repeated.
            Inferred: the printed count needs a last map of 4x4, which sides of 193 to 256 give;
            other sides make another network. 224 is the usual one, and the only usual one at which
            the stated padding of the pooling matters (7 to 4).
        classes: softmax outputs, in alphabetical order: COVID, Normal, Viral Pneumonia.
        dropout: rate after each block. Ours: the paper gives no rate.
        dense_dropout: rate after the dense layer of 512. Ours: likewise.
        batch_norm_momentum: weight of the old moving average. Ours: not stated; 0.99 is Keras'.
        activation_order: "conv-relu-norm" or "conv-norm-relu". Ours: the paper lists convolution,
            batch norm, pooling, dropout and does not place the activation.

    Returns:
        Uncompiled model to float32 (batch, classes). 792,291 parameters at 224x224x3 and three
        classes, 790,307 of them trainable (section 3.3 prints the former).

    Raises:
        ValueError: an unknown activation order.
    """
    if activation_order not in ("conv-relu-norm", "conv-norm-relu"):
        raise ValueError(f"activation_order is {activation_order!r}")
    images = keras.Input(input_shape, name="images")  # (batch, 224, 224, 3)
    x = images
    for number, filters in enumerate(FILTERS, 1):
        x = _block(x, f"block{number}", filters, dropout, batch_norm_momentum, activation_order)
    x = layers.Flatten(name="flatten")(x)  # (batch, 4 * 4 * 64)
    x = layers.Dense(DENSE_UNITS, activation="relu", name="dense")(x)
    # Inferred: without this batch norm the count is 2,048 short.
    x = layers.BatchNormalization(momentum=batch_norm_momentum, name="dense_norm")(x)
    x = layers.Dropout(dense_dropout, name="dense_dropout")(x)
    # float32 also under mixed precision: a rounded softmax makes ties.
    scores = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(images, scores, name="vbreathnet")


def _block(x, name: str, filters: int, dropout: float, momentum: float, order: str):
    """Convolution, batch norm, pooling, dropout: (batch, h, w, c) to (batch, h/2, w/2, filters)."""
    # Ours: "same" here too; without it sides of 319 to 382 would give the printed count.
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    norm = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")
    relu = layers.ReLU(name=f"{name}_relu")
    x = norm(relu(x)) if order == "conv-relu-norm" else relu(norm(x))
    # Paper: section 3.3: pooling "along with padding".
    x = layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x)
