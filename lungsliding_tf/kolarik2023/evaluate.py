"""What a trained network is worth: predictions, metrics, the floors beside them, and reasons."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lungsliding_tf import floors
from lungsliding_tf.control import tissue_free_statistics
from lungsliding_tf.floors import FLOORS, auroc_floors
from lungsliding_tf.kolarik2023.config import MMODE_CELL, KolarikConfig
from lungsliding_tf.kolarik2023.explain import save_saliency
from lungsliding_tf.kolarik2023.split import Samples
from lungsliding_tf.labels import ABSENT, PRESENT
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import metrics, run, verdict
from replication.batches import predict
from replication.figures import save_curves
from replication.records import PREDICTIONS
from replication.run import RunFolder

PAPER_VIDEOS = {PRESENT: 28, ABSENT: 20}  # Paper: section 3.1

# What the paper or its library states: another value is another experiment.
PUBLISHED_SETTINGS = (
    "region", "max_tiles", "test_fraction", "batch_size", "epochs", "batch_norm_momentum",
)  # fmt: skip


# What of the configuration is only looked at here: with other values a run is evaluated again.
EVALUATION_SETTINGS = ("smooth_samples", "paper_data")


def evaluate_run(
    config: KolarikConfig, folder: RunFolder, samples: Samples, cell: str, reasons: list[str]
) -> None:
    """Score val and test, write predictions, pictures and, last, the metrics."""
    folder.forget_metrics()
    model = run.load_model(folder)
    scored = np.flatnonzero(samples.parts != splits.TRAIN)
    batches = samples.batches(config, scored, channels=model.input_shape[-1])
    scores = predict(model, batches)[:, 0]
    folder.write_predictions(
        [
            _prediction_row(samples, position, float(score))
            for position, score in zip(scored, scores, strict=True)
        ]
    )
    history = folder.history()
    save_curves(
        folder.figures() / "curves.png", history, run.best_epoch(history), folder.path.parent.name
    )
    predictions_file = folder.path / PREDICTIONS
    result = metrics.evaluate_predictions(predictions_file, "present", vote_of(config, cell)) | {
        "leaky": samples.leaky,
        "near_duplicates": samples.near_duplicates,
        "not_comparable": reasons,
        "evaluation": evaluation_settings(config),
    }
    if cell != MMODE_CELL:
        test = metrics.read_predictions(predictions_file, splits.TEST, "present")
        tested = samples.rows[samples.of(splits.TEST)]
        result["floors"] = auroc_floors([samples.store.samples[row] for row in tested], test)
        clips = [samples.store.samples[row] for row in samples.rows[scored]]
        labels = samples.labels[scored]
        save_saliency(folder.figures(), model, clips, scores, labels, config)
    if config.control_frozen:
        result["control_floors"] = _control_floors(samples)
    folder.write_metrics(result)


def vote_of(config: KolarikConfig, cell: str) -> str:
    """How the samples of a unit are taken together; a tile is a unit of its own."""
    return config.mmode_vote if cell == MMODE_CELL else "mean"


def evaluation_settings(config: KolarikConfig) -> dict:
    """What determines an evaluation and no training, JSON-able."""
    return {name: getattr(config, name) for name in EVALUATION_SETTINGS}


def is_evaluated(config: KolarikConfig, folder: RunFolder) -> bool:
    """Whether a run was evaluated to its end with these settings."""
    return folder.evaluated_with(evaluation_settings(config))


def _prediction_row(samples: Samples, position: int, score: float) -> dict:
    """A row of predictions.csv. An M-mode column counts for its window, a tile for itself."""
    row = samples.rows[position]
    entry = samples.store.index[row]
    is_column = samples.store.recipe["cell"] == MMODE_CELL
    window = f"{entry['file']}/{entry['clip']}/{entry['region']}"
    return {
        "sample_id": int(row),
        "unit": window if is_column else str(row),
        "patient_id": samples.patients[position],
        "split": samples.parts[position],
        "label": int(samples.labels[position]),
        "score_absent": f"{1 - score:.9g}",
        "score_present": f"{score:.9g}",  # float32 to the last bit: rounding would make ties
    }


def _control_floors(samples: Samples) -> dict[str, float]:
    """Test accuracy of two lazy answers to the control experiment, fitted on the training part."""
    statistics = {
        "temporal_difference": lambda clip: [floors.frame_difference(clip)],
        "tissue_free_noise": tissue_free_statistics,
    }
    accuracy = {}
    for name, statistic in statistics.items():
        values = np.array([statistic(samples.store.samples[row]) for row in samples.rows])
        train, test = samples.of(splits.TRAIN), samples.of(splits.TEST)
        classifier = make_pipeline(StandardScaler(), LogisticRegression())
        classifier.fit(values[train], samples.labels[train])
        accuracy[name] = float(classifier.score(values[test], samples.labels[test]))
    return accuracy


def why_not_comparable(config: KolarikConfig, store: Store) -> list[str]:
    """Reasons why our numbers may not be held against the printed ones, weightiest first."""
    reasons = []
    if config.control_frozen:
        reasons.append("control experiment on frozen copies, not on sliding")
    if config.shuffle_labels:
        reasons.append("labels were shuffled")
    if "phantom" in store.column("origin"):
        reasons.append("phantoms, not the paper's patients")
    elif not config.paper_data:
        reasons.append("another data set than the paper's 48 videos")
    elif _videos_by_class(store) != PAPER_VIDEOS:
        raise InputError(
            f"--paper-data: expected 28 videos with and 20 without sliding, found "
            f"{_videos_by_class(store)}; drop the flag or complete the data"
        )
    if store.recipe["cell"] == MMODE_CELL:
        # Paper: section 4.4 and Table 5: the row is quoted; the other data set was larger.
        # Inferred: its accuracy is the mean of its sensitivity and specificity.
        reasons.append("the printed row is of Jaščur et al. 2021: other data, balanced accuracy")
    published = KolarikConfig(config.data, config.out)
    for name in PUBLISHED_SETTINGS:
        if getattr(config, name) != getattr(published, name):
            reasons.append(f"{name} is {getattr(config, name)}, not {getattr(published, name)}")
    return reasons


def _videos_by_class(store: Store) -> dict[int, int]:
    """How many videos of each class gave samples."""
    used = [source["class"] for source in store.sources if source["used"] == "yes"]
    return {PRESENT: used.count("present"), ABSENT: used.count("absent")}


def summarise(experiment: verdict.Experiment) -> str:
    """A line on an experiment: patient-wise AUROC beside its floors, mean over the seeds."""
    mean = experiment.mean
    auroc = [mean("test", "patient", "auroc", k) for k in ("value", "low", "high")]
    line = (
        f"{'LEAKY ' if experiment.leaky else ''}{experiment.name}: test AUROC over patients "
        f"{auroc[0]:.3f} [{auroc[1]:.3f}, {auroc[2]:.3f}], "
        f"over clips {mean('test', 'clip', 'auroc', 'value'):.3f}, {experiment.seeds} seed(s)"
    )
    if experiment.has("floors"):
        frame = mean("floors", "frame_difference", "patient", "floor")
        persistence = max(mean("floors", name, "patient", "floor") for name in list(FLOORS)[1:])
        above = [mean("floors", "frame_difference", "patient", k) for k in ("low", "high")]
        line += f"; floors: frame difference {frame:.3f} (network above it by "
        line += f"[{above[0]:.3f}, {above[1]:.3f}]), best persistence statistic {persistence:.3f}"
    if experiment.has("control_floors"):
        line += f"; accuracy {mean('test', 'clip', 'accuracy', 'value'):.3f}, floors: "
        line += f"temporal difference {mean('control_floors', 'temporal_difference'):.3f}, "
        line += f"tissue-free noise {mean('control_floors', 'tissue_free_noise'):.3f}"
    return line
