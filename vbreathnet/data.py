"""Radiographs to a sample store: what `prepare` does. No Keras here, so it stays small in memory.

The store holds every readable image at the network's size with its sharpness and contrast. What
the filters of section 3.1 remove is decided from those numbers afterwards (quality.py), so that
another threshold needs no second reading.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from preprocessing import duplicates, radiographs, sharpness, store
from preprocessing.errors import InputError
from preprocessing.headers import sound_png
from preprocessing.store import Store, StoreWriter
from preprocessing.tables import check_inside, check_name, read_table, shown
from replication.workers import read_ahead
from vbreathnet.config import CLASSES, VBreathNetConfig

# Ours: the database's fourth class, Lung_Opacity, is left alone: Table 1 has three.
TABLE_1 = dict(zip(CLASSES, (3616, 10192, 1345), strict=True))  # Paper: Table 1
IMAGES, MASKS, MANIFEST = "images", "masks", "manifest.csv"
# Raise it when `prepare` comes to make other samples of the same files: stores are then rebuilt.
RECIPE_VERSION = 1
READ_TOGETHER = 16  # images decoded before they are written; an interruption loses no more
QUALITY_SIDE = 224  # sharpness and contrast are measured on images of this side
RECIPE_PACKAGES = ("numpy", "opencv-python-headless", "SimpleITK")


@dataclass(frozen=True)
class Radiograph:
    """An image file, what class folder it lies in, and what a manifest says of it.

    `file` is relative to the data folder with forward slashes; `patient`, `group` (of
    near-duplicates) and `origin` are empty where nothing is known.
    """

    file: str
    path: Path
    label: int
    patient: str = ""
    group: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Picture:
    """A decoded radiograph with what the filters and the duplicate search need.

    `image` is uint8 (side, side); `pixels` is a hash of the gray image as it lay in the file.
    """

    image: np.ndarray
    sharpness: float
    contrast: float
    difference_hash: str
    pixels: str


def find_radiographs(config: VBreathNetConfig, say: Callable[[str], None]) -> list[Radiograph]:
    """The images of every class folder, in the order of class and file name.

    A `manifest.csv` in the data folder may name `patient_id`, `near_duplicate_group` and `origin`
    for a `file`. Folders that are no class, such as the database's Lung_Opacity, are said and
    left alone.

    Raises:
        InputError: a class folder is missing or empty, or the manifest cannot be read.
    """
    if not config.data.is_dir():
        raise InputError(
            f"{config.data}: is not a folder; --data names the folder of class folders"
        )
    folders = sorted(shown(p.name) for p in config.data.iterdir() if p.is_dir())
    missing = [name for name in config.classes if name not in folders]
    if missing:
        raise InputError(
            f"{config.data}: has no class folder {missing[0]!r} (found: "
            f"{', '.join(folders) or 'none'}); name the folders with --classes"
        )
    ignored = [name for name in folders if name not in config.classes]
    if ignored:
        say(
            f"{config.data}: folders that are no class of this study, ignored: {', '.join(ignored)}"
        )
    manifest = _read_manifest(config.data / MANIFEST)
    found = []
    for label, name in enumerate(config.classes):
        paths = _image_files(config.data / name)
        if not paths:
            raise InputError(
                f"{config.data / name}: holds no image; expected PNG, JPEG or DICOM files in it or "
                f"in {IMAGES}/ inside"
            )
        for path in paths:
            check_name(path)
            file = path.relative_to(config.data).as_posix()
            found.append(Radiograph(file, path, label, **manifest.pop(file, {})))
    if manifest:
        say(f"{config.data / MANIFEST}: {len(manifest)} rows name no image of these classes, such "
            f"as {shown(next(iter(manifest)))}")  # fmt: skip
    return found


def lung_mask_path(data: Path, file: str) -> Path | None:
    """The lung mask of an image where the database keeps it, `<class>/masks/<name>.png`, if any."""
    path = data / Path(file).parts[0] / MASKS / f"{Path(file).stem}.png"
    return path if path.exists() else None


def read_lung_mask(data: Path, file: str) -> np.ndarray | None:
    """bool (height, width): the lungs of an image, or None where the database has no mask of it.

    Raises:
        InputError: the mask cannot be read or is empty.
    """
    path = lung_mask_path(data, file)
    if path is None:
        return None
    content = sound_png(path, path.read_bytes())
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None or not mask.any():
        raise InputError(f"{path}: is not a lung mask (unreadable or empty); correct or delete it")
    return mask > 0


def compare_with_table_1(config: VBreathNetConfig, counts: Counter) -> list[str]:
    """Lines that name each class whose number of images differs from Table 1."""
    return [
        f"{name}: {counts[name]} images, Table 1 has {expected} ({counts[name] - expected:+d})"
        for name, expected in TABLE_1.items()
        if name in config.classes and counts[name] != expected
    ]


def prepare(config: VBreathNetConfig, say: Callable[[str], None]) -> Store:
    """Turn the images of `config.data` into the sample store.

    Does nothing if the store stands and neither recipe nor files changed.

    Raises:
        InputError: a class is missing or empty, too many files cannot be read, one image is in
            two classes, or there is too little disk space.
    """
    folder = config.out / "stores" / f"radiographs-{config.image_size}"
    found = find_radiographs(config, say)
    for line in compare_with_table_1(config, Counter(config.classes[r.label] for r in found)):
        say(line)
    recipe = _recipe(config, found)
    if store.is_current(folder, recipe):
        prepared = Store(folder)
    else:
        if folder.exists():
            say(f"{folder}: recipe or sources changed, preparing it again")
        store.check_space(folder, len(found) * config.image_size**2)
        prepared = _write_store(config, folder, recipe, found)
    _check_unreadable(config, prepared, say)
    _check_one_class(config, prepared)
    counts = Counter(prepared.column("class"))
    say(f"{folder}: {', '.join(f'{counts[name]} {name}' for name in config.classes)}")
    return prepared


def _write_store(
    config: VBreathNetConfig, folder: Path, recipe: dict, found: list[Radiograph]
) -> Store:
    """Decode every image once and write it with its numbers."""
    shape = (config.image_size, config.image_size)
    with StoreWriter(folder, recipe, shape) as writer:
        done = set(writer.done)
        waiting = [r for r in found if r.file not in done]
        bar = tqdm(waiting, f"prepare {folder.name}", unit="image", disable=None)
        for one, picture in zip(bar, _read_all(config, waiting), strict=True):
            problem = picture if isinstance(picture, str) else ""
            problem = problem.removeprefix(f"{one.path}: ")  # the column `file` has it
            if not problem:
                writer.add(picture.image, _index_row(config, one, picture))
            writer.finish_source({"file": one.file, "reason": problem})
        return writer.close()


def _read_all(config: VBreathNetConfig, waiting: list[Radiograph]) -> Iterator[Picture | str]:
    """`_read` of each, on all cores, a few at a time so that readers never run far ahead."""
    starts = range(0, len(waiting), READ_TOGETHER)
    together = (waiting[start : start + READ_TOGETHER] for start in starts)
    if config.cluster:
        read = partial(_read_some, config.image_size)
        yield from chain.from_iterable(read_ahead(read, together, cluster=config.cluster))
        return
    with Parallel(n_jobs=-1, backend="threading") as parallel:
        for some in together:
            yield from parallel(delayed(_read)(one, config.image_size) for one in some)


def _read_some(side: int, some: list[Radiograph]) -> list[Picture | str]:
    return [_read(one, side) for one in some]


def _read(one: Radiograph, side: int) -> Picture | str:
    """A file's picture, or why it cannot be read."""
    try:
        gray = radiographs.read_radiograph(one.path)
    except InputError as error:
        return str(error)
    judged = radiographs.resize_radiograph(gray, QUALITY_SIDE)
    # Ours: one size for all, since a threshold on the Laplacian means another thing at another, and
    # an image made small enough is never blurred.
    return Picture(
        radiographs.resize_radiograph(gray, side),
        sharpness.laplacian_variance(judged),
        sharpness.contrast(judged),
        duplicates.difference_hash(gray).tobytes().hex(),
        hashlib.sha256(repr(gray.shape).encode() + gray.tobytes()).hexdigest(),
    )


