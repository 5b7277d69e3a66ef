"""`verify.py` and `report.py`: exit status, the one line, and what they write."""

import csv
import importlib
import json
from pathlib import Path

import pytest

from replication.experiments import PAPERS
from replication.records import write_csv, write_json

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Kolárik's first line: TP 158, FN 106, TN 114, FP 8.
MATRIX_OF_TABLE_5 = [(1, 1.0)] * 16 + [(1, 0.0)] * 4 + [(0, 0.0)] * 51 + [(0, 1.0)] * 29
FIRST_LINE = [(1, 1.0)] * 158 + [(1, 0.0)] * 106 + [(0, 0.0)] * 114 + [(0, 1.0)] * 8


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("replication.metrics.RESAMPLES", 100)


@pytest.fixture(scope="module")
def papers():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("papers")


@pytest.fixture(autouse=True)
def no_networks(monkeypatch, papers):
    """Networks are built in one test of their own."""
    monkeypatch.setattr(papers, "judge_architecture", lambda paper: [])


def write_run(out, name="e", seed=0, answers=FIRST_LINE, reasons=(), study="kolarik2023", **config):
    folder = out / "runs" / study / name / f"seed{seed}"
    folder.mkdir(parents=True)
    settings = {"study": study, "seed": seed, "positive": "present", "vote": "mean",
                "paper_row": "Resnet3D-18", "paper_dataset": "2_30x30", **config}  # fmt: skip
    write_json(folder / "config.json", settings)
    write_csv(folder / "predictions.csv", [
        {"sample_id": i, "unit": i, "patient_id": f"p{i}", "split": "test", "label": label,
         "score_absent": 1 - score, "score_present": score}
        for i, (label, score) in enumerate(answers)
    ])  # fmt: skip
    write_json(folder / "metrics.json", {"leaky": False, "not_comparable": list(reasons)})
    return folder


def verify(call, *arguments):
    code, out, err = call("scripts/verify.py", *arguments)
    return code, out, err.strip().splitlines()[-1] if err.strip() else ""


def test_claims_that_hold_exit_0_and_are_written(call, tmp_path):
    write_run(tmp_path)
    code, out, _ = verify(call, tmp_path, "--margin", "0.1")
    assert code == 0, out
    assert "margin of agreement 0.1, given by --margin after the runs" in out
    assert "272/386" in out and "4 agrees" in out
    assert "claims that do not hold: none" in out
    page = (tmp_path / "verdicts.md").read_text(encoding="utf-8")
    assert "| 272/386 or a multiple |" in page and "given by --margin" in page
    rows = list(csv.DictReader((tmp_path / "verdicts.csv").open(newline="", encoding="utf-8")))
    assert len(rows) == 8 and {r["verdict"] for r in rows} == {"agrees"}
    assert {r["of"] for r in rows} == {"kolarik2023"} and rows[0]["paper"] == "0.7047"


def test_a_comparable_claim_that_does_not_hold_exits_1(call, tmp_path):
    write_run(tmp_path, answers=[(y, 1 - s) for y, s in FIRST_LINE])
    code, out, _ = verify(call, tmp_path, "--write", tmp_path / "mine.md")
    assert code == 1
    assert "Resnet3D-18, accuracy (Table 1): lower" in out
    assert (tmp_path / "mine.md").exists() and (tmp_path / "mine.csv").exists()
    assert "0.03, the default: e declared none" in out


def test_the_same_on_phantoms_exits_0(call, tmp_path):
    write_run(tmp_path, answers=[(y, 1 - s) for y, s in FIRST_LINE], reasons=["phantoms"])
    code, out, _ = verify(call, tmp_path)
    assert code == 0 and "none of these numbers can be compared" in out


def test_runs_of_several_studies_are_judged_one_after_the_other(call, tmp_path):
    write_run(tmp_path, reasons=["phantoms"])
    write_run(tmp_path, study="dzhulai2024", paper_row="CMWRU", reasons=["phantoms"])
    code, out, _ = verify(call, tmp_path / "runs")
    assert code == 0 and out.index("Kolárik 2023") < out.index("Dzhulai 2024")
    code, out, _ = verify(call, tmp_path / "runs", "--paper", "dzhulai2024")
    assert code == 0 and "Kolárik 2023" not in out


