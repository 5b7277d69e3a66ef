"""The audits of the four papers by name."""

from collections.abc import Callable, Iterator

from replication.audit import (
    claims_cnr_iemn,
    claims_dzhulai2024,
    claims_kolarik2023,
    claims_vbreathnet,
)
from replication.audit.findings import Finding
from replication.audit.recorded import Tables, load_tables

TITLES = {
    "kolarik2023": "Kolárik 2023, lung sliding with 3D residual networks",
    "dzhulai2024": "Dzhulai 2024, three networks that look for absent lung sliding",
    "vbreathnet": "V-BreathNet, chest radiographs of three classes",
    "cnr_iemn": "CNR-IEMN, chest CT scans of three classes",
}
AUDITS: dict[str, Callable[[Tables], Iterator[Finding]]] = {
    "kolarik2023": claims_kolarik2023.audit,
    "dzhulai2024": claims_dzhulai2024.audit,
    "vbreathnet": claims_vbreathnet.audit,
    "cnr_iemn": claims_cnr_iemn.audit,
}


def audit_paper(paper: str) -> list[Finding]:
    """All findings on a paper, from its recorded numbers alone."""
    return list(AUDITS[paper](load_tables(paper)))
