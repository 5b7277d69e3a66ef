"""Predicted slices to group percentages, and the classifiers that read them."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnr_iemn.patient import (
    MODEL_FILES,
    fit_classifier,
    group_percentages,
    load_classifier,
    read_features,
    save_classifier,
    score_patients,
)
from preprocessing.errors import InputError

KINDS = ("svm", "xgboost")


def by_hand(groups: list[list[int]]) -> list[float]:
    return [np.mean([slice_ == c for slice_ in group]) for group in groups for c in range(3)]


def test_equal_groups_hold_their_slices_shares():
    predicted = np.array([0, 0, 1, 2, 1, 1, 2, 2])
    found = group_percentages(predicted, 4, 3)
    assert found.tolist() == by_hand([[0, 0], [1, 2], [1, 1], [2, 2]])
    assert group_percentages(np.arange(40) % 3, 20, 3).shape == (60,)


def test_groups_of_a_scan_that_is_no_multiple_differ_by_one_slice():
    predicted = np.array([0, 1, 1, 2, 0, 0, 2])
    assert group_percentages(predicted, 3, 3).tolist() == pytest.approx(
        by_hand([[0, 1], [1, 2], [0, 0, 2]])
    )


def test_a_scan_with_fewer_slices_than_groups_repeats_them():
    found = group_percentages(np.array([0, 1, 2]), 20, 3).reshape(20, 3)
    assert found.sum(axis=1).tolist() == [1] * 20 and set(found.ravel()) == {0, 1}
    order = found.argmax(axis=1)
    assert (np.diff(order) >= 0).all()  # still from head to foot
    assert sorted(np.bincount(order).tolist()) == [6, 7, 7]
    one = group_percentages(np.array([2]), 20, 3).reshape(20, 3)
    assert (one.argmax(axis=1) == 2).all()
    with pytest.raises(ValueError, match="without slices"):
        group_percentages(np.array([], int), 20, 3)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=90), st.integers(1, 25))
def test_shares_sum_to_one_in_each_group(predicted, groups):
    found = group_percentages(np.array(predicted), groups, 3).reshape(groups, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    if len(predicted) % groups == 0:  # groups of equal size: their mean is the scan's
        expected = np.bincount(predicted, minlength=3) / len(predicted)
        np.testing.assert_allclose(found.mean(axis=0), expected)


def test_features_of_networks_stand_side_by_side():
    one = {"p": np.array([0, 1, 2, 2]), "q": np.array([1, 1, 1, 1])}
    other = {"p": np.array([2, 2, 2, 0]), "q": np.array([0, 0])}
    found = read_features([one, other], ["q", "p"], 2, 3)
    assert found.shape == (2, 12)
    for row, name in zip(found, ("q", "p"), strict=True):
        np.testing.assert_array_equal(row[:6], group_percentages(one[name], 2, 3))
        np.testing.assert_array_equal(row[6:], group_percentages(other[name], 2, 3))


@pytest.fixture(scope="module")
def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of 60 scans, their classes, and those of 30 others."""
    rng = np.random.default_rng(0)

    def draw(labels):
        chances = 0.5 * np.eye(3)[labels] + 0.5 / 3
        drawn = [rng.choice(3, 60, p=chance) for chance in chances]
        return np.stack([group_percentages(d, 20, 3) for d in drawn])

    labels = np.arange(60) % 3
    return draw(labels), labels, draw(np.arange(30) % 3)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, patients):
    features, labels, _ = patients
    return request.param, fit_classifier(request.param, features, labels, seed=0)


def test_a_saved_classifier_says_the_same(fitted, patients, tmp_path):
    kind, classifier = fitted
    path = save_classifier(classifier, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] == [MODEL_FILES[kind]]
    loaded = load_classifier(tmp_path, kind)
    np.testing.assert_allclose(
        score_patients(loaded, patients[2]), score_patients(classifier, patients[2]), atol=1e-7
    )


