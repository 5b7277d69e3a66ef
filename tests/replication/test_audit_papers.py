import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from replication.audit import recover_confusions
from replication.audit.findings import Finding, format_findings, markdown_findings
from replication.audit.kolarik2023_sets import common_fraction
from replication.audit.order import FAILS, HOLDS, OPEN, TIE, judge_claim
from replication.audit.papers import AUDITS, TITLES, audit_paper
from replication.audit.recorded import OUTSIDE, load_tables
from replication.audit.teams import own_place
from replication.printed import COUNTS

ROOT = Path(__file__).resolve().parents[2]
PAPERS = tuple(TITLES)
TABLES = {paper: load_tables(paper) for paper in PAPERS}


@pytest.fixture(scope="module")
def findings() -> dict[str, list[Finding]]:
    return {paper: audit_paper(paper) for paper in PAPERS}


@pytest.fixture(scope="module")
def found(findings) -> dict[str, dict[str, Finding]]:
    return {paper: {f.name: f for f in of} for paper, of in findings.items()}


def says(finding: Finding, *parts: str) -> bool:
    text = f"{finding.claim} {finding.arithmetic}"
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"
    return True


def altered(paper: str, *changes: tuple[dict, float]) -> dict[str, Finding]:
    """The findings if printed numbers were others: (fields that name them, value)."""
    tables = TABLES[paper]
    for fields, value in changes:
        parts = {}
        for kind in ("metrics", "counts", "text"):
            parts[kind] = tuple(
                replace(r, value=value)
                if all(getattr(r, key) == wanted for key, wanted in fields.items())
                else r
                for r in getattr(tables, kind)
            )
        assert any(parts[kind] != getattr(tables, kind) for kind in parts), fields
        tables = replace(tables, **parts)
    return {f.name: f for f in AUDITS[paper](tables)}


# What is recorded of the papers


def test_every_printed_count_is_there():
    # By table or section: data sets are 6 x 3 in Kolárik's 3.1.1, beside 13 more.
    expected = {
        "kolarik2023": {"section 3.1": 14, "section 3.1.1": 31, "section 3.2": 6, "section 2": 1,
                        "section 3": 1, "section 4.5": 1},
        "vbreathnet": {"1": 6, "2": 8, "3": 6, "section 3.1": 4, "section 3.2": 4,
                       "section 3.3": 14, "section 4": 7},
        "dzhulai2024": {"2": 4, "3": 4, "4": 9, "figure 2": 1, "figure 8": 2, "figure 13": 2,
                        "figure 15": 2, "figures 9 to 12": 3, "section IV": 15, "section V-A": 1,
                        "section V-B": 2, "section V-C": 4},
        "cnr_iemn": {"section 1": 4, "section 3.1": 13, "section 3.3": 7, "section 3.3.1": 15,
                     "section 3.3.2": 2, "section 4.1": 2, "section 4.2.1": 5, "section 4.2.2": 5,
                     "section 4.2.3": 5, "section 4.2.4": 8, "section 4.3": 5},
    }  # fmt: skip
    for paper, tables in TABLES.items():
        inside = Counter(r.table for r in tables.counts if not r.table.startswith(OUTSIDE))
        assert dict(inside) == expected[paper], paper


def test_numbers_from_outside_the_papers_say_where_they_are_from():
    outside = {
        paper: Counter(r.table for r in (*t.counts, *t.text) if r.table.startswith(OUTSIDE))
        for paper, t in TABLES.items()
    }
    assert {paper: sum(of.values()) for paper, of in outside.items()} == {
        "kolarik2023": 3, "vbreathnet": 3, "dzhulai2024": 0, "cnr_iemn": 6,
    }  # fmt: skip
    assert all(re.match(f"{OUTSIDE}: .+", table) for of in outside.values() for table in of)


def test_every_number_of_the_running_text_is_there():
    expected = {
        "kolarik2023": {"section 2": 3, "section 4.1": 3, "section 4.2": 6, "section 4.3": 3},
        "vbreathnet": {"section 3.2": 6, "section 4": 9, "section 5": 1},
        "dzhulai2024": {},  # its two stand among the tables' numbers
        "cnr_iemn": {"abstract": 4, "section 4.2.5": 3, "section 4.3": 4, "section 5": 6},
    }
    for paper, tables in TABLES.items():
        inside = Counter(r.table for r in tables.text if not r.table.startswith(OUTSIDE))
        assert dict(inside) == expected[paper], paper


