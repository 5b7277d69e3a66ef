"""The study: prepare, train, evaluate, explain, and the verdict on the paper's tables."""

import dataclasses
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lungsliding_tf import floors
from lungsliding_tf.kolarik2023.config import MMODE_CELL, KolarikConfig
from lungsliding_tf.kolarik2023.control import tissue_free_statistics
from lungsliding_tf.kolarik2023.data import find_regions, store_name
from lungsliding_tf.kolarik2023.explain import save_saliency
from lungsliding_tf.kolarik2023.mmode_resnet import build_mmode_resnet18
from lungsliding_tf.kolarik2023.pictures import clearest_video, save_mmode_picture
from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d
from lungsliding_tf.labels import ABSENT, PRESENT
from preprocessing import splits, video
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import metrics, run, verdict
from replication.batches import make_dataset
from replication.metrics import Predictions
from replication.records import PREDICTIONS, write_csv
from replication.run import RunFolder, Training

STUDY = "kolarik2023"
PAPER_VIDEOS = {PRESENT: 28, ABSENT: 20}  # Paper: section 3.1

# Motion statistics without learning. "Anything moves" is the first: a network must beat it. The
# others measure persistence, what an M-mode reader uses, and carry signal by right.
FLOORS = (
    "frame_difference",
    "temporal_deviation",
    "persistence",
    "persistence_ratio",
    "short_persistence_ratio",
)

# What the paper or its library states: another value is another experiment.
PUBLISHED_SETTINGS = (
    "region", "max_tiles", "test_fraction", "batch_size", "epochs", "batch_norm_momentum",
)  # fmt: skip

