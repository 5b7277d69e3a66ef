"""Binary classification metrics with 95 % intervals over patients, from predictions alone."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from preprocessing.errors import InputError

METRICS = ("accuracy", "sensitivity", "specificity", "precision", "f1", "auroc")
THRESHOLD = 0.5  # Ours: the paper does not state it; a score of 0.5 counts as positive
RESAMPLES = 1000
CELLS = 2**20  # of resamples by samples that are in memory at once, 8 MB
# Columns of predictions.csv that every study writes, and those that only some do.
EVERY_COLUMN = ("sample_id", "patient_id", "split", "label")
UNIT, VIDEO, LOSS_PREFIX = "unit", "video", "focal_loss"
SPLITS = re.compile("train|val|test")


@dataclass(frozen=True)
class Predictions:
    """Scores of samples: arrays of one length.

    `units` are what a sample's score counts for: itself, or the M-mode window it is a column of.
    `labels` are 0 or 1, `scores` are probabilities of class 1 in 0..1. `videos` name the file of
    each sample, and `losses` hold the loss of each sample by its name, in studies that record them.
    """

    units: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    videos: np.ndarray | None = None
    losses: dict[str, np.ndarray] = field(default_factory=dict)

    def by_unit(self, vote: str = "mean") -> "Predictions":
        """One prediction for each unit: the mean score, or by "majority" the share above 0.5."""
        if vote not in ("mean", "majority"):
            raise ValueError(f"vote must be mean or majority, not {vote}")
        scores = self.scores if vote == "mean" else (self.scores >= THRESHOLD).astype(float)
        return self._grouped(self.units, scores)

    def by_patient(self) -> "Predictions":
        """One prediction for each patient and class: the mean score of the samples."""
        # Ours: the paper reports clips only; the mean is the plainest way to one patient score.
        return self._grouped(self.patients, self.scores)

    def by_video(self) -> "Predictions":
        """One prediction for each video and class: the mean score of the samples."""
        return self._grouped(self.videos, self.scores)

    def _grouped(self, names: np.ndarray, scores: np.ndarray) -> "Predictions":
        """Mean scores over equal name and label; the order of first appearance is kept."""
        keys = [f"{name}\n{label}" for name, label in zip(names, self.labels, strict=True)]
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)
        kept = first[order]

        def means(values: np.ndarray) -> np.ndarray:
            return (np.bincount(group, values) / np.bincount(group))[order]

        return Predictions(
            self.units[kept],
            self.patients[kept],
            self.labels[kept],
            means(scores),
            None if self.videos is None else self.videos[kept],
            {name: means(values) for name, values in self.losses.items()},
        )


def read_predictions(path: Path, split: str, positive: str) -> Predictions:
    """The rows of one split of a run's predictions.csv; `positive` names the class scored.

    Raises:
        InputError: the file is missing, lacks a column, or has a score or label that none can be.
    """
    rows = [row for row in read_rows(path, SPLITS, UNIT) if row["split"] == split]
    names = check_samples(path, split, rows)
    columns = list(rows[0]) if rows else []
    try:
        predictions = Predictions(
            np.array([row[UNIT] for row in rows]),
            np.array([row["patient_id"] for row in rows]),
            np.array([int(row["label"]) for row in rows]),
            np.array([float(row[f"score_{positive}"]) for row in rows]),
            np.array([row[VIDEO] for row in rows]) if VIDEO in columns else None,
            {
                name: np.array([float(row[name]) for row in rows])
                for name in columns
                if name.startswith(LOSS_PREFIX)
            },
        )
    except (KeyError, ValueError) as error:
        raise not_predictions(path, error) from error
    labels, scores = predictions.labels, predictions.scores
    check_rows(path, split, names, labels, (0, 1), "a label that is neither 0 nor 1")
    inside = np.isfinite(scores) & (scores >= 0) & (scores <= 1)
    check_rows(path, split, names, inside, (True,), "a score that is no number from 0 to 1")
    for name, losses in predictions.losses.items():
        finite = np.isfinite(losses)
        check_rows(path, split, names, finite, (True,), f"a {name} that is no number")
    return predictions


def read_rows(path: Path, splits: re.Pattern, *columns: str) -> list[dict[str, str]]:
    """The rows of a run's predictions.csv.

    Args:
        path: of the file.
        splits: the names that a split may have; what has another name would be in no metric.
        columns: needed besides EVERY_COLUMN.

    Raises:
        InputError: it cannot be read, lacks a column, is empty, or has a line of another length or
            of another split.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        missing = {*EVERY_COLUMN, *columns} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        if not rows:
            raise ValueError("no sample")
    except (OSError, ValueError, csv.Error) as error:
        raise not_predictions(path, error) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(
                f"{path}: line {number} has more or fewer cells than the first line; the file is "
                "cut off or damaged: evaluate the run again"
            )
        if not splits.fullmatch(row["split"]):
            raise InputError(
                f"{path}: line {number}: no study writes a split {row['split']!r}; evaluate the "
                "run again"
            )
    return rows


