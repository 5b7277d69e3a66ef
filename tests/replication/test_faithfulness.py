import numpy as np
import pytest

from replication.faithfulness import insertion_deletion, pointing_chance, pointing_game

SIDE = 32
CORNER = np.zeros((SIDE, SIDE), bool)
CORNER[:16, :16] = True  # a quarter of the image


def predict(images):
    """How much of the corner is sharp and there: class 1. Blurred or blackened it is not."""
    sharp = (np.abs(images[:, CORNER]) > 0.9).mean(axis=(1, 2))
    return np.stack([1 - sharp, sharp], axis=1)


@pytest.fixture
def board():
    """Checks of -1 and 1, gray once blurred."""
    checks = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2.0 - 1
    return np.repeat(checks[..., None], 3, axis=2).astype(np.float32)


def test_the_right_map_inserts_and_deletes_within_its_quarter(board):
    # The probability goes from 0 to 1, or back, over the first quarter of the pixels, linearly.
    insertion, deletion = insertion_deletion(predict, board, CORNER * 1.0, 1, steps=64)
    assert insertion == pytest.approx(0.25 / 2 + 0.75)
    assert deletion == pytest.approx(0.25 / 2)


def test_the_opposite_map_inserts_and_deletes_it_last(board):
    insertion, deletion = insertion_deletion(predict, board, CORNER * -1.0, 1, steps=64)
    assert insertion == pytest.approx(0.25 / 2)
    assert deletion == pytest.approx(0.75 + 0.25 / 2)
    # What class 1 loses class 0 gains.
    insertion, deletion = insertion_deletion(predict, board, CORNER * -1.0, 0, steps=64)
    assert insertion == pytest.approx(1 - 0.25 / 2)
    assert deletion == pytest.approx(0.25 / 2)


def test_a_map_of_chance_lies_between(board):
    heat = np.random.default_rng(0).random((SIDE, SIDE))
    assert insertion_deletion(predict, board, heat, 1) == pytest.approx((0.5, 0.5), abs=0.02)


def test_steps_and_batches_change_little(board):
    # 100 steps do not divide 1,024 pixels; one step is a single trapezoid from end to end.
    heat = CORNER + np.random.default_rng(0).random((SIDE, SIDE))
    fine = insertion_deletion(predict, board, heat, 1, steps=SIDE * SIDE)
    assert insertion_deletion(predict, board, heat, 1, steps=100) == pytest.approx(fine, abs=0.01)
    assert insertion_deletion(predict, board, heat, 1, steps=1) == (0.5, 0.5)
    sizes = []

    def counting(images):
        sizes.append(len(images))
        return predict(images)

    one = insertion_deletion(counting, board, heat, 1, steps=20, batch_size=8)
    assert sizes == [8, 8, 5] * 2
    assert one == insertion_deletion(predict, board, heat, 1, steps=20, batch_size=64)


def test_an_image_of_one_channel_has_a_map_too(board):
    insertion, deletion = insertion_deletion(predict, board[..., :1], CORNER * 1.0, 1, steps=64)
    assert (insertion, deletion) == pytest.approx((0.875, 0.125))


@pytest.mark.parametrize(
    ("heat", "steps", "reason"),
    [
        (np.ones((SIDE, SIDE - 1)), 10, "heat map of"),
        (np.full((SIDE, SIDE), np.nan), 10, "NaN"),
        (np.ones((SIDE, SIDE)), 0, "steps is 0"),
        (np.ones((SIDE, SIDE)), SIDE * SIDE + 1, "pixels"),
    ],
)
def test_wrong_maps_are_refused(board, heat, steps, reason):
    with pytest.raises(ValueError, match=reason):
        insertion_deletion(predict, board, heat, 1, steps)


def test_pointing_asks_where_the_maximum_is():
    lesions = np.zeros((4, 10, 10), np.uint8)
    lesions[:, :5] = 255
    maps = np.zeros((4, 10, 10), np.float32)
    maps[0, 2, 3] = 1
    maps[1, 7, 3] = 0.1
    maps[2] = 0.5  # no peak
    maps[3, 2, 3] = maps[3, 7, 3] = 1  # one inside, one outside
    hits = pointing_game(maps, lesions)
    assert hits.dtype == bool
    assert hits.tolist() == [True, False, False, False]


def test_chance_is_the_lesions_share_of_the_image_or_the_lungs():
    lesions, lungs = np.zeros((3, 10, 10), np.uint8), np.zeros((3, 10, 10), bool)
    lesions[:, :1] = 1
    lungs[0, :2] = lungs[1, 5:] = True
    np.testing.assert_allclose(pointing_chance(lesions), 0.1)
    np.testing.assert_allclose(pointing_chance(lesions, lungs), [0.5, 0, np.nan])
    rng = np.random.default_rng(0)
    hits = pointing_game(rng.random((4000, 10, 10)), np.repeat(lesions[:1], 4000, axis=0))
    assert hits.mean() == pytest.approx(0.1, abs=0.02)


def test_pointing_needs_a_lesion_and_a_finite_map():
    lesions, maps = np.ones((2, 8, 8)), np.ones((2, 8, 8))
    with pytest.raises(ValueError, match="not one"):
        pointing_game(maps[:1], lesions)
    lesions[1] = 0
    with pytest.raises(ValueError, match="without lesion"):
        pointing_game(maps, lesions)
    maps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        pointing_game(maps, np.ones((2, 8, 8)))