def test_studies_of_one_folder_are_judged_against_their_own_papers(call, tmp_path):
    write_run(tmp_path, answers=[(y, 1 - s) for y, s in FIRST_LINE])
    write_run(tmp_path, study="dzhulai2024", paper_row="CMWRU", paper_dataset="test",
              answers=MATRIX_OF_TABLE_5)  # fmt: skip
    code, out, _ = verify(call, tmp_path)
    assert code == 1
    first, second = out.split("Dzhulai 2024")
    assert "Resnet3D-18, accuracy (Table 1): lower" in first
    assert "claims that do not hold: none" in second and "16/20 or a multiple" in second
    code, out, _ = verify(call, tmp_path, "--paper", "dzhulai2024")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "verdicts.csv").open(newline="", encoding="utf-8")))
    (slip,) = [r for r in rows if r["table"] == "section V-D" and r["metric"] == "specificity"]
    assert slip["verdict"] == "not comparable" and slip["ours"] == "0.6375"
    assert slip["reason"].startswith("the paper's own numbers contradict it: Table 5 prints 0.6375")


def test_two_studies_in_one_experiment_are_refused(call, tmp_path):
    write_run(tmp_path)
    folder = write_run(tmp_path, seed=1)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"study": "vbreathnet"})
    for script in ("scripts/verify.py", "scripts/report.py"):
        code, _, err = call(script, tmp_path)
        (line,) = err.strip().splitlines()
        assert code == 2 and "seed1: is a run of vbreathnet in the folder of kolarik2023" in line


def spoil(folder, column, value):
    path = folder / "predictions.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    rows[0][column] = value
    write_csv(path, rows)


def test_bad_input_is_one_line_and_exits_2(call, tmp_path):
    cases = {
        "nan": ("score_present", "nan", "a score that is no number"),
        "label": ("label", "7", "a label that is neither 0 nor 1"),
        "split": ("split", "tset", "no study writes a split 'tset'"),
        "twice": ("sample_id", "7", "sample 7 stands 2 times in the split test"),
    }
    for name, (column, value, message) in cases.items():
        spoil(write_run(tmp_path / name), column, value)
        code, _, line = verify(call, tmp_path / name)
        assert code == 2 and message in line and "predictions.csv" in line, name
    folder = write_run(tmp_path / "empty")
    text = (folder / "predictions.csv").read_text().replace(",test,", ",train,")
    (folder / "predictions.csv").write_text(text)
    code, _, line = verify(call, tmp_path / "empty")
    assert code == 2 and "the split test is empty" in line
    folder = write_run(tmp_path / "cut")
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text[: text.index(",p10,")])
    code, _, line = verify(call, tmp_path / "cut")
    assert code == 2 and "line 12 has more or fewer cells" in line
    for name, file, content in (
        ("list", "config.json", []), ("null", "metrics.json", {"leaky": False,
                                                               "not_comparable": None}),
        ("nothing", "declared.json", {}), ("letters", "declared.json", {"margin": "abc"}),
    ):  # fmt: skip
        write_json(write_run(tmp_path / name) / file, content)
        code, _, line = verify(call, tmp_path / name)
        assert code == 2 and file in line, name
    write_run(tmp_path / "study", study="somebodys")
    code, _, line = verify(call, tmp_path / "study")
    assert code == 2 and "is a run of 'somebodys'" in line
    write_run(tmp_path / "seeds")
    write_run(tmp_path / "seeds", seed=2)
    code, _, line = verify(call, tmp_path / "seeds")
    assert code == 2 and "has no seed1, but seed2" in line and "--partial" in line
    code, out, _ = verify(call, tmp_path / "seeds", "--partial")
    assert code != 2 and "missing: " in out
    assert "missing: " not in (tmp_path / "seeds" / "verdicts.csv").read_text()
    code, _, line = verify(call, tmp_path / "nowhere")
    assert code == 2 and "is no folder" in line
    code, _, line = verify(call)
    assert code == 2 and "name a folder with runs" in line
    code, _, line = verify(call, tmp_path / "seeds", "--partial", "--margin", "3")
    assert code == 2 and "--margin is 3.0" in line
    code, _, line = verify(call, "--architecture", "--margin", "2")
    assert code == 2 and "--margin is 2.0" in line


