"""What the numbers of Kolárik 2023 allow."""

from collections.abc import Iterator
from dataclasses import replace

from replication.audit.checks import Impossible, check_names, check_repeated
from replication.audit.findings import Finding
from replication.audit.kolarik2023_metrics import check_metrics, check_stated_tiles
from replication.audit.kolarik2023_sets import (
    check_shares,
    check_test_sets,
    find_data_sets,
    find_impossible,
)
from replication.audit.order import Corrections, check_claims
from replication.audit.quotes import check_text
from replication.audit.recorded import Tables, as_printed


def audit(tables: Tables) -> Iterator[Finding]:
    """All findings, by topic."""
    sets = find_data_sets(tables)
    yield from check_test_sets(sets)
    sets = [s for s in sets if s.fits]
    matrices = {(row, s.name): m for s in sets for row, m in s.matrices().items()}
    yield from check_shares(tables, sets)
    yield from check_metrics(tables, sets, matrices)
    impossible = find_impossible(tables, sets)
    yield from check_repeated(tables, matrices, impossible)
    yield from check_text(tables, matrices)
    yield from check_stated_tiles(tables)
    yield from check_names(tables)
    yield from check_claims(tables, _corrections(tables, impossible))


def _corrections(tables: Tables, impossible: Impossible) -> Corrections:
    """Numbers that are proven wrong, with the one other value that a table prints of them."""
    found = {}
    for r in tables.metrics:
        wrong, _ = impossible.get((r.row, r.dataset, r.metric), ([], ""))
        others = {
            other.value for other in tables.metrics
            if other.table.isdigit() and as_printed(other) not in wrong
            and (other.row, other.dataset, other.metric) == (r.row, r.dataset, r.metric)
        }  # fmt: skip
        if as_printed(r) in wrong and len(others) == 1:
            found[r] = replace(r, value=others.pop())
    return found
