"""All confusion matrices of one class against the other that printed metrics allow.

Every decision is made in whole numbers. A metric is a ratio of sums of cells, so that a printed
range of it is two linear inequalities over the cells. The search fills one cell after the other
and keeps, at each, the values that no inequality forbids.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

import numpy as np

from preprocessing.errors import InputError
from replication.audit.digits import Printed, Printing, parse_printed

# Numerator and denominator of each metric, as how often it counts tp, fn, tn and fp.
LINEAR = {
    "accuracy": ((1, 0, 1, 0), (1, 1, 1, 1)),
    "sensitivity": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "specificity": ((0, 0, 1, 0), (0, 0, 1, 1)),
    "precision": ((1, 0, 0, 0), (1, 0, 0, 1)),
    "npv": ((0, 0, 1, 0), (0, 1, 1, 0)),
    "f1": ((2, 0, 0, 0), (2, 1, 0, 1)),
}
METRICS = (*LINEAR, "balanced_accuracy", "mcc")
ALIASES = {
    "recall": "sensitivity", "tpr": "sensitivity", "tnr": "specificity", "ppv": "precision",
    "acc": "accuracy", "f1_score": "f1", "f1-score": "f1", "dice": "f1", "balanced": METRICS[6],
}  # fmt: skip

MOST_SAMPLES = 1_000_000  # with ten decimals the products stay within 64 bits
MOST_MATRICES = 1_000_000
MOST_WORK = 5e8  # cells to fill, by the estimate of `_choose_order`
BLOCK = 1 << 19


class TooManyMatrices(ValueError):
    """The printed numbers say too little: more matrices fit than can be listed."""


class Confusion(NamedTuple):
    """A confusion matrix in the order in which this project writes it."""

    tp: int
    fn: int
    tn: int
    fp: int

    @property
    def positives(self) -> int:
        """Samples of the positive class."""
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        """Samples of the other class."""
        return self.tn + self.fp

    @property
    def n(self) -> int:
        """All samples."""
        return sum(self)

    def metric(self, name: str) -> Fraction:
        """A metric's exact value (not mcc, a root); 0 for 0 / 0."""
        if name == "balanced_accuracy":
            return (self.metric("sensitivity") + self.metric("specificity")) / 2
        numerator, denominator = (
            sum(c * cell for c, cell in zip(form, self, strict=True)) for form in LINEAR[name]
        )
        return Fraction(numerator, denominator) if denominator else Fraction(0)


def recover_confusions(
    metrics: Mapping[str, str],
    max_n: int = 2000,
    *,
    n: int | None = None,
    positives: int | None = None,
    negatives: int | None = None,
    printing: Printing = "either",
) -> list[Confusion]:
    """All matrices, smallest first, whose metrics print exactly so.

    Both classes have samples. A metric of 0 / 0 prints as 0.

    Args:
        metrics: printed numbers by metric (METRICS, ALIASES), such as {"f1": "73.49 %"}.
        max_n: samples in all, at most.
        n, positives, negatives: known numbers of samples.
        printing: whether digits were rounded, truncated or either, number by number.

    Raises:
        InputError: an unknown metric, or a number that no share can be.
        TooManyMatrices: the numbers leave more than a million, or too many to search.
    """
    found = []
    problem = _Problem(metrics, max_n, n, positives, negatives, printing)
    for block in _search(problem):
        found.append(block)
        if sum(map(len, found)) > MOST_MATRICES:
            raise TooManyMatrices(
                f"more than {MOST_MATRICES:,} confusion matrices fit; {problem.advice}"
            )
    cells = np.concatenate([np.empty((0, 4), np.int64), *found])
    order = np.lexsort((cells[:, 0], cells[:, 0] + cells[:, 1], cells.sum(axis=1)))
    return [Confusion(*row) for row in cells[order].tolist()]


