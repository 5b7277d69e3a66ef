"""The whole study on a few films: from files to a verdict, resumable, and honest about it."""

import csv
import dataclasses
import json
import shutil

import cv2
import keras
import numpy as np
import pytest

from preprocessing.errors import InputError
from replication import verdict
from replication.run import RunFolder
from vbreathnet import claims, train
from vbreathnet.config import CLASSES, PAPER_ROWS, VBreathNetConfig
from vbreathnet.data import prepare
from vbreathnet.train import experiment_name, learning_rate_of, list_experiments, run_study
from vbreathnet.weights import weight_file


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def study(films, tmp_path_factory):
    """A finished study with V-BreathNet, its configuration, verdicts and what it said."""
    config = VBreathNetConfig(
        data=films, out=tmp_path_factory.mktemp("study"), image_size=96, test_per_class=3,
        per_class=12, model=("v-breathnet",), epochs=1, batch_size=8, smooth_samples=2,
        min_sharpness=0, min_contrast=0, export_beside=False,
    )  # fmt: skip
    lines = []
    store = prepare(config, silent)
    return config, run_study(config, store, lines.append), lines


def run_folder(config):
    return config.out / "runs" / "vbreathnet" / "v-breathnet" / "seed0"


def predictions(config) -> list[dict]:
    with (run_folder(config) / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_folder_holds_what_the_contract_names(study):
    config, _, _ = study
    names = {p.name for p in run_folder(config).iterdir()}
    assert names >= {"config.json", "environment.json", "history.csv", "predictions.csv",
                     "metrics.json", "model.keras", "figures", "model-float.tflite",
                     "model-int8.tflite"}  # fmt: skip
    model = keras.models.load_model(run_folder(config) / "model.keras", safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    figures = {p.stem for p in (run_folder(config) / "figures").iterdir()}
    assert figures >= {"curves", "confusion-val", "confusion-test", "confusion-test-all-cropped"}
    assert any(name.startswith("heatmaps-") for name in figures)
    for path in (run_folder(config) / "figures").iterdir():
        assert cv2.imread(str(path)).std() > 5


def test_predictions_have_every_original_once_and_the_test_three_times(study):
    config, _, _ = study
    rows = predictions(config)
    splits = [row["split"] for row in rows]
    for name in ("test", "test-wrong-cropped", "test-all-cropped"):
        assert splits.count(name) == 9
    plain = [row["sample_id"] for row in rows if not row["split"].startswith("test-")]
    assert len(set(plain)) == len(plain)
    for row in rows:
        assert sum(float(row[f"score_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    wrong = {
        row["sample_id"] for row in rows
        if row["split"] == "test"
        and np.argmax([float(row[f"score_{n}"]) for n in CLASSES]) != int(row["label"])
    }  # fmt: skip
    cropped = {
        r["sample_id"] for r in rows if r["split"] == "test-wrong-cropped" and r["cropped"] == "1"
    }
    assert cropped == wrong
    assert all(row["cropped"] == "1" for row in rows if row["split"] == "test-all-cropped")


def test_the_verdict_compares_nothing_with_phantoms(study):
    config, verdicts, lines = study
    assert len(verdicts) == 15  # every printed number of V-BreathNet
    assert {v.verdict for v in verdicts} == {"not comparable"}
    assert all("phantoms" in v.reason or "image_size" in v.reason for v in verdicts)
    counts = [v for v in verdicts if v.reported.metric == "total_parameters"]
    assert counts[0].ours == 399_075 and "image_size is 96, not 224" in counts[0].reason
    assert any("thumbnail 0." in line and "majority 0.3" in line for line in lines)
    assert any(line.startswith("claim 'V-BreathNet does not overfit'") for line in lines)
    metrics = json.loads((run_folder(config) / "metrics.json").read_text())
    assert metrics["lungs"]["images"] == 9
    assert 0 < metrics["lungs"]["lung_area"] < 0.6
    assert metrics["low_power"]["int8"]["bytes"] < 0.4 * metrics["low_power"]["float"]["bytes"]


def test_metrics_are_recomputed_from_predictions_alone(study):
    config, verdicts, _ = study
    (experiment,) = verdict.load_runs(config.out / "runs" / "vbreathnet")
    rows = [row for row in predictions(config) if row["split"] == "val"]
    right = [np.argmax([float(r[f"score_{n}"]) for n in CLASSES]) == int(r["label"]) for r in rows]
    assert experiment.mean("val", "image", "accuracy", "value") == pytest.approx(np.mean(right))


def test_a_finished_study_is_not_done_again(study, monkeypatch):
    config, verdicts, _ = study
    monkeypatch.setattr("vbreathnet.train.run.fit", None)
    monkeypatch.setattr("vbreathnet.train.evaluate_run", None)
    again = run_study(config, prepare(config, silent), silent)
    assert [v.ours for v in again] == pytest.approx([v.ours for v in verdicts], nan_ok=True)


def test_an_evaluation_anew_is_unfinished_until_its_end(study, tmp_path, monkeypatch):
    config, _, _ = study
    copy = dataclasses.replace(config, out=shutil.copytree(config.out, tmp_path / "out"))
    again = dataclasses.replace(copy, smooth_samples=3)  # determines no training

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("vbreathnet.train.run.fit", None)
    monkeypatch.setattr("vbreathnet.evaluate.explain.explain_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_study(again, prepare(again, silent), silent)
    assert not (run_folder(again) / "metrics.json").exists()


def test_another_setting_in_the_same_folder_is_refused(study):
    config, _, _ = study
    other = dataclasses.replace(config, dropout=0.3)
    with pytest.raises(InputError, match="other settings .dropout=0.2, now 0.3"):
        run_study(other, prepare(other, silent), silent)


def test_the_rate_is_halved_every_five_epochs_down_to_its_floor(small_config):
    config = dataclasses.replace(small_config, learning_rate=1e-3)
    rates = [learning_rate_of(config, epoch) for epoch in (0, 4, 5, 10, 24, 60)]
    assert rates == [1e-3, 1e-3, 5e-4, 2.5e-4, 1e-3 / 16, 1e-6]


def test_experiments_are_named_for_what_sets_them_apart(small_config):
    config = dataclasses.replace(
        small_config, model=("v-breathnet", "vgg16"), transfer_learning_rate=(0.01, 0.1),
        weights="random", shuffle_labels=True, protocol="published-leaky-augment-first",
    )  # fmt: skip
    names = [experiment_name(config, *one) for one in list_experiments(config)]
    end = "-published_leaky-shuffled_labels"
    assert names == ["v-breathnet" + end, "vgg16-random_weights" + end,
                     "vgg16-lr0.1-random_weights" + end]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"image_size": 64, "model": ("v-breathnet", "vgg16")}, "--image-size is 64"),
        ({"image_size": 31}, "--image-size is 31"),
        ({"val_fraction": 1.0}, "--val-fraction is 1.0"),
        ({"min_contrast": 50, "max_contrast": 40}, "--max-contrast is 40"),
        ({"classes": ("a", "a")}, "--classes is"),
        ({"model": ()}, "--model is"),
        ({"transfer_learning_rate": (0.1, 0.0)}, "--transfer-learning-rate is"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"per_class": -1}, "--per-class is -1"),
    ],
)
def test_values_that_no_run_can_have_are_refused_by_their_flag(small_config, settings, flag):
    with pytest.raises(InputError, match=flag):
        dataclasses.replace(small_config, **settings)


