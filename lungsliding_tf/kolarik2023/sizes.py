"""The same study in three sizes: seconds for a smoke test, minutes for a class, as published."""

from dataclasses import dataclass
from typing import Any

from lungsliding_tf.cohort import PhantomConfig


@dataclass(frozen=True)
class Size:
    """A cohort of phantoms, and the settings of `KolarikConfig` that differ from its defaults."""

    phantoms: PhantomConfig
    settings: dict[str, Any]


# Ours: all of these. The smaller sizes shrink the study, they take no other code path: short
# phantoms (one clip each), tiles from all depths, a few epochs of smaller batches. Batch-norm
# averages need a lower momentum than 0.99 where a run has a hundred steps instead of a thousand.
SIZES = {
    "smoke": Size(
        PhantomConfig(present=6, absent=6, seconds=(2.2, 2.4)),
        {
            "cell": ("all_30x30",),
            "depth": (18,),
            "max_tiles": 2,
            "epochs": 1,
            "batch_size": 16,
            "batch_norm_momentum": 0.9,
            "smooth_samples": 2,
        },
    ),
    "classroom": Size(
        PhantomConfig(present=70, absent=50, seconds=(2.05, 2.3)),
        {
            "cell": ("all_30x30",),
            "depth": (18,),
            "max_tiles": 12,
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 3e-4,
            "batch_norm_momentum": 0.9,
            "smooth_samples": 20,
        },
    ),
    "paper": Size(PhantomConfig(present=28, absent=20), {}),
}
