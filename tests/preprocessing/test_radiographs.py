import struct
import zlib

import cv2
import numpy as np
import pytest
import SimpleITK
from PIL import Image, PngImagePlugin

from preprocessing import radiographs
from preprocessing.errors import InputError
from preprocessing.radiographs import is_radiograph, read_radiograph, resize_radiograph

HEIGHT, WIDTH = 48, 64


def gray_picture(height=HEIGHT, width=WIDTH):
    """A smooth picture that is neither symmetric nor square and has 0 and 255."""
    rng = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 4)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def element(group, number, kind, value):
    """One data element of a DICOM file, explicit VR, little endian."""
    value = value.encode() if isinstance(value, str) else value
    value += (b"\0" if kind in ("UI", "OW") else b" ") * (len(value) % 2)
    length = struct.pack("<HI", 0, len(value)) if kind == "OW" else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind.encode() + length + value


def write_dicom(
    path,
    values,
    photometric="MONOCHROME2",
    modality="DX",
    window=None,
    rescale=None,
    stored_bits=None,
    frames=1,
    rows=None,
    preamble=True,
):
    """A minimal DICOM radiograph: SimpleITK writes neither MONOCHROME1 nor fewer stored bits."""

    def short(number):
        return struct.pack("<H", number)

    image_class, bits = "1.2.840.10008.5.1.4.1.1.1.1", values.dtype.itemsize * 8
    colour = photometric == "RGB"
    height, width = values.shape[:2] if colour else values.shape[-2:]
    meta = (
        element(2, 2, "UI", image_class)
        + element(2, 3, "UI", "1.2.3.4")
        + element(2, 0x10, "UI", "1.2.840.10008.1.2.1")
    )
    data = element(8, 0x16, "UI", image_class) + element(8, 0x18, "UI", "1.2.3.4")
    if modality:
        data += element(8, 0x60, "CS", modality)
    data += element(0x10, 0x10, "PN", "Secret^Name") + element(0x10, 0x20, "LO", "ID-4711")
    data += element(0x28, 2, "US", short(3 if colour else 1))
    data += element(0x28, 4, "CS", photometric)
    if colour:
        data += element(0x28, 6, "US", short(0))
    if frames > 1:
        data += element(0x28, 8, "IS", str(frames))
    for number, value in (
        (0x10, rows or height),
        (0x11, width),
        (0x100, bits),
        (0x101, stored_bits or bits),
        (0x102, (stored_bits or bits) - 1),
        (0x103, int(values.dtype.kind == "i")),
    ):
        data += element(0x28, number, "US", short(value))
    for first, pair in ((0x1050, window), (0x1052, rescale)):
        if pair:
            data += element(0x28, first, "DS", pair[0]) + element(0x28, first + 1, "DS", pair[1])
    data += element(0x7FE0, 0x10, "OW", values.tobytes())
    group_length = element(2, 0, "UL", struct.pack("<I", len(meta)))
    start = bytes(128) + b"DICM" if preamble else b""
    path.write_bytes(start + group_length + meta + data)
    return path


def test_reads_gray_png_and_jpeg(tmp_path):
    picture = gray_picture()
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "a.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 98])
    image = read_radiograph(tmp_path / "a.png")
    assert image.dtype == np.uint8 and np.array_equal(image, picture)
    assert np.abs(read_radiograph(tmp_path / "a.jpg").astype(int) - picture).max() <= 4


def test_content_counts_and_not_the_suffix(tmp_path):
    picture = gray_picture()
    write_dicom(tmp_path / "1.2.840.113619", picture)
    cv2.imwrite(str(tmp_path / "b.png"), picture)
    (tmp_path / "b.png").rename(tmp_path / "b.jpeg")
    for name in ("1.2.840.113619", "b.jpeg"):
        assert is_radiograph(tmp_path / name)
        assert np.array_equal(read_radiograph(tmp_path / name), picture)


