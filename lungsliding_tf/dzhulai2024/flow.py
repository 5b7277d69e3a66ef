"""Optical flow of gray sequences, by OpenCV's methods or by RAFT, always in pixels of the input."""

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lungsliding_tf.dzhulai2024.config import RAFT_SMALLEST, DzhulaiConfig
from preprocessing.errors import InputError

# float32 (n, height, width, 2) of uint8 (n, height, width) first and second pictures.
FlowMethod = Callable[[np.ndarray, np.ndarray], np.ndarray]

RAFT_PAIRS = 8  # at once
# Ours: on crops of 32 px a known shift of up to 4 px is found to 0.02 px when they are enlarged to
# 96 px, to 0.05 px as they are, where one in ten is off by pixels.
OPENCV_SMALLEST = 96
# Ours: of OpenCV's documentation.
FARNEBACK = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5,
             "poly_sigma": 1.1, "flags": 0}  # fmt: skip


def make_flow_method(config: DzhulaiConfig) -> FlowMethod:
    """The method that `config.flow` names.

    Raises:
        InputError: RAFT without its weights, or with those of another network.
    """
    methods = {"dis": _dis, "farneback": _farneback}
    if config.flow in methods:
        return methods[config.flow]
    variant, weights = config.flow.removeprefix("raft-"), require_raft_weights(config)
    return _raft(variant, weights, config.raft_updates)


def require_raft_weights(config: DzhulaiConfig) -> Path:
    """The file of RAFT's weights.

    Raises:
        InputError: none was named, or it is not there; nothing else is taken in its place.
    """
    if config.raft_weights is None:
        raise InputError(
            f"--flow {config.flow} needs --raft-weights FILE (scripts/convert_weights.py tells "
            "where they are); or choose --flow dis or --flow farneback, which need none"
        )
    if not config.raft_weights.is_file():
        raise InputError(
            f"--raft-weights {config.raft_weights}: no such file; scripts/convert_weights.py tells "
            "where RAFT's weights are"
        )
    return config.raft_weights


def smallest_side(flow: str) -> int:
    """The side that frames are enlarged to for the measurement, px: RAFT takes none below 128."""
    return RAFT_SMALLEST if flow.startswith("raft") else OPENCV_SMALLEST


def measure_flow(
    method: FlowMethod, sequence: np.ndarray, step: int = 1, smallest: int = RAFT_SMALLEST
) -> np.ndarray:
    """How the picture moves between frames `step` apart.

    Frames with sides below `smallest` are enlarged to that for the measurement, and the vectors are
    brought back to the input's pixels.

    Args:
        method: of `make_flow_method`.
        sequence: uint8 (frames, side, side), 0 to 255.
        step: frames between the two pictures of a field.

    Returns:
        float32 (frames - step, side, side, 2): x and y displacement in pixels.

    Raises:
        ValueError: not such a sequence, or not more than `step` frames.
    """
    if sequence.ndim != 3 or sequence.dtype != np.uint8 or len(sequence) <= step:
        raise ValueError(
            f"expected uint8 (more than {step} frames, height, width), got {sequence.dtype} "
            f"{sequence.shape}"
        )
    side = sequence.shape[1]
    if side >= smallest:
        return method(sequence[:-step], sequence[step:])
    large = (smallest, smallest)
    enlarged = np.stack([cv2.resize(f, large, interpolation=cv2.INTER_CUBIC) for f in sequence])
    fields = method(enlarged[:-step], enlarged[step:]) * (side / smallest)
    small = (side, side)
    return np.stack([cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in fields])


def _dis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Ours: the preset of the highest accuracy.
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.stack([dis.calc(a, b, None) for a, b in zip(first, second, strict=True)])


def _farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([
        cv2.calcOpticalFlowFarneback(a, b, None, **FARNEBACK)
        for a, b in zip(first, second, strict=True)
    ])  # fmt: skip


@functools.lru_cache(maxsize=1)
def _raft(variant: str, weights: Path, updates: int) -> FlowMethod:
    # TensorFlow only where RAFT is wanted: `prepare` needs none of it otherwise.
    from lungsliding_tf.dzhulai2024.raft_weights import load_raft

    model = load_raft(variant, weights, updates=updates)

    def method(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pairs = [raft_input(frames) for frames in (first, second)]
        return model.predict(pairs, batch_size=RAFT_PAIRS, verbose=0)

    return method


def raft_input(frames: np.ndarray) -> np.ndarray:
    """uint8 (n, height, width) as RAFT takes them: float32 (n, height, width, 3) in -1..1.

    Released: gray three times. Ours: in the range that RAFT was trained for; the released code
    hands standardised frames to a function that expects 0..1.
    """
    return np.repeat(frames[..., None].astype(np.float32) / 127.5 - 1, 3, axis=-1)
