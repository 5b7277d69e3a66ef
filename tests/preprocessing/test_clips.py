import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import clips
from preprocessing.clips import TILE_SETS, ClipCount, TileSet, tile_grid
from preprocessing.roi import Region
from preprocessing.video import probe


def rectangle(x, y, width, height):
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


def test_the_six_data_sets_have_the_papers_names():
    assert set(TILE_SETS) == {
        "2_30x30", "all_30x30", "2_60x60", "all_60x60", "2_90x90", "all_90x90",
    }  # fmt: skip


@pytest.mark.parametrize(("px", "columns", "rows"), [(30, 6, 9), (60, 3, 4), (90, 2, 3)])
def test_grid_fills_a_rectangle_without_losing_a_pixel(px, columns, rows):
    polygon = rectangle(100, 50, 180, 270)
    tiles = tile_grid(polygon, TileSet(px, None))
    assert len(tiles) == columns * rows
    assert (tiles[0].x, tiles[0].y) == (100, 50)
    top = tile_grid(polygon, TileSet(px, 2))
    assert len(top) == 2 * columns
    assert max(t.y for t in top) == 50 + px


@given(
    corners=st.lists(
        st.tuples(st.floats(0, 640), st.floats(0, 480)), min_size=3, max_size=7, unique=True
    ),
    px=st.sampled_from([30, 60]),
)
@settings(max_examples=60, deadline=None)
def test_tiles_never_overlap_and_lie_in_frame_and_region(corners, px):
    polygon = np.array(corners)
    painted = np.zeros((480, 640), int)
    inside = clips.polygon_mask(polygon)
    for tile in tile_grid(polygon, TileSet(px, None)):
        assert 0 <= tile.x <= 640 - px and 0 <= tile.y <= 480 - px
        painted[tile.y : tile.y + px, tile.x : tile.x + px] += 1
    assert painted.max(initial=0) <= 1
    assert not (painted.astype(bool) & ~inside).any()


def test_top_rows_follow_a_tilted_pleura():
    tilted = np.array([[100, 100], [220, 160], [220, 400], [100, 400]], float)
    tiles = tile_grid(tilted, TileSet(30, 2))
    tops = {column: min(t.y for t in tiles if t.column == column) for column in range(4)}
    assert tops == {0: 130, 1: 130, 2: 160, 3: 160}  # the grid starts at the top of the region
    assert all(sum(t.column == c for t in tiles) == 2 for c in range(4))


def test_a_region_smaller_than_a_tile_gives_none():
    assert tile_grid(rectangle(10, 10, 200, 29), TileSet(30, None)) == []
    assert tile_grid(rectangle(630, 470, 200, 200), TileSet(30, None)) == []


def numbered_video(tmp_path, make_video, frames, black=0):
    pictures = np.full((frames, 48, 64), 100, np.uint8)
    pictures[:black] = 0
    return probe(make_video(tmp_path / "v.avi", pictures, 30.0, "MJPG"))


@pytest.mark.parametrize(
    ("frames", "black", "expected", "dropped"), [(150, 0, 2, 30), (62, 2, 1, 0), (61, 2, 0, 59)]
)
def test_clips_skip_black_lead_in_and_drop_the_rest(
    tmp_path, make_video, frames, black, expected, dropped
):
    count = ClipCount()
    info = numbered_video(tmp_path, make_video, frames, black)
    found = [(c.start, c.native.copy()) for c in clips.read_clips(info, False, count)]
    assert len(found) == expected
    assert (count.clips, count.lead_in_frames, count.dropped_frames) == (expected, black, dropped)
    for number, (start, native) in enumerate(found):
        assert start == black + 60 * number
        assert native.tolist() == list(range(start, start + 60))


def test_a_region_serves_only_clips_that_it_covers_wholly(tmp_path, make_video):
    info = numbered_video(tmp_path, make_video, 180)
    corners = ((0.0, 0.0), (64.0, 0.0), (64.0, 48.0))
    first, late = Region(corners, 0, 119), Region(corners, 61, 179)
    served = [clips.covering([first, late], c) for c in clips.read_clips(info, False, ClipCount())]
    assert served == [[first], [first], [late]]


def test_flat_tiles_are_told_from_dark_tissue():
    rng = np.random.default_rng(0)
    letterbox = np.zeros((60, 30, 30), np.uint8)
    coded = letterbox + (rng.random(letterbox.shape) < 0.02).astype(np.uint8)  # codec traces
    tissue = rng.integers(0, 8, letterbox.shape, np.uint8)
    assert clips.is_flat(letterbox) and clips.is_flat(coded)
    assert not clips.is_flat(tissue)


def test_spread_keeps_first_and_last():
    tiles = tile_grid(rectangle(0, 0, 300, 300), TileSet(30, None))
    chosen = clips.spread(tiles, 7)
    assert len(chosen) == len(set(chosen)) == 7
    assert (chosen[0], chosen[-1]) == (tiles[0], tiles[-1])
    assert clips.spread(tiles, None) == tiles
