"""A paper's claims of order, held against the numbers that it prints itself."""

from collections.abc import Iterator
from fractions import Fraction

from replication.audit.digits import Printed, parse_printed
from replication.audit.findings import PROVEN, Finding
from replication.audit.recorded import Claim, Tables, as_printed, named
from replication.printed import CORRECT, Reported

HOLDS, TIE, FAILS = "holds", "tie", "fails"
TOPIC = "Claims of order"


def check_claims(tables: Tables) -> Iterator[Finding]:
    """A finding for each claim that the printed numbers do not bear out, and one for the others."""
    by_name: dict[str, list[Claim]] = {}
    for claim in tables.claims:
        by_name.setdefault(claim.claim, []).append(claim)
    kept = []
    for name, parts in by_name.items():
        judged = [judge_claim(tables, part) for part in parts]
        wrong = [(status, text) for status, text in judged if status != HOLDS]
        if not wrong:
            kept.append(f"{name} ({parts[0].table})")
            continue
        tied = all(status == TIE for status, _ in wrong)
        said = "Holds as a tie only" if tied else "Not borne out by the printed numbers"
        of = f", {len(wrong)} of {len(parts)} comparisons" if len(parts) > 1 else ""
        yield Finding(
            f"claim-{_slug(name)}", TOPIC, f"{said}{of}: {name}",
            "; ".join(text for _, text in wrong), PROVEN, _places(parts),
        )  # fmt: skip
    if kept:
        yield Finding(
            "claims-that-hold", TOPIC,
            f"{len(kept)} of {len(by_name)} claims of order hold in the printed numbers; whether "
            "the differences exceed chance is another question", "; ".join(kept), PROVEN,
            "the sections named",
        )  # fmt: skip


def judge_claim(tables: Tables, claim: Claim) -> tuple[str, str]:
    """Whether a claim holds in the printed numbers, and the numbers.

    Raises:
        KeyError: a number that the claim speaks of is not recorded.
    """
    one = tables.number(claim.metric, claim.one)
    value, amount = _share(one), parse_printed(claim.amount or "0").value
    if claim.relation in ("highest", "lowest", "rank"):
        return _among(claim, one, _others(tables, claim), amount)
    if claim.relation == "above":
        return (HOLDS if value > amount else FAILS), f"{_said(one)} against {claim.amount}"
    other = tables.number(claim.metric, claim.other)
    difference = value - _share(other)
    text = f"{_said(one)} against {_said(other)}"
    if claim.relation == "greater":
        if difference == 0 and not amount:
            return TIE, text
        return (HOLDS if difference > amount else FAILS), text
    if claim.relation == "equal":
        return (HOLDS if difference == 0 else FAILS), text
    if claim.relation == "times less":
        return (HOLDS if value * amount < _share(other) else FAILS), text
    if claim.relation == "differs by":
        printed: Printed = parse_printed(claim.amount)
        fits = printed.range("rounded").holds(difference.numerator, difference.denominator)
        return (HOLDS if fits else FAILS), text
    raise ValueError(f"unknown relation {claim.relation!r}")


def _among(claim: Claim, one: Reported, others: list[Reported], place: Fraction) -> tuple[str, str]:
    """The highest, the lowest, or so many-eth, of a table."""
    value = _share(one)
    above = sorted((r for r in others if _share(r) > value), key=_share, reverse=True)
    below = sorted((r for r in others if _share(r) < value), key=_share)
    equal = [r for r in others if _share(r) == value]
    text = _said(one)
    if claim.relation == "rank":
        right = len(above) + 1 == place
        beyond = f"; {len(above)} are better"
    else:
        ahead = above if claim.relation == "highest" else below
        right = not ahead
        beyond = f"; {_said(ahead[0])} is {claim.relation}" if ahead else ""
    shared = f"; {', '.join(r.row for r in equal)} too" if equal else ""
    if not right:
        return FAILS, text + beyond + shared
    return (TIE if equal else HOLDS), text + shared


def _others(tables: Tables, claim: Claim) -> list[Reported]:
    """All other numbers of a table, or of one data set in it."""
    table, _, dataset, _ = claim.other
    return [
        r
        for r in tables.metrics
        if (r.metric, r.table, r.positive_class) == (claim.metric, table, claim.one[3])
        and dataset in ("", r.dataset)
        and (r.row, r.dataset) != claim.one[1:3]
    ]


def _share(reported: Reported) -> Fraction:
    value = parse_printed(as_printed(reported)).value
    return value / reported.n if reported.metric == CORRECT else value


def _said(reported: Reported) -> str:
    what = as_printed(reported)
    if reported.metric == CORRECT:
        what = f"{what}/{reported.n}"
    elif not reported.decimals:
        what = f"{int(reported.value):,}"
    where = [reported.row] + [reported.dataset] * (reported.dataset not in ("", "val", "test"))
    of = f" {reported.positive_class}" * (reported.positive_class in ("COVID-19", "CAP", "Normal"))
    return f"{what} ({reported.metric}{of}, {' '.join(where)}, {named(reported.table)})"


def _places(parts: list[Claim]) -> str:
    tables = [part.table for part in parts]
    tables += [named(place[0]) for part in parts for place in (part.one, part.other) if place[0]]
    return ", ".join(dict.fromkeys(tables))


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