def test_is_radiograph_leaves_other_files_alone(tmp_path):
    for name in ("README", "notes.txt", "list.1", "mask.npy"):
        (tmp_path / name).write_text("text" * 50)
        assert not is_radiograph(tmp_path / name)
    write_dicom(tmp_path / "DICOMDIR.txt", gray_picture())
    assert not is_radiograph(tmp_path / "DICOMDIR.txt")
    assert not is_radiograph(tmp_path)
    for suffix in radiographs.RADIOGRAPH_SUFFIXES:
        (tmp_path / f"x{suffix.upper()}").touch()
        assert is_radiograph(tmp_path / f"x{suffix.upper()}")


def test_colour_becomes_gray_by_bt601(tmp_path):
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:, :20], rgb[:, 20:40], rgb[:, 40:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    write_dicom(tmp_path / "rgb.dcm", rgb, "RGB")
    for name in ("rgb.png", "rgb.dcm"):
        row = read_radiograph(tmp_path / name)[5, [5, 25, 45]]
        assert row.tolist() == [round(200 * w) for w in (0.299, 0.587, 0.114)]


def test_equal_channels_give_the_gray_value_itself(tmp_path):
    picture = gray_picture()
    Image.fromarray(np.stack([picture] * 3, -1)).save(tmp_path / "rgb.png")
    assert np.array_equal(read_radiograph(tmp_path / "rgb.png"), picture)


def test_palette_and_one_bit_png(tmp_path):
    picture = gray_picture()
    Image.fromarray(picture).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(picture > 99).save(tmp_path / "bit.png")
    assert np.array_equal(read_radiograph(tmp_path / "palette.png"), picture)
    assert np.array_equal(read_radiograph(tmp_path / "bit.png"), (picture > 99) * np.uint8(255))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_are_black_and_opaque_ones_exact(tmp_path, mode):
    picture = gray_picture()
    alpha = np.full_like(picture, 255)
    channels = [picture] * (1 if mode == "LA" else 3)
    Image.fromarray(np.stack([*channels, alpha], -1), mode).save(tmp_path / "opaque.png")
    assert np.array_equal(read_radiograph(tmp_path / "opaque.png"), picture)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    Image.fromarray(np.stack([*channels, alpha], -1), mode).save(tmp_path / "alpha.png")
    image = read_radiograph(tmp_path / "alpha.png")
    assert image[:, :10].max() == 0
    assert np.abs(image[:, 10:20] - picture[:, 10:20] * (128 / 255)).max() <= 0.5
    assert np.array_equal(image[:, 20:], picture[:, 20:])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bit_png_uses_the_depth_that_holds_its_values(tmp_path, bits):
    picture = gray_picture()
    deep = np.rint(picture * ((2**bits - 1) / 255)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.array_equal(read_radiograph(tmp_path / "deep.png"), picture)


def test_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    picture = gray_picture()
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif, quality=98)
    image = read_radiograph(tmp_path / "turned.jpg")
    assert np.abs(image.astype(int) - np.rot90(picture, -1)).max() <= 4


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("stored_bits", "signed", "rescale"),
    [(16, False, None), (12, False, None), (12, False, ("-1024", "2")), (16, True, ("3", "0.5"))],
)
def test_dicom_window_and_photometric_interpretation(
    tmp_path, photometric, stored_bits, signed, rescale
):
    stored = (gray_picture().astype(np.int32) * 16).astype(np.int16 if signed else np.uint16)
    if signed:
        stored -= 1500
    intercept, slope = (float(x) for x in rescale or ("0", "1"))
    values = stored * slope + intercept
    # Not in the middle of the range: a window that is mirrored or not must make a difference.
    low, high = np.percentile(values, [10, 60]).round()
    window = (f"{(low + high) / 2 + 0.5}\\1", f"{high - low + 1}\\2")
    path = write_dicom(
        tmp_path / "a.dcm", stored, photometric, window=window, rescale=rescale,
        stored_bits=stored_bits,
    )  # fmt: skip
    shown = np.clip((values - low) / (high - low), 0, 1) * 255
    expected = 255 - shown if photometric == "MONOCHROME1" else shown
    assert np.abs(read_radiograph(path) - expected).max() <= 0.51


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressed_dicom(tmp_path, compressor, photometric):
    import SimpleITK

    picture = gray_picture()
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetCompressor(compressor)
    writer.UseCompressionOn()
    writer.Execute(SimpleITK.GetImageFromArray(picture.astype(np.uint16) * 257))
    header = (tmp_path / "a.dcm").read_bytes()
    assert header.count(b"MONOCHROME2") == 1
    (tmp_path / "a.dcm").write_bytes(header.replace(b"MONOCHROME2", photometric.encode()))
    expected = 255 - picture if photometric == "MONOCHROME1" else picture
    assert np.array_equal(read_radiograph(tmp_path / "a.dcm"), expected)


