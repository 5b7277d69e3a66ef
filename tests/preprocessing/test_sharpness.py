import cv2
import numpy as np
import pytest

from preprocessing.sharpness import contrast, laplacian_variance


def picture(seed=0, height=64, width=80):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.mark.parametrize("height, width", [(32, 32), (64, 81), (1000, 1200)])
def test_laplacian_variance_is_the_one_in_float64(height, width):
    image = picture(1, height, width)
    expected = cv2.Laplacian(image, cv2.CV_64F).var()
    assert laplacian_variance(image) == pytest.approx(expected, rel=1e-12)


def test_laplacian_variance_of_known_images():
    dot = np.zeros((50, 50), np.uint8)
    dot[25, 25] = 255
    n = dot.size  # one value of -4 * 255, four of 255
    assert laplacian_variance(dot) == pytest.approx(20 * 255**2 / n)
    board = (np.indices((50, 50)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert laplacian_variance(board) == pytest.approx((4 * 255) ** 2)
    ramp = np.tile(np.arange(50, dtype=np.uint8), (50, 1))
    assert laplacian_variance(ramp[:, 1:-1]) < 0.2  # zero but for the mirrored border
    assert laplacian_variance(np.full((50, 50), 77, np.uint8)) == 0


def test_blurring_lowers_the_laplacian_variance():
    image = picture()
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (0.5, 1, 2, 4)]
    values = [laplacian_variance(i) for i in (image, *blurred)]
    assert values == sorted(values, reverse=True)


def test_contrast_is_the_standard_deviation():
    image = picture()
    assert contrast(image) == pytest.approx(image.std(), rel=1e-12)
    assert contrast(np.full((40, 40), 9, np.uint8)) == 0
    halves = np.zeros((40, 40), np.uint8)
    halves[:, 20:] = 255
    assert contrast(halves) == 127.5


@pytest.mark.parametrize("measure", [laplacian_variance, contrast])
@pytest.mark.parametrize("image", [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32)])
def test_other_images_are_refused(measure, image):
    with pytest.raises(ValueError, match="8-bit gray"):
        measure(image)
