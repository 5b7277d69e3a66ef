"""The same study in three sizes: seconds for a smoke test, minutes for a class, as published."""

from dataclasses import dataclass
from typing import Any

from lungsliding_tf.cohort import PhantomConfig
from lungsliding_tf.frame_folders import PAPER_COHORT


@dataclass(frozen=True)
class Size:
    """A cohort of phantoms, further arguments of `frame_folders.write_frame_folders`, and the
    settings of `DzhulaiConfig` that differ from its defaults."""

    cohort: PhantomConfig
    frames: dict[str, Any]
    settings: dict[str, Any]


# Ours: all of these. The smaller sizes shrink the study, they take no other code path: fewer and
# shorter videos, crops of the marked area as in the paper's first experiments, and flow by a method
# that needs no weights.
SIZES = {
    "smoke": Size(
        PhantomConfig(present=8, absent=8, seconds=(2.0, 2.2)),
        {"widths": (240, 300), "heights": (240, 300), "minimum_frames": 16},
        {
            "size": 32,
            "crops": True,
            "max_crops": 2,
            "frames": 16,
            "rcm2d_frames": 16,
            "cmwra_frames": 16,
            "flow": "dis",
            "epochs": 1,
            "sweep_epochs": 1,
            "schedule_epochs": 1,
            "batch_size": 8,
            "smooth_samples": 2,
        },
    ),
    "classroom": Size(
        PhantomConfig(present=60, absent=40, seconds=(2.0, 2.2)),
        {"minimum_frames": 60},
        {
            "crops": True,
            "max_crops": 4,
            "flow": "dis",
            "alpha": "auto",
            "epochs": 5,
            "schedule_epochs": 5,
            "smooth_samples": 10,
        },
    ),
    "paper": Size(PAPER_COHORT, {}, {}),
}
