"""Draw the one-page map of each study: `python scripts/draw_maps.py [--paper PAPER ...]`.

Boxes with arrows from the data to the verdict. The pictures in the boxes are phantoms that the
project's own functions made, marked, cut, split and augmented; shapes and numbers are read off what
those functions return. Scores are examples: nothing is trained. About half a minute for all four.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from PIL import Image

from preprocessing import clips, roi, splits, video
from replication.cli import quiet_start, run_command
from replication.metrics import Predictions
from replication.printed import load_reported

Paper = Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"]

# All lengths are px of a map of this width; it is drawn larger, for print.
WIDTH, MARGIN, COLUMNS = 900, 10, 3
ARROW = 30  # between boxes
BOX = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * ARROW) / COLUMNS
PAD = 8  # inside of a box
TITLE, SHAPE, LINE = 34, 27, 20.5  # heights of a box's lines of text
HEAD, FOOT = 44, 64
INNER = BOX - 2 * PAD
DOTS_PER_PX = 1.4
PALETTE = 96  # colours of a PNG
# Okabe and Ito's colours, which colour-blind readers tell apart; each kind is named as well.
BLUE, ORANGE, GREEN, SKY, INK = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#1a1a1a"
KINDS = {"data": (BLUE, "#eef5fa"), "network": (ORANGE, "#fdf2ea"), "result": (GREEN, "#ebf6f2")}
PART_COLOURS = {splits.TRAIN: BLUE, splits.VAL: "#E69F00", splits.TEST: INK}
PART_NAMES = {splits.TRAIN: "train", splits.VAL: "val", splits.TEST: "test"}
MULTIPLY = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Step:
    """One box: what is done, a picture of it, its shape, a sentence, and the code that does it.

    `draw` gets an axis of `INNER` px by the map's picture height, y downwards.
    """

    title: str
    draw: Callable[[Axes], None]
    shape: str
    says: str
    code: str
    kind: str = "data"


@dataclass(frozen=True)
class Row:
    """Up to three boxes, one after the other or, in parallel, all on what the row above made."""

    steps: Sequence[Step]
    parallel: bool = False


@dataclass(frozen=True)
class Arguments:
    """Which maps, and where to."""

    paper: tuple[Paper, ...] = ("kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024")
    """Studies."""
    out: Path = Path(__file__).resolve().parents[1] / "docs" / "figures"
    """Folder of the pictures."""


# ---- boxes and arrows --------------------------------------------------------------------------


def draw_map(path: Path, title: str, rows: Sequence[Row], picture: float, note: str) -> Path:
    """Write one map.

    Args:
        path: PNG to write.
        title: shown above.
        rows: from top to bottom.
        picture: height of the pictures in the boxes, px.
        note: shown below.
    """
    box_height = TITLE + picture + SHAPE + 4 * LINE + PAD
    height = HEAD + FOOT + len(rows) * box_height + (len(rows) - 1) * ARROW
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100 * DOTS_PER_PX, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1))
    _canvas(page, WIDTH, height)
    page.text(MARGIN, HEAD / 2, title, fontsize=_points(25), weight="bold", va="center")
    number = 0
    for i, row in enumerate(rows):
        top = HEAD + i * (box_height + ARROW)
        for j, step in enumerate(row.steps):
            number += 1
            _draw_box(page, step, number, MARGIN + j * (BOX + ARROW), top, picture, box_height)
        _connect(page, row, rows[i + 1] if i + 1 < len(rows) else None, top, box_height)
    _draw_foot(page, height, note)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG with a palette, a third of the size, whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    partial_path = path.with_name(f".partial.{path.name}")
    picture.quantize(PALETTE, dither=Image.Dither.NONE).save(
        partial_path, "png", optimize=True, dpi=(100 * DOTS_PER_PX,) * 2
    )
    return partial_path.replace(path)


def _points(px: float) -> float:
    """Font size in points of a height in px."""
    return 0.72 * px


def _canvas(axis: Axes, width: float, height: float) -> None:
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.set_axis_off()


def _draw_box(
    page: Axes, step: Step, number: int, left: float, top: float, picture: float, height: float
) -> None:
    edge, fill = KINDS[step.kind]
    style = "round,pad=0,rounding_size=9"
    page.add_patch(FancyBboxPatch((left, top), BOX, height, style, fc=fill, ec=edge, lw=1.8))
    page.text(left + PAD, top + TITLE / 2, f"{number}", fontsize=_points(19), weight="bold",
              color="white", va="center", ha="left",
              bbox={"boxstyle": "round,pad=0.22", "fc": edge, "ec": edge})  # fmt: skip
    page.text(left + PAD + 28, top + TITLE / 2, step.title, fontsize=_points(19.5), weight="bold",
              color=INK, va="center")  # fmt: skip
    whole = page.get_ylim()[0]
    place = ((left + PAD) / WIDTH, 1 - (top + TITLE + picture) / whole, INNER / WIDTH,
             picture / whole)  # fmt: skip
    axis = page.figure.add_axes(place)
    step.draw(axis)
    _canvas(axis, INNER, picture)
    y = top + TITLE + picture + SHAPE / 2 + 2
    page.text(left + PAD, y, step.shape, fontsize=_points(18), weight="bold", color=edge,
              va="center")  # fmt: skip
    y = top + TITLE + picture + SHAPE + LINE / 2
    for k, line in enumerate(step.says.split("\n")):
        page.text(left + PAD, y + k * LINE, line, fontsize=_points(16.5), color=INK, va="center")
    for k, line in enumerate(step.code.split("\n")):
        page.text(left + PAD, y + (2 + k) * LINE, line, fontsize=_points(15.5), color="#444444",
                  style="italic", va="center")  # fmt: skip


def _connect(page: Axes, row: Row, following: Row | None, top: float, height: float) -> None:
    """Arrows between the boxes of a row, and down to the next one."""
    middle = top + height / 2
    lefts = [MARGIN + j * (BOX + ARROW) for j in range(COLUMNS)]
    if not row.parallel:
        for left in lefts[1 : len(row.steps)]:
            _arrow(page, [(left - ARROW + 2, middle), (left - 2, middle)])
    if following is None:
        return
    from_boxes = range(len(row.steps)) if row.parallel else [len(row.steps) - 1]
    to_boxes = range(len(following.steps)) if following.parallel else [0]
    bottom, bend = top + height + 1, top + height + ARROW / 2
    for j in from_boxes:
        for k in to_boxes:
            start, end = lefts[j] + BOX / 2, lefts[k] + BOX / 2
            _arrow(page, [(start, bottom), (start, bend), (end, bend), (end, top + height + ARROW)])


def _arrow(page: Axes, points: Sequence[tuple[float, float]]) -> None:
    x, y = zip(*points, strict=True)
    page.plot(x[:-1] + (x[-1],), y[:-1] + (y[-1],), color="#555555", lw=2.2,
              solid_joinstyle="round", zorder=0)  # fmt: skip
    page.annotate("", points[-1], points[-2],
                  arrowprops={"arrowstyle": "-|>,head_width=0.35,head_length=0.6", "lw": 2.2,
                              "color": "#555555", "shrinkA": 0, "shrinkB": 0})  # fmt: skip


def _draw_foot(page: Axes, height: float, note: str) -> None:
    """What the colours of the boxes mean, and the note."""
    x, y = MARGIN, height - FOOT + 20
    for kind, (edge, fill) in KINDS.items():
        page.add_patch(Rectangle((x, y - 8), 26, 16, fc=fill, ec=edge, lw=1.8))
        page.text(x + 33, y, kind, fontsize=_points(16.5), va="center")
        x += 125
    page.text(x, y, "Phantoms, no patients.", fontsize=_points(16.5), va="center")
    page.text(MARGIN, y + 26, note, fontsize=_points(16), va="center")


# ---- pictures ----------------------------------------------------------------------------------


def _show(axis: Axes, image: np.ndarray, left: float, top: float, width: float, **options) -> float:
    """Draw an image at a place of the box; returns its scale, px of the box for one of its own."""
    scale = width / image.shape[1]
    small = image
    if scale * DOTS_PER_PX < 1 and image.dtype == np.uint8:
        size = (round(width * DOTS_PER_PX), round(image.shape[0] * scale * DOTS_PER_PX))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    extent = (left, left + width, top + scale * image.shape[0], top)
    settings = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"} | options
    axis.imshow(small, extent=extent, aspect="auto", **settings)
    return scale


def _show_row(axis: Axes, images: Sequence[np.ndarray], names: Sequence[str], top: float = 0):
    """Square images side by side with their names below."""
    gap = 8
    side = (INNER - gap * (len(images) - 1)) / len(images)
    for k, (image, name) in enumerate(zip(images, names, strict=True)):
        left = k * (side + gap)
        _show(axis, image, left, top, side)
        axis.text(left + side / 2, top + side + 4, name, fontsize=_points(15), ha="center",
                  va="top", linespacing=1.15)  # fmt: skip


def _show_stack(axis: Axes, images: Sequence[np.ndarray], width: float, step: float) -> None:
    """Images that follow one another, each covering a part of the one before."""
    for k, image in enumerate(images):
        scale = _show(axis, image, k * step, k * step, width)
        size = (width, scale * image.shape[0])
        axis.add_patch(Rectangle((k * step, k * step), *size, fill=False, ec="white", lw=1.2))


def _draw_parts(axis: Axes, parts: np.ndarray, hollow: np.ndarray, names: tuple[str, str], dots):
    """A dot for each patient, in a block for each part; hollow dots are of the second class.

    Args:
        parts: of each patient.
        hollow: bool, whether the patient is of the second class.
        names: of the two classes.
        dots: (dots in a line, px between them).
    """
    across, pitch = dots
    y = 4.0
    for part, colour in PART_COLOURS.items():
        of_part = np.sort(hollow[parts == part])
        k = np.arange(len(of_part))
        x, down = 72 + pitch * (k % across), y + pitch * (k // across + 0.5)
        axis.scatter(x, down, s=(0.58 * pitch) ** 2 * 0.72**2, linewidths=1.3, edgecolors=colour,
                     facecolors=[("white" if one else colour) for one in of_part])  # fmt: skip
        lines = -(-len(of_part) // across)
        axis.text(0, y + lines * pitch / 2, f"{PART_NAMES[part]} {len(of_part)}", color=colour,
                  fontsize=_points(16), weight="bold", va="center")  # fmt: skip
        y += lines * pitch + 6
    axis.text(0, y + 9, f"full: {names[0]}, hollow: {names[1]}", fontsize=_points(15.5),
              va="center")  # fmt: skip


def _draw_layers(axis: Axes, sides: Sequence[int], channels: Sequence[int], height: float) -> None:
    """Blocks for a network's maps: as high as their side, the number of channels inside."""
    pitch = INNER / len(sides)
    tallest = height - 46
    for k, (side, count) in enumerate(zip(sides, channels, strict=True)):
        tall = max(tallest * np.sqrt(side / sides[0]), 5)
        x, y = k * pitch, 22 + (tallest - tall) / 2
        axis.add_patch(Rectangle((x + 2, y), pitch - 6, tall, fc=ORANGE, ec=INK, lw=0.8,
                                 alpha=0.75))  # fmt: skip
        axis.text(x + pitch / 2 - 1, y - 9, f"{side}", fontsize=_points(15), ha="center",
                  va="center")  # fmt: skip
        axis.text(x + pitch / 2 - 1, height - 12, f"{count}", fontsize=_points(15), ha="center",
                  va="center", weight="bold")  # fmt: skip