def test_claims_of_order_names_and_summaries_are_there():
    claims = {paper: len({c.claim for c in t.claims}) for paper, t in TABLES.items()}
    assert claims == {"kolarik2023": 12, "vbreathnet": 7, "dzhulai2024": 5, "cnr_iemn": 22}
    comparisons = {paper: len(t.claims) for paper, t in TABLES.items()}
    assert comparisons == {"kolarik2023": 55, "vbreathnet": 12, "dzhulai2024": 19, "cnr_iemn": 38}
    names = {paper: len(t.names) for paper, t in TABLES.items()}
    assert names == {"kolarik2023": 2, "vbreathnet": 8, "dzhulai2024": 5, "cnr_iemn": 13}
    layers = TABLES["dzhulai2024"].layers
    assert Counter(x.table for x in layers) == {"figure 2": 45, "figure 8": 24, "figure 15": 68}
    with_parameters = Counter(x.table for x in layers if x.parameters is not None)
    assert with_parameters == {"figure 2": 21, "figure 8": 9, "figure 15": 33}


def test_no_count_is_taken_for_a_metric_of_the_tables():
    for tables in TABLES.values():
        recorded = {(r.table, r.row, r.dataset, r.metric, r.positive_class) for r in tables.metrics}
        assert len(recorded) == len(tables.metrics)
        assert not {r.metric for r in tables.counts} & set(COUNTS) - {"total_parameters"}


# Pages and text


