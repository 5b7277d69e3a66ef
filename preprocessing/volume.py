"""A CT scan in Hounsfield units (HU), and what reading DICOM and reading NIfTI have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.tables import check_name

# Ours: a chest holds air (about -1000 HU) and soft tissue (about 40 HU). Other units, such as
# stored values, 0 to 255 or 0 to 1, and windowed copies fail one of these.
AIR_AT_MOST, TISSUE_AT_LEAST = -500, 0
# Ours: a step between slices above this many times the median step is a gap: one slice missing
# makes it 2. A series thinned evenly has none.
GAP = 1.5
# Ours: what a CT scan can be at all. The finest slices have 2,048 px a side; 2 billion voxels are
# 1,900 slices of half that, and take 4 GB.
MAXIMUM_SLICE_SIDE, MAXIMUM_VOXELS = 4_096, 2_000_000_000


@dataclass(frozen=True)
class Volume:
    """A CT scan in HU, head first; the patient's right at the image's left, the front at the top.

    Attributes:
        hu: int16 (slices, height, width).
        locations: float64 (slices,), mm along the slice axis, descending.
        files: name of each slice's file; of a NIfTI file its one name repeated.
        pixel_spacing: mm between rows and between columns.
        warnings: one line each on what is odd and was read all the same.
    """

    hu: np.ndarray
    locations: np.ndarray
    files: tuple[str, ...]
    pixel_spacing: tuple[float, float]
    warnings: tuple[str, ...]


def find_gaps(locations: np.ndarray) -> np.ndarray:
    """Numbers of the slices behind which slices are missing, int (gaps,).

    Args:
        locations: (slices,) mm along the slice axis, descending.
    """
    steps = -np.diff(locations)
    return np.flatnonzero(steps > GAP * np.median(steps)) if steps.size else np.empty(0, int)


def open_image(path: Path, kind: str) -> SimpleITK.ImageFileReader:
    """A reader of one file; SimpleITK's own warnings are silenced for the process.

    They come on standard error from C++; what matters of them is an InputError or a line of
    `Volume.warnings` here.
    """
    check_name(path)
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    return reader


def check_side(path: Path, sides: Sequence[int]) -> None:
    """Refuse a scan of an absurd size, by the lengths of its axes, before it is read."""
    if max(sides[:2]) > MAXIMUM_SLICE_SIDE or math.prod(sides) > MAXIMUM_VOXELS:
        raise InputError(
            f"{path}: its header claims {'x'.join(map(str, sides))}; expected at most "
            f"{MAXIMUM_SLICE_SIDE} px a side and {MAXIMUM_VOXELS // 10**9} billion voxels: export "
            "it again"
        )


def header_text(reader: SimpleITK.ImageFileReader, tag: str) -> str:
    """A header field, or an empty string."""
    return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""


def write_int16(values: np.ndarray, hu: np.ndarray) -> None:
    """Write values into int16 `hu` of the same shape.

    Ours: rounded, and clipped to int16: beyond it there is padding alone, no tissue.
    """
    if values.dtype == np.int16:
        hu[:] = values
        return
    if values.dtype.kind == "f":
        values = np.rint(values)
    limits = np.iinfo(np.int16)
    np.clip(values, limits.min, limits.max, out=hu, casting="unsafe")


def check_hu(path: Path, hu: np.ndarray) -> None:
    """Refuse what cannot be HU of a chest; `path` is named in the error."""
    low, high = int(hu.min()), int(hu.max())
    if low > AIR_AT_MOST or high < TISSUE_AT_LEAST:
        raise InputError(
            f"{path}: values run from {low} to {high}; expected HU of a chest, air at about -1000 "
            "and soft tissue at about 40: convert the original scan again"
        )
