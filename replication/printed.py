"""The papers' printed numbers, and the counts that they allow behind them."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path

from preprocessing.errors import InputError
from replication.audit.recover import TooManyMatrices, recover_compositions, recover_confusions
from replication.intervals import Share

# A printed number of right answers out of n, such as 9/10: recall of a class, or accuracy.
CORRECT = "correct"
# Printed numbers that follow from the network alone.
COUNTS = ("total_parameters", "trainable_parameters")
# Without an upper end: no share of anything.
LOSSES = ("cross_entropy", "focal_loss_by_batch")
SHARES = ("accuracy", "sensitivity", "specificity", "precision", "recall", "f1")
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

    @property
    def text(self) -> str:
        """The number as it is printed."""
        if self.metric == CORRECT:
            return f"{self.value:.0f}/{self.n}"
        return "-" if math.isnan(self.value) else f"{self.value:.{self.decimals}f}"


def load_reported(paper: str) -> list[Reported]:
    """Every number the paper prints in its tables."""
    return read_reported(files("replication") / "reported" / f"{paper}.csv")


def read_reported(table: Path | Traversable) -> list[Reported]:
    """The printed numbers in a table of the columns COLUMNS.

    Raises:
        InputError: it cannot be read, lacks a column, or holds what is no number.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read ({error}); expected a CSV file") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{table}: has no column {', '.join(missing)}; docs/data.md has them all")
    return [_read_row(table, line, row) for line, row in enumerate(rows, start=2)]


def _read_row(table: Path | Traversable, line: int, row: dict[str, str]) -> Reported:
    def number(column: str, kind: type, expected: str) -> float | int:
        try:
            value = kind(row[column])
            if not math.isfinite(value):
                raise ValueError
            return value
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{table}: line {line}: {column} {row[column]!r} is not {expected}; correct it"
            ) from error

    value = number("value", float, "a number as it is printed, such as 0.7047")
    decimals = number("decimals", int, "a whole number")
    n = number("n", int, "a whole number or empty") if row["n"] else None
    reported = Reported(
        row["paper"], row["table"], row["row"], row["dataset"], row["metric"],
        value, decimals, n, row["positive_class"],
    )  # fmt: skip
    if reported.metric == CORRECT and not (n and 0 <= value <= n):
        raise InputError(
            f"{table}: line {line}: {row['value']!r} of {row['n']!r} right answers is not a count "
            "from 0 to n; correct it"
        )
    if reported.metric in SHARES and not 0 <= value <= 1:
        raise InputError(
            f"{table}: line {line}: {reported.metric} {row['value']!r} is not between 0 and 1; "
            "write 70.47 % as 0.7047"
        )
    return reported


def known_shares(reported: Sequence[Reported]) -> dict[Reported, Share]:
    """k of n behind each printed share whose n is known, where only one k prints so.

    Sensitivity, specificity and precision of one class against the other come from the one
    confusion matrix that their line allows, and lines of one table and data set share their n.
    """
    shares = {one: share for one in reported if (share := _own_share(one)) is not None}
    sets: dict[tuple[str, str], dict[str, dict[str, Reported]]] = {}
    for one in reported:
        lines = sets.setdefault((one.table, one.dataset), {})
        lines.setdefault(one.row, {})[one.metric] = one
    for lines in sets.values():
        shares |= _shares_of_matrices(list(lines.values()))
    return shares


def _own_share(one: Reported) -> Share | None:
    """k of n from one number alone."""
    if one.metric == CORRECT:
        return Share(int(one.value), one.n)
    of_class = one.metric == "recall" and one.paper in N_OF_THE_CLASS
    if not one.n or not (one.metric == "accuracy" or of_class):
        return None
    digits, scale = round(one.value * 10**one.decimals), 10**one.decimals
    counts = range(one.n + 1)
    # Rounded half up or half to even, or else cut off: |k/n - digits/scale| in whole numbers.
    fits = [k for k in counts if 2 * abs(k * scale - digits * one.n) <= one.n] or [
        k for k in counts if k * scale // one.n == digits
    ]
    return Share(fits[0], one.n) if len(fits) == 1 else None


def _shares_of_matrices(lines: Sequence[dict[str, Reported]]) -> dict[Reported, Share]:
    """k of n of the metrics of one class, of lines (metric to number) with one test set.

    Empty unless one composition of the set suits all lines, and one matrix each line.
    """
    sizes = {of["accuracy"].n for of in lines if all(metric in of for metric in OF_ONE_MATRIX)}
    if len(sizes) != 1 or None in sizes:
        return {}
    (n,) = sizes
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
                shares |= _shares_of(matrices[0], of)
    except TooManyMatrices:
        return {}
    return shares


def _shares_of(matrix: tuple[int, int, int, int], of: dict[str, Reported]) -> dict[Reported, Share]:
    tp, fn, tn, fp = matrix
    counts = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
    }
    return {of[name]: Share(k, n) for name, (k, n) in counts.items() if name in of and n}
