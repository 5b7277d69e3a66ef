"""Shortcut floors: what a linear model reads off a film without seeing any lesion.

A network's accuracy means little unless it is clearly above both: `thumbnail_floor` knows size,
exposure and coarse grey levels, `border_floor` the frame of the film alone (markers, margins,
arms). On phantoms fit and score on cohorts of different seeds: cross-validation inside one
stratified cohort comes out below chance, which would read as a pass.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

THUMBNAIL_PX = 16
# Ours: 4 of 56 px, which is 16 of 224 px.
BORDER_GRID_PX, BORDER_PX = 56, 4
STRENGTHS = (10.0, 300.0, 10_000.0)  # Ours: of the ridge penalty; the best one is picked


def thumbnail_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
) -> dict:
    """A ridge classifier on 16x16 area-averaged thumbnails.

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
    return _fit_and_score(_thumbnail, train_images, train_labels, test_images, test_labels)


def border_floor(
    train_images: Iterable[np.ndarray],
    train_labels: np.ndarray,
    test_images: Iterable[np.ndarray],
    test_labels: np.ndarray,
) -> dict:
    """A ridge classifier on the outer frame of each film, 1/14 of its width (16 of 224 px).

    Arguments, returned values and errors are those of `thumbnail_floor`.
    """
    return _fit_and_score(_border, train_images, train_labels, test_images, test_labels)


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
    return {
        "accuracy": float(accuracy_score(test_labels, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(test_labels, predicted)),
        "predicted": predicted,
    }


def _fit_and_score(features, train_images, train_labels, test_images, test_labels) -> dict:
    train, test = (
        np.stack([features(_checked(image)) for image in images])
        for images in (train_images, test_images)
    )
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise ValueError(
            f"{len(train)} and {len(test)} images, but {len(train_labels)} and "
            f"{len(test_labels)} labels"
        )
    # Unweighted, as the networks are trained: a floor of other weights could not be compared.
    ridge = RidgeClassifierCV(STRENGTHS)
    model = make_pipeline(StandardScaler(), ridge).fit(train, train_labels)
    predicted, scores = model.predict(test), model.decision_function(test)
    if scores.ndim == 1:  # two classes: scikit-learn gives the second one's score alone
        scores = np.stack([-scores, scores], axis=1)
    return {
        "accuracy": float(accuracy_score(test_labels, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(test_labels, predicted)),
        "scores": scores,
        "predicted": predicted,
    }


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 (height, width), got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """(256,) float32 grey levels."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA).ravel()


def _border(image: np.ndarray) -> np.ndarray:
    """(832,) float32 grey levels of a 4 px frame of the 56x56 film."""
    size = (BORDER_GRID_PX, BORDER_GRID_PX)
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    frame = np.ones(size, bool)
    frame[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return small[frame]
