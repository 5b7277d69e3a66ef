"""Made-up tables of metrics with impossible rows among them: to teach the audit, and to test it."""

from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from preprocessing.errors import InputError
from replication.audit.digits import four, parse_printed, rounded
from replication.audit.kolarik2023_metrics import derived_specificity
from replication.audit.recover import Confusion, recover_confusions

METRICS = ("accuracy", "sensitivity", "specificity", "f1")
CLASS_SIZES = 40, 200  # Ours: small enough for four digits to say much, and for a search by hand
SKILL = 0.55, 0.97


@dataclass(frozen=True)
class MadeUpRow:
    """A row of a made-up table: printed metrics by name, and the class counts stated with them."""

    name: str
    metrics: dict[str, str]
    positives: int
    negatives: int


def make_table(
    seed: int, rows: int = 10, impossible: int = 3
) -> tuple[list[MadeUpRow], frozenset[str]]:
    """A table of metrics with four decimals and stated class counts, some of its rows impossible.

    A possible row is rounded from a drawn confusion matrix. An impossible one is such a row with
    one slip of the kinds that papers make (SLIPS), after which no matrix of its class counts
    prints so, rounded or truncated. The first kind, which only the metrics together betray, is
    always among them; the others follow in random order.

    Args:
        seed: same seed, same table.
        rows: 1 to 26, named by letters.
        impossible: how many of them.

    Returns:
        The rows, with the metrics METRICS; and the names of the impossible ones.

    Raises:
        InputError: more rows than letters, or more impossible rows than rows.
    """
    if not 1 <= rows <= len(ascii_uppercase) or not 0 <= impossible <= rows:
        raise InputError(
            f"{rows} rows with {impossible} impossible ones; take 1 to {len(ascii_uppercase)} "
            "rows, and at most as many impossible ones"
        )
    rng = np.random.default_rng(seed)
    wrong = rng.choice(rows, impossible, replace=False).tolist()
    kinds = [0, *(1 + rng.permutation(len(SLIPS) - 1)).tolist()]
    table = []
    for number, name in enumerate(ascii_uppercase[:rows]):
        slip = SLIPS[kinds[wrong.index(number) % len(SLIPS)]] if number in wrong else None
        table.append(_make_row(name, slip, rng))
    return table, frozenset(table[number].name for number in wrong)


def _make_row(name: str, slip, rng: np.random.Generator) -> MadeUpRow:
    """A row of a drawn matrix; with a slip, one that no matrix fits."""
    while True:
        matrix = _draw_matrix(rng)
        metrics = {metric: four(matrix.metric(metric)) for metric in METRICS}
        if slip is not None:
            metrics |= slip(matrix, metrics, rng)
        known = {"positives": matrix.positives, "negatives": matrix.negatives}
        if slip is None or not recover_confusions(metrics, **known):
            return MadeUpRow(name, metrics, **known)


def _draw_matrix(rng: np.random.Generator) -> Confusion:
    """A matrix with all four cells filled."""
    low, high = CLASS_SIZES
    positives, negatives = rng.integers(low, high + 1, 2).tolist()
    tp, tn = (
        int(np.clip(rng.binomial(count, rng.uniform(*SKILL)), 1, count - 1))
        for count in (positives, negatives)
    )
    return Confusion(tp, positives - tp, tn, negatives - tn)


def _take_precision(matrix, metrics, rng) -> dict[str, str]:
    """The precision stands in the column of F1, as in section 4.2 of Kolárik 2023."""
    return {"f1": four(matrix.metric("precision"))}


def _swap_digits(matrix, metrics, rng) -> dict[str, str]:
    """Two neighbouring decimals change places in accuracy or sensitivity."""
    metric = str(rng.choice(["accuracy", "sensitivity"]))
    text = metrics[metric]
    at = int(rng.integers(2, len(text) - 1))
    return {metric: text[:at] + text[at + 1] + text[at] + text[at + 2 :]}


def _drop_samples(matrix, metrics, rng) -> dict[str, str]:
    """The sensitivity is of a test set with one to three fewer positives, all found."""
    fewer = int(rng.integers(1, 4))
    other = matrix._replace(tp=max(matrix.tp - fewer, 0))
    return {"sensitivity": four(other.metric("sensitivity"))}


def _derive_specificity(matrix, metrics, rng) -> dict[str, str]:
    """Specificity is computed from rounded numbers, as in Tables 1 to 3 of Kolárik 2023."""
    accuracy, recall = (parse_printed(metrics[m]).value for m in ("accuracy", "sensitivity"))
    precision = parse_printed(four(matrix.metric("precision"))).value
    false_positives = recall / precision - recall
    return {"specificity": rounded(derived_specificity(accuracy, recall, false_positives), 4)}


SLIPS = (_take_precision, _swap_digits, _drop_samples, _derive_specificity)
