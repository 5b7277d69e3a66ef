"""CT scans to a sample store: what `prepare` does. No Keras here, so it stays small in memory.

A stored sample is one slice: gray (a window of HU) and lung mask. All slices of all scans are
kept: the first stage takes those with a label, the second stage all. Labels of slices are not
stored; `split.py` reads them, so that other labels need no second reading of the scans.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from joblib import cpu_count
from tqdm import tqdm

from cnr_iemn.config import CLASSES, CnrIemnConfig
from cnr_iemn.phantom import is_phantom, read_truth
from cnr_iemn.scans import ScanFiles, find_scans, ignored_folders
from cnr_iemn.slice_labels import read_slice_labels
from preprocessing import store
from preprocessing.ct import read_volume
from preprocessing.errors import InputError
from preprocessing.lungs import segment_lungs
from preprocessing.store import Store, StoreWriter
from replication.workers import read_ahead

# Raise it when `prepare` comes to make other samples of the same files: stores are then rebuilt.
RECIPE_VERSION = 2
RECIPE_PACKAGES = ("numpy", "opencv-python-headless", "SimpleITK", "scikit-image")
EVERY_FILE = "*"  # DICOM files need no extension
NAMES_SHOWN = 5  # in a line that names patients


@dataclass(frozen=True)
class PreparedScan:
    """A scan's samples, uint8 (slices, side, side, 2), their index rows, and what is to be said."""

    samples: np.ndarray
    rows: list[dict]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Preparation:
    """What makes a stored sample of a slice; see the fields of the same names in the config."""

    window_low: float
    window_high: float
    keep_regions: int
    store_size: int

    @classmethod
    def of(cls, config: CnrIemnConfig) -> "Preparation":
        """That of a configuration."""
        return cls(*(getattr(config, field.name) for field in fields(cls)))


def prepare_all(config: CnrIemnConfig, say: Callable[[str], None]) -> tuple[Store, ...]:
    """The store of `--data`, then one for each folder of `--test`; see `prepare`.

    Every folder's names and labels are looked at before the first scan is read.
    """
    check_folders(config, say)
    stores = [prepare(config, config.data, "slices", say)]
    for number, data in enumerate(config.test, start=1):
        stores.append(prepare(config, data, f"slices-test-{number}", say))
    return tuple(stores)


def check_folders(config: CnrIemnConfig, say: Callable[[str], None]) -> None:
    """Look at what can be known of the scans and labels of every folder without reading a scan.

    Raises:
        InputError: as `find_scans` and `read_slice_labels`; a folder that is named twice.
    """
    seen: set[Path] = set()
    for data in (config.data, *config.test):
        scans, folder = find_scans(data), data.resolve()
        if folder in seen:
            raise InputError(
                f"{data}: is named twice by --data and --test; scans may train or test, not both, "
                "and test once: name another folder"
            )
        seen.add(folder)
        ignored = [other.name for other in ignored_folders(data)]
        if ignored:
            say(f"{data}: no class folders, so ignored: {', '.join(ignored)}")
        labels = read_slice_labels(data, config.labels)
        found = {scan.patient for scan in scans}
        unknown = [patient for patient in labels.patients if patient not in found]
        if unknown:
            shown = ", ".join(unknown[:NAMES_SHOWN]) + ", ..." * (len(unknown) > NAMES_SHOWN)
            say(f"{labels.source}: labels {len(unknown)} patients without a scan here: {shown}")


def prepare(config: CnrIemnConfig, data: Path, name: str, say: Callable[[str], None]) -> Store:
    """Turn the scans below `data` into the sample store `name`.

    Does nothing if the store stands and neither recipe nor files changed.

    Raises:
        InputError: a scan cannot be used (those before it are kept), or there is too little disk
            space.
    """
    folder = config.out / "stores" / name
    scans = find_scans(data)
    recipe = _recipe(config, data, scans)
    if store.is_current(folder, recipe):
        prepared = Store(folder)
    else:
        if folder.exists():
            say(f"{folder}: recipe or sources changed, preparing it again")
        slices = sum(_count_files(scan.path) for scan in scans)
        store.check_space(folder, slices * 2 * config.store_size**2)
        prepared = _write_store(config, data, folder, recipe, scans, say)
    diagnoses = dict(zip(prepared.column("patient_id"), prepared.column("diagnosis"), strict=True))
    counts = Counter(diagnoses.values())
    said = ", ".join(f"{counts[name]} {name}" for name in CLASSES if counts[name])
    say(f"{folder}: {len(prepared.index)} slices of {len(diagnoses)} scans: {said}")
    return prepared


def _write_store(
    config: CnrIemnConfig,
    data: Path,
    folder: Path,
    recipe: dict,
    scans: list[ScanFiles],
    say: Callable[[str], None],
) -> Store:
    """Read and segment every scan once and write its slices, head first."""
    with StoreWriter(folder, recipe, (config.store_size, config.store_size, 2)) as writer:
        done = set(writer.done)
        waiting = [scan for scan in scans if scan.file not in done]
        bar = tqdm(waiting, f"prepare {folder.name}", unit="scan", disable=None)
        # A scan that cannot be used is told at its turn, when those before it are written.
        found = read_ahead(
            partial(prepare_scan, config, data), waiting, cpu_count(), config.cluster
        )
        with contextlib.closing(found):
            for scan, prepared in zip(bar, found, strict=True):
                for sample, row in zip(prepared.samples, prepared.rows, strict=True):
                    writer.add(sample, row)
                for warning in prepared.warnings:
                    say(warning)
                summary = {"file": scan.file, "reason": "", "slices": len(prepared.rows)}
                writer.finish_source(summary | {"warnings": " ".join(prepared.warnings)})
        return writer.close()


