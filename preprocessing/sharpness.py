"""How sharp and how contrasty a radiograph is: what the blur and contrast filters measure.

Paper: V-BreathNet, section 3.1: images of "very low" and "high" contrast and, by the variance of
the Laplacian, blurry ones were removed. It gives neither thresholds nor a formula for contrast.
"""

import cv2
import numpy as np

from preprocessing.radiographs import check_gray


def laplacian_variance(image: np.ndarray) -> float:
    """Variance of the Laplacian; the lower, the blurrier.

    Paper: V-BreathNet, section 3.1. Ours: the 3x3 kernel of OpenCV, 0 1 0 / 1 -4 1 / 0 1 0, the
    border mirrored. The measure depends on the image's size: compare images of one size only.

    Args:
        image: uint8 (height, width), 0 to 255.

    Returns:
        Squared gray levels, 0 (one gray level) or more.

    Raises:
        ValueError: not an 8-bit gray image.
    """
    check_gray(image)
    # 16 bits hold the Laplacian of 8-bit values exactly, and the sums are exact in float64: the
    # same number as cv2.Laplacian(image, cv2.CV_64F).var(), at a tenth of its time.
    second_differences = cv2.Laplacian(image, cv2.CV_16S)
    mean = cv2.sumElems(second_differences)[0] / image.size
    mean_square = cv2.norm(second_differences, cv2.NORM_L2SQR) / image.size
    return max(mean_square - mean * mean, 0.0)


def contrast(image: np.ndarray) -> float:
    """RMS contrast: the standard deviation of the gray levels.

    Ours: the paper does not define contrast.

    Args:
        image: uint8 (height, width), 0 to 255.

    Returns:
        Gray levels, 0 (one gray level) to 127.5 (half black, half white).

    Raises:
        ValueError: not an 8-bit gray image.
    """
    check_gray(image)
    return float(cv2.meanStdDev(image)[1][0, 0])
