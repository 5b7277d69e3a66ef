"""Convert a PyTorch weight file to safetensors, once, so that PyTorch is not needed again.

python scripts/convert_weights.py densenet161-8d451a50.pth densenet161.safetensors
python scripts/convert_weights.py raft_large_C_T_SKHT_V2-ff5fadd5.pth raft_large.safetensors

The ImageNet weights of the slice networks (--weights of scripts/train_cnr_iemn.py) and RAFT
(--raft-weights of scripts/train_dzhulai2024.py) are torchvision's files, to be had from
https://download.pytorch.org/models/ under their names. raft_small_C_T_V2-01064c6d.pth is the small
RAFT.

Names and tensors stay as they are. Needs the extra `torch`: pip install -e .[torch]
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from replication.cli import run_command
from replication.weight_files import convert_to_safetensors


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
