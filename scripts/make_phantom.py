"""Make a lung ultrasound phantom data set: videos, marked regions, labels and known motion.

python scripts/make_phantom.py --out data/phantom --present 28 --absent 20 --seed 0
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lungsliding_tf.phantom import PhantomConfig, write_dataset
from replication.cli import run_command


@dataclass(frozen=True)
class Arguments:
    """Where to, and how fast."""

    out: Path
    """Folder to make."""
    jobs: int = 2
    """Processes."""


def main() -> None:
    """Read the command line and write the data set."""
    flat = tyro.conf.arg(name="")
    arguments, config = tyro.cli(
        tuple[Annotated[Arguments, flat], Annotated[PhantomConfig, flat]], description=__doc__
    )
    write_dataset(arguments.out, config, n_jobs=arguments.jobs)


if __name__ == "__main__":
    run_command(main)
