"""Tables and lists that hypothesis makes up: as they should be but for some of their values."""

import json
from pathlib import Path

import numpy as np
import pytest
import readers
from hypothesis import given, settings
from hypothesis import strategies as st

from cnr_iemn.slice_labels import LOBES, read_slice_labels
from lungsliding_tf.dzhulai2024.sources import read_metafile, read_sources
from preprocessing import roi, video
from preprocessing.errors import InputError
from preprocessing.store import Store
from preprocessing.tables import open_array, read_table
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import find_radiographs

NAMES = ("p001.mp4", "é p002.mp4", "p003")
INFO = video.VideoInfo(Path("a.mp4"), 64, 48, 25.0, 8)
examples = settings(derandomize=True, max_examples=120, deadline=None)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)  # fmt: skip
wild_text = st.text(st.characters(), max_size=12) | st.sampled_from(
    ("", "..", "../p001.mp4", "/p001.mp4", "C:\\p001.mp4", "a/../p001.mp4", "p001.mp4/..", "\ud800")
)  # fmt: skip


def mostly(usual: st.SearchStrategy, odd: st.SearchStrategy = anything) -> st.SearchStrategy:
    """`odd` once in eight."""
    return st.integers(0, 7).flatmap(lambda k: odd if k == 0 else usual)


def ends_well(read):
    """The result of `read`, or None after an InputError of one line; anything else fails."""
    try:
        return read()
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        return None


