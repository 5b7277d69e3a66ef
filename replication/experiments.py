"""Finished runs on disk, as the experiments that they are seeds of."""

import functools
import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from preprocessing.errors import InputError
from replication.metrics import evaluate_predictions
from replication.multiclass import evaluate_class_predictions
from replication.printed import CORRECT, Reported
from replication.records import CONFIG, DECLARED, METRICS, PREDICTIONS, read_json

PAPERS = ("kolarik2023", "dzhulai2024", "vbreathnet", "cnr_iemn")
SEED_FOLDER = re.compile(r"seed(\d+)")
# Where seed folders lie below what a user names: a replication's or training's --out, `runs`, a
# study, an experiment. The first that finds any counts.
BELOW = ("runs/*/*/seed*", "*/*/seed*", "*/seed*", "seed*")


@dataclass(frozen=True)
class Experiment:
    """The finished runs (one for each seed) of one experiment folder.

    `row` and `dataset` name the line of the paper's tables that it replicates; `results` are the
    runs' metrics.json, `config` is the config.json of the first, `folders` are the runs' own.
    """

    name: str
    row: str
    dataset: str
    results: tuple[dict, ...]
    config: dict
    folders: tuple[Path, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none for a study of one class against the other."""
        return tuple(self.config.get("classes", ()))

    @property
    def level(self) -> str:
        """What the paper counts: clips, or what the config says, images if it does not."""
        return self.config.get("level", "image") if self.classes else "clip"

    def speaks_to(self, reported: Reported) -> bool:
        """Whether a printed number is of this network, and of this data set where rows have one.

        A run whose config.json names `paper_tables` speaks to those alone.
        """
        tables = self.config.get("paper_tables", (reported.table,))
        of_row = reported.row == self.row and reported.table in tables
        return of_row and (bool(self.classes) or reported.dataset == self.dataset)

    def place_of(self, reported: Reported) -> tuple[str, str, str]:
        """The keys in metrics.json of our counterpart to a printed number: part, level, metric."""
        if not self.classes:
            part = reported.dataset if reported.dataset in ("val", "test") else "test"
            return part, "clip", reported.metric
        of_class = f"_{reported.positive_class}" if reported.positive_class else ""
        metric = reported.metric
        if metric == CORRECT:
            metric = "recall" if of_class else "accuracy"
        return reported.dataset or "val", self.level, metric + of_class

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return len(self.results)

    @property
    def leaky(self) -> bool:
        """Whether any run was tested on what it had seen in training."""
        return any(result["leaky"] for result in self.results)

    @property
    def title(self) -> str:
        """The name, marked where the protocol leaks."""
        return ("LEAKY " if self.leaky else "") + self.name

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Every reason that any run gives against a comparison."""
        return tuple(dict.fromkeys(r for result in self.results for r in result["not_comparable"]))

    @property
    def margin(self) -> float | None:
        """The narrowest margin of agreement that a run declared before it trained; None if none."""
        files = [folder / DECLARED for folder in self.folders]
        return min((_read_margin(file) for file in files if file.exists()), default=None)

    def has(self, *keys: str) -> bool:
        """Whether every run's metrics have an entry at a path of keys that is not empty."""

        def entry(result: dict):
            for key in keys:
                result = result.get(key) if isinstance(result, dict) else None
            return result

        return all(entry(result) not in (None, {}, []) for result in self.results)

    def values(self, *keys: str) -> tuple[float, ...]:
        """The number at a path of keys in metrics.json, of each run."""
        return tuple(functools.reduce(operator.getitem, keys, r) for r in self.results)

    def mean(self, *keys: str) -> float:
        """Mean of `values`."""
        return mean(self.values(*keys))


def load_runs(study: Path) -> list[Experiment]:
    """The finished experiments below `runs/<study>`, their metrics recomputed from predictions.

    Raises:
        InputError: a run's files are damaged.
    """
    return load_experiments(sorted(study.glob("*/seed*")))


def load_experiments(folders: Iterable[Path]) -> list[Experiment]:
    """Experiments of given seed folders, as far as they are finished; see `load_runs`."""
    experiments = []
    by_folder: dict[Path, list[Path]] = {}
    for folder in folders:
        if (folder / METRICS).exists():
            by_folder.setdefault(folder.parent, []).append(folder)
    for folder, finished in by_folder.items():
        for runs in _of_equal_settings(finished):
            config = _read(runs[0] / CONFIG, OF_CONFIG)
            results = tuple(
                _read(run / METRICS, OF_METRICS) | _recompute(run / PREDICTIONS, config)
                for run in runs
            )
            name = folder.name
            if [other.name for other in by_folder].count(name) > 1:  # of several --out folders
                name = f"{folder.parents[2].name}/{name}"
            if len(runs) < len(finished):
                name += f" ({', '.join(run.name for run in runs)})"
            row, dataset = config["paper_row"], config["paper_dataset"]
            experiments.append(Experiment(name, row, dataset, results, config, tuple(runs)))
    return experiments


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


# What judging needs of a run's files: what an entry has to be, and whether it may be missing.
Needed = dict[str, tuple[Callable[[object], bool], str, bool]]
OF_CONFIG: Needed = {
    "paper_row": (_is_text, "a text", False),
    "paper_dataset": (_is_text, "a text", False),
    "paper_tables": (_is_list_of_text, "a list of texts", True),
    "classes": (lambda v: _is_list_of_text(v) and len(v) > 1, "a list of two names or more", True),
    "positive": (_is_text, "a text", True),
    "level": (_is_text, "a text", True),
    "vote": (lambda v: v in ("mean", "majority"), "mean or majority", True),
}
OF_METRICS: Needed = {
    "leaky": (lambda v: isinstance(v, bool), "true or false", False),
    "not_comparable": (_is_list_of_text, "a list of reasons", False),
}


def _read(path: Path, needed: Needed) -> dict:
    """A JSON file of a run that has what is needed.

    Raises:
        InputError: it has not, or cannot be read.
    """
    content = read_json(path)
    missing = [name for name, (*_, free) in needed.items() if not free and name not in content]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}; delete its folder and run again")
    for name, (right, expected, _) in needed.items():
        if name in content and not right(content[name]):
            raise InputError(
                f"{path}: {name} is {json.dumps(content[name])}, not {expected}; delete its folder "
                "and run again"
            )
    return content


