"""Which slice networks a study trains, and the run folder of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnr_iemn.config import (
    CLASSES,
    PAPER_ROWS,
    PAPER_TABLES,
    STUDY,
    CnrIemnConfig,
    Network,
    Scenario,
)
from cnr_iemn.split import Slices
from cnr_iemn.weights import IMAGENET, RANDOM, digest_of
from replication.run import RunFolder

# Networks of the folds are means to an end, not experiments: they stand in a study of their own.
FOLDS_STUDY = "cnr_iemn_folds"

# What of the configuration determines a slice network; paths and which are run do not.
SLICE_SETTINGS = (
    "labels", "val_fraction", "normal_scans", "uninfected_as_normal", "batch_size",
    "learning_rate", "focal_gamma", "precision", "shuffle_labels", "width",
)  # fmt: skip
COPY_SETTINGS = (
    "augmentation",
    "covid_copies", "cap_copies", "jitter", "jitter_chance", "flip_chance", "perspective",
    "perspective_chance", "rotation", "crop",
)  # fmt: skip


@dataclass(frozen=True)
class SliceRun:
    """One slice network to train: a line of the paper's tables, or one fold of it."""

    scenario: Scenario
    network: Network
    seed: int
    fold: int | None = None


def list_runs(config: CnrIemnConfig, seed: int) -> Iterator[SliceRun]:
    """The networks of a seed: each scenario's, and with two tasks one more for each fold."""
    for scenario in config.scenario:
        for network in config.network:
            yield SliceRun(scenario, network, seed)
            if scenario == "multitask":
                for fold in range(config.folds):
                    yield SliceRun(scenario, network, seed, fold)


def is_plain(scenario: Scenario) -> bool:
    """Whether a scenario trains without augmented copies, for more epochs."""
    return scenario in ("gray", "segmented")


def graph_of(config: CnrIemnConfig, slice_run: SliceRun, precision: str) -> str:
    """The `Training.graph` of a slice network: runs with the same one differ in weights alone."""
    same = (config.width, config.focal_gamma, config.regions, config.region_weight)
    size = config.size_of(slice_run.network)
    return repr((slice_run.scenario, slice_run.network, size, precision, *same))


def run_folder(config: CnrIemnConfig, slices: Slices, slice_run: SliceRun) -> RunFolder:
    """The folder of a slice network, with everything that determines its result."""
    scenario, network = slice_run.scenario, slice_run.network
    names = SLICE_SETTINGS
    names += ("plain_epochs", "plain_decays") if is_plain(scenario) else ("epochs", "decays")
    names += () if is_plain(scenario) else COPY_SETTINGS
    names += ("regions", "region_weight") if scenario == "multitask" else ()
    settings = {name: getattr(config, name) for name in names}
    settings |= {"devices": config.devices} if config.devices != "one" else {}
    settings |= {
        "study": STUDY,
        "seed": slice_run.seed,
        "scenario": scenario,
        "network": network,
        "input_size": config.size_of(network),
        "weights": Path(config.weights).name,
        "classes": CLASSES,
        "level": "slice",
        "store": slices.scans.store.fingerprint,
        "slice_labels": slices.label_hash,
        "paper_row": PAPER_ROWS[network],
        "paper_dataset": "val",
        "paper_tables": PAPER_TABLES[scenario],
    }
    if config.weights not in (IMAGENET, RANDOM):  # several files may bear one name
        settings["weights_sha256"] = digest_of(network, config.weights)
    study, name = STUDY, f"seed{slice_run.seed}"
    if slice_run.fold is not None:
        settings |= {"fold": slice_run.fold, "folds": config.folds}
        study, name = FOLDS_STUDY, f"{name}-fold{slice_run.fold}of{config.folds}"
    return RunFolder(
        config.out / "runs" / study / experiment_name(config, f"{scenario}-{network}") / name,
        settings,
        config.margin,
    )


def experiment_name(config: CnrIemnConfig, name: str) -> str:
    """The folder name of an experiment, with what sets it apart from the paper's."""
    name += "-random_weights" if config.weights == RANDOM else ""
    return name + ("-shuffled_labels" if config.shuffle_labels else "")
