"""A run's pictures, and those of the sweeps under the names that `plan` gives their runs."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024 import pictures  # noqa: E402
from lungsliding_tf.dzhulai2024.config import DzhulaiConfig  # noqa: E402
from lungsliding_tf.dzhulai2024.experiments import Planned, plan  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402
from replication.records import write_csv, write_json  # noqa: E402
from replication.run import RunFolder  # noqa: E402
from replication.verdict import Experiment  # noqa: E402

SWEEPS = ("dropout", "clipping", "frames", "flow-step", "gamma", "batch-size", "normalisation",
          "augmentation")  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to read their texts and lines; `file_name` is where."""
    saved = []
    save = Figure.savefig

    def keep(figure, path, **kwargs):
        figure.file_name = path.name.removeprefix(".partial.")
        saved.append(figure)
        return save(figure, path, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.fixture
def config(tmp_path):
    return DzhulaiConfig(tmp_path / "data", tmp_path)


def history(level: float = 0.0, validation: bool = True) -> list[dict]:
    """Three epochs; every training figure is level + epoch / 10, every other half of that."""
    rows = []
    for epoch in range(3):
        value = level + epoch / 10
        row = {"epoch": epoch} | {name: value for name in pictures.CURVES}
        row |= {f"val_{name}": value / 2 for name in pictures.CURVES if validation}
        rows.append(row | {"learning_rate": 0.001, "seconds": 1.0})
    return rows


def write_predictions(folder: RunFolder, parts: dict[str, list[tuple[int, float]]]) -> None:
    folder.write_predictions(
        [
            {"sample_id": i, "unit": i, "patient_id": f"P{i}", "split": part, "label": label,
             "score_present": 1 - score, "score_absent": score}
            for part, clips in parts.items()
            for i, (label, score) in enumerate(clips)
        ]
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "runs/dzhulai2024/cmwru/seed1", {})
    write_csv(folder.path / "history.csv", history())
    clips = [(0, 0.1), (0, 0.2), (0, 0.5), (1, 0.9), (1, 0.4)]
    write_predictions(folder, {"val": clips[:4], "test": clips})
    return folder


def test_a_run_has_curves_and_a_confusion_matrix_of_each_part(config, folder, drawn):
    one = Planned("cmwru", config, "cmwru")
    pictures.save_run(folder, one, {"leaky": False, "val": {}, "test": {}})
    names = {path.name for path in folder.figures().iterdir()}
    assert names == {"curves.png", "confusion-val.png", "confusion-test.png"}
    curves, _, test = drawn
    assert [axis.get_ylabel() for axis in curves.axes] == list(pictures.CURVES)
    assert [line.get_label() for line in curves.axes[3].lines] == [
        "training recall", "validation recall", "kept: epoch 3"]  # fmt: skip
    texts = [text.get_text().split("\n")[-1] for text in test.axes[0].texts]
    assert texts == ["2", "1", "1", "1"]  # 0.5 counts as absent
    assert [tick.get_text() for tick in test.axes[0].get_xticklabels()] == ["present", "absent"]
    assert test.axes[0].get_title() == "cmwru, seed1: test"


def test_a_run_without_a_validation_part_has_training_curves(config, folder, drawn):
    write_csv(folder.path / "history.csv", history(validation=False))
    one = Planned("cmwru-final", config, "cmwru", fits_val=True)
    pictures.save_run(folder, one, {"leaky": True, "test": {}})
    assert {p.name for p in folder.figures().iterdir()} == {"curves.png", "confusion-test.png"}
    labels = [line.get_label() for line in drawn[0].axes[0].lines]
    assert labels == ["training loss", "kept: epoch 3"]
    assert drawn[0].get_suptitle().startswith("LEAKY cmwru-final")


def test_counts_have_the_true_class_down_and_both_classes_always(folder):
    counts = pictures.count_clips(folder.path / "predictions.csv", "test")
    np.testing.assert_array_equal(counts, [[2, 1], [1, 1]])
    write_predictions(folder, {"test": [(0, 0.9), (0, 0.1)]})
    counts = pictures.count_clips(folder.path / "predictions.csv", "test")
    np.testing.assert_array_equal(counts, [[1, 1], [0, 0]])
    (folder.path / "predictions.csv").unlink()
    with pytest.raises(InputError, match="evaluate the run again"):
        pictures.count_clips(folder.path / "predictions.csv", "test")


def test_the_control_experiment_has_its_own_classes(config):
    control = replace(config, control_frozen=True, network=("cmwru",))
    assert pictures.class_names(Planned("cmwru", config, "cmwru")) == ("present", "absent")
    assert pictures.class_names(Planned("cmwru", control, "cmwru")) == ("moving", "frozen")


def write_runs(out, name: str, levels=(0.0,), listed: str = "", leaky: bool = False) -> Experiment:
    """An experiment of a run for each level, as `verdict.load_runs` returns it."""
    for seed, level in enumerate(levels):
        folder = out / "runs/dzhulai2024" / name / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "history.csv", history(level))
        write_json(folder / "metrics.json", {})
    results = tuple({"leaky": leaky} for _ in levels)
    return Experiment(name + listed, "-", "val", results, {})


