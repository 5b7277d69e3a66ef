import hashlib

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure, segmentation

from preprocessing import lungs
from preprocessing.lungs import segment_lungs

DISC_ROWS = ("0011100", "0111110", "1111111", "1111111", "1111111", "0111110", "0011100")


def tutorial_mask(hu, keep=2, scale=1.0):
    """The cited tutorial, in SciPy's and scikit-image's own operations and on the whole slice."""
    regions = measure.label(segmentation.clear_border(hu < -400))
    sizes = np.bincount(regions.ravel())[1:]
    if len(sizes) > keep:
        smallest = np.sort(sizes)[-keep]
        regions[np.isin(regions, 1 + np.flatnonzero(sizes < smallest))] = 0
    internal = regions > 0
    near, far = (ndimage.binary_dilation(internal, iterations=round(n * scale)) for n in (10, 55))
    gradient = np.hypot(ndimage.sobel(hu, 1), ndimage.sobel(hu, 0))
    gradient *= 255.0 / gradient.max()
    flooded = segmentation.watershed(gradient, internal * 255 + (near ^ far) * 128)
    outline = ndimage.morphological_gradient(flooded, size=(3, 3)).astype(bool)
    disc = np.array([[int(c) for c in row] for row in DISC_ROWS])
    disc = ndimage.iterate_structure(disc, round(8 * scale))
    outline |= ndimage.black_tophat(outline, structure=disc)
    reach = 2 * round(6 * scale) + 1
    return ndimage.binary_closing(internal | outline, np.ones((reach, reach)))


def ellipse(size, x, y, rx, ry):
    """bool (size, size); centre and radii as shares of the size."""
    rows, columns = np.mgrid[:size, :size] / size
    return ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1


LEFT, RIGHT, HEART = (0.3, 0.5, 0.13, 0.24), (0.7, 0.5, 0.13, 0.24), (0.55, 0.56, 0.12, 0.14)


