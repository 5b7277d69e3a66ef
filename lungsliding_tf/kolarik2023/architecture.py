"""What the paper prints of its networks beside ours as built."""

from functools import partial

import keras

from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d
from preprocessing.clips import CLIP_FRAMES
from replication.architecture import build_bare, judge_fact
from replication.audit.recorded import load_tables
from replication.claims import ClaimVerdict

STUDY = "kolarik2023"
SHORTCUT = "shortcut"  # no layer of the network's depth, as He et al. count


def judge_architecture() -> list[ClaimVerdict]:
    """A verdict on the depth of each network, and on frames and channels of its input."""
    counts = load_tables(STUDY).counts
    verdicts = []
    for r in counts:
        if r.metric == "layers":
            network = build_bare(partial(build_resnet3d, int(r.value)))
            weighted = [
                layer for layer in network.layers
                if isinstance(layer, keras.layers.Conv3D | keras.layers.Dense)
                and SHORTCUT not in layer.name
            ]  # fmt: skip
            claim = f"{r.row}: layers with weights, less shortcuts"
            verdicts.append(judge_fact(claim, r.table, r.row, int(r.value), len(weighted)))
    frames = next(int(r.value) for r in counts if (r.row, r.metric) == ("clip", "frames"))
    channels = next(int(r.value) for r in counts if (r.row, r.metric) == ("input", "channels"))
    shape = network.input_shape
    verdicts.append(judge_fact("frames of a clip", "section 3.1.1", "input", frames, CLIP_FRAMES))
    verdicts.append(
        judge_fact("channels of the input", "section 3.2", "input", channels, shape[-1])
    )
    return verdicts
