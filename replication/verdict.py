"""Every number that a paper prints beside that of our runs.

The face of what judges: `printed` has the papers' numbers, `experiments` our runs, `judging` one
number beside another, `verdict_tables` what is shown of it.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from replication import intervals
from replication.audit.behind import find_refuted, find_shares
from replication.audit.recorded import load_tables
from replication.baselines import constant_value, describe_floor
from replication.experiments import Experiment, load_runs
from replication.intervals import UNKNOWN, Interval, Share
from replication.judging import (
    AGREES,
    HIGHER,
    INCONCLUSIVE,
    LEAKY,
    LOWER,
    NOT_COMPARABLE,
    Verdict,
    judge,
)
from replication.printed import (
    CORRECT,
    COUNTS,
    LOSSES,
    Reported,
    known_shares,
    load_reported,
    read_reported,
)
from replication.records import MARGIN
from replication.verdict_tables import as_rows, format_table, format_verdicts

__all__ = [
    "AGREES", "CORRECT", "COUNTS", "HIGHER", "INCONCLUSIVE", "LOWER", "NOT_COMPARABLE",
    "Experiment", "Reported", "Verdict", "as_rows", "format_table", "format_verdicts",
    "interval_of", "judge", "judge_runs", "load_reported", "load_runs", "mean_interval",
    "read_reported",
]  # fmt: skip

NOT_PRINTED = "the paper prints no number for it"
REFUTED = "the paper's own numbers contradict it"
EMPTY, NO_COUNTS = "no sample was scored in the part", "the runs count no parameters"
UNPRINTED = "-"  # the table of a number of ours that no table of the paper has


def judge_runs(
    paper: str,
    experiments: Sequence[Experiment],
    margin: float | None = None,
    reported: Sequence[Reported] | None = None,
) -> list[Verdict]:
    """Judge every printed number that an experiment speaks to.

    Our number is the mean over the seeds, and so are the bounds of its interval: Ours: the seeds
    share patients, so several are no more certain about other patients than one.

    A number that the paper's own numbers contradict is not comparable: a perfect replication would
    differ from it.

    Args:
        paper: whose numbers.
        experiments: its runs.
        margin: of agreement; what each run declared, or MARGIN, if it is not given.
        reported: other printed numbers than those of the package; their k of n is known from
            their own column n alone.
    """
    if reported is None:
        tables = load_tables(paper)
        printed, shares, refuted = tables.metrics, find_shares(tables), find_refuted(tables)
    else:
        printed, shares, refuted = reported, known_shares(reported), {}
    verdicts = [v for e in experiments for v in _judge_unreported(paper, e, printed)]
    for one in printed:
        for e in experiments:
            if e.speaks_to(one):
                against = (f"{REFUTED}: {refuted[one]}",) if one in refuted else ()
                verdicts.append(_judge_one(one, e, margin, shares.get(one), against))
    return verdicts


def _judge_one(
    reported: Reported,
    e: Experiment,
    margin: float | None,
    share: Share | None = None,
    against: tuple[str, ...] = (),
) -> Verdict:
    """One printed number beside an experiment's; `against` are further reasons not to compare."""
    if margin is None:
        margin = MARGIN if e.margin is None else e.margin
    counted = reported.metric in COUNTS
    part, level, metric = ("parameters", "", reported.metric) if counted else e.place_of(reported)
    missing = "" if e.has(part) else NO_COUNTS if counted else f"{EMPTY} {part}"
    if not missing and not e.has(*filter(None, (part, level, metric))):
        missing = f"the runs measure no {metric.replace('_', ' ')}"
    if missing:
        return Verdict(reported, math.nan, math.nan, math.nan, 0, e.seeds, NOT_COMPARABLE,
                       missing, e.name, margin=margin)  # fmt: skip
    if counted:
        ours = e.mean(part, metric)
        # Equal counts agree on any data; others may be those of a network for other images.
        reasons = e.not_comparable if ours != reported.value else ()
        judged = judge(reported, ours, ours, ours, 0, e.seeds, reasons, margin=margin)
        return replace(judged, experiment=e.name, by_seed=e.values(part, metric))
    ours = e.mean(part, level, metric, "value")
    low, high = mean_interval(e, part, level, metric)
    n, patients = (round(e.mean(part, level, key)) for key in ("n", "patients"))
    judged = judge(reported, ours, low, high, n, e.seeds, (*e.not_comparable, *against),
                   margin=margin, share=share, patients=patients)  # fmt: skip
    constants = [constant_value(result[part][level], metric, e.classes) for result in e.results]
    return replace(
        judged,
        verdict=(LEAKY if e.leaky else "") + judged.verdict,
        experiment=e.name,
        by_seed=e.values(part, level, metric, "value"),
        majority=sum(constants) / len(constants),
        floor=describe_floor(e, part, level, metric),
    )


def _judge_unreported(paper: str, e: Experiment, printed: Sequence[Reported]) -> list[Verdict]:
    """Our metrics of an experiment that no table of the paper has: never comparable."""
    if any(e.speaks_to(one) for one in printed if one.metric not in COUNTS):
        return []
    verdicts = []
    for metric in ("accuracy",) if e.classes else ("accuracy", "sensitivity", "specificity", "f1"):
        reported = Reported(paper, UNPRINTED, e.row, e.dataset, metric, math.nan, 4, None, "")
        verdicts.append(_judge_one(reported, e, None, None, (NOT_PRINTED,)))
    return verdicts


def mean_interval(e: Experiment, part: str, level: str, metric: str) -> Interval:
    """Mean bounds over the seeds; unknown if that of any seed is."""
    bounds = [interval_of(result[part][level], metric, e.classes) for result in e.results]
    return tuple(sum(ends) / len(bounds) for ends in zip(*bounds, strict=True))


def interval_of(block: dict, metric: str, classes: tuple[str, ...] = ()) -> Interval:
    """The 95 % interval of a metric: Wilson's of a proportion over patients, else the bootstrap's.

    Where each sample is a patient of its own, a proportion is one of independent answers. So it is
    taken to be where no resample differs from the others, such as 30 right of 30: the bootstrap
    knows no other.

    Args:
        block: a level's metrics of one part, as metrics.json has them.
        metric, classes: as in `baselines.constant_value`.
    """
    value, low, high = (block[metric][key] for key in ("value", "low", "high"))
    counted = _counted(block, metric, classes)
    independent = block["n"] == block["patients"]
    if metric in LOSSES or not (low == high or (independent and counted)):
        return low, high
    patients = counted if independent else round(counted * block["patients"] / block["n"])
    if patients < 2 or math.isnan(value):
        return UNKNOWN
    return intervals.wilson(round(value * patients), patients)


def _counted(block: dict, metric: str, classes: tuple[str, ...]) -> int:
    """How many samples a proportion is of; 0 for what is none, or where that is not recorded."""
    if metric == "accuracy":
        return block["n"]
    if not classes:
        positives = block["positives"]
        return {"sensitivity": positives, "specificity": block["n"] - positives}.get(metric, 0)
    name, _, of_class = metric.partition("_")
    if name not in ("recall", "precision") or of_class not in classes:
        return 0
    axis = 1 if name == "recall" else 0
    return int(sum_of(block["confusion"], axis)[classes.index(of_class)])


def sum_of(confusion: Sequence[Sequence[int]], axis: int) -> list[int]:
    """Sums of a confusion matrix's rows (1: true classes) or columns (0: predicted ones)."""
    rows = confusion if axis else zip(*confusion, strict=True)
    return [sum(row) for row in rows]
