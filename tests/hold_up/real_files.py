"""Copies of real files for `fuzz.py --data FOLDER`: whatever of a kind lies below that folder.

Tests never call this. What has no file of its own is made from others: PNG and NIfTI files from
JPEG and DICOM files, a radiograph from a CT slice.
"""

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import SimpleITK
from readers import Target, watch

from cnr_iemn.slice_labels import read_slice_labels
from lungsliding_tf.labels import read_labels
from preprocessing import radiographs, roi, video
from preprocessing.ct import read_slice, read_volume
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import find_radiographs

MOST_FILES, MOST_BYTES = 40, 300_000
SLICES = 5  # of a patient


def below(data: Path, *suffixes: str, most: int = MOST_FILES) -> list[Path]:
    """Files of these suffixes, drawn evenly from each suffix and folder, none too large."""
    groups = defaultdict(list)
    for path in sorted(data.rglob("*")):
        if path.suffix.lower() in suffixes and path.stat().st_size <= MOST_BYTES:
            groups[path.parent, path.suffix].append(path)
    rng, chosen = random.Random(0), []
    for paths in groups.values():
        rng.shuffle(paths)
    while len(chosen) < most and any(groups.values()):
        chosen += [paths.pop() for paths in groups.values() if paths]
    return chosen[:most]


def copy(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies that may be written, numbered, since names may be the same."""
    copied = [folder / f"{number}-{path.name}" for number, path in enumerate(paths)]
    for path, target in zip(paths, copied, strict=True):
        target.write_bytes(path.read_bytes())
    return copied


def _of_video(folder: Path, data: Path) -> list[Target]:
    kinds = {".mp4": "mp4", ".mov": "mp4", ".avi": "avi", ".mpeg": "mpeg", ".mpg": "mpeg",
             ".gif": "gif"}  # fmt: skip
    return [
        Target(path, kinds[path.suffix.lower()], lambda path=path: watch(path))
        for path in copy(below(data, *kinds), folder)
    ]


def _of_frames(folder: Path, data: Path) -> list[Target]:
    targets = []
    for number, path in enumerate(below(data, *video.VIDEO_SUFFIXES, most=8)):
        frames = folder / str(number)
        frames.mkdir()
        for k, frame in zip(range(3), video.read_frames(path), strict=False):
            cv2.imwrite(str(frames / f"frame_{k}.png"), frame)
        targets.append(Target(frames / "frame_1.png", "png", lambda f=frames: watch(f)))
    return targets


def _film(path: Path, kind: str) -> Target:
    return Target(path, kind, lambda: radiographs.read_radiograph(path))


def _of_png(folder: Path, data: Path) -> list[Target]:
    targets = []
    for number, path in enumerate(below(data, ".jpg", ".jpeg")):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.imread(str(path), 0))
        targets.append(_film(folder / f"{number}.png", "png"))
    return targets


def _of_jpeg(folder: Path, data: Path) -> list[Target]:
    return [_film(path, "jpeg") for path in copy(below(data, ".jpg", ".jpeg"), folder)]


def _of_dicom(folder: Path, data: Path) -> list[Target]:
    """CT slices that say they are radiographs."""
    copied = copy(below(data, ".dcm"), folder)
    for path in copied:
        of_ct = rb"(\x08\x00\x60\x00(?:CS\x02\x00|\x02\x00\x00\x00))CT"
        path.write_bytes(re.sub(of_ct, rb"\g<1>DX", path.read_bytes()))
    return [_film(path, "dicom") for path in copied]


def _patients(folder: Path, data: Path) -> list[Path]:
    """Folders of a few neighbouring slices each."""
    series = [p for p in sorted(data.rglob("*")) if p.is_dir() and len(list(p.glob("*.dcm"))) > 9]
    for number, patient in enumerate(series[:8]):
        (folder / str(number)).mkdir()
        for path in sorted(patient.glob("*.dcm"))[:SLICES]:
            (folder / str(number) / path.name).write_bytes(path.read_bytes())
    return sorted(folder.iterdir())


def _of_ct(folder: Path, data: Path) -> list[Target]:
    targets = []
    for patient in _patients(folder, data):
        first, second = sorted(patient.iterdir())[:2]
        targets += [
            Target(first, "dicom", lambda p=patient: read_volume(p)),
            Target(second, "dicom", lambda p=second: read_slice(p)),
        ]
    return targets


def _of_nifti(folder: Path, data: Path) -> list[Target]:
    targets = []
    for patient in _patients(folder, data):
        hu = read_volume(patient).hu[:, ::4, ::4]
        shutil.rmtree(patient)
        for suffix, kind in ((".nii", "nifti"), (".nii.gz", "gz")):
            path = folder / f"{patient.name}{suffix}"
            image = SimpleITK.GetImageFromArray(hu)
            image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
            SimpleITK.WriteImage(image, str(path))
            targets.append(Target(path, kind, lambda path=path: read_volume(path)))
    return targets


def _of_labels(folder: Path, data: Path) -> list[Target]:
    source = next(data.rglob("labels.csv"))
    table = shutil.copyfile(source, folder / source.name)
    for name in re.findall(r"^([^,]+),", table.read_text(encoding="utf-8"), re.MULTILINE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [Target(table, "csv", lambda: read_labels(folder, allow_mixed_patients=True))]


def _of_regions(folder: Path, data: Path) -> list[Target]:
    source = next(data.rglob("*cvat_annotations.json"))
    info = video.probe(source.with_name(source.name.split(".")[0] + ".mp4"))
    export = shutil.copyfile(source, folder / source.name)
    regions = roi.import_cvat(export, info)
    saved = roi.save_regions(info.path, info, regions, folder)
    return [
        Target(export, "json", lambda: roi.import_cvat(export, info)),
        Target(saved, "json", lambda: roi.load_regions(info.path, info, folder)),
    ]


def _of_slice_labels(folder: Path, data: Path) -> list[Target]:
    arrays, tabled = folder / "arrays", folder / "table"
    for name in ("COVID-19", "CAP", "Normal"):
        (arrays / name / f"x{name}").mkdir(parents=True)
        (tabled / name / f"x{name}").mkdir(parents=True)
    targets = []
    for pattern, kind in (("Index.csv", "csv"), ("*-updated-1.npy", "npy")):
        for path in data.rglob(pattern):
            shutil.copyfile(path, arrays / path.name)
            targets.append(Target(arrays / path.name, kind, lambda: read_slice_labels(arrays)))
    table = shutil.copyfile(next(data.rglob("slice_labels.csv")), tabled / "slice_labels.csv")
    return [*targets, Target(table, "csv", lambda: read_slice_labels(tabled))]


def _of_manifest(folder: Path, data: Path) -> list[Target]:
    config = VBreathNetConfig(data=folder, out=folder / "out")
    source = max(data.rglob("manifest.csv"), key=lambda path: path.stat().st_size)
    lines = np.array(source.read_text(encoding="utf-8").splitlines())[:400]
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    for name in config.classes:
        (folder / name).mkdir()
        (folder / name / f"{name}-1.jpg").touch()
    return [
        Target(folder / "manifest.csv", "csv", lambda: find_radiographs(config, lambda line: None))
    ]


READERS: dict[str, Callable[[Path, Path], list[Target]]] = {
    "video": _of_video, "frames": _of_frames, "png": _of_png, "jpeg": _of_jpeg, "dicom": _of_dicom,
    "ct": _of_ct, "nifti": _of_nifti, "labels": _of_labels, "regions": _of_regions,
    "slice_labels": _of_slice_labels, "manifest": _of_manifest,
}  # fmt: skip
