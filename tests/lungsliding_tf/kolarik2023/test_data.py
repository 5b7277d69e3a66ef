import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from lungsliding_tf.kolarik2023 import data
from lungsliding_tf.kolarik2023.config import KolarikConfig
from lungsliding_tf.kolarik2023.pictures import class_counts
from preprocessing import roi, video
from preprocessing.errors import InputError


def silent(line):
    pass


@pytest.fixture
def config(small_phantoms, tmp_path):
    return KolarikConfig(data=small_phantoms, out=tmp_path / "out")


@pytest.fixture
def own_data(small_phantoms, tmp_path):
    """A copy of the phantoms that a test may damage."""
    copy = tmp_path / "data"
    shutil.copytree(small_phantoms, copy)
    return copy


def test_tiles_are_cut_where_the_index_says(config):
    store = data.prepare(config, "2_30x30", silent)
    assert store.samples.shape[1:] == (60, 30, 30)
    assert class_counts(store).keys() == {"present", "absent"}
    row = store.index[len(store.index) // 2]
    frames = list(video.unify(config.data / row["file"]))
    start, x, y = (int(row[k]) for k in ("start_frame", "x", "y"))
    expected = np.stack([f[y : y + 30, x : x + 30] for f in frames[start : start + 60]])
    assert np.array_equal(store.samples[int(row["sample_id"])], expected)
    assert {row["origin"] for row in store.index} == {"phantom"}


def test_all_six_tile_sets_and_mmode_can_be_prepared(config):
    cells = ("2_30x30", "all_30x30", "2_60x60", "all_60x60", "2_90x90", "all_90x90", "64-frame")
    stores = data.prepare_all(replace(config, cell=cells), silent)
    counts = {cell: len(store.samples) for cell, store in stores.items()}
    assert counts["all_30x30"] > counts["2_30x30"] > counts["2_60x60"] > counts["2_90x90"]
    for px in (60, 90):
        assert counts[f"all_{px}x{px}"] >= counts[f"2_{px}x{px}"]
    assert stores["64-frame"].samples.shape == (10 * 8, 128, 64)
    assert (config.out / "figures" / "class_counts.png").stat().st_size > 5000


def test_a_second_call_does_nothing_and_a_changed_recipe_rebuilds(config):
    said = []
    data.prepare(config, "2_60x60", silent)
    samples = config.out / "stores" / "2_60x60" / "samples.npy"
    first = samples.stat().st_mtime_ns
    data.prepare(config, "2_60x60", said.append)
    assert samples.stat().st_mtime_ns == first and said == []
    store = data.prepare(replace(config, max_tiles=1), "2_60x60", said.append)
    assert "preparing it again" in said[0]
    assert len(store.samples) == 10


def test_size_is_said_before_and_is_an_upper_bound(config):
    said = []
    store = data.prepare(config, "all_30x30", said.append)
    assert "at most" in said[0] and "MB" in said[0]
    assert len(store.samples) <= int(said[0].split("at most ")[1].split()[0])


def test_what_cannot_be_used_is_listed_with_its_reason(own_data, config, make_video):
    with (own_data / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    first, second, third = (own_data / row["file"] for row in rows[:3])
    first.with_name(first.name + ".roi.json").unlink()
    for name, gray, frames in (("short", 90, 30), ("blank", 9, 70)):
        pictures = np.full((frames, 200, 200), gray, np.uint8)
        path = make_video(own_data / "videos" / f"{name}.avi", pictures, 30.0, "MJPG")
        square = ((0.0, 0.0), (200.0, 0.0), (200.0, 200.0), (0.0, 200.0))
        roi.save_regions(path, video.probe(path), [roi.Region(square, 0, frames - 1)])
    marked = json.loads(second.with_name(second.name + ".roi.json").read_text())
    marked["regions"][0]["last_frame"] = 30  # no clip lies in it
    second.with_name(second.name + ".roi.json").write_text(json.dumps(marked))
    with (own_data / "labels.csv").open("a") as file:
        blanks = "," * (len(rows[0]) - 3)
        file.write(f"videos/short.avi,s,present{blanks}\nvideos/blank.avi,b,absent{blanks}\n")
    store = data.prepare(replace(config, data=own_data), "2_30x30", silent)
    reasons = {row["file"]: row["reason"] for row in store.sources}
    assert "unmarked" in reasons[rows[0]["file"]]
    assert "no clip lies wholly within" in reasons[rows[1]["file"]]
    assert "too short: 30 frames" in reasons["videos/short.avi"]
    assert "every tile is flat" in reasons["videos/blank.avi"]
    assert reasons[rows[2]["file"]] == ""
    assert len(reasons) == 12, "nothing is dropped silently"


def test_whole_region_takes_the_picture_without_its_letterbox(config):
    store = data.prepare(replace(config, region="whole"), "all_90x90", silent)
    wide = [row for row in store.index if int(row["y"]) < 60]
    heights = {row["file"]: video.probe(config.data / row["file"]).width for row in wide}
    assert all(width == 640 for width in heights.values()), "854x480 lies between rows 60 and 420"


def damage(own_data, how):
    with (own_data / "labels.csv").open() as file:
        victim = own_data / list(csv.DictReader(file))[1]["file"]
    region = victim.with_name(victim.name + ".roi.json")
    if how == "empty":
        victim.write_bytes(b"")
    elif how == "truncated":
        victim.write_bytes(victim.read_bytes()[:3000])
    elif how == "renamed":
        victim.write_bytes((own_data / "labels.csv").read_bytes())
    else:
        document = json.loads(region.read_text())
        width = document["width"]
        polygon = {
            "outside": [[width - 50, 10], [width + 90, 10], [width + 90, 200]],
            "small": [[50, 50], [70, 50], [70, 70], [50, 70]],
        }[how]
        document["regions"][0]["polygon"] = polygon
        region.write_text(json.dumps(document))
    return victim


@pytest.mark.parametrize("how", ["empty", "truncated", "renamed", "outside", "small"])
def test_unusable_input_stops_with_one_line_and_can_be_skipped(own_data, config, how):
    victim = damage(own_data, how)
    config = replace(config, data=own_data)
    with pytest.raises(InputError) as error:
        data.prepare(config, "2_30x30", silent)
    assert victim.name in str(error.value) and "\n" not in str(error.value)
    assert not (config.out / "stores" / "2_30x30").exists()
    store = data.prepare(replace(config, skip_unusable=True), "2_30x30", silent)
    assert sum(row["used"] == "no" for row in store.sources) == 1


def test_control_pairs_every_tile_with_its_frozen_copy(config):
    store = data.prepare(replace(config, control_frozen=True, max_tiles=2), "2_30x30", silent)
    assert store.column("class").tolist() == ["moving", "frozen"] * (len(store.index) // 2)
    assert store.column("label").tolist() == ["1", "0"] * (len(store.index) // 2)
    moving, still = store.samples[0].astype(float), store.samples[1].astype(float)
    assert not np.array_equal(moving, still)
    assert store.folder.name == "control_frozen-2_30x30"


def test_unified_videos_can_be_written_beside_the_store(config):
    data.prepare_all(replace(config, cell=("2_90x90",), write_unified=True), silent)
    written = sorted((config.out / "unified" / "videos").glob("*.mp4"))
    assert len(written) == 10
    info = video.probe(written[0])
    assert (info.width, info.height, info.fps) == (640, 480, 30.0)


def test_mmode_width_and_height_are_parameters(config):
    narrow = replace(config, mmode_frames=32, mmode_height=96, mmode_columns=2)
    store = data.prepare(narrow, "64-frame", silent)
    assert store.samples.shape == (10 * 2 * 2, 96, 32)
