"""The papers' printed numbers, and the counts that they allow behind them."""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path

from preprocessing.errors import InputError
from replication.audit.digits import MOST_DECIMALS
from replication.audit.recover import (
    MOST_SAMPLES,
    TooManyMatrices,
    recover_compositions,
    recover_confusions,
)
from replication.intervals import Share

# A printed number of right answers out of n, such as 9/10: recall of a class, or accuracy.
CORRECT = "correct"
# Printed numbers that follow from the network alone.
COUNTS = ("total_parameters", "trainable_parameters")
# Without an upper end: no share of anything.
LOSSES = ("cross_entropy", "focal_loss", "focal_loss_by_batch")
SHARES = ("accuracy", "sensitivity", "specificity", "precision", "recall", "f1")
# All that a run may be held against.
JUDGED = (*SHARES, "auroc", "balanced_accuracy", "macro_f1", *LOSSES, *COUNTS, CORRECT)
COLUMNS = ("paper", "table", "row", "dataset", "metric", "value", "decimals", "n",
           "positive_class")  # fmt: skip

# What one confusion matrix has to print alike. Specificity stays out: Kolárik's was derived from
# rounded numbers (docs/papers/kolarik2023.md), and would forbid the matrix that the others name.
OF_ONE_MATRIX = ("accuracy", "sensitivity", "f1")
# The tables whose `n` of a recall counts that class alone; elsewhere it counts the whole test set.
N_OF_THE_CLASS = ("cnr_iemn",)


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

    @property
    def half_digit(self) -> float:
        """By how much it may have been rounded; a count of right answers was not."""
        return 0.0 if self.metric == CORRECT else 0.5 * 10.0**-self.decimals

    def exceeds(self, rate: float) -> bool:
        """Whether it is more than a share of ours, as that would be printed beside it."""
        return self.rate > (rate if self.metric == CORRECT else round(rate, self.decimals))

    @property
    def text(self) -> str:
        """The number as it is printed."""
        if self.metric == CORRECT:
            return f"{self.value:.0f}/{self.n}"
        return "-" if math.isnan(self.value) else f"{self.value:.{self.decimals}f}"


def load_reported(paper: str) -> list[Reported]:
    """Every number the paper prints in its tables."""
    return read_reported(files("replication") / "reported" / f"{paper}.csv")


