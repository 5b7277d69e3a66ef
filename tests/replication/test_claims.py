import math

import numpy as np
import pytest

from replication.audit.recorded import load_tables
from replication.claims import claim_rows, format_claims, judge_order, refuted
from replication.experiments import load_experiments
from replication.paired import compare, show
from replication.protocols import leak_rows

SHALLOW = "the deeper the network, the worse the result at 90 px"
BEST = "ResNet3D-18 is the best at 90 px"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """A tenth of a second for each run rather than half a second."""
    monkeypatch.setattr("replication.metrics.RESAMPLES", 150)


def answers(share_right, n=200, seed=0):
    """Labels 0 and 1 in turn; a share of answers is right."""
    right = np.random.default_rng(seed).random(n) < share_right
    return [(i % 2, float(i % 2 if ok else 1 - i % 2)) for i, ok in enumerate(right)]


@pytest.fixture
def of_kolarik(tmp_path, binary_run):
    """Experiments of the three depths on 90 px, by the share of right answers."""

    def make(*shares, **config):
        folders = [
            binary_run(tmp_path, f"{depth}-{config}", answers(share, seed=depth),
                       paper_row=f"Resnet3D-{depth}", paper_dataset="all_90x90", **config)
            for depth, share in zip((18, 34, 50), shares, strict=False)
        ]  # fmt: skip
        return load_experiments(folders)

    return make


def judged(experiments, claim, paper="kolarik2023"):
    return [v for v in judge_order(paper, experiments) if v.claim == claim]


@pytest.mark.parametrize(
    ("shares", "here"),
    [((0.95, 0.75, 0.55), "holds"), ((0.55, 0.75, 0.95), "does not hold"),
     ((0.8, 0.8, 0.8), "inconclusive")],
)  # fmt: skip
def test_the_best_of_a_table_is_surely_above_all_others(of_kolarik, shares, here):
    (verdict,) = judged(of_kolarik(*shares), BEST)
    assert verdict.here == verdict.verdict == here
    assert verdict.fails == (here == "does not hold")
    assert "accuracy of Resnet3D-18 on all_90x90 less accuracy of Resnet3D-34" in verdict.ours
    # With each of the two others, in each metric that the claim speaks of.
    parts = [c for c in load_tables("kolarik2023").claims if c.claim == BEST]
    assert verdict.comparisons == 2 * len(parts)


def test_a_claim_whose_others_were_not_run_stays_open(of_kolarik):
    (verdict,) = judged(of_kolarik(0.95, 0.6), BEST)
    assert verdict.here == "inconclusive" and "1 of 2 others were not run" in verdict.ours
    assert judged(of_kolarik(0.95, control_frozen=False), BEST) == []  # nothing to compare with


def test_sanity_checks_speak_to_no_claim_and_protocols_stay_apart(of_kolarik):
    assert judged(of_kolarik(0.95, 0.6, 0.6, shuffle_labels=True), BEST) == []
    by_protocol = [*of_kolarik(0.95, 0.6, 0.6, protocol="patient-wise")]
    found = judged([*by_protocol, *of_kolarik(0.6, 0.9, 0.9)], BEST)
    assert [v.here for v in found] == ["holds", "does not hold"]


def test_a_claim_that_the_papers_own_numbers_contradict_is_not_comparable(of_kolarik):
    tables = load_tables("kolarik2023")
    parts = [claim for claim in tables.claims if claim.claim == SHALLOW]
    assert refuted(tables, parts)  # F1 and sensitivity of ResNet3D-50 are higher
    assert not refuted(tables, [claim for claim in tables.claims if claim.claim == BEST])
    (verdict,) = judged(of_kolarik(0.55, 0.75, 0.95), SHALLOW)
    assert verdict.here == "does not hold" and verdict.verdict == "not comparable"
    assert not verdict.fails


