"""Row of reading chest CT: a DICOM series to HU against SimpleITK's own series reader."""

from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row

SLICES, SIDE = 60, 512


def ct_reading_row(repeats: int, folder: Path) -> list[Row]:
    """Reading a series, with its headers and order, against the bare read of the ordered files."""
    import SimpleITK

    from preprocessing.ct import list_series, read_volume

    series = _write_series(folder / "series")
    (found,) = list_series(series)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(file) for file in found.files])

    def bare():
        SimpleITK.GetArrayFromImage(reader.Execute())

    ratios, ours, theirs = compare(lambda: read_volume(series), bare, repeats)
    name = f"read a CT series of {SLICES} slices, JPEG Lossless"
    return [ratio_row(name, "SimpleITK's series reader, files in order", ratios, ours, theirs, 1.2)]


def _write_series(folder: Path) -> Path:
    """Smooth shapes with noise of 15 HU, which compress like a chest; file names in no order."""
    import cv2
    import SimpleITK

    folder.mkdir()
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)), (0, 0), 12)
    chest = cv2.normalize(smooth, None, -1000, 300, cv2.NORM_MINMAX)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")  # GDCM writes 16-bit images as JPEG Lossless
    for number, name in enumerate(rng.permutation(SLICES)):
        hu = chest + rng.normal(0, 15, chest.shape)
        image = SimpleITK.GetImageFromArray(np.rint(hu).clip(-1024, 3071).astype(np.int16))
        header = {
            "0008|0060": "CT",
            "0008|0018": f"2.25.{number + 1}",
            "0020|000e": "2.25.1000",
            "0020|0032": f"0\\0\\{-2 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|0030": "0.7\\0.7",
            "0028|1052": "-1024",
            "0028|1053": "1",
        }
        for tag, value in header.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{name}.dcm"))
        writer.Execute(image)
    return folder


ROWS = {"ct_reading": ct_reading_row}
