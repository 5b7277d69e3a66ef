"""A thorax in slices: what it is put together from, and where the lungs are; not their tissue.

Chest wall, diaphragm and fissures are made in here, what they surround in `mediastinum`, `abdomen`
and `skeleton`. Forms (those of `atlas`) and numbers are Ours, matched by eye to real scans.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cnr_iemn import operations
from cnr_iemn.abdomen import build_bowel, draw_abdomen
from cnr_iemn.atlas import (
    AIR,
    CAGE_BACK,
    CAGE_FRONT,
    CAGE_WIDTH,
    FAT,
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
from cnr_iemn.mediastinum import Mediastinum, build_mediastinum, mediastinum_outline
from cnr_iemn.skeleton import BONE_STEP, Skeleton, build_skeleton
from cnr_iemn.textures import smooth_noise

SKIN, MUSCLE, FLUID = 10, 55, 8  # HU


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
    mediastinum: Mediastinum
    skeleton: Skeleton
    bowel: Beads  # colon; value: share of the radius that is gas
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
        share = _draw_lungs(self, height, self.mediastinum.tubes(z)).share()
        share *= _above_diaphragm(self, z, thickness)
        return share * (1 - _fluid(self, height))

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
        build_mediastinum(patient, placement),
        build_skeleton(body, placement, rng),
        build_bowel(body, placement, rng),
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


def _draw_lungs(thorax: Thorax, height: float, tubes: tuple) -> Canvas:
    """Lungs without regard to the diaphragm."""
    canvas = Canvas(thorax.grid)
    if height < -0.01:
        return canvas
    canvas.fill(_cage(thorax, height), 255)
    thorax.mediastinum.cut_out(canvas, height, tubes)
    return canvas


def _draw_section(thorax: Thorax, z: float, thickness: float) -> Section:
    height, body = z / thorax.length, thorax.patient.body
    tubes = thorax.mediastinum.tubes(z)
    lung = _draw_lungs(thorax, height, tubes).share()
    lung *= _above_diaphragm(thorax, z, thickness)
    tissue, gas = Canvas(thorax.grid, soft(SKIN)), Canvas(thorax.grid)
    bone, skin = Canvas(thorax.grid), Canvas(thorax.grid)
    outlines = [thorax.placement.points(*shape, height) for shape in breast_shapes(body, height)]
    for outline in (*outlines, body_contour(thorax.placement, height)):
        skin.fill(outline, 255)
    _fill_fat(skin, tissue)
    _draw_chest_wall(thorax, height, tissue)
    if height > 0.5:
        draw_abdomen(thorax.placement, thorax.bowel, height, tissue, gas)
    thorax.mediastinum.draw(height, tubes, tissue, gas)
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
    paraspinal = mediastinum_outline(place, min(height, 1.1), 0.42, 1.05)
    tissue.fill(paraspinal, soft(MUSCLE - 12))