def check_samples(path: Path, split: str, rows: Sequence[dict[str, str]]) -> list[str]:
    """The names of the samples of a split.

    Raises:
        InputError: one stands there twice, and would count twice.
    """
    names = [row["sample_id"] for row in rows]
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise InputError(
            f"{path}: sample {name} stands {times} times in the split {split}; expected one line "
            "for each sample: evaluate the run again"
        )
    return names


def not_predictions(path: Path, error: Exception) -> InputError:
    """What to say of a file that none of our studies wrote."""
    return InputError(f"{path}: is not a predictions file ({error!r}); evaluate the run again")


def check_rows(
    path: Path, split: str, names: Sequence[str], values: np.ndarray, allowed: Sequence, what: str
) -> None:
    """Refuse predictions that no study writes, by the first sample that is wrong.

    Raises:
        InputError: one of `values`, for the samples `names`, is not `allowed`.
    """
    wrong = np.flatnonzero(~np.isin(values, allowed))
    if wrong.size:
        more = f" and {wrong.size - 1} more" if wrong.size > 1 else ""
        raise InputError(
            f"{path}: sample {names[wrong[0]]} of the split {split}{more} has {what}; "
            "evaluate the run again"
        )


def evaluate_predictions(path: Path, positive: str, vote: str = "mean") -> dict[str, dict]:
    """All metrics of a run from its predictions.csv alone.

    Returns:
        {split: {"clip": metrics, "patient": metrics}} for each of val and test that has samples,
        with "video" too where the predictions name one; see `metrics_with_intervals`.
    """
    result = {}
    for split in ("val", "test"):
        predictions = read_predictions(path, split, positive)
        if len(predictions.labels):  # the published protocol of one paper has no validation part
            result[split] = {
                "clip": metrics_with_intervals(predictions.by_unit(vote)),
                "patient": metrics_with_intervals(predictions.by_patient()),
            }
            if predictions.videos is not None:
                result[split]["video"] = metrics_with_intervals(predictions.by_video())
    return result


def binary_metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The six metrics of 0/1 labels and scores in 0..1, at a threshold of 0.5.

    A metric whose denominator is empty, and the AUROC of a single class, is NaN.
    """
    once = np.ones((1, len(labels)))
    return {name: float(value[0]) for name, value in _metrics(labels, scores, once).items()}


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of 0/1 labels, ties counted half; NaN for a single class.

    The share of pairs, one of each class, that the scores put in order (Mann-Whitney).
    """
    return float(_auroc(labels, scores, np.ones((1, len(labels))))[0])


