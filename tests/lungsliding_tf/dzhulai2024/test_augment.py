"""Section III's transformations: of gray levels, of places, and of flow with them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungsliding_tf.dzhulai2024.augment import (
    Change,
    augment_flow,
    augment_frames,
    change_flow,
    change_frames,
    draw_change,
)
from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
from lungsliding_tf.dzhulai2024.flow import make_flow_method, measure_flow

CONFIG = DzhulaiConfig(Path("data"), Path("out"), flow="dis")


def _clip(frames=6, side=64, seed=0):
    """Speckle that moves right by a pixel a frame."""
    noise = np.random.default_rng(seed).uniform(0, 255, (side, side + frames))
    speckle = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([speckle[:, frames - t : frames - t + side] for t in range(frames)]).astype(
        np.uint8
    )


def test_a_clip_is_drawn_once_and_every_clip_anew():
    still = np.repeat(_clip(1), 5, axis=0)
    for seed in range(20):
        changed = augment_frames(still, CONFIG, (0, seed))
        assert changed.dtype == np.float32 and changed.min() >= 0 and changed.max() <= 255
        assert np.all(changed == changed[0]), "what stands still does so after one draw"
    assert not np.array_equal(augment_frames(still, CONFIG, (0, 1)),
                              augment_frames(still, CONFIG, (0, 2)))  # fmt: skip
    np.testing.assert_array_equal(augment_frames(still, CONFIG, (3, 1)),
                                  augment_frames(still, CONFIG, (3, 1)))  # fmt: skip


def test_the_released_way_moves_what_stands_still_and_darkens_it():
    released = replace(CONFIG, augmentation="released")
    still = np.repeat(_clip(1), 200, axis=0)
    changed = augment_frames(still, released, (0, 0))
    assert np.abs(np.diff(changed, axis=0)).mean() > 10, "from frame to frame"
    dark = changed.max(axis=(1, 2)) <= 1.0
    assert dark.mean() == pytest.approx(0.5, abs=0.1), "jittered frames end at 1 of 255"


def test_each_transformation_has_the_stated_chance():
    rng = np.random.default_rng(0)
    draws = [draw_change(CONFIG, 64, rng) for _ in range(2000)]
    assert np.mean([d.brightness is not None for d in draws]) == pytest.approx(0.5, abs=0.04)
    # Flip, rotation and crop at one half each leave one clip in eight where it is.
    assert np.mean([d.geometry is None for d in draws]) == pytest.approx(1 / 8, abs=0.03)
    flipped = [np.linalg.det(d.geometry[:, :2]) < 0 for d in draws if d.geometry is not None]
    assert np.sum(flipped) / 2000 == pytest.approx(0.5, abs=0.04)
    released = replace(CONFIG, augmentation="released")
    draws = [draw_change(released, 64, rng) for _ in range(2000)]
    flipped = [d.geometry is not None and np.linalg.det(d.geometry[:, :2]) < 0 for d in draws]
    assert np.mean(flipped) == pytest.approx(0.25, abs=0.04), "a chance within a chance"


def test_crops_keep_four_fifths_of_the_area_at_least():
    rng = np.random.default_rng(1)
    crops = replace(CONFIG, chance=1.0, rotation=0.0)
    for _ in range(200):
        geometry = draw_change(crops, 64, rng).geometry
        zoomed = abs(np.linalg.det(geometry[:, :2]))
        assert 1 - 1e-6 <= zoomed <= 1 / 0.8 + 1e-6
        corners = geometry @ [[-0.5, 63.5], [-0.5, 63.5], [1, 1]]
        assert np.all(corners.min(axis=1) <= -0.5 + 1e-6), "the crop lies inside the picture"
        assert np.all(corners.max(axis=1) >= 63.5 - 1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_flow_turns_with_the_picture(seed):
    """The changed flow is the flow of the changed picture."""
    change = draw_change(replace(CONFIG, chance=1.0, jitter=0.0), 64, np.random.default_rng(seed))
    clip = _clip(side=64)
    method = make_flow_method(CONFIG)
    flow = measure_flow(method, clip, smallest=64)
    turned = change_flow(flow, change)[:, 16:-16, 16:-16]
    of_turned = measure_flow(method, change_frames(clip, change).round().astype(np.uint8),
                             smallest=64)[:, 16:-16, 16:-16]  # fmt: skip
    assert np.median(np.hypot(*np.moveaxis(turned - of_turned, -1, 0))) < 0.15
    assert np.median(turned[..., 0]) < -0.8, "flipped: to the left now"


def test_a_flip_alone_is_exact():
    flip = Change(np.array([[-1.0, 0, 63], [0, 1.0, 0]]), None, None, 255.0)
    clip = _clip()
    np.testing.assert_array_equal(change_frames(clip, flip), clip[:, :, ::-1])
    flow = np.random.default_rng(0).normal(size=(2, 64, 64, 2)).astype(np.float32)
    np.testing.assert_allclose(change_flow(flow, flip), flow[:, :, ::-1] * [-1, 1], atol=1e-6)


def test_jitter_keeps_the_differences_between_frames():
    clip = _clip() // 2 + 40
    changed = change_frames(clip, Change(None, 0.9, 1.1, 255.0))
    np.testing.assert_allclose(np.diff(changed, axis=0), 0.99 * np.diff(clip.astype(float), axis=0),
                               atol=0.01)  # fmt: skip


def test_flow_is_augmented_once_a_clip_too():
    flow = np.ones((5, 32, 32, 2), np.float16)
    changed = augment_flow(flow, CONFIG, (0, 3))
    assert changed.shape == flow.shape and changed.dtype == np.float32
    assert np.all(changed == changed[0])
    released = augment_flow(flow, replace(CONFIG, augmentation="released"), (0, 3))
    assert not np.all(released == released[0])
