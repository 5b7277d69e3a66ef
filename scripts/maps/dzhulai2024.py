"""The map of Dzhulai 2024."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes

from maps.drawing import (
    CHOSEN,
    COPIES,
    TIMES,
    Ultrasound,
    draw_bars,
    draw_parts,
    draw_region,
    draw_stacked,
    show,
    show_row,
)
from maps.page import BLUE, INNER, PICTURE, YELLOW, Row, Step, draw_map
from maps.steps import SCORES, mean_of_patient, network, result, verdict
from preprocessing import clips, roi, splits, video

USABLE = 215  # frames of an example


def make_frames() -> Ultrasound:
    """A phantom in the form of the paper's list, written as a folder of frames and read back."""
    from lungsliding_tf import frame_folders
    from lungsliding_tf.dzhulai2024.data import CROPS
    from lungsliding_tf.dzhulai2024.sources import read_sources, read_stretches
    from lungsliding_tf.phantom import PhantomConfig

    config = PhantomConfig(present=139, absent=32, seconds=(2.1, 2.2), patients=2)
    with tempfile.TemporaryDirectory() as folder:
        data = frame_folders.write_frame_folders(Path(folder) / "frames", config, progress=False)
        source = read_sources(data)[-1]
        _, usable = next(read_stretches(source))
        frames = np.stack(list(usable))
        region = roi.load_regions(source.path, video.probe(source.path))[0]
    return Ultrasound(frames[0], frames, np.array(region.polygon), CROPS.px)


def map_dzhulai2024(path: Path) -> Path:
    """Frames, flow, split, clips, augmentation, three networks, logit, patient, verdict."""
    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig

    phantom, config = make_frames(), DzhulaiConfig(Path(), Path(), flow="dis")
    small = np.stack([cv2.resize(frame, (config.size,) * 2, interpolation=cv2.INTER_AREA)
                      for frame in phantom.frames])  # fmt: skip
    rows = [
        _frame_sources(config, phantom, small),
        _frame_clips(config, small),
        Row([_frame_network(config, *one) for one in FRAME_NETWORKS], parallel=True),
        Row([
            result("A logit for each clip",
                    partial(draw_bars, [f"clip {k}" for k in range(1, 5)], SCORES),
                    "(clips, 1)", "sigmoid makes it 0 to 1;\n1 = sliding absent",
                    "lungsliding_tf/dzhulai2024/\nevaluate.py: predict_logits"),
            mean_of_patient(),
            verdict("dzhulai2024", "5", "CMWRU", "test", "accuracy"),
        ]),
    ]  # fmt: skip
    note = f"Boxes 7-9: above a block frames{TIMES}px of its maps, below how many; lines: values."
    return draw_map(path, "Dzhulai 2024: is lung sliding absent?", rows, note)


def _frame_sources(config, phantom: Ultrasound, small: np.ndarray) -> Row:
    from lungsliding_tf.dzhulai2024.data import CROPS

    tiles = clips.tile_grid(phantom.polygon, CROPS, phantom.native.shape)
    crops = [phantom.native[t.y : t.y + CROPS.px, t.x : t.x + CROPS.px] for t in tiles]
    return Row([
        Step("Frames of a video",
             partial(draw_region, phantom.native, phantom, tiles, 400),
             f"(frames, {', '.join(map(str, phantom.native.shape))})",
             "PNG files; the list says which\nare usable",
             "lungsliding_tf/dzhulai2024/\nsources.py: read_stretches"),
        Step("Whole frames, or crops",
             partial(show_row, [small[0], crops[CHOSEN], crops[-1]],
                     [f"{config.size} px", f"{CROPS.px} px", f"{CROPS.px} px"]),
             f"(frames, {config.size}, {config.size})",
             "--crops takes the squares of\nthe marked region",
             "lungsliding_tf/dzhulai2024/\ndata.py: prepare_frames"),
        Step("Optical flow", partial(_draw_flow, config, small),
             f"(frames - 1, {config.size}, {config.size}, 2)",
             "px to the right and down, by\nRAFT; here by DIS, lines x 8",
             "lungsliding_tf/dzhulai2024/\nflow.py: measure_flow"),
    ])  # fmt: skip


