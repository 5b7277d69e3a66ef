"""What headers claim, checked against what there is before a decoder believes them.

Decoders set memory aside for what a header claims, and some show what lies in that memory: a DICOM
file of 2 kB can ask for 4 GB.
"""

import mmap
import struct
import zlib
from pathlib import Path

from preprocessing.errors import InputError

# Ours: what a still picture can have at all, in pixels. Flat-panel detectors have 2,000 to 4,300
# a side.
MAXIMUM_SIDE, MAXIMUM_PIXELS = 20_000, 100_000_000

PNG_START = b"\x89PNG\r\n\x1a\n"
# Of a PNG file only these chunks are decoded: colour profiles and gamma do not alter the pixels.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colour
_PNG_IHDR_AT, _PNG_IHDR_END = 16, 29
_MOST_INFLATED = 1040  # DEFLATE packs at most 1,032 bytes into one

_DICOM_MAGIC, _DICOM_START = b"DICM", 132
NO_DICOM = "is not a DICOM image that can be read, or is cut short"
_LITTLE, _IMPLICIT, _DEFLATED, _BIG = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
)  # fmt: skip
# DICOM PS3.5, 7.1.2: kinds of values with a length of 2 and of 4 bytes.
_SHORT_KINDS = frozenset(
    kind.encode()
    for kind in "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)
_LONG_KINDS = frozenset(
    kind.encode() for kind in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
)  # fmt: skip
_KINDS = _SHORT_KINDS | _LONG_KINDS
_UNDEFINED = 0xFFFFFFFF  # a length that is not stated: a mark ends the value
_ITEMS, _END_OF_ITEMS = 0xFFFE, 0xE0DD
_PIXEL_DATA = (0x7FE0, 0x0010)
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    (0x28, 2), (0x28, 8), (0x28, 0x10), (0x28, 0x11), (0x28, 0x100)
)  # fmt: skip


def damaged(path: Path, what: str) -> InputError:
    """The error for a file that was whole once."""
    return InputError(f"{path}: {what}; copy the file again")


def check_pixels(path: Path, height: int, width: int) -> None:
    """Refuse a still picture of an absurd size.

    Raises:
        InputError: more than 20,000 px a side, or 100 million in all.
    """
    if max(height, width) > MAXIMUM_SIDE or height * width > MAXIMUM_PIXELS:
        raise InputError(
            f"{path}: its header claims {width}x{height} px; expected at most {MAXIMUM_SIDE} px a "
            f"side and {MAXIMUM_PIXELS // 1_000_000} million in all: export it smaller"
        )


