"""Chest CT from DICOM series and NIfTI files to Hounsfield units (HU), head first.

The way in to all that reads CT: `list_series` (its own in `series`), `read_volume`, `read_slice`.
What does not belong together is found by the headers, before any pixel is decoded.
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.nifti import is_nifti, read_nifti
from preprocessing.series import Series, SliceHeader, list_series, read_header
from preprocessing.volume import Volume, check_hu, find_gaps, write_int16

# Ours: directions that differ by more, as cosines, are different planes.
SAME_DIRECTION = 0.02
# Ours: slices closer than this, in mm, are one slice twice; the thinnest CT slices have 0.2 mm.
SAME_POSITION = 0.01
_THREADS = 4  # decoding; more of them only wait for memory


def read_volume(path: Path) -> Volume:
    """Read a patient's CT scan.

    * A folder: of several series the axial one with most slices is taken, and `warnings` says
      what was left. HU by each slice's rescale slope and intercept.
    * A NIfTI file: it must hold HU; turned to the same order and orientation.

    Args:
        path: the folder of one patient's DICOM files, or a NIfTI file.

    Raises:
        InputError: as `list_series`; no axial series, or two of equal length; a localizer, a slice
            of another size or the same slice twice in a series; no rescale or position; pixel data
            that cannot be decoded; a NIfTI file that is cut short, has NaN or other than 3
            dimensions; values that cannot be HU.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a patient's folder or NIfTI file")
    if path.is_dir():
        return _read_folder(path)
    if is_nifti(path):
        return read_nifti(path)
    raise InputError(f"{path}: is neither a folder nor a NIfTI file (.nii, .nii.gz); give the "
                     "folder of a patient's DICOM files")  # fmt: skip


