"""The audit of anybody's table of printed metrics, a CSV file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.errors import InputError
from preprocessing.tables import shown
from replication.audit.digits import Printing
from replication.audit.recover import (
    MOST_SAMPLES,
    Confusion,
    TooManyMatrices,
    check_metrics,
    recover_compositions,
    recover_confusions,
)
from replication.audit.shares import (
    OF_A_CLASS,
    ClassMatrix,
    recover_class_matrices,
    recover_shares,
)

REQUIRED = ("row", "metric", "value")
KNOWN = ("n", "positives", "negatives")
TEST_SET, CLASS = "test_set", "class"
COLUMNS = (*REQUIRED, *KNOWN, TEST_SET, CLASS)
SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}
AVERAGES = {"macro", "micro", "weighted", "average", "avg", "mean", "overall"}
SHOWN = 5
AS_ONE = "one class against the other on one test set"
READING = (
    f"Each row is read as {AS_ONE}, not as an average over classes, folds or runs; rows that name "
    "classes are read as one table of several classes."
)


@dataclass
class Row:
    """The printed metrics of one row, or of one class of it, and what is known of its test set."""

    name: str
    test_set: str
    of_class: str = ""
    metrics: dict[str, str] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    @property
    def spelled(self) -> str:
        """The row with its numbers."""
        parts = [f"{m} {text}" for m, text in self.metrics.items()]
        parts += [f"{name} = {count:,}" for name, count in self.known.items()]
        of = f", {self.of_class} against the others" if self.of_class else ""
        return f"{self.name}{of} ({', '.join(parts)})"


def read_table(path: Path) -> list[Row]:
    """The rows of a table with the columns REQUIRED and, if known, the others of COLUMNS.

    Raises:
        InputError: it is no such table, or a number or a metric in it is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV file in UTF-8 ({error})") from error
    _check_columns(path, columns)
    rows: dict[tuple[str, str, str], Row] = {}
    for number, line in lines:
        try:
            _read_line(line, rows)
        except InputError as error:
            raise InputError(f"{path}: line {number}: {error}") from error
    if not rows:
        raise InputError(f"{path}: has no row below its first line; add one for each metric")
    for of_name in _by_name(list(rows.values())):
        try:
            for row in of_name:
                _check_counts(row)
            _join_classes(of_name)
        except InputError as error:
            raise InputError(f"{path}: {of_name[0].name}: {error}") from error
    return list(rows.values())


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        hint = ""
        if len(columns) == 1:
            found = (name for sep, name in SEPARATORS.items() if sep in columns[0])
            hint = "".join(f"; they are separated by {name}, where a comma is expected"
                           for name in found)  # fmt: skip
        elif all(name in (c.strip().lower() for c in columns) for name in REQUIRED):
            hint = "; write their names in small letters and without spaces"
        raise InputError(
            f"{path}: no column {' or '.join(missing)} in its first line "
            f"({shown(', '.join(columns)[:100])}){hint}; expected {', '.join(REQUIRED)} and, if "
            f"known, {', '.join(COLUMNS[len(REQUIRED) :])}"
        )
    for name in columns:
        if name not in COLUMNS:
            raise InputError(
                f"{path}: unknown column {name[:50]!r}; known are {', '.join(COLUMNS)}"
            )
        if columns.count(name) > 1:
            raise InputError(f"{path}: column {name} is there twice; keep one")


def _read_line(line: dict[str, str | None], rows: dict[tuple[str, str, str], Row]) -> None:
    if None in line:
        raise InputError("more cells than columns; quote what holds a comma")
    # Lines of the answer name the row: a cell broken into several lines is one there.
    values = {key: " ".join((value or "").split()) for key, value in line.items()}
    for name, text in values.items():
        if not text.isprintable():
            raise InputError(f"{name} {shown(text)} has a character that is not seen; type it anew")
        if name in REQUIRED and not text:
            raise InputError(f"no {name}")
    key = (values["row"], values.get(TEST_SET, ""), values.get(CLASS, ""))
    if AVERAGES & set(key[2].lower().replace("-", " ").split()):
        raise InputError(f"{key[2]!r} is an average, not a class; leave the line out")
    row = rows.setdefault(key, Row(*key))
    (metric,) = check_metrics({values["metric"]: values["value"]})
    if row.of_class and metric not in OF_A_CLASS:
        raise InputError(
            f"{metric} of a class can mean several things; leave class empty for the accuracy over "
            f"all classes; known of a class are {', '.join(OF_A_CLASS)}"
        )
    if metric in row.metrics:
        raise InputError(f"{metric} of {row.name} is given twice")
    row.metrics[metric] = values["value"]
    for name in KNOWN:
        if text := values.get(name, ""):
            _add_count(row, name, text)


