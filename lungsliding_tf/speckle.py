"""The physics of the ultrasound phantom: speckle, layers, ribs and the display chain.

An image is made on a beam grid of 480 axial samples x 320 scan lines. Echo is a sum of many
scatterers through a point-spread function (PSF), hence a complex circular Gaussian field whose
envelope is Rayleigh distributed; amplitude maps say how strong it is where. Lung below the
pleura is no anatomy but artefact: haze, reverberations of the pleural line (A-lines) and comet
tails. Rows run downwards, columns to the right; lengths are in mm unless a name says otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

# Ours: half of 640x480 laterally, which costs half the time and looks like real scan lines.
BEAM_ROWS, BEAM_LINES = 480, 320
FWHM_TO_SD = 1 / 2.355
# Ours: amplitudes relative to the echo of the chest wall; the pleural line is 24 dB above it.
PLEURA_ECHO, RIB_ECHO, NOISE_ECHO, WHITE_DB = 16.0, 14.0, 0.012, 29.0
MAX_GREY = 235
RIB_WIDTH_MM = 11.0
B_LINES = 1.2  # mean number in the visible width of a patient who has any


@dataclass(frozen=True)
class Beam:
    """Size of the picture in mm, and its PSF as amplitude SD in grid units."""

    row_mm: float
    line_mm: float
    axial_sd: float
    lateral_sd: float


@dataclass(frozen=True)
class Display:
    """From echo amplitude to grey: gain and dynamic range in dB, gamma."""

    gain_db: float
    range_db: float
    gamma: float


@dataclass(frozen=True)
class Maps:
    """Static maps, float32; the wall's are padded sideways by `wall_pad` lines, the lung's more.

    `pleura_row` (columns,) is the pleural line in rows; `lung_top` and `wall_bottom` bound the
    rows where lung and wall have any echo, to save time.
    """

    wall: np.ndarray
    steady: np.ndarray
    lung: np.ndarray
    shading: np.ndarray
    pleura_row: np.ndarray
    rib_edges: tuple[float, float]
    lung_top: int
    wall_bottom: int
    wall_pad: int
    lung_pad: int


def smooth_noise(rng: np.random.Generator, length: int, sd: float) -> np.ndarray:
    """(length,) Gaussian noise of unit variance, correlated over about `sd` samples."""
    margin = int(4 * sd) + 1
    noise = gaussian_filter1d(rng.standard_normal(length + 2 * margin), max(sd, 1e-3))
    # A Gaussian kernel's energy is 1 / (2 sd sqrt(pi)); under one sample, the noise stays as it is.
    return noise[margin : margin + length] * np.sqrt(max(2 * sd * np.sqrt(np.pi), 1.0))


def speckle_field(rng: np.random.Generator, rows: int, lines: int, beam: Beam) -> np.ndarray:
    """(rows, lines) complex64 circular Gaussian field of unit power with the beam's PSF."""
    white = rng.standard_normal((rows, lines, 2), np.float32)
    size = tuple(2 * int(3.5 * sd) + 3 for sd in (beam.lateral_sd, beam.axial_sd))
    field = cv2.GaussianBlur(white, size, beam.lateral_sd, sigmaY=beam.axial_sd)
    field /= np.sqrt(np.mean(field**2) * 2)
    return field.view(np.complex64)[..., 0]


def shift_lines(field: np.ndarray, offset: float, width: int = BEAM_LINES) -> np.ndarray:
    """`width` columns of `field` from column `offset` on, bilinear between two columns."""
    first = int(np.floor(offset))
    part = offset - first
    parts = [np.ascontiguousarray(field[:, first + k : first + k + width]) for k in (0, 1)]
    floats = [p.view(np.float32) for p in parts]
    return cv2.addWeighted(floats[0], 1 - part, floats[1], part, 0).view(field.dtype)


def to_grey(amplitude: np.ndarray, display: Display, beam: Beam, extra_db: float = 0.0):
    """Compress an echo amplitude (rows, lines) to uint8 grey, 0 to about 235."""
    level = cv2.log(np.maximum(amplitude, 1e-6))
    decibel = 20 / np.log(10)
    scale = 255 / display.range_db
    offset = (display.gain_db + extra_db - WHITE_DB) * scale + 255
    linear = np.clip(level * np.float32(decibel * scale) + np.float32(offset), 0, 255)
    curve = MAX_GREY * (np.arange(256) / 255) ** display.gamma
    grey = cv2.LUT(linear.astype(np.uint8), np.rint(curve).astype(np.uint8))
    # Ours: scanners smooth after detection; less than the PSF, so speckle grains survive.
    return cv2.GaussianBlur(grey, (0, 0), 0.8 * beam.lateral_sd, sigmaY=0.55 * beam.axial_sd)


# ---- the counterfactual twin ------------------------------------------------------------------


