"""The paper's claims of order, judged on our runs: who overfits, and who is more accurate."""

from collections.abc import Sequence

from replication.verdict import Experiment
from vbreathnet.config import PAPER_TRANSFER_RATE

HOLDS, FAILS, OPEN = "holds here", "does not hold here", "inconclusive here"
OURS = "v-breathnet"
# Ours: training accuracy that exceeds validation accuracy by this much is overfitting; the paper
# names no amount.
OVERFITS_ABOVE = 0.02


def judge_claims(experiments: Sequence[Experiment]) -> list[str]:
    """A line for each of the paper's claims that our runs speak to; shuffled labels speak to none.

    Paper: abstract and sections 3.2, 4 and 5: the pre-trained networks overfit and V-BreathNet
    does not; V-BreathNet is more accurate. Ours: judged at the epoch whose weights were kept,
    without dropout or augmentation, by training accuracy less validation accuracy with its
    interval; "more accurate" where the intervals do not overlap.
    """
    judged = [e for e in experiments if not e.config["shuffle_labels"]]
    lines = [_overfitting(e) for e in judged if e.row]
    for ours in (e for e in judged if e.config["model"] == OURS):
        for other in (e for e in judged if e.row and e.config["model"] != OURS):
            if ours.leaky == other.leaky:
                lines.append(_more_accurate(ours, other))
    for model in dict.fromkeys(e.config["model"] for e in judged):
        rates = [e for e in judged if e.config["model"] == model and model != OURS]
        if len({e.config["learning_rate"] for e in rates}) > 1:
            lines.append(_ideal_rate(model, rates))
    return lines


def _overfitting(e: Experiment) -> str:
    """Paper: sections 3.2 and 4: the baselines overfit, V-BreathNet does not."""
    value, low, high = (e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high"))
    overfits = e.config["model"] != OURS
    return (
        f"claim '{e.row} {'overfits' if overfits else 'does not overfit'}', {_name(e)}: "
        f"{_judge_gap(low, high, overfits)}: training less validation accuracy {value:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], overfitting above {OVERFITS_ABOVE:g}{_remarks(e)}"
    )


def _more_accurate(ours: Experiment, other: Experiment) -> str:
    """Paper: section 5: V-BreathNet outperforms the transfer-learned networks."""
    low, high = _accuracy(ours)
    other_low, other_high = _accuracy(other)
    verdict = HOLDS if low > other_high else FAILS if high < other_low else OPEN
    return (
        f"claim 'V-BreathNet is more accurate than {other.row}', {_name(ours)} against "
        f"{_name(other)}: {verdict}: validation accuracy [{low:.3f}, {high:.3f}] against "
        f"[{other_low:.3f}, {other_high:.3f}]{_remarks(other)}"
    )


def _ideal_rate(model: str, rates: list[Experiment]) -> str:
    """Paper: section 3.2: 0.01 was found to be the ideal learning rate."""
    accuracy = {
        e.config["learning_rate"]: e.mean("val", "image", "accuracy", "value") for e in rates
    }
    best = max(accuracy, key=accuracy.get)
    shown = ", ".join(f"{rate:g}: {value:.4f}" for rate, value in sorted(accuracy.items()))
    verdict = HOLDS if best == PAPER_TRANSFER_RATE else FAILS
    return (
        f"claim '0.01 is the ideal learning rate', {model}: {verdict}: validation accuracy {shown}"
    )


def _judge_gap(low: float, high: float, overfits: bool) -> str:
    if low > OVERFITS_ABOVE:
        return HOLDS if overfits else FAILS
    if high <= OVERFITS_ABOVE:
        return FAILS if overfits else HOLDS
    return OPEN


def _accuracy(e: Experiment) -> tuple[float, float]:
    return tuple(e.mean("val", "image", "accuracy", key) for key in ("low", "high"))


def _name(e: Experiment) -> str:
    return ("LEAKY " if e.leaky else "") + e.name


def _remarks(e: Experiment) -> str:
    return f" ({'; '.join(e.not_comparable)})" if e.not_comparable else ""
