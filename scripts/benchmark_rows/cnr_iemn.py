"""Rows of the CNR-IEMN study: a scan to its diagnosis, and Adam by the fused kernel."""

from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row

SLICES_APART, SCAN_PX, INPUT_PX, BATCH = 2.0, 256, 96, 16


def scan_row(repeats: int, folder: Path) -> list[Row]:
    """From the DICOM folder of a scan to the patient, by the four networks at their full width."""
    from cnr_iemn.batches import positions, stack_channels
    from cnr_iemn.phantom import write_cohort
    from cnr_iemn.predict import diagnose_scan

    data = write_cohort(
        folder / "scan", covid=1, cap=0, normal=0, labelled_covid=1, labelled_cap=0, size=SCAN_PX,
        slice_spacing=SLICES_APART, progress=False,
    )  # fmt: skip
    scan = data / "COVID-19 subjects" / "P001"
    stage = _random_stage()
    count = len(list(scan.iterdir()))
    images = np.zeros((BATCH, INPUT_PX, INPUT_PX, 2), np.uint8)
    inputs = [stack_channels(images, gray_only=False), positions(*np.full((2, BATCH), 1))]

    def diagnose():
        diagnose_scan(scan, stage)

    def forward():
        for model in stage.models.values():
            for start in range(0, count, BATCH):
                size = min(BATCH, count - start)
                model.predict_on_batch([part[:size] for part in inputs])

    ratios, ours, theirs = compare(diagnose, forward, repeats)
    name = f"a scan of {count} slices to the patient: four networks at {INPUT_PX} px, XGBoost"
    return [ratio_row(name, "four bare forward passes", ratios, ours, theirs, None)]


def _random_stage():
    """Four networks with random weights and a classifier of random features."""
    from cnr_iemn.backbones import build_backbone
    from cnr_iemn.config import CLASSES, NETWORKS
    from cnr_iemn.multitask import build_slice_network
    from cnr_iemn.patient import fit_classifier
    from cnr_iemn.predict import Stage

    shape = (INPUT_PX, INPUT_PX, 3)
    models = {
        name: build_slice_network(build_backbone(name, shape), len(CLASSES), regions=5)
        for name in NETWORKS
    }
    features = np.random.default_rng(0).random((30, 20 * len(CLASSES) * len(models)))
    classifier = fit_classifier("xgboost", features, np.arange(30) % len(CLASSES), seed=0)
    preparation = {"window_low": -1000.0, "window_high": 400.0, "keep_regions": 2,
                   "store_size": INPUT_PX}  # fmt: skip
    return Stage({"preparation": preparation, "groups": 20}, models, classifier)


def fused_adam_row(repeats: int, folder: Path) -> list[Row]:
    """A training step of ResNeXt-50 on small inputs, by Keras' Adam and by the fused kernel."""
    import keras

    from cnr_iemn.backbones import build_backbone
    from replication.fused import FusedAdam, with_fused_batch_norm

    images = np.random.default_rng(0).random((BATCH, 64, 64, 3), np.float32)
    targets = np.eye(3, dtype=np.float32)[np.arange(BATCH) % 3]

    def prepared(optimizer):
        features = build_backbone("resnext50_32x4d", (64, 64, 3))
        outputs = keras.layers.Dense(3, activation="softmax")(features.output)
        model = with_fused_batch_norm(keras.Model(features.input, outputs))
        model.compile(optimizer, "categorical_crossentropy", jit_compile=False)
        return lambda: model.train_on_batch(images, targets)

    ours, theirs = prepared(FusedAdam(1e-4)), prepared(keras.optimizers.Adam(1e-4))
    ratios, seconds, reference = compare(ours, theirs, repeats)
    keras.backend.clear_session()
    name = f"training step of ResNeXt-50, {BATCH} images of 64 px, Adam by the fused kernel"
    return [ratio_row(name, "Keras' Adam", ratios, seconds, reference, 1.0)]


ROWS = {"scan_to_patient": scan_row, "fused_adam": fused_adam_row}
