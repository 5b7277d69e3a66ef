"""The atlas: contours of a chest of middle size, slice by slice, that every phantom is made from.

Coordinates are those of `geometry`. Numbers are Ours, matched by eye to real scans.
"""

import math

import numpy as np

from cnr_iemn.cohort import Body
from cnr_iemn.geometry import Placement, oval

AIR, FAT = -1000, -100  # HU
SIDES = (-1, 1)  # the patient's right lung, on the picture's left, and the left one

# Profiles: (height, value) ... to interpolate in between; mm unless said otherwise.
CAGE_WIDTH = [(-0.02, 40), (0, 54), (0.05, 74), (0.1, 89), (0.2, 108), (0.3, 120), (0.45, 130),
              (0.6, 135), (0.8, 137), (1, 134), (1.25, 128)]  # fmt: skip
CAGE_FRONT = [(0, 4), (0.05, -15), (0.1, -33), (0.2, -59), (0.3, -77), (0.45, -93), (0.6, -100),
              (0.8, -102), (1, -99), (1.25, -95)]  # fmt: skip
CAGE_BACK = [(0, 52), (0.05, 66), (0.1, 75), (0.2, 87), (0.3, 93), (0.45, 99), (0.6, 101),
             (0.8, 99), (1, 92), (1.25, 84)]  # fmt: skip
BODY_WIDTH = [(-0.2, 196), (0, 200), (0.08, 194), (0.2, 180), (0.35, 166), (0.6, 159), (1, 151),
              (1.25, 148)]  # fmt: skip
BODY_FRONT = [(-0.2, -34), (-0.05, -38), (0.02, -50), (0.1, -66), (0.2, -84), (0.3, -100),
              (0.45, -112), (0.6, -116), (0.8, -118), (1, -116), (1.25, -112)]  # fmt: skip
BODY_BACK = [(-0.2, 88), (0, 100), (0.1, 110), (0.2, 120), (0.3, 126), (0.45, 128), (0.6, 127),
             (0.8, 121), (1, 113), (1.25, 107)]  # fmt: skip
SPINE_Y = [(-0.2, 22), (0, 32), (0.2, 44), (0.5, 55), (0.8, 52), (1, 44), (1.25, 36)]
HEART_X = [(0.4, 2), (0.5, 10), (0.6, 18), (0.7, 22), (0.8, 29), (0.87, 34)]
HEART_Y = [(0.4, -36), (0.5, -31), (0.6, -32), (0.7, -40), (0.8, -52), (0.87, -62)]
HEART_LONG = [(0.4, 24), (0.46, 38), (0.54, 50), (0.64, 58), (0.73, 56), (0.8, 46), (0.85, 30),
              (0.87, 0)]  # fmt: skip
HEART_SHORT = [(0.4, 22), (0.46, 34), (0.54, 42), (0.64, 44), (0.73, 37), (0.8, 25), (0.85, 12),
               (0.87, 0)]  # fmt: skip

# Half-width of the mediastinum, mm, at nine places from the front to the back of the rib cage.
DEPTHS = np.linspace(-1, 1, 9)
MEDIASTINUM_HEIGHTS = (-0.02, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.62, 0.75, 0.9, 1.1)
MEDIASTINUM = {
    -1: np.array(((60, 52, 44, 38, 35, 34, 38, 50, 62), (58, 46, 36, 31, 29, 27, 29, 40, 54),
         (42, 34, 29, 27, 26, 23, 24, 36, 52), (16, 20, 25, 28, 26, 21, 23, 36, 56),
         (5, 11, 22, 30, 29, 20, 22, 35, 58), (3, 8, 20, 33, 38, 29, 22, 35, 60),
         (5, 13, 28, 40, 41, 30, 21, 35, 60), (8, 19, 35, 43, 40, 27, 21, 35, 60),
         (12, 22, 30, 34, 34, 26, 22, 35, 60), (18, 22, 24, 26, 27, 25, 24, 36, 60),
         (20, 22, 24, 26, 27, 26, 26, 38, 62))),
    1: np.array(((60, 52, 44, 38, 35, 34, 38, 50, 62), (58, 46, 36, 32, 30, 28, 30, 41, 54),
        (42, 35, 31, 30, 29, 26, 26, 37, 52), (17, 22, 28, 32, 31, 26, 25, 36, 56),
        (6, 13, 26, 34, 34, 31, 28, 36, 58), (4, 10, 25, 38, 41, 33, 29, 36, 60),
        (7, 16, 30, 38, 39, 33, 29, 36, 60), (10, 18, 24, 28, 30, 31, 29, 36, 60),
        (14, 18, 20, 22, 25, 29, 29, 36, 60), (18, 20, 20, 20, 23, 27, 28, 37, 60),
        (20, 20, 20, 20, 22, 26, 28, 38, 62))),
}  # fmt: skip


def profile(table: list[tuple[float, float]], height) -> np.ndarray:
    """A profile's value at one or many heights."""
    heights, values = zip(*table, strict=True)
    return np.interp(height, heights, values)


def cage_point(angle, height) -> tuple[np.ndarray, np.ndarray]:
    """The inside of the rib cage; angle 0 is the patient's left, a quarter turn the back."""
    width, front, back = (profile(t, height) for t in (CAGE_WIDTH, CAGE_FRONT, CAGE_BACK))
    cos, sin = np.cos(angle), np.sin(angle)
    bend = 2 / 2.35
    x = width * np.sign(cos) * np.abs(cos) ** bend * (1 + 0.05 * sin)
    y = (front + back) / 2 + (back - front) / 2 * np.sign(sin) * np.abs(sin) ** bend
    return x, y


def body_contour(placement: Placement, height: float, inset: float = 0) -> np.ndarray:
    """(n, 2) mm of the skin, or of what lies `inset` mm under it."""
    fat = placement.body.fat_mm - inset
    width = profile(BODY_WIDTH, height) + fat
    front, back = profile(BODY_FRONT, height) - 0.8 * fat, profile(BODY_BACK, height) + 0.8 * fat
    x, y = oval(0, (front + back) / 2, width, (back - front) / 2, power=2.5)
    # A furrow along the spine, and one between the collar bones and the neck.
    y = y - 7 * np.exp(-((x / 20) ** 2)) * (y > 0)
    return placement.points(x, y, height)


def breast_shapes(body: Body, height: float) -> list:
    """Contours of the atlas; none in men, and above and below."""
    swell = 1 - ((height - 0.55) / 0.24) ** 2
    if body.male or swell <= 0:
        return []
    front, thick = profile(BODY_FRONT, height) - 0.8 * body.fat_mm, body.breast_mm + 16
    return [oval(86 * s, front + 20, 66, thick * math.sqrt(swell), 22 * s) for s in SIDES]
