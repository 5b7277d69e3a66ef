"""Shortcut floors of CT: what mean, SD and thumbnails of slices and whole scans tell of the class.

Those of scans judge phantom cohorts: fitted on one and scored on another, both ways.
"""

from collections.abc import Iterable

import numpy as np

from replication.floors import fit_ridge, ridge_floor, thumbnail

SCAN_LEVELS = (0.2, 0.4, 0.6, 0.8)  # Ours: of a scan, head to foot, whose thumbnails are taken


def intensity_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
    balanced: bool = False,
) -> dict:
    """`ridge_floor` on mean and SD of a slice."""
    return ridge_floor(
        scan_intensity, train_images, train_labels, test_images, test_labels, balanced
    )


def scan_intensity(hu: np.ndarray) -> np.ndarray:
    """(2,) mean and SD of a scan or slice, HU or grey levels."""
    return np.array([hu.mean(), hu.std()], np.float32)


def scan_thumbnails(hu: np.ndarray) -> np.ndarray:
    """(1280,) float32: 16x16 thumbnails of a scan's mean and of four of its slices.

    Args:
        hu: (slices, height, width), head first, HU or grey levels.
    """
    levels = [hu[round(level * (len(hu) - 1))] for level in SCAN_LEVELS]
    return np.concatenate([thumbnail(picture) for picture in (hu.mean(axis=0), *levels)])


def exchanged_accuracy(
    features: tuple[np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray]
) -> float:
    """Balanced accuracy of a ridge classifier on two cohorts, each scored by the other's fit.

    Args:
        features: two float (n, features).
        labels: two (n,) integers.

    Returns:
        The mean of both, 0 to 1; chance is one over the number of classes.
    """
    found = [
        fit_ridge(features[a], labels[a], features[1 - a], labels[1 - a], balanced=True)
        for a in (0, 1)
    ]
    return float(np.mean([result["balanced_accuracy"] for result in found]))