def _index_row(config: VBreathNetConfig, one: Radiograph, picture: Picture) -> dict:
    """An image's row in index.csv, less its sample_id."""
    return {
        "patient_id": one.patient,
        "label": one.label,
        "class": config.classes[one.label],
        "file": one.file,
        "near_duplicate_group": one.group,
        "sharpness": f"{picture.sharpness:.4f}",
        "contrast": f"{picture.contrast:.4f}",
        "difference_hash": picture.difference_hash,
        "pixels": picture.pixels,
        "origin": one.origin or "real",
    }


def _check_one_class(config: VBreathNetConfig, prepared: Store) -> None:
    """Refuse one picture in two classes. Ours: no network could be right about both."""
    first_of: dict[str, dict] = {}
    for row in prepared.index:
        first = first_of.setdefault(row["pixels"], row)
        if first["class"] != row["class"]:
            raise InputError(
                f"{config.data / row['file']}: is the same picture as {first['file']}, which is in "
                "another class; delete the one that is wrong"
            )


def _check_unreadable(config: VBreathNetConfig, prepared: Store, say: Callable) -> None:
    """Say which files cannot be read; refuse more than `config.max_unreadable` allows."""
    reasons = [f"{s['file']}: {s['reason']}" for s in prepared.sources if s["reason"]]
    for reason in reasons:
        say(f"not used: {reason}")
    if len(reasons) > config.max_unreadable * len(prepared.sources):
        raise InputError(
            f"{reasons[0]} ({len(reasons)} of {len(prepared.sources)} files cannot be read, more "
            f"than --max-unreadable {config.max_unreadable:g} allows)"
        )


