"""What the marking tool remembers: files, regions, selection and undo. No drawing in here.

Each change is written to disk at once, so that nothing is lost when a terminal or a network
connection is closed. A file without regions has no region file, unless it was saved as having none.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from preprocessing.errors import InputError
from preprocessing.marking_files import VIDEOS, FrameReader, Kind, Still
from preprocessing.roi import Region, load_regions, roi_path, save_regions
from preprocessing.video import VideoInfo


@dataclass
class _Opened:
    """The file on the table."""

    index: int
    info: VideoInfo
    reader: FrameReader | Still
    regions: list[Region]


class Session:
    """Marks a list of files one after the other; starts at the first one without marks.

    Args:
        files: as `kind.find` returns them.
        roi_dir: where region files go; default: beside each file.
        kind: what the files are.

    Raises:
        InputError: no file can be opened, or two would share one region file.
    """

    def __init__(self, files: list[Path], roi_dir: Path | None = None, kind: Kind = VIDEOS):
        if len({roi_path(file, roi_dir) for file in files}) < len(files):
            raise InputError(
                f"{roi_dir}: two of the {kind.name}s have one name and would share a region file; "
                "mark one folder at a time, each with its own --roi-dir"
            )
        self.files, self.roi_dir, self.kind = files, roi_dir, kind
        self.marked = {file for file in files if roi_path(file, roi_dir).exists()}
        self.unsaved: dict[Path, tuple[VideoInfo, list[Region]]] = {}
        self.frame = 0
        self.selected: int | None = None
        self.skipped = ""  # why files could not be opened, for the person at the screen
        todo = [i for i, file in enumerate(files) if file not in self.marked]
        done = [i for i, file in enumerate(files) if file in self.marked]
        self._open_first_of(todo + done)

    @property
    def file(self) -> Path:
        return self.files[self._opened.index]

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

    def go_to_file(self, step: int) -> None:
        """Open the next (+1) or previous (-1) file; ones that cannot be opened are skipped.

        Raises:
            InputError: there is none in that direction that can be opened.
        """
        ahead = range(self.index + 1, len(self.files)) if step > 0 else range(self.index)[::-1]
        if not ahead:
            raise InputError(f"This is the {'last' if step > 0 else 'first'} {self.kind.name}.")
        self._open_first_of(ahead)

    def add(self, polygon) -> None:
        """Add a region over the span `next_span` and select it."""
        corners = _corners(polygon, self.info)
        region = self._checked(Region(corners, *self.next_span, self.kind.label))
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
        """Take back the last change to this file's regions."""
        if not self._history:
            raise InputError(f"There is nothing to undo in this {self.kind.name}.")
        self._opened.regions, self.selected = self._history.pop()
        self._wanted_span = None
        self._autosave()

    def copy_to_next(self) -> None:
        """Open the next file and mark it as this one: scaled to its size, spans clipped.

        Raises:
            InputError: nothing to copy, no next file, or it carries regions already.
        """
        if not self.regions:
            raise InputError("There is no region to copy; draw one first.")
        if self.index + 1 == len(self.files):
            raise InputError(f"This is the last {self.kind.name}.")
        regions, info, count = self.regions, self.info, self.count
        target = self._load(self.index + 1)
        if target.regions:
            raise InputError(f"{self.files[target.index].name} carries regions already.")
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
        """Save on request and say what was saved; also marks a file as having no region."""
        self._write(self.file, self.info, self.regions)
        found = f"{len(self.regions)} region(s)" if self.regions else "no region, as marked"
        return f"Saved {roi_path(self.file, self.roi_dir)}: {found}."

    def close(self) -> None:
        """Try once more to save what could not be saved, else keep it in a temporary folder.

        Raises:
            InputError: something had to be kept elsewhere; the message says where.
        """
        reason = ""
        for file, (info, regions) in list(self.unsaved.items()):
            try:
                self._write(file, info, regions)
            except InputError as error:
                reason = str(error)
        if self.unsaved:
            refuge = Path(tempfile.mkdtemp(prefix="lung-roi-"))
            for file, (info, regions) in self.unsaved.items():
                save_regions(file, info, regions, refuge)
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
        file = self.files[index]
        info, reader = self.kind.open(file)
        if file in self.unsaved:
            return _Opened(index, info, reader, self.unsaved[file][1])
        return _Opened(index, info, reader, load_regions(file, info, self.roi_dir) or [])

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
            self._write(self.file, self.info, self.regions)
            return
        try:
            roi_path(self.file, self.roi_dir).unlink(missing_ok=True)
        except OSError as error:
            path = roi_path(self.file, self.roi_dir)
            raise InputError(f"{path}: cannot be deleted ({error.strerror})") from error
        self.marked.discard(self.file)
        self.unsaved.pop(self.file, None)

    def _write(self, file: Path, info: VideoInfo, regions: list[Region]) -> None:
        self.unsaved[file] = (info, regions)
        save_regions(file, info, regions, self.roi_dir)
        self.marked.add(file)
        del self.unsaved[file]

    def _replace_selected(self, region: Region) -> None:
        number, regions = self.selected, list(self.regions)
        regions[number] = self._checked(region)
        if regions != self.regions:
            self._change(regions, select=number)

    def _checked(self, region: Region) -> Region:
        if region.area < self.kind.smallest:
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
