"""The metrics of Kolárik 2023: specificity, balanced accuracy, stated tiles."""

from collections.abc import Iterator
from fractions import Fraction

from replication.audit.checks import LABELS, Matrices, check_constant
from replication.audit.digits import four, parse_printed, rounded
from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.kolarik2023_sets import ABSENT, PRESENT, DataSet
from replication.audit.recorded import Tables, as_printed
from replication.audit.recover import recover_compositions

TOPIC, SINGLE = "Metrics", "Single numbers"


def check_metrics(tables: Tables, sets: list[DataSet], matrices: Matrices) -> Iterator[Finding]:
    """Specificity, constant answers and balanced accuracy, by the recovered matrices."""
    yield from _specificity(sets, matrices)
    yield from _columns(sets)
    fits = {(row, s.name): (metrics, s.loose) for s in sets for row, metrics in s.rows.items()}
    yield from check_constant(matrices, fits, "present", "Tables 1 to 3")
    yield from _balanced(tables, matrices)


def derived_specificity(accuracy: Fraction, recall: Fraction, false_positives: Fraction):
    """Specificity from rounded metrics; false positives are counted for each positive sample."""
    negatives = (accuracy - recall + false_positives) / (1 - accuracy)
    return 1 - false_positives / negatives


def _specificity(sets: list[DataSet], matrices: Matrices) -> Iterator[Finding]:
    """Where the specificity column comes from: what reproduces its digits."""
    printed = {(row, s.name): metrics for s in sets for row, metrics in s.rows.items()}
    ways: dict[str, list] = {"TN / N": [], "precision": [], "F1": []}
    for place, matrix in matrices.items():
        row = {m: parse_printed(text).value for m, text in printed[place].items()}
        precision = parse_printed(four(matrix.metric("precision"))).value
        a, r = row["accuracy"], row["sensitivity"]
        of = {
            "TN / N": matrix.metric("specificity"),
            "precision": derived_specificity(a, r, r / precision - r),
            "F1": derived_specificity(a, r, 2 * r / row["f1"] - r - 1),
        }
        for way, value in of.items():
            if four(value) != printed[place]["specificity"]:
                ways[way].append((place, four(value), printed[place]["specificity"]))
    n = len(matrices)
    if ways["precision"] or not ways["TN / N"]:
        return
    (row, dataset), true, said = max(ways["TN / N"], key=lambda w: abs(float(w[1]) - float(w[2])))
    yield Finding(
        "specificity-back-computed", TOPIC,
        "The specificity column was not measured: it was computed from accuracy, precision and "
        "recall after these were rounded to four digits",
        "with a, p, r rounded, f = r (1 / p - 1) and n = (a - r + f) / (1 - a), the formula "
        f"1 - f / n gives {n} of {n} printed values; TN / N gives {n - len(ways['TN / N'])}, and "
        f"the same from a, r and F1 {n - len(ways['F1'])}. Furthest off: {row} on {dataset}, TN / "
        f"N {true}, printed {said}", STRONG, "Tables 1 to 3",
    )  # fmt: skip


def _columns(sets: list[DataSet]) -> Iterator[Finding]:
    """Which column keeps the four of them from fitting one another."""
    columns = ("accuracy", "sensitivity", "specificity", "f1")

    def fitting(left_out: str = "") -> dict[str, int]:
        """Data sets that have class counts up to their stated tiles; the smallest size of each."""
        found = {}
        for s in sets:
            rows = [{m: row[m] for m in columns if m != left_out} for row in s.rows.values()]
            classes = recover_compositions(rows, s.total)
            if classes:
                found[s.name] = sum(classes[0])
        return found

    whole, without = fitting(), {column: len(fitting(column)) for column in columns}
    n = len(sets)
    if len(whole) < n and without.pop("specificity") == n > max(without.values()):
        totals = {s.name: s.total for s in sets}
        rest = ", ".join(
            f"{name} from {size:,} of its {totals[name]:,} tiles on" for name, size in whole.items()
        )
        yield Finding(
            "specificity-does-not-fit", TOPIC,
            f"With specificity no class counts fit all rows in {n - len(whole)} of the {n} data "
            "sets; without it they do in all",
            f"data sets with class counts, up to their stated tiles, that fit all rows, rounded or "
            "truncated: "
            f"{len(whole)} with all columns ({rest or 'none'}), {n} without specificity, "
            + ", ".join(f"{k} without {LABELS.get(m, m)}" for m, k in without.items()),
            PROVEN, "Tables 1 to 3",
        )  # fmt: skip


