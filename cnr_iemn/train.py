"""The study: slice networks in the paper's scenarios, then patients, and the verdict on both."""

from collections.abc import Callable, Sequence
from functools import partial

import keras

from cnr_iemn import challenge, diagnose, pictures
from cnr_iemn.backbones import build_backbone
from cnr_iemn.batches import make_batches
from cnr_iemn.config import CLASSES, CnrIemnConfig, Network, Scenario
from cnr_iemn.evaluate import (
    evaluate_run,
    is_evaluated,
    summarise,
    why_not_comparable,
    why_other_weights,
)
from cnr_iemn.explain import save_heatmap_sheets
from cnr_iemn.multitask import build_slice_network
from cnr_iemn.runs import STUDY, SliceRun, graph_of, is_plain, list_runs, run_folder
from cnr_iemn.slice_labels import read_slice_labels
from cnr_iemn.split import Slices, TestSet, check_copies, read_test_sets, split_scans
from cnr_iemn.weights import RANDOM, InitialWeights, load_imagenet
from preprocessing import splits
from preprocessing.store import Store, write_text
from replication import run, verdict
from replication.environment import describe_environment, set_precision
from replication.fused import FusedAdam
from replication.occupied import in_turn
from replication.records import write_csv
from replication.run import RunFolder, Training
from replication.workers import do_all


def run_study(
    config: CnrIemnConfig, stores: tuple[Store, ...], say: Callable[[str], None]
) -> list[verdict.Verdict]:
    """Train and judge every network that `config` names, then patients, up to `stop_after`.

    Finished runs and epochs are not done again.

    Args:
        stores: of `data.prepare_all`.

    Returns:
        The paper's numbers beside ours; empty if stopped before evaluation.

    Raises:
        InputError: anything about the input that has to be put right first.
    """
    # All that could stop the study is looked at before the first hour of training.
    reasons = why_not_comparable(config, stores)
    check_copies((config.data, *config.test), stores)
    seeds = range(config.seeds)
    labels = read_slice_labels(config.data, config.labels)
    slices_of = {seed: split_scans(config, stores[0], labels, seed) for seed in seeds}
    tests = read_test_sets(config, stores[1:])
    weights = check_weights(config)
    reasons_of = {
        network: [*reasons, *why_other_weights(weights[network])] for network in config.network
    }
    for seed in seeds:
        say(f"seed {seed}: {slices_of[seed].describe()}")
    runs = [slice_run for seed in seeds for slice_run in list_runs(config, seed)]
    if config.jobs > 1 or config.cluster:
        runs = _all_at_once(config, runs)
    tasks = [(one, slices_of[one.seed], tests, weights, reasons_of) for one in runs]
    do_all(partial(train_and_evaluate, config), tasks, say, config.jobs, config.cluster)
    if "multitask" in config.scenario and config.stop_after == "evaluate":
        for seed in seeds:
            diagnose.diagnose_patients(config, slices_of[seed], tests, reasons_of)
    if config.stop_after == "train":
        return []
    return report(config, say)


def report(config: CnrIemnConfig, say: Callable[[str], None]) -> list[verdict.Verdict]:
    """Pictures over all networks, a line on each experiment, the tables of the challenge, verdicts.

    Tables and verdicts are also written: challenge-cnr_iemn.txt, where there are test sets, and
    verdict-cnr_iemn.csv.
    """
    experiments = verdict.load_runs(config.out / "runs" / STUDY)
    say(summarise(experiments))
    tables = challenge.format_challenges(experiments)
    if tables:
        say(tables)
        write_text(config.out / f"challenge-{STUDY}.txt", tables + "\n")
    figures = config.out / "figures"
    figures.mkdir(exist_ok=True)
    pictures.save_scenario_confusions(figures, experiments)
    save_heatmap_sheets(config, figures, experiments)
    verdicts = verdict.judge_runs(STUDY, experiments)
    write_csv(config.out / f"verdict-{STUDY}.csv", verdict.as_rows(verdicts))
    return verdicts


def check_weights(config: CnrIemnConfig) -> dict[Network, InitialWeights]:
    """Refuse, before any training, initial weights that cannot be had.

    Returns:
        For each network, which weights it starts from, for the record.
    """
    if config.weights == RANDOM:
        return dict.fromkeys(config.network, InitialWeights())
    records = {}
    for network in config.network:
        side = config.size_of(network)
        backbone = build_backbone(network, (side, side, 3))
        records[network] = load_imagenet(backbone, network, config.weights)
        keras.backend.clear_session()
    return records


