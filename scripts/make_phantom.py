"""Make a lung ultrasound phantom data set: videos, marked regions, labels and known motion.

python scripts/make_phantom.py --out data/phantom --present 28 --absent 20 --seed 0
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Arguments:
    out: Path  # folder to make
    jobs: int = 2  # processes


def main() -> int:
    """Read the command line, write the data set, return the exit status."""
    sys.path.insert(0, str(ROOT))
    from lungsliding_tf.phantom import PhantomConfig, write_dataset
    from preprocessing.errors import InputError

    flat = tyro.conf.arg(name="")
    try:
        arguments, config = tyro.cli(
            tuple[Annotated[Arguments, flat], Annotated[PhantomConfig, flat]],
            description=__doc__,
        )
        write_dataset(arguments.out, config, n_jobs=arguments.jobs)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
