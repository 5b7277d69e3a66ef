"""The layout of COVID-CT-MD and its labels: both traps, all spellings, and what is refused."""

import csv

import numpy as np
import pytest

from cnr_iemn.scans import LOBES, Scan, find_scans, read_slice_labels
from preprocessing.errors import InputError

SLICES = 12  # of a whole series
LENGTH = 20  # of a row of the label arrays
# As published: positions 0 to 4, a Label Index that skips 2.
INDEX = [(0, "P001"), (1, "P002"), (3, "P010"), (4, "cap001"), (5, "cap002")]
INFECTED = {"P001": (4, 7), "P002": (2, 5), "P010": (0, 3), "cap001": (8, 11), "cap002": (5, 6)}


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


def files_of(count=SLICES):
    """File names head first, in no order."""
    return [f"IM_{(7 * k) % 97}.dcm" for k in range(count)]


def labels_of(patient):
    """Infection and lobes of a patient by INFECTED; the lobe tells which patient it is."""
    infection = np.zeros(LENGTH)
    infection[slice(*INFECTED[patient])] = 1
    lobes = np.zeros((LENGTH, len(LOBES)))
    lobes[:, list(INFECTED).index(patient)] = infection
    return infection, lobes


def write_arrays(folder, suffix="-updated-1", patients=INDEX, dash="-"):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "Index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("Label Index", "Diagnosis", "Relative Path", "Folder/ID"))
        for number, patient in patients:
            diagnosis = "CAP" if patient.startswith("cap") else "COVID-19"
            table.writerow((number, diagnosis, f"./{diagnosis}/", patient))
    infection, lobes = zip(*(labels_of(patient) for _, patient in patients), strict=True)
    for name, array in (("Slice-level-labels", infection), ("Lobe-level-labels", lobes)):
        np.save(folder / f"{name}{suffix}.npy".replace("-", dash), np.stack(array))
    return folder


COLUMNS = ("file", "patient", "diagnosis", "infection", "infection_label_v0", *LOBES)


def table_rows(patient="P001", diagnosis="COVID-19", files=None):
    """Rows of a slice_labels.csv in the order of file names, which is no order of slices."""
    infection, lobes = labels_of(patient)
    rows = [
        (f"COVID-19/{patient}/{file}", patient, diagnosis, int(infection[k]), int(k == 1),
         *lobes[k].astype(int))
        for k, file in enumerate(files or files_of())
    ]  # fmt: skip
    return sorted(rows)


