"""The whole study on a small cohort, as one command runs it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024 import train  # noqa: E402
from lungsliding_tf.dzhulai2024.batches import make_batches, read_clip  # noqa: E402
from lungsliding_tf.dzhulai2024.config import DzhulaiConfig  # noqa: E402
from lungsliding_tf.dzhulai2024.data import prepare_all  # noqa: E402
from lungsliding_tf.dzhulai2024.evaluate import predict_logits, save_predictions  # noqa: E402
from lungsliding_tf.dzhulai2024.experiments import plan  # noqa: E402
from lungsliding_tf.dzhulai2024.per_frame import build_cnn2d  # noqa: E402
from lungsliding_tf.dzhulai2024.split import split_clips  # noqa: E402
from preprocessing import splits  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402
from replication.records import read_csv, read_json  # noqa: E402
from replication.run import load_model  # noqa: E402


def silent(line):
    """For those who say what they do."""


@pytest.fixture(scope="module")
def config(cohort, tmp_path_factory):
    """The three networks, one epoch each, on frames of 32 px."""
    return DzhulaiConfig(
        cohort, tmp_path_factory.mktemp("out"), size=32, frames=12, rcm2d_frames=12,
        cmwra_frames=12,
        flow="dis", epochs=1, schedule_epochs=1, batch_size=4, smooth_samples=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stores(config):
    """Frames and flow."""
    return prepare_all(config, silent)


@pytest.fixture(scope="module")
def verdicts(config, stores):
    """The finished study."""
    return train.run_study(config, stores, silent)


@pytest.fixture(scope="module")
def runs(config, verdicts):
    """The run folders, by network."""
    return {folder.parent.name: folder for folder in config.out.glob("runs/dzhulai2024/*/seed0")}


def test_the_three_networks_are_judged(runs, verdicts, config):
    assert set(runs) == {"rcm2d", "cmwra-dis", "cmwru"}
    assert {v.verdict for v in verdicts} == {"not comparable"}
    reasons = {v.experiment: v.reason for v in verdicts}
    assert all(reason.startswith("phantoms") for reason in reasons.values())
    assert "flow by dis, not by RAFT" in reasons["cmwra-dis"]
    assert "frames is 12, not 45" in reasons["cmwru"] and "frames is 12, not 30" in reasons["rcm2d"]
    assert {v.reported.table for v in verdicts if v.experiment == "cmwra-dis"} == {"1"}
    assert (config.out / "verdict-dzhulai2024.csv").exists()


def test_predictions_hold_what_the_metrics_are_made_of(runs):
    rows = read_csv(runs["cmwru"] / "predictions.csv")
    assert {row["split"] for row in rows} == {"val", "test"}
    for row in rows:
        assert float(row["score_absent"]) + float(row["score_present"]) == pytest.approx(1)
    metrics = read_json(runs["cmwru"] / "metrics.json")
    tested = [row for row in rows if row["split"] == "test"]
    losses = np.array([float(row["focal_loss"]) for row in tested])
    probability = np.array([float(row["score_absent"]) for row in tested])
    absent = np.array([row["label"] == "1" for row in tested])
    # Table IV: alpha 0.8 and gamma 1.
    expected = np.where(absent, -0.8 * (1 - probability) * np.log(probability),
                        -0.2 * probability * np.log(1 - probability))  # fmt: skip
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert metrics["test"]["clip"]["focal_loss"]["value"] == pytest.approx(losses.mean())
    batches = [losses[i : i + 4] for i in range(0, len(losses), 4)]
    printed = np.mean([batch.mean() / len(batch) for batch in batches])
    assert metrics["test"]["clip"]["focal_loss_by_batch"]["value"] == pytest.approx(printed)
    assert set(metrics["test"]) == {"clip", "video", "patient"}
    assert metrics["majority"]["test"] == pytest.approx(1 - absent.mean())
    assert metrics["parameters"]["trainable_parameters"] > 0


def test_a_trained_network_is_scored_without_being_judged(config, stores, runs, tmp_path):
    only = replace(config, out=tmp_path, network=("cmwra",), stop_after="train")
    (one,) = plan(only)
    assert train.run_study(only, stores, silent) == []
    clips = split_clips(one, stores, seed=0)
    folder = train.run_folder(one, clips, 0)
    file = save_predictions(one, folder, load_model(folder), clips)
    assert file == folder.path / "predictions.csv" and not folder.finished
    judged = read_csv(runs["cmwra-dis"] / "predictions.csv")
    names = ("sample_id", "patient_id", "split", "label")
    assert [[row[n] for n in names] for row in read_csv(file)] == [
        [row[n] for n in names] for row in judged
    ]
    assert [float(row["score_absent"]) for row in read_csv(file)] == pytest.approx(
        [float(row["score_absent"]) for row in judged], abs=1e-3
    )


def test_flow_is_named_in_the_record_of_the_run(runs):
    assert read_json(runs["cmwra-dis"] / "environment.json")["flow"] == "dis, frozen"
    settings = read_json(runs["cmwra-dis"] / "config.json")
    assert settings["flow"] == "dis" and settings["flow_step"] == 1 and settings["flow_store"]
    assert "flow" not in read_json(runs["cmwru"] / "config.json")


def test_pictures_and_curves_are_there(runs):
    for name, folder in runs.items():
        pictures = {path.name for path in (folder / "figures").glob("*.png")}
        assert {"curves.png", "confusion-val.png", "confusion-test.png"} <= pictures, name
    history = read_csv(runs["rcm2d"] / "history.csv")
    assert {"precision", "recall", "val_precision", "val_recall"} <= set(history[0])
    assert any("absent" in path.name for path in (runs["cmwru"] / "figures").iterdir())


def test_a_finished_study_is_not_done_again(config, stores, runs, verdicts):
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*.keras")}
    again = train.run_study(config, stores, silent)
    assert [v.ours for v in again] == pytest.approx([v.ours for v in verdicts], nan_ok=True)
    assert before == {path: path.stat().st_mtime_ns for path in config.out.rglob("*.keras")}


def test_what_only_the_evaluation_reads_is_evaluated_anew_and_not_trained(
    config, stores, runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(train.run, "fit", None)
    out = shutil.copytree(config.out, tmp_path / "out")
    train.run_study(replace(config, out=out, smooth_samples=3), stores, silent)
    for folder in runs.values():
        one = read_json(folder / "metrics.json")
        other = read_json(out / folder.relative_to(config.out) / "metrics.json")
        assert one.pop("evaluation") == {"smooth_samples": 2, "paper_data": False}
        assert other.pop("evaluation") == {"smooth_samples": 3, "paper_data": False}
        assert one == other


def test_the_final_network_is_trained_on_the_validation_part_too(config, stores):
    final = replace(config, experiment=("final",))
    (one,) = plan(final)
    clips = split_clips(one, stores, seed=0)
    trained = train.epoch_order(one, clips, 0, 0)
    assert set(clips.parts[trained]) == {splits.TRAIN, splits.VAL}
    verdicts = train.run_study(final, stores, silent)
    of_final = [v for v in verdicts if v.experiment == "cmwru-final"]
    assert {v.reported.table for v in of_final} == {"5", "section V-D"}
    folder = config.out / "runs" / "dzhulai2024" / "cmwru-final" / "seed0"
    assert {row["split"] for row in read_csv(folder / "predictions.csv")} == {"test"}


def test_the_recurrent_network_sees_two_pools(config, stores):
    (one,) = plan(replace(config, network=("rcm2d",), equal_ratios=False))
    clips = split_clips(one, stores, seed=0)
    train_part = clips.of(splits.TRAIN)
    present = set(train_part[clips.labels[train_part] == 0])
    absent = set(train_part[clips.labels[train_part] == 1])
    assert len(present) == 8 and len(absent) == 4
    epochs = [train.epoch_order(one, clips, 0, epoch) for epoch in range(4)]
    for order in epochs:
        assert len(order) == 8 and set(order) >= absent
    drawn = [set(order) & present for order in epochs]
    assert not drawn[0] & drawn[1] and drawn[0] | drawn[1] == present, "new ones every epoch"
    assert not drawn[2] & drawn[3] and drawn[0] != drawn[2]
    np.testing.assert_array_equal(epochs[2], train.epoch_order(one, clips, 0, 2))
    plain = replace(one, config=replace(one.config, two_pools=False))
    assert sorted(train.epoch_order(plain, clips, 0, 0)) == sorted(train_part)


def test_a_last_batch_of_one_is_refused(config, stores):
    (one,) = plan(replace(config, network=("cmwru",), equal_ratios=False, batch_size=11))
    clips = split_clips(one, stores, seed=0)
    with pytest.raises(InputError, match="--batch-size 11 leaves one of the 12 training clips"):
        train.check_batches(one, clips)


def test_batches_are_normalised_and_augmented_in_training_alone(config, stores):
    (one,) = plan(replace(config, network=("cmwru",)))
    clips = split_clips(one, stores, seed=0)
    positions = clips.of(splits.TRAIN)[:4]
    ((frames, labels),) = make_batches(one, clips, positions, clips.labels)
    assert frames.shape == (4, 12, 32, 32, 1) and labels.shape == (4, 1)
    start = clips.starts[positions[1]]
    raw = stores[False, 0].samples[start : start + 12].astype(float)
    expected = (raw - clips.mean) / clips.deviation
    np.testing.assert_allclose(frames[1, ..., 0], expected, atol=1e-4)
    ((changed, _),) = make_batches(one, clips, positions, clips.labels, draw=(0, 1))
    assert not np.allclose(changed, frames)
    ((again, _),) = make_batches(one, clips, positions, clips.labels, draw=(0, 1))
    np.testing.assert_array_equal(changed, again)
    flow = plan(replace(config, network=("cmwra",)))[0]
    field = read_clip(flow, split_clips(flow, stores, seed=0), 0)
    assert field.shape == (11, 32, 32, 2) and field.dtype == np.float32


def test_frames_vote_for_their_clip(config, stores):
    first = replace(config, experiment=("first-attempts",))
    one = next(one for one in plan(first) if one.network == "cnn2d")
    clips = split_clips(one, stores, seed=0)
    ((frames, _),) = make_batches(one, clips, clips.of(splits.TRAIN)[:4], clips.labels, (0, 0))
    assert frames.shape == (4, 32, 32, 1)
    model = build_cnn2d(32)
    before = model.predict(read_clip(one, clips, 5), verbose=0)[:, 0]
    bias = model.layers[-1].bias
    bias.assign(bias - np.quantile(before, 0.7))  # some frames vote for either class
    (logit,) = predict_logits(one, model, clips, np.array([5]))
    of_frames = model.predict(read_clip(one, clips, 5), verbose=0)[:, 0]
    assert 0 < np.mean(of_frames > 0) < 0.5
    share = np.clip(np.mean(of_frames > 0), 0.5 / 12, 1 - 0.5 / 12)
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schedule_epochs": 3}, "schedule_epochs is 3, not 16"),
        ({"chance": 0.01}, "chance is 0.01, not 0.5"),
        ({"rotation": 0.0}, "rotation is 0.0, not 10.0"),
        ({"dropout": 0.1}, "dropout is 0.1, not 0.65"),
        ({"network": ("cmwra",), "flow": "raft-small"}, "flow is raft-small, not raft-large"),
        ({"network": ("rcm2d",), "two_pools": False}, "two_pools is False, not True"),
    ],
)
def test_other_than_the_stated_settings_are_reasons(config, stores, changes, reason):
    stated = DzhulaiConfig(config.data, config.out, flow="raft-large")
    # With RAFT inside all networks read the frames alone, and no weights are looked for here.
    (one,) = plan(replace(stated, **{"network": ("cmwru",), "raft": "trainable"} | changes))
    assert reason in train.why_not_comparable(one, stores)


def test_shuffled_labels_are_marked(config, stores):
    shuffled = replace(config, shuffle_labels=True, network=("cmwru",))
    (one,) = plan(shuffled)
    assert one.name == "cmwru-shuffled_labels"
    assert train.why_not_comparable(one, stores)[0] == "labels were shuffled"


def test_claiming_the_papers_data_is_checked(config, cohort, tmp_path):
    claimed = replace(config, paper_data=True, network=("cmwru",))
    listed = json.loads((cohort / "sliding_metafile.json").read_text())
    real = tmp_path / "real"
    real.mkdir()
    for entry in listed:
        (real / entry["video_name"]).symlink_to(cohort / entry["video_name"])
        entry["phantom"] = False
    (real / "sliding_metafile.json").write_text(json.dumps(listed))
    claimed = replace(claimed, data=real, out=tmp_path / "out")
    stores = prepare_all(claimed, silent)
    with pytest.raises(InputError, match="--paper-data: expected 139 videos with and 32"):
        train.run_study(claimed, stores, silent)
