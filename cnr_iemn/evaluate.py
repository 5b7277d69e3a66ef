"""What a trained slice network is worth: predictions, metrics, and the floors beside them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from cnr_iemn import explain
from cnr_iemn.batches import make_batches
from cnr_iemn.config import CLASSES, CnrIemnConfig
from cnr_iemn.floors import intensity_floor
from cnr_iemn.images import GRAY
from cnr_iemn.runs import SliceRun, graph_of
from cnr_iemn.split import UNLABELLED, Scans, Slices, TestSet
from cnr_iemn.weights import RANDOM, InitialWeights
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import multiclass, run
from replication.batches import predict
from replication.environment import set_precision
from replication.figures import save_confusion, save_curves
from replication.floors import majority_floor, thumbnail_floor
from replication.multiclass import ClassPredictions
from replication.records import PREDICTIONS, read_csv, write_csv
from replication.run import RunFolder
from replication.verdict import Experiment, format_table

SCANS = "scans.csv"  # scores of every slice of every scan, which the patient stage counts
FLOORS = {
    "thumbnail": thumbnail_floor,
    "intensity": intensity_floor,
    "majority": majority_floor,
}
# For each floor and each of METRICS_SHOWN the classes that it names, int (samples,).
FloorAnswers = dict[str, dict[str, np.ndarray]]
METRICS_SHOWN = ("accuracy", "balanced_accuracy")
# What of the configuration is only looked at here: with other values a run is evaluated again.
EVALUATION_SETTINGS = ("rise_slices", "rise_masks", "paper_data")

# Paper: section 3.1, and Tables 6 to 8: scans of normal, COVID-19 and CAP.
PAPER_SCANS = (76, 171, 60)
PAPER_TESTS = [(10, 10, 10), (15, 15, 0), (10, 10, 10)]
# Ours: what the paper states makes the experiment: with another value nothing is compared.
PUBLISHED_SETTINGS = (
    "width",
    "augmentation",
    "uninfected_as_normal",
    "val_fraction", "normal_scans", "covid_copies", "cap_copies", "jitter", "jitter_chance",
    "flip_chance", "perspective", "rotation", "batch_size", "plain_epochs", "plain_decays",
    "epochs", "decays", "learning_rate", "focal_gamma", "regions", "region_weight", "groups",
)  # fmt: skip


def evaluate_run(
    config: CnrIemnConfig,
    folder: RunFolder,
    slice_run: SliceRun,
    slices: Slices,
    tests: list[TestSet],
    reasons: list[str],
) -> None:
    """Score what a slice network is asked about, and write its metrics last.

    A fold's network is asked about the scans of its fold; another about all scans there are.
    """
    folder.forget_metrics()
    model = run.load_model(folder, graph_of(config, slice_run, set_precision(config.precision)))
    whole = slice_run.fold is None
    scores = score_slices(config, model, slices.scans, slice_run, _asked(slices, slice_run))
    scan_rows = _scan_rows("", slices.scans, scores)
    rows = _prediction_rows(slices.scans, slices.labels, scores, _part_of(slices, slice_run))
    for test in tests if whole else []:
        scores = score_slices(config, model, test.scans, slice_run, np.arange(len(test.labels)))
        scan_rows += _scan_rows(test.name, test.scans, scores)
        part_of = dict.fromkeys(test.scans.patients, test.name)
        rows += _prediction_rows(test.scans, test.labels, scores, part_of, f"{test.name}/")
    write_csv(folder.path / SCANS, scan_rows)
    folder.write_predictions(rows)
    file = folder.path / PREDICTIONS
    history = folder.history()
    result = multiclass.evaluate_class_predictions(file, CLASSES, "slice") | {
        "leaky": False,
        "not_comparable": reasons,
        "evaluation": evaluation_settings(config, tests),
        "epochs": len(history),
    }
    if whole:
        result |= {"floors": _floors(slices, file)}
        title = folder.path.parent.name
        figures = folder.figures()
        save_curves(figures / "curves.png", history, len(history) - 1, title)
        confusion = np.array(result[splits.VAL]["slice"]["confusion"])
        save_confusion(figures / "confusion-val.png", confusion, CLASSES, f"{title}: validation")
        if slice_run.scenario == "multitask" and config.rise_slices:
            result["rise"] = explain.explain_run(config, folder, model, slice_run, slices)
    folder.write_metrics(result)


def evaluation_settings(config: CnrIemnConfig, tests: Sequence[TestSet]) -> dict:
    """What determines an evaluation and no training, JSON-able."""
    return {name: getattr(config, name) for name in EVALUATION_SETTINGS} | {
        "test": {test.name: test.scans.store.fingerprint for test in tests}
    }


def is_evaluated(config: CnrIemnConfig, folder: RunFolder, tests: Sequence[TestSet]) -> bool:
    """Whether a run was evaluated to its end with these settings and test sets."""
    return folder.evaluated_with(evaluation_settings(config, tests))


def score_slices(
    config: CnrIemnConfig,
    model: keras.Model,
    scans: Scans,
    slice_run: SliceRun,
    rows: np.ndarray,
) -> dict[int, np.ndarray]:
    """Class probabilities of slices, by their row in the store: float32 (classes,) each."""
    batches = make_batches(
        config, scans, rows, slice_run.network, slice_run.scenario, slice_run.seed
    )
    outputs = predict(model, batches)
    scores = outputs["class"] if isinstance(outputs, dict) else outputs
    return dict(zip(rows.tolist(), scores, strict=True))


def read_predicted(folder: RunFolder) -> dict[tuple[str, str], np.ndarray]:
    """The predicted classes of each scan in a run's scans.csv, head first.

    Returns:
        {(set, patient): int (slices,)}; the set is "" for `--data` and "test-1" and so on.
    """
    scores: dict[tuple[str, str], list[list[float]]] = {}
    for row in read_csv(folder.path / SCANS):
        of_scan = scores.setdefault((row["set"], row["patient_id"]), [])
        of_scan.append([float(row[f"score_{name}"]) for name in CLASSES])
    return {scan: np.argmax(values, axis=1) for scan, values in scores.items()}


def _asked(slices: Slices, slice_run: SliceRun) -> np.ndarray:
    """Rows of the slices that a network scores."""
    if slice_run.fold is None:
        return np.arange(len(slices.labels))
    chosen = np.flatnonzero(slices.folds == slice_run.fold)
    return np.concatenate([slices.scans.rows[i] for i in chosen])


def _scan_rows(name: str, scans: Scans, scores: dict[int, np.ndarray]) -> list[dict]:
    """Rows of scans.csv, in the order of the store: scan by scan, head first."""
    return [
        {
            "set": name,
            "patient_id": scans.store.index[row]["patient_id"],
            "slice": scans.store.index[row]["slice"],
            **_score_columns(values),
        }
        for row, values in scores.items()
    ]


def _part_of(slices: Slices, slice_run: SliceRun) -> dict[str, str]:
    """The split of each scan; for a fold's network all that it is asked about validates it."""
    parts = slices.parts if slice_run.fold is None else np.full(len(slices.parts), splits.VAL)
    return dict(zip(slices.scans.patients, parts, strict=True))


