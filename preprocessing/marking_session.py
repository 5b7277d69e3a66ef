"""What the marking tool remembers: videos, regions, selection and undo. No drawing in here.

Each change is written to disk at once, so that nothing is lost when a terminal or a network
connection is closed. A video without regions has no file, unless it was saved as having none.
"""

import tempfile
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from preprocessing.errors import InputError
from preprocessing.roi import FRAME_SLACK, Region, load_regions, roi_path, save_regions
from preprocessing.video import VideoInfo, probe, read_frames

CACHED_FRAMES = 64
# Ours: a region smaller than this is a slip of the mouse, square pixels.
SMALLEST_AREA = 25.0


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


@dataclass
class _Opened:
    """The video on the table."""

    index: int
    info: VideoInfo
    reader: FrameReader
    regions: list[Region]


class Session:
    """Marks a list of videos one after the other; starts at the first one without marks.

    Args:
        videos: as `list_videos` returns them.
        roi_dir: where region files go; default: beside each video.

    Raises:
        InputError: no video can be opened, or two would share one region file.
    """

    def __init__(self, videos: list[Path], roi_dir: Path | None = None):
        if len({roi_path(video, roi_dir) for video in videos}) < len(videos):
            raise InputError(
                f"{roi_dir}: two of the videos have one name and would share a region file; "
                "mark one folder at a time, each with its own --roi-dir"
            )
        self.videos, self.roi_dir = videos, roi_dir
        self.marked = {video for video in videos if roi_path(video, roi_dir).exists()}
        self.unsaved: dict[Path, tuple[VideoInfo, list[Region]]] = {}
        self.frame = 0
        self.selected: int | None = None
        self.skipped = ""  # why videos could not be opened, for the person at the screen
        todo = [i for i, video in enumerate(videos) if video not in self.marked]
        done = [i for i, video in enumerate(videos) if video in self.marked]
        self._open_first_of(todo + done)

    @property
    def video(self) -> Path:
        return self.videos[self._opened.index]

    @property
    def info(self) -> VideoInfo:
        return self._opened.info

    @property
    def index(self) -> int:
        return self._opened.index

    @property
    def count(self) -> int:
        """Frames that really decode; the header may err by one or two."""
        return self._opened.reader.count

    @property
    def regions(self) -> list[Region]:
        return self._opened.regions

    @property
    def region(self) -> Region | None:
        """The selected region."""
        return None if self.selected is None else self.regions[self.selected]

    @property
    def next_span(self) -> tuple[int, int]:
        """First and last frame that the next region drawn will have."""
        return self._wanted_span or self._free_span()

    def picture(self) -> np.ndarray:
        """The current frame: uint8 (height, width)."""
        return self._opened.reader.frame(self.frame)

    def go_to_frame(self, frame: int) -> None:
        self.frame = min(max(int(frame), 0), self.count - 1)

    def go_to_video(self, step: int) -> None:
        """Open the next (+1) or previous (-1) video; ones that cannot be opened are skipped.

        Raises:
            InputError: there is none in that direction that can be opened.
        """
        ahead = range(self.index + 1, len(self.videos)) if step > 0 else range(self.index)[::-1]
        if not ahead:
            raise InputError(f"This is the {'last' if step > 0 else 'first'} video.")
        self._open_first_of(ahead)

    def add(self, polygon) -> None:
        """Add a region over the span `next_span` and select it."""
        region = self._checked(Region(_corners(polygon, self.info), *self.next_span))
        self._change([*self.regions, region], select=len(self.regions))
        self._wanted_span = None

    def reshape(self, polygon) -> None:
        """Give the selected region other corners."""
        corners = _corners(polygon, self.info)
        self._replace_selected(replace(self.regions[self.selected], polygon=corners))

    def select(self, number: int | None) -> None:
        """Select a region; None: draw a new one."""
        self.selected = number
        self._wanted_span = None

    def delete(self) -> None:
        """Delete the selected region."""
        self._need_selected("delete")
        kept = [region for i, region in enumerate(self.regions) if i != self.selected]
        self._change(kept, select=None)

    def begin_here(self) -> None:
        """The selected (or next) region begins at the current frame."""
        self._set_span(self.frame, self._span()[1])

    def end_here(self) -> None:
        """The selected (or next) region ends at the current frame."""
        self._set_span(self._span()[0], self.frame)

    def whole_video(self) -> None:
        """The selected (or next) region holds from the first to the last frame."""
        self._set_span(0, self.count - 1)

    def split_here(self) -> None:
        """End the selected region before the current frame; a copy goes on from here.

        The spans abut exactly: move the copy to where probe or zoom have taken the lung.
        """
        self._need_selected("split")
        region, number = self.regions[self.selected], self.selected
        if not region.first_frame < self.frame <= region.last_frame:
            raise InputError("Go to the frame where the second part begins, then split.")
        before, after = self.regions[:number], self.regions[number + 1 :]
        first_part = replace(region, last_frame=self.frame - 1)
        second_part = replace(region, first_frame=self.frame)
        self._change([*before, first_part, second_part, *after], select=number + 1)

    def undo(self) -> None:
        """Take back the last change to this video's regions."""
        if not self._history:
            raise InputError("There is nothing to undo in this video.")
        self._opened.regions, self.selected = self._history.pop()
        self._wanted_span = None
        self._autosave()

    def copy_to_next(self) -> None:
        """Open the next video and mark it as this one: scaled to its size, spans clipped.

        Raises:
            InputError: nothing to copy, no next video, or it carries regions already.
        """
        if not self.regions:
            raise InputError("There is no region to copy; draw one first.")
        if self.index + 1 == len(self.videos):
            raise InputError("This is the last video.")
        regions, info, count = self.regions, self.info, self.count
        target = self._load(self.index + 1)
        if target.regions:
            raise InputError(f"{self.videos[target.index].name} carries regions already.")
        scale = np.array([target.info.width / info.width, target.info.height / info.height])
        copies = []
        for region in regions:
            # Ours: what lasts until the end of one video lasts until the end of the other.
            to_the_end = region.last_frame >= count - 1
            last = target.reader.count - 1
            last = last if to_the_end else min(region.last_frame, last)
            if region.first_frame <= last:
                polygon = _corners(np.array(region.polygon) * scale, target.info)
                copies.append(Region(polygon, region.first_frame, last, region.label))
        if not copies:
            raise InputError("No region begins before the end of the next video; draw it there.")
        self._put_on_table(target)
        self._change(copies, select=0)

    def save(self) -> str:
        """Save on request and say what was saved; also marks a video as having no region."""
        self._write(self.video, self.info, self.regions)
        found = f"{len(self.regions)} region(s)" if self.regions else "no region, as marked"
        return f"Saved {roi_path(self.video, self.roi_dir)}: {found}."

    def close(self) -> None:
        """Try once more to save what could not be saved, else keep it in a temporary folder.

        Raises:
            InputError: something had to be kept elsewhere; the message says where.
        """
        reason = ""
        for video, (info, regions) in list(self.unsaved.items()):
            try:
                self._write(video, info, regions)
            except InputError as error:
                reason = str(error)
        if self.unsaved:
            refuge = Path(tempfile.mkdtemp(prefix="lung-roi-"))
            for video, (info, regions) in self.unsaved.items():
                save_regions(video, info, regions, refuge)
            raise InputError(f"{reason}; {len(self.unsaved)} region file(s) were kept in {refuge}")

    def _open_first_of(self, indices) -> None:
        problems = []
        for index in indices:
            try:
                self._put_on_table(self._load(index))
                break
            except InputError as error:
                problems.append(error)
        else:
            raise problems[0]
        self.skipped = "; ".join(f"Skipped {problem}" for problem in problems)

    def _load(self, index: int) -> _Opened:
        video = self.videos[index]
        info, reader = probe(video), FrameReader(video)
        if reader.count > info.declared_frames + FRAME_SLACK:
            raise InputError(
                f"{video}: the header states {info.declared_frames} frames, {reader.count} could "
                "be decoded; re-encode the video"
            )
        if video in self.unsaved:
            return _Opened(index, info, reader, self.unsaved[video][1])
        return _Opened(index, info, reader, load_regions(video, info, self.roi_dir) or [])

    def _put_on_table(self, opened: _Opened) -> None:
        self._opened = opened
        self._history: list[tuple[list[Region], int | None]] = []
        self._wanted_span: tuple[int, int] | None = None
        self.frame = 0
        self.selected = 0 if opened.regions else None

    def _change(self, regions: list[Region], select: int | None) -> None:
        self._history.append((self.regions, self.selected))
        self._opened.regions, self.selected = regions, select
        self._autosave()

    def _autosave(self) -> None:
        if self.regions:
            self._write(self.video, self.info, self.regions)
            return
        try:
            roi_path(self.video, self.roi_dir).unlink(missing_ok=True)
        except OSError as error:
            path = roi_path(self.video, self.roi_dir)
            raise InputError(f"{path}: cannot be deleted ({error.strerror})") from error
        self.marked.discard(self.video)
        self.unsaved.pop(self.video, None)

    def _write(self, video: Path, info: VideoInfo, regions: list[Region]) -> None:
        self.unsaved[video] = (info, regions)
        save_regions(video, info, regions, self.roi_dir)
        self.marked.add(video)
        del self.unsaved[video]

    def _replace_selected(self, region: Region) -> None:
        number, regions = self.selected, list(self.regions)
        regions[number] = self._checked(region)
        if regions != self.regions:
            self._change(regions, select=number)

    def _checked(self, region: Region) -> Region:
        if region.area < SMALLEST_AREA:
            raise InputError("That region is too small to be meant; draw it again.")
        return region

    def _span(self) -> tuple[int, int]:
        region = self.region
        return self.next_span if region is None else (region.first_frame, region.last_frame)

    def _set_span(self, first: int, last: int) -> None:
        if first > last:
            raise InputError(f"It would end (frame {last}) before it begins (frame {first}).")
        if self.region is None:
            self._wanted_span = (first, last)
        else:
            self._replace_selected(replace(self.region, first_frame=first, last_frame=last))

    def _free_span(self) -> tuple[int, int]:
        """The stretch around the current frame without a region; the whole video if it has one."""
        if any(region.holds_at(self.frame) for region in self.regions):
            return 0, self.count - 1
        ends = [region.last_frame for region in self.regions if region.last_frame < self.frame]
        begins = [region.first_frame for region in self.regions if region.first_frame > self.frame]
        return max(ends, default=-1) + 1, min(begins, default=self.count) - 1

    def _need_selected(self, action: str) -> None:
        if self.region is None:
            raise InputError(f"Select the region to {action} first (v, or click on it).")


def _corners(polygon, info: VideoInfo) -> tuple[tuple[float, float], ...]:
    """Corners inside the frame as plain numbers, none repeated (as a double click would)."""
    inside = np.clip(np.asarray(polygon, float), 0, (info.width, info.height)).round(2)
    corners = [(float(x), float(y)) for x, y in inside]
    return tuple(c for i, c in enumerate(corners) if c != corners[i - 1])
