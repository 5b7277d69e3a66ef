"""60-frame clips and the square tiles of a marked region: the six data sets of Kolárik 2023."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.draw import polygon2mask

from preprocessing import video
from preprocessing.roi import Region
from preprocessing.video import UNIFIED_HEIGHT, UNIFIED_WIDTH, VideoInfo

CLIP_FRAMES = 60  # Paper: section 3.1.1: videos are cut to a length of 2 seconds (60 frames)

# Ours: a frame of mean gray below this is fade-in or a blank screen, not dark tissue; the darkest
# real recordings looked at have a mean of 1.6 and more, fade-in frames at most 0.3.
BLACK_FRAME_MEAN = 1.0

# Ours: a tile whose gray values deviate less than this over all its pixels and frames shows
# letterbox or the black outside the sector; lossy codecs leave traces of noise there.
FLAT_TILE_DEVIATION = 1.0


@dataclass(frozen=True)
class TileSet:
    """One of the paper's six data sets: tiles of `px` x `px`, the top `rows` or all (None)."""

    px: int
    rows: int | None

    @property
    def name(self) -> str:
        """The paper's name for it, such as `2_30x30` or `all_90x90`."""
        return f"{self.rows or 'all'}_{self.px}x{self.px}"


# Paper: section 3.1.1 lists these six; the first two rows hold the pleura.
TILE_SETS = {s.name: s for s in (TileSet(px, rows) for px in (30, 60, 90) for rows in (2, None))}


@dataclass(frozen=True)
class Tile:
    """A tile's place in its frame: grid row and column, left and top in px."""

    row: int
    column: int
    x: int
    y: int


@dataclass(frozen=True)
class Clip:
    """Consecutive unified frames of one video.

    `frames` is uint8 (length, 480, 640) and is overwritten by the next clip: copy what you keep.
    `native` is the native frame that each of them shows, int (length,); `start` is in unified
    frames.
    """

    number: int
    start: int
    native: np.ndarray
    frames: np.ndarray


@dataclass
class ClipCount:
    """What was found in a video and what was left out of it."""

    clips: int = 0
    lead_in_frames: int = 0
    dropped_frames: int = 0
    flat_tiles: int = 0
    clips_without_region: int = 0


def read_clips(
    info: VideoInfo, stretch: bool, count: ClipCount, length: int = CLIP_FRAMES
) -> Iterator[Clip]:
    """Stream a video as consecutive clips of `length` frames at 640x480 and 30 frames a second.

    Near-black lead-in frames are skipped and frames after the last whole clip dropped; `count`
    is filled with both. Memory: one clip (18 MB for 60 frames), whatever the length.

    Raises:
        InputError: the video cannot be read to its end.
    """
    frames = np.empty((length, UNIFIED_HEIGHT, UNIFIED_WIDTH), np.uint8)
    native = np.empty(length, int)
    filled, picture_began = 0, False
    left, top, right, bottom = video.unified_geometry(info, stretch).content  # without letterbox
    for native_index, frame in video.unify_indexed(info.path, stretch, info):
        if not picture_began and frame[top:bottom, left:right].mean() < BLACK_FRAME_MEAN:
            count.lead_in_frames += 1
            continue
        picture_began = True
        frames[filled], native[filled] = frame, native_index
        filled += 1
        if filled == length:
            yield Clip(count.clips, count.lead_in_frames + count.clips * length, native, frames)
            count.clips += 1
            filled = 0
    count.dropped_frames = filled  # Ours: the paper does not say what became of the rest


def covering(regions: list[Region], clip: Clip) -> list[Region]:
    """The regions that were marked for every frame of a clip.

    Ours: probe and zoom move within a video, so a region marked for a part of the clip would cut
    tiles of something else for the rest.
    """
    first, last = clip.native[0], clip.native[-1]
    return [r for r in regions if r.first_frame <= first and r.last_frame >= last]


def tile_grid(
    polygon: np.ndarray, tile_set: TileSet, frame: tuple[int, int] = (UNIFIED_HEIGHT, UNIFIED_WIDTH)
) -> list[Tile]:
    """Lay non-overlapping whole tiles over a region, row by row.

    The grid starts at the top left of the region's bounding box. A tile counts when all of it
    lies inside the region and the frame. Rows are counted down each column from its first whole
    tile, so that the top two follow a pleura that is tilted.

    Args:
        polygon: (n, 2) x, y corners, in pixels of the frame.
        tile_set: size in px and number of rows.
        frame: its height and width; the unified one's if not given.

    Returns:
        Tiles ordered by row, then column; empty where the region is smaller than a tile.
    """
    mask = polygon_mask(polygon, frame)
    ys, xs = np.nonzero(mask)
    if ys.size == 0:
        return []
    px, left, top = tile_set.px, xs.min(), ys.min()
    tiles = []
    for column, x in enumerate(range(left, xs.max() + 2 - px, px)):
        row = 0
        for y in range(top, ys.max() + 2 - px, px):
            if mask[y : y + px, x : x + px].all():
                if tile_set.rows is None or row < tile_set.rows:
                    tiles.append(Tile(row, column, x, y))
                row += 1
    return sorted(tiles, key=lambda t: (t.row, t.column))


def cut_tile(clip: Clip, tile: Tile, px: int) -> np.ndarray:
    """The tile's own copy of a clip's pixels: uint8 (frames, px, px)."""
    return np.ascontiguousarray(clip.frames[:, tile.y : tile.y + px, tile.x : tile.x + px])


def is_flat(samples: np.ndarray) -> bool:
    """Whether uint8 pixels show nothing: letterbox, or the black outside the sector."""
    _, deviation = cv2.meanStdDev(samples.reshape(len(samples), -1))
    return bool(deviation[0, 0] < FLAT_TILE_DEVIATION)


def spread(tiles: list[Tile], most: int | None) -> list[Tile]:
    """At most `most` tiles, evenly spread over the list so that all depths stay present."""
    if most is None or len(tiles) <= most:
        return tiles
    chosen = np.linspace(0, len(tiles) - 1, most).round().astype(int)
    return [tiles[i] for i in chosen]


def whole_picture(info: VideoInfo) -> Region:
    """A region that covers the whole native frame for the whole video."""
    w, h = float(info.width), float(info.height)
    corners = ((0.0, 0.0), (w, 0.0), (w, h), (0.0, h))
    return Region(corners, 0, 2**31 - 1, label="whole")


def polygon_mask(
    polygon: np.ndarray, frame: tuple[int, int] = (UNIFIED_HEIGHT, UNIFIED_WIDTH)
) -> np.ndarray:
    """Boolean (height, width): pixels whose centre lies in a polygon of (n, 2) x, y corners."""
    return _mask_of_corners(tuple(map(tuple, np.asarray(polygon).tolist())), frame)


@functools.lru_cache(maxsize=64)  # many videos share the region that is their whole picture
def _mask_of_corners(
    polygon: tuple[tuple[float, float], ...], frame: tuple[int, int]
) -> np.ndarray:
    centred = np.asarray(polygon)[:, ::-1] - 0.5  # pixel (r, c) has its centre at (r + .5, c + .5)
    return polygon2mask(frame, centred)
