"""What lies between the lungs: great vessels, heart, airways, and the fat around them.

Forms (those of `atlas`) and numbers are Ours, matched by eye to real scans.
"""

from dataclasses import dataclass

import numpy as np

from cnr_iemn.atlas import (
    CAGE_BACK,
    CAGE_FRONT,
    DEPTHS,
    FAT,
    HEART_LONG,
    HEART_SHORT,
    HEART_X,
    HEART_Y,
    MEDIASTINUM,
    MEDIASTINUM_HEIGHTS,
    SIDES,
    profile,
)
from cnr_iemn.cohort import Body, Patient
from cnr_iemn.geometry import SOFT_LOW, SOFT_STEP, Beads, Canvas, Placement, oval, soft

BLOOD, OESOPHAGUS, THYROID, AIRWAY_WALL = 42, 38, 100, 30  # HU


@dataclass(frozen=True)
class Mediastinum:
    """What is the same in all slices of a patient."""

    patient: Patient
    placement: Placement
    vessels: Beads  # and the oesophagus; HU
    airways: Beads  # trachea and main bronchi; value: thickness of the wall, mm

    def tubes(self, z: float) -> tuple:
        """Vessels and airways of the slice z mm below the apex, as `Beads.at` gives them."""
        return self.vessels.at(z), self.airways.at(z)

    def cut_out(self, lungs: Canvas, height: float, tubes: tuple) -> None:
        """Leave no lung where the mediastinum is; `tubes` are those of this height."""
        _cut_out(self, lungs, height, *tubes)

    def draw(self, height: float, tubes: tuple, tissue: Canvas, gas: Canvas) -> None:
        """Draw the slice at a height; `tubes` are those of this height."""
        _draw(self, height, *tubes, tissue, gas)


def build_mediastinum(patient: Patient, placement: Placement) -> Mediastinum:
    """The mediastinum of one patient."""
    return Mediastinum(
        patient, placement, _vessels(patient.body, placement), _airways(patient.body, placement)
    )


def _vessels(body: Body, placement: Placement) -> Beads:
    """Arteries, veins and oesophagus; later ones are drawn over earlier ones."""
    a, chain = body.aorta, lambda *line: Beads.chain(placement, *line)
    lines = [
        # Oesophagus; azygos vein, which arches forward to the cava.
        chain([0, 3, 6, 8, 6, 14], [28, 24, 22, 26, 22, 0], [-0.2, 0.1, 0.3, 0.5, 0.7, 0.9], 7,
              OESOPHAGUS),
        chain([-4, -9, -14, -21, -23], [34, 32, 26, 8, -14], [0.9, 0.4, 0.3, 0.3, 0.32], 4, BLOOD),
        # Veins: inferior cava, superior cava, the two brachiocephalic ones.
        chain([-22, -24, -24, -22], [-4, -6, -6, 4], [0.74, 0.82, 0.95, 1.25], 13, BLOOD),
        chain([-26, -27, -26, -20], [-16, -20, -26, -26], [0.16, 0.3, 0.44, 0.5], 9.5, BLOOD),
        chain([-38, -30, -26], [-8, -14, -16], [-0.06, 0.08, 0.17], 7, BLOOD),
        chain([46, 28, 0, -24], [-8, -24, -36, -18], [-0.02, 0.12, 0.17, 0.18], 6.5, BLOOD),
        # Pulmonary trunk and arteries, veins into the left atrium.
        chain([12, 14, 16], [-46, -42, -30], [0.5, 0.45, 0.41], 14, BLOOD),
        chain([16, 26, 40, 48], [-30, -14, 0, 8], [0.41, 0.385, 0.385, 0.42],
              [13, 12, 10, 7], BLOOD),
        chain([16, 0, -20, -38, -46], [-28, -20, -12, -8, -4], [0.42, 0.42, 0.425, 0.43, 0.46],
              [13, 12, 11, 10, 7], BLOOD),
        chain([-46, -44, -42], [-4, 6, 12], [0.46, 0.5, 0.55], [7, 7, 6], BLOOD),
        chain([48, 46, 46], [8, 14, 18], [0.42, 0.47, 0.53], [8, 7, 6], BLOOD),
        chain([-46, -28, -6], [8, 2, 0], [0.56, 0.53, 0.51], [6, 7, 9], BLOOD),
        chain([50, 34, 14], [10, 4, 0], [0.56, 0.53, 0.51], [6, 7, 9], BLOOD),
        # Aorta: ascending, arch with its three branches, descending.
        chain([-6, -7, -8, -6], [-22, -30, -36, -38], [0.52, 0.46, 0.38, 0.31], 15.5 * a, BLOOD),
        chain([-6, 4, 16, 22], [-38, -22, 2, 22], [0.31, 0.265, 0.265, 0.31],
              [15 * a, 13 * a, 12.5 * a, 12 * a], BLOOD),
        chain([22, 22, 20, 10, 4], [22, 32, 36, 34, 26], [0.31, 0.45, 0.65, 0.9, 1.25],
              [12 * a, 12 * a, 11.5 * a, 11 * a, 10 * a], BLOOD),
        chain([-4, -10, -20], [-28, -18, -10], [0.25, 0.14, 0], [7, 6.5, 5.5], BLOOD),
        chain([7, 10, 16], [-14, -8, -4], [0.24, 0.12, -0.1], 4.5, BLOOD),
        chain([16, 22, 32], [4, 6, 2], [0.24, 0.12, 0], 5, BLOOD),
        chain([-20, -17, -16], [-10, -8, -8], [0, -0.1, -0.2], 5, BLOOD),
        # Thyroid: iodine makes it bright.
        chain([-17, -17], [-12, -10], [-0.16, -0.03], [6, 8], THYROID),
        chain([17, 17], [-12, -10], [-0.16, -0.03], [6, 8], THYROID),
    ]  # fmt: skip
    return Beads.join(lines)


