"""All verdicts on a paper, and what is shown of them: on the terminal, as Markdown and as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass

from replication.audit.papers import TITLES
from replication.audit.recorded import named
from replication.claims import ClaimVerdict, claim_rows, describe_chance, format_claims
from replication.experiment_tables import experiment_rows
from replication.experiments import Experiment
from replication.judging import DISAGREES, Verdict, by_protocol, count_by_margin, distinct
from replication.protocols import leak_rows
from replication.verdict_tables import (
    as_rows,
    format_table,
    format_verdicts,
    markdown_table,
    markdown_verdicts,
)

LEGEND = (
    "paper: the printed number, and the k of n that it must be (of F1 2 TP of 2 TP + FN + FP) of "
    "the smallest test set that fits ('or a multiple', 'or of more samples': larger ones fit too), "
    "with Wilson's interval, of F1 by TP of TP + FN + FP. That takes tiles, clips, slices and "
    "films as independent, which those of one patient are not, and is too narrow for them; ours: "
    "the mean over the seeds with its 95 % interval (Wilson's where each sample is another "
    "patient, else the bootstrap's over patients); difference: ours less the paper's, with the "
    "uncertainty of both; commonest: what always saying the commonest class would get; shortcut: "
    "the best simple statistic; LEAKY: the protocol tests on what it trained on, and is counted "
    "apart"
)


@dataclass(frozen=True)
class Judgement:
    """A paper's verdicts.

    Attributes:
        paper: whose.
        experiments: our runs.
        verdicts: on printed numbers.
        orders: on claims of order.
        architecture: on claims of architecture.
        notes: what else is to be said, as text: tables of a challenge, missing seeds.
    """

    paper: str
    experiments: tuple[Experiment, ...]
    verdicts: tuple[Verdict, ...]
    orders: tuple[ClaimVerdict, ...]
    architecture: tuple[ClaimVerdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The paper in a few words."""
        return TITLES[self.paper]

    @property
    def leaks(self) -> list[dict[str, str]]:
        """What the leak is worth, where both protocols were run."""
        return leak_rows(self.experiments)

    @property
    def failures(self) -> list[str]:
        """The comparable claims that do not hold."""
        numbers = [
            f"{v.reported.row}, {v.reported.metric} ({named(v.reported.table)}): {v.verdict}"
            for v in distinct(self.verdicts)
            if v.status in DISAGREES
        ]
        claims = (*self.orders, *self.architecture)
        return numbers + [f"{c.claim} ({named(c.place)}): {c.verdict}" for c in claims if c.fails]


def format_judgement(judgement: Judgement) -> str:
    """For the terminal."""
    parts = [f"{judgement.title}\n{'=' * len(judgement.title)}"]
    if judgement.experiments:
        parts.append(format_table(experiment_rows(judgement.experiments)))
        parts.append(format_verdicts(judgement.verdicts))
    if judgement.leaks:
        parts.append(f"what the leak is worth:\n{format_table(judgement.leaks)}")
    parts += ["\n".join(format_claims(c)) for c in (judgement.orders, judgement.architecture) if c]
    parts += filter(None, [describe_chance(judgement.orders)])
    parts += judgement.notes
    failures = judgement.failures
    parts.append("comparable claims that do not hold: " + ("; ".join(failures) or "none"))
    return "\n\n".join(parts)


def markdown_judgement(judgement: Judgement) -> list[str]:
    """As the lines of a Markdown section."""
    lines = [f"## {judgement.title}", ""]
    if judgement.experiments:
        lines += [*markdown_table(experiment_rows(judgement.experiments)), ""]
        lines += ["### Printed numbers", "", *markdown_verdicts(judgement.verdicts), ""]
        lines += [*_margins(judgement.verdicts)]
    if judgement.leaks:
        lines += ["### What the leak is worth", "", *markdown_table(judgement.leaks), ""]
    for title, claims in (("order", judgement.orders), ("architecture", judgement.architecture)):
        if claims:
            rows = claim_rows(claims)
            lines += [f"### Claims of {title}", "", *markdown_table(rows), ""]
    if chance := describe_chance(judgement.orders):
        lines += [chance, ""]
    for note in judgement.notes:
        lines += ["```text", note, "```", ""]
    failures = [f"* {failure}" for failure in judgement.failures] or ["None."]
    return [*lines, "### Comparable claims that do not hold", "", *failures, ""]


def _margins(verdicts: Sequence[Verdict]) -> list[str]:
    """How the count of agreeing claims moves with the margin."""
    lines = []
    for mark, of_group in by_protocol(verdicts):
        if distinct(of_group):
            lines += [f"{mark}how far the margin decides:", ""]
            lines += [*markdown_table(count_by_margin(of_group)), ""]
    return lines


def csv_rows(judgements: Sequence[Judgement]) -> tuple[list[dict], list[str]]:
    """Rows of one CSV file for all verdicts, and its columns: those of each kind of claim."""
    rows = []
    for j in judgements:
        kinds = (
            ("number", as_rows(j.verdicts)),
            ("order", claim_rows(j.orders)),
            ("architecture", claim_rows(j.architecture)),
            ("leak", j.leaks),
        )
        for kind, found in kinds:
            # The number's own column "paper" is what the paper prints.
            rows += [{"of": j.paper, "kind": kind, **row} for row in found]
    return rows, list(dict.fromkeys(column for row in rows for column in row))
