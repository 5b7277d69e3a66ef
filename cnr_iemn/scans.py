"""Scans and slice labels in the layout of COVID-CT-MD, in all its spellings.

Two traps of the published label arrays are handled here. An array's row is a patient's position in
Index.csv, not its `Label Index`, which skips 43. Labels run head first, which is not the order of
file names.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cnr_iemn.config import CLASSES, NORMAL
from preprocessing.errors import InputError
from preprocessing.nifti import is_nifti
from preprocessing.series import DICOM_SUFFIXES

LOBES = ("LLL", "LUL", "RLL", "RML", "RUL")  # Released: the order of the published lobe array

# Released: "COVID-19 subjects" (sample data), "COVID-19" (index), "COVID-19 Cases" (statistics).
_CLASS_FOLDER = re.compile(
    r"(covid(?:[-_ ]?19)?|cap|normal)(?:[-_ ]*(?:subject|case|patient|scan)s?)?", re.IGNORECASE
)
_CLASS_OF = dict(zip(("nor", "cov", "cap"), CLASSES, strict=True))
_LABEL_DEPTH = 2  # folders below the data folder in which label files are looked for

INDEX, TABLE = "Index.csv", "slice_labels.csv"
# Released: the labels as first published, and those updated on 2021-09-08 for P001 and P006.
ARRAYS = {
    "first": ("slice-level-labels.npy", "lobe-level-labels.npy"),
    "updated": ("slice-level-labels-updated-1.npy", "lobe-level-labels-updated-1.npy"),
}
# Ours: the columns of slice_labels.csv. Its lobes are of the updated version.
INFECTION_COLUMN = {"first": "infection_label_v0", "updated": "infection"}


@dataclass(frozen=True)
class Scan:
    """A patient's CT scan.

    Attributes:
        patient: name of the scan's folder, such as P001, cap001, normal001.
        diagnosis: one of CLASSES.
        path: a folder of DICOM files, or a NIfTI file.
        file: the path relative to the data folder, with forward slashes.
    """

    patient: str
    diagnosis: str
    path: Path
    file: str


@dataclass(frozen=True)
class PatientLabels:
    """Labels of one patient's slices, bool (slices,) and (slices, 5) or None.

    `names` gives the row of a file name; None: row k is the k-th slice, head first.
    """

    infection: np.ndarray
    lobes: np.ndarray | None
    names: dict[str, int] | None


class SliceLabels:
    """Which slices of which patients show infection, and in which lobes.

    Args:
        source: the file of the labels, named in errors; or the data folder.
        labels: by patient.
        normal: patients without infection by diagnosis; their labels are all False.

    Attributes:
        patients: all patients with labels.
    """

    def __init__(self, source: Path, labels: dict[str, PatientLabels], normal: Sequence[str]):
        self._source, self._labels, self._normal = source, labels, frozenset(normal)
        self.patients = tuple(sorted(self._normal | set(labels), key=natural_order))

    def infection(self, patient: str, files: Sequence[str]) -> np.ndarray | None:
        """Labels of a patient's slices.

        Args:
            patient: as in `Scan`.
            files: name of each slice's file, head first, as in `preprocessing.volume.Volume`.

        Returns:
            bool (slices,), head first; None: no slice of this patient is labelled.

        Raises:
            InputError: the labels do not fit the files.
        """
        if patient in self._normal:
            return np.zeros(len(files), bool)
        if patient not in self._labels:
            return None
        return self._labels[patient].infection[self._rows(patient, files)]

    def lobes(self, patient: str, files: Sequence[str]) -> np.ndarray | None:
        """As `infection`, by lobe: bool (slices, 5) in the order of LOBES; None: not labelled."""
        if patient in self._normal:
            return np.zeros((len(files), len(LOBES)), bool)
        if patient not in self._labels or self._labels[patient].lobes is None:
            return None
        return self._labels[patient].lobes[self._rows(patient, files)]

    def _rows(self, patient: str, files: Sequence[str]) -> np.ndarray:
        """The row of the labels for each slice."""
        labels = self._labels[patient]
        if labels.names is not None:
            if len(set(files)) < len(files):
                raise InputError(
                    f"{self._source}: labels slices by file, {patient} is one file of many slices; "
                    "give label arrays, or its DICOM files"
                )
            unknown = [file for file in files if file not in labels.names]
            if unknown:
                raise InputError(
                    f"{self._source}: {len(unknown)} of the {len(files)} slices of {patient} are "
                    f"not in it, such as {unknown[0]}; add a row for each"
                )
            return np.array([labels.names[file] for file in files], int)
        # A series that was thinned or cut no longer fits positions; positive rows beyond show it.
        needed = int(np.flatnonzero(labels.infection).max(initial=-1)) + 1
        if not needed <= len(files) <= len(labels.infection):
            raise InputError(
                f"{self._source}: the label arrays do not fit {patient}: its series has "
                f"{len(files)} slices, the last infected one is number {needed} of "
                f"{len(labels.infection)}; give the whole series, or a {TABLE}"
            )
        return np.arange(len(files))


def find_scans(data: Path) -> list[Scan]:
    """The scans of a folder of class folders, by diagnosis, then by patient (P2 before P10).

    Class folders ("COVID-19 subjects", "Cap Cases", "Normal", in any case) lie in `data`; those
    one level below count if there are none. In them each folder is a patient's DICOM series, and
    each NIfTI file a patient's volume. A class may be missing: the challenge's second test set
    has no CAP.

    Raises:
        InputError: no class folder; two of one class; one without scans or with loose DICOM
            files; a patient twice.
    """
    if not data.is_dir():
        raise InputError(f"{data}: is not a folder; give the folder of class folders")
    scans = []
    for diagnosis, folder in _class_folders(data).items():
        paths = [p for p in _visible(folder) if p.is_dir() or is_nifti(p)]
        loose = [p for p in _visible(folder) if p.suffix.lower() in DICOM_SUFFIXES and p.is_file()]
        if loose:
            raise InputError(f"{loose[0]}: lies in no patient's folder; make one for each patient")
        if not paths:
            raise InputError(
                f"{folder}: holds no scan; expected a folder of DICOM files or a NIfTI file for "
                "each patient"
            )
        for path in paths:
            name = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
            patient = path.name if path.is_dir() else name
            scans.append(Scan(patient, diagnosis, path, path.relative_to(data).as_posix()))
    first_of: dict[str, Scan] = {}
    for scan in scans:
        first = first_of.setdefault(scan.patient.casefold(), scan)
        if first is not scan:
            raise InputError(
                f"{scan.path}: has the patient name of {first.file}; rename or delete one of them"
            )
    return sorted(scans, key=lambda s: (CLASSES.index(s.diagnosis), natural_order(s.patient)))


def read_slice_labels(
    data: Path, version: Literal["updated", "first"] = "updated"
) -> SliceLabels:  # fmt: skip
    """The slice labels of the scans in a data folder.

    They are looked for in `data` and two levels of folders below it, class folders left out:

    * `slice_labels.csv` with the columns file, patient, diagnosis, infection, and if there are any
      infection_label_v0 (the first published labels) and LLL, LUL, RLL, RML, RUL. Slices are
      matched by file name. It goes before the arrays: it is made for series that were thinned,
      whose positions no longer fit them.
    * The published arrays: `Index.csv`, `Slice-level-labels-updated-1.npy` and, if it is there,
      `Lobe-level-labels-updated-1.npy`; without `-updated-1` for version "first".

    Normal patients need no labels: by diagnosis all their slices are without infection. If there
    are neither table nor arrays, they alone have labels.

    Args:
        data: as for `find_scans`.
        version: Ours: the updated labels by default, since they correct the first ones.

    Raises:
        InputError: as `find_scans`; label files that are damaged, incomplete, contradict each
            other or the class folders.
    """
    scans = find_scans(data)
    files = _label_files(data)
    if TABLE in files:
        source, labels = files[TABLE], _read_table(files[TABLE], version, scans)
    elif files:
        source, labels = _read_arrays(data, files, version, scans)
    else:
        source, labels = data, {}
    normal = [scan.patient for scan in scans if scan.diagnosis == CLASSES[NORMAL]]
    return SliceLabels(source, labels, normal)


def natural_order(name: str) -> list:
    """A sort key by which P2 comes before P10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name.lower())]


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _class_of(name: str) -> str | None:
    match = _CLASS_FOLDER.fullmatch(name.strip())
    return _CLASS_OF[match[1][:3].lower()] if match else None


