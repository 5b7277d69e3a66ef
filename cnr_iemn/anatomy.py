"""A thorax in slices: body, bones, mediastinum, heart, airways, abdomen, and where the lungs are.

Forms (those of `atlas`) and numbers are Ours, matched by eye to real scans, unless a line says
otherwise.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cnr_iemn import operations
from cnr_iemn.atlas import (
    CAGE_BACK,
    CAGE_FRONT,
    CAGE_WIDTH,
    DEPTHS,
    HEART_LONG,
    HEART_SHORT,
    HEART_X,
    HEART_Y,
    MEDIASTINUM,
    MEDIASTINUM_HEIGHTS,
    SIDES,
    SPINE_Y,
    body_contour,
    breast_shapes,
    cage_point,
    profile,
)
from cnr_iemn.cohort import Body, Patient
from cnr_iemn.geometry import (
    SOFT_LOW,
    SOFT_STEP,
    TURN,
    Beads,
    Canvas,
    Grid,
    Placement,
    crop_around,
    oval,
    soft,
)
from cnr_iemn.skeleton import BONE_STEP, Skeleton, build_skeleton
from cnr_iemn.textures import smooth_noise

AIR, FAT, SKIN, MUSCLE, BLOOD, LIVER, SPLEEN = -1000, -100, 10, 55, 42, 58, 50  # HU
BOWEL, FLUID, KIDNEY, OESOPHAGUS, THYROID, WALL = 33, 8, 30, 38, 100, 30


@dataclass(frozen=True)
class Section:
    """One slice through a thorax without lung tissue; float32 (height, width) of the crop."""

    hu: np.ndarray  # of all but the lungs
    lung: np.ndarray  # 0 to 1: share of lung


# ---- one patient ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thorax:
    """What is the same in all slices of a patient."""

    patient: Patient
    placement: Placement
    grid: Grid
    x: np.ndarray  # (height, width) of the crop: x of the atlas, mm
    y: np.ndarray
    diaphragm: np.ndarray  # (height, width): height of the diaphragm
    fissures: tuple[np.ndarray, np.ndarray, np.ndarray]  # heights: right and left oblique, minor
    vessels: Beads  # of the mediastinum, HU
    skeleton: Skeleton
    bowel: Beads  # colon; value: share of the radius that is gas
    airways: Beads  # trachea and main bronchi; value: thickness of the wall, mm
    metal: Beads | None  # HU

    @property
    def length(self) -> float:
        return self.placement.length

    def section(self, z: float, thickness: float) -> Section:
        """Draw the slice whose middle lies z mm below the apex."""
        return _draw_section(self, z, thickness)

    def lung_share(self, z: float, thickness: float) -> np.ndarray:
        """The `lung` of `section` alone."""
        height = z / self.length
        share = _draw_lungs(self, height, *self._bulges(z)).share()
        share *= _above_diaphragm(self, z, thickness)
        return share * (1 - _fluid(self, height))

    def _bulges(self, z: float):
        return self.vessels.at(z), self.airways.at(z)

    def lobes(self, height: float) -> tuple[np.ndarray, ...]:
        """bool (height, width): LLL, LUL, RLL, RML, RUL, as COVID-CT-MD orders them."""
        right, left, minor = self.fissures
        is_left = self.x > 0
        lower_left, lower_right = is_left & (height > left), ~is_left & (height > right)
        upper = ~is_left & ~lower_right
        middle = upper & (height > minor)
        return lower_left, is_left & ~lower_left, lower_right, middle, upper & ~middle


def build_thorax(patient: Patient, size: int) -> Thorax:
    """All that a patient's slices have in common.

    Args:
        size: width and height of the picture in px.
    """
    body, rng = patient.body, patient.stream(1)
    placement = Placement(body, body.lung_length_mm, rng.uniform(0, 2 * np.pi, 6))
    pixel = patient.scan.field_mm * body.size / size
    outlines = [body_contour(placement, h) for h in np.linspace(-0.2, 1.25, 9)]
    outlines += [placement.points(*shape, 0.55) for shape in breast_shapes(body, 0.55)]
    grid = crop_around(outlines, size, pixel)
    x, y = (v.astype(np.float32) for v in placement.atlas(*grid.axes()))
    wander = [smooth_noise(rng, 60, *grid.axes()) for _ in range(4)]
    return Thorax(
        patient, placement, grid, x, y,
        _diaphragm(body, x, y, wander[0]),
        _fissures(x, y, wander[1:]),
        _great_vessels(patient, placement),
        build_skeleton(body, placement, rng),
        _bowel(body, placement, rng),
        _airways(body, placement),
        operations.metal(patient.operation, body, placement),
    )  # fmt: skip


def _diaphragm(body: Body, x, y, wander) -> np.ndarray:
    """Height of the diaphragm: two domes that fall steeply to the sides and to the back."""
    heights = []
    for side in SIDES:
        top = body.right_dome + (body.left_dome_lower if side > 0 else 0)
        across, along = (side * x - 60) / 84, (y + 36) / np.where(y > -36, 112, 80)
        away = across**2 + along**2
        heights.append(top + 0.26 * away**1.3)
    return (np.minimum(*heights) + 0.008 * wander).astype(np.float32)


def _fissures(x, y, wander) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights at which the oblique fissures (right, left) and the minor one lie."""
    forward = (92 - y) / 152
    bow = 0.05 * ((np.abs(x) - 75) / 60) ** 2
    right = 0.23 + 0.70 * forward + bow + 0.012 * wander[0]
    left = 0.20 + 0.74 * forward + bow + 0.012 * wander[1]
    minor = 0.50 + 0.04 * ((np.abs(x) - 70) / 60) ** 2 + 0.012 * wander[2]
    return tuple(v.astype(np.float32) for v in (right, left, minor))


