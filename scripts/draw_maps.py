"""Draw the one-page map of each study: `python scripts/draw_maps.py`.

Boxes with arrows from the data to the verdict. The pictures in them are phantoms that the project's
own functions made, marked, cut, split and augmented, and shapes and counts are read off what those
functions return. Scores are examples: nothing is trained. A minute for all four.
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
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from matplotlib.text import Text
from PIL import Image

from preprocessing import clips, duplicates, lungs, radiographs, roi, sharpness, splits, video
from replication.cli import quiet_start, run_command
from replication.metrics import Predictions
from replication.printed import load_reported

Paper = Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"]

# All lengths are px of a map of this width; it is drawn larger, for print.
WIDTH, MARGIN, COLUMNS = 900, 10, 3
DOTS_PER_PX = 1.4
PALETTE = 144  # colours of the PNG
ARROW = 30  # between boxes
BOX = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * ARROW) / COLUMNS
PAD = 8  # inside of a box
INNER = BOX - 2 * PAD
TITLE, SHAPE, LINE = 36, 27, 20.5  # heights of a box's lines of text
PICTURE = 172
HEIGHT = TITLE + PICTURE + SHAPE + 4 * LINE + PAD  # of a box
HEAD, FOOT = 46, 62
# Okabe and Ito's colours, which colour-blind readers tell apart; each kind is named as well.
BLUE, ORANGE, GREEN, SKY, YELLOW = "#0072B2", "#D55E00", "#00795A", "#56B4E9", "#F0E442"
INK, GRAY, PURPLE = "#1a1a1a", "#555555", "#6A3D9A"
KINDS = {"data": (BLUE, "#eef5fa"), "network": (ORANGE, "#fdf2ea"), "result": (GREEN, "#ebf6f2")}
PARTS = {splits.TRAIN: ("train", BLUE), splits.VAL: ("val", PURPLE), splits.TEST: ("test", INK)}
COPIES = "striped"
CLASS_COLOURS = (SKY, ORANGE, INK)  # bright, middle, dark: told apart in gray, too
SCORES, EXAMPLE = (0.91, 0.72, 0.38, 0.84), (0.81, 0.07, 0.12)  # what a network may say
TILES = clips.TILE_SETS["all_30x30"]
CHOSEN = 4  # a tile of the top row, which the pleura crosses
USABLE = 215  # frames of an example
TIMES = "\N{MULTIPLICATION SIGN}"
Draw = Callable[[Axes], None]  # draws into an axis of INNER x PICTURE px, y downwards


@dataclass(frozen=True)
class Step:
    """One box: what is done, a picture of it, its shape, two lines on it, and the code of it."""

    title: str
    draw: Draw
    shape: str
    says: str
    code: str
    kind: str = "data"


@dataclass(frozen=True)
class Row:
    """Three boxes, one after the other or, in parallel, each on what the row above made."""

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


def draw_map(path: Path, title: str, rows: Sequence[Row], note: str) -> Path:
    """Write one map: its title, rows of boxes, what their colours mean, and a note."""
    height = HEAD + FOOT + len(rows) * HEIGHT + (len(rows) - 1) * ARROW
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100 * DOTS_PER_PX)
    canvas = FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1))
    _set_px(page, WIDTH, height)
    _write(page, MARGIN, HEAD / 2, title, 25, WIDTH - 2 * MARGIN, weight="bold")
    for i, row in enumerate(rows):
        top = HEAD + i * (HEIGHT + ARROW)
        for j, step in enumerate(row.steps):
            _draw_box(page, step, f"{COLUMNS * i + j + 1}", _left(j), top, height)
        _connect(page, row, rows[i + 1] if i + 1 < len(rows) else None, top)
    _draw_foot(page, height - FOOT, note)
    canvas.draw()
    return _save(np.asarray(canvas.buffer_rgba()), path)


def _save(picture: np.ndarray, path: Path) -> Path:
    """Write RGBA as a PNG with a palette, a third of the size, whole or not at all."""
    partial_path = path.with_name(f".partial.{path.name}")
    image = Image.fromarray(picture).convert("RGB")
    image.quantize(PALETTE, dither=Image.Dither.NONE).save(
        partial_path, "png", optimize=True, dpi=(100 * DOTS_PER_PX,) * 2
    )
    return partial_path.replace(path)


def _set_px(axis: Axes, width: float, height: float) -> None:
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.set_axis_off()


def _left(column: int) -> float:
    return MARGIN + column * (BOX + ARROW)


def _write(
    axis: Axes, x: float, y: float, said: str, px: float, most: float = INNER, **options
) -> Text:
    """A line of text of a height in px, smaller where it would be wider than `most`."""
    options = {"va": "center", "color": INK, "parse_math": False} | options
    line = axis.text(x, y, said, fontsize=0.72 * px, **options)
    wide = line.get_window_extent().width / DOTS_PER_PX
    if wide > most:  # hinting makes a little more of it
        line.set_fontsize(0.72 * px * 0.97 * most / wide)
    return line


def _draw_box(page: Axes, step: Step, number: str, left: float, top: float, whole: float) -> None:
    edge, fill = KINDS[step.kind]
    style, x = "round,pad=0,rounding_size=9", left + PAD
    page.add_patch(FancyBboxPatch((left, top), BOX, HEIGHT, style, fc=fill, ec=edge, lw=1.8))
    page.add_patch(FancyBboxPatch((x, top + 7), 28, 23, "round,pad=0,rounding_size=5", fc=edge,
                                  ec=edge))  # fmt: skip
    _write(page, x + 14, top + 18.5, number, 18, weight="bold", color="white", ha="center")
    _write(page, x + 36, top + 18.5, step.title, 19.5, INNER - 36, weight="bold")
    y = top + TITLE + PICTURE
    axis = page.figure.add_axes((x / WIDTH, 1 - y / whole, INNER / WIDTH, PICTURE / whole))
    _set_px(axis, INNER, PICTURE)
    step.draw(axis)
    _set_px(axis, INNER, PICTURE)  # images have set limits of their own
    _write(page, x, y + SHAPE / 2 + 2, step.shape, 18, weight="bold", color=edge)
    y += SHAPE + LINE / 2
    for k, line in enumerate(step.says.split("\n")):
        _write(page, x, y + k * LINE, line, 16.5)
    for k, line in enumerate(step.code.split("\n"), start=2):
        _write(page, x, y + k * LINE, line, 15.5, color="#444444", style="italic")


def _connect(page: Axes, row: Row, following: Row | None, top: float) -> None:
    """Arrows between the boxes of a row, and down to the next one."""
    if not row.parallel:
        for column in range(1, len(row.steps)):
            y = top + HEIGHT / 2
            _arrow(page, [(_left(column) - ARROW + 2, y), (_left(column) - 2, y)])
    if following is None:
        return
    above = range(len(row.steps)) if row.parallel else [len(row.steps) - 1]
    below = range(len(following.steps)) if following.parallel else [0]
    bottom = top + HEIGHT
    for j in above:
        for k in below:
            start, end = _left(j) + BOX / 2, _left(k) + BOX / 2
            bend = bottom + ARROW / 2
            _arrow(page, [(start, bottom), (start, bend), (end, bend), (end, bottom + ARROW - 2)])


def _arrow(page: Axes, points: Sequence[tuple[float, float]]) -> None:
    page.plot(*zip(*points[:-1], strict=True), color=GRAY, lw=2.2, zorder=0)
    style = {"arrowstyle": "-|>,head_width=0.35,head_length=0.6", "lw": 2.2, "color": GRAY,
             "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    page.annotate("", points[-1], points[-2], arrowprops=style)


def _draw_foot(page: Axes, top: float, note: str) -> None:
    for k, (kind, (edge, fill)) in enumerate(KINDS.items()):
        x = MARGIN + 125 * k
        page.add_patch(Rectangle((x, top + 11), 26, 16, fc=fill, ec=edge, lw=1.8))
        _write(page, x + 33, top + 19, kind, 16.5)
    said = "All pictures are phantoms, no patients; scores are examples."
    _write(page, MARGIN + 385, top + 19, said, 16.5, WIDTH - 395)
    _write(page, MARGIN, top + 44, note, 16.5, WIDTH - 2 * MARGIN)


# ---- pictures in the boxes ---------------------------------------------------------------------


def _show(axis: Axes, image: np.ndarray, left: float, top: float, width: float, **options) -> float:
    """An image at a place of the box; returns its scale, px of the box for one of its own."""
    scale = width / image.shape[1]
    extent = (left, left + width, top + scale * image.shape[0], top)
    if scale * DOTS_PER_PX < 1 and image.dtype == np.uint8:
        size = np.rint(np.array(image.shape[1::-1]) * scale * DOTS_PER_PX).astype(int)
        image = cv2.resize(image, size.tolist(), interpolation=cv2.INTER_AREA)
    settings = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"} | options
    axis.imshow(image, extent=extent, aspect="auto", **settings)
    return scale


def _show_fitting(image: np.ndarray, axis: Axes) -> None:
    """An image as large as the box allows, in its middle."""
    width = min(INNER, PICTURE * image.shape[1] / image.shape[0])
    height = width * image.shape[0] / image.shape[1]
    _show(axis, image, (INNER - width) / 2, (PICTURE - height) / 2, width)


def _show_row(images: Sequence[np.ndarray], names: Sequence[str], axis: Axes) -> None:
    """Square images side by side with their names, of a line or more, below."""
    gap = 5
    side = (INNER - gap * (len(images) - 1)) / len(images)
    top = (PICTURE - side - 10 - 19 * (1 + max(name.count("\n") for name in names))) / 2
    for k, (image, name) in enumerate(zip(images, names, strict=True)):
        left = k * (side + gap)
        _show(axis, image, left, top, side)
        for number, line in enumerate(name.split("\n")):
            y = top + side + 14 + 19 * number
            _write(axis, left + side / 2, y, line, 15.5, side + gap, ha="center")


def _draw_parts(
    parts: np.ndarray, second: np.ndarray, names: tuple[str, str], across: int, axis: Axes
) -> None:
    """A dot for each patient, in a block for each part; hollow dots are of the second class."""
    pitch, y = (INNER - 66) / across, 4.0
    for part, (name, colour) in PARTS.items():
        hollow = np.sort(second[parts == part])
        k = np.arange(len(hollow))
        x, down = 66 + pitch * (k % across + 0.5), y + pitch * (k // across + 0.5)
        faces = ["white" if one else colour for one in hollow]
        axis.scatter(x, down, s=(0.5 * pitch) ** 2, linewidths=1.2, edgecolors=colour,
                     facecolors=faces)  # fmt: skip
        lines = -(-len(hollow) // across)
        middle = y + lines * pitch / 2
        _write(axis, 0, middle, f"{name} {len(hollow)}", 15.5, 62, color=colour, weight="bold")
        y += lines * pitch + 5
    _write(axis, 0, PICTURE - 10, f"full: {names[0]}, hollow: {names[1]}", 15.5)


def _draw_layers(model, names: Sequence[str], axis: Axes) -> None:
    """Blocks as high as the side of a layer's maps, lines for layers without maps.

    Above a block stands the side in px, and before it the frames of a clip; below it how many maps
    or values there are.
    """
    shapes = [model.get_layer(name).output.shape[1:] for name in names]
    pitch, tallest, largest = INNER / len(shapes), PICTURE - 52, max(s[-2] for s in shapes[:1])
    for k, shape in enumerate(shapes):
        middle, wide = (k + 0.5) * pitch, pitch - 7
        sides = [f"{side}" for side in (*shape[:-3], *shape[-2:-1])] if len(shape) > 2 else []
        tall = max(tallest * np.sqrt(shape[-2] / largest), 6) if sides else 0.45 * tallest
        wide, colour = (wide, ORANGE) if sides else (9, INK)
        y = 26 + (tallest - tall) / 2
        axis.add_patch(Rectangle((middle - wide / 2, y), wide, tall, fc=colour, ec=INK, lw=0.8))
        _write(axis, middle, y - 10, TIMES.join(sides), 15, pitch, ha="center")
        _write(axis, middle, PICTURE - 12, f"{shape[-1]}", 15, pitch, ha="center", weight="bold")


def _draw_bars(names: Sequence[str], values: Sequence[float], axis: Axes) -> None:
    """Scores from 0 to 1 as bars with their numbers."""
    pitch = PICTURE / max(len(names), 3)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = (k + 0.5) * pitch
        _write(axis, 0, y - 10, name, 15.5)
        for share, fill in ((1, "white"), (value, GREEN)):
            axis.add_patch(Rectangle((0, y), share * (INNER - 50), 15, fc=fill, ec=INK, lw=0.8))
        _write(axis, INNER, y + 8, f"{value:.2f}", 16, ha="right")


def _draw_stacked(bars: dict[str, Sequence[tuple[int, str]]], legend: str, axis: Axes) -> None:
    """A bar of several parts, (length, colour), for each name; copies are striped."""
    longest = max(sum(length for length, _ in parts) for parts in bars.values())
    scale, pitch = (INNER - 3) / longest, (PICTURE - 24) / len(bars)
    for k, (name, parts) in enumerate(bars.items()):
        x, y = 1.0, k * pitch + 22
        _write(axis, 0, y - 11, name, 15.5)
        for length, colour in parts:
            look = {"fc": colour, "ec": INK, "lw": 0.8}
            if colour is COPIES:
                look = {"fc": "white", "ec": BLUE, "lw": 0.8, "hatch": "////"}
            axis.add_patch(Rectangle((x, y), scale * length, 18, **look))
            x += scale * length
    _write(axis, 0, PICTURE - 11, legend, 15.5)


def _draw_shares(shares: np.ndarray, names: Sequence[str], axis: Axes) -> None:
    """A column of class shares for each slice or group, from head to foot."""
    wide, x = INNER / len(shares), 0.0
    for k, of_one in enumerate(shares):
        y = 112.0
        for share, colour in zip(of_one, CLASS_COLOURS, strict=True):
            y -= 104 * share
            look = {"fc": colour, "ec": "white", "lw": 0.5}
            axis.add_patch(Rectangle((k * wide, y), wide, 104 * share, **look))
    _write(axis, 0, 125, "head", 15.5)
    _write(axis, INNER, 125, "foot", 15.5, ha="right")
    for name, colour in zip(names, CLASS_COLOURS, strict=True):
        axis.add_patch(Rectangle((x, PICTURE - 25), 14, 14, fc=colour, ec=INK, lw=0.8))
        _write(axis, x + 18, PICTURE - 18, name, 15.5)
        x += 30 + 8.6 * len(name)


def _draw_region(
    frame: np.ndarray, phantom: "Ultrasound", tiles: Sequence[clips.Tile], margin: int, axis: Axes
) -> None:
    """The marked region and so many px around it, with its tiles, the chosen one in bold."""
    low = np.maximum(phantom.polygon.min(axis=0).astype(int) - margin, 0)
    high = phantom.polygon.max(axis=0).astype(int) + margin
    frame = frame[low[1] : high[1], low[0] : high[0]]
    width = min(INNER, PICTURE * frame.shape[1] / frame.shape[0])
    left = np.array([(INNER - width) / 2, 0])
    scale = _show(axis, frame, left[0], 0, width)
    corners = (phantom.polygon - low) * scale + left
    axis.add_patch(Polygon(corners, fill=False, ec=SKY, lw=2.4))
    for tile in [*tiles, tiles[CHOSEN]]:
        place, side = (np.array([tile.x, tile.y]) - low) * scale + left, phantom.tile_px * scale
        axis.add_patch(Rectangle(place, side, side, fill=False, ec=YELLOW, lw=0.9))
    axis.patches[-1].set(edgecolor=ORANGE, linewidth=3)


# ---- steps that maps share ---------------------------------------------------------------------


def _result(*step) -> Step:
    return Step(*step, kind="result")


def _network(
    title: str, build: Callable, layers: Sequence[str], says: str, code: str, counted: str = "total"
) -> Step:
    """A network as built, without its weights; what is counted is what its paper prints."""
    from replication.architecture import build_bare, count

    model = build_bare(build)
    says = f"{says}\n{count(model)[f'{counted}_parameters']:,} parameters"
    draw = partial(_draw_layers, model, layers)
    return Step(title, draw, str(model.input_shape[1:]), says, code, "network")


def _mean_of_patient() -> Step:
    """The means of example scores, by the project's own function."""
    scores = np.array([*SCORES, *(1 - score for score in SCORES), *SCORES[:2]])
    patients = np.repeat(["patient 1: 4 scores", "patient 2: 4", "patient 3: 2"], (4, 4, 2))
    samples = Predictions(np.arange(10).astype(str), patients, np.ones(10, int), scores)
    means = samples.by_patient()
    return _result("Mean for each patient", partial(_draw_bars, means.patients, means.scores),
                   "(patients,), 0 to 1", "its interval is over patients,\nnot over samples",
                   "replication/metrics.py\nPredictions.by_patient")  # fmt: skip