def test_reasons_and_leaks_of_any_run_show(tmp_path, binary_run):
    folders = [
        binary_run(tmp_path, str(depth), answers(share), paper_row=f"Resnet3D-{depth}",
                   paper_dataset="all_90x90",
                   metrics={"leaky": True, "not_comparable": ["phantoms"] * (depth == 34)})
        for depth, share in ((18, 0.9), (34, 0.6), (50, 0.6))
    ]  # fmt: skip
    (verdict,) = judged(load_experiments(folders), BEST)
    assert verdict.verdict == "LEAKY: not comparable" and verdict.reasons == ("phantoms",)
    lines = format_claims([verdict, verdict])
    assert "not comparable [1], holds here" in lines[0] and lines[2:] == ["[1] phantoms"]
    assert claim_rows([verdict])[0]["reasons"] == "phantoms"


def test_a_place_among_other_teams_is_that_of_the_interval(tmp_path, class_run):
    def place(right):
        labels = [0, 1, 2] * 30
        said = [label if i < right else (label + 1) % 3 for i, label in enumerate(labels)]
        folder = class_run(tmp_path / str(right), "patients", labels, said, study="cnr_iemn",
                           level="patient", paper_row="CNR-IEMN", paper_dataset="val")  # fmt: skip
        header, *lines = (folder / "predictions.csv").read_text().splitlines()
        lines += [line.replace(",val,", ",test,") for line in lines]
        (folder / "predictions.csv").write_text("\n".join([header, *lines, ""]))
        (e,) = load_experiments([folder])
        return next(v for v in judge_order("cnr_iemn", [e]) if "fifth" in v.claim)

    fifth = place(73)
    assert fifth.here == "inconclusive" and "place 5 (" in fifth.ours and fifth.comparisons == 0
    assert place(20).here == "does not hold"
    assert "place 2 (" in place(80).ours, "80 of 90 is printed as 0.8889, as the second team's"


def test_equal_samples_are_compared_patient_by_patient(tmp_path, binary_run):
    same = answers(0.8)
    one = binary_run(tmp_path, "one", same)
    # Wrong about the same samples, but for two.
    two = binary_run(tmp_path, "two", [(y, 1 - s) if i < 2 else (y, s)
                                       for i, (y, s) in enumerate(same)])  # fmt: skip
    other = binary_run(tmp_path, "other", answers(0.8, n=150, seed=4))
    first, second, third = load_experiments([one, two, other])
    place = ("test", "clip", "accuracy")
    paired, independent = compare(first, place, second, place), compare(first, place, third, place)
    assert paired.paired and not independent.paired
    assert paired.high - paired.low < 0.05 < independent.high - independent.low
    assert paired.low <= paired.value <= paired.high
    assert math.isnan(compare(first, place, first, place).low)  # no resample differs


def test_numbers_without_an_interval_are_shown_alone():
    assert show(0.5, (math.nan, math.nan)) == "0.500"
    assert show(0.5, (0.4, 0.6), "+") == "+0.500 [+0.400, +0.600]"


def test_what_a_leak_is_worth_is_a_row_for_each_metric(tmp_path, binary_run):
    sound = binary_run(tmp_path, "sound", answers(0.6), protocol="patient-wise", mean=1.0)
    leaky = binary_run(tmp_path, "leaky", answers(0.9, n=180), protocol="published-leaky-clips",
                       mean=1.1, metrics={"leaky": True})  # fmt: skip
    other = binary_run(tmp_path, "other", answers(0.7), protocol="patient-wise", epochs=3)
    rows = leak_rows(load_experiments([sound, leaky, other]))
    assert {(r["sound"], r["published"]) for r in rows} == {("sound", "LEAKY leaky")}
    accuracy = next(r for r in rows if r["metric"] == "accuracy")
    assert accuracy["worth"].startswith("+0.") and accuracy["samples"] == "others"
    assert {r["metric"] for r in rows} >= {"accuracy", "auroc", "f1"}


def test_two_protocols_of_second_stages_share_their_samples(tmp_path, class_run):
    labels = [0, 1, 2] * 20
    folders = [
        class_run(tmp_path, protocol, labels, said, study="cnr_iemn", protocol=protocol,
                  folds=folds, level="patient")
        for protocol, folds, said in (
            ("out-of-fold", 3, [0, 0, 2] * 20), ("published-in-sample", 0, [0, 1, 2] * 20)
        )
    ]  # fmt: skip
    row = leak_rows(load_experiments(folders))[0]
    assert row["published"] == "published-in-sample" and row["samples"] == "the same"
    assert row["worth"].startswith("+0.333")
