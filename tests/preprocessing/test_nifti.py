"""CT from NIfTI files to HU: any orientation, and what is refused. SimpleITK writes the files."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK

from preprocessing.ct import read_volume
from preprocessing.errors import InputError


def chest(count):
    """int16 HU (count, 40, 48) that no other orientation leaves as they are."""
    return np.random.default_rng(0).integers(-1024, 1500, (count, 40, 48)).astype(np.int16)


def assert_refused(path, match):
    with pytest.raises(InputError, match=match) as error:
        read_volume(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message


def write_nifti(path, hu, axes="LPI", kind=SimpleITK.sitkInt16, step=2.5):
    """HU as `Volume` has them, stored along other axes."""
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(hu), kind)
    image.SetSpacing((0.6, 0.7, step))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    image.SetOrigin((-100, -90, 30))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, axes), str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axes", ["LPI", "RAS", "LPS", "PSR", "AIL"])
def test_nifti_of_any_orientation(tmp_path, suffix, axes, capfd):
    hu = chest(7)
    volume = read_volume(write_nifti(tmp_path / f"ä b{suffix}", hu, axes))
    assert volume.hu.dtype == np.int16 and np.array_equal(volume.hu, hu)
    assert np.allclose(volume.locations, 30 - 2.5 * np.arange(7), atol=1e-4)
    assert volume.files == (f"ä b{suffix}",) * 7 and volume.warnings == ()
    assert volume.pixel_spacing == pytest.approx((0.7, 0.6))
    assert capfd.readouterr() == ("", "")


def test_nifti_of_floats_is_rounded_and_scaled(tmp_path):
    hu = chest(4)
    path = write_nifti(tmp_path / "a.nii", hu + 0.3, kind=SimpleITK.sitkFloat32)
    assert np.array_equal(read_volume(path).hu, hu)
    path = write_nifti(tmp_path / "b.nii", hu + 1024)
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<ff", 1, -1024)  # scl_slope, scl_inter
    path.write_bytes(data)
    assert np.array_equal(read_volume(path).hu, hu)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_cut_short_or_damaged_is_refused(tmp_path, suffix, share, capfd):
    path = write_nifti(tmp_path / f"a{suffix}", chest(4))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(path, "cut short")
    if suffix == ".nii.gz" and share == 0.5:
        for place in (len(whole) // 2, -6):  # the second one in the checksum
            damaged = bytearray(whole)
            damaged[place] ^= 0x55
            path.write_bytes(damaged)
            assert_refused(path, "cut short")
        path.write_bytes(gzip.compress(gzip.decompress(whole)[:-100]))
        assert_refused(path, "cut short")
    assert capfd.readouterr() == ("", "")


def test_big_endian_nifti_is_read_and_its_nan_found(tmp_path):
    hu = chest(4).astype(np.float32)
    fields = "i35sb8h3f4h8f3fhbb4f2i80s24s2h18f16s4s"  # the header of NIfTI-1
    for number, match in ((-900, None), (np.nan, "NaN")):
        hu[1, 2, 3] = number
        path = write_nifti(tmp_path / "a.nii", hu, kind=SimpleITK.sitkFloat32)
        data = path.read_bytes()
        header = struct.pack(">" + fields, *struct.unpack("<" + fields, data[:348]))
        voxels = np.frombuffer(data[352:], "<f4").astype(">f4").tobytes()
        path.write_bytes(header + data[348:352] + voxels)
        if match:
            assert_refused(path, match)
        else:
            assert np.array_equal(read_volume(path).hu, hu)


def test_nifti_that_holds_no_hu_volume_is_refused(tmp_path, capfd):
    hu, path = chest(5), tmp_path / "a.nii.gz"
    for place in ((0, 0, 0), (1, 2, 3), (-1, -1, -1)):
        with_nan = hu[:, :39, :47].astype(np.float32)  # an odd number of voxels
        with_nan[place] = np.nan
        for kind in (SimpleITK.sitkFloat32, SimpleITK.sitkFloat64):
            assert_refused(write_nifti(path, with_nan, kind=kind), "NaN or infinite")
    gray = np.uint8((hu.astype(int) + 1024) // 10)
    assert_refused(
        write_nifti(path, gray, kind=SimpleITK.sitkUInt8), "values run from .*; expected HU"
    )
    assert_refused(write_nifti(path, np.full_like(hu, -1000)), "values run from -1000 to -1000")
    image = SimpleITK.GetImageFromArray(hu)
    for wrong, match in (
        (SimpleITK.JoinSeries([image, image]), r"4 dimensions \(48x40x5x2\)"),
        (image[:, :, 0], r"2 dimensions \(48x40\)"),
        (SimpleITK.Compose(image, image, image), "3 channels"),
    ):
        SimpleITK.WriteImage(wrong, str(path))
        assert_refused(path, match)
    path.write_text("not a volume" * 100)
    assert_refused(path, "cut short or damaged")
    text = tmp_path / "text.nii"
    text.write_text("not a volume" * 100)
    assert_refused(text, "is not a NIfTI file")
    assert capfd.readouterr() == ("", "")


def test_nifti_without_orientation_or_with_skewed_axes_is_refused(tmp_path, capfd):
    path = write_nifti(tmp_path / "a.nii", chest(4))
    whole = bytearray(path.read_bytes())
    whole[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(whole)
    assert_refused(path, "states no orientation")
    whole[254:256] = struct.pack("<h", 1)
    whole[280:296] = struct.pack("<ffff", -0.6, 0.5, 0, -5)  # srow_x
    path.write_bytes(whole)
    assert_refused(path, "axes are not at right angles")
    assert capfd.readouterr() == ("", "")
