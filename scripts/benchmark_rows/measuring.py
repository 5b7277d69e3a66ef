"""How a row is measured: work and reference in turns, so that a busy machine slows both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A finished measurement.

    Attributes:
        name, measured, reference, result, target: what the table shows.
        met: None for a row without a target.
        share: rate as a share of a plain matrix product's; see `rates`.
    """

    name: str
    measured: str
    reference: str
    result: str
    target: str
    met: bool | None
    share: str = "-"


def compare(work: Callable, reference: Callable, repeats: int) -> tuple[list[float], float, float]:
    """Ratios of alternate runs, and the median seconds of both; one unmeasured run each first."""
    work(), reference()
    pairs = [(seconds_of(work), seconds_of(reference)) for _ in range(repeats)]
    ratios = [one / other for one, other in pairs]
    return ratios, *(statistics.median(column) for column in zip(*pairs, strict=True))


def seconds_of(work: Callable) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_and_range(values: list[float], decimals: int = 2) -> str:
    """Such as "1.02 [0.98, 1.10]"."""
    median, least, most = (
        f"{value:.{decimals}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} [{least}, {most}]"


def ratio_row(
    name: str, reference: str, ratios: list[float], ours: float, theirs: float, most: float | None
) -> Row:
    """A row whose result is the median ratio with its range; at most `most` meets the target."""
    median = statistics.median(ratios)
    return Row(
        name,
        f"{ours:.3f} s",
        f"{reference}: {theirs:.3f} s",
        median_and_range(ratios, 2 if median >= 0.1 else 4),
        f"<= {most}" if most else "-",
        median <= most if most else None,
    )


def not_measured(name: str, reason: str, row: str) -> Row:
    """A row that this machine cannot measure, with the command for one that can."""
    command = f"`python3 scripts/benchmark.py --rows {row}`"
    return Row(name, "-", "-", f"not measured: {reason}; {command}", "-", None)
