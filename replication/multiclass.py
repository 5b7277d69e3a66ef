"""Multi-class metrics with 95 % intervals over patients, from predictions alone."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from replication.metrics import RESAMPLES, check_rows, check_samples, not_predictions, read_rows

MOST_TEST_SETS = 9
# The parts of a study, numbered test sets, and the two versions of V-BreathNet's cropped test.
SPLITS = re.compile(f"train|val|test(-[1-{MOST_TEST_SETS}]|-(wrong|all)-cropped)?")


@dataclass(frozen=True)
class ClassPredictions:
    """Scores of samples: arrays of one length.

    `patients` are what is drawn together in a resample (patients, or groups of near-duplicates),
    `labels` are indices into `classes`, `scores` (n, classes) are probabilities.
    """

    classes: tuple[str, ...]
    samples: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The class of the highest score for each sample; the first of equals."""
        return self.scores.argmax(axis=1)


def read_class_predictions(path: Path, split: str, classes: tuple[str, ...]) -> ClassPredictions:
    """The rows of one split of a run's predictions.csv; "test" is also test-1, test-2 and so on.

    Raises:
        InputError: the file is missing, lacks a column, or has a score or label that none can be.
    """
    whole = {split, *(f"{split}-{number}" for number in range(1, MOST_TEST_SETS + 1))}
    rows = [row for row in read_rows(path, SPLITS) if row["split"] in whole]
    names = check_samples(path, split, rows)
    try:
        scores = [[float(row[f"score_{name}"]) for name in classes] for row in rows]
        predictions = ClassPredictions(
            tuple(classes),
            np.array(names),
            np.array([row["patient_id"] for row in rows]),
            np.array([int(row["label"]) for row in rows], dtype=int),
            np.array(scores).reshape(len(rows), len(classes)),
        )
    except (KeyError, ValueError) as error:
        raise not_predictions(path, error) from error
    what = f"a label outside of the {len(classes)} classes"
    check_rows(path, split, names, predictions.labels, range(len(classes)), what)
    inside = ((predictions.scores >= 0) & (predictions.scores <= 1)).all(axis=1)  # NaN is not
    check_rows(path, split, names, inside, (True,), "a score that is no number from 0 to 1")
    return predictions


def evaluate_class_predictions(
    path: Path, classes: tuple[str, ...], level: str = "image"
) -> dict[str, dict]:
    """All metrics of a run from its predictions.csv alone.

    Args:
        level: what a row of the file is, such as "image", "slice" or "patient".

    Returns:
        {split: {level: metrics}} for each split in the file, and for "test" where it has several
        numbered test sets; see `class_metrics_with_intervals`.
    """
    found = dict.fromkeys(row["split"] for row in read_rows(path, SPLITS))
    if any(split.startswith("test-") for split in found):
        found["test"] = None
    return {
        split: {level: class_metrics_with_intervals(read_class_predictions(path, split, classes))}
        for split in found
    }


