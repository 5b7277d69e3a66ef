import math
from dataclasses import replace

import pytest
from scipy.stats import binom

from replication import verdict
from replication.claims import FAILS, HOLDS, ClaimVerdict
from replication.experiments import load_experiments
from replication.intervals import Share
from replication.judgement import Judgement, csv_rows, format_judgement, markdown_judgement
from replication.judging import (
    Chance,
    by_protocol,
    count_by_margin,
    distinct,
    expected_by_chance,
    judge,
)
from replication.printed import Reported, load_reported
from replication.verdict import judge_runs

# Kolárik's first line: TP 158, FN 106, TN 114, FP 8.
FIRST_LINE = [(1, 1.0)] * 158 + [(1, 0.0)] * 106 + [(0, 0.0)] * 114 + [(0, 1.0)] * 8


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """A tenth of a second for each run rather than half a second."""
    monkeypatch.setattr("replication.metrics.RESAMPLES", 150)


@pytest.fixture
def line(tmp_path, binary_run):
    """The verdicts on a run that gives the first line's answers, as often as `times`."""

    def make(times=1, margin=None, **result):
        folder = binary_run(tmp_path / f"{times}-{len(result)}", "e", FIRST_LINE * times,
                            metrics=result)  # fmt: skip
        experiments = load_experiments([folder])
        return experiments, judge_runs("kolarik2023", experiments, margin)

    return make


def by_metric(verdicts):
    return {v.reported.metric: v for v in verdicts if v.reported.table == "1"}


def test_the_printed_numbers_own_uncertainty_counts(line):
    _, verdicts = line()
    accuracy = by_metric(verdicts)["accuracy"]
    assert accuracy.share.k == 272 and accuracy.ours == pytest.approx(272 / 386)
    assert accuracy.distance == pytest.approx(0)
    # Both have Wilson's interval of 272 of 386, +-0.045; their difference is wider by sqrt(2).
    assert accuracy.difference[1] == pytest.approx(0.0642, abs=1e-3)
    assert accuracy.verdict == "inconclusive"
    assert "no number of patients would settle it: 272 of 386 is itself known from 0.657" in (
        accuracy.reason
    )


