"""Chest CT phantoms in the layout of COVID-CT-MD, with known lungs and lesions.

A scan is a set of drawn parameters (`cohort.Patient`), rendered by `scanner.render`. Nuisances
(anatomy, breath, dose, findings that are no infection) never look at the class; the class enters at
one place, `lesions.place_lesions`.

A folder of phantoms holds, as the data set does,

* `COVID-19 subjects/P001/*.dcm`, `Cap subjects/cap001/*.dcm`, `Normal subjects/normal001/*.dcm`:
  a DICOM file a slice, JPEG Lossless, 12 bits, file names in no order;
* `Index.csv`: the patients with slice labels, with one number left out of `Label Index`, as
  published;
* `Slice-level-labels-updated-1.npy` int32 (patients, slices) and
  `Lobe-level-labels-updated-1.npy` float64 (patients, slices, 5): rows in the order of
  `Index.csv`, slices head first, zeros behind the last one; 1 where lesions cover at least
  `scanner.LABEL_MM2` of a lobe (LLL, LUL, RLL, RML, RUL); a slice has what any of its lobes has;
* `Slice-level-labels.npy`, `Lobe-level-labels.npy`: the same as first published, in which half of
  the first patient's labels is missing;

and, beside what the data set has,

* `truth/<patient>.npz`: bits of the lesions and the lungs, for `read_truth`;
* `phantom.csv`, a row a patient: patient, label, folder, slices, infected_slices, thickness_mm,
  spacing_mm, lung_ml, lesion_share (of the lungs), then every drawn parameter, with its range in
  `cohort.py`;
* `phantom.json`: the arguments that give the same bytes again.
"""

import contextlib
import csv
import json
import locale
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import SimpleITK as sitk
from joblib import Parallel, delayed
from tqdm import tqdm

from cnr_iemn.cohort import CAP, COVID, LOW_DOSE, Kind, Patient, draw_cohort, drawn_values
from cnr_iemn.scanner import LOWEST, Rendering, render
from cnr_iemn.slice_labels import LOBES
from preprocessing.errors import InputError
from preprocessing.tables import NPZ_ERRORS
from replication.phantoms import new_folder
from replication.records import write_csv

# Raise when scans of an unchanged configuration change, so that old folders are made anew.
GENERATOR_VERSION = 1
GENERATOR = "chest CT scans"
RECIPE_FILE, INDEX_FILE, TABLE_FILE = "phantom.json", "Index.csv", "phantom.csv"
TRUTH_FOLDER = "truth"
SIZES = (48, 512)
SPACINGS = (0.5, 30.0)  # mm
LABEL_COLUMNS = 200  # as published; more if a scan has more slices
MISSING_INDEX = 43  # as published: `Label Index` skips it; Ours: the middle of smaller cohorts
FOLDER_OF_INDEX = {COVID: "./COVID-19/", CAP: "./CAP/"}  # spelt otherwise than the folders are
UID = "2.25"


def write_cohort(
    out: Path,
    covid: int = 171,
    cap: int = 60,
    normal: int = 76,
    labelled_covid: int = 55,
    labelled_cap: int = 25,
    size: int = 512,
    slice_spacing: float | None = None,
    kind: Kind = "standard",
    seed: int = 0,
    jobs: int = 2,
    progress: bool = True,
) -> Path:
    """Chest CT scans in the layout of COVID-CT-MD, with label arrays, lung and lesion masks.

    Appears whole or not at all. A complete folder of the same arguments is left alone; one of
    other arguments is replaced. Equal arguments give equal bytes, whatever `jobs` is. Parameters
    are stratified over the class, so another number of patients gives other scans.

    Args:
        out: Folder to make.
        covid: COVID-19 patients. The default is the challenge's (section 3.1), as is that of the
            other numbers.
        cap: Patients with community-acquired pneumonia.
        normal: Normal patients.
        labelled_covid: The first so many COVID-19 patients have slice labels; all if there are
            fewer.
        labelled_cap: The same of patients with pneumonia.
        size: Width and height in px, 48 to 512.
        slice_spacing: Distance of the slices in mm, 0.5 to 30; without it their thickness (2 mm,
            in the heart set 1 to 5 mm). 7 gives about 40 slices a scan.
        kind: standard; low-dose is the challenge's second test set (no CAP, so `cap` has to be
            0); heart its third (larger hearts, operations, various thickness and dose).
        seed: Another seed, another cohort.
        jobs: Processes.
        progress: Show a progress bar on terminals.

    Returns:
        `out`.

    Raises:
        InputError: a number is out of range, or `out` holds something else than phantom scans,
            or cannot be written.
    """
    recipe = {
        "generator": f"{GENERATOR} {GENERATOR_VERSION}",
        "covid": covid,
        "cap": cap,
        "normal": normal,
        "labelled_covid": min(labelled_covid, covid),
        "labelled_cap": min(labelled_cap, cap),
        "size": size,
        "slice_spacing": slice_spacing,
        "kind": kind,
        "seed": seed,
    }
    _check(recipe, jobs)
    out = Path(out)
    with new_folder(out, RECIPE_FILE, recipe, "phantom scans") as partial:
        if partial is None:
            return out
        cohort = draw_cohort(covid, cap, normal, seed, kind)
        (partial / TRUTH_FOLDER).mkdir()
        tasks = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(_write_patient)(partial, patient, size, slice_spacing) for patient in cohort
        )
        quiet = None if progress else True  # None: a bar on terminals alone
        made = list(tqdm(tasks, "phantom scans", len(cohort), unit="scan", disable=quiet))
        write_csv(partial / TABLE_FILE, [row for row, _ in made])
        labels = {row["patient"]: lobes for row, lobes in made}
        labelled = [
            *cohort[: recipe["labelled_covid"]],
            *cohort[covid : covid + recipe["labelled_cap"]],
        ]
        _write_labels(partial, labelled, labels)
    return out


