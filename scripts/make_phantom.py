"""Make phantoms: data with known truth, in the papers' own file formats.

python scripts/make_phantom.py ultrasound --out data/phantom --present 28 --absent 20 --seed 0

python scripts/make_phantom.py radiograph --out data/films --per-class 250 --seed 0

python scripts/make_phantom.py ct --out data/scans --covid 24 --cap 20 --normal 20 --size 256
--slice-spacing 7 --seed 0
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cnr_iemn.phantom import write_cohort as write_scans
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


def main() -> None:
    """Read the command line and write the phantoms."""
    commands = {"ultrasound": ultrasound, "radiograph": write_films, "ct": write_scans}
    tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)


if __name__ == "__main__":
    run_command(main)
