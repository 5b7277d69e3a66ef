"""Every reader of files from outside, with small sound files for it to read.

Each `_targets_of_...` writes sound files into an empty folder and returns which of them to damage
and how they are read.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import safetensors.numpy
import SimpleITK
from PIL import Image

from cnr_iemn.slice_labels import LOBES, read_slice_labels
from lungsliding_tf.dzhulai2024.sources import read_sources, read_stretches
from lungsliding_tf.labels import read_labels
from preprocessing import radiographs, roi, video
from preprocessing.ct import read_slice, read_volume
from preprocessing.store import Store, StoreWriter
from replication.weight_files import read_tensors
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import find_radiographs, read_lung_mask

HEIGHT, WIDTH, FRAMES = 48, 64, 8
# Of a person, in every DICOM file: no error may say it.
PERSON = {"0010|0010": "Planted^Name", "0010|0020": "PLANTED-4711", "0008|0080": "Planted Hospital"}


@dataclass(frozen=True)
class Target:
    """A sound file, what kind it is for `mutations.mutate`, and a call that reads it."""

    path: Path
    kind: str
    read: Callable[[], object]


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """uint8 (height, width): smooth, so that it compresses as real ones do."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def write_frame(path: Path) -> Path:
    """A picture as PNG."""
    assert cv2.imwrite(str(path), picture())
    return path


def write_jpeg(path: Path, **options) -> Path:
    """A gray picture as JPEG."""
    Image.fromarray(picture()).save(path, **{"quality": 90, **options})
    return path