def _class_folders(data: Path) -> dict[str, Path]:
    """The folder of each class that is there, in the order of CLASSES."""
    folders = [p for p in _visible(data) if p.is_dir()]
    if not any(_class_of(p.name) for p in folders):
        folders = [p for folder in folders for p in _visible(folder) if p.is_dir()]
    found: dict[str, Path] = {}
    for folder in folders:
        diagnosis = _class_of(folder.name)
        if diagnosis in found:
            raise InputError(
                f"{folder}: is a second folder of {diagnosis} beside {found[diagnosis]}; keep one"
            )
        if diagnosis:
            found[diagnosis] = folder
    if not found:
        raise InputError(
            f"{data}: holds no class folder; expected folders such as 'COVID-19 subjects', "
            "'Cap subjects' and 'Normal subjects', in it or one level below"
        )
    return {name: found[name] for name in CLASSES if name in found}


def _label_files(data: Path) -> dict[str, Path]:
    """Label files by name; arrays in any case, with hyphens or underscores."""
    known = {TABLE, INDEX, *(name for names in ARRAYS.values() for name in names)}
    found: dict[str, Path] = {}
    folders = [data]
    for _ in range(_LABEL_DEPTH + 1):
        inner = [path for folder in folders for path in _visible(folder)]
        for path in inner:
            name = path.name if path.name in known else path.name.lower().replace("_", "-")
            if name not in known or not path.is_file():
                continue
            if name in found:
                raise InputError(f"{path}: is a second label file beside {found[name]}; keep one")
            found[name] = path
        folders = [p for p in inner if p.is_dir() and not _class_of(p.name)]
    return found


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that must have some columns; empty rows are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV table ({error}); correct it") from error
    rows = [row for row in rows if any(row.values())]
    if missing or not rows:
        lack = f"column {missing[0]!r}" if missing else "row"
        raise InputError(f"{path}: has no {lack}; expected {', '.join(columns)}")
    return rows


