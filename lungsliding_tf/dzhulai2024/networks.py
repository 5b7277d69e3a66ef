"""A planned network, built: the one place that knows every `build_*` function."""

import keras
from keras import layers, ops

from lungsliding_tf.dzhulai2024.batches import input_shape
from lungsliding_tf.dzhulai2024.cmwra import build_cmwra
from lungsliding_tf.dzhulai2024.cmwru import build_cmwru
from lungsliding_tf.dzhulai2024.config import RAFT_SMALLEST
from lungsliding_tf.dzhulai2024.experiments import Planned
from lungsliding_tf.dzhulai2024.flow import require_raft_weights
from lungsliding_tf.dzhulai2024.per_frame import build_cnn2d, build_inception
from lungsliding_tf.dzhulai2024.rcm2d import build_rcm2d


def build_network(one: Planned) -> keras.Model:
    """The uncompiled network of an experiment; see the `build_*` function of its own file."""
    config = one.config
    if one.network == "rcm2d":
        return build_rcm2d(
            one.frames,
            config.side,
            config.rcm2d_dropout,
            config.rcm2d,
            one.normalise,
            config.batch_norm_over,
        )
    if one.network == "cmwru":
        return build_cmwru(one.frames, config.side, config.dropout)
    if one.network == "cmwra":
        head = build_cmwra(one.frames, config.side, config.dropout, config.flow_step)
        return head if config.raft == "frozen" else _with_raft(one, head)
    return {"inception": build_inception, "cnn2d": build_cnn2d}[one.network](config.side)


def _with_raft(one: Planned, head: keras.Model) -> keras.Model:
    """RAFT and what reads its flow as one network: gray levels 0 to 255 to a logit.

    Released: so, with RAFT's weights trained along. Frames below 128 px are enlarged to that.
    """
    from lungsliding_tf.dzhulai2024.raft_weights import load_raft

    config = one.config
    side, step = config.side, config.flow_step
    large = max(side, RAFT_SMALLEST)
    variant = config.flow.removeprefix("raft-")
    raft = load_raft(variant, require_raft_weights(config), (large, large, 3), config.raft_updates)
    frames = keras.Input(input_shape(one), name="frames")  # (B, T, S, S, 1)
    images = ops.reshape(frames, (-1, side, side, 1))
    images = layers.Concatenate(name="gray_three_times")([images] * 3)
    images = layers.Rescaling(1 / 127.5, -1, name="to_raft_range")(images)
    images = layers.Resizing(large, large, name="enlarge")(images)
    images = ops.reshape(images, (-1, one.frames, large, large, 3))
    pairs = [
        ops.reshape(part, (-1, large, large, 3))
        for part in (images[:, : one.frames - step], images[:, step:])
    ]
    flow = layers.Resizing(side, side, name="shrink")(raft(pairs))
    flow = layers.Rescaling(side / large, name="to_pixels")(flow)
    flow = ops.reshape(flow, (-1, one.frames - step, side, side, 2))
    return keras.Model(frames, head(flow), name="cmwra_with_raft")
