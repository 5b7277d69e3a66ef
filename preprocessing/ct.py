"""Chest CT from DICOM series and NIfTI files to Hounsfield units (HU), head first.

Slices are ordered by their position in the patient, never by file name. Headers are read once,
before any pixel is decoded: what does not belong together is found early. What a header says about
a person is compared in here, and neither returned nor printed; so are the identifiers of studies
and series.
"""

import gzip
import math
import os
import zlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK

from preprocessing.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")

# Ours: a slice is axial if its rows run from right to left and its columns from front to back
# within this cosine (37 degrees); gantries tilt by 30 degrees at most.
AXIAL_COSINE = 0.8
# Ours: directions that differ by more, as cosines, are different planes.
SAME_DIRECTION = 0.02
# Ours: slices closer than this, in mm, are one slice twice; the thinnest CT slices have 0.2 mm.
SAME_POSITION = 0.01
# Ours: a step between slices above this many times the median step is a gap: one slice missing
# makes it 2. A series thinned evenly has none.
GAP = 1.5
# Ours: a chest holds air (about -1000 HU) and soft tissue (about 40 HU). Other units, such as
# stored values, 0 to 255 or 0 to 1, and windowed copies fail one of these.
AIR_AT_MOST, TISSUE_AT_LEAST = -500, 0

_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128
_THREADS = 4  # decoding; more of them only wait for memory
_NIFTI_FLOATS = {"16": "f4", "64": "f8"}  # number types by the header's code
_NIFTI_MAGIC_AT = 344
_BLOCK = 1 << 20
_UNPACKING_ERRORS = (EOFError, OSError, zlib.error)


@dataclass(frozen=True)
class SliceHeader:
    """What a DICOM header says of its image.

    `shape` is (rows, columns); `directions` are those of a row and of a column, six cosines;
    `position` is that of the first pixel, in mm (x to the patient's left, y to the back, z to the
    head). None or NaN: not stated.
    """

    file: Path
    shape: tuple[int, int]
    directions: tuple[float, ...] | None
    position: tuple[float, ...] | None
    slice_location: float
    pixel_spacing: tuple[float, ...] | None
    thickness: float
    localizer: bool
    rescaled: bool
    inverted: bool
    pixel_type: int


