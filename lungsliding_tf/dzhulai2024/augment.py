"""The transformations of section III, of gray clips and of the flow between their frames."""

from dataclasses import dataclass

import cv2
import numpy as np

from lungsliding_tf.dzhulai2024.config import DzhulaiConfig

CROP_RATIO = (0.9, 1.1)  # Released: width to height of the random crop
# Released: on 0..255, brightness and contrast times 0 to 0.2, then cut to what floats are thought
# to hold. Jittered frames are next to black.
RELEASED_FACTORS, RELEASED_TOP = (0.0, 0.2), 1.0


@dataclass(frozen=True)
class Change:
    """One draw of all transformations.

    Attributes:
        geometry: float64 (2, 3), from input to output pixels, centres at whole numbers; None
            leaves pixels where they are.
        brightness, contrast: factors; None leaves gray levels as they are.
        top: gray levels are cut at it after each of the two.
    """

    geometry: np.ndarray | None
    brightness: float | None
    contrast: float | None
    top: float


def draw_change(config: DzhulaiConfig, side: int, rng: np.random.Generator) -> Change:
    """Draw flip, brightness and contrast, rotation and crop, each with `config.chance`.

    Saturation, which section III also names, changes nothing in gray pictures.
    """
    released = config.augmentation == "released"
    flip, jitter, turn, crop = rng.random(4) < config.chance
    if released and flip:
        flip = rng.random() < 0.5  # Released: a flip of chance 0.5 within a chance of 0.5
    geometry = np.eye(3)
    if flip:
        geometry = np.array([[-1, 0, side - 1], [0, 1, 0], [0, 0, 1.0]]) @ geometry
    if turn:
        geometry = _rotation(rng.uniform(-config.rotation, config.rotation), side) @ geometry
    if crop:
        geometry = _crop(config, side, rng) @ geometry
    low, high = RELEASED_FACTORS if released else (1 - config.jitter, 1 + config.jitter)
    factors = rng.uniform(low, high, 2).tolist() if jitter else (None, None)
    moved = flip or turn or crop
    return Change(geometry[:2] if moved else None, *factors, RELEASED_TOP if released else 255.0)


def _rotation(degrees: float, side: int) -> np.ndarray:
    centre = (side - 1) / 2
    return np.vstack([cv2.getRotationMatrix2D((centre, centre), degrees, 1.0), [0, 0, 1]])


def _crop(config: DzhulaiConfig, side: int, rng: np.random.Generator) -> np.ndarray:
    """From a random rectangle to the whole picture."""
    area = rng.uniform(config.crop, 1.0)
    ratio = np.exp(rng.uniform(*np.log(CROP_RATIO)))
    width, height = np.minimum(1.0, np.sqrt([area * ratio, area / ratio])) * side
    left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
    zoom = np.diag([side / width, side / height, 1.0])
    zoom[:2, 2] = (0.5 - left) * zoom[0, 0] - 0.5, (0.5 - top) * zoom[1, 1] - 0.5
    return zoom


def change_frames(frames: np.ndarray, change: Change) -> np.ndarray:
    """A clip after one draw for all its frames.

    Args:
        frames: uint8 (n, side, side), 0 to 255.

    Returns:
        float32 (n, side, side), 0 to 255.
    """
    frames = frames.astype(np.float32)
    if change.geometry is not None:
        frames = np.stack([_warp(frame, change.geometry) for frame in frames])
    if change.brightness is not None:
        frames = np.clip(frames * change.brightness, 0, change.top)
        # Of the whole clip, so that frames keep their differences.
        blend = (1 - change.contrast) * float(frames.mean())
        frames = np.clip(change.contrast * frames + blend, 0, change.top)
    return frames


def change_flow(flow: np.ndarray, change: Change) -> np.ndarray:
    """Flow fields after one draw: the vectors turn, flip and stretch with the picture.

    Args:
        flow: float (n, side, side, 2), x and y in px.

    Returns:
        float32 (n, side, side, 2).
    """
    flow = flow.astype(np.float32)
    if change.geometry is None:
        return flow
    linear = change.geometry[:, :2].astype(np.float32)
    return np.stack([_warp(field, change.geometry) for field in flow]) @ linear.T


def _warp(picture: np.ndarray, geometry: np.ndarray) -> np.ndarray:
    # Released: black where the turned picture ends.
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, geometry, size, flags=cv2.INTER_LINEAR)


def augment_frames(frames: np.ndarray, config: DzhulaiConfig, seed: tuple[int, ...]) -> np.ndarray:
    """A clip as a network trains on it: uint8 (n, side, side) to float32, 0 to 255.

    Paper: section III: with a probability of 0.5 each. Ours: one draw for a clip, which keeps its
    motion. Released: one for each frame, which does not.
    """
    rng = np.random.default_rng(seed)
    side = frames.shape[1]
    if config.augmentation == "released":
        changes = [draw_change(config, side, rng) for _ in frames]
        return np.concatenate([change_frames(frame[None], change)
                               for frame, change in zip(frames, changes, strict=True)])  # fmt: skip
    return change_frames(frames, draw_change(config, side, rng))


def augment_flow(flow: np.ndarray, config: DzhulaiConfig, seed: tuple[int, ...]) -> np.ndarray:
    """The flow of a clip as a network trains on it; "released" turns each field by itself."""
    rng = np.random.default_rng(seed)
    side = flow.shape[1]
    if config.augmentation == "released":
        changes = [draw_change(config, side, rng) for _ in flow]
        return np.concatenate([change_flow(field[None], change)
                               for field, change in zip(flow, changes, strict=True)])  # fmt: skip
    return change_flow(flow, draw_change(config, side, rng))