def learning_rate_of(config: CnrIemnConfig, scenario: Scenario, epoch: int) -> float:
    """The rate of an epoch (sections 4.2.1 to 4.2.4)."""
    # Paper: "decays by 0.1". Inferred: to a tenth; less 0.1 it would be negative.
    decays = config.plain_decays if is_plain(scenario) else config.decays
    return config.learning_rate * 0.1 ** sum(epoch >= decay for decay in decays)


def train_and_evaluate(
    config: CnrIemnConfig,
    slice_run: SliceRun,
    slices: Slices,
    tests: list[TestSet],
    weights: dict[Network, InitialWeights],
    reasons_of: dict[Network, list[str]],
    say: Callable[[str], None],
) -> None:
    """One slice network, as far as it is not done yet."""
    folder = run_folder(config, slices, slice_run)
    precision = set_precision(config.precision)
    name = f"{folder.path.parent.name}/{folder.path.name}"
    with in_turn(folder.path, say):
        if not folder.trained:
            environment = describe_environment(slices.scans.store.fingerprint, precision)
            environment["initial_weights"] = str(weights[slice_run.network])
            _train(
                config, folder, slice_run, slices, environment, lambda line: say(f"{name}: {line}")
            )
        if config.stop_after == "evaluate" and not is_evaluated(config, folder, tests):
            reasons = reasons_of[slice_run.network]
            evaluate_run(config, folder, slice_run, slices, tests, reasons)


def _all_at_once(config: CnrIemnConfig, runs: Sequence[SliceRun]) -> list[SliceRun]:
    """The order for several processes: whole networks first, then folds, the last network's first.

    The process that ended with that network has its graph compiled already.
    """
    whole = [slice_run for slice_run in runs if slice_run.fold is None]
    folds = [slice_run for slice_run in runs if slice_run.fold is not None]
    return whole + sorted(folds, key=lambda fold: -config.network.index(fold.network))


def _train(
    config: CnrIemnConfig,
    folder: RunFolder,
    slice_run: SliceRun,
    slices: Slices,
    environment: dict,
    say: Callable[[str], None],
) -> None:
    """Fit one network. Ours: the last epoch's, since the paper names no rule to choose one."""
    scenario, network, seed = slice_run.scenario, slice_run.network, slice_run.seed
    batches = partial(
        make_batches, config, slices.scans, network=network, scenario=scenario,
        labels=slices.labels, seed=seed,
    )  # fmt: skip
    # Paper: section 4.1: focal loss, gamma 1.5. Released: without class weights (alpha), as in the
    # authors' later code.
    loss = partial(keras.losses.CategoricalFocalCrossentropy, alpha=1.0, gamma=config.focal_gamma)
    both_tasks = scenario == "multitask"
    run.fit(
        folder,
        Training(
            build=partial(_initial_network, config, slice_run),
            # Paper: Adam, in all scenarios.
            optimizer=lambda: FusedAdam(config.learning_rate),
            train_data=lambda epoch: batches(
                keys=slices.training_keys(config, scenario, slice_run.fold, epoch)
            ),
            # A fold's network is only asked about its fold, once it is trained.
            val_data=batches(keys=slices.rows_of(splits.VAL)) if slice_run.fold is None else None,
            epochs=config.plain_epochs if is_plain(scenario) else config.epochs,
            seed=seed,
            loss={"class": loss(), "region": loss()} if both_tasks else loss(),
            # Paper: section 4.2.4: weights 1 and 0.3.
            loss_weights={"class": 1.0, "region": config.region_weight} if both_tasks else None,
            learning_rate=partial(learning_rate_of, config, scenario),
            chosen_by="last",
            fuse_batch_norm=True,
            graph=graph_of(config, slice_run, environment["precision"]),
            devices=config.devices,
        ),
        environment,
        say,
    )


def _initial_network(config: CnrIemnConfig, slice_run: SliceRun) -> keras.Model:
    """An untrained slice network on its backbone's initial weights."""
    regions = config.regions if slice_run.scenario == "multitask" else 0
    return build_slice_network(_backbone(config, slice_run.network), len(CLASSES), regions)


def _backbone(config: CnrIemnConfig, network: Network) -> keras.Model:
    side = config.size_of(network)
    backbone = build_backbone(network, (side, side, 3), width=config.width)
    if config.weights != RANDOM:
        load_imagenet(backbone, network, config.weights)
    return backbone
