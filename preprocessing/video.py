"""Any ultrasound video as gray frames, and its unified form: 640x480 at 30 frames a second.

Reading is streaming: one decoded frame is held at a time, whatever the length of the video.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from preprocessing.errors import InputError
from preprocessing.headers import sound_png
from preprocessing.tables import check_name

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mpeg", ".mpg", ".gif")

# Paper: Kolárik 2023, section 3.1.1: every video is brought to 640x480 and 30 FPS.
UNIFIED_WIDTH, UNIFIED_HEIGHT, UNIFIED_FPS = 640, 480, 30.0

# Ours: a folder of PNG frames carries no frame rate; this one is assumed unless told otherwise.
FOLDER_FPS = 30.0

# Ours: what a video can be at all. Frames of the largest format in use, 8K, have 7,680x4,320 px.
MAXIMUM_FRAME_SIDE, MAXIMUM_FRAME_PIXELS = 8_192, 40_000_000
MINIMUM_FPS, MAXIMUM_FPS = 0.5, 1_000.0

# How files begin. FFmpeg tells formats by content too, but knows hundreds, among them lists that
# name other files.
_STARTS = (b"RIFF", b"GIF8", b"\0\0\1\xba", b"\0\0\1\xb3")  # AVI, GIF, MPEG
_MPEG_TS_START, _MPEG_TS_PACKET = b"G", 188
_MP4_BOXES = (
    b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid", b"styp", b"moof"
)  # fmt: skip


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says.

    `declared_frames` is the header's word: some MPEG files decode to one or two frames more.
    """

    path: Path
    width: int
    height: int
    fps: float
    declared_frames: int

    @property
    def seconds(self) -> float:
        """Duration by the header, in seconds."""
        return self.declared_frames / self.fps


@dataclass(frozen=True)
class Geometry:
    """The affine map from native to unified pixel coordinates, and where the picture lies.

    Coordinates are continuous: pixel (column c, row r) covers [c, c + 1) x [r, r + 1).
    `content` is (left, top, right, bottom) of the picture inside the unified frame, in pixels;
    what lies outside it is letterbox.
    """

    scale_x: float
    scale_y: float
    content: tuple[int, int, int, int]

    def to_unified(self, points: np.ndarray) -> np.ndarray:
        """Native (n, 2) x, y points as unified (n, 2) points."""
        left, top = self.content[:2]
        return np.asarray(points, float) * (self.scale_x, self.scale_y) + (left, top)


