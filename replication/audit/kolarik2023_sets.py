"""The test sets of Kolárik 2023, by the metrics of Tables 1 to 3 and the stated tiles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor, prod, sqrt

from replication.audit.checks import Impossible
from replication.audit.digits import percent, plain, rounded
from replication.audit.findings import PROVEN, STRONG, WEAK, Finding
from replication.audit.recorded import Tables, as_printed
from replication.audit.recover import (
    Confusion,
    recover_compositions,
    recover_confusions,
)

PRESENT, ABSENT = "sliding present", "sliding absent"
MEASURED = ("accuracy", "sensitivity", "f1")
TOPIC = "Test sets"


@dataclass(frozen=True)
class DataSet:
    """A data set: its stated tiles, the rows of metrics on it, and what fits them.

    `fits` are the class counts for rounded numbers, `loose` those for rounded or truncated ones.
    """

    name: str
    table: str
    total: int
    positives: int
    negatives: int
    rows: dict[str, dict[str, str]]
    fits: list[tuple[int, int]]
    loose: list[tuple[int, int]]

    @property
    def sizes(self) -> list[int]:
        """All numbers of samples that fit, smallest first."""
        return sorted({sum(pair) for pair in self.fits})

    @property
    def smallest(self) -> tuple[int, int]:
        """The smallest class counts that fit."""
        return self.fits[0]

    def matrices(self) -> dict[str, Confusion]:
        """The matrix of each row at the smallest class counts, where there is one alone."""
        found = {}
        for row, metrics in self.measured.items():
            fits = recover(metrics, self.smallest)
            if len(fits) == 1:
                found[row] = fits[0]
        return found

    @property
    def measured(self) -> dict[str, dict[str, str]]:
        """The rows without specificity, which was not measured (`kolarik2023_metrics`)."""
        return {row: {m: of[m] for m in MEASURED} for row, of in self.rows.items()}


def recover(metrics: dict[str, str], classes: tuple[int, int]) -> list[Confusion]:
    """The matrices of known class counts whose metrics are rounded so."""
    positives, negatives = classes
    return recover_confusions(metrics, positives=positives, negatives=negatives, printing="rounded")


def find_data_sets(tables: Tables) -> list[DataSet]:
    """The data sets of Tables 1 to 3 with the class counts that fit, up to the stated tiles.

    Those that nothing fits have no `fits`.
    """
    by_set: dict[str, dict[str, dict[str, str]]] = {}
    table_of = {}
    for (table, row, dataset), metrics in tables.rows("123").items():
        by_set.setdefault(dataset, {})[row] = metrics
        table_of[dataset] = table
    found = []
    for name, rows in by_set.items():
        total = tables.count(name, "tiles")
        stated = (tables.count(name, "tiles", c) for c in (PRESENT, ABSENT))
        data_set = DataSet(name, table_of[name], total, *stated, rows, [], [])
        measured = list(data_set.measured.values())
        fits, loose = (recover_compositions(measured, total, printing=way)
                       for way in ("rounded", "either"))  # fmt: skip
        found.append(replace(data_set, fits=fits, loose=loose))
    return found


def find_impossible(tables: Tables, sets: list[DataSet]) -> Impossible:
    """Of numbers that two tables print differently those that the rest of the test set excludes."""
    found: dict[tuple[str, str, str], tuple[list[str], str]] = {}
    for s in sets:
        for row in s.measured:
            for metric in MEASURED:
                texts = {
                    as_printed(r): None for r in tables.metrics
                    if r.table.isdigit() and (r.row, r.dataset, r.metric) == (row, s.name, metric)
                }  # fmt: skip
                wrong = [text for text in texts if len(texts) > 1
                         and not _fits_with(s, row, metric, text)]  # fmt: skip
                if wrong:
                    proof = (
                        f"with {' or '.join(wrong)} no class counts up to {s.total:,} fit "
                        "accuracy, sensitivity and F1 of all its rows, rounded or truncated"
                    )
                    found[row, s.name, metric] = wrong, proof
    return found


def _fits_with(s: DataSet, row: str, metric: str, text: str) -> bool:
    """Whether any class counts fit all rows of a data set, one number of them changed."""
    rows = s.measured
    rows[row] = {**rows[row], metric: text}
    return bool(recover_compositions(list(rows.values()), s.total))


def check_test_sets(sets: list[DataSet]) -> Iterator[Finding]:
    """Which class counts each test set had, and which cannot be a part of what is stated."""
    for s in sets:
        if not s.fits:
            yield Finding(
                f"impossible-rows-{s.name}", TOPIC,
                f"No class counts up to the {s.total:,} stated tiles of {s.name} fit all its rows",
                "accuracy, sensitivity and F1, rounded" + " or truncated" * (not s.loose),
                STRONG if s.loose else PROVEN, f"Table {s.table}",
            )  # fmt: skip
            continue
        positives, negatives = s.smallest
        cells = "; ".join(
            f"{row} TP {m.tp} FN {m.fn} TN {m.tn} FP {m.fp}" for row, m in s.matrices().items()
        )
        later = s.sizes[1:3]
        more = f"the next sizes that fit are {later[0]:,} and {later[1]:,}" if len(later) > 1 else (
            f"nothing else up to {s.total:,} fits"
        )  # fmt: skip
        beyond = [pair for pair in s.loose if pair not in s.fits]
        if beyond:
            p, q = beyond[0]
            more += f"; with truncated ones among them {len(beyond):,} more do, from {p:,} + {q:,}"
        elif not later:
            more += ", rounded or truncated"
        yield Finding(
            f"test-set-{s.name}", TOPIC,
            f"{s.name} was tested on {positives:,} positive and {negatives:,} negative tiles, "
            f"{sum(s.smallest):,} in all",
            f"{cells}: accuracy, sensitivity and F1 of all {len(s.rows)} rows to the digit; {more}",
            STRONG if later or beyond else PROVEN, f"Table {s.table}",
        )  # fmt: skip
    for s in sets:
        if not s.fits or any(p <= s.positives and q <= s.negatives for p, q in s.loose):
            continue
        positives, _ = s.smallest
        rest = "nothing else" if len(s.loose) == 1 else "nothing that could be one"
        yield Finding(
            f"impossible-{s.name}", TOPIC,
            f"The test set of {s.name} cannot be a part of the tiles stated for it",
            f"{positives} > {s.positives} positive tiles, and {sum(s.smallest)} of {s.total} would "
            f"be {rounded(Fraction(100 * sum(s.smallest), s.total), 2)} %; {rest} up to {s.total} "
            "fits, rounded or truncated", PROVEN, f"Table {s.table}; section 3.1.1",
        )  # fmt: skip


def check_shares(tables: Tables, sets: list[DataSet]) -> Iterator[Finding]:
    """Which share of the stated tiles the test sets are, and of what they were drawn."""
    stated = Fraction(tables.count("test part", "percent"), 100)
    # Ours: a split by patient rarely meets its share of the tiles; up to 30 % off is near.
    low, high = stated * Fraction(7, 10), stated * Fraction(13, 10)
    near, closest = [], []
    for s in sets:
        fits = recover_compositions(list(s.measured.values()), s.total)
        shares = [Fraction(sum(pair), s.total) for pair in fits]
        near += [share for share in shares if low <= share <= high]
        best = min(shares, key=lambda share: abs(share - stated))
        closest.append(f"{s.name} {percent(best)}")
    where = "section 3.1.1; Tables 1 to 3"
    if not near:
        yield Finding(
            "not-30-percent", TOPIC,
            f"The test sets are not {percent(stated, 0)} of the stated tiles, nor near it",
            f"no class counts between {percent(low, 0)} and {percent(high, 0)} of the stated tiles "
            f"fit, rounded or truncated; the closest that fit: {', '.join(closest)}"
            + _scaled_up(sets, stated),
            PROVEN, where,
        )  # fmt: skip
    yield from _checkpoint(tables, where)
    parts = [s for s in sets if 2 * sum(s.smallest) < s.total]
    fraction = common_fraction([(sum(s.smallest), s.total) for s in parts])
    if fraction is None:
        return
    share, above, upto = fraction
    sizes = ", ".join(f"{sum(s.smallest):,} of {s.total:,}" for s in parts)
    yield Finding(
        "20-percent", TOPIC,
        f"{len(parts)} of the {len(sets)} test sets hold ceil({plain(share)} n) of the stated n "
        "tiles, to the tile",
        f"{sizes}; ceil(f n) gives all of them for {rounded(above, 5)} < f <= {rounded(upto, 5)}",
        STRONG, where,
    )  # fmt: skip
    patients = tables.count("data set", "patients")
    least, most = (Fraction(f(s.total for s in parts), patients) for f in (min, max))
    chance = prod(1 / (0.3 * s.total) for s in parts)
    yield Finding(
        "split-over-tiles", TOPIC,
        f"The split was drawn over tiles, {percent(share, 0)} of them, not over "
        f"{percent(stated, 0)} of the patients; tiles of a patient are then on both sides",
        f"{patients} patients have {rounded(least, 0)} to {rounded(most, 0)} tiles each on "
        "average, which a split by patient moves together. Were each size from 15 to 45 % as "
        f"likely as any other, hitting all {len(parts)} would have a chance of {chance:.0e}; "
        f"train_test_split(test_size={plain(share)}) of scikit-learn gives just these sizes",
        STRONG, where,
    )  # fmt: skip
    yield from _stratified(parts, share)
    for s in sets:
        n = sum(s.smallest)
        if s not in parts:
            yield Finding(
                f"larger-set-{s.name}", TOPIC,
                f"The {n} tiles of {s.name} may be {percent(share, 0)} of a larger set that is not "
                "named",
                f"ceil({plain(share)} n) = {n} for n from {floor((n - 1) / share) + 1:,} to "
                f"{floor(n / share):,}; stated are {s.total}", WEAK,
                f"Table {s.table}; section 3.1.1",
            )  # fmt: skip


def _checkpoint(tables: Tables, where: str) -> Iterator[Finding]:
    """Whether there is a part to choose the weights on that neither trains nor tests."""
    train, test = (tables.count(f"{part} part", "percent") for part in ("training", "test"))
    if train + test == 100:
        yield Finding(
            "checkpoint-on-the-test-part", TOPIC,
            "The weights of the smallest loss (3.2) were probably those of the smallest test loss",
            f"{train} % + {test} % = 100 %: no part is named or counted that neither trains nor "
            f"tests, while one of {tables.count('training', 'epochs')} epochs was kept for its "
            "loss; unless that was the training loss", WEAK, f"section 3.2; {where}",
        )  # fmt: skip


def _scaled_up(sets: list[DataSet], stated: Fraction) -> str:
    """How many rows the smallest class counts would fit if scaled up to the stated share."""
    notes = []
    for s in sets:
        factor = Fraction(round(10 * stated * s.total / sum(s.smallest)), 10)
        scaled = [factor * n for n in s.smallest]
        if factor > 1 and all(n.denominator == 1 for n in scaled):
            positives, negatives = map(int, scaled)
            fit = sum(bool(recover(row, (positives, negatives))) for row in s.measured.values())
            notes.append(
                f"; {plain(factor)} times {' + '.join(map(str, s.smallest))} tiles of {s.name}, "
                f"{positives} + {negatives}, fit {fit} of {len(s.rows)} rows"
            )
    return "".join(notes)


def common_fraction(
    sizes: list[tuple[int, int]],
) -> tuple[Fraction, Fraction, Fraction] | None:
    """The roundest f with ceil(f * total) = part for all, and the bounds low < f <= high of all."""
    if not sizes:
        return None
    low = max(Fraction(part - 1, total) for part, total in sizes)
    high = min(Fraction(part, total) for part, total in sizes)
    for scale in (10, 100, 1000, 10_000):
        found = Fraction(floor(high * scale), scale)
        if low < found:
            return found, low, high
    return None


def _stratified(parts: list[DataSet], share: Fraction) -> Iterator[Finding]:
    """Whether the class ratios are those of a stratified split."""
    notes, off = [], []
    for s in parts:
        n = sum(s.smallest)
        expected = Fraction(n * s.positives, s.total)
        chance = n * s.positives * s.negatives * (s.total - n) / (s.total**2 * (s.total - 1))
        z = float(s.smallest[0] - expected) / sqrt(chance)
        notes.append(f"{s.name} {s.smallest[0]:,} for {rounded(expected, 1)} (z = {z:+.2f})")
        off.append(abs(s.smallest[0] - expected) >= 1)
    if all(off):
        yield Finding(
            "not-stratified", TOPIC, "The split was not stratified by class",
            "positive tiles, and those that the stated class ratio would give: "
            f"{', '.join(notes)}; a stratified split is off by less than one, and a draw without "
            "strata is often that far off", STRONG, "section 3.1.1; Tables 1 to 3",
        )  # fmt: skip