def test_nothing_is_pickled(fitted, tmp_path):
    kind, classifier = fitted
    path = save_classifier(classifier, tmp_path)
    if kind == "xgboost":
        assert "learner" in json.loads(path.read_text())
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert "schema.json" in names
        assert {name.rsplit(".", 1)[-1] for name in names} <= {"json", "npy"}


def test_scores_sum_to_one_and_the_largest_is_the_prediction(fitted, patients):
    _, classifier = fitted
    scores = score_patients(classifier, patients[2])
    assert scores.shape == (30, 3) and scores.dtype == np.float64
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(scores.argmax(axis=1), classifier.predict(patients[2]))
    assert (scores.argmax(axis=1) == np.arange(30) % 3).mean() > 0.8  # it has learnt


@pytest.mark.parametrize("kind", KINDS)
def test_two_classes_have_two_scores(patients, kind):
    features, labels, others = patients
    two = labels < 2
    classifier = fit_classifier(kind, features[two], labels[two], seed=0)
    scores = score_patients(classifier, others)
    assert scores.shape == (30, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(scores.argmax(axis=1), classifier.predict(others))


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"{\"learner\": 3", b"[1, 2]", b"PK\x03\x04rubbish", None]
)  # fmt: skip
def test_damaged_files_are_one_line(fitted, tmp_path, damage):
    kind, classifier = fitted
    path = save_classifier(classifier, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(InputError, match="cannot be loaded .*; train again") as error:
        load_classifier(tmp_path, kind)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("trees", 0, "left_children", 0), 2**31),  # XGBoost reads there, and crashes
        (("trees", 0, "right_children", 0), 0),  # back to itself, for ever
        (("trees", 0, "split_indices", 0), 99),
        (("trees", 0, "split_type", 0), 1),
        (("trees", 0, "split_conditions"), []),
        (("trees", 0, "left_children", 0), 1.5),
        (("tree_info", 0), 7),
        (("iteration_indptr", 1), 500),
        (("gbtree_model_param", "num_trees"), "7"),
    ],
)
def test_trees_that_lead_out_of_their_arrays_are_refused(patients, tmp_path, place, value):
    path = save_classifier(fit_classifier("xgboost", *patients[:2], seed=0), tmp_path)
    document = json.loads(path.read_text())
    inner = document["learner"]["gradient_booster"]["model"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="trees are damaged"):
        load_classifier(tmp_path, "xgboost")


def test_a_missing_file_or_another_model_is_one_line(tmp_path):
    import skops.io
    from sklearn.dummy import DummyClassifier

    for kind in KINDS:
        with pytest.raises(InputError, match=MODEL_FILES[kind]):
            load_classifier(tmp_path, kind)
    skops.io.dump(DummyClassifier(), tmp_path / MODEL_FILES["svm"])
    with pytest.raises(InputError, match="holds a DummyClassifier, no SVM"):
        load_classifier(tmp_path, "svm")


class Unknown:
    """Of no library: skops has to refuse to make one."""


def test_objects_of_unknown_types_are_not_made(tmp_path):
    import skops.io
    from sklearn.svm import SVC

    foreign = SVC()
    foreign.kernel = Unknown()
    skops.io.dump(foreign, tmp_path / MODEL_FILES["svm"])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_classifier(tmp_path, "svm")


def test_votes_that_tie_are_decided_as_the_scores_are():
    rng = np.random.default_rng(0)
    points, labels = rng.random((60, 2)), rng.integers(0, 3, 60)
    asked = rng.random((2000, 2))
    svm = fit_classifier("svm", points, labels, seed=0)
    np.testing.assert_array_equal(score_patients(svm, asked).argmax(axis=1), svm.predict(asked))
    svm.break_ties = False  # some votes do tie
    assert (score_patients(svm, asked).argmax(axis=1) != svm.predict(asked)).any()