def _verdict(*printed: str) -> Step:
    """The last box. `printed` names a number: paper, table, row, data set, metric."""
    return _result("Verdict", partial(_draw_verdict, *printed), "agrees, lower, higher, ...",
                   "inconclusive; on phantoms\nalways \"not comparable\"",
                   "replication/judging.py: judge\nscripts/verify.py")  # fmt: skip


def _printed(paper: str, table: str, row: str, dataset: str, metric: str) -> str:
    wanted = (table, row, dataset, metric)
    return next(r.text for r in load_reported(paper)
                if (r.table, r.row, r.dataset, r.metric) == wanted)  # fmt: skip


def _draw_verdict(*printed_and_axis) -> None:
    """A printed number beside an interval of ours, which is an example."""
    *printed, axis = printed_and_axis
    low, ours, high, theirs = np.array([0.06, 0.36, 0.70, 0.86]) * INNER
    axis.plot([theirs] * 2, [44, 128], ":", color=GRAY, lw=1.6)
    axis.plot(theirs, 44, "D", color=INK, ms=10)
    _write(axis, theirs - 14, 44, f"paper {_printed(*printed)}", 17, ha="right")
    axis.errorbar(ours, 106, xerr=[[ours - low], [high - ours]], fmt="o", color=GREEN, ms=9,
                  capsize=6, lw=2.4)  # fmt: skip
    _write(axis, low, 84, "ours, 95 % interval", 16.5, color=GREEN)
    _write(axis, 0, PICTURE - 18, f"{printed[-1]}; ours is an example", 15.5)


