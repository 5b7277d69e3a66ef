"""The paper's printed number beside ours, and what that allows to say."""

import csv
import functools
import json
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from statistics import mean

from replication.metrics import evaluate_predictions
from replication.multiclass import evaluate_class_predictions
from replication.records import CONFIG, METRICS, PREDICTIONS, read_json

AGREES, LOWER, HIGHER = "agrees", "lower", "higher"
INCONCLUSIVE, NOT_COMPARABLE = "inconclusive", "not comparable"

# Ours: an interval wider than +-0.05 that holds the printed value says little either way; for a
# loss, which has no upper end, +-20 % of the printed value.
CONCLUSIVE_HALF_WIDTH, CONCLUSIVE_SHARE_OF_LOSS = 0.05, 0.2
LOSSES = ("cross_entropy", "focal_loss_by_batch")

# A printed number of right answers out of n, such as 9/10: recall of a class, or accuracy.
CORRECT = "correct"

# Printed numbers that follow from the network alone.
COUNTS = ("total_parameters", "trainable_parameters")


@dataclass(frozen=True)
class Reported:
    """One printed number: a row of `replication/reported/<paper>.csv`."""

    paper: str
    table: str
    row: str
    dataset: str
    metric: str
    value: float
    decimals: int
    n: int | None
    positive_class: str

    @property
    def rate(self) -> float:
        """The number as a share where it is a count of right answers, else as it is."""
        return self.value / self.n if self.metric == CORRECT else self.value


@dataclass(frozen=True)
class Verdict:
    """A printed number beside ours. `ours`, `low` and `high` are NaN where there is no number."""

    reported: Reported
    ours: float
    low: float
    high: float
    n: int
    seeds: int
    verdict: str
    reason: str
    experiment: str = ""


def load_reported(paper: str) -> list[Reported]:
    """Every number the paper prints in its tables."""
    table = files("replication") / "reported" / f"{paper}.csv"
    with table.open(newline="", encoding="utf-8") as file:
        return [
            Reported(
                r["paper"], r["table"], r["row"], r["dataset"], r["metric"], float(r["value"]),
                int(r["decimals"]), int(r["n"]) if r["n"] else None, r["positive_class"],
            )
            for r in csv.DictReader(file)
        ]  # fmt: skip


def judge(
    reported: Reported,
    ours: float,
    low: float,
    high: float,
    n: int,
    seeds: int,
    not_comparable: Sequence[str] = (),
) -> Verdict:
    """Say whether our interval agrees with the printed value.

    Args:
        reported: the printed number.
        ours, low, high: our value and its 95 % interval.
        n: test samples behind it.
        seeds: how many runs it is the mean of.
        not_comparable: reasons that forbid a comparison, most important first.
    """
    # The printed value may have been rounded by this; a count of right answers was not.
    half_digit = 0.0 if reported.metric == CORRECT else 0.5 * 10.0**-reported.decimals
    width = CONCLUSIVE_HALF_WIDTH
    if reported.metric in LOSSES:
        width = CONCLUSIVE_SHARE_OF_LOSS * reported.value
    if not_comparable:
        verdict, reason = NOT_COMPARABLE, "; ".join(not_comparable)
    elif not low <= high:  # NaN bounds compare false
        verdict, reason = INCONCLUSIVE, "too few patients for an interval"
    elif high < reported.rate - half_digit:
        verdict, reason = LOWER, "our interval lies below the printed value"
    elif low > reported.rate + half_digit:
        verdict, reason = HIGHER, "our interval lies above the printed value"
    elif (high - low) / 2 > width:
        ours_width = f"+-{(high - low) / 2:.2f}"
        verdict, reason = (
            INCONCLUSIVE,
            f"the printed value lies in our interval, but that is {ours_width}",
        )
    else:
        verdict, reason = AGREES, "the printed value lies in our interval"
    return Verdict(reported, ours, low, high, n, seeds, verdict, reason)


@dataclass(frozen=True)
class Experiment:
    """The finished runs (one for each seed) of one experiment folder.

    `row` and `dataset` name the line of the paper's tables that it replicates; `results` are the
    runs' metrics.json, `config` is the config.json of the first.
    """

    name: str
    row: str
    dataset: str
    results: tuple[dict, ...]
    config: dict

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none for a study of one class against the other."""
        return tuple(self.config.get("classes", ()))

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
        level = self.config.get("level", "image")
        return reported.dataset or "val", level, metric + of_class

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return len(self.results)

    @property
    def leaky(self) -> bool:
        """Whether any run was tested on what it had seen in training."""
        return any(result["leaky"] for result in self.results)

    @property
    def not_comparable(self) -> tuple[str, ...]:
        """Every reason that any run gives against a comparison."""
        return tuple(dict.fromkeys(r for result in self.results for r in result["not_comparable"]))

    def has(self, key: str) -> bool:
        """Whether every run's metrics have an entry under `key` that is not empty."""
        return all(result.get(key) for result in self.results)

    def mean(self, *keys: str) -> float:
        """Mean over the runs of the number at a path of keys in metrics.json."""
        return mean(functools.reduce(operator.getitem, keys, result) for result in self.results)