@pytest.mark.parametrize("paper", PAPERS)
def test_the_committed_page_is_what_the_audit_writes(paper, findings):
    page = markdown_findings(paper, TITLES[paper], findings[paper])
    assert (ROOT / "docs" / "audit" / f"{paper}.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("paper", PAPERS)
def test_findings_have_one_name_each_and_are_whole(paper, findings):
    of = findings[paper]
    assert len({f.name for f in of}) == len(of) > 15
    for f in of:
        assert f.claim and f.arithmetic and f.where and f.topic
        assert not re.search(r"\bNone\b|\bnan\b|Fraction|  ", f"{f.claim}{f.arithmetic}{f.where}")
    text = format_findings(of)
    assert f"{len(of)}. " in text and max(map(len, text.splitlines())) <= 110


def test_an_unknown_strength_is_refused():
    with pytest.raises(ValueError, match="strength"):
        Finding("n", "t", "c", "a", "certain", "w")


# Kolárik 2023


def test_kolariks_test_sets(found):
    of = found["kolarik2023"]
    for name, numbers in {
        "2_30x30": ("264 positive and 122 negative", "386 in all", "TP 158 FN 106 TN 114 FP 8"),
        "all_30x30": ("1,094 positive and 461 negative", "TP 1079 FN 15 TN 282 FP 179"),
        "2_60x60": ("119 positive and 59 negative", "TP 85 FN 34 TN 51 FP 8"),
        "all_60x60": ("227 positive and 103 negative", "TP 198 FN 29 TN 63 FP 40"),
        "all_90x90": ("479 positive and 179 negative", "nothing else up to 663 fits"),
    }.items():
        assert says(of[f"test-set-{name}"], *numbers)
    assert of["test-set-all_90x90"].strength == of["impossible-all_90x90"].strength == "proven"
    assert says(of["test-set-all_30x30"], "with truncated ones", "1,095 + 460")
    assert of["test-set-all_30x30"].strength == of["test-set-2_30x30"].strength == "strong"
    assert [f for f in of if f.startswith("impossible-")] == ["impossible-all_90x90"]
    assert says(of["impossible-all_90x90"], "479 > 470", "658 of 663")
    assert says(of["larger-set-all_90x90"], "3,286 to 3,290")


def test_kolariks_split(found):
    of = found["kolarik2023"]
    assert says(of["not-30-percent"], "between 21 % and 39 %", "396 + 183, fit 1 of 3")
    assert of["not-30-percent"].strength == "proven"
    assert says(of["20-percent"], "4 of the 5", "ceil(0.2 n)", "1,555 of 7,774", "0.19990 < f")
    assert says(of["split-over-tiles"], "20 % of them", "30 % of the patients")
    assert says(of["not-stratified"], "264 for 267.9 (z = -0.48)", "227 for 231.4 (z = -0.59)")
    assert says(of["checkpoint-on-the-test-part"], "70 % + 30 % = 100 %", "16 epochs")
    assert of["checkpoint-on-the-test-part"].strength == "weak"


def test_the_roundest_fraction():
    share, low, high = common_fraction([(386, 1928), (178, 890)])
    assert share == Fraction(1, 5) and low < share <= high
    assert common_fraction([(30, 100), (40, 100)]) is None
    assert common_fraction([(13, 100)])[0] == Fraction(13, 100)


def test_kolariks_specificity(found):
    of = found["kolarik2023"]
    assert says(of["specificity-back-computed"], "15 of 15", "TN / N gives 3", "printed 0.3960")
    assert says(of["specificity-does-not-fit"], "4 of the 5", "5 without specificity")


def test_kolariks_single_numbers(found):
    of = found["kolarik2023"]
    twice = of["two-values-accuracy-Resnet3D-18-all_30x30"]
    assert says(twice, "0.9193 is the wrong one", "1386/1555", "no whole number")
    # At 3,110 samples, twice the smallest size, it would be: 2859/3110.
    assert says(twice, "with 0.9193 no class counts up to 7,774 fit", "rounded or truncated")
    assert twice.strength == "proven"
    # Not a swap of digits: 0.8913 has an 8, 0.9193 has two 9s.
    assert says(twice, "3 digits differ, and not by their order alone")
    assert says(of["text-4.2-f1-Resnet3D-34"], "0.9434, is its precision", "100/106")
    assert says(of["text-4.3-f1-Resnet3D-18"], "0.8768, is its sensitivity", "420/479")
    assert says(of["text-2-sensitivity-Resnet-18"], "0.82", "0.8600 in Table 5")
    assert says(of["sum-2_90x90"], "230 + 96 = 326", "the number of all_90x90")
    assert says(of["other-rule-2_90x90"], "230 = 2 x 115 and 96 = 2 x 48")


def test_kolariks_balanced_accuracy_and_floors(found):
    of = found["kolarik2023"]
    assert says(of["balanced-accuracy"], "(0.8600 + 0.9200) / 2 = 0.8900", "it would be 0.8700")
    assert says(of["balanced-accuracy-compared"], "none of the 3", "0.8606", "0.8693", "0.8853")
    assert says(of["below-constant-accuracy"], "1 of 15", "0.6848 < 227/330 = 0.6879")
    assert says(of["below-constant-f1"], "3 of 15", "0.7349 < 0.8123")
    for name in ("below-constant-accuracy", "below-constant-f1"):
        assert says(of[name], "for all class counts that fit, rounded or truncated")
        assert of[name].strength == "proven"
    assert of["balanced-accuracy-compared"].strength == "strong"  # as is what it rests on
    assert of["text-4.2-f1-Resnet3D-34"].strength == "strong"  # by a recovered matrix alone
    assert of["text-4.3-f1-Resnet3D-18"].strength == "proven"


def test_kolariks_claims(found):
    of = found["kolarik2023"]
    assert says(of["claim-resnet3d-18-on-all-30x30-is-the-best-at-30-px"], "1 of 3 comparisons",
                "0.9360", "0.9863")  # fmt: skip
    assert says(of["claim-resnet3d-18-is-the-worst-on-two-rows-of-30-px"], "1 of 4 comparisons",
                "0.9344", "0.7624")  # fmt: skip
    assert says(of["claim-at-60-px-the-networks-do-better-on-two-rows-than-on-all"],
                "1 of 12 comparisons", "0.5765", "0.6118")  # fmt: skip
    assert says(of["claim-the-networks-do-better-on-all-90x90-than-on-all-60x60"],
                "2 of 12 comparisons", "0.8154", "0.3960")  # fmt: skip
    lead = of["claim-the-best-network-is-more-accurate-than-the-m-mode-network"]
    assert says(lead, "Rests on a wrong number", "0.8913 (Table 1, Table 4)", "0.9193",
                "0.8913 against 0.8900: the lead shrinks from 0.0293 to 0.0013")  # fmt: skip
    assert says(of["claims-that-hold"], "5 of 12 claims")
    assert "is more accurate than the M-mode" not in of["claims-that-hold"].arithmetic


def test_kolariks_findings_go_with_the_numbers_that_they_rest_on(found):
    other = altered(
        "kolarik2023",
        ({"row": "Resnet3D-50", "dataset": "all_90x90", "metric": "specificity"}, 0.3966),
        ({"table": "5", "value": 0.9193}, 0.8913),
        ({"dataset": "64-frame", "metric": "accuracy", "value": 0.89}, 0.90),
        ({"row": "2_90x90", "metric": "tiles", "value": 663.0}, 326.0),
        ({"row": "test part", "metric": "percent"}, 20.0),
    )
    gone = {
        "specificity-back-computed", "two-values-accuracy-Resnet3D-18-all_30x30",
        "balanced-accuracy", "balanced-accuracy-compared", "sum-2_90x90", "other-rule-2_90x90",
        "not-30-percent", "checkpoint-on-the-test-part",
    }  # fmt: skip
    assert set(found["kolarik2023"]) - set(other) == gone


# V-BreathNet


def test_v_breathnets_one_matrix_and_edited_test(found):
    of = found["vbreathnet"]
    assert says(of["one-matrix"], "exactly one", "87/90 = 96.67 %", "COVID 2, 27, 1")
    assert of["one-matrix"].strength == "proven"
    assert says(of["test-edited"], "25 + 2 = 27/30", "85/90 = 94.44 %")
    assert says(of["test-too-small"], "0.907 to 0.989", "0.876 to 0.976")
    loose = altered("vbreathnet", ({"table": "4", "metric": "f1", "positive_class": "COVID"}, 0.9))
    assert "one-matrix" not in loose


def test_v_breathnets_accuracies(found):
    of = found["vbreathnet"]
    assert says(of["accuracy-V-BreathNet"], "96.84 %", "no share of 1,920", "1,842 truncated")
    assert says(of["accuracy-VGG16"], "92.75 %", "no share of 1,920 or 1,902")
    assert says(of["accuracies-that-fit"], "1,771 rounded", "1,778 rounded")
    assert says(of["whole-batches"], "1,896 to 1,900", "16, 32, 64, 128 do not")
    assert of["whole-batches"].strength == "weak"
    assert says(of["baselines-not-on-one-set"], "1,932", "none is 1,920 or 1,902")
    fits = altered("vbreathnet", ({"row": "V-BreathNet", "metric": "accuracy"}, 0.9685))
    assert "accuracy-V-BreathNet" not in fits  # 1842 / 1902 = 0.96845...


def test_v_breathnets_images_and_networks(found):
    of = found["vbreathnet"]
    assert says(of["test-from-the-pool"], "= 90", "3,170 + 30 = 3,200")
    assert says(of["augmented-before-the-split"], "1,855 of the 3,200")
    assert says(of["copies-on-both-sides"], "88 %", "835 films occur 2 times")
    assert says(of["not-sirm"], "COVID-19 Radiography Database")
    assert says(of["one-head"], "DenseNet 1024, MobileNet-V2 1280, VGG16 512")
    assert says(of["floor-not-reached"], "6.25e-05 in epoch 24", "epoch 51")
    assert of["one-head"].strength == "strong"  # other networks may have these widths too
    assert says(of["training-times"], "510 minutes", "45 and 49", "10.4 times")
    assert says(of["claims-that-hold"], "6 of 7", "faster than VGG16")
    claim = of["claim-the-pre-trained-networks-have-more-than-5-million-parameters"]
    assert says(claim, "1 of 3 comparisons", "3,733,059")


# Dzhulai 2024


def test_dzhulais_test_sets(found):
    of = found["dzhulai2024"]
    assert says(of["test-set-1"], "205 clips", "914 present", "TP 159 FN 46 TN 220 FP 694")
    assert says(of["test-set-2-3"], "25 clips", "107 present", "TP 25 FN 0 TN 75 FP 32")
    assert says(of["test-set-5"], "20 clips", "80 present", "TP 16 FN 4 TN 51 FP 29")
    # Truncated, Table 1 has class counts that are no multiple; no other table has any.
    assert says(of["test-set-1"], "370 + 1,649", "Table 2 and Table 3, Table 5")
    assert of["test-set-1"].strength == "strong"
    assert says(of["test-set-5"], "only whole multiples of it fit too, rounded or truncated")
    assert {of[f"test-set-{t}"].strength for t in ("2-3", "5")} == {"proven"}
    assert says(of["clips-not-videos"], "34.2", "132 + 100 > 171")
    assert says(of["same-videos"], "99.7 for 100", "18.9 for 20", "80.8 for 80")
    assert says(of["not-balanced"], "18.3 %", "18.9 %", "20.0 %", "18.7 %")


def test_dzhulais_specificity_and_dropout(found):
    of = found["dzhulai2024"]
    quoted = of["text-V-D-specificity-CMWRU"]
    assert says(quoted, "0.80, is its sensitivity", "0.6375 in Table 5")
    claim = of["claim-dropout-0-6-has-the-best-recall-and-specificity"]
    assert says(claim, "2 of 2", "1.0000", "0.9439")
    best = of["best-by-f1-2"]
    assert says(best, "dropout 0.6", "0.5067", "0.4103", "balanced accuracy", "0.7351")
    assert best.strength == "proven"
    worse = of["claim-clipping-at-higher-values-than-0-4-is-worse"]
    assert says(worse, "2 of 10 comparisons", "specificity", "0.7196", "0.7383")
    assert says(of["claims-without-numbers"], "2 of 5", "larger batches", "34 frames")
    assert "claims-that-hold" not in of
    assert "text-V-D-specificity-CMWRU" not in altered(
        "dzhulai2024", ({"table": "5", "metric": "specificity"}, 0.80)
    )


def test_dzhulais_floors_losses_and_settings(found):
    of = found["dzhulai2024"]
    assert says(of["below-constant-accuracy"], "8 of 9", "0.3387 < 914/1119 = 0.8168")
    assert says(of["chance-1-CMWRA"], "0.5082", "76.2 %")
    assert says(of["loss-too-small"], "0.0312", "2.2 to 34.9 times", "if 0.5 is the threshold",
                "if these had the same alpha and gamma")  # fmt: skip
    assert of["loss-too-small"].strength == "strong"
    assert says(of["trained-on-validation"], "60 % + 20 % = 80 %", "no number of epochs")
    assert of["trained-on-validation"].strength == "strong"
    assert says(of["scheduler-epochs"], "Shed epochs", "16", "10 epochs")
    assert says(of["below-constant-accuracy"], "for all class counts that fit")
    assert says(of["loss-divided-by-batch"], "0.0909", "0.1109")
    assert any("one run" in f.claim for f in of.values())
    assert says(of["several-frames-of-a-clip"], "5 values", "45: Table 4")
    assert says(of["dropout-never-compared"], "0.65")


def test_dzhulais_summaries(found):
    of = found["dzhulai2024"]
    assert says(of["total-figure-2"], "add up", "6,827,717")
    assert says(of["dense-figure-8-2-23"], "1,318,728", "32 x 10 x 64 x 64 = 1,310,720")
    assert says(of["block-figure-8-1-2"], "7 x 32 x 16 x 64 x 64", "7 x 32 x 10 x 64 x 64")
    assert says(of["block-figure-8-1-3"], "7 x 11", "7 x 1")
    assert says(of["first-convolution-figure-15"], "680", "600 fits", "3x5x5 on 1 channel")
    assert not any(name.startswith(("norm-", "dense-figure-15")) for name in of)


# CNR-IEMN


def test_cnr_iemns_slices(found):
    of = found["cnr_iemn"]
    assert says(of["slices-COVID-19"], "1,333", "3,815", "2,482", "878/1,333", "1117/1,333")
    assert says(of["slices-CAP"], "436", "1,178", "742", "436, 872", "308/436")
    assert says(of["labels-of-the-challenge"], "3,779", "1,297", "4 of 4")
    assert says(of["cap-scans"], "All 25", "not 24")
    assert says(of["normal-slices"], "10,294", "343 of each", "490 of the 21")
    assert says(of["normal-validation"], "3,428 or 3,445")
    assert of["normal-validation"].strength == "weak"
    assert says(of["copies"], "4 x 2,482 = 9,928", "11 x 742 = 8,162")
    assert says(of["second-task"], "0.40 points", "Normal and COVID-19")
    wrong = altered("cnr_iemn", ({"positive_class": "COVID-19", "value": 3815.0}, 3816.0))
    assert "slices-COVID-19" not in wrong and "slices-CAP" in wrong


def test_cnr_iemns_scans(found):
    of = found["cnr_iemn"]
    assert says(of["scans"], "98 scans", "55 COVID-19", "19 CAP", "24 Normal", "196 and 294")
    assert says(of["scans-share"], "31.9 %", "209 train")
    truncated = [f for name, f in of.items() if name.startswith("truncated-")]
    assert len(truncated) == 1 and says(truncated[0], "87.75 %", "86/98 = 87.755 %")
    assert says(truncated[0], "nor is it a rounded share of 196 or 294")
    assert of["xgboost-against-svm"].strength == "strong"  # for 98 scans, which are
    assert says(of["no-part-to-choose-on"], "307 = 209 + 98", "34 of them", "16 accuracies",
                "Table 5 compares 10")  # fmt: skip
    assert of["no-part-to-choose-on"].strength == "strong"
    assert says(of["second-stage-in-sample"], "76 of the 209", "36 %", "none of the 98")
    assert of["second-stage-in-sample"].strength == "strong"
    assert says(of["decays-by-a-factor"], "0.0001 - 0.1 = -0.0999")


def test_cnr_iemns_teams(found):
    of = found["cnr_iemn"]
    assert says(of["figure-11-sizes"], "15 of 17", "save for LLSCP and SSU")
    assert says(of["figure-11-LLSCP"], "= 81", "79 of 90", "the accuracy is right", "give it 59")
    assert says(of["figure-11-SSU"], "= 41", "31 of 90", "0.2000 (4/20) for 0.7000",
                "Fewest digits change in CAP (1)")  # fmt: skip
    line = of["table-8-TheSaviours"]
    assert says(line, "= 27, printed 29/30", "it should have CAP 10/10")
    # Figure 11 leaves two lines: which of the other two classes is 10 cannot be told.
    assert says(line, "2 lines", "COVID-19 9, CAP 10, Normal 10 or COVID-19 10, CAP 10, Normal 9")
    assert says(of["omitted-7-IITDelhi"], "80 - 23 - 30 = 27", "SAIVT and Bingo")
    assert [name for name in of if name.startswith("omitted-")] == ["omitted-7-IITDelhi"]
    assert "own-row-agrees" in of
    mended = altered(
        "cnr_iemn",
        ({"table": "figure 11", "row": "SSU", "positive_class": "CAP"}, 0.2),
    )
    assert "figure-11-SSU" not in mended and "figure-11-LLSCP" in mended


def test_cnr_iemn_is_not_tenth_on_the_third_test_set(found):
    place = found["cnr_iemn"]["claim-cnr-iemn-is-tenth-on-the-third-test-set"]
    assert says(place, "21/30", "place 11 at best", "Figure 11",
                "UniSheff_EEE 77 - 23 - 28 = 26", "Bingo 72 - 20 - 27 = 25",
                "SAIVT 72 - 20 - 27 = 25 or more", "FushionSTAR 72 - 20 - 28 = 24",
                "Winter 69 - 20 - 27 = 22 or more", "IITDelhi 30", "Ewen 27")  # fmt: skip
    # That teams which a table leaves out have no more than its last line is no arithmetic.
    assert place.strength == "strong"
    tables = TABLES["cnr_iemn"]
    assert own_place(tables, "8")[:2] == (11, 17)
    assert own_place(tables, "6")[:2] == own_place(tables, "7")[:2] == (2, 2)
    assert own_place(tables, "figure 11") is own_place(TABLES["kolarik2023"], "1") is None
    fits = altered("cnr_iemn", ({"table": "figure 11", "row": "Winter", "metric": "accuracy"}, 0.7))
    assert "claim-cnr-iemn-is-tenth-on-the-third-test-set" not in fits


def test_cnr_iemns_swapped_sensitivities_and_claims(found):
    of = found["cnr_iemn"]
    swapped = of["swapped-recall-CNR-IEMN"]
    assert says(swapped, "section 5", "0.45 is said of COVID-19 and is that of CAP")
    assert says(of["claim-cnr-iemn-has-the-best-covid-19-sensitivity"], "tie", "FushionSTAR")
    assert "xgboost-is-better-than-the-svm-for-the-features-of-one-network" in "".join(of)
    names = [name for name in of if name.startswith(("one-name", "two-names"))]
    assert len(names) == 4


# Claims of order


def test_claims_are_judged_by_the_numbers():
    tables = TABLES["cnr_iemn"]
    judged = Counter(judge_claim(tables, claim)[0] for claim in tables.claims)
    assert judged == {HOLDS: 32, TIE: 4, FAILS: 2}
    for paper, tables in TABLES.items():
        for claim in tables.claims:
            status, text = judge_claim(tables, claim)
            assert status in (HOLDS, TIE, FAILS, OPEN) and text, paper
            assert (status == OPEN) == (claim.relation == "unprinted"), claim


def test_recovered_rows_are_those_of_the_engine():
    row = TABLES["kolarik2023"].rows("1")["1", "Resnet3D-18", "2_30x30"]
    metrics = {m: row[m] for m in ("accuracy", "sensitivity", "f1")}
    (matrix,) = recover_confusions(metrics, n=386, printing="rounded")
    assert matrix == (158, 106, 114, 8)
