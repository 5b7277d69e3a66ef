"""Lung tissue of a phantom: vessels, bronchi, fissures, texture, and findings of no importance.

Coordinates are a patient's mm: x, y from the middle of the picture, z below the apex. Forms and
numbers are Ours, matched by eye to real scans, unless a line says otherwise.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from cnr_iemn.anatomy import Thorax, build_thorax
from cnr_iemn.atlas import SIDES
from cnr_iemn.cohort import Patient
from cnr_iemn.geometry import Beads, Canvas
from cnr_iemn.textures import NoisePlanes, SmoothVolume

MAP_PX, MAP_STEP = 72, 6.0  # the coarse map of the lungs: px of the whole picture, mm of z
VESSEL_HU, WALL_HU, LUMEN_HU, BULLA_HU, SCAR_HU = 40, -120, -985, -975, -60
FISSURE_HU, DEPENDENT_HU = 150, 190  # above lung tissue
TWIGS = {"artery": 420, "vein": 300}  # ends of vessels a lung
TWIG_MM = 0.46  # radius of an end
SHORT = 1500  # vessels too small to follow to the hilum, both lungs together
MURRAY = 2.45  # r^MURRAY is kept where vessels fork
STRAIGHT = 0.55  # a fork near the hilum costs this much of its way: twigs leave at sharp angles
PIECE_MM, PIECES = 5.0, 12  # a twig's pieces: about how long, and at most how many
_SHARES = [np.arange(1, n + 1)[:, None] / max(n, 1) for n in range(PIECES + 1)]
BRONCHUS_FROM = 0.75  # mm; arteries as thick as this have a bronchus


@dataclass(frozen=True)
class LungMap:
    """Points all over the lungs, one for each voxel of a coarse grid."""

    points: np.ndarray  # (n, 3) mm
    height: np.ndarray  # (n,) 0 at the apex, 1 at the base
    depth: np.ndarray  # (n,) mm to the nearest border
    atlas: np.ndarray  # (n, 2) x and y of the atlas
    lobe: np.ndarray  # (n,) 0 to 4: LLL, LUL, RLL, RML, RUL


def build_map(patient: Patient) -> LungMap:
    """Where the lungs are, coarsely."""
    thorax = build_thorax(patient, MAP_PX)
    levels = np.arange(0.5 * MAP_STEP, 1.02 * thorax.length, MAP_STEP)
    inside = np.stack([thorax.lung_share(z, MAP_STEP) > 0.5 for z in levels])
    pixel = thorax.grid.pixel
    depth = ndimage.distance_transform_edt(inside, (MAP_STEP, pixel, pixel))
    k, row, column = np.nonzero(inside)
    x, y = thorax.grid.axes()
    lobes = np.stack([np.argmax(thorax.lobes(z / thorax.length), axis=0) for z in levels])
    return LungMap(
        np.stack([x[0, column], y[row, 0], levels[k]], axis=1),
        levels[k] / thorax.length,
        depth[inside],
        np.stack([thorax.x[row, column], thorax.y[row, column]], axis=1),
        lobes[inside],
    )


# ---- vessels and bronchi ------------------------------------------------------------------------


def _grow_tree(root: np.ndarray, ends: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Connect `ends` to a root: (n, 3) nodes and the (n,) node that each hangs on; the root is 0.

    Each end, nearest first, joins the tree where the way to it, and a share of the way from there
    to the root, is shortest.
    """
    order = np.argsort(np.linalg.norm(ends - root, axis=1))
    most = 1 + PIECES * len(ends)
    nodes, parents = np.empty((most, 3)), np.zeros(most, int)
    ways = np.zeros(most)  # mm to the root
    nodes[0], count = root, 1
    bends = rng.normal(0, 0.09, (len(ends), 3))
    for end, bend in zip(ends[order], bends, strict=True):
        away = nodes[:count] - end
        gaps = np.sqrt(np.einsum("ij,ij->i", away, away))
        start = int(np.argmin(gaps + STRAIGHT * ways[:count]))
        gap, fork = float(gaps[start]), nodes[start]
        pieces = min(max(int(gap / PIECE_MM), 1), PIECES)
        # Leave in the direction of the parent, then turn to the end.
        heading = fork - nodes[parents[start]]
        length = math.sqrt(heading @ heading)
        ahead = heading / length if length else heading
        middle = (fork + end) / 2 + 0.22 * (gap * ahead - (end - fork)) + gap * bend
        t = _SHARES[pieces]
        last = count + pieces
        nodes[count:last] = (1 - t) ** 2 * fork + 2 * t * (1 - t) * middle + t**2 * end
        parents[count:last] = np.arange(count - 1, last - 1)
        parents[count] = start
        ways[count:last] = ways[start] + gap * t[:, 0]
        count = last
    return nodes[:count], parents[:count]


