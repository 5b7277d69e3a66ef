"""What a trained network is worth: predictions, metrics, the floors beside them, and reasons."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import figures, multiclass, run, verdict
from replication.batches import predict
from replication.floors import majority_floor, thumbnail_floor
from replication.multiclass import ClassPredictions
from replication.records import PREDICTIONS
from replication.run import RunFolder
from vbreathnet import crop, explain, lowpower
from vbreathnet.config import CLASSES, VBreathNetConfig
from vbreathnet.data import TABLE_1
from vbreathnet.floors import border_floor
from vbreathnet.split import Samples
from vbreathnet.weights import IMAGENET, RANDOM, is_published

FLOORS = {
    "thumbnail": thumbnail_floor,
    "border": border_floor,
    "majority": majority_floor,
}

# Ours: what the paper states, or its counts reveal, makes the experiment: with another value the
# verdict is "not comparable".
PUBLISHED_SETTINGS = ("image_size", "val_fraction", "test_per_class", "per_class", "learning_rate",
                      "halve_every", "min_learning_rate", "transfer_epochs")  # fmt: skip
PAPER_BEST_EPOCH = 24  # Paper: section 4

# What of the configuration is only looked at here: with other values a run is evaluated again.
EVALUATION_SETTINGS = ("smooth_samples", "export", "export_beside", "paper_data")


def evaluate_run(
    config: VBreathNetConfig,
    folder: RunFolder,
    samples: Samples,
    scaling: str,
    reasons: list[str],
    say: Callable[[str], None],
) -> None:
    """Score all originals, write predictions, pictures and, last, the metrics."""
    folder.forget_metrics()
    model = run.load_model(folder)
    predictions = score_samples(config, model, samples, scaling)
    cropped = crop.score_cropped_test(config, model, samples, predictions, scaling, say)
    folder.write_predictions(predictions + cropped)
    file = folder.path / PREDICTIONS
    parts = {part: multiclass.read_class_predictions(file, part, config.classes)
             for part in (splits.TRAIN, splits.VAL, splits.TEST)}  # fmt: skip
    history = folder.history()
    best = run.best_epoch(history, "val_accuracy")
    result = multiclass.evaluate_class_predictions(file, config.classes) | {
        "leaky": samples.leaky,
        "not_comparable": reasons,
        "parameters": run.count_parameters(model),  # as Table 3 counts them
        "evaluation": evaluation_settings(config, samples),
        "best_epoch": best,
        "epochs": len(history),
        "gap": {
            "chosen_epoch": multiclass.accuracy_gap(parts[splits.TRAIN], parts[splits.VAL]),
            "last_epoch": history[-1]["accuracy"] - history[-1]["val_accuracy"],
        },
        "floors": _floors(config, samples, parts),
        "images_cropped": sum(row["cropped"] for row in cropped),
        "lungs": explain.explain_run(config, folder, model, samples, predictions, scaling),
    }
    # Paper: Figures 1 and 2.
    figures.save_curves(folder.figures() / "curves.png", history, best, folder.path.parent.name)
    for part in (name for name in result if name.startswith(("val", "test"))):
        confusion = np.array(result[part]["image"]["confusion"])
        title = f"{folder.path.parent.name}: {part}"
        figures.save_confusion(
            folder.figures() / f"confusion-{part}.png", confusion, config.classes, title
        )
    if config.export and model.name == "vbreathnet":
        result["low_power"] = lowpower.export_and_measure(config, folder, model, samples, scaling)
    folder.write_metrics(result)


def evaluation_settings(config: VBreathNetConfig, samples: Samples) -> dict:
    """What determines an evaluation and no training, JSON-able."""
    settings = {name: getattr(config, name) for name in EVALUATION_SETTINGS}
    return settings | {"marks": crop.fingerprint_of_marks(config, samples)}


def is_evaluated(config: VBreathNetConfig, folder: RunFolder, samples: Samples) -> bool:
    """Whether a run was evaluated to its end with these settings, drawn boxes and lung masks."""
    return folder.evaluated_with(evaluation_settings(config, samples))


def score_samples(
    config: VBreathNetConfig, model: keras.Model, samples: Samples, scaling: str
) -> list[dict]:
    """Rows of predictions.csv: every original of the three parts, and copies that validate."""
    train = samples.of(splits.TRAIN, copies=False)
    rest = np.flatnonzero(samples.parts != splits.TRAIN)
    positions = np.concatenate([train, rest])
    batches = samples.batches(config, positions, scaling)
    scores = predict(model, batches)
    return [
        prediction_row(config, samples, position, samples.parts[position], score)
        for position, score in zip(positions, scores, strict=True)
    ]


def prediction_row(
    config: VBreathNetConfig, samples: Samples, position: int, split: str, scores: np.ndarray
) -> dict:
    """A row of predictions.csv; `patient_id` is the group that a sound split keeps together."""
    return {
        "sample_id": int(samples.keys[position]),
        "file": samples.store.index[samples.rows[position]]["file"],
        "patient_id": samples.groups[position],
        "split": split,
        "label": int(samples.labels[position]),
        **{f"score_{name}": f"{score:.9g}"
           for name, score in zip(config.classes, scores, strict=True)},
        "cropped": 0,
    }  # fmt: skip


def _floors(config: VBreathNetConfig, samples: Samples, parts: dict[str, ClassPredictions]) -> dict:
    """How far the network's accuracy lies above that of linear models on shortcuts.

    They are fitted on what trained the network and answer what it answered, copies included.
    """
    images = samples.images(config)
    train, val, test = (samples.of(part) for part in (splits.TRAIN, splits.VAL, splits.TEST))
    asked = np.concatenate([val, test])
    result: dict = {}
    for name, floor in FLOORS.items():
        found = floor(
            (images[samples.keys[[i]]][0] for i in train), samples.labels[train],
            (images[samples.keys[[i]]][0] for i in asked), samples.labels[asked],
        )  # fmt: skip
        said = dict(zip(samples.keys[asked], found["predicted"], strict=True))
        result[name] = {
            part: multiclass.accuracy_above(
                parts[part], np.array([said[int(number)] for number in parts[part].samples])
            )
            for part in (splits.VAL, splits.TEST)
        }
    return result


def why_not_comparable(config: VBreathNetConfig, store: Store) -> dict[str, list[str]]:
    """For each model, why our numbers may not be held against the printed ones.

    Raises:
        InputError: `--paper-data` for images that are not those of Table 1.
    """
    reasons = []
    counts = Counter(store.column("class"))
    if config.shuffle_labels:
        reasons.append("labels were shuffled")
    if "phantom" in store.column("origin"):
        reasons.append("phantoms, not the paper's patients")
    elif config.paper_data and dict(counts) != TABLE_1:
        raise InputError(
            f"--paper-data: expected the images of Table 1 ({TABLE_1}), found {dict(counts)}; drop "
            "the flag or complete the data"
        )
    elif not config.paper_data:
        share = sum(counts.values()) / sum(TABLE_1.values())
        reasons.append(
            f"another data set than the paper's 15,153 images: {sum(counts.values())} "
            f"({share:.0%} of its number)"
        )
    if config.classes != CLASSES:
        reasons.append("other classes")
    published = VBreathNetConfig(config.data, config.out)
    for name in PUBLISHED_SETTINGS:
        if getattr(config, name) != getattr(published, name):
            reasons.append(f"{name} is {getattr(config, name)}, not {getattr(published, name)}")
    return {model: reasons + _reasons_of_model(config, model) for model in config.model}


def _reasons_of_model(config: VBreathNetConfig, model: str) -> list[str]:
    """Why one network's numbers may not be compared, beside what holds for all."""
    if model == "v-breathnet":
        if config.epochs < PAPER_BEST_EPOCH:
            return [f"epochs is {config.epochs}, and the paper's best was the {PAPER_BEST_EPOCH}th"]
        return []
    if config.weights == RANDOM:
        return ["random weights, not those of ImageNet"]
    if config.weights != IMAGENET and not is_published(model, config.image_size, config.weights):
        return [f"weights of {Path(config.weights).name}, not known to be those of ImageNet"]
    return []