def _airways(body: Body, placement: Placement) -> Beads:
    """Lumen of trachea and main bronchi down to where the lungs' own tree begins."""
    wall = 1.4 * body.airway_wall
    lines = [
        ([0, 0, -1, -1], [-14, -6, -2, 4], [-0.25, 0.05, 0.25, 0.36], 8.5),
        ([-1, -14, -27, -33], [4, 5, 4, 6], [0.36, 0.395, 0.425, 0.46], [8.5, 7, 6, 4.8]),
        ([-1, 14, 30, 38], [4, 7, 8, 10], [0.36, 0.40, 0.44, 0.48], [8.5, 6.5, 5.5, 4.5]),
        ([-33, -36, -38], [6, 12, 18], [0.46, 0.52, 0.58], [4.8, 3.8, 3]),
        ([38, 38, 40], [10, 16, 20], [0.48, 0.53, 0.58], [4.5, 3.6, 3]),
    ]
    return Beads.join([Beads.chain(placement, *line, wall) for line in lines])


# ---- one slice --------------------------------------------------------------------------------


def mediastinum_outline(
    placement: Placement, height: float, first: float = -1.15, last: float = 1.15
) -> np.ndarray:
    """(n, 2) mm of the mediastinum from `first` to `last`, shares of the cage's half-depth.

    It reaches past the cage on both ends, so that nothing of the lungs is left there.
    """
    front, back = profile(CAGE_FRONT, height), profile(CAGE_BACK, height)
    at = np.linspace(first, last, 23)
    y = (front + back) / 2 + (back - front) / 2 * at
    borders = []
    for side in SIDES:
        row = [np.interp(height, MEDIASTINUM_HEIGHTS, column) for column in MEDIASTINUM[side].T]
        fine = np.interp(at, DEPTHS, row)
        fine = np.convolve(np.pad(fine, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
        borders.append(side * fine * placement.body.mediastinal_fat)
    x = np.concatenate([borders[0], borders[1][::-1]])
    return placement.points(x, np.concatenate([y, y[::-1]]), height)


def _heart(mediastinum: Mediastinum, height: float, out: float = 0) -> np.ndarray | None:
    """(n, 2) mm of the heart or, `out` mm further, of its fat; None above and below it."""
    long, short = profile(HEART_LONG, height), profile(HEART_SHORT, height)
    if not 0.4 <= height <= 0.87 or short <= 1:
        return None
    scale = mediastinum.patient.heart
    x, y = oval(
        profile(HEART_X, height) + 20 * (scale - 1), profile(HEART_Y, height),
        long * scale + out, short * scale + out, -mediastinum.patient.body.heart_tilt_deg, 2.2,
    )  # fmt: skip
    front = profile(CAGE_FRONT, height) + 5
    return mediastinum.placement.points(x, np.maximum(y, front), height)


def _cut_out(mediastinum: Mediastinum, lungs: Canvas, height: float, vessels, airways) -> None:
    lungs.fill(mediastinum_outline(mediastinum.placement, height), 0)
    heart = _heart(mediastinum, height, 4)
    if heart is not None:
        lungs.fill(heart, 0)
    xy, radius, _, _ = vessels
    lungs.circles(xy, radius + 0.8, np.zeros(len(xy)))
    xy, radius, wall, _ = airways
    lungs.circles(xy, radius + wall, np.zeros(len(xy)))


def _draw(mediastinum: Mediastinum, height: float, vessels, airways, tissue, gas) -> None:
    place = mediastinum.placement
    crura = place.points(*oval(2, 20, 24, 24), height)  # of the diaphragm
    before_spine = mediastinum_outline(place, height, last=0.45) if height < 0.84 else crura
    tissue.fill(before_spine, soft(FAT + 12))
    fat = _heart(mediastinum, height, 4)
    if fat is not None:
        tissue.fill(fat, soft(FAT + 10))
        tissue.fill(_heart(mediastinum, height), soft(BLOOD))
        if 0.5 < height < 0.8:
            _draw_grooves(mediastinum, height, tissue)
    xy, radius, value, rank = vessels
    order = np.lexsort((radius, rank))
    greys = (value[order] - SOFT_LOW) / SOFT_STEP
    tissue.circles(xy[order], radius[order], greys)
    xy, radius, wall, _ = airways
    tissue.circles(xy, radius + wall, np.full(len(xy), soft(AIRWAY_WALL)))
    gas.circles(xy, radius, np.full(len(xy), 255))


def _draw_grooves(mediastinum: Mediastinum, height: float, tissue: Canvas) -> None:
    """Fat between atria and ventricles, and between the ventricles, with a coronary vessel."""
    outline = _heart(mediastinum, height, 1)
    middle = outline.mean(axis=0)
    for share, depth in ((0.56, 0.13), (0.83, 0.09)):
        at = outline[int(share * len(outline))]
        inwards = (middle - at) * depth
        across = np.array([-inwards[1], inwards[0]]) * 0.55
        tissue.fill(np.stack([at - across, at + 1.6 * inwards, at + across]), soft(FAT + 20))
        tissue.circles((at + 0.6 * inwards)[None], np.array([1.3]), [soft(BLOOD)])
