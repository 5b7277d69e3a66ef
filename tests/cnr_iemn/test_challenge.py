"""The challenge's tables: what is in the file of printed numbers, and when there is a place."""

from collections import Counter

import numpy as np
import pytest

from cnr_iemn.challenge import format_challenge, format_challenges, place_of, was_submitted
from cnr_iemn.config import CLASSES
from replication.multiclass import class_metrics
from replication.verdict import CORRECT, Experiment, load_reported

REPORTED = load_reported("cnr_iemn")
FIGURE_11 = [r for r in REPORTED if r.table == "figure 11"]
TABLES = ("6", "7", "8")


def test_every_printed_number_is_there():
    figures = {f"figure {n}": 3 for n in range(6, 11)}
    assert Counter(r.table for r in REPORTED) == {
        **dict.fromkeys("1234", 4), **figures, "5": 10, "figure 11": 68, "6": 24, "7": 18, "8": 24
    }  # fmt: skip
    assert len(REPORTED) == 175
    for r in REPORTED:
        if r.metric == CORRECT:
            assert r.table in TABLES and 0 <= r.value <= r.n and r.value == int(r.value)
        else:
            assert r.decimals == 4 and 0 < r.value <= 1
        assert 0 <= r.rate <= 1


def test_tables_6_to_8_sum_to_figure_11_of_the_paper():
    ours = [r for r in REPORTED if r.row == "CNR-IEMN"]
    figure = {r.positive_class: r for r in ours if r.table == "figure 11"}
    for name in (*CLASSES, ""):
        parts = [r for r in ours if r.table in TABLES and r.positive_class == name]
        right, asked = (sum(values) for values in zip(*((r.value, r.n) for r in parts),
                                                      strict=True))  # fmt: skip
        assert asked == figure[name].n
        assert round(right / asked, 4) == figure[name].value
    total = sum(r.value for r in ours if r.table in TABLES and not r.positive_class)
    assert total == 73 and figure[""].n == 90


def test_73_of_90_is_the_fifth_place_of_17():
    assert place_of(73 / 90, FIGURE_11) == (5, 17)
    assert place_of(1.0, FIGURE_11) == (1, 17)
    assert place_of(0.0, FIGURE_11) == (17, 17)


def test_equal_accuracies_share_the_better_place():
    assert place_of(81 / 90, FIGURE_11) == (1, 17)  # as TheSaviours
    assert place_of(80 / 90, FIGURE_11) == (2, 17)  # prints as 0.8889
    assert place_of(72 / 90, FIGURE_11) == (5, 17)  # with three others
    assert place_of(71 / 90, FIGURE_11) == (8, 17)


def submitted(
    confusions: dict[str, list[list[int]]], paper_data=False, kinds=None, **config
) -> Experiment:
    result = {"leaky": False, "not_comparable": [], "evaluation": {"paper_data": paper_data}}
    result |= {"test_kinds": kinds} if kinds else {}
    for part, confusion in confusions.items():
        values = class_metrics(np.array(confusion), CLASSES)
        of_part = {name: {"value": float(value)} for name, value in values.items()}
        result[part] = {"patient": of_part | {"confusion": confusion}}
    config = {
        "slice_runs": {"a": "", "b": ""},
        "classifier": "xgboost",
        "level": "patient",
    } | config
    return Experiment("patients-all", "CNR-IEMN", "val", (result,), config)


# Tables 6 to 8 of the paper: normal, COVID-19, CAP.
PRINTED = {
    "test-1": [[9, 1, 0], [2, 8, 0], [2, 1, 7]],
    "test-2": [[14, 1, 0], [1, 14, 0], [0, 0, 0]],
    "test-3": [[9, 1, 0], [0, 10, 0], [4, 4, 2]],
}
PRINTED["test"] = np.sum(list(PRINTED.values()), axis=0).tolist()


def lines_of(text: str, title: str) -> list[list[str]]:
    """The rows of a table as lists of words, without its head."""
    table = text.split(title)[1].split("\n\n")[0].splitlines()[1:]
    return [line.split() for line in table[2:]]


def test_the_papers_own_result_has_its_own_place():
    text = format_challenge(submitted(PRINTED, paper_data=True))
    assert "Figure 11: all test sets (place 5 of 17)" in text
    for title in ("Table 6: first", "Table 7: second", "Table 8: third", "Figure 11: all"):
        rows = {row[0]: row[1:] for row in lines_of(text, title)}
        assert "CNR-IEMN" in rows and rows["ours"]
        if title.startswith("Figure"):
            assert rows["ours"] == rows["CNR-IEMN"]
            assert len(rows) == 18
    table_6 = {row[0]: row[1:] for row in lines_of(text, "Table 6: first")}
    assert table_6["CNR-IEMN"] == ["9/10", "8/10", "7/10", "24/30"]
    assert table_6["ours"] == ["0.9000", "0.8000", "0.7000", "0.8000"]
    table_7 = {row[0]: row[1:] for row in lines_of(text, "Table 7: second")}
    assert table_7["ours"] == ["0.9333", "0.9333", "0.9333"]  # no CAP, no share of it


def test_other_scans_have_no_place():
    text = format_challenge(submitted(PRINTED))
    assert "(no place: other scans than the challenge's)" in text
    assert "(place" not in text and "CNR-IEMN" in text


def test_a_test_set_that_is_missing_has_no_table():
    one = {name: PRINTED[name] for name in ("test-1", "test")}
    text = format_challenge(submitted(one))
    assert "Table 6" in text and "Table 7" not in text and "Table 8" not in text


def test_a_test_set_stands_beside_the_one_that_it_is_made_like():
    one = {name: PRINTED[name] for name in ("test-1", "test")}
    text = format_challenge(submitted(one, kinds={"test-1": "heart"}))
    assert "Table 6" not in text and "Table 7" not in text and "Figure 11" in text
    rows = lines_of(text, "Table 8: third")
    assert rows[-1] == ["ours,", "test-1", "0.9000", "0.8000", "0.7000", "0.8000"]
    # Of others the number decides, and several may be like one.
    text = format_challenge(submitted(PRINTED, kinds={"test-1": "low-dose", "test-2": "low-dose"}))
    assert "Table 6" not in text and lines_of(text, "Table 8: third")[-1][0] == "ours"
    ours = [row[:2] for row in lines_of(text, "Table 7: second") if row[0].startswith("ours")]
    assert ours == [["ours,", "test-1"], ["ours", "0.9333"]]


def test_only_what_was_submitted_is_in_the_tables():
    svm = submitted(PRINTED, classifier="svm")
    assert format_challenges([svm]) == ""
    assert format_challenges([svm, submitted(PRINTED)]) == format_challenge(submitted(PRINTED))


@pytest.mark.parametrize(
    ("config", "parts", "expected"),
    [
        ({}, PRINTED, True),
        ({}, {}, False),
        ({"classifier": "svm"}, PRINTED, False),
        ({"slice_runs": {"a": ""}}, PRINTED, False),
    ],
)
def test_xgboost_on_several_networks_was_submitted(config, parts, expected):
    assert was_submitted(submitted(parts, **config)) is expected


def test_a_slice_network_was_not_submitted():
    result = {"leaky": False, "not_comparable": [], "test": {"slice": {}}}
    slices = Experiment("multitask", "", "val", (result,), {"level": "slice"})
    assert not was_submitted(slices)
