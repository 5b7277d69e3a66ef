"""The one place where the class matters: which lesions a patient's lungs hold.

COVID-19: several patches of ground glass along the pleura of both lungs, some with a dense core.
CAP: one or few consolidations, mostly in one lung, with air in their bronchi and a rim of ground
glass. Forms and numbers are Ours (`cohort.Lesion` has the sources) unless a line says otherwise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from cnr_iemn.cohort import CAP, COVID, Patient
from cnr_iemn.parenchyma import LungMap, Lungs
from cnr_iemn.textures import NoisePlanes, SmoothVolume

ROUGHNESS = 0.28  # of an outline: noise of this share of the radius
GLASS_EDGE_MM = 2.2
CORE_HU, RIM_HU = -60, -420  # in ground glass, around consolidation
AIR_HU = -960  # in the bronchi of a consolidation
LEFT_LOBES, RIGHT_LOBES = (0, 1), (2, 3, 4)  # LLL, LUL; RLL, RML, RUL
PROBE = 9000  # points of the lungs that extents are measured on


@dataclass(frozen=True)
class Patch:
    """One lesion: an ellipsoid with an uneven outline."""

    centre: np.ndarray  # (3,) mm
    radii: np.ndarray  # (3,) mm: along the pleura's normal, across it in the slice, along z
    turn: float  # of the normal against x, radians
    hu: float
    core: float  # share of the radius that is dense; 0: none
    lobes: tuple[int, ...]  # that it may lie in: one, or all of a lung

    def inwards(self, x, y, z, noise) -> np.ndarray:
        """About the distance from its outline, mm, positive inside; the arguments broadcast."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        away = ((cos * dx + sin * dy) / self.radii[0]) ** 2
        away = away + ((cos * dy - sin * dx) / self.radii[1]) ** 2 + (dz / self.radii[2]) ** 2
        mean = float(self.radii.mean())
        return mean * (1 - np.sqrt(away)) + (ROUGHNESS * mean) * noise


@dataclass(frozen=True)
class Lesions:
    """All lesions of a patient, and their textures."""

    label: str
    patches: tuple[Patch, ...]
    outline: SmoothVolume
    density: SmoothVolume
    fine: NoisePlanes
    rim_mm: float

    def cover(self, hu: np.ndarray, lungs: Lungs, z: float, pixel: float):
        """Lay the lesions over lung tissue.

        Args:
            hu: float32 (height, width) of the crop, changed in place.

        Returns:
            Two float32 (height, width), 0 to 1: shares of lesion and of consolidation.
        """
        return _cover(self, hu, lungs, z, pixel)


def place_lesions(patient: Patient, lungs: Lungs) -> Lesions:
    """The lesions of one patient; none in normal ones.

    The extent is drawn, not left to the noise: the lesions' radii are scaled to it.
    """
    rng, length = patient.stream(6), lungs.thorax.length
    outline = SmoothVolume(rng, 22, -10, length + 10)
    density = SmoothVolume(rng, 12, -10, length + 10)
    pixel = lungs.thorax.grid.pixel
    fine = NoisePlanes(
        patient.stream(8), lungs.thorax.grid.shape, max(1.0 / pixel, 0.5), max(3.5 / pixel, 1.8)
    )
    lesion, patches = patient.lesion, []
    if patient.label == COVID:
        patches = _glass_patches(patient, lungs.map, rng)
        patches = _scale(patches, lesion.covid_extent, lungs.map, outline, rng)
    elif patient.label == CAP:
        patches = _consolidations(patient, lungs.map, rng)
        patches = _scale(patches, lesion.cap_extent, lungs.map, outline, rng)
    return Lesions(patient.label, tuple(patches), outline, density, fine, lesion.cap_rim_mm)


# ---- where ------------------------------------------------------------------------------------


def _glass_patches(patient: Patient, lung_map: LungMap, rng) -> list[Patch]:
    lesion = patient.lesion
    x, y = lung_map.atlas.T
    costal = np.clip((np.abs(x) - 35) / 45, 0.01, 1)
    weight = costal * np.exp(-lung_map.depth / 4.5 + (0.4 + 3 * lesion.covid_dorsal) * y / 70)
    weight *= np.exp(-(((lung_map.height - lesion.covid_height) / 0.19) ** 2) / 2)
    patches = []
    for k in range(lesion.covid_count):
        # At least one a side; the others as they fall.
        left = k == 1 or (k > 1 and rng.random() > lesion.covid_balance)
        patches.append(
            _patch(
                lung_map, weight * ((x > 0) == left), rng,
                base=14 * 2.4 ** rng.random(), flat=rng.uniform(0.38, 0.68),
                hu=lesion.covid_hu + rng.normal(0, 35),
                core=rng.uniform(0.35, 0.7) if rng.random() < lesion.covid_cores else 0.0,
            )
        )  # fmt: skip
    return patches


