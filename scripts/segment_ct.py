"""Lung masks of CT slices as a picture: rows of slice, mask and segmented slice (Figure 1).

python scripts/segment_ct.py SLICE.dcm OTHER.dcm --out masks.png
python scripts/segment_ct.py DICOM_FOLDER --out masks.png          # six slices of a series
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from cnr_iemn.config import CnrIemnConfig
from cnr_iemn.data import Preparation, make_samples
from cnr_iemn.pictures import save_segmentation
from preprocessing.ct import read_slice, read_volume
from preprocessing.errors import InputError
from preprocessing.nifti import is_nifti
from replication.cli import run_command

SHOWN_OF_A_SERIES = 6


@dataclass(frozen=True)
class Arguments:
    """What to segment."""

    scans: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """DICOM files, each a slice; folders of a series; NIfTI files."""
    out: Path = Path("masks.png")
    """PNG to write."""
    keep: Literal[1, 2] = 2
    """Regions that the segmentation keeps."""

    def __post_init__(self):
        """Refuse a command without scans.

        Raises:
            InputError: there is none.
        """
        if not self.scans:
            raise InputError(
                "nothing to segment: name a DICOM file, a folder of them or a NIfTI file"
            )


def main() -> None:
    """Read, segment, draw, and say what share of each slice is lung."""
    arguments = tyro.cli(Arguments, description=__doc__)
    published = CnrIemnConfig(Path(), Path())
    slices, titles = [], []
    for scan in arguments.scans:
        hu, names = read_hu(scan)
        side = hu.shape[1]
        preparation = Preparation(
            published.window_low, published.window_high, arguments.keep, store_size=side
        )
        for sample, name in zip(make_samples(preparation, hu, scan), names, strict=True):
            share = (sample[..., 1] > 0).mean()
            print(f"{name}: HU {hu.min()} to {hu.max()}, lung mask {share:.3f} of the slice")
            slices.append(sample)
            titles.append(name)
    save_segmentation(arguments.out, slices, titles)
    print(f"picture: {arguments.out}")


def read_hu(scan: Path) -> tuple[np.ndarray, list[str]]:
    """int16 (slices, height, width) and a name for each: a file's slice, or some of a series."""
    if scan.is_dir() or is_nifti(scan):
        volume = read_volume(scan)
        for warning in volume.warnings:
            print(warning)
        shown = np.unique(np.linspace(0, len(volume.hu) - 1, SHOWN_OF_A_SERIES).round().astype(int))
        return volume.hu[shown], [f"{scan.name}, slice {number}" for number in shown]
    return read_slice(scan)[None], [f"{scan.parent.name}/{scan.name}"]


if __name__ == "__main__":
    run_command(main)
