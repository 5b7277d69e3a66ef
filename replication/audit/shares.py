"""Counts behind printed shares, and confusion matrices of several classes with known rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import comb

from preprocessing.errors import InputError
from replication.audit.digits import Printed, Printing, parse_printed
from replication.audit.recover import MOST_MATRICES, TooManyMatrices, check_metrics

OF_A_CLASS = ("sensitivity", "precision", "f1", "specificity", "npv")
"""Metrics of one class among several: that class against all others."""


def recover_shares(text: str, n: int, printing: Printing = "either") -> list[int]:
    """Every k of 0..n whose share k / n prints so.

    Raises:
        InputError: the text is no number.
        TooManyMatrices: more than a million k do.
    """
    return _shares(parse_printed(text), n, printing)


def _shares(printed: Printed, n: int, printing: Printing) -> list[int]:
    found = printed.range(printing)
    first, last = -(-found.low * n // found.scale), found.high * n // found.scale
    span = range(max(first, 0), min(last, n) + 1)
    if len(span) > MOST_MATRICES:
        raise TooManyMatrices(f"more than {MOST_MATRICES:,} numbers of {n:,} print so")
    return [k for k in span if found.holds(k, n)]


def recover_sizes(
    texts: Sequence[str], sizes: Iterable[int], printing: Printing = "either"
) -> list[int]:
    """Those of the sizes n of which every printed share is some k / n."""
    shares = [parse_printed(text) for text in texts]
    return [n for n in sizes if all(_shares(share, n, printing) for share in shares)]


ClassMatrix = tuple[tuple[int, ...], ...]
"""Rows are true classes, columns the answers."""


def recover_class_matrices(
    row_sums: Mapping[str, int],
    printed: Mapping[str, Mapping[str, str]],
    accuracy: str | None = None,
    printing: Printing = "either",
) -> list[ClassMatrix]:
    """All confusion matrices of known rows whose metrics of each class print exactly so.

    Args:
        row_sums: samples of each class, in the order of rows and columns.
        printed: class to metric (OF_A_CLASS or their other names) to printed number.
        accuracy: printed accuracy over all classes.

    Raises:
        InputError: a metric that is none of one class, or a number that no share can be.
        TooManyMatrices: the recalls leave too many rows to try.
    """
    names = list(row_sums)
    numbers = {
        (name, metric): number
        for name, of_class in printed.items() if of_class
        for metric, number in check_metrics(of_class).items()
    }  # fmt: skip
    for name, metric in numbers:
        if metric not in OF_A_CLASS:
            raise InputError(
                f"{metric} of a class ({name}) is not known; known are {', '.join(OF_A_CLASS)}"
            )
    ranges = {place: number.range(printing) for place, number in numbers.items()}
    whole = parse_printed(accuracy).range(printing) if accuracy else None
    choices = []
    for i, (name, total) in enumerate(row_sums.items()):
        wanted = numbers.get((name, "sensitivity"))
        right = _shares(wanted, total, printing) if wanted else range(total + 1)
        rows = 0
        for k in right:
            rows += comb(total - k + len(names) - 2, len(names) - 2)
            if rows > MOST_MATRICES:
                raise TooManyMatrices(f"too many rows of {name} fit its recall")
        choices.append([row for k in right for row in _rows(i, k, total, len(names))])
    count = 1
    for rows in choices:
        count *= len(rows)
    if count > MOST_MATRICES:
        raise TooManyMatrices(f"{count:,} matrices would have to be tried; give more recalls")
    return [m for m in product(*choices) if _fits(m, names, ranges, whole)]


def _rows(place: int, right: int, total: int, classes: int) -> Iterator[tuple[int, ...]]:
    """All rows of a class with so many right answers: how the wrong ones are spread."""
    for wrong in _spread(total - right, classes - 1):
        yield (*wrong[:place], right, *wrong[place:])


def _spread(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _spread(total - first, parts - 1):
            yield (first, *rest)


def _fits(matrix: ClassMatrix, names: list[str], ranges: Mapping, whole) -> bool:
    n, trace = sum(map(sum, matrix)), sum(matrix[i][i] for i in range(len(names)))
    if whole is not None and not whole.holds(trace, n):
        return False
    for i, name in enumerate(names):
        right, truly = matrix[i][i], sum(matrix[i])
        said = sum(row[i] for row in matrix)
        others = n - truly - said + right  # of other classes, and not called this one
        shares = {
            "precision": (right, said), "f1": (2 * right, truly + said),
            "specificity": (others, n - truly), "npv": (others, n - said),
        }  # fmt: skip
        for metric, share in shares.items():
            if (name, metric) in ranges and not ranges[name, metric].holds(*share):
                return False
    return True
