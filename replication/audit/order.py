"""A paper's claims of order, held against the numbers that it prints itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from replication.audit.digits import Printed, four, parse_printed
from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.recorded import Claim, Tables, as_printed, named
from replication.audit.teams import own_place
from replication.printed import CORRECT, Reported

HOLDS, TIE, FAILS, OPEN = "holds", "tie", "fails", "open"
UNPRINTED = "unprinted"  # a claim without a number, for which the paper has a picture or nothing
TOPIC = "Claims of order"
# A metric, what the same is called in another unit, and how many of the first that is.
UNITS = {"minutes of training": ("hours of training", 60)}
Corrections = Mapping[Reported, Reported]
"""Numbers that are proven wrong, and what should stand there."""


def check_claims(tables: Tables, corrections: Corrections | None = None) -> Iterator[Finding]:
    """A finding for each claim that the printed numbers do not bear out, and one for the others."""
    by_name: dict[str, list[Claim]] = {}
    for claim in tables.claims:
        by_name.setdefault(claim.claim, []).append(claim)
    kept, unprinted = [], []
    for name, parts in by_name.items():
        judged = [judge_claim(tables, part) for part in parts]
        wrong = [(status, text) for status, text in judged if status != HOLDS]
        if not wrong:
            mended = _mended(tables, name, parts, corrections or {})
            if mended:
                yield mended
            else:
                kept.append(f"{name} ({parts[0].table})")
            continue
        if all(status == OPEN for status, _ in wrong):
            unprinted.append(f"{name} ({parts[0].table})")
            continue
        tied = all(status == TIE for status, _ in wrong)
        said = "Holds as a tie only" if tied else "Not borne out by the printed numbers"
        of = f", {len(wrong)} of {len(parts)} comparisons" if len(parts) > 1 else ""
        # What a ranked table leaves out is bounded by its last line: no arithmetic alone.
        ranked = any(p.relation == "rank" and own_place(tables, p.other[0]) for p in parts)
        yield Finding(
            f"claim-{_slug(name)}", TOPIC, f"{said}{of}: {name}",
            "; ".join(text for _, text in wrong), STRONG if ranked and not tied else PROVEN,
            _places(parts),
        )  # fmt: skip
    if unprinted:
        yield Finding(
            "claims-without-numbers", TOPIC,
            f"{len(unprinted)} of {len(by_name)} claims of order cannot be held against printed "
            "numbers: there are none, or too few", "; ".join(unprinted), PROVEN,
            "the sections named",
        )  # fmt: skip
    if kept:
        yield Finding(
            "claims-that-hold", TOPIC,
            f"{len(kept)} of {len(by_name)} claims of order hold in the printed numbers; whether "
            "the differences exceed chance is another question", "; ".join(kept), PROVEN,
            "the sections named",
        )  # fmt: skip


def _mended(
    tables: Tables, name: str, parts: Sequence[Claim], corrections: Corrections
) -> Finding | None:
    """A claim that holds as printed, but by a number that is wrong, judged with the right one."""
    right = replace(tables, metrics=tuple(corrections.get(r, r) for r in tables.metrics))
    notes, leads, holds = [], [], True
    for part in parts:
        before, after = judge_claim(tables, part), judge_claim(right, part)
        if before == after:
            continue
        holds = holds and after[0] == HOLDS
        for wrong in (r for r in corrections if r.metric == part.metric):
            place = (wrong.table, wrong.row, wrong.dataset, wrong.positive_class)
            if place in (part.one, part.other):
                value = as_printed(corrections[wrong])
                where = ", ".join(
                    named(r.table) for r in tables.metrics
                    if (r.metric, r.row, r.dataset) == (wrong.metric, wrong.row, wrong.dataset)
                    and as_printed(r) == value
                )  # fmt: skip
                notes.append(f"{before[1]}; {as_printed(wrong)} should be {value} ({where})")
        if part.relation == "greater":
            (a, b), (c, d) = (
                [_share(_number(t, part.metric, place)) for place in (part.one, part.other)]
                for t in (tables, right)
            )
            how = "shrinks" if c - d < a - b else "grows"
            leads.append(
                f"{four(c)} against {four(d)}: the lead {how} from {four(a - b)} to {four(c - d)}"
            )
    if not notes:
        return None
    still = "holds with the right one too" if holds else "does not hold with the right one"
    return Finding(
        f"claim-{_slug(name)}", TOPIC, f"Rests on a wrong number, and {still}: {name}",
        "; ".join([*notes, *leads]), PROVEN, _places(list(parts)),
    )  # fmt: skip


def judge_claim(tables: Tables, claim: Claim) -> tuple[str, str]:
    """Whether a claim holds in the printed numbers, and the numbers.

    Raises:
        KeyError: a number that the claim speaks of is not recorded.
    """
    if claim.relation == UNPRINTED:
        return OPEN, "no number of it is printed"
    one = _number(tables, claim.metric, claim.one)
    value, amount = _share(one), parse_printed(claim.amount or "0").value
    if claim.relation == "rank" and (found := own_place(tables, claim.other[0])):
        return _place(one, int(amount), *found)
    if claim.relation in ("highest", "lowest", "rank"):
        return _among(claim, one, _others(tables, claim), amount)
    if claim.relation == "above":
        return (HOLDS if value > amount else FAILS), f"{_said(one)} against {claim.amount}"
    other = _number(tables, claim.metric, claim.other)
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


def _place(
    one: Reported, claimed: int, best: int, worst: int, level: str, ahead: str
) -> tuple[str, str]:
    """A place in a ranked table that leaves lines out: `best` and `worst` that it can be."""
    text = _said(one) + (f"; {level} too" if level else "")
    if best <= claimed <= worst:
        return (TIE if level else HOLDS) if best == worst else OPEN, text
    if claimed > worst:
        return FAILS, f"{text}; place {worst} at worst"
    return FAILS, (
        f"{text}; place {best} at best, for more have {ahead}: Figure 11 less what the other "
        "tables print, or less their last line where they leave a team out"
    )


def _number(tables: Tables, metric: str, place: tuple[str, str, str, str]) -> Reported:
    """A printed number, be it in another unit."""
    try:
        return tables.number(metric, place)
    except KeyError:
        if metric not in UNITS:
            raise
        return tables.number(UNITS[metric][0], place)


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
    for other, factor in UNITS.values():
        value *= factor if reported.metric == other else 1
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
