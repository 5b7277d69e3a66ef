"""95 % intervals of shares and of differences, and how many patients would settle one."""

import math
from dataclasses import dataclass

from scipy.stats import binomtest

Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Share:
    """k of n.

    Attributes:
        k, n: such as the right answers of all; of an F1 2 TP of 2 TP + FN + FP.
        f1: whether it is an F1.
        note: what else k of n may be, such as "or a multiple".
    """

    k: int
    n: int
    f1: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """k / n."""
        return self.k / self.n

    @property
    def interval(self) -> Interval:
        """Wilson's, as if each sample were independent of the others; see `f1_interval`."""
        if self.f1:
            return f1_interval(self.k // 2, self.n - self.k)
        return wilson(self.k, self.n)

    @property
    def text(self) -> str:
        """Such as "16/20 or a multiple"."""
        return f"{self.k}/{self.n} {self.note}".rstrip()


def wilson(k: int, n: int) -> Interval:
    """Wilson's 95 % interval of k of n; NaN if n is 0."""
    if n == 0:
        return UNKNOWN
    found = binomtest(k, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def f1_interval(tp: int, wrong: int) -> Interval:
    """The 95 % interval of the F1 of so many true positives, and of FN + FP `wrong` answers.

    F1 is no proportion, but F1 / (2 - F1) is: TP of TP + FN + FP. Its Wilson interval is carried
    over ("Wilson indirect" of Lam 2023, arXiv 2309.14621).
    """
    low, high = (2 * end / (1 + end) for end in wilson(tp, tp + wrong))
    return low, high


def difference(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """The interval of `one` less `other`, from the intervals of two independent values.

    Newcombe's hybrid score interval (Statistics in Medicine 1998, method 10) where both are
    Wilson's; the same recovery of variances from any other intervals (Zou and Donner 2008).
    """
    (low, high), (other_low, other_high) = of_one, of_other
    distance = one - other
    # A bootstrap's interval may leave out its own value, by a little.
    below, above = max(one - low, 0.0), max(high - one, 0.0)
    return (
        distance - math.hypot(below, other_high - other),
        distance + math.hypot(above, other - other_low),
    )


def sharpening(
    distance: float, ours: Interval, theirs: Interval, margin: float, slack: float = 0.0
) -> float:
    """By which factor our patients would have to grow in number for a difference to be settled.

    Settled is within +-`margin`, or all above or all below 0. The part of the width that our
    patients cause shrinks with the root of their number; the other side's does not.

    Args:
        distance: our value less theirs.
        ours, theirs: how far the difference may lie (below, above) it because of either, positive.
        margin: of agreement.
        slack: what is added to both sides whatever the numbers, such as a rounded digit.

    Returns:
        The factor; infinity if no number of our patients suffices.
    """
    (below, above), (their_below, their_above) = ours, theirs
    agreement = max(  # both ends have to come near enough
        _factor(below, their_below, margin + distance - slack),
        _factor(above, their_above, margin - distance - slack),
    )
    if distance > 0:
        return min(agreement, _factor(below, their_below, distance - slack))
    return min(agreement, _factor(above, their_above, -distance - slack))


def _factor(ours: float, theirs: float, room: float) -> float:
    """What n has to be multiplied with, so that the hypotenuse of both fits into `room`."""
    left = room**2 - theirs**2
    return ours**2 / left if room > 0 and left > 0 else math.inf
