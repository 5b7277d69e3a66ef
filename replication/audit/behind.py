"""What lies behind a paper's printed numbers: k of n of each, and which its own numbers refute.

What the audits find, in the form that the verdicts need.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from replication.audit.claims_dzhulai2024 import MAX_N, MEASURED, TEST_SETS
from replication.audit.digits import parse_printed
from replication.audit.kolarik2023_sets import find_data_sets
from replication.audit.recorded import Tables, as_printed, named
from replication.audit.recover import recover_compositions, recover_confusions
from replication.audit.shares import recover_class_matrices, recover_shares, recover_sizes
from replication.intervals import Share
from replication.printed import (
    Reported,
    counts_all,
    counts_of,
    known_shares,
    shares_of_matrix,
    with_repeated,
)

MULTIPLE, OTHER = "or a multiple", "or of more samples"
Shares = dict[Reported, Share]


def find_shares(tables: Tables) -> Shares:
    """k of n behind each printed share of a paper, as far as its numbers name one.

    Of the test sets that fit, the smallest; a note says where others fit too.
    """
    found = known_shares(tables.metrics)
    found |= OF_PAPER[tables.paper](tables, found)
    return with_repeated(tables.metrics, found)


def _note(n: int, sizes: Sequence[int]) -> str:
    """What else than n samples there may be, of all sizes that fit."""
    others = [size for size in sizes if size != n]
    if not others:
        return ""
    return OTHER if any(size % n for size in others) else MULTIPLE


def _kolarik2023(tables: Tables, known: Mapping[Reported, Share]) -> Shares:
    """As known by their n, which the three rows of each data set name."""
    notes = {s.name: _note(s.sizes[0], s.sizes) for s in find_data_sets(tables) if s.fits}
    return {r: replace(share, note=notes[r.dataset]) for r, share in known.items()
            if r.dataset in notes}  # fmt: skip


def _dzhulai2024(tables: Tables, known: Mapping[Reported, Share]) -> Shares:
    """By the one matrix of each row, in the smallest set that fits all rows of the same set."""
    found = {}
    numbers = {((r.table, r.row, r.dataset), r.metric): r for r in tables.metrics}
    for among in TEST_SETS:
        rows = {place: {m: of[m] for m in MEASURED} for place, of in tables.rows(among).items()}
        pairs = recover_compositions(list(rows.values()), MAX_N, printing="rounded")
        if not pairs:
            continue
        positives, negatives = pairs[0]
        note = _note(positives + negatives, [sum(pair) for pair in pairs])
        for place, of in rows.items():
            matrices = recover_confusions(
                of, positives=positives, negatives=negatives, printing="rounded"
            )
            if len(matrices) == 1:
                shares = shares_of_matrix(matrices[0], note)
                found |= {numbers[place, metric]: shares[metric] for metric in of}
    return found


def _vbreathnet(tables: Tables, known: Mapping[Reported, Share]) -> Shares:
    """Recall, precision and F1 of each class of the test images, of which there are equally many.

    The classes' rows name one matrix; a recall alone names its k where only one prints so.
    """
    lines: dict[tuple[str, str, str], dict[str, dict[str, Reported]]] = {}
    for r in tables.metrics:
        if r.positive_class:
            of_row = lines.setdefault((r.table, r.row, r.dataset), {})
            of_row.setdefault(r.positive_class, {})[r.metric] = r
    found = {}
    for of_row in lines.values():
        each = tables.count("test", "images") // len(of_row)
        printed = {c: {m: as_printed(r) for m, r in of.items()} for c, of in of_row.items()}
        for of in of_row.values():
            right = recover_shares(as_printed(of["recall"]), each, "rounded")
            if len(right) == 1:
                found[of["recall"]] = Share(right[0], each)
        if all(len(of) == 3 for of in of_row.values()):
            matrices = recover_class_matrices(dict.fromkeys(of_row, each), printed)
            if len(matrices) == 1:
                found |= _of_classes(matrices[0], list(of_row.values()))
    return found


def _of_classes(matrix: Sequence[Sequence[int]], of_class: Sequence[Mapping[str, Reported]]
                ) -> Shares:  # fmt: skip
    """k of n of the metrics of each class, by a matrix of several."""
    found = {}
    for i, of in enumerate(of_class):
        tp, truly, said = matrix[i][i], sum(matrix[i]), sum(row[i] for row in matrix)
        n = sum(map(sum, matrix))
        shares = shares_of_matrix((tp, truly - tp, n - truly - said + tp, said - tp))
        shares["recall"] = shares["sensitivity"]
        found |= {r: shares[metric] for metric, r in of.items() if metric in shares}
    return found


def _cnr_iemn(tables: Tables, known: Mapping[Reported, Share]) -> Shares:
    """As known by their n. Slices and scans that validate are inferred, those that test stated."""
    alike: dict[tuple[int, str], list[Reported]] = {}
    for r in known:
        if r.dataset == "val":
            alike.setdefault((r.n, r.positive_class), []).append(r)
    return {
        r: replace(known[r], note=_note(n, [n, *_larger(tables, n, name, of)]))
        for (n, name), of in alike.items() for r in of
    }  # fmt: skip


def _larger(tables: Tables, n: int, name: str, of: Sequence[Reported]) -> list[int]:
    """More samples than n of a class, or of all, that suit every number too, up to the stated."""
    most = tables.count("training and validation", "scans", name)
    if n > most:  # slices
        most = tables.count("slice labels", "slices", name)
    return recover_sizes([as_printed(r) for r in of], range(n + 1, most + 1))


OF_PAPER: dict[str, Callable[[Tables, Mapping[Reported, Share]], Shares]] = {
    "kolarik2023": _kolarik2023,
    "dzhulai2024": _dzhulai2024,
    "vbreathnet": _vbreathnet,
    "cnr_iemn": _cnr_iemn,
}


def find_refuted(tables: Tables) -> dict[Reported, str]:
    """The printed numbers that other numbers of the paper contradict, each with the reason.

    Shares that no number of right answers prints, and numbers of the running text that the tables
    print otherwise. What rests on a reading of the text, or may be the other number's fault, is in
    the audit alone.
    """
    found = {}
    for r in tables.metrics:
        reasons = [*_impossible(r), *_quoted_wrong(tables, r)]
        if reasons:
            found[r] = "; ".join(reasons)
    return found


def _impossible(r: Reported) -> Iterator[str]:
    if counts_all(r) and not counts_of(r):
        yield f"no number of right answers of {r.n:,} prints as {as_printed(r)}"


def _quoted_wrong(tables: Tables, r: Reported) -> Iterator[str]:
    """For a number of a section: what the tables print, if none of them prints the same."""
    if not r.table.startswith("section"):
        return
    cell = (r.row, r.dataset, r.metric, r.positive_class)
    there = [x for x in tables.metrics if not x.table.startswith("section")
             and (x.row, x.dataset, x.metric, x.positive_class) == cell]  # fmt: skip
    if there and not any(_same(r, x) for x in there):
        said = ", ".join(dict.fromkeys(f"{named(x.table)} prints {as_printed(x)}" for x in there))
        yield f"{said}, not {as_printed(r)}"


def _same(one: Reported, other: Reported) -> bool:
    """Whether some value prints as both."""
    a, b = (parse_printed(as_printed(r)).range() for r in (one, other))
    low = max(Fraction(a.low, a.scale), Fraction(b.low, b.scale))
    return low < min(Fraction(a.high, a.scale), Fraction(b.high, b.scale))
