"""The study: train each network, evaluate, explain, and the verdict on the paper's tables."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np

from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication import run, verdict
from replication.batches import to_network_input
from replication.claims import format_claims, judge_order
from replication.environment import describe_environment, set_precision
from replication.occupied import in_turn
from replication.records import CONFIG, HISTORY, MODEL, read_json, write_csv
from replication.run import RunFolder, Training, read_history
from replication.workers import do_all
from vbreathnet import crop, pictures
from vbreathnet.claims import judge_claims
from vbreathnet.config import PAPER_ROWS, PAPER_TRANSFER_RATE, VBreathNetConfig
from vbreathnet.data import read_lung_mask
from vbreathnet.evaluate import evaluate_run, is_evaluated, summarise, why_not_comparable
from vbreathnet.model import build_vbreathnet
from vbreathnet.quality import check_enough
from vbreathnet.split import Samples, split_samples
from vbreathnet.transfer import build_transfer
from vbreathnet.weights import (
    IMAGENET,
    RANDOM,
    digest_of,
    load_base_weights,
    normalise_random_base,
)

STUDY = "vbreathnet"
# Ours: training images that set the statistics of random baselines; 16 take DenseNet121 3 GB.
NORMALISED_ON = 16
# What of the configuration determines a run's result; paths and which models are run do not.
SHARED_SETTINGS = (
    "classes", "image_size", "min_sharpness", "min_contrast", "max_contrast", "protocol",
    "val_fraction", "test_per_class", "per_class", "augmentation", "rotation", "shift", "zoom",
    "batch_size", "precision", "shuffle_labels",
)  # fmt: skip
VBREATHNET_SETTINGS = (
    "scaling", "epochs", "learning_rate", "halve_every", "min_learning_rate", "dropout",
    "dense_dropout", "batch_norm_momentum", "activation_order",
)  # fmt: skip


def run_study(
    config: VBreathNetConfig, store: Store, say: Callable[[str], None]
) -> list[verdict.Verdict]:
    """Train and judge every network that `config` names, as far as `config.stop_after`.

    Finished runs and epochs are not done again.

    Returns:
        The paper's numbers beside ours; empty if stopped before evaluation.

    Raises:
        InputError: anything about the input that has to be put right first.
    """
    # All that could stop the study is looked at before the first hour of training.
    check_enough(config, store)
    reasons = why_not_comparable(config, store)
    seeds = range(config.seeds)
    samples_of = {seed: split_samples(config, store, seed, say if seed == 0 else _quiet)
                  for seed in seeds}  # fmt: skip
    set_precision(config.precision)
    experiments = list_experiments(config)
    for samples in samples_of.values():
        check_masks_and_boxes(config, samples)
    check_weights(config, store)
    tasks = [
        ((model, rate, seed), samples_of[seed], reasons[model])
        for model, rate in experiments
        for seed in seeds
    ]
    do_all(partial(train_and_evaluate, config), tasks, say, config.jobs, config.cluster)
    _save_overviews(config)
    if config.stop_after == "train":
        return []
    runs = verdict.load_runs(config.out / "runs" / STUDY)
    for experiment in runs:
        say(summarise(experiment))
    verdicts = verdict.judge_runs(STUDY, runs)
    if verdicts:
        write_csv(config.out / f"verdict-{STUDY}.csv", verdict.as_rows(verdicts))
    for line in format_claims([*judge_order(STUDY, runs, config.margin), *judge_claims(runs)]):
        say(line)
    return verdicts


def train_and_evaluate(
    config: VBreathNetConfig,
    experiment: tuple[str, float, int],
    samples: Samples,
    reasons: list[str],
    say: Callable[[str], None],
) -> None:
    """One network (model, learning rate, seed), as far as it is not done yet."""
    model = experiment[0]
    precision = set_precision(config.precision)
    folder = _run_folder(config, samples.store, *experiment)
    with in_turn(folder.path, say):
        if not folder.trained:
            say(f"{folder.path}: {samples.describe(config.classes)}")
            _train(config, folder, samples, experiment, precision, say)
        if config.stop_after == "evaluate" and not is_evaluated(config, folder, samples):
            evaluate_run(config, folder, samples, _scaling(config, model), reasons, say)


def check_masks_and_boxes(config: VBreathNetConfig, samples: Samples) -> None:
    """Refuse, before any training, lung masks and drawn boxes that the evaluation could not use."""
    crop.find_boxes(config, samples, samples.rows[samples.of(splits.TEST)].tolist())
    for row in samples.rows[samples.parts != splits.TRAIN]:
        read_lung_mask(config.data, samples.store.index[row]["file"])


def check_weights(config: VBreathNetConfig, store: Store) -> None:
    """Refuse, before any training, initial weights that cannot be had for a run still to train."""
    for model, rate in list_experiments(config):
        runs = [_run_folder(config, store, model, rate, seed) for seed in range(config.seeds)]
        if model == "v-breathnet" or config.weights == RANDOM or all(r.trained for r in runs):
            continue
        side = config.image_size
        network = build_transfer(model, (side, side, 3), head=config.transfer_head)
        load_base_weights(network, model, config.weights)


def list_experiments(config: VBreathNetConfig) -> list[tuple[str, float]]:
    """(model, learning rate) pairs to run; only the baselines compare several rates."""
    return [
        (model, rate)
        for model in config.model
        for rate in (
            (config.learning_rate,) if model == "v-breathnet" else config.transfer_learning_rate
        )
    ]


def experiment_name(config: VBreathNetConfig, model: str, rate: float) -> str:
    """The folder name of an experiment, such as `densenet121-lr0.1-random_weights`."""
    parts = [model]
    if model != "v-breathnet":
        parts += [f"lr{rate:g}"] if rate != PAPER_TRANSFER_RATE else []
        parts += ["random_weights"] if config.weights == RANDOM else []
    parts += ["published_leaky"] if config.leaky_protocol else []
    parts += ["shuffled_labels"] if config.shuffle_labels else []
    return "-".join(parts)


def _run_folder(
    config: VBreathNetConfig, store: Store, model: str, rate: float, seed: int
) -> RunFolder:
    path = config.out / "runs" / STUDY / experiment_name(config, model, rate) / f"seed{seed}"
    names = SHARED_SETTINGS + (VBREATHNET_SETTINGS if model == "v-breathnet" else ())
    settings = {name: getattr(config, name) for name in names}
    settings |= {"study": STUDY, "seed": seed, "model": model, "store": store.fingerprint}
    settings |= {"devices": config.devices} if config.devices != "one" else {}
    if model != "v-breathnet":
        settings |= {
            "epochs": config.transfer_epochs,
            "learning_rate": rate,
            "weights": Path(config.weights).name,
            "transfer_head": config.transfer_head,
        }
        if config.weights not in (IMAGENET, RANDOM):  # several files may bear one name
            settings["weights_sha256"] = _weights_digest(config, model, path)
    # Another learning rate than the paper's is ours alone: no line of its tables.
    in_paper = model == "v-breathnet" or rate == PAPER_TRANSFER_RATE
    settings |= {"paper_row": PAPER_ROWS[model] if in_paper else "", "paper_dataset": ""}
    return RunFolder(path, settings, config.margin)


def _weights_digest(config: VBreathNetConfig, model: str, run_path: Path) -> str:
    """SHA-256 of the given weight file; if it is gone, as a trained run has recorded it."""
    try:
        return digest_of(model, config.image_size, config.weights)
    except InputError:
        if not (run_path / MODEL).exists():
            raise
        return read_json(run_path / CONFIG).get("weights_sha256", "")


def _train(
    config: VBreathNetConfig,
    folder: RunFolder,
    samples: Samples,
    experiment: tuple[str, float, int],
    precision: str,
    say: Callable[[str], None],
) -> None:
    """Fit one network; the checkpoint is the epoch of the highest validation accuracy."""
    model, rate, seed = experiment
    ours = model == "v-breathnet"
    scaling = _scaling(config, model)
    run.fit(
        folder,
        Training(
            build=partial(_initial_model, config, model, samples),
            # Paper: section 3.3: RMSprop. Ours: also for the baselines, which name no optimizer.
            optimizer=lambda: keras.optimizers.RMSprop(rate),
            train_data=lambda epoch: samples.training_epoch(config, epoch, scaling),
            val_data=samples.batches(config, samples.of(splits.VAL), scaling),
            epochs=config.epochs if ours else config.transfer_epochs,
            seed=seed,
            loss="categorical_crossentropy",  # Paper: section 3.3
            learning_rate=partial(learning_rate_of, config) if ours else None,
            chosen_by="val_accuracy",
            fuse_batch_norm=ours,
            devices=config.devices,
        ),
        describe_environment(samples.store.fingerprint, precision),
        say,
    )


def learning_rate_of(config: VBreathNetConfig, epoch: int) -> float:
    """The rate of an epoch: halved every few epochs, down to a floor (section 3.3)."""
    # Paper: "reduce ... by 0.5 after every 5 epochs", with a threshold of 0.000001. Inferred: by
    # the factor 0.5, since a subtraction of 0.5 from 0.001 makes no rate.
    halved = config.learning_rate * 0.5 ** (epoch // config.halve_every)
    return max(halved, config.min_learning_rate)


def _save_overviews(config: VBreathNetConfig) -> None:
    """Draw the gap of every run in the output folder, and the baselines' learning rates."""
    histories = {}
    for path in sorted((config.out / "runs" / STUDY).glob(f"*/seed*/{HISTORY}")):
        name = path.parent.parent.name
        seed = path.parent.name.removeprefix("seed")
        histories[name + (f", seed {seed}" if seed != "0" else "")] = read_history(path)
    figures = config.out / "figures"
    figures.mkdir(exist_ok=True)
    pictures.save_gaps(figures / "gaps.png", histories)
    baselines = {name: h for name, h in histories.items() if not name.startswith("v-breathnet")}
    if any("-lr" in name for name in baselines):
        pictures.save_learning_rates(figures / "learning_rates.png", baselines)


def _initial_model(config: VBreathNetConfig, model: str, samples: Samples) -> keras.Model:
    """An untrained network, with the baselines' initial weights loaded.

    Random ones are fitted with batch-norm statistics on training images: see
    `normalise_random_base`.
    """
    side, classes = config.image_size, len(config.classes)
    if model == "v-breathnet":
        return build_vbreathnet(
            (side, side, 3), classes, config.dropout, config.dense_dropout,
            config.batch_norm_momentum, config.activation_order,
        )  # fmt: skip
    network = build_transfer(model, (side, side, 3), classes=classes, head=config.transfer_head)
    if config.weights == RANDOM:
        train = samples.rows[samples.of(splits.TRAIN, copies=False)]
        chosen = np.random.default_rng(samples.seed).permutation(train)[:NORMALISED_ON]
        normalise_random_base(network, to_network_input(samples.store.samples[np.sort(chosen)]))
    else:
        load_base_weights(network, model, config.weights)
    return network


def _scaling(config: VBreathNetConfig, model: str) -> str:
    return config.scaling if model == "v-breathnet" else "unit"


def _quiet(line: str) -> None:
    """Say nothing: the same was said for the first seed."""
