"""What is refused by its header alone, and the odd encodings of DICOM that are not."""

import struct
import zlib

import numpy as np
import pytest
import SimpleITK

from preprocessing.errors import InputError
from preprocessing.headers import check_dicom, check_pixels, sound_png
from preprocessing.radiographs import read_radiograph

ROWS, COLUMNS = 40, 48
IMPLICIT, LITTLE, DEFLATED, BIG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
)  # fmt: skip
LONG = ("OB", "OW", "SQ", "UN")
UNDEFINED = 0xFFFFFFFF


def element(group, number, kind, value, encoding=LITTLE, length=None):
    """One data element; `length` may lie."""
    order = ">" if encoding == BIG else "<"
    length = len(value) if length is None else length
    tag = struct.pack(f"{order}HH", group, number)
    if encoding == IMPLICIT:
        return tag + struct.pack("<I", length) + value
    if kind in LONG:
        return tag + kind.encode() + struct.pack(f"{order}HI", 0, length) + value
    return tag + kind.encode() + struct.pack(f"{order}H", length) + value


def item(content, length=None):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content) if length is None else length) + content


END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END_OF_ITEMS = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def picture(encoding=LITTLE, more=b"", rows=ROWS, pixels=ROWS * COLUMNS, length=None):
    """The elements of an 8-bit radiograph; `more` goes before its pixels."""
    order = ">" if encoding == BIG else "<"
    numbers = {2: 1, 0x10: rows, 0x11: COLUMNS, 0x100: 8, 0x101: 8, 0x102: 7, 0x103: 0}
    described = [
        element(0x28, number, "US", struct.pack(f"{order}H", value), encoding)
        for number, value in numbers.items()
    ]
    described.insert(1, element(0x28, 4, "CS", b"MONOCHROME2 ", encoding))
    shades = (np.arange(pixels) % 251).astype(np.uint8).tobytes()
    return (
        element(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.1\0", encoding)
        + element(8, 0x60, "CS", b"DX", encoding)
        + b"".join(described) + more
        + element(0x7FE0, 0x10, "OB" if encoding == LITTLE else "OW", shades, encoding, length)
    )  # fmt: skip


def write(path, dataset, said=LITTLE, preamble=True):
    said = said.encode() + b"\0" * (len(said) % 2)
    meta = element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.1\0") + element(2, 0x10, "UI", said)
    meta = element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    path.write_bytes((bytes(128) + b"DICM" + meta if preamble else b"") + dataset)
    return path


def icon(encoding=LITTLE, length=None):
    """A small picture in a sequence, with rows and pixels of its own, as scanners store one."""
    small = element(0x28, 0x10, "US", b"\x08\0", encoding)
    small += element(0x28, 0x11, "US", b"\x08\0", encoding)
    small += element(0x7FE0, 0x10, "OW", bytes(64), encoding)
    content = item(small) if length is None else item(small + END_OF_ITEM, UNDEFINED) + END_OF_ITEMS
    return element(0x88, 0x200, "SQ", content, encoding, length)


def unknown(content):
    """A private sequence as a device passes it on that does not know it: implicit inside."""
    inside = element(9, 0x1001, "", content, IMPLICIT)
    return element(9, 0x1002, "UN", item(inside + END_OF_ITEM, UNDEFINED) + END_OF_ITEMS, LITTLE,
                   UNDEFINED)  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (picture(), LITTLE),
        (picture(IMPLICIT), IMPLICIT),
        (picture(IMPLICIT), LITTLE),  # which is wrong, and seen in the wild
        (picture(LITTLE, icon()), LITTLE),
        (picture(LITTLE, icon(length=UNDEFINED)), LITTLE),
        (picture(IMPLICIT, icon(IMPLICIT)), IMPLICIT),
        (picture(IMPLICIT, icon(IMPLICIT, UNDEFINED)), IMPLICIT),
        (unknown(b"some text") + picture(), LITTLE),
        (picture() + element(0xFFFC, 0xFFFC, "OB", bytes(99)), LITTLE),
    ],
)
def test_odd_but_whole_files_are_read(tmp_path, dataset, said):
    path = write(tmp_path / "a.dcm", dataset, said)
    assert check_dicom(path) == (ROWS, COLUMNS)
    expected = (np.arange(ROWS * COLUMNS) % 251).reshape(ROWS, COLUMNS)
    assert np.array_equal(read_radiograph(path), expected)


