import numpy as np

from preprocessing import mmode
from preprocessing.clips import Clip, ClipCount
from preprocessing.roi import Region
from preprocessing.video import probe

SQUARE = ((100.0, 80.0), (180.0, 80.0), (180.0, 280.0), (100.0, 280.0))


def test_an_mmode_image_is_one_column_over_time():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (64, 480, 640), np.uint8)
    clip = Clip(0, 0, np.arange(64), frames)
    m = mmode.cut_mmode(clip, x=120, top=80, bottom=208, height=128)
    assert m.image.shape == (128, 64) and m.image.dtype == np.uint8
    assert np.array_equal(m.image, frames[:, 80:208, 120].T)


def test_columns_are_spread_through_the_region_and_full_height():
    found = mmode.region_columns(np.array(SQUARE), 8)
    assert [x for x, _, _ in found] == [105, 115, 125, 135, 145, 155, 165, 175]
    assert {(top, bottom) for _, top, bottom in found} == {(80, 280)}
    triangle = np.array([[100, 100], [300, 100], [300, 300]], float)
    shortest = min(bottom - top for _, top, bottom in mmode.region_columns(triangle, 8))
    assert shortest >= 0.6 * 199


def test_windows_come_from_the_unified_video_not_from_60_frame_clips(tmp_path, make_video):
    frames = np.broadcast_to(np.arange(130, dtype=np.uint8)[:, None, None] + 50, (130, 480, 640))
    info = probe(make_video(tmp_path / "v.avi", frames, 30.0, "MJPG"))
    images = list(mmode.read_mmode(info, [Region(SQUARE, 0, 129)], False, ClipCount(), columns=3))
    assert [clip.start for clip, _, _ in images] == [0, 0, 0, 64, 64, 64]
    image = images[3][2].image
    assert image.shape == (128, 64)
    # Time runs to the right; the next image's frame 64 follows frame 63 of the first without a gap.
    assert np.allclose(image.mean(axis=0), np.arange(64, 128) + 50, atol=3)
