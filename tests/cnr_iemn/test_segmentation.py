"""What share of the lesions a lung mask loses, and which slices the figures show."""

import numpy as np
import pytest

from cnr_iemn.config import CAP, COVID, NORMAL
from cnr_iemn.segmentation import choose_slices, lost_lesions, report_segmentation, typical_slice
from cnr_iemn.split import Scans
from replication.records import read_csv

SCANS = [("n0", NORMAL), ("c0", COVID), ("c1", COVID), ("c2", COVID), ("a0", CAP)]
LESION = [0, 0, 0, 0, 10, 30, 60, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 80, 20, 0]
LOST = [0, 0, 0, 0, 10, 10, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 60, 20, 0]


@pytest.fixture
def hand_made(make_store) -> Scans:
    return Scans.of(make_store(SCANS, lesion_pixels=LESION, lost_pixels=LOST))


def test_the_share_is_a_mean_over_scans_with_lesions(hand_made):
    covid = lost_lesions(hand_made, COVID)
    # c0: 25 of 100 pixels, c1: 1 of 10; c2 has no lesion.
    assert covid["class"] == "COVID-19" and covid["scans"] == 2
    assert covid["lost"] == pytest.approx((0.25 + 0.1) / 2)
    assert covid["median"] == pytest.approx(0.175)
    assert covid["low"] == pytest.approx(0.1) and covid["high"] == pytest.approx(0.25)
    cap = lost_lesions(hand_made, CAP)
    assert (cap["scans"], cap["lost"], cap["low"], cap["high"]) == (1, 0.8, 0.8, 0.8)
    assert lost_lesions(hand_made, NORMAL) is None


def test_unknown_lesions_have_no_share(make_store):
    unknown = [""] * len(LESION)
    scans = Scans.of(make_store(SCANS, lesion_pixels=unknown, lost_pixels=unknown))
    assert lost_lesions(scans, COVID) is None


def test_the_typical_slice_has_most_lesion_or_is_the_middle_one(hand_made, make_store, tmp_path):
    assert typical_slice(hand_made, np.arange(4, 8)) == 6
    assert typical_slice(hand_made, np.array([4, 5])) == 5
    assert typical_slice(hand_made, np.arange(0, 4)) == 2
    assert typical_slice(hand_made, np.array([13])) == 13
    unknown = [""] * len(LESION)
    scans = Scans.of(make_store(SCANS, lesion_pixels=unknown, lost_pixels=unknown))
    assert typical_slice(scans, np.arange(4, 7)) == 5


def test_examples_are_infected_slices_of_different_scans(
    hand_made, make_labels, small_config, monkeypatch
):
    infected = {"c0": [1, 1, 0, 0], "c1": [1, 1, 0, 0], "a0": [0, 1, 1, 0]}
    labels = make_labels(infected, ["n0"])
    monkeypatch.setattr("cnr_iemn.segmentation.read_slice_labels", lambda *_: labels)
    rows = choose_slices(small_config, hand_made, (COVID, COVID, CAP))
    assert rows == [5, 8, 17]  # not row 6, whose lesion is larger and whose label is 0
    assert choose_slices(small_config, hand_made, (COVID, CAP, CAP)) == [5, 17]


def test_the_report_names_each_class_with_lesions(
    hand_made, make_labels, small_config, monkeypatch
):
    labels = make_labels({"c0": [1, 1, 1, 0], "a0": [0, 1, 1, 0]}, ["n0"])
    monkeypatch.setattr("cnr_iemn.segmentation.read_slice_labels", lambda *_: labels)
    lines: list[str] = []
    found = report_segmentation(small_config, hand_made.store, lines.append)
    assert lines[0].startswith("COVID-19: lung masks lose 0.17 [0.10, 0.25]")
    assert lines[1].startswith("CAP: lung masks lose 0.80") and len(lines) == 2
    written = read_csv(small_config.out / "segmentation.csv")
    assert [float(row["lost"]) for row in written] == [row["lost"] for row in found]
    figures = {path.name for path in (small_config.out / "figures").iterdir()}
    assert figures == {"figure_1.png", "figure_12.png"}