@dataclass(frozen=True)
class Series:
    """One CT series of a folder, before its pixels are read, head first.

    `locations` are in mm along the slice axis, descending; NaN where the headers state no position.
    `headers` has what reading needs, in the order of `files`.
    """

    files: tuple[Path, ...]
    locations: tuple[float, ...]
    headers: tuple[SliceHeader, ...]

    @property
    def directions(self) -> tuple[float, ...] | None:
        """Those of most slices; None: most state none."""
        return Counter(header.directions for header in self.headers).most_common(1)[0][0]

    @property
    def axial(self) -> bool:
        """Whether most slices are axial; slices that state no orientation are taken to be."""
        directions = self.directions
        if sum(header.localizer for header in self.headers) > len(self.headers) / 2:
            return False
        return directions is None or _is_axial(directions)


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


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def list_series(folder: Path) -> list[Series]:
    """Every CT series directly in a folder, most slices first. No pixel is decoded.

    DICOM files are known by content or suffix. Ours: all other files, hidden ones and a DICOMDIR
    are left alone, since label tables and notes lie beside slices; but a DICOM file that cannot be
    read or is no CT is refused, since a slice could be missing because of it.

    Args:
        folder: that of one patient.

    Raises:
        InputError: no folder or no DICOM file in it; a file cut short, of another modality or of
            several frames; files of two patients.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of one patient's DICOM files")
    files = [p for p in sorted(folder.iterdir()) if _is_dicom(p)]
    if not files:
        raise InputError(f"{folder}: holds no DICOM file; expected the slices of one CT series")
    series, names, numbers = defaultdict(list), set(), set()
    for file in files:
        reader = _open_slice(file)
        names.add(_text(reader, "0010|0010").strip("^ ").casefold())
        numbers.add(_text(reader, "0010|0020").casefold())
        series[_text(reader, "0020|000e")].append(_slice_header(file, reader))
    # Ours: a patient who is named in some files only is one patient.
    if max(len(names - {""}), len(numbers - {""})) > 1:
        raise InputError(f"{folder}: holds slices of several patients; make a folder for each")
    return sorted((_ordered(headers) for headers in series.values()), key=lambda s: -len(s.files))


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
        return _read_nifti(path)
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
    header = _slice_header(path, _open_slice(path))
    series = Series((path,), (0.0,), (header,))
    if not series.axial:
        raise InputError(f"{path}: is a localizer or not axial; give an axial slice")
    _check_values(header)
    hu = _read_pixels(series)
    _check_hu(path, hu)
    return hu[0]


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        file.seek(_DICOM_MAGIC_AT)
        return file.read(len(_DICOM_MAGIC)) == _DICOM_MAGIC


def _reader(path: Path, kind: str) -> SimpleITK.ImageFileReader:
    """A reader of one file; SimpleITK's own warnings are silenced for the process.

    They come on standard error from C++; what matters of them is an InputError or a line of
    `Volume.warnings` here.
    """
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    return reader


def _open_slice(path: Path) -> SimpleITK.ImageFileReader:
    """A reader with the header of a CT slice. A file cut short fails here, pixels included."""
    reader = _reader(path, "GDCMImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        # The library's message has many lines and places in its source code.
        raise InputError(
            f"{path}: is not a DICOM image that can be read, or is cut short; copy the file again, "
            "or move it out of the folder if it is no slice"
        ) from error
    modality = _text(reader, "0008|0060")
    if modality != "CT":
        raise InputError(
            f"{path}: is no CT slice by its header (modality {modality[:16] or 'not stated'}); "
            "expected CT: move it out of the folder"
        )
    frames = math.prod(reader.GetSize()[2:])
    if frames != 1 or reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path}: holds {frames} frames of {reader.GetNumberOfComponents()} channels; expected "
            "one gray slice a file: export the series again"
        )
    return reader


def _slice_header(file: Path, reader: SimpleITK.ImageFileReader) -> SliceHeader:
    width, height = reader.GetSize()[:2]
    slope, intercept = _numbers(reader, "0028|1053", 1), _numbers(reader, "0028|1052", 1)
    return SliceHeader(
        file=file,
        shape=(height, width),
        directions=_numbers(reader, "0020|0037", 6),
        position=_numbers(reader, "0020|0032", 3),
        slice_location=(_numbers(reader, "0020|1041", 1) or (np.nan,))[0],
        pixel_spacing=_numbers(reader, "0028|0030", 2),
        thickness=(_numbers(reader, "0018|0050", 1) or (np.nan,))[0],
        localizer="LOCALIZER" in _text(reader, "0008|0008").upper().split("\\"),
        rescaled=bool(slope and intercept and slope[0]),
        inverted=_text(reader, "0028|0004") == "MONOCHROME1",
        pixel_type=reader.GetPixelIDValue(),
    )


def _text(reader: SimpleITK.ImageFileReader, tag: str) -> str:
    """A header field, or an empty string."""
    return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""


def _numbers(reader: SimpleITK.ImageFileReader, tag: str, count: int) -> tuple[float, ...] | None:
    """A header field of `count` numbers; None: absent, or something else."""
    try:
        values = tuple(float(value) + 0.0 for value in _text(reader, tag).split("\\"))
    except ValueError:
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _is_axial(directions: tuple[float, ...]) -> bool:
    return min(abs(directions[0]), abs(directions[4])) >= AXIAL_COSINE


def _ordered(headers: list[SliceHeader]) -> Series:
    """A series head first: along the slices' normal, or by SliceLocation where that is unknown."""
    directions = Series((), (), tuple(headers)).directions
    if directions is not None and all(header.position for header in headers):
        normal = np.cross(directions[:3], directions[3:])
        normal = normal if normal[2] >= 0 else -normal  # towards the head
        locations = [float(np.dot(header.position, normal)) for header in headers]
    else:
        # DICOM PS3.3, C.7.6.2.1.2 leaves the sign open. Ours: it grows towards the head, as
        # scanners write it; `_check_series` says that it was used.
        locations = [header.slice_location for header in headers]
    order = np.argsort(-np.array(locations), kind="stable")
    return Series(
        tuple(headers[i].file for i in order),
        tuple(locations[i] for i in order),
        tuple(headers[i] for i in order),
    )


def _read_folder(folder: Path) -> Volume:
    series, warnings = _choose_series(folder, list_series(folder))
    warnings += _check_series(folder, series)
    hu = _read_pixels(series)
    _check_hu(folder, hu)
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
    median = np.median(steps) if steps.size else np.inf
    gaps = np.flatnonzero(steps > GAP * median)
    if not gaps.size:
        return []
    first = gaps[0]
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
    _write_int16(SimpleITK.GetArrayViewFromImage(image), hu)