@dataclass(frozen=True)
class Ultrasound:
    """A phantom's first frame, frames that follow one another, and the marked region in them."""

    native: np.ndarray
    frames: np.ndarray
    polygon: np.ndarray
    tile_px: int


# ---- Kolárik 2023 ------------------------------------------------------------------------------


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
            Step("Ultrasound video", partial(_show_fitting, phantom.native),
                 f"(frames, {', '.join(map(str, phantom.native.shape))})",
                 "bright line: pleura; below it\nlung; black: shadows of ribs",
                 "preprocessing/video.py\nread_frames"),
            Step("One size, one rate", partial(_show_fitting, phantom.frames[0]),
                 str(phantom.frames.shape), "640x480 px, 30 frames a\nsecond; clips of 60 frames",
                 "preprocessing/video.py: unify\npreprocessing/clips.py: read_clips"),
            Step("Region and tiles",
                 partial(_draw_region, phantom.frames[0], phantom, tiles, 14),
                 f"{len(tiles)} tiles of 30x30 px",
                 "drawn by hand between two\nribs; whole tiles inside it",
                 "scripts/mark_roi.py\npreprocessing/clips.py: tile_grid"),
        ]),
        _kolarik_samples(phantom, tiles[CHOSEN]),
        Row([
            _result("Score for each tile",
                    partial(_draw_bars, [f"tile {k}" for k in range(1, 5)], SCORES),
                    "(tiles, 1), 0 to 1", "1 = sliding present; 0.5 and\nabove is called so",
                    "lungsliding_tf/kolarik2023/\nevaluate.py: evaluate_run"),
            _mean_of_patient(),
            _verdict("kolarik2023", "1", "Resnet3D-18", "all_30x30", "accuracy"),
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
        Step("Split by patient", partial(_draw_parts, parts, absent, ("present", "absent"), 11),
             f"{len(parts)} patients, 28 + 20", "all tiles of a patient are on\none side",
             "preprocessing/splits.py\nsplit_patients, check_split"),
        Step("One sample", partial(_draw_tile, tile), str((*tile.shape, 3)),
             "mean 0 and SD 1; gray\nthree times", "replication/batches.py\nmake_dataset"),
        _network("ResNet3D-18", partial(build_resnet3d, 18), layers,
                 "3D: height, width and time",
                 "lungsliding_tf/kolarik2023/\nresnet3d.py: build_resnet3d"),
    ])  # fmt: skip


