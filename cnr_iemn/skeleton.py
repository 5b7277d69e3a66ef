"""The bones of a thorax: ribs, spine, sternum, shoulders.

Forms (those of `atlas`) and numbers are Ours, matched by eye to real scans.
"""

from dataclasses import dataclass

import numpy as np

from cnr_iemn.atlas import CAGE_FRONT, SIDES, SPINE_Y, cage_point, profile
from cnr_iemn.cohort import Body
from cnr_iemn.geometry import SOFT_LOW, SOFT_STEP, Beads, Canvas, Placement, oval, soft

CORTEX, SPONGY, MARROW, END_PLATE = 520, 220, 160, 330  # HU above soft tissue
CARTILAGE, DISC, SPINAL_CANAL = 95, 85, 15  # HU
BONE_STEP = 5  # HU a grey level of a bone canvas
LEVEL = 0.086  # height of a vertebra with its disc, and of a rib with its gap
RIB_TALL = 1.35  # how much higher than thick ribs are


@dataclass(frozen=True)
class Skeleton:
    """What is the same in all slices of a patient."""

    placement: Placement
    bones: Beads  # cortex; value: HU of the marrow
    cartilage: Beads  # HU

    def draw(self, z: float, tissue: Canvas, bone: Canvas) -> None:
        """Draw the slice z mm below the apex: cartilage and discs as tissue, the rest as bone."""
        _draw(self, z, tissue, bone)


def build_skeleton(body: Body, placement: Placement, rng: np.random.Generator) -> Skeleton:
    """The skeleton of one patient."""
    return Skeleton(placement, _bones(body, placement, rng), _cartilage(placement))


def _bones(body: Body, placement: Placement, rng: np.random.Generator) -> Beads:
    """Ribs, collar bones, shoulder blades, arms: cortex; the value is the marrow's density."""
    chains = []

    def add(x, y, height, radius, marrow=SPONGY):
        chains.append(Beads.chain(placement, x, y, height, radius, marrow, 1.6, RIB_TALL))

    for side in SIDES:
        for rib in range(12):
            x, y, height = _rib(body, side, rib, start_shift=rng.normal(0, 0.005))
            add(x, y, height, 4.4 * (1 + 0.08 * rng.normal()))
        lift = rng.normal(0, 0.012)
        collar_bone = np.array([0.09, 0.07, 0.0, -0.05]) + lift
        add(side * np.array([20, 50, 95, 140]), [-40, -44, -26, 6], collar_bone, [8, 6, 5.5, 6])
        for k, level in enumerate(np.linspace(0.02, 0.44, 16)):  # shoulder blade
            wide = 1 - 0.5 * (k / 15) ** 2
            x = side * np.array([128, 104, 104 - 32 * wide])
            add(x, np.array([52, 82, 98]) + 22 * level, level, [3.6, 2.4, 2.8])
        spine_of_it = [0.03, 0, -0.02]
        add(side * np.array([112, 134, 150]), [86, 66, 44], spine_of_it, [4, 5, 6])
        add(side * np.array([170, 168]), [30, 32], [-0.25, -0.05], [22, 21], MARROW)  # humerus
    return Beads.join(chains)


def _rib(body: Body, side: int, rib: int, start_shift: float):
    """x, y and height of a rib from the spine to its front end; ribs fall to the front."""
    reach = (0.66, 0.75, 0.83)[min(rib, 2)] * np.pi if rib < 10 else 0.5 * np.pi
    turn = np.linspace(0.5, reach, 34)
    angle = np.pi / 2 - side * turn
    drop = body.rib_drop * (0.45, 0.75, 0.9, 1)[min(rib, 3)]
    start = -0.05 + LEVEL * rib + start_shift
    height = start + drop * (1 - np.cos(turn)) / 2
    x, y = cage_point(angle, height)
    x, y = x + 5.5 * np.cos(angle), y + 5.5 * np.sin(angle)
    # At first along the inner wall of the gutter that holds the lung.
    behind = profile(SPINE_Y, start) + 22
    x = np.r_[side * np.array([19, 27, 44]), x]
    y = np.r_[behind - 14, behind, 0.45 * behind + 0.55 * y[0], y]
    return x, y, np.r_[start, start, start, height]


