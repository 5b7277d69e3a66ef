"""Regions on disk: what is written comes back, what does not fit the video is refused."""

import json
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from preprocessing.roi import (
    Region,
    import_cvat,
    import_rectangles,
    load_regions,
    roi_path,
    save_regions,
)
from preprocessing.video import VideoInfo, probe, write_mp4

TRIANGLE = ((10.0, 20.0), (50.5, 20.0), (50.5, 45.25))


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "p001.mp4"
    write_mp4(path, (np.full((48, 64), 8 * i, np.uint8) for i in range(20)))
    return path


@pytest.fixture
def info(video):
    return probe(video)


def test_round_trip_and_exact_format(video, info):
    regions = [Region(TRIANGLE, 0, 9), Region(TRIANGLE, 10, 19, "pleura")]
    path = save_regions(video, info, regions)
    assert path == video.with_name("p001.mp4.roi.json") == roi_path(video)
    assert load_regions(video, info) == regions
    assert json.loads(path.read_text()) == {
        "format": "lung-roi",
        "version": 1,
        "video": "p001.mp4",
        "width": 64,
        "height": 48,
        "frames": 20,
        "fps": 30.0,
        "regions": [
            {
                "label": label,
                "first_frame": first,
                "last_frame": last,
                "polygon": [list(corner) for corner in TRIANGLE],
            }
            for label, first, last in (("lung", 0, 9), ("pleura", 10, 19))
        ],
    }
    assert [p.name for p in video.parent.iterdir() if "partial" in p.name] == []


def test_not_marked_is_none_and_nothing_to_mark_is_empty(video, info):
    assert load_regions(video, info) is None
    save_regions(video, info, [])
    assert load_regions(video, info) == []


def test_roi_dir_and_frame_folders(video, info, tmp_path, monkeypatch):
    elsewhere = tmp_path / "made" / "here"
    assert save_regions(video, info, [], elsewhere) == elsewhere / "p001.mp4.roi.json"
    assert load_regions(video, info) is None and load_regions(video, info, elsewhere) == []
    folder = tmp_path / "scan7"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((48, 64), np.uint8))
    assert roi_path(folder) == tmp_path / "scan7.roi.json"
    monkeypatch.chdir(folder)
    assert roi_path(type(folder)(".")) == tmp_path / "scan7.roi.json"


def test_renamed_video_keeps_its_marks(video, info):
    path = save_regions(video, info, [Region(TRIANGLE, 0, 19)])
    renamed = video.with_name("patient7.mp4")
    video.rename(renamed)
    path.rename(roi_path(renamed))
    assert load_regions(renamed, probe(renamed)) == [Region(TRIANGLE, 0, 19)]


def test_header_may_err_by_two_frames(video, info):
    save_regions(video, info, [Region(TRIANGLE, 0, 21)])
    assert load_regions(video, info)[0].last_frame == 21
    assert load_regions(video, replace(info, declared_frames=21))[0].last_frame == 21


@pytest.mark.parametrize(
    "region, message",
    [
        (Region(TRIANGLE[:2], 0, 5), "at least 3"),
        (Region(((1, 1), (5, 5), (9, 9)), 0, 5), "no area"),
        (Region(((1, 1), (65, 5), (9, 9)), 0, 5), "outside the 64x48 frame"),
        (Region(TRIANGLE, 5, 4), "before it begins"),
        (Region(TRIANGLE, -1, 4), "there are 0 to 19"),
        (Region(TRIANGLE, 0, 22), "there are 0 to 19"),
    ],
)
def test_regions_that_do_not_fit_are_refused(video, info, region, message):
    with pytest.raises(InputError, match=message):
        save_regions(video, info, [region])
    assert not roi_path(video).exists()


def _damage(**changes):
    return lambda document: json.dumps(document | changes)


