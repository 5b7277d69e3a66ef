import csv
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from preprocessing.errors import InputError
from replication import metrics
from replication.metrics import Predictions

CELL_2_30 = (158, 106, 114, 8)  # TP, FN, TN, FP behind Kolárik 2023, Table 1, first row


def from_matrix(tp, fn, tn, fp):
    labels = np.array([1] * (tp + fn) + [0] * (tn + fp))
    scores = np.array([0.9] * tp + [0.1] * fn + [0.1] * tn + [0.9] * fp)
    return labels, scores


def test_printed_row_follows_from_its_confusion_matrix():
    values = metrics.binary_metrics(*from_matrix(*CELL_2_30))
    printed = {"accuracy": 0.7047, "sensitivity": 0.5985, "specificity": 0.9344, "f1": 0.7349}
    assert {name: round(values[name], 4) for name in printed} == printed


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=60))
@settings(max_examples=80, deadline=None)
def test_metrics_agree_with_scikit_learn(pairs):
    labels, scores = (np.array(column) for column in zip(*pairs, strict=True))
    values = metrics.binary_metrics(labels, scores)
    predicted = scores >= 0.5
    assert values["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    expected = {
        "sensitivity": recall_score(labels, predicted, zero_division=np.nan),
        "specificity": recall_score(labels, predicted, pos_label=0, zero_division=np.nan),
        "precision": precision_score(labels, predicted, zero_division=np.nan),
        "f1": f1_score(labels, predicted, zero_division=np.nan),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, nan_ok=True), name
    if len(set(labels.tolist())) == 2:
        assert values["auroc"] == pytest.approx(roc_auc_score(labels, scores))
    else:
        assert np.isnan(values["auroc"])


