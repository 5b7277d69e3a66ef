"""Draw the one-page map of each study: `python scripts/draw_maps.py`.

Boxes with arrows from the data to the verdict. The pictures in them are phantoms that the project's
own functions made, marked, cut, split and augmented, and shapes and counts are read off what those
functions return. Scores are examples: nothing is trained. A minute for all four.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from maps.cnr_iemn import map_cnr_iemn
from maps.dzhulai2024 import map_dzhulai2024
from maps.kolarik2023 import map_kolarik2023
from maps.vbreathnet import map_vbreathnet

from replication.cli import quiet_start, run_command

Paper = Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"]


@dataclass(frozen=True)
class Arguments:
    """Which maps, and where to."""

    paper: tuple[Paper, ...] = ("kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024")
    """Studies."""
    out: Path = Path(__file__).resolve().parents[1] / "docs" / "figures"
    """Folder of the pictures."""


MAPS = {
    "kolarik2023": map_kolarik2023,
    "vbreathnet": map_vbreathnet,
    "cnr_iemn": map_cnr_iemn,
    "dzhulai2024": map_dzhulai2024,
}


def main() -> None:
    """Draw the maps that are asked for."""
    arguments = tyro.cli(Arguments, description=__doc__)
    with quiet_start():  # TensorFlow's, with which the networks are built
        import keras  # noqa: F401
    for paper in arguments.paper:
        print(MAPS[paper](arguments.out / f"map-{paper}.png"))


if __name__ == "__main__":
    run_command(main)
