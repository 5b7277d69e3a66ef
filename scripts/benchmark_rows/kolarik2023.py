"""Rows of the Kolárik study: preparing, feeding and training on clips."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, median_and_range, ratio_row

ROOT = Path(__file__).resolve().parents[2]


def prepare_row(repeats: int, folder: Path) -> list[Row]:
    """Cutting the tiles of a marked region against decoding the same video and nothing else."""
    import cv2

    from lungsliding_tf.kolarik2023 import data
    from lungsliding_tf.kolarik2023.config import KolarikConfig
    from preprocessing.clips import TILE_SETS

    phantoms = _phantoms(folder / "one", present=1, absent=1, seconds=(10.0, 10.0))
    rows = []
    for cell in ("2_30x30", "all_30x30"):
        config = KolarikConfig(data=phantoms, out=folder / "out")
        opened = [data._open_source(config, video) for video in data.read_labels(phantoms)]
        (source,) = [source for source in opened if source.info.width == 640][:1]
        source = data._with_grids(config, source, TILE_SETS[cell])

        def cut(source=source, config=config, cell=cell):
            target = Path(tempfile.mkdtemp(dir=folder)) / "store"
            shape = data._sample_shape(config, cell)
            with data.StoreWriter(target, {"sources": []}, shape) as writer:
                writer.finish_source(data._write_source(config, cell, source, writer))
                writer.close()

        def decode(source=source):
            capture = cv2.VideoCapture(str(source.info.path))
            while capture.read()[0]:
                pass
            capture.release()

        ratios, ours, theirs = compare(cut, decode, repeats)
        rows.append(
            ratio_row(
                f"prepare {cell} of a 640x480 video", "bare decoding", ratios, ours, theirs, 1.5
            )
        )
    return rows


def memory_row(repeats: int, folder: Path) -> list[Row]:
    """Peak memory of a whole prepare process for many videos, against that for few."""
    few, many = 4, 24
    data = {
        videos: _phantoms(
            folder / f"m{videos}", present=videos // 2, absent=videos // 2, seconds=(2.0, 8.0)
        )
        for videos in (few, many)
    }
    turns = [
        {videos: _peak_megabytes(data[videos], folder) for videos in data}
        for _ in range(min(repeats, 3))
    ]
    peak = {videos: statistics.median(turn[videos] for turn in turns) for videos in data}
    return [
        Row(
            f"peak memory of preparing {many} videos",
            f"{peak[many]:.0f} MB",
            f"{few} videos: {peak[few]:.0f} MB",
            median_and_range([turn[many] / turn[few] for turn in turns]),
            "< 600 MB",
            max(turn[many] for turn in turns) < 600,
        )
    ]


def _peak_megabytes(data: Path, folder: Path) -> float:
    """The largest that a process becomes that prepares `data` into a new folder."""
    out = tempfile.mkdtemp(dir=folder)
    command = [sys.executable, str(ROOT / "scripts" / "train_kolarik2023.py"), "--cell",
               "all_30x30", "--data", str(data), "--out", out, "--stop-after",
               "prepare"]  # fmt: skip
    code = (
        "import resource, subprocess\n"
        f"subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                             check=True)  # fmt: skip
    return int(printed.stdout) / 1024


def feeding_row(repeats: int, folder: Path) -> list[Row]:
    """A training epoch from the memory-mapped store against one from float arrays in memory."""
    import keras

    from replication.batches import make_dataset, to_network_input

    samples = _noise_clips(folder, 96, 30)
    labels = np.arange(96) % 2
    in_memory = to_network_input(samples, scaling="standardized")
    model = _compiled_resnet(30)
    order = np.random.default_rng(0).permutation(96)

    def from_store():
        batches = make_dataset(samples, order, labels[order], 32, scaling="standardized")
        model.fit(batches, verbose=0, shuffle=False)

    def from_memory():
        model.fit(in_memory, labels[:, None].astype("float32"), batch_size=32, verbose=0)

    ratios, ours, theirs = compare(from_store, from_memory, repeats)
    keras.backend.clear_session()
    return [ratio_row("epoch from the store", "epoch from arrays", ratios, ours, theirs, 1.05)]


def jit_row(repeats: int, folder: Path) -> list[Row]:
    """Why jit_compile is off on CPU: a step with XLA against one without."""
    batch = np.random.default_rng(0).random((8, 60, 30, 30, 3), np.float32)
    labels = np.ones((8, 1), np.float32)
    compiled, plain = _compiled_resnet(30, jit_compile=True), _compiled_resnet(30)
    ratios, ours, theirs = compare(
        lambda: compiled.train_on_batch(batch, labels),
        lambda: plain.train_on_batch(batch, labels),
        min(repeats, 3),
    )
    return [ratio_row("step with jit_compile", "step without", ratios, ours, theirs, None)]


def precision_row(repeats: int, folder: Path) -> list[Row]:
    """A step of 32 clips under --precision auto against float32."""
    from replication.environment import set_precision

    labels = np.ones((32, 1), np.float32)
    batch = np.random.default_rng(0).random((32, 60, 30, 30, 3), np.float32)
    plain = _compiled_resnet(30)
    policy = set_precision("auto")
    try:
        mixed = _compiled_resnet(30)
    finally:
        set_precision("float32")
    ratios, ours, theirs = compare(
        lambda: mixed.train_on_batch(batch, labels),
        lambda: plain.train_on_batch(batch, labels),
        repeats,
    )
    name = f"step of 32 clips of 30 px, auto ({policy})"
    return [ratio_row(name, "float32", ratios, ours, theirs, None)]


def _phantoms(folder: Path, **cohort) -> Path:
    from lungsliding_tf.phantom import PhantomConfig, write_dataset

    return write_dataset(folder, PhantomConfig(**cohort), progress=False)


def _noise_clips(folder: Path, count: int, px: int) -> np.ndarray:
    path = folder / "clips.npy"
    clips = np.random.default_rng(0).integers(0, 255, (count, 60, px, px), np.uint8)
    np.save(path, clips)
    return np.load(path, mmap_mode="r")


def _compiled_resnet(px: int, jit_compile: bool = False):
    import keras

    from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

    model = build_resnet3d(18, (60, px, px, 3))
    model.compile(
        optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", jit_compile=jit_compile
    )
    return model


ROWS = {
    "prepare": prepare_row,
    "memory": memory_row,
    "feeding": feeding_row,
    "jit": jit_row,
    "precision": precision_row,
}