def tables(**columns: st.SearchStrategy) -> st.SearchStrategy[str]:
    """CSV text: these columns, cells quoted or not, rows at times too short or too long."""

    def quoted_or_not(cell: str) -> st.SearchStrategy[str]:
        return st.sampled_from((cell, '"' + cell.replace('"', '""') + '"'))

    cells = [values.flatmap(quoted_or_not) for values in columns.values()]
    rows = st.tuples(*cells).flatmap(
        lambda row: mostly(st.just(row), st.just(row[:-1]) | st.just((*row, "x")))
    )
    return st.lists(rows, max_size=4).map(
        lambda lines: "\n".join(",".join(line) for line in ((*columns,), *lines))
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of three videos, beside a file that nothing in it may name."""
    data = tmp_path_factory.mktemp("texts") / "data"
    data.mkdir()
    for name in NAMES:
        (data / name).write_bytes(b"x")
    (data.parent / "p001.mp4").write_bytes(b"x")
    return data


entries = st.fixed_dictionaries(
    {
        "video_name": mostly(st.sampled_from(NAMES), anything | wild_text),
        "video_class": mostly(st.sampled_from(("ls_p", "ls_a"))),
        "cut_interval": mostly(
            st.lists(mostly(st.tuples(st.integers(-1, 9), st.integers(0, 12))), max_size=3)
        ),
    },
    optional={"patient_id": mostly(st.sampled_from(("P1", "P2"))), "phantom": anything},
)


@examples
@given(document=mostly(st.lists(mostly(entries), max_size=3)))
def test_lists_of_videos(folder, document):
    path = folder / "sliding_metafile.json"
    path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
    for one in ends_well(lambda: read_metafile(path)) or ():
        assert one.path.resolve().is_relative_to(folder)
        f"{one.file}{one.patient}".encode()
        assert one.label in (0, 1) and all(0 <= a < b for a, b in one.intervals)
    path.unlink()


@examples
@given(
    text=tables(
        file=mostly(st.sampled_from(NAMES), wild_text),
        patient_group=mostly(st.sampled_from(("1", "2", "3")), wild_text),
        lung_sliding=mostly(st.sampled_from(("present", "absent", "not_stated")), wild_text),
        phantom=mostly(st.sampled_from(("yes", "")), wild_text),
    )
)
def test_tables_of_videos(folder, text):
    (folder / "labels.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    for one in ends_well(lambda: read_sources(folder)) or ():
        assert one.path.resolve().is_relative_to(folder)
        assert one.file and one.patient and one.label in (-1, 0, 1)


numbers = mostly(st.integers(-3, 70).map(str) | st.floats(0, 64).map(str), wild_text)


@examples
@given(
    text=tables(
        file=mostly(st.sampled_from(NAMES[:2]), wild_text), x=numbers, y=numbers, width=numbers,
        height=numbers, first_frame=mostly(st.integers(-1, 12).map(str), wild_text),
    )
)  # fmt: skip
def test_tables_of_rectangles(folder, text):
    path = folder / "marks.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = ends_well(lambda: roi.import_rectangles(path, folder, describe=lambda _: INFO)) or {}
    for file, regions in found.items():
        assert file.parent == folder
        assert all(region.area > 0 for region in regions)


corners = st.tuples(mostly(st.floats(0, 64)), mostly(st.floats(0, 48)))
regions = st.fixed_dictionaries(
    {
        "label": mostly(st.just("lung")),
        "first_frame": mostly(st.integers(-1, 9)),
        "last_frame": mostly(st.integers(0, 12)),
        "polygon": mostly(st.lists(mostly(corners), max_size=5)),
    }
)
region_files = st.fixed_dictionaries(
    {
        "format": mostly(st.just("lung-roi")),
        "version": mostly(st.just(1)),
        "width": mostly(st.just(64)),
        "height": mostly(st.just(48)),
        "frames": mostly(st.just(8)),
        "video": anything,
        "fps": anything,
        "regions": mostly(st.lists(mostly(regions), max_size=3)),
    }
)


@examples
@given(document=mostly(region_files))
def test_region_files(folder, document):
    path = roi.roi_path(folder / "a.mp4")
    path.write_text(json.dumps(document))
    for region in ends_well(lambda: roi.load_regions(folder / "a.mp4", INFO)) or ():
        assert region.area > 0 and 0 <= region.first_frame <= region.last_frame


shapes = st.fixed_dictionaries(
    {
        "type": mostly(st.sampled_from(("polygon", "polyline", "rectangle"))),
        "frame": mostly(st.integers(-1, 9)),
        "points": mostly(st.lists(mostly(st.floats(-5, 70)), min_size=4, max_size=8)),
        "label": mostly(st.sampled_from(("lung", "aline"))),
    },
    optional={"rotation": mostly(st.just(0.0)), "outside": anything},
)
tracks = st.fixed_dictionaries(
    {"label": mostly(st.just("lung")), "shapes": mostly(st.lists(mostly(shapes), max_size=3))}
)
jobs = st.fixed_dictionaries(
    {"shapes": mostly(st.lists(mostly(shapes), max_size=3))},
    optional={"tracks": mostly(st.lists(mostly(tracks), max_size=2))},
)


@examples
@given(document=mostly(st.lists(mostly(jobs), max_size=2) | jobs))
def test_exports_of_cvat(folder, document):
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    for region in ends_well(lambda: roi.import_cvat(path, INFO)) or ():
        assert region.area > 0 and np.isfinite(region.polygon).all()


bits = mostly(st.sampled_from("01"), wild_text)


@examples
@given(
    text=tables(
        file=mostly(st.sampled_from(("0.dcm", "1.dcm", "a/2.dcm")), wild_text),
        patient=mostly(st.sampled_from(("P001", "cap001")), wild_text),
        diagnosis=mostly(st.sampled_from(("COVID-19", "CAP")), wild_text),
        infection=bits, **dict.fromkeys(LOBES, bits),
    )
)  # fmt: skip
def test_tables_of_slice_labels(folder, text):
    for name in ("COVID-19/P001", "CAP/cap001"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "slice_labels.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    labels = ends_well(lambda: read_slice_labels(folder))
    if labels is not None:
        for patient in labels.patients:
            ends_well(lambda p=patient: labels.infection(p, ["0.dcm", "1.dcm"], np.arange(2.0)))


@examples
@given(
    text=tables(
        file=mostly(st.sampled_from(("COVID/a.png", "Normal\\a.png")), wild_text),
        patient_id=wild_text, near_duplicate_group=wild_text, origin=wild_text,
    )
)  # fmt: skip
def test_manifests(folder, text):
    config = VBreathNetConfig(data=folder, out=folder / "out")
    for name in config.classes:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "a.png").write_bytes(b"x")
    (folder / "manifest.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = ends_well(lambda: find_radiographs(config, lambda line: None))
    assert found is None or [one.label for one in found] == [0, 1, 2]


@examples
@given(recipe=mostly(st.just(None)), index=st.text(max_size=30), sources=st.text(max_size=30))
def test_stores(folder, recipe, index, sources):
    store = folder / "store"
    if not store.exists():
        readers.write_store(store)
    sound = {file.name: file.read_bytes() for file in store.iterdir()}
    try:
        if recipe is not None:
            (store / "recipe.json").write_text(json.dumps(recipe))
        (store / "index.csv").write_bytes(sound["index.csv"] + index.encode())
        (store / "sources.csv").write_bytes(sound["sources.csv"] + sources.encode())
        opened = ends_well(lambda: Store(store))
        if opened is not None:
            ends_well(lambda: (opened.column("label"), opened.file_hashes))
            assert len(opened.samples) == len(opened.index) == 3
    finally:
        for name, content in sound.items():
            (store / name).write_bytes(content)


@examples
@given(content=st.binary(max_size=60), start=st.sampled_from((b"", b"\x93NUMPY\1\0", b"file,a\n")))
def test_arrays_and_tables_of_any_bytes(folder, content, start):
    path = folder / "any"
    path.write_bytes(start + content)
    for read in (open_array, read_table):
        ends_well(lambda read=read: read(path))