def thorax(size=256, air=(LEFT, RIGHT), body=(0.5, 0.5, 0.46, 0.4), noise=25, seed=0):
    """int16 HU: a body in air, with dark ellipses that hold vessels, and a dense nodule at a rim.

    Smooth textures come from whole numbers alone, so that the slice is the same everywhere.
    """
    rng = np.random.default_rng(seed)
    inside = ellipse(size, *body)
    dark = np.any([ellipse(size, *lung) for lung in air], axis=0) if air else np.zeros_like(inside)
    dark &= ~ellipse(size, *HEART)
    hu = np.where(inside, 45, -1000)
    hu[dark] = -840
    coarse = rng.integers(-90, 91, (size // 8, size // 8)).repeat(8, axis=0).repeat(8, axis=1)
    hu[dark] += coarse[dark]
    vessels = ndimage.binary_dilation(rng.random((size, size)) < 0.004, iterations=1 + size // 256)
    hu[dark & vessels] = 30
    if air:
        x, y, rx, _ = air[0]
        hu[ellipse(size, x - 0.9 * rx, y, 0.03, 0.03)] = 20
    # Partial volume: the mean of 3x3 pixels, cut to whole HU.
    hu = sum(np.roll(hu, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) // 9
    if noise:
        hu = hu + rng.integers(-2 * noise, 2 * noise + 1, hu.shape)
    return np.clip(hu, -1024, 3071).astype(np.int16)


SLICES = {
    "two lungs": {},
    "one lung": {"air": (LEFT,)},
    "both in one": {"air": (LEFT, RIGHT, (0.5, 0.35, 0.25, 0.04))},
    "a lung cut off by the border": {"air": (LEFT, (0.93, 0.5, 0.13, 0.24)),
                                     "body": (0.5, 0.5, 0.7, 0.45)},
    "lungs near the border": {"air": ((0.2, 0.5, 0.18, 0.3), (0.8, 0.5, 0.18, 0.3)),
                              "body": (0.5, 0.5, 0.9, 0.9)},
    "gas in the bowel": {"air": ((0.4, 0.5, 0.05, 0.03), (0.62, 0.42, 0.09, 0.05),
                                 (0.6, 0.65, 0.03, 0.03))},
    "a bubble": {"air": ((0.5, 0.35, 0.05, 0.015),)},
}  # fmt: skip


@pytest.mark.parametrize("keep", [2, 1])
@pytest.mark.parametrize("name", SLICES)
def test_every_pixel_is_the_tutorials(name, keep):
    for seed in range(3):
        hu = thorax(seed=seed, **SLICES[name])
        mask = segment_lungs(hu, keep)
        assert mask.dtype == bool and mask.any() and not mask.all()
        assert np.array_equal(mask, tutorial_mask(hu, keep, scale=0.5))


def test_every_pixel_is_the_tutorials_at_512_pixels():
    hu = thorax(512, seed=4)
    mask = segment_lungs(hu)
    assert np.array_equal(mask, tutorial_mask(hu))
    assert not np.array_equal(mask, segment_lungs(hu, keep=1))
    # scikit-image 0.25.0 and 0.25.1 flood otherwise, and would take the reference above along.
    digest = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
    assert digest == "4bd5506ba7b17743372eaae69048f746cefa53a31b736e2ec079f2809da970a2"


@pytest.mark.parametrize("step", [1, 60, 200])
def test_ties_between_equal_gradients_change_nothing(step, monkeypatch):
    floods = []

    def counted(*args, **kwargs):
        floods.append(args)
        return segmentation.watershed(*args, **kwargs)

    monkeypatch.setattr(lungs, "watershed", counted)
    whole_slices = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        smooth = ndimage.gaussian_filter(rng.standard_normal((256, 256)), rng.uniform(4, 15))
        hu = np.where(ellipse(256, 0.5, 0.5, 0.42, 0.42), -300 + 300 * smooth / smooth.std(), 40)
        hu = (np.clip(hu, -1000, 300) // step * step).astype(np.int16)
        floods.clear()
        mask = segment_lungs(hu)
        whole_slices += len(floods) == 3
        assert np.array_equal(mask, tutorial_mask(hu, scale=0.5))
    if step > 1:
        assert whole_slices  # there were ties, and the quick way was not taken


def test_regions_of_the_same_size_are_kept_together():
    hu = np.full((256, 256), 40, np.int16)
    for top, left, side in ((60, 60, 30), (60, 160, 20), (160, 60, 20), (160, 160, 10)):
        hu[top : top + side, left : left + side] = -800
    mask = segment_lungs(hu, keep=2)
    assert np.array_equal(mask, tutorial_mask(hu, 2, scale=0.5))
    assert mask[70, 170] and mask[170, 70] and not mask[165, 165]


@pytest.mark.parametrize(
    "hu",
    [
        thorax(64, air=(), noise=0),
        np.full((64, 64), -1000, np.int16),
        np.full((64, 64), 40, np.int16),
        np.pad(np.full((40, 64), 40, np.int16), ((12, 12), (0, 0)), constant_values=-1000),
    ],
)
def test_a_slice_without_lung_has_an_empty_mask(hu):
    for keep in (1, 2):
        mask = segment_lungs(hu, keep)
        assert mask.shape == hu.shape and mask.dtype == bool and not mask.any()


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_the_type_of_the_hu_changes_nothing(dtype):
    hu = thorax(seed=5)
    expected = segment_lungs(hu)
    given = hu.astype(dtype)
    assert np.array_equal(segment_lungs(given), expected)
    assert np.array_equal(given, hu)
    metal = given.copy()
    metal[120:124, 126:130] = 30000  # beyond what a 16-bit derivative holds
    assert segment_lungs(metal)[128, 77] and segment_lungs(metal)[128, 179]


def test_a_smaller_slice_has_the_same_lungs_smaller():
    large = thorax(512, seed=6)
    halved = large.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    expected = segment_lungs(large).reshape(256, 2, 256, 2).mean(axis=(1, 3)) >= 0.5
    found = segment_lungs(halved)
    dice = 2 * (found & expected).sum() / (found.sum() + expected.sum())
    assert dice > 0.97
    wide = segment_lungs(np.pad(halved, ((0, 0), (0, 20)), constant_values=-1000))
    assert wide.shape == (256, 276)


def test_what_the_watershed_is_for():
    clean = thorax(512, noise=0, seed=7)
    inner, outer = clean.copy(), clean.copy()
    core = ellipse(512, 0.3, 0.5, 0.04, 0.04)
    inner[core] = 40  # consolidation within the lung
    wall = ellipse(512, 0.3, 0.5, 0.13, 0.24) & (np.mgrid[:512, :512][0] > 0.58 * 512)
    outer[wall] = 40  # consolidation at the chest wall
    assert segment_lungs(inner)[core].mean() > 0.95
    assert segment_lungs(outer)[wall].mean() < 0.7


@pytest.mark.parametrize(
    ("hu", "keep", "reason"),
    [
        (np.zeros((4, 64, 64), np.int16), 2, "height, width"),
        (np.zeros((64, 64), bool), 2, "not bool"),
        (np.zeros((64, 64), complex), 2, "not complex128"),
        (np.zeros((0, 64)), 2, "height, width"),
        (np.full((64, 64), np.nan), 2, "NaN"),
        (np.full((64, 64), -np.inf), 2, "NaN or infinite"),
        (np.zeros((64, 64)), 3, "keep is 3"),
        (np.zeros((64, 64)), 0, "keep is 0"),
    ],
)
def test_wrong_slices_are_refused(hu, keep, reason):
    with pytest.raises(ValueError, match=reason):
        segment_lungs(hu, keep)