def test_each_sweep_of_the_plan_is_one_picture_with_its_values(config, drawn):
    swept = replace(config, experiment=("networks", *SWEEPS, "final"), flow="dis")
    experiments = [write_runs(config.out, one.name) for one in plan(swept)]
    pictures.save_sweeps(config.out, experiments)
    values = {
        figure.file_name: [text.get_text() for text in figure.legends[0].get_texts()]
        for figure in drawn
    }
    assert values == {
        "sweep_dropout.png": ["0.4", "0.5", "0.6", "0.7"],
        "sweep_clipping.png": ["0.1", "0.4", "0.5", "0.8"],
        "sweep_frames.png": ["34", "45", "60"],
        "sweep_flow_step-dis-crops.png": ["1", "2", "3"],
        "sweep_gamma-dis-crops.png": ["2", "3"],
        "sweep_batch_size.png": ["5", "10", "20"],
        "sweep_normalisation.png": ["with", "without"],
        "sweep_augmentation.png": ["none", "per clip", "released"],
    }
    assert {path.name for path in (config.out / "figures").iterdir()} == set(values)


def test_a_sweep_draws_what_the_paper_draws_for_both_parts(config, drawn):
    frames = write_runs(config.out, "cmwru-frames_34")
    dropout = write_runs(config.out, "cmwru-dropout_0.5", leaky=True)
    pictures.save_sweeps(config.out, [frames, dropout])
    of_frames, of_dropout = drawn
    assert [axis.get_title() for axis in of_frames.axes] == [
        "training loss", "validation loss", "training recall", "validation recall"]  # fmt: skip
    titles = [axis.get_title() for axis in of_dropout.axes]
    assert titles == ["training recall", "validation recall"]
    assert "Figures 17 and 18" in of_frames.get_suptitle()
    assert of_dropout.get_suptitle().startswith("LEAKY CMWRU: dropout")
    for axis, values in zip(of_dropout.axes, ([0, 0.1, 0.2], [0, 0.05, 0.1]), strict=True):
        (line,) = axis.lines
        np.testing.assert_allclose(line.get_ydata(), values, atol=1e-12)
        assert list(line.get_xdata()) == [1, 2, 3]


def test_seeds_are_thin_lines_and_their_mean_a_thick_one(config, drawn):
    pictures.save_sweeps(config.out, [write_runs(config.out, "cmwru-clipping_0.4", (0.2, 0.6))])
    first, second, mean = drawn[0].axes[2].lines
    np.testing.assert_allclose(first.get_ydata(), [0.2, 0.3, 0.4])
    np.testing.assert_allclose(second.get_ydata(), [0.6, 0.7, 0.8])
    np.testing.assert_allclose(mean.get_ydata(), [0.4, 0.5, 0.6])
    assert mean.get_linewidth() > 2 * first.get_linewidth()
    assert "2 seeds" in drawn[0].get_suptitle()


def test_other_data_make_another_picture_and_other_settings_another_line(config, drawn):
    name = "cmwru-batch_size_5"
    experiments = [
        write_runs(config.out, name, (0.1, 0.5), " (seed0)"),
        write_runs(config.out, name, (0.1, 0.5), " (seed1)"),
        write_runs(config.out, f"{name}-released_videos"),
    ]
    pictures.save_sweeps(config.out, experiments)
    names = {path.name for path in (config.out / "figures").iterdir()}
    assert names == {"sweep_batch_size.png", "sweep_batch_size-released_videos.png"}
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["5 (seed0)", "5 (seed1)"]
    starts = [line.get_ydata()[0] for line in drawn[0].axes[2].lines]
    np.testing.assert_allclose(starts, [0.1, 0.5])


def test_without_sweeps_nothing_is_drawn(config):
    pictures.save_sweeps(config.out, [write_runs(config.out, "cmwra-dis-crops")])
    assert not (config.out / "figures").exists()
