"""Where the chest boxes of the cropped test come from, and that they are what is cut out."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from preprocessing.radiographs import picture_info, read_radiograph, resize_radiograph
from preprocessing.roi import Region, import_rectangles, roi_path, save_regions
from replication.multiclass import SPLITS
from replication.run import RunFolder
from vbreathnet import crop
from vbreathnet.config import CLASSES
from vbreathnet.data import prepare
from vbreathnet.evaluate import evaluation_settings, is_evaluated
from vbreathnet.split import split_samples
from vbreathnet.train import run_study

BOX = ((28, 14), (84, 14), (84, 98), (28, 98))  # of films with 112 px a side
SHARES = (0.25, 0.125, 0.75, 0.875)


def silent(line: str) -> None:
    pass


def test_the_splits_of_cropped_images_are_those_that_are_judged():
    assert SPLITS.fullmatch(crop.WRONG_CROPPED) and SPLITS.fullmatch(crop.ALL_CROPPED)


def test_a_crop_is_what_lies_in_the_box():
    image = np.arange(80 * 40, dtype=np.uint32).reshape(80, 40).astype(np.uint8)
    found = crop.crop_to(image, (0.25, 0.5, 0.75, 0.75), 20)
    np.testing.assert_array_equal(found, image[40:60, 10:30])


@pytest.fixture
def marked(small_config, tmp_path):
    """A configuration with an empty folder for region files."""
    (tmp_path / "marks").mkdir()
    return dataclasses.replace(small_config, roi_dir=tmp_path / "marks")


@pytest.fixture
def samples(small_config):
    return split_samples(small_config, prepare(small_config, silent), 0)


@pytest.fixture
def numbers(samples):
    return [int(row) for row in samples.rows[samples.of("test")]]


def mark(config, samples, number, *polygons):
    """Save regions of a sample's film; returns the region file."""
    film = config.data / samples.store.index[number]["file"]
    regions = [Region(polygon, 0, 0, "chest") for polygon in polygons]
    return save_regions(film, picture_info(film), regions, config.roi_dir)


def test_the_box_of_a_mask_has_a_margin():
    mask = np.zeros((100, 200), np.uint8)
    mask[20:60, 50:150] = 255
    box = crop.box_of_mask(mask > 0)
    assert box == pytest.approx((0.25 - 0.03, 0.2 - 0.03, 0.75 + 0.03, 0.6 + 0.03))


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_mask_is_told_before_training(films, small_config, tmp_path, content):
    data = shutil.copytree(films, tmp_path / "data")
    for mask in (data / "COVID/masks").iterdir():
        if content is None:
            cv2.imwrite(str(mask), np.zeros((9, 9), np.uint8))
        else:
            mask.write_bytes(content)
    config = dataclasses.replace(small_config, data=data)
    with pytest.raises(InputError, match=r"masks/COVID-.*: is not a (PNG image|lung mask)"):
        run_study(config, prepare(config, silent), silent)
    assert not list(config.out.glob("runs/**/history.csv"))


def test_a_drawn_box_wins_over_the_lung_mask(marked, samples, numbers):
    drawn, masked = crop.find_boxes(marked, samples, numbers)
    assert drawn == {} and set(masked) == set(numbers)
    mark(marked, samples, numbers[0], BOX)
    mark(marked, samples, numbers[1])  # somebody looked and found no chest to crop to
    drawn, masked = crop.find_boxes(marked, samples, numbers)
    assert drawn == {numbers[0]: SHARES} and set(masked) == set(numbers[2:])


def test_several_regions_and_polygons_make_one_box(marked, samples, numbers):
    right, left = ((28, 20), (50, 14), (48, 90)), ((60, 30), (84, 40), (70, 98), (61, 90))
    mark(marked, samples, numbers[0], right, left)
    drawn, _ = crop.find_boxes(marked, samples, numbers)
    assert drawn == {numbers[0]: SHARES}


def test_a_table_of_boxes_becomes_region_files(marked, samples, numbers, tmp_path):
    file = samples.store.index[numbers[0]]["file"]
    table = tmp_path / "crops.csv"
    table.write_text(f"file,x,y,width,height\n{file},28,14,56,84\n")
    film = marked.data / file
    found = import_rectangles(table, marked.data, lambda path: [film], picture_info, "chest")
    assert found == {film: [Region(BOX, 0, 0, "chest")]}


