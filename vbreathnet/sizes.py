"""The same study in three sizes: seconds for a smoke test, minutes for a class, as published."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """Settings of `phantom.write_cohort`, and those of `VBreathNetConfig` that are not its
    defaults."""

    phantoms: dict[str, Any]
    settings: dict[str, Any]


# Ours: all of these. The smaller sizes shrink the study, they take no other code path: smaller
# images (hence a smaller dense layer), fewer films, fewer epochs. The baselines need ImageNet
# weights, which a class without network does not have: name them with --model.
SIZES = {
    "smoke": Size(
        {"per_class": 20, "size": 224},
        {
            "model": ("v-breathnet",),
            "image_size": 96,
            "test_per_class": 4,
            "per_class": 24,
            "epochs": 2,
            "batch_size": 8,
            "batch_norm_momentum": 0.9,
            "smooth_samples": 2,
            "export_beside": False,
        },
    ),
    "classroom": Size(
        {"per_class": 420, "size": 224},
        {
            "model": ("v-breathnet",),
            "image_size": 96,
            "per_class": 0,
            "augmentation": "none",
            "epochs": 14,
            "batch_size": 16,
            "learning_rate": 5e-4,
            "batch_norm_momentum": 0.9,
            "activation_order": "conv-norm-relu",
            "dropout": 0.0,
            "scaling": "standardized",
            "smooth_samples": 10,
            "export_beside": False,
        },
    ),
    "paper": Size({"per_class": 3300}, {"weights": "imagenet"}),
}