def _draw_tile(tile: np.ndarray, axis: Axes) -> None:
    """Frames of a tile, and how its middle column changes over time, as the network sees them."""
    standard = (tile - tile.mean()) / tile.std()
    look = {"vmin": -2.5, "vmax": 2.5}
    side = (INNER - 3 * 6) / 4
    for k in range(4):
        _show(axis, standard[15 * k], k * (side + 6), 0, side, **look)
        _write(axis, k * (side + 6) + side / 2, side + 11, f"{15 * k}", 15, ha="center")
    _write(axis, 0, side + 32, "middle column, frames 0 to 59:", 15.5)
    axis.imshow(standard[:, :, 15].T, cmap="gray", extent=(0, INNER, PICTURE, side + 46),
                aspect="auto", interpolation="nearest", **look)  # fmt: skip


# ---- V-BreathNet -------------------------------------------------------------------------------


def map_vbreathnet(path: Path) -> Path:
    """Films, filters, size, split, copies, network, classes, Grad-CAM, verdict."""
    from vbreathnet.cohort import draw_cohort
    from vbreathnet.phantom import render

    films = {film.name: render(film, 299) for film in draw_cohort(8, 0)}
    images = {name: film.image for name, film in films.items()}
    covid = films["COVID-7"]
    rows = [
        _film_files(images),
        _film_samples(images["Viral Pneumonia-7"]),
        Row([
            _result("Three scores",
                    partial(_draw_bars, ("COVID-19", "normal", "viral pneumonia"), EXAMPLE),
                    "(images, 3), sum 1", "softmax; the largest names\nthe class",
                    "vbreathnet/evaluate.py\nscore_samples"),
            _result("Where it looks",
                    partial(_show_row, [covid.image, _random_heat(covid.image), 255 - 170 *
                                        covid.lesions.astype(np.uint8)],
                            ["film", "Grad-CAM,\nuntrained", "known\nlesions"]),
                    "(224, 224), 0 to 1", "which places raise the score;\nhere of random weights",
                    "replication/heatmaps.py\ngradcam, smoothgrad"),
            _verdict("vbreathnet", "section 4", "V-BreathNet", "val", "accuracy"),
        ]),
    ]  # fmt: skip
    note = "Box 6: above a block px of its maps, below it how many: these filters form the V."
    return draw_map(path, "V-BreathNet: normal, COVID-19 or pneumonia?", rows, note)


