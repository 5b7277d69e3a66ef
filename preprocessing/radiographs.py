"""Chest radiographs from PNG, JPEG and DICOM files as 8-bit gray images.

Kind and size are read from a file's first bytes, before anything is decoded: a wrong name, a file
cut short and a header that claims an absurd size are found early. No function returns or prints
what a DICOM header says about a person.
"""

import struct
from pathlib import Path

import cv2
import numpy as np
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.headers import PNG_START, check_dicom, check_pixels, damaged, sound_png
from preprocessing.tables import check_name
from preprocessing.video import VideoInfo
from preprocessing.volume import header_text, open_image

RADIOGRAPH_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")

# The COVID-19 Radiography Database keeps, in each class folder, the images and their lung masks.
IMAGES_FOLDER, MASKS_FOLDER = "images", "masks"

MINIMUM_SIDE = 32  # Ours: what can be a radiograph at all, in pixels; `headers` has the maximum

# Ours: these are no radiograph of the chest; any other modality, or none stated, may be one.
OTHER_MODALITIES = {
    "CT": "a CT slice",
    "MR": "an MR slice",
    "PT": "a PET slice",
    "NM": "a scintigram",
    "US": "an ultrasound image",
    "MG": "a mammogram",
}

# Ours: 16-bit files often hold 10-, 12- or 14-bit data, almost black when divided by 65535. The
# full range is taken to be the smallest of these that holds the image's largest value.
PNG_BIT_DEPTHS = (8, 10, 12, 14, 16)

_JPEG_START, _DICOM_MAGIC = b"\xff\xd8\xff", b"DICM"
_DICOM_MAGIC_AT = 128
_JPEG_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_IN_A_BYTE = 512  # pixels of a JPEG: each block of 64 takes a bit at least
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def is_radiograph(path: Path) -> bool:
    """Whether `read_radiograph` can be tried: a known suffix, or DICOM content under another name.

    DICOM files often carry no suffix, or their name is a number with dots.
    """
    if not path.is_file():
        return False
    suffix = path.suffix.lower()
    if suffix in RADIOGRAPH_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    return _kind(_first_bytes(path), "") == "DICOM"


def read_radiograph(path: Path) -> np.ndarray:
    """Read one radiograph.

    PNG and JPEG are recognised by content, DICOM by content or suffix.

    * Colour becomes gray by BT.601, as OpenCV weighs it. Ours: transparent parts become black.
    * JPEG: turned as its Exif orientation says, as viewers do.
    * 16-bit PNG: divided by the full range of the smallest of `PNG_BIT_DEPTHS` that holds its
      largest value.
    * DICOM: rescale slope and intercept applied, then the first window of the header (linear; a
      window table is not read); without a window 8-bit images stay as they are and deeper ones
      are stretched between their own minimum and maximum. MONOCHROME1 is inverted, so that bone
      is bright in every image.

    Args:
        path: the file.

    Returns:
        uint8 array (height, width), 0 (black) to 255.

    Raises:
        InputError: missing, empty, cut short or damaged; neither PNG, JPEG nor DICOM; a series or
            a slice; smaller than 32 or larger than 20,000 px a side.
    """
    check_name(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a PNG, JPEG or DICOM file")
    start = _first_bytes(path)
    if not start:
        raise InputError(f"{path}: is empty (0 bytes); copy the file again")
    kind = _kind(start, path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path}: holds neither a PNG, a JPEG nor a DICOM image, whatever its name says; "
            "put the image back under that name"
        )
    return _READERS[kind](path)


