"""What heart disease and its operations leave in a scan: pacemakers, wires, fluid, streaks.

Paper: 3.1, the third test set; what it consists of is Ours. Nothing of it looks at the class.
"""

import numpy as np

from cnr_iemn.atlas import BODY_FRONT, CAGE_BACK, CAGE_FRONT, profile
from cnr_iemn.cohort import Body
from cnr_iemn.geometry import Beads, Placement

METAL_HU, LEAD_HU = 2800, 2300
STREAK_HU, STREAK_MM = 150, 45  # beside a disc of metal of 1 cm; how far streaks reach
WIRES = (0.17, 0.26, 0.35, 0.44, 0.53, 0.61)  # heights of the loops around the sternum


def metal(operation: str, body: Body, placement: Placement) -> Beads | None:
    """Devices of metal; their value is in HU. None without any."""
    if operation == "pacemaker":
        return _pacemaker(body, placement)
    if "sternotomy" in operation:
        return _wires(placement)
    return None


def _pacemaker(body: Body, placement: Placement) -> Beads:
    """A flat box under the skin of the left chest, and its lead to the right ventricle."""
    chains = []
    for height in np.arange(0.14, 0.27, 0.006):
        half = 22 * np.sqrt(max(1 - ((height - 0.205) / 0.072) ** 2, 0.05))
        y = float(profile(BODY_FRONT, height)) - 0.3 * body.fat_mm + 9
        x = np.array([82 - half, 82 + half])
        chains.append(Beads.chain(placement, x, y + (x - 82) * 0.35, height, 3.4, METAL_HU, 1.2))
    x = [82, 60, 42, 22, -10, -25, -26, -18, 6, 46]
    y = [-78, -40, -10, -28, -32, -18, -22, -42, -60, -66]
    height = [0.16, 0.06, 0.03, 0.13, 0.17, 0.24, 0.42, 0.56, 0.66, 0.73]
    chains.append(Beads.chain(placement, x, y, height, 1.0, LEAD_HU, 0.8))
    return Beads.join(chains)


def _wires(placement: Placement) -> Beads:
    """Loops that hold the sternum together."""
    turn = np.linspace(0, 2 * np.pi, 40)
    chains = []
    for height in WIRES:
        y = float(profile(CAGE_FRONT, height)) - 9 + 9 * np.sin(turn)
        line = (19 * np.cos(turn), y, height + 0.012 * np.cos(turn))
        chains.append(Beads.chain(placement, *line, 0.9, LEAD_HU, 0.8))
    return Beads.join(chains)


def fluid_share(body: Body, operation: str, x, y, height: float) -> np.ndarray:
    """0 to 1: pleural fluid, which settles at the back of the patient who lies on it.

    Args:
        x, y: of the atlas, mm.
        height: 0 at the apex, 1 at the base.
    """
    if "effusion" not in operation:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    depth = body.effusion_mm * float(np.clip((height - 0.3) / 0.55, 0, 1))
    level = float(profile(CAGE_BACK, height)) - depth
    # It climbs a little along the ribs.
    share = np.clip((y - level + 0.05 * (np.abs(x) - 70)) / 1.5 + 0.5, 0, 1)
    if body.effusion_side != "both":
        share = share * ((x > 0) == (body.effusion_side == "left"))
    return share


def streaks(xy: np.ndarray, radius: np.ndarray, x, y) -> np.ndarray:
    """float32 HU that metal adds around it: bright and dark rays.

    Args:
        xy, radius: (n, 2) and (n,) mm, of the metal in this slice.
        x, y: (1, width) and (height, 1) mm.
    """
    weight = radius**2
    middle = np.average(xy, axis=0, weights=weight)
    across, along = (xy - middle).T
    # Rays leave along the longest extent, where most metal lies one piece behind the other.
    skew = (weight * across * along).sum()
    axis = 0.5 * np.arctan2(2 * skew, (weight * (across**2 - along**2)).sum())
    dx, dy = x - middle[0], y - middle[1]
    turn, away = np.arctan2(dy, dx) - axis, np.hypot(dx, dy)
    rays = np.cos(2 * turn) + 0.6 * np.cos(11 * turn) + 0.4 * np.cos(23 * turn + 1)
    extent = min(float(np.sqrt(weight.sum())) / 10, 1.5)
    return (STREAK_HU * extent) * rays * np.exp(-away / STREAK_MM) * np.clip(away / 6, 0, 1)
