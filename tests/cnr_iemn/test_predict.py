"""One scan by a finished study: its probabilities, its files, and what is no such study."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnr_iemn.config import CLASSES
from cnr_iemn.patient import group_percentages
from cnr_iemn.predict import diagnose_scan, load_stage, write_diagnosis
from preprocessing.errors import InputError
from replication.records import read_csv

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("resnext50_32x4d", "densenet161")


def run_path(config, experiment="multitask-resnext50_32x4d"):
    return config.out / "runs" / "cnr_iemn" / f"{experiment}-random_weights" / "seed0"


def patient_path(config, networks="all", classifier="xgboost"):
    return run_path(config, f"patients-{networks}-{classifier}-out_of_fold")


def test_a_scan_is_diagnosed_as_the_study_did(study, scans):
    config, _, _, _ = study
    for networks, classifier in (("all", "xgboost"), ("densenet161", "svm")):
        path = patient_path(config, networks, classifier)
        diagnosis = diagnose_scan(scans / "COVID-19 subjects" / "P002", load_stage(path))
        assert diagnosis.patient.sum() == pytest.approx(1)
        (row,) = (r for r in read_csv(path / "predictions.csv") if r["patient_id"] == "P002")
        assert diagnosis.patient == pytest.approx(
            [float(row[f"score_{name}"]) for name in CLASSES], abs=1e-4
        )
        assert list(diagnosis.scores) == (list(NETWORKS) if networks == "all" else [networks])


def test_a_diagnosis_is_four_files_and_not_for_use(study, scans, secrets, tmp_path):
    config, _, _, _ = study
    stage = load_stage(patient_path(config))
    diagnosis = diagnose_scan(scans / "Cap subjects" / "cap002", stage)
    write_diagnosis(diagnosis, stage, tmp_path / "p", 128, "a scan")
    assert {p.name for p in (tmp_path / "p").iterdir()} == {
        "patient.json", "slices.csv", "slices.png", "heatmaps.png"
    }  # fmt: skip
    patient = json.loads((tmp_path / "p" / "patient.json").read_text())
    assert "Not for diagnosis" in patient["note"]
    assert sum(patient["probabilities"].values()) == pytest.approx(1)
    rows = read_csv(tmp_path / "p" / "slices.csv")
    assert len(rows) == patient["slices"] == len(diagnosis.samples)
    mean = np.mean([[float(row[f"{network}_Normal"]) for row in rows] for network in NETWORKS], 0)
    assert patient["explained_slice"] == int(mean.argmin())
    for path in (tmp_path / "p").iterdir():
        assert not [secret for secret in secrets if secret in path.read_bytes()]
        if path.suffix == ".png":
            assert cv2.imread(str(path)).std() > 5
    counted = [group_percentages(of.argmax(axis=1), 20, 3) for of in diagnosis.scores.values()]
    expected = stage.classifier.predict_proba(np.concatenate(counted)[None])[0]
    assert list(patient["probabilities"].values()) == pytest.approx(expected, abs=1e-5)


def test_an_svm_gives_scores_and_no_probabilities(study, scans, tmp_path, monkeypatch, capfd):
    """By the command, from the run's own folder: a relative --run."""
    config, _, _, _ = study
    monkeypatch.chdir(patient_path(config, "densenet161", "xgboost"))
    svm = Path("..") / ".." / patient_path(config, "densenet161", "svm").parent.name / "seed0"
    for path, say in ((Path("../seed0"), "probability"), (svm, "score")):
        arguments = [str(scans / "Normal subjects" / "normal001"), "--run", str(path),
                     "--out", str(tmp_path / say), "--rise-masks", "128"]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["predict_cnr_iemn.py", *arguments])
        runpy.run_path(str(ROOT / "scripts" / "predict_cnr_iemn.py"), run_name="__main__")
        said = capfd.readouterr().out
        patient = json.loads((tmp_path / say / "patient.json").read_text())
        key, other = "probabilities", "scores"
        if say == "score":
            key, other = other, key
        assert other not in patient and set(patient[key]) == set(CLASSES)
        for name, value in patient[key].items():
            assert f"{name}: {say} {value:.3f}" in said


def test_a_stage_of_other_settings_than_its_network_has_now_is_refused(study, tmp_path):
    config, _, _, _ = study
    runs = tmp_path / "runs"
    for path in (patient_path(config, "densenet161"), run_path(config, "multitask-densenet161")):
        shutil.copytree(path, runs / path.relative_to(config.out / "runs"))
    stage = runs / patient_path(config, "densenet161").relative_to(config.out / "runs")
    assert load_stage(stage).settings["classifier"] == "xgboost"
    (changed,) = runs.glob("cnr_iemn/multitask-densenet161-*/seed0/config.json")
    changed.write_text(changed.read_text().replace('"focal_gamma": 1.5', '"focal_gamma": 2.5'))
    with pytest.raises(InputError, match="multitask-densenet161.* has other settings than when"):
        load_stage(stage)


def test_a_folder_that_is_no_patient_stage_is_refused(study, tmp_path):
    config, _, _, _ = study
    for folder in (tmp_path, tmp_path / "none", run_path(config)):
        with pytest.raises(InputError, match="is no finished patient stage; --run names") as error:
            load_stage(folder)
        assert str(folder) in str(error.value)


def test_a_stage_whose_network_is_gone_says_which(study, tmp_path):
    config, _, _, _ = study
    runs = tmp_path / "runs"
    shutil.copytree(patient_path(config), runs / "cnr_iemn" / "patients" / "seed0")
    with pytest.raises(InputError, match="multitask-resnext50_32x4d.*config.json") as error:
        load_stage(runs / "cnr_iemn" / "patients" / "seed0")
    assert "\n" not in str(error.value)


def test_a_scan_that_cannot_be_read_is_one_line(study, tmp_path):
    config, _, _, _ = study
    stage = load_stage(patient_path(config))
    with pytest.raises(InputError) as error:
        diagnose_scan(tmp_path, stage)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
