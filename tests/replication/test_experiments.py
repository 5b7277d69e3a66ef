import csv
import shutil

import pytest

from preprocessing.errors import InputError
from replication.experiments import find_gaps, find_runs, load_experiments, load_runs
from replication.records import write_json

RIGHT = [(i % 2, float(i % 2)) for i in range(20)]


@pytest.fixture
def out(tmp_path, binary_run, class_run):
    binary_run(tmp_path, "one", RIGHT)
    binary_run(tmp_path, "one", RIGHT, seed=1)
    class_run(tmp_path, "v-breathnet", [0, 1, 2], [0, 1, 2])
    fold = tmp_path / "runs" / "cnr_iemn_folds" / "x" / "seed0-fold0of2"
    fold.mkdir(parents=True)
    write_json(fold / "config.json", {"study": "cnr_iemn"})
    return tmp_path


@pytest.mark.parametrize(
    ("named", "kolarik", "vbreathnet"),
    [
        ("", 2, 1),
        ("runs", 2, 1),
        ("runs/kolarik2023", 2, 0),
        ("runs/kolarik2023/one", 2, 0),
        ("runs/kolarik2023/one/seed1", 1, 0),
        ("runs/vbreathnet", 0, 1),
    ],
)
def test_runs_are_found_at_any_level_and_folds_are_none(out, named, kolarik, vbreathnet):
    found = find_runs([out / named])
    assert {k: len(v) for k, v in found.items()} == {
        k: n for k, n in (("kolarik2023", kolarik), ("vbreathnet", vbreathnet)) if n
    }


def test_a_folder_named_twice_counts_once(out):
    assert len(find_runs([out, out / "runs", out / "runs/kolarik2023/one"])["kolarik2023"]) == 2


def test_folders_that_hold_no_run_of_these_papers_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: is no folder"):
        find_runs([tmp_path / "nowhere"])
    folder = tmp_path / "runs" / "other" / "e" / "seed0"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match="has no config.json"):
        find_runs([tmp_path])
    write_json(folder / "config.json", {"study": "other"})
    with pytest.raises(InputError, match="is a run of 'other'; expected one of kolarik2023"):
        find_runs([tmp_path])


def test_missing_seeds_are_told(out, binary_run):
    assert find_gaps(find_runs([out])["kolarik2023"]) == []
    binary_run(out, "one", RIGHT, seed=4)
    unfinished = out / "runs" / "kolarik2023" / "two" / "seed0"
    unfinished.mkdir(parents=True)
    write_json(unfinished / "config.json", {"study": "kolarik2023"})
    gaps = find_gaps(find_runs([out])["kolarik2023"])
    assert any("one: has no seed2, seed3, but seed4" in line for line in gaps)
    assert any("seed0: is not finished" in line for line in gaps) and len(gaps) == 2
    # Seeds that the user names one by one have no neighbours.
    named = [out / "runs/kolarik2023/one/seed4"]
    assert find_gaps(find_runs(named)["kolarik2023"], named) == []


def test_experiments_of_one_name_from_two_folders_are_told_apart(tmp_path, binary_run):
    folders = [binary_run(tmp_path / name, "one", RIGHT) for name in ("first", "second")]
    assert [e.name for e in load_experiments(folders)] == ["first/one", "second/one"]


def test_the_narrowest_declared_margin_counts(tmp_path, binary_run):
    folders = [binary_run(tmp_path, "one", RIGHT, seed=seed) for seed in range(3)]
    (e,) = load_experiments(folders)
    assert e.margin is None
    for folder, margin in zip(folders, (0.05, 0.02, 0.03), strict=True):
        write_json(folder / "declared.json", {"margin": margin})
    assert e.margin == 0.02


@pytest.mark.parametrize("content", [{}, {"margin": "abc"}, {"margin": None}, {"margin": 3}, []])
def test_a_declared_margin_that_is_none_is_refused(tmp_path, binary_run, content):
    folder = binary_run(tmp_path, "one", RIGHT)
    write_json(folder / "declared.json", content)
    (e,) = load_experiments([folder])
    with pytest.raises(InputError, match="declared.json: "):
        _ = e.margin


