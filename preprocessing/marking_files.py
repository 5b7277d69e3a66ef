"""What the marking tool opens: ultrasound videos, and radiographs as pictures of one frame."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.errors import InputError
from preprocessing.radiographs import (
    MINIMUM_SIDE,
    list_radiographs,
    picture_info,
    read_radiograph,
)
from preprocessing.roi import FRAME_SLACK
from preprocessing.video import VideoInfo, list_videos, probe, read_frames

CACHED_FRAMES = 64


class FrameReader:
    """Gray frames of one video by index; at most `CACHED_FRAMES` are held.

    Frames are decoded forward from the start, which is exact whatever the codec; for clips of some
    hundred frames a step back beyond the cache takes about 0.2 s.

    Raises:
        InputError: as `read_frames`; the whole video is decoded once to count its frames.
    """

    def __init__(self, video: Path):
        self._video = video
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._frames, self._next = read_frames(video), 0
        self.count = 0
        for self.count, _ in enumerate(read_frames(video), start=1):
            pass

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`, 0 to count - 1: uint8 (height, width)."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        if index < self._next:
            self._frames, self._next = read_frames(self._video), 0
        while self._next <= index:
            self._cache[self._next] = next(self._frames)
            self._cache.move_to_end(self._next)
            self._next += 1
            if len(self._cache) > CACHED_FRAMES:
                self._cache.popitem(last=False)
        return self._cache[index]


@dataclass(frozen=True)
class Still:
    """A picture that is read like a video; `picture` is uint8 (height, width)."""

    picture: np.ndarray
    count: int = 1

    def frame(self, index: int) -> np.ndarray:
        """The picture, whatever the index."""
        return self.picture


@dataclass(frozen=True)
class Kind:
    """A kind of file that can be marked.

    Attributes:
        name: what one is called on the screen; an s makes the plural.
        task: what to draw, after "Draw a polygon".
        label: of new regions.
        tool: the tool to begin with, polygon or rectangle.
        smallest: area in square pixels; a smaller region is a slip of the mouse.
        still: whether there is one frame only, so that nothing has to do with time.
        find: lists the files at or below a path.
        describe: size and length of a file.
        open: the same, with the reader of its frames.
    """

    name: str
    task: str
    label: str
    tool: str
    smallest: float
    still: bool
    find: Callable[[Path], list[Path]]
    describe: Callable[[Path], VideoInfo]
    open: Callable[[Path], tuple[VideoInfo, FrameReader | Still]]


def open_video(path: Path) -> tuple[VideoInfo, FrameReader]:
    """A video's header and the reader of its frames.

    Raises:
        InputError: as `probe` and `read_frames`, or many more frames decode than stated.
    """
    info, reader = probe(path), FrameReader(path)
    if reader.count > info.declared_frames + FRAME_SLACK:
        raise InputError(
            f"{path}: the header states {info.declared_frames} frames, {reader.count} could "
            "be decoded; re-encode the video"
        )
    return info, reader


def open_radiograph(path: Path) -> tuple[VideoInfo, Still]:
    """A radiograph's size and its picture; the file is decoded once.

    Raises:
        InputError: as `read_radiograph`.
    """
    picture = read_radiograph(path)
    return picture_info(path, picture), Still(picture)


VIDEOS = Kind(
    name="video",
    task="over the pleura and the lung between two ribs",
    label="lung",
    tool="polygon",
    smallest=25.0,  # Ours
    still=False,
    find=list_videos,
    describe=probe,
    open=open_video,
)

RADIOGRAPHS = Kind(
    name="image",
    # Paper: V-BreathNet, section 4: "towards the chest area and not on diaphragm and below area".
    task="around the chest: both lungs, and little of what lies below the diaphragm",
    label="chest",
    tool="rectangle",
    smallest=MINIMUM_SIDE**2,  # what is cut out has to be a radiograph again
    still=True,
    find=list_radiographs,
    describe=picture_info,
    open=open_radiograph,
)