def _film_files(images: dict[str, np.ndarray]) -> Row:
    resize = radiographs.resize_radiograph
    shown = [images[name] for name in ("Normal-2", "COVID-4", "Viral Pneumonia-7")]
    bad = [resize(images[name], 224) for name in ("Normal-2", "Normal-1", "Normal-5")]
    said = [f"{sharpness.laplacian_variance(one):.0f} / {sharpness.contrast(one):.0f}\n{name}"
            for one, name in zip(bad, ("kept", "blurred", "flat"), strict=True)]  # fmt: skip
    films = [images["Normal-2"], resize(images["Normal-2"], 240), images["Normal-3"]]
    hashes = [np.unpackbits(duplicates.difference_hash(one)) for one in films]
    same, other = (int(np.sum(hashes[0] != one)) for one in hashes[1:])
    return Row([
        Step("Chest radiographs", partial(_show_row, shown, ["normal", "COVID-19", "pneumonia"]),
             f"{shown[0].shape}, gray levels", "PNG, JPEG or DICOM; the\nfolder names the class",
             "preprocessing/radiographs.py\nread_radiograph"),
        Step("Bad films leave", partial(_show_row, bad, said), "sharpness / contrast",
             "variance of the Laplacian;\nSD of the gray levels",
             "preprocessing/sharpness.py\nvbreathnet/quality.py"),
        Step("Size, duplicates",
             partial(_show_row, [resize(one, 224) for one in films],
                     ["a film", f"resized:\n{same} of 256", f"another:\n{other} of 256"]),
             str(bad[0].shape), "bits of a hash differ; up to 12\nis one film, in one part",
             "preprocessing/radiographs.py\npreprocessing/duplicates.py"),
    ])  # fmt: skip