def is_phantom(data: Path) -> bool:
    """Whether a folder of scans was made by this module."""
    return bool(_read_recipe(data))


def phantom_kind(data: Path) -> Kind | None:
    """The `kind` of a folder of phantoms; None for other scans."""
    return _read_recipe(data).get("kind")


def _read_recipe(data: Path) -> dict:
    """The arguments that a folder of phantoms was made with; none for other scans."""
    path = Path(data) / RECIPE_FILE
    if not path.is_file():
        return {}
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error}); make the phantoms anew") from error
    ours = isinstance(recipe, dict) and str(recipe.get("generator", "")).startswith(GENERATOR)
    return recipe if ours else {}


def read_truth(data: Path, patient: str) -> tuple[np.ndarray, np.ndarray]:
    """The lesions and the lungs of a phantom patient: bool (slices, size, size), head first.

    Raises:
        InputError: there is no truth for this patient, or it cannot be read.
    """
    path = Path(data) / TRUTH_FOLDER / f"{patient}.npz"
    try:
        with np.load(path) as arrays:
            shape = tuple(int(n) for n in arrays["shape"])
            count = int(np.prod(shape))
            lesions, lungs = (
                np.unpackbits(arrays[name], count=count).astype(bool).reshape(shape)
                for name in ("lesions", "lungs")
            )
    except NPZ_ERRORS as error:
        problem = f"{path}: no truth of a phantom can be read ({error}); make the phantoms anew"
        raise InputError(problem) from error
    return lesions, lungs


def _check(recipe: dict, jobs: int) -> None:
    for name in ("covid", "cap", "normal", "labelled_covid", "labelled_cap", "seed"):
        if recipe[name] < 0:
            raise InputError(f"{name}={recipe[name]}: expected 0 or more")
    if recipe["covid"] + recipe["cap"] + recipe["normal"] == 0:
        raise InputError("covid, cap, normal: expected at least one patient")
    if not SIZES[0] <= recipe["size"] <= SIZES[1]:
        raise InputError(f"size={recipe['size']}: expected {SIZES[0]} to {SIZES[1]} px")
    spacing = recipe["slice_spacing"]
    if spacing is not None and not SPACINGS[0] <= spacing <= SPACINGS[1]:
        raise InputError(
            f"slice_spacing={spacing:g}: expected {SPACINGS[0]:g} to {SPACINGS[1]:g} mm"
        )
    if recipe["kind"] not in get_args(Kind):
        raise InputError(f"kind={recipe['kind']}: expected one of {', '.join(get_args(Kind))}")
    if recipe["kind"] == LOW_DOSE and recipe["cap"]:
        raise InputError(f"cap={recipe['cap']}: the low-dose set has no CAP patients; pass cap=0")
    if jobs < 1:
        raise InputError(f"jobs={jobs}: expected at least 1")


def _write_patient(folder: Path, patient: Patient, size: int, spacing: float | None):
    """Files of one patient; returns its row of the table and bool (slices, 5) lobe labels."""
    scan = render(patient, size, spacing)
    (folder / patient.folder).mkdir(parents=True)
    _write_series(folder / patient.folder, patient, scan)
    np.savez_compressed(
        folder / TRUTH_FOLDER / f"{patient.patient}.npz",
        lesions=np.packbits(scan.lesions),
        lungs=np.packbits(scan.lungs),
        shape=np.array(scan.hu.shape),
    )
    lung_voxels = int(scan.lungs.sum())
    voxel_ml = scan.pixel**2 * scan.spacing / 1000
    first = {
        "patient": patient.patient,
        "label": patient.label,
        "folder": patient.folder,
        "slices": len(scan.hu),
        "infected_slices": int(scan.infected.sum()),
        "thickness_mm": patient.thickness_mm,
        "spacing_mm": scan.spacing,
        "lung_ml": round(lung_voxels * voxel_ml),
        "lesion_share": round(int(scan.lesions.sum()) / max(lung_voxels, 1), 5),
    }
    drawn = {k: v for k, v in drawn_values(patient).items() if k not in first}
    return first | drawn, scan.lobes