# What of the configuration determines a run's result; paths and which cells are run do not.
RESULT_SETTINGS = (
    "region", "stretch", "max_tiles", "mmode_frames", "mmode_height", "mmode_columns",
    "protocol", "test_fraction",
    "val_fraction", "scaling", "batch_size", "epochs", "learning_rate", "batch_norm_momentum",
    "precision", "smooth_samples", "shuffle_labels", "control_frozen", "paper_data",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Samples:
    """The labelled samples of a store, split. Arrays have one entry for each."""

    store: Store
    rows: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    leaky: bool
    near_duplicates: int

    def of(self, part: str) -> np.ndarray:
        """Positions of a part's samples in these arrays."""
        return np.flatnonzero(self.parts == part)


def run_study(
    config: KolarikConfig, stores: dict[str, Store], say: Callable[[str], None]
) -> list[verdict.Verdict]:
    """Train and judge every experiment that `config` names, as far as `config.stop_after`.

    `stores` is what `prepare_all` made. Finished runs and epochs are not done again.

    Returns:
        The paper's numbers beside ours; empty if stopped before evaluation.

    Raises:
        InputError: anything about the input that has to be put right first.
    """
    # All that could stop the study is looked at before the first hour of training.
    reasons = {cell: _why_not_comparable(config, store) for cell, store in stores.items()}
    splits_of = {
        (cell, seed): split_samples(config, stores[cell], seed)
        for cell in stores
        for seed in range(config.seeds)
    }
    precision = run.set_precision(config.precision)
    for cell, depth in config.experiments:
        for seed in range(config.seeds):
            samples = splits_of[cell, seed]
            folder = _run_folder(config, stores[cell], cell, depth, seed)
            if not folder.trained:
                say(f"{folder.path}: {_describe_split(samples)}")
                _train(config, folder, samples, (cell, depth, seed), precision, say)
            if config.stop_after == "evaluate" and not folder.finished:
                _evaluate(config, folder, samples, cell, reasons[cell])
    if config.stop_after == "train":
        return []
    _save_mmode_pictures(config, stores)
    runs = verdict.load_runs(config.out / "runs" / STUDY)
    for experiment in runs:
        say(_summary(experiment))
    verdicts = verdict.judge_runs(STUDY, runs)
    if verdicts:
        write_csv(config.out / f"verdict-{STUDY}.csv", verdict.as_rows(verdicts))
    return verdicts


def experiment_name(config: KolarikConfig, cell: str, depth: int | None) -> str:
    """The folder name of an experiment, such as `resnet3d_18-2_30x30`."""
    network = "mmode_resnet18" if depth is None else f"resnet3d_{depth}"
    leaky = "-published_leaky_clips" if config.protocol == "published-leaky-clips" else ""
    shuffled = "-shuffled_labels" if config.shuffle_labels else ""
    return f"{network}-{store_name(config, cell)}{leaky}{shuffled}"


def split_samples(config: KolarikConfig, store: Store, seed: int) -> Samples:
    """The labelled samples of a store with their parts, checked for leaks.

    Raises:
        InputError: too few patients, or a leak that nobody asked for.
    """
    patients, labels = store.column("patient_id"), store.column("label").astype(int)
    files = store.column("file")
    rows = np.flatnonzero(labels >= 0)
    patients, labels, files = patients[rows], labels[rows], files[rows]
    if config.shuffle_labels:
        labels = _deal_labels_anew(patients, labels, seed)
    published = config.protocol == "published-leaky-clips"
    _check_both_classes(store, patients, labels, least=1 if published else 3)
    if published:
        parts = splits.split_published_leaky_clips(len(rows), seed)
    else:
        strata = np.zeros_like(labels) if config.control_frozen else labels
        parts = splits.split_patients(
            patients, strata, seed, config.test_fraction, config.val_fraction
        )
    clips = [store.samples[row] for row in rows]  # views, nothing is read yet
    if store.recipe["cell"] == MMODE_CELL:
        clips = [image[None] for image in clips]  # an image is a clip of one frame
    found = splits.find_leaks(patients, files, store.file_hashes, parts, clips)
    leaky = splits.check_split(found, leaks_requested=published)
    return Samples(store, rows, patients, labels, parts, leaky, found.near_duplicates)


def _run_folder(
    config: KolarikConfig, store: Store, cell: str, depth: int | None, seed: int
) -> RunFolder:
    settings = {name: getattr(config, name) for name in RESULT_SETTINGS}
    settings |= {"study": STUDY, "seed": seed, "vote": config.mmode_vote, "positive": "present"}
    settings["paper_row"] = "Resnet-18" if depth is None else f"Resnet3D-{depth}"
    settings["paper_dataset"] = cell
    settings["store"] = store.fingerprint
    name = experiment_name(config, cell, depth)
    return RunFolder(config.out / "runs" / STUDY / name / f"seed{seed}", settings)


def _train(
    config: KolarikConfig,
    folder: RunFolder,
    samples: Samples,
    experiment: tuple[str, int | None, int],
    precision: str,
    say: Callable[[str], None],
) -> None:
    """Fit one network; the checkpoint is chosen on val, or on test as published."""
    cell, depth, seed = experiment
    channels = 1 if cell == MMODE_CELL else 3
    shape = (*samples.store.samples.shape[1:], channels)
    build = build_mmode_resnet18 if depth is None else partial(build_resnet3d, depth)
    train = samples.of(splits.TRAIN)
    # Inferred: the paper has no validation part, so its checkpoint was chosen on the test loss.
    chosen_on = splits.TEST if config.protocol == "published-leaky-clips" else splits.VAL

    def epoch_data(epoch: int):
        order = np.random.default_rng((seed, epoch)).permutation(train)
        return _batches(config, samples, order, channels)

    run.fit(
        folder,
        Training(
            build=partial(build, input_shape=shape, batch_norm_momentum=config.batch_norm_momentum),
            # Paper: section 3.2 names Adam, binary cross-entropy, 16 epochs and batches of 32.
            optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
            train_data=epoch_data,
            val_data=_batches(config, samples, samples.of(chosen_on), channels),
            epochs=config.epochs,
            seed=seed,
        ),
        run.describe_environment(samples.store.fingerprint, precision),
        say,
    )


def _evaluate(
    config: KolarikConfig, folder: RunFolder, samples: Samples, cell: str, reasons: list[str]
) -> None:
    """Score val and test, write predictions, pictures and, last, the metrics."""
    model = run.load_model(folder)
    scored = np.flatnonzero(samples.parts != splits.TRAIN)
    batches = _batches(config, samples, scored, channels=model.input_shape[-1])
    scores = model.predict(batches, verbose=0)[:, 0]
    folder.write_predictions(
        [
            _prediction_row(samples, position, float(score))
            for position, score in zip(scored, scores, strict=True)
        ]
    )
    predictions_file = folder.path / PREDICTIONS
    result = metrics.evaluate_predictions(predictions_file, "present", config.mmode_vote) | {
        "leaky": samples.leaky,
        "near_duplicates": samples.near_duplicates,
        "not_comparable": reasons,
    }
    if cell != MMODE_CELL:
        test = metrics.read_predictions(predictions_file, splits.TEST, "present")
        result["floors"] = _floors(samples, samples.of(splits.TEST), test)
        clips = [samples.store.samples[row] for row in samples.rows[scored]]
        labels = samples.labels[scored]
        save_saliency(folder.figures(), model, clips, scores, labels, config)
    if config.control_frozen:
        result["control_floors"] = _control_floors(samples)
    folder.write_metrics(result)


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
        "score_present": f"{score:.9g}",  # float32 to the last bit: rounding would make ties,
    }


