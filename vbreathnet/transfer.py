"""The transfer-learning baselines of V-BreathNet: a frozen ImageNet network and a small head.

Paper: section 3.2 and Table 3, which prints total and trainable parameters and nothing of the head.
"""

import keras
from keras import layers

# Inferred: total less trainable parameters of Table 3 are these networks without top, to the digit,
# at width 1.0 for MobileNetV2; so they are wholly frozen.
BASES = {
    "densenet121": keras.applications.DenseNet121,
    "mobilenetv2": keras.applications.MobileNetV2,
    "vgg16": keras.applications.VGG16,
}

# Images in 0..1 to the values each network was trained on, as (scale, offset) of Rescaling. Ours:
# the paper states no scaling. VGG16 was trained on blue, green, red: with equal channels, as gray
# images have them, only the order of its offsets matters.
IMAGENET_SCALING = {
    "densenet121": (
        [1 / 0.229, 1 / 0.224, 1 / 0.225],
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
    ),
    "mobilenetv2": (2.0, -1.0),
    "vgg16": (255.0, [-103.939, -116.779, -123.68]),
}

# Inferred: head parameters are 9 * 128 * features + 128 + 128 * 3 + 3 for all three networks:
# 128 filters of 3x3, or a dense layer of 128 on a map of 3x3, and a dense layer of 3.
HEADS = ("pool", "flatten", "dense")
HEAD_UNITS = 128


def build_transfer(
    base: str,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    weights: str | None = None,
    classes: int = 3,
    head: str = "pool",
) -> keras.Model:
    """An ImageNet network, frozen, with a head that tells three kinds of radiograph apart.

    V-BreathNet, section 3.2, Table 3. Parameters (total / trainable), as printed, with the default
    head at any size and with the other two at 96x96: densenet121 8,217,667 / 1,180,163; mobilenetv2
    3,733,059 / 1,475,075; vgg16 15,305,027 / 590,339.

    The model is flat: the network's layers are the model's own, so that Grad-CAM reaches them. They
    are frozen, and with them the statistics of batch norm, also in training. The head's layers
    start with `head_`.

    Args:
        base: "densenet121", "mobilenetv2" or "vgg16".
        input_shape: (height, width, 3), fixed. Ours: 224x224, what the networks were trained on;
            the paper states no size.
        weights: of the base, as keras.applications takes them: None for random ones, "imagenet"
            (downloads) or the path of a weight file without top. `weights.load_base_weights`
            explains what is wrong with a file or a download.
        classes: softmax outputs.
        head: "pool": 3x3 convolution, global average pooling, dense. "flatten": the same with
            flattening in place of pooling. "dense": flattening and two dense layers. Inferred: all
            three give the printed counts, the last two at 96x96 only (maps of 3x3). Ours: "pool",
            since the 8.5 hours that the paper reports for VGG16 fit 224x224.

    Returns:
        An uncompiled model: float32 images (batch, height, width, 3) in 0..1, gray repeated, to
        float32 (batch, classes), softmax scores.

    Raises:
        ValueError: unknown base or head; an input shape that is not (height, width, 3) or too
            small for the head; as keras.applications for `weights`.
    """
    if base not in BASES:
        raise ValueError(f"base must be one of {sorted(BASES)}, not {base!r}")
    if head not in HEADS:
        raise ValueError(f"head must be one of {HEADS}, not {head!r}")
    if len(input_shape) != 3 or None in input_shape or input_shape[2] != 3:
        raise ValueError(f"input_shape must be (height, width, 3), not {input_shape}")
    images = keras.Input(input_shape, name="images")  # (batch, 224, 224, 3)
    scale, offset = IMAGENET_SCALING[base]
    # bfloat16 would round VGG16's -124..151 to whole gray levels and more.
    x = layers.Rescaling(scale, offset, dtype="float32", name="imagenet_scaling")(images)
    network = BASES[base](
        include_top=False, weights=weights, input_tensor=x, input_shape=input_shape
    )
    for layer in network.layers:
        layer.trainable = False
    scores = _add_head(network.output, classes, head)
    return keras.Model(images, scores, name=f"transfer_{base}")


def _add_head(x, classes: int, head: str):
    """Feature map (batch, h, w, features), h = w = 7 at 224 px, to scores (batch, classes)."""
    if head != "dense":
        if min(x.shape[1:3]) < 3:
            raise ValueError(
                f"the feature map is {x.shape[1]}x{x.shape[2]}, the head's kernel 3x3: "
                "use images of 96 px or more"
            )
        # Inferred: "valid" or "same" give the same count where pooling follows; only "valid" does
        # for flattening at 96 px.
        x = layers.Conv2D(HEAD_UNITS, 3, activation="relu", name="head_conv")(x)  # (B, 5, 5, 128)
    if head == "pool":
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)  # (B, 128)
    else:
        x = layers.Flatten(name="head_flatten")(x)
    if head == "dense":
        x = layers.Dense(HEAD_UNITS, activation="relu", name="head_hidden")(x)  # (B, 128)
    # float32 also under mixed precision: a rounded softmax makes ties.
    return layers.Dense(classes, activation="softmax", dtype="float32", name="head_dense")(x)
