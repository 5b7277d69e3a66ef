"""Draw the phantom pictures of the documentation: `python scripts/draw_examples.py`.

Makes the default cohort of phantoms once (about a minute) and draws the M-mode of one patient with
and one without sliding, as Kolárik 2023, Figure 1, does for real ones.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from lungsliding_tf.kolarik2023.pictures import save_mmode_picture
from lungsliding_tf.phantom import PhantomConfig, write_dataset
from preprocessing import roi, video
from replication.cli import run_command

# Chosen by eye for two ribs in the picture and little probe motion; the cohort's seed is 0.
EXAMPLES = {"p031": ("present", "seashore"), "p005": ("absent", "barcode")}


@dataclass(frozen=True)
class Arguments:
    """Where to."""

    out: Path = Path(__file__).resolve().parents[1] / "docs" / "figures"
    """Folder of the pictures."""


def main() -> None:
    """Make the cohort in a temporary folder and draw the examples."""
    arguments = tyro.cli(Arguments, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        data = write_dataset(Path(folder) / "phantoms", PhantomConfig())
        for patient, (name, sign) in EXAMPLES.items():
            (path,) = (p for p in video.list_videos(data / "videos") if p.stem == patient)
            info = video.probe(path)
            region = roi.load_regions(path, info)[0]
            title = f"phantom {patient}: sliding {name}, {sign} sign"
            save_mmode_picture(arguments.out / f"mmode_{name}.png", info, region, title)
            print(arguments.out / f"mmode_{name}.png")


if __name__ == "__main__":
    run_command(main)