def cohort(patients, clips, separation, seed=0):
    """Predictions of a cohort whose patients differ by `separation` score standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % 2, clips)
    level = np.repeat(rng.normal(0, 1, patients), clips) + separation * labels
    scores = 1 / (1 + np.exp(-(level - separation / 2 + rng.normal(0, 0.3, labels.size))))
    names = np.repeat([f"p{i}" for i in range(patients)], clips)
    units = np.arange(labels.size).astype(str)
    return Predictions(units, names, labels, scores)


@pytest.mark.parametrize("cells", [metrics.CELLS, 500])
def test_intervals_are_those_of_resampling_sample_by_sample(monkeypatch, cells):
    monkeypatch.setattr(metrics, "CELLS", cells)  # as many resamples at once as fit
    drawn_from = cohort(patients=9, clips=4, separation=1.5)
    drawn_from = dataclasses.replace(drawn_from, scores=drawn_from.scores.round(1))  # with ties
    of_class = [
        [np.flatnonzero(drawn_from.patients == name) for name in np.unique(
            drawn_from.patients[drawn_from.labels == label])]
        for label in (0, 1)
    ]  # fmt: skip
    rng, draws = np.random.default_rng(3), []
    for _ in range(metrics.RESAMPLES):
        rows = [
            groups[i] for groups in of_class for i in rng.integers(len(groups), size=len(groups))
        ]
        rows = np.concatenate(rows)
        values = metrics.binary_metrics(drawn_from.labels[rows], drawn_from.scores[rows])
        draws.append([values[name] for name in metrics.METRICS])
    expected = np.nanpercentile(draws, (2.5, 97.5), axis=0)
    found = metrics.metrics_with_intervals(drawn_from, seed=3)
    for name, low, high in zip(metrics.METRICS, *expected, strict=True):
        assert [found[name]["low"], found[name]["high"]] == pytest.approx([low, high], abs=1e-12)


def test_interval_covers_the_truth_about_95_times_in_100():
    true_auroc = roc_auc_score(
        *[getattr(cohort(4000, 1, 1.0, 99), k) for k in ("labels", "scores")]
    )
    covered = []
    for seed in range(60):
        interval = metrics.metrics_with_intervals(cohort(40, 5, 1.0, seed))["auroc"]
        covered.append(interval["low"] <= true_auroc <= interval["high"])
    assert 0.86 <= np.mean(covered) <= 1.0


def test_interval_is_over_patients_not_over_clips():
    """Repeating every clip ten times is no new evidence."""
    few = cohort(30, 1, 1.0)
    columns = (few.units, few.patients, few.labels, few.scores)
    repeated = Predictions(*(np.repeat(column, 10) for column in columns))
    widths = [
        np.subtract(*[metrics.metrics_with_intervals(p)["auroc"][k] for k in ("high", "low")])
        for p in (few, repeated)
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


def test_patients_with_both_classes_are_drawn_once_with_all_they_have():
    names = np.repeat([f"p{i}" for i in range(12)], 2)
    labels = np.tile([1, 0], 12)
    level = np.repeat(np.random.default_rng(0).normal(0, 3, 12), 2)
    scores = 1 / (1 + np.exp(-(level + 0.2 * labels)))  # each patient is right about itself
    result = metrics.metrics_with_intervals(Predictions(names, names, labels, scores))
    assert result["auroc"]["high"] - result["auroc"]["low"] < 0.2, "pairs stay together"


def test_one_patient_in_a_class_gives_no_interval():
    labels, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1])
    names = np.array(["a", "b", "c", "c"])
    result = metrics.metrics_with_intervals(Predictions(names, names, labels, scores))
    assert result["auroc"]["value"] == 1.0
    assert np.isnan(result["auroc"]["low"])


def test_patient_score_is_the_mean_and_a_mixed_patient_counts_twice():
    names = np.array(["a", "b", "a", "c", "c"])
    labels = np.array([1, 0, 1, 1, 0])
    scores = np.array([0.2, 0.4, 0.6, 0.9, 0.1])
    patients = Predictions(np.arange(5).astype(str), names, labels, scores).by_patient()
    assert patients.patients.tolist() == ["a", "b", "c", "c"]
    assert patients.labels.tolist() == [1, 0, 1, 0]
    assert np.allclose(patients.scores, [0.4, 0.4, 0.9, 0.1])


def test_columns_of_a_window_vote():
    units = np.array(["w1", "w1", "w1", "w2"])
    names, labels = np.array(["a"] * 4), np.array([1, 1, 1, 1])
    predictions = Predictions(units, names, labels, np.array([0.6, 0.6, 0.0, 0.7]))
    assert np.allclose(predictions.by_unit("mean").scores, [0.4, 0.7])
    assert np.allclose(predictions.by_unit("majority").scores, [2 / 3, 1.0])
    with pytest.raises(ValueError, match="mean or majority"):
        predictions.by_unit("median")


def test_floor_is_judged_two_sided_and_the_difference_has_an_interval():
    predictions = cohort(40, 5, 3.0)
    reversed_statistic = -predictions.labels + np.random.default_rng(0).normal(0, 1, 200)
    above = metrics.auroc_above(predictions, reversed_statistic)
    assert 0.6 < above["floor"] < 0.9
    assert above["low"] <= above["difference"] <= above["high"]
    noise = np.random.default_rng(1).normal(0, 1, 200)
    assert metrics.auroc_above(predictions, noise)["low"] > 0.2


def test_metrics_are_recomputed_from_the_predictions_file_alone(tmp_path):
    path = tmp_path / "predictions.csv"
    labels, scores = from_matrix(8, 2, 9, 1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "unit", "patient_id", "split", "label", "score_present"])
        for i, (label, score) in enumerate(zip(labels, scores, strict=True)):
            writer.writerow([i, i, f"p{i}", "test", label, score])
    result = metrics.evaluate_predictions(path, "present")
    assert set(result) == {"test"}
    assert result["test"]["clip"]["accuracy"]["value"] == pytest.approx(17 / 20)
    assert (result["test"]["clip"]["n"], result["test"]["clip"]["positives"]) == (20, 10)
    path.write_text("sample_id,label\n1,2\n")
    with pytest.raises(InputError, match="predictions.csv"):
        metrics.evaluate_predictions(path, "present")
