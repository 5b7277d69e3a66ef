"""The slice labels of COVID-CT-MD: both traps, tables, and what is refused."""

import csv

import numpy as np
import pytest

from cnr_iemn.slice_labels import LOBES, read_slice_labels
from preprocessing.errors import InputError

SLICES = 12  # of a whole series
LENGTH = 20  # of a row of the label arrays
# As published: positions 0 to 4, a Label Index that skips 2.
INDEX = [(0, "P001"), (1, "P002"), (3, "P010"), (4, "cap001"), (5, "cap002")]
INFECTED = {"P001": (4, 7), "P002": (2, 5), "P010": (0, 3), "cap001": (8, 11), "cap002": (5, 6)}


def published(data):
    """Class folders of a patient's empty folder each."""
    for name in ("COVID subjects/P001", "COVID subjects/P010", "COVID subjects/P002",
                 "Cap subjects/cap001", "Cap subjects/cap002", "Normal subjects/normal002",
                 "Normal subjects/normal010"):  # fmt: skip
        (data / name).mkdir(parents=True)
    return data


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


def infection_of(labels, patient, files=None, missing=()):
    """The labels of a series of slices 2 mm apart, save those that are missing in it."""
    files = files_of() if files is None else files
    locations = 40.0 - 2 * np.delete(np.arange(len(files) + len(missing)), missing)
    return labels.infection(patient, files, locations)


def assert_refused(call, match, path):
    with pytest.raises(InputError, match=match) as error:
        call()
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("below", [".", "labels", "Sample data/labels"])
@pytest.mark.parametrize("dash", ["-", "_"])
def test_the_row_of_an_array_is_the_position_in_the_index(tmp_path, below, dash):
    data = published(tmp_path)
    write_arrays(data / below, dash=dash)
    write_arrays(data / "Cap subjects")  # among the scans nothing is looked for
    labels = read_slice_labels(data)
    assert labels.patients == ("cap001", "cap002", "normal002", "normal010", "P001", "P002", "P010")
    for patient in INFECTED:
        infection, _ = labels_of(patient)
        own = infection_of(labels, patient)
        assert own.dtype == bool and own.tolist() == infection[:SLICES].astype(bool).tolist()


def test_normal_patients_have_labels_by_diagnosis_and_unknown_ones_none(tmp_path):
    data = published(tmp_path)
    for has_arrays in (False, True):
        if has_arrays:
            write_arrays(data, patients=INDEX[:2])
        labels = read_slice_labels(data)
        assert infection_of(labels, "normal002").tolist() == [False] * SLICES
        assert infection_of(labels, "cap001") is None
        assert ("P001" in labels.patients) == has_arrays


def test_versions_of_the_arrays(tmp_path):
    data = published(tmp_path)
    write_arrays(data / "labels")
    assert_refused(lambda: read_slice_labels(data, "first"), "no slice-level-labels.npy", data)
    infection = np.stack([labels_of(patient)[0] for _, patient in INDEX])
    infection[0] = np.arange(LENGTH) == 3
    np.save(data / "labels" / "Slice-level-labels.npy", infection)
    updated = infection_of(read_slice_labels(data), "P001")
    assert np.flatnonzero(updated).tolist() == [4, 5, 6]
    labels = read_slice_labels(data, "first")  # which the lobes, updated ones, need not fit
    assert np.flatnonzero(infection_of(labels, "P001")).tolist() == [3]


def test_arrays_that_do_not_fit_the_series_are_refused(tmp_path):
    data = published(tmp_path)
    source = write_arrays(data) / "Slice-level-labels-updated-1.npy"
    labels = read_slice_labels(data)
    assert infection_of(labels, "cap001", files_of(11)).tolist() == [False] * 8 + [True] * 3
    for count in (10, LENGTH + 1):
        assert_refused(
            lambda count=count: infection_of(labels, "cap001", files_of(count)),
            f"label arrays do not fit cap001: its series has {count} slices", source,
        )  # fmt: skip


@pytest.mark.parametrize("missing", [(5,), (5, 6), (2, 9)])
def test_arrays_do_not_fit_a_series_with_a_gap(tmp_path, missing):
    """Behind the gap each slice would have the label of the one before it."""
    data = published(tmp_path)
    source = write_arrays(data) / SLICE_ARRAY
    left = [file for k, file in enumerate(files_of()) if k not in missing]
    labels = read_slice_labels(data)
    first, last = 40 - 2 * (missing[0] - 1), 40 - 2 * (missing[0] + 1 + (missing == (5, 6)))
    assert_refused(
        lambda: infection_of(labels, "P001", left, missing),
        f"do not fit P001: slices are missing .* between {first} and {last} mm.*slice_labels.csv",
        source,
    )
    # Nothing is by position: a patient without infection, one without labels, a table.
    assert not infection_of(labels, "normal002", left, missing).any()
    write_table(data, table_rows(files=files_of()))
    table = read_slice_labels(data)
    expected = np.delete(labels_of("P001")[0][:SLICES].astype(bool), missing)
    assert infection_of(table, "P001", left, missing).tolist() == expected.tolist()
    assert infection_of(table, "P002", left, missing) is None


def test_arrays_fit_a_series_that_was_thinned_evenly_as_far_as_can_be_told(tmp_path):
    data = write_arrays(published(tmp_path))
    locations = 40.0 - 6 * np.arange(9)
    found = read_slice_labels(data).infection("P001", files_of(9), locations)
    assert np.flatnonzero(found).tolist() == [4, 5, 6]


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
    assert infection_of(labels, "P001", thinned).tolist() == [False, False, True, False]
    assert infection_of(labels, "P001", thinned[::-1]).tolist() == [False, True, False, False]
    assert infection_of(labels, "P002") is None  # not in the table, the arrays are not read
    assert labels.patients == ("normal002", "normal010", "P001")
    first = read_slice_labels(data, "first")
    assert infection_of(first, "P001", files_of()[:1]).tolist() == [False]


def test_a_table_needs_no_lobes_and_no_first_version(tmp_path):
    data = published(tmp_path)
    write_table(data, table_rows(), COLUMNS[:4])
    labels = read_slice_labels(data)
    assert infection_of(labels, "P001").sum() == 3
    path = data / "slice_labels.csv"
    assert_refused(lambda: read_slice_labels(data, "first"), "no column 'infection_label_v0'", path)


def test_a_slice_that_a_table_lacks_is_refused(tmp_path):
    data = published(tmp_path)
    write_table(data, table_rows())
    labels, path = read_slice_labels(data), data / "slice_labels.csv"
    assert_refused(
        lambda: infection_of(labels, "P001", [*files_of(), "x.dcm"]),
        "1 of the 13 slices of P001 are not in it, such as x.dcm", path,
    )  # fmt: skip
    one_file = ["P001.nii.gz"] * 4
    assert_refused(lambda: infection_of(labels, "P001", one_file), "one file of many slices", path)


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