def recover_compositions(
    rows: Sequence[Mapping[str, str]],
    max_n: int = 2000,
    *,
    n: int | None = None,
    positives: int | None = None,
    negatives: int | None = None,
    printing: Printing = "either",
) -> list[tuple[int, int]]:
    """All numbers of samples of the two classes, smallest first, that fit all of the rows.

    For rows of one test set: each row needs a matrix of its own, all the same class counts.
    Arguments and errors are those of `recover_confusions`; the number of matrices has no limit.
    """
    common: np.ndarray | None = None
    for metrics in rows:
        codes = [np.empty(0, np.int64)]
        for block in _search(_Problem(metrics, max_n, n, positives, negatives, printing)):
            of_class = block[:, 0] + block[:, 1], block[:, 2] + block[:, 3]
            codes.append(np.unique(of_class[0] * (MOST_SAMPLES + 1) + of_class[1]))
        fit = np.unique(np.concatenate(codes))
        common = fit if common is None else np.intersect1d(common, fit)
        if not len(common):
            return []
    pairs = [divmod(code, MOST_SAMPLES + 1) for code in common.tolist()]
    return sorted(pairs, key=lambda pair: (sum(pair), pair))


def check_metrics(metrics: Mapping[str, str]) -> dict[str, Printed]:
    """Printed metrics by their plain names.

    Raises:
        InputError: none, an unknown one, one twice, or a number that no share can be.
    """
    if not metrics:
        raise InputError("no metric is given; at least one is needed")
    checked: dict[str, Printed] = {}
    for given, text in metrics.items():
        name = ALIASES.get(given.strip().lower(), given.strip().lower())
        if name not in METRICS:
            raise InputError(f"unknown metric {given!r}; known are {', '.join(METRICS)}")
        if name in checked:
            raise InputError(f"{name} is given twice")
        printed = parse_printed(text)
        least = -1 if name == "mcc" else 0
        if not least <= printed.value <= 1:
            raise InputError(
                f"{name} {printed.text} is not between {least} and 1; write 0.9038 or 90.38 %"
            )
        checked[name] = printed
    return checked


class _Problem:
    """Inequalities c . (tp, fn, tn, fp) + constant >= 0, and what is checked at the end."""

    def __init__(self, metrics, max_n, n, positives, negatives, printing):
        self.ranges = {m: p.range(printing) for m, p in check_metrics(metrics).items()}
        if n is None and None not in (positives, negatives):
            n = positives + negatives
        self.advice = _advice(n, positives, negatives)
        self.max_n = max_n if n is None else n
        if not 2 <= self.max_n <= MOST_SAMPLES:
            raise InputError(f"{self.max_n} samples cannot be searched; take 2 to {MOST_SAMPLES:,}")
        rows = [(1, 1, 0, 0, -1), (0, 0, 1, 1, -1)]  # both classes have samples
        self.equal = []
        known = ((n, (1, 1, 1, 1)), (positives, (1, 1, 0, 0)), (negatives, (0, 0, 1, 1)))
        for value, form in known:
            if value is not None:
                rows += [(*form, -value), (*(-c for c in form), value)]
                self.equal.append(form)
        for name, found in self.ranges.items():
            if name in LINEAR:
                pairs = list(zip(*LINEAR[name], strict=True))
                rows.append((*(found.scale * a - found.low * b for a, b in pairs), 0))
                rows.append((*(found.high * b - found.scale * a for a, b in pairs), 0))
        self.inequalities = np.array(rows, np.int64)

    def keep(self, cells: np.ndarray) -> np.ndarray:
        """Those of the matrices, rows of cells, whose metrics lie in the ranges, open ends too."""
        tp, fn, tn, fp = cells.T
        inside = np.ones(len(cells), bool)
        for name, found in self.ranges.items():
            if name == "mcc":
                inside[inside] = [_mcc_fits(found, *row) for row in cells[inside].tolist()]
                continue
            if name == "balanced_accuracy":
                # Whole numbers of any size: products of three counts and a scale.
                p, q, right, kept = (a.astype(object) for a in (tp + fn, tn + fp, tp, tn))
                numerator, denominator = right * q + kept * p, 2 * p * q
            else:
                numerator, denominator = (cells @ np.array(form) for form in LINEAR[name])
            inside &= np.asarray(found.holds(numerator, denominator), bool)
        return cells[inside]


