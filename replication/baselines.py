"""What a number has to be held against: the constant answer, and each study's shortcuts."""

import math

import numpy as np

from replication.experiments import Experiment
from replication.multiclass import class_metrics

MAJORITY = "majority"


def constant_value(block: dict, metric: str, classes: tuple[str, ...] = ()) -> float:
    """What always saying the commonest class of the part would get; NaN where that is undefined.

    Args:
        block: a level's metrics of one part, as metrics.json has them.
        metric: its name there.
        classes: of several; none for one class against the other.
    """
    return _constant_of_classes(block, metric, classes) if classes else _constant(block, metric)


def _constant(block: dict, metric: str) -> float:
    n, positives = block["n"], block["positives"]
    said = positives > n - positives  # the positive class is the commonest
    share = positives / n
    values = {
        "accuracy": max(share, 1 - share),
        "sensitivity": float(said),
        "specificity": float(not said),
        "precision": share if said else math.nan,
        "f1": 2 * share / (1 + share) if said else 0.0,
        "auroc": 0.5,
    }
    return values.get(metric, math.nan)


def _constant_of_classes(block: dict, metric: str, classes: tuple[str, ...]) -> float:
    true = np.sum(block["confusion"], axis=1)
    if metric == "cross_entropy":  # of the constant answer that knows the shares
        shares = true[true > 0] / true.sum()
        return float(-(shares * np.log(shares)).sum())
    confusion = np.zeros((len(true), len(true)))
    confusion[:, true.argmax()] = true
    value = float(class_metrics(confusion, classes).get(metric, math.nan))
    return math.nan if math.isnan(value) else value


def best_floor(e: Experiment, part: str, level: str, metric: str) -> tuple[str, str, float] | None:
    """The best shortcut beside a number: its name, which metric it was measured in, its value.

    Studies measure floors in the metric that suits them: AUROC at each level of the test part,
    accuracy on each part, or several metrics on the validation part. None where there is none.
    """
    found = []
    for name in e.results[0].get("floors", {}):
        if name == MAJORITY:
            continue
        for keys, measured in _places(part, level, metric):
            if e.has("floors", name, *keys):
                found.append((name, measured, e.mean("floors", name, *keys, "floor")))
                break
    for name in e.results[0].get("control_floors", {}):
        if part == "test":
            found.append((name, "accuracy", e.mean("control_floors", name)))
    return max(found, key=lambda one: one[2], default=None)


def _places(part: str, level: str, metric: str) -> list[tuple[tuple[str, ...], str]]:
    """Where a floor may lie below its name, and what is measured there; the likest first."""
    places = []
    if part == "test":
        places.append(((level,), "auroc"))
    if part == "val":
        places += [((metric,), metric), (("accuracy",), "accuracy")]
    return [*places, ((part,), "accuracy")]


def describe_floor(e: Experiment, part: str, level: str, metric: str) -> str:
    """The best shortcut as text, such as "0.806 (border)"; with its metric where that differs."""
    best = best_floor(e, part, level, metric)
    if best is None:
        return ""
    name, measured, value = best
    name = name.replace("_", " ")
    if measured == metric:
        return f"{value:.3f} ({name})"
    measured_as = {"auroc": "AUROC"}.get(measured, measured.replace("_", " "))
    ours = e.mean(part, level, measured, "value")
    return f"{measured_as} {value:.3f} ({name}), ours {ours:.3f}"
