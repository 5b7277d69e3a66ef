"""One scan to the patient's diagnosis, by a finished run of the patient stage."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
from sklearn.svm import SVC
from xgboost import XGBClassifier

import cnr_iemn.backbones  # noqa: F401 (saved networks have its layer)
from cnr_iemn import pictures
from cnr_iemn.batches import positions, stack_channels
from cnr_iemn.config import CLASSES, NORMAL, PAPER_ROWS, CnrIemnConfig
from cnr_iemn.data import Preparation, make_samples
from cnr_iemn.explain import RISE_SETTINGS, compile_classifier
from cnr_iemn.images import GRAY, MASK, SliceImages
from cnr_iemn.patient import load_classifier, read_features, score_patients
from preprocessing.ct import read_volume
from preprocessing.errors import InputError
from preprocessing.store import file_sha256
from replication import overlays, run
from replication.overlays import HeatmapRow
from replication.records import CONFIG, METRICS, read_json, write_csv, write_json
from replication.rise import rise
from replication.run import RunFolder

BATCH = 16
PLURAL = {"probability": "probabilities", "score": "scores"}  # keys of patient.json


@dataclass(frozen=True)
class Stage:
    """A finished patient stage with its slice networks, loaded.

    Attributes:
        settings: its config.json.
        models: the networks by name.
        classifier: of the patient.
    """

    settings: dict
    models: dict[str, keras.Model]
    classifier: XGBClassifier | SVC

    @property
    def says(self) -> str:
        """What it gives for each class: "probability", or "score" of an SVM, which is none."""
        return "score" if isinstance(self.classifier, SVC) else "probability"


@dataclass(frozen=True)
class Diagnosis:
    """What a stage says of a scan.

    Attributes:
        patient: float (classes,), of the patient, as `score_patients` gives them: sum 1.
        scores: network to float32 (slices, classes), of the slices, head first.
        samples: uint8 (slices, side, side, 2): gray, mask.
        warnings: of reading, one line each.
    """

    patient: np.ndarray
    scores: dict[str, np.ndarray]
    samples: np.ndarray
    warnings: tuple[str, ...]


def load_stage(folder: Path) -> Stage:
    """Load a patient stage.

    Args:
        folder: its run folder, `runs/cnr_iemn/patients-.../seed<k>`.

    Raises:
        InputError: the folder holds no such run, or a network is gone or not the one that the
            classifier learnt from.
    """
    settings = read_patient_run(folder)
    runs = folder.resolve().parents[2]  # runs/<study>/<experiment>/seed<k>
    models = {}
    for network, path in settings["slice_runs"].items():
        slice_run = RunFolder(runs / path, read_json(runs / path / CONFIG))
        if file_sha256(slice_run.path / CONFIG) != settings["slice_settings"][network]:
            raise InputError(
                f"{slice_run.path}: has other settings than when {folder} learnt from it; train "
                "the patient stage again"
            )
        models[network] = run.load_model(slice_run)
    return Stage(settings, models, load_classifier(folder, settings["classifier"]))


def diagnose_scan(scan: Path, stage: Stage) -> Diagnosis:
    """Read a scan and ask a patient stage.

    Args:
        scan: folder of DICOM files, or a NIfTI file.

    Raises:
        InputError: the scan cannot be read.
    """
    volume = read_volume(scan)
    samples = make_samples(Preparation(**stage.settings["preparation"]), volume.hu, scan)
    scores = {network: score_samples(model, samples) for network, model in stage.models.items()}
    predicted = [{"": values.argmax(axis=1)} for values in scores.values()]
    features = read_features(predicted, [""], stage.settings["groups"], len(CLASSES))
    patient = score_patients(stage.classifier, features)[0]
    return Diagnosis(patient, scores, samples, volume.warnings)


def read_patient_run(folder: Path) -> dict:
    """The config.json of a finished patient stage.

    Raises:
        InputError: `folder` is none.
    """
    finished = (folder / METRICS).exists() and (folder / CONFIG).exists()
    settings = read_json(folder / CONFIG) if finished else {}
    if settings.get("level") != "patient":
        raise InputError(
            f"{folder}: is no finished patient stage; --run names a folder such as "
            "OUT/runs/cnr_iemn/patients-all-xgboost-out_of_fold/seed0"
        )
    return settings


def score_samples(model: keras.Model, samples: np.ndarray) -> np.ndarray:
    """Class probabilities of all slices of a scan by a multi-task network.

    Args:
        samples: uint8 (slices, side, side, 2), head first.

    Returns:
        float32 (slices, classes).
    """
    number = np.arange(len(samples))
    where = positions(number, np.full(len(samples), len(samples)))
    scores = []
    for start in range(0, len(samples), BATCH):
        some = number[start : start + BATCH]
        images = stack_channels(network_images(model, samples)[some], gray_only=False)
        scores.append(model.predict_on_batch([images, where[some]])["class"])
    return np.concatenate(scores)


def network_images(model: keras.Model, samples: np.ndarray) -> SliceImages:
    """The slices at the size that a multi-task network takes."""
    size = model.input_shape[0][1]
    return SliceImages(samples, size, CnrIemnConfig(Path(), Path()), seed=0)


def write_diagnosis(diagnosis: Diagnosis, stage: Stage, out: Path, masks: int, title: str) -> None:
    """Write patient.json, slices.csv, slices.png and heatmaps.png into `out`.

    The heat maps are of the slice that the networks together find least normal.
    """
    out.mkdir(parents=True, exist_ok=True)
    mean = np.mean(list(diagnosis.scores.values()), axis=0)
    pictures.save_strip(out / "slices.png", diagnosis.samples, mean, title)
    suspicious = int(mean[:, NORMAL].argmin())
    label = int(mean[suspicious].argmax())
    _save_heatmaps(diagnosis, stage, out / "heatmaps.png", suspicious, label, masks)
    write_csv(out / "slices.csv", [
        {"slice": number, **{f"{network}_{name}": f"{values[number, i]:.6g}"
                             for network, values in diagnosis.scores.items()
                             for i, name in enumerate(CLASSES)}}
        for number in range(len(mean))
    ])  # fmt: skip
    write_json(out / "patient.json", {
        "note": pictures.DISCLAIMER,
        PLURAL[stage.says]: dict(zip(CLASSES, diagnosis.patient.tolist(), strict=True)),
        "slices": len(mean),
        "explained_slice": suspicious,
        "explained_class": CLASSES[label],
        "warnings": list(diagnosis.warnings),
    })  # fmt: skip


def _save_heatmaps(
    diagnosis: Diagnosis, stage: Stage, path: Path, number: int, label: int, masks: int
) -> None:
    """RISE of one slice by each network, in a row."""
    count = len(diagnosis.samples)
    where = positions(np.array([number]), np.array([count]))[0]
    sample, maps = diagnosis.samples[number], {}
    for network, model in stage.models.items():
        image = network_images(model, diagnosis.samples)[np.array([number])]
        inputs = stack_channels(image, gray_only=False)[0].numpy()
        predict = compile_classifier(model)(where)
        found = rise(predict, inputs, [label], masks, **RISE_SETTINGS, progress=True)
        maps[PAPER_ROWS[network]] = cv2.resize(found.maps[0], sample.shape[:2])
    caption = f"slice {number} of {count}: why {CLASSES[label]}"
    row = HeatmapRow(caption, sample[..., GRAY], sample[..., MASK], maps)
    overlays.save_heatmap_rows(path, [row], pictures.DISCLAIMER)