def confusion_matrix(predictions: ClassPredictions) -> np.ndarray:
    """int (classes, classes): rows are the true class, columns the predicted one."""
    size = len(predictions.classes)
    cells = predictions.labels * size + predictions.predicted
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def class_metrics(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Accuracy, their means over classes, and precision, recall and F1 of each class.

    Args:
        confusion: (..., classes, classes) counts; rows are the true class.
        classes: names in that order.

    Returns:
        {"accuracy", "balanced_accuracy" (mean recall), "macro_f1", "precision_<class>",
        "recall_<class>", "f1_<class>"}, each of the leading shape. NaN where nothing was counted.
    """
    confusion = np.asarray(confusion, dtype=float)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = hits / true, hits / predicted
        f1 = 2 * hits / (true + predicted)
        result = {"accuracy": hits.sum(axis=-1) / true.sum(axis=-1)}
    result["balanced_accuracy"] = recall.mean(axis=-1)
    result["macro_f1"] = f1.mean(axis=-1)
    for number, name in enumerate(classes):
        result[f"precision_{name}"] = precision[..., number]
        result[f"recall_{name}"] = recall[..., number]
        result[f"f1_{name}"] = f1[..., number]
    return result


def class_metrics_with_intervals(predictions: ClassPredictions, seed: int = 0) -> dict:
    """Each metric's value with its 95 % percentile bootstrap interval over patients.

    Returns:
        {metric: {"value", "low", "high"}}, the mean cross-entropy (natural logarithm) among them,
        plus "n", "patients" and "confusion". With fewer than
        two patients in a class the bounds are NaN; so are those of F1 and means that no resample
        changes, while proportions then have Wilson's interval.
    """
    classes, size = predictions.classes, len(predictions.classes)
    cells = np.eye(size * size)[predictions.labels * size + predictions.predicted]
    drawn = _resampled_sums(predictions, cells, seed).reshape(-1, size, size)
    confusion = confusion_matrix(predictions)
    values, resampled = class_metrics(confusion, classes), class_metrics(drawn, classes)
    result: dict = {}
    for name, value in values.items():
        low, high = _percentiles(resampled[name])
        if low == high:  # all alike, such as 30 right of 30: the resamples know no other
            low, high = _wilson(predictions, name, float(value))
        result[name] = {"value": float(value), "low": low, "high": high}
    losses = -np.log(
        np.maximum(predictions.scores[np.arange(len(cells)), predictions.labels], 1e-7)
    )
    sums = _resampled_sums(predictions, np.stack([losses, np.ones_like(losses)], axis=1), seed)
    low, high = _percentiles(sums[:, 0] / sums[:, 1])
    result["cross_entropy"] = {"value": float(losses.mean()), "low": low, "high": high}
    result["n"] = len(predictions.labels)
    result["patients"] = int(np.unique(predictions.patients).size)
    result["confusion"] = confusion.tolist()
    return result


def _wilson(predictions: ClassPredictions, metric: str, value: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion over patients; NaN for what is no proportion."""
    of_metric, _, name = metric.partition("_")
    if metric == "accuracy":
        counted = np.ones(len(predictions.labels), dtype=bool)
    elif of_metric in ("recall", "precision"):
        number = predictions.classes.index(name)
        answers = predictions.labels if of_metric == "recall" else predictions.predicted
        counted = answers == number
    else:
        return float("nan"), float("nan")
    patients = int(np.unique(predictions.patients[counted]).size)
    if patients < 2:
        return float("nan"), float("nan")
    found = binomtest(round(value * patients), patients).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def accuracy_above(
    predictions: ClassPredictions,
    floor_predicted: np.ndarray,
    seed: int = 0,
    metric: str = "accuracy",
) -> dict[str, float]:
    """By how much the accuracy exceeds that of other answers to the same samples.

    Args:
        predictions: of the network.
        floor_predicted: class indices that a simpler classifier gives, in the same order.
        metric: "accuracy" or "balanced_accuracy".

    Returns:
        {"floor", "difference", "low", "high"}; the interval is of the difference, over patients.
    """
    classes, size = predictions.classes, len(predictions.classes)

    def values(predicted: np.ndarray) -> tuple[float, np.ndarray]:
        """The metric of these answers, and in each resample."""
        cells = np.eye(size * size)[predictions.labels * size + predicted]
        resampled = _resampled_sums(predictions, cells, seed).reshape(-1, size, size)
        whole = cells.sum(axis=0).reshape(size, size)
        return tuple(class_metrics(counts, classes)[metric] for counts in (whole, resampled))

    (ours, ours_drawn), (floor, floor_drawn) = (
        values(predicted) for predicted in (predictions.predicted, np.asarray(floor_predicted))
    )
    low, high = _known(*_percentiles(ours_drawn - floor_drawn))
    return {"floor": float(floor), "difference": float(ours - floor), "low": low, "high": high}


def accuracy_gap(one: ClassPredictions, other: ClassPredictions, seed: int = 0) -> dict[str, float]:
    """Accuracy on one part less that on another, such as training less validation.

    Returns:
        {"value", "low", "high"}; the parts are resampled independently, over their patients.
    """
    accuracies = []
    for predictions in (one, other):
        right = (predictions.predicted == predictions.labels).astype(float)
        sums = _resampled_sums(predictions, np.stack([right, np.ones_like(right)], axis=1), seed)
        accuracies.append((right.mean(), sums[:, 0] / sums[:, 1]))
        seed += 1
    low, high = _known(*_percentiles(accuracies[0][1] - accuracies[1][1]))
    return {"value": float(accuracies[0][0] - accuracies[1][0]), "low": low, "high": high}


def _resampled_sums(predictions: ClassPredictions, values: np.ndarray, seed: int) -> np.ndarray:
    """Sums of each sample's `values` (n, m) over resampled patients: (RESAMPLES, m).

    Patients are drawn with replacement within their class, so that no resample loses one. NaN if a
    class has fewer than two. Ours: the class of a patient with several is the last of them, so that
    a scan with healthy and infected slices counts as infected.
    """
    names, group = np.unique(predictions.patients, return_inverse=True)
    of_group = np.zeros((len(names), values.shape[1]))
    np.add.at(of_group, group, values)
    strata = np.zeros(len(names), dtype=int)
    np.maximum.at(strata, group, predictions.labels)
    rng = np.random.default_rng(seed)
    sums = np.zeros((RESAMPLES, values.shape[1]))
    for stratum in np.unique(strata):
        members = of_group[strata == stratum]
        if len(members) < 2:
            return np.full_like(sums, np.nan)
        drawn = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), RESAMPLES)
        sums += drawn @ members
    return sums


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """2.5 % and 97.5 %, of the values that are defined; NaN if none is."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def _known(low: float, high: float) -> tuple[float, float]:
    """Bounds of a difference; NaN where no resample differs, which is ignorance, not certainty."""
    return (low, high) if low < high else (float("nan"), float("nan"))
