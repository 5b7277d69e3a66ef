"""Everything that a paper prints, as the audit reads it.

Beside `<paper>.csv`, the metrics of the tables, `replication/reported/` holds with the same columns
`<paper>_counts.csv` (images, clips, patients, settings) and `<paper>_text.csv` (metrics repeated in
the running text); `<paper>_claims.csv` (which number is said to be the larger),
`<paper>_names.csv` (names that have to differ or to agree) and `<paper>_layers.csv` (printed
summaries of networks). A `table` that begins with "outside" is no part of the paper.

A claim of order is one line for each comparison. Where the text names metrics it is held against
these, else against all shares of its table; one without any printed number is "unprinted".
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files

from replication.printed import Reported, load_reported

OUTSIDE = "outside"


@dataclass(frozen=True)
class Claim:
    """That one printed number stands in a relation to another, or to all others of a table."""

    table: str
    claim: str
    relation: str
    metric: str
    one: tuple[str, str, str, str]
    other: tuple[str, str, str, str]
    amount: str


@dataclass(frozen=True)
class Name:
    """What a paper calls a thing; the names of a group have to be `wanted`: distinct or equal."""

    table: str
    group: str
    wanted: str
    thing: str
    name: str


@dataclass(frozen=True)
class Layer:
    """A line of a printed summary of a network; `parameters` is None where there is a dash."""

    table: str
    layer: str
    kind: str
    shape: tuple[int, ...]
    parameters: int | None


@dataclass(frozen=True)
class Tables:
    """All printed numbers of a paper."""

    paper: str
    metrics: tuple[Reported, ...]
    counts: tuple[Reported, ...]
    text: tuple[Reported, ...]
    claims: tuple[Claim, ...]
    names: tuple[Name, ...]
    layers: tuple[Layer, ...]

    def rows(self, tables: Collection[str]) -> dict[tuple[str, str, str], dict[str, str]]:
        """(table, row, dataset) to metric to printed text, of some tables' rows."""
        found: dict[tuple[str, str, str], dict[str, str]] = {}
        for r in self.metrics:
            if r.table in tables:
                found.setdefault((r.table, r.row, r.dataset), {})[r.metric] = as_printed(r)
        return found

    def count(self, row: str, metric: str, positive_class: str = "", table: str = "") -> int:
        """A printed count; of several equal ones the first. KeyError where there is none."""
        return int(self.setting(row, metric, positive_class, table))

    def setting(self, row: str, metric: str, positive_class: str = "", table: str = "") -> str:
        """A printed count or setting as it is printed."""
        for r in self.counts:
            place = (r.row, r.metric, r.positive_class)
            if place == (row, metric, positive_class) and table in ("", r.table):
                return as_printed(r)
        raise KeyError(f"{self.paper}: no {metric} of {row} {positive_class} {table}".rstrip())

    def number(self, metric: str, place: tuple[str, str, str, str]) -> Reported:
        """The printed number of a metric at (table, row, dataset, class); KeyError for none."""
        for r in (*self.metrics, *self.counts, *self.text):
            if (r.metric, r.table, r.row, r.dataset, r.positive_class) == (metric, *place):
                return r
        raise KeyError(f"{self.paper}: no {metric} at {place}")


def as_printed(reported: Reported) -> str:
    """A number with the decimals that it is printed with."""
    return f"{reported.value:.{reported.decimals}f}"


def load_tables(paper: str) -> Tables:
    """All that is recorded of a paper's printed numbers."""

    def lines(kind: str) -> list[dict[str, str]]:
        table = files("replication") / "reported" / f"{paper}_{kind}.csv"
        if not table.is_file():  # not every paper has names or layers worth a check
            return []
        with table.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    place = ("row", "dataset", "positive_class")
    return Tables(
        paper,
        tuple(load_reported(paper)),
        tuple(load_reported(f"{paper}_counts")),
        tuple(load_reported(f"{paper}_text")) if lines("text") else (),
        tuple(
            Claim(
                r["table"], r["claim"], r["relation"], r["metric"],
                (r["in_table"], *(r[key] for key in place)),
                (r["other_table"], *(r[f"other_{key}"] for key in place)),
                r["amount"],
            )
            for r in lines("claims")
        ),
        tuple(
            Name(r["table"], r["group"], r["wanted"], r["thing"], r["name"]) for r in lines("names")
        ),
        tuple(
            Layer(
                r["table"], r["layer"], r["kind"], tuple(map(int, r["shape"].split("x"))),
                int(r["parameters"]) if r["parameters"] else None,
            )
            for r in lines("layers")
        ),
    )  # fmt: skip


def named(table: str) -> str:
    """A table as one speaks of it: Table 5, Figure 11, section 4.2, "outside: ..."."""
    if table.startswith(OUTSIDE):
        return table.removeprefix(f"{OUTSIDE}: ")
    if table.startswith("figure"):
        return table.capitalize()
    return f"Table {table}" if table.isdigit() else table
