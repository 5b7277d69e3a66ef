"""Checks that suit any paper: repeated numbers, quoted numbers, names, constant answers."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from replication.audit.digits import four, parse_printed
from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.recorded import Tables, as_printed, named
from replication.audit.recover import LINEAR, Confusion

TOPIC = "Single numbers"
LABELS = {"f1": "F1", "npv": "negative predictive value"}
Matrices = Mapping[tuple[str, str], Confusion]
"""Recovered matrices by (row, dataset)."""


Impossible = Mapping[tuple[str, str, str], tuple[list[str], str]]
"""By (row, dataset, metric) the printed texts that are proven wrong, and the proof."""


def check_repeated(
    tables: Tables, matrices: Matrices, impossible: Impossible | None = None
) -> Iterator[Finding]:
    """Numbers that two tables print differently for one row, data set, metric and class."""
    cells: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for r in tables.metrics:
        if r.table.isdigit():
            place = (r.row, r.dataset, r.metric, r.positive_class)
            cells.setdefault(place, {}).setdefault(as_printed(r), []).append(named(r.table))
    for (row, dataset, metric, _), printed in cells.items():
        if len(printed) < 2:
            continue
        said = "; ".join(f"{text} in {' and '.join(where)}" for text, where in printed.items())
        notes, wrong, strength = [], None, PROVEN
        matrix = matrices.get((row, dataset))
        if matrix and metric in LINEAR:
            for text in printed:
                found = shares_of(matrix, metric, text)
                notes.append(f"{text} of {matrix.n} is {_spelled(found, matrix.n)}")
                wrong, strength = (wrong, strength) if found else (text, STRONG)
        texts, proof = (impossible or {}).get((row, dataset, metric), ([], ""))
        if texts and texts != list(printed):
            (wrong, *_), strength = texts, PROVEN
            notes.append(proof)
        texts = list(printed)
        if len(texts) == 2:
            swapped = sorted(texts[0]) == sorted(texts[1])
            other = sum(a != b for a, b in zip(*texts, strict=True))
            notes.append(
                f"{other} digits differ"
                + (", the same in another order" if swapped else ", and not by their order alone")
            )
        claim = f"{row} on {dataset} has two values of {metric}: {said}"
        if wrong:
            claim += f"; {wrong} is the wrong one"
        yield Finding(
            f"two-values-{metric}-{row}-{dataset}", TOPIC, claim, "; ".join(notes), strength,
            ", ".join(where for places in printed.values() for where in places),
        )  # fmt: skip


def shares_of(matrix: Confusion, metric: str, text: str) -> list[int]:
    """For accuracy: every number of right answers of the matrix' samples that prints so."""
    found = parse_printed(text).range()
    if metric != "accuracy":
        value = matrix.metric(metric)
        return [1] if found.holds(value.numerator, value.denominator) else []
    return [k for k in range(matrix.n + 1) if found.holds(k, matrix.n)]


def _spelled(found: list[int], n: int) -> str:
    return "no whole number" if not found else " or ".join(f"{k}/{n}" for k in found)


def check_names(tables: Tables) -> Iterator[Finding]:
    """Things of one name that have to differ, and names of one thing that have to agree."""
    groups: dict[str, list] = {}
    for name in tables.names:
        groups.setdefault(name.group, []).append(name)
    for group, names in groups.items():
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(name.name, []).append(name.thing)
        where = named(names[0].table)
        if names[0].wanted == "distinct":
            for name, things in by_name.items():
                if len(things) > 1:
                    yield Finding(
                        f"one-name-{group}-{things[0]}".replace(" ", "-"), "Slips",
                        f"{group[0].upper() + group[1:]}: {', '.join(things)} have one name, "
                        f"{name}",
                        f"{len(things)} of {len(names)} are called the same; each needs its own",
                        PROVEN, where,
                    )  # fmt: skip
        elif len(by_name) > 1:
            said = ", but ".join(f"{name} ({', '.join(t)})" for name, t in by_name.items())
            yield Finding(
                f"two-names-{group}".replace(" ", "-"), "Slips",
                f"{group[0].upper() + group[1:]}: {said}", f"{len(by_name)} names of one thing",
                PROVEN, where,
            )  # fmt: skip


