"""What the numbers of Dzhulai 2024 allow: matrices, clips, losses, settings."""

from collections.abc import Iterator
from fractions import Fraction
from math import log

from replication.audit.checks import (
    check_constant,
    check_names,
    check_same_rows,
)
from replication.audit.digits import Printing, four, parse_printed, percent, plain, rounded
from replication.audit.findings import PROVEN, STRONG, WEAK, Finding
from replication.audit.layers import check_layers
from replication.audit.order import check_claims
from replication.audit.quotes import check_text
from replication.audit.recorded import Tables, named
from replication.audit.recover import (
    Confusion,
    recover_compositions,
    recover_confusions,
)
from replication.intervals import wilson

ABSENT, PRESENT = "sliding absent", "sliding present"
MEASURED = ("accuracy", "precision", "sensitivity", "f1", "specificity")
TEST_SETS = (("1",), ("2", "3"), ("5",))  # Paper: V-C: Tables II and III are of one validation set
MAX_N = 2300
SETS, METRICS, LOSSES, SETTINGS = "Test sets", "Metrics", "Losses", "Settings"


def audit(tables: Tables) -> Iterator[Finding]:
    """All findings, by topic."""
    fits = {among: _class_counts(tables, among, "rounded") for among in TEST_SETS}
    if all(fits.values()):
        yield from _with_matrices(tables, fits)
    else:
        for among in (among for among, pairs in fits.items() if not pairs):
            loose = _class_counts(tables, among, "either")
            yield Finding(
                f"impossible-{'-'.join(among)}", SETS,
                f"No class counts up to {MAX_N:,} fit all rows of {_tables(among)}",
                f"{', '.join(MEASURED)}, rounded" + " or truncated" * (not loose),
                STRONG if loose else PROVEN, _tables(among),
            )  # fmt: skip
    yield from _settings(tables)
    yield from check_text(tables, {})
    yield from check_layers(tables)
    yield from check_names(tables)
    yield from check_claims(tables)


Fits = dict[tuple[str, ...], list[tuple[int, int]]]
"""Tables of one test set to the class counts that fit them, smallest first."""


def _class_counts(
    tables: Tables, among: tuple[str, ...], printing: Printing
) -> list[tuple[int, int]]:
    rows = [{m: row[m] for m in MEASURED} for row in tables.rows(among).values()]
    return recover_compositions(rows, MAX_N, printing=printing)


def _with_matrices(tables: Tables, fits: Fits) -> Iterator[Finding]:
    """What follows from the smallest matrices that fit."""
    smallest = {among: pairs[0] for among, pairs in fits.items()}
    loose = {among: _class_counts(tables, among, "either") for among in fits}
    matrices = _matrices(tables, smallest)
    yield from _sets(tables, fits, loose, matrices)
    yield from _videos(tables, smallest, loose)
    different = {place[1:]: m for place, m in _different(matrices).items()}
    printed = {
        place[1:]: (metrics, pairs)
        for among, pairs in loose.items() for place, metrics in tables.rows(among).items()
    }  # fmt: skip
    yield from check_constant(different, printed, "present", "Tables 1, 2, 3 and 5")
    yield from _chance(matrices)
    yield from _best_by_f1(tables, matrices)
    yield from check_same_rows(tables, ("1", "2", "3", "5"), MEASURED)
    yield from _chosen(matrices)
    yield from _losses(tables, matrices)


Places = dict[tuple[str, str, str], Confusion]
"""Recovered matrices by (table, row, dataset)."""


def _matrices(tables: Tables, smallest: dict[tuple[str, ...], tuple[int, int]]) -> Places:
    found = {}
    for among, (positives, negatives) in smallest.items():
        for place, row in tables.rows(among).items():
            (found[place],) = recover_confusions(
                {m: row[m] for m in MEASURED}, positives=positives, negatives=negatives,
                printing="rounded",
            )  # fmt: skip
    return found


def _different(matrices: Places) -> Places:
    """Without rows whose matrix stands in another table too."""
    first: dict[Confusion, tuple[str, str, str]] = {}
    for place, matrix in matrices.items():
        first.setdefault(matrix, place)
    return {place: matrix for matrix, place in first.items()}


def _tables(among: tuple[str, ...]) -> str:
    return " and ".join(named(t) for t in among)


