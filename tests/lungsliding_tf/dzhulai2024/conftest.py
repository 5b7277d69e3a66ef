"""Small folders in the released form: speckle that moves sideways, or stands still and flickers."""

import json

import cv2
import numpy as np
import pytest

from preprocessing.roi import Region, save_regions
from preprocessing.video import VideoInfo

WIDTH, HEIGHT = 56, 48


def write_video(folder, name, absent, frames=26, seed=0, width=WIDTH, height=HEIGHT):
    """PNG frames of one video, and its marked region."""
    rng = np.random.default_rng(seed)
    speckle = cv2.GaussianBlur(rng.uniform(0, 255, (height, width + 3 * frames)), (0, 0), 1.5)
    speckle = cv2.normalize(speckle, None, 20, 235, cv2.NORM_MINMAX)
    path = folder / name
    path.mkdir(parents=True)
    for number in range(frames):
        left = 0 if absent else 2 * number
        frame = speckle[:, left : left + width] + rng.normal(0, 3, (height, width))
        cv2.imwrite(str(path / f"frame_{number}.png"), np.clip(frame, 0, 255).astype(np.uint8))
    corners = ((4.0, 4.0), (width - 4.0, 4.0), (width - 4.0, height - 4.0), (4.0, height - 4.0))
    info = VideoInfo(path, width, height, 30.0, frames)
    save_regions(path, info, [Region(corners, 0, frames - 1, label="lung")])


def write_list(folder, entries):
    """The list of videos, with these entries."""
    (folder / "sliding_metafile.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def write_cohort(folder, present=8, absent=4, frames=26, patients=True):
    """A folder of videos, each with the stretch from frame 2 to the end."""
    entries = []
    for number in range(present + absent):
        is_absent = number >= present
        name = f"video {number}.mp4"
        write_video(folder, name, is_absent, frames, seed=number)
        entry = {"video_name": name, "video_class": "ls_a" if is_absent else "ls_p",
                 "cut_interval": [[2, frames]], "phantom": True}  # fmt: skip
        if patients:
            entry["patient_id"] = f"p{number}"
        entries.append(entry)
    return write_list(folder, entries)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Eight videos with sliding and four without, of 26 frames. Not to be written to."""
    return write_cohort(tmp_path_factory.mktemp("dzhulai"))


@pytest.fixture(scope="session", name="write_video")
def give_write_video():
    """Writes one video."""
    return write_video


@pytest.fixture(scope="session", name="write_list")
def give_write_list():
    """Writes the list of videos."""
    return write_list


@pytest.fixture(scope="session", name="write_cohort")
def give_write_cohort():
    """Writes a cohort."""
    return write_cohort
