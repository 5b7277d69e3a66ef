"""Scans in the layout of COVID-CT-MD, in all its spellings; `slice_labels` has their labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnr_iemn.config import CLASSES
from preprocessing.errors import InputError
from preprocessing.nifti import is_nifti
from preprocessing.series import DICOM_SUFFIXES
from preprocessing.tables import check_name

# Released: "COVID-19 subjects" (sample data), "COVID-19" (index), "COVID-19 Cases" (statistics).
_CLASS_FOLDER = re.compile(
    r"(covid(?:[-_ ]?19)?|cap|normal)(?:[-_ ]*(?:subject|case|patient|scan)s?)?", re.IGNORECASE
)
_CLASS_OF = dict(zip(("nor", "cov", "cap"), CLASSES, strict=True))


@dataclass(frozen=True)
class ScanFiles:
    """A patient's CT scan as it lies on the disk.

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


def find_scans(data: Path) -> list[ScanFiles]:
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
        paths = [p for p in visible(folder) if p.is_dir() or is_nifti(p)]
        loose = [p for p in visible(folder) if p.suffix.lower() in DICOM_SUFFIXES and p.is_file()]
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
            scans.append(ScanFiles(patient, diagnosis, path, path.relative_to(data).as_posix()))
    first_of: dict[str, ScanFiles] = {}
    for scan in scans:
        first = first_of.setdefault(scan.patient.casefold(), scan)
        if first is not scan:
            raise InputError(
                f"{scan.path}: has the patient name of {first.file}; rename or delete one of them"
            )
    return sorted(scans, key=lambda s: (CLASSES.index(s.diagnosis), natural_order(s.patient)))


def ignored_folders(data: Path) -> list[Path]:
    """Folders beside the class folders that could hold scans: so does a misspelt class.

    Those with neither folders nor scans in them, such as a folder of labels, are left out.
    """
    others = [folder for folder in _folders_of_classes(data) if not class_of(folder.name)]
    return [folder for folder in others if any(map(_is_like_scans, visible(folder)))]


def natural_order(name: str) -> list:
    """A sort key by which P2 comes before P10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name.lower())]


def visible(folder: Path) -> Iterator[Path]:
    """What lies in a folder, by name, without hidden files.

    Raises:
        InputError: a name that is not UTF-8.
    """
    for path in sorted(folder.iterdir()):
        check_name(path)
        if not path.name.startswith("."):
            yield path


def class_of(name: str) -> str | None:
    """The class that a folder or a diagnosis names, in any of its spellings."""
    match = _CLASS_FOLDER.fullmatch(name.strip())
    return _CLASS_OF[match[1][:3].lower()] if match else None


def _class_folders(data: Path) -> dict[str, Path]:
    """The folder of each class that is there, in the order of CLASSES."""
    found: dict[str, Path] = {}
    for folder in _folders_of_classes(data):
        diagnosis = class_of(folder.name)
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


def _folders_of_classes(data: Path) -> list[Path]:
    """The folders among which those of the classes are: in `data`, or one level below."""
    folders = [p for p in visible(data) if p.is_dir()]
    if any(class_of(p.name) for p in folders):
        return folders
    return [p for folder in folders for p in visible(folder) if p.is_dir()]


def _is_like_scans(path: Path) -> bool:
    return path.is_dir() or is_nifti(path) or path.suffix.lower() in DICOM_SUFFIXES
