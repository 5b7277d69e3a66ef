"""What X-rays meet on their way through a chest: a map of attenuation, in nepers.

Patient coordinates: x to the picture's right (the patient's left), y downwards, origin at the
picture's centre, in picture widths at scale 1. All maps are float32 (N, N) on the picture's grid.
Forms and numbers are Ours, matched by eye to frontal films, unless a line says otherwise.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from vbreathnet.cohort import Anatomy, Exposure

SIDES = (-1, 1)  # the patient's right lung, on the picture's left, and the left one
LUNG_AIR = 1.5  # attenuation that the deepest lung lacks against soft tissue
HILUM_Y = {-1: -0.045, 1: -0.075}
RIBS = 10


@dataclass(frozen=True)
class Frame:
    """Where the patient lies in the picture."""

    size: int
    matrix: np.ndarray  # (2, 3) from patient coordinates to px; px centres are whole numbers
    x: np.ndarray  # (size, size) float32 patient coordinates of each pixel
    y: np.ndarray

    @property
    def pixel(self) -> float:
        """Size of a pixel in patient coordinates."""
        return 1 / float(np.hypot(*self.matrix[:, 0]))

    def to_px(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) patient coordinates to px."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]


@dataclass(frozen=True)
class Lung:
    """One lung on the picture's grid."""

    side: int
    alpha: np.ndarray  # 0 to 1, with an anti-aliased edge
    depth: np.ndarray  # 0 to 1, how much air lies behind a pixel
    height: np.ndarray  # 0 at the apex, 1 at the top of the diaphragm
    lateral: np.ndarray  # 0 at the mediastinum, 1 at the ribs


@dataclass(frozen=True)
class Chest:
    """A chest without lesions."""

    frame: Frame
    attenuation: np.ndarray
    lungs: tuple[Lung, Lung]
    airy: np.ndarray  # (N, N) 0 to 1: lung that neither heart nor mediastinum hide
    vessels: np.ndarray  # (N, N) 0 to 1


