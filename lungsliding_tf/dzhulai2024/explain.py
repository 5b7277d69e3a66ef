"""Where a network of 3D convolutions looks, and when. Ours: the paper explains none of its own."""

from pathlib import Path

import keras
import numpy as np

from lungsliding_tf.dzhulai2024.batches import read_clip
from lungsliding_tf.dzhulai2024.config import FLOW_NETWORKS
from lungsliding_tf.dzhulai2024.experiments import Planned
from lungsliding_tf.dzhulai2024.pictures import class_names
from lungsliding_tf.dzhulai2024.sources import ABSENT_CLASS, PRESENT_CLASS
from lungsliding_tf.dzhulai2024.split import Clips
from preprocessing import splits
from replication import heatmaps, overlays

# Those whose feature maps have a time axis. rcm2d convolves every frame by itself, so that its maps
# know no neighbouring frame; inception and cnn2d see one frame alone. Not cmwra with RAFT inside
# either: its maps are within a nested model, behind RAFT's many updates.
EXPLAINED = ("cmwru", "cmwra")
COLUMNS = 8  # frames of a contact sheet
FLOW_QUANTILE = 0.995  # of the speed that is drawn hottest; a few wild vectors would darken it all


def save_explanations(
    figures: Path, one: Planned, model: keras.Model, clips: Clips, scores: np.ndarray
) -> None:
    """Save a contact sheet of the most surely recognised test clip of each class.

    A column is a frame; below it are laid over it the speed of the flow, if the network reads that,
    saliency and SmoothGrad of frames or flow (the larger of the vector's two components), Grad-CAM
    and HiResCAM, all for the clip's own class. HiResCAM too, since these networks flatten their
    feature maps and weight each place by itself, which Grad-CAM's one weight a map does not show.

    Args:
        figures: folder that receives heatmaps-<class>.png; a class without clips gets none.
        one: of a network in `EXPLAINED`; with RAFT inside nothing is drawn.
        model: the trained network.
        scores: probability of absent sliding for each test clip, in the order of `clips`.
    """
    reads_flow = one.network in FLOW_NETWORKS
    if reads_flow and not one.flow_step:
        return
    tested = clips.of(splits.TEST)
    names = class_names(one)
    for label, pick in ((PRESENT_CLASS, np.argmin), (ABSENT_CLASS, np.argmax)):
        of_class = np.flatnonzero(clips.labels[tested] == label)
        if of_class.size == 0:
            continue
        chosen = of_class[pick(scores[of_class])]
        position = tested[chosen]
        network_input = read_clip(one, clips, position)
        # A flow field belongs to the frame that it starts from; the last ones start none.
        start = clips.starts[position]
        gray = clips.frames.samples[start : start + len(network_input)]
        maps = _speed(network_input) if reads_flow else []
        maps += heat_maps(model, network_input, label, one.config.smooth_samples)
        shown = names[label] if one.config.control_frozen else f"sliding {names[label]}"
        title = f"{'LEAKY ' * clips.leaky}{one.name}: {shown}; "
        title += f"probability of {names[ABSENT_CLASS]} {scores[chosen]:.2f}"
        overlays.save_contact_sheet(
            figures / f"heatmaps-{names[label]}.png", gray, maps, title,
            frame_step=-(-len(gray) // COLUMNS), overlaid=True,
        )  # fmt: skip


def heat_maps(
    model: keras.Model, network_input: np.ndarray, label: int, smooth_samples: int
) -> list[tuple[str, np.ndarray]]:
    """What speaks for a class in one clip, as `overlays.save_contact_sheet` draws it.

    Args:
        model: one logit, of class 1, as output.
        network_input: float32 (frames, height, width, channels), as the network takes it.
        label: the class explained, 1 or 0.
        smooth_samples: noisy copies for SmoothGrad.

    Returns:
        (name, float (frames, height, width) in 0..1) pairs; saliency and SmoothGrad are blurred
        and stretched for the eye.
    """
    batch = network_input[None]
    saliency = heatmaps.vanilla_saliency(model, batch, label)[0]
    smooth = heatmaps.smoothgrad(model, batch, label, smooth_samples)[0]
    return [
        ("saliency", overlays.for_the_eye(saliency)),
        ("SmoothGrad", overlays.for_the_eye(smooth)),
        ("Grad-CAM", heatmaps.gradcam(model, batch, label)[0]),
        ("HiResCAM", heatmaps.hirescam(model, batch, label)[0]),
    ]


def _speed(flow: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The length of the flow's vectors, as a row of the sheet."""
    lengths = np.hypot(flow[..., 0], flow[..., 1])
    top = float(np.quantile(lengths, FLOW_QUANTILE))
    return [(f"flow to {top:.2g} px", np.clip(lengths / max(top, 1e-6), 0, 1))]
