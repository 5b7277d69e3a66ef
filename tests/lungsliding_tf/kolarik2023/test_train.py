"""The whole study at its smallest, once, through the public function; then what it left."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.kolarik2023 import evaluate, split, train  # noqa: E402
from lungsliding_tf.kolarik2023.config import REPORTED_CELLS, KolarikConfig  # noqa: E402
from lungsliding_tf.kolarik2023.data import prepare_all  # noqa: E402
from preprocessing import splits  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402
from preprocessing.store import StoreWriter  # noqa: E402
from replication.records import read_json  # noqa: E402


def silent(line):
    pass


def tiny_resnet3d(depth, input_shape, batch_norm_momentum):
    """Something with the face of `build_resnet3d` that trains in a moment."""
    clip = keras.Input(input_shape)
    x = keras.layers.Conv3D(4, 3, strides=4, activation="relu")(clip)
    x = keras.layers.GlobalAveragePooling3D()(x)
    return keras.Model(clip, keras.layers.Dense(1, activation="sigmoid")(x))


@pytest.fixture(scope="module")
def config(small_phantoms, tmp_path_factory):
    return KolarikConfig(
        data=small_phantoms,
        out=tmp_path_factory.mktemp("study"),
        cell=("2_30x30", "64-frame"),
        depth=(18,),
        max_tiles=2,
        epochs=1,
        batch_size=8,
        batch_norm_momentum=0.9,
        smooth_samples=2,
    )


@pytest.fixture(scope="module")
def study(config):
    said = []
    verdicts = train.run_study(config, prepare_all(config, silent), said.append)
    return config, verdicts, said


def test_the_default_configuration_is_the_papers_run(tmp_path):
    default = KolarikConfig(tmp_path, tmp_path)
    assert (default.batch_size, default.epochs, default.test_fraction) == (32, 16, 0.30)
    assert len(default.experiments) == 15 and default.cell == REPORTED_CELLS
    assert (default.protocol, default.precision) == ("patient-wise", "float32")
    grid = replace(default, cell=(*REPORTED_CELLS, "2_90x90", "64-frame"))
    assert len(grid.experiments) == 19, "six tile sets at three depths, and one M-mode network"


def test_every_run_is_complete(study):
    config, _, _ = study
    for name in ("resnet3d_18-2_30x30", "mmode_resnet18-64-frame"):
        folder = config.out / "runs" / "kolarik2023" / name / "seed0"
        present = {p.name for p in folder.iterdir()}
        assert present >= {"config.json", "environment.json", "history.csv", "predictions.csv",
                           "metrics.json", "model.keras"}  # fmt: skip
        assert not [n for n in present if "partial" in n or n.endswith((".tmp", ".h5"))]
    figures = config.out / "runs/kolarik2023/resnet3d_18-2_30x30/seed0/figures"
    drawn = {"curves.png", "saliency_present.png", "saliency_absent.png"}
    assert {p.name for p in figures.iterdir()} == drawn
    assert {p.name for p in (config.out / "figures").iterdir()} == {
        "class_counts.png", "mmode_present.png", "mmode_absent.png",
    }  # fmt: skip


def test_predictions_are_of_unseen_patients(study):
    config, _, _ = study
    store = prepare_all(config, silent)["2_30x30"]
    samples = split.split_samples(config, store, seed=0)
    trained_on = set(samples.patients[samples.of("train")])
    tested_on = set(samples.patients[samples.of("test")])
    assert trained_on and tested_on and not trained_on & tested_on


def test_verdicts_on_phantoms_are_not_comparable_and_say_why(study):
    config, verdicts, _ = study
    assert Counter(v.reported.table for v in verdicts) == {"1": 4, "4": 4, "5": 3}
    for v in verdicts:
        assert v.verdict == "not comparable" and v.reason.startswith("phantoms")
    lines = (config.out / "verdict-kolarik2023.csv").read_text().splitlines()
    assert len(lines) == 12


def test_floors_stand_beside_the_network(study):
    config, _, said = study
    metrics = read_json(config.out / "runs/kolarik2023/resnet3d_18-2_30x30/seed0/metrics.json")
    assert set(metrics["floors"]) == set(evaluate.FLOORS)
    for floor in metrics["floors"].values():
        assert 0.5 <= floor["clip"]["floor"] <= 1
    assert any("floors: frame difference" in line for line in said)


def test_running_again_does_nothing_twice(study):
    config, verdicts, _ = study
    runs = config.out / "runs"
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()}
    assert train.run_study(config, prepare_all(config, silent), silent) == verdicts
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()} == before


def test_what_only_the_evaluation_reads_is_evaluated_anew_and_not_trained(
    study, tmp_path, monkeypatch
):
    config, _, _ = study
    monkeypatch.setattr(train.run, "fit", None)
    out = shutil.copytree(config.out, tmp_path / "out")
    # How the columns of an M-mode picture vote is nothing to the tiles of another cell.
    again = replace(config, out=out, cell=("2_30x30",), smooth_samples=3, mmode_vote="majority")
    train.run_study(again, prepare_all(again, silent), silent)
    one, other = (
        read_json(path / "runs/kolarik2023/resnet3d_18-2_30x30/seed0/metrics.json")
        for path in (config.out, out)
    )
    assert one.pop("evaluation") == {"smooth_samples": 2, "paper_data": False}
    assert other.pop("evaluation") == {"smooth_samples": 3, "paper_data": False}
    assert one == other


def test_other_settings_into_the_same_folder_are_refused(study):
    config, _, _ = study
    with pytest.raises(InputError, match="learning_rate=0.001, now 0.01"):
        changed = replace(config, learning_rate=0.01)
        train.run_study(changed, prepare_all(changed, silent), silent)


def test_published_protocol_is_named_leaky_everywhere(study, monkeypatch):
    config, _, _ = study
    monkeypatch.setattr(train, "build_resnet3d", tiny_resnet3d)
    leaky = replace(config, cell=("2_30x30",), protocol="published-leaky-clips")
    said = []
    verdicts = train.run_study(leaky, prepare_all(leaky, silent), said.append)
    own = [line for line in said if "published_leaky_clips" in line and "AUROC" in line]
    assert own and own[0].startswith("LEAKY")
    assert any(line.startswith("LEAKY") or ": LEAKY" in line for line in said)
    assert any(v.verdict.startswith("LEAKY: ") for v in verdicts)
    folder = config.out / "runs/kolarik2023/resnet3d_18-2_30x30-published_leaky_clips/seed0"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["leaky"] is True and "val" not in metrics


def fake_store(tmp_path, patients, files, hashes):
    """A store of noise tiles with given patients and source files."""
    sources = [{"file": f, "sha256": h, "label": 1} for f, h in hashes.items()]
    recipe = {"cell": "2_30x30", "sources": sources}
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "s", recipe, (60, 30, 30)) as writer:
        for i, (patient, file) in enumerate(zip(patients, files, strict=True)):
            row = {"patient_id": patient, "label": i % 2, "file": file}
            writer.add(rng.integers(0, 255, (60, 30, 30), np.uint8), row)
        writer.finish_source({"file": "all", "reason": ""})
        return writer.close()


def test_one_video_under_two_patients_is_refused_before_training(tmp_path):
    names = [f"p{i}" for i in range(20)]
    files = [f"{name}.mp4" for name in names]
    hashes = {file: file for file in files}
    config = KolarikConfig(tmp_path, tmp_path)
    split.split_samples(config, fake_store(tmp_path, names, files, hashes), seed=0)
    store = fake_store(tmp_path / "b", names, files, dict.fromkeys(files, "the same file"))
    with pytest.raises(InputError, match="the split leaks"):
        split.split_samples(config, store, seed=0)


def test_shuffled_labels_are_dealt_out_over_patients(tmp_path):
    names = [f"p{i:02d}" for i in range(20) for _ in range(3)]
    true_labels = np.repeat(np.arange(20) % 2, 3)
    dealt = splits.deal_labels_anew(np.array(names), true_labels, seed=0)
    by_patient = dealt.reshape(20, 3)
    assert (by_patient == by_patient[:, :1]).all(), "a patient keeps one label"
    assert by_patient[:, 0].sum() == 10
    assert not np.array_equal(dealt, true_labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tiles": 0}, "--max-tiles is 0"), ({"epochs": 0}, "--epochs is 0"),
        ({"batch_size": -1}, "--batch-size is -1"), ({"seeds": 0}, "--seeds is 0"),
        ({"jobs": 0}, "--jobs is 0"),
        ({"cell": ()}, "at least one"), ({"test_fraction": 1.5}, "between 0 and 1"),
        ({"test_fraction": 0.9, "val_fraction": 0.2}, "--val-fraction"),
        ({"control_frozen": True, "shuffle_labels": True}, "--shuffle-labels"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        KolarikConfig(tmp_path, tmp_path, **wrong)


def test_a_class_without_patients_is_refused_before_training(tmp_path):
    names = [f"p{i}" for i in range(8)]
    store = fake_store(tmp_path, names, names, {n: n for n in names})
    for row in store.index:
        row["label"] = "1"
    with pytest.raises(InputError, match="0 patients with sliding absent"):
        split.split_samples(KolarikConfig(tmp_path, tmp_path), store, seed=0)


def test_scores_are_written_without_loss():
    scores = np.random.default_rng(0).random(1000).astype(np.float32) ** 20
    assert (np.array([float(f"{float(s):.9g}") for s in scores], np.float32) == scores).all()


def test_paper_data_is_a_claim_that_is_checked(study):
    config, _, _ = study
    store = prepare_all(config, silent)["2_30x30"]
    real = replace(config, paper_data=True)
    for row in store.index:
        row["origin"] = "real"
    with pytest.raises(InputError, match="expected 28 videos with and 20 without"):
        evaluate.why_not_comparable(real, store)
