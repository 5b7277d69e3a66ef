"""Headers that claim what cannot be: refused before a decoder sets memory aside for it."""

import gzip
import json
import struct

import fuzz
import numpy as np
import pytest
import readers
from mutations import png_chunks, png_file

from cnr_iemn.slice_labels import read_slice_labels
from preprocessing import video
from preprocessing.ct import read_slice, read_volume
from preprocessing.errors import InputError
from preprocessing.radiographs import read_radiograph
from preprocessing.tables import open_array
from replication.weight_files import read_tensors
from vbreathnet.data import read_lung_mask

MEMORY = 256 * 2**20  # bytes
JPEG_SIZE = struct.pack(">HH", readers.HEIGHT, readers.WIDTH)


def assert_refused(read, path, match):
    """In one line, and without the memory that the file asks for."""
    before = fuzz.start_peak()
    with pytest.raises(InputError, match=match) as error:
        read(path)
    assert fuzz.memory("VmHWM") - before < MEMORY
    assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 1


def replace(path, old, new):
    """Put other bytes for the first ones like these."""
    content = path.read_bytes()
    assert old in content
    at = content.index(old)
    path.write_bytes(content[:at] + new + content[at + len(old) :])


def resize_png(path, width, height):
    chunks = png_chunks(path.read_bytes())
    chunks[0] = (b"IHDR", struct.pack(">II", width, height) + chunks[0][1][8:])
    path.write_bytes(png_file(chunks))


@pytest.mark.parametrize(
    ("width", "height", "match"),
    [
        (100_000, 100_000, "claims 100000x100000 px"),
        (2**31 - 1, 1, "claims 2147483647x1 px|too small"),
        (20_000, 20_000, "claims 20000x20000 px"),
        (19_000, 5_000, "claims 19000x5000 px and has not the bytes"),
    ],
)
def test_png(tmp_path, width, height, match):
    path = tmp_path / "COVID/masks/a.png"
    path.parent.mkdir(parents=True)
    readers.write_frame(path)
    resize_png(path, width, height)
    assert_refused(read_radiograph, path, match)
    assert_refused(video.read_png, path, match.removesuffix("|too small"))
    data = tmp_path
    assert_refused(lambda _: read_lung_mask(data, "COVID/images/a.png"), path, "claims")


@pytest.mark.parametrize(("width", "height"), [(65_000, 65_000), (19_000, 5_000)])
def test_jpeg(tmp_path, width, height):
    path = readers.write_jpeg(tmp_path / "a.jpg")
    replace(path, JPEG_SIZE, struct.pack(">HH", height, width))
    assert_refused(read_radiograph, path, f"claims {width}x{height} px")


@pytest.mark.parametrize("compressor", ["", "JPEG"])
@pytest.mark.parametrize("read", [read_radiograph, read_slice])
def test_dicom(tmp_path, compressor, read):
    """GDCM takes a JPEG's own size, and where pixels lack it shows what lies in memory."""
    path = tmp_path / "a.dcm"
    if read is read_slice:
        readers.write_ct(path, 0.0, compressor)
    else:
        readers.write_dicom(path, readers.picture().astype(np.int16), compressor)
    sound = path.read_bytes()
    columns_at = sound.index(struct.pack("<HH", 0x28, 0x11)) + 8
    for columns in (60_000, 4_000):
        if compressor:
            replace(path, JPEG_SIZE, struct.pack(">HH", columns, columns))
        else:
            path.write_bytes(
                sound[:columns_at] + struct.pack("<H", columns) + sound[columns_at + 2 :]
            )
        assert_refused(read, path, f"claims {columns}x|another size")
        path.write_bytes(sound)
    # A value of 4 GB, of any element: the reader's library sets that aside at once.
    at = sound.index(struct.pack("<HH", 0x7FE0, 0x10))
    for length in (0xFFFFFFFE, 0x7FFFFFFF):
        path.write_bytes(sound[: at + 4] + b"OB\0\0" + struct.pack("<I", length) + bytes(50))
        assert_refused(read, path, "cut short")
        path.write_bytes(sound[: at + 4] + struct.pack("<I", length) + bytes(50))
        assert_refused(read, path, "cut short")


