"""The paper's claims of order, judged on our runs: who overfits, and who is more accurate."""

from collections.abc import Sequence

from replication.verdict import Experiment
from vbreathnet.config import PAPER_ROWS

HOLDS, FAILS, OPEN = "holds here", "does not hold here", "inconclusive here"
# Ours: training accuracy that exceeds validation accuracy by this much is overfitting; the paper
# names no amount.
OVERFITS_ABOVE = 0.02


def judge_claims(experiments: Sequence[Experiment]) -> list[str]:
    """A line for each of the paper's claims that our runs speak to.

    Paper: abstract and sections 3.2, 4 and 5: the pre-trained networks overfit and V-BreathNet
    does not; V-BreathNet is more accurate. Ours: judged at the epoch whose weights were kept,
    without dropout or augmentation, by training accuracy less validation accuracy with its
    interval; "more accurate" where the intervals do not overlap.
    """
    rows = {e.row: e for e in experiments if e.row in PAPER_ROWS.values()}
    lines = []
    for row, e in rows.items():
        value, low, high = (e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high"))
        overfits = row != "V-BreathNet"
        lines.append(
            f"claim '{row} {'overfits' if overfits else 'does not overfit'}': "
            f"{_judge_gap(low, high, overfits)}: training less validation accuracy {value:+.3f} "
            f"[{low:+.3f}, {high:+.3f}], overfitting above {OVERFITS_ABOVE:g}{_remarks(e)}"
        )
    ours = rows.pop("V-BreathNet", None)
    for row, e in rows.items() if ours else ():
        low, high = _accuracy(ours)
        other_low, other_high = _accuracy(e)
        verdict = HOLDS if low > other_high else FAILS if high < other_low else OPEN
        lines.append(
            f"claim 'V-BreathNet is more accurate than {row}': {verdict}: validation accuracy "
            f"[{low:.3f}, {high:.3f}] against [{other_low:.3f}, {other_high:.3f}]{_remarks(e)}"
        )
    return lines


def _judge_gap(low: float, high: float, overfits: bool) -> str:
    if low > OVERFITS_ABOVE:
        return HOLDS if overfits else FAILS
    if high <= OVERFITS_ABOVE:
        return FAILS if overfits else HOLDS
    return OPEN


def _accuracy(e: Experiment) -> tuple[float, float]:
    return tuple(e.mean("val", "image", "accuracy", key) for key in ("low", "high"))


def _remarks(e: Experiment) -> str:
    return f" ({'; '.join(e.not_comparable)})" if e.not_comparable else ""
