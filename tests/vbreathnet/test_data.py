"""Folders of radiographs to a store: what is read, what is said, and what is refused."""

import dataclasses
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from vbreathnet.config import CLASSES
from vbreathnet.data import compare_with_table_1, find_radiographs, lung_mask_path, prepare


def silent(line: str) -> None:
    pass


@pytest.fixture
def folder(small_config, films, tmp_path):
    """A copy of the films that a test may damage, and its configuration."""
    data = tmp_path / "data"
    shutil.copytree(films, data)
    return data, dataclasses.replace(small_config, data=data)


def write_film(path, seed: int, **kwargs) -> None:
    picture = np.random.default_rng(seed).integers(0, 255, (100, 100), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(picture, (0, 0), 2), **kwargs)


def test_the_published_layout_gives_every_image_once(small_config, films):
    lines = []
    store = prepare(small_config, lines.append)
    assert Counter(store.column("class")) == dict.fromkeys(CLASSES, 12)
    assert store.samples.shape == (36, 96, 96) and store.samples.dtype == np.uint8
    assert store.column("file")[0] == "COVID/images/COVID-1.png"
    assert set(store.column("origin")) == {"phantom"}
    assert all(row["sharpness"] and row["patient_id"] for row in store.index)
    assert any("ignored: lesions" in line for line in lines)
    assert any(line.startswith("Normal: 12 images, Table 1 has 10192 (-10180)") for line in lines)
    assert lung_mask_path(films, store.column("file")[0]).exists()
    assert lung_mask_path(films, "COVID/images/none.png") is None


def test_a_cluster_reads_a_few_images_at_a_time_into_the_same_store(
    small_config, tmp_path, monkeypatch
):
    asked = []

    def read_here(read, sources, cluster):
        asked.append(cluster)
        yield from map(read, sources)

    monkeypatch.setattr("vbreathnet.data.read_ahead", read_here)
    other = dataclasses.replace(small_config, out=tmp_path / "other", cluster="tcp://there:8786")
    one, two = prepare(small_config, silent), prepare(other, silent)
    assert asked == ["tcp://there:8786"]
    assert one.index == two.index and np.array_equal(one.samples, two.samples)


def test_images_directly_in_the_class_folders_and_lung_opacity(small_config, tmp_path):
    for number, name in enumerate(("a", "b", "Lung_Opacity")):
        for k in range(3):
            write_film(tmp_path / "flat" / name / f"{k}.jpg", 10 * number + k)
    (tmp_path / "flat" / "a" / "notes.txt").write_text("not an image")
    config = dataclasses.replace(small_config, data=tmp_path / "flat", classes=("a", "b"))
    lines = []
    found = find_radiographs(config, lines.append)
    assert [r.file for r in found] == [f"{n}/{k}.jpg" for n in "ab" for k in range(3)]
    assert lines == [
        f"{config.data}: folders that are no class of this study, ignored: Lung_Opacity"
    ]


def test_a_manifest_names_patients_and_groups(folder):
    data, config = folder
    rows = ["file,patient_id,near_duplicate_group", "COVID/images/COVID-1.png,p1,g1"]
    (data / "manifest.csv").write_text("\n".join(rows))
    found = {r.file: r for r in find_radiographs(config, silent)}
    assert (found["COVID/images/COVID-1.png"].patient, found["COVID/images/COVID-1.png"].group) == (
        "p1", "g1",
    )  # fmt: skip
    assert found["COVID/images/COVID-2.png"].patient == ""
    (data / "manifest.csv").write_text("name\nx\n")
    with pytest.raises(InputError, match="manifest.csv: is not a CSV table with a column 'file'"):
        find_radiographs(config, silent)


def test_an_unchanged_folder_is_not_read_again_and_a_changed_one_is(folder, monkeypatch):
    data, config = folder
    first = prepare(config, silent).fingerprint
    monkeypatch.setattr("vbreathnet.data._read", None)
    assert prepare(config, silent).fingerprint == first
    monkeypatch.undo()
    write_film(data / "COVID/images/COVID-1.png", 5)
    lines = []
    assert prepare(config, lines.append).fingerprint != first
    assert any("preparing it again" in line for line in lines)


def test_no_difference_to_table_1_says_nothing(small_config):
    counts = Counter({"COVID": 3616, "Normal": 10192, "Viral Pneumonia": 1345})
    assert compare_with_table_1(small_config, counts) == []


def test_an_empty_or_missing_class_is_one_line(folder):
    data, config = folder
    for path in (data / "Normal/images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="Normal: holds no image; expected PNG, JPEG or DICOM"):
        prepare(config, silent)
    shutil.rmtree(data / "Normal")
    with pytest.raises(InputError, match="has no class folder 'Normal' .found: COVID, Viral"):
        prepare(config, silent)
    with pytest.raises(InputError, match="is not a folder"):
        prepare(dataclasses.replace(config, data=data / "nowhere"), silent)


def test_unreadable_files_are_listed_and_skipped_up_to_a_share(folder):
    data, config = folder
    (data / "COVID/images/COVID-1.png").write_text("I am a text file")
    with pytest.raises(InputError, match=r"COVID-1.png: .*1 of 36 files cannot be read, more than"):
        prepare(config, silent)
    lines = []
    store = prepare(dataclasses.replace(config, max_unreadable=0.05), lines.append)
    assert len(store.samples) == 35
    assert any(line.startswith("not used: ") and "COVID-1.png" in line for line in lines)


def test_one_picture_in_two_classes_is_refused(folder):
    data, config = folder
    source, copy = data / "COVID/images/COVID-3.png", data / "Normal/images/Normal-99.png"
    shutil.copyfile(source, copy)
    with pytest.raises(
        InputError, match="Normal-99.png: is the same picture as COVID/images/COVID-3"
    ):
        prepare(config, silent)
    copy.unlink()
    assert len(prepare(config, silent).samples) == 36


def test_an_interrupted_prepare_goes_on_where_it_stopped(folder, monkeypatch):
    data, config = folder
    whole = prepare(dataclasses.replace(config, out=config.out / "undisturbed"), silent)
    from vbreathnet import data as module

    read, calls = module._read, []

    def fail_late(one, side):
        if len(calls) == 30:
            raise KeyboardInterrupt
        calls.append(one.file)
        return read(one, side)

    monkeypatch.setattr(module, "_read", fail_late)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, silent)
    monkeypatch.setattr(
        module, "_read", lambda one, side: (calls.append(one.file), read(one, side))[1]
    )
    resumed = prepare(config, silent)
    assert len(calls) < 30 + 36 - 5  # what was written before is not read twice
    np.testing.assert_array_equal(resumed.samples, whole.samples)
    assert resumed.index == whole.index