def _draw_bars(axis: Axes, names: Sequence[str], values: Sequence[float], height: float) -> None:
    """Horizontal bars of scores from 0 to 1, with their numbers."""
    pitch = height / len(names)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = (k + 0.5) * pitch
        axis.text(0, y - 10, name, fontsize=_points(15.5), va="center")
        axis.add_patch(Rectangle((0, y), INNER - 50, 15, fc="white", ec="#999999", lw=0.8))
        axis.add_patch(Rectangle((0, y), value * (INNER - 50), 15, fc=GREEN, ec=INK, lw=0.8))
        axis.text(INNER, y + 8, f"{value:.2f}", fontsize=_points(16), ha="right", va="center")


def _draw_verdict(axis: Axes, paper: str, table: str, row: str, metric: str, height: float) -> None:
    """A printed number beside an interval of ours, which is an example."""
    printed = next(r for r in load_reported(paper)
                   if (r.table, r.row, r.metric) == (table, row, metric))  # fmt: skip
    low, value, high = printed.value - 0.22, printed.value - 0.12, printed.value - 0.03

    def place(number: float) -> float:
        return 14 + (INNER - 28) * (number - low + 0.05) / (printed.value - low + 0.1)

    paper_y, ours_y = 0.25 * height, 0.62 * height
    axis.plot([place(printed.value)] * 2, [paper_y, ours_y + 20], ":", color="#777777", lw=1.4)
    axis.plot(place(printed.value), paper_y, "D", color=INK, ms=9)
    axis.text(place(printed.value) - 12, paper_y, f"paper {printed.text}", fontsize=_points(16.5),
              ha="right", va="center")  # fmt: skip
    axis.errorbar(place(value), ours_y, xerr=[[place(value) - place(low)],
                  [place(high) - place(value)]], fmt="o", color=GREEN, ms=9, capsize=6, lw=2.4)  # fmt: skip
    axis.text(place(low), ours_y - 18, "ours, 95 % interval", fontsize=_points(16), color=GREEN)
    axis.text(0, height - 14, "(ours: an example)", fontsize=_points(15.5), va="center")