def _great_vessels(patient: Patient, placement: Placement) -> Beads:
    """Arteries, veins and oesophagus; later ones are drawn over earlier ones."""
    a, chain = patient.body.aorta, lambda *line: Beads.chain(placement, *line)
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


def _bowel(body: Body, placement: Placement, rng: np.random.Generator) -> Beads:
    """The left bend of the colon under the diaphragm, and the part that crosses to the right."""
    t = np.linspace(0, 1, 26)
    bend, across = rng.uniform(0.86, 0.95), rng.uniform(0.98, 1.12)
    x = np.interp(t, [0, 0.25, 0.5, 1], [108, 98, 74, -70]) + rng.normal(0, 3, len(t))
    y = np.interp(t, [0, 0.25, 0.5, 1], [8, -34, -66, -78]) + rng.normal(0, 2, len(t))
    height = np.interp(t, [0, 0.25, 0.5, 1], [1.2, bend, bend + 0.08, across])
    height = height + rng.normal(0, 0.01, len(t))
    radius = 13 + 5 * np.sin(np.arange(len(t)) * 1.9 + rng.uniform(0, 6)) + rng.normal(0, 1, len(t))
    share = np.clip(body.gas + rng.normal(0, 0.3), 0, 0.9)
    return Beads.join([Beads.chain(placement, x, y, height, radius, share, 2.5)])


# ---- one slice --------------------------------------------------------------------------------


def _above_diaphragm(thorax: Thorax, z: float, thickness: float) -> np.ndarray:
    """0 to 1: share of the slice's thickness that lies above the diaphragm."""
    height = z / thorax.length
    blur = max(thickness, 1.5) / thorax.length
    return np.clip((thorax.diaphragm - height) / blur + 0.5, 0, 1)


def _cage(thorax: Thorax, height: float, out: float = 0) -> np.ndarray:
    x, y = cage_point(TURN, height)
    grow = 1 + out / 110
    return thorax.placement.points(x * grow, y * grow, height)


def _mediastinum(thorax: Thorax, height: float, first=-1.15, last=1.15) -> np.ndarray:
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
        borders.append(side * fine * thorax.patient.body.mediastinal_fat)
    x = np.concatenate([borders[0], borders[1][::-1]])
    return thorax.placement.points(x, np.concatenate([y, y[::-1]]), height)


def _heart(thorax: Thorax, height: float, out: float = 0) -> np.ndarray | None:
    """(n, 2) mm of the heart or, `out` mm further, of its fat; None above and below it."""
    long, short = profile(HEART_LONG, height), profile(HEART_SHORT, height)
    if not 0.4 <= height <= 0.87 or short <= 1:
        return None
    scale = thorax.patient.heart
    x, y = oval(
        profile(HEART_X, height) + 20 * (scale - 1), profile(HEART_Y, height),
        long * scale + out, short * scale + out, -thorax.patient.body.heart_tilt_deg, 2.2,
    )  # fmt: skip
    front = profile(CAGE_FRONT, height) + 5
    return thorax.placement.points(x, np.maximum(y, front), height)