def test_big_endian_files_and_files_without_a_start_are_understood(tmp_path):
    assert check_dicom(write(tmp_path / "a.dcm", picture(BIG), BIG)) == (ROWS, COLUMNS)
    for encoding in (LITTLE, IMPLICIT):
        path = write(tmp_path / "b.dcm", picture(encoding), preamble=False)
        assert check_dicom(path) == (ROWS, COLUMNS)
    assert check_dicom(write(tmp_path / "c.dcm", element(8, 0x60, "CS", b"DX"))) is None


@pytest.mark.parametrize(
    ("dataset", "said", "match"),
    [
        (picture(length=0xFFFFFFFE), LITTLE, "cut short"),
        (picture(IMPLICIT, length=0x7FFFFFFE), IMPLICIT, "cut short"),
        (picture(BIG, length=0x7FFFFFFE), BIG, "cut short"),
        (picture(pixels=ROWS * COLUMNS - 2), LITTLE, "claims 48x40 px, more than"),
        (picture(rows=60_000), LITTLE, "claims 48x60000 px, more than"),
        (picture(LITTLE, icon(), rows=41), LITTLE, "claims 48x41 px, more than"),
        (picture(LITTLE, element(0x28, 8, "IS", b"2 ")), LITTLE, "more than its pixel data hold"),
        (element(9, 1, "UN", b"", LITTLE, 2**31) + picture(), LITTLE, "cut short"),
        (element(9, 1, "SQ", item(element(9, 1, "OB", b"", LITTLE, 2**31))) + picture(), LITTLE,
         "cut short"),
        (picture(LITTLE, element(0x28, 0x30, "D\0", b"1\\1 ")), LITTLE, "cut short"),
        (picture(), DEFLATED, "compressed as a whole"),
        (b"", LITTLE, None),
    ],
)  # fmt: skip
def test_what_a_file_does_not_hold_is_refused(tmp_path, monkeypatch, dataset, said, match):
    path = write(tmp_path / "a.dcm", dataset, said)
    if match is None:
        assert check_dicom(path) is None
        return
    monkeypatch.delattr(SimpleITK.ImageFileReader, "Execute")
    monkeypatch.delattr(SimpleITK.ImageFileReader, "ReadImageInformation")
    with pytest.raises(InputError, match=match) as error:
        read_radiograph(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def chunk(name, content):
    whole = name + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


def png(width=9, height=7, packed=None):
    plain = bytes((width + 1) * height) if packed is None else packed
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    start = b"\x89PNG\r\n\x1a\n" + header + chunk(b"tEXt", b"a\0b")
    return start + chunk(b"IDAT", zlib.compress(plain)) + chunk(b"IEND", b"")


def test_png_keeps_what_holds_the_picture(tmp_path):
    sound = sound_png(tmp_path / "a.png", png() + b"behind the end")
    assert b"tEXt" not in sound and sound.endswith(chunk(b"IEND", b""))
    bomb = png(20_000, 5_000, packed=bytes(100))
    for data, match in (
        (b"", "is not a PNG"), (png()[:20], "cut short"), (png()[:-20], "cut short"),
        (bomb, "claims 20000x5000 px and has not the bytes"), (png(0, 5), "too small"),
        (png(30_000, 1, packed=b""), "claims 30000x1 px; expected at most"),
        (png().replace(b"tEXta", b"tEXtb"), "a checksum is wrong"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=match):
            sound_png(tmp_path / "a.png", data)


def test_pixels_have_bounds(tmp_path):
    check_pixels(tmp_path, 5_000, 20_000)
    for size in ((5_001, 20_000), (20_001, 1)):
        with pytest.raises(InputError, match="its header claims"):
            check_pixels(tmp_path, *size)
