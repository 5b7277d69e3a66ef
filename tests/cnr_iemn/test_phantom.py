"""Folders of CT phantoms: the data set's layout and its traps, whole or not at all."""

import csv
import hashlib
import json
import locale
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cnr_iemn import phantom
from cnr_iemn.cohort import CAP, COVID, FOLDERS, NORMAL, draw_cohort, drawn_values
from cnr_iemn.phantom import is_phantom, phantom_kind, read_truth, write_cohort
from cnr_iemn.scanner import LABEL_MM2, render
from cnr_iemn.scans import find_scans
from cnr_iemn.slice_labels import read_slice_labels
from preprocessing.ct import read_volume
from preprocessing.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMALL = dict(covid=4, cap=2, normal=2, labelled_covid=3, labelled_cap=1, size=64,
             slice_spacing=20.0, seed=1, progress=False)  # fmt: skip
TINY = dict(covid=1, cap=0, normal=0, size=48, slice_spacing=20.0, jobs=1, progress=False)
UPDATED, FIRST = "-level-labels-updated-1.npy", "-level-labels.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("scans") / "cohort", **SMALL, jobs=2)


@pytest.fixture(scope="module")
def cohort():
    return draw_cohort(4, 2, 2, seed=1)


@pytest.fixture(scope="module")
def rendered(cohort):
    """The scans of `folder`, as they were before they were written."""
    return [render(patient, 64, 20.0) for patient in cohort]


def _rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _hashes(folder: Path) -> dict:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _headers(folder: Path, patient) -> list[dict]:
    """All DICOM fields of a patient's slices, head first."""
    found = []
    for path in (folder / patient.folder).iterdir():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        fields = {k: reader.GetMetaData(k).strip() for k in reader.GetMetaDataKeys()}
        found.append(fields | {"name": path.name})
    return sorted(found, key=lambda fields: -float(fields["0020|1041"]))


def test_layout_is_the_data_sets(folder, cohort):
    labels = {kind + end for kind in ("Slice", "Lobe") for end in (UPDATED, FIRST)}
    others = {"Index.csv", "phantom.csv", "phantom.json", "truth"}
    assert {p.name for p in folder.iterdir()} == {*FOLDERS.values(), *labels, *others}
    assert {p.name for p in (folder / "COVID-19 subjects").iterdir()} == {
        "P001", "P002", "P003", "P004"
    }  # fmt: skip
    assert {p.name for p in (folder / "Cap subjects").iterdir()} == {"cap001", "cap002"}
    assert {p.name for p in (folder / "Normal subjects").iterdir()} == {"normal001", "normal002"}
    assert {p.name for p in (folder / "truth").iterdir()} == {f"{p.patient}.npz" for p in cohort}


def test_slices_are_dicom_as_the_data_set_ships_it(folder, cohort, rendered):
    for patient, scan in zip(cohort, rendered, strict=True):
        headers = _headers(folder, patient)
        assert len(headers) == len(scan.hu)
        for k, fields in enumerate(headers):
            assert (fields["0028|0100"], fields["0028|0101"], fields["0028|0103"]) == (
                "16", "12", "0"
            )  # fmt: skip
            assert (fields["0028|1052"], fields["0028|1053"]) == ("-1024", "1")
            assert fields["0008|0060"] == "CT" and fields["0020|0013"] == str(k + 1)
            assert fields["0010|0010"].startswith("Phantom^")
            location = float(fields["0020|1041"])
            assert location == scan.locations[k] == float(fields["0020|0032"].split("\\")[2])
            assert float(fields["0018|0050"]) == patient.thickness_mm == 2
            assert float(fields["0028|0030"].split("\\")[0]) == pytest.approx(scan.pixel, abs=1e-4)
        for tag in ("0020|000d", "0020|000e"):
            assert len({fields[tag] for fields in headers}) == 1
        assert len({fields["0008|0018"] for fields in headers}) == len(headers)
        some = (folder / patient.folder / headers[0]["name"]).read_bytes()
        assert b"1.2.840.10008.1.2.4.70" in some  # JPEG Lossless, first-order prediction
    series = {_headers(folder, patient)[0]["0020|000e"] for patient in cohort}
    assert len(series) == len(cohort)


