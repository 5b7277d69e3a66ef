"""One scan and its truth from a patient's drawn parameters.

Slice by slice: the thorax (`anatomy`), lung tissue (`parenchyma`), lesions (`lesions`), then the
scanner's table, blur and noise.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cnr_iemn.anatomy import Thorax, build_thorax
from cnr_iemn.atlas import AIR, body_contour
from cnr_iemn.cohort import Patient
from cnr_iemn.lesions import AIR_HU, Lesions, place_lesions
from cnr_iemn.parenchyma import LUMEN_HU, VESSEL_HU, WALL_HU, Lungs, build_lungs
from cnr_iemn.slice_labels import LOBES
from cnr_iemn.textures import NoisePlanes

LABEL_MM2 = 60.0  # Ours: of lesion in a lobe, from which on its slice is labelled as infected
SUB_SLICE_MM = 2.0  # Ours: thicker slices are averaged from several
GOWN_HU = -890.0
AIR_NOISE = 0.55  # Ours: SD outside the body and in the lungs, relative
LOWEST, HIGHEST = -1024, 3071  # HU of 12 bits


@dataclass(frozen=True)
class Rendering:
    """A scan and its truth, slices head first.

    hu: int16 (slices, size, size), -1024 to 3071 HU.
    lungs: bool (slices, size, size), lung with its lesions and vessels.
    lesions: bool (slices, size, size), within `lungs`; nowhere in normal scans.
    lobes: bool (slices, 5), where lesions cover at least `LABEL_MM2`: LLL, LUL, RLL, RML, RUL.
    locations: (slices,) mm, descending.
    spacing: mm between slices; pixel: mm.
    """

    hu: np.ndarray
    lungs: np.ndarray
    lesions: np.ndarray
    lobes: np.ndarray
    locations: np.ndarray
    spacing: float
    pixel: float

    @property
    def infected(self) -> np.ndarray:
        """bool (slices,): slices labelled as infected."""
        return self.lobes.any(axis=1)


def render(patient: Patient, size: int = 512, spacing_mm: float | None = None) -> Rendering:
    """Make one scan. Equal patients give equal scans.

    Args:
        size: width and height of the slices in px, 48 to 512.
        spacing_mm: distance of the slices; None is their thickness. They keep their own thickness.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the pictures are small, and processes share the cores already
    try:
        return _render(patient, size, spacing_mm)
    finally:
        cv2.setNumThreads(threads)


def _render(patient: Patient, size: int, spacing_mm: float | None) -> Rendering:
    thorax = build_thorax(patient, size)
    lungs = build_lungs(thorax)
    lesions = place_lesions(patient, lungs)
    scanner = _Scanner(thorax, patient)
    spacing = patient.thickness_mm if spacing_mm is None else spacing_mm
    depths = _depths(patient, spacing)
    shape = (len(depths), size, size)
    hu = np.empty(shape, np.int16)
    lung_mask, lesion_mask = np.zeros(shape, bool), np.zeros(shape, bool)
    lobes = np.zeros((len(depths), len(LOBES)), bool)
    for k, z in enumerate(depths):
        body, lung, lesion = _thick_slice(thorax, lungs, lesions, z)
        hu[k] = scanner.expose(body, z)
        window = thorax.grid.window
        lung_mask[k][window], lesion_mask[k][window] = lung, lesion
        lobes[k] = _infected_lobes(thorax, z, lesion)
    locations = patient.scan.first_location_mm - (depths - depths[0])
    return Rendering(
        hu, lung_mask, lesion_mask, lobes, np.round(locations, 2), spacing, thorax.grid.pixel
    )


def _depths(patient: Patient, spacing: float) -> np.ndarray:
    """(slices,) mm below the apex, of the middles of the slices."""
    scan = patient.scan
    first = -scan.above_mm + spacing * scan.phase
    return np.arange(first, patient.body.lung_length_mm + scan.below_mm, spacing)


def _thick_slice(thorax: Thorax, lungs: Lungs, lesions: Lesions, z: float):
    """HU of the crop before blur and noise, and its lung and lesion masks."""
    thickness = thorax.patient.thickness_mm
    parts = max(1, round(thickness / SUB_SLICE_MM))
    offsets = ((np.arange(parts) + 0.5) / parts - 0.5) * thickness
    layers = [_thin_slice(thorax, lungs, lesions, z + dz, thickness / parts) for dz in offsets]
    if parts == 1:
        hu, lung, lesion = layers[0]
    else:
        hu, lung, lesion = (np.mean(maps, axis=0) for maps in zip(*layers, strict=True))
    is_lung = lung > 0.5
    return hu, is_lung, (lesion > 0.5) & is_lung


