"""The whole study on a few scans and small networks: from files to verdicts, and what it left."""

import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from cnr_iemn import split, train
from cnr_iemn.config import CLASSES
from cnr_iemn.diagnose import out_of_fold
from cnr_iemn.evaluate import read_predicted
from cnr_iemn.explain import read_maps
from cnr_iemn.patient import load_classifier
from cnr_iemn.runs import SliceRun, list_runs, run_folder
from replication import run, verdict
from replication.records import read_csv, read_json

ROOT = Path(__file__).resolve().parents[2]
RUN_FILES = {"config.json", "environment.json", "history.csv", "predictions.csv", "metrics.json",
             "model.keras", "scans.csv", "declared.json"}  # fmt: skip
NETWORKS = ("resnext50_32x4d", "densenet161")


def silent(line: str) -> None:
    pass


def run_path(config, study="cnr_iemn", experiment="multitask-resnext50_32x4d", run="seed0"):
    return config.out / "runs" / study / f"{experiment}-random_weights" / run


def patient_path(config, networks="all", classifier="xgboost", protocol="out_of_fold"):
    return run_path(config, experiment=f"patients-{networks}-{classifier}-{protocol}")


def contents(path: Path):
    """The bytes of a file, and of what is compressed in it."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def test_run_folders_hold_what_the_contract_names(study):
    config, _, _, _ = study
    whole = {f"multitask-{network}" for network in NETWORKS}
    for experiment in whole:
        path = run_path(config, experiment=experiment)
        assert {p.name for p in path.iterdir()} == RUN_FILES | {"figures", "rise.npz"}
        folds = run_path(config, "cnr_iemn_folds", experiment, "")
        assert {p.name for p in folds.iterdir()} == {"seed0-fold0of2", "seed0-fold1of2"}
        for fold in folds.iterdir():
            assert {p.name for p in fold.iterdir()} == RUN_FILES
        keras.models.load_model(path / "model.keras", safe_mode=True)
    patients = {
        f"patients-{networks}-{classifier}-{protocol}"
        for networks in (*NETWORKS, "all")
        for classifier in ("svm", "xgboost")
        for protocol in ("out_of_fold", "published_in_sample")
    }
    runs = {p.name.removesuffix("-random_weights") for p in run_path(config).parents[1].iterdir()}
    assert runs == whole | patients
    for experiment in patients:
        path = run_path(config, experiment=experiment)
        model = "classifier.json" if "xgboost" in experiment else "classifier.skops"
        assert {p.name for p in path.iterdir()} == {
            "config.json", "declared.json", "predictions.csv", "metrics.json", "figures", model
        }  # fmt: skip


def test_validation_is_watched_by_whole_networks_alone(study):
    """A fold's network sees no slice of the validating scans, nor of its own fold, in training."""
    config, _, _, _ = study
    whole, fold = (
        read_csv(run_path(config, *place) / "history.csv")
        for place in ((), ("cnr_iemn_folds", "multitask-densenet161", "seed0-fold0of2"))
    )
    assert {"val_loss", "val_class_accuracy", "val_region_loss"} <= set(whole[0])
    assert "class_loss" in fold[0] and not [name for name in fold[0] if name.startswith("val")]
    environment = read_json(run_path(config) / "environment.json")
    assert environment["initial_weights"] == "random" and environment["packages"]["SimpleITK"]


def test_pictures_are_there_and_not_blank(study):
    config, _, _, _ = study
    names = {p.name for p in (config.out / "figures").iterdir()}
    assert names == {"figure_1.png", "figure_12.png", "confusions_multitask.png", "rise.png"}
    pictures = list(config.out.rglob("*.png"))
    assert {p.parent.parent for p in pictures} > {run_path(config), patient_path(config)}
    for path in pictures:
        assert cv2.imread(str(path)).std() > 5, path
    explained = read_maps(run_path(config) / "rise.npz")
    assert explained.maps.shape == (3, 32, 32) and (explained.maps.std(axis=(1, 2)) > 0).all()
    assert [caption.split(": ")[1] for caption in explained.captions] == list(CLASSES)
    assert not explained.lesions[0].any()
    assert explained.images.shape == (3, 32, 32, 2)


