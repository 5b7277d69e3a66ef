"""What a finished study says of one scan, with its slices and heat maps. Not for diagnosis.

python scripts/predict_cnr_iemn.py DICOM_FOLDER --run OUT/runs/cnr_iemn/patients-all-xgboost-out_of_fold/seed0
"""  # noqa: E501

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cnr_iemn.config import CLASSES, check_rise_masks
from replication.cli import quiet_start, run_command


@dataclass(frozen=True)
class Arguments:
    """What to look at, and by what."""

    scan: Annotated[Path, tyro.conf.Positional]
    """Folder of a scan's DICOM files, or a NIfTI file."""
    run: Path
    """Run folder of a finished patient stage."""
    out: Path = Path("prediction")
    """Folder for patient.json, slices.csv, slices.png and heatmaps.png."""
    rise_masks: int = 1000
    """Most masks of a heat map."""

    def __post_init__(self):
        """Refuse what would fail only after the scan was looked at.

        Raises:
            InputError: there are too few masks.
        """
        check_rise_masks(self.rise_masks)


def main() -> None:
    """Read the command line, ask the networks, print what the patient stage says."""
    arguments = tyro.cli(Arguments, description=__doc__)
    with quiet_start():
        from cnr_iemn.predict import diagnose_scan, load_stage, write_diagnosis
    from cnr_iemn.pictures import DISCLAIMER

    stage = load_stage(arguments.run)
    diagnosis = diagnose_scan(arguments.scan, stage)
    for warning in diagnosis.warnings:
        print(warning)
    title = f"{len(diagnosis.samples)} slices from head to foot"
    write_diagnosis(diagnosis, stage, arguments.out, arguments.rise_masks, title)
    for name, value in zip(CLASSES, diagnosis.patient, strict=True):
        print(f"{name}: {stage.says} {value:.3f}")
    print(f"pictures: {arguments.out}")
    print(DISCLAIMER)


if __name__ == "__main__":
    run_command(main)
