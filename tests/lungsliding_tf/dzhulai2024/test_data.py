"""Stores of frames, crops and flow."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
from lungsliding_tf.dzhulai2024.data import prepare_all, prepare_flow, prepare_frames, sequence_rows
from preprocessing.errors import InputError
from preprocessing.video import read_png


def silent(line):
    """For those who say what they do."""


@pytest.fixture(scope="module")
def config(cohort, tmp_path_factory):
    """Small networks' settings on the small cohort."""
    return DzhulaiConfig(
        cohort, tmp_path_factory.mktemp("out"), size=32, frames=12, rcm2d_frames=12,
        cmwra_frames=12,
        flow="dis",
    )  # fmt: skip


@pytest.fixture(scope="module")
def frames(config):
    """The store of whole frames."""
    return prepare_frames(config, False, silent)


def test_frames_are_those_of_the_stretches(config, frames):
    assert frames.samples.shape == (12 * 24, 32, 32) and frames.samples.dtype == np.uint8
    row = frames.index[24]
    assert (row["file"], row["frame"], row["patient_id"]) == ("video 1.mp4", "2", "p1")
    assert (row["class"], row["label"], row["origin"]) == ("present", "0", "phantom")
    assert frames.index[-1]["class"] == "absent" and frames.index[-1]["label"] == "1"
    native = read_png(config.data / "video 1.mp4" / "frame_2.png")
    assert abs(native.mean() - frames.samples[24].mean()) < 1, "resized, nothing else"
    assert [len(rows) for rows in sequence_rows(frames)] == [24] * 12


def test_preparing_twice_does_nothing_and_a_changed_frame_prepares_anew(config, frames, tmp_path):
    stamp = (frames.folder / "samples.npy").stat().st_mtime_ns
    assert prepare_frames(config, False, silent).fingerprint == frames.fingerprint
    assert (frames.folder / "samples.npy").stat().st_mtime_ns == stamp
    said = []
    prepare_frames(replace(config, size=48), False, said.append)
    assert any("preparing it again" in line for line in said)
    prepare_frames(config, False, silent)


def test_crops_are_native_pixels_of_the_marked_region(config):
    store = prepare_frames(config, True, silent)
    # A region of 48 x 40 px from (4, 4) holds one crop of 32 px.
    assert store.samples.shape == (12 * 24, 32, 32)
    native = read_png(config.data / "video 3.mp4" / "frame_5.png")
    at = next(i for i, row in enumerate(store.index)
              if row["file"] == "video 3.mp4" and row["frame"] == "5")  # fmt: skip
    np.testing.assert_array_equal(store.samples[at], native[4:36, 4:36])


@pytest.mark.parametrize("crops", [False, True])
def test_any_number_of_jobs_writes_the_same_frames_and_flow(config, tmp_path, crops):
    files = []
    for jobs in (1, 2):
        changed = replace(config, out=tmp_path / str(jobs), jobs=jobs, crops=crops)
        prepare_all(changed, silent)
        paths = sorted(changed.out.glob("stores/*/*"))
        files.append({str(p.relative_to(changed.out)): p.read_bytes() for p in paths})
    assert files[0] == files[1] and len(files[0]) == 2 * 4


@pytest.mark.parametrize(
    ("crops", "changes", "bytes_needed"),
    [
        (False, {}, 12 * 24 * 32 * 32),
        (False, {"size": 48, "control_frozen": True}, 2 * 12 * 24 * 48 * 48),
        (True, {}, 12 * 24 * 32 * 32),
    ],
)
def test_a_disk_too_small_for_the_store_is_refused_before_any_work(
    config, tmp_path, monkeypatch, crops, changes, bytes_needed
):
    disk = {"free": bytes_needed - 1}
    monkeypatch.setattr(
        "preprocessing.store.shutil.disk_usage", lambda _: SimpleNamespace(**disk)
    )
    changed = replace(config, out=tmp_path, **changes)
    with pytest.raises(InputError, match="the store needs about .* free some space"):
        prepare_frames(changed, crops, silent)
    assert not list(tmp_path.iterdir())
    disk["free"] = bytes_needed
    assert prepare_frames(changed, crops, silent).samples.nbytes == bytes_needed


def test_crops_need_a_marked_region(config, write_cohort, tmp_path):
    data = write_cohort(tmp_path / "data", present=3, absent=3, frames=4)
    (data / "video 2.mp4.roi.json").unlink()
    changed = replace(config, data=data, out=tmp_path / "out")
    with pytest.raises(InputError, match=r"video 2\.mp4: no region is marked.*mark_roi\.py"):
        prepare_frames(changed, True, silent)
    store = prepare_frames(replace(changed, skip_unusable=True), True, silent)
    (unused,) = [source for source in store.sources if source["used"] == "no"]
    assert unused["file"] == "video 2.mp4" and "no region is marked" in unused["reason"]


def test_flow_is_measured_between_the_frames_of_a_sequence(config, frames):
    flow = prepare_flow(config, frames, False, 1, silent)
    assert flow.samples.shape == (12 * 24, 32, 32, 2) and flow.samples.dtype == np.float16
    inner = flow.samples[:23, 8:-8, 8:-8].astype(float)
    # The speckle of video 0 moves 2 of 56 px to the left each frame: 1.14 of 32 px.
    assert np.median(inner[..., 0]) == pytest.approx(-2 * 32 / 56, abs=0.2)
    assert np.median(inner[..., 1]) == pytest.approx(0, abs=0.1)
    still = flow.samples[-24:-1, 8:-8, 8:-8].astype(float)
    assert np.abs(np.median(still[..., 0])) < 0.1, "video 11 stands still"
    assert not flow.samples[23].any(), "the last frame has none after it"
    two = prepare_flow(config, frames, False, 2, silent)
    assert np.median(two.samples[:22, 8:-8, 8:-8, 0]) == pytest.approx(-4 * 32 / 56, abs=0.3)
    assert not two.samples[22:24].any()


def test_raft_without_weights_is_refused_before_any_work(config, tmp_path):
    raft = replace(config, flow="raft-small", out=tmp_path)
    with pytest.raises(InputError, match="--flow raft-small needs --raft-weights.*--flow dis"):
        prepare_all(raft, silent)
    assert not list(tmp_path.iterdir())


def test_the_control_sets_each_sequence_beside_a_frozen_copy(config, tmp_path):
    control = replace(config, control_frozen=True, network=("cmwru",), out=tmp_path)
    store = prepare_frames(control, False, silent)
    assert len(sequence_rows(store)) == 24
    moving, frozen = (store.samples[start : start + 24].astype(float) for start in (0, 24))
    assert store.index[0]["class"] == "moving" and store.index[24]["class"] == "frozen"
    assert store.index[0]["label"] == "0" and store.index[24]["label"] == "1"
    for start in (0, 12):  # clips of 12 frames, each frozen by itself
        middle = moving[start + 6].ravel()
        means = [clip[start : start + 12].mean(axis=0).ravel() for clip in (moving, frozen)]
        likeness = [np.corrcoef(mean, middle)[0, 1] for mean in means]
        assert likeness[1] > 0.9 > likeness[0], "the copy flickers around one frame"