@lru_cache(maxsize=2)
def measure_matched_share(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which share of fresh speckle changes the display as much as a sideways step does.

    Theory (1 - exp(-v^2 / 4) for a step of v lateral PSF SDs) holds for the field. The display
    smooths, which removes more of a step's difference than of fresh speckle's, so the share is
    measured on the display chain itself.

    Returns:
        Steps in lateral PSF SDs, and the matched share of speckle power, both float (n,).
    """
    rng = np.random.default_rng([seed, 77])
    beam, display = Beam(0.08, 0.12, 1.3, 2.8), Display(14.0, 62.0, 1.05)
    # Three fields each: one alone leaves the share uncertain by 10 %.
    triples = [[speckle_field(rng, 400, 350, beam) for _ in range(3)] for _ in range(3)]

    def change(first: np.ndarray, second: np.ndarray) -> float:
        pair = [to_grey(np.abs(echo), display, beam) for echo in (first, second)]
        return float(cv2.absdiff(*pair).mean())

    def change_by_share(share: float) -> float:
        pairs = [[mix(still, f, share) for f in fresh] for still, *fresh in triples]
        return np.mean([change(*[shift_lines(echo, 0) for echo in pair]) for pair in pairs])

    def change_by_step(step: float) -> float:
        moves = (0, step * beam.lateral_sd)
        return np.mean([change(*[shift_lines(still, m) for m in moves]) for still, *_ in triples])

    shares = np.concatenate([[0], np.geomspace(1e-4, 1, 24)])
    steps = np.concatenate([[0], np.geomspace(0.05, 3, 16)])
    of_share = [change_by_share(share) for share in shares]
    of_step = [change_by_step(step) for step in steps]
    # The change grows with the root of a small share: interpolate where it is nearly straight.
    return steps, np.interp(of_step, of_share, np.sqrt(shares)) ** 2


def matched_share(step: np.ndarray) -> np.ndarray:
    """Share of speckle power to exchange so that the picture changes as by a step (in PSF SDs)."""
    steps, shares = measure_matched_share()
    return np.interp(step, steps, shares)


def mix(still: np.ndarray, fresh: np.ndarray, share: float) -> np.ndarray:
    """Exchange a share of a field's power for fresh speckle; the total power stays the same."""
    return np.float32(np.sqrt(1 - share)) * still + np.float32(np.sqrt(share)) * fresh


# ---- static maps ------------------------------------------------------------------------------


def build_maps(patient, beam: Beam, rng: np.random.Generator, pads: tuple[int, int]) -> Maps:
    """All static maps of one patient (`phantom.Patient`); pads are (wall, lung) in lines."""
    wall_pad, lung_pad = pads
    x_mm = (np.arange(BEAM_LINES + 2 * wall_pad + 1) - wall_pad - BEAM_LINES / 2) * beam.line_mm
    z_mm = np.arange(BEAM_ROWS)[:, None] * beam.row_mm
    height_mm = BEAM_ROWS * beam.row_mm
    waviness = 0.15 * smooth_noise(rng, len(x_mm), 4 / beam.line_mm)
    slope = patient.pleura_tilt * height_mm / (BEAM_LINES * beam.line_mm)
    pleura_mm = patient.pleura_depth * height_mm + slope * x_mm + waviness
    below = (z_mm - pleura_mm).astype(np.float32)  # mm under the pleural line

    wall, steady = _wall_layers(patient, rng, beam, x_mm, z_mm, pleura_mm)
    in_wall = 1 / (1 + np.exp(np.clip(below / 0.08, -30, 30)))
    wall, steady = wall * in_wall, steady * in_wall

    thickness = patient.pleura_thickness_mm
    line = np.exp(-0.5 * (below / thickness) ** 2)
    steady += 0.6 * PLEURA_ECHO * line
    wall += 0.25 * PLEURA_ECHO * line
    steady += _a_lines(patient, rng, beam, x_mm, z_mm, pleura_mm)
    haze = 10 ** (patient.haze_db / 20) * np.exp(-np.maximum(below, 0) / patient.haze_decay_mm)
    lung = haze * (1 - in_wall) + 0.4 * PLEURA_ECHO * line

    left_edge = patient.gap_centre_mm - patient.gap_mm / 2
    right_edge = patient.gap_centre_mm + patient.gap_mm / 2
    half_mm = BEAM_LINES * beam.line_mm / 2
    arcs, light = _ribs(patient, beam, x_mm, z_mm, pleura_mm, (left_edge, right_edge))
    edges = (
        left_edge if patient.left_rib else -half_mm * 3,
        right_edge if patient.right_rib else half_mm * 3,
    )
    in_lines = tuple(e / beam.line_mm + BEAM_LINES / 2 for e in edges)
    margin = int(4 * thickness / beam.row_mm) + 2
    pleura_row = pleura_mm / beam.row_mm
    return Maps(
        wall=(wall * light + 0.4 * arcs).astype(np.float32),
        steady=(steady * light + 0.6 * arcs).astype(np.float32),
        lung=(lung * light).astype(np.float32),
        shading=_lung_shading(patient, rng, beam, lung_pad),
        pleura_row=pleura_row,
        rib_edges=in_lines,
        lung_top=max(int(pleura_row.min()) - margin, 0),
        wall_bottom=min(int(pleura_row.max()) + margin, BEAM_ROWS),
        wall_pad=wall_pad,
        lung_pad=lung_pad,
    )


def _wall_layers(patient, rng, beam, x_mm, z_mm, pleura_mm):
    """Echo of skin, fat and muscle between wavy, broken fascia lines: random and steady part."""
    depth = z_mm / pleura_mm  # 0 at the skin, 1 at the pleura
    wall = np.ones(depth.shape)
    steady = np.zeros(depth.shape)
    borders = np.sort(rng.uniform(0.06, 0.95, patient.fascia_lines))
    for border in borders:
        tilt = rng.normal(0, 0.03) * x_mm / 20
        wave = 0.012 * smooth_noise(rng, len(x_mm), rng.uniform(2, 6) / beam.line_mm)
        distance_mm = (depth - border - tilt - wave) * pleura_mm.mean()
        wall *= np.where(distance_mm > 0, np.exp(rng.normal(0, 0.3)), 1)
        broken = 1 / (1 + np.exp(-3 * (smooth_noise(rng, len(x_mm), 2 / beam.line_mm) + 0.3)))
        echo = rng.uniform(2, 7) * broken
        line = echo * np.exp(-0.5 * (distance_mm / rng.uniform(0.12, 0.28)) ** 2)
        steady += 0.5 * line
        wall += 0.5 * line
    wall *= _muscle(rng, x_mm, z_mm, depth)
    skin = 5 * np.exp(-z_mm / 0.7)
    return np.clip(wall, 0.25, 8) + skin, steady


def _muscle(rng, x_mm, z_mm, depth):
    """A factor: one tilted band of striated muscle."""
    top = rng.uniform(0.35, 0.6)
    band = np.exp(-0.5 * ((depth - top - 0.15) / 0.12) ** 2)
    along = z_mm * np.cos(0.2) + x_mm * np.sin(rng.uniform(-0.35, 0.35))
    striae = np.sin(2 * np.pi * along / rng.uniform(0.9, 1.6) + rng.uniform(0, 6))
    return np.exp(band * (0.5 * striae - 0.2))


def _a_lines(patient, rng, beam, x_mm, z_mm, pleura_mm):
    """Reverberations of the pleural line at multiples of its depth, uneven along x."""
    echo = np.zeros((BEAM_ROWS, len(x_mm)))
    for order in range(1, patient.a_lines + 1):
        uneven = np.exp(0.4 * smooth_noise(rng, len(x_mm), 3 / beam.line_mm))
        amplitude = 0.6 * PLEURA_ECHO * patient.a_line_echo * 0.45 ** (order - 1) * uneven
        thickness = patient.pleura_thickness_mm * (1 + 0.4 * order)
        distance = z_mm - (order + 1) * pleura_mm
        echo += amplitude * np.exp(-0.5 * (distance / thickness) ** 2)
    return echo


def _ribs(patient, beam, x_mm, z_mm, pleura_mm, edges):
    """Bright arcs of the ribs' surfaces, and the share of light that their shadows let through."""
    arcs = np.zeros((BEAM_ROWS, len(x_mm)))
    light = np.ones((BEAM_ROWS, len(x_mm)))
    half = RIB_WIDTH_MM / 2
    centres = (edges[0] - half, edges[1] + half)
    for in_sight, centre in zip((patient.left_rib, patient.right_rib), centres, strict=True):
        if not in_sight:
            continue
        distance = (x_mm - centre) / half
        top_mm = max(pleura_mm.mean() - patient.rib_above_pleura_mm, 3.0)
        surface = top_mm + 2.2 * np.minimum(distance**2, 1.5)
        across = 1 / (1 + np.exp(np.clip((np.abs(x_mm - centre) - half) / 0.25, -30, 30)))
        under = 1 / (1 + np.exp(np.clip((surface + 0.3 - z_mm) / 0.12, -30, 30)))
        light *= (1 - 0.93 * across * under) ** 2  # sound crosses the bone's surface twice
        facing = np.clip(1 - 0.7 * distance**2, 0, 1)  # oblique surfaces reflect past the probe
        arcs += RIB_ECHO * facing * across * np.exp(-0.5 * ((z_mm - surface) / 0.3) ** 2)
    return arcs, light


def _lung_shading(patient, rng, beam, lung_pad):
    """Lung-fixed factor on haze and visceral pleura: uneven along x, with B-lines."""
    lines = BEAM_LINES + 2 * lung_pad + 1
    fine = smooth_noise(rng, lines, 0.25 / beam.line_mm)
    coarse = smooth_noise(rng, lines, 1.6 / beam.line_mm)
    shading = np.exp(patient.shading * (0.6 * fine + 0.8 * coarse) - patient.shading**2 / 2)
    x_mm = np.arange(lines) * beam.line_mm
    comets = np.zeros(lines)
    # B-lines are drawn for the visible width; the lung beyond it gets as many a mm.
    count = rng.poisson(B_LINES * lines / BEAM_LINES) if patient.has_b_lines else 0
    for centre in rng.uniform(0, x_mm[-1], count):
        distance = (x_mm - centre) / (0.35 * FWHM_TO_SD)  # Ours: comets are 0.35 mm wide
        comets += rng.uniform(1, 3) * np.exp(-0.5 * distance**2)
    below = (np.arange(BEAM_ROWS)[:, None] - patient.pleura_depth * BEAM_ROWS) * beam.row_mm
    # Comets fade far more slowly than the haze, which this map multiplies.
    lasting = np.exp(np.clip(below, 0, 3 * patient.haze_decay_mm) / patient.haze_decay_mm * 0.8)
    return (shading + comets * lasting).astype(np.float32)


# ---- frames -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Motion:
    """All that changes with time, one value a frame, float64 (frames,).

    Shifts in mm, to the right and downwards positive; gain in dB; `exchange` is the share of
    lung speckle power replaced in that frame only, `turnover` the angle (radians) by which the
    lung's scatterers have been exchanged for others since the start.
    """

    wall_mm: np.ndarray
    lung_mm: np.ndarray
    axial_mm: np.ndarray
    gain_db: np.ndarray
    exchange: np.ndarray
    turnover: np.ndarray


def render_beam_frames(
    maps: Maps,
    beam: Beam,
    display: Display,
    motion: Motion,
    flicker: float,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield uint8 (480, 320) frames on the beam grid, the axial wobble not yet applied."""
    top, bottom = maps.lung_top, maps.wall_bottom
    wall_lines = BEAM_LINES + 2 * maps.wall_pad + 1
    lung_lines = BEAM_LINES + 2 * maps.lung_pad + 1
    wall_field = speckle_field(rng, bottom, wall_lines, beam)
    lung_fields = [speckle_field(rng, BEAM_ROWS - top, lung_lines, beam) for _ in range(2)]
    pool = speckle_field(rng, BEAM_ROWS + 128, BEAM_LINES + 160, beam)
    for k in range(len(motion.wall_mm)):
        at_wall = maps.wall_pad - motion.wall_mm[k] / beam.line_mm
        at_lung = maps.lung_pad - motion.lung_mm[k] / beam.line_mm
        fresh = _random_crop(pool, rng)
        echo = shift_lines(maps.steady, at_wall) + np.float32(NOISE_ECHO) * fresh

        field = mix(shift_lines(wall_field, at_wall), fresh[:bottom], flicker)
        echo[:bottom] += shift_lines(maps.wall[:bottom], at_wall) * field

        turn = motion.turnover[k]
        field = np.float32(np.cos(turn)) * shift_lines(lung_fields[0], at_lung)
        field += np.float32(np.sin(turn)) * shift_lines(lung_fields[1], at_lung)
        share = 1 - (1 - flicker) * (1 - motion.exchange[k])
        amplitude = shift_lines(maps.lung[top:], at_wall) * shift_lines(maps.shading[top:], at_lung)
        # Its own crop: the wall's flicker and the lung's are separate.
        echo[top:] += amplitude * mix(field, _random_crop(pool, rng)[top:], share)
        yield to_grey(np.abs(echo), display, beam, motion.gain_db[k])


def _random_crop(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fresh speckle at almost no cost: a random window of a larger field, randomly flipped."""
    row = rng.integers(pool.shape[0] - BEAM_ROWS + 1)
    line = rng.integers(pool.shape[1] - BEAM_LINES + 1)
    window = pool[row : row + BEAM_ROWS, line : line + BEAM_LINES]
    vertical, lateral = rng.choice([1, -1], 2)
    return window[::vertical, ::lateral]


def to_picture(beam_frame: np.ndarray, size: tuple[int, int], down_rows: float) -> np.ndarray:
    """Scan-convert a beam frame to uint8 of `size` (width, height), moved down by `down_rows`."""
    width, height = size
    scale_x, scale_y = width / BEAM_LINES, height / BEAM_ROWS
    matrix = np.array(
        [[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, (0.5 + down_rows) * scale_y - 0.5]]
    )
    return cv2.warpAffine(
        beam_frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
