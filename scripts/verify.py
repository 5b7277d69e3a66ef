"""Say whether our numbers agree with the paper's, from run folders; nothing is trained.

    python scripts/verify.py replication-output/classroom
    python scripts/verify.py OUT OTHER_OUT --write results.md
    python scripts/verify.py OUT/runs/vbreathnet/v-breathnet --margin 0.05
    python scripts/verify.py --architecture --paper vbreathnet       # needs no run

Our metrics are recomputed from each run's predictions.csv. Prints the tables and writes them as
Markdown and CSV. Exits 1 where a comparable claim does not hold, 0 otherwise, 2 for bad input. On
phantoms, and on any data but the paper's, numbers are not comparable; parameter counts always are.

Studies that share one --out are judged one after the other, each from runs/<study>/ and against its
own paper. One experiment folder with seeds of two studies is refused, and so is a run in the folder
of another study.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from papers import check_margin, gather, judge_paper

from preprocessing.errors import InputError
from preprocessing.store import write_text
from replication.cli import run_command
from replication.experiments import PAPERS
from replication.judgement import (
    LEGEND,
    Judgement,
    csv_rows,
    format_judgement,
    markdown_judgement,
)
from replication.printed import JUDGED, read_reported
from replication.records import MARGIN, write_csv

DOES_NOT_HOLD = 1


@dataclass(frozen=True)
class Arguments:
    """What to verify."""

    out: tyro.conf.Positional[tuple[Path, ...]] = ()
    """The --out folders of training or replication commands, or folders of runs in them."""
    paper: Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"] | None = None
    """Which paper's tables; all that have runs there if it is not given."""
    margin: float | None = None
    """Our numbers agree where they surely differ by less; else what each run declared before it
    trained, or 0.03."""
    architecture: bool = False
    """Judge parameter counts and shapes alone, which needs no run."""
    partial: bool = False
    """Judge what is finished although seeds are missing, and say which."""
    reported: Path | None = None
    """Another table of printed numbers for --paper, with the columns of replication/reported/."""
    write: Path | None = None
    """Markdown file to write, with a CSV file of the same name beside it; verdicts.md in the first
    folder if it is not given."""


def main() -> None:
    """Judge every finished run of each paper."""
    arguments = tyro.cli(Arguments, description=__doc__)
    _check(arguments)
    reported = read_reported(arguments.reported, JUDGED) if arguments.reported else None
    judgements, gaps = [], []
    if arguments.architecture:
        papers = (arguments.paper,) if arguments.paper else PAPERS
        judgements = [judge_paper(paper, ()) for paper in papers]
    else:
        experiments, gaps = gather(arguments.out, arguments.paper, arguments.partial)
        for paper, found in experiments.items():
            judgements.append(judge_paper(paper, found, arguments.margin, reported))
    margin = _margin_line(arguments, judgements)
    written = _write(arguments, judgements, [margin, *gaps])  # first: a pager may close the output
    print("\n\n\n".join(format_judgement(judgement) for judgement in judgements))
    print("\n" + "\n".join([margin, *(f"missing: {gap}" for gap in gaps), *written]))
    if any(judgement.failures for judgement in judgements):
        raise SystemExit(DOES_NOT_HOLD)


def _check(arguments: Arguments) -> None:
    if not arguments.out and not arguments.architecture:
        raise InputError("name a folder with runs, such as replication-output/classroom")
    if arguments.reported and not arguments.paper:
        raise InputError("--reported is one paper's: name it with --paper")
    if arguments.margin is not None:
        check_margin(arguments.margin)


def _margin_line(arguments: Arguments, judgements: list[Judgement]) -> str:
    """Where the margin is from."""
    if arguments.margin is not None:
        return f"margin of agreement {arguments.margin:g}, given by --margin after the runs"
    experiments = [e for judgement in judgements for e in judgement.experiments]
    declared = sorted({e.margin for e in experiments if e.margin is not None})
    undeclared = [e.name for e in experiments if e.margin is None]
    line = f"margin of agreement {', '.join(f'{m:g}' for m in declared)}, declared before the runs"
    if undeclared:
        line = line + "; " if declared else ""
        line += (
            f"margin of agreement {MARGIN:g}, the default: {', '.join(undeclared)} declared none"
        )
    return line if experiments else "no run was looked at"


def _write(
    arguments: Arguments, judgements: list[Judgement], notes: list[str]
) -> list[str]:
    """The tables as Markdown, and every verdict as a line of CSV; what to say of it."""
    if arguments.write is None and not arguments.out:
        return []
    path = arguments.write or arguments.out[0] / "verdicts.md"
    lines = [
        "# Verdicts",
        "",
        f"Written on {datetime.date.today()} by `scripts/verify.py`. {LEGEND}.",
    ]
    lines += ["", *(f"* {note}" for note in notes), ""]
    for judgement in judgements:
        lines += markdown_judgement(judgement)
    write_text(path, "\n".join(lines))
    rows, columns = csv_rows(judgements)
    write_csv(path.with_suffix(".csv"), rows, columns)
    return [f"written: {path} and {path.with_suffix('.csv').name}"]


if __name__ == "__main__":
    run_command(main)