def _add_count(row: Row, name: str, text: str) -> None:
    if not (text.isascii() and text.isdigit() and text.strip("0")):
        raise InputError(f"{name} {text[:30]!r} is no whole number above 0")
    digits = text.lstrip("0")
    if len(digits) > len(str(MOST_SAMPLES)) or int(digits) > MOST_SAMPLES:
        shown = digits if len(digits) <= 20 else f"{digits[:20]}..."
        raise InputError(f"{name} {shown} cannot be searched; at most {MOST_SAMPLES:,} can")
    count = int(digits)
    if row.known.setdefault(name, count) != count:
        raise InputError(f"{row.name} has two numbers of {name}, {row.known[name]} and {count}")


def _check_counts(row: Row) -> None:
    n, positives, negatives = (row.known.get(name) for name in KNOWN)
    if None not in (n, positives, negatives) and positives + negatives != n:
        raise InputError(f"{positives} positives and {negatives} negatives are not n = {n}")
    if n is not None and max(positives or 1, negatives or 1) >= n:
        raise InputError(f"n = {n} leaves no sample for the other class")
    both = (positives or 0) + (negatives or 0)
    if both > MOST_SAMPLES:
        raise InputError(f"{both:,} samples cannot be searched; at most {MOST_SAMPLES:,} can")


