"""What the paper prints of its two stages beside ours as built."""

from functools import partial
from pathlib import Path

import keras
import numpy as np

from cnr_iemn.backbones import build_backbone
from cnr_iemn.config import CLASSES, PAPER_ROWS, STUDY, CnrIemnConfig
from cnr_iemn.multitask import build_slice_network
from cnr_iemn.patient import group_percentages
from replication.architecture import build_bare, judge_fact
from replication.audit.recorded import load_tables
from replication.claims import ClaimVerdict


def judge_architecture() -> list[ClaimVerdict]:
    """A verdict on the second task of the slice networks, and on features of the second stage."""
    tables = load_tables(STUDY)
    published = CnrIemnConfig(Path(), Path())
    regions = tables.count("second task", "regions")
    network = next(iter(PAPER_ROWS))  # the heads are the same for all
    model = build_bare(partial(_build, published, network))
    found = model.output["region"].shape[-1]
    row, claim = PAPER_ROWS[network], "regions of the second task"
    verdicts = [judge_fact(claim, "section 3.3.1", row, regions, found)]
    groups = tables.count("patient stage", "groups", table="section 3.3.2")
    features = tables.count("patient stage", "features of a network")
    one_slice_a_group = np.zeros(groups, dtype=int)
    found = len(group_percentages(one_slice_a_group, published.groups, len(CLASSES)))
    place, stage = "section 3.3.2", "second stage"
    return [
        *verdicts,
        judge_fact("groups of slices", place, stage, groups, published.groups),
        judge_fact("features of one network", place, stage, features, found),
    ]


def _build(config: CnrIemnConfig, network: str) -> keras.Model:
    side = config.size_of(network)
    backbone = build_backbone(network, (side, side, 3))
    return build_slice_network(backbone, len(CLASSES), config.regions)
