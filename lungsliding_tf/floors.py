"""Floors: what simple statistics of a clip know about its class, without any learning.

A network has to beat the best of them, not 0.5. All clip functions take a gray clip, uint8
(frames, height, width), 0 to 255, and return one float. They serve a tile, a marked region or a
whole picture alike. `relative_flow` is no floor: it is told where the pleural line is.
"""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from replication import metrics
from replication.metrics import Predictions

LONGEST_LAG = 10  # frames: 1/3 s at 30 fps


def frame_difference(clip: np.ndarray) -> float:
    """Mean absolute difference of consecutive frames, in grey levels."""
    return lagged_difference(clip, 1)


def persistence(clip: np.ndarray) -> float:
    """Mean absolute difference of frames ten apart (1/3 s at 30 fps), in grey levels."""
    return lagged_difference(clip, LONGEST_LAG)


def persistence_ratio(clip: np.ndarray) -> float:
    """`persistence` over `frame_difference`: how much a pattern leaves rather than flickers.

    About 1 where frames flicker around a lasting pattern (barcode), larger where the pattern
    moves on (seashore). 1 for a frozen clip.
    """
    return _ratio(persistence(clip), frame_difference(clip))


def short_persistence_ratio(clip: np.ndarray) -> float:
    """Mean absolute 2-frame difference over the 1-frame difference; 1 for a frozen clip.

    Tells flicker, which is new in every frame, from motion, which adds up. On phantoms with the
    counterfactual twin it knows more than the 10-frame ratio: quote both.
    """
    return _ratio(lagged_difference(clip, 2), frame_difference(clip))


def temporal_deviation(clip: np.ndarray) -> float:
    """Mean over pixels of the standard deviation over time, in grey levels."""
    _check(clip, 2)
    total, squares = np.zeros(clip.shape[1:]), np.zeros(clip.shape[1:])
    for frame in clip:  # frame by frame, so that no float copy of the clip is made
        cv2.accumulate(frame, total)
        cv2.accumulateSquare(frame, squares)
    variance = squares / len(clip) - (total / len(clip)) ** 2
    return float(np.sqrt(np.maximum(variance, 0)).mean())


def lagged_difference(clip: np.ndarray, lag: int) -> float:
    """Mean absolute difference of frames `lag` apart, in grey levels.

    Raises:
        ValueError: not a uint8 clip, or not longer than `lag` frames.
    """
    _check(clip, lag + 1)
    pairs = zip(clip[:-lag], clip[lag:], strict=True)
    return float(np.mean([cv2.norm(a, b, cv2.NORM_L1) for a, b in pairs]) / clip[0].size)


# "Anything moves" is the first: a network must beat it. The others measure persistence, what an
# M-mode reader uses, and carry signal by right.
FLOORS: dict[str, Callable[[np.ndarray], float]] = {
    "frame_difference": frame_difference,
    "temporal_deviation": temporal_deviation,
    "persistence": persistence,
    "persistence_ratio": persistence_ratio,
    "short_persistence_ratio": short_persistence_ratio,
}


def frame_features(frame: np.ndarray) -> dict[str, float]:
    """What a single gray frame, uint8 (height, width), offers to a lazy model."""
    grey = frame.astype(np.float32)
    down, across = np.gradient(grey)
    laplacian = -4 * grey[1:-1, 1:-1] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    laplacian += grey[1:-1, :-2] + grey[1:-1, 2:]
    return {
        "mean": float(grey.mean()),
        "deviation": float(grey.std()),
        "gradient": float(np.hypot(down, across).mean()),
        "lateral_gradient": float(np.abs(across).mean()),
        "laplacian_variance": float(laplacian.var()),
    }


def clip_features(clip: np.ndarray) -> dict[str, float]:
    """All motion statistics of a clip, and the features of its middle frame, by name."""
    motion = {name: measure(clip) for name, measure in FLOORS.items()}
    frame = frame_features(clip[len(clip) // 2])
    return motion | {f"frame_{name}": value for name, value in frame.items()}


def relative_flow(clip: np.ndarray, wall: slice, lung: slice) -> float:
    """Sideways speed of the lung against the chest wall, by optical flow, in px a frame.

    What a reader does who knows where the pleural line is: the ceiling on phantoms, not a floor.
    Root mean square over time of the mean over seven frames, which damps flicker.

    Args:
        wall, lung: rows of the clip above and below the pleural line.
    """
    _check(clip, 8)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    relative = []
    for first, second in zip(clip[:-1], clip[1:], strict=True):
        pair = [np.ascontiguousarray(frame) for frame in (first, second)]
        sideways = flow.calc(*pair, None)[..., 0]
        relative.append(sideways[lung].mean() - sideways[wall].mean())
    smooth = np.convolve(relative, np.full(7, 1 / 7), "valid")
    return float(np.sqrt(np.mean(smooth**2)))


def auroc_floors(clips: Sequence[np.ndarray], predictions: Predictions) -> dict:
    """How far a network's AUROC lies above that of each of FLOORS.

    Args:
        clips: of the predictions, uint8 (frames, height, width); read one at a time.

    Returns:
        {floor: {"clip": ..., "patient": ...}}, each as of `metrics.auroc_above`; empty if there
        is one class alone.
    """
    if np.unique(predictions.labels).size < 2:
        return {}
    result = {}
    for name, measure in FLOORS.items():
        values = np.array([measure(clip) for clip in clips])
        mean_value = dataclasses.replace(predictions, scores=values).by_patient().scores
        result[name] = {
            "clip": metrics.auroc_above(predictions, values),
            "patient": metrics.auroc_above(predictions.by_patient(), mean_value),
        }
    return result


def floor_auroc(values: np.ndarray, labels: np.ndarray) -> float:
    """Two-sided AUROC, max(A, 1 - A), 0.5 to 1: a reversed shortcut is a shortcut too.

    Args:
        values: (n,) one statistic a clip.
        labels: (n,) truthy for the positive class.

    Raises:
        ValueError: only one class among the labels.
    """
    labels = np.asarray(labels).astype(bool)
    if labels.all() or not labels.any():
        raise ValueError("an AUROC needs both classes; only one is among the labels")
    auroc = roc_auc_score(labels, np.asarray(values, float))
    return float(max(auroc, 1 - auroc))


def _ratio(slow: float, fast: float) -> float:
    return slow / fast if fast > 0 else 1.0


def _check(clip: np.ndarray, frames: int) -> None:
    if clip.ndim != 3 or clip.dtype != np.uint8 or len(clip) < frames:
        raise ValueError(
            f"expected a uint8 clip (frames, height, width) of at least {frames} frames, "
            f"got {clip.dtype} {clip.shape}"
        )
