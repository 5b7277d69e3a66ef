"""The audit from the command line."""

from pathlib import Path

import pytest

SCRIPT = "scripts/audit.py"
GOOD = """row,metric,value,test_set,n,positives,negatives
R18,accuracy,0.7047,A,,,
R18,sensitivity,59.85 %,A,,,
R18,f1,0.7349,A,,,
R34,accuracy,0.7953,A,,,
R34,recall,0.7083,A,,,
R34,F1,0.8256,A,,,
VGG16,accuracy,0.9275,,1920,,
DenseNet,accuracy,0.9224,,1920,,
wrong,accuracy,0.90,,,50,50
wrong,sensitivity,0.50,,,50,50
wrong,specificity,0.30,,,50,50
vague,accuracy,0.9,,,,
"""


def test_a_paper_is_printed_and_written(call, tmp_path):
    status, out, err = call(SCRIPT, "vbreathnet", "--out", tmp_path)
    assert (status, err) == (0, "")
    assert "87/90" in out and "[proven]" in out and f"written: {tmp_path / 'vbreathnet.md'}" in out
    assert [page.name for page in tmp_path.iterdir()] == ["vbreathnet.md"]


def test_anybodys_table_is_audited(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("\ufeff" + GOOD, encoding="utf-8")
    status, out, err = call(SCRIPT, "--csv", table, "--printing", "rounded")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "   TP 158 FN 106 TN 114 FP 8: 264 + 122 = 386" in lines
    assert any(line.startswith("VGG16") and "IMPOSSIBLE" in line for line in lines)
    assert any(line.startswith("DenseNet") and "1,771 of 1,920" in line for line in lines)
    assert any(line.startswith("wrong") and "IMPOSSIBLE" in line for line in lines)
    assert "   without accuracy it is possible" in lines
    assert any(line.startswith("vague") and "give n" in line for line in lines)
    (whole,) = [line for line in lines if line.startswith("test set A (R18, R34)")]
    assert "264 + 122" in whole


def test_rows_that_no_class_counts_fit_are_said(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("row,metric,value,test_set,n\na,accuracy,0.5,A,10\nb,accuracy,0.5,A,11\n")
    status, out, _ = call(SCRIPT, "--csv", table)
    assert status == 0 and "test set A: IMPOSSIBLE, its rows have 10 and 11 n" in out
    table.write_text(
        "row,metric,value,test_set\na,accuracy,0.7047,A\na,recall,0.5985,A\na,f1,0.7349,A\n"
        "b,accuracy,0.7955,A\nb,recall,0.7083,A\nb,f1,0.8256,A\n"
    )
    status, out, _ = call(SCRIPT, "--csv", table, "--max-n", "600")
    assert status == 0 and "no class counts up to 600 samples fit all rows" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column row or metric or value"),
        ("row,metric\na,accuracy\n", "no column value"),
        ("row;metric;value\na;accuracy;0.9\n", "no column row"),
        ("row,metric,value\n", "has no row"),
        ("row,metric,value\na,accuracy,0.7O47\n", "line 2: '0.7O47' is no number"),
        ("row,metric,value\na,accuracy,\n", "line 2: no value"),
        ("row,metric,value\na,auc,0.9\n", "line 2: unknown metric 'auc'"),
        ("row,metric,value\na,accuracy,90.4\n", "line 2: accuracy 90.4 is not between 0 and 1"),
        ("row,metric,value\na,f1,0.9\na,dice,0.9\n", "line 3: f1 of a is given twice"),
        ("row,metric,value,n\na,f1,0.9,1O\n", "line 2: n '1O' is no whole number"),
        ("row,metric,value,n\na,f1,0.9,10\na,accuracy,0.9,11\n", "line 3: a has two numbers of n"),
        ("row,metric,value,n,positives,negatives\na,f1,0.9,10,5,6\n", "are not n = 10"),
        ("row,metric,value,n,positives\na,f1,0.9,10,10\n", "no sample for the other class"),
        ("row,metric,value\na,accuracy,0,9\n", "line 2: more cells than columns"),
    ],
)
def test_a_bad_table_is_one_line(call, tmp_path, text, message):
    table = tmp_path / "table.csv"
    table.write_text(text, encoding="utf-8")
    status, out, err = call(SCRIPT, "--csv", table)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {table}: ") and err.count("\n") == 1 and message in err


def test_other_wrong_calls_are_one_line(call, tmp_path):
    binary = tmp_path / "table.csv"
    binary.write_bytes(b"row,metric,value\n\xff\xfe\x00,a,b\n")
    for arguments in (
        ("--csv", tmp_path / "none.csv"),
        ("--csv", tmp_path),
        ("--csv", binary),
        ("kolarik2023", "--csv", binary),
    ):
        status, _, err = call(SCRIPT, *arguments)
        assert status == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    table = tmp_path / "small.csv"
    table.write_text("row,metric,value\na,f1,0.9\n")
    status, _, err = call(SCRIPT, "--csv", table, "--max-n", "1")
    assert status == 2 and "2 to 1,000,000" in err
    assert Path("docs/audit").is_dir()