def write_table(folder, rows, columns=COLUMNS):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "slice_labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *(row[: len(columns)] for row in rows)])


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
    assert found[0] == Scan(
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


@pytest.mark.parametrize("below", [".", "labels", "Sample data/labels"])
@pytest.mark.parametrize("dash", ["-", "_"])
def test_the_row_of_an_array_is_the_position_in_the_index(tmp_path, below, dash):
    data = published(tmp_path)
    write_arrays(data / below, dash=dash)
    write_arrays(data / "Cap subjects")  # among the scans nothing is looked for
    labels = read_slice_labels(data)
    assert labels.patients == ("cap001", "cap002", "normal002", "normal010", "P001", "P002", "P010")
    for patient in INFECTED:
        infection, lobes = labels_of(patient)
        own = labels.infection(patient, files_of())
        assert own.dtype == bool and own.tolist() == infection[:SLICES].astype(bool).tolist()
        assert np.array_equal(labels.lobes(patient, files_of()), lobes[:SLICES])


def test_normal_patients_have_labels_by_diagnosis_and_unknown_ones_none(tmp_path):
    data = published(tmp_path)
    for has_arrays in (False, True):
        if has_arrays:
            write_arrays(data, patients=INDEX[:2])
        labels = read_slice_labels(data)
        assert labels.infection("normal002", files_of()).tolist() == [False] * SLICES
        assert labels.lobes("normal002", files_of()).shape == (SLICES, 5)
        assert labels.infection("cap001", files_of()) is None
        assert labels.lobes("cap001", files_of()) is None
        assert ("P001" in labels.patients) == has_arrays


def test_versions_of_the_arrays(tmp_path):
    data = published(tmp_path)
    write_arrays(data / "labels")
    assert_refused(lambda: read_slice_labels(data, "first"), "no slice-level-labels.npy", data)
    infection = np.stack([labels_of(patient)[0] for _, patient in INDEX])
    infection[0] = np.arange(LENGTH) == 3
    np.save(data / "labels" / "Slice-level-labels.npy", infection)
    assert np.flatnonzero(read_slice_labels(data).infection("P001", files_of())).tolist() == [
        4,
        5,
        6,
    ]
    labels = read_slice_labels(data, "first")
    assert np.flatnonzero(labels.infection("P001", files_of())).tolist() == [3]
    assert labels.lobes("P001", files_of()) is None  # the lobes are of the updated version


def test_arrays_that_do_not_fit_the_series_are_refused(tmp_path):
    data = published(tmp_path)
    source = write_arrays(data) / "Slice-level-labels-updated-1.npy"
    labels = read_slice_labels(data)
    assert labels.infection("cap001", files_of(11)).tolist() == [False] * 8 + [True] * 3
    for count in (10, LENGTH + 1):
        for read in (labels.infection, labels.lobes):
            assert_refused(
                lambda read=read, count=count: read("cap001", files_of(count)),
                f"label arrays do not fit cap001: its series has {count} slices", source,
            )  # fmt: skip


def overwrite(name, change):
    def damage(data):
        path = data / name
        array = change(np.load(path))
        np.save(path, array)
        return path

    return damage


def edit_index(old, new):
    def damage(data):
        path = data / "Index.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return path

    return damage


def write_bytes(name, content):
    def damage(data):
        (data / name).write_bytes(content)
        return data / name

    return damage


def remove(name):
    def damage(data):
        (data / name).unlink()
        return data

    return damage


def pickled(data):
    path = data / SLICE_ARRAY
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return path


SLICE_ARRAY, LOBE_ARRAY = "Slice-level-labels-updated-1.npy", "Lobe-level-labels-updated-1.npy"
WRONG_ARRAYS = {
    "fewer rows": (overwrite(SLICE_ARRAY, lambda a: a[:-1]), r"of 4 x 20 that .* expected 5 x any"),
    "flat": (overwrite(SLICE_ARRAY, lambda a: a.ravel()), "label array of 100 that does not fit"),
    "lobes": (overwrite(LOBE_ARRAY, lambda a: a[..., :4]), "expected 5 x 20 x 5"),
    "twos": (overwrite(SLICE_ARRAY, lambda a: a * 2), "other values than 0 and 1"),
    "nan": (overwrite(SLICE_ARRAY, lambda a: a / a), "other values than 0 and 1"),
    "text": (write_bytes(SLICE_ARRAY, b"no array"), "not a readable array"),
    "empty": (write_bytes(SLICE_ARRAY, b""), "not a readable array"),
    "pickle": (pickled, "not a readable array"),
    "no index": (remove("Index.csv"), "no Index.csv"),
    "no slices": (remove(SLICE_ARRAY), "no slice-level-labels-updated-1.npy"),
    "twice": (edit_index("cap002", "cap001"), "lists cap001 twice"),
    "class": (edit_index("CAP,./CAP/,cap002", "COVID-19,./,cap002"), "says that cap002 is COVID"),
    "diagnosis": (edit_index("CAP,./CAP/,cap002", "flu,./,cap002"), "diagnosis 'flu' of cap002"),
    "column": (edit_index("Folder/ID", "Name"), "no column 'Folder/ID'"),
    "latin": (write_bytes("Index.csv", b"\xff\xfe\x00"), "not a CSV table"),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_damaged_arrays_are_refused(tmp_path, case):
    data = write_arrays(published(tmp_path))
    damage, match = WRONG_ARRAYS[case]
    path = damage(data)
    assert_refused(lambda: read_slice_labels(data), match, path)


def test_lobes_that_contradict_slices_are_refused_with_the_patient(tmp_path):
    data = write_arrays(published(tmp_path))
    lobes = np.load(data / LOBE_ARRAY)
    lobes[3, 9] = 0
    np.save(data / LOBE_ARRAY, lobes)
    match = "label 10 of cap001 contradicts its lobes"
    assert_refused(lambda: read_slice_labels(data), match, data / SLICE_ARRAY)


def test_two_label_files_of_a_kind_are_refused(tmp_path):
    data = write_arrays(published(tmp_path))
    write_arrays(data / "copy")
    assert_refused(lambda: read_slice_labels(data), "second label file", data / "copy/Index.csv")


def test_a_table_goes_by_file_name_and_before_the_arrays(tmp_path):
    data = write_arrays(published(tmp_path))
    thinned = files_of()[::3]  # slices 0, 3, 6 and 9 as a series of four
    rows = [row for row in table_rows() if row[0].split("/")[-1] in thinned]
    write_table(data / "labels", rows)
    labels = read_slice_labels(data)
    assert labels.infection("P001", thinned).tolist() == [False, False, True, False]
    assert labels.infection("P001", thinned[::-1]).tolist() == [False, True, False, False]
    assert labels.lobes("P001", thinned)[:, 0].tolist() == [False, False, True, False]
    assert labels.infection("P002", files_of()) is None  # not in the table, the arrays are not read
    assert labels.patients == ("normal002", "normal010", "P001")
    first = read_slice_labels(data, "first")
    assert first.infection("P001", files_of()[:1]).tolist() == [False]
    assert first.lobes("P001", thinned) is None


def test_a_table_needs_no_lobes_and_no_first_version(tmp_path):
    data = published(tmp_path)
    write_table(data, table_rows(), COLUMNS[:4])
    labels = read_slice_labels(data)
    assert labels.infection("P001", files_of()).sum() == 3
    assert labels.lobes("P001", files_of()) is None
    path = data / "slice_labels.csv"
    assert_refused(lambda: read_slice_labels(data, "first"), "no column 'infection_label_v0'", path)


def test_a_slice_that_a_table_lacks_is_refused(tmp_path):
    data = published(tmp_path)
    write_table(data, table_rows())
    labels, path = read_slice_labels(data), data / "slice_labels.csv"
    for read in (labels.infection, labels.lobes):
        assert_refused(
            lambda read=read: read("P001", [*files_of(), "x.dcm"]),
            "1 of the 13 slices of P001 are not in it, such as x.dcm", path,
        )  # fmt: skip
    one_file = ["P001.nii.gz"] * 4
    assert_refused(lambda: labels.infection("P001", one_file), "one file of many slices", path)


def replaced(row, **fields):
    return tuple(fields.get(name, value) for name, value in zip(COLUMNS, row, strict=True))


WRONG_TABLES = {
    "value": (lambda r: [replaced(r[0], infection="2")], "row 2 has '2' as infection"),
    "lobe": (lambda r: [*r, replaced(r[0], file="y", RML="")], "row 14 has '' as RML"),
    "twice": (lambda r: [*r, r[0]], "P001 has two rows of one file"),
    "two": (lambda r: [*r, replaced(r[0], file="y", diagnosis="CAP")], "says that P001 is CAP"),
    "diagnosis": (lambda r: [replaced(r[0], diagnosis="?")], "diagnosis '\\?' of P001"),
    "contradiction": (lambda r: [replaced(r[0], infection="1")], "label 1 of P001 contradicts"),
    "normal": (
        lambda r: [replaced(r[0], patient="normal002", diagnosis="Normal", infection="1", LLL="1")],
        "normal002 is normal and has infected slices",
    ),
    "empty": (lambda r: [], "has no row"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_wrong_tables_are_refused(tmp_path, case):
    data = published(tmp_path)
    change, match = WRONG_TABLES[case]
    write_table(data, change(table_rows()))
    assert_refused(lambda: read_slice_labels(data), match, data / "slice_labels.csv")


def test_a_table_with_some_lobes_is_refused(tmp_path):
    data = published(tmp_path)
    write_table(data, table_rows(), COLUMNS[:7])
    match = "columns for LLL, LUL only; expected all 5"
    assert_refused(lambda: read_slice_labels(data), match, data / "slice_labels.csv")
