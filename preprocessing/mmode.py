"""M-mode images: one pixel column of a region over time, as Jaščur et al. 2021 classify them.

They are cut from the unified video, not from 60-frame clips: the images are 64 frames wide.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from preprocessing import clips, video
from preprocessing.clips import Clip
from preprocessing.roi import Region
from preprocessing.video import VideoInfo

MMODE_FRAMES = 64  # Paper: Table 5 compares with the 64-frame images of Jaščur et al. 2021

# Ours: neither paper gives the height a column is brought to, nor which columns are taken.
MMODE_HEIGHT, MMODE_COLUMNS = 128, 8

# Ours: a column counts when the region is at least this share of its full height there, so that
# slanted ends of a polygon give no stump of an image.
MINIMUM_HEIGHT_SHARE = 0.6


@dataclass(frozen=True)
class MMode:
    """An M-mode image: uint8 (height, frames), depth downwards, time to the right.

    `x`, `top` and `bottom` are the column and its rows in unified pixels.
    """

    image: np.ndarray
    x: int
    top: int
    bottom: int


def region_columns(polygon: np.ndarray, columns: int) -> list[tuple[int, int, int]]:
    """Evenly spread columns through a region, as (x, top, bottom) in unified pixels."""
    mask = clips.polygon_mask(polygon)
    heights = mask.sum(axis=0)
    usable = np.flatnonzero(heights >= max(MINIMUM_HEIGHT_SHARE * heights.max(), 1))
    if usable.size == 0:
        return []
    # The middles of `columns` equal strips: none lies on the region's edge.
    places = usable[((np.arange(columns) + 0.5) / columns * usable.size).astype(int)]
    found = []
    for x in np.unique(places):
        rows = np.flatnonzero(mask[:, x])
        found.append((int(x), int(rows[0]), int(rows[-1]) + 1))
    return found


def cut_mmode(clip: Clip, x: int, top: int, bottom: int, height: int = MMODE_HEIGHT) -> MMode:
    """The M-mode image of one column of a clip, its depth resampled to `height` rows."""
    strip = np.ascontiguousarray(clip.frames[:, top:bottom, x].T)  # (depth, frames)
    interpolation = cv2.INTER_AREA if height < strip.shape[0] else cv2.INTER_LINEAR
    image = cv2.resize(strip, (strip.shape[1], height), interpolation=interpolation)
    return MMode(image, x, top, bottom)


def read_mmode(
    info: VideoInfo,
    regions: list[Region],
    stretch: bool,
    count: clips.ClipCount,
    columns: int = MMODE_COLUMNS,
    height: int = MMODE_HEIGHT,
    frames: int = MMODE_FRAMES,
) -> Iterator[tuple[Clip, int, MMode]]:
    """Stream the M-mode images of a video: (window, index of the region, image).

    Raises:
        InputError: the video cannot be read to its end.
    """
    geometry = video.unified_geometry(info, stretch)
    places = [region_columns(geometry.to_unified(np.array(r.polygon)), columns) for r in regions]
    for clip in clips.read_clips(info, stretch, count, frames):
        for region in clips.covering(regions, clip):
            number = regions.index(region)
            for x, top, bottom in places[number]:
                yield clip, number, cut_mmode(clip, x, top, bottom, height)
