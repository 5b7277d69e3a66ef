"""The map of Kolárik 2023."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from maps.drawing import (
    CHOSEN,
    TIMES,
    Ultrasound,
    draw_bars,
    draw_parts,
    draw_region,
    show,
    show_fitting,
)
from maps.page import INNER, PICTURE, Row, Step, draw_map, write
from maps.steps import SCORES, mean_of_patient, network, result, verdict
from preprocessing import clips, roi, splits, video

TILES = clips.TILE_SETS["all_30x30"]


def make_video() -> Ultrasound:
    """A phantom of the default cohort, written as a video and read back as a 60-frame clip."""
    from lungsliding_tf.phantom import PhantomConfig, write_dataset

    with tempfile.TemporaryDirectory() as folder:
        config = PhantomConfig(seconds=(2.05, 2.3), patients=2)
        data = write_dataset(Path(folder) / "phantoms", config, progress=False)
        path = video.list_videos(data / "videos")[-1]
        info = video.probe(path)
        region = roi.load_regions(path, info)[0]
        native = next(video.read_frames(path))
        clip = next(clips.read_clips(info, False, clips.ClipCount()))
    polygon = video.unified_geometry(info).to_unified(np.array(region.polygon))
    return Ultrasound(native, clip.frames, polygon, TILES.px)


def map_kolarik2023(path: Path) -> Path:
    """Video, region, tiles, split, network, patient, verdict."""
    phantom = make_video()
    tiles = clips.tile_grid(phantom.polygon, TILES)
    rows = [
        Row([
            Step("Ultrasound video", partial(show_fitting, phantom.native),
                 f"(frames, {', '.join(map(str, phantom.native.shape))})",
                 "bright line: pleura; below it\nlung; black: shadows of ribs",
                 "preprocessing/video.py\nread_frames"),
            Step("One size, one rate", partial(show_fitting, phantom.frames[0]),
                 str(phantom.frames.shape), "640x480 px, 30 frames a\nsecond; clips of 60 frames",
                 "preprocessing/video.py: unify\npreprocessing/clips.py: read_clips"),
            Step("Region and tiles",
                 partial(draw_region, phantom.frames[0], phantom, tiles, 14),
                 f"{len(tiles)} tiles of 30x30 px",
                 "drawn by hand between two\nribs; whole tiles inside it",
                 "scripts/mark_roi.py\npreprocessing/clips.py: tile_grid"),
        ]),
        _kolarik_samples(phantom, tiles[CHOSEN]),
        Row([
            result("Score for each tile",
                    partial(draw_bars, [f"tile {k}" for k in range(1, 5)], SCORES),
                    "(tiles, 1), 0 to 1", "1 = sliding present; 0.5 and\nabove is called so",
                    "lungsliding_tf/kolarik2023/\nevaluate.py: evaluate_run"),
            mean_of_patient(),
            verdict("kolarik2023", "1", "Resnet3D-18", "all_30x30", "accuracy"),
        ]),
    ]  # fmt: skip
    note = f"Box 6: above a block frames{TIMES}px of its maps, below how many; line: 512 values."
    return draw_map(path, "Kolárik 2023: is the lung sliding?", rows, note)


def _kolarik_samples(phantom: Ultrasound, chosen: clips.Tile) -> Row:
    from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

    absent = np.repeat([False, True], [28, 20])
    parts = splits.split_patients(np.arange(48), absent, seed=0)
    tile = phantom.frames[:, chosen.y : chosen.y + 30, chosen.x : chosen.x + 30]
    layers = ["stem_conv", "stem_pool", *(f"stage{k}_block2_add" for k in range(2, 5)), "features"]
    return Row([
        Step("Split by patient", partial(draw_parts, parts, absent, ("present", "absent"), 11),
             f"{len(parts)} patients, 28 + 20", "all tiles of a patient are on\none side",
             "preprocessing/splits.py\nsplit_patients, check_split"),
        Step("One sample", partial(_draw_tile, tile), str((*tile.shape, 3)),
             "mean 0 and SD 1; gray\nthree times", "replication/batches.py\nmake_dataset"),
        network("ResNet3D-18", partial(build_resnet3d, 18), layers,
                 "3D: height, width and time",
                 "lungsliding_tf/kolarik2023/\nresnet3d.py: build_resnet3d"),
    ])  # fmt: skip


def _draw_tile(tile: np.ndarray, axis: Axes) -> None:
    """Frames of a tile, and how its middle column changes over time, as the network sees them."""
    standard = (tile - tile.mean()) / tile.std()
    look = {"vmin": -2.5, "vmax": 2.5}
    side = (INNER - 3 * 6) / 4
    for k in range(4):
        show(axis, standard[15 * k], k * (side + 6), 0, side, **look)
        write(axis, k * (side + 6) + side / 2, side + 11, f"{15 * k}", 15, ha="center")
    write(axis, 0, side + 32, "middle column, frames 0 to 59:", 15.5)
    axis.imshow(standard[:, :, 15].T, cmap="gray", extent=(0, INNER, PICTURE, side + 46),
                aspect="auto", interpolation="nearest", **look)  # fmt: skip
