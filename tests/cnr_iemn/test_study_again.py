"""A study asked for again, or otherwise: nothing done twice, nothing mixed, each run once."""

import dataclasses
import shutil

import pytest

from cnr_iemn import train
from cnr_iemn.data import prepare_all
from cnr_iemn.diagnose import PatientRun, list_patient_runs
from cnr_iemn.runs import SliceRun, experiment_name, list_runs, run_folder
from cnr_iemn.weights import InitialWeights
from preprocessing.errors import InputError
from replication import verdict
from replication.records import read_csv, read_json

NETWORKS = ("resnext50_32x4d", "densenet161")


def silent(line: str) -> None:
    pass


def run_path(config, study="cnr_iemn", experiment="multitask-resnext50_32x4d", run="seed0"):
    return config.out / "runs" / study / f"{experiment}-random_weights" / run


def patient_path(config, networks="all", classifier="xgboost", protocol="out_of_fold"):
    return run_path(config, experiment=f"patients-{networks}-{classifier}-{protocol}")


@pytest.fixture
def copy(study, tmp_path):
    """The finished study in a folder that a test may change."""
    config, stores, _, _ = study
    shutil.copytree(config.out, tmp_path / "out")
    config = dataclasses.replace(config, out=tmp_path / "out")
    return config, prepare_all(config, silent)


def test_a_finished_study_is_not_done_again(study, monkeypatch):
    config, stores, verdicts, _ = study
    before = {p: p.stat().st_mtime_ns for p in (config.out / "runs").rglob("*") if p.is_file()}
    for name in ("train.run.fit", "train.evaluate_run", "diagnose._run"):
        monkeypatch.setattr(f"cnr_iemn.{name}", None)
    again = train.run_study(config, prepare_all(config, silent), silent)
    assert [v.ours for v in again] == pytest.approx([v.ours for v in verdicts], nan_ok=True)
    after = {p: p.stat().st_mtime_ns for p in (config.out / "runs").rglob("*") if p.is_file()}
    assert after == before


def test_a_run_without_metrics_alone_is_evaluated_again(copy, monkeypatch):
    config, stores = copy
    lost = run_path(config, "cnr_iemn_folds", run="seed0-fold1of2")
    before = read_csv(lost / "predictions.csv")
    (lost / "metrics.json").unlink()
    patient = patient_path(config, "densenet161", "svm")
    (patient / "metrics.json").unlink()
    models = {p: p.stat().st_mtime_ns for p in config.out.rglob("model.keras")}
    finished = {p: p.stat().st_mtime_ns for p in config.out.rglob("metrics.json")}
    monkeypatch.setattr("cnr_iemn.train.run.fit", None)
    train.run_study(config, stores, silent)
    assert len(models) == 6
    assert {p: p.stat().st_mtime_ns for p in models} == models
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert (lost / "metrics.json").exists() and (patient / "metrics.json").exists()
    assert read_csv(lost / "predictions.csv") == before


