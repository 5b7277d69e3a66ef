"""Claims of order: "segmentation improves all four", "the shallower network is better".

The papers' own are rows of `replication/reported/<paper>_claims.csv`; here they are held against
our runs. `replication.audit` holds them against the numbers that the papers print themselves.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replication.audit import order
from replication.audit.recorded import Claim, Tables, load_tables, named
from replication.experiments import Experiment
from replication.intervals import Interval
from replication.judging import LEAKY, NOT_COMPARABLE
from replication.paired import Difference, compare, show
from replication.printed import COUNTS, Reported
from replication.records import MARGIN
from replication.verdict import mean_interval

REFUTED = "the paper's own numbers contradict it: scripts/audit.py"
FALSE_ALARM = 0.025  # of a true comparison, to read as false: one end of a 95 % interval
HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"
# What two runs have to share to be held against one another; sanity checks speak to no claim.
PROTOCOL = ("protocol", "split", "folds")
SANITY_CHECKS = ("shuffle_labels", "control_frozen", "overfit_clips")
# Tables of a challenge, whose other lines are other people's: ours stands beside what they print.
OF_OTHERS = {"cnr_iemn": ("figure 11", "6", "7", "8")}


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim of order or of architecture beside what came out here.

    Attributes:
        claim, place: what the paper says, and where.
        runs: the experiments, or the network, that it was looked at with.
        here: HOLDS, FAILS or OPEN, whether or not that may be held against the paper.
        ours: the numbers behind it.
        reasons: why it may not; comparable if there is none.
        leaky: whether the numbers are of a protocol that leaks.
        comparisons: of numbers of ours, behind it; none where it rests on printed ones.
    """

    claim: str
    place: str
    runs: str
    here: str
    ours: str
    reasons: tuple[str, ...] = ()
    leaky: bool = False
    comparisons: int = 0

    @property
    def verdict(self) -> str:
        """As it is shown: not comparable where a reason forbids it, marked where it leaks."""
        return (LEAKY if self.leaky else "") + (NOT_COMPARABLE if self.reasons else self.here)

    @property
    def fails(self) -> bool:
        """Whether a comparable claim does not hold."""
        return not self.reasons and self.here == FAILS


def judge_order(
    paper: str, experiments: Sequence[Experiment], margin: float = MARGIN
) -> list[ClaimVerdict]:
    """A verdict for each claim of order that the runs speak to, for each protocol that was run.

    Two networks that answered the same samples are compared patient by patient, others as
    independent. A claim of several comparisons holds if all hold, and fails if one fails.

    Args:
        paper: whose claims.
        experiments: its runs.
        margin: within which two numbers count as equal.
    """
    tables = load_tables(paper)
    claims: dict[str, list[Claim]] = {}
    for claim in tables.claims:
        if claim.metric not in COUNTS:  # those follow from the network: architecture.py
            claims.setdefault(claim.claim, []).append(claim)
    judged = [e for e in experiments if not any(e.config.get(name) for name in SANITY_CHECKS)]
    contexts: dict[tuple, list[Experiment]] = {}
    for e in judged:
        contexts.setdefault(_context(e), []).append(e)
    verdicts = []
    for name, parts in claims.items():
        for of_context in contexts.values():
            found = [_judge_part(part, of_context, tables.metrics, margin) for part in parts]
            if any(found):
                verdicts.append(_combine(name, parts, found, refuted(tables, parts)))
    return verdicts


def refuted(tables: Tables, parts: Sequence[Claim]) -> tuple[str, ...]:
    """The reason against comparing a claim that the paper's own numbers contradict; else none."""
    statuses = (order.judge_claim(tables, part)[0] for part in parts)
    return (REFUTED,) if order.FAILS in statuses else ()


def _context(e: Experiment) -> tuple:
    """Runs of one context may be held against one another: one study folder, one protocol."""
    study = e.folders[0].parents[1] if e.folders else None
    return (study, e.leaky, *(str(e.config.get(key)) for key in PROTOCOL))


