"""Slice labels of COVID-CT-MD: as published, or as a table.

Two traps of the published label arrays are handled here. An array's row is a patient's position in
Index.csv, not its `Label Index`, which skips 43. Labels run head first, which is not the order of
file names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cnr_iemn.config import CLASSES, NORMAL
from cnr_iemn.scans import ScanFiles, class_of, find_scans, natural_order, visible
from preprocessing.errors import InputError
from preprocessing.tables import check_inside, open_array, read_table, shown
from preprocessing.volume import find_gaps

LOBES = ("LLL", "LUL", "RLL", "RML", "RUL")  # Released: the order of the published lobe array
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
class PatientLabels:
    """Labels of one patient's slices, bool (slices,).

    `names` gives the row of a file name; None: row k is the k-th slice, head first.
    """

    infection: np.ndarray
    names: dict[str, int] | None


class SliceLabels:
    """Which slices of which patients show infection.

    Args:
        source: the file of the labels, named in errors; or the data folder.
        labels: by patient.
        normal: patients without infection by diagnosis; their labels are all False.

    Attributes:
        source: as above.
        patients: all patients with labels, with and without a scan.
    """

    def __init__(self, source: Path, labels: dict[str, PatientLabels], normal: Sequence[str]):
        self.source, self._labels, self._normal = source, labels, frozenset(normal)
        self.patients = tuple(sorted(self._normal | set(labels), key=natural_order))

    def infection(
        self, patient: str, files: Sequence[str], locations: np.ndarray
    ) -> np.ndarray | None:
        """Labels of a patient's slices.

        Args:
            patient: as in `ScanFiles`.
            files: name of each slice's file, head first, as in `preprocessing.volume.Volume`.
            locations: (slices,) mm, of each slice, as there.

        Returns:
            bool (slices,), head first; None: no slice of this patient is labelled.

        Raises:
            InputError: the labels do not fit the files.
        """
        if patient in self._normal:
            return np.zeros(len(files), bool)
        if patient not in self._labels:
            return None
        labels = self._labels[patient]
        if labels.names is None:
            return self._by_position(patient, locations)
        return labels.infection[self._rows(patient, files)]

    def _rows(self, patient: str, files: Sequence[str]) -> np.ndarray:
        """The row of the labels for each slice, by the name of its file."""
        names = self._labels[patient].names
        if len(set(files)) < len(files):
            raise InputError(
                f"{self.source}: labels slices by file, {patient} is one file of many slices; "
                "give label arrays, or its DICOM files"
            )
        unknown = [file for file in files if file not in names]
        if unknown:
            raise InputError(
                f"{self.source}: {len(unknown)} of the {len(files)} slices of {patient} are "
                f"not in it, such as {unknown[0]}; add a row for each"
            )
        return np.array([names[file] for file in files], int)

    def _by_position(self, patient: str, locations: np.ndarray) -> np.ndarray:
        """The labels of slices of which the k-th label is the k-th slice's."""
        infection, count = self._labels[patient].infection, len(locations)
        gaps = find_gaps(locations)
        if gaps.size:
            first = gaps[0]
            raise InputError(
                f"{self.source}: the label arrays do not fit {patient}: slices are missing from "
                f"its series between {locations[first]:g} and {locations[first + 1]:g} mm, and "
                f"labels behind them would be of other slices; give the whole series, or a {TABLE}"
            )
        # A series that was thinned or cut no longer fits positions; positive rows beyond show it.
        needed = int(np.flatnonzero(infection).max(initial=-1)) + 1
        if not needed <= count <= len(infection):
            raise InputError(
                f"{self.source}: the label arrays do not fit {patient}: its series has "
                f"{count} slices, the last infected one is number {needed} of "
                f"{len(infection)}; give the whole series, or a {TABLE}"
            )
        return infection[:count]


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


