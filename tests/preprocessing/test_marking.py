"""The marking tool, driven by mouse and key events on an Agg figure."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backend_bases import KeyEvent

from preprocessing import marking_session
from preprocessing.errors import InputError
from preprocessing.marking_files import CACHED_FRAMES, FrameReader
from preprocessing.marking_session import Session
from preprocessing.roi import load_regions, roi_path, save_regions
from preprocessing.video import probe, read_frames

LEFT, RIGHT = 1, 3
BOX = [(10, 12), (40, 12), (40, 30), (10, 30)]


def approx(region, corners):
    return np.allclose(region.polygon, corners, atol=0.6)


def test_rectangle_by_press_move_release(hand):
    hand.type("m")
    hand.drag((40, 30), (10, 12))
    (region,) = hand.on_disk(1)
    assert approx(region, BOX) and (region.first_frame, region.last_frame) == (0, 29)


def test_polygon_closed_on_its_first_corner(hand):
    for corner in BOX:
        hand.click(*corner)
    assert hand.on_disk(1) is None
    hand.click(*BOX[0])
    assert approx(hand.on_disk(1)[0], BOX)


@pytest.mark.parametrize("close", ["enter", "double click", "browser double click", "next video"])
def test_other_ways_to_close_a_polygon(hand, close):
    for corner in BOX:
        hand.click(*corner)
    if close == "enter":
        hand.type("enter")
    elif close == "double click":  # a window: the second press says that it is one
        hand.mouse("button_press_event", hand.pixel(*BOX[-1]), LEFT, dblclick=True)
        hand.mouse("button_release_event", hand.pixel(*BOX[-1]), LEFT)
    elif close == "browser double click":  # after both clicks, as its own message
        hand.click(10.1, 30.1)
        hand.marker._on_browser_double_click({})
    else:
        hand.type("n")
    (region,) = hand.on_disk(1)
    assert approx(region, BOX)


def test_corners_are_taken_back_while_drawing(hand):
    for corner in (*BOX[:3], (60, 3), (3, 3)):
        hand.click(*corner)
    hand.type("z")
    hand.click(3, 40, RIGHT)
    hand.type("control", "shift")  # no corner is lost to modifier keys
    hand.click(*BOX[3])
    hand.type("enter")
    assert approx(hand.on_disk(1)[0], BOX)
    hand.type("a", "enter")
    hand.click(5, 5)
    hand.type("enter")
    assert "at least 3 corners" in hand.marker.message and hand.marker.failed
    hand.type("escape")
    assert hand.marker._corners_drawn() == []


def test_drawing_goes_on_over_frames(hand):
    for corner in BOX:
        hand.click(*corner)
        hand.type("right")
    hand.type("enter")
    assert approx(hand.on_disk(1)[0], BOX) and hand.session.frame == 4


def test_corner_is_dragged_removed_and_region_moved(hand):
    hand.session.add(BOX)
    hand.marker.refresh()
    hand.drag((40, 30), (50, 40))
    assert approx(hand.on_disk(1)[0], [(10, 12), (40, 12), (50, 40), (10, 30)])
    hand.click(10, 30, RIGHT)
    assert approx(hand.on_disk(1)[0], [(10, 12), (40, 12), (50, 40)])
    hand.click(10, 12, RIGHT)  # a triangle keeps its corners
    assert len(hand.on_disk(1)[0].polygon) == 3
    shift = KeyEvent("key_press_event", hand.canvas, "shift", *hand.pixel(30, 20))
    hand.canvas.callbacks.process("key_press_event", shift)
    hand.drag((30, 20), (24, 20), key="shift")
    assert approx(hand.on_disk(1)[0], [(4, 12), (34, 12), (44, 40)])


def test_span_is_set_at_the_current_frame(hand):
    hand.session.add(BOX)
    hand.type("down", "b", "right", "right", "right", "e")
    (region,) = hand.on_disk(1)
    assert (region.first_frame, region.last_frame) == (10, 13)
    hand.type("home", "e")
    assert hand.marker.failed and hand.on_disk(1) == [region]
    hand.type("w")
    assert hand.on_disk(1)[0].last_frame == 29


def test_span_of_a_region_not_yet_drawn(hand):
    hand.type("down", "b", "down", "e", "m")
    hand.drag(BOX[0], BOX[2])
    assert [(r.first_frame, r.last_frame) for r in hand.on_disk(1)] == [(10, 20)]


def test_next_region_fills_the_frames_not_covered(hand):
    hand.type("m")
    hand.drag(BOX[0], BOX[2])
    hand.type("down", "e", "right", "a")
    hand.drag((30, 20), (60, 44))
    spans = [(r.first_frame, r.last_frame) for r in hand.on_disk(1)]
    assert spans == [(0, 10), (11, 29)]


def test_split_abuts_and_the_second_part_moves(hand):
    hand.session.add(BOX)
    hand.type("down", "x")
    hand.drag((40, 30), (50, 40))
    before, after = hand.on_disk(1)
    assert (before.first_frame, before.last_frame) == (0, 9)
    assert (after.first_frame, after.last_frame) == (10, 29)
    assert approx(before, BOX) and not approx(after, BOX)
    hand.type("home", "v", "x")  # at its first frame there is nothing to split
    assert hand.marker.failed and len(hand.on_disk(1)) == 2


def test_click_and_key_select_regions(hand):
    hand.session.add(BOX)
    hand.session.add([(45, 33), (60, 33), (60, 45), (45, 45)])
    hand.marker.refresh()
    hand.click(20, 20)
    assert hand.session.selected == 0
    hand.type("v")
    assert hand.session.selected == 1
    hand.type("d")
    assert len(hand.on_disk(1)) == 1 and approx(hand.on_disk(1)[0], BOX)


def test_undo_restores_each_step_down_to_unmarked(hand):
    hand.session.add(BOX)
    hand.type("down", "e", "d")
    assert hand.on_disk(1) is None
    hand.type("ctrl+z")
    assert hand.on_disk(1)[0].last_frame == 10
    hand.button("z")
    assert hand.on_disk(1)[0].last_frame == 29
    hand.type("z")
    assert hand.on_disk(1) is None and hand.session.marked == set()
    hand.type("z")
    assert "nothing to undo" in hand.marker.message


def test_copy_scales_to_the_next_video_and_clips_spans(hand):
    hand.session.add(BOX)
    hand.session.select(None)
    hand.type("home")
    hand.session.add(BOX)
    hand.type("right", "right", "e", "c")
    assert hand.session.index == 1
    copies = hand.on_disk(2)
    assert [approx(region, np.array(BOX) * 2) for region in copies] == [True, True]
    assert [(r.first_frame, r.last_frame) for r in copies] == [(0, 29), (0, 2)]
    hand.button("c")  # the third video is shorter: to the end stays to the end
    assert [(r.first_frame, r.last_frame) for r in hand.on_disk(3)] == [(0, 19), (0, 2)]
    hand.type("z")
    assert hand.on_disk(3) is None
    hand.type("p", "p", "c")
    assert "carries regions already" in hand.marker.message and hand.session.index == 0


def test_resumes_at_the_first_unmarked_video(hand, folder, open_tool):
    hand.session.add(BOX)
    hand.type("n", "s")  # the second one has nothing to mark
    assert hand.on_disk(2) == []
    hand.type("n", "q")
    again = open_tool(folder)
    assert again.session.index == 2
    assert again.marker.view._progress.get_text() == "2 of 3 marked"
    again.type("p", "p")
    assert again.session.index == 0 and approx(again.session.region, BOX)
    again.drag((40, 30), (50, 40))  # what was saved can be changed
    assert approx(again.on_disk(1)[0], [(10, 12), (40, 12), (50, 40), (10, 30)])
    again.type("p")
    assert "first video" in again.marker.message


def test_frames_by_keys_wheel_slider_and_timeline(hand):
    hand.type("right", "right", "left")
    assert hand.session.frame == 1
    hand.mouse("scroll_event", hand.pixel(5, 5), step=-1)
    assert hand.session.frame == 2
    hand.type("end", "right")
    assert hand.session.frame == 29
    timeline = hand.marker.view.timeline
    for axes, frame in ((timeline.slider.ax, 8), (timeline.axes, 20)):
        at = axes.transData.transform((frame, 0.5))
        hand.press(at)
        hand.mouse("button_release_event", at, LEFT)
        assert hand.session.frame == frame
    shown = hand.marker.view._image.get_array()
    assert np.array_equal(shown, hand.session.picture())


def test_matplotlibs_own_keys_are_gone(hand, monkeypatch):
    monkeypatch.setattr(plt, "close", lambda *_: pytest.fail("q closed the figure"))
    monkeypatch.setattr(hand.canvas.manager, "full_screen_toggle", lambda: pytest.fail("f"))
    hand.type("q", "f", "s", "o", "p", "g", "l")
    assert hand.marker.view.picture.get_yscale() == "linear"
    monkeypatch.undo()


def test_tiny_regions_are_refused_and_corners_stay_in_the_frame(hand):
    with pytest.raises(InputError, match="too small"):
        hand.session.add([(1, 1), (3, 1), (3, 3)])
    hand.session.add([(-9, -9), (90, 0), (90, 60)])
    assert hand.on_disk(1)[0].polygon == ((0, 0), (64, 0), (64, 48))


def test_what_cannot_be_saved_is_kept_and_told(hand, folder, monkeypatch, tmp_path):
    def refuse(video, info, regions, roi_dir=None):
        if roi_dir is None:
            raise InputError(f"{roi_path(video)}: cannot be written (Read-only file system)")
        return save_regions(video, info, regions, roi_dir)

    monkeypatch.setattr(marking_session, "save_regions", refuse)
    monkeypatch.setattr(marking_session.tempfile, "tempdir", str(tmp_path))
    hand.type("m")
    hand.drag(BOX[0], BOX[2])
    assert "Read-only" in hand.marker.message and hand.marker.failed
    hand.type("n", "p")
    assert approx(hand.session.region, BOX)  # still there
    with pytest.raises(InputError, match="kept in") as caught:
        hand.marker.close()
    refuge = Path(re.search("kept in (.*)", str(caught.value))[1])
    video = folder / "p001.mp4"
    assert approx(load_regions(video, probe(video), refuge)[0], BOX)


def test_broken_videos_and_marks_are_skipped_and_left_alone(folder, open_tool):
    (folder / "p000.mp4").write_bytes(b"not a video")
    roi_path(folder / "p002.mp4").write_text("{broken")
    hand = open_tool(folder)
    assert hand.session.index == 1 and hand.marker.failed and "p000.mp4" in hand.marker.message
    hand.type("n")
    assert hand.session.index == 3 and "p002.mp4.roi.json" in hand.marker.message
    assert roi_path(folder / "p002.mp4").read_text() == "{broken"


def test_same_names_need_their_own_roi_dir(tmp_path, make_clip):
    videos = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        videos.append(make_clip(tmp_path / name / "clip.mp4", 3))
    Session(videos)
    with pytest.raises(InputError, match="share a region file"):
        Session(videos, tmp_path / "marks")


def test_frames_are_exact_and_few_are_held(tmp_path, make_clip):
    video = make_clip(tmp_path / "long.mp4", 3 * CACHED_FRAMES)
    truth, reader = list(read_frames(video)), FrameReader(video)
    assert reader.count == len(truth)
    for index in (0, 150, 149, 10, 191, 191, 100):
        assert np.array_equal(reader.frame(index), truth[index])
        assert len(reader._cache) <= CACHED_FRAMES
