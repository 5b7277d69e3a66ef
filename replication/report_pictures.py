"""The pictures of a report: which there are, what they show, and embedding them in a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np

from preprocessing.errors import InputError
from replication.experiments import Experiment
from replication.performance import read_scores, save_performance
from replication.records import FIGURES, PREDICTIONS

MOST_BYTES = 14_000_000  # of all pictures in a page, as they are embedded
WIDEST, HIGHEST = 1200, 2400  # px; more than a phone or a printed page shows
SMALL = 200_000  # bytes: a file up to this is embedded as it is, sharper than WebP
WEBP_QUALITY = 85

# What lies in OUT/figures, by the study that draws it.
OF_STUDY = {
    "kolarik2023": ("mmode_*", "class_counts*"),
    "dzhulai2024": ("sweep_*",),
    "vbreathnet": ("gaps*", "quality*", "learning_rates*"),
    "cnr_iemn": ("figure_1*", "confusions_*", "rise*"),
}
CAPTIONS = (
    ("mmode_present*", "M-mode with sliding: the seashore sign is expected"),
    ("mmode_absent*", "M-mode without sliding: the barcode sign is expected"),
    ("class_counts*", "samples of each class"),
    ("figure_1.png", "segmentation: slice, lung mask, segmented slice (Figure 1 of the paper)"),
    ("figure_12.png", "segmentation of infected slices (Figure 12 of the paper)"),
    ("confusions_*", "confusion matrices of all networks of a scenario"),
    ("rise*", "RISE: slice, segmented lungs, and the heat map of each network"),
    ("quality*", "what the filters for blur and contrast measure"),
    ("gaps*", "training less validation accuracy"),
    ("sweep_*", "settings compared"),
    ("curves.png", "training curves"),
    ("performance-*", "confusion matrix, ROC, precision-recall, calibration"),
    ("saliency*", "saliency and SmoothGrad"),
    ("heatmaps*", "heat maps"),
    ("layers*", "Grad-CAM of several layers"),
)
DRAWN_ANEW = ("confusion-*",)  # part of the performance pictures
REPORT = "report"  # OUT/figures/report: what the report itself draws


@dataclass(frozen=True)
class Picture:
    """An embedded picture: `uri` holds its bytes; width and height are px."""

    uri: str
    caption: str
    width: int
    height: int


class Album:
    """Embeds pictures until a page would grow too large.

    Attributes:
        left_out: files that did not fit any more; a page has to say so.
    """

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.room = most_bytes
        self.left_out: list[Path] = []

    def embed(self, files: list[Path]) -> list[Picture]:
        """The pictures in these files, as far as there is room.

        Raises:
            InputError: a file is no picture.
        """
        return [picture for file in files if (picture := self._embed(file)) is not None]

    def _embed(self, file: Path) -> Picture | None:
        data = file.read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{file}: is no picture; delete it and run the study again")
        scale = min(1, WIDEST / image.shape[1], HIGHEST / image.shape[0])
        kind = file.suffix.removeprefix(".").lower()
        if scale < 1 or len(data) > SMALL:
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            quality = [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
            kind, data = "webp", cv2.imencode(".webp", image, quality)[1].tobytes()
        uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
        if len(uri) > self.room:
            self.left_out.append(file)
            return None
        self.room -= len(uri)
        height, width = image.shape[:2]
        return Picture(uri, caption_of(file), width, height)


def caption_of(file: Path) -> str:
    """What a picture shows, by its name, and the name itself."""
    shown = next((text for pattern, text in CAPTIONS if fnmatch(file.name, pattern)), "")
    return f"{shown} ({file.name})" if shown else file.name


def out_folder(e: Experiment) -> Path:
    """The `--out` folder that an experiment lies in."""
    return e.folders[0].parents[3]


def study_pictures(paper: str, out: Path) -> list[Path]:
    """Pictures of the data and of all networks together, in OUT/figures."""
    return [
        file
        for pattern in OF_STUDY[paper]
        for file in sorted((out / FIGURES).glob(pattern))
        if file.suffix == ".png"
    ]


def run_pictures(e: Experiment) -> list[Path]:
    """Pictures of the first seed's run: its curves first, and what the report draws of it."""
    files = sorted((e.folders[0] / FIGURES).glob("*.png"))
    files = [f for f in files if not any(fnmatch(f.name, p) for p in DRAWN_ANEW)]
    curves = [f for f in files if f.name == "curves.png"]
    drawn = [draw_performance(e, part) for part in shown_parts(e)]
    return [*curves, *drawn, *(f for f in files if f not in curves)]


def shown_parts(e: Experiment) -> Iterator[str]:
    """The part that the paper measured on, and the test part where that is another."""
    first = e.dataset if e.has(e.dataset) else "val" if e.classes else "test"
    yield first
    if first != "test" and e.has("test"):
        yield "test"


def draw_performance(e: Experiment, part: str) -> Path:
    """A picture of an experiment's scores on a part, as PNG beside the study's others."""
    folder = out_folder(e) / FIGURES / REPORT
    folder.mkdir(parents=True, exist_ok=True)
    name = e.name.replace("/", "-")
    # Another page may be of fewer seeds: each has its own picture.
    seeds = "_".join(run.name.removeprefix("seed") for run in e.folders)
    study = e.folders[0].parents[1].name
    path = folder / f"performance-{study}-{name}-{part}-seed{seeds}.png"
    newest = max((folder / PREDICTIONS).stat().st_mtime for folder in e.folders)
    if not path.exists() or path.stat().st_mtime < newest:
        save_performance(path, read_scores(e, part), f"{e.title}: {part}")
    return path