def _film_samples(film: np.ndarray) -> Row:
    from vbreathnet.augment import AugmentedImages
    from vbreathnet.config import VBreathNetConfig
    from vbreathnet.model import build_vbreathnet

    config = VBreathNetConfig(Path(), Path())
    image = radiographs.resize_radiograph(film, config.image_size)
    copies = AugmentedImages(image[None], 0, config.rotation, config.shift, config.zoom)
    shown = list(copies[np.array([0, 2, 5])])
    layers = [*(f"block{k}_pool" for k in range(1, 7)), "dense", "scores"]
    return Row([
        Step("Split, then balance", _draw_film_parts, f"{config.per_class:,} of each class",
             "80:20; 30 of each class test;\ncopies in training alone",
             "vbreathnet/split.py\npreprocessing/splits.py"),
        Step("Copies", partial(_show_row, shown, ["film", "copy 2", "copy 5"]),
             str((*image.shape, 3)), "turned, shifted, scaled; 0 to\n1; gray three times",
             "vbreathnet/augment.py\nreplication/batches.py"),
        _network("V-BreathNet", build_vbreathnet, layers, "six blocks, two dense layers",
                 "vbreathnet/model.py\nbuild_vbreathnet"),
    ])  # fmt: skip


def _draw_film_parts(axis: Axes) -> None:
    """How Table 1's images are split, and how many copies training gets."""
    from vbreathnet.config import CLASSES, VBreathNetConfig
    from vbreathnet.data import TABLE_1

    config = VBreathNetConfig(Path(), Path())
    labels = np.repeat(np.arange(len(CLASSES)), list(TABLE_1.values()))
    parts = splits.split_groups(np.arange(len(labels)), labels, np.random.default_rng(0),
                                config.test_per_class, config.val_fraction, CLASSES)  # fmt: skip
    train_each = round(config.per_class * (1 - config.val_fraction))
    bars = {}
    for k, name in enumerate(("COVID-19", "normal", "pneumonia")):
        train, val, test = (int(np.sum((parts == part) & (labels == k))) for part in PARTS)
        train, val = min(train, train_each), min(val, config.per_class - train_each)
        bars[name] = ((train, BLUE), (train_each - train, COPIES), (val, PURPLE), (test, INK))
    _draw_stacked(bars, "train, striped: copies; then val, test", axis)


def _random_heat(film: np.ndarray) -> np.ndarray:
    """Grad-CAM of a network that has learnt nothing, as a picture."""
    import keras

    from replication.batches import to_network_input
    from replication.heatmaps import gradcam
    from vbreathnet.model import build_vbreathnet

    keras.utils.set_random_seed(0)
    image = radiographs.resize_radiograph(film, 224)
    heat = gradcam(build_vbreathnet(), to_network_input(image[None]), 0)[0]
    return (255 * colormaps["inferno"](heat)[..., :3]).astype(np.uint8)


# ---- CNR-IEMN ----------------------------------------------------------------------------------