def list_radiographs(path: Path) -> list[Path]:
    """A radiograph, or all radiographs below a folder, sorted by name.

    Hidden files and whatever lies in a `masks` folder are left out. If any lies in an `images`
    folder below `path`, only those in such folders count: other pictures beside them, such as the
    lesions of phantoms, are no radiographs.

    Raises:
        InputError: nothing readable is there, or `path` is a folder of masks itself.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give radiographs or a folder of them")
    known = ", ".join(RADIOGRAPH_SUFFIXES)
    if path.is_file():
        if is_radiograph(path):
            return [path]
        raise InputError(f"{path}: is no radiograph by its name; expected {known}")
    if path.resolve().name == MASKS_FOLDER:
        raise InputError(
            f"{path}: is a folder of lung masks by its name; give the folder of the images"
        )
    folders = {p: p.relative_to(path).parts[:-1] for p in path.rglob("*")}
    found = sorted(
        p
        for p, parts in folders.items()
        if MASKS_FOLDER not in parts and not p.name.startswith(".") and is_radiograph(p)
    )
    if not found:
        raise InputError(f"{path}: no radiograph found; expected {known}")
    return [p for p in found if IMAGES_FOLDER in folders[p]] or found


def picture_info(path: Path, picture: np.ndarray | None = None) -> VideoInfo:
    """A radiograph as a video of one frame, for what is made for videos, such as region files.

    Args:
        path: the file.
        picture: what `read_radiograph` returns for it, if it was read already.

    Returns:
        Width and height in pixels as `read_radiograph` gives them; one frame, nominally one a
        second.

    Raises:
        InputError: as `read_radiograph`.
    """
    height, width = (read_radiograph(path) if picture is None else picture).shape
    return VideoInfo(path, width, height, 1.0, 1)


def resize_radiograph(image: np.ndarray, size: int) -> np.ndarray:
    """Bring a radiograph to a square of `size` px; an image that is not square is stretched.

    Ours: the paper states no interpolation. An axis that shrinks is averaged over areas, so that
    noise and grid lines do not alias; one that grows is interpolated bicubically.

    Args:
        image: uint8 (height, width), 0 to 255.
        size: side in pixels.

    Returns:
        uint8 (size, size).

    Raises:
        ValueError: not an 8-bit gray image.
    """
    check_gray(image)
    height, width = image.shape
    smaller = (min(width, size), min(height, size))
    if smaller != (width, height):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    return image


def check_gray(image: np.ndarray) -> None:
    """Raise ValueError unless `image` is uint8 (height, width)."""
    if image.dtype != np.uint8 or image.ndim != 2:
        raise ValueError(
            f"expected an 8-bit gray image, uint8 (height, width), got {image.dtype} {image.shape}"
        )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_DICOM_MAGIC_AT + len(_DICOM_MAGIC))


def _kind(start: bytes, suffix: str) -> str | None:
    """PNG, JPEG or DICOM by a file's first bytes; old DICOM files have the suffix only."""
    if start.startswith(PNG_START):
        return "PNG"
    if start.startswith(_JPEG_START):
        return "JPEG"
    if start[_DICOM_MAGIC_AT:] == _DICOM_MAGIC or suffix in (".dcm", ".dicom"):
        return "DICOM"
    return None


def _check_size(path: Path, height: int, width: int) -> None:
    if min(height, width) < MINIMUM_SIDE:
        raise InputError(
            f"{path}: is {width}x{height} px, too small for a radiograph; "
            f"expected at least {MINIMUM_SIDE} px a side: use the original image"
        )
    check_pixels(path, height, width)