def _label_files(data: Path) -> dict[str, Path]:
    """Label files by name; arrays in any case, with hyphens or underscores."""
    known = {TABLE, INDEX, *(name for names in ARRAYS.values() for name in names)}
    found: dict[str, Path] = {}
    folders = [data]
    for _ in range(_LABEL_DEPTH + 1):
        inner = [path for folder in folders for path in visible(folder)]
        for path in inner:
            name = path.name if path.name in known else path.name.lower().replace("_", "-")
            if name not in known or not path.is_file():
                continue
            if name in found:
                raise InputError(f"{path}: is a second label file beside {found[name]}; keep one")
            found[name] = path
        folders = [p for p in inner if p.is_dir() and not class_of(p.name)]
    return found


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that must have some columns; empty rows are left out."""
    table = read_table(path)
    missing = [name for name in columns if name not in table.columns]
    rows = [row for _, row in table.rows if any(row.values())]
    if missing or not rows:
        lack = f"column {missing[0]!r}" if missing else "row"
        raise InputError(f"{path}: has no {lack}; expected {', '.join(columns)}")
    return rows


def _check_diagnosis(path: Path, patient: str, said: str, scans: dict[str, ScanFiles]) -> str:
    """The class that a label file gives a patient, which must be that of the scan's folder."""
    diagnosis = class_of(said)
    if diagnosis is None:
        raise InputError(
            f"{path}: diagnosis '{shown(said)}' of {shown(patient)}; expected one of "
            f"{', '.join(CLASSES)}"
        )
    if patient in scans and scans[patient].diagnosis != diagnosis:
        raise InputError(
            f"{path}: says that {patient} is {diagnosis}, its folder is "
            f"{scans[patient].file}; correct one of them"
        )
    return diagnosis


def _check_labels(
    path: Path, patient: str, diagnosis: str, infection: np.ndarray, lobes: np.ndarray | None
) -> None:
    """Refuse labels of slices, bool (slices,), and of their lobes, (slices, 5), at odds."""
    if lobes is not None and not np.array_equal(lobes.any(axis=1), infection):
        number = int(np.flatnonzero(lobes.any(axis=1) != infection)[0]) + 1
        raise InputError(
            f"{path}: label {number} of {patient} contradicts its lobes: a slice is infected if "
            "and only if one of its lobes is; correct the labels"
        )
    if diagnosis == CLASSES[NORMAL] and infection.any():
        raise InputError(f"{path}: {patient} is normal and has infected slices; correct the labels")


def _read_table(path: Path, version: str, scans: Sequence[ScanFiles]) -> dict[str, PatientLabels]:
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
                f"{path}: row {number} has '{shown(row[wrong[0]])}' as {wrong[0]}; expected 0 or 1"
            )
        check_inside(row["file"], path.parent, f"{path}: row {number}")
        of_patient.setdefault(row["patient"], []).append(row)
    labels = {}
    for patient, own in of_patient.items():
        diagnoses = {_check_diagnosis(path, patient, row["diagnosis"], by_patient) for row in own}
        names = {row["file"].replace("\\", "/").split("/")[-1]: k for k, row in enumerate(own)}
        if len(names) < len(own) or len(diagnoses) > 1:
            raise InputError(
                f"{path}: {shown(patient)} has two rows of one file, or two diagnoses; correct the "
                "table"
            )
        infection = np.array([row[column] == "1" for row in own])
        by_lobe = np.array([[row[lobe] == "1" for lobe in lobes] for row in own])
        _check_labels(path, patient, diagnoses.pop(), infection, by_lobe if lobes else None)
        labels[patient] = PatientLabels(infection, names)
    return labels


def _read_arrays(
    data: Path, files: dict[str, Path], version: str, scans: Sequence[ScanFiles]
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
            raise InputError(f"{index}: lists {shown(patient)} twice; keep one row")
        diagnosis = _check_diagnosis(index, patient, row["Diagnosis"], by_patient)
        _check_labels(source, patient, diagnosis, infected, by_lobe)
        labels[patient] = PatientLabels(infected, None)
    return source, labels


def _read_array(path: Path, shape: tuple[int | None, ...], index: Path) -> np.ndarray:
    """bool array of a .npy file of 0 and 1 whose axes must have the lengths of `shape`."""
    array = open_array(path)
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