def map_cnr_iemn(path: Path) -> Path:
    """Scan, lung mask, channels, split, network, classes of slices, groups, patient."""
    from cnr_iemn.cohort import draw_cohort
    from cnr_iemn.config import CnrIemnConfig
    from cnr_iemn.data import Preparation, make_samples
    from cnr_iemn.scanner import render

    patient = next(p for p in draw_cohort(8, 8, 8, 0) if p.patient == "P005")
    scan, config = render(patient, 256, 6.0), CnrIemnConfig(Path(), Path())
    area = scan.lesions.sum(axis=(1, 2))
    slice_hu = scan.hu[area[: 2 * len(area) // 3].argmax()]  # lower down the liver is in the way
    sample = make_samples(Preparation.of(config), slice_hu[None], Path())[0]
    rows = [
        _ct_slices(config, scan.hu, slice_hu, sample),
        _ct_networks(config, sample),
        _ct_patient(config, scan.infected),
    ]
    note = "Box 6: all four backbones have these two heads. Box 7: the phantom's true classes."
    return draw_map(path, "CNR-IEMN: from CT slices to a patient", rows, note)


def _ct_slices(config, scan_hu: np.ndarray, slice_hu: np.ndarray, sample: np.ndarray) -> Row:
    from cnr_iemn.batches import stack_channels
    from cnr_iemn.data import to_gray

    window = config.window_low, config.window_high
    stack = [to_gray(scan_hu[k], *window) for k in np.linspace(5, len(scan_hu) - 8, 5).astype(int)]
    mask = lungs.segment_lungs(slice_hu, config.keep_regions)
    small = cv2.resize(sample, (config.input_size,) * 2, interpolation=cv2.INTER_AREA)
    channels = (255 * stack_channels(small[None], False).numpy()[0]).astype(np.uint8)
    return Row([
        Step("CT scan", partial(_draw_stack, stack), "(slices, 512, 512) in HU",
             "slices across the body, head\nfirst; -1000 to 400 HU shown",
             "preprocessing/ct.py\nread_volume"),
        Step("Lung mask", partial(_draw_mask, to_gray(slice_hu, *window), mask),
             "(slices, 512, 512), bool", "watershed; dense lesions at\nthe chest wall get lost",
             "preprocessing/lungs.py\nsegment_lungs"),
        Step("Three channels",
             partial(_show_row, list(np.moveaxis(channels, -1, 0)), ["slice", "mask", "product"]),
             str(channels.shape), "0 to 1; Inception-v3 takes\n299 px",
             "cnr_iemn/batches.py\nstack_channels"),
    ])  # fmt: skip


def _draw_stack(images: Sequence[np.ndarray], axis: Axes) -> None:
    """Slices that follow one another, each covering a part of the one before."""
    side, right, down = 128, (INNER - 128) / (len(images) - 1), 11
    for k, image in enumerate(images):
        _show(axis, image, k * right, k * down, side, zorder=2 * k)
        axis.add_patch(Rectangle((k * right, k * down), side, side, fill=False, ec="white",
                                 zorder=2 * k + 1))  # fmt: skip


def _draw_mask(gray: np.ndarray, mask: np.ndarray, axis: Axes) -> None:
    """A slice with the outline of its lung mask."""
    left = (INNER - PICTURE) / 2
    scale = _show(axis, gray, left, 0, PICTURE)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        corners = scale * (outline[:, 0] + 0.5) + (left, 0)
        axis.add_patch(Polygon(corners, fill=False, ec=YELLOW, lw=2.2))


def _ct_networks(config, sample: np.ndarray) -> Row:
    from cnr_iemn.images import GRAY, augment_slice

    copies = [augment_slice(sample, config.input_size, config, np.random.default_rng(k))[..., GRAY]
              for k in (1, 2)]  # fmt: skip
    return Row([
        Step("Split, then copies", _draw_slices, "307 scans, 70:30",
             "the paper's training slices;\none scan is one patient",
             "cnr_iemn/split.py: split_scans\nand Slices.training_keys"),
        Step("What a copy is",
             partial(_show_row, [sample[..., GRAY], *copies], ["slice", "copy", "copy"]),
             f"({config.input_size}, {config.input_size}, 2)",
             "gray and mask move together;\nthen three channels",
             "cnr_iemn/images.py\naugment_slice"),
        Step("Two-task network", _draw_heads, "class: 3, region: 5",
             "the slice's class, and which\nfifth of the scan it lies in",
             "cnr_iemn/multitask.py\nbuild_slice_network", "network"),
    ])  # fmt: skip


def _draw_slices(axis: Axes) -> None:
    """The paper's labelled slices of its training part, and their copies."""
    from cnr_iemn.config import CLASSES
    from replication.audit.recorded import load_tables

    tables, bars = load_tables("cnr_iemn"), {}
    for name in CLASSES:
        found = tables.count("slice networks, training", "slices", name)
        copies = 0 if name == CLASSES[0] else tables.count("copies of a slice", "slices", name)
        said = f"{name}: {found:,}" + (f", {copies} copies of each" if copies else "")
        bars[said] = ((found, BLUE), (copies * found, COPIES))
    _draw_stacked(bars, "striped: copies, training alone", axis)


def _draw_heads(axis: Axes) -> None:
    """Backbone, joined with the place of the slice, and the two heads."""
    from cnr_iemn.backbones import BACKBONES

    features = " or ".join(sorted({str(number) for number, _ in BACKBONES.values()}))
    for x, y, wide, tall, name, said, fill in (
        (0, 16, 100, 92, "backbone", features, "#f3c9ad"),
        (0, 126, 100, 40, "position", "2 values", "white"),
        (130, 40, 44, 92, "join", "", "white"),
        (INNER - 60, 16, 59, 56, "class", "3", "#bfe3d6"),
        (INNER - 60, 100, 59, 56, "region", "5", "#bfe3d6"),
    ):
        axis.add_patch(Rectangle((x, y), wide, tall, fc=fill, ec=INK, lw=1))
        for line, down in ((name, -9 if said else 0), (said, 11)):
            _write(axis, x + wide / 2, y + tall / 2 + down, line, 15.5, wide - 4, ha="center")
    for start, end in (((100, 62), (130, 70)), ((100, 146), (130, 118)),
                       ((174, 70), (INNER - 60, 46)), ((174, 104), (INNER - 60, 126))):  # fmt: skip
        axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK})