def _write_int16(values: np.ndarray, hu: np.ndarray) -> None:
    """Ours: rounded, and clipped to int16: beyond it there is padding alone, no tissue."""
    if values.dtype == np.int16:
        hu[:] = values
        return
    if values.dtype.kind == "f":
        values = np.rint(values)
    limits = np.iinfo(np.int16)
    np.clip(values, limits.min, limits.max, out=hu, casting="unsafe")


def _as_radiologists_look(hu: np.ndarray, directions: tuple[float, ...] | None) -> np.ndarray:
    """Slices with the patient's right at the left and the front at the top.

    Ours: some scans of patients lying prone are stored turned by 180 degrees.
    """
    if directions is None:
        return hu
    rows, columns = (-1 if cosine < 0 else 1 for cosine in (directions[4], directions[0]))
    return np.ascontiguousarray(hu[:, ::rows, ::columns])


def _check_hu(path: Path, hu: np.ndarray) -> None:
    low, high = int(hu.min()), int(hu.max())
    if low > AIR_AT_MOST or high < TISSUE_AT_LEAST:
        raise InputError(
            f"{path}: values run from {low} to {high}; expected HU of a chest, air at about -1000 "
            "and soft tissue at about 40: convert the original scan again"
        )


def _read_nifti(path: Path) -> Volume:
    _check_nifti_magic(path)
    reader = _reader(path, "NiftiImageIO")
    try:
        reader.ReadImageInformation()
        _check_nifti(path, reader)
        _check_voxels(path, reader)
        # Array axes from head to feet, front to back, the patient's right to left.
        image = SimpleITK.DICOMOrient(reader.Execute(), "LPI")
    except RuntimeError as error:
        raise InputError(
            f"{path}: is not a NIfTI file that can be read (cut short, damaged, or its axes are "
            "not at right angles); convert the scan again"
        ) from error
    hu = np.empty(image.GetSize()[::-1], np.int16)
    _write_int16(SimpleITK.GetArrayViewFromImage(image), hu)
    _check_hu(path, hu)
    towards_head = -np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    corners = [image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(len(hu))]
    width_mm, height_mm, _ = image.GetSpacing()
    return Volume(
        hu, np.array(corners) @ towards_head, (path.name,) * len(hu), (height_mm, width_mm), ()
    )


def _open_nifti(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _check_nifti_magic(path: Path) -> None:
    """Before SimpleITK sees the file: its NIfTI library prints to the terminal."""
    try:
        with _open_nifti(path) as file:
            start = file.read(_NIFTI_MAGIC_AT + 4)
    except _UNPACKING_ERRORS as error:
        raise _cut_short(path) from error
    # Format 1 has its name at the header's end, format 2 behind the header's size.
    if b"n+1\0" != start[_NIFTI_MAGIC_AT:] and not start[4:].startswith(b"n+2\0"):
        raise InputError(f"{path}: is not a NIfTI file, or is cut short; convert the scan again")


def _check_nifti(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    """Refuse what is no CT volume, or not whole."""
    size = reader.GetSize()
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        shape = "x".join(str(side) for side in size)
        raise InputError(
            f"{path}: has {len(size)} dimensions ({shape}) and {reader.GetNumberOfComponents()} "
            "channels; expected one CT volume of 3 dimensions"
        )
    if _text(reader, "qform_code") == _text(reader, "sform_code") == "0":
        raise InputError(
            f"{path}: states no orientation (qform and sform codes are 0): head and feet cannot be "
            "told apart; convert the scan again"
        )


def _check_voxels(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    """By the file's own bytes: SimpleITK makes up voxels that are cut off, and reads NaN as 0."""
    missing = math.prod(reader.GetSize()) * int(_text(reader, "bitpix")) // 8
    try:
        with _open_nifti(path) as file:
            order = ">" if file.read(1) == b"\0" else "<"  # of the header's size, 348 or 540
            code = _NIFTI_FLOATS.get(_text(reader, "datatype"))
            number = np.dtype(order + code) if code else None
            file.seek(int(float(_text(reader, "vox_offset"))))
            while missing > 0 and (block := file.read(min(missing, _BLOCK))):
                missing -= len(block)
                if number is None:
                    continue
                whole = block[: len(block) // number.itemsize * number.itemsize]
                if not np.isfinite(np.frombuffer(whole, number)).all():
                    raise InputError(
                        f"{path}: holds NaN or infinite values; expected HU: convert it again"
                    )
            while file.read(_BLOCK):  # the checksum of a compressed file is at its end
                pass
    except _UNPACKING_ERRORS as error:
        raise _cut_short(path) from error
    if missing > 0:
        raise _cut_short(path)


def _cut_short(path: Path) -> InputError:
    return InputError(f"{path}: the NIfTI file is cut short or damaged; copy the file again")