def _draw_lungs(thorax: Thorax, height: float, vessels, airways) -> Canvas:
    """Lungs without regard to the diaphragm."""
    canvas = Canvas(thorax.grid)
    if height < -0.01:
        return canvas
    canvas.fill(_cage(thorax, height), 255)
    canvas.fill(_mediastinum(thorax, height), 0)
    heart = _heart(thorax, height, 4)
    if heart is not None:
        canvas.fill(heart, 0)
    xy, radius, _, _ = vessels
    canvas.circles(xy, radius + 0.8, np.zeros(len(xy)))
    xy, radius, wall, _ = airways
    canvas.circles(xy, radius + wall, np.zeros(len(xy)))
    return canvas


def _draw_section(thorax: Thorax, z: float, thickness: float) -> Section:
    height, body = z / thorax.length, thorax.patient.body
    vessels, airways = thorax._bulges(z)
    lung = _draw_lungs(thorax, height, vessels, airways).share()
    lung *= _above_diaphragm(thorax, z, thickness)
    tissue, gas = Canvas(thorax.grid, soft(SKIN)), Canvas(thorax.grid)
    bone, skin = Canvas(thorax.grid), Canvas(thorax.grid)
    outlines = [thorax.placement.points(*shape, height) for shape in breast_shapes(body, height)]
    for outline in (*outlines, body_contour(thorax.placement, height)):
        skin.fill(outline, 255)
    _fill_fat(skin, tissue)
    _draw_chest_wall(thorax, height, tissue)
    if height > 0.5:
        _draw_abdomen(thorax, height, tissue, gas)
    _draw_mediastinum(thorax, height, vessels, tissue)
    xy, radius, wall, _ = airways
    tissue.circles(xy, radius + wall, np.full(len(xy), soft(WALL)))
    gas.circles(xy, radius, np.full(len(xy), 255))
    thorax.skeleton.draw(z, tissue, bone)
    hu = tissue.drawn.astype(np.float32) * SOFT_STEP + SOFT_LOW
    hu += bone.drawn.astype(np.float32) * (BONE_STEP * body.bone)
    share = skin.share()
    air = 1 - share + share * gas.share()
    hu += air * (AIR - hu)
    fluid = lung * _fluid(thorax, height)
    hu += fluid * (FLUID - hu)
    if thorax.metal is not None:
        hu += _metal(thorax, z, hu, share)
    return Section(hu, lung - fluid)


def _fluid(thorax: Thorax, height: float) -> np.ndarray:
    patient = thorax.patient
    return operations.fluid_share(patient.body, patient.operation, thorax.x, thorax.y, height)


def _metal(thorax: Thorax, z: float, hu: np.ndarray, share: np.ndarray) -> np.ndarray:
    """HU that metal adds to a slice, with its streaks."""
    xy, radius, value, _ = thorax.metal.at(z, 1.0)
    if not len(xy):
        return np.zeros_like(hu)
    canvas = Canvas(thorax.grid)
    canvas.circles(xy, radius, np.full(len(xy), 255))
    added = operations.streaks(xy, radius, *thorax.grid.axes()) * share
    return added + canvas.share() * (float(value.max()) - hu - added)