def prepare_scan(config: CnrIemnConfig, data: Path, scan: ScanFiles) -> PreparedScan:
    """Read one scan and make its samples.

    Raises:
        InputError: it cannot be read, its slices are not square, or it is a phantom that its truth
            does not fit.
    """
    cv2.setNumThreads(1)  # one process a core already
    volume = read_volume(scan.path)
    preparation = Preparation.of(config)
    masks = segment_slices(volume.hu, preparation.keep_regions, scan.path)
    samples = shrink_slices(preparation, volume.hu, masks)
    lesions = _read_lesions(scan, volume.hu.shape, data) if is_phantom(data) else None
    rows = []
    for number, (file, location) in enumerate(zip(volume.files, volume.locations, strict=True)):
        row = {
            "patient_id": scan.patient,
            "label": CLASSES.index(scan.diagnosis),
            "diagnosis": scan.diagnosis,
            "scan": scan.file,
            "file": file,
            "slice": number,
            "slices": len(volume.files),
            "location_mm": f"{location:.2f}",
            "lung_share": f"{(samples[number, ..., 1] > 0).mean():.4f}",
            "origin": "real" if lesions is None else "phantom",
            "hu_sha256": _hash_slice(volume.hu[number]),
            **_lesion_columns(lesions, masks, number),
        }
        rows.append(row)
    return PreparedScan(samples, rows, volume.warnings)


def make_samples(preparation: Preparation, hu: np.ndarray, source: Path) -> np.ndarray:
    """Segment, window and shrink the slices of a scan.

    Args:
        hu: int16 (slices, height, width).
        source: named in errors.

    Returns:
        uint8 (slices, store_size, store_size, 2): gray, lung mask (0 or 255).

    Raises:
        InputError: the slices are not square.
    """
    masks = segment_slices(hu, preparation.keep_regions, source)
    return shrink_slices(preparation, hu, masks)


def segment_slices(hu: np.ndarray, keep: int, source: Path) -> np.ndarray:
    """The lung masks of a scan, bool (slices, height, width); see `make_samples`."""
    if hu.shape[1] != hu.shape[2]:
        raise InputError(
            f"{source}: slices of {hu.shape[1]} x {hu.shape[2]}; expected square ones, as scanners "
            "reconstruct them: pad them with air"
        )
    return np.stack([segment_lungs(slice_hu, keep) for slice_hu in hu])


def shrink_slices(preparation: Preparation, hu: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Slices and their lung masks as they are stored; see `make_samples`."""
    side = preparation.store_size
    samples = np.empty((len(hu), side, side, 2), np.uint8)
    for sample, slice_hu, mask in zip(samples, hu, masks, strict=True):
        gray = to_gray(slice_hu, preparation.window_low, preparation.window_high)
        sample[..., 0] = _resize(gray, side)
        sample[..., 1] = 255 * (_resize(mask.astype(np.uint8) * 255, side) > 127)
    return samples


def to_gray(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 of HU of any shape: `low` and below is 0, `high` and above 255."""
    unit = (hu.astype(np.float32) - low) / (high - low)
    return np.rint(255 * unit.clip(0, 1)).astype(np.uint8)


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] == side:
        return image
    shrinks = image.shape[0] > side
    return cv2.resize(
        image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def _read_lesions(scan: ScanFiles, shape: tuple[int, ...], data: Path) -> np.ndarray:
    """The known lesions of a phantom, bool of the scan's shape.

    Raises:
        InputError: there are other slices than it was made with.
    """
    lesions = read_truth(data, scan.patient)[0]
    if lesions.shape != shape:
        made, found = (" x ".join(map(str, one)) for one in (lesions.shape, shape))
        raise InputError(
            f"{scan.path}: this phantom was made with slices of {made} and has {found}; make the "
            "phantoms anew"
        )
    return lesions


def _lesion_columns(lesions: np.ndarray | None, masks: np.ndarray, number: int) -> dict:
    """Pixels of lesion in a slice of full size, and of those that its lung mask loses."""
    if lesions is None:
        return {"lesion_pixels": "", "lost_pixels": ""}
    lost = lesions[number] & ~masks[number]
    return {"lesion_pixels": int(lesions[number].sum()), "lost_pixels": int(lost.sum())}


def _hash_slice(slice_hu: np.ndarray) -> str:
    """SHA-256 of a slice's HU, by which a second copy is known; empty for one without contrast."""
    if slice_hu.min() == slice_hu.max():
        return ""  # padding is alike in all scans
    return hashlib.sha256(slice_hu.tobytes()).hexdigest()


def _count_files(path: Path) -> int:
    """Files of a scan: an upper bound of its slices, save for NIfTI, which is one file of many."""
    return sum(1 for p in path.iterdir() if p.is_file()) if path.is_dir() else 200


def _recipe(config: CnrIemnConfig, data: Path, scans: list[ScanFiles]) -> dict:
    """What determines the store's content."""
    return {
        "study": "cnr_iemn",
        "version": RECIPE_VERSION,
        "parameters": asdict(Preparation.of(config)),
        "phantoms": is_phantom(data),
        "packages": {name: version(name) for name in RECIPE_PACKAGES},
        "sources": [
            {
                "file": scan.file,
                "diagnosis": scan.diagnosis,
                "bytes": store.file_bytes(scan.path, EVERY_FILE),
                "sha256": store.file_sha256(scan.path, EVERY_FILE),
            }
            for scan in tqdm(scans, "read", unit="scan", disable=None)
        ],
    }