def _consolidations(patient: Patient, lung_map: LungMap, rng) -> list[Patch]:
    lesion = patient.lesion
    x = lung_map.atlas[:, 0]
    patches = []
    for k in range(lesion.cap_count):
        other = lesion.cap_both and k > 0
        height = lesion.cap_height if k == 0 else rng.uniform(0.2, 0.85)
        weight = np.exp(-(((lung_map.height - height) / 0.08) ** 2) / 2)
        weight *= (x > 0) == (lesion.cap_left != other)
        patches.append(
            _patch(
                lung_map, weight * (lung_map.depth > 5), rng,
                base=36.0 if k == 0 else 36 * rng.uniform(0.35, 0.65), flat=rng.uniform(0.7, 1.1),
                hu=lesion.cap_hu + rng.normal(0, 8), core=0.0, lobar=lesion.cap_lobar,
            )
        )  # fmt: skip
    return patches


def _patch(lung_map, weight, rng, base, flat, hu, core, lobar=False) -> Patch:
    """A lesion somewhere in the lungs, `weight` more often than elsewhere."""
    index = rng.choice(len(weight), p=weight / weight.sum())
    x, y = lung_map.atlas[index]
    # The pleura's normal, about: from the middle of the lung outwards.
    turn = math.atan2(y, x - math.copysign(68, x))
    radii = base * np.array([flat, 1.0, 1.0]) * rng.uniform(0.75, 1.3, 3)
    centre = lung_map.points[index] + rng.uniform(-2, 2, 3)
    lobe = int(lung_map.lobe[index])
    lung = LEFT_LOBES if lobe in LEFT_LOBES else RIGHT_LOBES
    return Patch(centre, radii, turn, hu, core, (lobe,) if lobar else lung)


def _scale(patches: list[Patch], extent: float, lung_map: LungMap, outline, rng) -> list[Patch]:
    """The same lesions, together as large as `extent`, a share of the lungs."""
    chosen = rng.choice(len(lung_map.points), PROBE)
    points, lobes = lung_map.points[chosen], lung_map.lobe[chosen]
    noise = outline.points(points)

    def scaled(factor: float) -> list[Patch]:
        return [replace(p, radii=p.radii * factor) for p in patches]

    def share(factor: float) -> float:
        inside = np.zeros(PROBE, bool)
        for patch in scaled(factor):
            inside |= (patch.inwards(*points.T, noise) > 0) & np.isin(lobes, patch.lobes)
        return float(inside.mean())

    low, high = 0.15, 3.0
    for _ in range(8):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if share(middle) < extent else (low, middle)
    return scaled(math.sqrt(low * high))


# ---- what -------------------------------------------------------------------------------------


def _cover(lesions: Lesions, hu: np.ndarray, lungs: Lungs, z: float, pixel: float):
    share, dense = np.zeros_like(hu), np.zeros_like(hu)
    near = [p for p in lesions.patches if abs(z - p.centre[2]) < 1.9 * p.radii[2] + 8]
    if not near:
        return share, dense
    x, y = lungs.axes
    outline, density = (v.slice(z, x, y) for v in (lesions.outline, lesions.density))
    fine = lesions.fine.next()
    lobes = lungs.thorax.lobes(z / lungs.thorax.length)
    for patch in near:
        box = _box(patch, x, y)
        inwards = patch.inwards(x[:, box[1]], y[box[0]], z, outline[box])
        allowed = np.logical_or.reduce([lobes[k][box] for k in patch.lobes])
        inwards = np.where(allowed, inwards, -100)
        if lesions.label == COVID:
            _lay_glass(patch, hu[box], share[box], inwards, density[box], fine[box])
        else:
            _lay_consolidation(
                patch, hu[box], share[box], dense[box], inwards, density[box], fine[box],
                lesions.rim_mm, pixel,
            )  # fmt: skip
    return share, dense


def _box(patch: Patch, x: np.ndarray, y: np.ndarray) -> tuple[slice, slice]:
    """The part of the crop that a lesion can reach."""
    reach = 1.9 * float(patch.radii.max()) + 8
    rows = np.searchsorted(y[:, 0], (patch.centre[1] - reach, patch.centre[1] + reach))
    columns = np.searchsorted(x[0], (patch.centre[0] - reach, patch.centre[0] + reach))
    return slice(*rows), slice(*columns)


def _lay_glass(patch, hu, share, inwards, density, fine) -> None:
    alpha = np.clip((inwards + 1.6 * fine) / (2 * GLASS_EDGE_MM) + 0.5, 0, 1)
    target = patch.hu + 60 * density + 42 * fine
    if patch.core:
        depth = inwards / float(patch.radii.mean())
        inner = np.clip((depth - 1 + patch.core + 0.12 * density) / 0.25, 0, 1)
        target = target + inner * (CORE_HU - target)
    # Where patches overlap they do not get denser than the densest.
    hu += alpha * np.maximum(target - hu, 0)
    np.maximum(share, alpha, out=share)


def _lay_consolidation(patch, hu, share, dense, inwards, density, fine, rim, pixel) -> None:
    rim_alpha = 0.55 * np.clip((inwards + rim + 1.2 * fine) / rim, 0, 1)
    hu += rim_alpha * np.maximum(RIM_HU + 60 * density - hu, 0)
    alpha = np.clip(inwards / max(pixel, 0.9) + 0.5, 0, 1)
    hu += alpha * (patch.hu + 14 * density + 8 * fine - hu)
    np.maximum(dense, alpha, out=dense)
    np.maximum(share, alpha, out=share)
