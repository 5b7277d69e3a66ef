"""One printed number beside one of ours: agrees, lower, higher, inconclusive, not comparable."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from replication import intervals
from replication.intervals import UNKNOWN, Interval, Share
from replication.printed import COUNTS, LOSSES, Reported
from replication.records import MARGIN

AGREES, LOWER, HIGHER = "agrees", "lower", "higher"
INCONCLUSIVE, NOT_COMPARABLE = "inconclusive", "not comparable"
DISAGREES = (LOWER, HIGHER)
LEAKY = "LEAKY: "

# Ours: a loss has no upper end, so that its margin is a share of the printed value: 20 % of it
# where that of a share is 0.03, and in proportion.
LOSS_MARGIN = 0.2 / 0.03
MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1)  # Ours: what the table of margins looks at
MOST_PATIENTS = 10_000_000  # that a reader is told to find
CHANCE = 0.05  # of a 95 % interval of the difference of two equal things, to leave out 0


@dataclass(frozen=True)
class Verdict:
    """A printed number beside ours. What there is not is NaN, None or empty.

    Attributes:
        ours, low, high: our value, the mean over the seeds, and its 95 % interval.
        n, patients: samples behind it, and patients.
        seeds, by_seed: how many runs it is the mean of, and each run's value.
        verdict, reason: with the mark LEAKY before it where the protocol leaks.
        share: the k of n that the printed number is of, or the smallest it may be of.
        difference: (low, high) of ours less printed.
        margin: of agreement, declared before the run or given.
        needed: how many patients would settle it; infinity if no number would.
        majority: what always saying the commonest class would get.
        floor: the best shortcut, as text.
    """

    reported: Reported
    ours: float
    low: float
    high: float
    n: int
    seeds: int
    verdict: str
    reason: str
    experiment: str = ""
    by_seed: tuple[float, ...] = ()
    patients: int = 0
    share: Share | None = None
    difference: Interval = UNKNOWN
    margin: float = MARGIN
    needed: float = math.nan
    majority: float = math.nan
    floor: str = ""

    @property
    def status(self) -> str:
        """The verdict without its mark."""
        return self.verdict.removeprefix(LEAKY)

    @property
    def leaky(self) -> bool:
        """Whether the number is of a protocol that leaks."""
        return self.verdict.startswith(LEAKY)

    @property
    def distance(self) -> float:
        """Ours less the printed number, or less its k / n where that is known."""
        return self.ours - (self.share.value if self.share else self.reported.rate)


def judge(
    reported: Reported,
    ours: float,
    low: float,
    high: float,
    n: int,
    seeds: int,
    not_comparable: Sequence[str] = (),
    *,
    margin: float = MARGIN,
    share: Share | None = None,
    patients: int = 0,
) -> Verdict:
    """Say whether ours agrees with the printed value, by the interval of their difference.

    The printed value has an interval of its own where its k of n is known; else it is taken as
    exact but for its last digit.

    Args:
        reported: the printed number.
        ours, low, high: our value and its 95 % interval.
        n: test samples behind it.
        seeds: how many runs it is the mean of.
        not_comparable: reasons that forbid a comparison, most important first.
        margin: of agreement, as a share.
        share: the k of n that the printed number must be, if known.
        patients: behind our number; `n` if it is not given.
    """
    judged = Verdict(reported, ours, low, high, n, seeds, NOT_COMPARABLE, "",
                     patients=patients or n, share=share, margin=margin)  # fmt: skip
    if not_comparable:
        return replace(judged, reason="; ".join(not_comparable))
    if not low <= high:  # NaN bounds compare false
        return replace(judged, verdict=INCONCLUSIVE, reason="too few patients for an interval")
    if share:
        between = intervals.difference(ours, (low, high), share.value, share.interval)
        return _settle(replace(judged, difference=between))
    # All that prints as this number; a count of parameters is exact.
    half = 0.0 if reported.metric in COUNTS else reported.half_digit
    between = low - (reported.rate + half), high - (reported.rate - half)
    return _settle(replace(judged, difference=between), half)


def _settle(judged: Verdict, slack: float = 0.0) -> Verdict:
    """The verdict that the interval of the difference allows."""
    within = margin_of(judged.reported, judged.margin)
    low, high = judged.difference
    status = status_of(judged.difference, within)
    exact = "" if judged.share or within == 0 else "; the printed number taken as exact"
    reasons = {
        AGREES: f"surely within {within:.3g} of the printed number" if within else "equal",
        LOWER: "surely below the printed number" + exact,
        HIGHER: "surely above the printed number" + exact,
        INCONCLUSIVE: f"the difference may be {low:+.3f} to {high:+.3f}",
    }
    judged = replace(judged, verdict=status, reason=reasons[status])
    return _needed(judged, within, slack) if status == INCONCLUSIVE else judged


def _needed(judged: Verdict, within: float, slack: float) -> Verdict:
    """How many patients would settle what is inconclusive."""
    share = judged.share
    paper_low, paper_high = share.interval if share else (0.0, 0.0)
    theirs = (paper_high - share.value, share.value - paper_low) if share else (0.0, 0.0)
    ours = max(judged.ours - judged.low, 0.0), max(judged.high - judged.ours, 0.0)
    factor = intervals.sharpening(judged.distance, ours, theirs, within, slack)
    if math.isinf(factor):
        known = "the last printed digit says no more"
        if share:
            known = f"{share.k} of {share.n} is itself known from {paper_low:.3f} to "
            known += f"{paper_high:.3f} alone"
        reason = f"{judged.reason}, and no number of patients would settle it: {known}"
        return replace(judged, needed=factor, reason=reason)
    needed = math.ceil(factor * judged.patients)
    about = f"about {needed:,}" if needed <= MOST_PATIENTS else f"more than {MOST_PATIENTS:,}"
    reason = f"{judged.reason}; {about} patients would settle it"
    return replace(judged, needed=needed, reason=reason)


def margin_of(reported: Reported, margin: float) -> float:
    """The margin of agreement in the unit of a printed number; counts of parameters have none."""
    if reported.metric in COUNTS:
        return 0.0
    if reported.metric in LOSSES:
        return LOSS_MARGIN * margin * reported.value
    return margin


def status_of(difference: Interval, margin: float) -> str:
    """What the interval of a difference says: agreement comes first, as a margin was declared."""
    low, high = difference
    if -margin <= low and high <= margin:
        return AGREES
    if high < 0:
        return LOWER
    return HIGHER if low > 0 else INCONCLUSIVE


def distinct(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Comparable verdicts, each claim once: papers print the same number in several tables."""
    found = {}
    for v in verdicts:
        r = v.reported
        if v.status != NOT_COMPARABLE:
            found.setdefault(
                (v.experiment, r.row, r.dataset, r.metric, r.positive_class, r.value), v
            )
    return list(found.values())