def test_file_names_tell_no_order(folder, cohort):
    styles = set()
    for patient in cohort:
        names = [fields["name"] for fields in _headers(folder, patient)]
        assert names != sorted(names)
        numbers = [int(name.replace("IM", "_").split("_")[-1].split(".")[0]) for name in names]
        assert sorted(numbers) == list(range(1, len(names) + 1))
        assert abs(np.corrcoef(numbers, np.arange(len(numbers)))[0, 1]) < 0.8
        styles.add(names[0].startswith("IM"))
    assert styles == {True, False}


def test_the_study_reads_what_was_rendered(folder, cohort, rendered):
    scans = {scan.patient: scan for scan in find_scans(folder)}
    assert set(scans) == {patient.patient for patient in cohort}
    for patient, scan in zip(cohort, rendered, strict=True):
        assert scans[patient.patient].diagnosis == patient.label
        volume = read_volume(scans[patient.patient].path)
        assert volume.warnings == ()
        assert np.array_equal(volume.hu, scan.hu)
        assert np.allclose(volume.locations, scan.locations)
        lesions, lungs = read_truth(folder, patient.patient)
        assert np.array_equal(lesions, scan.lesions) and np.array_equal(lungs, scan.lungs)
    assert is_phantom(folder) and phantom_kind(folder) == "standard"


def test_label_arrays_have_the_published_traps(folder, cohort, rendered):
    index = _rows(folder / "Index.csv")
    assert list(index[0]) == ["Label Index", "Diagnosis", "Relative Path", "Folder/ID"]
    assert [row["Folder/ID"] for row in index] == ["P001", "P002", "P003", "cap001"]
    assert [row["Label Index"] for row in index] == ["0", "1", "3", "4"]  # 2 is left out
    assert {row["Relative Path"] for row in index} == {"./COVID-19/", "./CAP/"}
    scans = {p.patient: scan for p, scan in zip(cohort, rendered, strict=True)}
    slices, lobes = (np.load(folder / (kind + UPDATED)) for kind in ("Slice", "Lobe"))
    assert slices.shape == (4, 200) and lobes.shape == (4, 200, 5)
    assert slices.dtype == np.int32 and lobes.dtype == np.float64
    assert np.array_equal(slices, lobes.any(axis=2))
    for row, entry in enumerate(index):
        scan = scans[entry["Folder/ID"]]
        count = len(scan.hu)
        assert np.array_equal(lobes[row, :count], scan.lobes) and not lobes[row, count:].any()
        assert scan.infected.any()
        # A slice is infected where its lesions are as large as one lobe's must be, or larger.
        area = scan.lesions.sum(axis=(1, 2)) * scan.pixel**2
        assert (area[scan.infected] >= LABEL_MM2).all()
        assert (area[~scan.infected] < 5 * LABEL_MM2).all()
    first = np.load(folder / ("Slice" + FIRST))
    assert first.dtype == np.int64
    assert 0 < first[0].sum() < slices[0].sum() and not (first[0] > slices[0]).any()
    assert np.array_equal(first[1:], slices[1:])


def test_the_study_reads_the_labels(folder, cohort, rendered):
    labels = read_slice_labels(folder)
    for patient, scan in zip(cohort, rendered, strict=True):
        names = [fields["name"] for fields in _headers(folder, patient)]
        found = labels.infection(patient.patient, names, scan.locations)
        if patient.patient in ("P004", "cap002"):
            assert found is None
        else:
            assert np.array_equal(found, scan.infected)


def test_the_gap_is_the_published_one_in_large_cohorts(tmp_path):
    patients = draw_cohort(50, 0, 0, seed=0)
    nothing = {p.patient: np.zeros((201, 5), bool) for p in patients}
    phantom._write_labels(tmp_path, patients, nothing)
    numbers = [int(row["Label Index"]) for row in _rows(tmp_path / "Index.csv")]
    assert numbers == [*range(43), *range(44, 51)]
    assert np.load(tmp_path / ("Slice" + UPDATED)).shape == (50, 201)  # a scan that long


def test_the_table_tells_every_drawn_parameter(folder, cohort, rendered):
    for row, patient, scan in zip(_rows(folder / "phantom.csv"), cohort, rendered, strict=True):
        assert (row["patient"], row["label"]) == (patient.patient, patient.label)
        assert row["folder"] == patient.folder and int(row["slices"]) == len(scan.hu)
        assert int(row["infected_slices"]) == scan.infected.sum()
        share = scan.lesions.sum() / scan.lungs.sum()
        assert float(row["lesion_share"]) == pytest.approx(share, abs=1e-4)
        assert 2000 < int(row["lung_ml"]) < 9500
        drawn = {k: str(v) for k, v in drawn_values(patient).items() if k != "thickness_mm"}
        assert drawn.items() <= row.items()
        used = {name.split("_")[0] for name in row if name.startswith(("covid_", "cap_"))
                and row[name]}  # fmt: skip
        assert used == {COVID: {"covid"}, CAP: {"cap"}, NORMAL: set()}[patient.label]