def test_slice_predictions_have_every_labelled_slice_once(study, slices):
    config, stores, _, _ = study
    rows = read_csv(run_path(config) / "predictions.csv")
    assert list(rows[0]) == ["sample_id", "patient_id", "split", "label",
                             *(f"score_{name}" for name in CLASSES)]  # fmt: skip
    own = {int(row["sample_id"]): row for row in rows if "/" not in row["sample_id"]}
    labelled = np.flatnonzero(slices.labels != split.UNLABELLED)
    assert sorted(own) == labelled.tolist()
    part_of = dict(zip(slices.scans.patients, slices.parts, strict=True))
    for number, row in own.items():
        assert row["patient_id"] == stores[0].index[number]["patient_id"]
        assert int(row["label"]) == slices.labels[number]
        assert row["split"] == part_of[row["patient_id"]]
    tests = [row for row in rows if "/" in row["sample_id"]]
    assert len(own) + len(tests) == len(rows) and len(tests) == len(stores[1].index)
    assert {row["split"] for row in tests} == {"test-1"}
    for row in rows:
        assert sum(float(row[f"score_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-4)


def test_patient_predictions_have_every_scan_once(study, slices):
    config, stores, _, _ = study
    rows = read_csv(patient_path(config) / "predictions.csv")
    own = [row for row in rows if row["split"] != "test-1"]
    assert [row["patient_id"] for row in own] == slices.scans.patients.tolist()
    assert [row["split"] for row in own] == slices.parts.tolist()
    assert [int(row["label"]) for row in own] == slices.scans.diagnoses.tolist()
    others = split.Scans.of(stores[1]).patients
    assert [r["patient_id"] for r in rows[len(own) :]] == [f"test-1/{name}" for name in others]


def test_metrics_are_recomputed_from_predictions_alone(study):
    config, _, _, _ = study
    found = {e.name.removesuffix("-random_weights"): e
             for e in verdict.load_runs(config.out / "runs" / "cnr_iemn")}  # fmt: skip
    assert len(found) == 2 + 12  # folds are no experiments
    for name, level in (("multitask-densenet161", "slice"),
                        ("patients-all-svm-published_in_sample", "patient")):  # fmt: skip
        for part in ("val", "test"):
            rows = [row for row in read_csv(run_path(config, experiment=name) / "predictions.csv")
                    if row["split"].startswith(part)]  # fmt: skip
            right = [
                np.argmax([float(row[f"score_{c}"]) for c in CLASSES]) == int(row["label"])
                for row in rows
            ]
            ours = found[name].mean(part, level, "accuracy", "value")
            assert ours == pytest.approx(np.mean(right))
            written = read_json(run_path(config, experiment=name) / "metrics.json")
            assert written[part][level]["accuracy"]["value"] == pytest.approx(ours)
        floors = found[name].results[0]["floors"]
        assert set(floors) == {"thumbnail", "intensity", "majority"}
        assert floors["majority"]["balanced_accuracy"]["floor"] == pytest.approx(1 / 3)


def test_the_verdict_compares_nothing_with_phantoms(study):
    config, _, verdicts, lines = study
    assert verdicts and {v.verdict for v in verdicts} == {"not comparable"}
    assert all("phantoms, not the challenge's patients" in v.reason for v in verdicts)
    assert all("random weights" in v.reason and "batch_size is 16" in v.reason for v in verdicts)
    of = {(v.reported.table, v.reported.row) for v in verdicts}
    assert {("4", "ResneXt-50"), ("4", "Densenet-161"), ("figure 9", "ResneXt-50")} <= of
    assert {("5", "ResneXt-50 features"), ("5", "Densenet-161 features, SVM")} <= of
    assert not {table for table, _ in of} & {"1", "2", "3", "6", "7", "8", "figure 11"}
    assert len(read_csv(config.out / "verdict-cnr_iemn.csv")) == len(verdicts)
    said = "\n".join(lines)
    assert "(no place: other scans than the challenge's)" in said and "(place " not in said
    assert said.count("RISE, 3 slices") == 2 and "thumbnail floor" in said
    assert "COVID-19: lung masks lose" in said and "CAP: lung masks lose" in said
    assert [row["class"] for row in read_csv(config.out / "segmentation.csv")] == list(CLASSES[1:])


def test_only_the_published_protocol_may_be_compared(study):
    """Out-of-fold stages speak to the same printed rows, and never agree with them."""
    config, _, _, _ = study
    for protocol, expected in (("out_of_fold", True), ("published_in_sample", False)):
        for networks in (*NETWORKS, "all"):
            metrics = read_json(patient_path(config, networks, protocol=protocol) / "metrics.json")
            reasons = [r for r in metrics["not_comparable"] if "another protocol" in r]
            assert bool(reasons) is expected
            assert len(set(metrics["not_comparable"])) == len(metrics["not_comparable"])


def test_the_challenges_tables_are_written_and_verified(study, monkeypatch, capsys):
    config, _, _, lines = study
    written = (config.out / "challenge-cnr_iemn.txt").read_text()
    assert written.strip() in lines
    stages = [f"patients-all-xgboost-{protocol}-random_weights:"
              for protocol in ("out_of_fold", "published_in_sample")]  # fmt: skip
    assert [line for line in written.splitlines() if line.startswith("patients")] == stages
    # The one test set is of phantoms that are made like the challenge's third.
    assert "Table 6" not in written and written.count("Table 8: third test set") == 2
    monkeypatch.setattr(sys, "argv", ["verify.py", str(config.out)])
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    runpy.run_path(str(ROOT / "scripts" / "verify.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert written in said
    page = (config.out / "verdicts.md").read_text(encoding="utf-8")
    (row,) = (row for row in page.splitlines()
              if row.startswith("| multitask-densenet161-") and " slices |" in row)  # fmt: skip
    rise = read_json(run_path(config, experiment="multitask-densenet161") / "metrics.json")["rise"]
    assert "RISE's maximum in the lesion (by chance, in the lungs); stable maps" in page
    assert row.endswith(
        f"| {rise['pointing_game']:.2f} ({rise['chance']:.2f}, {rise['chance_in_lungs']:.2f}); "
        f"{rise['stable']} of 3 |"
    )


def test_configurations_name_no_place_on_this_machine(study, scans, further_scans):
    config, _, _, _ = study
    places = [str(p).encode() for p in (scans, further_scans, config.out, ROOT, Path.home())]
    files = [p for p in config.out.rglob("*") if p.suffix in (".json", ".csv", ".txt")]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        assert not [place for place in places if place in content], path


def test_no_file_names_a_person(study, secrets):
    config, _, _, _ = study
    for path in (p for p in config.out.rglob("*") if p.is_file()):
        for content in contents(path):
            assert not [secret for secret in secrets if secret in content], path


def test_nothing_is_pickled(study):
    config, _, _, _ = study
    suffixes = {p.suffix for p in config.out.rglob("*") if p.is_file()}
    assert suffixes == {".json", ".csv", ".md", ".txt", ".png", ".npy", ".npz", ".keras", ".skops"}
    for path in config.out.rglob("*.np[yz]"):
        np.load(path, allow_pickle=False)


def test_classifiers_read_sixty_features_a_network(study):
    config, _, _, _ = study
    for networks, features in (("densenet161", 60), ("all", 120)):
        for classifier in ("svm", "xgboost"):
            path = patient_path(config, networks, classifier)
            assert load_classifier(path, classifier).n_features_in_ == features


def test_no_network_of_a_fold_trains_on_what_it_is_asked_about(study, slices):
    config, stores, _, _ = study
    asked = []
    for fold in range(2):
        run_name = f"seed0-fold{fold}of2"
        rows = read_csv(run_path(config, "cnr_iemn_folds", run=run_name) / "scans.csv")
        asked.append({row["patient_id"] for row in rows})
        keys = slices.training_keys(config, "multitask", fold, epoch=0)
        trained = {stores[0].index[row]["patient_id"] for row in keys % len(slices.labels)}
        assert trained and not trained & asked[-1]
        predicted = read_csv(run_path(config, "cnr_iemn_folds", run=run_name) / "predictions.csv")
        assert {row["split"] for row in predicted} == {"val"}
    trained = {stores[0].index[row]["patient_id"] for row in slices.rows_of("train")}
    assert asked[0] | asked[1] == trained and not asked[0] & asked[1]


def test_folds_train_without_their_own_slices(study, slices, monkeypatch):
    """What `fit` is really given, beside the plan of the split."""
    config, _, _, _ = study
    given, seen = {}, {}

    def batches(config, scans, keys, network, scenario, seed, labels=None):
        seen.setdefault("keys", []).append(set((keys % len(scans.store.index)).tolist()))

    def fit(folder, training, environment, say):
        seen["keys"] = []
        training.train_data(0)
        given[folder.path.name] = seen["keys"][-1]

    monkeypatch.setattr(train, "make_batches", batches)
    monkeypatch.setattr(train.run, "fit", fit)
    for slice_run in list_runs(config, 0):
        folder = run_folder(config, slices, slice_run)
        train._train(config, folder, slice_run, slices, {"precision": "float32"}, silent)
    for fold in range(2):
        assert given[f"seed0-fold{fold}of2"]
        scans_of_fold = np.flatnonzero(slices.folds == fold)
        held_out = np.concatenate([slices.scans.rows[i] for i in scans_of_fold])
        assert not given[f"seed0-fold{fold}of2"] & set(held_out.tolist())
    assert given["seed0"] == set(slices.rows_of("train").tolist())


def test_out_of_fold_predictions_differ_only_for_scans_that_trained(study, slices):
    config, _, _, _ = study
    network = NETWORKS[0]
    full = read_predicted(run_folder(config, slices, SliceRun("multitask", network, 0)))
    assert {name for name, _ in full} == {"", "test-1"}
    held_out = out_of_fold(config, slices, network, full)
    assert set(held_out) == set(full)
    folds = {}
    for fold in range(2):
        of_fold = run_folder(config, slices, SliceRun("multitask", network, 0, fold))
        folds |= read_predicted(of_fold)
    trained = {("", name) for name in slices.scans.patients[slices.folds >= 0]}
    assert set(folds) == trained
    # Unlabelled training scans teach the second stage, and trained no network of the first.
    unlabelled = {("", n) for n in slices.scans.patients[slices.parts == "train"]} - trained
    assert len(unlabelled) >= 2
    for scan in set(full) - trained:
        np.testing.assert_array_equal(held_out[scan], full[scan])
    for scan in trained:
        np.testing.assert_array_equal(held_out[scan], folds[scan])


# ---- the command --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_smoke_size_runs_real_networks_two_at_a_time(tmp_path):
    command = [sys.executable, "scripts/replicate.py", "cnr_iemn", "--size", "smoke", "--out"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "smoke" / "runs"
    assert len(list(runs.glob("cnr_iemn/multitask-*/seed0/metrics.json"))) == 2
    assert len(list(runs.glob("cnr_iemn_folds/*/seed0-fold*of2/metrics.json"))) == 4
    assert len(list(runs.glob("cnr_iemn/patients-*/seed0/metrics.json"))) == 12
    assert "phantoms, not the challenge's patients" in done.stdout
    assert "width is 0.25, not 1" in done.stdout
    model = run.load_model(_opened(next(runs.glob("cnr_iemn/multitask-resnext*/seed0"))))
    assert model.get_layer("avgpool").output.shape == (None, 512)
    # A second call finds everything done.
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()}
    again = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()} == before


def _opened(path: Path) -> run.RunFolder:
    return run.RunFolder(path, read_json(path / "config.json"))
