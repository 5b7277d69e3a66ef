"""The patient stage: classifiers on the slice networks' predictions, and what they are worth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.svm import SVC
from xgboost import XGBClassifier

from cnr_iemn.cohort import Kind
from cnr_iemn.config import CLASSES, PAPER_ROWS, CnrIemnConfig, Network
from cnr_iemn.evaluate import (
    FloorAnswers,
    compare_with_floors,
    evaluation_settings,
    is_evaluated,
    patient_floors,
    read_predicted,
)
from cnr_iemn.patient import (
    CLASSIFIERS,
    Classifier,
    fit_classifier,
    read_features,
    save_classifier,
    score_patients,
)
from cnr_iemn.phantom import phantom_kind
from cnr_iemn.runs import STUDY, SliceRun, experiment_name, run_folder
from cnr_iemn.split import Slices, TestSet
from preprocessing import splits
from preprocessing.store import file_sha256
from replication import multiclass
from replication.figures import save_confusion
from replication.records import CONFIG, PREDICTIONS
from replication.run import RunFolder

# Of whose predictions the second stage learns, for scans that trained the first.
Protocol = Literal["out-of-fold", "published-in-sample"]
OUT_OF_FOLD: Protocol = "out-of-fold"
ALL = "all"
PAPER_NAME = "CNR-IEMN"
PATIENT_TABLES = ("5", "figure 10", "6", "7", "8", "figure 11")

# The predicted classes of each scan, by the name of its set ("" is `--data`) and its patient.
Predicted = dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class PatientRun:
    """One second stage: a cell of Table 5, by one protocol."""

    networks: tuple[Network, ...]
    classifier: Classifier
    protocol: Protocol

    @property
    def name(self) -> str:
        """Of its experiment."""
        features = self.networks[0] if len(self.networks) == 1 else ALL
        return f"patients-{features}-{self.classifier}-{self.protocol.replace('-', '_')}"

    @property
    def paper_row(self) -> str:
        """The line of Table 5; empty for several networks that are not the paper's four."""
        row = f"{PAPER_ROWS[self.networks[0]]} features"
        if len(self.networks) > 1:
            row = PAPER_NAME if set(self.networks) == set(PAPER_ROWS) else ""
        return row and row + (", SVM" if self.classifier == "svm" else "")


def list_patient_runs(config: CnrIemnConfig) -> Iterator[PatientRun]:
    """Each network alone and all together, by both classifiers, by both protocols."""
    together = [config.network] if len(config.network) > 1 else []
    protocols: list[Protocol] = [OUT_OF_FOLD] if config.folds else []
    for networks in [*((network,) for network in config.network), *together]:
        for classifier in CLASSIFIERS:
            for protocol in [*protocols, "published-in-sample"]:
                yield PatientRun(networks, classifier, protocol)


@dataclass(frozen=True)
class PatientStudy:
    """What all second stages of a seed share.

    Attributes:
        config, slices, tests: of the study.
        folders: run folder of each slice network.
        full: what the networks of all training scans predict, for each network.
        held_out: the same of `out_of_fold`.
        floors: of the scans that validate.
        reasons_of: why the numbers of a network are not comparable.
    """

    config: CnrIemnConfig
    slices: Slices
    tests: Sequence[TestSet]
    folders: dict[Network, RunFolder]
    full: dict[Network, Predicted]
    held_out: dict[Network, Predicted]
    floors: FloorAnswers
    reasons_of: dict[Network, list[str]]


def diagnose_patients(
    config: CnrIemnConfig,
    slices: Slices,
    tests: Sequence[TestSet],
    reasons_of: dict[Network, list[str]],
) -> None:
    """Train and evaluate every second stage that is not finished.

    Trained on all training scans, with and without slice labels (section 3.3.2).

    Args:
        reasons_of: for each network, why its numbers are not comparable with the printed ones.
    """
    folders = {
        network: run_folder(config, slices, SliceRun("multitask", network, slices.seed))
        for network in config.network
    }
    full = {network: read_predicted(folder) for network, folder in folders.items()}
    held_out = {
        network: out_of_fold(config, slices, network, full[network]) for network in config.network
    }
    study = PatientStudy(
        config, slices, tests, folders, full, held_out, patient_floors(slices), reasons_of
    )
    for patient_run in list_patient_runs(config):
        folder = _run_folder(study, patient_run)
        if not is_evaluated(config, folder, tests):
            _run(study, patient_run, folder)


def out_of_fold(
    config: CnrIemnConfig, slices: Slices, network: Network, full: Predicted
) -> Predicted:
    """Predictions of which none is of a network that trained on that scan.

    Ours: scans that trained a slice network are predicted by the network of the folds without
    them; the others, which none has seen, by the network of all folds, as new patients are.
    """
    result = dict(full)
    for fold in range(config.folds):
        folder = run_folder(config, slices, SliceRun("multitask", network, slices.seed, fold))
        result |= read_predicted(folder)
    return result


