import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from preprocessing import video
from preprocessing.errors import InputError


def counting_frames(count, height=48, width=64):
    """Frames that tell their number by their gray value, 20 apart in steps of 3."""
    return np.stack([np.full((height, width), 20 + 3 * i % 220, np.uint8) for i in range(count)])


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "mp4v"), (".avi", "MJPG"), (".mov", "mp4v"), (".mpeg", "PIM1")]
)
def test_reads_every_container(tmp_path, make_video, suffix, codec):
    frames = counting_frames(20)
    path = make_video(tmp_path / f"clip{suffix}", frames, 25.0, codec)
    read = list(video.read_frames(path))
    assert len(read) == 20
    assert all(f.dtype == np.uint8 and f.shape == (48, 64) for f in read)
    assert np.allclose([f.mean() for f in read], frames.mean(axis=(1, 2)), atol=4)
    assert video.probe(path).fps == pytest.approx(25.0, abs=0.1)


def test_reads_gif(tmp_path):
    frames = [Image.fromarray(f) for f in counting_frames(12)]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:], duration=100)
    info = video.probe(tmp_path / "c.gif")
    assert (info.width, info.height, info.fps) == (64, 48, pytest.approx(10.0))
    assert len(list(video.read_frames(info.path))) == 12


def test_reads_png_folder_in_numeric_order(tmp_path):
    for i, frame in enumerate(counting_frames(11)):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), frame)  # frame10 sorts before frame2 as text
    means = [f.mean() for f in video.read_frames(tmp_path)]
    assert means == [20 + 3 * i for i in range(11)]


@pytest.mark.parametrize(("fps", "frames"), [(54.0, 108), (30.0, 60), (16.45, 33), (10.0, 20)])
def test_unify_keeps_duration_and_shows_the_nearest_frame(tmp_path, make_video, fps, frames):
    path = make_video(tmp_path / "v.avi", counting_frames(frames), fps, "MJPG")
    exact_fps = video.probe(path).fps
    shown = [native for native, _ in video.unify_indexed(path)]
    assert abs(len(shown) / 30 - frames / exact_fps) <= 1 / 30
    for j, native in enumerate(shown):
        in_time = np.abs(np.arange(frames) / exact_fps - j / 30)
        assert in_time[native] <= in_time.min() + 1e-6


def test_unify_frame_has_the_content_of_its_native_frame(tmp_path, make_video):
    path = make_video(tmp_path / "v.avi", counting_frames(54), 54.0, "MJPG")
    native = [f.mean() for f in video.read_frames(path)]
    for index, frame in video.unify_indexed(path):
        assert abs(frame.mean() - native[index]) < 1.5


def test_letterbox_keeps_the_shape_and_stretch_fills(tmp_path, make_video):
    path = make_video(tmp_path / "v.avi", np.full((3, 480, 854), 200, np.uint8), 30.0, "MJPG")
    info = video.probe(path)
    boxed = next(video.unify(path))
    assert video.unified_geometry(info).content == (0, 60, 640, 420)
    assert boxed.shape == (480, 640)
    assert boxed[:60].max() == 0 and boxed[420:].max() == 0
    assert boxed[60:420].min() > 190
    assert next(video.unify(path, stretch=True)).min() > 190


def test_geometry_maps_native_to_unified_points():
    info = video.VideoInfo(None, 854, 480, 30.0, 10)
    corners = video.unified_geometry(info).to_unified(np.array([[0, 0], [854, 480]]))
    assert np.allclose(corners, [[0, 60], [640, 420]])


def test_unified_video_can_be_written_and_read_back(tmp_path, make_video):
    source = make_video(tmp_path / "v.avi", counting_frames(108), 54.0, "MJPG")
    assert video.write_mp4(tmp_path / "unified.mp4", video.unify(source)) == 60
    info = video.probe(tmp_path / "unified.mp4")
    assert (info.width, info.height, info.fps, info.declared_frames) == (640, 480, 30.0, 60)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_reading_is_streaming(tmp_path, make_video):
    frame_bytes = 480 * 640
    rng = np.random.default_rng(0)
    one = rng.integers(0, 255, (480, 640), np.uint8)
    path = make_video(tmp_path / "long.avi", np.broadcast_to(one, (300, 480, 640)), 30.0, "MJPG")
    tracemalloc.start()
    count = sum(1 for _ in video.unify(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300
    assert peak < 12 * frame_bytes


def truncate(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_empty_and_truncated_videos_are_input_errors(tmp_path, make_video, share):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (60, 96, 128), np.uint8)
    path = make_video(tmp_path / "v.avi", frames, 30.0, "MJPG")
    truncate(path, share)
    with pytest.raises(InputError, match="v.avi") as error:
        list(video.read_frames(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["text.mp4", "picture.avi"])
def test_renamed_files_are_input_errors(tmp_path, name):
    content = b"not a video" * 100
    if name.startswith("picture"):
        content = cv2.imencode(".bmp", np.zeros((8, 8), np.uint8))[1].tobytes()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        video.probe(tmp_path / name)


def test_frames_of_different_sizes_are_an_input_error(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8, 8), np.uint8))
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 9), np.uint8))
    with pytest.raises(InputError, match="1.png"):
        list(video.read_frames(tmp_path))


def test_missing_files_and_empty_folders_say_what_to_do(tmp_path):
    for path in (tmp_path / "no.mp4", tmp_path):
        with pytest.raises(InputError, match="expected|give|check"):
            video.list_videos(path)


def test_a_video_that_the_disk_could_not_take_is_not_left_behind(tmp_path, monkeypatch):
    class FullDisk:
        """Opens as OpenCV's writer does and loses every frame without a word."""

        def __init__(self, path, *arguments, **options):
            cv2_writer(path, *arguments, **options).release()

        def isOpened(self):
            return True

        def write(self, frame):
            pass

        def release(self):
            pass

    cv2_writer = cv2.VideoWriter
    monkeypatch.setattr(video.cv2, "VideoWriter", FullDisk)
    with pytest.raises(InputError, match="is the disk full"):
        video.write_mp4(tmp_path / "v.mp4", counting_frames(5))
    assert list(tmp_path.iterdir()) == []


def test_writing_no_frames_leaves_nothing(tmp_path):
    with pytest.raises(InputError):
        video.write_mp4(tmp_path / "none.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_and_folders_are_no_videos(tmp_path, make_video):
    path = make_video(tmp_path / "a.mp4", counting_frames(3), 30.0, "mp4v")
    (tmp_path / "._a.mp4").write_bytes(b"a note of macOS")
    (tmp_path / ".a.partial.mp4").write_bytes(path.read_bytes()[:100])
    (tmp_path / ".phantoms.partial-1" / "videos").mkdir(parents=True)
    (tmp_path / ".phantoms.partial-1" / "videos" / "b.mp4").write_bytes(path.read_bytes())
    (tmp_path / ".frames").mkdir()
    cv2.imwrite(str(tmp_path / ".frames" / "0.png"), np.zeros((32, 32), np.uint8))
    assert video.list_videos(tmp_path) == [path]
    path.unlink()
    with pytest.raises(InputError, match="no video found"):
        video.list_videos(tmp_path)


def test_a_picture_beside_the_videos_is_not_a_frame_folder(tmp_path, make_video):
    path = make_video(tmp_path / "v.avi", counting_frames(3), 30.0, "MJPG")
    cv2.imwrite(str(tmp_path / "probe.png"), np.zeros((8, 8), np.uint8))
    assert video.list_videos(tmp_path) == [path]
