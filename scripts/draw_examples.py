"""Draw the phantom pictures of the documentation: `python scripts/draw_examples.py`.

Makes the default cohort of ultrasound phantoms once (about a minute) and draws the M-mode of one
patient with and one without sliding, as Kolárik 2023, Figure 1, does for real ones. Then three CT
phantoms, one of each class, from the apex of the lungs to their base.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnr_iemn.cohort import draw_cohort
from cnr_iemn.scanner import Rendering, render
from lungsliding_tf.kolarik2023.pictures import save_mmode_picture
from lungsliding_tf.phantom import PhantomConfig, write_dataset
from preprocessing import roi, video
from replication.cli import run_command

# Chosen by eye for two ribs in the picture and little probe motion; the cohort's seed is 0.
EXAMPLES = {"p031": ("present", "seashore"), "p005": ("absent", "barcode")}
# Chosen by eye for lesions that are plain to see; of a cohort of eight a class, seed 0.
CT_EXAMPLES = ("normal005", "P005", "cap001")
CT_COHORT, CT_SPACING_MM = (8, 8, 8, 0), 4.0
LEVELS = (0.22, 0.5, 0.78)  # of the lungs' length: upper, middle, lower
LUNG_WINDOW, SOFT_WINDOW = (-1200, 100), (-125, 225)  # HU shown as black and as white


@dataclass(frozen=True)
class Arguments:
    """Where to."""

    out: Path = Path(__file__).resolve().parents[1] / "docs" / "figures"
    """Folder of the pictures."""


def draw_mmodes(out: Path) -> None:
    """M-mode pictures of the two ultrasound examples."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_dataset(Path(folder) / "phantoms", PhantomConfig())
        for patient, (name, sign) in EXAMPLES.items():
            (path,) = (p for p in video.list_videos(data / "videos") if p.stem == patient)
            info = video.probe(path)
            region = roi.load_regions(path, info)[0]
            title = f"phantom {patient}: sliding {name}, {sign} sign"
            save_mmode_picture(out / f"mmode_{name}.png", info, region, title)
            print(out / f"mmode_{name}.png")


def draw_scans(path: Path) -> None:
    """A row for each CT example: three levels, the known lesions outlined, and soft tissue."""
    patients = {p.patient: p for p in draw_cohort(*CT_COHORT)}
    figure = Figure(figsize=(10, 5.6), layout="compressed")
    for row, name in zip(figure.subplots(3, 5), CT_EXAMPLES, strict=True):
        patient = patients[name]
        _draw_scan(row, f"{name}, {patient.label}", render(patient, 512, CT_SPACING_MM))
    FigureCanvasAgg(figure).print_png(path)
    print(path)


def _draw_scan(row, name: str, scan: Rendering) -> None:
    inside = np.flatnonzero(scan.lungs.any(axis=(1, 2)))
    area = scan.lesions.sum(axis=(1, 2))
    upper, middle, lower = (round(inside[0] + s * np.ptp(inside)) for s in LEVELS)
    most = int(area.argmax()) if area.any() else middle
    _show(row[0], scan.hu[upper], LUNG_WINDOW, f"{name}: upper")
    _show(row[1], scan.hu[middle], LUNG_WINDOW, "middle")
    _show(row[2], scan.hu[lower], LUNG_WINDOW, "lower")
    _show(row[3], scan.hu[most], LUNG_WINDOW, f"known lesions{'' if area.any() else ': none'}")
    if area.any():
        row[3].contour(scan.lesions[most], [0.5], colors="red", linewidths=0.6)
    _show(row[4], scan.hu[middle], SOFT_WINDOW, "middle, soft tissue")


def _show(axis, hu: np.ndarray, window: tuple[int, int], title: str) -> None:
    axis.imshow(hu, cmap="gray", vmin=window[0], vmax=window[1])
    axis.set_ylim(*np.array([0.92, 0.08]) * len(hu))
    axis.set_title(title, fontsize=8, loc="left")
    axis.set_axis_off()


def main() -> None:
    """Draw all examples."""
    arguments = tyro.cli(Arguments, description=__doc__)
    draw_mmodes(arguments.out)
    draw_scans(arguments.out / "cnr_iemn-phantoms.png")


if __name__ == "__main__":
    run_command(main)