def _thin_slice(thorax: Thorax, lungs: Lungs, lesions: Lesions, z: float, thickness: float):
    section = thorax.section(z, thickness)
    hu, share = section.hu, section.lung
    if not share.any():
        return hu, share, share
    tissue = lungs.tissue(z, share)
    lesion, dense = lesions.cover(tissue, lungs, z, thorax.grid.pixel)
    vessel, wall, lumen = lungs.tubes(z, thickness)
    if dense.any():
        # Vessels vanish in a consolidation, and air shows in its bronchi.
        open_lumen = np.minimum(1, 1.6 * cv2.GaussianBlur(lumen, (0, 0), 0.6))
        tissue += dense * open_lumen * (AIR_HU - tissue)
        vessel, wall, lumen = (v * (1 - dense) for v in (vessel, wall, lumen))
    tissue += wall * (WALL_HU - tissue)
    tissue += lumen * (LUMEN_HU - tissue)
    tissue += vessel * (VESSEL_HU - tissue)
    hu += share * (tissue - hu)
    return hu, share, lesion


def _infected_lobes(thorax: Thorax, z: float, lesion: np.ndarray) -> np.ndarray:
    """bool (5,): lobes in which enough lesion is seen."""
    if not lesion.any():
        return np.zeros(len(LOBES), bool)
    area = thorax.grid.pixel**2
    lobes = thorax.lobes(z / thorax.length)
    return np.array([np.count_nonzero(lesion & lobe) * area >= LABEL_MM2 for lobe in lobes])


class _Scanner:
    """Table, blur and noise: from HU of the crop to the whole picture."""

    def __init__(self, thorax: Thorax, patient: Patient):
        self.thorax, self.grid, self.patient = thorax, thorax.grid, patient
        self.size = thorax.grid.size
        rng = patient.stream(5)
        grain = patient.scan.grain_px * self.size / 512
        self.noise = NoisePlanes(rng, (self.size, self.size), max(grain, 0.3), max(4 * grain, 1.2))
        self.empty = np.full((self.size, self.size), AIR, np.float32)
        _draw_table(self.empty, thorax)

    def expose(self, hu: np.ndarray, z: float) -> np.ndarray:
        """int16 (size, size) of float32 (height, width) of the crop, z mm below the apex."""
        height = z / self.thorax.length
        picture = self.empty.copy()
        _draw_gown(picture, self.thorax, height)
        inside = hu > AIR + 1
        window = picture[self.grid.window]
        np.copyto(window, hu, where=inside)
        blur = self.patient.scan.kernel_mm / self.grid.pixel
        if blur > 0.25:
            picture = cv2.GaussianBlur(picture, (0, 0), blur)
        spread = np.clip(picture * np.float32(0.45 / 700) + np.float32(1.13), AIR_NOISE, 1)
        # Fewer photons come through the shoulders.
        shoulders = 1 + 0.7 * float(np.clip((0.1 - height) / 0.15, 0, 1))
        spread *= np.float32(self.patient.noise_hu * shoulders)
        picture += spread * self.noise.next()
        picture += self.patient.scan.offset_hu
        return np.rint(np.clip(picture, LOWEST, HIGHEST)).astype(np.int16)


def _draw_table(picture: np.ndarray, thorax: Thorax) -> None:
    """The curved table under the back, as far as it is in the picture."""
    body, grid = thorax.patient.body, thorax.grid
    size, pixel = grid.size, grid.pixel
    back = (124 + 0.8 * body.fat_mm) * body.size * body.depth + body.shift_y_mm
    back += thorax.patient.scan.table_mm
    x = np.linspace(-260, 260, 80)
    cover = np.zeros(picture.shape, np.uint8)
    for lower, thick in ((0, 1.2), (22, 1.2)):
        y = back + lower - 0.00055 * x**2
        points = np.stack([x, y], axis=1) / pixel + (size - 1) / 2
        fixed = np.rint(points * 16).astype(np.int32)
        cv2.polylines(cover, [fixed], False, 255, max(1, round(thick / pixel)), cv2.LINE_AA, 4)
    picture += cover.astype(np.float32) * np.float32(700 / 255)


def _draw_gown(picture: np.ndarray, thorax: Thorax, height: float) -> None:
    """Folds of clothes over the chest: thin lines in the air, other ones in every slice."""
    gown, grid = thorax.patient.scan.gown, thorax.grid
    if gown <= 0:
        return
    outline = body_contour(thorax.placement, height)
    front = outline[len(outline) // 2 :]  # from the right side over the chest to the left
    t = np.linspace(0, 1, len(front))
    outwards = -np.stack([np.cos(np.pi * t), np.sin(np.pi * t)], axis=1)
    for fold in range(1 + round(2 * gown)):
        wave = np.sin((5 + 3 * fold) * np.pi * t + 14 * height + 2 * fold)
        away = 3 + 4 * fold + (2 + 6 * gown) * np.sin(np.pi * t) * (1 + wave) / 2
        line = front + outwards * away[:, None]
        points = np.rint((line / grid.pixel + (grid.size - 1) / 2) * 16).astype(np.int32)
        part = slice(4 + 3 * fold, len(points) - 2 * fold - 5)
        cv2.polylines(picture, [points[part]], False, GOWN_HU, 1, cv2.LINE_8, 4)