def _read_png(path: Path) -> np.ndarray:
    sound = sound_png(path, path.read_bytes(), MINIMUM_SIDE)
    image = cv2.imdecode(np.frombuffer(sound, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise damaged(path, "the PNG image cannot be decoded")
    alpha = None
    if image.ndim == 3 and image.shape[2] == 4:
        alpha, image = image[..., 3], image[..., :3]
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    full = np.iinfo(gray.dtype).max
    if alpha is not None and alpha.min() < full:
        # Ours: over black, as around the field of exposure; what hides under alpha is arbitrary.
        gray = np.rint(gray * (alpha / full)).astype(gray.dtype)
    return gray if gray.dtype == np.uint8 else _eight_bits(gray)


def _eight_bits(gray: np.ndarray) -> np.ndarray:
    """uint16 gray of unknown bit depth as uint8."""
    bits = next(b for b in PNG_BIT_DEPTHS if int(gray.max()) < 2**b)
    return np.rint(gray * (255 / (2**bits - 1))).astype(np.uint8)


def _read_jpeg(path: Path) -> np.ndarray:
    data = path.read_bytes()
    height, width, picture_at = _jpeg_layout(path, data)
    _check_size(path, height, width)
    if height * width > len(data) * _MOST_IN_A_BYTE:
        raise damaged(path, f"the JPEG image claims {width}x{height} px and has not the bytes")
    # OpenCV decodes a JPEG cut short without a word, its lower part gray. The end marker cannot
    # occur inside the coded picture, and padding may follow it.
    if data.find(b"\xff\xd9", picture_at) < 0:
        raise damaged(path, "the JPEG image is cut short (it has no end marker)")
    gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise damaged(path, "the JPEG image cannot be decoded")
    return gray


def _jpeg_layout(path: Path, data: bytes) -> tuple[int, int, int]:
    """Height, width and the place where the coded picture starts, from the JPEG's segments."""
    at, size = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _JPEG_WITHOUT_LENGTH:  # a fill byte, or a bare marker
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAME_HEADERS and at + 9 <= len(data):
            size = struct.unpack(">HH", data[at + 5 : at + 9])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA and size is not None:  # start of scan: the coded picture follows
            return *size, at
    raise damaged(path, "the JPEG image is cut short or damaged")


def _read_dicom(path: Path) -> np.ndarray:
    stated = check_dicom(path)
    reader = open_image(path, "GDCMImageIO")
    try:
        reader.ReadImageInformation()
        _check_single_radiograph(path, reader)
        if stated not in (None, reader.GetSize()[1::-1]):
            raise damaged(path, "its pixel data have another size than its header states")
        values = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        # The library's message has many lines and places in its source code.
        raise damaged(path, "is not a DICOM image that can be read, or is cut short") from error
    values = values.reshape(values.shape[-3:] if _is_colour(reader) else values.shape[-2:])
    if _is_colour(reader):
        values = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    return _apply_window(path, values, _window(reader))


def _check_single_radiograph(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    """By the header alone: nothing has been decoded yet."""
    modality = _header(reader, "0008|0060")
    if modality in OTHER_MODALITIES:
        raise InputError(
            f"{path}: is {OTHER_MODALITIES[modality]} by its header (modality {modality}); "
            "give a chest radiograph (CR, DX)"
        )
    width, height, *others = reader.GetSize()
    frames = int(np.prod(others))
    if frames != 1:
        raise InputError(f"{path}: holds {frames} frames or slices; give a radiograph of one frame")
    _check_size(path, height, width)
    if reader.GetNumberOfComponents() > 1 and not _is_colour(reader):
        raise InputError(
            f"{path}: is neither gray nor 8-bit RGB; export it as a gray DICOM or PNG image"
        )


def _is_colour(reader: SimpleITK.ImageFileReader) -> bool:
    eight_bits = reader.GetPixelIDValue() == SimpleITK.sitkVectorUInt8
    return eight_bits and reader.GetNumberOfComponents() == 3


def _header(reader: SimpleITK.ImageFileReader, tag: str) -> str:
    """The first value of a header field, or an empty string."""
    return header_text(reader, tag).split("\\")[0].strip(" \0")


def _number(reader: SimpleITK.ImageFileReader, tag: str, default: float) -> float:
    try:
        return float(_header(reader, tag))
    except ValueError:  # absent, or not a number
        return default


def _window(reader: SimpleITK.ImageFileReader) -> tuple[float, float] | None:
    """The values to show black and white, in the values that SimpleITK returns; None: not stated.

    DICOM PS3.3, C.11.2.1.2.1. The standard asks for a width of at least 1.
    """
    center = _number(reader, "0028|1050", np.nan)
    width = _number(reader, "0028|1051", np.nan)
    if not (np.isfinite(center) and width >= 1):
        return None
    black, white = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    if _header(reader, "0028|0004") != "MONOCHROME1":
        return black, white
    # SimpleITK has inverted the stored values (s to largest - s, signed ones to -1 - s) before
    # the rescale; the window speaks of the values before that: mirror it.
    stored_bits = int(_number(reader, "0028|0101", 16))
    signed = _number(reader, "0028|0103", 0) == 1
    slope, intercept = _number(reader, "0028|1053", 1.0), _number(reader, "0028|1052", 0.0)
    sum_of_both = slope * (-1 if signed else 2**stored_bits - 1) + 2 * intercept
    return sum_of_both - white, sum_of_both - black


def _apply_window(path: Path, values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if window is None:
        if values.dtype == np.uint8:
            return values
        black, white = low, high
    else:
        black, white = window
        if low < high and (white < low or black > high):
            raise InputError(
                f"{path}: its window shows {black:g} to {white:g}, its values are {low:g} to "
                f"{high:g}: the picture would be blank; export it again with a fitting window"
            )
    scaled = (values - black) * (255 / max(white - black, 1e-9))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


_READERS = {"PNG": _read_png, "JPEG": _read_jpeg, "DICOM": _read_dicom}