def _check_diagnosis(path: Path, patient: str, said: str, scans: dict[str, Scan]) -> str:
    """The class that a label file gives a patient, which must be that of the scan's folder."""
    diagnosis = _class_of(said)
    if diagnosis is None:
        raise InputError(
            f"{path}: diagnosis {said!r} of {patient}; expected one of {', '.join(CLASSES)}"
        )
    if patient in scans and scans[patient].diagnosis != diagnosis:
        raise InputError(
            f"{path}: says that {patient} is {diagnosis}, its folder is "
            f"{scans[patient].file}; correct one of them"
        )
    return diagnosis


def _checked(path: Path, patient: str, diagnosis: str, labels: PatientLabels) -> PatientLabels:
    """Labels that do not contradict each other."""
    lobes = labels.lobes
    if lobes is not None and not np.array_equal(lobes.any(axis=1), labels.infection):
        number = int(np.flatnonzero(lobes.any(axis=1) != labels.infection)[0]) + 1
        raise InputError(
            f"{path}: label {number} of {patient} contradicts its lobes: a slice is infected if "
            "and only if one of its lobes is; correct the labels"
        )
    if diagnosis == CLASSES[NORMAL] and labels.infection.any():
        raise InputError(f"{path}: {patient} is normal and has infected slices; correct the labels")
    return labels


