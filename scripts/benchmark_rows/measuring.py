"""How a row is measured: work and reference in turns, so that a busy machine slows both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A finished measurement; `met` is None for a row without a target."""

    name: str
    measured: str
    reference: str
    result: str
    target: str
    met: bool | None


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


def ratio_row(
    name: str, reference: str, ratios: list[float], ours: float, theirs: float, most: float | None
) -> Row:
    """A row whose result is the median ratio with its range; at most `most` meets the target."""
    ratio = statistics.median(ratios)
    return Row(
        name,
        f"{ours:.3f} s",
        f"{reference}: {theirs:.3f} s",
        f"{ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
        f"<= {most}" if most else "-",
        ratio <= most if most else None,
    )