def test_dicom_without_window_uses_its_range_and_8_bits_stay(tmp_path):
    picture = gray_picture()
    deep = write_dicom(tmp_path / "deep.dcm", picture.astype(np.uint16) * 7 + 300, stored_bits=12)
    assert np.array_equal(read_radiograph(deep), picture)
    half = picture // 2
    assert np.array_equal(read_radiograph(write_dicom(tmp_path / "half.dcm", half)), half)
    zero = write_dicom(tmp_path / "w.dcm", picture, window=("127", "0"))  # width 0 is no window
    assert np.array_equal(read_radiograph(zero), picture)
    flat = write_dicom(tmp_path / "flat.dcm", np.full((HEIGHT, WIDTH), 900, np.uint16))
    assert not read_radiograph(flat).any()


def test_dicom_is_read_without_the_librarys_own_warnings(tmp_path):
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
    read_radiograph(write_dicom(tmp_path / "a.dcm", gray_picture()))
    assert not SimpleITK.ProcessObject.GetGlobalWarningDisplay()


def test_dicom_without_preamble_or_modality(tmp_path):
    picture = gray_picture()
    old = write_dicom(tmp_path / "old.DCM", picture, preamble=False, modality=None)
    assert np.array_equal(read_radiograph(old), picture)


def jpeg_bytes(picture, **options):
    import io

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def png_bytes(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_jpeg_cut_short(tmp_path, share, progressive):
    # The preview in the Exif data has an end marker of its own.
    preview = b"Exif\0\0" + jpeg_bytes(gray_picture(32, 32))
    whole = jpeg_bytes(gray_picture(300, 400), quality=92, progressive=progressive, exif=preview)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole)
    assert read_radiograph(path).shape == (300, 400)
    path.write_bytes(whole + bytes(1000))  # padding after the end is harmless
    assert read_radiograph(path).shape == (300, 400)
    path.write_bytes(whole[: int(len(whole) * share)])
    assert_refused(path, "cut short")
    path.write_bytes(whole[: int(len(whole) * share)].ljust(len(whole), b"\0"))
    assert_refused(path, "cut short")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_png_cut_short_or_damaged(tmp_path, share):
    whole = png_bytes(gray_picture(300, 400))
    path = tmp_path / "a.png"
    path.write_bytes(whole + b"\0" * 100)
    assert read_radiograph(path).shape == (300, 400)
    path.write_bytes(whole[: int(len(whole) * share)])
    assert_refused(path, "cut short")
    damaged = bytearray(whole)
    damaged[max(int(len(whole) * share), 100)] ^= 0x55
    path.write_bytes(damaged)
    assert_refused(path, "checksum|cut short")


def test_png_text_and_colour_profile_change_nothing(tmp_path, capfd):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 10_000)
    picture = gray_picture()
    Image.fromarray(picture).save(tmp_path / "a.png", pnginfo=info, icc_profile=b"no profile" * 30)
    assert np.array_equal(read_radiograph(tmp_path / "a.png"), picture)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_dicom_cut_short(tmp_path, share):
    path = write_dicom(tmp_path / "a.dcm", gray_picture())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert_refused(path, "cut short")


