"""What printed numbers allow: the findings on a paper, or anybody's table checked.

    python scripts/audit.py                          # the four papers
    python scripts/audit.py kolarik2023
    python scripts/audit.py --csv table.csv
    python scripts/audit.py --csv table.csv --max-n 500 --printing rounded

The findings on a paper are also written to docs/audit/<paper>.md. Nothing is trained.

A table has one metric a line, with the columns

    row, metric, value      such as R18, sensitivity, 0.5985 or 59.85 %
    n                       samples of the test set, if known
    positives, negatives    samples of the class that the metrics are of, and of all others
    test_set                rows of one test set share their class counts
    class                   which class precision, recall or F1 is of, where there are several;
                            empty for the accuracy over all. With positives for each class the
                            classes of a row are tried together, as one confusion matrix

Without a class each row is read as one class against the other on one test set, not as an average
over classes, folds or runs. What is called IMPOSSIBLE may then be averaged.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from preprocessing.store import write_text
from replication.audit.any_table import audit_table, read_table
from replication.audit.findings import format_findings, markdown_findings
from replication.audit.papers import TITLES, audit_paper
from replication.audit.recover import MOST_SAMPLES
from replication.cli import run_command

PAGES = Path(__file__).resolve().parents[1] / "docs" / "audit"
MAX_N = 2000


@dataclass(frozen=True)
class Arguments:
    """What to audit."""

    paper: tyro.conf.Positional[
        Literal["kolarik2023", "dzhulai2024", "vbreathnet", "cnr_iemn"] | None
    ] = None
    """Which paper; all four if it is not given."""
    csv: Path | None = None
    """A table of printed metrics to check instead, one metric a line."""
    max_n: int | None = None
    """For --csv: samples in a test set, at most, where their number is not given; else 2000."""
    printing: Literal["either", "rounded", "truncated"] | None = None
    """For --csv: how its numbers were cut to their digits; else either."""
    out: Path | None = None
    """For a paper: the folder to write its page to; else docs/audit."""


def main() -> None:
    """Print the findings, and write the pages of the papers."""
    arguments = tyro.cli(Arguments, description=__doc__)
    _check(arguments)
    if arguments.csv is not None:
        rows = read_table(arguments.csv)
        lines = audit_table(rows, arguments.max_n or MAX_N, arguments.printing or "either")
        print("\n".join(lines))
        return
    out = arguments.out or PAGES
    out.mkdir(parents=True, exist_ok=True)
    for paper in (arguments.paper,) if arguments.paper else TITLES:
        findings = audit_paper(paper)
        page = out / f"{paper}.md"
        write_text(page, markdown_findings(paper, TITLES[paper], findings))
        print(f"{TITLES[paper]}\n\n{format_findings(findings)}\n\nwritten: {page}\n")


def _check(arguments: Arguments) -> None:
    """Flags that contradict one another, or would do nothing."""
    if arguments.csv is None:
        for flag, value in (("--max-n", arguments.max_n), ("--printing", arguments.printing)):
            if value is not None:
                raise InputError(f"{flag} is for --csv; leave it out for a paper")
        return
    if arguments.paper is not None:
        raise InputError("give a paper or --csv, not both")
    if arguments.out is not None:
        raise InputError("--out is for the pages of papers; leave it out with --csv")
    if arguments.max_n is not None and not 2 <= arguments.max_n <= MOST_SAMPLES:
        raise InputError(f"--max-n {arguments.max_n}: take 2 to {MOST_SAMPLES:,} samples")


if __name__ == "__main__":
    run_command(main)