def test_a_run_in_the_folder_of_another_study_is_refused(tmp_path, binary_run, class_run):
    ours = binary_run(tmp_path, "one", RIGHT)
    other = class_run(tmp_path, "v-breathnet", [0, 1, 2], [0, 1, 2])
    assert list(find_runs([tmp_path])) == ["kolarik2023", "vbreathnet"]  # side by side
    shutil.copytree(other, ours.with_name("seed1"))
    for named in (tmp_path, ours.parent, ours.with_name("seed1")):
        with pytest.raises(InputError, match="seed1: is a run of vbreathnet in the folder of kol"):
            find_runs([named])
    # A folder of another name may hold the runs of any study, but one experiment those of one.
    mine = shutil.copytree(ours.parent, tmp_path / "mine" / "one")
    with pytest.raises(InputError, match="seed1: is a run of vbreathnet among seeds of kolarik20"):
        find_runs([mine])
    shutil.rmtree(mine / "seed1")
    assert list(find_runs([mine])) == ["kolarik2023"]


def change(path, column, value, line=3):
    """Another value in one line of a predictions file."""
    rows = list(csv.DictReader(path.open(newline="")))
    rows[line][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("score_present", "nan", "sample 3 of the split test has a score that is no number"),
        ("score_present", "1.2", "sample 3 of the split test has a score that is no number from"),
        ("score_present", "inf", "sample 3 of the split test has a score that is no number"),
        ("score_present", "", "is not a predictions file"),
        ("label", "2", "sample 3 of the split test has a label that is neither 0 nor 1"),
        ("label", "-1", "a label that is neither"),
    ],
)
def test_binary_predictions_that_none_can_be_are_refused(
    tmp_path, binary_run, column, value, match
):
    folder = binary_run(tmp_path, "one", RIGHT)
    change(folder / "predictions.csv", column, value)
    with pytest.raises(InputError, match=match) as caught:
        load_runs(tmp_path / "runs" / "kolarik2023")
    assert "predictions.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("score_Normal", "nan", "sample 3 of the split val has a score that is no number"),
        ("label", "3", "sample 3 of the split val has a label outside of the 3 classes"),
        ("label", "-1", "a label outside of the 3 classes"),
    ],
)
def test_class_predictions_that_none_can_be_are_refused(tmp_path, class_run, column, value, match):
    folder = class_run(tmp_path, "one", [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2])
    change(folder / "predictions.csv", column, value)
    with pytest.raises(InputError, match=match):
        load_runs(tmp_path / "runs" / "vbreathnet")


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("split", "tset", "line 5: no study writes a split 'tset'"),
        ("split", "test-1", "line 5: no study writes a split 'test-1'"),
        ("split", "", "line 5: no study writes a split ''"),
        ("sample_id", "2", "sample 2 stands 2 times in the split test"),
    ],
)
def test_binary_predictions_that_would_count_wrongly_are_refused(
    tmp_path, binary_run, column, value, match
):
    folder = binary_run(tmp_path, "one", RIGHT)
    change(folder / "predictions.csv", column, value)
    with pytest.raises(InputError, match=match) as caught:
        load_runs(tmp_path / "runs" / "kolarik2023")
    assert "predictions.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("split", "tset", "line 5: no study writes a split 'tset'"),
        ("split", "test-0", "no study writes a split 'test-0'"),
        ("split", "test-10", "no study writes a split 'test-10'"),
        ("sample_id", "2", "sample 2 stands 2 times in the split val"),
        ("score_Normal", "7.3", "sample 3 of the split val has a score that is no number from 0"),
        ("score_Normal", "-0.1", "a score that is no number from 0 to 1"),
    ],
)
def test_class_predictions_that_would_count_wrongly_are_refused(
    tmp_path, class_run, column, value, match
):
    folder = class_run(tmp_path, "one", [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2])
    change(folder / "predictions.csv", column, value)
    with pytest.raises(InputError, match=match):
        load_runs(tmp_path / "runs" / "vbreathnet")


