"""What lies under the diaphragm: liver, spleen, stomach, kidneys and the colon.

Forms (in coordinates of `geometry`) and numbers are Ours, matched by eye to real scans.
"""

import numpy as np

from cnr_iemn.atlas import FAT, SIDES
from cnr_iemn.cohort import Body
from cnr_iemn.geometry import Beads, Canvas, Placement, oval, soft

LIVER, SPLEEN, BOWEL, KIDNEY = 58, 50, 33, 30  # HU


def build_bowel(body: Body, placement: Placement, rng: np.random.Generator) -> Beads:
    """The left bend of the colon under the diaphragm, and the part that crosses to the right.

    The beads' value is the share of their radius that is gas.
    """
    t = np.linspace(0, 1, 26)
    bend, across = rng.uniform(0.86, 0.95), rng.uniform(0.98, 1.12)
    x = np.interp(t, [0, 0.25, 0.5, 1], [108, 98, 74, -70]) + rng.normal(0, 3, len(t))
    y = np.interp(t, [0, 0.25, 0.5, 1], [8, -34, -66, -78]) + rng.normal(0, 2, len(t))
    height = np.interp(t, [0, 0.25, 0.5, 1], [1.2, bend, bend + 0.08, across])
    height = height + rng.normal(0, 0.01, len(t))
    radius = 13 + 5 * np.sin(np.arange(len(t)) * 1.9 + rng.uniform(0, 6)) + rng.normal(0, 1, len(t))
    share = np.clip(body.gas + rng.normal(0, 0.3), 0, 0.9)
    return Beads.join([Beads.chain(placement, x, y, height, radius, share, 2.5)])


def draw_abdomen(
    place: Placement, bowel: Beads, height: float, tissue: Canvas, gas: Canvas
) -> None:
    """Draw the slice at a height; the lungs are laid over it."""
    low = float(np.clip((height - 0.85) / 0.4, 0, 1))

    def fill(hu, x, y, rx, ry, tilt=0.0, power=2.0):
        tissue.fill(place.points(*oval(x, y, rx, ry, tilt, power), height), soft(hu))

    # Liver: fills the right half, and its left lobe reaches over the midline.
    y = np.array([-88, -95, -88, -64, -40, -16, 8, 26, 60, 84, 88, 70, 30, -20, -60]) + 3 * low
    x = np.array([-70, -20, 30, 50, 40, 12, -4, -14, -26, -50, -84, -114, -131, -129, -108])
    tissue.fill(place.points(*_smooth(np.where(x > -10, x - 70 * low, x), y), height), soft(LIVER))
    fill(FAT, -22 - 20 * low, -30, 8, 2.5, 30)
    # Spleen behind the stomach, a crescent along the ribs.
    fill(SPLEEN, 98, 42, 27, 44 * min(1, 1.6 - low), -24, 2.3)
    fill(FAT, 84, 34, 17, 32, -24)
    # Stomach: its top lies at the back, its body further down at the front.
    forward, stomach = float(np.clip((height - 0.75) / 0.3, 0, 1)), 44 * (1 - 0.45 * low)
    middle = 10 - 46 * forward
    fill(BOWEL, 58, middle, stomach, stomach * 0.85, -30, 2.3)
    bubble = 30 * place.body.gas * (1 - 0.5 * low)
    if bubble > 5 and height > 0.76:  # gas lies on top of what is fluid
        x, y = oval(58, middle - 8, bubble, bubble * 0.8)
        gas.fill(place.points(x, np.minimum(y, middle - 2), height), 255)
    if height > 0.98:  # kidneys
        for side in SIDES:
            size = 26 * min(1, (height - 0.96) / 0.06)
            fill(KIDNEY, 52 * side, 48, size, size * 1.1, 20)
            fill(FAT + 40, 47 * side, 45, size * 0.4, size * 0.5, 20)
    xy, radius, share, _ = bowel.at(height * place.length)
    tissue.circles(xy, radius, np.full(len(xy), soft(BOWEL)))
    hole = radius * share - 1.5
    open_ = hole > 1
    gas.circles(xy[open_], hole[open_], np.full(int(open_.sum()), 255))


def _smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A closed line through control points with its corners cut."""
    for _ in range(3):
        x, y = (
            np.stack(
                [0.75 * v + 0.25 * np.roll(v, -1), 0.25 * v + 0.75 * np.roll(v, -1)], 1
            ).ravel()
            for v in (x, y)
        )
    return x, y
