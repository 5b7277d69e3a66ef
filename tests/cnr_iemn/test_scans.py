"""The layout of COVID-CT-MD in all its spellings, and what is refused."""

import pytest

from cnr_iemn.scans import ScanFiles, find_scans, ignored_folders
from preprocessing.errors import InputError


def make_scans(data, **folders):
    """Class folders with a folder of DICOM files for each patient."""
    for folder, patients in folders.items():
        for patient in patients:
            path = data / folder.replace("_", " ") / patient
            path.mkdir(parents=True)
            (path / "IM0001.dcm").touch()
    return data


def published(data):
    return make_scans(
        data,
        COVID_subjects=("P001", "P010", "P002"),
        Cap_subjects=("cap001", "cap002"),
        Normal_subjects=("normal002", "normal010"),
    )


def assert_refused(call, match, path):
    with pytest.raises(InputError, match=match) as error:
        call()
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_scans_are_found_in_the_order_of_classes_and_numbers(tmp_path):
    data = published(tmp_path)
    (data / "Normal subjects" / "notes.txt").touch()
    (data / "Normal subjects" / ".hidden").mkdir()
    (data / "lesions").mkdir()
    for patient in ("cap10", "cap3"):
        (data / "Cap subjects" / patient).mkdir()
    found = find_scans(data)
    assert found[0] == ScanFiles(
        "normal002", "Normal", data / "Normal subjects" / "normal002", "Normal subjects/normal002"
    )
    assert [(scan.patient, scan.diagnosis) for scan in found] == [
        ("normal002", "Normal"), ("normal010", "Normal"), ("P001", "COVID-19"),
        ("P002", "COVID-19"), ("P010", "COVID-19"), ("cap001", "CAP"), ("cap002", "CAP"),
        ("cap3", "CAP"), ("cap10", "CAP"),
    ]  # fmt: skip


@pytest.mark.parametrize("below", ["", "Sample data"])
@pytest.mark.parametrize(
    "names",
    [
        ("Normal subjects", "COVID-19 subjects", "Cap subjects"),
        ("Normal", "COVID-19", "CAP"),
        ("Normal Cases", "COVID-19 Cases", "Cap Cases"),
        ("NORMAL", "covid19", "cap-patients"),
    ],
)
def test_every_spelling_at_two_levels(tmp_path, names, below):
    for patient, name in zip("nvp", names, strict=True):
        (tmp_path / below / name / patient).mkdir(parents=True)
    found = [(scan.patient, scan.diagnosis) for scan in find_scans(tmp_path)]
    assert found == [("n", "Normal"), ("v", "COVID-19"), ("p", "CAP")]


def test_class_folders_in_the_folder_go_before_those_below(tmp_path):
    data = make_scans(tmp_path, CAP=("cap001",))
    make_scans(data / "lesions", CAP=("cap001",))
    assert [scan.file for scan in find_scans(data)] == ["CAP/cap001"]


def test_nifti_files_are_scans_and_a_class_may_be_missing(tmp_path):
    data = make_scans(tmp_path, Normal=("n1",))
    (data / "COVID-19").mkdir()
    for name in ("a.b.nii.gz", "c.NII", "notes.csv"):
        (data / "COVID-19" / name).touch()
    found = [(scan.patient, scan.file) for scan in find_scans(data)]
    assert found == [
        ("n1", "Normal/n1"), ("a.b", "COVID-19/a.b.nii.gz"), ("c", "COVID-19/c.NII"),
    ]  # fmt: skip


def test_layouts_that_are_refused(tmp_path):
    assert_refused(lambda: find_scans(tmp_path / "none"), "is not a folder", tmp_path / "none")
    assert_refused(lambda: find_scans(tmp_path), "expected folders such as 'COVID-19", tmp_path)
    data = make_scans(tmp_path / "a", CAP=("cap001",), Cap_Cases=("cap002",))
    assert_refused(lambda: find_scans(data), "second folder of CAP", data / "Cap Cases")
    data = make_scans(tmp_path / "b", CAP=("P1",), Normal=("p1",))
    assert_refused(lambda: find_scans(data), "patient name of Normal/p1", data / "CAP" / "P1")
    data = make_scans(tmp_path / "c", CAP=("P1",))
    (data / "CAP" / "IM1.DCM").touch()
    assert_refused(lambda: find_scans(data), "lies in no patient's folder", data / "CAP/IM1.DCM")
    (tmp_path / "d" / "Normal").mkdir(parents=True)
    assert_refused(lambda: find_scans(tmp_path / "d"), "holds no scan", tmp_path / "d/Normal")


def test_a_misspelt_class_folder_is_named_and_what_holds_no_scans_is_not(tmp_path):
    data = make_scans(tmp_path, Normal=("n1",), Covdi_subjects=("P001",))
    for name in ("Cap subjcts/cap001.nii.gz", "loose/IM1.dcm", "labels/Index.csv", "empty/.x"):
        (data / name).parent.mkdir()
        (data / name).touch()
    names = [folder.name for folder in ignored_folders(data)]
    assert names == ["Cap subjcts", "Covdi subjects", "loose"]
    inner = make_scans(tmp_path / "b" / "Sample data", Normal=("n1",), Cpa=("cap001",)).parent
    assert [folder.name for folder in ignored_folders(inner)] == ["Cpa"]