def _radii(parents: np.ndarray, twig: float) -> np.ndarray:
    """(n,) mm: what carries more ends is thicker, by Murray's law."""
    ends = np.ones(len(parents))
    ends[parents[1:]] = 0
    for node in range(len(parents) - 1, 0, -1):
        ends[parents[node]] += ends[node]
    return twig * ends ** (1 / MURRAY)


def _beads(nodes, parents, radii, step: float, offset=None, edges=None) -> Beads:
    """Spheres along edges to the parents: all whose ends both have a radius, or those named."""
    if edges is None:
        edges = 1 + np.flatnonzero((radii[1:] > 0) & (radii[parents[1:]] > 0))
    starts, ends = nodes[parents[edges]], nodes[edges]
    if offset is not None:
        starts, ends = starts + offset[parents[edges]], ends + offset[edges]
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / step).astype(int).clip(1)
    edge = np.repeat(np.arange(len(edges)), counts)
    t = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + 1) / counts[edge]
    xyz = starts[edge] + t[:, None] * (ends - starts)[edge]
    # A child starts with its own thickness: no swelling at forks.
    return Beads.of(xyz, radii[edges][edge])


def _grow_vessels(thorax: Thorax, lung_map: LungMap, rng) -> tuple[Beads, Beads]:
    """Vessels and bronchi of both lungs; bronchi run beside the arteries."""
    vessels, bronchi = [], []
    step = max(0.8, 0.55 * thorax.grid.pixel)
    body, place = thorax.patient.body, thorax.placement
    hila = {"artery": ((-45, 0, 0.455), (47, 9, 0.425)), "vein": ((-42, 8, 0.56), (45, 10, 0.56))}
    for kind, (right, left) in hila.items():
        for side, (x, y, height) in zip(SIDES, (right, left), strict=True):
            at = place.points([x], [y], [height])[0]
            root = np.array([*at, height * place.length])
            candidates = np.flatnonzero((lung_map.atlas[:, 0] > 0) == (side > 0))
            chosen = rng.choice(candidates, min(TWIGS[kind], len(candidates)), replace=False)
            ends = lung_map.points[chosen] + rng.uniform(-2.7, 2.7, (len(chosen), 3))
            nodes, parents = _grow_tree(root, ends, rng)
            radii = _radii(parents, TWIG_MM * body.vessels)
            vessels.append(_beads(nodes, parents, radii, step))
            if kind == "artery":
                tubes = np.where(radii > BRONCHUS_FROM, radii, 0)
                beside = np.array([0.45 * side, 0.8, 0.35])
                offset = (1.75 * radii + 0.4)[:, None] * beside
                bronchi.append(_beads(nodes, parents, tubes, step, offset))
    vessels.append(_short_vessels(lung_map, root, step, rng))
    return Beads.join(vessels), Beads.join(bronchi)


