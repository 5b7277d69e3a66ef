"""What an audit finds: a claim with its arithmetic, and how strong the conclusion is."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

PROVEN, STRONG, WEAK = "proven", "strong", "weak"
STRENGTHS = {
    PROVEN: "it follows from the printed numbers alone",
    STRONG: "no other explanation that we know of fits",
    WEAK: "plausible, no more",
}
WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One conclusion about a paper. `name` is unique among those of a paper."""

    name: str
    topic: str
    claim: str
    arithmetic: str
    strength: str
    where: str

    def __post_init__(self):
        """Only three strengths are known."""
        if self.strength not in STRENGTHS:
            raise ValueError(f"{self.name}: strength {self.strength!r} is none of {STRENGTHS}")


def format_findings(findings: Sequence[Finding]) -> str:
    """Findings as text for a terminal, by topic."""
    lines: list[str] = []
    for number, finding in enumerate(findings, start=1):
        if number == 1 or finding.topic != findings[number - 2].topic:
            lines += ["", finding.topic, "-" * len(finding.topic)]
        lines += ["", *_wrapped(f"{number}. {finding.claim} [{finding.strength}]", "")]
        lines += _wrapped(finding.arithmetic, "   ") + _wrapped(f"({finding.where})", "   ")
    return "\n".join(lines[1:])


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent="   ",
                break_long_words=False, break_on_hyphens=False)  # fmt: skip


def markdown_findings(paper: str, title: str, findings: Sequence[Finding]) -> str:
    """The page of a paper in docs/audit: one table for each topic."""
    lines = [
        f"# Audit: {title}",
        "",
        f"Written by `python scripts/audit.py {paper}` from the printed numbers in "
        "`replication/reported/`; edit those, not this page.",
        "[How the audit works, and what else is known of this paper]"
        f"(../papers/{paper}.md#what-the-printed-numbers-reveal).",
        "",
        *(f"* **{name}**: {meaning}." for name, meaning in STRENGTHS.items()),
    ]
    for number, finding in enumerate(findings, start=1):
        if number == 1 or finding.topic != findings[number - 2].topic:
            lines += ["", f"## {finding.topic}", "", "| # | Finding | Arithmetic | Mark | Where |",
                      "|---|---|---|---|---|"]  # fmt: skip
        cells = (finding.claim, finding.arithmetic, finding.strength, finding.where)
        lines.append(f"| {number} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join([*lines, ""])