def test_a_class_score_above_1_is_refused_before_the_page_is_drawn(call, tmp_path):
    folder = write_run(tmp_path, study="vbreathnet", classes=["COVID", "Normal"])
    rows = [{"sample_id": i, "patient_id": i, "split": "val", "label": i % 2, "score_COVID": 7.3,
             "score_Normal": 0.1} for i in range(8)]  # fmt: skip
    write_csv(folder / "predictions.csv", rows)
    for script in ("scripts/verify.py", "scripts/report.py"):
        code, _, err = call(script, tmp_path)
        assert code == 2 and "sample 0 of the split val and 7 more has a score that is no" in err


def test_a_printed_table_with_letters_in_it_exits_2(call, tmp_path):
    write_run(tmp_path)
    table = tmp_path / "printed.csv"
    head = "paper,table,row,dataset,metric,value,decimals,n,positive_class\n"
    table.write_text(head + "p,1,Resnet3D-18,2_30x30,accuracy,O.7047,4,,\n")
    code, _, line = verify(call, tmp_path, "--reported", table)
    assert code == 2 and "name it with --paper" in line
    code, _, line = verify(call, tmp_path, "--reported", table, "--paper", "kolarik2023")
    assert code == 2 and "printed.csv: line 2: value 'O.7047' is not a number" in line
    for bad, message in (
        ("p,1,Resnet3D-18,2_30x30,accuracy,0.7047,-3,,", "decimals '-3' is not a whole number"),
        ("p,1,Resnet3D-18,2_30x30,accuracy,0.7047,4,-386,", "n '-386' is not a whole number"),
        ("p,1,Resnet3D-18,2_30x30,bananas,0.7047,4,,", "unknown metric 'bananas'"),
        ("p,1,Resnet3D-18,2_30x30,accuracy", "has more or fewer cells"),
    ):
        other = tmp_path / "bad.csv"
        other.write_text(head + bad)
        code, _, line = verify(call, tmp_path, "--reported", other, "--paper", "kolarik2023")
        assert code == 2 and f"bad.csv: line 2: {message}" in line
    table.write_text(table.read_text().replace("O.", "0."), encoding="utf-8-sig")
    code, out, _ = verify(call, tmp_path, "--reported", table, "--paper", "kolarik2023")
    assert code == 0 and "0.7047" in out


def test_a_report_says_which_seeds_are_missing(call, tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, seed=2)
    code, out, err = call("scripts/report.py", tmp_path)
    assert code == 0, err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "has no seed1, but seed2" in page and "report.html" in out
    assert str(tmp_path.parent) not in page  # a page is handed on
    code, _, err = call("scripts/report.py")
    assert code == 2 and "name a folder with runs" in err
    code, _, err = call("scripts/report.py", tmp_path / "runs", "--paper", "vbreathnet")
    assert code == 2 and "holds no finished run of vbreathnet" in err


@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_printed_of_the_networks_is_ours(papers, monkeypatch, paper):
    monkeypatch.undo()
    found = papers.judge_architecture(paper)
    assert len(found) >= 3 and not [v.claim for v in found if v.fails]
    refuted = {v.claim for v in found if v.reasons}
    assert refuted == {
        "dzhulai2024": {
            "CMWRA: output shapes of row 2-23", "CMWRU: parameters of row 1-1",
            # Figure 8 prints two blocks with another shape than that of their last row.
            "CMWRA: output shapes of row 1-2", "CMWRA: output shapes of row 1-3",
        },
        "vbreathnet": {"the pre-trained networks have more than 5 million parameters"},
    }.get(paper, set())
    assert any(character.isdigit() for v in found for character in v.ours)
    if paper == "dzhulai2024":  # rows that nothing of ours can be held against are told
        lines = {v.claim: v.ours for v in found}
        assert lines["RCM2d_Small: output shapes of its rows"] == "32 of 32 the same, of 45 rows"
        assert lines["CMWRA: output shapes of its rows"] == "12 of 12 the same, of 24 rows"
        assert lines["CMWRU: output shapes of its rows"] == "45 of 45 the same, of 68 rows"


def test_another_count_than_the_printed_one_does_not_hold():
    from replication.architecture import judge_counts

    counts = {"RCM2d_Small": {"total_parameters": 1, "trainable_parameters": 6_827_716}}
    (printed,) = judge_counts("dzhulai2024", counts)
    assert printed.fails and printed.ours == "printed 6,827,717, ours 6,827,716"