def claimed(
    row: str, gap: float, accuracy: float, leaky=False, shuffled=False, rate=0.01
) -> verdict.Experiment:
    def around(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    result = {"gap": {"chosen_epoch": around(gap)}, "leaky": False, "not_comparable": [],
              "val": {"image": {"accuracy": around(accuracy)}}}  # fmt: skip
    model = {name: model for model, name in PAPER_ROWS.items()}[row]
    config = {"classes": CLASSES, "model": model, "shuffle_labels": shuffled,
              "learning_rate": rate}  # fmt: skip
    return verdict.Experiment(model, row, "", (result | {"leaky": leaky},), config)


def test_overfitting_is_judged_by_intervals():
    found = claims.judge_claims(
        [claimed("V-BreathNet", 0.05, 0.95), claimed("VGG16", 0.05, 0.90),
         claimed("DenseNet", 0.0, 0.945), claimed("MobileNet-V2", 0.025, 0.99)]
    )  # fmt: skip
    assert [(v.claim, v.verdict) for v in found] == [
        ("V-BreathNet does not overfit", "does not hold"),
        ("VGG16 overfits", "holds"),
        ("DenseNet overfits", "does not hold"),
        ("MobileNet-V2 overfits", "inconclusive"),
    ]
    assert [v.fails for v in found] == [True, False, True, False]


def test_claims_leave_shuffled_runs_out_and_mark_leaky_ones():
    found = claims.judge_claims(
        [claimed("V-BreathNet", 0.05, 0.95), claimed("V-BreathNet", 0, 0.99, leaky=True),
         claimed("V-BreathNet", 0, 0.33, shuffled=True), claimed("VGG16", 0.05, 0.90)]
    )  # fmt: skip
    assert [v.verdict for v in found] == ["does not hold", "LEAKY: holds", "holds"]


def test_the_ideal_rate_is_judged_where_there_are_several():
    runs = [claimed("VGG16", 0, 0.9, rate=0.01), claimed("VGG16", 0, 0.95, rate=0.001)]
    rate = claims.judge_claims(runs)[-1]
    assert rate.here == "does not hold"
    assert rate.ours == "validation accuracy 0.001: 0.9500, 0.01: 0.9000"


def test_paper_data_is_refused_for_other_counts(small_config):
    config = dataclasses.replace(small_config, paper_data=True)
    store = prepare(config, silent)
    assert "phantom" in store.column("origin")
    for row in store.index:
        row["origin"] = "real"
    with pytest.raises(InputError, match="--paper-data: expected the images of Table 1"):
        run_study(config, store, silent)


def test_missing_weights_stop_the_study_before_its_first_epoch(small_config, tmp_path):
    config = dataclasses.replace(
        small_config, model=("v-breathnet", "mobilenetv2"), weights=str(tmp_path / "none.h5")
    )
    with pytest.raises(InputError, match="none.h5: no such file; fetch the ImageNet weights"):
        run_study(config, prepare(config, silent), silent)
    assert not list(config.out.glob("runs/**/history.csv"))


def test_another_weight_file_of_the_same_name_is_another_run(small_config, tmp_path):
    name = weight_file("mobilenetv2", small_config.image_size).name
    for content in ("one", "other"):
        (tmp_path / content / "weights").mkdir(parents=True)
        (tmp_path / content / "weights" / name).write_text(content)
    store = prepare(small_config, silent)

    def open_run(weights):
        config = dataclasses.replace(small_config, weights=str(weights))
        return train._run_folder(config, store, "mobilenetv2", 0.1, 0)

    for inside in ("weights", f"weights/{name}"):
        first = open_run(tmp_path / "one" / inside)
        first.write_metrics({})
        assert open_run(tmp_path / "one" / inside).finished
        with pytest.raises(InputError, match="holds a run with other settings .weights_sha256"):
            open_run(tmp_path / "other" / inside)
        with pytest.raises(InputError, match="no such file"):
            open_run(tmp_path / "gone" / inside)
        (first.path / "model.keras").touch()
        assert open_run(tmp_path / "gone" / inside).finished  # needs no initial weights any more
        shutil.rmtree(first.path)


def tiny_vbreathnet(input_shape, classes, dropout, dense_dropout, momentum, order):
    """Something with the face of `build_vbreathnet` that trains in a moment."""
    images = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(images)
    x = keras.layers.BatchNormalization(momentum=momentum)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(dropout)(x))
    return keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x))