@dataclass(frozen=True)
class _Part:
    """One comparison of a claim."""

    here: str
    ours: str
    experiments: tuple[Experiment, ...]
    comparisons: int = 1


def _combine(
    name: str, parts: Sequence[Claim], found: Sequence[_Part | None], against: Sequence[str]
) -> ClaimVerdict:
    """All comparisons of a claim as one verdict."""
    judged = [part for part in found if part]
    here = [part.here for part in judged]
    experiments = list(dict.fromkeys(e.name for part in judged for e in part.experiments))
    by_name = {e.name: e for part in judged for e in part.experiments}
    ours = [part.ours for part in judged]
    missing = len(parts) - len(judged)
    if missing:
        ours.append(f"{missing} of {len(parts)} comparisons were not run")
    if FAILS in here:
        status = FAILS
    else:
        status = HOLDS if set(here) == {HOLDS} and not missing else OPEN
    reasons = dict.fromkeys([*against, *(r for e in by_name.values() for r in e.not_comparable)])
    return ClaimVerdict(
        name, parts[0].table, ", ".join(experiments), status, "; ".join(ours), tuple(reasons),
        any(e.leaky for e in by_name.values()), sum(part.comparisons for part in judged),
    )  # fmt: skip


def _judge_part(
    claim: Claim, experiments: Sequence[Experiment], printed: Sequence[Reported], margin: float
) -> _Part | None:
    """One comparison; None where our runs do not speak to it."""
    one = _find(claim.one, claim.metric, experiments, printed)
    if one is None:
        return None
    if claim.relation in ("highest", "lowest", "rank"):
        return _judge_among(claim, one, experiments, printed)
    amount = float(claim.amount or 0)
    if claim.relation == "above":
        value, ends = _number(*one)
        ours = f"{_short(one)} {show(value, ends)} against {amount:g}"
        return _Part(_beyond(*ends, amount), ours, (one[0],))
    other = _find(claim.other, claim.metric, experiments, printed)
    if other is None:
        return None
    difference = _compare(one, other)
    ours = f"{_short(one)} less {_short(other)} {difference.text}"
    if claim.relation == "greater":
        here = _beyond(difference.low, difference.high, amount)
    else:  # equal, or differs by so much
        here = _equal(difference.low - amount, difference.high - amount, margin)
    return _Part(here, ours, (one[0], other[0]))


Found = tuple[Experiment, Reported]


def _find(
    place: tuple[str, str, str, str], metric: str, experiments: Iterable[Experiment],
    printed: Iterable[Reported],
) -> Found | None:  # fmt: skip
    """The experiment that speaks to the printed number at (table, row, dataset, class)."""
    for r in printed:
        if (r.metric, r.table, r.row, r.dataset, r.positive_class) == (metric, *place):
            for e in experiments:
                part, level, name = e.place_of(r)
                if e.speaks_to(r) and e.has(part) and e.has(part, level, name):
                    return e, r
    return None


def _judge_among(
    claim: Claim, one: Found, experiments: Sequence[Experiment], printed: Sequence[Reported]
) -> _Part | None:
    """The highest, the lowest or so many-eth of a table."""
    table, _, dataset, _ = claim.other
    others = [
        r for r in printed
        if (r.metric, r.table, r.positive_class) == (claim.metric, table, claim.one[3])
        and dataset in ("", r.dataset) and (r.row, r.dataset) != claim.one[1:3]
    ]  # fmt: skip
    if table in OF_OTHERS.get(one[1].paper, ()):
        return _judge_place(claim, one, others)
    found = [
        other
        for r in others
        if (other := _find((r.table, r.row, r.dataset, r.positive_class), r.metric, experiments,
                           printed))
    ]  # fmt: skip
    if not found:
        return None
    sign = -1 if claim.relation == "lowest" else 1
    heres, ours = [], []
    for other in found:
        difference = _compare(one, other)
        heres.append(_beyond(*sorted((sign * difference.low, sign * difference.high)), 0.0))
        ours.append(f"{_short(one)} less {_short(other)} {difference.text}")
    if len(found) < len(others):
        ours.append(f"{len(others) - len(found)} of {len(others)} others were not run")
    complete = len(found) == len(others) and set(heres) == {HOLDS}
    here = FAILS if FAILS in heres else HOLDS if complete else OPEN
    return _Part(here, "; ".join(ours), (one[0], *(other[0] for other in found)), len(found))


