"""Rows of the Dzhulai study: feeding networks from the stores, and flow measured once."""

from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row


def clips_row(repeats: int, folder: Path) -> list[Row]:
    """A training epoch from the stores of frames and flow against one from arrays in memory."""
    from lungsliding_tf.dzhulai2024.batches import make_batches, read_clip
    from lungsliding_tf.dzhulai2024.experiments import plan
    from lungsliding_tf.dzhulai2024.networks import build_network
    from lungsliding_tf.dzhulai2024.split import split_clips
    from preprocessing import splits

    config, stores = _prepared(folder)
    rows = []
    for one in plan(config):
        clips = split_clips(one, stores, seed=0)
        positions = clips.of(splits.TRAIN)
        in_memory = np.stack([read_clip(one, clips, position) for position in positions])
        labels = clips.labels[positions].astype(np.float32)[:, None]
        model = build_network(one)
        model.compile("adam", "mse")

        def from_store(one=one, clips=clips, positions=positions, model=model):
            model.fit(make_batches(one, clips, positions, clips.labels), verbose=0)

        def from_memory(in_memory=in_memory, labels=labels, model=model):
            model.fit(in_memory, labels, batch_size=config.batch_size, verbose=0)

        ratios, ours, theirs = compare(from_store, from_memory, repeats)
        what = f"epoch of {one.network} on {len(positions)} clips of {config.size} px"
        rows.append(ratio_row(f"{what} from the store", "from memory", ratios, ours, theirs, 1.05))
    return rows


def flow_row(repeats: int, folder: Path) -> list[Row]:
    """Reading the stored flow of a clip against measuring it, which each epoch is spared."""
    from lungsliding_tf.dzhulai2024.batches import read_clip
    from lungsliding_tf.dzhulai2024.experiments import plan
    from lungsliding_tf.dzhulai2024.flow import make_flow_method, measure_flow, smallest_side
    from lungsliding_tf.dzhulai2024.split import split_clips

    config, stores = _prepared(folder)
    one = next(one for one in plan(config) if one.network == "cmwra")
    clips = split_clips(one, stores, seed=0)
    method = make_flow_method(config)
    frames = np.asarray(clips.frames.samples[clips.starts[0] : clips.starts[0] + clips.length])

    def read():
        read_clip(one, clips, 0)

    def measure():
        measure_flow(method, frames, config.flow_step, smallest_side(config.flow))

    ratios, ours, theirs = compare(read, measure, repeats)
    name = f"flow of a clip of {one.frames} frames, {config.size} px, from the store"
    return [ratio_row(name, "measuring it by DIS", ratios, ours, theirs, 0.5)]


def _prepared(folder: Path):
    """A cohort of frame folders and its stores."""
    from lungsliding_tf.cohort import PhantomConfig
    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
    from lungsliding_tf.dzhulai2024.data import prepare_all
    from lungsliding_tf.frame_folders import write_frame_folders

    cohort = PhantomConfig(present=12, absent=12, seconds=(2.0, 2.2))
    data = write_frame_folders(folder / "frames", cohort, progress=False)
    config = DzhulaiConfig(data, folder / "out", network=("cmwra", "cmwru"), size=64, flow="dis",
                           batch_size=4, augmentation="none", equal_ratios=False)  # fmt: skip
    return config, prepare_all(config, lambda line: None)


ROWS = {"dzhulai_clips": clips_row, "stored_flow": flow_row}
