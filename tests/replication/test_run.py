import dataclasses
from functools import partial

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from preprocessing.errors import InputError  # noqa: E402
from replication import run  # noqa: E402
from replication.batches import make_dataset, predict, to_network_input  # noqa: E402
from replication.records import read_json, write_csv  # noqa: E402
from replication.run import RunFolder, Training  # noqa: E402

ENVIRONMENT = {"packages": {}}


@pytest.fixture(scope="module")
def samples():
    """Clips of noise whose class is their brightness: learnable in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    clips = rng.integers(0, 120, (24, 4, 6, 6)) + 100 * labels[:, None, None, None]
    return clips.astype(np.uint8), labels


def build_small():
    return keras.Sequential(
        [
            keras.Input((4, 6, 6, 3)),
            keras.layers.Conv3D(4, 3, activation="relu", name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(1, activation="sigmoid", name="sliding"),
        ]
    )


def training(samples, epochs=4, learning_rate=0.01, on_epoch=lambda epoch: None):
    clips, labels = samples

    def epoch_data(epoch):
        on_epoch(epoch)
        order = np.random.default_rng((7, epoch)).permutation(24)
        return make_dataset(clips, order, labels[order], 8)

    return Training(
        build=build_small,
        optimizer=partial(keras.optimizers.Adam, learning_rate),
        train_data=epoch_data,
        val_data=make_dataset(clips, np.arange(24), labels, 8),
        epochs=epochs,
        seed=7,
    )


def test_parameters_are_counted_in_all_and_those_that_train():
    # 3x3x3 x 3 inputs x 4 filters and biases, four numbers for each channel, 2 x 4 x 4 x 4 and 1.
    total = 27 * 3 * 4 + 4 + 4 * 4 + 2 * 4 * 4 * 4 + 1
    counted = run.count_parameters(build_small())
    assert counted == {"total_parameters": total, "trainable_parameters": total - 2 * 4}


def test_batches_hold_the_right_samples_scaled_and_widened(samples):
    clips, labels = samples
    rows = np.array([5, 3, 20])
    ((batch, y),) = make_dataset(clips, rows, labels[rows], 8)
    assert batch.dtype == "float32" and batch.shape == (3, 4, 6, 6, 3)
    assert np.allclose(batch, to_network_input(clips[rows]), atol=1e-6)
    assert y.numpy().tolist() == [[1.0], [1.0], [0.0]]


def test_a_run_leaves_model_history_and_nothing_half_done(tmp_path, samples):
    folder = RunFolder(tmp_path / "r", {"a": 1})
    run.fit(folder, training(samples), ENVIRONMENT)
    history = folder.history()
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert folder.trained and not folder.finished
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "config.json", "environment.json", "history.csv", "model.keras",
    ]  # fmt: skip
    model = run.load_model(folder)
    model.compile(loss="binary_crossentropy")
    clips, labels = samples
    loss = model.evaluate(make_dataset(clips, np.arange(24), labels, 8), verbose=0)
    assert loss == pytest.approx(min(row["val_loss"] for row in history), rel=1e-4)


def test_a_saved_model_holds_no_optimizer(tmp_path, samples):
    folder = RunFolder(tmp_path / "r", {})
    run.fit(folder, training(samples, epochs=1), ENVIRONMENT)
    saved = keras.models.load_model(folder.path / "model.keras")
    assert not saved.compiled  # Keras would compile it, and read twice its weights for that


def test_prediction_is_that_of_keras_from_one_graph(samples):
    traced = []

    class Watched(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return inputs

    inputs = keras.Input((4, 6, 6, 3))
    outputs = keras.layers.Dense(1)(keras.layers.Flatten()(Watched()(inputs)))
    model, twin = (keras.Model(inputs, outputs) for _ in range(2))
    clips, labels = samples
    batches = make_dataset(clips, np.arange(24), labels, 7)  # the last one is of three
    traced.clear()
    ours = predict(model, batches)
    assert len(traced) == 1
    np.testing.assert_array_equal(ours, twin.predict(batches, verbose=0))
    assert len(ours) == 24 and len(traced) == 3


class Interrupted(BaseException):
    pass


def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path, samples):
    whole = RunFolder(tmp_path / "whole", {})
    run.fit(whole, training(samples), ENVIRONMENT)

    def interrupt(epoch):
        if epoch == 2:
            raise Interrupted

    broken = RunFolder(tmp_path / "broken", {})
    with pytest.raises(Interrupted):
        run.fit(broken, training(samples, on_epoch=interrupt), ENVIRONMENT)
    assert len(broken.history()) == 2 and not broken.trained

    fed = []
    again = RunFolder(tmp_path / "broken", {})
    run.fit(again, training(samples, on_epoch=fed.append), ENVIRONMENT)
    assert fed == [2, 3], "finished epochs are not done twice"
    for one, other in zip(whole.history(), again.history(), strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)
    clips = to_network_input(samples[0])
    assert np.allclose(run.load_model(whole)(clips), run.load_model(again)(clips), atol=1e-5)


def test_a_folder_of_another_run_is_refused(tmp_path):
    RunFolder(tmp_path / "r", {"epochs": 3, "tiles": (1, 2)})
    RunFolder(tmp_path / "r", {"epochs": 4, "tiles": (1, 2)})  # nothing was trained yet
    (tmp_path / "r" / "history.csv").write_text("epoch\n")
    RunFolder(tmp_path / "r", {"epochs": 4, "tiles": (1, 2)})
    with pytest.raises(InputError, match="epochs=4, now 5"):
        RunFolder(tmp_path / "r", {"epochs": 5, "tiles": (1, 2)})


def test_a_damaged_config_is_one_clear_line(tmp_path):
    RunFolder(tmp_path / "r", {"epochs": 4})
    (tmp_path / "r" / "history.csv").write_text("epoch\n")
    (tmp_path / "r" / "config.json").write_text('{"epo')
    with pytest.raises(InputError, match="config.json"):
        RunFolder(tmp_path / "r", {"epochs": 4})


def test_a_diverging_loss_stops_with_advice(tmp_path, samples):
    clips, labels = samples
    diverging = training(samples, learning_rate=float("nan"))
    with pytest.raises(InputError, match="in epoch 1; lower the learning rate"):
        run.fit(RunFolder(tmp_path / "r", {}), diverging, ENVIRONMENT)


@pytest.mark.parametrize("keep", [0, 100, -40])
def test_a_damaged_model_says_what_to_do(tmp_path, samples, keep):
    folder = RunFolder(tmp_path / "seed0", {})
    run.fit(folder, training(samples, epochs=1), ENVIRONMENT, lambda line: None)
    path = folder.path / "model.keras"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="model.keras: cannot be loaded .*train again"):
        run.load_model(folder)


def test_damaged_state_says_what_to_delete(tmp_path, samples):
    folder = RunFolder(tmp_path / "r", {})

    def interrupt(epoch):
        if epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        run.fit(folder, training(samples, on_epoch=interrupt), ENVIRONMENT)
    (state,) = folder.path.glob("state-*.npz")
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(InputError, match="delete"):
        run.fit(folder, training(samples), ENVIRONMENT)


def weights_of(folder):
    return run.load_model(folder).get_weights()


def assert_same_run(one, other):
    for ours, theirs in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours, theirs in zip(one.history(), other.history(), strict=True):
        for name in ("loss", "val_loss", "learning_rate"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


@pytest.fixture
def nothing_compiled():
    run._compiled.clear()
    yield
    run._compiled.clear()


def test_runs_that_share_a_graph_end_as_if_compiled_anew(tmp_path, samples, nothing_compiled):
    plans = [
        training(samples, epochs=2),
        dataclasses.replace(training(samples, epochs=3, learning_rate=0.002), seed=8),
        training(samples, epochs=2),
    ]
    folders = {}
    for graph in ("", "small"):
        for number, plan in enumerate(plans):
            folder = RunFolder(tmp_path / f"{graph}{number}", {})
            run.fit(folder, dataclasses.replace(plan, graph=graph), ENVIRONMENT)
            folders[graph, number] = folder
            if number == 0:
                compiled = run._compiled.get(graph)
        assert run._compiled.get(graph) is compiled  # one for all three; none if not asked for
        assert (compiled is None) == (graph == "")
    for number in range(len(plans)):
        assert_same_run(folders["", number], folders["small", number])
    assert any(
        np.abs(a - b).max() > 1e-3
        for a, b in zip(weights_of(folders["", 0]), weights_of(folders["", 1]), strict=True)
    )


def test_a_run_in_anothers_graph_scales_its_loss_as_float16_asks(
    tmp_path, samples, nothing_compiled
):
    scaled = keras.optimizers.LossScaleOptimizer
    folders = {}
    for graph in ("", "small"):
        for number in range(2):
            plan = dataclasses.replace(
                training(samples, epochs=1), graph=graph,
                optimizer=lambda: scaled(keras.optimizers.Adam(0.01)),
            )  # fmt: skip
            folders[graph, number] = RunFolder(tmp_path / f"{graph}{number}", {})
            run.fit(folders[graph, number], plan, ENVIRONMENT)
    assert_same_run(folders["", 1], folders["small", 1])


def test_a_run_whose_loss_is_scaled_resumes(tmp_path, samples):
    def plan(epochs):
        adam = partial(keras.optimizers.Adam, 0.01)
        scaled = lambda: keras.optimizers.LossScaleOptimizer(adam())  # noqa: E731
        return dataclasses.replace(training(samples, epochs, on_epoch=interrupt), optimizer=scaled)

    def interrupt(epoch):
        if epoch == stop_at:
            raise Interrupted

    stop_at, whole, broken = None, RunFolder(tmp_path / "w", {}), RunFolder(tmp_path / "b", {})
    run.fit(whole, plan(2), ENVIRONMENT)
    stop_at = 1
    with pytest.raises(Interrupted):
        run.fit(broken, plan(2), ENVIRONMENT)
    stop_at = None
    run.fit(broken, plan(2), ENVIRONMENT)
    assert_same_run(whole, broken)


def test_a_run_resumes_in_a_graph_that_another_left_half_way(tmp_path, samples, nothing_compiled):
    whole = RunFolder(tmp_path / "whole", {})
    run.fit(whole, training(samples, epochs=3), ENVIRONMENT)

    def interrupt(epoch):
        if epoch == 2:
            raise Interrupted

    broken = RunFolder(tmp_path / "broken", {})
    plan = dataclasses.replace(training(samples, epochs=3, on_epoch=interrupt), graph="small")
    with pytest.raises(Interrupted):
        run.fit(broken, plan, ENVIRONMENT)
    other = dataclasses.replace(training(samples, epochs=1), graph="small", seed=9)
    run.fit(RunFolder(tmp_path / "other", {}), other, ENVIRONMENT)
    again = dataclasses.replace(training(samples, epochs=3), graph="small")
    run.fit(broken, again, ENVIRONMENT)
    assert_same_run(whole, broken)


def test_another_graph_is_compiled_and_the_last_one_forgotten(tmp_path, samples, nothing_compiled):
    for graph in ("one", "other"):
        plan = dataclasses.replace(training(samples, epochs=1), graph=graph)
        run.fit(RunFolder(tmp_path / graph, {}), plan, ENVIRONMENT)
        assert list(run._compiled) == [graph]


def test_a_run_of_before_goes_on_without_the_settings_that_determine_nothing(tmp_path):
    before = {"epochs": 3, "smooth_samples": 50, "paper_data": False, "mmode_frames": 64}
    RunFolder(tmp_path / "r", before).write_metrics({})
    assert RunFolder(tmp_path / "r", {"epochs": 3}).finished
    with pytest.raises(InputError, match="mmode_frames=64, now 32"):  # of an M-mode network
        RunFolder(tmp_path / "r", {"epochs": 3, "mmode_frames": 32})
    with pytest.raises(InputError, match="epochs=3, now 4"):
        RunFolder(tmp_path / "r", {"epochs": 4})


@pytest.mark.parametrize("text", ["epoch,loss\n0,low\n", "loss\n1\n", "epoch\nnan\n", "a,b\n1\n"])
def test_a_damaged_history_is_one_line(tmp_path, text):
    folder = RunFolder(tmp_path / "r", {})
    (tmp_path / "r" / "history.csv").write_text(text)
    with pytest.raises(InputError, match="history.csv: is no history of epochs .*; delete"):
        folder.history()


def test_the_last_epoch_is_saved_where_none_is_to_be_chosen(tmp_path, samples):
    rising = [{"val_loss": 0.1, "val_accuracy": 0.9}, {"val_loss": 0.5, "val_accuracy": 0.5}]
    assert [run.best_epoch(rising, by) for by in ("val_loss", "val_accuracy", "last")] == [0, 0, 1]
    # A rate that spoils what the first epochs learnt.
    plan = dataclasses.replace(
        training(samples),
        chosen_by="last",
        learning_rate=lambda epoch: (0.01, 0.01, 0.01, 1)[epoch],
    )
    folder = RunFolder(tmp_path / "r", {})
    run.fit(folder, plan, ENVIRONMENT)
    history = folder.history()
    assert history[-1]["val_loss"] > 1.01 * min(row["val_loss"] for row in history)
    model = run.load_model(folder)
    model.compile(loss="binary_crossentropy")
    clips, labels = samples
    loss = model.evaluate(make_dataset(clips, np.arange(24), labels, 8), verbose=0)
    assert loss == pytest.approx(history[-1]["val_loss"], rel=1e-3)


def test_a_run_without_validation_keeps_its_last_epoch(tmp_path, samples):
    plan = dataclasses.replace(training(samples, epochs=2), val_data=None, chosen_by="last")
    folder = RunFolder(tmp_path / "r", {})
    run.fit(folder, plan, ENVIRONMENT)
    assert folder.trained and [row["epoch"] for row in folder.history()] == [0, 1]
    assert not [name for name in folder.history()[0] if name.startswith("val_")]


def build_two_outputs():
    inputs = keras.Input((4, 6, 6, 3))
    x = keras.layers.Flatten()(keras.layers.Conv3D(2, 3, activation="relu")(inputs))
    outputs = {name: keras.layers.Dense(n, activation="softmax", name=name)(x)
               for name, n in (("class", 2), ("region", 3))}  # fmt: skip
    return keras.Model(inputs, outputs)


def test_several_outputs_have_losses_and_columns_of_their_own(tmp_path, samples):
    clips, labels = samples

    def data(epoch=0):
        targets = {"class": np.eye(2)[labels], "region": np.eye(3)[np.arange(24) % 3]}
        plain = make_dataset(clips, np.arange(24), np.arange(24), 8)

        def answer(images, number):
            rows = tf.cast(number[:, 0], tf.int64)
            return images, {name: tf.gather(tf.constant(of, tf.float32), rows)
                            for name, of in targets.items()}  # fmt: skip

        return plain.map(answer)

    import tensorflow as tf

    lines: list[str] = []
    plan = dataclasses.replace(
        training(samples, epochs=2),
        build=build_two_outputs,
        train_data=data,
        val_data=data(),
        loss={name: keras.losses.CategoricalCrossentropy() for name in ("class", "region")},
        loss_weights={"class": 1.0, "region": 0.3},
        chosen_by="last",
    )
    folder = RunFolder(tmp_path / "r", {})
    run.fit(folder, plan, ENVIRONMENT, lines.append)
    for row in folder.history():
        assert set(row) == {
            "epoch", "learning_rate", "seconds",
            *(f"{part}{name}" for part in ("", "val_")
              for name in ("loss", "class_loss", "region_loss", "class_accuracy",
                           "region_accuracy")),
        }  # fmt: skip
        weighted = row["val_class_loss"] + 0.3 * row["val_region_loss"]
        assert row["val_loss"] == pytest.approx(weighted, rel=1e-4)
    assert "val_class_accuracy" in lines[0] and "val_region_loss" in lines[0]
    assert set(run.load_model(folder)(to_network_input(clips))) == {"class", "region"}


def test_a_margin_is_declared_before_the_run_and_stands(tmp_path):
    path = tmp_path / "r"
    declared = path / "declared.json"
    RunFolder(path, {}, 0.05)
    RunFolder(path, {}, 0.02)  # nothing was trained yet
    assert read_json(declared) == {"margin": 0.02}
    write_csv(path / "history.csv", [{"epoch": 0, "loss": 1.0}])
    RunFolder(path, {}, 0.02)
    RunFolder(path, {})  # who only reads declares nothing
    with pytest.raises(InputError, match="a margin of 0.02 was declared before the run, not 0.1"):
        RunFolder(path, {}, 0.1)
    declared.unlink()
    RunFolder(path, {}, 0.1)
    assert not declared.exists()  # nobody can declare afterwards
