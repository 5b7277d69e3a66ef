"""What a leak is worth: an experiment by the published protocol beside the same by a sound one."""

import json
from collections.abc import Sequence

from replication.experiments import Experiment
from replication.paired import Place, compare, show
from replication.verdict import mean_interval

# Settings that differ between two protocols of one experiment, or follow from the split.
FOLLOWS = ("seed", "protocol", "split", "folds", "mean", "deviation")
METRICS = ("accuracy", "sensitivity", "specificity", "f1", "auroc")
CLASS_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


def leak_rows(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """A row for each metric of each experiment that was run by both protocols.

    Returns:
        plain dicts: experiments, part, metric, both values, and published less sound, each with
        its interval; and whether both were measured on the same samples.
    """
    groups: dict[str, list[Experiment]] = {}
    for e in experiments:
        settings = {k: v for k, v in e.config.items() if k not in FOLLOWS}
        study = str(e.folders[0].parents[1]) if e.folders else ""
        groups.setdefault(study + json.dumps(settings, sort_keys=True), []).append(e)
    rows = []
    for group in groups.values():
        for published in filter(is_published, group):
            for sound in (e for e in group if not is_published(e)):
                rows += _rows(published, sound)
    return rows


def is_published(e: Experiment) -> bool:
    """Whether a run followed the paper's protocol where ours is another."""
    names = (str(e.config.get("protocol", "")), str(e.config.get("split", "")))
    return e.leaky or any(name.startswith(("published", "released")) for name in names)


def _rows(published: Experiment, sound: Experiment) -> list[dict[str, str]]:
    rows = []
    for part in ("val", "test"):
        for metric in CLASS_METRICS if sound.classes else METRICS:
            place = (part, sound.level, metric)
            if published.has(*place) and sound.has(*place):
                difference = compare(published, place, sound, place)
                rows.append({
                    "sound": sound.name,
                    "published": published.title,
                    "part": part,
                    "metric": metric,
                    "ours, sound": _shown(sound, place),
                    "ours, published": _shown(published, place),
                    "worth": difference.text,
                    "samples": "the same" if difference.paired else "others",
                })  # fmt: skip
    return rows


def _shown(e: Experiment, place: Place) -> str:
    return show(e.mean(*place, "value"), mean_interval(e, *place))
