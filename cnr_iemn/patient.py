"""From the predicted slices of a scan to the patient: group percentages, XGBoost and SVM."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import skops.io
from scipy.special import softmax
from sklearn.svm import SVC
from xgboost import XGBClassifier
from xgboost.core import XGBoostError

from preprocessing.errors import InputError

Classifier = Literal["xgboost", "svm"]
CLASSIFIERS: tuple[Classifier, ...] = ("svm", "xgboost")
MODEL_FILES = {"xgboost": "classifier.json", "svm": "classifier.skops"}


def group_percentages(predicted: np.ndarray, groups: int, classes: int) -> np.ndarray:
    """Share of each predicted class in each group of slices (section 3.3.2).

    Args:
        predicted: int (slices,), class of each slice of a scan, head first.
        groups: into which the scan is divided.
        classes: how many there are.

    Returns:
        float64 (groups * classes,) in 0..1: the shares of the first group, then of the next.

    Raises:
        ValueError: a scan without slices.
    """
    slices = len(predicted)
    if slices == 0:
        raise ValueError("a scan without slices has no percentages")
    one_hot = np.eye(classes)[predicted]
    # Paper: groups of equal numbers. Ours: they differ by one where the number is no multiple; and
    # with fewer slices than groups an empty group takes the slice that lies where its middle is.
    edges = slices * np.arange(groups + 1) // groups
    middles = ((np.arange(groups) + 0.5) * slices / groups).astype(int)
    shares = [
        one_hot[start:end].mean(axis=0) if end > start else one_hot[middle]
        for start, end, middle in zip(edges[:-1], edges[1:], middles, strict=True)
    ]
    return np.concatenate(shares)


def fit_classifier(
    kind: Classifier, features: np.ndarray, labels: np.ndarray, seed: int
) -> XGBClassifier | SVC:
    """Train the second stage.

    Args:
        features: float (scans, n): group percentages of one network or of all.
        labels: int (scans,), of consecutive classes from 0.
        seed: of XGBoost; the SVM is deterministic.
    """
    if kind == "xgboost":
        # Ours: all parameters are the library's own; the paper names none.
        classifier = XGBClassifier(random_state=seed, n_jobs=1)
    else:
        # Ours: kernel and C are the library's own. Ties are broken so that the largest decision
        # value is the predicted class.
        classifier = SVC(kernel="rbf", C=1.0, decision_function_shape="ovr", break_ties=True)
    return classifier.fit(features, labels)


def score_patients(classifier: XGBClassifier | SVC, features: np.ndarray) -> np.ndarray:
    """float64 (scans, classes), rows sum to 1; the largest is the predicted class.

    XGBoost's are probabilities. Ours: the SVM's are the softmax of its decision values, which
    keeps their order and is no probability.
    """
    if isinstance(classifier, SVC):
        values = classifier.decision_function(features)
        if values.ndim == 1:  # two classes
            values = np.stack([-values, values], axis=1) / 2
        return softmax(values, axis=1)
    return classifier.predict_proba(features).astype(np.float64)


def save_classifier(classifier: XGBClassifier | SVC, folder: Path) -> Path:
    """Save as XGBoost's JSON or with skops, never by pickle; whole or not at all."""
    kind: Classifier = "svm" if isinstance(classifier, SVC) else "xgboost"
    path = folder / MODEL_FILES[kind]
    partial = path.with_name(f".partial.{path.name}")
    if kind == "svm":
        skops.io.dump(classifier, partial)
    else:
        partial.write_bytes(bytes(classifier.get_booster().save_raw("json")))
    return partial.replace(path)


def load_classifier(folder: Path, kind: Classifier) -> XGBClassifier | SVC:
    """What `save_classifier` saved.

    Raises:
        InputError: there is none, or the file is damaged or holds something else.
    """
    path = folder / MODEL_FILES[kind]
    try:
        if kind == "svm":
            classifier = skops.io.load(path, trusted=[])
            if not isinstance(classifier, SVC):
                raise ValueError(f"holds a {type(classifier).__name__}, no SVM")
            return classifier
        content = path.read_bytes()
        if "learner" not in json.loads(content):  # XGBoost ends the process on an empty file
            raise ValueError("holds no model of XGBoost")
        classifier = XGBClassifier()
        classifier.load_model(bytearray(content))
        return classifier
    except (OSError, ValueError, TypeError, KeyError, XGBoostError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be loaded ({reason}); train again") from error


def read_features(
    predictions: Sequence[dict[str, np.ndarray]], patients: Sequence[str], groups: int, classes: int
) -> np.ndarray:
    """Group percentages of several networks side by side.

    Args:
        predictions: for each network, a patient's predicted slice classes by the patient's name.
        patients: one row each.

    Returns:
        float64 (patients, networks * groups * classes).
    """
    return np.stack([
        np.concatenate([group_percentages(of[name], groups, classes) for of in predictions])
        for name in patients
    ])  # fmt: skip
