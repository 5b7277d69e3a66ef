"""Saliency contact sheets of a trained network (Kolárik 2023, section 4.5, Figure 5)."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from lungsliding_tf.kolarik2023.config import KolarikConfig
from lungsliding_tf.labels import ABSENT, PRESENT
from replication import heatmaps, overlays
from replication.batches import to_network_input


def save_saliency(
    folder: Path,
    model: keras.Model,
    samples: Sequence[np.ndarray],
    scores: np.ndarray,
    labels: np.ndarray,
    config: KolarikConfig,
) -> None:
    """Save the contact sheets of the most surely recognised clip of each class (Figure 5).

    Args:
        folder: receives saliency_present.png and saliency_absent.png.
        model: the trained network.
        samples: n clips, uint8 (60, px, px).
        scores: probability of sliding present for each.
        labels: 1 or 0 for each; a class without clips gets no picture.
        config: scaling of the input and noisy copies for SmoothGrad.
    """
    for name, label, pick in (("present", PRESENT, np.argmax), ("absent", ABSENT, np.argmin)):
        of_class = np.flatnonzero(labels == label)
        if of_class.size == 0:
            continue
        chosen = of_class[pick(scores[of_class])]
        clip = np.asarray(samples[chosen])
        network_input = to_network_input(clip[None], scaling=config.scaling)
        maps = [
            ("saliency", heatmaps.vanilla_saliency(model, network_input, label == PRESENT)[0]),
            ("SmoothGrad", heatmaps.smoothgrad(
                model, network_input, label == PRESENT, config.smooth_samples)[0]),
        ]  # fmt: skip
        title = f"sliding {name}; probability of sliding {scores[chosen]:.2f}"
        overlays.save_contact_sheet(folder / f"saliency_{name}.png", clip, maps, title)