def _sets(tables: Tables, fits: Fits, loose: Fits, matrices: Places) -> Iterator[Finding]:
    """Which class counts each test set had."""
    cut = {among: _class_counts(tables, among, "truncated") for among in fits}
    for among, pairs in fits.items():
        positives, negatives = pairs[0]
        others = [
            (p, n) for p, n in loose[among] if p * negatives != n * positives or p % positives
        ]
        cells = "; ".join(
            f"{row} TP {m.tp} FN {m.fn} TN {m.tn} FP {m.fp}"
            for (table, row, _), m in matrices.items() if table in among
        )  # fmt: skip
        beyond = f"up to {MAX_N:,} only whole multiples of it fit too, rounded or truncated"
        if others:
            rest = [pair for pair in others if pair not in pairs]
            beyond = (
                f"up to {MAX_N:,} clips {len(pairs):,} class counts fit, rounded, and "
                f"{len(loose[among]) - len(pairs):,} more with truncated numbers among them"
                + "".join(f", {p:,} + {n:,} the first" for p, n in rest[:1])
            )
            never = [_tables(a) for a, found in cut.items() if not found]
            if never and cut[among]:
                beyond += f"; against that speaks that {', '.join(never)} cannot be truncated"
        yield Finding(
            f"test-set-{'-'.join(among)}", SETS,
            f"{_tables(among)}: {positives} clips with sliding absent and {negatives} present, "
            f"{positives + negatives:,} in all, or a multiple",
            f"{cells}: all five metrics to the digit; {beyond}",
            STRONG if others else PROVEN, _tables(among),
        )  # fmt: skip


def _videos(tables: Tables, smallest: dict, loose: Fits) -> Iterator[Finding]:
    """Whether the sets can be parts of the stated videos."""
    videos = tables.count("data set", "videos")
    share = Fraction(tables.count("test part", "percent"), 100)
    sizes = {among: min(map(sum, pairs)) for among, pairs in loose.items()}
    tuned, final = sizes[("2", "3")], sizes[("5",)]
    if tuned + final > videos and share * videos < min(tuned, final):
        yield Finding(
            "clips-not-videos", SETS, "The tables count clips, not videos",
            f"{percent(share, 0)} of {videos} videos are {rounded(share * videos, 1)}; the sets "
            f"hold {', '.join(f'{n:,}' for n in sizes.values())} or more, and {tuned} + {final} > "
            f"{videos}",
            PROVEN, "section IV; Tables 1, 2, 3 and 5",
        )  # fmt: skip
    short = tables.count("CMWRU", "frames of a clip", table="4")
    chosen = min(
        int(r.value) for r in tables.counts
        if (r.table, r.row, r.metric) == ("section V-C", "CMWRU", "frames of a clip")
    )  # fmt: skip
    scaled = [Fraction(n * chosen, short) for n in (tuned, *smallest[("2", "3")])]
    target = (final, *smallest[("5",)])
    if all(abs(a - b) < 1.5 for a, b in zip(scaled, target, strict=True)):
        yield Finding(
            "same-videos", SETS,
            f"Tables 2 and 3 may have used clips of {chosen} frames of the videos that Table 5 "
            f"tests with {short}",
            "; ".join(f"{n} x {chosen} / {short} = {rounded(x, 1)} for {t}" for n, x, t in zip(
                (tuned, *smallest[("2", "3")]), scaled, target, strict=True)),
            WEAK, "section V-C; Tables 2 to 5",
        )  # fmt: skip
    whole = Fraction(tables.count("data set", "videos", ABSENT), videos)
    shares = {among: Fraction(pair[0], sum(pair)) for among, pair in smallest.items()}
    half = Fraction(1, 2)
    every = [Fraction(p, p + n) for pairs in loose.values() for p, n in pairs]
    if all(abs(s - whole) < abs(s - half) for s in every):
        yield Finding(
            "not-balanced", SETS, "The sets are not balanced; all have about the videos' ratio",
            f"{', '.join(f'{_tables(a)} {percent(s)}' for a, s in shares.items())} absent, of the "
            f"videos {percent(whole)}: the ratio of the classes was made alike in all sets, not "
            "equal to one", PROVEN, "section IV; Tables 1, 2, 3 and 5",
        )  # fmt: skip


