import math

import numpy as np
import pytest

from replication import baselines, metrics, multiclass
from replication.experiments import Experiment

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize("positives", [3, 5, 8])
def test_the_constant_answer_is_that_of_constant_scores(positives):
    labels = np.repeat([1, 0], [positives, 10 - positives])
    constant = np.full(10, float(positives > 5))
    expected = metrics.binary_metrics(labels, constant)
    block = {"n": 10, "positives": positives}
    for name in metrics.METRICS:
        found = baselines.constant_value(block, name)
        assert found == pytest.approx(expected[name], nan_ok=True), name
    assert math.isnan(baselines.constant_value(block, "focal_loss"))


def test_the_constant_answer_of_classes_is_that_of_its_matrix():
    block = {"confusion": [[1, 1, 0], [2, 3, 1], [0, 0, 2]]}  # two, six and two of each
    expected = multiclass.class_metrics(np.array([[0, 2, 0], [0, 6, 0], [0, 2, 0]]), CLASSES)
    for name, value in expected.items():
        found = baselines.constant_value(block, name, CLASSES)
        assert found == pytest.approx(value, nan_ok=True), name
    entropy = baselines.constant_value(block, "cross_entropy", CLASSES)
    assert entropy == pytest.approx(-(0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2)))


def experiment(config=None, **result) -> Experiment:
    return Experiment("e", "", "", (result,), config or {})


def test_the_best_shortcut_in_each_studys_shape():
    clips = experiment(
        floors={"motion": {"clip": {"floor": 0.7}, "patient": {"floor": 0.8}},
                "flicker": {"clip": {"floor": 0.6}, "patient": {"floor": 0.9}}},
        test={"clip": {"auroc": {"value": 0.85}}},
    )  # fmt: skip
    assert baselines.best_floor(clips, "test", "clip", "f1") == ("motion", "auroc", 0.7)
    assert baselines.best_floor(clips, "test", "patient", "f1") == ("flicker", "auroc", 0.9)
    assert baselines.best_floor(clips, "val", "clip", "f1") is None
    text = baselines.describe_floor(clips, "test", "clip", "accuracy")
    assert text == "AUROC 0.700 (motion), ours 0.850"
    images = experiment(
        floors={"border": {"val": {"floor": 0.5}, "test": {"floor": 0.6}},
                "majority": {"val": {"floor": 0.99}, "test": {"floor": 0.99}}}
    )  # fmt: skip
    assert baselines.best_floor(images, "test", "image", "accuracy") == ("border", "accuracy", 0.6)
    assert baselines.describe_floor(images, "val", "image", "accuracy") == "0.500 (border)"
    slices = experiment(
        floors={"thumbnail": {"accuracy": {"floor": 0.4}, "balanced_accuracy": {"floor": 0.45}}},
        val={"slice": {"accuracy": {"value": 0.6}}},
    )  # fmt: skip
    found = baselines.best_floor(slices, "val", "slice", "balanced_accuracy")
    assert found == ("thumbnail", "balanced_accuracy", 0.45)
    text = baselines.describe_floor(slices, "val", "slice", "recall_CAP")
    assert text == "accuracy 0.400 (thumbnail), ours 0.600"
    assert baselines.best_floor(slices, "test-1", "patient", "accuracy") is None
    control = experiment(control_floors={"temporal_difference": 0.97})
    found = baselines.best_floor(control, "test", "clip", "accuracy")
    assert found == ("temporal_difference", "accuracy", 0.97)