def _prediction_rows(
    scans: Scans,
    labels: np.ndarray,
    scores: dict[int, np.ndarray],
    part_of: dict[str, str],
    prefix: str = "",
) -> list[dict]:
    """Rows of predictions.csv: slices with a label, without copies. Sets may share names."""
    rows = []
    for row, values in scores.items():
        if labels[row] == UNLABELLED:
            continue
        patient = scans.store.index[row]["patient_id"]
        rows.append(
            {
                "sample_id": f"{prefix}{row}",
                "patient_id": prefix + patient,
                "split": part_of[patient],
                "label": int(labels[row]),
                **_score_columns(values),
            }
        )
    return rows


def _score_columns(values: np.ndarray) -> dict[str, str]:
    return {f"score_{name}": f"{value:.6g}" for name, value in zip(CLASSES, values, strict=True)}


def _floors(slices: Slices, file: Path) -> dict:
    """How far the network lies above shortcuts, fitted on the labelled training slices."""
    val = multiclass.read_class_predictions(file, splits.VAL, CLASSES)
    samples, labels = slices.scans.store.samples, slices.labels
    train, asked = slices.rows_of(splits.TRAIN), val.samples.astype(int)
    answers = ask_floors(
        lambda: (samples[row, ..., GRAY] for row in train), labels[train],
        lambda: (samples[row, ..., GRAY] for row in asked), labels[asked],
    )  # fmt: skip
    return compare_with_floors(val, answers)


def patient_floors(slices: Slices) -> FloorAnswers:
    """What shortcuts say of the scans that validate, from the mean of a scan's slices alone."""
    scans = slices.scans
    means = [scans.store.samples[rows, ..., GRAY].mean(axis=0).round().astype(np.uint8)
             for rows in scans.rows]  # fmt: skip
    train, val = (np.flatnonzero(slices.parts == part) for part in (splits.TRAIN, splits.VAL))
    return ask_floors(
        lambda: (means[i] for i in train), scans.diagnoses[train],
        lambda: (means[i] for i in val), scans.diagnoses[val],
    )  # fmt: skip