def _chance(matrices: Places) -> Iterator[Finding]:
    """Rows that answer alike to both classes."""
    for (table, row, _), m in matrices.items():
        balanced = m.metric("balanced_accuracy")
        if abs(balanced - Fraction(1, 2)) < Fraction(1, 100):
            called = Fraction(m.tp + m.fp, m.n)
            yield Finding(
                f"chance-{table}-{row}", METRICS, f"{row} of {named(table)} is at chance",
                f"{percent(called)} of all clips are called absent: "
                f"{percent(m.metric('sensitivity'))} of the absent, "
                f"{percent(1 - m.metric('specificity'))} of the others; balanced accuracy "
                f"{four(balanced)}", PROVEN, named(table),
            )  # fmt: skip
    said = [
        f"{row.removeprefix('CMWRU, ')} {percent(Fraction(m.tp + m.fp, m.n))} and "
        f"{four(m.metric('balanced_accuracy'))}"
        for (table, row, _), m in matrices.items() if table == "2"
    ]  # fmt: skip
    yield Finding(
        "dropout-tips", METRICS,
        "Dropout mostly moves where the answer tips in Table 2, so recall and specificity go "
        "against each other", f"called absent, and balanced accuracy: {'; '.join(said)}", PROVEN,
        "Table 2",
    )  # fmt: skip


def _best_by_f1(tables: Tables, matrices: Places) -> Iterator[Finding]:
    """By which metrics one dropout of Table 2 is the best."""
    rows = tables.rows(("2",))
    f1 = {place: parse_printed(metrics["f1"]).value for place, metrics in rows.items()}
    best = max(f1, key=f1.__getitem__)
    balanced = {place: matrices[place].metric("balanced_accuracy") for place in rows}
    by_others = [m for m in MEASURED if max(rows, key=lambda p: parse_printed(rows[p][m]).value)
                 == best and m != "f1"]  # fmt: skip
    if balanced[best] == max(balanced.values()) and not by_others:
        said = ", ".join(f"{place[1].removeprefix('CMWRU, ')} {metrics['f1']} and "
                         f"{four(balanced[place])}" for place, metrics in rows.items())  # fmt: skip
        yield Finding(
            "best-by-f1-2", METRICS,
            f"What is best at {best[1].removeprefix('CMWRU, ')} in Table 2 is F1 and balanced "
            "accuracy, and no other metric", f"F1, and balanced accuracy: {said}", PROVEN,
            "Table 2; section V-C",
        )  # fmt: skip


def _chosen(matrices: Places) -> Iterator[Finding]:
    """What the best setting of the validation tables is worth in the final test."""
    tuned = {p: m.metric("balanced_accuracy") for p, m in matrices.items() if p[0] in ("2", "3")}
    (table, row, _), best = max(tuned.items(), key=lambda item: item[1])
    (final,) = (m for p, m in matrices.items() if p[0] == "5")
    if final.metric("balanced_accuracy") < best:
        low, high = wilson(final.tp, final.positives)
        yield Finding(
            "chosen-on-validation", METRICS,
            "The number that settings were chosen by did not hold in the final test",
            f"balanced accuracy {four(best)} ({row}, {named(table)}) against "
            f"{four(final.metric('balanced_accuracy'))} (Table 5); with {final.positives} absent "
            f"clips the recall {final.tp}/{final.positives} has a 95 % Wilson interval of "
            f"{low:.2f} to {high:.2f}, over clips that are not independent", PROVEN,
            "section V-C; Tables 2, 3 and 5",
        )  # fmt: skip