def assert_refused(path, match):
    with pytest.raises(InputError, match=match) as error:
        read_radiograph(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "Secret" not in message and "4711" not in message


WRONG_CONTENTS = {
    "empty.png": (b"", "empty"),
    "text.png": (b"not a picture\n" * 40, "neither a PNG, a JPEG nor a DICOM"),
    "short.jpg": (b"\xff", "neither a PNG, a JPEG nor a DICOM"),
    "text.dcm": (b"not a picture\n" * 40, "not a DICOM"),
    "start.png": (b"\x89PNG\r\n\x1a\n", "cut short"),
    "start.jpg": (b"\xff\xd8\xff", "cut short"),
    "noise.jpg": (b"\xff\xd8\xff" + bytes(range(256)) * 9, "cut short or damaged"),
    "dot.png": (png_bytes(np.zeros((1, 1), np.uint8)), "too small"),
    "stamp.jpg": (jpeg_bytes(np.zeros((31, 200), np.uint8)), "too small"),
    "bitmap.png": (cv2.imencode(".bmp", gray_picture())[1].tobytes(), "neither a PNG"),
}


@pytest.mark.parametrize("name", WRONG_CONTENTS)
def test_wrong_files_are_one_clear_line_and_quiet(tmp_path, name, capfd):
    content, match = WRONG_CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, match)
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_folders(tmp_path):
    assert_refused(tmp_path / "no.png", "no such file")
    assert_refused(tmp_path, "no such file")


@pytest.mark.parametrize("size", [(20_001, 64), (64, 2**31), (15_000, 15_000)])
def test_absurd_png_sizes_are_refused_before_decoding(tmp_path, size, monkeypatch):
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + bytes(100))
    monkeypatch.delattr(radiographs.cv2, "imdecode")
    assert_refused(tmp_path / "a.png", "header claims")


def test_absurd_jpeg_and_dicom_sizes_are_refused_before_decoding(tmp_path, monkeypatch):
    jpeg = bytearray(jpeg_bytes(gray_picture()))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 64, 65_000)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    monkeypatch.delattr(radiographs.cv2, "imdecode")
    assert_refused(tmp_path / "a.jpg", "header claims 65000x64 px")
    write_dicom(tmp_path / "a.dcm", gray_picture(), rows=60_000)
    monkeypatch.delattr(radiographs.SimpleITK, "GetArrayFromImage")
    assert_refused(tmp_path / "a.dcm", "header claims 64x60000 px")


def test_series_slices_and_unfit_windows_are_refused(tmp_path):
    frames = np.stack([gray_picture()] * 3)
    assert_refused(write_dicom(tmp_path / "3d.dcm", frames, frames=3), "3 frames or slices")
    assert_refused(write_dicom(tmp_path / "ct.dcm", gray_picture(), modality="CT"), "a CT slice")
    window = ("40000", "100")
    blank = write_dicom(tmp_path / "w.dcm", gray_picture().astype(np.uint16), window=window)
    assert_refused(blank, "its window shows")


def test_resize_is_identity_average_or_smooth():
    picture = gray_picture(64, 64)
    assert np.array_equal(resize_radiograph(picture, 64), picture)
    blocks = picture.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(resize_radiograph(picture, 32) - blocks).max() <= 0.5
    large = resize_radiograph(picture, 128)
    assert large.shape == (128, 128) and large.dtype == np.uint8
    assert np.abs(resize_radiograph(large, 64).astype(int) - picture).max() <= 2


def test_resize_does_not_alias_along_a_shrinking_axis():
    # A grid of 2 px lines: each target pixel must be its mean, whatever the other axis does.
    grid = np.zeros((40, 200), np.uint8)
    grid[:, ::2] = 200
    assert resize_radiograph(grid, 100).tolist() == np.full((100, 100), 100).tolist()


@pytest.mark.parametrize("image", [np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64))])
def test_resize_refuses_what_is_not_8_bit_gray(image):
    with pytest.raises(ValueError, match="8-bit gray"):
        resize_radiograph(image, 32)
