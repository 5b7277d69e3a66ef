"""The filters of section 3.1: numbers, files, and the picture."""

import csv
import dataclasses

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from vbreathnet.data import prepare
from vbreathnet.quality import apply_filters, kept_images, report_quality


def silent(line: str) -> None:
    pass


def thresholds(config, **values):
    return dataclasses.replace(config, **values)


@pytest.fixture
def store(small_config):
    return prepare(small_config, silent)


def test_each_filter_removes_what_lies_beyond_its_threshold(small_config, store):
    contrast = np.sort(store.column("contrast").astype(float))
    config = thresholds(small_config, min_contrast=contrast[3], max_contrast=contrast[-3])
    blurred, low, high = apply_filters(config, store)
    assert (blurred.removed.sum(), low.removed.sum(), high.removed.sum()) == (0, 3, 2)
    assert len(kept_images(config, store)) == 36 - 5
    gray = store.samples[int(np.flatnonzero(low.removed)[0])]
    assert gray.std() < contrast[3]


def test_removed_files_are_listed_with_their_value_and_drawn(small_config, store):
    sharpness = np.sort(store.column("sharpness").astype(float))
    config = thresholds(small_config, min_sharpness=sharpness[2], min_contrast=20)
    lines = []
    report_quality(config, store, lines.append)
    with (config.out / "removed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    blurred = [row for row in rows if row["reason"] == "blurred"]
    assert sorted(float(row["value"]) for row in blurred) == pytest.approx(list(sharpness[:2]))
    assert len(rows) == sum(f.removed.sum() for f in apply_filters(config, store))
    assert lines[0].startswith("2 of 36 images removed: blurred (sharpness, --min-sharpness")
    picture = cv2.imread(str(config.out / "figures" / "quality.png"))
    assert picture.shape[1] == 1000 and picture.std() > 20


def test_nothing_removed_leaves_a_table_with_its_header(small_config, store):
    report_quality(small_config, store, silent)
    assert (small_config.out / "removed.csv").read_text().splitlines() == [
        "file,class,reason,measure,value,threshold"
    ]
    assert (small_config.out / "figures" / "quality.png").exists()


def test_thresholds_that_remove_a_class_are_refused(small_config, store):
    with pytest.raises(InputError, match="remove all 12 images of COVID; lower --min-sharpness"):
        kept_images(thresholds(small_config, min_sharpness=1e9), store)