def _run_folder(study: PatientStudy, patient_run: PatientRun) -> RunFolder:
    """The folder of a second stage, with all that `predict.py` needs to find the first."""
    config, slices, runs = study.config, study.slices, study.config.out / "runs"
    settings = {
        "study": STUDY,
        "seed": slices.seed,
        "classifier": patient_run.classifier,
        "protocol": patient_run.protocol,
        "folds": config.folds if patient_run.protocol == OUT_OF_FOLD else 0,
        "groups": config.groups,
        "slice_runs": {
            network: study.folders[network].path.relative_to(runs).as_posix()
            for network in patient_run.networks
        },
        "slice_settings": {
            network: file_sha256(study.folders[network].path / CONFIG)
            for network in patient_run.networks
        },
        "preparation": slices.scans.store.recipe["parameters"],
        "classes": CLASSES,
        "level": "patient",
        "paper_row": patient_run.paper_row,
        "paper_dataset": "val",
        "paper_tables": PATIENT_TABLES,
    }
    name = experiment_name(config, patient_run.name)
    return RunFolder(runs / STUDY / name / f"seed{slices.seed}", settings, config.margin)


def _run(study: PatientStudy, patient_run: PatientRun, folder: RunFolder) -> None:
    """Fit one second stage, score every scan, write the metrics last."""
    folder.forget_metrics()
    scans, train = study.slices.scans, study.slices.parts == splits.TRAIN
    learns_from = study.held_out if patient_run.protocol == OUT_OF_FOLD else study.full
    classifier = fit_classifier(
        patient_run.classifier,
        _features(study, patient_run, learns_from, "", scans.patients[train]),
        scans.diagnoses[train],
        study.slices.seed,
    )
    save_classifier(classifier, folder.path)
    folder.write_predictions(_score_scans(study, patient_run, classifier))
    file = folder.path / PREDICTIONS
    val = multiclass.read_class_predictions(file, splits.VAL, CLASSES)
    result = multiclass.evaluate_class_predictions(file, CLASSES, "patient")
    _save_confusions(folder, result)
    folder.write_metrics(result | {
        "leaky": False,
        "not_comparable": _why_not_comparable(study, patient_run),
        "evaluation": evaluation_settings(study.config, study.tests),
        "test_kinds": _test_kinds(study),
        "floors": compare_with_floors(val, study.floors),
    })  # fmt: skip


def _features(
    study: PatientStudy,
    patient_run: PatientRun,
    predicted: dict[Network, Predicted],
    name: str,
    patients: np.ndarray,
) -> np.ndarray:
    """float64 (patients, features) of a set's scans from what slice networks predict."""
    of_networks = [
        {patient: predicted[network][name, patient] for patient in patients}
        for network in patient_run.networks
    ]
    return read_features(of_networks, patients, study.config.groups, len(CLASSES))


def _score_scans(
    study: PatientStudy, patient_run: PatientRun, classifier: XGBClassifier | SVC
) -> list[dict]:
    """Rows of predictions.csv: every scan of `--data`, then those of the test sets."""
    sets = [("", study.slices.scans, study.slices.parts)]
    sets += [(t.name, t.scans, [t.name] * len(t.scans.patients)) for t in study.tests]
    rows = []
    for name, scans, parts in sets:
        features = _features(study, patient_run, study.full, name, scans.patients)
        scores = score_patients(classifier, features)
        rows += _rows(name, scans.patients, scans.diagnoses, parts, scores)
    return rows


def _why_not_comparable(study: PatientStudy, patient_run: PatientRun) -> list[str]:
    """Every reason of its networks, and that of its protocol."""
    reasons = [r for network in patient_run.networks for r in study.reasons_of[network]]
    if patient_run.protocol == OUT_OF_FOLD:
        reasons.append("another protocol than published: features out-of-fold, not in-sample")
    return list(dict.fromkeys(reasons))


def _test_kinds(study: PatientStudy) -> dict[str, Kind]:
    """Which test set of the challenge a test set is made like, where that is known: phantoms'."""
    kinds = {t.name: phantom_kind(data)
             for t, data in zip(study.tests, study.config.test, strict=True)}  # fmt: skip
    return {name: kind for name, kind in kinds.items() if kind}


def _save_confusions(folder: RunFolder, result: dict) -> None:
    """A picture for each part that no scan trained in."""
    for part in (name for name in result if name.startswith((splits.VAL, splits.TEST))):
        confusion = np.array(result[part]["patient"]["confusion"])
        path = folder.figures() / f"confusion-{part}.png"
        save_confusion(path, confusion, CLASSES, f"{folder.path.parent.name}: {part}")


def _rows(name: str, patients, diagnoses, parts, scores: np.ndarray) -> list[dict]:
    """Rows of predictions.csv. A patient of a test set is named with it: sets may share names."""
    return [
        {
            "sample_id": f"{name}/{patient}" if name else patient,
            "patient_id": f"{name}/{patient}" if name else patient,
            "split": part,
            "label": int(diagnosis),
            **{f"score_{c}": f"{value:.6g}" for c, value in zip(CLASSES, score, strict=True)},
        }
        for patient, diagnosis, part, score in zip(patients, diagnoses, parts, scores, strict=True)
    ]