def test_every_split_that_a_study_writes_is_known(tmp_path, class_run):
    cropped = "test-all-cropped"
    written = ("train", "val", "test", "test-1", "test-9", "test-wrong-cropped", cropped)
    folder = class_run(tmp_path, "one", [0] * 7, [0] * 7)
    for line, split in enumerate(written):
        change(folder / "predictions.csv", "split", split, line)
    (e,) = load_runs(tmp_path / "runs" / "vbreathnet")
    assert all(e.has(split) for split in written)
    # Cropped images are the test images once more, under their numbers.
    change(folder / "predictions.csv", "sample_id", "2", written.index(cropped))
    load_runs(tmp_path / "runs" / "vbreathnet")
    # But test sets together are one test.
    change(folder / "predictions.csv", "sample_id", "3", written.index("test-9"))
    with pytest.raises(InputError, match="sample 3 stands 2 times in the split test"):
        load_runs(tmp_path / "runs" / "vbreathnet")


@pytest.mark.parametrize("kind", ["binary", "class"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, binary_run, class_run, kind):
    if kind == "binary":
        folder = binary_run(tmp_path, "one", RIGHT)
    else:
        folder = class_run(tmp_path, "one", [0, 1, 2] * 7, [0, 1, 2] * 7)
    path = folder / "predictions.csv"
    whole = path.read_text().splitlines()
    for damage in ([*whole[:11], "3,4"], [*whole, "3,4"], [*whole, whole[1] + ",more"]):
        path.write_text("\n".join(damage))
        with pytest.raises(InputError, match=rf"line {len(damage)} has more or fewer cells"):
            load_experiments([folder])


@pytest.mark.parametrize("column", ["sample_id", "unit", "patient_id", "split", "label"])
def test_predictions_without_a_column_are_refused(tmp_path, binary_run, column):
    folder = binary_run(tmp_path, "one", RIGHT)
    path = folder / "predictions.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(InputError, match=f"not a predictions file .*no column {column}"):
        load_experiments([folder])


def test_an_empty_split_is_refused(tmp_path, binary_run, class_run):
    binary_run(tmp_path, "one", RIGHT, split="val")
    with pytest.raises(InputError, match="the split test is empty"):
        load_runs(tmp_path / "runs" / "kolarik2023")
    folder = class_run(tmp_path, "one", [0], [0])
    change(folder / "predictions.csv", "split", "test", line=0)
    with pytest.raises(InputError, match="the split val is empty"):
        load_runs(tmp_path / "runs" / "vbreathnet")
    header = (folder / "predictions.csv").read_text().splitlines()[0]
    (folder / "predictions.csv").write_text(header + "\n")
    with pytest.raises(InputError, match="is not a predictions file"):
        load_runs(tmp_path / "runs" / "vbreathnet")


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("metrics.json", {"leaky": False}, "metrics.json: has no not_comparable"),
        ("config.json", {"positive": "present"}, "config.json: has no paper_row, paper_dataset"),
        ("config.json", {"paper_row": "r", "paper_dataset": "d"}, "names neither classes nor"),
        ("config.json", [], "config.json: cannot be read"),
        ("config.json", {"paper_row": None, "paper_dataset": "d"}, "paper_row is null, not a text"),
        (
            "config.json",
            {"paper_row": "r", "paper_dataset": "d", "classes": None},
            "classes is null, not a list of two names or more",
        ),
        (
            "config.json",
            {"paper_row": "r", "paper_dataset": "d", "positive": "present", "vote": "median"},
            'vote is "median", not mean or majority',
        ),
        ("metrics.json", "done", "metrics.json: cannot be read"),
        (
            "metrics.json",
            {"leaky": False, "not_comparable": None},
            "metrics.json: not_comparable is null, not a list of reasons",
        ),
        ("metrics.json", {"leaky": "no", "not_comparable": []}, 'leaky is "no", not true or false'),
    ],
)
def test_records_that_lack_what_judging_needs_are_refused(
    tmp_path, binary_run, file, content, match
):
    folder = binary_run(tmp_path, "one", RIGHT)
    write_json(folder / file, content)
    with pytest.raises(InputError, match=match):
        load_runs(tmp_path / "runs" / "kolarik2023")