def _short_vessels(lung_map: LungMap, hilum: np.ndarray, step: float, rng) -> Beads:
    """Straight pieces all over the lungs that point away from the hilum, more or less."""
    chosen = rng.choice(len(lung_map.points), SHORT)
    starts = lung_map.points[chosen] + rng.uniform(-3, 3, (SHORT, 3))
    heading = lung_map.points[chosen] - np.array([0, hilum[1], hilum[2]])
    heading = heading / np.linalg.norm(heading, axis=1, keepdims=True)
    heading = heading + rng.normal(0, 0.45, (SHORT, 3))
    heading = heading / np.linalg.norm(heading, axis=1, keepdims=True)
    ends = starts + heading * rng.uniform(5, 16, (SHORT, 1))
    nodes = np.concatenate([starts, ends])
    parents = np.concatenate([np.zeros(SHORT, int), np.arange(SHORT)])
    radius = rng.uniform(0.32, 0.56, SHORT)
    radii = np.concatenate([radius, radius])
    edges = np.arange(SHORT, 2 * SHORT)
    return _beads(nodes, parents, radii, step, edges=edges)


# ---- findings of no importance ----------------------------------------------------------------


def _bullae(patient: Patient, lung_map: LungMap, rng) -> Beads:
    """Emphysema: holes in the upper halves of the lungs."""
    count = patient.body.bullae if patient.body.emphysema else 0
    weight = np.exp(-(((lung_map.height - 0.2) / 0.22) ** 2))
    chosen = rng.choice(len(weight), count, p=weight / weight.sum())
    centres = lung_map.points[chosen] + rng.uniform(-3, 3, (count, 3))
    # Each is a cluster of a few spheres: no hole is round.
    parts = 4
    xyz = np.repeat(centres, parts, axis=0)
    radius = np.repeat(2 * 3.5 ** rng.random(count), parts) * rng.uniform(0.5, 1, count * parts)
    xyz = xyz + rng.normal(0, 0.8, xyz.shape) * radius[:, None]
    return Beads.of(xyz, radius)


def _scars(patient: Patient, lung_map: LungMap, rng) -> Beads:
    """Short bands near the pleura, and small nodules."""
    xyz, radius = [np.zeros((0, 3))], [np.zeros(0)]
    outer = np.flatnonzero(lung_map.depth < 12)
    for _ in range(patient.body.scars):
        start = lung_map.points[rng.choice(outer)]
        heading = rng.normal(0, (1, 1, 0.5))
        t = np.linspace(-1, 1, 16)
        bow = rng.normal(0, 0.2, 3) * (t**2)[:, None]
        length = rng.uniform(5, 13)
        xyz.append(start + length * (t[:, None] * heading / np.linalg.norm(heading) + bow))
        radius.append(rng.uniform(0.8, 1.8) * (1 - 0.4 * t**2))
    count = patient.body.nodules
    xyz.append(lung_map.points[rng.choice(len(lung_map.points), count)])
    radius.append(rng.uniform(1.5, 3.2, count))
    return Beads.of(np.concatenate(xyz), np.concatenate(radius))


