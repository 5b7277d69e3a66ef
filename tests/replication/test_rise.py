import tracemalloc

import numpy as np
import pytest
from skimage.transform import resize

from replication.rise import rise

SIDE = 48


def spot(row, column, radius=8, side=SIDE):
    rows, columns = np.mgrid[:side, :side]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


class Watcher:
    """Classes 0 and 1 see a spot each; class 2 is nothing but chance; class 3 is never given."""

    spots = (spot(14, 12), spot(30, 36))

    def __init__(self):
        self.images = []

    def __call__(self, images):
        self.images.append(images.copy())
        seen = [self.sees(images, where) for where in self.spots]
        noise = np.random.default_rng(len(self.images)).random(len(images))
        return np.stack([*seen, noise, np.zeros(len(images))], axis=1)

    @staticmethod
    def sees(images, where):
        """0 where less than a third of the spot's light is left, 1 where two thirds are."""
        return np.clip(3 * images[:, where].mean(axis=(1, 2)) - 1, 0, 1)


def bright(side=SIDE, value=1.0):
    return np.full((side, side, 3), value, np.float32)


def masks_of(watcher):
    """The masks, which are what a white image looks like behind them."""
    return np.concatenate(watcher.images)[..., 0]


@pytest.mark.parametrize("side, grid", [(48, 7), (50, 5), (49, 7)])
def test_masks_are_those_of_the_authors_code(side, grid):
    seen = []

    def predict(images):
        seen.append(images[..., 0].copy())
        return np.full((len(images), 1), 0.5)

    rise(predict, bright(side), masks=40, grid=grid, keep=0.3, batch_size=20, seed=3)
    masks = np.concatenate(seen)
    cell = -(-side // grid)
    drawn = np.random.default_rng(3).random((40, 2 + grid * grid))
    for mask, numbers in zip(masks, drawn, strict=True):
        cells = (numbers[2:] < 0.3).reshape(grid, grid).astype(float)
        large = resize(cells, ((grid + 1) * cell,) * 2, order=1, mode="reflect",
                       anti_aliasing=False)  # fmt: skip
        top, left = (numbers[:2] * cell).astype(int)
        np.testing.assert_allclose(mask, large[top : top + side, left : left + side], atol=1e-6)


def test_every_pixel_is_seen_as_often_as_the_others():
    watcher = Watcher()
    rise(watcher, bright(), masks=4000, keep=0.3, tolerance=0)
    seen = masks_of(watcher).mean(axis=0)
    assert seen.mean() == pytest.approx(0.3, abs=0.005)
    assert np.abs(seen - 0.3).max() < 0.04


def test_maps_follow_their_formula():
    watcher = Watcher()
    image = np.random.default_rng(0).random((SIDE, SIDE, 3), np.float32)
    found = rise(watcher, image, masks=256, keep=0.4, tolerance=0)
    images = np.concatenate(watcher.images)
    masks = (images / image)[..., 0]
    scores = [Watcher.sees(images, where) for where in Watcher.spots]
    assert found.maps.shape == (4, SIDE, SIDE) and found.maps.dtype == np.float32
    assert found.masks == 256
    for k, score in enumerate(scores):
        expected = (score[:, None, None] * masks).mean(axis=0) / 0.4
        np.testing.assert_allclose(found.maps[k], expected, rtol=1e-4)
    assert not found.maps[3].any()


def test_heat_lies_where_the_model_looks():
    found = rise(Watcher(), bright(), classes=[1, 0])
    for heat, where in zip(found.maps, Watcher.spots[::-1], strict=True):
        assert where.flat[heat.argmax()]
        assert heat[where].mean() > 1.05 * heat[~where].mean()


def test_masks_stop_when_the_maps_are_stable():
    found = rise(Watcher(), bright(), classes=[0, 1])
    assert found.stable and 512 <= found.masks < 4000 and found.masks % 512 == 0
    assert (found.agreement >= 0.9).all()
    endless = rise(Watcher(), bright(), classes=[0, 1], masks=16384, seed=1, tolerance=0)
    assert endless.masks == 16384 and not endless.stable
    for quick, slow in zip(found.maps, endless.maps, strict=True):
        assert np.corrcoef(quick.ravel(), slow.ravel())[0, 1] > 0.95
    strict = rise(Watcher(), bright(), classes=[0, 1], masks=20000, tolerance=0.02)
    assert strict.stable and strict.masks > found.masks


def test_a_map_of_chance_is_never_called_stable():
    for seed in range(3):
        found = rise(Watcher(), bright(), classes=[0, 2], masks=3000, seed=seed)
        assert not found.stable and found.masks == 3008  # whole batches
        assert found.agreement[1] < 0.6 < 0.9 < found.agreement[0]
    never = rise(Watcher(), bright(), classes=[3])
    assert never.stable and never.masks == 512 and never.agreement[0] == 1


def test_dividing_by_what_was_seen_needs_fewer_masks_for_the_same_map():
    def sure(images):
        """Rarely less than 0.9: what varies is small beside what the masks' noise is scaled by."""
        return 0.9 + 0.1 * Watcher.sees(images, Watcher.spots[0])[:, None]

    endless = rise(sure, bright(), masks=40000, seed=1, tolerance=0)
    plain = rise(sure, bright(), masks=2048, tolerance=0)
    divided = rise(sure, bright(), masks=2048, tolerance=0, divide_by_seen=True)
    assert divided.agreement[0] > 0.9 > 0.6 > plain.agreement[0]
    closeness = [np.abs(found.maps - endless.maps).mean() for found in (plain, divided)]
    assert closeness[1] < 0.5 * closeness[0]
    assert rise(sure, bright(), divide_by_seen=True).masks <= 2048
    # A pixel's value is then exactly the mean answer, weighted by how well it was seen.
    same = rise(lambda images: np.full((64, 1), 0.7), bright(), masks=128, divide_by_seen=True)
    np.testing.assert_allclose(same.maps, 0.7, rtol=1e-5)


def test_batches_change_no_map_and_are_all_of_one_size():
    maps = []
    for batch_size in (32, 128):
        watcher = Watcher()
        found = rise(watcher, bright(), classes=[0, 1], masks=200, batch_size=batch_size,
                     tolerance=0, seed=5)  # fmt: skip
        assert {len(images) for images in watcher.images} == {batch_size}
        assert found.masks == -(-200 // batch_size) * batch_size
        maps.append(rise(Watcher(), bright(), classes=[0, 1], masks=256, batch_size=batch_size,
                         tolerance=0, seed=5).maps)  # fmt: skip
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5)
    other = rise(Watcher(), bright(), classes=[0, 1], masks=256, tolerance=0, seed=6).maps
    assert not np.allclose(maps[0], other, rtol=1e-3)


def test_what_is_masked_takes_the_baseline():
    watcher = Watcher()
    rise(watcher, bright(value=0.25), masks=128, baseline=0.75)
    images = np.concatenate(watcher.images)
    assert images.min() == pytest.approx(0.25) and images.max() == pytest.approx(0.75)
    watcher = Watcher()
    rise(watcher, bright(value=0.25), masks=128, baseline=0.25)
    np.testing.assert_allclose(np.concatenate(watcher.images), 0.25)


def test_memory_does_not_grow_with_the_masks():
    def predict(images):
        return images[:, 10:20, 10:20, 0].mean(axis=(1, 2))[:, None]

    peaks = []
    for masks in (512, 512, 4096):
        tracemalloc.start()
        rise(predict, bright(), masks=masks, tolerance=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


@pytest.mark.parametrize(
    ("image", "options", "reason"),
    [
        (np.ones((SIDE, SIDE), np.float32), {}, "height, width, channels"),
        (np.ones((SIDE, SIDE, 3), np.uint8), {}, "not uint8"),
        (bright(value=np.nan), {}, "finite"),
        (bright(), {"keep": 1.0}, "keep is 1.0"),
        (bright(), {"grid": 1}, "grid is 1"),
        (bright(), {"grid": 49}, "grid is 49"),
        (bright(), {"masks": 64}, "two batches"),
    ],
)
def test_wrong_arguments_are_refused(image, options, reason):
    with pytest.raises(ValueError, match=reason):
        rise(Watcher(), image, **options)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.full((64, 2), 3.0), "needs probabilities"),
        (np.full((64, 2), np.nan), "needs probabilities"),
        (np.full(64, 0.5), "images, classes"),
        (np.full((63, 2), 0.5), "for 64 images"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(scores, reason):
    with pytest.raises(ValueError, match=reason):
        rise(lambda images: scores, bright())