def test_an_evaluation_anew_is_unfinished_until_its_end(copy, monkeypatch):
    config, stores = copy
    again = dataclasses.replace(config, rise_masks=192)  # determines no training

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("cnr_iemn.train.run.fit", None)
    monkeypatch.setattr("cnr_iemn.explain.explain_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train.run_study(again, stores, silent)
    assert not (run_path(config) / "metrics.json").exists()


def test_other_scans_in_a_test_folder_are_asked_about_anew(copy, tmp_path):
    config, stores = copy
    other = tmp_path / "other" / config.test[0].name  # another folder of the same name
    shutil.copytree(config.test[0], other)
    shutil.rmtree(other / "Cap subjects")
    config = dataclasses.replace(config, test=(other,))
    train.run_study(config, prepare_all(config, silent), silent)
    for path in (run_path(config), patient_path(config)):
        tested = {row["patient_id"] for row in read_csv(path / "predictions.csv")
                  if row["split"] == "test-1"}  # fmt: skip
        assert tested and "test-1/cap001" not in tested


def test_other_settings_in_the_same_folder_are_refused(study):
    config, stores, _, _ = study
    for settings, match in (
        ({"focal_gamma": 2.0}, "other settings .focal_gamma=1.5, now 2.0"),
        ({"width": 0.5}, "width"),
        ({"crop": 0.9}, "crop=0.875, now 0.9"),
        ({"uninfected_as_normal": False}, "other settings"),
    ):
        with pytest.raises(InputError, match=match):
            train.run_study(dataclasses.replace(config, **settings), stores, silent)


def test_a_scan_that_trains_may_not_test(study, scans):
    config, stores, _, _ = study
    with pytest.raises(
        InputError, match="normal001: holds the same slice .*normal001; .*train or test, not both"
    ):
        train.run_study(
            dataclasses.replace(config, test=(scans,)), (stores[0], _renamed(stores[0])), silent
        )


def _renamed(store):
    """The same store under another name."""
    folder = store.folder.with_name("slices-again")
    if not folder.exists():
        folder.symlink_to(store.folder)
    return type(store)(folder)


def test_paper_data_is_refused_for_other_counts_and_for_phantoms(study):
    config, stores, _, _ = study
    claimed = dataclasses.replace(config, paper_data=True)
    with pytest.raises(InputError, match="--paper-data: .*phantoms"):
        train.run_study(claimed, stores, silent)
    real = [type(store)(store.folder) for store in stores]
    for store in real:
        for row in store.index:
            row["origin"] = "real"
    with pytest.raises(InputError, match="--paper-data: expected .76, 171, 60. scans"):
        train.run_study(claimed, tuple(real), silent)


def test_weights_are_of_imagenet_by_their_record_and_not_by_their_name(
    study, monkeypatch, tmp_path
):
    config, stores, _, _ = study
    config = dataclasses.replace(config, weights=str(tmp_path), out=tmp_path / "out")
    found = {
        "resnext50_32x4d": InitialWeights("resnext50_32x4d.safetensors", "ab", is_v1=True),
        "densenet161": InitialWeights("densenet161.safetensors", "cd", is_v1=False),
    }
    reasons = {}
    monkeypatch.setattr(train, "check_weights", lambda config: found)
    monkeypatch.setattr(
        train, "train_and_evaluate",
        lambda config, run, slices, tests, weights, reasons_of, say: reasons.update(reasons_of),
    )  # fmt: skip
    monkeypatch.setattr(train.diagnose, "diagnose_patients", lambda *arguments: None)
    monkeypatch.setattr(train, "report", lambda *arguments: [])
    train.run_study(config, stores, silent)
    of_weights = {network: [r for r in of if "weights" in r] for network, of in reasons.items()}
    assert of_weights == {
        "resnext50_32x4d": [],
        "densenet161": [
            "weights of densenet161.safetensors, not known to be those of ImageNet"
        ],
    }  # fmt: skip


def test_another_file_of_the_same_name_is_another_run(study, slices, tmp_path):
    config, _, _, _ = study
    config = dataclasses.replace(config, out=tmp_path / "out")
    files = []
    for content in (b"one", b"other"):
        folder = tmp_path / content.decode() / "weights"
        folder.mkdir(parents=True)
        files += [folder / "densenet161.safetensors", folder]
        files[-2].write_bytes(content)

    def open_run(weights):
        at = dataclasses.replace(config, weights=str(weights))
        return run_folder(at, slices, SliceRun("multitask", "densenet161", 0))

    first = open_run(files[0])
    assert read_json(first.path / "config.json")["weights"] == "densenet161.safetensors"
    first.write_metrics({})
    assert open_run(files[0]).finished
    with pytest.raises(InputError, match="holds a run with other settings .weights_sha256"):
        open_run(files[2])
    shutil.rmtree(first.path)
    open_run(files[1]).write_metrics({})
    with pytest.raises(InputError, match="holds a run with other settings .weights_sha256"):
        open_run(files[3])  # a folder of the same name


def test_missing_weights_stop_the_study_before_its_first_epoch(small_config, study, tmp_path):
    _, stores, _, _ = study
    config = dataclasses.replace(small_config, weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match="none.safetensors"):
        train.run_study(config, stores[:1], silent)
    assert not list(config.out.glob("runs/**/history.csv"))


def test_the_rate_falls_to_a_tenth_after_the_epochs_of_its_scenario(small_config):
    config = dataclasses.replace(small_config, learning_rate=1e-4)
    plain = [train.learning_rate_of(config, "gray", e) for e in (0, 9, 10, 14, 15, 19)]
    assert plain == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
    copies = [train.learning_rate_of(config, "multitask", e) for e in (2, 3, 5, 6, 9)]
    assert copies == pytest.approx([1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def test_every_scenario_of_every_network_is_a_run_of_the_paper(small_config):
    config = dataclasses.replace(
        small_config, scenario=("gray", "segmented", "augmented", "multitask"), folds=3
    )
    runs = list(list_runs(config, 1))
    assert len(runs) == 2 * (3 + 1 + 3) and {r.seed for r in runs} == {1}
    assert {r.scenario for r in runs if r.fold is not None} == {"multitask"}
    assert experiment_name(config, "x") == "x-random_weights"
    shuffled = dataclasses.replace(config, shuffle_labels=True)
    assert experiment_name(shuffled, "x") == "x-random_weights-shuffled_labels"


def test_each_patient_stage_has_its_line_of_table_5(small_config):
    four = dataclasses.replace(
        small_config,
        network=("inception_v3", "wide_resnet50_2", "resnext50_32x4d", "densenet161"),
        store_size=96,
        inception_size=96,
    )
    rows = {run.paper_row for run in list_patient_runs(four)}
    reported = verdict.load_reported("cnr_iemn")
    assert rows == {r.row for r in reported if r.table == "5"}
    two = PatientRun(NETWORKS, "xgboost", "out-of-fold")
    assert two.paper_row == "" and two.name == "patients-all-xgboost-out_of_fold"
    without = dataclasses.replace(small_config, folds=0)
    assert {run.protocol for run in list_patient_runs(without)} == {"published-in-sample"}
    alone = dataclasses.replace(small_config, network=("densenet161",))
    assert len(list(list_patient_runs(alone))) == 4


def test_other_scenarios_train_one_task_and_are_evaluated(small_config, tiny_networks, study):
    _, stores, _, _ = study
    config = dataclasses.replace(
        small_config, scenario=("gray", "augmented"), network=("densenet161",), plain_epochs=2
    )
    verdicts = train.run_study(config, stores[:1], silent)
    assert {v.reported.table for v in verdicts} >= {"1", "3"}
    histories = [
        read_csv(run_path(config, experiment=f"{name}-densenet161") / "history.csv")
        for name in ("gray", "augmented")
    ]
    assert [len(history) for history in histories] == [2, 1]
    assert not list(config.out.rglob("patients-*")) and not list(config.out.rglob("rise*"))
