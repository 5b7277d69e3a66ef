"""The phantoms as folders of PNG frames, the form that Dzhulai 2024 released their list of data in.

The same patients, physics and motion as in `phantom`, in the sizes of that paper. A folder holds

* `sliding_metafile.json`, a list with an object for each video. Released: `video_name`,
  `video_class` (ls_p or ls_a) and `cut_interval`, pairs of the first frame and the end (not
  included) of each usable stretch. Ours: `patient_id` and `phantom`, which that list lacks;
* `<video_name>/frame_<n>.png`, 8-bit gray, n from 0 on. Released: the folder is named as the video,
  suffix and all;
* `<video_name>.roi.json`, the marked region, for crops;
* `truth/<video name without suffix>.npz`, as `phantom.Truth`, in px of these frames;
* `phantom.json`, the arguments that give the same frames again.

All videos have 30 frames a second: the form states no rate, so nothing downstream can unify
it, and at another rate the counterfactual twin would no longer match the sliding frame by frame.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from lungsliding_tf import phantom
from lungsliding_tf.cohort import ABSENT, PRESENT, Patient, PhantomConfig, draw_cohort
from lungsliding_tf.phantom import Truth
from preprocessing.errors import InputError
from preprocessing.roi import Region, save_regions
from preprocessing.video import VideoInfo
from replication.phantoms import new_folder, quantile_table

# Raise when files of an unchanged configuration change for another reason than the rendering.
FORM_VERSION = 1
METAFILE = "sliding_metafile.json"
TRUTH_FOLDER = "truth"
VIDEO_CLASSES = {PRESENT: "ls_p", ABSENT: "ls_a"}  # Paper: section IV

# Paper: section IV: 139 and 32 videos of 20 to 900 frames. Ours: 60 to 900, two seconds and more.
PAPER_COHORT = PhantomConfig(present=139, absent=32, seconds=(2.0, 30.0))
# Paper: section IV: from 240 by 360 to 530 by 450 px. Ours: the first number is the width.
WIDTHS, HEIGHTS = (240, 530), (360, 450)
FINEST = (640, 480)  # the smaller of the sizes that are rendered; pictures are averaged down
SMALLEST = 32  # px; Paper: section IV: the side of its crops
# Released: nearly every stretch begins at frame 15 and lasts to the end of the video.
FIRST_USABLE_FRAME = 15
MINIMUM_FRAMES = 45  # Paper: Table IV: frames of a clip
# Ours: neither paper nor list says how many videos a patient has; several file names recur.
SECOND_VIDEOS = 0.3
PNG_SETTINGS = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # speckle hardly shrinks further, only slower


@dataclass(frozen=True)
class Recording:
    """One video: what is rendered, under which name, and in which size (width, height) in px.

    `patient.patient` names whose it is, `patient.number` is the video's own.
    """

    patient: Patient
    size: tuple[int, int]

    @property
    def video_name(self) -> str:
        return f"{self.patient.number:03d}_phantom.mp4"

    @property
    def truth_name(self) -> str:
        return f"{Path(self.video_name).stem}.npz"


def draw_recordings(
    config: PhantomConfig,
    widths: tuple[int, int] = WIDTHS,
    heights: tuple[int, int] = HEIGHTS,
    second_videos: float = SECOND_VIDEOS,
) -> list[Recording]:
    """Draw all videos; the first n are the same whatever `config.patients` is.

    A second video is of the patient before it in its class: all drawn parameters and the size are
    that patient's; speckle, tissue layers, length and the course of every motion are its own, as
    in a recording of another place on the same chest. Class and parameters do not decide who has
    two, and sizes are stratified within each class, as all parameters are.

    Raises:
        InputError: a range or a share that no video can have.
    """
    _check_ranges(widths, heights, second_videos)
    sizes = {
        label: _draw_sizes(np.random.default_rng([config.seed, 0, k]), count, widths, heights)
        for k, (label, count) in enumerate([(PRESENT, config.present), (ABSENT, config.absent)])
    }
    of_class: dict[str, list[Recording]] = {PRESENT: [], ABSENT: []}
    recordings = []
    for patient in draw_cohort(config):
        before = of_class[patient.lung_sliding]
        place = len(before)
        recording = Recording(replace(patient, fast=False), sizes[patient.lung_sliding][place])
        if int((place + 1) * second_videos) > int(place * second_videos):
            first = before[-1]
            own = {"number": patient.number, "seconds": patient.seconds}
            recording = replace(first, patient=replace(first.patient, **own))
        before.append(recording)
        recordings.append(recording)
    return recordings


def write_frame_folders(
    out: Path,
    config: PhantomConfig = PAPER_COHORT,
    widths: tuple[int, int] = WIDTHS,
    heights: tuple[int, int] = HEIGHTS,
    second_videos: float = SECOND_VIDEOS,
    minimum_frames: int = MINIMUM_FRAMES,
    progress: bool = True,
    n_jobs: int = 2,
) -> Path:
    """Write a cohort as folders of frames, with list, marked regions and truth; return `out`.

    Written to a folder beside `out` and renamed when complete. A complete one of the same
    arguments is left alone; one of others is replaced. Equal arguments give equal frames.

    Args:
        out: folder to make.
        config: the cohort; `present`, `absent` and `patients` count videos here.
        widths, heights: least and largest size of the frames in px; each patient has one size.
        second_videos: share of videos that are a second one of a patient, at most 0.5.
        minimum_frames: a stretch begins at frame 15 if it keeps so many frames, else at 0.
        progress: show a progress bar on terminals.
        n_jobs: processes.

    Raises:
        InputError: arguments that no video can have; `out` holds something else than phantoms of
            this form, or cannot be written.
    """
    out = Path(out)
    for name, number in (("minimum_frames", minimum_frames), ("n_jobs", n_jobs)):
        if number < 1:
            raise InputError(f"{name}={number}: expected at least 1")
    recordings = draw_recordings(config, widths, heights, second_videos)
    recipe = {
        "generator": f"lung ultrasound frames {FORM_VERSION}.{phantom.GENERATOR_VERSION}",
        **asdict(config),
        "widths": widths,
        "heights": heights,
        "second_videos": second_videos,
        "minimum_frames": minimum_frames,
    }
    with new_folder(out, phantom.RECIPE_FILE, recipe, "phantom frame folders") as partial:
        if partial is None:
            return out
        (partial / TRUTH_FOLDER).mkdir()
        jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_write_recording)(partial, recording) for recording in recordings
        )
        quiet = None if progress else True  # None: a bar on terminals alone
        for _ in tqdm(jobs, "phantom frames", len(recordings), unit="video", disable=quiet):
            pass
        entries = [_entry(recording, minimum_frames) for recording in recordings]
        (partial / METAFILE).write_text(json.dumps(entries, indent=4) + "\n", encoding="utf-8")
    return out


def scale_truth(truth: Truth, size: tuple[int, int], new_size: tuple[int, int]) -> Truth:
    """What is known about a video, after its frames were brought from one size to another.

    Sizes are (width, height) in px. Values in mm stay as they are.
    """
    x, y = (new / old for new, old in zip(new_size, size, strict=True))
    columns = (np.arange(new_size[0]) + 0.5) / x - 0.5  # centres, in columns of the old size
    known = np.arange(size[0])
    values = {
        "pleura_px": y * np.array([np.interp(columns, known, row) for row in truth.pleura_px]),
        "wall_shift_px": x * truth.wall_shift_px,
        "lung_shift_px": x * truth.lung_shift_px,
        "axial_shift_px": y * truth.axial_shift_px,
        "rib_columns_px": x * truth.rib_columns_px,
        "sliding_polygon_px": truth.sliding_polygon_px * (x, y),
        "px_per_mm": truth.px_per_mm * (x, y),
    }
    return replace(truth, **{k: np.asarray(v, np.float32) for k, v in values.items()})


def _draw_sizes(rng, count: int, widths, heights) -> list[tuple[int, int]]:
    def drawn(u: float, low: int, high: int) -> int:
        return low + int(u * (high + 1 - low))

    return [(drawn(u, *widths), drawn(v, *heights)) for u, v in quantile_table(rng, 2, count)]


def _check_ranges(widths, heights, second_videos: float) -> None:
    for name, (low, high), finest in zip(
        ("widths", "heights"), (widths, heights), FINEST, strict=True
    ):
        if not SMALLEST <= low <= high <= finest:
            problem = f"expected {SMALLEST} <= low <= high <= {finest} px"
            raise InputError(f"{name}=({low}, {high}): {problem}")
    if not 0 <= second_videos <= 0.5:
        raise InputError(f"second_videos={second_videos:g}: expected a share of 0 to 0.5")


def _entry(recording: Recording, minimum_frames: int) -> dict:
    """A video's object in the list."""
    patient = recording.patient
    first = FIRST_USABLE_FRAME if patient.frames - FIRST_USABLE_FRAME >= minimum_frames else 0
    return {
        "video_name": recording.video_name,
        "video_class": VIDEO_CLASSES[patient.lung_sliding],
        "cut_interval": [[first, patient.frames]],
        "patient_id": patient.patient,
        "phantom": True,
    }


def _write_recording(folder: Path, recording: Recording) -> None:
    """Frames, marked region and truth of one video."""
    patient, size = recording.patient, recording.size
    frames_folder = folder / recording.video_name
    frames_folder.mkdir()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        truth, frames = phantom.render(patient)
        _write_frames(frames_folder, frames, size)
    finally:
        cv2.setNumThreads(threads)
    scaled = scale_truth(truth, patient.size, size)
    np.savez_compressed(folder / TRUTH_FOLDER / recording.truth_name, **asdict(scaled))
    marked = np.array(phantom.marked_region(patient, truth)) * np.divide(size, patient.size)
    corners = tuple(map(tuple, marked.tolist()))
    info = VideoInfo(frames_folder, *size, patient.fps, patient.frames)
    save_regions(frames_folder, info, [Region(corners, 0, patient.frames - 1)])


def _write_frames(folder: Path, frames: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    for number, frame in enumerate(frames):
        path = folder / f"frame_{number}.png"
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        done, encoded = cv2.imencode(".png", small, PNG_SETTINGS)
        if not done:
            raise InputError(f"{path}: OpenCV cannot encode this picture")
        path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this tells why it fails
