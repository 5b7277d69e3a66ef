"""The patient stage: classifiers on the slice networks' predictions, and what they are worth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

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
from cnr_iemn.runs import STUDY, SliceRun, experiment_name, run_folder
from cnr_iemn.split import Slices, TestSet
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store, file_sha256
from replication import multiclass
from replication.figures import save_confusion
from replication.records import CONFIG, PREDICTIONS
from replication.run import RunFolder

# Of whose predictions the second stage learns, for scans that trained the first.
Protocol = Literal["out-of-fold", "published-in-sample"]
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
    protocols: list[Protocol] = ["out-of-fold"] if config.folds else []
    for networks in [*((network,) for network in config.network), *together]:
        for classifier in CLASSIFIERS:
            for protocol in [*protocols, "published-in-sample"]:
                yield PatientRun(networks, classifier, protocol)


def diagnose_patients(
    config: CnrIemnConfig, slices: Slices, tests: list[TestSet], reasons: list[str]
) -> None:
    """Train and evaluate every second stage that is not finished.

    Trained on all training scans, with and without slice labels (section 3.3.2).
    """
    folders = {
        network: run_folder(config, slices, SliceRun("multitask", network, slices.seed))
        for network in config.network
    }
    full = {network: read_predicted(folder) for network, folder in folders.items()}
    held_out = {
        network: out_of_fold(config, slices, network, full[network]) for network in config.network
    }
    floors = patient_floors(slices)
    for patient_run in list_patient_runs(config):
        folder = _run_folder(config, slices, patient_run, folders)
        if is_evaluated(config, folder, tests):
            continue
        trains_on = held_out if patient_run.protocol == "out-of-fold" else full
        _run(config, folder, patient_run, slices, tests, full, trains_on, floors, reasons)


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


def _run_folder(
    config: CnrIemnConfig,
    slices: Slices,
    patient_run: PatientRun,
    slice_folders: dict[Network, RunFolder],
) -> RunFolder:
    """The folder of a second stage, with all that `predict.py` needs to find the first."""
    runs = config.out / "runs"
    settings = {
        "study": STUDY,
        "seed": slices.seed,
        "classifier": patient_run.classifier,
        "protocol": patient_run.protocol,
        "folds": config.folds if patient_run.protocol == "out-of-fold" else 0,
        "groups": config.groups,
        "slice_runs": {
            network: slice_folders[network].path.relative_to(runs).as_posix()
            for network in patient_run.networks
        },
        "slice_settings": {
            network: file_sha256(slice_folders[network].path / CONFIG)
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
    return RunFolder(runs / STUDY / name / f"seed{slices.seed}", settings)


def check_tests(stores: Sequence[Store]) -> None:
    """Refuse a test set that holds a scan of another set.

    Raises:
        InputError: names two scans of equal files.
    """
    first_of: dict[str, str] = {}
    for store in stores:
        for file, sha256 in store.file_hashes.items():
            name = f"{store.folder.name}: {file}"
            if first_of.setdefault(sha256, name) != name:
                raise InputError(
                    f"{name} holds the same files as {first_of[sha256]}; a scan may test or train, "
                    "not both: remove one"
                )


def _run(
    config: CnrIemnConfig,
    folder: RunFolder,
    patient_run: PatientRun,
    slices: Slices,
    tests: list[TestSet],
    full: dict[Network, Predicted],
    trains_on: dict[Network, Predicted],
    floors: FloorAnswers,
    reasons: list[str],
) -> None:
    """Fit one second stage, score every scan, write the metrics last."""
    folder.forget_metrics()
    scans, train = slices.scans, slices.parts == splits.TRAIN

    def features(predicted: dict[Network, Predicted], name: str, patients: np.ndarray):
        of_set = [
            {patient: predicted[network][name, patient] for patient in patients}
            for network in patient_run.networks
        ]
        return read_features(of_set, patients, config.groups, len(CLASSES))

    classifier = fit_classifier(
        patient_run.classifier,
        features(trains_on, "", scans.patients[train]),
        scans.diagnoses[train],
        slices.seed,
    )
    save_classifier(classifier, folder.path)
    rows = _rows(
        "", scans.patients, scans.diagnoses, slices.parts,
        score_patients(classifier, features(full, "", scans.patients)),
    )  # fmt: skip
    for test in tests:
        patients = test.scans.patients
        scores = score_patients(classifier, features(full, test.name, patients))
        parts = [test.name] * len(patients)
        rows += _rows(test.name, patients, test.scans.diagnoses, parts, scores)
    folder.write_predictions(rows)
    result = multiclass.evaluate_class_predictions(folder.path / PREDICTIONS, CLASSES, "patient")
    val = multiclass.read_class_predictions(folder.path / PREDICTIONS, splits.VAL, CLASSES)
    result |= {
        "leaky": False,
        "not_comparable": reasons,
        "evaluation": evaluation_settings(config, tests),
        "floors": compare_with_floors(val, floors),
    }
    title = folder.path.parent.name
    for part in (name for name in result if name.startswith((splits.VAL, splits.TEST))):
        confusion = np.array(result[part]["patient"]["confusion"])
        path = folder.figures() / f"confusion-{part}.png"
        save_confusion(path, confusion, CLASSES, f"{title}: {part}")
    folder.write_metrics(result)


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
