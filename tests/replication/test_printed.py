import csv
from dataclasses import replace

import pytest

from preprocessing.errors import InputError
from replication.experiments import PAPERS
from replication.intervals import Share
from replication.printed import (
    COLUMNS,
    JUDGED,
    Reported,
    known_shares,
    load_reported,
    read_reported,
)


def of(paper, **wanted):
    """The printed numbers with these fields."""
    return [r for r in load_reported(paper) if all(getattr(r, k) == v for k, v in wanted.items())]


def test_the_counts_behind_kolariks_first_line():
    shares = known_shares(load_reported("kolarik2023"))
    line = of("kolarik2023", table="1", row="Resnet3D-18", dataset="2_30x30")
    found = {r.metric: shares.get(r) for r in line}
    assert found == {
        "accuracy": Share(272, 386),
        "sensitivity": Share(158, 264),
        "specificity": Share(114, 122),
        "f1": Share(316, 430, f1=True),  # 2 TP of 2 TP + FN + FP
    }


def test_lines_of_one_test_set_settle_what_one_line_leaves_open():
    shares = known_shares(load_reported("kolarik2023"))
    lines = of("kolarik2023", table="1", dataset="all_30x30", metric="sensitivity")
    assert [shares[r] for r in lines] == [Share(k, 1094) for k in (1024, 1079, 1036)]
    assert lines[0] not in known_shares([r for r in of("kolarik2023", table="1", row="Resnet3D-18")
                                         if r.metric != "f1"])  # fmt: skip


def test_a_number_that_was_cut_off_is_found_where_none_was_rounded_to_it():
    shares = known_shares(load_reported("cnr_iemn"))
    (truncated,) = of("cnr_iemn", table="5", row="CNR-IEMN")
    assert truncated.value == 0.8775 and shares[truncated] == Share(86, 98)
    (count,) = of("cnr_iemn", table="6", row="CNR-IEMN", positive_class="CAP")
    assert shares[count] == Share(7, 10)


def test_numbers_that_several_counts_print_alike_or_none_have_no_share():
    number = Reported("p", "1", "r", "val", "accuracy", 0.97, 2, 1000, "")
    assert known_shares([number]) == {}
    assert known_shares([replace(number, n=None)]) == {}
    (vgg,) = of("vbreathnet", row="VGG16", metric="accuracy")
    assert known_shares([vgg]) == {}  # 0.9275 is no share of 1,920


def test_what_several_tables_print_alike_has_one_share():
    shares = known_shares(load_reported("kolarik2023"))
    line = of("kolarik2023", table="5", row="Resnet3D-18", dataset="all_30x30")
    known = {r.metric: shares[r] for r in line if r in shares}
    assert known == {"sensitivity": Share(1024, 1094), "specificity": Share(362, 461),
                     "f1": Share(2048, 2217, f1=True)}  # fmt: skip


@pytest.mark.parametrize("n", [10**7, 10**13, 10**300])
def test_a_number_of_any_size_is_no_work(n):
    number = Reported("p", "1", "r", "val", "accuracy", 0.97, 2, n, "")
    f1 = replace(number, metric="f1")
    sensitivity = replace(number, metric="sensitivity")
    assert known_shares([number, f1, sensitivity]) == {}


def test_the_recall_of_a_class_counts_that_class_alone():
    # 0.8333 of 90 images would be 75 of all classes; the paper has 30 of each.
    reported = of("vbreathnet", table="section 4", metric="recall")
    assert reported and not set(reported) & set(known_shares(load_reported("vbreathnet")))


ROW = dict(zip(COLUMNS, ("p", "1", "r", "val", "accuracy", "0.9", "1", "90", ""), strict=True))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"value": "0.7O47"}, "line 2: value '0.7O47' is not a number"),
        ({"value": ""}, "line 2: value '' is not a number"),
        ({"value": "nan"}, "value 'nan' is not a number"),
        ({"value": "70.47"}, "accuracy '70.47' is not between 0 and 1; write 70.47 % as 0.7047"),
        ({"decimals": "two"}, "decimals 'two' is not a whole number"),
        ({"decimals": "-3"}, "line 2: decimals '-3' is not a whole number from 0 to 10"),
        ({"decimals": "99"}, "decimals '99' is not a whole number from 0 to 10"),
        ({"n": "ninety"}, "n 'ninety' is not a whole number above 0, or empty"),
        ({"n": "-386"}, "n '-386' is not a whole number above 0"),
        ({"n": "0"}, "n '0' is not a whole number above 0"),
        ({"n": "9" * 400}, "is not a whole number above 0"),
        ({"n": "9" * 5000}, "is not a whole number above 0"),
        ({"metric": "correct", "value": "8.5"}, "'8.5' of '90' right answers is not a count"),
        ({"metric": "bananas"}, "line 2: unknown metric 'bananas'; known are accuracy"),
        ({"metric": "correct", "value": "91"}, "'91' of '90' right answers is not a count"),
        ({"metric": "correct", "n": ""}, "is not a count from 0 to n"),
    ],
)
def test_a_table_with_what_is_no_number_is_refused_by_its_line(tmp_path, changes, match):
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(ROW | changes)
    with pytest.raises(InputError, match=match) as caught:
        read_reported(path, JUDGED)
    assert "mine.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_that_is_cut_off_is_refused_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "mine.csv"
    lines = [",".join(COLUMNS), ",".join(ROW.values())]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    assert [r.n for r in read_reported(path, JUDGED)] == [90]
    for damaged in ("p,1,r,val,accuracy,0.9", "p,1,r,val,accuracy,0.9,1,90,,more"):
        path.write_text("\n".join([*lines, damaged]))
        with pytest.raises(InputError, match="line 3: has more or fewer cells"):
            read_reported(path)


def test_every_metric_of_the_packages_tables_may_be_judged():
    for paper in PAPERS:
        assert {r.metric for r in load_reported(paper)} <= set(JUDGED)


def test_a_table_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_reported(tmp_path / "none.csv")
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column paper, table"):
        read_reported(path)
