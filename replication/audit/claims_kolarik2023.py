"""What the numbers of Kolárik 2023 allow."""

from collections.abc import Iterator

from replication.audit.checks import check_names, check_repeated
from replication.audit.findings import Finding
from replication.audit.kolarik2023_metrics import check_metrics, check_stated_tiles
from replication.audit.kolarik2023_sets import check_shares, check_test_sets, find_data_sets
from replication.audit.order import check_claims
from replication.audit.quotes import check_text
from replication.audit.recorded import Tables


def audit(tables: Tables) -> Iterator[Finding]:
    """All findings, by topic."""
    sets = find_data_sets(tables)
    yield from check_test_sets(sets)
    sets = [s for s in sets if s.fits]
    matrices = {(row, s.name): m for s in sets for row, m in s.matrices().items()}
    yield from check_shares(tables, sets)
    yield from check_metrics(tables, sets, matrices)
    yield from check_repeated(tables, matrices)
    yield from check_text(tables, matrices)
    yield from check_stated_tiles(tables)
    yield from check_names(tables)
    yield from check_claims(tables)