def _fill_fat(skin: Canvas, tissue: Canvas) -> None:
    """Fat in all of the body but its skin, which coarse pictures do not show."""
    reach = 2 * round(1.2 / skin.grid.pixel) + 1
    inner = cv2.erode(skin.drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    tissue.drawn[inner > 127] = soft(FAT)


def _draw_chest_wall(thorax: Thorax, height: float, tissue: Canvas) -> None:
    """Muscles around the cage, each in its sheath of fat."""
    m = thorax.patient.body.muscle
    place = thorax.placement
    front, back = profile(CAGE_FRONT, height), profile(CAGE_BACK, height)
    width, spine = profile(CAGE_WIDTH, height), profile(SPINE_Y, height)

    def muscle(x, y, rx, ry, tilt=0.0, hu=MUSCLE):
        if min(rx, ry) < 1.5:
            return
        tissue.fill(place.points(*oval(x, y, rx + 1.6, ry + 1.6, tilt, 2.3), height), soft(FAT))
        tissue.fill(place.points(*oval(x, y, rx, ry, tilt, 2.3), height), soft(hu))

    upper = float(np.clip((0.55 - height) / 0.2, 0, 1))  # where the shoulder girdle is
    shoulder = float(np.clip((0.16 - height) / 0.16, 0, 1))
    if height < 0.1:  # neck and shoulders
        muscle(0, 12, 46, 40, hu=50)
        for side in SIDES:
            muscle(74 * side, 48, 46 * m, 30, 20 * side)
            muscle(164 * side, 34, 40 * shoulder, 46 * m * shoulder)
    for side in SIDES:
        muscle(64 * side, front - 17, 58 * min(1, upper + 0.1), 8.5 * m * upper, 16 * side)
        muscle(62 * side, front - 7, 36 * upper, 4 * m * upper, 14 * side)
        muscle((width + 20) * side, back - 42, 11 * m, 34, -14 * side)  # latissimus
        muscle((width - 12) * side, back - 6, 34 * upper, 13 * m * upper, -42 * side)  # scapular
        muscle((width - 26) * side, back + 12, 40 * upper, 7 * m * upper, -28 * side)
        muscle(58 * side, back + 16, 46 * upper, 6 * m * upper, -8 * side)  # trapezius, rhomboids
        muscle((width + 9) * side, (front + back) / 2 - 8, 5 * m, 46, -4 * side)  # serratus
    tissue.fill(_cage(thorax, height, 10), soft(MUSCLE - 8))
    for side in SIDES:
        muscle(32 * side, spine + 50, 27 * m, 15 * m, 10 * side)  # erectors of the spine
    tissue.fill(_cage(thorax, height, 1.2), soft(FAT + 30))
    paraspinal = _mediastinum(thorax, min(height, 1.1), 0.42, 1.05)
    tissue.fill(paraspinal, soft(MUSCLE - 12))


def _draw_abdomen(thorax: Thorax, height: float, tissue: Canvas, gas: Canvas) -> None:
    """What lies under the diaphragm; the lungs are laid over it."""
    body, place = thorax.patient.body, thorax.placement
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
    bubble = 30 * body.gas * (1 - 0.5 * low)
    if bubble > 5 and height > 0.76:  # gas lies on top of what is fluid
        x, y = oval(58, middle - 8, bubble, bubble * 0.8)
        gas.fill(place.points(x, np.minimum(y, middle - 2), height), 255)
    if height > 0.98:  # kidneys
        for side in SIDES:
            size = 26 * min(1, (height - 0.96) / 0.06)
            fill(KIDNEY, 52 * side, 48, size, size * 1.1, 20)
            fill(FAT + 40, 47 * side, 45, size * 0.4, size * 0.5, 20)
    xy, radius, share, _ = thorax.bowel.at(height * thorax.length)
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


def _draw_mediastinum(thorax: Thorax, height: float, vessels, tissue: Canvas) -> None:
    crura = thorax.placement.points(*oval(2, 20, 24, 24), height)  # of the diaphragm
    before_spine = _mediastinum(thorax, height, -1.15, 0.45) if height < 0.84 else crura
    tissue.fill(before_spine, soft(FAT + 12))
    fat = _heart(thorax, height, 4)
    if fat is not None:
        tissue.fill(fat, soft(FAT + 10))
        tissue.fill(_heart(thorax, height), soft(BLOOD))
        if 0.5 < height < 0.8:
            _draw_grooves(thorax, height, tissue)
    xy, radius, value, rank = vessels
    order = np.lexsort((radius, rank))
    greys = (value[order] - SOFT_LOW) / SOFT_STEP
    tissue.circles(xy[order], radius[order], greys)


def _draw_grooves(thorax: Thorax, height: float, tissue: Canvas) -> None:
    """Fat between atria and ventricles, and between the ventricles, with a coronary vessel."""
    outline = _heart(thorax, height, 1)
    middle = outline.mean(axis=0)
    for share, depth in ((0.56, 0.13), (0.83, 0.09)):
        at = outline[int(share * len(outline))]
        inwards = (middle - at) * depth
        across = np.array([-inwards[1], inwards[0]]) * 0.55
        tissue.fill(np.stack([at - across, at + 1.6 * inwards, at + across]), soft(FAT + 20))
        tissue.circles((at + 0.6 * inwards)[None], np.array([1.3]), [soft(BLOOD)])
