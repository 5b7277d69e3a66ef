"""What the numbers of CNR-IEMN allow: slices, scans, and the teams' results."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import ceil, floor

from replication.audit.checks import check_names
from replication.audit.digits import parse_printed, percent, plain, rounded
from replication.audit.findings import PROVEN, STRONG, WEAK, Finding
from replication.audit.order import check_claims
from replication.audit.quotes import check_text
from replication.audit.recorded import OUTSIDE, Tables, as_printed, named
from replication.audit.shares import recover_shares, recover_sizes
from replication.audit.teams import check_teams
from replication.intervals import wilson

COVID, CAP, NORMAL = "COVID-19", "CAP", "Normal"
SLICES, SCANS = "Slices", "Scans"
CHALLENGE = f"{OUTSIDE}: slice labels of the challenge's time"
FIRST_PUBLISHED = f"{OUTSIDE}: slice labels as first published"
DESCRIPTION = f"{OUTSIDE}: description of the data set in the challenge's time"
SLICE_TABLES = ("1", "2", "3", "4")
LEAST_SLICES = 100
KNOWN_CAP = Fraction(2, 5)  # Ours: a network good at the other classes knows as much of CAP


def audit(tables: Tables) -> Iterator[Finding]:
    """All findings, by topic."""
    validating = {}
    for name in (COVID, CAP):
        yield from _infected(tables, name, validating)
    yield from _labels(tables, validating)
    yield from _normal_slices(tables)
    if len(validating) == 2:
        yield from _normal_validation(tables, validating)
    yield from _copies(tables)
    yield from _second_task(tables)
    yield from _decay(tables)
    yield from _scans(tables)
    yield from check_teams(tables)
    yield from check_text(tables, {})
    yield from check_names(tables)
    yield from check_claims(tables)


def _recalls(tables: Tables, name: str) -> dict[str, str]:
    """The printed recalls of slices of a class, by figure and network."""
    return {
        f"{named(r.table)}, {r.row}": as_printed(r)
        for r in tables.metrics
        if r.table in ("figure 6", "figure 7", "figure 8", "figure 9") and r.positive_class == name
    }


def _infected(tables: Tables, name: str, validating: dict[str, int]) -> Iterator[Finding]:
    """Validation slices of an infected class: labelled less trained, and by the recalls."""
    recalls = _recalls(tables, name)
    labelled = tables.count("slice labels", "slices", name, CHALLENGE)
    trained = tables.count("slice networks, training", "slices", name)
    n = labelled - trained
    span = range(LEAST_SLICES, labelled + 1)
    fits = recover_sizes(list(recalls.values()), span, "rounded")
    if n not in fits:
        return
    validating[name] = n
    shares = "; ".join(
        f"{text} = {recover_shares(text, n, 'rounded')[0]}/{n:,} ({place})"
        for place, text in recalls.items()
    )
    others = ", ".join(f"{k:,}" for k in fits)
    loose = len(recover_sizes(list(recalls.values()), span))
    yield Finding(
        f"slices-{name}", SLICES, f"{n:,} {name} slices validate",
        f"{labelled:,} labelled at the challenge's time less {trained:,} that train. Of the "
        f"{len(span):,} numbers from {LEAST_SLICES} to {labelled:,} all {len(recalls)} recalls are "
        f"rounded shares of {len(fits)} alone, {others} ({loose} if truncated ones count too). "
        f"{shares}",
        STRONG, "section 3.3.1; Figures 6 to 9",
    )  # fmt: skip


def _labels(tables: Tables, validating: dict[str, int]) -> Iterator[Finding]:
    """Which labels were used, and of how many scans."""
    for name, n in validating.items():
        first = tables.count("slice labels", "slices", name, FIRST_PUBLISHED)
        other = first - tables.count("slice networks, training", "slices", name)
        recalls = list(_recalls(tables, name).values())
        none = [text for text in recalls if not recover_shares(text, other, "rounded")]
        if other != n and none:
            yield Finding(
                "labels-of-the-challenge", SLICES,
                "The slice labels are those of the challenge's time, not the first published ones",
                f"the published ones have {first:,} {name} slices, of which {other:,} would "
                f"validate; {len(none)} of {len(recalls)} recalls are no rounded share of that",
                STRONG, "section 3.3.1; Figures 6 to 9",
            )  # fmt: skip
    stated = tables.count("slice labels", "scans", CAP)
    used = tables.count("slice networks", "scans", CAP)
    if CAP in validating and stated != used:
        trained = tables.count("slice networks, training", "slices", CAP)
        yield Finding(
            "cap-scans", SLICES, f"All {stated} labelled CAP scans were used, not {used}",
            f"{trained} + {validating[CAP]} = {trained + validating[CAP]:,} are the infected "
            f"slices of all {stated}", STRONG, "sections 3.1 and 3.3",
        )  # fmt: skip


def _normal_slices(tables: Tables) -> Iterator[Finding]:
    """Whether so many normal slices can come from the stated scans."""
    classes = (COVID, CAP, NORMAL)
    slices = {c: tables.count("slice networks, training", "slices", c) for c in classes}
    scans = {c: tables.count("slice networks", "scans", c) for c in slices}
    scans[CAP] = tables.count("slice labels", "scans", CAP)
    held = {c: tables.count("slice networks, validation", "scans", c) for c in slices}
    train = {c: scans[c] - held[c] for c in scans}
    thick = tables.count("slice", "millimetres thick")
    each = [Fraction(slices[NORMAL], n) for n in (scans[NORMAL], train[NORMAL])]
    of_set = Fraction(
        sum(tables.count("slice labels", m, table=DESCRIPTION)
            for m in ("slices, infected", "slices, not infected")),
        scans[COVID] + scans[CAP] + tables.count("training and validation", "scans", NORMAL),
    )  # fmt: skip
    if each[0] > 2 * of_set:
        heights = " and ".join(f"{rounded(n * thick / 10, 0)} cm" for n in each)
        yield Finding(
            "normal-slices", SLICES,
            f"The {slices[NORMAL]:,} normal slices are not of {scans[NORMAL]} normal scans alone",
            f"{rounded(each[0], 0)} of each, or {rounded(each[1], 0)} of the {train[NORMAL]} that "
            f"train: {heights} at {thick} mm, where a scan of the data set has "
            f"{rounded(of_set, 0)} slices on average. Slices without infection of the labelled "
            "scans were probably among them", STRONG, "sections 3.1, 3.3 and 3.3.1",
        )  # fmt: skip
        all_of = Fraction(sum(slices.values()), sum(train.values()))
        if all_of > of_set:
            yield Finding(
                "normal-slices-open", SLICES,
                "But these do not suffice either; where the rest comes from is not known",
                f"{sum(slices.values()):,} slices of {sum(train.values())} training scans would be "
                f"{rounded(all_of, 0)} a scan, where the data set has {rounded(of_set, 0)}", WEAK,
                "sections 3.3 and 3.3.1",
            )  # fmt: skip


def _normal_validation(tables: Tables, validating: dict[str, int]) -> Iterator[Finding]:
    """How many normal slices may validate, by all accuracies of Tables 1 to 4."""
    accuracies = [as_printed(r) for r in tables.metrics if r.table in SLICE_TABLES]
    normal = list(_recalls(tables, NORMAL).values())
    # In Table 2 one network has two printed recalls; the best CAP recall bounds its third.
    whole = _bounds(tables, "accuracy", ("2", "Wide-Resnet-50", "val", ""))
    known = _bounds(tables, "recall", ("figure 7", "Wide-Resnet-50", "val", NORMAL))
    covid = recover_shares(
        as_printed(tables.number("recall", ("figure 7", "Wide-Resnet-50", "val", COVID))),
        validating[COVID],
    )
    best = as_printed(tables.number("recall", ("figure 7", "Densenet-161", "val", CAP)))
    most = covid[-1] + recover_shares(best, validating[CAP])[-1]
    least = covid[0] + KNOWN_CAP * validating[CAP]
    infected = sum(validating.values())
    # normal recall x N + right infected slices = accuracy x (N + infected), solved for N.
    low = (whole[0] * infected - most) / (known[1] - whole[0])
    high = (whole[1] * infected - least) / (known[0] - whole[1])
    span = range(ceil(low), floor(high) + 1)
    window = recover_sizes(normal, span, "rounded")
    of = {
        way: [n for n in window if len(recover_sizes(accuracies, [n + infected], way))]
        for way in ("rounded", "truncated", "either")
    }
    if of["either"] and not of["rounded"] and not of["truncated"]:
        scans = sum(tables.count("slice networks, validation", "scans", c)
                    for c in (NORMAL, COVID, CAP))  # fmt: skip
        yield Finding(
            "normal-validation", SLICES,
            f"{' or '.join(f'{n:,}' for n in of['either'])} normal slices validate; the "
            f"{len(accuracies)} accuracies of Tables 1 to 4 were partly rounded, partly truncated",
            f"from {span[0]:,} to {span[-1]:,}, which Wide-Resnet-50 of Table 2 allows if it knows "
            f"{percent(KNOWN_CAP, 0)} of CAP or more, no number fits all accuracies rounded, none "
            f"truncated, and {len(of['either'])} of {len(span):,} either way; "
            f"{rounded(Fraction(of['either'][0] + infected, scans), 0)} slices for each of {scans} "
            "scans", WEAK, "Tables 1 to 4; Figures 6 to 9",
        )  # fmt: skip


def _bounds(tables: Tables, metric: str, place: tuple[str, str, str, str]):
    """The least and the largest value that prints so."""
    found = parse_printed(as_printed(tables.number(metric, place))).range()
    return Fraction(found.low, found.scale), Fraction(found.high, found.scale)


def _copies(tables: Tables) -> Iterator[Finding]:
    parts, right = [], []
    for name in (COVID, CAP):
        slices = tables.count("slice networks, training", "slices", name)
        copies = tables.count("copies of a slice", "slices", name)
        total = tables.count("with copies", "slices", name)
        parts.append(f"{copies + 1} x {slices:,} = {(copies + 1) * slices:,} for {total:,}")
        right.append((copies + 1) * slices == total)
    if all(right):
        yield Finding(
            "copies", SLICES, "The copies stand beside the originals, in the training part alone",
            "; ".join(parts), PROVEN, "section 3.3.1",
        )  # fmt: skip


def _second_task(tables: Tables) -> Iterator[Finding]:
    """What the second task gains, and what it costs."""
    of = {
        t: {r.row: parse_printed(as_printed(r)).value for r in tables.metrics if r.table == t}
        for t in ("3", "4")
    }
    gains = {row: of["4"][row] - of["3"][row] for row in of["4"]}
    best = {
        figure: {r.positive_class: parse_printed(as_printed(r)).value for r in tables.metrics
                 if r.table == figure}
        for figure in ("figure 8", "figure 9")
    }  # fmt: skip
    lower = [c for c, v in best["figure 9"].items() if v < best["figure 8"][c]]
    if lower:
        yield Finding(
            "second-task", SLICES,
            f"The second task gains {rounded(100 * max(gains.values()), 2)} points of accuracy "
            f"at most, and lowers the best recall of {' and '.join(lower)}",
            "; ".join([
                *(f"{row} {rounded(100 * gain, 2)}" for row, gain in gains.items()),
                *(f"{c} {percent(best['figure 8'][c], 2)} to {percent(v, 2)}"
                  for c, v in best["figure 9"].items()),
            ]), PROVEN, "Tables 3 and 4; Figures 8 and 9",
        )  # fmt: skip


def _scans(tables: Tables) -> Iterator[Finding]:
    """How many scans validate, by Table 5 and Figure 10; what was truncated."""
    recalls = {r.positive_class: as_printed(r) for r in tables.metrics if r.table == "figure 10"}
    stated = {c: tables.count("training and validation", "scans", c) for c in recalls}
    table_5 = {r.row: as_printed(r) for r in tables.metrics if r.table == "5"}
    whole = table_5["CNR-IEMN"]
    sizes = [recover_sizes([text], range(1, stated[c] + 1)) for c, text in recalls.items()]
    fits = []
    for composition in product(*sizes):
        n = sum(composition)
        right = [recover_shares(t, m) for t, m in zip(recalls.values(), composition, strict=True)]
        sums = {sum(k) for k in product(*right)}
        if sums & set(recover_shares(whole, n)) and all(
            recover_shares(text, n) for text in table_5.values()
        ):
            fits.append((composition, right))
    if not fits:
        return
    (composition, right), n = fits[0], sum(fits[0][0])
    total = sum(stated.values())
    parts = ", ".join(f"{m} {c}" for c, m in zip(recalls, composition, strict=True))
    shares = ", ".join(
        f"{text} = {k[0]}/{m}" for text, k, m in zip(recalls.values(), right, composition,
                                                  strict=True))  # fmt: skip
    share = ", ".join(f"{m}/{stated[c]}" for c, m in zip(recalls, composition, strict=True))
    trained = " + ".join(f"{stated[c] - m} {c}" for c, m in zip(recalls, composition, strict=True))
    planned = Fraction(tables.count("validation", "percent"), 100)
    others = [sum(c) for c, _ in fits[1:]]
    yield Finding(
        "scans", SCANS, f"{n} scans validate: {parts}",
        f"Figure 10: {shares}; {sum(k[0] for k in right)}/{n} are right, and every accuracy of "
        f"Table 5 is a share of {n}. Other class counts that fit, rounded or truncated, hold "
        f"{' and '.join(map(str, others)) or 'none'} of the {total} scans, "
        + " and ".join(percent(Fraction(k, total), 0) for k in others),
        STRONG, "Table 5; Figure 10; section 3.1",
    )  # fmt: skip
    if rounded(Fraction(100 * n, total), 0) != rounded(100 * planned, 0):
        yield Finding(
            "scans-share", SCANS,
            f"That is {percent(Fraction(n, total))} of the scans, not {percent(planned, 0)}, and "
            "nearly as much of each class",
            f"{n}/{total}; {share}. {trained} = {total - n} train", STRONG,
            "section 3.1; Figure 10",
        )  # fmt: skip
    yield from _two_stages(tables, n, total)
    cut = {row: text for row, text in table_5.items() if not recover_shares(text, n, "rounded")}
    for row, text in cut.items():
        (k,) = recover_shares(text, n, "truncated")
        never = [m for m in others if not recover_shares(text, m, "rounded")]
        note = f"; nor is it a rounded share of {' or '.join(map(str, never))}" if never else ""
        yield Finding(
            f"truncated-{row}", SCANS,
            f"{percent(parse_printed(text).value, 2)}, the accuracy of {row} in Table 5, was "
            "truncated",
            f"{k}/{n} = {percent(Fraction(k, n), 3)}; the {len(table_5) - len(cut)} others are "
            f"rounded shares{note}", PROVEN if never == others else STRONG, "Table 5; abstract",
        )  # fmt: skip
    svm = table_5["CNR-IEMN, SVM"]
    (k,), (other,) = recover_shares(whole, n), recover_shares(svm, n)
    (low, high), (low_svm, high_svm) = wilson(k, n), wilson(other, n)
    if low < high_svm:
        yield Finding(
            "xgboost-against-svm", SCANS,
            f"XGBoost's {whole} and the SVM's {svm} on all features are not far apart for {n} "
            "scans",
            f"95 % Wilson intervals of {k} and {other}: {low:.3f} to {high:.3f} and {low_svm:.3f} "
            f"to {high_svm:.3f}, if it is {n} scans", STRONG, "Table 5",
        )  # fmt: skip


def _two_stages(tables: Tables, n: int, total: int) -> Iterator[Finding]:
    """What the second stage learnt from, and what is left to choose networks on."""
    shares = [tables.count(part, "percent") for part in ("training", "validation")]
    classes = (NORMAL, COVID, CAP)
    held = sum(tables.count("slice networks, validation", "scans", c) for c in classes)
    labelled = sum(
        tables.count("slice labels" if c == CAP else "slice networks", "scans", c) for c in classes
    )
    accuracies = [r for r in tables.metrics if r.table in SLICE_TABLES]
    rows = [r for r in tables.metrics if r.table == "5"]
    if sum(shares) == 100:
        yield Finding(
            "no-part-to-choose-on", SCANS,
            "No scans were kept apart to choose networks, scenario and classifier on: these were "
            "compared on the scans that Table 5 is of",
            f"{shares[0]} % + {shares[1]} % = 100 %: {total} = {total - n} + {n}, and no third "
            f"part is named. Table 5 compares {len(rows)} accuracies on the {n} scans, Tables 1 to "
            f"4 {len(accuracies)} accuracies on slices of {held} of them. The best of so many is "
            "no estimate for new scans", STRONG, "sections 3.1, 3.3 and 4.2",
        )  # fmt: skip
    train = labelled - held
    yield Finding(
        "second-stage-in-sample", SCANS,
        "The second stage learnt from answers to slices that the first stage had trained on",
        f"{labelled} scans less the {held} that validate trained the slice networks: {train} of "
        f"the {total - n} scans whose features trained the second stage (3.3.2), "
        f"{percent(Fraction(train, total - n), 0)}, and none of the {n} that it was validated on. "
        "Features are surer there than on new scans", STRONG, "sections 3.3 and 3.3.2",
    )  # fmt: skip


def _decay(tables: Tables) -> Iterator[Finding]:
    """Whether a learning rate can have decayed by so much."""
    rate, by = (
        parse_printed(tables.setting("training", name)).value
        for name in ("learning rate", "learning rate decays by")
    )
    if rate < by:
        yield Finding(
            "decays-by-a-factor", SLICES,
            f'A learning rate that "decays by {plain(by)}" decays by that factor',
            f"{plain(rate)} - {plain(by)} = {plain(rate - by)} is no learning rate", PROVEN,
            "sections 4.2.1 to 4.2.4",
        )  # fmt: skip