@pytest.mark.parametrize("sides", [(32_767, 32_767, 32_767), (512, 512, 32_767), (5_000, 10, 10)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path, sides, suffix):
    path = readers.write_nifti(tmp_path / f"a{suffix}")
    packed = suffix.endswith(".gz")
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    content = content[:42] + struct.pack("<3h", *sides) + content[48:]
    path.write_bytes(gzip.compress(content) if packed else content)
    assert_refused(read_volume, path, "its header claims|cut short")


def test_nifti_that_unpacks_to_much_more_than_it_says(tmp_path):
    path = readers.write_nifti(tmp_path / "a.nii.gz")
    with gzip.open(path) as file:
        content = file.read()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(content)
        for _ in range(100):
            file.write(bytes(2**20))
    assert_refused(read_volume, path, "goes on long behind")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [80, 256, 268, 280, 320])
def test_nifti_whose_directions_are_no_numbers(tmp_path, number, at):
    """SimpleITK's decomposition of such a matrix does not end."""
    path = readers.write_nifti(tmp_path / "a.nii")
    content = path.read_bytes()
    path.write_bytes(content[:at] + struct.pack("<f", number) + content[at + 4 :])
    assert_refused(read_volume, path, "is not a NIfTI file")


@pytest.mark.parametrize(
    ("side", "match"),
    [(16_000, "claims frames of 16000x16000 px"), (7_000, "claims frames"), (65_535, "no frame")],
)
def test_gif(tmp_path, side, match):
    path = readers.write_gif(tmp_path / "a.gif", readers.moving())
    content = path.read_bytes()
    path.write_bytes(content[:6] + struct.pack("<HH", side, side) + content[10:])
    assert_refused(video.probe, path, match)
    assert_refused(lambda p: list(video.read_frames(p)), path, match)


@pytest.mark.parametrize("rate", [b"\0\0", b"\1\0\0\0"])
def test_rates_and_shapes_of_frames_are_bounded(tmp_path, rate):
    """A frame a year would be shown for a year, 30 times a second."""
    path = readers.write_video(tmp_path / "a.avi", "MJPG", readers.moving(), fps=25)
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 8 + 20  # scale and rate of the stream
    content[at : at + 8] = struct.pack("<II", 10_000_000, 25)
    path.write_bytes(content)
    assert_refused(video.probe, path, "frame rate")
    path.unlink()
    tall = readers.write_gif(path.with_suffix(".gif"), [np.zeros((4000, 2), np.uint8)] * 3)
    assert all(frame.shape == (480, 640) for frame in video.unify(tall))


@pytest.mark.parametrize("text", [
    "ffconcat version 1.0\nfile other.mp4\n",
    "#EXTM3U\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
    "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
])  # fmt: skip
@pytest.mark.parametrize("suffix", video.VIDEO_SUFFIXES)
def test_lists_that_name_other_files_are_no_videos(tmp_path, text, suffix):
    readers.write_video(tmp_path / "other.mp4", "mp4v", readers.moving())
    path = tmp_path / f"a{suffix}"
    path.write_text(text)
    assert_refused(video.probe, path, "is not a video that can be read")


@pytest.mark.parametrize("shape", ["(100000, 100000)", "(2**40,)", "(1099511627776,)", "(-1, 5)"])
def test_npy(tmp_path, shape):
    path = tmp_path / "a.npy"
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(800))
    assert_refused(open_array, path, "not a readable array")
    path.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + text + bytes(800))
    assert_refused(open_array, path, "not a readable array")


def test_slice_labels(tmp_path):
    *_, labels, _ = readers.READERS["slice_labels"](tmp_path)
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 10000000000), }\n"
    labels.path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(99))
    assert_refused(lambda _: read_slice_labels(labels.path.parent), labels.path, "not a readable")


@pytest.mark.parametrize("shape", [[100_000, 100_000], [2**62, 4], [2**63]])
def test_safetensors(tmp_path, shape):
    path = tmp_path / "a.safetensors"
    header = {"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 40_000_000_000]}}
    for said in (json.dumps(header).encode(), b"{" + b" " * 99):
        for length in (len(said), 2**40, 2**64 - 1):
            path.write_bytes(struct.pack("<Q", length) + said + bytes(80))
            assert_refused(read_tensors, path, "cannot be read")