def _read_margin(path: Path) -> float:
    """The margin that a run declared.

    Raises:
        InputError: the file has none, or none between 0 and 1.
    """
    margin = read_json(path).get("margin")
    if not isinstance(margin, int | float) or not 0 < margin < 1:
        raise InputError(
            f"{path}: the margin is {json.dumps(margin)}; expected a number between 0 and 1: "
            "delete its folder and run again"
        )
    return margin


def _of_equal_settings(runs: list[Path]) -> list[list[Path]]:
    """Runs that differ in their seed alone, together."""
    groups: dict[str, list[Path]] = {}
    for run in runs:
        settings = {k: v for k, v in read_json(run / CONFIG).items() if k != "seed"}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    return list(groups.values())


def _recompute(predictions: Path, config: dict) -> dict[str, dict]:
    """A run's metrics from its predictions: of several classes, or of one against the other."""
    if "classes" in config:
        level = config.get("level", "image")
        found = evaluate_class_predictions(predictions, tuple(config["classes"]), level)
        needed = "val"
    else:
        if "positive" not in config:
            raise InputError(
                f"{predictions.with_name(CONFIG)}: names neither classes nor the positive one; "
                "delete its folder and run again"
            )
        found = evaluate_predictions(predictions, config["positive"], config.get("vote", "mean"))
        needed = "test"
    if needed not in found:
        raise InputError(
            f"{predictions}: the split {needed} is empty; expected a line for each of its samples: "
            "evaluate the run again"
        )
    return found


def find_runs(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The seed folders below what a user names, by paper, finished or not.

    Several studies may lie side by side, each in its own folder.

    Args:
        paths: `--out` folders, `runs` folders, studies, experiments or single runs.

    Raises:
        InputError: a folder does not exist, one of a run is of no paper here, lies in the folder of
            another paper, or has a run of another paper beside it as another seed.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: is no folder; name one that holds runs, such as OUT/runs")
        for folder in _seed_folders(path.resolve()):
            of_paper = found.setdefault(_paper_of(folder), [])
            if folder not in of_paper:
                of_paper.append(folder)
    experiments: dict[Path, str] = {}
    for paper, folders in found.items():
        for folder in folders:
            other = experiments.setdefault(folder.parent, paper)
            if other != paper:
                raise InputError(
                    f"{folder}: is a run of {paper} among seeds of {other}; move it to "
                    f"runs/{paper}"
                )
    return {paper: found[paper] for paper in PAPERS if paper in found}


def _paper_of(folder: Path) -> str:
    """Which paper's run a seed folder holds.

    Raises:
        InputError: none here, or another than that of the folder it lies in.
    """
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder}: has no {CONFIG}; delete that folder and train again")
    place = folder.parents[1].name
    paper = read_json(folder / CONFIG).get("study") or place
    if paper not in PAPERS:
        raise InputError(f"{folder}: is a run of {paper!r}; expected one of {', '.join(PAPERS)}")
    if place in PAPERS and place != paper:
        raise InputError(
            f"{folder}: is a run of {paper} in the folder of {place}; move it to runs/{paper}"
        )
    return paper


def _seed_folders(path: Path) -> list[Path]:
    if SEED_FOLDER.fullmatch(path.name):
        return [path]
    for pattern in BELOW:
        folders = [f for f in path.glob(pattern) if f.is_dir() and SEED_FOLDER.fullmatch(f.name)]
        if folders:
            return sorted(folders)
    return []


def find_gaps(folders: Iterable[Path], named: Sequence[Path] = ()) -> list[str]:
    """What is missing among the seeds of each experiment, a line for each; a mean hides it.

    Args:
        folders: seed folders, finished or not.
        named: seed folders that the user named one by one, whose neighbours nobody asked for.
    """
    lines, numbers = [], {}
    chosen = {path.resolve() for path in named}
    for folder in folders:
        if not (folder / METRICS).exists():
            lines.append(f"{folder}: is not finished; run the same training command again")
        if folder not in chosen:
            number = int(SEED_FOLDER.fullmatch(folder.name)[1])
            numbers.setdefault(folder.parent, set()).add(number)
    for experiment, seeds in numbers.items():
        missing = sorted(set(range(max(seeds) + 1)) - seeds)
        if missing:
            names = ", ".join(f"seed{number}" for number in missing)
            lines.append(
                f"{experiment}: has no {names}, but seed{max(seeds)}; train what is missing, or "
                "name the seed folders that are to be judged"
            )
    return lines