def is_video(path: Path) -> bool:
    """Whether `path` looks like something `read_frames` can open: a video or a PNG folder."""
    if path.is_dir():
        return next(path.glob("*.png"), None) is not None
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def list_videos(path: Path) -> list[Path]:
    """All videos and PNG frame folders at or below `path`, sorted by name.

    Hidden ones are left out: what a killed `write_mp4` left, and macOS' notes on other disks.

    Raises:
        InputError: nothing readable is there.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a video or a folder of videos")
    if path.is_file() and is_video(path):
        return [path]
    found = sorted(p for p in path.rglob("*") if not _is_hidden(p, path) and is_video(p))
    if not found and is_video(path):  # frames, and no videos below: a picture beside them is none
        return [path]
    if not found:
        known = ", ".join(VIDEO_SUFFIXES)
        raise InputError(f"{path}: no video found; expected {known} or folders of PNG frames")
    return found


def probe(path: Path, folder_fps: float = FOLDER_FPS) -> VideoInfo:
    """Read a video's header, and its first frame so that an unreadable file is found early.

    Raises:
        InputError: missing, empty, truncated or not a video.
    """
    if path.is_dir():
        frames = _folder_frames(path)
        height, width = read_png(frames[0]).shape
        return VideoInfo(path, width, height, folder_fps, len(frames))
    capture = _open(path)
    try:
        got_frame, frame = capture.read()
        if not got_frame:
            raise InputError(f"{path}: holds no frame that can be decoded; copy the file again")
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not MINIMUM_FPS <= fps <= MAXIMUM_FPS:  # NaN neither
            raise InputError(
                f"{path}: states a frame rate of {fps:g}, or none; expected {MINIMUM_FPS:g} to "
                f"{MAXIMUM_FPS:g}: re-encode it with a constant one"
            )
        height, width = frame.shape[:2]
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return VideoInfo(path, width, height, float(fps), max(declared, 1))
    finally:
        capture.release()


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """Stream the frames of a video or of a folder of PNG frames.

    Yields:
        uint8 arrays (height, width), gray, 0 to 255, in temporal order.

    Raises:
        InputError: missing, empty, truncated or not a video; frames of different sizes.
    """
    for _, frame in _indexed_frames(path, needed=None):
        yield frame


def unified_geometry(info: VideoInfo, stretch: bool = False) -> Geometry:
    """Where a native frame of `info` lands in the 640x480 frame.

    Ours: the paper does not say how 854x480 became 640x480. Letterboxing keeps the shape of
    the anatomy and is the default; `stretch` fills the frame.
    """
    if stretch:
        return Geometry(
            UNIFIED_WIDTH / info.width,
            UNIFIED_HEIGHT / info.height,
            (0, 0, UNIFIED_WIDTH, UNIFIED_HEIGHT),
        )
    scale = min(UNIFIED_WIDTH / info.width, UNIFIED_HEIGHT / info.height)
    # A frame of one column, as damaged headers state, stays one.
    width, height = max(round(info.width * scale), 1), max(round(info.height * scale), 1)
    left, top = (UNIFIED_WIDTH - width) // 2, (UNIFIED_HEIGHT - height) // 2
    return Geometry(
        width / info.width, height / info.height, (left, top, left + width, top + height)
    )


def unify(path: Path, stretch: bool = False, info: VideoInfo | None = None) -> Iterator[np.ndarray]:
    """Stream a video at 640x480 and 30 frames a second, its duration kept.

    Unified frame j shows the native frame nearest in time to j / 30 s: frames of a 54 fps
    source are dropped, frames of a slow source repeated, none is blended. Ours: frames are taken
    to be equally spaced at the frame rate that the header states, also in GIFs that pause.

    Yields:
        uint8 arrays (480, 640), gray. The same array object may be yielded twice in a row:
        copy before writing into it.

    Raises:
        InputError: as `read_frames`.
    """
    for _, frame in unify_indexed(path, stretch, info):
        yield frame


def unify_indexed(
    path: Path, stretch: bool = False, info: VideoInfo | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """As `unify`, with the index of the native frame each unified frame shows."""
    info = info or probe(path)
    geometry = unified_geometry(info, stretch)
    step = info.fps / UNIFIED_FPS  # native frames a unified frame
    produced, index, shown, fitted = 0, -1, -1, None
    for index, frame in _indexed_frames(path, needed=lambda i: _nearest_exists(i, step)):
        if frame is None:  # decoded past without conversion: no unified frame shows it
            continue
        shown, fitted = index, _fit(frame, geometry)
        while _nearest(produced, step) <= index:
            yield shown, fitted
            produced += 1
    # The last frame shown lasts until the end of the video.
    while fitted is not None and produced * step < index + 1 - 1e-6:
        yield shown, fitted
        produced += 1


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float = UNIFIED_FPS) -> int:
    """Write gray uint8 frames as an MP4 (mp4v) and return how many were written.

    The file appears under its name only when complete.

    Raises:
        InputError: no frames, or the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.partial.mp4")
    writer, count = None, 0
    try:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                codec = cv2.VideoWriter_fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(partial), codec, fps, size, isColor=False)
                if not writer.isOpened():
                    raise InputError(f"{path}: cannot be written; check the folder and the disk")
            writer.write(frame)
            count += 1
        if writer is None:
            raise InputError(f"{path}: there are no frames to write")
        writer.release()
        _check_written(partial, path, count)
        partial.replace(path)
    finally:
        if writer is not None:
            writer.release()
        partial.unlink(missing_ok=True)
    return count


def _check_written(partial: Path, path: Path, count: int) -> None:
    """OpenCV's writer reports no failure: count what can be read back."""
    try:
        written = sum(1 for _ in _indexed_frames(partial, needed=lambda _: False))
    except InputError:
        written = 0
    if written != count:
        raise InputError(f"{path}: {written} of {count} frames were written; is the disk full?")


def _nearest(unified_index: int, step: float) -> int:
    """The native frame nearest in time to a unified one; ties go to the later frame."""
    return int(np.floor(unified_index * step + 0.5 + 1e-6))


def _nearest_exists(native_index: int, step: float) -> bool:
    """Whether any unified frame shows this native frame."""
    first = int(np.ceil((native_index - 0.5 - 1e-6) / step))
    return any(
        _nearest(j, step) == native_index for j in (max(first - 1, 0), max(first, 0), first + 1)
    )