def _image_files(folder: Path) -> list[Path]:
    """Image files of a class folder: those in images/ where that exists, else its own."""
    inner = folder / IMAGES
    files = (inner if inner.is_dir() else folder).iterdir()
    return sorted(
        p for p in files if not p.name.startswith(".") and radiographs.is_radiograph(p)
    )  # fmt: skip


def _read_manifest(path: Path) -> dict[str, dict[str, str]]:
    """What a manifest says of each file, for the fields of `Radiograph`."""
    if not path.exists():
        return {}
    columns = {"patient_id": "patient", "near_duplicate_group": "group", "origin": "origin"}
    table = read_table(path)
    if "file" not in table.columns:
        raise InputError(f"{path}: is not a CSV table with a column 'file'; correct or remove it")
    said = {}
    for line, row in table.rows:
        check_inside(row["file"], path.parent, f"{path}, line {line}")
        of_file = {name: row.get(column, "") for column, name in columns.items()}
        said[row["file"].replace("\\", "/")] = of_file
    twice = len(table.rows) - len(said)
    if twice:
        raise InputError(f"{path}: {twice} files stand in it twice; keep one row each")
    return said


def _recipe(config: VBreathNetConfig, found: list[Radiograph]) -> dict:
    """What determines the store's content."""
    return {
        "study": "vbreathnet",
        "version": RECIPE_VERSION,
        "classes": list(config.classes),
        "parameters": {"image_size": config.image_size, "quality_side": QUALITY_SIDE},
        "packages": {name: version(name) for name in RECIPE_PACKAGES},
        "sources": [
            {
                "file": one.file,
                "bytes": store.file_bytes(one.path),
                "sha256": store.file_sha256(one.path),
                "patient": one.patient,
                "group": one.group,
                "origin": one.origin,
            }
            for one in tqdm(found, "read", unit="image", disable=None)
        ],
    }
