"""Rows of the CNR-IEMN study's backbones: training steps on the CPU."""

from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row

BATCH = 8


def grouped_convolution_row(repeats: int, folder: Path) -> list[Row]:
    """One grouped convolution with its gradients, merged into dense ones, against the native."""
    import keras

    from cnr_iemn.backbones import GroupedConv2D

    images = np.random.default_rng(0).random((BATCH, 24, 24, 128), np.float32)

    def step(merged):
        inputs = keras.Input(images.shape[1:])
        conv = GroupedConv2D(128, 3, padding="same", groups=32, merged=merged)
        model = keras.Model(inputs, conv(inputs))
        model.compile(optimizer="sgd", loss="mse", jit_compile=False)
        return lambda: model.train_on_batch(images, images)

    ratios, ours, theirs = compare(step(True), step(False), min(repeats, 3))
    name = f"step of a 3x3 convolution of 128 channels in 32 groups, {BATCH} x 24 x 24"
    return [ratio_row(name, "native operation", ratios, ours, theirs, None)]


def resnext_step_row(repeats: int, folder: Path) -> list[Row]:
    """A training step of ResNeXt-50 against one of ResNet-50, both with the fused batch norm."""
    import keras

    from cnr_iemn.backbones import build_backbone

    rows = []
    for side in (96, 224):
        images = np.random.default_rng(0).random((BATCH, side, side, 3), np.float32)
        ours = _step(build_backbone("resnext50_32x4d", images.shape[1:], classes=3), images)
        resnet = keras.applications.ResNet50(
            weights=None, input_shape=images.shape[1:], classes=3, classifier_activation=None
        )
        ratios, seconds, theirs = compare(ours, _step(resnet, images), repeats)
        name = f"ResNeXt-50 training step, {BATCH} x {side} px"
        reference = "ResNet-50 of keras.applications"
        rows.append(ratio_row(name, reference, ratios, seconds, theirs, 2.0))
        keras.backend.clear_session()
    return rows


def _step(model, images: np.ndarray):
    """A function that trains a model of logits for one step, as the training loop does."""
    import keras

    from replication.fused import with_fused_batch_norm

    model = with_fused_batch_norm(model)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    labels = np.arange(len(images)) % model.output_shape[-1]
    return lambda: model.train_on_batch(images, labels)


ROWS = {
    "grouped_convolution": grouped_convolution_row,
    "resnext_step": resnext_step_row,
}
