"""Rows of RAFT: optical flow on the CPU beside OpenCV's methods, on the same frames."""

import statistics
from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, median_and_range, seconds_of

PAIRS, UPDATES, FEW_UPDATES = 4, 12, 2
SIDES = (128, 256)


def raft_row(repeats: int, folder: Path) -> list[Row]:
    """A frame pair and one of its updates, for both variants with random weights."""
    return [
        _row(variant, side, repeats, folder) for variant in ("small", "large") for side in SIDES
    ]


def _row(variant: str, side: int, repeats: int, folder: Path) -> Row:
    import keras

    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
    from lungsliding_tf.dzhulai2024.flow import make_flow_method, raft_input
    from lungsliding_tf.dzhulai2024.raft import build_raft

    first, second = _pairs(side)
    images = [raft_input(first), raft_input(second)]
    work = {}
    for updates in (UPDATES, FEW_UPDATES):
        model = build_raft(variant, updates, (side, side, 3))
        work[updates] = lambda model=model: model.predict_on_batch(images)
    for name in ("dis", "farneback"):
        method = make_flow_method(DzhulaiConfig(folder, folder, flow=name))
        work[name] = lambda method=method: method(first, second)
    for function in work.values():
        function()  # traces, and allocates
    turns = [{key: seconds_of(work[key]) for key in work} for _ in range(repeats)]
    keras.backend.clear_session()

    pair = {key: 1000 * statistics.median(turn[key] for turn in turns) / PAIRS for key in work}
    # A difference, so of the turns that other work disturbed least.
    least = {key: 1000 * min(turn[key] for turn in turns) / PAIRS for key in work}
    update = (least[UPDATES] - least[FEW_UPDATES]) / (UPDATES - FEW_UPDATES)
    ratios = [
        f"{median_and_range([turn[UPDATES] / turn[key] for turn in turns], 0)} x {name}"
        for key, name in (("dis", "DIS"), ("farneback", "Farnebäck"))
    ]
    return Row(
        f"RAFT-{variant}, a pair of {side} px in {UPDATES} updates, {PAIRS} pairs at once",
        f"{pair[UPDATES]:.1f} ms, {update:.2f} ms an update",
        f"DIS: {pair['dis']:.2f} ms, Farnebäck: {pair['farneback']:.2f} ms",
        ", ".join(ratios),
        "-",
        None,
    )


def _pairs(side: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (pairs, side, side) each: blurred noise, and the same moved by 2 px and 1 px."""
    import cv2

    noise = np.random.default_rng(0).random((PAIRS, side, side), np.float32)
    smooth = [cv2.normalize(cv2.GaussianBlur(n, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
              for n in noise]  # fmt: skip
    first = np.stack(smooth).astype(np.uint8)
    return first, np.roll(first, (2, 1), axis=(1, 2))


ROWS = {"raft": raft_row}
