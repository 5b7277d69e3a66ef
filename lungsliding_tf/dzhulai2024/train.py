"""The study: every planned network, and the verdict on it."""

from collections.abc import Callable
from functools import partial

import numpy as np

from lungsliding_tf.dzhulai2024 import pictures
from lungsliding_tf.dzhulai2024.batches import make_batches
from lungsliding_tf.dzhulai2024.config import CLASSES, FLOW_NETWORKS, DzhulaiConfig
from lungsliding_tf.dzhulai2024.data import Stores
from lungsliding_tf.dzhulai2024.evaluate import (
    evaluate_run,
    is_evaluated,
    summarise,
    why_not_comparable,
)
from lungsliding_tf.dzhulai2024.experiments import STUDY, Planned, plan
from lungsliding_tf.dzhulai2024.flow import require_raft_weights
from lungsliding_tf.dzhulai2024.logit_metrics import curve_metrics
from lungsliding_tf.dzhulai2024.losses import focal_loss
from lungsliding_tf.dzhulai2024.networks import build_network
from lungsliding_tf.dzhulai2024.one_cycle import OneCycleAdam
from lungsliding_tf.dzhulai2024.sources import ABSENT_CLASS, PRESENT_CLASS
from lungsliding_tf.dzhulai2024.split import Clips, split_clips
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import file_sha256
from replication import run, verdict
from replication.environment import describe_environment, set_precision
from replication.occupied import in_turn
from replication.records import write_csv
from replication.run import RunFolder, Training
from replication.workers import do_all

# What of the configuration determines a run's result; paths and what else is run do not.
RESULT_SETTINGS = (
    "crops", "max_crops", "split", "test_fraction", "val_fraction", "equal_ratios",
    "augmentation", "chance", "jitter", "rotation", "crop", "batch_size", "epochs",
    "schedule_epochs", "learning_rate", "weight_decay", "clipping", "dropout", "gamma", "alpha",
    "precision", "overfit_clips", "shuffle_labels", "control_frozen",
)  # fmt: skip
FLOW_SETTINGS = ("flow", "raft", "raft_updates", "flow_step")
RECURRENT_SETTINGS = ("rcm2d", "rcm2d_dropout", "two_pools", "batch_norm_over")


def run_study(
    config: DzhulaiConfig, stores: Stores, say: Callable[[str], None]
) -> list[verdict.Verdict]:
    """Train and judge every network that `config` plans, as far as `config.stop_after`.

    `stores` is what `prepare_all` made. Finished runs and epochs are not done again.

    Returns:
        The paper's numbers beside ours; empty if stopped before evaluation.

    Raises:
        InputError: anything about the input that has to be put right first.
    """
    planned = plan(config)
    check_devices(planned)
    # All that could stop the study is looked at before the first hour of training.
    reasons = {one.name: why_not_comparable(one, stores) for one in planned}
    clips_of = {
        (one.name, seed): split_clips(one, stores, seed)
        for one in planned
        for seed in range(config.seeds)
    }
    for one in planned:
        for seed in range(config.seeds):
            check_batches(one, clips_of[one.name, seed])
    tasks = [
        (one, clips_of[one.name, seed], seed, reasons[one.name])
        for one in planned
        for seed in range(config.seeds)
    ]
    do_all(train_and_evaluate, tasks, say, config.jobs, config.cluster)
    if config.stop_after == "train":
        return []
    experiments = verdict.load_runs(config.out / "runs" / STUDY)
    say(summarise(experiments))
    pictures.save_sweeps(config.out, experiments)
    verdicts = verdict.judge_runs(STUDY, experiments)
    write_csv(config.out / f"verdict-{STUDY}.csv", verdict.as_rows(verdicts))
    return verdicts


def train_and_evaluate(
    one: Planned, clips: Clips, seed: int, reasons: list[str], say: Callable[[str], None]
) -> None:
    """One network, as far as it is not done yet."""
    precision = set_precision(one.config.precision)
    folder = run_folder(one, clips, seed)
    with in_turn(folder.path, say):
        if not folder.trained:
            say(f"{folder.path}: {clips.describe()}")
            _train(one, folder, clips, seed, precision, say)
        if one.config.stop_after == "evaluate" and not is_evaluated(one, folder):
            evaluate_run(one, folder, clips, reasons)


