"""Numbers in a paper's running text, held against its tables."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

from replication.audit.checks import LABELS, TOPIC, Matrices
from replication.audit.digits import parse_printed
from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.recorded import OUTSIDE, Tables, as_printed, named
from replication.audit.recover import LINEAR
from replication.printed import Reported


def check_text(tables: Tables, matrices: Matrices) -> Iterator[Finding]:
    """Numbers in the text that differ from the table's, and whose they are instead."""
    # A number of a section may stand among the tables' too, where runs are held against it.
    quotes = [r for r in tables.metrics if r.table.startswith("section")]
    quotes += [r for r in tables.text if not r.table.startswith(OUTSIDE)]
    wrong = [q for q in quotes if _differs(tables, q)]
    groups: dict[tuple[str, ...], list[Reported]] = {}
    for quoted in wrong:
        place = (quoted.table, quoted.row, quoted.dataset, quoted.metric)
        groups.setdefault(place, []).append(quoted)
    for of_group in groups.values():
        swapped = _swapped(tables, of_group) if len(of_group) > 1 else None
        if swapped:
            yield swapped
        else:
            for quoted in of_group:
                yield _quoted(tables, quoted, matrices)


def _differs(tables: Tables, quoted: Reported) -> bool:
    """Whether tables have the number, and none the same one."""
    here = _counterparts(tables, quoted)
    return bool(here) and not any(_agree(quoted, r) for r in here)


def _counterparts(tables: Tables, quoted: Reported) -> list[Reported]:
    keys = ("row", "dataset", "positive_class", "metric")
    return [
        r
        for r in tables.metrics
        if r.table != quoted.table and all(getattr(r, k) == getattr(quoted, k) for k in keys)
    ]


def _agree(one: Reported, other: Reported) -> bool:
    """Whether some value prints as both, with few decimals here and more there."""
    a, b = (parse_printed(as_printed(r)).range() for r in (one, other))
    low = max(Fraction(a.low, a.scale), Fraction(b.low, b.scale))
    return low < min(Fraction(a.high, a.scale), Fraction(b.high, b.scale))


def _swapped(tables: Tables, wrong: list[Reported]) -> Finding | None:
    """One finding if the numbers of several classes are right but given to other classes."""
    first = wrong[0]
    place = (first.table, first.row, first.dataset, first.metric)
    said = [q for q in tables.text if (q.table, q.row, q.dataset, q.metric) == place]
    for order in permutations(said):
        theirs = [_counterparts(tables, q) for q in order]
        if all(any(_agree(q, r) for r in rs) for q, rs in zip(said, theirs, strict=True)):
            moved = [
                f"{as_printed(q)} is said of {q.positive_class} and is that of {o.positive_class}"
                for q, o in zip(said, order, strict=True) if q.positive_class != o.positive_class
            ]  # fmt: skip
            where = list(dict.fromkeys(named(r.table) for rs in theirs for r in rs))
            return Finding(
                f"swapped-{first.metric}-{first.row}", TOPIC,
                f"{first.table} gives the {first.metric}s of {first.row} to the wrong classes",
                f"{'; '.join(moved)} ({', '.join(where)})", PROVEN,
                ", ".join([first.table, *where]),
            )  # fmt: skip
    return None


def _quoted(tables: Tables, quoted: Reported, matrices: Matrices) -> Finding:
    """A number of the text that is another one of the same row, or of none."""
    value = as_printed(quoted)
    found: dict[str, list[str]] = {}
    for r in tables.metrics:
        same_cell = (r.metric, r.positive_class) == (quoted.metric, quoted.positive_class)
        of_row = (r.row, r.dataset) == (quoted.row, quoted.dataset) and r.table != quoted.table
        if of_row and not same_cell and _agree(quoted, r):
            found.setdefault(label(r), []).append(named(r.table))
    printed_too = bool(found)
    matrix = matrices.get((quoted.row, quoted.dataset))
    for name in LINEAR if matrix else ():
        exact = matrix.metric(name)
        if parse_printed(value).range("rounded").holds(exact.numerator, exact.denominator):
            parts = (sum(c * x for c, x in zip(form, matrix, strict=True)) for form in LINEAR[name])
            of = "{}/{} of the recovered matrix".format(*parts)
            found.setdefault(LABELS.get(name, name), []).append(of)
    by_value: dict[str, list[str]] = {}
    for r in _counterparts(tables, quoted):
        by_value.setdefault(as_printed(r), []).append(named(r.table))
    notes = [f"{text} in {', '.join(where)}" for text, where in by_value.items()]
    notes += [f"{value} is the {name} ({', '.join(where)})" for name, where in found.items()]
    tables_named = list(dict.fromkeys(where for of in by_value.values() for where in of))
    rest = f"its {' or '.join(found)}" if found else f"not that of {', '.join(tables_named)}"
    return Finding(
        f"text-{quoted.table.split()[-1]}-{quoted.metric}-{quoted.row}", TOPIC,
        f"The {label(quoted)} of {quoted.row} in {quoted.table}, {value}, is {rest}",
        "; ".join(notes), STRONG if found and not printed_too else PROVEN,
        ", ".join([quoted.table, *tables_named]),
    )  # fmt: skip


def label(reported: Reported) -> str:
    """A metric as one speaks of it, with its class where there are several."""
    of_class = reported.positive_class
    known = not of_class or of_class.startswith("sliding")
    name = LABELS.get(reported.metric, reported.metric)
    return name if known else f"{name} for {of_class}"