def _damage_region(**changes):
    def edit(document):
        document["regions"][0] |= changes
        return json.dumps(document)

    return edit


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda document: "{half a fi", "is not JSON"),
        (lambda document: "[]", "not a region file"),
        (_damage(format="coco"), "not a region file"),
        (_damage(version=2), "version 2"),
        (_damage(width=640), "640x48"),
        (_damage(frames=300, video="p009.mp4"), "300 frames .p009.mp4"),
        (_damage(frames=None), "None frames"),
        (_damage(regions={}), "no list"),
        (_damage(regions=[7]), "region 1 is malformed"),
        (_damage_region(polygon=[[1, 2], [3]]), "region 1 is malformed"),
        (_damage_region(polygon=[[1, 2], [3, float("nan")], [5, 9]]), "not a finite number"),
        (_damage_region(first_frame=1.5), "whole numbers"),
        (_damage_region(label=None), "label is text"),
        (_damage_region(last_frame=40), "spans frames 0 to 40"),
        (_damage_region(polygon=[[1, 2], [3, 4]]), "at least 3"),
    ],
)
def test_damaged_files_are_named_in_one_line(video, info, edit, message):
    path = save_regions(video, info, [Region(TRIANGLE, 0, 19)])
    path.write_text(edit(json.loads(path.read_text())))
    with pytest.raises(InputError, match=message) as caught:
        load_regions(video, info)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_unwritable_place_is_an_input_error_and_keeps_the_old_file(video, info, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(InputError, match="--roi-dir"):
        save_regions(video, info, [Region(TRIANGLE, 0, 1)], in_the_way)
    if os.geteuid() != 0:  # root may write anywhere
        video.parent.chmod(0o500)
        with pytest.raises(InputError, match="--roi-dir"):
            save_regions(video, info, [Region(TRIANGLE, 0, 1)])
        video.parent.chmod(0o700)


def test_rectangles_from_csv(video, tmp_path):
    table = tmp_path / "marks.csv"
    table.write_text(
        "\ufefffile,x,y,width,height,first_frame,last_frame\n"
        "p001.mp4,10,5,20,30.5,,\np001.mp4, 12,5,20,30,5,9\n"
    )
    whole = ((10, 5), (30, 5), (30, 35.5), (10, 35.5))
    part = ((12, 5), (32, 5), (32, 35), (12, 35))
    assert import_rectangles(table, tmp_path) == {video: [Region(whole, 0, 19), Region(part, 5, 9)]}
    table.write_text("file;x;y;width;height\np001.mp4;10,0;5;20;30,5\n")
    assert import_rectangles(table, tmp_path) == {video: [Region(whole, 0, 19)]}


@pytest.mark.parametrize(
    "text, message",
    [
        ("file,x,y,width\n", "lacks the column height"),
        ("", "lacks the column"),
        ("file,x,y,width,height\n", "no rectangle"),
        ("file,x,y,width,height\np002.mp4,1,1,5,5\n", "line 2: 'p002.mp4' is none of the files in"),
        ("file,x,y,width,height\nb/p001.mp4,1,1,5,5\n", "line 2: 'b/p001.mp4' is none of"),
        ("file,x,y,width,height\np001.mp4,1,one,5,5\n", "line 2.*numbers"),
        ("file,x,y,width,height\np001.mp4,1,1\n", "line 2.*numbers"),
        ("file,x,y,width,height\np001.mp4,1,1,0,5\n", "above 0"),
        ("file,x,y,width,height\np001.mp4,1,nan,5,5\n", "outside the 64x48"),
        ("file,x,y,width,height\np001.mp4,60,1,5,5\n", "line 2: lies outside"),
        ("file,x,y,width,height,first_frame\np001.mp4,1,1,5,5,90\n", "before it begins"),
    ],
)
def test_wrong_tables_are_refused(video, tmp_path, text, message):
    table = tmp_path / "marks.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        import_rectangles(table, tmp_path)


def test_one_name_in_two_folders_needs_its_path(video, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(video.read_bytes())
    table = tmp_path / "marks.csv"
    table.write_text("file,x,y,width,height\nclip.mp4,1,1,5,5\n")
    with pytest.raises(InputError, match="ambiguous"):
        import_rectangles(table, tmp_path)
    table.write_text("file,x,y,width,height\nb/clip.mp4,1,1,5,5\n")
    assert list(import_rectangles(table, tmp_path)) == [tmp_path / "b" / "clip.mp4"]


# ---------------------------------------------------------------------------------- CVAT

INFO = VideoInfo(None, 100, 80, 30.0, 60)


def _box(frame, label, x0, y0, x1, y1, **more):
    points = [x0, y0, x1, y0, x1, y1, x0, y1]
    return {"type": "polygon", "frame": frame, "label": label, "points": points, **more}


def _export(tmp_path, shapes, tracks=()):
    path = tmp_path / "annotations.json"
    document = [{"version": 3, "tags": [], "shapes": shapes, "tracks": list(tracks)}]
    path.write_text(json.dumps(document))
    return path


def _spans(regions):
    return [(region.first_frame, region.last_frame) for region in regions]


def _bounds(region):
    corners = np.array(region.polygon)
    return tuple(corners.min(axis=0)) + tuple(corners.max(axis=0))


def test_cvat_steady_annotations_make_one_region_over_the_whole_video(tmp_path):
    shapes = [_box(f, "lungslidingpresent", 20 + f % 3, 20, 60, 30) for f in (2, 10, 20, 30)]
    shapes += [_box(f, "aline", 25, 50, 55, 55) for f in (4, 22)] + [_box(0, "rib", 0, 0, 9, 9)]
    (region,) = import_cvat(_export(tmp_path, shapes), INFO)
    assert _spans([region]) == [(0, 59)] and _bounds(region) == (20, 20, 60, 55)


def test_cvat_move_begins_a_new_region_that_abuts(tmp_path):
    shapes = [_box(0, "lung", 10, 10, 30, 40), _box(25, "lung", 60, 10, 80, 40)]
    regions = import_cvat(_export(tmp_path, shapes), INFO)
    assert _spans(regions) == [(0, 24), (25, 59)]
    assert [_bounds(region)[0] for region in regions] == [10, 60]


def test_cvat_slow_drift_is_measured_from_the_first_frame_of_the_run(tmp_path):
    shapes = [_box(6 * i, "lung", 2 * i, 10, 20 + 2 * i, 40) for i in range(10)]
    assert _spans(import_cvat(_export(tmp_path, shapes), INFO)) == [(0, 23), (24, 47), (48, 59)]


def test_cvat_tracks_hold_from_their_first_frame_until_outside(tmp_path):
    shapes = [_box(10, None, 10, 10, 30, 40), _box(40, None, 10, 10, 30, 40, outside=True)]
    track = {"label": "lung", "frame": 10, "shapes": shapes}
    assert _spans(import_cvat(_export(tmp_path, [], [track]), INFO)) == [(10, 39)]


def test_cvat_labels_and_rectangles(tmp_path):
    shape = {"type": "rectangle", "frame": 3, "label": "roi", "points": [5, 6, 25, 101]}
    path = _export(tmp_path, [shape])
    with pytest.raises(InputError, match="it has: roi"):
        import_cvat(path, INFO)
    (region,) = import_cvat(path, INFO, ("roi",))
    assert _bounds(region) == (5, 6, 25, 80)  # clipped to the frame


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([_box(60, "lung", 1, 1, 9, 9)], "annotates frame 60"),
        ([_box(0, "lung", 1, 1, 9, 9) | {"type": "mask"}], "holds a mask"),
        ([_box(0, "lung", 1, 1, 9, 9, rotation=12.0)], "rotated"),
        ([{"label": "lung"}], "not a CVAT task export"),
        ([], "it has: none"),
    ],
)
def test_cvat_exports_that_cannot_be_used_are_refused(tmp_path, shapes, message):
    with pytest.raises(InputError, match=message):
        import_cvat(_export(tmp_path, shapes), INFO)


@pytest.mark.parametrize("text", ["{}", "[3]", "null", "<xml>"])
def test_cvat_other_files_are_refused(tmp_path, text):
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(InputError, match="annotations.json"):
        import_cvat(path, INFO)
