"""From the predicted slices of a scan to the patient: group percentages, XGBoost and SVM."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import skops.io
from scipy.special import softmax
from sklearn.svm import SVC
from xgboost import XGBClassifier

from preprocessing.errors import InputError
from preprocessing.tables import shown

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
            # What is damaged inside shows only when it is used.
            classifier.decision_function(np.zeros((1, classifier.n_features_in_)))
            return classifier
        content = path.read_bytes()
        _check_trees(json.loads(content))
        classifier = XGBClassifier()
        classifier.load_model(bytearray(content))
        return classifier
    except Exception as error:  # of any kind: both libraries interpret whatever the file says
        reason = shown(" ".join(str(error).splitlines()[:1]) or type(error).__name__)
        raise InputError(f"{path}: cannot be loaded ({reason}); train again") from error


def _check_trees(document: dict) -> None:
    """Refuse trees whose numbers lead out of their arrays: XGBoost follows them and crashes.

    Raises:
        ValueError, or whatever else a document of another form leads to.
    """
    learner = document["learner"]  # XGBoost ends the process on an empty file
    sizes, model = learner["learner_model_param"], learner["gradient_booster"]["model"]
    trees, counts = model["trees"], model["gbtree_model_param"]
    classes, features = max(int(sizes["num_class"]), 1), int(sizes["num_feature"])
    of_class = _whole(model["tree_info"], len(trees))
    rounds = _whole(model["iteration_indptr"], None)
    is_sound = int(counts["num_trees"]) == len(trees) and int(counts["num_parallel_tree"]) == 1
    is_sound &= 0 <= of_class.min(initial=0) and of_class.max(initial=0) < classes
    is_sound &= np.array_equal(rounds, np.arange(0, len(trees) + 1, classes))
    for tree in trees:
        nodes = int(tree["tree_param"]["num_nodes"])
        left, right, split, kind, _ = (
            _whole(tree[name], nodes)
            for name in ("left_children", "right_children", "split_indices", "split_type",
                         "default_left")
        )  # fmt: skip
        for name in ("split_conditions", "base_weights", "loss_changes", "sum_hessian", "parents"):
            is_sound &= len(tree[name]) == nodes
        inner, number = left != -1, np.arange(nodes)
        is_sound &= nodes > 0 and np.array_equal(inner, right != -1) and not kind.any()
        for children in (left[inner], right[inner]):  # behind their parent: no way leads back
            is_sound &= bool(((number[inner] < children) & (children < nodes)).all())
        is_sound &= 0 <= split.min(initial=0) and split.max(initial=0) < features
        is_sound &= not any(content for name, content in tree.items() if "categories" in name)
    if not is_sound:
        raise ValueError("its trees are damaged")


def _whole(numbers: list, length: int | None) -> np.ndarray:
    """A list of so many whole numbers as an array."""
    array = np.array(numbers)
    if array.ndim != 1 or array.dtype.kind != "i" or length not in (None, len(array)):
        raise ValueError("its trees are damaged")
    return array


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