def _read_table(path: Path, version: str, scans: Sequence[Scan]) -> dict[str, PatientLabels]:
    """The labels of a slice_labels.csv."""
    column, by_patient = INFECTION_COLUMN[version], {scan.patient: scan for scan in scans}
    rows = _read_rows(path, ("file", "patient", "diagnosis", column))
    named = [lobe for lobe in LOBES if lobe in rows[0]]
    if named and len(named) < len(LOBES):
        raise InputError(f"{path}: has columns for {', '.join(named)} only; expected all 5 lobes")
    lobes = LOBES if named and version == "updated" else ()
    of_patient: dict[str, list[dict]] = {}
    for number, row in enumerate(rows, start=2):
        wrong = [name for name in (column, *lobes) if row[name] not in ("0", "1")]
        if wrong:
            raise InputError(
                f"{path}: row {number} has {row[wrong[0]]!r} as {wrong[0]}; expected 0 or 1"
            )
        of_patient.setdefault(row["patient"], []).append(row)
    labels = {}
    for patient, own in of_patient.items():
        diagnoses = {_check_diagnosis(path, patient, row["diagnosis"], by_patient) for row in own}
        names = {row["file"].replace("\\", "/").split("/")[-1]: k for k, row in enumerate(own)}
        if len(names) < len(own) or len(diagnoses) > 1:
            raise InputError(
                f"{path}: {patient} has two rows of one file, or two diagnoses; correct the table"
            )
        infection = np.array([row[column] == "1" for row in own])
        by_lobe = np.array([[row[lobe] == "1" for lobe in lobes] for row in own])
        one = PatientLabels(infection, by_lobe if lobes else None, names)
        labels[patient] = _checked(path, patient, diagnoses.pop(), one)
    return labels


def _read_arrays(
    data: Path, files: dict[str, Path], version: str, scans: Sequence[Scan]
) -> tuple[Path, dict[str, PatientLabels]]:
    """The published arrays; their file and the labels."""
    slices_name, lobes_name = ARRAYS[version]
    for name in (INDEX, slices_name):
        if name not in files:
            raise InputError(
                f"{data}: label files are there, but no {name}; expected Index.csv and the arrays "
                f"of the labels {version!r}"
            )
    index, source = files[INDEX], files[slices_name]
    rows = _read_rows(index, ("Diagnosis", "Folder/ID"))
    infection = _read_array(source, (len(rows), None), index)
    lobes = [None] * len(rows)
    if lobes_name in files:
        lobes = _read_array(files[lobes_name], (*infection.shape, len(LOBES)), index)
    by_patient, labels = {scan.patient: scan for scan in scans}, {}
    # Inferred: the row is the position: 79 rows, and only so do the lobes of cap002 fit its slices.
    for row, infected, by_lobe in zip(rows, infection, lobes, strict=True):
        patient = row["Folder/ID"]
        if patient in labels:
            raise InputError(f"{index}: lists {patient} twice; keep one row")
        diagnosis = _check_diagnosis(index, patient, row["Diagnosis"], by_patient)
        one = PatientLabels(infected, by_lobe, None)
        labels[patient] = _checked(source, patient, diagnosis, one)
    return source, labels


def _read_array(path: Path, shape: tuple[int | None, ...], index: Path) -> np.ndarray:
    """bool array of a .npy file of 0 and 1 whose axes must have the lengths of `shape`."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: is not a readable array; copy the file again") from error
    fits = array.ndim == len(shape) and all(
        expected in (None, length) for expected, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        expected = " x ".join("any" if length is None else str(length) for length in shape)
        raise InputError(
            f"{path}: label array of {' x '.join(map(str, array.shape))} that does not fit "
            f"{index.name}; expected {expected}: use files of one download"
        )
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{path}: holds other values than 0 and 1; copy the file again")
    return array.astype(bool)