# ---- one patient --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lungs:
    """What is the same in all slices of a patient."""

    thorax: Thorax
    map: LungMap
    vessels: Beads
    bronchi: Beads
    bullae: Beads
    scars: Beads
    coarse: SmoothVolume
    fine: NoisePlanes
    axes: tuple[np.ndarray, np.ndarray]

    def tissue(self, z: float, share: np.ndarray) -> np.ndarray:
        """(height, width) float32 HU of lung without vessels; `share` is the lung's own."""
        return _tissue(self, z, share)

    def tubes(self, z: float, thickness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """0 to 1 (height, width): vessels, walls of bronchi, their lumens."""
        return _tubes(self, z, thickness)


def build_lungs(thorax: Thorax) -> Lungs:
    """All that a patient's lungs have in common in each slice."""
    patient, grid = thorax.patient, thorax.grid
    lung_map = build_map(patient)
    vessels, bronchi = _grow_vessels(thorax, lung_map, patient.stream(2))
    benign, texture = patient.stream(3), patient.stream(4)
    fine_px = 1.1 / grid.pixel
    return Lungs(
        thorax, lung_map, vessels, bronchi,
        _bullae(patient, lung_map, benign), _scars(patient, lung_map, benign),
        SmoothVolume(texture, 30, -10, thorax.length + 10),
        NoisePlanes(texture, grid.shape, max(fine_px, 0.5), max(3 * fine_px, 1.6)),
        grid.axes(),
    )  # fmt: skip


def _tissue(lungs: Lungs, z: float, share: np.ndarray) -> np.ndarray:
    thorax = lungs.thorax
    body = thorax.patient.body
    hu = body.coarse_hu * lungs.coarse.slice(z, *lungs.axes)
    hu += body.fine_hu * lungs.fine.next()
    hu += body.lung_hu
    hu += (body.gradient_hu / 180) * thorax.y
    _add_fissures(hu, thorax, z / thorax.length)
    if body.dependent_mm > 0.5:
        inside = (share > 0.5).astype(np.uint8)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) * thorax.grid.pixel
        dorsal = np.clip((thorax.y - 30) / 40, 0, 1)
        hu += DEPENDENT_HU * dorsal * np.clip(1 - depth / body.dependent_mm, 0, 1)
    for beads, density, cover in ((lungs.bullae, BULLA_HU, 0.85), (lungs.scars, SCAR_HU, 0.8)):
        xy, radius, _, _ = beads.at(z, 1.0)
        if len(xy):
            canvas = Canvas(thorax.grid)
            canvas.circles(xy, radius, np.full(len(xy), 255 * cover))
            hu += canvas.share() * (density - hu)
    return hu


def _add_fissures(hu: np.ndarray, thorax: Thorax, height: float) -> None:
    """Sheets of half a millimetre; their slope sets how wide a slice shows them."""
    pixel = thorax.grid.pixel
    right, left, minor = thorax.fissures
    before_oblique = height < right  # where the minor one is
    for sheet, steep, where, seen in (
        (right, 0.55, thorax.x < 0, 1.0),
        (left, 0.55, thorax.x > 0, 1.0),
        # Nearly in the slice's plane: half a millimetre of the whole slice.
        (minor, 0.16, before_oblique & (thorax.x < 0), 0.3),
    ):
        apart = np.abs(sheet - height) * (thorax.length * steep)
        line = np.clip(1.2 - apart / max(0.7, 0.8 * pixel), 0, 1) * where
        hu += (FISSURE_HU * seen * min(1, 1.1 / pixel)) * line


def _tubes(lungs: Lungs, z: float, thickness: float):
    grid = lungs.thorax.grid
    slab = max(thickness, 0.8)
    vessel, wall, lumen = (Canvas(grid) for _ in range(3))
    xy, radius, _, _ = lungs.vessels.at(z, slab)
    # What is thinner than the slice is paler, and what is thinner than it can be drawn.
    weight = np.minimum(1, 2 * radius / (0.55 * slab)) * _drawn_share(radius, grid.pixel)
    order = np.argsort(weight, kind="stable")
    vessel.circles(xy[order], radius[order], 255 * weight[order])
    xy, radius, _, _ = lungs.bronchi.at(z, 0.5 * slab)
    if len(xy):
        thick = lungs.thorax.patient.body.airway_wall * (0.35 + 0.2 * radius)
        hole = 0.2 + 0.62 * radius
        seen = np.clip((radius - 0.8) / 1.2, 0, 1) * np.minimum(1, thick / (0.5 * grid.pixel))
        wall.circles(xy, hole + thick, 255 * seen)
        lumen.circles(xy, hole, 255 * _drawn_share(hole, grid.pixel))
    return vessel.share(), wall.share(), lumen.share()


def _drawn_share(radius: np.ndarray, pixel: float) -> np.ndarray:
    """(n,) 0 to 1: how wide tubes are against how wide a line of their discs is drawn."""
    width = 2 * radius / pixel
    return width / np.maximum(1.76, width + 0.3)
