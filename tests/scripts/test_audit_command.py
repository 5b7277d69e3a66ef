"""The audit from the command line."""

from pathlib import Path

import pytest

from preprocessing.errors import InputError
from replication.audit.any_table import read_table

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


# V-BreathNet's Table 4, and the averages over its three classes.
CLASSES = """row,metric,value,class,n,positives
ours,precision,0.94,Normal,90,30
ours,recall,1.00,Normal,,
ours,f1,0.97,Normal,,
ours,precision,1.00,COVID,,30
ours,recall,0.90,COVID,,
ours,f1,0.95,COVID,,
ours,precision,0.97,Pneumonia,,30
ours,recall,1.00,Pneumonia,,
ours,f1,0.98,Pneumonia,,
ours,accuracy,0.9667,,90,
"""
AVERAGED = """row,metric,value,n
averaged,accuracy,0.9667,90
averaged,recall,0.9667,90
averaged,precision,0.9684,90
averaged,f1,0.9662,90
"""
READING = "one class against the other on one test set"


def test_an_averaged_row_is_not_called_impossible_without_a_word(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(AVERAGED)
    status, out, err = call(SCRIPT, "--csv", table)
    assert (status, err) == (0, "")
    first, *lines = out.splitlines()
    assert READING in first and "not as an average over classes, folds or runs" in first
    (line,) = [line for line in lines if line.startswith("averaged")]
    assert "IMPOSSIBLE" in line and f"as {READING}; averages may print so" in line
    table.write_text("row,metric,value,n\na,accuracy,0.95,7\n")
    _, out, _ = call(SCRIPT, "--csv", table)
    assert "IMPOSSIBLE, no number of right answers of 7" in out
    assert "on one test set; averages may print so" in out
    status, out, _ = call(SCRIPT, "--help")
    assert status == 0 and READING in " ".join(out.replace("│", " ").split())


def test_rows_of_several_classes_are_one_table(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(CLASSES)
    status, out, err = call(SCRIPT, "--csv", table)
    assert (status, err) == (0, "")
    assert "ours (3 classes, 30 + 30 + 30 = 90): 1 matrix fits" in out
    assert "   Normal 30, 0, 0; COVID 2, 27, 1; Pneumonia 0, 0, 30" in out.splitlines()
    assert "answers in the order Normal, COVID, Pneumonia" in out
    table.write_text(CLASSES.replace("0.98", "0.93"))
    _, out, _ = call(SCRIPT, "--csv", table)
    assert "IMPOSSIBLE, no confusion matrix of these classes prints so" in out
    assert "   Pneumonia against the others is impossible alone" in out.splitlines()
    table.write_text(CLASSES.replace("0.9667", "0.9555"))
    _, out, _ = call(SCRIPT, "--csv", table)
    assert "IMPOSSIBLE" in out and "against the others is impossible" not in out


def test_classes_of_unknown_size_are_read_one_against_the_others(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(CLASSES.replace(",30\n", ",\n"))
    status, out, err = call(SCRIPT, "--csv", table, "--max-n", "200")
    assert (status, err) == (0, "")
    assert (
        "ours, COVID against the others (precision 1.00, sensitivity 0.90, f1 0.95, n = 90)" in out
    )
    assert "ours (accuracy 0.9667, n = 90): 87 of 90 answers are right" in out
    assert "give positives for each class" in out
    assert "IMPOSSIBLE, " not in out
    # Rows of one test set share the counts of a class, not those of each other's classes.
    rows = "row,metric,value,class,test_set\n"
    for name in ("a", "b"):
        rows += f"{name},recall,0.5985,x,A\n{name},f1,0.7349,x,A\n{name},npv,0.5182,x,A\n"
        rows += f"{name},recall,0.25,y,A\n{name},npv,0.50,y,A\n"
    table.write_text(rows)
    _, out, _ = call(SCRIPT, "--csv", table, "--max-n", "60")
    assert "test set A, class x (a, b)" in out and "test set A, class y (a, b)" in out


def test_more_matrices_of_one_size_are_not_called_larger(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("row,metric,value,n\na,accuracy,0.75,40\na,precision,0.5,40\n")
    _, out, _ = call(SCRIPT, "--csv", table)
    assert " more of 40 samples" in out and "larger" not in out
    table.write_text("row,metric,value,positives\na,sensitivity,0.9,2000\na,f1,0.9,2000\n")
    _, out, _ = call(SCRIPT, "--csv", table, "--max-n", "2000")
    assert "IMPOSSIBLE, " not in out and "has more samples than --max-n 2,000" in out


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
        ("row;metric;value\na;accuracy;0.9\n", "separated by ';', where a comma is expected"),
        ("row\tmetric\tvalue\na\taccuracy\t0.9\n", "separated by a tab"),
        ("Row,METRIC, value\na,accuracy,0.9\n", "in small letters and without spaces"),
        ("row,metric,value,test set\na,accuracy,0.9,A\n", "unknown column 'test set'"),
        ("row,metric,value,value\na,accuracy,0.9,0.8\n", "column value is there twice"),
        (f"row,metric,value,n\na,accuracy,0.9,{'9' * 5000}\n", "line 2: n 99999999999999999999"),
        ("row,metric,value,n\na,accuracy,0.9,10000000000000\n", "at most 1,000,000"),
        ("row,metric,value,n\na,accuracy,0.9,1\n", "n = 1 leaves no sample"),
        ("row,metric,value,positives,negatives\na,f1,0.9,600000,600000\n", "at most 1,000,000"),
        (f"row,metric,value\na,accuracy,{'9' * 5000}\n", "line 2: '99999999999999999999"),
        ("row,metric,value,class\na,f1,0.9,x\na,f1,0.9,macro avg\n", "line 3: 'macro avg' is an"),
        ("row,metric,value,class\na,f1,0.9,x\na,f1,0.9,\n", "f1 without a class is an average"),
        ("row,metric,value,class\na,accuracy,0.9,x\na,f1,0.9,y\n", "line 2: accuracy of a class"),
        (
            "row,metric,value,class,n,positives\na,f1,0.9,x,90,30\na,f1,0.9,y,,30\n",
            "the classes' 60 samples are not n = 90",
        ),
        ("row,metric,value,class,n\na,f1,0.9,x,90\na,f1,0.9,y,80\n", "two numbers of n, 90 and 80"),
        ("row,metric,value\n\x1b[2Ja,f1,0.9\n", r"line 2: row \x1b[2Ja has a character"),
        ('"r\now",metric\na,f1\n', r"its first line (r\now, metric)"),
    ],
)
def test_a_bad_table_is_one_line(call, tmp_path, text, message):
    table = tmp_path / "table.csv"
    table.write_text(text, encoding="utf-8")
    status, out, err = call(SCRIPT, "--csv", table)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {table}: ") and err.count("\n") == 1 and message in err
    assert len(err) < 400


def test_a_cell_broken_into_lines_is_one_line(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text('row,metric,value\n"our\nnetwork",f1,0.9\n"our\r\nnetwork",f1,0.9\n')
    with pytest.raises(InputError) as error:
        read_table(table)
    assert str(error.value) == f"{table}: line 5: f1 of our network is given twice"
    table.write_text('row,metric,value,n\n"our\nnetwork",accuracy,0.9,10\n')
    _, out, _ = call(SCRIPT, "--csv", table)
    assert "our network (accuracy 0.9, n = 10): 9 of 10 answers are right" in out.splitlines()


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
    for most in ("1", "10000000000"):
        status, _, err = call(SCRIPT, "--csv", table, "--max-n", most)
        assert status == 2 and f"--max-n {most}" in err and "2 to 1,000,000" in err


def test_a_flag_that_would_do_nothing_is_refused(call, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("row,metric,value\na,f1,0.9\n")
    for arguments, flag in (
        (("kolarik2023", "--max-n", "5"), "--max-n"),
        (("--printing", "rounded"), "--printing"),
        (("--csv", table, "--out", tmp_path), "--out"),
    ):
        status, out, err = call(SCRIPT, *arguments)
        assert (status, out) == (2, "") and flag in err and err.count("\n") == 1, err


def test_the_pages_folder_is_there():
    assert Path("docs/audit").is_dir()
