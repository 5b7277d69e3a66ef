"""Regions of interest, stored as JSON beside each video: the pleura and lung between two ribs.

Paper: Kolárik 2023, section 3.1.1: the area where the lung slides was marked by hand. Probe and
zoom move within a video, so a region holds for a span of frames and one video may carry several.
`preprocessing.marking` is the tool to draw them.

A radiograph is a video of one frame here (`radiographs.picture_info`), its region the chest.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.cvat import hulls_with_spans
from preprocessing.errors import InputError
from preprocessing.tables import JSON_ERRORS, check_inside, parse_json, read_table, shown
from preprocessing.video import VideoInfo, list_videos, probe

FORMAT, VERSION = "lung-roi", 1

# Ours: a header may promise a frame or two fewer than decode (MPEG), so a region may end there.
FRAME_SLACK = 2

# Ours: of the labels seen in CVAT exports of lung ultrasound, those that make up the region. The
# hull of the pleura and the A-lines below it is the pleura with the lung below.
CVAT_LABELS = ("lungslidingpresent", "lungslidingabsent", "lung", "aline")


@dataclass(frozen=True)
class Region:
    """A polygon that holds for a span of frames.

    `polygon`: x, y corners in native pixels, continuous: pixel (column c, row r) covers
    [c, c + 1) x [r, r + 1). `first_frame` and `last_frame` are native indices, both included.
    """

    polygon: tuple[tuple[float, float], ...]
    first_frame: int
    last_frame: int
    label: str = "lung"

    @property
    def area(self) -> float:
        """Enclosed area in square pixels (shoelace formula)."""
        following = self.polygon[1:] + self.polygon[:1]
        pairs = zip(self.polygon, following, strict=True)
        return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2

    def holds_at(self, frame: int) -> bool:
        """Whether the native frame lies in the region's span."""
        return self.first_frame <= frame <= self.last_frame


def roi_path(video: Path, roi_dir: Path | None = None) -> Path:
    """Where a video's regions are kept: `p001.mp4.roi.json` beside it, or in `roi_dir`."""
    video = Path(os.path.abspath(video))  # so that a folder given as "." has a name
    return (roi_dir or video.parent) / f"{video.name}.roi.json"


def load_regions(video: Path, info: VideoInfo, roi_dir: Path | None = None) -> list[Region] | None:
    """The regions marked in a video; None if nobody marked it.

    An empty list means that somebody looked and found nothing to mark.

    Raises:
        InputError: not a readable region file, or not one for this video: another frame size or
            length, a polygon outside the frame or without area, a span outside the video.
    """
    path = roi_path(video, roi_dir)
    if not path.exists():
        return None
    document = _read_json(path)
    _check_header(document, path, info)
    regions = []
    for number, entry in enumerate(document["regions"], start=1):
        try:
            region = _region_from(entry)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: region {number} is malformed ({shown(str(error))}); expected label, "
                "first_frame, last_frame and a polygon of [x, y] pairs: mark it again"
            ) from error
        regions.append(check_region(region, info, f"{path}: region {number}"))
    return regions


def save_regions(
    video: Path, info: VideoInfo, regions: list[Region], roi_dir: Path | None = None
) -> Path:
    """Write a video's regions and return the file; it is replaced whole or not at all.

    Raises:
        InputError: a region does not fit the video, or the file cannot be written.
    """
    path = roi_path(video, roi_dir)
    for number, region in enumerate(regions, start=1):
        check_region(region, info, f"{path}: region {number}")
    document = {
        "format": FORMAT,
        "version": VERSION,
        "video": Path(os.path.abspath(video)).name,
        "width": info.width,
        "height": info.height,
        "frames": info.declared_frames,
        "fps": info.fps,
        "regions": [_entry(region) for region in regions],
    }
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make the folder writable, or keep the "
            "regions in another one with --roi-dir"
        ) from error
    return path


def check_region(region: Region, info: VideoInfo, where: str) -> Region:
    """Return `region` if it fits the video; `where` begins the message if it does not.

    Raises:
        InputError: too few corners, no area, outside the frame, span reversed or outside.
    """
    frames = info.declared_frames
    inside = all(0 <= x <= info.width and 0 <= y <= info.height for x, y in region.polygon)
    if len(region.polygon) < 3:
        problem = f"has {len(region.polygon)} corners, a polygon needs at least 3"
    elif not inside:
        problem = f"lies outside the {info.width}x{info.height} frame"
    elif region.area == 0:
        problem = "has no area"
    elif region.first_frame > region.last_frame:
        problem = f"ends (frame {region.last_frame}) before it begins ({region.first_frame})"
    elif region.first_frame < 0 or region.last_frame >= frames + FRAME_SLACK:
        problem = (
            f"spans frames {region.first_frame} to {region.last_frame}, there are 0 to {frames - 1}"
        )
    else:
        return region
    raise InputError(f"{where} {problem}; correct it or mark it again")