def summarise(experiment: verdict.Experiment) -> str:
    """A line on an experiment: accuracies beside their floors, mean over the seeds."""
    mean = experiment.mean
    accuracy = {
        part: [mean(part, "image", "accuracy", key) for key in ("value", "low", "high")]
        for part in (splits.VAL, splits.TEST)
    }
    line = f"{'LEAKY ' if experiment.leaky else ''}{experiment.name}, {experiment.seeds} seed(s): "
    lines = []
    for part, (value, low, high) in accuracy.items():
        text = f"accuracy {part} {value:.4f} [{low:.3f}, {high:.3f}]; floors"
        for name in FLOORS:
            floor, low, high = (mean("floors", name, part, k) for k in ("floor", "low", "high"))
            text += f" {name} {floor:.3f} (network above it by [{low:.3f}, {high:.3f}]),"
        lines.append(text.rstrip(","))
    if experiment.has("low_power"):
        lines.append(describe_low_power(experiment))
    return line + "\n  ".join(["", *lines])


def describe_low_power(experiment: verdict.Experiment) -> str:
    """A line on the LiteRT files: size, speed, and what int8 costs."""

    def file(*keys: str) -> str:
        megabytes = experiment.mean("low_power", *keys, "bytes") / 1e6
        speed = experiment.mean("low_power", *keys, "milliseconds")
        return f"{megabytes:.2f} MB, {speed:.1f} ms"

    right = [experiment.mean("low_power", kind, "accuracy") for kind in ("float", "int8")]
    line = f"LiteRT, one thread: float {file('float')}; int8 {file('int8')}, accuracy change "
    line += f"{right[1] - right[0]:+.4f} on {experiment.mean('low_power', 'images'):.0f} images"
    if "mobilenetv2" in experiment.results[0]["low_power"]:
        beside = [file("mobilenetv2", kind) for kind in ("float", "int8")]
        line += f"; MobileNetV2: float {beside[0]}; int8 {beside[1]}"
    return line
