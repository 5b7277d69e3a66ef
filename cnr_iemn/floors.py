"""Shortcut floors: what a linear model reads off slices and scans without seeing any lesion.

A network's accuracy means little unless it is clearly above them: `thumbnail_floor` knows size,
level and coarse grey levels of a slice, `intensity_floor` its mean and SD alone. The same of whole
scans are `scan_thumbnails` and `scan_intensity`, for `exchanged_accuracy`: phantom cohorts are
judged by fitting on one and scoring on another, both ways. Cross-validation inside one stratified
cohort comes out below chance, which would read as a pass.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

THUMBNAIL_PX = 16
STRENGTHS = (10.0, 300.0, 10_000.0)  # Ours: of the ridge penalty; the best one is picked
SCAN_LEVELS = (0.2, 0.4, 0.6, 0.8)  # Ours: of a scan, head to foot, whose thumbnails are taken


# ---- slices, beside networks ------------------------------------------------------------------


def thumbnail_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
) -> dict:
    """A ridge classifier on 16x16 area-averaged thumbnails; rare classes count as much as others.

    Args:
        train_images, test_images: uint8 (n, height, width), 0 to 255, or any sequence of
            uint8 (height, width); read one by one, so memory-mapped arrays stay on disk.
        train_labels, test_labels: (n,) integers.

    Returns:
        accuracy and balanced_accuracy on the test part, 0 to 1, and scores: float
        (n, classes), the decision function on the test part, columns in the order of the sorted
        training labels; and predicted: (n,) labels.

    Raises:
        ValueError: an image is not uint8 with two axes, or there are not as many labels as
            images, or fewer than two classes to train on.
    """
    return _fit_slices(_thumbnail, train_images, train_labels, test_images, test_labels)


def intensity_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
) -> dict:
    """A ridge classifier on mean and SD of a slice.

    Arguments, returned values and errors are those of `thumbnail_floor`.
    """
    return _fit_slices(_mean_and_sd, train_images, train_labels, test_images, test_labels)


def majority_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
) -> dict:
    """Always the commonest class of the training part; no image is read.

    Arguments and returned values are those of `thumbnail_floor`, less the scores.
    """
    predicted = np.full(len(test_labels), np.bincount(train_labels).argmax())
    return _accuracies(test_labels, predicted)


def _fit_slices(features, train_images, train_labels, test_images, test_labels) -> dict:
    train, test = (
        np.stack([features(_checked(image)) for image in images])
        for images in (train_images, test_images)
    )
    return _fit_and_score(train, train_labels, test, test_labels)


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 (height, width), got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)


# ---- scans ------------------------------------------------------------------------------------


def scan_intensity(hu: np.ndarray) -> np.ndarray:
    """(2,) mean and SD of a scan: (slices, height, width), HU or grey levels."""
    return np.array([hu.mean(), hu.std()], np.float32)


def scan_thumbnails(hu: np.ndarray) -> np.ndarray:
    """(1280,) float32: 16x16 thumbnails of a scan's mean and of four of its slices.

    Args:
        hu: (slices, height, width), head first, HU or grey levels.
    """
    levels = [hu[round(level * (len(hu) - 1))] for level in SCAN_LEVELS]
    return np.concatenate([_thumbnail(picture) for picture in (hu.mean(axis=0), *levels)])


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
    found = [_fit_and_score(features[a], labels[a], features[1 - a], labels[1 - a]) for a in (0, 1)]
    return float(np.mean([result["balanced_accuracy"] for result in found]))


# ---- both -------------------------------------------------------------------------------------


def _fit_and_score(train, train_labels, test, test_labels) -> dict:
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise ValueError(
            f"{len(train)} and {len(test)} images, but {len(train_labels)} and "
            f"{len(test_labels)} labels"
        )
    # Weighted: most slices are normal, and always saying so is what `majority_floor` is for.
    ridge = RidgeClassifierCV(STRENGTHS, class_weight="balanced")
    model = make_pipeline(StandardScaler(), ridge).fit(train, train_labels)
    scores = model.decision_function(test)
    if scores.ndim == 1:  # two classes: scikit-learn gives the second one's score alone
        scores = np.stack([-scores, scores], axis=1)
    return _accuracies(test_labels, model.predict(test)) | {"scores": scores}


def _accuracies(labels, predicted) -> dict:
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, predicted)),
        "predicted": predicted,
    }


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    """(256,) float32 grey levels."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA).ravel()


def _mean_and_sd(image: np.ndarray) -> np.ndarray:
    return np.array([image.mean(), image.std()], np.float32)