def test_a_wider_margin_needs_fewer_patients_until_they_suffice(line):
    _, verdicts = line(margin=0.06)
    accuracy = by_metric(verdicts)["accuracy"]
    assert accuracy.status == "inconclusive" and 386 < accuracy.needed < 1500
    assert f"about {accuracy.needed:,} patients would settle it" in accuracy.reason
    times = -(-accuracy.needed // 386)
    _, verdicts = line(times=times, margin=0.06)
    assert by_metric(verdicts)["accuracy"].verdict == "agrees"


def test_an_f1_has_the_interval_of_its_matrix_and_is_exact_without_one(line):
    experiments, verdicts = line(times=3)
    f1 = by_metric(verdicts)["f1"]
    assert f1.share == Share(316, 430, f1=True, note="or a multiple")
    low, high = f1.share.interval
    assert f1.difference[0] == pytest.approx(-math.hypot(f1.ours - f1.low, high - f1.share.value))
    own = [replace(f1.reported, n=None)]  # another table, whose n nobody knows
    (f1,) = judge_runs("kolarik2023", experiments, reported=own)
    assert f1.share is None and f1.verdict in ("agrees", "inconclusive")
    assert f1.difference[0] == pytest.approx(f1.low - 0.73495)


def test_majority_and_seeds_stand_beside_every_number(tmp_path, binary_run):
    folders = [binary_run(tmp_path, "e", FIRST_LINE, seed=0),
               binary_run(tmp_path, "e", [(y, 1 - s) for y, s in FIRST_LINE], seed=1)]  # fmt: skip
    (e,) = load_experiments(folders)
    accuracy = by_metric(judge_runs("kolarik2023", [e]))["accuracy"]
    assert accuracy.majority == pytest.approx(264 / 386)
    assert accuracy.by_seed == (pytest.approx(272 / 386), pytest.approx(114 / 386))
    assert accuracy.ours == pytest.approx(0.5)


def test_a_number_repeated_in_another_table_is_one_claim(line):
    _, verdicts = line(margin=0.1)
    assert len(verdicts) == 8 and len(distinct(verdicts)) == 4
    assert expected_by_chance(verdicts) == Chance(4, 0)
    counts = {row["margin"]: row for row in count_by_margin(verdicts)}
    assert counts["0.1"]["agrees"] == 4
    assert counts["0.01"]["agrees"] == 0 and counts["0.01"]["inconclusive"] == 4
    assert sum(counts["0.05"][s] for s in ("agrees", "lower", "higher", "inconclusive")) == 4
    _, verdicts = line(not_comparable=["phantoms"])
    assert distinct(verdicts) == [] and expected_by_chance(verdicts) == Chance(0, 0)


@pytest.mark.parametrize(("paper_n", "our_n"), [(20, 20), (20, 100), (100, 100), (30, 300)])
def test_chance_is_bounded_where_k_of_n_is_known_and_nowhere_else(paper_n, our_n):
    """How often two equal truths read lower or higher: exact, over all counts."""
    truth, rates = 0.8, {"known": 0.0, "exact": 0.0}
    # Counts that come up once in a million times change nothing.
    theirs, ours = ([(k, p) for k in range(n + 1) if (p := binom.pmf(k, n, truth)) > 1e-6]
                    for n in (paper_n, our_n))  # fmt: skip
    for k, p in theirs:
        share = Share(k, paper_n)
        printed = Reported("p", "1", "r", "val", "accuracy", round(share.value, 4), 4, None, "")
        for hits, q in ours:
            of = Share(hits, our_n)
            for name, known in (("known", share), ("exact", None)):
                judged = judge(printed, of.value, *of.interval, our_n, 1, share=known)
                rates[name] += p * q * (judged.status in ("lower", "higher"))
    assert rates["known"] < 0.07
    assert rates["exact"] > 0.15  # so no bound is given for it


def test_only_what_chance_bounds_is_counted_and_claims_of_order_apart(line):
    experiments, verdicts = line(margin=0.1)
    losses = [replace(v, share=None) if v.reported.metric == "f1" else v for v in verdicts]
    assert expected_by_chance(losses) == Chance(3, 1)
    better = ClaimVerdict("better", "section 4", "e", HOLDS, "+0.1", comparisons=4)
    orders = (better, replace(better, claim="fifth", comparisons=0),
              replace(better, claim="worse", comparisons=9, reasons=("phantoms",)))  # fmt: skip
    judgement = Judgement("kolarik2023", tuple(experiments), tuple(losses), orders, ())
    for text in (format_judgement(judgement), "\n".join(markdown_judgement(judgement))):
        assert "about 0.2 of the 3 whose printed k of n is known would be lower or higher" in text
        assert "no such bound for the other 1, whose printed number is taken as exact" in text
        assert "claims of order that can be compared, counted apart: 2; of their 4 compar" in text
        assert "about 0.1 would contradict a true claim" in text
        assert "no such bound for 1 of them, places among" in text and "at most" not in text


def test_leaky_numbers_are_counted_apart(tmp_path, binary_run):
    folders = [binary_run(tmp_path, name, FIRST_LINE, metrics={"leaky": name == "leaky"})
               for name in ("leaky", "sound")]  # fmt: skip
    experiments = load_experiments(folders)
    verdicts = judge_runs("kolarik2023", experiments, 0.1)
    assert [(mark, len(of)) for mark, of in by_protocol(verdicts)] == [("", 8), ("LEAKY: ", 8)]
    text = format_judgement(Judgement("kolarik2023", tuple(experiments), tuple(verdicts), (), ()))
    counts = "4 distinct claims can be compared, margin 0.1: 4 agrees"
    assert f"\n{counts}" in text and f"\nLEAKY: {counts}" in text and "8 agrees" not in text


@pytest.mark.parametrize(
    ("paper", "cells", "config", "wrong"),
    [
        ("kolarik2023", (1024, 70, 362, 99), {"paper_dataset": "all_30x30"}, ("5", "accuracy")),
        ("dzhulai2024", (16, 4, 51, 29), {"paper_row": "CMWRU", "paper_dataset": "test"},
         ("section V-D", "specificity")),
    ],
)  # fmt: skip
def test_a_perfect_replication_fails_on_no_slip_of_the_paper(
    tmp_path, binary_run, paper, cells, config, wrong
):
    tp, fn, tn, fp = cells
    answers = [(1, 1.0)] * tp + [(1, 0.0)] * fn + [(0, 0.0)] * tn + [(0, 1.0)] * fp
    experiments = load_experiments([binary_run(tmp_path, "e", answers, **config)])
    verdicts = judge_runs(paper, experiments)
    judgement = Judgement(paper, tuple(experiments), tuple(verdicts), (), ())
    assert judgement.failures == []
    refuted = [v for v in verdicts if "the paper's own numbers contradict it: " in v.reason]
    assert [(v.reported.table, v.reported.metric) for v in refuted] == [wrong]
    assert refuted[0].verdict == "not comparable" and refuted[0].ours > 0
    known = [v for v in verdicts if v.share]
    assert known and all(abs(v.distance) < 1e-9 for v in known)


def test_a_declared_margin_is_used_unless_another_is_given(tmp_path, binary_run):
    folder = binary_run(tmp_path, "e", FIRST_LINE)
    (folder / "declared.json").write_text('{"margin": 0.1}')
    experiments = load_experiments([folder])
    assert by_metric(judge_runs("kolarik2023", experiments))["accuracy"].verdict == "agrees"
    given = judge_runs("kolarik2023", experiments, 0.03)
    assert by_metric(given)["accuracy"].verdict == "inconclusive"


def test_other_printed_numbers_may_be_judged(line):
    experiments, _ = line()
    own = [replace(r, value=0.9, n=None) for r in load_reported("kolarik2023")
           if r.table == "1" and r.metric == "accuracy"]  # fmt: skip
    found = judge_runs("kolarik2023", experiments, reported=own)
    assert [v.verdict for v in found] == ["lower"]


def test_a_metric_that_runs_do_not_measure_is_not_comparable(line):
    experiments, _ = line()
    own = [replace(load_reported("kolarik2023")[0], metric="kappa")]
    (found,) = judge_runs("kolarik2023", experiments, reported=own)
    assert found.verdict == "not comparable" and found.reason == "the runs measure no kappa"


def test_a_proportion_that_no_resample_changes_has_wilsons_interval():
    same = {"value": 1.0, "low": 1.0, "high": 1.0}
    block = {"n": 40, "patients": 10, "positives": 20, "accuracy": same, "f1": same}
    low, high = verdict.interval_of(block, "accuracy")  # 10 of 10 patients
    assert high == 1 and low == pytest.approx(0.722, abs=1e-3)
    assert str(verdict.interval_of(block, "f1")) == "(nan, nan)"
    block |= {"patients": 40, "accuracy": {"value": 0.5, "low": 0.1, "high": 0.9}}
    assert verdict.interval_of(block, "accuracy")[0] == pytest.approx(0.352, abs=1e-3)


def test_failures_are_comparable_numbers_and_claims(line):
    experiments, verdicts = line(margin=0.1)
    claims = (ClaimVerdict("better", "section 4", "e", FAILS, "-0.1"),
              ClaimVerdict("worse", "section 4", "e", FAILS, "-0.1", ("phantoms",)),
              ClaimVerdict("deeper", "section 4", "e", HOLDS, "+0.1"))  # fmt: skip
    judgement = Judgement("kolarik2023", tuple(experiments), tuple(verdicts), claims, ())
    assert judgement.failures == ["better (section 4): does not hold"]
    lower = [replace(v, verdict="LEAKY: lower") if v.reported.metric == "f1" else v
             for v in verdicts]  # fmt: skip
    found = replace(judgement, verdicts=tuple(lower), orders=()).failures
    assert found == ["Resnet3D-18, f1 (Table 1): LEAKY: lower"]


def test_terminal_markdown_and_csv_have_the_same_verdicts(line):
    experiments, verdicts = line(margin=0.1)
    orders = (ClaimVerdict("a | b", "section 4", "e", HOLDS, "+0.1"),)
    judgement = Judgement("kolarik2023", tuple(experiments), tuple(verdicts), orders, (), ("note",))
    text, lines = format_judgement(judgement), markdown_judgement(judgement)
    assert "272/386 or a multiple" in text and "comparable claims that do not hold: none" in text
    assert (
        "claims that agree, by margin: 0.01: 0; 0.02: 0; 0.03: 0; " in text and "; 0.1: 4" in text
    )
    assert "margin 0.1: 4 agrees" in text
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.count("|") >= 3 for line in tables)
    assert any("a / b" in line for line in tables)  # a bar would end the cell
    assert "### Comparable claims that do not hold" in lines and "note" in lines
    rows, columns = csv_rows([judgement])
    assert [r["kind"] for r in rows].count("number") == 8 and rows[-1]["kind"] == "order"
    assert set().union(*rows) == set(columns)
    accuracy = rows[0]
    assert accuracy["k/n"] == "272/386" and accuracy["k/n note"] == "or a multiple"
    assert accuracy["margin"] == "0.1"
    assert float(accuracy["difference low"]) < 0 < float(accuracy["difference high"])
