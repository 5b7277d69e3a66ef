"""The study: prepare, train, evaluate, explain, and the verdict on the paper's tables."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from lungsliding_tf.kolarik2023.config import MMODE_CELL, KolarikConfig
from lungsliding_tf.kolarik2023.data import find_regions, store_name
from lungsliding_tf.kolarik2023.evaluate import (
    evaluate_run,
    is_evaluated,
    summarise,
    vote_of,
    why_not_comparable,
)
from lungsliding_tf.kolarik2023.mmode_resnet import build_mmode_resnet18
from lungsliding_tf.kolarik2023.pictures import clearest_video, save_mmode_picture
from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d
from lungsliding_tf.kolarik2023.split import Samples, split_samples
from preprocessing import splits, video
from preprocessing.store import Store
from replication import run, verdict
from replication.environment import describe_environment, set_precision
from replication.occupied import in_turn
from replication.records import write_csv
from replication.run import RunFolder, Training
from replication.workers import do_all

STUDY = "kolarik2023"
# What of the configuration determines a run's result; paths and which cells are run do not.
RESULT_SETTINGS = (
    "region", "stretch", "max_tiles", "protocol", "test_fraction", "val_fraction", "scaling",
    "batch_size", "epochs", "learning_rate", "batch_norm_momentum", "precision", "shuffle_labels",
    "control_frozen",
)  # fmt: skip
MMODE_SETTINGS = ("mmode_frames", "mmode_height", "mmode_columns")


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
    reasons = {cell: why_not_comparable(config, store) for cell, store in stores.items()}
    splits_of = {
        (cell, seed): split_samples(config, stores[cell], seed)
        for cell in stores
        for seed in range(config.seeds)
    }
    tasks = [
        ((cell, depth, seed), splits_of[cell, seed], reasons[cell])
        for cell, depth in config.experiments
        for seed in range(config.seeds)
    ]
    do_all(partial(train_and_evaluate, config), tasks, say, config.jobs, config.cluster)
    if config.stop_after == "train":
        return []
    _save_mmode_pictures(config, stores)
    runs = verdict.load_runs(config.out / "runs" / STUDY)
    for experiment in runs:
        say(summarise(experiment))
    verdicts = verdict.judge_runs(STUDY, runs)
    if verdicts:
        write_csv(config.out / f"verdict-{STUDY}.csv", verdict.as_rows(verdicts))
    return verdicts


def train_and_evaluate(
    config: KolarikConfig,
    experiment: tuple[str, int | None, int],
    samples: Samples,
    reasons: list[str],
    say: Callable[[str], None],
) -> None:
    """One network (cell, depth, seed), as far as it is not done yet."""
    cell, depth, seed = experiment
    precision = set_precision(config.precision)
    folder = _run_folder(config, samples.store, cell, depth, seed)
    with in_turn(folder.path, say):
        if not folder.trained:
            say(f"{folder.path}: {samples.describe()}")
            _train(config, folder, samples, experiment, precision, say)
        if config.stop_after == "evaluate" and not is_evaluated(config, folder):
            evaluate_run(config, folder, samples, cell, reasons)


def experiment_name(config: KolarikConfig, cell: str, depth: int | None) -> str:
    """The folder name of an experiment, such as `resnet3d_18-2_30x30`."""
    network = "mmode_resnet18" if depth is None else f"resnet3d_{depth}"
    leaky = "-published_leaky_clips" if config.protocol == "published-leaky-clips" else ""
    shuffled = "-shuffled_labels" if config.shuffle_labels else ""
    return f"{network}-{store_name(config, cell)}{leaky}{shuffled}"


def _run_folder(
    config: KolarikConfig, store: Store, cell: str, depth: int | None, seed: int
) -> RunFolder:
    names = RESULT_SETTINGS + (MMODE_SETTINGS if cell == MMODE_CELL else ())
    settings = {name: getattr(config, name) for name in names}
    settings |= {"study": STUDY, "seed": seed, "positive": "present", "vote": vote_of(config, cell)}
    settings["paper_row"] = "Resnet-18" if depth is None else f"Resnet3D-{depth}"
    settings["paper_dataset"] = cell
    settings |= {"devices": config.devices} if config.devices != "one" else {}
    settings["store"] = store.fingerprint
    name = experiment_name(config, cell, depth)
    return RunFolder(config.out / "runs" / STUDY / name / f"seed{seed}", settings, config.margin)


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
        return samples.batches(config, order, channels)

    run.fit(
        folder,
        Training(
            build=partial(build, input_shape=shape, batch_norm_momentum=config.batch_norm_momentum),
            # Paper: section 3.2 names Adam, binary cross-entropy, 16 epochs and batches of 32.
            optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
            train_data=epoch_data,
            val_data=samples.batches(config, samples.of(chosen_on), channels),
            epochs=config.epochs,
            seed=seed,
            devices=config.devices,
        ),
        describe_environment(samples.store.fingerprint, precision),
        say,
    )


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
