"""What the boxes of a map show: images, dots, bars, layers, tiles; lengths are px of the map."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from maps.page import (
    BLUE,
    DOTS_PER_PX,
    GREEN,
    INK,
    INNER,
    ORANGE,
    PICTURE,
    PURPLE,
    SKY,
    YELLOW,
    write,
)
from preprocessing import clips, splits

PARTS = {splits.TRAIN: ("train", BLUE), splits.VAL: ("val", PURPLE), splits.TEST: ("test", INK)}
COPIES = "striped"
CLASS_COLOURS = (SKY, ORANGE, INK)  # bright, middle, dark: told apart in gray, too
CHOSEN = 4  # a tile of the top row, which the pleura crosses
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Ultrasound:
    """A phantom's first frame, frames that follow one another, and the marked region in them."""

    native: np.ndarray
    frames: np.ndarray
    polygon: np.ndarray
    tile_px: int


def show(axis: Axes, image: np.ndarray, left: float, top: float, width: float, **options) -> float:
    """An image at a place of the box; returns its scale, px of the box for one of its own."""
    scale = width / image.shape[1]
    extent = (left, left + width, top + scale * image.shape[0], top)
    if scale * DOTS_PER_PX < 1 and image.dtype == np.uint8:
        size = np.rint(np.array(image.shape[1::-1]) * scale * DOTS_PER_PX).astype(int)
        image = cv2.resize(image, size.tolist(), interpolation=cv2.INTER_AREA)
    settings = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"} | options
    axis.imshow(image, extent=extent, aspect="auto", **settings)
    return scale


def show_fitting(image: np.ndarray, axis: Axes) -> None:
    """An image as large as the box allows, in its middle."""
    width = min(INNER, PICTURE * image.shape[1] / image.shape[0])
    height = width * image.shape[0] / image.shape[1]
    show(axis, image, (INNER - width) / 2, (PICTURE - height) / 2, width)


def show_row(images: Sequence[np.ndarray], names: Sequence[str], axis: Axes) -> None:
    """Square images side by side with their names, of a line or more, below."""
    gap = 5
    side = (INNER - gap * (len(images) - 1)) / len(images)
    top = (PICTURE - side - 10 - 19 * (1 + max(name.count("\n") for name in names))) / 2
    for k, (image, name) in enumerate(zip(images, names, strict=True)):
        left = k * (side + gap)
        show(axis, image, left, top, side)
        for number, line in enumerate(name.split("\n")):
            y = top + side + 14 + 19 * number
            write(axis, left + side / 2, y, line, 15.5, side + gap, ha="center")


def draw_parts(
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
        write(axis, 0, middle, f"{name} {len(hollow)}", 15.5, 62, color=colour, weight="bold")
        y += lines * pitch + 5
    write(axis, 0, PICTURE - 10, f"full: {names[0]}, hollow: {names[1]}", 15.5)


def draw_layers(model, names: Sequence[str], axis: Axes) -> None:
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
        write(axis, middle, y - 10, TIMES.join(sides), 15, pitch, ha="center")
        write(axis, middle, PICTURE - 12, f"{shape[-1]}", 15, pitch, ha="center", weight="bold")


def draw_bars(names: Sequence[str], values: Sequence[float], axis: Axes) -> None:
    """Scores from 0 to 1 as bars with their numbers."""
    pitch = PICTURE / max(len(names), 3)
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = (k + 0.5) * pitch
        write(axis, 0, y - 10, name, 15.5)
        for share, fill in ((1, "white"), (value, GREEN)):
            axis.add_patch(Rectangle((0, y), share * (INNER - 50), 15, fc=fill, ec=INK, lw=0.8))
        write(axis, INNER, y + 8, f"{value:.2f}", 16, ha="right")


def draw_stacked(bars: dict[str, Sequence[tuple[int, str]]], legend: str, axis: Axes) -> None:
    """A bar of several parts, (length, colour), for each name; copies are striped."""
    longest = max(sum(length for length, _ in parts) for parts in bars.values())
    scale, pitch = (INNER - 3) / longest, (PICTURE - 24) / len(bars)
    for k, (name, parts) in enumerate(bars.items()):
        x, y = 1.0, k * pitch + 22
        write(axis, 0, y - 11, name, 15.5)
        for length, colour in parts:
            look = {"fc": colour, "ec": INK, "lw": 0.8}
            if colour is COPIES:
                look = {"fc": "white", "ec": BLUE, "lw": 0.8, "hatch": "////"}
            axis.add_patch(Rectangle((x, y), scale * length, 18, **look))
            x += scale * length
    write(axis, 0, PICTURE - 11, legend, 15.5)


def draw_shares(shares: np.ndarray, names: Sequence[str], axis: Axes) -> None:
    """A column of class shares for each slice or group, from head to foot."""
    wide, x = INNER / len(shares), 0.0
    for k, of_one in enumerate(shares):
        y = 112.0
        for share, colour in zip(of_one, CLASS_COLOURS, strict=True):
            y -= 104 * share
            look = {"fc": colour, "ec": "white", "lw": 0.5}
            axis.add_patch(Rectangle((k * wide, y), wide, 104 * share, **look))
    write(axis, 0, 125, "head", 15.5)
    write(axis, INNER, 125, "foot", 15.5, ha="right")
    for name, colour in zip(names, CLASS_COLOURS, strict=True):
        axis.add_patch(Rectangle((x, PICTURE - 25), 14, 14, fc=colour, ec=INK, lw=0.8))
        write(axis, x + 18, PICTURE - 18, name, 15.5)
        x += 30 + 8.6 * len(name)


def draw_region(
    frame: np.ndarray, phantom: "Ultrasound", tiles: Sequence[clips.Tile], margin: int, axis: Axes
) -> None:
    """The marked region and so many px around it, with its tiles, the chosen one in bold."""
    low = np.maximum(phantom.polygon.min(axis=0).astype(int) - margin, 0)
    high = phantom.polygon.max(axis=0).astype(int) + margin
    frame = frame[low[1] : high[1], low[0] : high[0]]
    width = min(INNER, PICTURE * frame.shape[1] / frame.shape[0])
    left = np.array([(INNER - width) / 2, 0])
    scale = show(axis, frame, left[0], 0, width)
    corners = (phantom.polygon - low) * scale + left
    axis.add_patch(Polygon(corners, fill=False, ec=SKY, lw=2.4))
    for tile in [*tiles, tiles[CHOSEN]]:
        place, side = (np.array([tile.x, tile.y]) - low) * scale + left, phantom.tile_px * scale
        axis.add_patch(Rectangle(place, side, side, fill=False, ec=YELLOW, lw=0.9))
    axis.patches[-1].set(edgecolor=ORANGE, linewidth=3)