def read_slice(path: Path) -> np.ndarray:
    """Read one axial CT slice from a DICOM file.

    Args:
        path: the file.

    Returns:
        int16 (height, width) in HU, oriented as in `Volume`. A slice that states no orientation
        is taken as it is stored.

    Raises:
        InputError: missing or cut short; no CT; several frames; a localizer or not axial; no
            rescale; pixel data that cannot be decoded; values that cannot be HU.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a DICOM file")
    header = read_header(path)
    series = Series((path,), (0.0,), (header,))
    if not series.axial:
        raise InputError(f"{path}: is a localizer or not axial; give an axial slice")
    _check_values(header)
    hu = _read_pixels(series)
    check_hu(path, hu)
    return hu[0]


def _read_folder(folder: Path) -> Volume:
    series, warnings = _choose_series(folder, list_series(folder))
    warnings += _check_series(folder, series)
    hu = _read_pixels(series)
    check_hu(folder, hu)
    return Volume(
        hu,
        np.array(series.locations),
        tuple(file.name for file in series.files),
        series.headers[0].pixel_spacing,
        tuple(warnings),
    )


def _choose_series(folder: Path, found: list[Series]) -> tuple[Series, list[str]]:
    """The axial series with most slices, and a line on what is left."""
    axial = [series for series in found if series.axial]
    if not axial:
        raise InputError(
            f"{folder}: holds no axial CT series, only localizers or other planes; "
            "copy the axial slices into it"
        )
    if len(axial) > 1 and len(axial[0].files) == len(axial[1].files):
        raise InputError(
            f"{folder}: holds two CT series of {len(axial[0].files)} slices; keep one series a "
            "folder"
        )
    left = [_describe(series) for series in found if series is not axial[0]]
    if not left:
        return axial[0], []
    return axial[0], [
        f"{folder}: {len(found)} series, read the axial one with most slices "
        f"({_describe(axial[0])}), left: {'; '.join(left)}"
    ]


def _describe(series: Series) -> str:
    count, thickness = len(series.files), series.headers[0].thickness
    text = f"{count} slice{'s' * (count > 1)}"
    return text if np.isnan(thickness) else f"{text} of {thickness:g} mm"


def _check_series(folder: Path, series: Series) -> list[str]:
    """Refuse what is no stack of slices; lines on what is odd about it."""
    _check_alike(series)
    for header in series.headers:
        _check_values(header)
    locations, warnings = np.array(series.locations), []
    unplaced = np.flatnonzero(np.isnan(locations))
    if unplaced.size:
        raise InputError(
            f"{series.files[unplaced[0]]}: states no slice position (ImagePositionPatient or "
            "SliceLocation): the order of the slices cannot be known; export the series again"
        )
    if series.directions is None or not all(header.position for header in series.headers):
        warnings.append(
            f"{folder}: states no full image position and orientation: ordered by SliceLocation, "
            "oriented as stored"
        )
    steps = -np.diff(locations)
    twice = np.flatnonzero(steps < SAME_POSITION)
    if twice.size:
        one, other = series.files[twice[0]], series.files[twice[0] + 1]
        raise InputError(
            f"{other}: lies at the same position as {one.name} ({locations[twice[0]]:g} mm); "
            "delete the copy, or keep one series a folder"
        )
    return warnings + _describe_gaps(folder, series, steps)


def _check_alike(series: Series) -> None:
    """Refuse a slice that differs from most of its series in plane, size or pixel spacing."""
    shape = Counter(header.shape for header in series.headers).most_common(1)[0][0]
    spacing = Counter(header.pixel_spacing for header in series.headers).most_common(1)[0][0]
    for header in series.headers:
        turned = (header.directions is None) != (series.directions is None) or (
            series.directions is not None
            and np.abs(np.subtract(header.directions, series.directions)).max() > SAME_DIRECTION
        )
        if header.localizer or turned:
            raise InputError(
                f"{header.file}: is a localizer or lies in another plane than the other slices of "
                "its series; move it out of the folder"
            )
        if header.shape != shape:
            raise InputError(
                f"{header.file}: has {header.shape[1]}x{header.shape[0]} px in a series of "
                f"{shape[1]}x{shape[0]}; move it out of the folder"
            )
        if header.pixel_spacing is None or header.pixel_spacing != spacing:
            raise InputError(
                f"{header.file}: states no pixel spacing, or another than the other slices; "
                "export the series again"
            )


def _check_values(header: SliceHeader) -> None:
    """Refuse stored values that cannot be turned into HU."""
    if not header.rescaled:
        raise InputError(
            f"{header.file}: states no rescale slope and intercept: HU cannot be known; "
            "export the series again with its full header"
        )
    if header.inverted:
        raise InputError(
            f"{header.file}: is stored inverted (MONOCHROME1); export it as MONOCHROME2"
        )


def _describe_gaps(folder: Path, series: Series, steps: np.ndarray) -> list[str]:
    """A line on steps that are much longer than the median one, if there are any."""
    gaps = find_gaps(np.array(series.locations))
    if not gaps.size:
        return []
    first, median = gaps[0], np.median(steps)
    one, other = series.files[first].name, series.files[first + 1].name
    more = f" and {gaps.size - 1} more" if gaps.size > 1 else ""
    return [
        f"{folder}: gap of {steps[first]:g} mm between {one} and {other} "
        f"({series.locations[first]:g} to {series.locations[first + 1]:g} mm){more}; "
        f"elsewhere slices are {median:g} mm apart: slices may be missing"
    ]


def _read_pixels(series: Series) -> np.ndarray:
    """int16 (slices, height, width) in HU of slices known to fit together."""
    count = len(series.files)
    hu = np.empty((count, *series.headers[0].shape), np.int16)
    edges = np.linspace(0, count, min(_THREADS, os.cpu_count() or 1, count) + 1).astype(int)

    def read(first: int, end: int) -> None:
        _decode(series.headers[first:end], hu[first:end])

    # SimpleITK reads a series in one thread; parts of it decode side by side.
    with ThreadPoolExecutor(len(edges) - 1) as threads:
        list(threads.map(read, edges[:-1], edges[1:]))
    return _as_radiologists_look(hu, series.directions)


def _decode(headers: tuple[SliceHeader, ...], hu: np.ndarray) -> None:
    """Write the HU of some slices into int16 (slices, height, width)."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(header.file) for header in headers])
    if len({header.pixel_type for header in headers}) > 1:
        reader.SetOutputPixelType(SimpleITK.sitkFloat64)  # else the first slice's, which may wrap
    try:
        image = reader.Execute()
    except RuntimeError as error:
        if len(headers) > 1:
            for header in headers:
                _decode((header,), hu[:1])  # raises for the one that failed
        raise InputError(
            f"{headers[0].file}: its pixel data are damaged or compressed in a way that cannot be "
            "decoded; copy the file again, or export it uncompressed"
        ) from error
    write_int16(SimpleITK.GetArrayViewFromImage(image), hu)


def _as_radiologists_look(hu: np.ndarray, directions: tuple[float, ...] | None) -> np.ndarray:
    """Slices with the patient's right at the left and the front at the top.

    Ours: some scans of patients lying prone are stored turned by 180 degrees.
    """
    if directions is None:
        return hu
    rows, columns = (-1 if cosine < 0 else 1 for cosine in (directions[4], directions[0]))
    return np.ascontiguousarray(hu[:, ::rows, ::columns])
