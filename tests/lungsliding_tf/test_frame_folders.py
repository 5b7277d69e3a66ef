"""Phantoms as folders of frames: the form of the released list, and the same phantoms in it."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungsliding_tf import phantom
from lungsliding_tf.dzhulai2024.sources import read_sources, read_stretches
from lungsliding_tf.frame_folders import (
    METAFILE,
    PAPER_COHORT,
    draw_recordings,
    scale_truth,
    write_frame_folders,
)
from lungsliding_tf.phantom import PhantomConfig, Truth, draw_cohort, render, write_dataset
from preprocessing.errors import InputError
from preprocessing.roi import load_regions
from preprocessing.video import probe, read_frames

ROOT = Path(__file__).resolve().parents[2]
SHORT = (2.0, 2.0)  # seconds: 60 frames a video
SMALL = PhantomConfig(2, 2, 1, SHORT)
# Of the version that the recorded runs of the Kolárik study were made with.
GOLDEN_FLAGS = (False, True, False)
GOLDEN_THUMBNAIL = [
    [135, 138, 137, 142, 140, 132, 135, 141],
    [111, 112, 119, 125, 122, 115, 112, 115],
    [115, 118, 116, 119, 109, 110, 111, 113],
    [87, 94, 95, 102, 90, 88, 99, 100],
    [90, 90, 87, 89, 75, 69, 78, 79],
    [49, 52, 57, 63, 61, 62, 67, 72],
]
FORM = {"widths": (240, 250), "heights": (200, 220), "second_videos": 0.5}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two videos of one patient with sliding and two of one without."""
    out = tmp_path_factory.mktemp("frames") / "small"
    return write_frame_folders(out, SMALL, **FORM, progress=False)


@pytest.fixture(scope="module")
def listed(small):
    return json.loads((small / METAFILE).read_text(encoding="utf-8"))


# ---- the form ----------------------------------------------------------------------------------


def test_list_has_the_released_keys_and_says_whose_and_that_they_are_phantoms(listed):
    assert all(
        list(e) == ["video_name", "video_class", "cut_interval", "patient_id", "phantom"]
        for e in listed
    )
    assert len({e["video_name"] for e in listed}) == 4
    assert Counter(e["video_class"] for e in listed) == {"ls_p": 2, "ls_a": 2}
    assert {tuple(map(tuple, e["cut_interval"])) for e in listed} == {((15, 60),)}
    assert {e["phantom"] for e in listed} == {True}
    patients = {(e["patient_id"], e["video_class"]) for e in listed}
    assert len(patients) == 2 == len({patient for patient, _ in patients})


def test_frames_are_numbered_gray_png_in_folders_named_as_the_videos(small, listed):
    recordings = draw_recordings(SMALL, **FORM)
    assert [r.video_name for r in recordings] == [e["video_name"] for e in listed]
    for recording in recordings:
        folder = small / recording.video_name
        assert {p.name for p in folder.iterdir()} == {f"frame_{n}.png" for n in range(60)}
        frame = cv2.imread(str(folder / "frame_59.png"), cv2.IMREAD_UNCHANGED)
        assert frame.dtype == np.uint8 and frame.shape == recording.size[::-1]
        assert frame.std() > 5


def test_the_studys_own_reader_finds_what_was_written(small):
    sources = read_sources(small)
    assert [s.label for s in sources].count(1) == 2
    assert all(s.is_phantom and s.patient for s in sources)
    ((first, frames),) = ((first, list(frames)) for first, frames in read_stretches(sources[0]))
    assert first == 15 and len(frames) == 45
    assert np.array_equal(frames[0], next(islice(read_frames(sources[0].path), 15, None)))


def test_marked_regions_are_in_px_of_the_frames_and_hold_crops(small, listed):
    for entry in listed:
        folder = small / entry["video_name"]
        (region,) = load_regions(folder, probe(folder))
        assert (region.first_frame, region.last_frame) == (0, 59)
        (left, top), (right, bottom) = region.polygon[0], region.polygon[2]
        assert right - left >= 33 and bottom - top >= 33  # a 32 px crop wherever its corner lies


def test_truth_lies_on_the_pleura_of_the_frames(small, listed):
    for entry in listed:
        folder = small / entry["video_name"]
        with np.load(small / "truth" / f"{folder.stem}.npz") as truth:
            assert set(truth.files) == set(Truth.__dataclass_fields__)
            pleura, ribs = truth["pleura_px"], truth["rib_columns_px"]
            assert truth["fps"] == 30
        frame = next(read_frames(folder)).astype(float)
        assert pleura.shape == (60, frame.shape[1])
        columns = np.arange(int(ribs[0, 0]) + 10, int(ribs[0, 1]) - 10)
        rows = pleura[0, columns].astype(int)
        shown = {k: frame[rows + k, columns].mean() for k in range(-12, 13)}
        assert shown[0] > max(shown[-12], shown[12]) + 15
        assert shown[0] > max(shown.values()) - 3


def test_a_stretch_begins_at_frame_0_where_too_few_frames_would_be_left(tmp_path, small, listed):
    one = replace(SMALL, patients=1)
    out = write_frame_folders(tmp_path / "one", one, **FORM, minimum_frames=46, progress=False)
    (entry,) = json.loads((out / METAFILE).read_text(encoding="utf-8"))
    assert entry == listed[0] | {"cut_interval": [[0, 60]]}
    # Made anew, by another process, from a smaller cohort: the very same bytes.
    ours, theirs = (sorted((o / entry["video_name"]).iterdir()) for o in (out, small))
    assert [p.read_bytes() for p in ours] == [p.read_bytes() for p in theirs]


# ---- who has which videos ----------------------------------------------------------------------


