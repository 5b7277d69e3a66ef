"""Steps that several maps have: a network, the mean of a patient, the verdict."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from maps.drawing import (
    draw_bars,
    draw_layers,
)
from maps.page import (
    GRAY,
    GREEN,
    INK,
    INNER,
    PICTURE,
    Step,
    write,
)
from replication.metrics import Predictions
from replication.printed import load_reported

SCORES, EXAMPLE = (0.91, 0.72, 0.38, 0.84), (0.81, 0.07, 0.12)  # what a network may say


def result(*step) -> Step:
    """A box of what comes out: the arguments of `Step` but its kind."""
    return Step(*step, kind="result")


def network(
    title: str, build: Callable, layers: Sequence[str], says: str, code: str, counted: str = "total"
) -> Step:
    """A network as built, without its weights; what is counted is what its paper prints."""
    from replication.architecture import build_bare, count

    model = build_bare(build)
    says = f"{says}\n{count(model)[f'{counted}_parameters']:,} parameters"
    draw = partial(draw_layers, model, layers)
    return Step(title, draw, str(model.input_shape[1:]), says, code, "network")


def mean_of_patient() -> Step:
    """The means of example scores, by the project's own function."""
    scores = np.array([*SCORES, *(1 - score for score in SCORES), *SCORES[:2]])
    patients = np.repeat(["patient 1: 4 scores", "patient 2: 4", "patient 3: 2"], (4, 4, 2))
    samples = Predictions(np.arange(10).astype(str), patients, np.ones(10, int), scores)
    means = samples.by_patient()
    return result("Mean for each patient", partial(draw_bars, means.patients, means.scores),
                   "(patients,), 0 to 1", "its interval is over patients,\nnot over samples",
                   "replication/metrics.py\nPredictions.by_patient")  # fmt: skip


def verdict(*printed: str) -> Step:
    """The last box. `printed` names a number: paper, table, row, data set, metric."""
    return result("Verdict", partial(_draw_verdict, *printed), "agrees, lower, higher, ...",
                   "inconclusive; on phantoms\nalways \"not comparable\"",
                   "replication/judging.py: judge\nscripts/verify.py")  # fmt: skip


def printed_number(paper: str, table: str, row: str, dataset: str, metric: str) -> str:
    """A number of a paper as it is printed there."""
    wanted = (table, row, dataset, metric)
    return next(r.text for r in load_reported(paper)
                if (r.table, r.row, r.dataset, r.metric) == wanted)  # fmt: skip


def _draw_verdict(*printed_and_axis) -> None:
    """A printed number beside an interval of ours, which is an example."""
    *printed, axis = printed_and_axis
    low, ours, high, theirs = np.array([0.06, 0.36, 0.70, 0.86]) * INNER
    axis.plot([theirs] * 2, [44, 128], ":", color=GRAY, lw=1.6)
    axis.plot(theirs, 44, "D", color=INK, ms=10)
    write(axis, theirs - 14, 44, f"paper {printed_number(*printed)}", 17, ha="right")
    axis.errorbar(ours, 106, xerr=[[ours - low], [high - ours]], fmt="o", color=GREEN, ms=9,
                  capsize=6, lw=2.4)  # fmt: skip
    write(axis, low, 84, "ours, 95 % interval", 16.5, color=GREEN)
    write(axis, 0, PICTURE - 18, f"{printed[-1]}; ours is an example", 15.5)