def test_a_run_folder_resumes_with_the_rate_of_its_epoch(small_config, monkeypatch):
    monkeypatch.setattr("vbreathnet.train.build_vbreathnet", tiny_vbreathnet)
    config = dataclasses.replace(
        small_config, epochs=3, halve_every=1, learning_rate=0.05, stop_after="train"
    )
    store = prepare(config, silent)
    whole = dataclasses.replace(config, out=config.out / "whole")
    run_study(whole, store, silent)

    def stop_after_two(path, rows, columns=None):
        from replication.records import write_csv

        write_csv(path, rows, columns)
        if len(rows) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("replication.run.write_csv", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            run_study(config, store, silent)
    run_study(config, store, silent)
    histories = [
        RunFolder(c.out / "runs/vbreathnet/v-breathnet/seed0",
                  json.loads((run_folder(c) / "config.json").read_text())).history()
        for c in (whole, config)
    ]  # fmt: skip
    for one, other in zip(*histories, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)


@pytest.mark.slow
def test_random_baselines_are_named_and_their_rates_compared(small_config):
    config = dataclasses.replace(
        small_config, model=("mobilenetv2",), weights="random", transfer_epochs=1,
        transfer_learning_rate=(0.01, 0.001), smooth_samples=1,
    )  # fmt: skip
    verdicts = run_study(config, prepare(config, silent), silent)
    # Only the rate of the paper stands in a row of Table 3.
    assert {v.experiment for v in verdicts if v.reported.table == "3"} == {
        "mobilenetv2-random_weights"
    }
    counts = {v.reported.metric: v for v in verdicts if v.reported.metric in verdict.COUNTS}
    assert counts["trainable_parameters"].ours == 1_475_075  # Table 3, at any size
    accuracy = next(v for v in verdicts if v.reported.metric == "accuracy")
    assert "random weights, not those of ImageNet" in accuracy.reason
    for name in ("gaps", "learning_rates"):
        assert cv2.imread(str(config.out / "figures" / f"{name}.png")).std() > 5
    runs = config.out / "runs" / "vbreathnet"
    assert {p.name for p in runs.iterdir()} == {
        "mobilenetv2-random_weights", "mobilenetv2-lr0.001-random_weights"
    }  # fmt: skip
    # Frozen: the base's weights are those it started with, which the seed alone decides.
    models = [keras.models.load_model(p / "seed0" / "model.keras") for p in sorted(runs.iterdir())]
    ends = []
    for layers in zip(*(model.layers for model in models), strict=True):
        same = all(
            np.array_equal(*weights)
            for weights in zip(*(layer.get_weights() for layer in layers), strict=True)
        )
        if layers[0].weights:
            ends.append((layers[0].name.startswith("head_"), same))
    assert all(same != head for head, same in ends)