def _losses(tables: Tables, matrices: Places) -> Iterator[Finding]:
    """A wrong answer costs at least its weight x (1 - 0.5)^gamma x log 2 of focal loss."""
    alpha, gamma = (parse_printed(tables.setting("CMWRU", m)).value for m in ("alpha", "gamma"))
    least = {}
    for place, m in matrices.items():
        table, row, dataset = place
        printed = parse_printed(tables.rows((table,))[place]["focal_loss_by_batch"]).value
        bound = float(m.fn * alpha + m.fp * (1 - alpha)) * 0.5 ** float(gamma) * log(2) / m.n
        if bound > 1.01 * float(printed):
            least[place] = (bound, float(printed))
    final = next((p for p in least if p[0] == "5"), None)
    if final is None:
        return
    m, (bound, printed) = matrices[final], least[final]
    others = [b / said for p, (b, said) in least.items() if p != final]
    batch = tables.count("CMWRU", "batch size", table="4")
    yield Finding(
        "loss-too-small", LOSSES,
        "The loss of Table 5 is not the mean focal loss of its clips",
        f"{m.fn} absent clips called present and {m.fp} present ones called absent cost at least "
        f"({m.fn} x {plain(alpha)} + {m.fp} x {plain(1 - alpha)}) x 0.5^{plain(gamma)} x log 2 / "
        f"{m.n} = {bound:.4f}, if 0.5 is the threshold; printed is {printed:.5f}. {len(others)} of "
        f"{len(matrices) - 1} other rows fall short too, by {min(others):.1f} to "
        f"{max(others):.1f} times, if these had the same alpha and gamma, which Table 4 has for "
        "the final network alone", STRONG, "Tables 1 to 5",
    )  # fmt: skip
    share = Fraction(m.positives, m.n)
    constant = float(alpha * share) * 0.5 ** float(gamma) * log(2) + (
        float((1 - alpha) * (1 - share)) * 0.5 ** float(gamma) * log(2)
    )
    if bound < printed * batch < constant * 2:
        yield Finding(
            "loss-divided-by-batch", LOSSES,
            f"The losses are divided by the batch size of {batch} once more",
            f"{printed:.8f} x {batch} = {printed * batch:.4f}, above the bound of {bound:.4f} and "
            f"{100 * (1 - printed * batch / constant):.0f} % below the {constant:.4f} of answering "
            "0.5 to every clip. Losses can be compared for one batch size alone", STRONG,
            "Tables 4 and 5",
        )  # fmt: skip
    if alpha == 1 - share:
        yield Finding(
            "alpha-is-the-share", SETTINGS,
            "Alpha is the share of present clips in the final set",
            f"{m.negatives}/{m.n} = {plain(alpha)}", STRONG, "Tables 4 and 5",
        )  # fmt: skip


def _settings(tables: Tables) -> Iterator[Finding]:
    """Settings that differ from place to place, or were never compared."""
    for metric in ("frames of a clip", "batch size"):
        places: dict[int, list[str]] = {}
        for r in tables.counts:
            if r.metric == metric:
                places.setdefault(int(r.value), []).append(f"{named(r.table)} ({r.row})")
        if len(places) > 1:
            yield Finding(
                f"several-{metric.replace(' ', '-')}", SETTINGS,
                f"The paper names {len(places)} values for {metric}",
                "; ".join(f"{n}: {', '.join(where)}" for n, where in places.items()), PROVEN,
                "the places named",
            )  # fmt: skip
    epochs = tables.count("CMWRU", "scheduler epochs", table="4")
    others = [r for r in tables.counts if r.metric == "epochs"]
    if not any(r.table == "4" for r in others):
        stated = ", ".join(f"{r.value:.0f} epochs ({r.row}, {named(r.table)})" for r in others)
        yield Finding(
            "scheduler-epochs", SETTINGS,
            f'"Shed epochs", {epochs} in Table 4, are the scheduler\'s; for how many the final '
            "network was trained is not printed",
            f"section III has a scheduler of the learning rate, and Table 4 no other epochs; "
            f"elsewhere {stated}", STRONG, "Table 4; sections III and V-C",
        )  # fmt: skip
    train, held, test = (
        tables.count(f"{part} part", "percent", table="section IV")
        for part in ("training", "validation", "test")
    )
    if train + held + test == 100:
        yield Finding(
            "trained-on-validation", SETTINGS,
            "The final network was trained on the validation part too (IV): no part but the test "
            "part was left to choose its last epoch on",
            f"{train} % + {held} % = {train + held} %, and {test} % test; Table 4 has no number of "
            "epochs, and Tables 2 and 3 are of clips that Table 5's network has trained on",
            STRONG, "sections IV and V-D; Tables 2 to 5",
        )  # fmt: skip
    final = tables.setting("CMWRU", "dropout", table="4")
    tried = [tables.setting(r.row, "dropout") for r in tables.counts
             if r.table == "2" and r.metric == "dropout"]  # fmt: skip
    if all(parse_printed(final).value != parse_printed(t).value for t in tried):
        yield Finding(
            "dropout-never-compared", SETTINGS, f"The final dropout of {final} was never compared",
            f"Table 2 has {', '.join(tried)}", PROVEN, "Tables 2 and 4",
        )  # fmt: skip
