"""What a trained network is worth: predictions, metrics, the floors beside them, and reasons."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from lungsliding_tf.dzhulai2024 import explain, pictures
from lungsliding_tf.dzhulai2024.batches import make_batches, read_clip
from lungsliding_tf.dzhulai2024.config import CLASSES, FRAME_NETWORKS
from lungsliding_tf.dzhulai2024.data import Stores, stores_of
from lungsliding_tf.dzhulai2024.experiments import Planned, published_config
from lungsliding_tf.dzhulai2024.losses import focal_loss
from lungsliding_tf.dzhulai2024.per_frame import vote
from lungsliding_tf.dzhulai2024.sources import ABSENT_CLASS
from lungsliding_tf.dzhulai2024.split import Clips
from lungsliding_tf.floors import FLOORS, auroc_floors
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import metrics, run
from replication.batches import predict
from replication.records import PREDICTIONS
from replication.run import RunFolder
from replication.verdict import Experiment, format_table

PAPER_VIDEOS = {"present": 139, "absent": 32}  # Paper: section IV

# What the paper or its code states: another value is another experiment.
PUBLISHED_SETTINGS = (
    "crops", "max_crops", "split", "test_fraction", "val_fraction", "equal_ratios", "augmentation",
    "chance", "rotation", "crop", "jitter", "batch_size", "learning_rate", "weight_decay",
    "clipping", "gamma", "alpha", "epochs", "schedule_epochs",
)  # fmt: skip
FLOW_SETTINGS = ("flow", "raft_updates", "flow_step")
RECURRENT_SETTINGS = ("rcm2d", "two_pools", "batch_norm_over")


# What of the configuration is only looked at here: with other values a run is evaluated again.
EVALUATION_SETTINGS = ("smooth_samples", "paper_data")


def evaluate_run(one: Planned, folder: RunFolder, clips: Clips, reasons: Sequence[str]) -> None:
    """Score what was not trained on, write predictions, pictures and, last, the metrics."""
    folder.forget_metrics()
    model = run.load_model(folder)
    parts = _judged_parts(one)
    file = save_predictions(one, folder, model, clips)
    positive = CLASSES[ABSENT_CLASS]
    result = metrics.evaluate_predictions(file, positive) | {
        "leaky": clips.leaky,
        "near_duplicates": clips.near_duplicates,
        "not_comparable": list(reasons),
        "evaluation": evaluation_settings(one),
        "parameters": run.count_parameters(model),
        "training_clips": _counts(clips.labels[clips.trained_on(one.fits_val)]),
    }
    if one.config.overfit_clips:
        fitted = clips.trained_on(one.fits_val)
        losses = _losses(one, clips, fitted, predict_logits(one, model, clips, fitted))
        result["fitted_loss"] = float(losses.mean())
    tested = metrics.read_predictions(file, splits.TEST, positive)
    shown = (
        tested if one.part == splits.TEST else metrics.read_predictions(file, one.part, positive)
    )
    frames = [
        clips.frames.samples[start : start + clips.length]
        for start in clips.starts[clips.of(one.part)]
    ]
    result["floors"] = auroc_floors(frames, shown)
    result["majority"] = majority(one, clips, parts)
    pictures.save_run(folder, one, result)
    if one.network in explain.EXPLAINED:
        explain.save_explanations(folder.figures(), one, model, clips, tested.scores)
    folder.write_metrics(result)


def evaluation_settings(one: Planned) -> dict:
    """What determines an evaluation and no training, JSON-able."""
    return {name: getattr(one.config, name) for name in EVALUATION_SETTINGS}


def is_evaluated(one: Planned, folder: RunFolder) -> bool:
    """Whether a run was evaluated to its end with these settings."""
    return folder.evaluated_with(evaluation_settings(one))


def save_predictions(one: Planned, folder: RunFolder, model: keras.Model, clips: Clips) -> Path:
    """Score what was not trained on, without judging it, and write predictions.csv.

    Returns:
        That file; see `replication.metrics.read_predictions`.
    """
    rows = []
    for part in _judged_parts(one):
        positions = clips.of(part)
        logits = predict_logits(one, model, clips, positions)
        rows += _prediction_rows(one, clips, part, positions, logits)
    folder.write_predictions(rows)
    return folder.path / PREDICTIONS


def _judged_parts(one: Planned) -> tuple[str, ...]:
    return (splits.TEST,) if one.fits_val else (splits.VAL, splits.TEST)


def predict_logits(
    one: Planned, model: keras.Model, clips: Clips, positions: np.ndarray
) -> np.ndarray:
    """float32 (n,): the logit of absent sliding for each clip.

    A network of single frames votes: the logit of the share of frames that it calls absent.
    """
    if one.network not in FRAME_NETWORKS:
        return predict(model, make_batches(one, clips, positions))[:, 0]
    shares = []
    for position in positions:
        frames = read_clip(one, clips, position)
        of_frames = model.predict(frames, batch_size=one.config.batch_size, verbose=0)[:, 0]
        shares.append(vote(1 / (1 + np.exp(-of_frames))))
    # Kept off 0 and 1 by half a frame, where the logit has no end.
    shares = np.clip(shares, 0.5 / one.frames, 1 - 0.5 / one.frames)
    return np.log(shares / (1 - shares)).astype(np.float32)


def _prediction_rows(
    one: Planned, clips: Clips, part: str, positions: np.ndarray, logits: np.ndarray
) -> list[dict]:
    """Rows of predictions.csv for one part."""
    losses = _losses(one, clips, positions, logits)
    by_batch = _divided_by_batch(losses, one.config.batch_size)
    absent = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return [
        {
            "sample_id": int(start),
            "unit": str(start),
            "patient_id": clips.patients[position],
            "video": clips.files[position],
            "split": part,
            "label": int(clips.labels[position]),
            "score_present": f"{1 - absent[i]:.9g}",
            "score_absent": f"{absent[i]:.9g}",
            "focal_loss": f"{losses[i]:.9g}",
            "focal_loss_by_batch": f"{by_batch[i]:.9g}",
        }
        for i, (position, start) in enumerate(
            zip(positions, clips.starts[positions], strict=True)
        )
    ]  # fmt: skip


def _losses(one: Planned, clips: Clips, positions: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """float (n,): the focal loss of each clip."""
    trained = clips.labels[clips.trained_on(one.fits_val)]
    loss = focal_loss(one.config.alpha, one.config.gamma, "none", trained)
    labels = clips.labels[positions].astype(np.float32)
    return np.asarray(loss(labels[:, None], logits[:, None]))


def _divided_by_batch(losses: np.ndarray, batch_size: int) -> np.ndarray:
    """Each clip's share in the loss that the paper prints, such that their mean is that loss.

    Released: the mean loss of each batch is divided by the batch's size once more, and the batches
    are averaged: 0.0045 printed with batches of 20 is a focal loss of 0.09.
    """
    batches = np.arange(len(losses)) // batch_size
    sizes = np.bincount(batches)[batches]
    return losses / sizes**2 * len(losses) / (batches.max() + 1)


def _counts(labels: np.ndarray) -> dict[str, int]:
    return dict(zip(CLASSES, np.bincount(labels, minlength=2).tolist(), strict=True))


def majority(one: Planned, clips: Clips, parts: Sequence[str]) -> dict[str, float]:
    """For each part the accuracy of always saying what is commonest in training."""
    commonest = np.bincount(clips.labels[clips.trained_on(one.fits_val)]).argmax()
    return {part: float(np.mean(clips.labels[clips.of(part)] == commonest)) for part in parts}


def why_not_comparable(one: Planned, stores: Stores) -> list[str]:
    """Reasons why our numbers may not be held against the printed ones, weightiest first."""
    config, reasons = one.config, []
    frames, _ = stores_of(one, stores)
    if config.control_frozen:
        reasons.append("control experiment on frozen copies, not on sliding")
    if config.shuffle_labels:
        reasons.append("labels were shuffled")
    if config.overfit_clips:
        reasons.append(f"trained on {config.overfit_clips} clips alone")
    if "phantom" in frames.column("origin"):
        reasons.append("phantoms, not the paper's patients")
    elif not config.paper_data:
        reasons.append("another data set than the paper's 171 videos")
    elif _videos_by_class(frames) != PAPER_VIDEOS:
        raise InputError(
            f"--paper-data: expected 139 videos with and 32 without sliding, found "
            f"{_videos_by_class(frames)}; drop the flag or complete the data"
        )
    if one.network == "cmwra" and not config.flow.startswith("raft"):
        reasons.append(f"flow by {config.flow}, not by RAFT")
    published = published_config(one)
    names = PUBLISHED_SETTINGS
    names += FLOW_SETTINGS if one.network == "cmwra" and config.flow.startswith("raft") else ()
    names += RECURRENT_SETTINGS if one.network == "rcm2d" else ()
    differing = [(name, getattr(config, name), getattr(published, name)) for name in names]
    dropout = "rcm2d_dropout" if one.network == "rcm2d" else "dropout"
    differing.append((dropout, getattr(config, dropout), getattr(published, dropout)))
    differing.append(("frames", one.frames, published.frames_of(one.network)))
    differing.append(("side", config.side, published.side))
    reasons += [f"{name} is {ours}, not {theirs}" for name, ours, theirs in differing
                if ours != theirs]  # fmt: skip
    return reasons


def _videos_by_class(frames: Store) -> dict[str, int]:
    """How many videos of each class gave frames."""
    used = [source["class"] for source in frames.sources if source["used"] == "yes"]
    return {name: used.count(name) for name in CLASSES}


def summarise(experiments: Sequence[Experiment]) -> str:
    """A table: each experiment's recall and its company, on the part that the paper used."""
    rows = []
    for e in experiments:
        part = e.dataset
        row = {"experiment": ("LEAKY " if e.leaky else "") + e.name, "part": part,
               "clips": round(e.mean(part, "clip", "n"))}  # fmt: skip
        for name in ("sensitivity", "specificity", "accuracy", "auroc"):
            value, low, high = (e.mean(part, "clip", name, k) for k in ("value", "low", "high"))
            shown = "recall" if name == "sensitivity" else name
            row[shown] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        row["patient auroc"] = f"{e.mean(part, 'patient', 'auroc', 'value'):.3f}"
        row["majority"] = f"{e.mean('majority', part):.3f}"
        row["best floor auroc"] = "-"
        if e.has("floors"):
            floors = [e.mean("floors", name, "patient", "floor") for name in FLOORS]
            row["best floor auroc"] = f"{max(floors):.3f}"
        row["seeds"] = e.seeds
        if e.has("fitted_loss"):
            row["fitted loss"] = f"{e.mean('fitted_loss'):.4f}"
        rows.append(row)
    return "clips, 95 % intervals over patients:\n" + format_table(rows)
