"""The same study in three sizes: seconds for a smoke test, minutes for a class, as published."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Size:
    """Settings of `phantom.write_cohort` for the scans and for each further test set, and those of
    `CnrIemnConfig` that are not its defaults."""

    phantoms: dict[str, Any]
    settings: dict[str, Any]
    tests: tuple[dict[str, Any], ...] = field(default=())


# Ours: all of these. The smaller sizes shrink the study, they take no other code path: fewer and
# smaller slices, two of the four networks, with a quarter of their channels, and the multi-task
# scenario alone. All training slices are augmented, in every epoch, since networks that start from
# random weights learn copies of infected slices by the marks of augmentation; and normal slices are
# those of normal scans, a few, or they would outnumber the others. The classroom's two networks and
# learning rate are a pair that was measured to lie above the floors.
SIZES = {
    "smoke": Size(
        {"covid": 6, "cap": 6, "normal": 6, "labelled_covid": 5, "labelled_cap": 5, "size": 128,
         "slice_spacing": 20.0},
        {
            "scenario": ("multitask",),
            "network": ("densenet161", "resnext50_32x4d"),
            "weights": "random",
            "width": 0.25,
            "store_size": 75,
            "input_size": 64,
            "inception_size": 75,
            "augmentation": "every-epoch",
            "batch_size": 16,
            "epochs": 1,
            "folds": 2,
            "jobs": 2,
            "rise_slices": 1,
            "rise_masks": 128,
        },
        ({"covid": 2, "cap": 2, "normal": 2, "size": 128, "slice_spacing": 25.0, "kind": "heart"},),
    ),
    "classroom": Size(
        {"covid": 36, "cap": 34, "normal": 34, "labelled_covid": 36, "labelled_cap": 34,
         "size": 256, "slice_spacing": 14.0},
        {
            "scenario": ("multitask",),
            "network": ("densenet161", "inception_v3"),
            "weights": "random",
            "width": 0.25,
            "normal_scans": 14,
            "uninfected_as_normal": False,
            "store_size": 96,
            "input_size": 96,
            "inception_size": 96,
            "augmentation": "every-epoch",
            "rotation": 15.0,
            "perspective": 0.2,
            "batch_size": 16,
            "epochs": 7,
            "decays": (5, 6),
            "learning_rate": 2e-3,
            "folds": 2,
            "jobs": 2,
            "rise_slices": 1,
            "rise_masks": 512,
        },
    ),
    "paper": Size(
        {},
        {},
        (
            {"covid": 10, "cap": 10, "normal": 10},
            {"covid": 15, "cap": 0, "normal": 15, "kind": "low-dose"},
            {"covid": 10, "cap": 10, "normal": 10, "kind": "heart"},
        ),
    ),
}  # fmt: skip
