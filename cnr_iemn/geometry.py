"""Where phantom anatomy lies and how it is drawn: coordinates, tubes made of spheres, canvases.

Coordinates of the atlas: x in mm to the picture's right (the patient's left), y in mm to the
back, origin in the middle of a chest of middle size; height 0 at the apex of the lungs, 1 at their
lowest recess. `Placement` turns them into one patient's mm, with the patient's size, posture and
irregularities.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from cnr_iemn.cohort import Body

SOFT_LOW, SOFT_STEP = -160, 2  # HU of a soft canvas' grey 0, HU a grey level


@dataclass(frozen=True)
class Placement:
    """From the atlas to a patient's mm: x, y from the middle of the picture, z below the apex."""

    body: Body
    length: float  # of the lungs, mm
    phases: np.ndarray  # (6,) of the irregularities

    def points(self, x, y, height) -> np.ndarray:
        """(n, 2) float32 x, y in mm of points of the atlas; the arguments broadcast."""
        body = self.body
        x, y, height = np.broadcast_arrays(*(np.asarray(v, np.float32) for v in (x, y, height)))
        p, warp = self.phases, body.warp_mm
        across = x + warp * (
            0.5 * np.sin(y / 31 + 5 * height + p[0]) + 0.4 * np.sin(x / 43 + 9 * height + p[1])
        )
        along = y + warp * (
            0.5 * np.sin(x / 37 + 6 * height + p[2]) + 0.4 * np.sin(x / 19 + y / 47 + p[3])
        )
        across, along = across * body.size, along * body.size * body.depth
        turn = math.radians(body.turn_deg)
        cos, sin = math.cos(turn), math.sin(turn)
        return np.stack(
            [
                cos * across - sin * along + body.shift_x_mm,
                sin * across + cos * along + body.shift_y_mm,
            ],
            axis=-1,
        )

    def atlas(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Back from a patient's mm to x, y of the atlas, irregularities aside."""
        body = self.body
        turn = math.radians(-body.turn_deg)
        x, y = x - body.shift_x_mm, y - body.shift_y_mm
        across = math.cos(turn) * x - math.sin(turn) * y
        along = math.sin(turn) * x + math.cos(turn) * y
        return across / body.size, along / (body.size * body.depth)


@dataclass(frozen=True)
class Grid:
    """Pixels of the part of the picture that holds the body."""

    size: int  # of the whole picture
    pixel: float  # mm
    top: int
    left: int
    shape: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the crop lies in the whole picture."""
        height, width = self.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """(1, width) x and (height, 1) y in mm of the pixels' centres."""
        half = (self.size - 1) / 2
        columns = (np.arange(self.shape[1], dtype=np.float32) + self.left - half) * self.pixel
        rows = (np.arange(self.shape[0], dtype=np.float32) + self.top - half) * self.pixel
        return columns[None, :], rows[:, None]

    def to_px(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) mm to px of the crop."""
        return points / self.pixel + (self.size - 1) / 2 - (self.left, self.top)


def crop_around(outlines: list[np.ndarray], size: int, pixel: float) -> Grid:
    """The crop that holds (n, 2) mm outlines, with a margin of 3 px."""
    corners = np.concatenate(outlines) / pixel + (size - 1) / 2
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 3, 0, size - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 4, low + 1, size)
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    return Grid(size, pixel, int(low[1]), int(low[0]), shape)


# ---- forms --------------------------------------------------------------------------------------

TURN = np.linspace(0, 2 * np.pi, 72, endpoint=False, dtype=np.float32)


def oval(x: float, y: float, rx: float, ry: float, tilt_deg: float = 0, power: float = 2):
    """A superellipse of the atlas: x and y, (72,) each. A higher power is more of a rectangle."""
    cos, sin = np.cos(TURN), np.sin(TURN)
    bend = 2 / power
    across = rx * np.sign(cos) * np.abs(cos) ** bend
    along = ry * np.sign(sin) * np.abs(sin) ** bend
    tilt = math.radians(tilt_deg)
    return (
        x + math.cos(tilt) * across - math.sin(tilt) * along,
        y + math.sin(tilt) * across + math.cos(tilt) * along,
    )


@dataclass(frozen=True)
class Beads:
    """Spheres; a chain of them is a tube. All (n,) float32, sorted by z."""

    xy: np.ndarray  # (n, 2) mm
    z: np.ndarray  # mm below the apex
    radius: np.ndarray  # mm
    value: np.ndarray  # what they are drawn with
    rank: np.ndarray  # higher ones are drawn later
    tall: float = 1.0  # how much higher than wide they are

    @staticmethod
    def of(xyz: np.ndarray, radius, value=1.0, rank=0.0, tall: float = 1.0) -> "Beads":
        """Spheres at (n, 3) mm in any order; the others are (n,) or one for all."""
        order = np.argsort(xyz[:, 2], kind="stable")
        columns = (np.broadcast_to(v, len(xyz)) for v in (radius, value, rank))
        radius, value, rank = (np.asarray(v[order], np.float32) for v in columns)
        xyz = np.asarray(xyz[order], np.float32)
        return Beads(xyz[:, :2], xyz[:, 2], radius, value, rank, tall)

    @staticmethod
    def chain(placement, x, y, height, radius, value, step: float = 1.5, tall: float = 1.0):
        """Spheres every `step` mm along a line through points of the atlas."""
        x, y, height, radius = np.broadcast_arrays(
            *(np.asarray(v, np.float32) for v in (x, y, height, radius))
        )
        xy, z = placement.points(x, y, height), height * placement.length
        lengths = np.sqrt((np.diff(xy, axis=0) ** 2).sum(axis=1) + np.diff(z) ** 2)
        along = np.concatenate([[0], np.cumsum(lengths)])
        at = np.linspace(0, along[-1], max(int(along[-1] / step), 1) + 1)
        columns = [np.interp(at, along, v) for v in (*xy.T, z, radius)]
        return Beads.of(np.stack(columns[:3], axis=1), columns[3], value, tall=tall)

    @staticmethod
    def join(chains: list["Beads"]) -> "Beads":
        """All in one; later ones are drawn over earlier ones. They are equally tall."""
        xyz = np.concatenate([np.column_stack([c.xy, c.z]) for c in chains])
        radius, value = (
            np.concatenate([getattr(c, name) for c in chains]) for name in ("radius", "value")
        )
        rank = np.repeat(np.arange(len(chains)), [len(c.z) for c in chains])
        return Beads.of(xyz, radius, value, rank, chains[0].tall)

    def at(self, z: float, slab: float = 0.0) -> tuple[np.ndarray, ...]:
        """What a slice of thickness `slab` meets: xy, radius there, value, rank."""
        reach = self.radius.max(initial=0) * self.tall + slab / 2
        first, last = np.searchsorted(self.z, (z - reach, z + reach))
        away = np.maximum(np.abs(self.z[first:last] - z) - slab / 2, 0) / self.tall
        square = self.radius[first:last] ** 2 - away**2
        met = np.flatnonzero(square > 0.02)
        index = first + met
        return self.xy[index], np.sqrt(square[met]), self.value[index], self.rank[index]


# ---- drawing ----------------------------------------------------------------------------------


class Canvas:
    """An 8-bit picture of the crop to draw on, with anti-aliased edges."""

    SHIFT = 4  # bits after the point
    LEAST = 3  # of the radius of a disc, 1/16 px; a line of such discs is 1.76 px wide

    def __init__(self, grid: Grid, grey: int = 0):
        self.grid = grid
        self.drawn = np.full(grid.shape, grey, np.uint8)

    def fill(self, points: np.ndarray, grey: float) -> None:
        """Fill (n, 2) mm with `grey`, 0 to 255, over what was there."""
        fixed = np.rint(self.grid.to_px(points) * (1 << self.SHIFT)).astype(np.int32)
        cv2.fillPoly(self.drawn, [fixed], int(grey), cv2.LINE_AA, self.SHIFT)

    def circles(self, xy, radius, greys) -> None:
        """Discs at (n, 2) mm with (n,) radii in mm; later ones over earlier ones."""
        scale = 1 << self.SHIFT
        centres = np.rint(self.grid.to_px(xy) * scale).astype(int).tolist()
        # The soft edge is drawn outside the radius: half a pixel too much.
        radii = np.rint((radius / self.grid.pixel - 0.5) * scale)
        radii = np.maximum(radii, self.LEAST).astype(int).tolist()
        greys = np.asarray(greys).astype(int).tolist()
        picture, kind, shift, circle = self.drawn, cv2.LINE_AA, self.SHIFT, cv2.circle
        for centre, r, grey in zip(centres, radii, greys, strict=True):
            circle(picture, centre, r, grey, -1, kind, shift)

    def share(self) -> np.ndarray:
        """float32, 0 to 1."""
        return self.drawn.astype(np.float32) * np.float32(1 / 255)


def soft(hu: float) -> int:
    """The grey of a soft canvas for a density of -160 to 350 HU."""
    return int(np.clip((hu - SOFT_LOW) / SOFT_STEP, 0, 255))