def _judge_place(claim: Claim, one: Found, others: Sequence[Reported]) -> _Part:
    """Our place among other people's printed numbers."""
    value, (low, high) = _number(*one)
    place, best, worst = (1 + sum(r.exceeds(bound) for r in others) for bound in (value, high, low))
    claimed = int(claim.amount or 1)
    here = OPEN
    if best == worst == claimed:
        here = HOLDS
    elif not best <= claimed <= worst:
        here = FAILS
    ours = f"{_short(one)} {show(value, (low, high))}: place {place} ({best} to {worst})"
    return _Part(here, f"{ours} of {len(others) + 1}", (one[0],), 0)


def _number(e: Experiment, r: Reported) -> tuple[float, Interval]:
    """Our counterpart to a printed number, with its interval; means over the seeds."""
    place = e.place_of(r)
    return e.mean(*place, "value"), mean_interval(e, *place)


def _compare(one: Found, other: Found) -> Difference:
    (e, r), (f, s) = one, other
    return compare(e, e.place_of(r), f, f.place_of(s))


def _beyond(low: float, high: float, amount: float) -> str:
    """Whether a difference is surely more than an amount, surely not, or neither."""
    if math.isnan(low) or math.isnan(high):
        return OPEN
    return HOLDS if low > amount else FAILS if high <= amount else OPEN


def _equal(low: float, high: float, margin: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return OPEN
    if -margin <= low and high <= margin:
        return HOLDS
    return FAILS if low > margin or high < -margin else OPEN


def _short(found: Found) -> str:
    """A number of ours by its metric and where it stands in the paper."""
    _, r = found
    of_class = f" {r.positive_class}" if r.metric == "recall" and r.positive_class else ""
    where = f" on {r.dataset}" if r.dataset not in ("", "val", "test") else ""
    return f"{r.metric}{of_class} of {r.row}{where}"


def claim_rows(verdicts: Iterable[ClaimVerdict]) -> list[dict[str, str]]:
    """Claims as plain dicts for CSV files and tables."""
    return [
        {
            "claim": v.claim,
            "place": named(v.place),
            "runs": v.runs,
            "verdict": v.verdict,
            "here": v.here,
            "ours": v.ours,
            "reasons": "; ".join(v.reasons),
        }
        for v in verdicts
    ]


def format_claims(verdicts: Iterable[ClaimVerdict]) -> list[str]:
    """A line for each claim; reasons stand once below, under the marks of their claims."""
    lines, marks = [], {}
    for v in verdicts:
        mark = ""
        if v.reasons:
            number = marks.setdefault("; ".join(v.reasons), f"[{len(marks) + 1}]")
            mark = f" {number}, {v.here} here"
        lines.append(f"claim '{v.claim}' ({named(v.place)}), {v.runs}: {v.verdict}{mark}: {v.ours}")
    return [*lines, *(f"{mark} {reasons}" for reasons, mark in marks.items())]


def describe_chance(verdicts: Iterable[ClaimVerdict]) -> str:
    """How many true comparisons would contradict their claim; empty if none can be compared."""
    comparable = [v for v in verdicts if not v.reasons]
    if not comparable:
        return ""
    comparisons = sum(v.comparisons for v in comparable)
    printed = sum(not v.comparisons for v in comparable)
    text = f"claims of order that can be compared, counted apart: {len(comparable)}"
    if comparisons:
        text += (
            f"; of their {comparisons} comparisons about {FALSE_ALARM * comparisons:.1f} would "
            "contradict a true claim by chance alone"
        )
    if printed:
        text += (
            f"; no such bound for {printed} of them, places among other people's printed numbers, "
            "which are taken as exact"
        )
    return text
