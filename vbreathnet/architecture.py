"""What the paper prints of its networks beside ours as built at the published size."""

from collections.abc import Iterator
from functools import partial

import keras

from replication.architecture import build_bare, count, judge_counts, judge_fact
from replication.audit.recorded import load_tables
from replication.claims import ClaimVerdict
from vbreathnet.config import PAPER_ROWS
from vbreathnet.model import build_vbreathnet
from vbreathnet.transfer import build_transfer

STUDY = "vbreathnet"
OURS = "v-breathnet"
SIDE = 224  # Inferred: of the images; docs/papers/vbreathnet.md


def judge_architecture() -> list[ClaimVerdict]:
    """A verdict for each printed number of parameters, of filters and of neurons."""
    shape = (SIDE, SIDE, 3)
    networks = {
        row: build_bare(
            partial(build_vbreathnet, shape)
            if name == OURS
            else partial(build_transfer, name, shape)
        )
        for name, row in PAPER_ROWS.items()
    }
    counts = {row: count(network) for row, network in networks.items()}
    row = PAPER_ROWS[OURS]
    return [*judge_counts(STUDY, counts), *_judge_layers(row, networks[row])]


def _judge_layers(row: str, network: keras.Model) -> Iterator[ClaimVerdict]:
    """Section 3.3 on V-BreathNet's layers: "spanning from 128 to 32 and back to 128"."""
    filters = [layer.filters for layer in network.layers
               if isinstance(layer, keras.layers.Conv2D)]  # fmt: skip
    dense = [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    narrowest = filters.index(min(filters))
    ours = {
        "filters, first": filters[0],
        "filters, fewest": min(filters),
        "filters, back to": max(filters[narrowest:]),
        "filters, last": filters[-1],
        "neurons, dense layer": dense[0],
        "neurons, output": dense[-1],
    }
    for r in load_tables(STUDY).counts:
        if r.row == row and r.metric in ours:
            claim = f"{row}: {r.metric}"
            yield judge_fact(claim, r.table, row, int(r.value), ours[r.metric])
