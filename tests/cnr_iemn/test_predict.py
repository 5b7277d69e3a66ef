"""One scan by a finished study: its probabilities, its files, and what is no such study."""

import json
import shutil

import cv2
import numpy as np
import pytest

from cnr_iemn.config import CLASSES
from cnr_iemn.patient import group_percentages
from cnr_iemn.predict import diagnose_scan, load_stage, write_diagnosis
from preprocessing.errors import InputError
from replication.records import read_csv

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
        assert diagnosis.probabilities.sum() == pytest.approx(1)
        (row,) = (r for r in read_csv(path / "predictions.csv") if r["patient_id"] == "P002")
        assert diagnosis.probabilities == pytest.approx(
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
