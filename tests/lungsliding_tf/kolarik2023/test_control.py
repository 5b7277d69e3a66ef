import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lungsliding_tf.control import freeze, tissue_free_statistics


@pytest.fixture
def moving():
    """Speckle that drifts sideways by a pixel a native frame, shown as a 20 fps source at 30."""
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(0, 1, (40, 140)), (1, 2))
    texture = 110 + 40 * texture / texture.std()
    native = np.floor(np.arange(60) * 20 / 30 + 0.5).astype(int)
    frames = np.stack([texture[:, t : t + 40] for t in range(native.max() + 1)])
    frames = frames + rng.normal(0, 3, frames.shape)
    return np.clip(frames, 0, 255).astype(np.uint8)[native], native


def test_the_copy_stands_still_but_keeps_the_temporal_deviation(moving):
    clip, native = moving
    frozen = freeze(clip, native, "a")
    assert frozen.shape == clip.shape and frozen.dtype == np.uint8
    shift = {}
    for name, frames in (("moving", clip), ("frozen", frozen)):
        first, last = frames[0].astype(float), frames[-1].astype(float)
        shift[name] = np.corrcoef(first.ravel(), last.ravel())[0, 1]
    assert shift["moving"] < 0.3
    ratio = frozen.astype(float).std(axis=0).mean() / clip.astype(float).std(axis=0).mean()
    assert ratio == pytest.approx(1.0, abs=0.1)


def test_frames_that_the_source_repeats_the_copy_repeats(moving):
    clip, native = moving
    repeats = np.flatnonzero(np.diff(native) == 0) + 1
    assert repeats.size
    frozen = freeze(clip, native, "a")
    assert all(np.array_equal(frozen[i], frozen[i - 1]) for i in repeats)
    changed = np.flatnonzero(np.diff(native) > 0) + 1
    assert not any(np.array_equal(frozen[i], frozen[i - 1]) for i in changed)


def test_the_noise_is_seeded_by_name(moving):
    clip, native = moving
    assert np.array_equal(freeze(clip, native, "a"), freeze(clip, native, "a"))
    assert not np.array_equal(freeze(clip, native, "a"), freeze(clip, native, "b"))


def test_a_clip_without_change_stays_as_it_is():
    still = np.broadcast_to(np.arange(30, dtype=np.uint8), (60, 30, 30))
    assert np.array_equal(freeze(still, np.arange(60), "a"), still)


def test_noise_statistics_are_of_the_darkest_square():
    rng = np.random.default_rng(0)
    clip = np.full((60, 30, 30), 200, np.uint8)
    clip[:, 15:, 15:] = rng.integers(0, 5, (60, 15, 15))
    deviation, in_time, in_space = tissue_free_statistics(clip)
    assert deviation == pytest.approx(np.sqrt(2), abs=0.1)
    assert in_time < 0.1 and abs(in_space) < 0.1
