"""A map as a page: boxes in rows, arrows between them, a foot that says what colours mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Text
from PIL import Image

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


def draw_map(path: Path, title: str, rows: Sequence[Row], note: str) -> Path:
    """Write one map: its title, rows of boxes, what their colours mean, and a note."""
    height = HEAD + FOOT + len(rows) * HEIGHT + (len(rows) - 1) * ARROW
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100 * DOTS_PER_PX)
    canvas = FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1))
    _set_px(page, WIDTH, height)
    write(page, MARGIN, HEAD / 2, title, 25, WIDTH - 2 * MARGIN, weight="bold")
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


def write(
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
    write(page, x + 14, top + 18.5, number, 18, weight="bold", color="white", ha="center")
    write(page, x + 36, top + 18.5, step.title, 19.5, INNER - 36, weight="bold")
    y = top + TITLE + PICTURE
    axis = page.figure.add_axes((x / WIDTH, 1 - y / whole, INNER / WIDTH, PICTURE / whole))
    _set_px(axis, INNER, PICTURE)
    step.draw(axis)
    _set_px(axis, INNER, PICTURE)  # images have set limits of their own
    write(page, x, y + SHAPE / 2 + 2, step.shape, 18, weight="bold", color=edge)
    y += SHAPE + LINE / 2
    for k, line in enumerate(step.says.split("\n")):
        write(page, x, y + k * LINE, line, 16.5)
    for k, line in enumerate(step.code.split("\n"), start=2):
        write(page, x, y + k * LINE, line, 15.5, color="#444444", style="italic")


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
        write(page, x + 33, top + 19, kind, 16.5)
    said = "All pictures are phantoms, no patients; scores are examples."
    write(page, MARGIN + 385, top + 19, said, 16.5, WIDTH - 395)
    write(page, MARGIN, top + 44, note, 16.5, WIDTH - 2 * MARGIN)