def run_folder(one: Planned, clips: Clips, seed: int) -> RunFolder:
    """The folder of a run, with everything that determines its result."""
    config = one.config
    names = RESULT_SETTINGS
    names += FLOW_SETTINGS if one.network in FLOW_NETWORKS else ()
    names += RECURRENT_SETTINGS if one.network == "rcm2d" else ()
    settings = {name: getattr(config, name) for name in names}
    settings |= {"devices": config.devices} if config.devices != "one" else {}
    settings |= {
        "study": STUDY,
        "seed": seed,
        "network": one.network,
        "frames": one.frames,
        "side": config.side,
        "normalise": one.normalise,
        "fits_val": one.fits_val,
        "mean": clips.mean,
        "deviation": clips.deviation,
        "positive": CLASSES[ABSENT_CLASS],
        "paper_row": one.row,
        "paper_dataset": one.part,
        "store": clips.frames.fingerprint,
    }
    if one.tables:
        settings["paper_tables"] = one.tables
    if clips.flow is not None:
        settings["flow_store"] = clips.flow.fingerprint
    elif one.network in FLOW_NETWORKS:  # RAFT inside: its weights to start from are the run's
        settings["raft_weights"] = file_sha256(require_raft_weights(config))
    return RunFolder(
        config.out / "runs" / STUDY / one.name / f"seed{seed}", settings, config.margin
    )


def epoch_order(one: Planned, clips: Clips, seed: int, epoch: int) -> np.ndarray:
    """Which clips an epoch shows, in which order; it depends on seed and epoch alone."""
    train = clips.trained_on(one.fits_val)
    rng = np.random.default_rng((seed, epoch))
    if one.network != "rcm2d" or not one.config.two_pools:
        return rng.permutation(train)
    of_class = [train[clips.labels[train] == label] for label in (PRESENT_CLASS, ABSENT_CLASS)]
    small, large = sorted(of_class, key=len)
    # Paper: section IV: as many *new* images of the larger class as there are of the smaller one:
    # the pool is gone through to its end before any of it comes again.
    first = epoch * len(small)
    rounds = range(first // len(large), (first + len(small) - 1) // len(large) + 1)
    pool = [np.random.default_rng((seed, 2, one_round)).permutation(large) for one_round in rounds]
    skipped = first % len(large)
    drawn = np.concatenate(pool)[skipped : skipped + len(small)]
    return rng.permutation(np.concatenate([small, drawn]))


def check_devices(planned: list[Planned]) -> None:
    """Refuse to share the batches of a network whose batch norm goes through them clip by clip.

    Raises:
        InputError: its averages would be those of the first device's clips.
    """
    for one in planned:
        shared = one.config.devices == "all" and one.network == "rcm2d"
        if shared and one.config.batch_norm_over == "clip":
            raise InputError(
                f"--devices all: the batch norm of {one.name} follows one clip after the other; "
                "take --batch-norm-over batch, or --devices one"
            )


def check_batches(one: Planned, clips: Clips) -> None:
    """Refuse a last batch of one clip, whose deviation batch norm cannot take.

    Raises:
        InputError: training would have one. Released: the code asserts the same.
    """
    shown, size = len(epoch_order(one, clips, 0, 0)), one.config.batch_size
    if shown % size == 1:
        raise InputError(
            f"--batch-size {size} leaves one of the {shown} training clips of {one.name} alone, "
            f"which batch norm cannot normalise; take --batch-size {size + 1} or another"
        )


def _train(
    one: Planned,
    folder: RunFolder,
    clips: Clips,
    seed: int,
    precision: str,
    say: Callable[[str], None],
) -> None:
    """Fit one network. Ours: the last epoch's is kept; the paper names no rule to choose, and the
    released code saves every epoch and is told which to test."""
    config = one.config
    trained = clips.trained_on(one.fits_val)
    shown = epoch_order(one, clips, seed, 0)
    steps = -(-len(shown) // config.batch_size)
    unwatched = one.fits_val or config.overfit_clips  # a few clips say nothing of others
    batches = partial(make_batches, one, clips, labels=clips.labels)
    environment = describe_environment(clips.frames.fingerprint, precision)
    if one.network in FLOW_NETWORKS:
        environment["flow"] = f"{config.flow}, {config.raft}"
    run.fit(
        folder,
        Training(
            build=partial(build_network, one),
            optimizer=lambda: OneCycleAdam(
                config.learning_rate, steps * config.schedule_epochs, config.weight_decay,
                clipvalue=config.clipping,
            ),
            train_data=lambda epoch: batches(
                epoch_order(one, clips, seed, epoch), draw=(seed, epoch)
            ),
            val_data=None if unwatched else batches(clips.of(splits.VAL)),
            epochs=config.epochs,
            seed=seed,
            loss=focal_loss(config.alpha, config.gamma, labels=clips.labels[trained]),
            metrics=curve_metrics,
            chosen_by="last",
            fuse_batch_norm=True,
            devices=config.devices,
        ),
        environment,
        say,
    )  # fmt: skip
