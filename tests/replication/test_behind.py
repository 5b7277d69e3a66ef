"""k of n behind the printed numbers of the four papers, and the numbers that cannot be true."""

from fractions import Fraction

import pytest

from replication.audit.behind import MULTIPLE, OTHER, find_refuted, find_shares
from replication.audit.digits import parse_printed
from replication.audit.papers import audit_paper
from replication.audit.recorded import as_printed, load_tables
from replication.experiments import PAPERS
from replication.intervals import Share
from replication.printed import CORRECT


@pytest.fixture(scope="module")
def shares():
    return {paper: find_shares(load_tables(paper)) for paper in PAPERS}


def of(shares, paper, **wanted):
    """The shares of the printed numbers with these fields, by metric; None where none is known."""
    chosen = [r for r in load_tables(paper).metrics
              if all(getattr(r, k) == v for k, v in wanted.items())]  # fmt: skip
    assert chosen
    return {r.metric: shares[paper].get(r) for r in chosen}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_share_prints_as_its_number_does(shares, paper):
    for r, share in shares[paper].items():
        if r.metric == CORRECT:
            assert (r.value, r.n) == (share.k, share.n)
            continue
        value = Fraction(share.k, share.n)
        if paper == "kolarik2023" and r.metric == "specificity":  # computed from rounded numbers
            assert abs(value - parse_printed(as_printed(r)).value) < Fraction(7, 10_000)
        else:
            found = parse_printed(as_printed(r)).range()
            assert found.holds(value.numerator, value.denominator), r


def test_the_sets_that_the_audit_recovers_give_dzhulais_shares(shares):
    assert of(shares, "dzhulai2024", table="5") == {
        "focal_loss_by_batch": None,
        "accuracy": Share(67, 100, note=MULTIPLE),
        "precision": Share(16, 45, note=MULTIPLE),
        "sensitivity": Share(16, 20, note=MULTIPLE),
        "f1": Share(32, 65, f1=True, note=MULTIPLE),
        "specificity": Share(51, 80, note=MULTIPLE),
    }
    known = of(shares, "dzhulai2024", table="3", row="CMWRU, clipping 0.8")
    assert (known["sensitivity"].n, known["specificity"].n) == (25, 107)
    known = of(shares, "dzhulai2024", table="1")
    assert (known["sensitivity"].text, known["specificity"].n) == ("159/205 or a multiple", 914)
    # The text repeats Table 5, and gives a specificity that has no count behind it.
    assert of(shares, "dzhulai2024", table="section V-D") == {
        "specificity": None, "sensitivity": Share(16, 20, note=MULTIPLE)}  # fmt: skip


def test_the_one_matrix_of_v_breathnet_gives_the_shares_of_each_class(shares):
    covid = of(shares, "vbreathnet", table="4", positive_class="COVID")
    assert covid == {"recall": Share(27, 30), "precision": Share(27, 27), "f1": Share(54, 57, True)}
    normal = of(shares, "vbreathnet", table="4", positive_class="Normal")
    assert normal["precision"] == Share(30, 32)
    known = of(shares, "vbreathnet", table="section 4", positive_class="COVID")
    assert known["recall"] == Share(25, 30)
    known = of(shares, "vbreathnet", table="section 4", positive_class="Normal")
    assert known["recall"] is None  # 29 of 30 prints as 1.0 too


def test_what_kolarik_prints_twice_has_one_share(shares):
    one, other = (of(shares, "kolarik2023", table=table, row="Resnet3D-18", dataset="all_30x30")
                  for table in ("1", "5"))  # fmt: skip
    assert other.pop("accuracy") is None  # 0.9193, where Table 1 has 0.8913
    assert one.pop("accuracy") == Share(1386, 1555, note=OTHER)  # 3,109 tiles fit, no multiple
    assert one == other and one["f1"] == Share(2048, 2217, f1=True, note=OTHER)
    proven = of(shares, "kolarik2023", table="3", row="Resnet3D-34")
    assert proven["sensitivity"] == Share(408, 479)  # nothing else fits the stated tiles
    assert of(shares, "kolarik2023", table="2", row="Resnet3D-34", dataset="2_60x60") == {
        "accuracy": Share(153, 178, note=MULTIPLE), "sensitivity": Share(100, 119, note=MULTIPLE),
        "specificity": Share(53, 59, note=MULTIPLE), "f1": Share(200, 225, True, MULTIPLE),
    }  # fmt: skip


def test_inferred_sizes_of_cnr_iemn_are_marked_and_stated_ones_are_not(shares):
    def known(table, name):
        found = of(shares, "cnr_iemn", table=table, row="CNR-IEMN", positive_class=name)
        (share,) = found.values()
        return share

    assert known("5", "") == Share(86, 98, note=MULTIPLE)
    assert known("figure 10", "CAP") == Share(10, 19, note=MULTIPLE)
    assert known("figure 11", "CAP") == Share(9, 20) and known("8", "") == Share(21, 30)
    slices = [of(shares, "cnr_iemn", table="figure 6", row="Densenet-161", positive_class=name)
              for name in ("COVID-19", "CAP")]  # fmt: skip
    assert slices == [{"recall": Share(878, 1333, note=OTHER)},
                      {"recall": Share(245, 436, note=MULTIPLE)}]  # fmt: skip


def test_the_numbers_that_a_paper_contradicts_are_those_of_its_audit():
    found = {paper: find_refuted(load_tables(paper)) for paper in PAPERS}
    assert {(r.table, r.row, r.metric, as_printed(r)) for of_paper in found.values()
            for r in of_paper} == {
        ("5", "Resnet3D-18", "accuracy", "0.9193"),
        ("section V-D", "CMWRU", "specificity", "0.80"),
        ("3", "VGG16", "accuracy", "0.9275"),
    }  # fmt: skip
    assert list(found["kolarik2023"].values()) == [
        "no number of right answers of 1,555 prints as 0.9193"
    ]
    assert list(found["dzhulai2024"].values()) == ["Table 5 prints 0.6375, not 0.80"]
    # Each is a finding too, which gives the arithmetic.
    for paper, of_paper in found.items():
        claims = [finding.claim for finding in audit_paper(paper)]
        for r in of_paper:
            percent = f"{100 * r.value:.2f} %"
            assert any(r.row in claim and (as_printed(r) in claim or percent in claim)
                       for claim in claims), r  # fmt: skip
