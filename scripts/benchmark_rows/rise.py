"""Row of RISE: against the bare forward passes of as many images."""

from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, ratio_row

SIDE, MASKS, BATCH = 128, 512, 64


def rise_row(repeats: int, folder: Path) -> list[Row]:
    """RISE of one image by a small network with random weights."""
    import keras

    from replication.rise import rise

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((SIDE, SIDE, 3), weights=None, classes=3)
    images = np.random.default_rng(0).random((BATCH, SIDE, SIDE, 3), np.float32)

    def explain():
        rise(model.predict_on_batch, images[0], masks=MASKS, batch_size=BATCH, tolerance=0)

    def forward():
        for _ in range(MASKS // BATCH):
            model.predict_on_batch(images)

    ratios, ours, theirs = compare(explain, forward, repeats)
    keras.backend.clear_session()
    name = f"RISE, {MASKS} masks, MobileNetV2 at {SIDE} px"
    return [ratio_row(name, "as many bare forward passes", ratios, ours, theirs, 1.1)]


ROWS = {"rise": rise_row}