# ---- Kolárik 2023 and Dzhulai 2024: ultrasound ---------------------------------------------------


@dataclass(frozen=True)
class Ultrasound:
    """A phantom video, its first clip at 640x480 and the marked region in it."""

    native: np.ndarray
    clip: np.ndarray
    polygon: np.ndarray
    info: video.VideoInfo


def make_ultrasound(number: int) -> Ultrasound:
    """Phantom `number` of the default cohort, written as a video and read back."""
    from lungsliding_tf.phantom import PhantomConfig, write_dataset

    with tempfile.TemporaryDirectory() as folder:
        config = PhantomConfig(seconds=(2.05, 2.3), patients=number)
        data = write_dataset(Path(folder) / "phantoms", config, progress=False)
        path = video.list_videos(data / "videos")[number - 1]
        info = video.probe(path)
        region = roi.load_regions(path, info)[0]
        native = next(video.read_frames(path))
        clip = next(clips.read_clips(info, False, clips.ClipCount()))
        polygon = video.unified_geometry(info).to_unified(np.array(region.polygon))
        return Ultrasound(native, clip.frames.copy(), polygon, info)


def map_kolarik2023(path: Path) -> Path:
    """Kolárik 2023: video, region, tiles, network, patient, verdict."""
    phantom = make_ultrasound(2)
    tiles = clips.tile_grid(phantom.polygon, clips.TILE_SETS["all_30x30"])
    chosen = clips.spread(tiles, 9)[4]
    tile = phantom.clip[:, chosen.y : chosen.y + 30, chosen.x : chosen.x + 30]
    frames, height, width = phantom.clip.shape
    labels = np.array([1] * 28 + [0] * 20)
    parts = splits.split_patients(np.arange(48), labels, seed=0)
    picture = 172
    network, shapes, channels, count = _kolarik_network()
    rows = [
        Row([
            Step("Ultrasound video", lambda a: _show(a, phantom.native, 0, 14, INNER),
                 f"(frames, {phantom.info.height}, {phantom.info.width})",
                 "B-mode: bright line = pleura,\nbelow it the lung, dark: ribs",
                 "preprocessing/video.py\nread_frames"),
            Step("One size, one rate", lambda a: _show(a, phantom.clip[0], 12, 0, 229),
                 f"({frames}, {height}, {width})", "640x480, 30 frames a second;\n60-frame clips",
                 "preprocessing/video.py: unify\npreprocessing/clips.py: read_clips"),
            Step("Region, then tiles", partial(_draw_tiles, phantom, tiles, chosen),
                 f"{len(tiles)} tiles of 30x30 px",
                 "drawn by hand between two ribs;\nwhole tiles inside it count",
                 "scripts/mark_roi.py\npreprocessing/clips.py: tile_grid"),
        ]),
        Row([
            Step("Split by patient",
                 partial(_draw_parts, parts=parts, hollow=labels == 0,
                         names=("present", "absent"), dots=(11, 16)),
                 "48 patients, 28 + 20", "all tiles of a patient are\non one side",
                 "preprocessing/splits.py\nsplit_patients, check_split"),
            Step("One sample", partial(_draw_filmstrip, tile),
                 str((*tile.shape, 3)), "mean 0, SD 1; gray three times",
                 "replication/batches.py\nmake_dataset"),
            Step("ResNet3D-18", partial(_draw_layers, sides=shapes, channels=channels,
                                        height=picture),
                 f"{count:,} parameters", "3D convolutions: two axes of\nspace and one of time",
                 "lungsliding_tf/kolarik2023/\nresnet3d.py: build_resnet3d", "network"),
        ]),
        Row([
            Step("Score for each tile", partial(_draw_bars, height=picture,
                 names=[f"tile {k}" for k in range(1, 5)], values=SCORES),
                 "(tiles, 1), 0 to 1", "1: sliding present. 0.5 and\nabove counts as present",
                 "lungsliding_tf/kolarik2023/\nevaluate.py: evaluate_run", "result"),
            Step("Mean for each patient", partial(_draw_patient, picture),
                 "(patients,), 0 to 1", "interval: patients are drawn\nanew, not tiles",
                 "replication/metrics.py\nPredictions.by_patient", "result"),
            Step("Verdict", partial(_draw_verdict, paper="kolarik2023", table="1",
                 row="Resnet3D-18", metric="accuracy", height=picture),
                 "agrees, lower, higher, ...", "on phantoms always\n\"not comparable\"",
                 "replication/judging.py: judge\nscripts/verify.py", "result"),
        ]),
    ]  # fmt: skip
    note = f"{network}: above each block the side of its maps in px, below it their number."
    return draw_map(path, "Kolárik 2023: is the lung sliding?", rows, picture, note)