Fits = Mapping[tuple[str, str], tuple[Mapping[str, str], list[tuple[int, int]]]]
"""By (row, dataset) the printed metrics, and all class counts that fit, be it truncated."""


def check_constant(
    matrices: Matrices, fits: Fits, answer: str, where: str, topic: str = "Metrics"
) -> Iterator[Finding]:
    """Rows less accurate, or with a lower F1, than always giving one answer.

    Shown for `matrices`, proven where it is the same for all that `fits` allow.
    """
    below, low_f1 = [], []
    settled = {"accuracy": True, "f1": True}
    for (row, dataset), m in matrices.items():
        metrics, classes = fits[row, dataset]
        most = max(m.positives, m.negatives)
        name = f"{row} on {dataset}" if dataset not in ("val", "test", "") else row
        if m.tp + m.tn < most:
            below.append(f"{name} {four(m.metric('accuracy'))} < {most}/{m.n} = "
                         f"{four(Fraction(most, m.n))}")  # fmt: skip
        settled["accuracy"] &= _one_sided(
            metrics["accuracy"], [Fraction(max(pair), sum(pair)) for pair in classes]
        )
        if m.positives < m.negatives:
            continue
        constant = Fraction(2 * m.positives, 2 * m.positives + m.negatives)
        if m.metric("f1") < constant:
            low_f1.append(f"{name} {four(m.metric('f1'))} < {four(constant)}")
        settled["f1"] &= _one_sided(metrics["f1"], [Fraction(2 * p, 2 * p + q) for p, q in classes])

    def finish(metric: str) -> tuple[str, str]:
        if not settled[metric]:
            return "; by the smallest class counts that fit", STRONG
        return "; so for all class counts that fit, rounded or truncated", PROVEN

    if below:
        note, strength = finish("accuracy")
        yield Finding(
            "below-constant-accuracy", topic,
            f"{len(below)} of {len(matrices)} rows {'is' if len(below) == 1 else 'are'} less "
            f"accurate than always saying {answer}",
            "; ".join(below) + note, strength, where,
        )  # fmt: skip
    if low_f1:
        note, strength = finish("f1")
        yield Finding(
            "below-constant-f1", topic,
            f"{len(low_f1)} of {len(matrices)} rows {'has' if len(low_f1) == 1 else 'have'} a "
            f"lower F1 than always saying {answer}",
            "; ".join(low_f1) + note, strength, where,
        )  # fmt: skip


def _one_sided(text: str, others: list[Fraction]) -> bool:
    """Whether whatever prints so is below all of the others, or below none."""
    found = parse_printed(text).range()
    low, high = Fraction(found.low, found.scale), Fraction(found.high, found.scale)
    return high < min(others) or low >= max(others)


def check_same_rows(tables: Tables, among: tuple[str, ...], metrics: tuple[str, ...]
                    ) -> Iterator[Finding]:  # fmt: skip
    """Rows of different tables and names that print the same metrics: one run, printed twice."""
    rows = list(tables.rows(among).items())
    for i, (one, values) in enumerate(rows):
        for other, others in rows[i + 1 :]:
            if one[:2] == other[:2] or one[1:] == other[1:]:
                continue
            if all(values.get(m) == others.get(m) for m in metrics):
                rest = [m for m in values if m not in metrics and m in others]
                notes = [f"{len(metrics)} equal metrics"]
                notes += [f"{m} {values[m]} and {others[m]}" for m in rest]
                yield Finding(
                    f"same-run-{one[1]}-{other[1]}", "Metrics",
                    f"{one[1]} of {named(one[0])} and {other[1]} of {named(other[0])} are one run",
                    "; ".join(notes), STRONG, f"{named(one[0])}, {named(other[0])}",
                )  # fmt: skip
