"""Claims of architecture, judged on networks built without a weight: they need no data.

Each paper's package says in its `architecture.py` which printed count or shape is which of its
networks'.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import keras

from replication.audit.recorded import Claim, load_tables
from replication.claims import FAILS, HOLDS, ClaimVerdict, refuted
from replication.printed import COUNTS

Counts = Mapping[str, Mapping[str, int]]  # row of the paper's tables to metric to count


def build_bare(build: Callable[[], keras.Model]) -> keras.Model:
    """A network without the memory for its weights: to count and to measure, not to run."""
    with keras.StatelessScope(initialize_variables=False):
        return build()


def count(model: keras.Model) -> dict[str, int]:
    """Total and trainable parameters; of a bare network too."""
    total, trainable = (
        sum(math.prod(v.shape) for v in variables)
        for variables in (
            model.weights,
            model.trainable_weights,
        )  # without states of dropout's seeds
    )
    return dict(zip(COUNTS, (total, trainable), strict=True))


def judge_fact(
    claim: str, place: str, network: str, printed: object, ours: object, *reasons: str
) -> ClaimVerdict:
    """A printed count, shape or name beside that of our network; it holds if they are the same.

    Args:
        claim, place: what is printed, and where.
        network: ours.
        printed, ours: of one type.
        reasons: why the two may not be compared, such as a slip that other printed rows refute.
    """
    here = HOLDS if printed == ours else FAILS
    text = f"printed {_text(printed)}, ours {_text(ours)}"
    return ClaimVerdict(claim, place, network, here, text, reasons)


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def judge_counts(paper: str, counts: Counts) -> Iterator[ClaimVerdict]:
    """Every printed number of parameters, and every claim of order about them.

    Args:
        paper: whose.
        counts: of our networks at the published size, by the row of the paper's tables.
    """
    tables = load_tables(paper)
    rows_of: dict[str, set[str]] = {}
    for r in tables.metrics:
        rows_of.setdefault(r.table, set()).add(r.row)
        if r.metric in COUNTS and r.row in counts:
            claim = f"{r.row}: {r.metric.replace('_', ' ')}"
            yield judge_fact(claim, r.table, r.row, int(r.value), counts[r.row][r.metric])
    by_name: dict[str, list[Claim]] = {}
    for claim in tables.claims:
        if claim.metric in COUNTS and claim.one[1] in counts:
            by_name.setdefault(claim.claim, []).append(claim)
    limits = {r.row: r.value for r in tables.counts if r.metric in COUNTS}
    for name, parts in by_name.items():
        judged = [_judge_order(part, counts, limits, rows_of[part.one[0]]) for part in parts]
        here = HOLDS if all(right for right, _ in judged) else FAILS
        ours = "; ".join(dict.fromkeys(text for _, text in judged))
        yield ClaimVerdict(name, parts[0].table, "as built", here, ours, refuted(tables, parts))


def _judge_order(
    claim: Claim, counts: Counts, limits: Mapping[str, float], rows: set[str]
) -> tuple[bool, str]:
    """Whether one comparison of numbers of parameters holds, and the numbers."""
    row, other = claim.one[1], claim.other[1]
    mine = counts[row][claim.metric]
    if claim.relation in ("highest", "lowest"):
        of_table = {r: counts[r][claim.metric] for r in counts if r in rows}
        extreme = max if claim.relation == "highest" else min
        return mine == extreme(of_table.values()), _listed(of_table)
    theirs = counts[other][claim.metric] if other in counts else int(limits[other])
    times = float(claim.amount) if claim.relation == "times less" else 1.0
    right = mine * times < theirs if claim.relation == "times less" else mine > theirs
    return right, _listed({row: mine, other: theirs})


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{row} {number:,}" for row, number in counts.items())