SCORES = (0.91, 0.72, 0.38, 0.84)  # examples of what a network may say


def _kolarik_network() -> tuple[str, list[int], list[int], int]:
    with quiet_start():
        from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d
        from replication.architecture import build_bare, count
    model = build_bare(partial(build_resnet3d, 18))
    names = ["stem_conv", "stem_pool", *(f"stage{k}_block2_add" for k in range(2, 5))]
    maps = [model.get_layer(name).output.shape for name in names]
    sides, channels = [s[2] for s in maps], [s[-1] for s in maps]
    return "ResNet3D-18", sides, channels, count(model)["total_parameters"]


def _draw_tiles(phantom: Ultrasound, tiles, chosen, axis: Axes) -> None:
    """The marked region enlarged, with the grid of tiles."""
    x0, y0 = phantom.polygon.min(axis=0).astype(int) - 14
    x1, y1 = phantom.polygon.max(axis=0).astype(int) + 14
    crop = phantom.clip[0, y0:y1, x0:x1]
    scale = min(INNER / crop.shape[1], 172 / crop.shape[0])
    left = (INNER - scale * crop.shape[1]) / 2
    _show(axis, crop, left, 0, scale * crop.shape[1])
    corners = (phantom.polygon - (x0, y0)) * scale + (left, 0)
    axis.add_patch(Polygon(corners, fill=False, ec=SKY, lw=2))
    for tile in tiles:
        place = ((tile.x - x0) * scale + left, (tile.y - y0) * scale)
        axis.add_patch(Rectangle(place, 30 * scale, 30 * scale, fill=False, ec="#F0E442", lw=0.9))
    place = ((chosen.x - x0) * scale + left, (chosen.y - y0) * scale)
    axis.add_patch(Rectangle(place, 30 * scale, 30 * scale, fill=False, ec=ORANGE, lw=2.6))