def _draw_flow(config, small: np.ndarray, axis: Axes) -> None:
    """The flow between the two frames that move most, a dot at the start of each line."""
    from lungsliding_tf.dzhulai2024.flow import make_flow_method, measure_flow

    fields = measure_flow(make_flow_method(config), small)
    most = int(np.abs(fields[..., 0]).mean(axis=(1, 2)).argmax())
    left = (INNER - PICTURE) / 2
    scale = show(axis, small[most], left, 0, PICTURE)
    at = np.arange(16, config.size, 32)
    x, y = (one.ravel() for one in np.meshgrid(at, at))
    ends = np.stack([x, y], axis=1) + 8 * fields[most][y, x]
    axis.plot(*(scale * np.stack([[x, y], ends.T], axis=1) + [[[left]], [[0]]]), color=YELLOW, lw=2)
    axis.plot(scale * x + left, scale * y, "o", color=YELLOW, ms=4)


def _frame_clips(config, small: np.ndarray) -> Row:
    from lungsliding_tf import frame_folders
    from lungsliding_tf.cohort import ABSENT
    from lungsliding_tf.dzhulai2024.augment import change_frames, draw_change

    recordings = frame_folders.draw_recordings(frame_folders.PAPER_COHORT)
    patients = np.array([one.patient.patient for one in recordings])
    absent = np.array([one.patient.lung_sliding == ABSENT for one in recordings])
    parts = splits.split_patients(patients, absent, 0, config.test_fraction, config.val_fraction)
    _, each = np.unique(patients, return_index=True)
    change = draw_change(config, config.size, np.random.default_rng(3))
    changed = change_frames(small[[0, 40]], change).astype(np.uint8)
    lengths = {f"{name}: {config.frames_of(name.lower())} frames": config.frames_of(name.lower())
               for name in ("RCM2d", "CMWRA", "CMWRU")}  # fmt: skip
    windows = {name: [(n, BLUE)] * (USABLE // n) + [(USABLE % n, COPIES)]
               for name, n in lengths.items()}  # fmt: skip
    return Row([
        Step("Split by patient",
             partial(draw_parts, parts[each], absent[each], ("present", "absent"), 15),
             f"{len(recordings)} videos, {len(each)} patients",
             "60:20:20; then present clips\nare dropped: one class ratio",
             "preprocessing/splits.py\nsplit_patients"),
        Step("Clips", partial(draw_stacked, windows, f"of {USABLE} frames; striped: dropped"),
             f"{', '.join(map(str, lengths.values()))} frames",
             "one after the other; what is\nleft over is dropped",
             "lungsliding_tf/dzhulai2024/\nsplit.py: cut_clips"),
        Step("One draw for a clip",
             partial(show_row, [small[0], *changed],
                     ["frame 0", "frame 0,\nchanged", "frame 40,\nalike"]),
             "frames and flow alike", "flip, turn, crop, brightness,\n0.5 each; then mean 0, SD 1",
             "lungsliding_tf/dzhulai2024/\naugment.py, batches.py"),
    ])  # fmt: skip


# Title, file and end of the function's name, layers to draw, what is said.
FRAME_NETWORKS = (
    ("RCM2d: frames, GRU", "rcm2d", "each frame in 2D, then a GRU;",
     ("stage1_pool", "stage2_pool", "stage3_pool", "features", "gru")),
    ("CMWRA: optical flow", "cmwra", "two 3D convolutions on flow;",
     ("stage1_norm", "stage1_pool", "stage2_pool", "dense1", "dense2")),
    ("CMWRU: 3D residual", "cmwru", "the final model, on frames;",
     ("stem_pool", "stage2_block2_relu", "stage3_block2_relu", "dense1", "dense2")),
)  # fmt: skip


def _frame_network(config, title: str, name: str, says: str, layers: Sequence[str]) -> Step:
    from lungsliding_tf.dzhulai2024.cmwra import build_cmwra
    from lungsliding_tf.dzhulai2024.cmwru import build_cmwru
    from lungsliding_tf.dzhulai2024.rcm2d import build_rcm2d

    build = {"rcm2d": build_rcm2d, "cmwra": build_cmwra, "cmwru": build_cmwru}[name]
    code = f"lungsliding_tf/dzhulai2024/\n{name}.py: {build.__name__}"
    build = partial(build, config.frames_of(name), config.size)
    return network(title, build, layers, says, code, "trainable")
