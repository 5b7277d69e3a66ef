"""What printed numbers allow: the findings on a paper, or anybody's table checked.

    python scripts/audit.py                          # the four papers
    python scripts/audit.py kolarik2023
    python scripts/audit.py --csv table.csv          # columns row, metric, value and, if known,
                                                     # n, positives, negatives, test_set
    python scripts/audit.py --csv table.csv --max-n 500 --printing rounded

The findings on a paper are also written to docs/audit/<paper>.md. Nothing is trained.
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
from replication.cli import run_command

PAGES = Path(__file__).resolve().parents[1] / "docs" / "audit"


@dataclass(frozen=True)
class Arguments:
    """What to audit."""

    paper: tyro.conf.Positional[
        Literal["kolarik2023", "dzhulai2024", "vbreathnet", "cnr_iemn"] | None
    ] = None
    """Which paper; all four if it is not given."""
    csv: Path | None = None
    """A table of printed metrics to check instead, one metric a line."""
    max_n: int = 2000
    """For --csv: samples in a test set, at most, where their number is not given."""
    printing: Literal["either", "rounded", "truncated"] = "either"
    """For --csv: how its numbers were cut to their digits."""
    out: Path = PAGES
    """For a paper: the folder to write its page to."""


def main() -> None:
    """Print the findings, and write the pages of the papers."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.csv is not None:
        if arguments.paper is not None:
            raise InputError("give a paper or --csv, not both")
        rows = read_table(arguments.csv)
        print("\n".join(audit_table(rows, arguments.max_n, arguments.printing)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for paper in (arguments.paper,) if arguments.paper else TITLES:
        findings = audit_paper(paper)
        page = arguments.out / f"{paper}.md"
        write_text(page, markdown_findings(paper, TITLES[paper], findings))
        print(f"{TITLES[paper]}\n\n{format_findings(findings)}\n\nwritten: {page}\n")


if __name__ == "__main__":
    run_command(main)