def _cartilage(placement: Placement) -> Beads:
    """From the ribs' ends to the sternum."""
    chains = []
    for side in SIDES:
        for rib in range(7):
            high = 0.11 + 0.088 * rib
            turn = np.linspace(0.83, 0.94, 5) * np.pi
            x, y = cage_point(np.pi / 2 - side * turn, high + 0.03)
            fall = high + np.linspace(0.05, 0, 5)
            chains.append(Beads.chain(placement, x, y - 7, fall, 6, CARTILAGE, 2, 1.2))
    return Beads.join(chains)


# ---- one slice --------------------------------------------------------------------------------


def _draw(skeleton: Skeleton, z: float, tissue: Canvas, bone: Canvas) -> None:
    place = skeleton.placement
    height = z / place.length
    xy, radius, value, _ = skeleton.cartilage.at(z)
    tissue.circles(xy, radius, (value - SOFT_LOW) / SOFT_STEP)
    xy, radius, marrow, _ = skeleton.bones.at(z)
    bone.circles(xy, radius, np.full(len(xy), CORTEX / BONE_STEP))
    inner = radius - 1.7
    hollow = inner > 0.4
    bone.circles(xy[hollow], inner[hollow], marrow[hollow] / BONE_STEP)
    _draw_vertebra(place, height, tissue, bone)
    if 0.07 < height < 0.74:  # sternum: manubrium, body, xiphoid process
        y = profile(CAGE_FRONT, height) - 9
        half = np.interp(height, [0.07, 0.12, 0.2, 0.26, 0.62, 0.74], [16, 30, 20, 15, 17, 5])
        for grow, hu in ((0, CORTEX), (1.6, MARROW)):
            x, line = oval(0, y, half - grow, 6 - grow, power=2.8)
            bone.fill(place.points(x, line, height), hu / BONE_STEP)


def _draw_vertebra(place: Placement, height: float, tissue: Canvas, bone: Canvas) -> None:
    y = profile(SPINE_Y, height)
    phase = (height / LEVEL + 0.2) % 1  # 0 to 1 from one disc to the next
    scale = 0.88 + 0.16 * np.clip(height, 0, 1.2)

    def fill(canvas, grey, x, dy, rx, ry, tilt=0.0, power=2.0):
        shape = oval(x * scale, y + dy * scale, rx * scale, ry * scale, tilt, power)
        canvas.fill(place.points(*shape, height), grey)

    if phase < 0.16:
        fill(tissue, soft(DISC), 0, 0, 18, 14, power=2.3)
    else:
        end = phase < 0.24 or phase > 0.94  # end plates are dense
        fill(bone, CORTEX / BONE_STEP, 0, 0, 17.5, 13.5, power=2.3)
        fill(bone, (END_PLATE if end else MARROW) / BONE_STEP, 0, 0, 15.8, 11.8, power=2.3)
    ring = CORTEX / BONE_STEP
    for side in SIDES:
        if 0.3 < phase < 0.75:  # pedicles and transverse processes
            fill(bone, ring, 12.5 * side, 17, 3.6, 7)
            fill(bone, ring * 0.75, 27 * side, 26, 15, 4.4, 24 * side)
        fill(bone, ring * 0.8, 10 * side, 28, 9.5, 3.4, 38 * side)  # lamina
        if phase < 0.4:
            fill(bone, ring * 0.8, 14 * side, 22, 5, 5)  # joint facets
    if 0.2 < phase < 0.9:
        fill(bone, ring * 0.7, 0, 41, 3.2, 12)  # spinous process
    fill(bone, 0, 0, 20.5, 8.2, 6.6)
    fill(tissue, soft(SPINAL_CANAL), 0, 20.5, 8.2, 6.6)
