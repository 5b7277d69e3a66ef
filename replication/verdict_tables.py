"""Verdicts as tables: for the terminal, Markdown and CSV."""

import math
from collections.abc import Mapping, Sequence

from replication.judging import (
    AGREES,
    HIGHER,
    INCONCLUSIVE,
    LOWER,
    NOT_COMPARABLE,
    Verdict,
    by_protocol,
    count_by_margin,
    distinct,
    expected_by_chance,
)
from replication.printed import COUNTS

# In the terminal; CSV files have every column.
SHOWN = ("experiment", "table", "row", "dataset", "metric", "class", "paper", "k/n", "ours",
         "interval", "difference", "n", "by seed", "commonest", "shortcut", "verdict")  # fmt: skip


def as_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """Verdicts as plain dicts for CSV files and tables; `class` only where there are several."""
    several = len({v.reported.positive_class for v in verdicts} - {""}) > 1
    return [
        {
            "experiment": v.experiment,
            "table": v.reported.table,
            "row": v.reported.row,
            "dataset": v.reported.dataset,
            "metric": v.reported.metric,
            **({"class": v.reported.positive_class} if several else {}),
            "paper": v.reported.text,
            "k/n": f"{v.share.k}/{v.share.n}" if v.share else "",
            "k/n note": v.share.note if v.share else "",
            "paper low": _share_bound(v, 0),
            "paper high": _share_bound(v, 1),
            **{name: _ours(v, getattr(v, name)) for name in ("ours", "low", "high")},
            "n": v.n,
            "patients": v.patients,
            "seeds": v.seeds,
            "by seed": " ".join(_ours(v, value) for value in v.by_seed),
            "difference": _signed(v, v.distance) if v.status != NOT_COMPARABLE else "",
            "difference low": _signed(v, v.difference[0]),
            "difference high": _signed(v, v.difference[1]),
            "margin": f"{v.margin:g}",
            "patients needed": "" if math.isnan(v.needed) else f"{v.needed:.0f}",
            "commonest": "" if math.isnan(v.majority) else f"{v.majority:.4f}",
            "shortcut": v.floor,
            "verdict": v.verdict,
            "reason": v.reason,
        }
        for v in verdicts
    ]


def _ours(verdict: Verdict, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if verdict.reported.metric in COUNTS else f"{value:.4f}"


def _signed(verdict: Verdict, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:+.0f}" if verdict.reported.metric in COUNTS else f"{value:+.4f}"


def _share_bound(verdict: Verdict, end: int) -> str:
    return f"{verdict.share.interval[end]:.4f}" if verdict.share else ""


def short_rows(verdicts: Sequence[Verdict]) -> list[dict]:
    """Verdicts as they are read: an interval in one column, no column without an entry."""
    rows = []
    for v, row in zip(verdicts, as_rows(verdicts), strict=True):
        bounds = f"[{row['low'][:6]}, {row['high'][:6]}]"
        row["k/n"] = v.share.text if v.share else ""
        row["interval"] = bounds if v.low < v.high else "-"
        if row["difference low"]:
            low, high = row["difference low"][:7], row["difference high"][:7]
            row["difference"] = f"{row['difference'][:7]} [{low}, {high}]"
        if v.seeds < 2:
            row["by seed"] = ""
        rows.append(row)
    filled = [c for c in SHOWN if any(row.get(c) not in (None, "") for row in rows)]
    return [{c: row[c] for c in filled} for row in rows]


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a text table; reasons stand once below it, under the marks of their rows."""
    rows, notes = _with_notes(verdicts)
    return "\n".join([format_table(rows), *notes, *summarise(verdicts)])


def markdown_verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    """The same as the lines of a Markdown table."""
    rows, notes = _with_notes(verdicts)
    lines = markdown_table(rows)
    for note in [*notes, *summarise(verdicts)]:
        lines += ["", note]
    return lines


def _with_notes(verdicts: Sequence[Verdict]) -> tuple[list[dict], list[str]]:
    """Short rows, their verdicts marked with their reasons; and the reasons, marked."""
    rows, reasons = short_rows(verdicts), {}
    for v, row in zip(verdicts, rows, strict=True):
        row["verdict"] += f" {reasons.setdefault(v.reason, f'({len(reasons) + 1})')}"
    return rows, [f"{mark} {reason}" for reason, mark in reasons.items()]


def summarise(verdicts: Sequence[Verdict]) -> list[str]:
    """How many claims agree, how many would not by chance alone, and how the margin moves that.

    Numbers of protocols that leak are counted apart.
    """
    if not distinct(verdicts):
        return ["none of these numbers can be compared"] if verdicts else []
    lines = []
    for mark, of_group in by_protocol(verdicts):
        claims = distinct(of_group)
        if not claims:
            continue
        found = [v.status for v in claims]
        counts = ", ".join(
            f"{found.count(name)} {name}" for name in (AGREES, LOWER, HIGHER, INCONCLUSIVE)
        )
        margins = sorted({v.margin for v in claims})
        declared = " or ".join(f"{margin:g}" for margin in margins)
        table = "; ".join(f"{row['margin']}: {row[AGREES]}" for row in count_by_margin(of_group))
        lines += [
            f"{mark}{len(claims)} distinct claims can be compared, margin {declared}: {counts}",
            f"{mark}{describe_chance(of_group)}",
            f"{mark}claims that agree, by margin: {table}",
        ]
    return lines


def describe_chance(verdicts: Sequence[Verdict]) -> str:
    """How many of the claims would read lower or higher, were all of them true."""
    chance = expected_by_chance(verdicts)
    exact = f"{chance.exact}, whose printed number is taken as exact"
    if not chance.bounded:
        return f"chance has no bound for {exact}" if chance.exact else "chance has no part in these"
    text = (
        f"by chance alone about {chance.expected:.1f} of the {chance.bounded} whose printed k of n "
        "is known would be lower or higher, were all true and the paper's samples independent; "
        "metrics of one network come together"
    )
    return text + (f"; there is no such bound for the other {exact}" if chance.exact else "")


def format_table(rows: Sequence[Mapping]) -> str:
    """Rows of equal keys as a plain aligned text table."""
    if not rows:
        return "(nothing to compare)"
    columns = list(rows[0])
    lines = [columns, *([str(row[c]) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    padded = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([padded[0], "-" * len(padded[0]), *padded[1:]])


def markdown_table(rows: Sequence[Mapping]) -> list[str]:
    """Rows of equal keys as the lines of a Markdown table."""
    if not rows:
        return []
    lines = [
        list(rows[0]),
        *([str(cell).replace("|", "/") for cell in row.values()] for row in rows),
    ]
    lines = [f"| {' | '.join(line)} |" for line in lines]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
