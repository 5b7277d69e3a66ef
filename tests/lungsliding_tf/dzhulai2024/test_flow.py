"""Flow of known shifts, in pixels of the input, at any size."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
from lungsliding_tf.dzhulai2024.flow import (
    make_flow_method,
    measure_flow,
    raft_input,
    smallest_side,
)

CONFIG = DzhulaiConfig(Path("data"), Path("out"), flow="dis")


def _shifted(side, dx, dy):
    noise = np.random.default_rng(0).uniform(0, 255, (side + 20, side + 20))
    speckle = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)
    moved = cv2.warpAffine(speckle, np.float32([[1, 0, dx], [0, 1, dy]]), speckle.shape[::-1],
                           flags=cv2.INTER_CUBIC)  # fmt: skip
    pair = np.stack([speckle, moved])[:, 10:-10, 10:-10]
    return np.clip(pair, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("flow", ["dis", "farneback"])
@pytest.mark.parametrize("side", [32, 64, 160])
def test_a_known_shift_is_found_within_a_fifth_of_a_pixel(flow, side):
    method = make_flow_method(replace(CONFIG, flow=flow))
    field = measure_flow(method, _shifted(side, 1.5, -0.75), 1, smallest_side(flow))
    assert field.shape == (1, side, side, 2) and field.dtype == np.float32
    inner = field[0, side // 4 : -side // 4, side // 4 : -side // 4]
    assert np.abs(np.median(inner, axis=(0, 1)) - (1.5, -0.75)).max() < 0.2


def test_only_raft_needs_128_px():
    assert smallest_side("raft-large") == smallest_side("raft-small") == 128
    assert smallest_side("dis") == smallest_side("farneback") == 96


def test_the_step_is_between_the_pictures_of_a_field():
    seen = []

    def method(first, second):
        seen.append((first[:, 0, 0].tolist(), second[:, 0, 0].tolist()))
        return np.zeros((*first.shape, 2), np.float32)

    sequence = np.repeat(np.arange(5, dtype=np.uint8), 16).reshape(5, 4, 4)
    assert len(measure_flow(method, sequence, 2, smallest=4)) == 3
    assert seen == [([0, 1, 2], [2, 3, 4])]


def test_what_is_no_sequence_is_refused():
    method = make_flow_method(CONFIG)
    for bad in (np.zeros((2, 8, 8)), np.zeros((1, 8, 8), np.uint8), np.zeros((8, 8), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            measure_flow(method, bad)


def test_raft_reads_minus_one_to_one():
    frames = np.array([0, 255], np.uint8).reshape(2, 1, 1)
    given = raft_input(frames)
    assert given.shape == (2, 1, 1, 3) and given.dtype == np.float32
    np.testing.assert_allclose(given[:, 0, 0], [[-1] * 3, [1] * 3])
