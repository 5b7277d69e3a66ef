"""Every network of the project, how large it is measured, and how its study trains it.

Imports no TensorFlow by itself: `other_backend` builds the same networks on Keras' other backends.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

CLIPS, FILMS, SLICES, SIDE = 16, 16, 8, 224
TRANSFER = {"densenet121": "DenseNet-121", "mobilenetv2": "MobileNetV2", "vgg16": "VGG16"}
BACKBONES = {
    "resnext50_32x4d": "ResNeXt-50",
    "densenet161": "DenseNet-161",
    "inception_v3": "Inception-v3",
    "wide_resnet50_2": "Wide-ResNet-50",
}
CLIP_NETWORKS = {"cmwra": ("CMWRA", 40), "cmwru": ("CMWRU", 45), "rcm2d": ("RCM2d", 30)}


@dataclass(frozen=True)
class Network:
    """What is built, and what it is asked.

    Attributes:
        title: what a sample is, and how many at once.
        build: the uncompiled model, with random weights.
        batch: samples at once.
        study: whose way of training it has; "" for a network that is only asked, such as those
            that stay frozen below a small head.
    """

    title: str
    build: Callable
    batch: int
    study: str


def _build(path: str, *arguments, **named):
    """Import "module:function" and call it."""
    module, function = path.split(":")
    return getattr(importlib.import_module(module), function)(*arguments, **named)


def build_slice_network(name: str, side: int):
    """A slice network of the paper's first three scenarios: three classes."""
    features = _build("cnr_iemn.backbones:build_backbone", name, (side, side, 3))
    return _build("cnr_iemn.multitask:build_slice_network", features, 3)


def _networks() -> dict[str, Network]:
    build = partial(partial, _build)  # a call of `_build` for later
    kolarik, dzhulai = "lungsliding_tf.kolarik2023", "lungsliding_tf.dzhulai2024"
    networks = {}
    for depth in (18, 34, 50):
        resnet3d = build(f"{kolarik}.resnet3d:build_resnet3d", depth)
        title = f"ResNet3D-{depth}, {CLIPS} clips of 30 px"
        networks[f"resnet3d_{depth}"] = Network(title, resnet3d, CLIPS, "kolarik2023")
    mmode = build(f"{kolarik}.mmode_resnet:build_mmode_resnet18")
    title = f"ResNet-18, {CLIPS} M-mode images of 128 x 64"
    networks["mmode_resnet18"] = Network(title, mmode, CLIPS, "kolarik2023")
    vbreathnet = build("vbreathnet.model:build_vbreathnet")
    title = f"V-BreathNet, {FILMS} films of {SIDE} px"
    networks["vbreathnet"] = Network(title, vbreathnet, FILMS, "vbreathnet")
    for base, name in TRANSFER.items():
        transfer = build("vbreathnet.transfer:build_transfer", base)
        title = f"{name}, {FILMS} films of {SIDE} px"
        networks[f"transfer_{base}"] = Network(title, transfer, FILMS, "")
    for backbone, name in BACKBONES.items():
        side = 299 if backbone == "inception_v3" else SIDE
        title = f"{name}, {SLICES} slices of {side} px"
        slices = partial(build_slice_network, backbone, side)
        networks[backbone] = Network(title, slices, SLICES, "cnr_iemn")
    for network, (name, frames) in CLIP_NETWORKS.items():
        clips = build(f"{dzhulai}.{network}:build_{network}", frames, 128)
        title = f"{name}, 4 clips of {frames} frames of 128 px"
        networks[network] = Network(title, clips, 4, "dzhulai2024")
    for network, name in (("inception", "InceptionV3"), ("cnn2d", "2D network")):
        by_frame = build(f"{dzhulai}.per_frame:build_{network}")
        title = f"{name}, {SLICES} frames of 256 px"
        networks[f"frame_{network}"] = Network(title, by_frame, SLICES, "dzhulai2024")
    for variant in ("small", "large"):
        raft = build(f"{dzhulai}.raft:build_raft", variant, 12, (128, 128, 3))
        title = f"RAFT-{variant} in 12 updates, 4 pairs of 128 px"
        networks[f"raft_{variant}"] = Network(title, raft, 4, "")
    return networks


NETWORKS = _networks()


def random_inputs(model, batch: int) -> list:
    """float32 (batch, ...) in 0..1 for each input of a model."""
    import numpy as np

    rng = np.random.default_rng(0)
    return [rng.random((batch, *one.shape[1:]), np.float32) for one in model.inputs]


def forward_pass(model, inputs: list) -> Callable:
    """A function that asks a model once."""
    data = inputs if len(inputs) > 1 else inputs[0]
    return lambda: model.predict_on_batch(data)


def training_step(model, study: str, inputs: list, jit_compile: bool = False) -> Callable:
    """A function that trains a model for one step, with its study's loss and optimizer.

    The batch lies on the device already: what feeding costs is measured elsewhere.
    """
    import numpy as np
    import tensorflow as tf

    model, optimizer, loss = _way_of_training(model, study)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=jit_compile)
    units = model.output_shape[-1]
    labels = np.arange(len(inputs[0])) % max(units, 2)
    targets = labels[:, None] if units == 1 else np.eye(units)[labels]
    batch = [tf.constant(one, tf.float32) for one in (*inputs, targets)]
    return lambda: model.train_on_batch(*batch)


def _way_of_training(model, study: str) -> tuple:
    """Model, optimizer and loss as the `train.py` of a study has them."""
    import keras

    from replication.fused import FusedAdam, with_fused_batch_norm

    if study == "kolarik2023":
        return model, keras.optimizers.Adam(), "binary_crossentropy"
    model = with_fused_batch_norm(model)
    if study == "vbreathnet":
        return model, keras.optimizers.RMSprop(1e-3), "categorical_crossentropy"
    if study == "cnr_iemn":
        loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5)
        return model, FusedAdam(1e-4), loss
    from lungsliding_tf.dzhulai2024.losses import focal_loss
    from lungsliding_tf.dzhulai2024.one_cycle import OneCycleAdam

    optimizer = OneCycleAdam(1e-3, steps=1000, weight_decay=1e-3, clipvalue=0.4)
    return model, optimizer, focal_loss(0.8, 1.0)
