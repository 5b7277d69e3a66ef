"""Clips, parts, class ratios and what an epoch shows."""

from dataclasses import replace

import numpy as np
import pytest

from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
from lungsliding_tf.dzhulai2024.data import prepare_all
from lungsliding_tf.dzhulai2024.experiments import EXPERIMENTS, plan, published_config
from lungsliding_tf.dzhulai2024.split import LEFT_OUT, _check_parts, equalise_ratios, split_clips
from preprocessing import splits
from preprocessing.errors import InputError


def silent(line):
    """For those who say what they do."""


@pytest.fixture(scope="module")
def config(cohort, tmp_path_factory):
    """Small networks' settings on the small cohort."""
    return DzhulaiConfig(
        cohort, tmp_path_factory.mktemp("out"), network=("cmwru",), size=32, frames=12,
        equal_ratios=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stores(config):
    """The store of whole frames."""
    return prepare_all(config, silent)


def test_clips_do_not_overlap_and_patients_stay_together(config, stores):
    (one,) = plan(config)
    clips = split_clips(one, stores, seed=0)
    assert len(clips.starts) == 24, "two clips of 12 frames in each stretch of 24"
    np.testing.assert_array_equal(clips.starts[:3], [0, 12, 24])
    for patient in np.unique(clips.patients):
        assert np.unique(clips.parts[clips.patients == patient]).size == 1
    patients = {part: np.unique(clips.patients[clips.of(part)]).size
                for part in (splits.TRAIN, splits.VAL, splits.TEST)}  # fmt: skip
    assert patients == {"train": 6, "val": 3, "test": 3}, "60:20:20 of 8 and of 4"
    assert not clips.leaky
    train = np.concatenate([stores[False, 0].samples[s : s + 12].ravel() for s in
                            clips.starts[clips.of(splits.TRAIN)]]).astype(float)  # fmt: skip
    assert clips.mean == pytest.approx(train.mean()) and clips.deviation == pytest.approx(
        train.std()
    )


def test_a_list_without_patients_needs_the_released_split(config, write_cohort, tmp_path):
    data = write_cohort(tmp_path / "data", frames=14, patients=False)
    changed = replace(config, data=data, out=tmp_path / "out")
    stores = prepare_all(changed, silent)
    with pytest.raises(InputError, match="names no patient.*--split released-videos"):
        split_clips(plan(changed)[0], stores, seed=0)
    released = replace(changed, split="released-videos")
    (one,) = plan(released)
    assert one.name == "cmwru-released_videos"
    clips = split_clips(one, stores, seed=0)
    assert np.unique(clips.files[clips.of(splits.TRAIN)]).size == 6


def test_the_released_split_is_marked_where_it_leaks(config, write_cohort, tmp_path):
    data = write_cohort(tmp_path / "data", frames=14)
    listed = (data / "sliding_metafile.json").read_text()
    for number in range(1, 8):
        listed = listed.replace(f'"patient_id": "p{number}"', '"patient_id": "p0"')
    (data / "sliding_metafile.json").write_text(listed)
    released = replace(config, data=data, out=tmp_path / "out", split="released-videos")
    clips = split_clips(plan(released)[0], prepare_all(released, silent), seed=0)
    assert clips.leaky and clips.describe().startswith("LEAKY")


def test_ratios_are_made_equal_by_dropping_the_present_class_alone():
    labels = np.repeat([0, 1, 0, 1, 0, 1], [60, 10, 30, 10, 21, 6])
    parts = np.repeat(["train", "train", "val", "val", "test", "test"], [60, 10, 30, 10, 21, 6])
    kept = equalise_ratios(parts, labels, seed=0)
    counts = {part: np.bincount(labels[kept == part]) for part in ("train", "val", "test")}
    assert counts["train"].tolist() == [30, 10]
    assert counts["val"].tolist() == [30, 10]
    assert counts["test"].tolist() == [18, 6]
    assert np.all(labels[kept == LEFT_OUT] == 0)
    assert not np.array_equal(kept, equalise_ratios(parts, labels, seed=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 25}, "no clip of 25 frames fits into any stretch, the longest has 24"),
        ({"frames": 60}, "ask for fewer frames"),
    ],
)
def test_clips_longer_than_all_stretches(config, stores, changes, message):
    with pytest.raises(InputError, match=message):
        split_clips(plan(replace(config, **changes))[0], stores, seed=0)


def test_a_single_class_is_refused(config, write_cohort, tmp_path):
    data = write_cohort(tmp_path / "data", present=6, absent=2, frames=14)
    changed = replace(config, data=data, out=tmp_path / "out")
    with pytest.raises(InputError, match="of 2 patients with sliding absent, training needs 3"):
        split_clips(plan(changed)[0], prepare_all(changed, silent), seed=0)


def test_a_part_without_a_class_is_refused(config, write_cohort, tmp_path):
    """Patients with both classes are stratified by the first, so a part may end without one."""
    data = write_cohort(tmp_path / "data", present=3, absent=3, frames=14)
    listed = (data / "sliding_metafile.json").read_text()
    for number in range(3):
        listed = listed.replace(f'"patient_id": "p{number + 3}"', f'"patient_id": "p{number}"')
    (data / "sliding_metafile.json").write_text(listed)
    mixed = replace(config, data=data, out=tmp_path / "out", allow_mixed_patients=True)
    clips = split_clips(plan(mixed)[0], prepare_all(mixed, silent), seed=0)
    assert set(clips.parts) == {"train", "val", "test"}
    parts, labels = np.array(["train", "train", "val", "test"]), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="the val part has no clip with sliding absent"):
        _check_parts(clips.frames, parts, labels)


def test_dropping_for_equal_ratios_may_not_empty_a_part(config, write_cohort, tmp_path):
    data = write_cohort(tmp_path / "data", present=3, absent=9, frames=14)
    equal = replace(config, data=data, out=tmp_path / "out", equal_ratios=True)
    with pytest.raises(InputError, match="no clip with sliding present.*--no-equal-ratios"):
        split_clips(plan(equal)[0], prepare_all(equal, silent), seed=0)


def test_the_control_freezes_clips_of_one_length_alone(config):
    with pytest.raises(InputError, match="--control-frozen.*equal --frames"):
        replace(config, control_frozen=True, network=("cmwru", "rcm2d"), rcm2d_frames=14)


def test_every_experiment_is_planned_under_a_name_of_its_own(config):
    everything = replace(config, experiment=tuple(EXPERIMENTS), network=("rcm2d", "cmwra", "cmwru"))
    planned = plan(everything)
    names = [one.name for one in planned]
    assert len(set(names)) == len(names) == 30
    by_name = {one.name: one for one in planned}
    assert by_name["cmwru-dropout_0.6"].config.dropout == 0.6
    assert by_name["cmwru-dropout_0.6"].part == "val" and by_name["cmwru-final"].part == "test"
    assert by_name["cmwru-batch_size_5"].part == "val" and by_name["rcm2d"].part == "test"
    assert by_name["cmwru-final"].fits_val
    assert by_name["cmwra-flow_step_3-raft-large-crops"].flow_step == 3
    for one in planned:
        assert published_config(one).frames_of(one.network) >= 30, "the paper's, not the small one"
