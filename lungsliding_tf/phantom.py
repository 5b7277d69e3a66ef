"""B-mode lung ultrasound phantoms with and without lung sliding, in the paper's file formats.

A phantom patient is a set of drawn parameters (`Patient`), rendered to a video with known motion
(`render`). Nuisances (gain, noise, probe motion, heartbeat, codec) never look at the class. The
class enters at one place, `_motion`. Every patient, present or absent, draws a sliding
trajectory:

* present: the lung's speckle travels with it, against the chest wall;
* absent: the lung moves with the wall, and instead of travelling, a share of its speckle is
  replaced in each frame, matched in size and time course to what the sliding would have changed
  (the *counterfactual twin*).

Single frames and frame differences then say nothing about the class, as in a matched
case-control study; what differs is what a clinician reads in M-mode, whether the pattern
travels (seashore) or persists (barcode). The match is a design choice, no claim about patients:
it stands for the decorrelation that probe rocking with the breath causes without any sliding.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from lungsliding_tf import speckle
from lungsliding_tf.cohort import (
    ABSENT,
    CLIP_SECONDS,
    PRESENT,
    Patient,
    PhantomConfig,
    draw_cohort,
)
from preprocessing.errors import InputError
from preprocessing.video import probe
from replication.phantoms import new_folder
from replication.records import write_csv

__all__ = ["ABSENT", "PRESENT", "Patient", "PhantomConfig", "Truth", "draw_cohort", "marked_region"]
__all__ += ["render", "write_dataset"]

# Raise when frames of an unchanged configuration change, so that old folders are made anew.
GENERATOR_VERSION = 2
RECIPE_FILE = "phantom.json"
# Ours: fresh speckle has to make up for the moving shading of the haze as well.
SHADING_ALLOWANCE = 1.45


@dataclass(frozen=True)
class Truth:
    """What is known about a rendered video; saved as `truth/<patient>.npz`.

    px are native px, continuous: pixel (column c, row r) covers [c, c + 1) x [r, r + 1). Shifts
    are to the right and downwards positive. The true sliding region of frame t is everything
    below `pleura_px[t]` in columns from `rib_columns_px[t, 0]` to `rib_columns_px[t, 1]`; in
    patients without sliding it is the region where it would be.

    pleura_px: float32 (frames, columns), row of the pleural line.
    wall_shift_px, lung_shift_px, axial_shift_px: float32 (frames,); axial moves everything.
    rib_columns_px: float32 (frames, 2), inner edges of the ribs, or of the picture without rib.
    sliding_polygon_px: float32 (frames, 20, 2), that region as x, y points.
    relative_path_mm: float32 (clips,), path length of the lung against the wall in each two
        seconds (60 frames at 30 fps) from the start on.
    px_per_mm: float32 (2,), along x and y.
    fps: float32 ().
    """

    pleura_px: np.ndarray
    wall_shift_px: np.ndarray
    lung_shift_px: np.ndarray
    axial_shift_px: np.ndarray
    rib_columns_px: np.ndarray
    sliding_polygon_px: np.ndarray
    relative_path_mm: np.ndarray
    px_per_mm: np.ndarray
    fps: np.ndarray


# ---- motion and truth -------------------------------------------------------------------------


def _motion(patient: Patient) -> speckle.Motion:
    """Everything that moves. The only place where the class matters."""
    rng = np.random.default_rng([patient.seed, patient.number, 2])
    count, fps = patient.frames, patient.fps
    seconds = np.arange(count) / fps

    def wander(correlation_s: float) -> np.ndarray:
        # Smoothing white noise by a Gaussian of SD s correlates it as exp(-t^2 / (2 * 2 s^2)).
        return speckle.smooth_noise(rng, count, correlation_s / np.sqrt(2) * fps)

    heart_rate = patient.heart_per_min / 60 * (1 + 0.03 * wander(1.0))
    phase = 2 * np.pi * np.cumsum(heart_rate) / fps + rng.uniform(0, 2 * np.pi)
    pulse = patient.pulse_mm * (np.sin(phase) + 0.4 * np.sin(2 * phase + 1)) / 2
    wall = patient.drift_mm * wander(0.7) + 0.35 * pulse
    swing = 2 * np.pi * patient.restless_hz * seconds + rng.uniform(0, 2 * np.pi) + 0.3 * wander(1)
    wall += patient.restless * patient.restless_mm * np.sin(swing)
    axial = patient.wobble_mm * wander(0.5)
    gain = 0.5 * wander(1.5)
    step_at = rng.uniform(0.1, 0.9) * count
    gain += patient.gain_has_step * patient.gain_step_db * (np.arange(count) > step_at)
    sliding = _sliding(patient, rng, count)

    slides = patient.lung_sliding == PRESENT
    exchange = np.zeros(count)
    if patient.twin and not slides:
        # The pipeline unifies to 30 fps, so the step in 1/30 s is what has to be matched.
        step_mm = np.abs(np.gradient(sliding)) * fps / 30
        sd_mm = patient.beam.lateral_sd * patient.beam.line_mm
        exchange = np.minimum(SHADING_ALLOWANCE * speckle.matched_share(step_mm / sd_mm), 1)
    return speckle.Motion(
        wall_mm=wall,
        lung_mm=wall + 0.65 * pulse + slides * sliding,
        axial_mm=axial,
        gain_db=gain,
        exchange=exchange,
        # 10 % of the lung's scatterers a second leave the plane: sliding back is no exact replay.
        turnover=0.32 * seconds,
    )


def _sliding(patient: Patient, rng: np.random.Generator, count: int) -> np.ndarray:
    """(frames,) respiratory excursion of the lung in mm, centred, pausing at end-expiration."""
    rate = patient.breaths_per_min / 60
    wander = speckle.smooth_noise(rng, count, 3 * patient.fps)
    phase = 2 * np.pi * np.cumsum(rate * (1 + 0.06 * wander)) / patient.fps
    phase += rng.uniform(0, 2 * np.pi)
    wave = (0.5 - 0.5 * np.cos(phase)) ** 1.4
    return (1 if patient.to_the_right else -1) * patient.excursion_mm * (wave - 0.5)


def _truth(patient: Patient, maps: speckle.Maps, motion: speckle.Motion) -> Truth:
    width, height = patient.size
    beam = patient.beam
    scale_x, scale_y = width / speckle.BEAM_LINES, height / speckle.BEAM_ROWS
    wall_lines = motion.wall_mm / beam.line_mm
    down_rows = motion.axial_mm / beam.row_mm

    lines = (np.arange(width) + 0.5) / scale_x - 0.5 + maps.wall_pad
    known = np.arange(len(maps.pleura_row))
    rows = np.array([np.interp(lines - shift, known, maps.pleura_row) for shift in wall_lines])
    pleura = (rows + 0.5 + down_rows[:, None]) * scale_y

    ribs = (np.array(maps.rib_edges) + 0.5 + wall_lines[:, None]) * scale_x
    ribs = np.clip(ribs, 0, width)
    relative = motion.lung_mm - motion.wall_mm
    travelled = np.concatenate([[0], np.cumsum(np.abs(np.diff(relative)))])
    starts = np.arange(int(patient.frames / patient.fps / CLIP_SECONDS + 1e-6)) * CLIP_SECONDS
    ends = starts + CLIP_SECONDS
    at = [np.interp(t * patient.fps, np.arange(patient.frames), travelled) for t in (starts, ends)]
    values = {
        "pleura_px": pleura,
        "wall_shift_px": wall_lines * scale_x,
        "lung_shift_px": motion.lung_mm / beam.line_mm * scale_x,
        "axial_shift_px": down_rows * scale_y,
        "rib_columns_px": ribs,
        "sliding_polygon_px": _sliding_polygons(pleura, ribs, height),
        "relative_path_mm": at[1] - at[0],
        "px_per_mm": np.array([width / patient.width_mm, height / patient.depth_mm]),
        "fps": patient.fps,
    }
    return Truth(**{name: np.asarray(value, np.float32) for name, value in values.items()})


def _sliding_polygons(pleura: np.ndarray, ribs: np.ndarray, height: int) -> np.ndarray:
    """(frames, 20, 2): along the pleural line from left to right, then back along the bottom."""
    polygons = []
    for row, (left, right) in zip(pleura, ribs, strict=True):
        x = np.linspace(left, right, 18)
        line = np.stack([x, np.interp(x, np.arange(len(row)) + 0.5, row)], axis=1)
        polygons.append(np.concatenate([line, [(right, height), (left, height)]]))
    return np.array(polygons)


def marked_region(patient: Patient, truth: Truth) -> list[list[float]]:
    """The static rectangle that a careful person would mark, as x, y corners in native px.

    Between the ribs in nearly all frames and from just above the pleural line downwards.
    """
    width, height = patient.size
    # Ours: at least 134 px, which letterboxing 854x480 into 640x480 leaves over 100.
    least, most, margin = 134, 420, 8
    left = np.percentile(truth.rib_columns_px[:, 0], 90) + margin
    right = np.percentile(truth.rib_columns_px[:, 1], 10) - margin
    span = np.clip(right - left, least, most)  # without ribs in sight, the picture's middle
    centre = np.clip((left + right) / 2, span / 2 + margin, width - span / 2 - margin)
    left, right = centre - span / 2, centre + span / 2
    left, right = int(left), int(np.ceil(right))
    highest = truth.pleura_px[:, left:right].min()
    top = max(int(highest) - 14, 0)
    # Inferred: the paper's tile counts mean regions about 200 px wide and 240 px high.
    bottom = min(top + 290, height - margin)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return [[float(x), float(y)] for x, y in corners]


# ---- rendering --------------------------------------------------------------------------------


def render(patient: Patient) -> tuple[Truth, Iterator[np.ndarray]]:
    """Make one patient's video.

    Returns:
        What is known about it, and an iterator over its frames, uint8 (height, width), 0 to
        about 235. One frame is held at a time. Equal patients give equal bytes.
    """
    motion = _motion(patient)
    beam = patient.beam
    # Both classes get the same padding, else the label would change what is drawn from `rng`.
    reach = np.abs(motion.wall_mm).max()
    lung_reach = reach + patient.pulse_mm + patient.excursion_mm / 2
    pads = tuple(int(mm / beam.line_mm) + 2 for mm in (reach, lung_reach))
    rng = np.random.default_rng([patient.seed, patient.number, 3])
    maps = speckle.build_maps(patient, beam, rng, pads)
    return _truth(patient, maps, motion), _pictures(patient, maps, motion, rng)


def _pictures(patient, maps, motion, rng) -> Iterator[np.ndarray]:
    beam = patient.beam
    frames = speckle.render_beam_frames(maps, beam, patient.display, motion, patient.flicker, rng)
    for frame, axial_mm in zip(frames, motion.axial_mm, strict=True):
        yield speckle.to_picture(frame, patient.size, axial_mm / beam.row_mm)


# ---- files ------------------------------------------------------------------------------------


def write_dataset(out: Path, config: PhantomConfig, progress: bool = True, n_jobs: int = 2) -> Path:
    """Write a cohort as videos, marked regions, labels and truth; return `out`.

    Written to a folder beside `out` and renamed when complete. A complete one with the same
    configuration is left alone; one with another configuration is replaced.

    Raises:
        InputError: no process is to write, or `out` holds something else than phantoms, or cannot
            be written.
    """
    if n_jobs < 1:
        raise InputError(f"n_jobs={n_jobs}: expected at least 1")
    out = Path(out)
    recipe = {"generator": f"lung ultrasound {GENERATOR_VERSION}", **asdict(config)}
    with new_folder(out, RECIPE_FILE, recipe, "phantom videos") as partial:
        if partial is None:
            return out
        for folder in ("videos", "truth"):
            (partial / folder).mkdir(parents=True)
        cohort = draw_cohort(config)
        jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_write_patient)(partial, patient) for patient in cohort
        )
        quiet = None if progress else True  # None: a bar on terminals alone
        for _ in tqdm(jobs, "phantom videos", len(cohort), unit="video", disable=quiet):
            pass
        _write_labels(partial / "labels.csv", cohort)
    return out


def _write_patient(folder: Path, patient: Patient) -> None:
    """Video, marked region and truth of one patient."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        truth, frames = render(patient)
        _write_video(folder / "videos" / patient.video_name, frames, patient)
    finally:
        cv2.setNumThreads(threads)
    np.savez_compressed(folder / "truth" / f"{patient.patient}.npz", **dataclasses.asdict(truth))
    width, height = patient.size
    region = {
        "label": "lung",
        "first_frame": 0,
        "last_frame": patient.frames - 1,
        "polygon": marked_region(patient, truth),
    }
    marked = {
        "format": "lung-roi",
        "version": 1,
        "video": patient.video_name,
        "width": width,
        "height": height,
        "frames": patient.frames,
        "fps": patient.fps,
        "regions": [region],
    }
    path = folder / "videos" / f"{patient.video_name}.roi.json"
    path.write_text(json.dumps(marked, indent=2) + "\n", encoding="utf-8")


def _write_video(path: Path, frames: Iterator[np.ndarray], patient: Patient) -> None:
    codec = cv2.VideoWriter_fourcc(*("MJPG" if patient.avi else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, patient.fps, patient.size, isColor=False)
    if not writer.isOpened():
        raise InputError(f"{path}: cannot be written; check the folder and the disk")
    try:
        for frame in frames:
            writer.write(frame)
    finally:
        writer.release()
    written = probe(path).declared_frames  # OpenCV's writer reports no failure
    if written != patient.frames:
        raise InputError(f"{path}: {written} of {patient.frames} frames written; is the disk full?")


def _write_labels(path: Path, cohort: list[Patient]) -> None:
    rows = []
    for patient in cohort:
        values = asdict(patient)
        first = {
            "file": f"videos/{patient.video_name}",
            "patient_group": values.pop("patient"),
            "lung_sliding": values.pop("lung_sliding"),
            "phantom": "yes",
        }
        rows.append(first | values | {"fps": patient.fps, "frames": patient.frames})
    write_csv(path, rows)
