import csv
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from replication import verdict
from replication.records import write_csv, write_json

REPORTED = verdict.load_reported("kolarik2023")
DZHULAI = verdict.load_reported("dzhulai2024")


def test_every_printed_metric_of_the_paper_is_there():
    # Rows times metrics: Table 1 6 x 4, Table 2 6 x 4, Table 3 3 x 4, Table 4 15 x 4, Table 5 has
    # 4 rows and a dash in the place of one F1.
    assert Counter(r.table for r in REPORTED) == {"1": 24, "2": 24, "3": 12, "4": 60, "5": 15}
    assert all(r.decimals == 4 and 0 < r.value < 1 for r in REPORTED)
    assert {r.positive_class for r in REPORTED} == {"sliding present"}


def test_table_4_repeats_tables_1_to_3():
    def numbers(tables):
        return {(r.row, r.dataset, r.metric): r.value for r in REPORTED if r.table in tables}

    assert numbers({"4"}) == numbers({"1", "2", "3"})


def test_table_5_has_the_odd_accuracy_as_printed():
    row = [r for r in REPORTED if r.table == "5" and r.dataset == "all_30x30"]
    assert {r.metric: r.value for r in row}["accuracy"] == 0.9193


@pytest.mark.parametrize("paper", ["kolarik2023", "dzhulai2024"])
def test_numbers_stand_in_the_file_as_printed(paper):
    with (files("replication") / "reported" / f"{paper}.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] not in verdict.COUNTS]
    assert rows
    assert all(len(r["value"].split(".")[1]) == int(r["decimals"]) for r in rows)


@pytest.mark.parametrize(
    ("low", "high", "reasons", "expected"),
    [
        (0.68, 0.73, (), "agrees"),  # within 0.03 of the printed number
        (0.67, 0.73, (), "inconclusive"),  # 0.035 below it is not
        (0.55, 0.70, (), "lower"),
        (0.71, 0.95, (), "higher"),
        (0.706, 0.72, (), "agrees"),  # surely above it, but by less than the margin
        (0.55, 0.95, (), "inconclusive"),
        (float("nan"), float("nan"), (), "inconclusive"),
        (0.68, 0.73, ("phantoms",), "not comparable"),
    ],
)
def test_verdicts(low, high, reasons, expected):
    reported = REPORTED[0]
    assert reported.value == 0.7047
    judged = verdict.judge(reported, (low + high) / 2, low, high, 386, 1, reasons)
    assert judged.verdict == expected
    assert judged.reason


def write_run(study, name, seed, scores, leaky=False, reasons=()):
    folder = study / name / f"seed{seed}"
    folder.mkdir(parents=True)
    config = {"positive": "present", "vote": "mean", "paper_row": "Resnet3D-18",
              "paper_dataset": "2_30x30"}  # fmt: skip
    write_json(folder / "config.json", config)
    write_csv(
        folder / "predictions.csv",
        [
            {"sample_id": i, "unit": i, "patient_id": f"p{i}", "split": "test", "label": i % 2,
             "score_present": score}
            for i, score in enumerate(scores)
        ],
    )  # fmt: skip
    write_json(folder / "metrics.json", {"leaky": leaky, "not_comparable": list(reasons)})


def test_runs_are_judged_from_their_folders_and_seeds_are_averaged(tmp_path):
    right = [float(i % 2) for i in range(40)]
    half = [0.0] * 40
    write_run(tmp_path, "resnet3d_18-2_30x30", 0, right)
    write_run(tmp_path, "resnet3d_18-2_30x30", 1, half)
    (tmp_path / "resnet3d_18-2_30x30" / "seed2").mkdir()  # unfinished: not judged
    (experiment,) = verdict.load_runs(tmp_path)
    assert experiment.seeds == 2
    judged = verdict.judge_runs("kolarik2023", [experiment])
    assert {(v.reported.table, v.reported.metric) for v in judged} == {
        (t, m) for t in "14" for m in ("accuracy", "sensitivity", "specificity", "f1")
    }
    accuracy = next(v for v in judged if v.reported.metric == "accuracy")
    assert accuracy.ours == pytest.approx(0.75) and accuracy.seeds == 2


def test_leaky_runs_say_so_on_every_number(tmp_path):
    write_run(tmp_path, "leaky", 0, [float(i % 2) for i in range(40)], leaky=True)
    rows = verdict.as_rows(verdict.judge_runs("kolarik2023", verdict.load_runs(tmp_path)))
    assert rows and all(row["verdict"].startswith("LEAKY: ") for row in rows)


def test_a_reason_of_any_seed_forbids_the_comparison(tmp_path):
    write_run(tmp_path, "e", 0, [float(i % 2) for i in range(40)])
    write_run(tmp_path, "e", 1, [float(i % 2) for i in range(40)], reasons=["phantoms"])
    judged = verdict.judge_runs("kolarik2023", verdict.load_runs(tmp_path))
    assert {(v.verdict, v.reason) for v in judged} == {("not comparable", "phantoms")}


def test_table_is_aligned():
    table = verdict.format_table([{"a": 1, "long": "x"}, {"a": 222, "long": "yy"}]).splitlines()
    assert table[0].index("long") == table[2].index("x") == table[3].index("yy")
    assert np.unique([len(line) > 0 for line in table]).tolist() == [True]


CLASSES = ("COVID", "Normal", "Viral Pneumonia")


def write_class_run(study, name, seed=0, row="V-BreathNet", **settings):
    """A run that is right about 9 of 10 images of each part."""
    folder = study / name / f"seed{seed}"
    folder.mkdir(parents=True)
    config = {"classes": CLASSES, "paper_row": row, "paper_dataset": "", "seed": seed, **settings}
    write_json(folder / "config.json", config)
    rows = []
    for i in range(120):
        said = (i + (i % 10 == 0)) % 3
        scores = {f"score_{c}": float(said == n) for n, c in enumerate(CLASSES)}
        split = ("val", "test")[i // 60]
        rows.append({"sample_id": i, "patient_id": i, "split": split, "label": i % 3, **scores})
    write_csv(folder / "predictions.csv", rows)
    counts = {"total_parameters": 792291, "trainable_parameters": 790307}
    write_json(
        folder / "metrics.json", {"leaky": False, "not_comparable": [], "parameters": counts}
    )
    return folder


def test_every_printed_number_of_the_v_breathnet_paper_is_there():
    reported = verdict.load_reported("vbreathnet")
    # Table 3: 3 networks times parameters (2), accuracy and loss; Table 4: 3 classes times 3.
    assert Counter(r.table for r in reported) == {"3": 12, "4": 9, "section 3.3": 1, "section 4": 5}
    assert {r.row for r in reported} == {"V-BreathNet", "DenseNet", "MobileNet-V2", "VGG16"}
    for r in reported:
        assert (r.value > 1000) == (r.metric in verdict.COUNTS)


def test_every_printed_number_of_the_dzhulai_paper_is_there():
    # Six metrics of: the network of Table 1, four each of Tables 2 and 3, the one of Table 5;
    # section V-D repeats two of Table 5; Figure 2 sums up the parameters of its network.
    expected = {"1": 6, "2": 24, "3": 24, "5": 6, "section V-D": 2, "figure 2": 1}
    assert Counter(r.table for r in DZHULAI) == expected
    metrics = {"focal_loss_by_batch", "accuracy", "precision", "sensitivity", "f1", "specificity"}
    for table in "1235":
        found = Counter(r.row for r in DZHULAI if r.table == table)
        assert set(found.values()) == {6}
        assert {r.metric for r in DZHULAI if r.table == table} == metrics
        # Tuning was done on the validation part (section IV).
        assert {r.dataset for r in DZHULAI if r.table == table} == {
            "val" if table in "23" else "test"
        }
    counts = [r for r in DZHULAI if r.metric in verdict.COUNTS]
    assert [(r.row, r.value) for r in counts] == [("RCM2d_Small", 6827717)]
    assert {r.positive_class for r in DZHULAI if r not in counts} == {"sliding absent"}
    # The tables fit any multiple of a smallest test set: `audit.behind` finds it, and marks it.
    assert {r.n for r in DZHULAI} == {None}


def test_printed_metrics_of_a_dzhulai_network_fit_one_another():
    # One confusion matrix has to lie behind the five printed metrics of a column; F1 follows from
    # two of them, and accuracy lies between the recalls of the two classes.
    for row in {(r.table, r.row) for r in DZHULAI if r.table in "1235"}:
        of = {r.metric: r.value for r in DZHULAI if (r.table, r.row) == row}
        f1 = 2 / (1 / of["precision"] + 1 / of["sensitivity"])
        assert f1 == pytest.approx(of["f1"], abs=2e-4)
        low, high = sorted([of["sensitivity"], of["specificity"]])
        assert low <= of["accuracy"] <= high
        assert of["focal_loss_by_batch"] < 0.01  # a mean loss divided by the batch size


def test_the_dzhulai_papers_repetitions_and_slip_stand_as_printed():
    def numbers(table, row):
        return {r.metric: r.value for r in DZHULAI if (r.table, r.row) == (table, row)}

    one, other = numbers("2", "CMWRU, dropout 0.6"), numbers("3", "CMWRU, clipping 0.1")
    assert {m for m in one if one[m] != other[m]} == {"focal_loss_by_batch"}  # in its last digit
    table, text = numbers("5", "CMWRU"), numbers("section V-D", "CMWRU")
    assert text["sensitivity"] == table["sensitivity"] == 0.8
    assert text["specificity"] == 0.8 and table["specificity"] == 0.6375


def test_numbers_of_several_classes_find_their_part_and_class(tmp_path):
    write_class_run(tmp_path, "v-breathnet")
    judged = verdict.judge_runs("vbreathnet", verdict.load_runs(tmp_path))
    found = {(v.reported.dataset, v.reported.metric, v.reported.positive_class): v for v in judged}
    assert found["val", "accuracy", ""].ours == pytest.approx(0.9)
    assert found["val", "total_parameters", ""].verdict == "agrees"
    assert found["test", "recall", "COVID"].ours == pytest.approx(0.9)
    cropped = found["test-wrong-cropped", "recall", "COVID"]
    assert (
        cropped.verdict == "not comparable"
        and cropped.reason == "no sample was scored in the part test-wrong-cropped"
    )
    assert {row["ours"] for row in verdict.as_rows([cropped])} == {"-"}


def test_an_empty_test_part_is_told_as_such(tmp_path):
    folder = write_class_run(tmp_path, "v-breathnet")
    lines = (folder / "predictions.csv").read_text().splitlines()
    kept = [line for line in lines if ",test," not in line]
    (folder / "predictions.csv").write_text("\n".join([*kept, ""]))
    judged = verdict.judge_runs("vbreathnet", verdict.load_runs(tmp_path))
    assert {v.reason for v in judged if v.reported.dataset == "test"} == {
        "no sample was scored in the part test"
    }


def test_a_setting_that_no_table_has_still_shows_its_number(tmp_path):
    write_class_run(tmp_path, "vgg16-lr0.1", row="")
    (judged,) = verdict.judge_runs("vbreathnet", verdict.load_runs(tmp_path))
    assert judged.ours == pytest.approx(0.9) and judged.verdict == "not comparable"


def test_runs_of_other_settings_are_no_seeds_of_one_another(tmp_path):
    for seed, dropout in ((0, 0.1), (1, 0.2), (2, 0.1)):
        write_class_run(tmp_path, "v-breathnet", seed, dropout=dropout)
    found = {e.name: e.seeds for e in verdict.load_runs(tmp_path)}
    assert found == {"v-breathnet (seed0, seed2)": 2, "v-breathnet (seed1)": 1}


@pytest.mark.parametrize(
    ("metric", "value", "decimals", "low", "high", "expected"),
    [
        ("precision", 1.00, 2, 0.960, 0.9951, "inconclusive"),  # 0.9951 prints as 1.00
        ("precision", 1.00, 2, 0.960, 0.9949, "lower"),
        ("precision", 1.00, 2, 0.974, 0.9951, "inconclusive"),  # 0.974 is 0.031 below 1.005
        ("precision", 1.00, 2, 0.976, 0.9949, "agrees"),
        ("accuracy", 0.9684, 4, 0.96846, 0.999, "higher"),
        ("accuracy", 0.9684, 4, 0.96846, 0.998, "agrees"),
        ("cross_entropy", 0.0964, 4, 0.055, 0.145, "inconclusive"),
        ("cross_entropy", 0.0964, 4, 0.085, 0.105, "agrees"),  # within 20 % of it
        ("total_parameters", 792_291, 0, 792_291, 792_291, "agrees"),
        ("total_parameters", 792_291, 0, 792_290, 792_290, "lower"),  # a count has no margin
    ],
)
def test_rounding_and_the_scale_of_a_loss_are_allowed_for(
    metric, value, decimals, low, high, expected
):
    reported = verdict.Reported("p", "1", "r", "val", metric, value, decimals, None, "")
    assert verdict.judge(reported, (low + high) / 2, low, high, 90, 1).verdict == expected


def correct(value, n, name="") -> verdict.Reported:
    return verdict.Reported("cnr_iemn", "6", "CNR-IEMN", "test-1", "correct", value, 0, n, name)


def test_a_count_of_right_answers_is_a_share():
    assert correct(8, 10).rate == 0.8
    share = verdict.Reported("p", "1", "r", "val", "accuracy", 0.8, 1, 10, "")
    assert share.rate == 0.8 == share.value


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.78, 0.82, "agrees"),
        (0.6, 0.95, "inconclusive"),
        (0.70, 0.799, "lower"),  # a count was not rounded: no half digit to allow for
        (0.801, 0.85, "higher"),
    ],
)
def test_a_count_of_right_answers_is_judged_as_its_share(low, high, expected):
    judged = verdict.judge(correct(8, 10), (low + high) / 2, low, high, 10, 1)
    assert judged.verdict == expected


