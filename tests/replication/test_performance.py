import cv2
import numpy as np
import pytest

from replication.experiments import load_experiments
from replication.metrics import binary_metrics
from replication.multiclass import confusion_matrix, read_class_predictions
from replication.performance import Scores, read_scores, save_performance

ANSWERS = [(1, 0.9), (1, 0.5), (0, 0.49), (0, 0.2), (0, 0.8), (1, 0.1)]


@pytest.fixture
def drawn(monkeypatch):
    """Every figure as it is saved, still open to be looked at."""
    figures = []
    original = __import__("replication.performance", fromlist=["x"]).save_figure

    def keep(figure, path):
        figures.append(figure)
        original(figure, path)

    monkeypatch.setattr("replication.performance.save_figure", keep)
    return figures


def test_scores_of_one_class_have_both_names_and_the_same_matrix(tmp_path, binary_run):
    (e,) = load_experiments([binary_run(tmp_path, "e", ANSWERS)])
    (scores,) = read_scores(e, "test")
    assert scores.classes == ("absent", "present") and scores.drawn == [1]
    np.testing.assert_allclose(scores.scores.sum(axis=1), 1)
    (tn, fp), (fn, tp) = confusion_matrix(scores)
    assert (tp, fn, tn, fp) == (2, 1, 2, 1)
    labels, values = (np.array(column) for column in zip(*ANSWERS, strict=True))
    assert binary_metrics(labels, values)["sensitivity"] == tp / (tp + fn)


def test_scores_of_classes_have_the_matrix_of_the_metrics(tmp_path, class_run):
    folder = class_run(tmp_path, "e", [0, 1, 2, 2, 1], [0, 1, 1, 2, 0])
    (e,) = load_experiments([folder])
    (scores,) = read_scores(e, "val")
    predictions = read_class_predictions(folder / "predictions.csv", "val", e.classes)
    np.testing.assert_array_equal(confusion_matrix(scores), confusion_matrix(predictions))
    assert scores.drawn == [0, 1, 2]


def curves(axis):
    """The points of each curve with a colour of its own, not of guides and legends."""
    lines = [line.get_xydata() for line in axis.lines]
    return [points for points in lines if len(points) > 2]


def test_the_picture_has_the_right_points_for_each_seed(tmp_path, binary_run, drawn):
    folders = [binary_run(tmp_path, "e", ANSWERS, seed=seed) for seed in range(2)]
    (e,) = load_experiments(folders)
    path = tmp_path / "picture.png"
    save_performance(path, read_scores(e, "test"), "e <b>: test")
    assert cv2.imread(str(path)).std() > 5
    matrix, roc, recall, _ = drawn[0].axes
    assert [text.get_text() for text in matrix.texts] == ["66.7 %\n2", "33.3 %\n1", "33.3 %\n1",
                                                          "66.7 %\n2"]  # fmt: skip
    assert len(curves(roc)) == 2  # one for each seed
    points = {tuple(point) for point in np.round(curves(roc)[0], 6)}
    assert {(0.0, 0.0), (1.0, 1.0), (0.333333, 0.333333), (0.333333, 0.666667)} <= points
    (entry,) = roc.get_legend().get_texts()
    assert entry.get_text() == "present: area 0.556"
    assert "2 seeds" in drawn[0].get_suptitle() and "<b>" in drawn[0].get_suptitle()
    assert recall.get_legend().get_texts()[0].get_text().startswith("present: average precision 0.")


def test_a_part_with_one_class_alone_has_no_curves(tmp_path, drawn):
    scores = Scores(("a", "b"), np.arange(3), np.arange(3), np.ones(3, int),
                    np.array([[0.2, 0.8]] * 3))  # fmt: skip
    save_performance(tmp_path / "p.png", [scores], "one class")
    assert scores.drawn == []
    assert [axis.texts[0].get_text() for axis in drawn[0].axes[1:]] == ["one class alone"] * 3