def _by_name(rows: list[Row]) -> list[list[Row]]:
    """Rows of one name and test set together: a row, or its classes."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.name, row.test_set), []).append(row)
    return list(found.values())


def _join_classes(rows: list[Row]) -> None:
    """Check that the classes of a row, and the accuracy over them, speak of one test set.

    What one of them says of the number of samples then counts for all.
    """
    classes = [row for row in rows if row.of_class]
    if not classes:
        return
    for row in rows:
        for metric in row.metrics:
            if not row.of_class and metric != "accuracy":
                raise InputError(
                    f"{metric} without a class is an average over the classes, which cannot be "
                    "checked; leave it out"
                )
    sizes = [n for row in rows for n in _sizes(row)]
    for n in sizes[1:]:
        if n != sizes[0]:
            raise InputError(f"the classes have two numbers of n, {sizes[0]} and {n}")
    held = [row.known.get("positives") for row in classes]
    if len(classes) > 1 and None not in held and sizes and sum(held) != sizes[0]:
        raise InputError(
            f"the classes' {sum(held)} samples are not n = {sizes[0]}; give each class a line"
        )
    if sum(filter(None, held)) > MOST_SAMPLES:
        raise InputError(f"the classes hold {sum(filter(None, held)):,} samples; at most "
                         f"{MOST_SAMPLES:,} can be searched")  # fmt: skip
    for row in rows if sizes else ():
        row.known.setdefault("n", sizes[0])
        _check_counts(row)


def _sizes(row: Row) -> list[int]:
    """The number of samples, given or as the sum of both classes; none if neither is known."""
    if "n" in row.known:
        return [row.known["n"]]
    both = [row.known[name] for name in KNOWN[1:] if name in row.known]
    return [sum(both)] * (len(both) == 2)


def audit_table(rows: list[Row], max_n: int, printing: Printing) -> Iterator[str]:
    """Lines: what fits each row, and for each test set what fits all of its rows."""
    yield READING
    sets: dict[tuple[str, str], list[Row]] = {}
    for of_name in _by_name(rows):
        classes = [row for row in of_name if row.of_class]
        whole = [row for row in of_name if not row.of_class]
        if len(classes) > 1 and all("positives" in row.known for row in classes):
            yield from _audit_classes(classes, whole, max_n, printing)
        else:
            for row in of_name:
                yield from _audit_row(row, max_n, printing, lone=bool(classes and whole))
            if len(classes) > 1:
                yield (f"{classes[0].name}: give positives for each class to try all classes "
                       "together")  # fmt: skip
        for row in classes or whole:
            sets.setdefault((row.test_set, row.of_class), []).append(row)
    for (name, of_class), of_set in sets.items():
        if name and len(of_set) > 1:
            called = f"test set {name}" + (f", class {of_class}" if of_class else "")
            yield from _audit_set(called, of_set, max_n, printing)


def _audit_row(row: Row, max_n: int, printing: Printing, lone: bool = False) -> Iterator[str]:
    """What fits a row; a `lone` accuracy is over several classes."""
    alone = set(row.metrics) == {"accuracy"} and not {"positives", "negatives"} & set(row.known)
    if alone or (lone and not row.of_class):
        yield _audit_accuracy(row, printing)
        return
    given = sum(row.known.get(name, 0) for name in KNOWN[1:])
    if "n" not in row.known and not {*KNOWN[1:]} <= set(row.known) and given >= max_n:
        yield f"{row.spelled}: has more samples than --max-n {max_n:,}; give n, or a larger one"
        return
    try:
        found = recover_confusions(row.metrics, max_n, **row.known, printing=printing)
    except TooManyMatrices as error:
        yield f"{row.spelled}: {error}"
        return
    if not found:
        yield (f"{row.spelled}: IMPOSSIBLE, no confusion matrix {_upto(row, max_n)} "
               f"{_way(printing)} as {AS_ONE}; averages may print so")  # fmt: skip
        yield from _without_one(row, max_n, printing)
        return
    what, fit = ("matrix", "fits") if len(found) == 1 else ("matrices", "fit")
    yield f"{row.spelled}: {len(found):,} {what} {_upto(row, max_n)} {fit}"
    for matrix in found[:SHOWN]:
        yield f"   {_spelled(matrix)}"
    if len(found) > SHOWN:
        of = "of" if found[-1].n == found[0].n else "of up to"
        yield f"   and {len(found) - SHOWN:,} more {of} {found[-1].n:,} samples"


def _audit_accuracy(row: Row, printing: Printing) -> str:
    """A lone accuracy, of two classes or of more: how many answers can be right."""
    (text,) = row.metrics.values()
    n = (_sizes(row) or [None])[0]
    if n is None:
        return f"{row.spelled}: accuracy alone says little; give n, or more metrics"
    found = recover_shares(text, n, printing)
    if not found:
        return (f"{row.spelled}: IMPOSSIBLE, no number of right answers of {n:,} {_way(printing)} "
                "on one test set; averages may print so")  # fmt: skip
    span = f"{found[0]:,}" + (f" to {found[-1]:,}" if len(found) > 1 else "")
    return f"{row.spelled}: {span} of {n:,} answers are right"


def _audit_classes(
    classes: Sequence[Row], whole: Sequence[Row], max_n: int, printing: Printing
) -> Iterator[str]:
    """Rows of several classes of known sizes, and the accuracy over all, as one matrix."""
    sizes = {row.of_class: row.known["positives"] for row in classes}
    n = sum(sizes.values())
    accuracy = whole[0].metrics["accuracy"] if whole else None
    called = (f"{classes[0].name} ({len(sizes)} classes, "
              f"{' + '.join(f'{size:,}' for size in sizes.values())} = {n:,})")  # fmt: skip
    printed = {row.of_class: row.metrics for row in classes}
    try:
        found = recover_class_matrices(sizes, printed, accuracy, printing)
    except TooManyMatrices as error:
        yield f"{called}: {error}"
        found = None
    if found:
        what, fit = ("matrix", "fits") if len(found) == 1 else ("matrices", "fit")
        yield (f"{called}: {len(found):,} {what} {fit}, a row for each class, answers in the order "
               f"{', '.join(sizes)}")  # fmt: skip
        for matrix in found[:SHOWN]:
            yield f"   {_spelled_classes(list(sizes), matrix)}"
        if len(found) > SHOWN:
            yield f"   and {len(found) - SHOWN:,} more"
        return
    if found is not None:
        yield (f"{called}: IMPOSSIBLE, no confusion matrix of these classes {_way(printing)} on "
               "one test set; averages may print so")  # fmt: skip
    for row in classes:
        known = {"n": n, "positives": row.known["positives"]}
        try:
            if not recover_confusions(row.metrics, max_n, **known, printing=printing):
                yield f"   {row.of_class} against the others is impossible alone"
        except TooManyMatrices:
            continue


def _spelled_classes(names: Sequence[str], matrix: ClassMatrix) -> str:
    return "; ".join(f"{name} {', '.join(map(str, row))}"
                     for name, row in zip(names, matrix, strict=True))  # fmt: skip


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
                yield f"{name}: IMPOSSIBLE, its rows have {known[count]:,} and {value:,} {count}"
                return
    names = ", ".join(row.name for row in rows)
    try:
        found = recover_compositions([row.metrics for row in rows], max_n, **known,
                                     printing=printing)  # fmt: skip
    except TooManyMatrices as error:
        yield f"{name} ({names}): {error}"
        return
    if not found:
        yield (f"{name} ({names}): IMPOSSIBLE, no class counts up to {max_n:,} samples fit all "
               f"rows as {AS_ONE}; averages may print so")  # fmt: skip
        return
    shown = "; ".join(f"{p:,} + {q:,}" for p, q in found[:SHOWN])
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    yield f"{name} ({names}): positives + negatives that fit all rows: {shown}{more}"


def _upto(row: Row, max_n: int) -> str:
    if "n" in row.known or {"positives", "negatives"} <= set(row.known):
        return "of so many samples"
    return f"of at most {max_n:,} samples"


def _way(printing: Printing) -> str:
    return {"either": "prints so, rounded or truncated,"}.get(printing, f"prints so, {printing},")


def _spelled(m: Confusion) -> str:
    return (f"TP {m.tp} FN {m.fn} TN {m.tn} FP {m.fp}: {m.positives:,} + {m.negatives:,} = "
            f"{m.n:,}")  # fmt: skip
