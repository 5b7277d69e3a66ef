"""Claims of the paper that its tables do not hold: who overfits, and the ideal learning rate.

Its claims of order, such as who is more accurate, are `replication.claims`' to judge.
"""

from collections.abc import Sequence

from replication.claims import FAILS, HOLDS, OPEN, ClaimVerdict
from replication.experiments import Experiment
from vbreathnet.config import PAPER_TRANSFER_RATE

OURS = "v-breathnet"
# Ours: training accuracy that exceeds validation accuracy by this much is overfitting; the paper
# names no amount.
OVERFITS_ABOVE = 0.02


def judge_claims(experiments: Sequence[Experiment]) -> list[ClaimVerdict]:
    """A verdict on each of these claims that our runs speak to; shuffled labels speak to none.

    Paper: abstract and sections 3.2, 4 and 5: the pre-trained networks overfit and V-BreathNet
    does not. Ours: judged at the epoch whose weights were kept, without dropout or augmentation, by
    training accuracy less validation accuracy with its interval.
    """
    judged = [e for e in experiments if not e.config["shuffle_labels"]]
    verdicts = [_overfitting(e) for e in judged if e.row and e.has("gap", "chosen_epoch")]
    for model in dict.fromkeys(e.config["model"] for e in judged):
        rates = [e for e in judged if e.config["model"] == model and model != OURS]
        if len({e.config["learning_rate"] for e in rates}) > 1:
            verdicts.append(_ideal_rate(model, rates))
    return verdicts


def _overfitting(e: Experiment) -> ClaimVerdict:
    """Paper: sections 3.2 and 4: the baselines overfit, V-BreathNet does not."""
    value, low, high = (e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high"))
    overfits = e.config["model"] != OURS
    return ClaimVerdict(
        f"{e.row} {'overfits' if overfits else 'does not overfit'}",
        "section 3.2" if overfits else "section 4",
        e.name,
        _judge_gap(low, high, overfits),
        f"training less validation accuracy {value:+.3f} [{low:+.3f}, {high:+.3f}], overfitting "
        f"above {OVERFITS_ABOVE:g}",
        e.not_comparable,
        e.leaky,
    )


def _ideal_rate(model: str, rates: list[Experiment]) -> ClaimVerdict:
    """Paper: section 3.2: 0.01 was found to be the ideal learning rate."""
    accuracy = {
        e.config["learning_rate"]: e.mean("val", "image", "accuracy", "value") for e in rates
    }
    best = max(accuracy, key=accuracy.get)
    shown = ", ".join(f"{rate:g}: {value:.4f}" for rate, value in sorted(accuracy.items()))
    return ClaimVerdict(
        f"0.01 is the ideal learning rate, {model}",
        "section 3.2",
        ", ".join(e.name for e in rates),
        HOLDS if best == PAPER_TRANSFER_RATE else FAILS,
        f"validation accuracy {shown}",
        tuple(dict.fromkeys(reason for e in rates for reason in e.not_comparable)),
        any(e.leaky for e in rates),
    )


def _judge_gap(low: float, high: float, overfits: bool) -> str:
    if low > OVERFITS_ABOVE:
        return HOLDS if overfits else FAILS
    if high <= OVERFITS_ABOVE:
        return FAILS if overfits else HOLDS
    return OPEN