def write_gif(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """A GIF of 10 frames a second."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=100)
    return path


def write_video(path: Path, codec: str, frames: Sequence[np.ndarray], fps: float = 25) -> Path:
    """A video by OpenCV."""
    size = frames[0].shape[::-1]
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, size, isColor=False
    )
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def moving() -> list[np.ndarray]:
    """FRAMES frames that move."""
    return [np.roll(picture(), 3 * k, axis=1) for k in range(FRAMES)]


def write_dicom(path: Path, values: np.ndarray, compressor: str = "", **header: str) -> Path:
    """One DICOM file; `header` has fields as t0028_1052="-1024"."""
    image = SimpleITK.GetImageFromArray(values)
    fields = {"0008|0060": "DX", "0008|0018": "2.25.1", "0020|000e": "2.25.2", **PERSON}
    fields |= {name[1:].replace("_", "|"): value for name, value in header.items()}
    for tag, value in fields.items():
        image.SetMetaData(tag, value)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    if compressor:
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(image)
    return path


def write_ct(path: Path, z: float, compressor: str = "", seed: int = 0, **header: str) -> Path:
    """One CT slice of 48 x 64 px."""
    hu = (picture(seed=seed).astype(np.int16) - 128) * 12
    return write_dicom(
        path, hu, compressor, t0008_0060="CT", t0008_0018=f"2.25.3.{int(1000 - z)}",
        t0020_0032=f"-170\\-160\\{z}", t0020_0037="1\\0\\0\\0\\1\\0", t0020_1041=str(z),
        t0028_1052="-1024", t0028_1053="1", t0018_0050="2", **header,
    )  # fmt: skip


def write_nifti(path: Path, kind: int = SimpleITK.sitkInt16) -> Path:
    """A volume of 5 slices."""
    hu = np.stack([(picture(32, 40, k).astype(np.float32) - 128) * 12 for k in range(5)])
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(hu), kind)
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(path))
    return path


def write_csv(path: Path, columns: str, *rows: str) -> Path:
    """A table from lines of text."""
    path.write_text("\n".join((columns, *rows)) + "\n", encoding="utf-8")
    return path


def watch(path: Path) -> int:
    """Read a video in both ways that the studies do; the frames that were shown."""
    info = video.probe(path)
    shown = sum(1 for _ in video.read_frames(path))
    return shown + sum(1 for _ in video.unify(path, info=info))


def _targets_of_video(folder: Path) -> list[Target]:
    written = [
        ("mp4", write_video(folder / "a.mp4", "mp4v", moving())),
        ("mp4", write_video(folder / "a.mov", "mp4v", moving())),
        ("avi", write_video(folder / "a.avi", "MJPG", moving())),
        ("avi", write_video(folder / "b.avi", "XVID", moving())),
        ("mpeg", write_video(folder / "a.mpeg", "PIM1", moving())),
        ("gif", write_gif(folder / "a.gif", moving())),
    ]
    return [Target(path, kind, lambda path=path: watch(path)) for kind, path in written]


def _targets_of_frames(folder: Path) -> list[Target]:
    frames = folder / "p001"
    (folder / "COVID/masks").mkdir(parents=True)
    frames.mkdir()
    for number, frame in enumerate(moving()[:3]):
        cv2.imwrite(str(frames / f"frame_{number}.png"), frame)
    mask = folder / "COVID/masks/a.png"
    cv2.imwrite(str(mask), (picture() > 128).astype(np.uint8) * 255)
    return [
        *(Target(frames / f"frame_{k}.png", "png", lambda: watch(frames)) for k in range(2)),
        Target(mask, "png", lambda: read_lung_mask(folder, "COVID/images/a.png")),
    ]


def _targets_of_png(folder: Path) -> list[Target]:
    gray = picture()
    saved = {
        "gray": Image.fromarray(gray),
        "deep": Image.fromarray(gray.astype(np.uint16) * 200),
        "rgb": Image.fromarray(np.dstack([gray, gray[::-1], gray])),
        "rgba": Image.fromarray(np.dstack([gray, gray, gray, gray[::-1]])),
        "palette": Image.fromarray(gray).convert("P"),
        "bits": Image.fromarray(gray > 128),
    }
    for name, image in saved.items():
        image.save(folder / f"{name}.png")
    return [_film(folder / f"{name}.png", "png") for name in saved]


def _targets_of_jpeg(folder: Path) -> list[Target]:
    write_jpeg(folder / "a.jpg")
    write_jpeg(folder / "b.jpg", progressive=True, quality=50)
    write_jpeg(folder / "c.jpg", restart_marker_blocks=2)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    Image.fromarray(picture()).convert("RGB").save(folder / "d.jpeg", exif=exif)
    return [_film(path, "jpeg") for path in sorted(folder.iterdir())]


def _targets_of_dicom(folder: Path) -> list[Target]:
    gray = picture()
    write_dicom(folder / "a.dcm", gray, t0028_1050="100", t0028_1051="150")
    write_dicom(folder / "b.dcm", gray.astype(np.uint16) * 16)
    write_dicom(folder / "c.dcm", gray.astype(np.int16), "JPEG")
    write_dicom(folder / "d.dcm", gray, "JPEG2000")
    write_dicom(folder / "e.dcm", gray, "JPEGLS")
    write_dicom(folder / "f.dcm", gray.astype(np.uint16), "RLE")
    colour = SimpleITK.GetImageFromArray(np.dstack([gray] * 3), isVector=True)
    SimpleITK.WriteImage(colour, str(folder / "g.dcm"))
    return [_film(path, "dicom") for path in sorted(folder.iterdir())]


def _film(path: Path, kind: str) -> Target:
    return Target(path, kind, lambda: radiographs.read_radiograph(path))


def _targets_of_ct(folder: Path) -> list[Target]:
    targets = []
    for compressor in ("", "JPEG", "RLE"):
        patient = folder / f"P{compressor}"
        patient.mkdir()
        for number in range(4):
            write_ct(patient / f"{number}.dcm", -50 - 2 * number, compressor, number)
        one = patient / "1.dcm"
        targets += [
            Target(one, "dicom", lambda patient=patient: read_volume(patient)),
            Target(one, "dicom", lambda one=one: read_slice(one)),
        ]
    return targets


def _targets_of_nifti(folder: Path) -> list[Target]:
    written = [
        ("nifti", write_nifti(folder / "a.nii")),
        ("nifti", write_nifti(folder / "b.nii", SimpleITK.sitkFloat32)),
        ("gz", write_nifti(folder / "c.nii.gz")),
    ]
    return [Target(path, kind, lambda path=path: read_volume(path)) for kind, path in written]


def _targets_of_labels(folder: Path) -> list[Target]:
    (folder / "videos").mkdir()
    for name in ("p001.mp4", "p002.mp4", "é p003.mp4"):
        (folder / "videos" / name).write_bytes(b"x")
    table = write_csv(
        folder / "labels.csv", "file,patient_group,lung_sliding,phantom",
        "videos/p001.mp4,1,present,yes", "videos/p002.mp4,2,absent,",
        "videos/é p003.mp4,3,not_stated,no",
    )  # fmt: skip
    return [
        Target(table, "csv", lambda: read_labels(folder)),
        Target(table, "csv", lambda: read_sources(folder)),
    ]


def _targets_of_metafile(folder: Path) -> list[Target]:
    for name in ("a.mp4", "é b"):
        (folder / name).mkdir()
        for number, frame in enumerate(moving()[:4]):
            cv2.imwrite(str(folder / name / f"frame_{number}.png"), frame)
    write_video(folder / "c.mp4", "mp4v", moving())
    entries = [
        {"video_name": "a.mp4", "video_class": "ls_p", "cut_interval": [[0, 2], [3, 4]],
         "patient_id": "P1", "phantom": True},
        {"video_name": "é b", "video_class": "ls_a", "cut_interval": [[1, 3]]},
        {"video_name": "c.mp4", "video_class": "ls_a", "cut_interval": [[1, 3], [4, 8]],
         "patient_id": "P3"},
    ]  # fmt: skip
    list_of_videos = folder / "sliding_metafile.json"
    list_of_videos.write_text(json.dumps(entries), encoding="utf-8")

    def read() -> int:
        stretches = [s for one in read_sources(folder) for s in read_stretches(one)]
        return sum(1 for _, frames in stretches for _ in frames)

    return [Target(list_of_videos, "json", read)]


def _targets_of_regions(folder: Path) -> list[Target]:
    info = video.VideoInfo(folder / "a.mp4", WIDTH, HEIGHT, 25.0, FRAMES)
    corners = ((5.0, 6.0), (50.0, 6.0), (50.5, 40.25), (5.0, 40.0))
    regions = [roi.Region(corners, 0, 3), roi.Region(corners[:3], 4, 7, "pleura")]
    saved = roi.save_regions(info.path, info, regions)
    info.path.write_bytes(b"x")
    shape = {"type": "polygon", "points": [4.0, 5.0, 40.0, 5.0, 40.0, 30.0], "rotation": 0.0}
    job = {
        "shapes": [
            {**shape, "label": "lung", "frame": 0, "outside": False},
            {**shape, "label": "aline", "frame": 5, "type": "rectangle", "points": [1, 2, 30, 40]},
        ],
        "tracks": [{"label": "lung", "frame": 1, "shapes": [{**shape, "frame": 1}]}],
    }
    cvat = folder / "annotations.json"
    cvat.write_text(json.dumps([job]), encoding="utf-8")
    tables = [
        write_csv(folder / "r.csv", "file,x,y,width,height,first_frame,last_frame",
                  "a.mp4,1,2,30,40,0,3", "a.mp4,1.5,2,30,40,4,7"),
        write_csv(folder / "s.csv", "file;x;y;width;height", "a.mp4;1,5;2;30,25;40"),
    ]  # fmt: skip
    return [
        Target(saved, "json", lambda: roi.load_regions(info.path, info)),
        Target(cvat, "json", lambda: roi.import_cvat(cvat, info)),
        *(
            Target(
                table, "csv",
                lambda table=table: roi.import_rectangles(table, folder, describe=lambda _: info),
            )
            for table in tables
        ),
    ]  # fmt: skip


def _targets_of_slice_labels(folder: Path) -> list[Target]:
    patients = {"COVID-19": ("P001", "P002"), "CAP": ("cap001",), "Normal": ("normal001",)}
    tabled, arrays = folder / "table", folder / "arrays"
    for data in (tabled, arrays):
        for diagnosis, names in patients.items():
            for name in names:
                (data / diagnosis / name).mkdir(parents=True)
    rows = [
        f"{diagnosis}/{name}/{k}.dcm,{name},{diagnosis},{k % 2},0,0,0,{k % 2},0,0"
        for diagnosis, names in list(patients.items())[:2] for name in names for k in range(4)
    ]  # fmt: skip
    table = write_csv(
        tabled / "slice_labels.csv", "file,patient,diagnosis,infection,infection_label_v0,"
        + ",".join(LOBES), *rows,
    )  # fmt: skip
    index = write_csv(
        arrays / "Index.csv", "Label Index,Diagnosis,Relative Path,Folder/ID",
        "0,COVID-19,./COVID-19/,P001", "2,COVID-19,./COVID-19/,P002", "3,CAP,./Cap/,cap001",
    )  # fmt: skip
    infection = np.zeros((3, 9))
    infection[:, 1:4] = 1
    lobes = np.zeros((3, 9, 5))
    lobes[:, 1:4, 1] = 1
    names = ("Slice-level-labels-updated-1.npy", "Lobe-level-labels-updated-1.npy")
    for name, array in zip(names, (infection, lobes), strict=True):
        np.save(arrays / name, array)
    ask = ("P001", ["0.dcm", "1.dcm", "2.dcm", "3.dcm"], -2.0 * np.arange(4))
    return [
        Target(table, "csv", lambda: read_slice_labels(tabled).infection(*ask)),
        Target(index, "csv", lambda: read_slice_labels(arrays).infection(*ask)),
        *(Target(arrays / name, "npy", lambda: read_slice_labels(arrays)) for name in names),
    ]


def _targets_of_manifest(folder: Path) -> list[Target]:
    config = VBreathNetConfig(data=folder, out=folder / "out")
    for name in config.classes:
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(b"x")
    manifest = write_csv(
        folder / "manifest.csv", "file,patient_id,near_duplicate_group,origin",
        "COVID/a.png,1,g1,phantom", "Normal/a.png,2,,", "Viral Pneumonia\\a.png,3,g3,real",
    )  # fmt: skip
    return [Target(manifest, "csv", lambda: find_radiographs(config, lambda line: None))]


def write_store(folder: Path, stop: bool = False) -> None:
    """A store of three samples from two sources; with `stop` interrupted after the first."""
    recipe = {"parameters": {"px": 8}, "sources": [{"file": n, "sha256": n} for n in "ab"]}
    with StoreWriter(folder, recipe, (8, 8)) as writer:
        for name in "ab":
            if name in writer.done:
                continue
            for _ in range(2 if name == "a" else 1):
                writer.add(np.full((8, 8), ord(name), np.uint8), {"patient_id": name, "label": 1})
            writer.finish_source({"file": name, "reason": ""})
            if stop:
                return
        writer.close()


def _targets_of_store(folder: Path) -> list[Target]:
    finished, sound = folder / "finished", folder / "sound"
    write_store(finished)
    write_store(sound / "store", stop=True)

    def read() -> object:
        store = Store(finished)
        return store.column("label"), store.fingerprint, store.file_hashes, store.samples[:].sum()

    def resume() -> list[int]:
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(sound, work)
        write_store(work / "store")
        return [int(one[0, 0]) for one in Store(work / "store").samples]

    def resume_alike() -> None:
        """What is taken up again is whole, or begun anew."""
        assert resume() == [97, 97, 98], "another store"

    kinds = {"recipe.json": "json", "index.csv": "csv", "sources.csv": "csv", "samples.npy": "npy"}
    partial = sound / "store.partial"
    return [
        *(Target(finished / name, kind, read) for name, kind in kinds.items()),
        Target(partial / "progress.json", "json", resume_alike),
        Target(partial / "recipe.json", "json", resume_alike),
        Target(partial / "sources.csv", "csv", resume),
    ]


def write_tensors(path: Path) -> Path:
    """Tensors as .safetensors, or as .pth where PyTorch is."""
    rng = np.random.default_rng(0)
    tensors = {
        "conv1.weight": rng.standard_normal((32, 3, 5, 5)).astype(np.float32),
        "bn1.running_mean": rng.standard_normal(4).astype(np.float16),
        "bn1.num_batches_tracked": np.array(7, np.int64),
    }
    if path.suffix == ".safetensors":
        safetensors.numpy.save_file(tensors, path)
    else:
        import torch

        legacy = path.suffix == ".pt"
        state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path


def _weights(path: Path, kind: str) -> Target:
    return Target(path, kind, lambda: {k: v.sum() for k, v in read_tensors(path).items()})


def _targets_of_safetensors(folder: Path) -> list[Target]:
    return [_weights(write_tensors(folder / "a.safetensors"), "safetensors")]


def _targets_of_torch(folder: Path) -> list[Target]:
    """A zip file, the same without compression of names, and the form before it."""
    return [
        _weights(write_tensors(folder / "a.pth"), "zip"),
        _weights(write_tensors(folder / "b.pt"), "pickle"),
    ]


def _targets_of_classifier(folder: Path) -> list[Target]:
    from cnr_iemn import patient  # loads scikit-learn and XGBoost

    features, labels = np.random.default_rng(0).random((40, 6)), np.arange(40) % 3
    targets = []
    for kind, mutation in (("xgboost", "json"), ("svm", "zip")):
        classifier = patient.fit_classifier(kind, features, labels, 0)

        def read(kind=kind) -> np.ndarray:
            return patient.score_patients(patient.load_classifier(folder, kind), features)

        targets.append(Target(patient.save_classifier(classifier, folder), mutation, read))
    return targets


READERS: dict[str, Callable[[Path], list[Target]]] = {
    "video": _targets_of_video,
    "frames": _targets_of_frames,
    "png": _targets_of_png,
    "jpeg": _targets_of_jpeg,
    "dicom": _targets_of_dicom,
    "ct": _targets_of_ct,
    "nifti": _targets_of_nifti,
    "labels": _targets_of_labels,
    "metafile": _targets_of_metafile,
    "regions": _targets_of_regions,
    "slice_labels": _targets_of_slice_labels,
    "manifest": _targets_of_manifest,
    "store": _targets_of_store,
    "safetensors": _targets_of_safetensors,
    "torch": _targets_of_torch,
    "classifier": _targets_of_classifier,
}