def _balanced(tables: Tables, matrices: Matrices) -> Iterator[Finding]:
    """Whether a row without a matrix prints balanced accuracy, and how the others compare."""
    for (table, row, dataset), metrics in tables.rows("5").items():
        value = {m: parse_printed(text).value for m, text in metrics.items()}
        if "f1" in value or value["accuracy"] != (value["sensitivity"] + value["specificity"]) / 2:
            continue
        balanced = value["accuracy"]
        said = tables.number("balanced_accuracy", (
            "outside: abstract of reference [14]", row, dataset, PRESENT))  # fmt: skip
        told = tables.number("sensitivity", ("section 2", row, dataset, PRESENT))
        quoted = (parse_printed(as_printed(told)).value + value["specificity"]) / 2
        yield Finding(
            "balanced-accuracy", TOPIC,
            f"The accuracy of {row} in Table {table} is a balanced accuracy, set beside plain ones",
            f"({metrics['sensitivity']} + {metrics['specificity']}) / 2 = {four(balanced)} = "
            f"{metrics['accuracy']}, and the abstract of reference [14] calls its "
            f"{as_printed(said)} balanced; a plain accuracy would need exactly as many positive as "
            f"negative samples. With the sensitivity of section 2 it would be {four(quoted)}",
            STRONG, f"Table {table}; section 4.4",
        )  # fmt: skip
        others = {p: matrices[p[1:]].metric("balanced_accuracy") for p in tables.rows("5")
                  if p[1:] in matrices}  # fmt: skip
        better = [p for p, v in others.items() if v > balanced]
        yield Finding(
            "balanced-accuracy-compared", TOPIC,
            f"In balanced accuracy {len(better) or 'none'} of the {len(others)} networks of Table "
            f"{table} is above {row}",
            ", ".join(f"{p[1]} on {p[2]} {four(v)}" for p, v in others.items())
            + f" against {four(balanced)}, if that is balanced and their test sets are the "
            "smallest that fit; on other test sets, so it ranks nothing", STRONG,
            f"Table {table}",
        )  # fmt: skip


def check_stated_tiles(tables: Tables) -> Iterator[Finding]:
    """Whether the stated tiles add up, and how many tiles a clip gave."""
    totals = {r.row: int(r.value) for r in tables.counts if (r.metric, r.positive_class) == (
        "tiles", "")}  # fmt: skip
    clips = {c: tables.count("data set", "clips", c) for c in (PRESENT, ABSENT)}
    ratios = []
    for name, total in totals.items():
        of = {c: tables.count(name, "tiles", c) for c in (PRESENT, ABSENT)}
        ratios.append(Fraction(of[PRESENT], of[ABSENT]))
        if sum(of.values()) == total:
            continue
        same = [other for other, n in totals.items() if n == total and other != name]
        a_clip = [Fraction(of[c], clips[c]) for c in of]
        yield Finding(
            f"sum-{name}", SINGLE, f"{name} cannot have {total} tiles",
            f"its classes add up to {of[PRESENT]} + {of[ABSENT]} = {sum(of.values())}; {total} is "
            f"the number of {' and '.join(same)}; no table reports a result on {name}", PROVEN,
            "section 3.1.1",
        )  # fmt: skip
        if all(x.denominator == 1 for x in a_clip):
            upper = name.replace("90x90", "30x30")
            more = [Fraction(tables.count(upper, "tiles", c), clips[c]) for c in of]
            products = (f"{of[c]} = {x} x {clips[c]}" for c, x in zip(of, a_clip, strict=True))
            yield Finding(
                f"other-rule-{name}", SINGLE, f"{name} was not cut by the rule of the other sets",
                f"{' and '.join(products)}: just {a_clip[0]} tiles a clip in each class, one "
                "column of two rows. Regions less than two columns of 90 px wide hold at most 5 "
                f"columns of 30 px, 10 tiles in two rows; {upper} has "
                f"{' and '.join(rounded(x, 2) for x in more)} a clip",
                STRONG, "section 3.1.1",
            )  # fmt: skip
    whole = Fraction(clips[PRESENT], clips[ABSENT])
    if all(ratio > 1 for ratio in ratios) and whole > 1:
        yield Finding(
            "positive-is-present", SINGLE,
            "The positive class is sliding present, although the title says absence",
            f"positive to negative tiles are {rounded(min(ratios), 2)} to "
            f"{rounded(max(ratios), 2)}, clips with to clips without sliding {rounded(whole, 2)}, "
            f"videos {tables.count('data set', 'videos', PRESENT)} to "
            f"{tables.count('data set', 'videos', ABSENT)}; section 4.4 says so too", PROVEN,
            "sections 3.1, 3.1.1 and 4.4",
        )  # fmt: skip
