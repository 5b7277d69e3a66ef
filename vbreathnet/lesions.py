"""The one place where the class matters: what is added to a chest's attenuation, in nepers."""

import math

import cv2
import numpy as np

from vbreathnet.anatomy import Chest, Lung, band_noise, carry, smooth_noise
from vbreathnet.cohort import COVID, PNEUMONIA, Lesion

VISIBLE = 0.13  # Ours: nepers from which on a lesion counts as seen; several times the noise


def lesion_map(label: str, lesion: Lesion, chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """(N, N) float32 attenuation to add; all zero for a normal chest.

    Args:
        rng: the patient's stream for lesions, which nothing else draws from.
    """
    if label == COVID:
        return _ground_glass(lesion, chest, rng)
    if label == PNEUMONIA:
        return _consolidation(lesion, chest, rng)
    return np.zeros_like(chest.attenuation)


def lesion_mask(lesion: np.ndarray) -> np.ndarray:
    """(N, N) bool: where a lesion can be seen."""
    return lesion > VISIBLE


def _ramp(values: np.ndarray) -> np.ndarray:
    inside = np.clip(values, 0, 1)
    return inside * inside * (3 - 2 * inside)


def _ground_glass(lesion: Lesion, chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Patchy haze in both lungs, most in the lateral half and in the lower zones."""
    frame = chest.frame
    patches = smooth_noise(rng, frame.size, 16) + 0.3 * smooth_noise(rng, frame.size, 7)
    patches, net = carry(frame, patches), carry(frame, band_noise(rng, frame.size, 1.2, 4))
    total = np.zeros_like(chest.attenuation)
    for lung in chest.lungs:
        seen = lung.alpha * chest.airy
        peripheral = np.exp(-(1 - lung.lateral) / 0.5)
        zone = np.exp(-(((lung.height - lesion.covid_height) / lesion.covid_spread) ** 2) / 2)
        likely = peripheral * zone + 0.22 * patches
        # The extent is drawn, not left to the noise: no COVID film without a lesion.
        extent = lesion.covid_extent * (1 + lung.side * lesion.covid_balance)
        threshold = np.quantile(likely[seen > 0.5], 1 - extent)
        total += seen * _ramp((likely - threshold) / 0.45 + 0.5)
    return lesion.covid_attenuation * total * np.clip(1 + 0.1 * net, 0.4, 1.6)


def _consolidation(lesion: Lesion, chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """One dense patch with an uneven outline, perhaps cut off straight by a fissure."""
    frame = chest.frame
    outline = carry(frame, smooth_noise(rng, frame.size, 9))
    grain = carry(frame, band_noise(rng, frame.size, 1.5, 5))
    lung = chest.lungs[int(lesion.focal_left_lung)]
    x, y = _centre(lesion, lung, chest)
    distance = np.hypot(frame.x - x, frame.y - y) / lesion.focal_radius
    total = _ramp((1 - distance + 0.18 * outline) / 0.45 + 0.5)
    if lesion.focal_fissure:
        tilt = math.radians(lesion.focal_fissure_tilt_deg)
        below = (frame.y - y) * math.cos(tilt) + (frame.x - x) * math.sin(tilt)
        sign = -1 if lesion.focal_fissure_below else 1
        total *= np.clip((sign * below + 0.2 * lesion.focal_radius) / (1.5 * frame.pixel), 0, 1)
    # Air bronchograms: where pale vessels ran, dark airways run through the dense lung.
    total *= (1 + 0.06 * grain) * (1 - 0.6 * chest.vessels)
    return lesion.focal_attenuation * total * lung.alpha * chest.airy


def _centre(lesion: Lesion, lung: Lung, chest: Chest) -> tuple[float, float]:
    """The pixel of the visible lung nearest to the drawn height and lateral position."""
    miss = np.abs(lung.height - lesion.focal_height) + 0.5 * np.abs(
        lung.lateral - lesion.focal_lateral
    )
    hidden = lung.alpha * chest.airy < 0.9
    core = cv2.erode((~hidden).astype(np.uint8), np.ones((7, 7), np.uint8))
    nearest = np.unravel_index(np.argmin(miss + 10 * (core == 0)), miss.shape)
    return float(chest.frame.x[nearest]), float(chest.frame.y[nearest])
