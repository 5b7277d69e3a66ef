"""Clips from the stores as batches for Keras."""

import numpy as np
import tensorflow as tf

from lungsliding_tf.dzhulai2024.augment import augment_flow, augment_frames
from lungsliding_tf.dzhulai2024.config import FRAME_NETWORKS
from lungsliding_tf.dzhulai2024.experiments import Planned
from lungsliding_tf.dzhulai2024.split import Clips


def make_batches(
    one: Planned,
    clips: Clips,
    positions: np.ndarray,
    labels: np.ndarray | None = None,
    draw: tuple[int, ...] | None = None,
) -> tf.data.Dataset:
    """Clips at these positions, in this order.

    Args:
        positions: of `clips`.
        labels: 0 or 1 for each of `clips`; None for input alone.
        draw: seeds of the augmentation; None leaves clips as they are.

    Returns:
        Batches of what the network takes, float32: frames (batch, frames, side, side, 1) of mean 0
        and deviation 1 over the training part, flow (batch, frames - step, side, side, 2) in px, or
        a frame of each clip (batch, side, side, 1); paired with (batch, 1) labels if given.
    """
    config = one.config
    draws = [None] * len(clips.starts)
    if draw is not None and config.augmentation != "none":
        draws = [(*draw, position) for position in range(len(clips.starts))]
    by_frame = one.network in FRAME_NETWORKS
    # Ours: each clip gives one frame an epoch, another one every time.
    chosen = np.random.default_rng(draw or 0).integers(one.frames, size=len(clips.starts))

    def read(batch: np.ndarray) -> np.ndarray:
        if by_frame:
            spans = [slice(chosen[p], chosen[p] + 1) for p in batch]
            read_one = [
                read_clip(one, clips, p, draws[p], s)[0] for p, s in zip(batch, spans, strict=True)
            ]
        else:
            read_one = [read_clip(one, clips, p, draws[p]) for p in batch]
        return np.stack(read_one)

    shape = input_shape(one)

    def load(batch: tf.Tensor) -> tf.Tensor:
        loaded = tf.numpy_function(read, [batch], tf.float32, stateful=False)
        return tf.ensure_shape(loaded, (None, *shape))

    columns = [positions.astype(np.int64)]
    if labels is not None:
        columns.append(labels[positions].astype(np.float32)[:, None])
    options = tf.data.Options()
    options.autotune.enabled = False  # see `replication.batches.make_dataset`
    dataset = tf.data.Dataset.from_tensor_slices(tuple(columns)).batch(config.batch_size)
    return dataset.map(lambda batch, *rest: (load(batch), *rest)).prefetch(2).with_options(options)


def input_shape(one: Planned) -> tuple[int, ...]:
    """Shape of a network's input for one clip, or one frame."""
    side = one.config.side
    if one.network in FRAME_NETWORKS:
        return side, side, 1
    if one.flow_step:
        return one.frames - one.flow_step, side, side, 2
    return one.frames, side, side, 1


def read_clip(
    one: Planned,
    clips: Clips,
    position: int,
    draw: tuple[int, ...] | None = None,
    frames: slice = slice(None),
) -> np.ndarray:
    """One clip as its network takes it, float32 (frames, side, side, channels)."""
    start = clips.starts[position]
    if one.flow_step:
        flow = clips.flow.samples[start : start + one.frames - one.flow_step][frames]
        return flow.astype(np.float32) if draw is None else augment_flow(flow, one.config, draw)
    gray = clips.frames.samples[start : start + one.frames][frames]
    changed = gray.astype(np.float32) if draw is None else augment_frames(gray, one.config, draw)
    return normalise(one, clips, changed)[..., None]


def normalise(one: Planned, clips: Clips, gray: np.ndarray) -> np.ndarray:
    """Gray levels 0 to 255 as networks take them."""
    if one.network == "cmwra":  # RAFT inside the network has a range of its own
        return gray.astype(np.float32)
    # Paper: section III: with the means and deviations of the training part.
    return ((gray - clips.mean) / clips.deviation).astype(np.float32)
