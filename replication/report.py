"""One self-contained HTML page from any set of run folders.

No script, no network: pictures are part of the page, and its own policy forbids anything else.
Every name that comes from data is escaped.
"""

import datetime
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import markupsafe
import numpy as np

from preprocessing.store import INDEX, RECIPE, SOURCES, write_text
from replication.audit.findings import STRENGTHS, Finding
from replication.audit.papers import audit_paper
from replication.audit.recorded import named
from replication.claims import describe_chance as describe_orders
from replication.experiment_tables import experiment_rows
from replication.experiments import Experiment
from replication.judgement import LEGEND, Judgement
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
)
from replication.performance import read_scores
from replication.printed import COUNTS, LOSSES
from replication.records import ENVIRONMENT, read_csv, read_json
from replication.report_pictures import (
    Album,
    Picture,
    out_folder,
    run_pictures,
    shown_parts,
    study_pictures,
)
from replication.verdict_tables import SHOWN, describe_chance, short_rows

SUREST_ERRORS = 5  # of each experiment, listed
# How a verdict looks, by its status; words say it too.
LOOKS = {AGREES: "good", LOWER: "bad", HIGHER: "bad", INCONCLUSIVE: "open", NOT_COMPARABLE: "none",
         "holds": "good", "does not hold": "bad"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A verdict as the page shows it: its cells, its place on the strip, the mark of its reason."""

    verdict: Verdict
    cells: dict[str, str]
    mark: int
    strip: bool


@dataclass(frozen=True)
class Run:
    """An experiment as the page shows it."""

    experiment: Experiment
    pictures: list[Picture]
    errors: list[dict[str, str]]


@dataclass(frozen=True)
class Count:
    """The distinct comparable claims of one protocol.

    Attributes:
        mark: LEAKY, or none.
        verdicts: how many got which verdict.
        chance: how many would disagree by chance alone, as text.
        margins: how those counts move with the margin.
    """

    mark: str
    verdicts: dict[str, int]
    chance: str
    margins: list[dict[str, object]]


@dataclass(frozen=True)
class Paper:
    """A paper as the page shows it.

    Attributes:
        judgement: its verdicts.
        experiments: their table.
        tables: of the paper, with the lines that stand beside them.
        reasons: of the verdicts, in the order of their marks.
        counts: of the comparable claims on numbers, of sound protocols and of those that leak.
        orders: how many claims of order would fail by chance alone, as text.
        pictures: of the data and of all networks together.
        runs: curves, performance, heat maps and errors of each experiment.
        stores: what the data were.
        environments: versions and hardware, with the runs that have them.
        findings: of the audit.
    """

    judgement: Judgement
    experiments: list[dict[str, str]]
    tables: dict[str, list[Line]]
    reasons: list[str]
    counts: list[Count]
    orders: str
    pictures: list[Picture]
    runs: list[Run]
    stores: list[dict[str, str]]
    environments: list[tuple[str, dict[str, str]]]
    findings: list[Finding]


def write_report(
    path: Path, judgements: Sequence[Judgement], notes: Sequence[str] = (), command: str = ""
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: HTML file to write.
        judgements: one for each paper.
        notes: what has to be said above all, such as seeds that are missing.
        command: what makes the page again.

    Raises:
        InputError: a run's files are damaged.
    """
    album = Album()
    papers = [_describe(judgement, album) for judgement in judgements]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("replication"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"plain": _plain, "look": _look, "breakable": _breakable, "named": named}
    environment.globals["x"] = _place
    page = environment.get_template("report.html").render(
        papers=papers, notes=notes, command=command, legend=LEGEND, left_out=album.left_out,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        strengths=STRENGTHS,
    )  # fmt: skip
    write_text(path, page)
    return path


def _describe(judgement: Judgement, album: Album) -> Paper:
    """All that the page says of a paper."""
    experiments, verdicts = judgement.experiments, judgement.verdicts
    tables, reasons = _lines(verdicts)
    pictures = dict.fromkeys(
        file for e in experiments for file in study_pictures(judgement.paper, out_folder(e))
    )
    return Paper(
        judgement,
        experiment_rows(experiments) if experiments else [],
        tables,
        reasons,
        [_count(mark, of) for mark, of in by_protocol(verdicts) if distinct(of)],
        describe_orders(judgement.orders),
        album.embed(list(pictures)),
        [Run(e, album.embed(run_pictures(e)), surest_errors(e)) for e in experiments],
        _stores(judgement.paper, experiments),
        _environments(experiments),
        audit_paper(judgement.paper),
    )


def _count(mark: str, verdicts: Sequence[Verdict]) -> Count:
    """The claims of one protocol."""
    statuses = Counter(v.status for v in distinct(verdicts))
    counts = {name: statuses[name] for name in (AGREES, LOWER, HIGHER, INCONCLUSIVE)}
    return Count(mark, counts, describe_chance(verdicts), count_by_margin(verdicts))


def _lines(verdicts: Sequence[Verdict]) -> tuple[dict[str, list[Line]], list[str]]:
    """Verdicts by the paper's tables, and their reasons by mark."""
    tables: dict[str, list[Line]] = {}
    reasons: dict[str, int] = {}
    for verdict, row in zip(verdicts, short_rows(verdicts), strict=True):
        mark = reasons.setdefault(verdict.reason, len(reasons) + 1)
        table = row.pop("table")
        row.pop("verdict")
        metric = verdict.reported.metric
        is_share = metric not in (*COUNTS, *LOSSES) and not math.isnan(verdict.ours)
        cells = {name: "" if row.get(name) == "-" else str(row.get(name, "")) for name in SHOWN}
        tables.setdefault(table, []).append(Line(verdict, cells, mark, is_share))
    return tables, list(reasons)


def surest_errors(e: Experiment) -> list[dict[str, str]]:
    """The samples of the first seed that it was most surely wrong about."""
    if not e.folders:
        return []
    part = next(iter(shown_parts(e)))
    scores = read_scores(e, part)[0]
    said = scores.predicted
    sure = scores.scores[np.arange(len(said)), said]
    wrong = np.flatnonzero(said != scores.labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:SUREST_ERRORS]
    return [
        {
            "sample": str(scores.samples[i]),
            "patient": str(scores.patients[i]),
            "part": part,
            "is": scores.classes[scores.labels[i]],
            "said": scores.classes[said[i]],
            "score": f"{sure[i]:.3f}",
        }
        for i in worst
    ]


def _stores(paper: str, experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """A row for each sample store of the study beside its runs."""
    rows = []
    for out in dict.fromkeys(out_folder(e) for e in experiments):
        for folder in sorted((out / "stores").glob("*")):
            if not (folder / RECIPE).exists():
                continue
            recipe = read_json(folder / RECIPE)
            if recipe.get("study") != paper:
                continue
            index, sources = read_csv(folder / INDEX), read_csv(folder / SOURCES)
            used = sum(not row.get("reason") for row in sources)
            classes = Counter(row.get("class") or row.get("diagnosis", "") for row in index)
            parameters = recipe.get("parameters", {})
            rows.append({
                "store": folder.name,
                "origin": ", ".join(sorted({row.get("origin", "") for row in index})),
                "samples": str(len(index)),
                "patients": str(len({row["patient_id"] for row in index} - {""})),
                "of each class": ", ".join(f"{name} {n}" for name, n in classes.items()),
                "sources used": f"{used} of {len(sources)}",
                "parameters": ", ".join(f"{k} {v}" for k, v in parameters.items()),
            })  # fmt: skip
    return rows


def _environments(experiments: Sequence[Experiment]) -> list[tuple[str, dict[str, str]]]:
    """What the runs computed with: runs of one environment together."""
    found: dict[tuple, list[str]] = {}
    for e in experiments:
        for folder in e.folders:
            path = folder / ENVIRONMENT
            if path.exists():  # second stages train no network and have none
                content = read_json(path)
                content |= {f"{k}": v for k, v in content.pop("packages", {}).items()}
                settings = tuple((k, str(v)) for k, v in content.items() if k != "store")
                found.setdefault(settings, []).append(f"{e.name}/{folder.name}")
    return [(", ".join(runs), dict(settings)) for settings, runs in found.items()]


def _plain(value: object) -> str:
    """A setting as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    return "-" if value is None else str(value)


def _breakable(text: object) -> markupsafe.Markup:
    """Escaped text in which a browser may break long names after an underscore."""
    return markupsafe.escape(text).replace("_", markupsafe.Markup("_<wbr>"))


def _place(share: float) -> float:
    """Where a share lies on the strip, in its units."""
    return round(5 + 150 * min(max(share, 0.0), 1.0), 1)


def _look(verdict: str) -> str:
    """The class of a badge, by the words of a verdict."""
    return next((look for words, look in LOOKS.items() if verdict.endswith(words)), "none")