def ask_floors(
    train_images: Callable[[], Iterable[np.ndarray]],
    train_labels: np.ndarray,
    asked_images: Callable[[], Iterable[np.ndarray]],
    asked_labels: np.ndarray,
) -> FloorAnswers:
    """What each floor says of images: unweighted for the accuracy, weighted for the balanced one.

    A floor of other weights than the metric has would be too easy to beat.

    Args:
        train_images, asked_images: make a new iterable of uint8 (height, width).
        train_labels, asked_labels: int, one for each.
    """
    return {
        name: {
            metric: floor(
                train_images(), train_labels, asked_images(), asked_labels,
                balanced=metric == "balanced_accuracy",
            )["predicted"]
            for metric in METRICS_SHOWN
        }
        for name, floor in FLOORS.items()
    }  # fmt: skip


def compare_with_floors(val: ClassPredictions, answers: FloorAnswers) -> dict:
    """Accuracy and balanced accuracy above those of the floors' answers to the same samples."""
    return {
        name: {
            metric: multiclass.accuracy_above(val, of_metric[metric], metric=metric)
            for metric in METRICS_SHOWN
        }
        for name, of_metric in answers.items()
    }


def why_not_comparable(config: CnrIemnConfig, stores: Sequence[Store]) -> list[str]:
    """Why our numbers may not be held against the printed ones; see also `why_other_weights`.

    Raises:
        InputError: `--paper-data` for phantoms, or for other numbers of scans than the paper's.
    """
    counts = [tuple(np.bincount(Scans.of(store).diagnoses, minlength=len(CLASSES)).tolist())
              for store in stores]  # fmt: skip
    reasons = []
    if config.shuffle_labels:
        reasons.append("labels were shuffled")
    if any("phantom" in store.column("origin") for store in stores):
        if config.paper_data:
            raise InputError(
                "--paper-data: these are phantoms, not the challenge's scans; drop the flag"
            )
        reasons.append("phantoms, not the challenge's patients")
    elif config.paper_data and (counts[0] != PAPER_SCANS or counts[1:] not in ([], PAPER_TESTS)):
        raise InputError(
            f"--paper-data: expected {PAPER_SCANS} scans ({', '.join(CLASSES)}) in --data, and in "
            f"three folders of --test {PAPER_TESTS}; found {counts}: drop the flag or complete the "
            "data"
        )
    elif not config.paper_data:
        reasons.append(f"other scans than the challenge's 307: {sum(counts[0])}")
    published = CnrIemnConfig(config.data, config.out)
    for name in PUBLISHED_SETTINGS:
        if getattr(config, name) != getattr(published, name):
            reasons.append(f"{name} is {getattr(config, name)}, not {getattr(published, name)}")
    return reasons


def why_other_weights(weights: InitialWeights) -> list[str]:
    """Why those of a network may not that starts from these weights."""
    if weights.is_v1:
        return []
    if weights.file == RANDOM:
        return ["random weights, not those of ImageNet"]
    return [f"weights of {weights.file}, not known to be those of ImageNet"]


def summarise(experiments: Sequence[Experiment]) -> str:
    """Tables of all slice networks and all patient stages on the validation part, as text.

    A row for each: accuracy and balanced accuracy with 95 % intervals, mean over the seeds, and the
    same of each floor; then a line on the heat maps of each network that has them.
    """
    parts = []
    for level in ("slice", "patient"):
        rows = [_summary(e) for e in experiments if e.config["level"] == level]
        if rows:
            parts.append(f"{level}s, validation (accuracy / balanced accuracy):")
            parts.append(format_table(rows))
    parts += [f"{e.name}: {explain.describe(e)}" for e in experiments if e.has("rise")]
    return "\n".join(parts)


def _summary(e: Experiment) -> dict[str, str]:
    level = e.config["level"]
    row = {"experiment": e.name, "seeds": str(e.seeds)}
    for metric in METRICS_SHOWN:
        value, low, high = (
            e.mean(splits.VAL, level, metric, key) for key in ("value", "low", "high")
        )
        row[metric.replace("_", " ")] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    for name in FLOORS:
        row[f"{name} floor"] = " / ".join(
            f"{e.mean('floors', name, metric, 'floor'):.3f}" for metric in METRICS_SHOWN
        )
    row["n"] = f"{e.mean(splits.VAL, level, 'n'):.0f}"
    return row
