"""Multi-class metrics against scikit-learn, and what their intervals promise."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss, precision_recall_fscore_support

from preprocessing.errors import InputError
from replication.multiclass import (
    ClassPredictions,
    _resampled_sums,
    accuracy_above,
    accuracy_gap,
    class_metrics,
    class_metrics_with_intervals,
    confusion_matrix,
    evaluate_class_predictions,
    read_class_predictions,
)

CLASSES = ("a", "b", "c")


def make(labels, predicted, patients=None) -> ClassPredictions:
    labels = np.asarray(labels)
    scores = np.full((len(labels), 3), 0.1)
    scores[np.arange(len(labels)), predicted] = 0.8
    names = np.arange(len(labels)).astype(str)
    return ClassPredictions(
        CLASSES, names, names if patients is None else np.asarray(patients), labels, scores
    )


def test_table_4_of_the_v_breathnet_paper_follows_from_its_confusion_matrix():
    # Inferred: the only matrix with rows of 30 that prints as Table 4 (COVID, Normal, Pneumonia).
    confusion = np.array([[27, 2, 1], [0, 30, 0], [0, 0, 30]])
    found = class_metrics(confusion, ("COVID", "Normal", "Pneumonia"))
    printed = {"COVID": (1.00, 0.90, 0.95), "Normal": (0.94, 1.00, 0.97),
               "Pneumonia": (0.97, 1.00, 0.98)}  # fmt: skip
    for name, values in printed.items():
        ours = [found[f"{metric}_{name}"] for metric in ("precision", "recall", "f1")]
        assert [round(float(v), 2) for v in ours] == list(values)
    assert found["accuracy"] == 87 / 90


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=9, max_size=40))
def test_metrics_equal_those_of_scikit_learn(pairs):
    pairs = [*pairs, (0, 0), (1, 1), (2, 2)]  # each class occurs and is named
    labels, predicted = np.array(pairs).T
    found = class_metrics(confusion_matrix(make(labels, predicted)), CLASSES)
    expected = precision_recall_fscore_support(labels, predicted, labels=[0, 1, 2])
    for metric, values in zip(("precision", "recall", "f1"), expected, strict=False):
        for name, value in zip(CLASSES, values, strict=True):
            assert found[f"{metric}_{name}"] == pytest.approx(value)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_class_never_named_has_no_precision():
    found = class_metrics(np.array([[0, 2], [0, 3]]), ("a", "b"))
    assert np.isnan(found["precision_a"]) and found["recall_a"] == 0


def test_intervals_hold_the_value_and_widen_when_images_share_patients():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    predicted = np.where(np.repeat(rng.random(18) < 0.7, 10), labels, (labels + 1) % 3)
    alone = class_metrics_with_intervals(make(labels, predicted))
    shared = class_metrics_with_intervals(make(labels, predicted, np.repeat(np.arange(18), 10)))
    for result in (alone, shared):
        one = result["accuracy"]
        assert one["low"] <= one["value"] <= one["high"]
    widths = [r["accuracy"]["high"] - r["accuracy"]["low"] for r in (alone, shared)]
    assert widths[1] > 2 * widths[0]
    assert (alone["n"], shared["patients"]) == (180, 18)
    expected = log_loss(labels, make(labels, predicted).scores)
    assert alone["cross_entropy"]["value"] == pytest.approx(expected)


def test_one_patient_in_a_class_leaves_the_bounds_open():
    labels = [0, 0, 1, 1, 2, 2]
    result = class_metrics_with_intervals(make(labels, labels, list("aabcde")))
    assert result["accuracy"]["value"] == 1
    assert np.isnan(result["accuracy"]["low"]) and np.isnan(result["accuracy"]["high"])


def test_accuracy_above_compares_on_the_same_samples():
    labels = np.repeat([0, 1, 2], 40)
    ours = make(labels, labels)
    lazy = np.where(np.arange(120) % 2, labels, (labels + 1) % 3)
    found = accuracy_above(ours, lazy)
    assert found["floor"] == 0.5 and found["difference"] == 0.5
    assert 0.35 < found["low"] < 0.5 < found["high"] < 0.65
    same = accuracy_above(ours, labels)
    assert same["difference"] == 0 and np.isnan(same["low"]) and np.isnan(same["high"])


def test_a_floor_is_compared_in_balanced_accuracy_too():
    labels = np.array([0] * 80 + [1] * 20 + [2] * 20)
    majority = np.zeros(120, int)
    found = accuracy_above(make(labels, labels), majority, metric="balanced_accuracy")
    assert found["floor"] == pytest.approx(1 / 3) and found["difference"] == pytest.approx(2 / 3)
    plain = accuracy_above(make(labels, labels), majority)
    assert plain["floor"] == pytest.approx(2 / 3) and plain["difference"] == pytest.approx(1 / 3)


def test_a_patient_with_several_labels_is_drawn_among_those_of_the_highest():
    # Infected patients have one infected slice of four. Were a patient's class that of the first
    # slice, some resamples would have no infected patient, and no recall of theirs.
    labels = np.array([0, 0, 0, 0] * 6 + [0, 0, 0, 1] * 2 + [0, 0, 0, 2] * 2)
    predicted = np.where(np.arange(len(labels)) == 31, 1, 0)  # one of two of class 1
    patients = np.repeat(np.arange(10), 4)
    found = class_metrics_with_intervals(make(labels, predicted, patients))
    assert found["patients"] == 10
    assert (found["recall_b"]["low"], found["recall_b"]["value"]) == (0, 0.5)
    # Two of two patients of a class are drawn each time, so 40 slices are with 2 of class b.
    sums = _resampled_sums(make(labels, predicted, patients), np.eye(3)[labels], seed=0)
    assert (sums == [36, 2, 2]).all()


def test_all_test_sets_together_are_the_test(tmp_path):
    path = tmp_path / "predictions.csv"
    columns = ["sample_id", "patient_id", "split", "label", "score_a", "score_b", "score_c"]
    rows = [
        [f"{split}/{n}", f"{split}/{n}", split, label, *np.eye(3)[said]]
        for split, answers in {"val": [(0, 0)], "test-1": [(0, 0), (1, 1), (2, 2), (0, 1)],
                               "test-2": [(1, 1), (1, 2)], "test-all-cropped": [(0, 2)]}.items()
        for n, (label, said) in enumerate(answers)
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    found = evaluate_class_predictions(path, CLASSES, "slice")
    assert list(found) == ["val", "test-1", "test-2", "test-all-cropped", "test"]
    accuracies = {name: of["slice"]["accuracy"]["value"] for name, of in found.items()}
    assert accuracies == {"val": 1, "test-1": 0.75, "test-2": 0.5, "test-all-cropped": 0,
                          "test": pytest.approx(4 / 6)}  # fmt: skip
    assert found["test"]["slice"]["n"] == 6


def test_nothing_but_right_answers_is_no_certainty():
    labels = np.repeat([0, 1, 2], 30)
    found = class_metrics_with_intervals(make(labels, labels))
    assert found["accuracy"]["value"] == 1 and 0.94 < found["accuracy"]["low"] < 0.97
    assert 0.85 < found["recall_a"]["low"] < 0.91 and found["recall_a"]["high"] == 1
    assert np.isnan(found["f1_a"]["low"])


def test_the_gap_of_equal_parts_holds_zero():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 100)
    parts = [make(labels, np.where(rng.random(300) < 0.8, labels, 0)) for _ in range(2)]
    gap = accuracy_gap(*parts)
    assert gap["low"] < 0 < gap["high"]
    learnt_by_heart = accuracy_gap(make(labels, labels), parts[1])
    assert learnt_by_heart["low"] > 0.05


def test_predictions_are_read_back_and_damage_is_told(tmp_path):
    path = tmp_path / "predictions.csv"
    columns = ["sample_id", "patient_id", "split", "label", "score_a", "score_b", "score_c"]
    rows = [["0", "p", "val", "1", "0.2", "0.7", "0.1"], ["1", "q", "test", "0", "0.9", "0", "0.1"]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    read = read_class_predictions(path, "val", CLASSES)
    assert read.predicted.tolist() == [1] and read.patients.tolist() == ["p"]
    assert list(evaluate_class_predictions(path, CLASSES)) == ["val", "test"]
    for damage in ("", "split,label\nval,0\n", ",".join(columns) + "\n0,p,val,x,1,0,0\n"):
        path.write_text(damage)
        with pytest.raises(InputError, match="is not a predictions file"):
            evaluate_class_predictions(path, CLASSES)
