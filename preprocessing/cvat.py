"""Polygons of a CVAT task export (annotations.json of a task backup) as convex hulls with spans.

CVAT annotates some frames only. A polygon holds until the next annotated frame of its label; the
first one also covers the frames before it, the last one those after it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from preprocessing.errors import InputError
from preprocessing.tables import shown

# Ours: hulls that overlap the first of their run by this much are one region that stays in place.
SAME_PLACE_IOU = 0.5
# Ours: in pixels; OpenCV's hulls are of float32.
FARTHEST = 1e6

_CORNERS_OF = {
    "polygon": lambda points: points.reshape(-1, 2),
    "polyline": lambda points: points.reshape(-1, 2),
    "rectangle": lambda points: points[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2),
}


@dataclass
class _Layer:
    """What one label (or one track) shows: at each annotated frame, corners (n, 2) or nothing."""

    holds_before_first: bool
    annotated: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def at(self, frame: int) -> list[np.ndarray]:
        earlier = [key for key in self.annotated if key <= frame]
        if earlier:
            return self.annotated[max(earlier)]
        return self.annotated[min(self.annotated)] if self.holds_before_first else []


def hulls_with_spans(
    document: object, path: Path, labels: tuple[str, ...], frames: int
) -> list[tuple[int, int, np.ndarray]]:
    """(first frame, last frame, hull (n, 2) of x, y) in temporal order; spans abut exactly.

    All polygons of `labels` that hold at a frame are taken together: their convex hull is the
    frame's hull. Consecutive hulls in nearly the same place are merged into the hull of all.

    Args:
        document: the parsed JSON; `path` is only named in messages.
        frames: length of the video; the last hull holds until its end.

    Raises:
        InputError: not a CVAT export, nothing with these labels, a shape that is no polygon, or
            frames the video does not have.
    """
    layers = _layers(document, path, set(labels))
    starts = sorted({0} | {frame for layer in layers for frame in layer.annotated})
    if starts[-1] >= frames:
        raise InputError(
            f"{path}: annotates frame {starts[-1]}, the video has 0 to {frames - 1}; "
            "give the export of this video's task"
        )
    spans = []
    for first, following in zip(starts, starts[1:] + [frames], strict=True):
        polygons = [corners for layer in layers for corners in layer.at(first)]
        if polygons:
            spans.append((first, following - 1, _hull(np.concatenate(polygons))))
    return _merge(spans)


def _layers(document: object, path: Path, labels: set[str]) -> list[_Layer]:
    """One layer a label from the shapes, and one a track."""
    jobs = document if isinstance(document, list) else [document]
    by_label: dict[str, _Layer] = {}
    tracks, seen = [], set()
    try:
        for job in jobs:
            for shape in job["shapes"]:
                seen.add(str(shape["label"]))
                if shape["label"] in labels:
                    layer = by_label.setdefault(shape["label"], _Layer(holds_before_first=True))
                    _add(layer, shape, path)
            for track in job.get("tracks", []):
                seen.add(str(track["label"]))
                if track["label"] in labels and track["shapes"]:
                    # Ours: a tracked polygon holds from key frame to key frame, as shapes do;
                    # CVAT itself moves it evenly between them.
                    layer = _Layer(holds_before_first=False)
                    for shape in track["shapes"]:
                        _add(layer, shape, path)
                    tracks.append(layer)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as error:
        what = shown(f"{type(error).__name__}: {error}")
        raise InputError(
            f"{path}: is not a CVAT task export ({what}); expected the annotations.json of a task "
            'backup, a list with "shapes"'
        ) from error
    layers = list(by_label.values()) + tracks
    if not layers:
        raise InputError(
            f"{path}: holds no shape labelled {', '.join(sorted(labels))}; "
            f"it has: {shown(', '.join(sorted(seen))) or 'none'}"
        )
    return layers


def _add(layer: _Layer, shape: dict, path: Path) -> None:
    frame, kind = int(shape["frame"]), shape["type"]
    polygons = layer.annotated.setdefault(frame, [])
    if shape.get("outside"):  # a track that has left the picture
        return
    if kind not in _CORNERS_OF or shape.get("rotation"):
        what = f"a rotated {shown(str(kind))}" if shape.get("rotation") else f"a {shown(str(kind))}"
        raise InputError(f"{path}: frame {frame} holds {what}; redraw it in CVAT as a polygon")
    corners = _CORNERS_OF[kind](np.asarray(shape["points"], np.float64))
    if not len(corners) or not (np.abs(corners) < FARTHEST).all():  # NaN neither
        raise ValueError("no corner, or one that is no number or far outside any picture")
    polygons.append(corners)


def _merge(spans: list[tuple[int, int, np.ndarray]]) -> list[tuple[int, int, np.ndarray]]:
    """Join abutting spans while their hulls stay where the run's first one was."""
    merged: list[tuple[int, int, np.ndarray]] = []
    run_hull = None  # the first hull of the current run
    for first, last, hull in spans:
        if merged and merged[-1][1] + 1 == first and _iou(run_hull, hull) >= SAME_PLACE_IOU:
            run_first, _, union = merged[-1]
            merged[-1] = (run_first, last, _hull(np.concatenate([union, hull])))
        else:
            merged.append((first, last, hull))
            run_hull = hull
    return merged


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two convex polygons (n, 2)."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    shared = cv2.intersectConvexConvex(a, b)[0]
    union = cv2.contourArea(a) + cv2.contourArea(b) - shared
    return shared / union if union > 0 else 0.0