def _advice(n: int | None, positives: int | None, negatives: int | None) -> str:
    """What would narrow a search, of what was not given."""
    if n is None:
        return "give the number of samples, more metrics, or a smaller limit"
    if positives is None and negatives is None:
        return "give the samples of one class, or more metrics"
    return "give more metrics"


def _mcc_fits(found, tp: int, fn: int, tn: int, fp: int) -> bool:
    """Whether Matthews' correlation lies in a range: both sides squared, their signs kept."""
    root = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    squared = type(found)(
        _signed_square(found.low), _signed_square(found.high), 1, found.low_open, found.high_open
    )
    return bool(squared.holds(_signed_square(found.scale * (tp * tn - fp * fn)), root))


def _signed_square(value: int) -> int:
    return value * abs(value)


def _search(problem: _Problem) -> Iterator[np.ndarray]:
    """Blocks of matrices that fit, each an int64 array of rows (tp, fn, tn, fp)."""
    order = _choose_order(problem)
    back = np.argsort(order)
    start = np.empty((1, 0), np.int64)
    for block in _fill(problem, order, start):
        kept = problem.keep(block[:, back])
        if len(kept):
            yield kept


def _fill(problem: _Problem, order: Sequence[int], partial: np.ndarray) -> Iterator[np.ndarray]:
    """Extend partly filled matrices, whose columns are in `order`, by all that fits."""
    step = partial.shape[1]
    if step == 4:
        yield partial
        return
    low, high = _bounds(problem, order, partial)
    counts = np.maximum(high - low + 1, 0)
    rows = np.flatnonzero(counts)
    # Blocks of about equal size, so that memory stays bounded; one row alone may be longer.
    ends = np.cumsum(counts[rows])
    for block in np.split(rows, np.searchsorted(ends, np.arange(BLOCK, ends[-1], BLOCK))
                          if len(rows) else []):  # fmt: skip
        if len(block):
            count = counts[block]
            first = np.repeat(np.cumsum(count) - count, count)
            values = np.repeat(low[block], count) + np.arange(count.sum()) - first
            grown = np.column_stack([np.repeat(partial[block], count, axis=0), values])
            yield from _fill(problem, order, grown)


def _bounds(
    problem: _Problem, order: Sequence[int], partial: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of the next cell for each partly filled matrix."""
    step = partial.shape[1]
    low = np.zeros(len(partial), np.int64)
    high = problem.max_n - partial.sum(axis=1)
    for *form, constant in problem.inequalities.tolist():
        c = [form[cell] for cell in order]
        # What the cells still open could add at most, were they all of the most useful kind.
        most = max(0, *c[step + 1 :]) if step < 3 else 0
        factor = c[step] - most
        rest = partial @ np.array([x - most for x in c[:step]], np.int64)
        rest = rest + (constant + most * problem.max_n)
        if factor > 0:
            low = np.maximum(low, -(rest // factor))
        elif factor < 0:
            high = np.minimum(high, rest // -factor)
        else:
            high = np.where(rest < 0, -1, high)
    return low, high


def _choose_order(problem: _Problem) -> tuple[int, ...]:
    """The order of the cells that leaves the fewest partly filled matrices, by estimate.

    Raises:
        TooManyMatrices: even that order is too long.
    """

    def work(order) -> float:
        filled, total, width = set(), 0.0, 1.0
        for cell in order:
            before, filled = filled, filled | {cell}

            def completes(form, before=before, filled=filled):
                cells = {i for i, c in enumerate(form) if c}
                return cells <= filled and not cells <= before

            choices = float(problem.max_n)
            for form in problem.equal:
                if completes(form):
                    choices = 1
            for name, found in problem.ranges.items():
                if name in LINEAR and completes(LINEAR[name][1]):
                    # Below 1: most partly filled matrices then lead nowhere.
                    choices = min(choices, 3 * problem.max_n / found.scale)
            width *= choices
            total += width
        return total

    best = min(permutations(range(4)), key=work)
    if work(best) > MOST_WORK:
        raise TooManyMatrices(
            f"too few numbers to search up to {problem.max_n:,} samples; {problem.advice}"
        )
    return best