def _metrics(labels: np.ndarray, scores: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """`binary_metrics` of many resamples at once: float (resamples,) each.

    Args:
        times: float (resamples, samples), how often a resample has each sample.
    """
    positive, predicted = labels == 1, scores >= THRESHOLD
    cells = (predicted & positive, ~predicted & positive, predicted & ~positive,
             ~predicted & ~positive)  # fmt: skip
    tp, fn, fp, tn = (times @ np.stack(cells, axis=1).astype(float)).T
    return {
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": _ratio(tp, tp + fp),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "auroc": _auroc(labels, scores, times),
    }


def _auroc(labels: np.ndarray, scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`auroc` of many resamples at once: float (resamples,).

    One order of the scores serves them all; to rank each resample took 20 times as long.
    """
    order = np.argsort(scores, kind="stable")
    _, first = np.unique(np.asarray(scores)[order], return_index=True)  # of each distinct score
    ordered, positive = times[:, order], (np.asarray(labels) == 1)[order]
    if not first.size:
        return np.full(len(times), np.nan)
    won, lost = (
        np.add.reduceat(ordered * of_class, first, axis=1) for of_class in (positive, ~positive)
    )
    below = np.cumsum(lost, axis=1) - lost / 2
    return _ratio((won * below).sum(axis=1), won.sum(axis=1) * lost.sum(axis=1))


def metrics_with_intervals(predictions: Predictions, seed: int = 0) -> dict[str, dict]:
    """Each metric's value with its 95 % percentile bootstrap interval over patients.

    Patients are drawn with replacement (clips of one patient are not independent), within each
    class so that no resample loses one; as a whole where patients have samples of both classes.

    Returns:
        {metric: {"value", "low", "high"}}, mean losses too if there are any, plus "n", "positives"
        and "patients". With fewer than two patients in a class the bounds are NaN: nothing is known
        about other patients.
    """

    def statistic(times: np.ndarray) -> np.ndarray:
        values = _metrics(predictions.labels, predictions.scores, times)
        losses = [times @ loss / times.sum(axis=1) for loss in predictions.losses.values()]
        return np.stack([*(values[m] for m in METRICS), *losses], axis=1)

    names = (*METRICS, *predictions.losses)
    value, low, high = _bootstrap(predictions, statistic, seed)
    result: dict = {
        metric: {"value": float(v), "low": float(a), "high": float(b)}
        for metric, v, a, b in zip(names, value, low, high, strict=True)
    }
    result["n"] = len(predictions.labels)
    result["positives"] = int(predictions.labels.sum())
    result["patients"] = int(np.unique(predictions.patients).size)
    return result


def auroc_above(
    predictions: Predictions, floor_values: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """By how much the scores' AUROC exceeds that of a floor statistic, over the same patients.

    The floor is judged two-sided, max(AUROC, 1 - AUROC), in each resample: a statistic that is
    high for the other class is a shortcut too.

    Args:
        predictions: of the network.
        floor_values: the statistic of the same samples, in the same order.

    Returns:
        {"floor", "difference", "low", "high"}; the interval is of the difference.
    """

    def statistic(times: np.ndarray) -> np.ndarray:
        floor = _auroc(predictions.labels, floor_values, times)
        floor = np.maximum(floor, 1 - floor)
        return np.stack([floor, _auroc(predictions.labels, predictions.scores, times) - floor], 1)

    if np.unique(predictions.labels).size < 2:
        raise InputError("a floor needs both classes in the test part; prepare more patients")
    (floor, difference), low, high = _bootstrap(predictions, statistic, seed)
    return {
        "floor": float(floor),
        "difference": float(difference),
        "low": float(low[1]),
        "high": float(high[1]),
    }


def metric_above(
    predictions: Predictions, other_scores: np.ndarray, metric: str, seed: int = 0
) -> dict[str, float]:
    """By how much a metric exceeds that of other scores of the same samples.

    Args:
        predictions: of one network.
        other_scores: of another, for the same samples in the same order.
        metric: one of METRICS.

    Returns:
        {"difference", "low", "high"}; the interval is over patients, NaN where none differs.
    """

    def statistic(times: np.ndarray) -> np.ndarray:
        one, other = (
            _metrics(predictions.labels, scores, times)[metric]
            for scores in (predictions.scores, other_scores)
        )
        return (one - other)[:, None]

    (difference,), low, high = _bootstrap(predictions, statistic, seed)
    known = (low[0], high[0]) if low[0] < high[0] else (float("nan"), float("nan"))
    return {"difference": float(difference), "low": float(known[0]), "high": float(known[1])}


def _bootstrap(
    predictions: Predictions, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic's values, and their 2.5 % and 97.5 % percentiles over resampled patients.

    Args:
        statistic: from float (resamples, samples), how often a resample has each sample, to float
            (resamples, values).
    """
    labels, strata = predictions.labels, _strata(predictions)
    rng = np.random.default_rng(seed)
    draws = []
    at_once = max(CELLS // max(len(labels), 1), 1)
    for begun in range(0, RESAMPLES, at_once):
        times = np.zeros((min(at_once, RESAMPLES - begun), len(labels)))
        for drawn in times:
            for rows, group, groups in strata:
                of_group = np.bincount(rng.integers(groups, size=groups), minlength=groups)
                drawn[rows] = of_group[group]
        draws.append(statistic(times))
    draws = np.concatenate(draws)
    bounds = np.full((2, draws.shape[1]), np.nan)
    if min(groups for *_, groups in strata) >= 2:
        defined = ~np.isnan(draws).all(axis=0)  # precision is not, where nothing was positive
        bounds[:, defined] = np.nanpercentile(draws[:, defined], (2.5, 97.5), axis=0)
    return statistic(np.ones((1, len(labels))))[0], bounds[0], bounds[1]


def _strata(predictions: Predictions) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """What is drawn from apart: the rows of a class, the patient of each by number, how many."""
    patients, labels = predictions.patients, predictions.labels
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(strata) == 2 and np.intersect1d(*(patients[rows] for rows in strata)).size:
        strata = [np.arange(len(labels))]  # patients with both classes are drawn with all they have
    numbered = [(rows, *np.unique(patients[rows], return_inverse=True)) for rows in strata]
    return [(rows, group, len(names)) for rows, names, group in numbered]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where the denominator is empty."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan),
                     where=denominator > 0)  # fmt: skip