def test_a_count_of_right_answers_is_shown_as_printed():
    judged = verdict.judge(correct(8, 10), 0.8, 0.77, 0.83, 10, 1)
    (row,) = verdict.as_rows([judged])
    assert row["paper"] == "8/10" and row["ours"] == "0.8000"


def test_a_count_finds_recall_or_accuracy_at_the_level_of_the_run(tmp_path):
    write_class_run(tmp_path, "patients", row="CNR-IEMN", level="patient")
    (experiment,) = verdict.load_runs(tmp_path)
    assert experiment.place_of(correct(8, 10)) == ("test-1", "patient", "accuracy")
    assert experiment.place_of(correct(8, 10, "CAP")) == ("test-1", "patient", "recall_CAP")
    assert experiment.results[0]["val"]["patient"]["accuracy"]["value"] == pytest.approx(0.9)


def test_a_run_that_names_tables_speaks_to_those_alone(tmp_path):
    write_class_run(tmp_path, "gray", row="ResneXt-50", paper_tables=["1", "figure 6"])
    write_class_run(tmp_path, "multitask", row="ResneXt-50", paper_tables=["4", "figure 9"])
    gray, multitask = verdict.load_runs(tmp_path)
    for reported in verdict.load_reported("cnr_iemn"):
        row = reported.row == "ResneXt-50"
        assert gray.speaks_to(reported) == (row and reported.table in ("1", "figure 6"))
        assert multitask.speaks_to(reported) == (row and reported.table in ("4", "figure 9"))
    write_class_run(tmp_path / "any", "any", row="ResneXt-50")
    (without,) = verdict.load_runs(tmp_path / "any")
    tables = {r.table for r in verdict.load_reported("cnr_iemn") if without.speaks_to(r)}
    assert tables > {"1", "2", "3", "4"}
