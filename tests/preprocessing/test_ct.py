"""CT series to HU: what is read, in which order, and what is refused.

SimpleITK writes the files. It takes HU and stores them by the rescale slope and intercept that it
is given; with `UseCompressionOn` and `SetCompressor("JPEG")` GDCM writes 16-bit images as JPEG
Lossless (transfer syntax 1.2.840.10008.1.2.4.70, as in COVID-CT-MD), without compression as
implicit VR little endian, which `set_element` edits.
"""

import struct

import numpy as np
import pytest
import SimpleITK

from preprocessing import ct
from preprocessing.ct import list_series, read_slice, read_volume
from preprocessing.errors import InputError

ROWS, COLUMNS = 40, 48
SECRETS = ("Secret", "ID-4711", "19310203", "Hospital", "ACC-99", "2.25.777")
PERSON = {
    "0010|0010": "Secret^Name",
    "0010|0020": "ID-4711",
    "0010|0030": "19310203",
    "0008|0050": "ACC-99",
    "0008|0080": "Hospital",
    "0020|000d": "2.25.7770",
}
JPEG_LOSSLESS = b"1.2.840.10008.1.2.4.70"


def chest(count=6, seed=0):
    """int16 HU (count, ROWS, COLUMNS) that no flip or other order leaves as they are."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1024, 1500, (count, ROWS, COLUMNS)).astype(np.int16)
    hu[:, 0, 0], hu[:, 0, 1] = -1000, 40
    return hu


def write_slice(path, hu, z, series="2.25.7771", compressor=None, spacing=(0.6, 0.7), **header):
    """One DICOM slice; `header` has further fields as t0028_1052="-1024"."""
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
    fields = PERSON | {
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        "0008|0018": f"{series}.{round(1000 * z) % 10**6 + 1}",
        "0008|0060": "CT",
        "0018|0050": "2",
        "0020|000e": series,
        "0020|0032": f"-170\\-160\\{z}",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0020|1041": str(z),
        "0028|1052": "-1024",
        "0028|1053": "1",
    }
    fields |= {name[1:].replace("_", "|"): value for name, value in header.items()}
    for tag, value in fields.items():
        if value is not None:
            image.SetMetaData(tag, value)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    if compressor:
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(image)
    return path


def write_series(folder, hu=None, step=2.0, names=None, **options):
    """A series head first from z = -50 downwards; file names in no order unless given."""
    hu = chest() if hu is None else hu
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"IM{(5 * k) % 97}.dcm" for k in range(len(hu))]
    for k, (name, one) in enumerate(zip(names, hu, strict=True)):
        write_slice(folder / name, one, -50 - step * k, **options)
    return folder


def set_element(path, group, element, value):
    """Replace an element of an implicit VR file, or remove it (None)."""
    data, tag = path.read_bytes(), struct.pack("<HH", group, element)
    at = data.index(tag, 132)
    end = at + 8 + struct.unpack("<I", data[at + 4 : at + 8])[0]
    if value is not None:
        value = value if isinstance(value, bytes) else value.encode() + b" " * (len(value) % 2)
        value = tag + struct.pack("<I", len(value)) + value
    path.write_bytes(data[:at] + (value or b"") + data[end:])


def assert_no_secret(shown):
    assert not [secret for secret in SECRETS if secret in shown], shown


def assert_refused(path, match, named=None, read=read_volume):
    with pytest.raises(InputError, match=match) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{named or path}: ") and "\n" not in message
    assert_no_secret(message)


@pytest.mark.parametrize("compressor", [None, "JPEG"])
def test_a_series_is_read_head_first_whatever_its_file_names(tmp_path, compressor):
    hu = chest(11)
    names = [f"x_{k}.dcm" for k in (9, 10, 1, 7, 100, 3, 2, 11, 8, 20, 5)]
    folder = write_series(tmp_path / "P001", hu, names=names, compressor=compressor)
    assert (JPEG_LOSSLESS in (folder / "x_1.dcm").read_bytes()) == (compressor == "JPEG")
    volume = read_volume(folder)
    assert volume.hu.dtype == np.int16 and np.array_equal(volume.hu, hu)
    assert volume.files == tuple(names)
    assert np.array_equal(volume.locations, -50.0 - 2 * np.arange(11))
    assert volume.pixel_spacing == (0.7, 0.6) and volume.warnings == ()


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("intercept", ["-1024", "0"])
def test_signed_and_unsigned_pixels(tmp_path, kind, intercept):
    hu = chest(1) if kind == np.int16 or intercept != "0" else chest(1) + 1024
    stored = (hu - int(intercept)).astype(kind)
    path = write_slice(tmp_path / "a.dcm", stored[0], 0.0, t0028_1052="0")
    set_element(path, 0x28, 0x1052, intercept)
    if hu.min() >= 0:
        return assert_refused(path, "values run from 0 to", read=read_slice)
    image = read_slice(path)
    assert image.dtype == np.int16 and np.array_equal(image, hu[0])


def test_rescale_of_each_slice_padding_and_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr(ct, "_THREADS", 1)  # one reader for slices of several number types
    folder, hu = tmp_path / "a", chest(3)
    write_series(folder, hu, names=["a", "b", "c"])  # named by numbers alone, content counts
    set_element(folder / "b", 0x28, 0x1053, "0.5")
    set_element(folder / "b", 0x28, 0x1052, "-1024.5")
    stored = hu[1].astype(int) + 1024
    expected = np.rint(0.5 * stored - 1024.5)
    assert np.array_equal(read_volume(folder).hu, np.stack([hu[0], expected, hu[2]]))
    padded = hu[0].astype(np.int32) - 0
    padded[3:5] = -32768  # as far as 16 bits go; the intercept takes it beyond
    path = write_slice(tmp_path / "p.dcm", padded.astype(np.int16), 0.0, t0028_1052="0")
    set_element(path, 0x28, 0x1052, "-1000")
    assert np.array_equal(read_slice(path), np.clip(padded - 1000, -32768, None))


def test_order_and_locations_follow_the_normal_of_tilted_slices(tmp_path):
    hu, tilt = chest(4), np.deg2rad(20)
    cosines = f"1\\0\\0\\0\\{np.cos(tilt):.6f}\\{-np.sin(tilt):.6f}"
    for k, one in enumerate(hu):
        write_slice(tmp_path / f"{k}.dcm", one, -5 * k, t0020_0037=cosines, t0020_1041=str(k))
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert np.allclose(np.diff(volume.locations), -5 * np.cos(tilt), atol=1e-4)


@pytest.mark.parametrize(
    ("cosines", "flipped"),
    [("-1\\0\\0\\0\\-1\\0", np.s_[:, ::-1, ::-1]), ("-1\\0\\0\\0\\1\\0", np.s_[:, :, ::-1])],
)
def test_the_patients_right_is_at_the_left(tmp_path, cosines, flipped):
    hu = chest(3)
    write_series(tmp_path, hu, t0020_0037=cosines)
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu[flipped]) and volume.hu.flags.c_contiguous
    assert volume.locations.tolist() == [-50, -52, -54]
    assert np.array_equal(read_slice(tmp_path / "IM5.dcm"), hu[flipped][1])


def test_slice_location_where_position_is_missing(tmp_path):
    hu = chest(4)
    write_series(tmp_path, hu)
    for path in tmp_path.iterdir():
        set_element(path, 0x20, 0x32, None)
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu) and volume.locations.tolist() == [-50, -52, -54, -56]
    assert volume.warnings == (
        f"{tmp_path}: states no full image position and orientation: ordered by SliceLocation, "
        "oriented as stored",
    )
    set_element(tmp_path / "IM5.dcm", 0x20, 0x1041, None)
    assert_refused(tmp_path, "states no slice position", tmp_path / "IM5.dcm")


def test_a_gap_is_named_and_an_even_thinning_is_none(tmp_path, capfd, monkeypatch):
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
    monkeypatch.setattr(ct, "_THREADS", 1)  # SimpleITK would warn where it reads across the gap
    hu = chest(9)
    names = [f"{k}.dcm" for k in range(9)]
    write_series(tmp_path, hu, names=names, step=6.0)
    assert read_volume(tmp_path).warnings == ()
    (tmp_path / "4.dcm").unlink()
    volume = read_volume(tmp_path)
    assert volume.warnings == (
        f"{tmp_path}: gap of 12 mm between 3.dcm and 5.dcm (-68 to -80 mm); elsewhere slices are "
        "6 mm apart: slices may be missing",
    )
    assert np.array_equal(volume.hu, np.delete(hu, 4, axis=0))
    (tmp_path / "7.dcm").unlink()
    assert (
        "between 3.dcm and 5.dcm (-68 to -80 mm) and 1 more;" in read_volume(tmp_path).warnings[0]
    )
    assert capfd.readouterr() == ("", "")


def test_of_several_series_the_longest_axial_one_is_read(tmp_path):
    hu, scout = chest(5), chest(1)[0]
    write_series(tmp_path, hu)
    write_series(tmp_path, chest(3, 1), series="2.25.7772", names=["p", "q", "r"], t0018_0050="5")
    write_series(
        tmp_path, chest(7, 2), series="2.25.7773", names=[f"c{k}" for k in range(7)],
        t0020_0037="1\\0\\0\\0\\0\\-1", t0018_0050="3",
    )  # fmt: skip
    write_slice(tmp_path / "s", scout, 3.0, "2.25.7774", t0008_0008="ORIGINAL\\PRIMARY\\LOCALIZER")
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.hu, hu)
    assert volume.warnings == (
        f"{tmp_path}: 4 series, read the axial one with most slices (5 slices of 2 mm), left: "
        "7 slices of 3 mm; 3 slices of 5 mm; 1 slice of 2 mm",
    )
    found = list_series(tmp_path)
    assert [len(series.files) for series in found] == [7, 5, 3, 1]
    assert [series.axial for series in found] == [False, True, True, False]
    assert [file.name for file in found[2].files] == ["p", "q", "r"]
    assert found[2].locations == (-50.0, -52.0, -54.0)
    assert_no_secret(repr(found))


def test_two_series_of_one_length_or_none_that_is_axial_are_refused(tmp_path):
    write_series(tmp_path / "a", chest(3))
    write_series(tmp_path / "a", chest(3), series="2.25.7772", names=["p", "q", "r"])
    assert_refused(tmp_path / "a", "two CT series of 3 slices; keep one series a folder")
    write_series(tmp_path / "b", chest(3), t0020_0037="1\\0\\0\\0\\0\\-1")
    assert_refused(tmp_path / "b", "no axial CT series")


def test_other_files_are_left_alone_and_names_may_be_anything(tmp_path):
    folder, hu = tmp_path / "Größe 1 – ä", chest(4)
    write_series(folder, hu, names=["Schicht ü 1.dcm", "b b", "1.2.840.113619", "x.IMA"])
    for name in ("labels.csv", "notes.txt", "Thumbs.db", "a.npy", "._b b", "DICOMDIR"):
        magic = b"DICM" if name in ("._b b", "DICOMDIR") else b"x"
        (folder / name).write_bytes(b"x" * 128 + magic + b"x" * 200)
    (folder / "empty").touch()
    (folder / "more.dcm").mkdir()
    volume = read_volume(folder)
    assert np.array_equal(volume.hu, hu) and volume.files[0] == "Schicht ü 1.dcm"
    assert volume.warnings == ()


def test_nothing_returned_tells_who_the_patient_is(tmp_path):
    write_series(tmp_path, chest(5))
    (tmp_path / "IM10.dcm").unlink()
    write_slice(tmp_path / "other.dcm", chest(1)[0], 0.0, "2.25.7779")
    volume = read_volume(tmp_path)
    assert len(volume.warnings) == 2
    assert_no_secret(repr(volume) + repr(list_series(tmp_path)))


@pytest.mark.parametrize(
    "changed", [{"t0010_0020": "ID-4712 Secret"}, {"t0010_0010": "Secret^Other"}]
)
def test_two_patients_are_refused_and_not_named(tmp_path, changed):
    write_series(tmp_path, chest(4))
    write_slice(tmp_path / "z.dcm", chest(1)[0], 7.0, **changed)
    assert_refused(tmp_path, "slices of several patients")


def test_the_same_patient_with_and_without_a_name_is_one(tmp_path):
    write_series(tmp_path, chest(4))
    write_slice(tmp_path / "y.dcm", chest(1)[0], -48.0, t0010_0010="SECRET^NAME ")
    assert len(read_volume(tmp_path).hu) == 5
    set_element(tmp_path / "y.dcm", 0x10, 0x10, "")
    assert len(read_volume(tmp_path).hu) == 5


WRONG_SLICES = {
    "modality": ({"t0008_0060": "MR"}, r"no CT slice by its header \(modality MR\)"),
    "no modality": ({"t0008_0060": ""}, r"\(modality not stated\)"),
    "localizer": ({"t0008_0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "is a localizer or lies"),
    "coronal": ({"t0020_0037": "1\\0\\0\\0\\0\\-1"}, "is a localizer or lies in another plane"),
    "spacing": ({"spacing": (0.5, 0.5)}, "states no pixel spacing, or another"),
}


@pytest.mark.parametrize("case", WRONG_SLICES)
def test_a_slice_that_does_not_belong_is_refused(tmp_path, case, capfd):
    header, match = WRONG_SLICES[case]
    write_series(tmp_path)
    write_slice(tmp_path / "n.dcm", chest(1)[0], -48.0, **header)
    assert_refused(tmp_path, match, tmp_path / "n.dcm")
    assert capfd.readouterr() == ("", "")


def test_a_slice_of_another_size_is_refused(tmp_path):
    write_series(tmp_path)
    write_slice(tmp_path / "n.dcm", chest(1)[0, ::2, ::2].copy(), -48.0)
    assert_refused(tmp_path, "has 24x20 px in a series of 48x40", tmp_path / "n.dcm")


def test_duplicate_slices_are_refused(tmp_path):
    write_series(tmp_path, names=[f"{k}.dcm" for k in range(6)])
    (tmp_path / "3 copy.dcm").write_bytes((tmp_path / "3.dcm").read_bytes())
    assert_refused(tmp_path, r"same position as 3 copy.dcm \(-56 mm\)", tmp_path / "3.dcm")


@pytest.mark.parametrize(
    ("element", "value"),
    [(0x1052, None), (0x1052, ""), (0x1053, None), (0x1053, "x"), (0x1053, "0")],
)
def test_missing_rescale_is_refused(tmp_path, element, value):
    write_series(tmp_path)
    set_element(tmp_path / "IM5.dcm", 0x28, element, value)
    assert_refused(tmp_path, "states no rescale slope and intercept", tmp_path / "IM5.dcm")
    path = tmp_path / "IM5.dcm"
    assert_refused(path, "states no rescale slope and intercept", read=read_slice)


def test_values_that_cannot_be_hu_and_inverted_ones_are_refused(tmp_path):
    folder = write_series(tmp_path / "a")
    for path in folder.iterdir():
        set_element(path, 0x28, 0x1052, "0")
    assert_refused(folder, r"values run from \d+ to \d+; expected HU of a chest")
    set_element(folder / "IM5.dcm", 0x28, 4, "MONOCHROME1")
    assert_refused(folder, "stored inverted", folder / "IM5.dcm")


@pytest.mark.parametrize("share", [0.0, 0.005, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("compressor", [None, "JPEG", "JPEG2000"])
def test_a_file_cut_short_is_refused(tmp_path, compressor, share, capfd):
    write_series(tmp_path, chest(3), compressor=compressor)
    path = tmp_path / "IM5.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(tmp_path, "is cut short", path)
    assert_refused(path, "is cut short", read=read_slice)
    assert capfd.readouterr() == ("", "")


def test_pixels_that_cannot_be_decoded_are_refused(tmp_path, capfd):
    write_series(tmp_path, chest(5), compressor="JPEG")
    path, match = tmp_path / "IM5.dcm", "damaged or compressed in a way that cannot be decoded"
    whole = path.read_bytes()
    # JPIP, whose pixels are at an address on the network.
    path.write_bytes(whole.replace(JPEG_LOSSLESS, b"1.2.840.10008.1.2.4.94", 1))
    assert_refused(tmp_path, match, path)
    assert_refused(path, match, read=read_slice)
    assert capfd.readouterr() == ("", "")
    start = whole.index(b"\xff\xd8\xff")
    path.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
    assert_refused(tmp_path, match, path)


def test_several_frames_and_colour_are_refused(tmp_path):
    rgb = np.stack([chest(1)[0].astype(np.uint8)] * 3, axis=-1)
    image = SimpleITK.GetImageFromArray(rgb, isVector=True)
    image.SetMetaData("0008|0060", "CT")
    SimpleITK.WriteImage(image, str(tmp_path / "rgb.dcm"))
    assert_refused(tmp_path / "rgb.dcm", "1 frames of 3 channels", read=read_slice)
    (tmp_path / "rgb.dcm").unlink()
    path = write_slice(tmp_path / "a.dcm", chest(3), 0.0)
    assert_refused(tmp_path, "holds 3 frames of 1 channels", path)
    assert_refused(path, "holds 3 frames", read=read_slice)


def test_folders_and_files_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    assert_refused(tmp_path / "empty", "holds no DICOM file")
    assert_refused(tmp_path / "none", "no such file or folder")
    assert_refused(tmp_path / "none", "no such folder", read=list_series)
    assert_refused(tmp_path / "none", "no such file", read=read_slice)
    assert_refused(tmp_path / "empty" / "notes.txt", "neither a folder nor a NIfTI file")
    (tmp_path / "text.dcm").write_text("not a picture\n" * 40)
    assert_refused(tmp_path, "not a DICOM image", tmp_path / "text.dcm")


def test_read_slice_reads_one_axial_slice(tmp_path):
    hu = chest(1)[0]
    path = write_slice(tmp_path / "a.dcm", hu, 0.0, compressor="JPEG")
    assert np.array_equal(read_slice(path), hu)
    old = write_slice(tmp_path / "old.dcm", hu, 0.0)
    for element in (0x32, 0x37, 0x1041):
        set_element(old, 0x20, element, None)
    assert np.array_equal(read_slice(old), hu)
    coronal = write_slice(tmp_path / "c.dcm", hu, 0.0, t0020_0037="1\\0\\0\\0\\0\\-1")
    assert_refused(coronal, "localizer or not axial", read=read_slice)


def test_nifti_and_dicom_of_one_scan_are_equal(tmp_path):
    write_series(tmp_path / "dicom", chest(5))
    series = SimpleITK.ImageSeriesReader()
    series.SetFileNames([str(file) for file in list_series(tmp_path / "dicom")[0].files])
    SimpleITK.WriteImage(series.Execute(), str(tmp_path / "a.nii.gz"))
    one, other = read_volume(tmp_path / "dicom"), read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(one.hu, other.hu)
    assert np.allclose(one.locations, other.locations, atol=1e-4)
    assert one.pixel_spacing == pytest.approx(other.pixel_spacing)


def test_reading_side_by_side_gives_the_same(tmp_path, monkeypatch):
    write_series(tmp_path, chest(7))
    volumes = []
    for threads in (1, 3, 16):
        monkeypatch.setattr(ct.os, "cpu_count", lambda threads=threads: threads)
        monkeypatch.setattr(ct, "_THREADS", threads)
        volumes.append(read_volume(tmp_path).hu)
    assert all(np.array_equal(volumes[0], other) for other in volumes[1:])
