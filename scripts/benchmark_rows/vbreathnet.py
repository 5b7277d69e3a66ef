"""Rows of the V-BreathNet study: filtering, feeding, training steps and small models."""

from pathlib import Path

import cv2
import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row

BATCH = 32


def filtering_row(repeats: int, folder: Path) -> list[Row]:
    """The filters of section 3.1 on 3,000 images against decoding them."""
    from preprocessing.radiographs import read_radiograph
    from preprocessing.sharpness import contrast, laplacian_variance
    from vbreathnet.phantom import write_cohort

    files = sorted(write_cohort(folder / "films", 30, size=299, progress=False).rglob("images/*"))
    films = [read_radiograph(file) for file in files]
    again = -(-3000 // len(files))

    def decode():
        for file in files * again:
            read_radiograph(file)

    def measure():
        for film in films * again:
            laplacian_variance(film), contrast(film)

    def both():
        decode(), measure()

    ratios, ours, theirs = compare(both, decode, repeats)
    # A rate of at least 0.8 times that of decoding is a time of at most 1 / 0.8.
    name = f"decode and filter {len(files) * again} PNG of 299 px"
    return [ratio_row(name, "decode alone", ratios, ours, theirs, 1.25)]


def radiograph_feeding_row(repeats: int, folder: Path) -> list[Row]:
    """A training epoch at 224 px from the memory-mapped store against one from float arrays."""
    import keras

    from replication.batches import make_dataset, to_network_input

    path = folder / "films.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (3 * BATCH, 224, 224), np.uint8))
    samples = np.load(path, mmap_mode="r")
    in_memory = to_network_input(np.array(samples), scaling="standardized")
    labels = np.eye(3)[np.arange(len(samples)) % 3]
    model = _compiled(fused=True)
    order = np.random.default_rng(0).permutation(len(samples))

    def from_store():
        batches = make_dataset(samples, order, labels[order], BATCH, scaling="standardized")
        model.fit(batches, verbose=0, shuffle=False)

    def from_memory():
        model.fit(in_memory, labels, batch_size=BATCH, verbose=0)

    ratios, ours, theirs = compare(from_store, from_memory, min(repeats, 5))
    keras.backend.clear_session()
    return [
        ratio_row("V-BreathNet epoch from the store", "from arrays", ratios, ours, theirs, 1.05)
    ]


def fused_batch_norm_row(repeats: int, folder: Path) -> list[Row]:
    """A training step with the fused batch norm, in float32 and mixed, against Keras' own."""
    from replication.environment import set_precision

    images = np.random.default_rng(0).random((BATCH, 224, 224, 3), np.float32)
    labels = np.eye(3, dtype=np.float32)[np.arange(BATCH) % 3]
    plain, fused = _compiled(fused=False), _compiled(fused=True)
    policy = set_precision("auto")
    try:
        mixed = _compiled(fused=True)
    finally:
        set_precision("float32")
    rows = []
    for name, model in (("float32", fused), (f"auto, {policy}", mixed)):
        ratios, ours, theirs = compare(
            lambda model=model: model.train_on_batch(images, labels),
            lambda: plain.train_on_batch(images, labels),
            repeats,
        )
        title = f"V-BreathNet step of {BATCH} images, fused batch norm ({name})"
        rows.append(ratio_row(title, "Keras' batch norm, float32", ratios, ours, theirs, None))
    return rows


def low_power_row(repeats: int, folder: Path) -> list[Row]:
    """Size of the int8 file, and one image on one thread beside MobileNetV2."""
    from replication import litert
    from replication.batches import to_network_input
    from vbreathnet.model import build_vbreathnet
    from vbreathnet.phantom import write_cohort
    from vbreathnet.transfer import build_transfer

    files = sorted(write_cohort(folder / "films", 8, size=224, progress=False).rglob("images/*"))
    films = to_network_input(np.stack([cv2.imread(str(file), 0) for file in files]))
    rows = []
    for kind, ranges in (("float", None), ("int8", films)):
        paths = [
            litert.export_litert(model, folder / f"{model.name}-{kind}.tflite", ranges)
            for model in (build_vbreathnet(), build_transfer("mobilenetv2"))
        ]
        ratios, ours, theirs = compare(
            lambda paths=paths: litert.time_litert(paths[0], films[0], runs=5),
            lambda paths=paths: litert.time_litert(paths[1], films[0], runs=5),
            repeats,
        )
        title = f"V-BreathNet {kind}, 8 images and loading, one thread"
        rows.append(ratio_row(title, "MobileNetV2", ratios, ours, theirs, None))
        megabytes, other = (path.stat().st_size / 1e6 for path in paths)
        most = 1.0 if kind == "int8" else None
        rows.append(
            Row(f"V-BreathNet {kind} file", f"{megabytes:.2f} MB", f"MobileNetV2: {other:.2f} MB",
                f"{megabytes / other:.2f}", f"< {most} MB" if most else "-",
                megabytes < most if most else None)
        )  # fmt: skip
    return rows


def _compiled(fused: bool):
    import keras

    from replication.fused import with_fused_batch_norm
    from vbreathnet.model import build_vbreathnet

    model = build_vbreathnet()
    if fused:
        model = with_fused_batch_norm(model)
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3), loss="categorical_crossentropy", jit_compile=False
    )
    return model


ROWS = {
    "filtering": filtering_row,
    "radiograph_feeding": radiograph_feeding_row,
    "fused_batch_norm": fused_batch_norm_row,
    "low_power": low_power_row,
}
