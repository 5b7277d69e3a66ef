"""Shortcut floors: what a linear model reads off an image without seeing any lesion.

A network's accuracy means little unless it is clearly above them. On phantoms fit and score on
cohorts of different seeds: cross-validation inside one stratified cohort comes out below chance,
which would read as a pass.
"""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

THUMBNAIL_PX = 16
STRENGTHS = (10.0, 300.0, 10_000.0)  # Ours: of the ridge penalty; the best one is picked


def ridge_floor(
    features: Callable[[np.ndarray], np.ndarray],
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
    balanced: bool = False,
) -> dict:
    """A ridge classifier on a few features of each image.

    Args:
        features: uint8 (height, width) to float (k,).
        train_images, test_images: uint8 (n, height, width), 0 to 255, or any sequence of
            uint8 (height, width); read one by one, so memory-mapped arrays stay on disk.
        train_labels, test_labels: (n,) integers.
        balanced: weigh rare classes as much as others. Off, as networks are trained, it is the
            floor of an accuracy; on, that of a balanced accuracy.

    Returns:
        accuracy and balanced_accuracy on the test part, 0 to 1, and scores: float
        (n, classes), the decision function on the test part, columns in the order of the sorted
        training labels; and predicted: (n,) labels.

    Raises:
        ValueError: an image is not uint8 with two axes, or there are not as many labels as
            images, or fewer than two classes to train on.
    """
    train, test = (
        np.stack([features(_checked(image)) for image in images])
        for images in (train_images, test_images)
    )
    return fit_ridge(train, train_labels, test, test_labels, balanced)


def fit_ridge(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    balanced: bool = False,
) -> dict:
    """As `ridge_floor`, from features: float (n, k)."""
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise ValueError(
            f"{len(train)} and {len(test)} images, but {len(train_labels)} and "
            f"{len(test_labels)} labels"
        )
    ridge = RidgeClassifierCV(STRENGTHS, class_weight="balanced" if balanced else None)
    model = make_pipeline(StandardScaler(), ridge).fit(train, train_labels)
    scores = model.decision_function(test)
    if scores.ndim == 1:  # two classes: scikit-learn gives the second one's score alone
        scores = np.stack([-scores, scores], axis=1)
    return _accuracies(test_labels, model.predict(test)) | {"scores": scores}


def thumbnail_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
    balanced: bool = False,
) -> dict:
    """`ridge_floor` on 16x16 area-averaged thumbnails: size, exposure and coarse grey levels."""
    return ridge_floor(thumbnail, train_images, train_labels, test_images, test_labels, balanced)


def majority_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
    balanced: bool = False,
) -> dict:
    """Always the commonest class of the training part; no image is read.

    Arguments and returned values are those of `ridge_floor`, less the scores.
    """
    predicted = np.full(len(test_labels), np.bincount(train_labels).argmax())
    return _accuracies(test_labels, predicted)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(256,) float32 grey levels of an image (height, width)."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA).ravel()


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 (height, width), got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)


def _accuracies(labels: np.ndarray, predicted: np.ndarray) -> dict:
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, predicted)),
        "predicted": predicted,
    }