@pytest.mark.parametrize(
    ("polygon", "changes", "message"),
    [
        (BOX[:2] + ((84, 40),), {}, "its box is 56x26 pixels, too small for a chest"),
        (BOX, {"width": 299}, "was marked for 299x112 pixels, this one has 112x112"),
        (BOX, {"frames": 30}, "was marked for 30 frames"),
        (BOX, {"format": "coco"}, "is not a region file"),
    ],
)
def test_region_files_that_do_not_fit_are_named(
    marked, samples, numbers, polygon, changes, message
):
    path = mark(marked, samples, numbers[0], polygon)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=message) as caught:
        crop.find_boxes(marked, samples, numbers)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_roi_dir_that_is_none_is_told(marked, samples, numbers):
    wrong = dataclasses.replace(marked, roi_dir=marked.roi_dir / "gone")
    with pytest.raises(InputError, match="--roi-dir .*gone: no such folder"):
        crop.find_boxes(wrong, samples, numbers)


class Recorder:
    """Stands for a network: keeps what it is shown and is always sure of the first class."""

    def __init__(self):
        self.seen = []

    def predict(self, batch, verbose):
        self.seen.append(np.asarray(batch))
        return np.array([[0.8, 0.1, 0.1]] * len(batch))


def test_what_was_drawn_is_what_is_cut_out(marked, samples, numbers):
    mark(marked, samples, numbers[0], BOX)
    mark(marked, samples, numbers[1])
    scores = {f"score_{name}": share for name, share in zip(CLASSES, "123", strict=True)}
    rows = [
        {"sample_id": n, "file": samples.store.index[n]["file"], "split": "test", "cropped": 0,
         "label": int(samples.store.index[n]["label"]), **scores} for n in numbers
    ]  # fmt: skip
    network, lines = Recorder(), []
    result = crop.score_cropped_test(marked, network, samples, rows, "unit", lines.append)
    count = len(numbers)
    assert lines == [
        f"cropped test: {count} images, 1 with a drawn box, {count - 2} with that of their lung "
        "mask, 1 without, which stay as they are"
    ]
    film = read_radiograph(marked.data / rows[0]["file"])
    expected = resize_radiograph(film[14:98, 28:84], marked.image_size) / 255
    assert network.seen[0][0, :, :, 0] == pytest.approx(expected, abs=1e-6)
    after = {row["sample_id"]: row for row in result if row["split"] == crop.ALL_CROPPED}
    assert after[numbers[0]]["cropped"] == 1 and after[numbers[0]]["score_COVID"] == "0.8"
    assert after[numbers[1]]["cropped"] == 0 and after[numbers[1]]["score_COVID"] == "1"
    wrong = {row["sample_id"] for row in rows if row["label"] != 2}
    cropped = {r["sample_id"] for r in result if r["split"] == crop.WRONG_CROPPED and r["cropped"]}
    assert cropped == wrong - {numbers[1]}


def test_without_any_box_there_is_no_cropped_test(marked, samples, numbers, monkeypatch):
    monkeypatch.setattr(crop, "read_lung_mask", lambda data, file: None)
    rows = [{"sample_id": n, "split": "test"} for n in numbers]
    lines = []
    assert crop.score_cropped_test(marked, Recorder(), samples, rows, "unit", lines.append) == []
    assert "scripts/mark_roi.py --radiographs" in lines[0]


def test_region_files_beside_the_images_are_found_without_roi_dir(small_config, samples, numbers):
    film = small_config.data / samples.store.index[numbers[0]]["file"]
    path = mark(small_config, samples, numbers[0], BOX)
    try:
        assert path == roi_path(film) == film.with_name(f"{film.name}.roi.json")
        drawn, _ = crop.find_boxes(small_config, samples, numbers)
        assert drawn == {numbers[0]: SHARES}
        assert len(prepare(small_config, silent).index) == 36  # the region file is no image
    finally:
        path.unlink()  # the films are shared with other tests


def test_other_marks_are_another_evaluation(marked, samples, numbers):
    folder = RunFolder(marked.out / "run", {})
    folder.write_metrics({"evaluation": evaluation_settings(marked, samples)})
    assert is_evaluated(marked, folder, samples)
    for polygon in (BOX, tuple((x + 1, y) for x, y in BOX)):  # drawn, then corrected
        mark(marked, samples, numbers[0], polygon)
        assert not is_evaluated(marked, folder, samples)
        folder.write_metrics({"evaluation": evaluation_settings(marked, samples)})
        assert is_evaluated(marked, folder, samples)
    trained = samples.rows[samples.of("train")][0]
    mark(marked, samples, int(trained), BOX)
    assert is_evaluated(marked, folder, samples)