def _fit(frame: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Scale a gray frame into its place in a 640x480 frame; bars are black."""
    left, top, right, bottom = geometry.content
    width, height = right - left, bottom - top
    if (width, height) != frame.shape[::-1]:
        shrinking = width < frame.shape[1]
        interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        frame = cv2.resize(frame, (width, height), interpolation=interpolation)
    if (width, height) == (UNIFIED_WIDTH, UNIFIED_HEIGHT):
        return frame
    unified = np.zeros((UNIFIED_HEIGHT, UNIFIED_WIDTH), np.uint8)
    unified[top:bottom, left:right] = frame
    return unified


def _indexed_frames(path: Path, needed) -> Iterator[tuple[int, np.ndarray | None]]:
    """Native (index, gray frame) pairs; None for a frame that `needed(index)` does not want."""
    if path.is_dir():
        yield from _indexed_folder_frames(path, needed)
        return
    capture = _open(path)
    shape, index = None, -1
    try:
        while capture.grab():
            index += 1
            if needed is not None and not needed(index):
                yield index, None
                continue
            got_frame, frame = capture.retrieve()
            if not got_frame:
                raise InputError(f"{path}: frame {index} cannot be decoded; copy the file again")
            if shape not in (None, frame.shape):
                raise InputError(f"{path}: frame {index} has another size than the first one")
            shape = frame.shape
            yield index, frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if index < 0:
            raise InputError(f"{path}: holds no frame that can be decoded; copy the file again")
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # Headers of whole files err by a frame or two; a file cut short loses many more.
        if index + 1 < 0.9 * declared - 2:
            raise InputError(
                f"{path}: the header promises {declared} frames, {index + 1} could be decoded; "
                "the file is cut short: copy it again"
            )
    finally:
        capture.release()


def _indexed_folder_frames(path: Path, needed) -> Iterator[tuple[int, np.ndarray | None]]:
    shape = None
    for index, file in enumerate(_folder_frames(path)):
        if needed is not None and not needed(index):
            yield index, None
            continue
        frame = read_png(file)
        if shape not in (None, frame.shape):
            raise InputError(f"{file}: has another size than the frames before it")
        shape = frame.shape
        yield index, frame


def _folder_frames(path: Path) -> list[Path]:
    """The PNG frames of a folder in temporal order: by the numbers in their names."""
    frames = sorted(path.glob("*.png"), key=lambda p: ([int(n) for n in _numbers(p.stem)], p.name))
    if not frames:
        raise InputError(f"{path}: holds no PNG frame; give a video or a folder of PNG frames")
    return frames


def _numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


def read_png(path: Path) -> np.ndarray:
    """One frame from a PNG file: uint8 (height, width), gray.

    Raises:
        InputError: missing, no PNG image, cut short, damaged or of an absurd size.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check it") from error
    sound = np.frombuffer(sound_png(path, content), np.uint8)
    frame = cv2.imdecode(sound, cv2.IMREAD_GRAYSCALE)
    if frame is None:
        raise InputError(f"{path}: is not a readable PNG image; copy the file again")
    _check_frame(path, *frame.shape[::-1])
    return frame


def _check_frame(path: Path, width: float, height: float) -> None:
    if max(width, height) > MAXIMUM_FRAME_SIDE or width * height > MAXIMUM_FRAME_PIXELS:
        raise InputError(
            f"{path}: claims frames of {width:g}x{height:g} px; expected at most "
            f"{MAXIMUM_FRAME_SIDE} px a side and {MAXIMUM_FRAME_PIXELS // 1_000_000} million in "
            "all: export it smaller"
        )


def _is_video_file(path: Path) -> bool:
    """Whether a file begins as MP4, MOV, AVI, MPEG or GIF do."""
    with path.open("rb") as file:
        start = file.read(_MPEG_TS_PACKET + 1)
    is_stream = start[:1] == start[_MPEG_TS_PACKET:] == _MPEG_TS_START
    return start.startswith(_STARTS) or start[4:8] in _MP4_BOXES or is_stream


def _open(path: Path) -> cv2.VideoCapture:
    check_name(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy the file again")
    if path.suffix.lower() != ".gif" and cv2.haveImageReader(str(path)):
        raise InputError(
            f"{path}: is a still picture, not a video; put back the video of that name"
        )
    capture = cv2.VideoCapture()
    if not _is_video_file(path) or not capture.open(str(path), cv2.CAP_FFMPEG):
        raise InputError(
            f"{path}: is not a video that can be read; expected MP4, AVI, MOV, MPEG or GIF"
        )
    try:
        _check_frame(
            path, capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        )
    except InputError:
        capture.release()
        raise
    return capture
