"""CT scans to a sample store: what `prepare` does. No Keras here, so it stays small in memory.

A stored sample is one slice: gray (a window of HU) and lung mask. All slices of all scans are
kept: the first stage takes those with a label, the second stage all. Labels of slices are not
stored; `split.py` reads them, so that other labels need no second reading of the scans.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from cnr_iemn.config import CLASSES, CnrIemnConfig
from cnr_iemn.phantom import is_phantom, read_truth
from cnr_iemn.scans import Scan, find_scans
from preprocessing import store
from preprocessing.ct import read_volume
from preprocessing.errors import InputError
from preprocessing.lungs import segment_lungs
from preprocessing.store import Store, StoreWriter

# Raise it when `prepare` comes to make other samples of the same files: stores are then rebuilt.
RECIPE_VERSION = 1
RECIPE_PACKAGES = ("numpy", "opencv-python-headless", "SimpleITK", "scikit-image")
EVERY_FILE = "*"  # DICOM files need no extension


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
    """The store of `--data`, then one for each folder of `--test`; see `prepare`."""
    stores = [prepare(config, config.data, "slices", say)]
    for number, data in enumerate(config.test, start=1):
        stores.append(prepare(config, data, f"slices-test-{number}", say))
    return tuple(stores)


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
    scans: list[Scan],
    say: Callable[[str], None],
) -> Store:
    """Read and segment every scan once and write its slices, head first."""
    with StoreWriter(folder, recipe, (config.store_size, config.store_size, 2)) as writer:
        done = set(writer.done)
        waiting = [scan for scan in scans if scan.file not in done]
        bar = tqdm(waiting, f"prepare {folder.name}", unit="scan", disable=None)
        for scan, prepared in zip(bar, _prepare_all(config, data, waiting), strict=True):
            for sample, row in zip(prepared.samples, prepared.rows, strict=True):
                writer.add(sample, row)
            for warning in prepared.warnings:
                say(warning)
            summary = {"file": scan.file, "reason": "", "slices": len(prepared.rows)}
            writer.finish_source(summary | {"warnings": " ".join(prepared.warnings)})
        return writer.close()


def _prepare_all(config: CnrIemnConfig, data: Path, scans: list[Scan]) -> Iterator[PreparedScan]:
    """`prepare_scan` of each, one a core at a time, so that few volumes are in memory."""
    together = cpu_count()
    with Parallel(n_jobs=together) as parallel:
        for start in range(0, len(scans), together):
            some = scans[start : start + together]
            yield from parallel(delayed(prepare_scan)(config, data, scan) for scan in some)


def prepare_scan(config: CnrIemnConfig, data: Path, scan: Scan) -> PreparedScan:
    """Read one scan and make its samples.

    Raises:
        InputError: it cannot be read, or its slices are not square.
    """
    cv2.setNumThreads(1)  # one process a core already
    volume = read_volume(scan.path)
    samples = make_samples(Preparation.of(config), volume.hu, scan.path)
    lesions = read_truth(data, scan.patient)[0] if is_phantom(data) else None
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
            **_lesion_columns(lesions, number, samples[number]),
        }
        rows.append(row)
    return PreparedScan(samples, rows, volume.warnings)


def make_samples(preparation: Preparation, hu: np.ndarray, source: Path) -> np.ndarray:
    """Window, segment and shrink the slices of a scan.

    Args:
        hu: int16 (slices, height, width).
        source: named in errors.

    Returns:
        uint8 (slices, store_size, store_size, 2): gray, lung mask (0 or 255).

    Raises:
        InputError: the slices are not square.
    """
    if hu.shape[1] != hu.shape[2]:
        raise InputError(
            f"{source}: slices of {hu.shape[1]} x {hu.shape[2]}; expected square ones, as scanners "
            "reconstruct them: pad them with air"
        )
    side = preparation.store_size
    samples = np.empty((len(hu), side, side, 2), np.uint8)
    for sample, slice_hu in zip(samples, hu, strict=True):
        mask = segment_lungs(slice_hu, preparation.keep_regions)
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


def _lesion_columns(lesions: np.ndarray | None, number: int, sample: np.ndarray) -> dict:
    """Pixels of lesion in a slice, and of those that its lung mask loses; empty if unknown."""
    if lesions is None:
        return {"lesion_pixels": "", "lost_pixels": ""}
    lesion = _resize(lesions[number].astype(np.uint8) * 255, sample.shape[0]) > 127
    return {
        "lesion_pixels": int(lesion.sum()),
        "lost_pixels": int((lesion & (sample[..., 1] == 0)).sum()),
    }


def _count_files(path: Path) -> int:
    """Files of a scan: an upper bound of its slices, save for NIfTI, which is one file of many."""
    return sum(1 for p in path.iterdir() if p.is_file()) if path.is_dir() else 200


def _recipe(config: CnrIemnConfig, data: Path, scans: list[Scan]) -> dict:
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