def sound_png(path: Path, data: bytes, minimum_side: int = 1) -> bytes:
    """The chunks of a PNG file that hold the picture, each checked against its checksum.

    Args:
        path: named in errors.
        data: the file's content.
        minimum_side: in pixels.

    Raises:
        InputError: no PNG file; cut short or damaged; of an absurd size, or of a size for which
            there are too few bytes.
    """
    if not data.startswith(PNG_START):
        raise damaged(path, "is not a PNG image")
    if len(data) < _PNG_IHDR_END:
        raise damaged(path, "the PNG image is cut short")
    width, height, depth, colour = struct.unpack(">IIBB", data[_PNG_IHDR_AT:26])
    if min(height, width) < minimum_side:
        raise InputError(
            f"{path}: is {width}x{height} px, too small; expected at least {minimum_side} px a "
            "side: use the original image"
        )
    check_pixels(path, height, width)
    kept, at, kind, packed = [PNG_START], len(PNG_START), b"", 0
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        end = at + 12 + length
        if end > len(data):
            raise damaged(path, "the PNG image is cut short")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged(path, "the PNG image is damaged (a checksum is wrong)")
        if kind in _PNG_CHUNKS:
            kept.append(data[at:end])
            packed += length
        at = end
    needed = height * (width * depth * _PNG_CHANNELS.get(colour, 1) // 8)
    if needed > packed * _MOST_INFLATED:
        raise damaged(path, f"the PNG image claims {width}x{height} px and has not the bytes")
    return b"".join(kept)


def check_dicom(path: Path) -> tuple[int, int] | None:
    """Refuse a DICOM file that is shorter than its elements and its picture say.

    GDCM sets aside whatever length an element states, and fills rows for which there are no pixels
    with whatever lies in memory. What is oddly encoded is left for it to judge.

    Returns:
        Rows and columns that the header states; None: it does not. Those of a JPEG inside may be
        others.

    Raises:
        InputError: cut short or damaged, or compressed as a whole ("deflated").
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise damaged(path, NO_DICOM)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            values, pixel_bytes = _check_elements(path, data)
    rows, columns = values.get(_ROWS, 0), values.get(_COLUMNS, 0)
    if pixel_bytes is not None:
        samples = 2 if values.get(_SAMPLES, 1) > 1 else 1  # two of three, where colour is thinned
        bits = rows * columns * samples * values.get(_BITS, 0) * values.get(_FRAMES, 1)
        if bits > 8 * pixel_bytes:
            raise damaged(
                path, f"its header claims {columns}x{rows} px, more than its pixel data hold"
            )
    return (rows, columns) if rows and columns else None


def _check_elements(path: Path, data: mmap.mmap) -> tuple[dict[tuple[int, int], int], int | None]:
    """Numbers that describe the picture, and the bytes of its pixels if they are not compressed."""
    at = _DICOM_START if data[_DICOM_START - 4 : _DICOM_START] == _DICOM_MAGIC else 0
    encoding, end = _LITTLE, len(data)
    if not at and data[4:6] not in _KINDS:
        encoding = _IMPLICIT
    meta, stated = at > 0, encoding  # the first elements tell how the others are encoded
    depth, inside_until, in_pixels = 0, 0, False  # sequences of unknown and of known length
    implicit_below = None  # the depth below which a sequence of unknown kind is
    values, pixel_bytes = {}, None
    while at + 8 <= end:
        if meta and data[at : at + 2] != b"\x02\0":
            meta, encoding = False, stated
            if encoding == _DEFLATED:
                raise InputError(f"{path}: is compressed as a whole; export it uncompressed")
            if data[at + 4 : at + 6] not in _KINDS:  # some files say otherwise
                encoding = _IMPLICIT
        order = ">" if encoding == _BIG else "<"
        group, element, length = struct.unpack(f"{order}HHI", data[at : at + 8])
        kind, start = data[at + 4 : at + 6], at + 8
        if group == _ITEMS:
            at = start
            if element == _END_OF_ITEMS:
                depth, in_pixels = max(depth - (not in_pixels), 0), False
                if implicit_below is not None and depth <= implicit_below:
                    implicit_below = None
            elif in_pixels and length != _UNDEFINED:  # a part of compressed pixel data
                at = _behind(path, start, length, end)
            continue
        if in_pixels:
            raise damaged(path, NO_DICOM)
        implicit = encoding == _IMPLICIT or implicit_below is not None
        if not implicit and kind in _SHORT_KINDS:
            (length,) = struct.unpack(f"{order}H", data[at + 6 : at + 8])
        elif not implicit:
            if kind not in _LONG_KINDS or at + 12 > end:
                raise damaged(path, NO_DICOM)  # GDCM tries every length that it might be
            (length,) = struct.unpack(f"{order}I", data[at + 8 : at + 12])
            start = at + 12
        is_outermost = depth == 0 and at >= inside_until
        if length == _UNDEFINED:
            in_pixels = (group, element) == _PIXEL_DATA
            if not in_pixels:
                if not implicit and kind == b"UN":  # DICOM PS3.5, 6.2.2
                    implicit_below = depth
                depth += 1
            at = start
            continue
        behind = _behind(path, start, length, end)
        if meta and element == 0x10:
            stated = data[start:behind].rstrip(b" \0").decode("ascii", "replace")
        if is_outermost and (group, element) == _PIXEL_DATA:
            pixel_bytes = length
        elif is_outermost and (group, element) in (_ROWS, _COLUMNS, _BITS, _SAMPLES, _FRAMES):
            values[group, element] = _number(data[start:behind], order, element)
        # What is inside a sequence is checked as well.
        if implicit:
            has_items = data[start : start + 4] == b"\xfe\xff\x00\xe0"
            is_sequence = has_items and (group, element) != _PIXEL_DATA
        else:
            is_sequence = kind == b"SQ"
        at = behind
        if is_sequence:
            at, inside_until = start, max(inside_until, behind)
    return values, pixel_bytes


def _number(value: bytes, order: str, element: int) -> int:
    """A number of the picture's description; the number of frames is text. 0: neither."""
    if element == _FRAMES[1]:
        text = value.strip(b" \0")
        return int(text) if text.isdigit() and len(text) < 10 else 0
    return int.from_bytes(value, "little" if order == "<" else "big") if len(value) == 2 else 0


def _behind(path: Path, start: int, length: int, end: int) -> int:
    if length > end - start:
        raise damaged(path, NO_DICOM)
    return start + length