def test_paper_cohort_has_the_papers_numbers():
    recordings = draw_recordings(PAPER_COHORT)
    classes = Counter(r.patient.lung_sliding for r in recordings)
    assert classes == {phantom.PRESENT: 139, phantom.ABSENT: 32}
    widths, heights = zip(*(r.size for r in recordings), strict=True)
    assert 240 <= min(widths) < 245 and 525 < max(widths) <= 530
    assert 360 <= min(heights) < 365 and 445 < max(heights) <= 450
    frames = [r.patient.frames for r in recordings]
    assert 20 <= min(frames) < 70 and 800 < max(frames) <= 900
    assert {r.patient.fps for r in recordings} == {30}


@pytest.mark.parametrize("share", [0, 0.3, 0.5])
def test_second_videos_are_the_same_patient_in_another_place(share):
    config = PhantomConfig(20, 10, 4)
    recordings = draw_recordings(config, second_videos=share)
    by_patient = {}
    for recording in recordings:
        by_patient.setdefault(recording.patient.patient, []).append(recording)
    assert len(recordings) - len(by_patient) == share * 30
    for first, *others in by_patient.values():
        assert len(others) <= 1
        for other in others:
            differ = {
                name for name, value in asdict(first.patient).items()
                if value != getattr(other.patient, name)
            }  # fmt: skip
            assert differ == {"number", "seconds"} and other.size == first.size
    assert draw_recordings(replace(config, patients=11), second_videos=share) == recordings[:11]


def test_sizes_are_stratified_within_each_class():
    config = PhantomConfig(20, 10, 4)
    for label in (phantom.PRESENT, phantom.ABSENT):
        of_class = [
            r for r in draw_recordings(config, second_videos=0) if r.patient.lung_sliding == label
        ]
        for side, (low, high) in enumerate([(240, 530), (360, 450)]):
            strata = sorted((r.size[side] - low) * len(of_class) // (high + 1 - low)
                            for r in of_class)  # fmt: skip
            assert np.abs(np.array(strata) - np.arange(len(of_class))).max() <= 1


# ---- the same phantoms -------------------------------------------------------------------------


def test_scaled_truth_moves_with_the_picture():
    truth, _ = render(draw_cohort(PhantomConfig(1, 1, 2, SHORT))[0])
    size = (truth.pleura_px.shape[1], 480)
    scaled = scale_truth(truth, size, (size[0] // 2, 360))
    assert scaled.pleura_px.shape == (len(truth.pleura_px), size[0] // 2)
    # A column of the half width covers two of the full one.
    pairs = truth.pleura_px.reshape(len(truth.pleura_px), -1, 2).mean(axis=2)
    assert np.allclose(scaled.pleura_px, 0.75 * pairs, atol=1e-3)
    in_mm = [(t.lung_shift_px - t.wall_shift_px) / t.px_per_mm[0] for t in (truth, scaled)]
    assert np.allclose(*in_mm, atol=1e-4)
    assert np.allclose(scaled.sliding_polygon_px[..., 1].max(), 360)
    assert np.array_equal(scaled.relative_path_mm, truth.relative_path_mm)
    assert {v.dtype for v in vars(scaled).values()} == {np.dtype(np.float32)}


def test_frames_are_those_of_the_phantom_averaged_down(small):
    recording = draw_recordings(SMALL, **FORM)[1]
    _, frames = render(recording.patient)
    written = read_frames(small / recording.video_name)
    for frame, read in islice(zip(frames, written, strict=True), 3):
        expected = cv2.resize(frame, recording.size, interpolation=cv2.INTER_AREA)
        assert np.array_equal(read, expected)


def test_phantom_videos_are_what_they_were():
    patient = draw_cohort(PhantomConfig(seed=7, seconds=SHORT))[1]
    assert (patient.wide, patient.fast, patient.avi) == GOLDEN_FLAGS
    frame = next(islice(render(patient)[1], 9, None))
    thumbnail = cv2.resize(frame, (8, 6), interpolation=cv2.INTER_AREA).astype(int)
    # Within a grey level: processors differ in the last bit of a blur.
    assert np.abs(thumbnail - GOLDEN_THUMBNAIL).max() <= 1


# ---- arguments and folders ---------------------------------------------------------------------


def test_complete_folder_is_left_alone_and_another_form_is_not_replaced(small, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in small.rglob("*")}
    write_frame_folders(small, SMALL, **FORM, progress=False)
    with pytest.raises(InputError, match="holds no phantom videos"):
        write_dataset(small, SMALL, progress=False)
    assert {p: p.stat().st_mtime_ns for p in small.rglob("*")} == before
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="holds no phantom frame folders"):
        write_frame_folders(tmp_path, SMALL, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": (20, 300)}, "widths"),
        ({"heights": (300, 500)}, "heights"),
        ({"heights": (450, 360)}, "heights"),
        ({"second_videos": 0.6}, "second_videos"),
        ({"minimum_frames": 0}, "minimum_frames"),
        ({"n_jobs": 0}, "n_jobs=0: expected at least 1"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        write_frame_folders(tmp_path / "o", SMALL, **wrong, progress=False)
    assert not any(tmp_path.iterdir())


def test_command_writes_frames(tmp_path):
    out = tmp_path / "f"
    command = [sys.executable, str(ROOT / "scripts" / "make_phantom.py"), "frames", "--out",
               str(out), "--seconds", "2", "2", "--jobs", "1", "--patients"]  # fmt: skip
    done = subprocess.run([*command, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    recipe = json.loads((out / "phantom.json").read_text(encoding="utf-8"))
    assert (recipe["present"], recipe["absent"]) == (139, 32)
    assert len(list(out.glob("*/frame_*.png"))) == 60
