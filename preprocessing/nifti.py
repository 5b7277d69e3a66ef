"""CT from NIfTI files to Hounsfield units (HU), head first; `preprocessing.ct` is the way in."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.volume import Volume, check_hu, check_side, header_text, open_image, write_int16

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_FLOATS = {"16": "f4", "64": "f8"}  # number types by the header's code
_MAGIC_AT = 344
_DAMAGED = "is not a NIfTI file, or is cut short; convert the scan again"
# Where a header has what tells places: of format 1 and 2, types of its numbers and their places:
# dim; pixdim; the codes of qform and sform; quaternion and offset; the rows of the matrix.
_HEADERS = {
    348: ("i2", 40, "f4", 76, "i2", 252, 256, 280),
    540: ("i8", 16, "f8", 104, "i4", 344, 352, 400),
}
_BLOCK = 1 << 20
_BLOCKS_BEHIND = 64
_UNPACKING_ERRORS = (EOFError, OSError, zlib.error)


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file of one CT scan: it must hold HU; turned to `Volume`'s order.

    Raises:
        InputError: no NIfTI file, or it is cut short; other than 3 dimensions; no orientation, or
            axes that are not at right angles; NaN; values that cannot be HU.
    """
    _check_start(path)
    reader = open_image(path, "NiftiImageIO")
    try:
        reader.ReadImageInformation()
        _check_header(path, reader)
        _check_voxels(path, reader)
        # Array axes from head to feet, front to back, the patient's right to left.
        image = SimpleITK.DICOMOrient(reader.Execute(), "LPI")
    except RuntimeError as error:
        raise InputError(
            f"{path}: is not a NIfTI file that can be read (cut short, damaged, or its axes are "
            "not at right angles); convert the scan again"
        ) from error
    hu = np.empty(image.GetSize()[::-1], np.int16)
    write_int16(SimpleITK.GetArrayViewFromImage(image), hu)
    check_hu(path, hu)
    towards_head = -np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    corners = [image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(len(hu))]
    width_mm, height_mm, _ = image.GetSpacing()
    return Volume(
        hu, np.array(corners) @ towards_head, (path.name,) * len(hu), (height_mm, width_mm), ()
    )


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _check_start(path: Path) -> None:
    """Before SimpleITK sees the file: its NIfTI library prints to the terminal."""
    try:
        with _open(path) as file:
            start = file.read(max(_HEADERS))
    except _UNPACKING_ERRORS as error:
        raise _cut_short(path) from error
    # Format 1 has its name at the header's end, format 2 behind the header's size.
    if not start[_MAGIC_AT:].startswith(b"n+1\0") and not start[4:].startswith(b"n+2\0"):
        raise InputError(f"{path}: {_DAMAGED}")
    order = ">" if start[:1] == b"\0" else "<"  # of the header's size, 348 or 540
    layout = _HEADERS.get(int(np.frombuffer(start, order + "i4", 1)[0]))
    if layout is None or len(start) < _MAGIC_AT + 4:
        raise InputError(f"{path}: {_DAMAGED}")
    whole, dim_at, real, pixdim_at, code, codes_at, quaternion_at, rows_at = layout
    try:
        dim = np.frombuffer(start, order + whole, 8, dim_at)
        qform, sform = np.frombuffer(start, order + code, 2, codes_at)
        places = [np.frombuffer(start, order + real, 3, pixdim_at + np.dtype(real).itemsize)]
        if qform > 0:
            places.append(np.frombuffer(start, order + real, 6, quaternion_at))
        if sform > 0:
            places.append(np.frombuffer(start, order + real, 12, rows_at))
    except ValueError as error:
        raise _cut_short(path) from error
    # SimpleITK never returns from a direction that is no number.
    finite = np.isfinite(np.hstack(places)).all()
    if not finite or not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise InputError(f"{path}: {_DAMAGED}")


def _check_header(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    """Refuse what is no CT volume, or not whole."""
    size = reader.GetSize()
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        shape = "x".join(str(side) for side in size)
        raise InputError(
            f"{path}: has {len(size)} dimensions ({shape}) and {reader.GetNumberOfComponents()} "
            "channels; expected one CT volume of 3 dimensions"
        )
    check_side(path, size)
    if header_text(reader, "qform_code") == header_text(reader, "sform_code") == "0":
        raise InputError(
            f"{path}: states no orientation (qform and sform codes are 0): head and feet cannot be "
            "told apart; convert the scan again"
        )


def _check_voxels(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    """By the file's own bytes: SimpleITK makes up voxels that are cut off, and reads NaN as 0."""
    missing = math.prod(reader.GetSize()) * int(header_text(reader, "bitpix")) // 8
    try:
        with _open(path) as file:
            order = ">" if file.read(1) == b"\0" else "<"  # of the header's size, 348 or 540
            code = _FLOATS.get(header_text(reader, "datatype"))
            number = np.dtype(order + code) if code else None
            file.seek(int(float(header_text(reader, "vox_offset"))))
            while missing > 0 and (block := file.read(min(missing, _BLOCK))):
                missing -= len(block)
                if number is None:
                    continue
                whole = block[: len(block) // number.itemsize * number.itemsize]
                if not np.isfinite(np.frombuffer(whole, number)).all():
                    raise InputError(
                        f"{path}: holds NaN or infinite values; expected HU: convert it again"
                    )
            for _ in range(_BLOCKS_BEHIND):  # the checksum of a compressed file is at its end
                if not file.read(_BLOCK):
                    break
            else:
                raise InputError(
                    f"{path}: goes on long behind the voxels that its header states; convert the "
                    "scan again"
                )
    except _UNPACKING_ERRORS as error:
        raise _cut_short(path) from error
    if missing > 0:
        raise _cut_short(path)


def _cut_short(path: Path) -> InputError:
    return InputError(f"{path}: the NIfTI file is cut short or damaged; copy the file again")