def by_protocol(verdicts: Iterable[Verdict]) -> list[tuple[str, list[Verdict]]]:
    """Verdicts of sound protocols and of those that leak, apart, each with its mark."""
    groups: dict[str, list[Verdict]] = {"": [], LEAKY: []}
    for v in verdicts:
        groups[LEAKY if v.leaky else ""].append(v)
    return [(mark, of_group) for mark, of_group in groups.items() if of_group]


@dataclass(frozen=True)
class Chance:
    """What chance does to distinct claims on numbers that are all true.

    Attributes:
        bounded: claims whose printed number has an interval too, being a known k of n.
        exact: those whose printed number is taken as exact. Ours then differs surely from it more
            often than CHANCE, and nobody knows how often.
    """

    bounded: int
    exact: int

    @property
    def expected(self) -> float:
        """How many of the bounded ones would read lower or higher.

        Metrics of one network are not independent: they come together or not at all.
        """
        return CHANCE * self.bounded


def expected_by_chance(verdicts: Iterable[Verdict]) -> Chance:
    """Of the distinct comparable claims that have an interval; a count of parameters has none."""
    claims = [v for v in distinct(verdicts)
              if not math.isnan(v.difference[0]) and v.reported.metric not in COUNTS]  # fmt: skip
    bounded = sum(v.share is not None for v in claims)
    return Chance(bounded, len(claims) - bounded)


def count_by_margin(
    verdicts: Iterable[Verdict], margins: Sequence[float] = MARGINS
) -> list[dict[str, object]]:
    """How many distinct comparable claims get which verdict at each margin."""
    claims, rows = distinct(verdicts), []
    for margin in margins:
        found = [
            status_of(v.difference, margin_of(v.reported, margin))
            if not math.isnan(v.difference[0]) else INCONCLUSIVE
            for v in claims
        ]  # fmt: skip
        statuses = (AGREES, LOWER, HIGHER, INCONCLUSIVE)
        rows.append({"margin": f"{margin:g}"} | {name: found.count(name) for name in statuses})
    return rows