def make_frame(exposure: Exposure, size: int) -> Frame:
    """The position of one film."""
    turn = math.radians(exposure.turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation * exposure.scale * size
    shift = (0.5 + np.array([exposure.shift_x, exposure.shift_y])) * size - 0.5
    back = np.linalg.inv(linear)
    columns, rows = np.meshgrid(np.arange(size) - shift[0], np.arange(size) - shift[1])
    x = back[0, 0] * columns + back[0, 1] * rows
    y = back[1, 0] * columns + back[1, 1] * rows
    matrix = np.column_stack([linear, shift])
    return Frame(size, matrix, x.astype(np.float32), y.astype(np.float32))


def build_chest(
    anatomy: Anatomy, exposure: Exposure, frame: Frame, rng: np.random.Generator
) -> Chest:
    """Sum up all that attenuates, lesions aside.

    Args:
        rng: the patient's own stream; how much is drawn from it does not depend on `exposure`,
            so that all films of a patient show the same chest.
    """
    heart, heart_depth = _heart_and_mediastinum(anatomy, exposure, frame)
    lungs = tuple(_lung(anatomy, exposure, frame, side) for side in SIDES)
    air = sum(lung.alpha * (0.5 + 0.5 * lung.depth) for lung in lungs)
    airy = sum(lung.alpha for lung in lungs) * (1 - heart)
    body, thickness = _body(anatomy, frame)
    total = thickness * (1.5 + 0.75 * anatomy.fat)
    total += 0.2 * body * _edge(frame.y - exposure.dome - 0.02, 0.05)  # liver, stomach
    total -= LUNG_AIR * air * (1 - heart * (0.35 + 0.5 * heart_depth)) * np.sqrt(thickness)
    vessels, grain = _lung_markings(anatomy, exposure, frame, rng)
    markings = anatomy.vessel_contrast * vessels + anatomy.parenchyma * grain
    total += air * (1 - 0.6 * heart) * markings
    total += body * _bones(anatomy, exposure, frame, rng)
    total += body * _soft_shadows(anatomy, exposure, frame, rng)
    return Chest(frame, np.maximum(total, 0), lungs, airy, vessels)


# ---- forms ------------------------------------------------------------------------------------


def _edge(distance: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 across a border, linear over `width`; inside is where `distance` is positive."""
    return np.clip(distance / width + 0.5, 0, 1)


def _dome(anatomy: Anatomy, exposure: Exposure, side: int) -> float:
    return exposure.dome + (anatomy.left_dome_lower if side > 0 else 0)


def _rib_cage(anatomy: Anatomy, height: np.ndarray) -> np.ndarray:
    """Half-width of the inside of the rib cage; `height` is 0 at the apex, 1 at the dome."""
    inside = np.clip(height, 0, 1)
    return anatomy.lung_half_width * ((1 - (1 - inside) ** 3.3) ** 0.45 + 0.03 * (height - 1))


def _lung(anatomy: Anatomy, exposure: Exposure, frame: Frame, side: int) -> Lung:
    across = side * frame.x
    dome = _dome(anatomy, exposure, side)
    height = (frame.y - anatomy.apex) / (dome - anatomy.apex)
    rib_cage = _rib_cage(anatomy, height)
    medial = 0.046 + 0.09 * np.exp(-np.maximum(height, 0) / 0.06)
    crest = 0.5 * anatomy.lung_half_width
    out = np.clip((across - crest) / (anatomy.lung_half_width - crest), 0, 1.2)
    inwards = np.clip(1 - across / crest, 0, 1)
    base = dome + anatomy.dome_curve * out**2.3 + 0.04 * inwards**2
    to_ribs = 0.8 * (rib_cage - across)
    border = np.minimum(np.minimum(to_ribs, across - medial), 0.9 * (base - frame.y))
    alpha = _edge(border, 1.2 * frame.pixel)
    thin = 1 - np.clip(np.minimum(to_ribs, 0.5 * (frame.y - anatomy.apex)) / 0.13, 0, 1)
    lateral = (across - medial) / np.maximum(rib_cage - medial, 0.03)
    return Lung(side, alpha, np.sqrt(1 - thin**2), height, np.clip(lateral, 0, 1))


def _ellipse(frame, centre, axes, tilt_deg: float) -> np.ndarray:
    """About the distance inwards from an ellipse's border."""
    cos, sin = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    x, y = frame.x - centre[0], frame.y - centre[1]
    along = (x * cos + y * sin) / axes[0]
    over = (y * cos - x * sin) / axes[1]
    return (1 - np.sqrt(along**2 + over**2)) * min(axes)


def _heart_and_mediastinum(anatomy, exposure, frame):
    """Coverage 0 to 1 and depth 0 to 1 of heart, great vessels and mediastinum."""
    radius = anatomy.heart_radius
    middle = exposure.rotation
    left, low = middle + anatomy.heart_offset, exposure.dome + 0.03 - 0.62 * radius
    shoulder = low - 0.75 * radius
    parts = [
        _ellipse(frame, (left, low), (1.12 * radius, 0.78 * radius), anatomy.heart_tilt_deg),
        _ellipse(frame, (middle - 0.02, low - 0.03), (anatomy.atrium, 0.115), 8),
        # Ventricle's shoulder, pulmonary trunk, aortic knob: the left border is never one circle.
        _ellipse(frame, (left - 0.35 * radius, shoulder), (0.75 * radius, 0.42 * radius), 62),
        _ellipse(frame, (middle + 0.045, -0.085), (0.065, 0.036), 70),
        _ellipse(frame, (middle + 0.032, -0.165), (anatomy.aortic_knob * 1.2,) * 2, 0),
        anatomy.pedicle * (1 + 0.5 * np.clip(frame.y + 0.1, -0.4, 0.6)) - np.abs(frame.x - middle),
    ]
    soft = np.float32(0.01)  # a smooth union: no corner where two arcs meet
    border = soft * np.log(sum(np.exp(np.clip(p / soft, -60, 60)) for p in parts))
    above = 1 - np.clip(border / 0.09, 0, 1)
    return _edge(border, 2.5 * frame.pixel), np.sqrt(1 - above**2)


def _body(anatomy: Anatomy, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of trunk, neck and arms, and their thickness (1 at the middle of the trunk)."""
    trunk = max(anatomy.body_half_width, anatomy.lung_half_width + 0.035)
    top = -0.43 - 0.3 * (0.17 - anatomy.shoulder_slope)
    rows = [-1, top - 0.06, top, top + anatomy.shoulder_slope, -0.2, 0, 1]
    shoulders = trunk + 0.10
    widths = [0.11, 0.115, 0.16, shoulders, trunk + 0.05, trunk, trunk + 0.02]
    width = np.interp(frame.y, rows, widths).astype(np.float32)
    across = np.abs(frame.x)
    inside = np.clip(across / width, 0, 1)
    neck = 0.62 + 0.38 * _edge(frame.y - top, 0.12)
    thickness = neck * np.sqrt(1 - inside**2)
    body = _edge(width - across, 2 * frame.pixel)
    # An arm hangs from each shoulder, often outside the field.
    shaft = trunk + anatomy.arm_gap + 0.07 + 0.12 * np.clip(frame.y + 0.25, 0, 1)
    from_shaft = np.hypot(across - shaft, np.minimum(frame.y + 0.27, 0)) / 0.075
    arm = 0.34 * np.sqrt(np.maximum(1 - from_shaft**2, 0))
    humerus = np.hypot(across - shaft, np.minimum(frame.y + 0.29, 0)) / 0.024
    arm += 0.16 * anatomy.bone * np.sqrt(np.maximum(1 - humerus**2, 0))
    return np.maximum(body, _edge(1 - from_shaft, 0.1)), np.maximum(thickness, arm)


# ---- drawn structures ---------------------------------------------------------------------------


class _Canvas:
    """Draws anti-aliased strips with widths below a pixel; twice the frame's resolution."""

    OVER = 2
    SHIFT = 4  # bits after the point

    def __init__(self, frame: Frame):
        self.frame = frame
        self.drawn = np.zeros((frame.size * self.OVER,) * 2, np.uint8)

    def polygon(self, points: np.ndarray, grey: float) -> None:
        """Fill (n, 2) patient coordinates with `grey`, 0 to 1, over what was there."""
        px = (self.frame.to_px(points) + 0.5) * self.OVER - 0.5
        fixed = np.rint(px * (1 << self.SHIFT)).astype(np.int32)
        cv2.fillPoly(self.drawn, [fixed], round(255 * float(grey)), cv2.LINE_AA, self.SHIFT)

    def strip(self, points: np.ndarray, widths: np.ndarray | float, grey: float) -> None:
        """Fill a strip along (n, 2) points; widths are (n,) or one for all."""
        self.polygon(_outlines(points, np.broadcast_to(widths, len(points))), grey)

    def tube(self, points: np.ndarray, widths: np.ndarray, grey: float) -> None:
        """A bone seen from the side: its rims attenuate more than its middle."""
        self.strip(points, widths, grey)
        self.strip(points, widths * 0.6, 0.62 * grey)

    def map(self, blur: float = 0.6) -> np.ndarray:
        """(N, N) float32, 0 to 1."""
        small = cv2.resize(self.drawn, (self.frame.size,) * 2, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), blur)


def _outlines(points: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(..., 2 n, 2) polygons around lines of (..., n, 2) points that are (..., n) wide."""
    along = np.gradient(points, axis=-2)
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    half = normal * widths[..., None] / 2
    return np.concatenate([points + half, (points - half)[..., ::-1, :]], axis=-2)


def _bones(anatomy, exposure, frame, rng) -> np.ndarray:
    front, back, others = (_Canvas(frame) for _ in range(3))
    for side in SIDES:
        _draw_ribs(anatomy, exposure, rng, side, front, back)
        _draw_shoulder(anatomy, rng, side, others)
    ribs = back.map() + 0.75 * front.map()
    bones = anatomy.rib_contrast * ribs + 0.3 * anatomy.bone * others.map(0.8)
    return bones + anatomy.bone * _spine(anatomy, exposure, frame, rng)


def _draw_ribs(anatomy, exposure, rng, side: int, front: _Canvas, back: _Canvas) -> None:
    """Hoops seen from the front: the posterior half falls gently, the anterior half crosses it."""
    dome = _dome(anatomy, exposure, side)
    angle = np.linspace(0, 0.78 * np.pi, 40)  # from the spine; the front ends are cartilage
    split = 21
    for rib in range(RIBS):
        jitter = rng.normal(0, 1, 5)
        start = anatomy.apex + 0.012 + (rib + 0.1 * jitter[0]) * anatomy.rib_spacing
        drop = anatomy.rib_drop * (0.45 + 0.07 * min(rib, 8)) * (1 + 0.06 * jitter[1])
        hump = 0.008 + 0.01 * min(rib / 3, 1)
        y = start + drop * (1 - np.cos(angle)) / 2 - hump * np.sin(2 * angle) * (angle < np.pi / 2)
        lateral = start + drop / 2
        height = (lateral - anatomy.apex) / (dome - anatomy.apex)
        reach = max(float(_rib_cage(anatomy, np.array(height))), 0.15) + 0.008
        x = side * (0.03 + (reach - 0.03) * np.sin(angle) ** (0.9 + 0.04 * jitter[2]))
        width = 0.021 * (1 + 0.08 * jitter[3]) * (1 + 0.12 * np.sin(3 * angle + 2 * jitter[4]))
        points = np.stack([x, y], axis=1)
        back.tube(points[: split + 2], width[: split + 2], 0.85)
        if rib < 7:  # the lower ones end in the flank
            fading = width[split:] * np.linspace(0.95, 1.15, len(width) - split)
            front.tube(points[split:], fading, 0.8)


def _draw_shoulder(anatomy, rng, side: int, canvas: _Canvas) -> None:
    """Scapula, humeral head and clavicle; later ones hide what lies under them."""
    lift = 0.02 * rng.normal()
    out = anatomy.body_half_width - 0.5
    blade = np.array([(0.30, -0.30), (0.42, -0.33), (0.45, -0.22), (0.385, -0.02), (0.355, -0.03)])
    blade = (blade + (out, lift)) * (side, 1)
    canvas.polygon(blade, 0.22)
    edge = np.array([blade[2], (blade[2] + blade[3]) / 2 + (0.004 * side, 0), blade[3]])
    canvas.strip(edge, 0.012, 0.42)
    turn = np.linspace(0, 2 * np.pi, 24)
    head = np.stack([np.cos(turn) * 0.042, np.sin(turn) * 0.05], axis=1)
    canvas.polygon(head + (side * (0.485 + out), -0.275 + lift), 0.5)
    t = np.linspace(0, 1, 24)
    x = 0.035 + (0.40 + out) * t
    level = -0.255 + 0.02 * rng.normal()
    y = level - (0.085 + 0.02 * rng.normal()) * t + 0.022 * np.sin(2 * np.pi * t)
    canvas.tube(np.stack([side * x, y], axis=1), 0.027 - 0.007 * np.sin(np.pi * t), 0.95)


def _spine(anatomy, exposure, frame, rng) -> np.ndarray:
    """Vertebrae with discs between them and pedicles, and the trachea's air before them."""
    middle = 0.4 * exposure.rotation
    across = np.abs(frame.x - middle)
    along = (frame.y + 0.5) / (0.052 + 0.02 * np.clip(frame.y + 0.5, 0, 1)) + rng.uniform(0, 1)
    rhythm = np.cos(2 * np.pi * along)
    width = 0.029 + 0.008 * np.clip(frame.y + 0.4, 0, 1) + 0.003 * rhythm
    column = _edge(width - across, 0.014) * (0.13 + 0.06 * np.clip(rhythm, -0.5, 1))
    pedicle = np.exp(-(((across - 0.022) / 0.006) ** 2) - ((rhythm - 1) / 0.5) ** 2)
    column += 0.06 * pedicle
    trachea_x = exposure.rotation - 0.004 + 0.03 * np.clip(frame.y + 0.45, 0, 1)
    trachea = np.clip(1 - ((frame.x - trachea_x) / 0.02) ** 2, 0, None)
    column -= 0.28 * np.sqrt(trachea) * _edge(-0.13 - frame.y, 0.04)
    return column.astype(np.float32)


def _lung_markings(anatomy, exposure, frame, rng) -> tuple[np.ndarray, np.ndarray]:
    """Vessels from the hila to the pleura, 0 to 1, and the grain of what is too fine to see."""
    canvas = _Canvas(frame)
    for side in SIDES:
        scale = (_dome(anatomy, exposure, side) - anatomy.apex) / 0.68
        hilum = np.array([0.06 * side + exposure.rotation, HILUM_Y[side]])
        points, radius = _vessel_tree(rng, anatomy.vessel_stems)
        outlines = _outlines(points * (side, scale) + hilum, 2 * radius)
        for k in np.argsort(radius[:, 0]):  # thick ones over thin ones
            canvas.polygon(outlines[k], min(radius[k, 0] / 0.0075, 1))
    return canvas.map(0.7), carry(frame, band_noise(rng, frame.size, 0.8, 3))


def _vessel_tree(rng: np.random.Generator, stems: int) -> tuple[np.ndarray, np.ndarray]:
    """Branches of one lung from its hilum at (0, 0): points (k, 7, 2) and radii (k, 7)."""
    angles = np.linspace(-1.45, 1.5, stems) + rng.normal(0, 0.15, stems)
    start = np.stack([0.02 * np.cos(angles), 0.07 * np.sin(angles)], axis=1)
    radius = rng.uniform(0.0045, 0.0075, stems) * (1 + 0.25 * np.sin(angles))
    lines, radii, steps = [], [], 6
    for _ in range(5):
        count = len(angles)
        length = rng.uniform(0.05, 0.105, (count, 1, 1))
        bend = rng.normal(0, 0.11, (count, 1)) * np.arange(steps)
        heading = angles[:, None] + bend + np.cumsum(rng.normal(0, 0.05, (count, steps)), axis=1)
        step = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * length / steps
        points = np.concatenate([start[:, None], start[:, None] + np.cumsum(step, axis=1)], axis=1)
        taper = radius[:, None] * np.linspace(1, 0.78, steps + 1)
        lines.append(points)
        radii.append(taper)
        # One branch carries on, one leaves on the way.
        fork = rng.integers(3, steps + 1, count)
        turn = rng.uniform(0.25, 0.7, count) * rng.choice([-1, 1], count)
        start = np.concatenate([points[:, -1], points[np.arange(count), fork]])
        angles = np.concatenate([heading[:, -1] - 0.35 * turn, heading[:, -1] + turn])
        radius = np.concatenate([taper[:, -1] * 0.92, taper[:, -1] * 0.72])
    return np.concatenate(lines), np.concatenate(radii)


def _soft_shadows(anatomy, exposure, frame, rng) -> np.ndarray:
    """Hila, breasts, stomach gas, and one faint shadow a side that means nothing."""
    total = np.zeros_like(frame.x)
    for side, shadow in zip(SIDES, (anatomy.shadow_right, anatomy.shadow_left), strict=True):
        hilum = (0.085 * side + exposure.rotation, HILUM_Y[side])
        total += 0.28 * np.exp(-((1 - _ellipse(frame, hilum, (0.05, 0.03), 75 * side) / 0.03) ** 2))
        breast = _ellipse(frame, (0.23 * side, anatomy.breast_level), (0.17, 0.14), 12 * side)
        total += anatomy.breasts * 0.22 * np.sqrt(np.clip(breast / 0.14, 0, 1))
        x, y = side * rng.uniform(0.1, 0.3), rng.uniform(-0.25, 0.2)
        spread = rng.uniform(0.05, 0.1)
        total += shadow * np.exp(-((frame.x - x) ** 2 + (frame.y - y) ** 2) / (2 * spread**2))
    gas = _ellipse(frame, (0.17, _dome(anatomy, exposure, 1) + 0.075), (0.065, 0.035), 10)
    return total - anatomy.gastric_bubble * 0.55 * np.sqrt(np.clip(gas / 0.035, 0, 1))


# ---- texture that moves with the patient ----------------------------------------------------


def band_noise(rng: np.random.Generator, size: int, fine: float, coarse: float) -> np.ndarray:
    """(size, size) float32 noise of unit SD between two scales (SDs of Gaussians, in px)."""
    noise = rng.standard_normal((size, size), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), fine) - cv2.GaussianBlur(noise, (0, 0), coarse)
    return noise / noise.std()


def smooth_noise(rng: np.random.Generator, size: int, sd: float) -> np.ndarray:
    """(size, size) float32 noise of unit SD, correlated over about `sd` px; drawn coarsely."""
    cells = int(np.ceil(2 * size / sd)) + 1
    coarse = cv2.GaussianBlur(rng.standard_normal((cells, cells), np.float32), (0, 0), 1.6)
    noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


def carry(frame: Frame, texture: np.ndarray) -> np.ndarray:
    """Move a texture drawn at scale 1 to where the patient lies."""
    size = frame.size
    upright = np.array([[1 / size, 0, -0.5 + 0.5 / size], [0, 1 / size, -0.5 + 0.5 / size]])
    linear = frame.matrix[:, :2] @ upright[:, :2]
    offset = frame.matrix[:, :2] @ upright[:, 2] + frame.matrix[:, 2]
    move = np.column_stack([linear, offset])
    return cv2.warpAffine(
        texture, move, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
