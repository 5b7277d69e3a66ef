"""Make phantoms: data with known truth, in the papers' own file formats.

python scripts/make_phantom.py ultrasound --out data/phantom --present 28 --absent 20 --seed 0

python scripts/make_phantom.py frames --out data/frames --present 139 --absent 32 --seed 0

python scripts/make_phantom.py radiograph --out data/films --per-class 250 --seed 0

python scripts/make_phantom.py ct --out data/scans --covid 24 --cap 20 --normal 20 --size 256
--slice-spacing 7 --seed 0
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cnr_iemn.phantom import write_cohort as write_scans
from lungsliding_tf import frame_folders
from lungsliding_tf.phantom import PhantomConfig, write_dataset
from replication.cli import run_command
from vbreathnet.phantom import write_cohort as write_films


@dataclass(frozen=True)
class Arguments:
    """Where to, and how fast."""

    out: Path
    """Folder to make."""
    jobs: int = 2
    """Processes."""


FLAT = tyro.conf.arg(name="")


def ultrasound(
    arguments: Annotated[Arguments, FLAT], config: Annotated[PhantomConfig, FLAT]
) -> None:
    """Lung ultrasound: videos, marked regions, labels and known motion."""
    write_dataset(arguments.out, config, n_jobs=arguments.jobs)


def frames(
    arguments: Annotated[Arguments, FLAT],
    config: Annotated[PhantomConfig, FLAT] = frame_folders.PAPER_COHORT,
    widths: tuple[int, int] = frame_folders.WIDTHS,
    heights: tuple[int, int] = frame_folders.HEIGHTS,
    second_videos: float = frame_folders.SECOND_VIDEOS,
    minimum_frames: int = frame_folders.MINIMUM_FRAMES,
) -> None:
    """Lung ultrasound: the same as folders of PNG frames with a list of them (Dzhulai 2024).

    Args:
        arguments: Where to, and how fast.
        config: The cohort; its numbers of patients are numbers of videos here.
        widths: Least and largest width of the frames in px (section IV).
        heights: The same of the height.
        second_videos: Share of videos that are a second one of a patient.
        minimum_frames: A usable stretch begins at frame 15 if it keeps so many frames, else at 0.
    """
    frame_folders.write_frame_folders(
        arguments.out, config, widths, heights, second_videos, minimum_frames,
        n_jobs=arguments.jobs,
    )  # fmt: skip


def main() -> None:
    """Read the command line and write the phantoms."""
    commands = {
        "ultrasound": ultrasound,
        "frames": frames,
        "radiograph": write_films,
        "ct": write_scans,
    }
    tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)


if __name__ == "__main__":
    run_command(main)