def _draw_filmstrip(tile: np.ndarray, axis: Axes) -> None:
    """Frames of a tile, fifteen apart, and how one column changes over time."""
    side = (INNER - 3 * 6) / 4
    for k in range(4):
        _show(axis, tile[15 * k], k * (side + 6), 0, side)
        axis.text(k * (side + 6) + side / 2, side + 10, f"frame {15 * k}", fontsize=_points(14),
                  ha="center", va="center")  # fmt: skip
    strip = tile[:, :, 15].T  # (rows, frames): an M-mode image of the tile
    axis.text(0, side + 32, "its middle column over 60 frames:", fontsize=_points(15), va="center")
    _show(axis, np.repeat(np.repeat(strip, 2, 0), 4, 1), 0, side + 44, INNER)


def _draw_patient(height: float, axis: Axes) -> None:
    """The mean of the example scores, by the project's own function."""
    n = len(SCORES)
    tiles = Predictions(np.arange(n).astype(str), np.array(["p002"] * n), np.ones(n, int),
                        np.array(SCORES))  # fmt: skip
    mean = float(tiles.by_patient().scores[0])
    _draw_bars(axis, ["patient p002"], [mean], 0.62 * height)
    said = " + ".join(f"{score:.2f}" for score in SCORES)
    axis.text(0, 0.68 * height, f"({said})", fontsize=_points(15), va="center")
    axis.text(0, 0.82 * height, f"/ {n} = {mean:.2f}", fontsize=_points(15), va="center")


MAPS = {"kolarik2023": map_kolarik2023}


def main() -> None:
    """Draw the maps that are asked for."""
    arguments = tyro.cli(Arguments, description=__doc__)
    for paper in arguments.paper:
        print(MAPS[paper](arguments.out / f"map-{paper}.png"))


if __name__ == "__main__":
    run_command(main)
