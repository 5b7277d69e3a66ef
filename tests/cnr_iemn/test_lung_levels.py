import numpy as np

from cnr_iemn.lung_levels import LEVELS, lung_levels

SIDE = 64
LEFT, RIGHT = slice(0, LEVELS), slice(LEVELS + 1, 2 * LEVELS + 1)


def slice_with(lesion=None):
    """Two lungs of gray level 40 in a chest of 200, with a bright line through one of them."""
    sample = np.zeros((SIDE, SIDE, 2), np.uint8)
    sample[..., 0] = 200
    for lung in (slice(8, 28), slice(36, 56)):
        sample[10:50, lung] = (40, 255)
    sample[30, 10:26, 0] = 250  # a vessel, 1 px thick
    if lesion is not None:
        sample[lesion][..., 0] = 120
    return sample


def test_shares_are_of_each_lung_without_thin_vessels_and_without_the_chest_wall():
    (levels,) = lung_levels(slice_with()[None])
    expected = np.zeros(LEVELS)
    expected[40 // 16] = 1
    np.testing.assert_allclose(levels[LEFT], expected)
    np.testing.assert_allclose(levels[RIGHT], expected)
    # 40 x 20 px of lung less a margin of 1 px.
    np.testing.assert_allclose(levels[[LEVELS, -1]], 38 * 18 / SIDE**2)


def test_a_lesion_shows_on_its_side():
    (levels,) = lung_levels(slice_with((slice(20, 30), slice(40, 50)))[None])
    assert levels[LEFT][120 // 16] == 0
    assert 0.1 < levels[RIGHT][120 // 16] < 0.2  # about 96 of 684 px


def test_without_lung_all_is_zero():
    np.testing.assert_array_equal(lung_levels(np.zeros((2, SIDE, SIDE, 2), np.uint8)), 0)