def read_reported(
    table: Path | Traversable, metrics: Collection[str] | None = None
) -> list[Reported]:
    """The printed numbers in a table of the columns COLUMNS.

    Args:
        table: CSV file; a byte order mark is no harm.
        metrics: the only ones that may be there; any if it is not given.

    Raises:
        InputError: it cannot be read, lacks a column, or holds what is no number.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read ({error}); expected a CSV file") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{table}: has no column {', '.join(missing)}; docs/data.md has them all")
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(_read_row(row, metrics))
        except InputError as error:
            raise InputError(f"{table}: line {line}: {error}") from error
    return found


def _read_row(row: dict[str, str], metrics: Collection[str] | None) -> Reported:
    if None in row or None in row.values():
        raise InputError("has more or fewer cells than the first line; complete it")
    value = _number(row, "value", float, "a number as it is printed, such as 0.7047")
    decimals = _number(row, "decimals", int, f"a whole number from 0 to {MOST_DECIMALS}")
    n = _number(row, "n", int, "a whole number above 0, or empty") if row["n"] else None
    reported = Reported(
        row["paper"], row["table"], row["row"], row["dataset"], row["metric"],
        value, decimals, n, row["positive_class"],
    )  # fmt: skip
    if metrics is not None and reported.metric not in metrics:
        raise InputError(f"unknown metric {reported.metric!r}; known are {', '.join(metrics)}")
    if reported.metric == CORRECT and not (n and 0 <= value <= n and value.is_integer()):
        raise InputError(
            f"{row['value']!r} of {row['n']!r} right answers is not a count from 0 to n; correct it"
        )
    if reported.metric in SHARES and not 0 <= value <= 1:
        raise InputError(
            f"{reported.metric} {row['value']!r} is not between 0 and 1; write 70.47 % as 0.7047"
        )
    return reported


BOUNDS = {"value": (-math.inf, math.inf), "decimals": (0, MOST_DECIMALS), "n": (1, math.inf)}


def _number(row: dict[str, str], column: str, kind: type, expected: str) -> float | int:
    """The number in a column.

    Raises:
        InputError: it is none, or none that can be there.
    """
    low, high = BOUNDS[column]
    try:
        value = kind(row[column])
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError
        return value
    except (ValueError, OverflowError) as error:
        raise InputError(f"{column} {row[column]!r} is not {expected}; correct it") from error


def known_shares(reported: Sequence[Reported]) -> dict[Reported, Share]:
    """k of n behind each printed share whose n is known, where only one k prints so.

    Sensitivity, specificity, precision and F1 of one class against the other come from the one
    confusion matrix that their line allows, and lines of one table and data set share their n.
    What several tables print alike has one k of n.
    """
    shares = {one: share for one in reported if (share := _own_share(one)) is not None}
    sets: dict[tuple[str, str], dict[str, dict[str, Reported]]] = {}
    for one in reported:
        lines = sets.setdefault((one.table, one.dataset), {})
        lines.setdefault(one.row, {})[one.metric] = one
    for lines in sets.values():
        shares |= _shares_of_matrices(list(lines.values()))
    return with_repeated(reported, shares)


def with_repeated(
    reported: Sequence[Reported], shares: Mapping[Reported, Share]
) -> dict[Reported, Share]:
    """`shares`, also for the same numbers of the same rows, data sets and classes elsewhere."""

    def cell(one: Reported) -> tuple:
        return one.row, one.dataset, one.metric, one.positive_class, one.value

    known = {cell(one): share for one, share in shares.items()}
    return {one: shares.get(one, known.get(cell(one))) for one in reported
            if one in shares or cell(one) in known}  # fmt: skip


def _own_share(one: Reported) -> Share | None:
    """k of n from one number alone."""
    if one.metric == CORRECT:
        return Share(int(one.value), one.n)
    if not counts_all(one):
        return None
    fits = counts_of(one)
    return Share(fits[0], one.n) if fits and fits[0] == fits[-1] else None


def counts_all(one: Reported) -> bool:
    """Whether a printed share is of all of its n samples."""
    of_class = one.metric == "recall" and one.paper in N_OF_THE_CLASS
    return bool(one.n) and (one.metric == "accuracy" or of_class)


def counts_of(one: Reported) -> range:
    """Every k of its n that is rounded to a printed share; where none is, that is cut off to it."""
    digits, scale = round(one.value * 10**one.decimals), 10**one.decimals
    # Rounded half up or half to even: 2 |k * scale - digits * n| <= n, in whole numbers.
    low, high = (2 * digits - 1) * one.n, (2 * digits + 1) * one.n
    rounded = range(max(-(-low // (2 * scale)), 0), min(high // (2 * scale), one.n) + 1)
    # Cut off: digits * n <= k * scale < (digits + 1) * n.
    first, end = -(-digits * one.n // scale), -(-(digits + 1) * one.n // scale)
    return rounded or range(first, min(end, one.n + 1))


def _shares_of_matrices(lines: Sequence[dict[str, Reported]]) -> dict[Reported, Share]:
    """k of n of the metrics of one class, of lines (metric to number) with one test set.

    Empty unless one composition of the set suits all lines, and one matrix each line.
    """
    sizes = {of["accuracy"].n for of in lines if all(metric in of for metric in OF_ONE_MATRIX)}
    if len(sizes) != 1 or None in sizes:
        return {}
    (n,) = sizes
    if not 2 <= n <= MOST_SAMPLES:
        return {}
    lines = [of for of in lines if "accuracy" in of]
    texts = [{metric: of[metric].text for metric in OF_ONE_MATRIX if metric in of} for of in lines]
    shares = {}
    try:
        compositions = recover_compositions(texts, n=n, printing="rounded")
        if len(compositions) != 1:
            return {}
        known = dict(zip(("positives", "negatives"), compositions[0], strict=True))
        for of, text in zip(lines, texts, strict=True):
            matrices = recover_confusions(text, n=n, printing="rounded", **known)
            if len(matrices) == 1:
                found = shares_of_matrix(matrices[0])
                shares |= {of[name]: share for name, share in found.items() if name in of}
    except TooManyMatrices:
        return {}
    return shares


def shares_of_matrix(matrix: tuple[int, int, int, int], note: str = "") -> dict[str, Share]:
    """k of n of each metric of a confusion matrix (tp, fn, tn, fp), as far as n is not 0."""
    tp, fn, tn, fp = matrix
    counts = {
        "accuracy": (tp + tn, tp + fn + tn + fp),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "f1": (2 * tp, 2 * tp + fn + fp),
    }
    return {name: Share(k, n, name == "f1", note) for name, (k, n) in counts.items() if n}
