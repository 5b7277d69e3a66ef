"""CT series of a folder by their DICOM headers, head first, before any pixel is decoded.

Slices are ordered by their position in the patient, never by file name. What a header says about a
person is compared in here, and neither returned nor printed; so are the identifiers of studies and
series.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.headers import check_dicom, damaged
from preprocessing.volume import check_side, header_text, open_image

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Ours: a slice is axial if its rows run from right to left and its columns from front to back
# within this cosine (37 degrees); gantries tilt by 30 degrees at most.
AXIAL_COSINE = 0.8

_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128


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
        names.add(header_text(reader, "0010|0010").strip("^ ").casefold())
        numbers.add(header_text(reader, "0010|0020").casefold())
        series[header_text(reader, "0020|000e")].append(_slice_header(file, reader))
    # Ours: a patient who is named in some files only is one patient.
    if max(len(names - {""}), len(numbers - {""})) > 1:
        raise InputError(f"{folder}: holds slices of several patients; make a folder for each")
    return sorted((_ordered(headers) for headers in series.values()), key=lambda s: -len(s.files))


def read_header(file: Path) -> SliceHeader:
    """The header of one CT slice.

    Raises:
        InputError: the file is cut short, of another modality or of several frames.
    """
    return _slice_header(file, _open_slice(file))


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        file.seek(_DICOM_MAGIC_AT)
        return file.read(len(_DICOM_MAGIC)) == _DICOM_MAGIC


def _open_slice(path: Path) -> SimpleITK.ImageFileReader:
    """A reader with the header of a CT slice. A file cut short fails here, pixels included."""
    stated = check_dicom(path)
    reader = open_image(path, "GDCMImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        # The library's message has many lines and places in its source code.
        raise InputError(
            f"{path}: is not a DICOM image that can be read, or is cut short; copy the file again, "
            "or move it out of the folder if it is no slice"
        ) from error
    modality = header_text(reader, "0008|0060")
    if modality != "CT":
        raise InputError(
            f"{path}: is no CT slice by its header (modality {_code(modality)}); "
            "expected CT: move it out of the folder"
        )
    frames = math.prod(reader.GetSize()[2:])
    if frames != 1 or reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path}: holds {frames} frames of {reader.GetNumberOfComponents()} channels; expected "
            "one gray slice a file: export the series again"
        )
    width, height = reader.GetSize()[:2]
    check_side(path, (width, height))
    if stated not in (None, (height, width)):
        raise damaged(path, "its pixel data have another size than its header states")
    return reader


def _code(modality: str) -> str:
    """A modality to be shown; what is no code of DICOM might be anything, a name among it."""
    if not modality:
        return "not stated"
    is_code = modality.isalpha() and modality.isupper() and len(modality) < 9
    return modality if is_code else "unknown"


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
        localizer="LOCALIZER" in header_text(reader, "0008|0008").upper().split("\\"),
        rescaled=bool(slope and intercept and slope[0]),
        inverted=header_text(reader, "0028|0004") == "MONOCHROME1",
        pixel_type=reader.GetPixelIDValue(),
    )


def _numbers(reader: SimpleITK.ImageFileReader, tag: str, count: int) -> tuple[float, ...] | None:
    """A header field of `count` numbers; None: absent, or something else."""
    try:
        values = tuple(float(value) + 0.0 for value in header_text(reader, tag).split("\\"))
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
        # scanners write it; `read_volume` says that it was used.
        locations = [header.slice_location for header in headers]
    order = np.argsort(-np.array(locations), kind="stable")
    return Series(
        tuple(headers[i].file for i in order),
        tuple(locations[i] for i in order),
        tuple(headers[i] for i in order),
    )