def _batches(config: KolarikConfig, samples: Samples, positions: np.ndarray, channels: int):
    return make_dataset(
        samples.store.samples,
        samples.rows[positions],
        samples.labels[positions],
        config.batch_size,
        channels,
        config.scaling,
    )


def _floors(samples: Samples, positions: np.ndarray, predictions: Predictions) -> dict:
    """How far the network's test AUROC lies above that of plain motion statistics."""
    if np.unique(predictions.labels).size < 2:
        return {}
    clips = [samples.store.samples[samples.rows[i]] for i in positions]
    result = {}
    for name in FLOORS:
        values = np.array([getattr(floors, name)(clip) for clip in clips])
        mean_value = dataclasses.replace(predictions, scores=values).by_patient().scores
        result[name] = {
            "clip": metrics.auroc_above(predictions, values),
            "patient": metrics.auroc_above(predictions.by_patient(), mean_value),
        }
    return result


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


def _check_both_classes(store: Store, patients: np.ndarray, labels: np.ndarray, least: int) -> None:
    """Refuse a store with fewer than `least` patients of a class."""
    for label, name in ((PRESENT, "present"), (ABSENT, "absent")):
        found = np.unique(patients[labels == label]).size
        if found < least:
            raise InputError(
                f"{store.folder}: has {found} patients with sliding {name}, training needs at "
                f"least {least} of each class: add labelled videos (lung_sliding in labels.csv)"
            )


def _deal_labels_anew(patients: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Permute the labels over the patients: a pipeline without leaks then learns nothing."""
    names, first, group = np.unique(patients, return_index=True, return_inverse=True)
    return np.random.default_rng(seed).permutation(labels[first])[group]


def _why_not_comparable(config: KolarikConfig, store: Store) -> list[str]:
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


def _save_mmode_pictures(config: KolarikConfig, stores: dict[str, Store]) -> None:
    """Draw the M-mode of the clearest video of each class of the first tile store (Figure 1)."""
    store = next((s for cell, s in stores.items() if cell != MMODE_CELL), None)
    for name in ("present", "absent") if store else ():
        path = config.out / "figures" / f"mmode_{name}.png"
        if path.exists() and path.stat().st_mtime >= store.folder.stat().st_mtime:
            continue
        file = clearest_video(store, name)
        if file is None:
            continue
        info = video.probe(config.data / file)
        sign = "seashore" if name == "present" else "barcode"
        title = f"{file}: sliding {name} ({sign} sign expected)"
        save_mmode_picture(path, info, find_regions(config, info)[0], title)


def _describe_split(samples: Samples) -> str:
    parts = [
        f"{part} {len(samples.of(part))} samples of "
        f"{np.unique(samples.patients[samples.of(part)]).size} patients"
        for part in (splits.TRAIN, splits.VAL, splits.TEST)
    ]
    near = (
        f"; {samples.near_duplicates} near-duplicates across parts"
        if samples.near_duplicates
        else ""
    )
    return ("LEAKY: " if samples.leaky else "") + ", ".join(parts) + near


def _summary(experiment: verdict.Experiment) -> str:
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
        persistence = max(mean("floors", name, "patient", "floor") for name in FLOORS[1:])
        above = [mean("floors", "frame_difference", "patient", k) for k in ("low", "high")]
        line += f"; floors: frame difference {frame:.3f} (network above it by "
        line += f"[{above[0]:.3f}, {above[1]:.3f}]), best persistence statistic {persistence:.3f}"
    if experiment.has("control_floors"):
        line += f"; accuracy {mean('test', 'clip', 'accuracy', 'value'):.3f}, floors: "
        line += f"temporal difference {mean('control_floors', 'temporal_difference'):.3f}, "
        line += f"tissue-free noise {mean('control_floors', 'tissue_free_noise'):.3f}"
    return line
