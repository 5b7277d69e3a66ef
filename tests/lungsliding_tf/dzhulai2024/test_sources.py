"""Both forms of a data folder, and what is wrong with bad ones."""

import json

import numpy as np
import pytest

from lungsliding_tf.dzhulai2024.sources import read_sources, read_stretches
from preprocessing.errors import InputError
from preprocessing.video import write_mp4

ENTRY = {"video_name": "a.mp4", "video_class": "ls_a", "cut_interval": [[1, 3], [5, 9]]}


def test_the_released_form_is_read(tmp_path, write_video, write_list):
    write_video(tmp_path, "a.mp4", absent=True, frames=9)
    write_video(tmp_path, "b.mp4", absent=False, frames=4, seed=1)
    no_patient = {**ENTRY, "patient_id": None}
    other = {"video_name": "b.mp4", "video_class": "ls_p", "cut_interval": [[0, 4]],
             "patient_id": 7, "phantom": True}  # fmt: skip
    one, two = read_sources(write_list(tmp_path, [no_patient, other]))
    assert (one.file, one.label, one.patient, one.is_phantom) == ("a.mp4", 1, "", False)
    assert (two.file, two.label, two.patient, two.is_phantom) == ("b.mp4", 0, "7", True)
    numbered = [{**no_patient, "patient_id": 0}, {**other, "patient_id": " p 1 "}]
    assert [v.patient for v in read_sources(write_list(tmp_path, numbered))] == ["0", "p 1"]
    stretches = [(first, len(list(frames))) for first, frames in read_stretches(one)]
    assert stretches == [(1, 2), (5, 4)], "the end of an interval is not a part of it"


def test_labels_csv_is_read_with_absence_as_the_positive_class(tmp_path, write_video):
    rows = ["file,patient_group,lung_sliding"]
    for name, sliding in (("a", "absent"), ("b", "present"), ("c", "not_stated")):
        write_video(tmp_path, name, absent=sliding == "absent", frames=3)
        rows.append(f"{name},p{name},{sliding}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert [one.label for one in read_sources(tmp_path)] == [1, 0, -1]
    ((first, frames),) = read_stretches(read_sources(tmp_path)[0])
    assert (first, len(list(frames))) == (0, 3)


def test_a_video_file_is_cut_by_position(tmp_path, write_list):
    gray = [np.full((32, 32), 20 * n, np.uint8) for n in range(10)]
    write_mp4(tmp_path / "a.mp4", iter(gray))
    (source,) = read_sources(write_list(tmp_path, [ENTRY]))
    levels = [[frame.mean() for frame in frames] for _, frames in read_stretches(source)]
    assert np.allclose(levels[0], [20, 40], atol=4)
    assert np.allclose(levels[1], [100, 120, 140, 160], atol=4)
    longer = {**ENTRY, "cut_interval": [[5, 30]]}
    (source,) = read_sources(write_list(tmp_path, [longer]))
    with pytest.raises(InputError, match="ends before frame 30"):
        [list(frames) for _, frames in read_stretches(source)]


def test_missing_and_odd_frames_are_named(tmp_path, write_video, write_list):
    write_video(tmp_path, "a.mp4", absent=True, frames=9)
    (source,) = read_sources(write_list(tmp_path, [ENTRY]))
    frame = tmp_path / "a.mp4" / "frame_6.png"
    whole = frame.read_bytes()
    frame.unlink()
    with pytest.raises(InputError, match=r"frame_6\.png: is missing.*cuts frames 5 to 8"):
        [list(frames) for _, frames in read_stretches(source)]
    write_video(tmp_path, "small", absent=True, frames=7, width=40)
    frame.write_bytes((tmp_path / "small" / "frame_6.png").read_bytes())
    with pytest.raises(InputError, match=r"frame_6\.png: has another size"):
        [list(frames) for _, frames in read_stretches(source)]
    frame.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match=r"frame_6\.png"):
        [list(frames) for _, frames in read_stretches(source)]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "expected a list of videos"),
        ({"video_name": "a.mp4"}, "expected a list of videos"),
        ([{**ENTRY, "video_class": "absent"}], "entry 1: is malformed.*ls_p or ls_a"),
        ([{**ENTRY, "cut_interval": [[9, 9]]}], "an end before its start"),
        ([{**ENTRY, "cut_interval": []}], "no interval"),
        ([{**ENTRY, "cut_interval": [[0, float("inf")]]}], "something else than whole numbers"),
        ([{**ENTRY, "cut_interval": [[0.9, 50.7]]}], "something else than whole numbers"),
        ([{**ENTRY, "cut_interval": [[0, 50], [20, 60]]}], "overlap"),
        ([{**ENTRY, "video_name": "gone.mp4"}], "gone.mp4 does not exist"),
        ([{**ENTRY, "video_name": "../a.mp4"}], "lies outside"),
        ([ENTRY, ENTRY], "names a.mp4 twice"),
        ([{"video_name": "a.mp4"}], "entry 1: is malformed"),
        (["a.mp4"], "entry 1: is malformed"),
        ([{**ENTRY, "patient_id": True}], "entry 1: patient_id is true; expected text or a whole"),
        ([{**ENTRY, "patient_id": 7.5}], "entry 1: patient_id is 7.5; expected text or a whole"),
        ([{**ENTRY, "patient_id": ["p1"]}], r"patient_id is \[.p1.\]; expected text or a whole"),
    ],
)
def test_bad_lists_are_refused_in_one_line(tmp_path, entries, message, write_video, write_list):
    write_video(tmp_path, "a.mp4", absent=True, frames=1)
    with pytest.raises(InputError, match=message) as error:
        read_sources(write_list(tmp_path, entries))
    assert "\n" not in str(error.value)


def test_no_list_and_no_json(tmp_path):
    with pytest.raises(InputError, match="neither sliding_metafile.json"):
        read_sources(tmp_path)
    (tmp_path / "sliding_metafile.json").write_text("[{")
    with pytest.raises(InputError, match="is not a JSON file"):
        read_sources(tmp_path)


def test_a_patient_of_both_classes_has_to_be_allowed(tmp_path, write_video, write_list):
    for name in "ab":
        write_video(tmp_path, name, absent=True, frames=1)
    entries = [
        {"video_name": name, "video_class": kind, "cut_interval": [[0, 1]], "patient_id": "p"}
        for name, kind in (("a", "ls_a"), ("b", "ls_p"))
    ]
    write_list(tmp_path, entries)
    with pytest.raises(InputError, match="patient p has videos of both classes"):
        read_sources(tmp_path)
    assert len(read_sources(tmp_path, allow_mixed_patients=True)) == 2
    assert json.loads((tmp_path / "sliding_metafile.json").read_text()) == entries
