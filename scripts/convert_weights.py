"""Convert a PyTorch weight file to safetensors, once, so that PyTorch is not needed again.

python scripts/convert_weights.py densenet161-8d451a50.pth densenet161.safetensors

Names and tensors stay as they are. Needs the extra `torch`: pip install -e .[torch]
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cnr_iemn.weights import convert_to_safetensors
from replication.cli import run_command


@dataclass(frozen=True)
class Arguments:
    """What to convert."""

    source: tyro.conf.Positional[Path]
    """File with a mapping of names to tensors (.pth or .pt)."""
    target: tyro.conf.Positional[Path]
    """File to write (.safetensors)."""


def main() -> None:
    """Read the command line and convert."""
    arguments = tyro.cli(Arguments, description=__doc__)
    convert_to_safetensors(arguments.source, arguments.target)
    print(f"written: {arguments.target}")


if __name__ == "__main__":
    run_command(main)