def _ct_patient(config, infected: np.ndarray) -> Row:
    from cnr_iemn.config import CLASSES, COVID, NORMAL
    from cnr_iemn.patient import group_percentages

    predicted = np.where(infected, COVID, NORMAL)
    shares = group_percentages(predicted, config.groups, len(CLASSES))
    grouped = shares.reshape(config.groups, len(CLASSES))
    printed = _printed("cnr_iemn", "5", "CNR-IEMN", "val", "accuracy")
    return Row([
        _result("A class for each slice",
                partial(_draw_shares, np.eye(len(CLASSES))[predicted], CLASSES),
                f"({len(predicted)},), 0 to 2", "of all slices of a scan, also\nwithout a label",
                "cnr_iemn/evaluate.py\nscore_slices"),
        _result(f"{config.groups} groups of slices", partial(_draw_shares, grouped, CLASSES),
                f"{len(shares)} shares a network", "share of each class in each\n"
                "group; four networks: 240", "cnr_iemn/patient.py\ngroup_percentages"),
        _result("XGBoost: patient",
                partial(_draw_bars, CLASSES, (EXAMPLE[1], EXAMPLE[0], EXAMPLE[2])),
                "(scans, 3), sum 1", f"accuracy beside {printed} of\nTable 5; then the verdict",
                "cnr_iemn/patient.py, diagnose.py\nreplication/judging.py: judge"),
    ])  # fmt: skip


# ---- Dzhulai 2024 ------------------------------------------------------------------------------


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
            _result("A logit for each clip",
                    partial(_draw_bars, [f"clip {k}" for k in range(1, 5)], SCORES),
                    "(clips, 1)", "sigmoid makes it 0 to 1;\n1 = sliding absent",
                    "lungsliding_tf/dzhulai2024/\nevaluate.py: predict_logits"),
            _mean_of_patient(),
            _verdict("dzhulai2024", "5", "CMWRU", "test", "accuracy"),
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
             partial(_draw_region, phantom.native, phantom, tiles, 400),
             f"(frames, {', '.join(map(str, phantom.native.shape))})",
             "PNG files; the list says which\nare usable",
             "lungsliding_tf/dzhulai2024/\nsources.py: read_stretches"),
        Step("Whole frames, or crops",
             partial(_show_row, [small[0], crops[CHOSEN], crops[-1]],
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
    scale = _show(axis, small[most], left, 0, PICTURE)
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
             partial(_draw_parts, parts[each], absent[each], ("present", "absent"), 15),
             f"{len(recordings)} videos, {len(each)} patients",
             "60:20:20; then present clips\nare dropped: one class ratio",
             "preprocessing/splits.py\nsplit_patients"),
        Step("Clips", partial(_draw_stacked, windows, f"of {USABLE} frames; striped: dropped"),
             f"{', '.join(map(str, lengths.values()))} frames",
             "one after the other; what is\nleft over is dropped",
             "lungsliding_tf/dzhulai2024/\nsplit.py: cut_clips"),
        Step("One draw for a clip",
             partial(_show_row, [small[0], *changed],
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
    return _network(title, build, layers, says, code, "trainable")


MAPS = {
    "kolarik2023": map_kolarik2023,
    "vbreathnet": map_vbreathnet,
    "cnr_iemn": map_cnr_iemn,
    "dzhulai2024": map_dzhulai2024,
}


def main() -> None:
    """Draw the maps that are asked for."""
    arguments = tyro.cli(Arguments, description=__doc__)
    with quiet_start():  # TensorFlow's, with which the networks are built
        import keras  # noqa: F401
    for paper in arguments.paper:
        print(MAPS[paper](arguments.out / f"map-{paper}.png"))


if __name__ == "__main__":
    run_command(main)
