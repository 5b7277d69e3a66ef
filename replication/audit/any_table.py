"""The audit of anybody's table of printed metrics, a CSV file."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.errors import InputError
from replication.audit.digits import Printing
from replication.audit.recover import (
    Confusion,
    TooManyMatrices,
    check_metrics,
    recover_compositions,
    recover_confusions,
)
from replication.audit.shares import recover_shares

REQUIRED = ("row", "metric", "value")
KNOWN = ("n", "positives", "negatives")
TEST_SET = "test_set"
SHOWN = 5


@dataclass
class Row:
    """The printed metrics of one row, and what is known of its test set."""

    name: str
    test_set: str
    metrics: dict[str, str] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    @property
    def spelled(self) -> str:
        """The row with its numbers."""
        parts = [f"{m} {text}" for m, text in self.metrics.items()]
        parts += [f"{name} = {count:,}" for name, count in self.known.items()]
        return f"{self.name} ({', '.join(parts)})"


def read_table(path: Path) -> list[Row]:
    """The rows of a table with the columns row, metric, value and, if known, KNOWN and test_set.

    Raises:
        InputError: it is no such table, or a number or a metric in it is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV file in UTF-8 ({error})") from error
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InputError(
            f"{path}: no column {' or '.join(missing)} in its first line ({', '.join(columns)}); "
            f"expected {', '.join(REQUIRED)} and, if known, {', '.join(KNOWN)}, {TEST_SET}"
        )
    rows: dict[tuple[str, str], Row] = {}
    for number, line in enumerate(lines, start=2):
        try:
            _read_line(line, rows)
        except InputError as error:
            raise InputError(f"{path}: line {number}: {error}") from error
    if not rows:
        raise InputError(f"{path}: has no row below its first line; add one for each metric")
    for row in rows.values():
        try:
            _check_counts(row)
        except InputError as error:
            raise InputError(f"{path}: {row.name}: {error}") from error
    return list(rows.values())


def _read_line(line: dict[str, str | None], rows: dict[tuple[str, str], Row]) -> None:
    values = {key: (value or "").strip() for key, value in line.items() if isinstance(key, str)}
    if None in line:
        raise InputError("more cells than columns; quote what holds a comma")
    for name in REQUIRED:
        if not values[name]:
            raise InputError(f"no {name}")
    key = (values["row"], values.get(TEST_SET, ""))
    row = rows.setdefault(key, Row(*key))
    (metric,) = check_metrics({values["metric"]: values["value"]})
    if metric in row.metrics:
        raise InputError(f"{metric} of {row.name} is given twice")
    row.metrics[metric] = values["value"]
    for name in KNOWN:
        text = values.get(name, "")
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise InputError(f"{name} {text!r} is no whole number above 0")
        if row.known.setdefault(name, int(text)) != int(text):
            raise InputError(f"{row.name} has two numbers of {name}, {row.known[name]} and {text}")


def _check_counts(row: Row) -> None:
    n, positives, negatives = (row.known.get(name) for name in KNOWN)
    if None not in (n, positives, negatives) and positives + negatives != n:
        raise InputError(f"{positives} positives and {negatives} negatives are not n = {n}")
    if n is not None and max(positives or 0, negatives or 0) >= n:
        raise InputError(f"n = {n} leaves no sample for the other class")


def audit_table(rows: list[Row], max_n: int, printing: Printing) -> Iterator[str]:
    """Lines: what fits each row, and for each test set what fits all of its rows."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        yield from _audit_row(row, max_n, printing)
        sets.setdefault(row.test_set, []).append(row)
    for name, of_set in sets.items():
        if name and len(of_set) > 1:
            yield from _audit_set(name, of_set, max_n, printing)


def _audit_row(row: Row, max_n: int, printing: Printing) -> Iterator[str]:
    if set(row.metrics) == {"accuracy"} and not {"positives", "negatives"} & set(row.known):
        yield _audit_accuracy(row, printing)
        return
    try:
        found = recover_confusions(row.metrics, max_n, **row.known, printing=printing)
    except TooManyMatrices as error:
        yield f"{row.spelled}: {error}"
        return
    if not found:
        yield f"{row.spelled}: IMPOSSIBLE, no confusion matrix {_upto(row, max_n)} {_way(printing)}"
        yield from _without_one(row, max_n, printing)
        return
    what, fit = ("matrix", "fits") if len(found) == 1 else ("matrices", "fit")
    yield f"{row.spelled}: {len(found):,} {what} {_upto(row, max_n)} {fit}"
    for matrix in found[:SHOWN]:
        yield f"   {_spelled(matrix)}"
    if len(found) > SHOWN:
        yield f"   and {len(found) - SHOWN:,} larger ones"


def _audit_accuracy(row: Row, printing: Printing) -> str:
    """A lone accuracy, of two classes or of more: how many answers can be right."""
    (text,) = row.metrics.values()
    n = row.known.get("n")
    if n is None:
        return f"{row.spelled}: accuracy alone says little; give n, or more metrics"
    found = recover_shares(text, n, printing)
    if not found:
        return f"{row.spelled}: IMPOSSIBLE, no number of right answers of {n:,} {_way(printing)}"
    span = f"{found[0]:,}" + (f" to {found[-1]:,}" if len(found) > 1 else "")
    return f"{row.spelled}: {span} of {n:,} answers are right"


def _without_one(row: Row, max_n: int, printing: Printing) -> Iterator[str]:
    """Which single number keeps an impossible row from fitting."""
    for left_out in row.metrics if len(row.metrics) > 2 else ():
        rest = {m: text for m, text in row.metrics.items() if m != left_out}
        try:
            fits = bool(recover_compositions([rest], max_n, **row.known, printing=printing))
        except TooManyMatrices:
            continue
        if fits:
            yield f"   without {left_out} it is possible"


def _audit_set(name: str, rows: list[Row], max_n: int, printing: Printing) -> Iterator[str]:
    known: dict[str, int] = {}
    for row in rows:
        for count, value in row.known.items():
            if known.setdefault(count, value) != value:
                yield (f"test set {name}: IMPOSSIBLE, its rows have {known[count]:,} and "
                       f"{value:,} {count}")  # fmt: skip
                return
    names = ", ".join(row.name for row in rows)
    try:
        found = recover_compositions([row.metrics for row in rows], max_n, **known,
                                     printing=printing)  # fmt: skip
    except TooManyMatrices as error:
        yield f"test set {name} ({names}): {error}"
        return
    if not found:
        yield (f"test set {name} ({names}): IMPOSSIBLE, no class counts up to {max_n:,} samples "
               "fit all rows")  # fmt: skip
        return
    shown = "; ".join(f"{p:,} + {q:,}" for p, q in found[:SHOWN])
    more = f" and {len(found) - SHOWN:,} larger ones" if len(found) > SHOWN else ""
    yield f"test set {name} ({names}): positives + negatives that fit all rows: {shown}{more}"


def _upto(row: Row, max_n: int) -> str:
    if "n" in row.known or {"positives", "negatives"} <= set(row.known):
        return "of so many samples"
    return f"of at most {max_n:,} samples"


def _way(printing: Printing) -> str:
    return {"either": "prints so, rounded or truncated"}.get(printing, f"prints so, {printing}")


def _spelled(m: Confusion) -> str:
    return (f"TP {m.tp} FN {m.fn} TN {m.tn} FP {m.fp}: {m.positives:,} + {m.negatives:,} = "
            f"{m.n:,}")  # fmt: skip