def import_rectangles(
    csv_path: Path,
    root: Path,
    find: Callable[[Path], list[Path]] = list_videos,
    describe: Callable[[Path], VideoInfo] = probe,
    label: str = "lung",
) -> dict[Path, list[Region]]:
    """Regions from a table of rectangles: file,x,y,width,height[,first_frame,last_frame].

    x, y is the top left corner in native pixels; without frames a rectangle holds for the whole
    video; several rows may name one video. `file` is a path below `root`, or a name that is
    unique there. A table with semicolons may use decimal commas.

    Args:
        csv_path: the table.
        root: the folder (or one file) that it speaks of.
        find: lists the files at or below `root`.
        describe: what one of them is; for radiographs `list_radiographs` and `picture_info`.
        label: of the regions.

    Raises:
        InputError: a missing column, an unknown or ambiguous file, a value that is not a number
            or does not fit the video; the message names the line.
    """
    files = find(root)
    infos: dict[Path, VideoInfo] = {}
    found: dict[Path, list[Region]] = {}
    for line, row in _rows(csv_path):
        where = f"{csv_path}: line {line}"
        file = _find_file(row["file"], files, root, where)
        if file not in infos:
            infos[file] = describe(file)
        region = _rectangle(row, infos[file], label, where)
        found.setdefault(file, []).append(check_region(region, infos[file], f"{where}:"))
    if not found:
        raise InputError(f"{csv_path}: holds no rectangle; expected one row a region")
    return found


def import_cvat(
    json_path: Path, info: VideoInfo, labels: tuple[str, ...] | None = None
) -> list[Region]:
    """Regions from a CVAT task export of one video.

    The polygons of `labels` (default: `CVAT_LABELS`) are taken together; while they stay nearly
    in place they make one region, and where they move the next one begins (`preprocessing.cvat`).

    Raises:
        InputError: not a CVAT export, none of the labels, or annotations of another video.
    """
    spans = hulls_with_spans(
        _read_json(json_path), json_path, labels or CVAT_LABELS, info.declared_frames
    )
    regions = []
    for first, last, hull in spans:
        hull = np.clip(hull, 0, (info.width, info.height))  # CVAT lets corners stick out a little
        region = Region(tuple((float(x), float(y)) for x, y in hull), first, last)
        regions.append(check_region(region, info, f"{json_path}: the region from frame {first}"))
    return regions


def _read_json(path: Path) -> object:
    try:
        return parse_json(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except JSON_ERRORS as error:
        raise InputError(f"{path}: is not JSON ({error}); restore or delete the file") from error


def _check_header(document: object, path: Path, info: VideoInfo) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f'{path}: is not a region file; expected "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: is version {document.get('version')} of the region format, this program "
            f"reads version {VERSION}: update it or mark again"
        )
    size = (document.get("width"), document.get("height"))
    if size != (info.width, info.height):
        raise InputError(
            f"{path}: was marked for {size[0]}x{size[1]} pixels, this one has "
            f"{info.width}x{info.height}; mark it again"
        )
    # Ours: the name may differ, as a renamed video keeps its marks; its length may not.
    frames = document.get("frames")
    if not _is_whole(frames) or abs(frames - info.declared_frames) > FRAME_SLACK:
        raise InputError(
            f"{path}: was marked for {frames} frames ({document.get('video')}), "
            f"this one has {info.declared_frames}; mark it again"
        )
    if not isinstance(document.get("regions"), list):
        raise InputError(f'{path}: has no list of "regions"; mark it again')


def _entry(region: Region) -> dict:
    return {
        "label": region.label,
        "first_frame": region.first_frame,
        "last_frame": region.last_frame,
        "polygon": [[round(float(x), 2), round(float(y), 2)] for x, y in region.polygon],
    }


def _region_from(entry: dict) -> Region:
    polygon = tuple((float(x), float(y)) for x, y in entry["polygon"])
    if not all(math.isfinite(value) for corner in polygon for value in corner):
        raise ValueError("a corner is not a finite number")
    if not (_is_whole(entry["first_frame"]) and _is_whole(entry["last_frame"])):
        raise ValueError("frames are whole numbers")
    if not isinstance(entry["label"], str):
        raise ValueError("the label is text")
    return Region(polygon, entry["first_frame"], entry["last_frame"], entry["label"])


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rows(csv_path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a table, its columns checked; decimal commas become points."""
    table = read_table(csv_path, semicolons=True)
    missing = {"file", "x", "y", "width", "height"} - set(table.columns)
    if missing:
        raise InputError(
            f"{csv_path}: lacks the column {sorted(missing)[0]}; expected "
            "file,x,y,width,height[,first_frame,last_frame]"
        )
    if table.mark == ";":
        for _, row in table.rows:
            row |= {k: v.replace(",", ".") for k, v in row.items() if k != "file"}
    return table.rows


def _find_file(name: str, files: list[Path], root: Path, where: str) -> Path:
    check_inside(name, root, where)
    if root / name in files:
        return root / name
    # A name with a folder is meant so: the same name in another folder is another patient's.
    matches = [file for file in files if name and file.name == name]
    if len(matches) == 1:
        return matches[0]
    problem = "is ambiguous, give its path below" if matches else "is none of the files in"
    raise InputError(f"{where}: '{shown(name)}' {problem} {root}; correct the file column")


def _rectangle(row: dict[str, str], info: VideoInfo, label: str, where: str) -> Region:
    try:
        x, y, width, height = (float(row[key]) for key in ("x", "y", "width", "height"))
        first = int(row.get("first_frame") or 0)
        last = int(row.get("last_frame") or info.declared_frames - 1)
    except ValueError as error:
        raise InputError(f"{where}: {shown(str(error))}; expected numbers, frames whole") from error
    if not (width > 0 and height > 0):
        raise InputError(f"{where}: width and height must be above 0")
    polygon = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Region(polygon, first, last, label)