def test_the_bytes_depend_neither_on_the_jobs_nor_on_what_was_read(folder, cohort, tmp_path):
    assert _headers(folder, cohort[0])  # reading DICOM changes what GDCM writes later on
    assert _hashes(write_cohort(tmp_path / "alone", **SMALL, jobs=1)) == _hashes(folder)


def test_same_folder_is_left_alone_and_another_cohort_replaces_it(tmp_path):
    out = write_cohort(tmp_path / "set", **TINY)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    write_cohort(out, **TINY)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    first = _hashes(out)
    write_cohort(out, **TINY, seed=2)
    assert json.loads((out / "phantom.json").read_text(encoding="utf-8"))["seed"] == 2
    assert _hashes(out)["truth/P001.npz"] != first["truth/P001.npz"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_interrupted_cohort_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_patient", broken)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "set", **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", [None, "[]", '{"generator": "chest radiographs 1"}', "\xff{"])
def test_a_folder_of_something_else_is_not_touched(tmp_path, recipe):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    if recipe is not None:
        (tmp_path / "phantom.json").write_bytes(recipe.encode("latin-1"))
    before = _hashes(tmp_path)
    with pytest.raises(InputError, match="no phantom scans"):
        write_cohort(tmp_path, **TINY)
    assert _hashes(tmp_path) == before


def test_other_folders_are_no_phantoms(tmp_path):
    assert not is_phantom(tmp_path) and phantom_kind(tmp_path) is None
    (tmp_path / "phantom.json").write_text('{"generator": "chest radiographs 1"}', encoding="utf-8")
    assert not is_phantom(tmp_path)
    (tmp_path / "phantom.json").write_text('{"gener', encoding="utf-8")
    with pytest.raises(InputError, match="phantom.json"):
        is_phantom(tmp_path)


def test_a_missing_or_broken_truth_is_named(folder, tmp_path, damage_archive):
    (tmp_path / "truth").mkdir()
    damaged = damage_archive((folder / "truth" / "P001.npz").read_bytes()).values()
    for content in (None, b"", b"PK\x03\x04 cut short", *damaged):
        if content is not None:
            (tmp_path / "truth" / "P001.npz").write_bytes(content)
        with pytest.raises(InputError, match="P001.npz"):
            read_truth(tmp_path, "P001")


@pytest.mark.parametrize(
    "wrong",
    [{"covid": -1}, {"size": 32}, {"size": 600}, {"seed": -1}, {"slice_spacing": 0.1}, {"jobs": 0},
     {"slice_spacing": 50.0}, {"kind": "mixed"}, {"kind": "low-dose", "cap": 2},
     {"covid": 0, "cap": 0, "normal": 0}],
)  # fmt: skip
def test_impossible_arguments_are_refused(tmp_path, wrong):
    name = "covid" if wrong.get("normal") == 0 else list(wrong)[-1]
    with pytest.raises(InputError, match=name):
        write_cohort(tmp_path / "set", **(TINY | wrong))
    assert list(tmp_path.iterdir()) == []


def test_command_writes_scans_and_names_errors(tmp_path):
    out = tmp_path / "scans"
    command = [sys.executable, str(ROOT / "scripts" / "make_phantom.py"), "ct", "--out", str(out)]
    command += "--covid 1 --cap 0 --normal 1 --slice-spacing 20 --jobs 1 --size".split()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done, failed = (
        subprocess.run([*command, size], capture_output=True, text=True, env=environment)
        for size in ("48", "9")
    )
    assert done.returncode == 0, done.stderr
    assert len(_rows(out / "phantom.csv")) == 2
    assert failed.returncode == 2
    assert "size=9" in failed.stderr and "Traceback" not in failed.stderr


def test_writing_phantoms_leaves_the_locale_as_it_was(tmp_path):
    before = locale.setlocale(locale.LC_ALL)
    sizes = {"covid": 1, "cap": 0, "normal": 0, "labelled_covid": 1, "labelled_cap": 0}
    write_cohort(tmp_path / "scans", **sizes, size=48, slice_spacing=30, jobs=1, progress=False)
    assert locale.setlocale(locale.LC_ALL) == before