def _write_series(folder: Path, patient: Patient, scan: Rendering) -> None:
    """One DICOM file a slice; names and instance order have nothing to do with one another."""
    rng = patient.stream(7)
    series = f"{UID}.{int(rng.integers(1, 2**62))}"
    code = "".join(rng.choice(list("0123456789ABCDEF"), 7))
    numbers = rng.permutation(len(scan.hu)) + 1
    names = [f"IM{n:04d}.dcm" if patient.scan.padded else f"{code}-PHTM_{n}.dcm" for n in numbers]
    fixed = _header(patient, scan, series)
    corner = -scan.pixel * (scan.hu.shape[1] - 1) / 2
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")  # GDCM: Lossless, process 14, selection value 1 (.70)
    for k, (name, location) in enumerate(zip(names, scan.locations, strict=True)):
        # GDCM takes the rescale off floating point alone, and stores unsigned 12 bits then.
        # One slice of a volume, not a picture: of a picture GDCM forgets the distance of slices,
        # and only if the process has read DICOM before.
        image = sitk.GetImageFromArray(scan.hu[k : k + 1].astype(np.float32))
        image.SetSpacing((scan.pixel, scan.pixel, scan.spacing))
        image.SetOrigin((corner, corner, location))
        own = {
            "0008|0018": f"{series}.{k + 1}",
            "0020|0013": str(k + 1),
            "0020|0032": f"{corner:.4f}\\{corner:.4f}\\{location:.2f}",
            "0020|1041": f"{location:.2f}",
        }
        for tag, value in (fixed | own).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / name))
        try:
            with _locale_kept():
                writer.Execute(image)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"{folder / name}: cannot be written ({reason})") from error


@contextlib.contextmanager
def _locale_kept() -> Iterator[None]:
    """GDCM's writer leaves a process in the C locale, where Python reads text files as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _header(patient: Patient, scan: Rendering, series: str) -> dict:
    """DICOM fields that all slices of a scan share. Nothing in them is of a living person."""
    body = patient.body
    return {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "0008|0020": "20200101",
        "0008|0030": "120000",
        "0008|0060": "CT",
        "0008|0070": "PHANTOM",
        "0008|103e": "synthetic chest CT, no patient",
        "0010|0010": f"Phantom^{patient.patient}",
        "0010|0020": f"PHANTOM-{patient.patient}",
        "0010|0040": "M" if body.male else "F",
        "0010|1010": f"{body.age:03d}Y",
        "0018|0015": "CHEST",
        "0018|0050": f"{patient.thickness_mm:g}",
        "0018|0088": f"{scan.spacing:g}",
        "0018|5100": "HFS",
        "0020|000d": f"{series}.0.1",
        "0020|000e": f"{series}.0.2",
        "0020|0011": "2",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0020|0052": f"{series}.0.3",
        "0028|0100": "16",
        "0028|0101": "12",
        "0028|0102": "11",
        "0028|0103": "0",
        "0028|1050": "50\\-600",
        "0028|1051": "350\\1200",
        "0028|1052": str(LOWEST),
        "0028|1053": "1",
    }


def _write_labels(folder: Path, labelled: list[Patient], lobes: dict) -> None:
    """Index and label arrays, as updated and as first published."""
    skipped = MISSING_INDEX if len(labelled) > MISSING_INDEX else len(labelled) // 2
    with (folder / INDEX_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Label Index", "Diagnosis", "Relative Path", "Folder/ID"])
        for row, patient in enumerate(labelled):
            index = row + (row >= skipped)
            writer.writerow([index, patient.label, FOLDER_OF_INDEX[patient.label], patient.patient])
    slices = max([LABEL_COLUMNS, *(len(lobes[p.patient]) for p in labelled)])
    table = np.zeros((len(labelled), slices, len(LOBES)))
    for row, patient in enumerate(labelled):
        table[row, : len(lobes[patient.patient])] = lobes[patient.patient]
    np.save(folder / "Lobe-level-labels-updated-1.npy", table)
    np.save(folder / "Slice-level-labels-updated-1.npy", table.any(axis=2).astype(np.int32))
    first = table.copy()
    if len(labelled):
        infected = np.flatnonzero(table[0].any(axis=1))
        first[0, infected[: -(-len(infected) // 2)]] = 0
    np.save(folder / "Lobe-level-labels.npy", first)
    np.save(folder / "Slice-level-labels.npy", first.any(axis=2).astype(np.int64))