def load_runs(study: Path) -> list[Experiment]:
    """The finished experiments below `runs/<study>`, their metrics recomputed from predictions.

    Raises:
        InputError: a run's files are damaged.
    """
    experiments = []
    for folder in sorted(p for p in study.glob("*") if p.is_dir()):
        finished = sorted(p.parent for p in folder.glob(f"seed*/{METRICS}"))
        if not finished:
            continue
        for runs in _of_equal_settings(finished):
            config = read_json(runs[0] / CONFIG)
            results = tuple(
                read_json(run / METRICS) | _recompute(run / PREDICTIONS, config) for run in runs
            )
            name = folder.name
            if len(runs) < len(finished):
                name += f" ({', '.join(run.name for run in runs)})"
            experiments.append(
                Experiment(name, config["paper_row"], config["paper_dataset"], results, config)
            )
    return experiments


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
        return evaluate_class_predictions(predictions, tuple(config["classes"]), level)
    return evaluate_predictions(predictions, config["positive"], config.get("vote", "mean"))


def judge_runs(paper: str, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge every printed number that an experiment speaks to.

    Our number is the mean over the seeds, and so are the bounds of its interval: Ours: the seeds
    share patients, so several are no more certain about other patients than one.
    """
    verdicts = [v for e in experiments for v in _judge_unreported(paper, e)]
    for reported in load_reported(paper):
        for e in experiments:
            if e.speaks_to(reported):
                verdicts.append(_judge_one(reported, e))
    return verdicts


def _judge_one(reported: Reported, e: Experiment) -> Verdict:
    """One printed number beside an experiment's."""
    if reported.metric in COUNTS:
        ours = e.mean("parameters", reported.metric)
        # Equal counts agree on any data; others may be those of a network for other images.
        reasons = e.not_comparable if ours != reported.value else ()
        judged = judge(reported, ours, ours, ours, 0, e.seeds, reasons)
        return replace(judged, experiment=e.name)
    part, level, metric = e.place_of(reported)
    if not e.has(part):
        missing = Verdict(reported, math.nan, math.nan, math.nan, 0, e.seeds, NOT_COMPARABLE,
                          f"the runs have no {part}", e.name)  # fmt: skip
        return missing
    ours, low, high = (e.mean(part, level, metric, key) for key in ("value", "low", "high"))
    n = round(e.mean(part, level, "n"))
    judged = judge(reported, ours, low, high, n, e.seeds, e.not_comparable)
    mark = "LEAKY: " if e.leaky else ""
    return replace(judged, verdict=mark + judged.verdict, experiment=e.name)


def _judge_unreported(paper: str, e: Experiment) -> list[Verdict]:
    """Our metrics of an experiment that no table of the paper has: never comparable."""
    printed = (one for one in load_reported(paper) if one.metric not in COUNTS)
    if any(e.speaks_to(reported) for reported in printed):
        return []
    verdicts = []
    for metric in ("accuracy",) if e.classes else ("accuracy", "sensitivity", "specificity", "f1"):
        reported = Reported(paper, "-", e.row, e.dataset, metric, math.nan, 4, None, "")
        judged = _judge_one(reported, e)
        reasons = (*e.not_comparable, "the paper prints no number for it")
        verdicts.append(replace(judged, verdict=NOT_COMPARABLE, reason="; ".join(reasons)))
    return verdicts


def as_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """Verdicts as plain dicts for CSV files and tables; `class` only where there are several."""
    several = len({v.reported.positive_class for v in verdicts} - {""}) > 1
    return [
        {
            "experiment": v.experiment,
            "table": v.reported.table,
            "row": v.reported.row,
            "dataset": v.reported.dataset,
            "metric": v.reported.metric,
            **({"class": v.reported.positive_class} if several else {}),
            "paper": "-" if math.isnan(v.reported.value) else _printed(v.reported),
            **{name: _ours(v, getattr(v, name)) for name in ("ours", "low", "high")},
            "n": v.n,
            "seeds": v.seeds,
            "verdict": v.verdict,
            "reason": v.reason,
        }
        for v in verdicts
    ]


def _ours(verdict: Verdict, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if verdict.reported.metric in COUNTS else f"{value:.4f}"


def _printed(reported: Reported) -> str:
    if reported.metric == CORRECT:
        return f"{reported.value:.0f}/{reported.n}"
    return f"{reported.value:.{reported.decimals}f}"


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a text table; reasons stand once below it, under the marks of their rows."""
    rows, reasons = as_rows(verdicts), {}
    for row in rows:
        mark = reasons.setdefault(row.pop("reason"), f"({len(reasons) + 1})")
        row["verdict"] += f" {mark}"
    notes = [f"{mark} {reason}" for reason, mark in reasons.items()]
    return "\n".join([format_table(rows), *notes])


def format_table(rows: Sequence[dict]) -> str:
    """Rows of equal keys as a plain aligned text table."""
    if not rows:
        return "(nothing to compare)"
    columns = list(rows[0])
    lines = [columns, *([str(row[c]) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    padded = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([padded[0], "-" * len(padded[0]), *padded[1:]])
