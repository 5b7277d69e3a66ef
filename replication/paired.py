"""One of our numbers less another: patient by patient where both answered the same samples."""

import math
from dataclasses import dataclass

from replication import intervals
from replication.experiments import Experiment
from replication.intervals import Interval
from replication.metrics import metric_above, read_predictions
from replication.multiclass import accuracy_above, read_class_predictions
from replication.records import PREDICTIONS
from replication.verdict import mean_interval

Place = tuple[str, str, str]  # part, level, metric: keys in metrics.json


@dataclass(frozen=True)
class Difference:
    """A difference of two numbers with its 95 % interval, and whether the samples are the same."""

    value: float
    low: float
    high: float
    paired: bool

    @property
    def text(self) -> str:
        """Such as "-0.031 [-0.119, +0.064]"."""
        return show(self.value, (self.low, self.high), "+")


def show(value: float, ends: Interval, sign: str = "") -> str:
    """A number with its interval, where that is known."""
    text = f"{value:{sign}.3f}"
    low, high = ends
    return (
        text
        if math.isnan(low) or math.isnan(high)
        else f"{text} [{low:{sign}.3f}, {high:{sign}.3f}]"
    )


def compare(one: Experiment, place: Place, other: Experiment, other_place: Place) -> Difference:
    """A number of one experiment less that of another; means over the seeds."""
    value, other_value = one.mean(*place, "value"), other.mean(*other_place, "value")
    ends = _over_patients(one, place, other) if place == other_place else None
    if ends is not None:
        return Difference(value - other_value, *ends, True)
    ends = intervals.difference(
        value, mean_interval(one, *place), other_value, mean_interval(other, *other_place)
    )
    return Difference(value - other_value, *ends, False)


def _over_patients(one: Experiment, place: Place, other: Experiment) -> Interval | None:
    """The interval over resampled patients; None where samples or seeds are not the same."""
    part, level, metric = place
    counted = level == one.level  # other levels are means of these samples
    if not (counted and one.folders and one.classes == other.classes):
        return None
    if [folder.name for folder in one.folders] != [folder.name for folder in other.folders]:
        return None
    bounds = []
    for folder, other_folder in zip(one.folders, other.folders, strict=True):
        files = folder / PREDICTIONS, other_folder / PREDICTIONS
        if one.classes:
            mine, theirs = (read_class_predictions(file, part, one.classes) for file in files)
            if mine.samples.tolist() != theirs.samples.tolist():
                return None
            found = accuracy_above(mine, theirs.predicted, metric=metric)
        else:
            mine, theirs = (
                read_predictions(file, part, e.config["positive"]).by_unit(
                    e.config.get("vote", "mean")
                )
                for file, e in zip(files, (one, other), strict=True)
            )
            if mine.units.tolist() != theirs.units.tolist():
                return None
            found = metric_above(mine, theirs.scores, metric)
        bounds.append((found["low"], found["high"]))
    return tuple(sum(ends) / len(bounds) for ends in zip(*bounds, strict=True))
