"""The two heads on a backbone, and the loss that trains them."""

import keras
import numpy as np
import pytest
from keras import layers

from cnr_iemn.multitask import build_slice_network

FEATURES = 24


def backbone() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(FEATURES, 3, activation="relu")(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="small")


def images(count=4) -> np.ndarray:
    return np.random.default_rng(0).random((count, 12, 12, 3), np.float32)


def places(count=4) -> np.ndarray:
    return np.random.default_rng(1).random((count, 2), np.float32)


def test_two_tasks_are_probabilities_of_both():
    model = build_slice_network(backbone(), 3, 5)
    outputs = model([images(), places()])
    assert model.name == "small" and set(outputs) == {"class", "region"}
    assert outputs["class"].shape == (4, 3) and outputs["region"].shape == (4, 5)
    for scores in outputs.values():
        np.testing.assert_allclose(np.sum(scores, axis=1), 1, atol=1e-5)


def test_one_task_has_images_alone():
    model = build_slice_network(backbone(), 3)
    assert model(images()).shape == (4, 3) and len(model.inputs) == 1
    np.testing.assert_allclose(np.sum(model(images()), axis=1), 1, atol=1e-5)


def test_parameters_are_the_features_plus_place_times_outputs():
    alone = backbone().count_params()
    assert build_slice_network(backbone(), 3).count_params() == alone + (FEATURES + 1) * 3
    both = build_slice_network(backbone(), 3, 5).count_params()
    assert both == alone + (FEATURES + 3) * (3 + 5)


def test_the_place_is_joined_to_the_features():
    model = build_slice_network(backbone(), 3, 5)
    one, other = model([images(), places()]), model([images(), 1 - places()])
    for name in ("class", "region"):
        assert np.abs(one[name] - other[name]).max() > 1e-3
    # In the order of the docstring: first the number of slices, then the location.
    kernel = np.zeros((FEATURES + 2, 5), np.float32)
    kernel[-1, 2], kernel[-2, 4] = 30, 0.5
    model.get_layer("region").set_weights([kernel, np.zeros(5, np.float32)])
    found = model([images(2), np.array([[1, 0], [0, 1]], np.float32)])["region"]
    assert np.argmax(found, axis=1).tolist() == [4, 2]


def test_heads_start_uniform_within_the_bounds_and_biases_at_zero():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    wide = keras.Model(inputs, layers.Dense(2000)(inputs))
    for regions, joined in ((0, 2000), (5, 2002)):
        model = build_slice_network(wide, 3, regions)
        for name in ("class", "region")[: 1 + bool(regions)]:
            kernel, bias = model.get_layer(name).get_weights()
            bound = joined**-0.5
            assert len(kernel) == joined and np.abs(kernel).max() <= bound
            # The spread of a uniform distribution; a normal one of that variance goes beyond.
            assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.03)
            assert np.abs(kernel).max() > 0.99 * bound
            assert not bias.any()


def test_scores_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_slice_network(backbone(), 3, 5)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {str(t.dtype) for t in model.outputs} == {"float32"}


@pytest.fixture
def given(monkeypatch, make_store, make_labels, small_config):
    """What `fit` is given for a scenario: the `Training`."""
    from cnr_iemn import train
    from cnr_iemn.runs import SliceRun, run_folder
    from cnr_iemn.split import split_scans

    names = [(f"{letter}{n}", label) for letter, label in zip("nca", range(3), strict=True)
             for n in range(3)]  # fmt: skip
    store = make_store(names)
    infected = {f"{c}{n}": [True] * 4 for c in "ca" for n in range(3)}
    labels = make_labels(infected, ["n0", "n1", "n2"])
    slices = split_scans(small_config, store, labels, 0)
    found = []
    monkeypatch.setattr(train.run, "fit", lambda folder, training, *rest: found.append(training))

    def of(scenario):
        slice_run = SliceRun(scenario, "densenet161", 0)
        folder = run_folder(small_config, slices, slice_run)
        train._train(small_config, folder, slice_run, slices, {"precision": "float32"}, print)
        return found[-1]

    return of


def test_the_loss_is_the_focal_loss_of_the_paper(given):
    training = given("multitask")
    answers = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    scores = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.05, 0.9, 0.05]], np.float32)
    p = np.array([0.7, 0.3, 0.05])
    expected = np.mean((1 - p) ** 1.5 * -np.log(p))
    for name in ("class", "region"):
        ours = float(training.loss[name](answers, scores))
        assert ours == pytest.approx(expected, rel=1e-5)
    assert training.loss_weights == {"class": 1.0, "region": 0.3}
    assert float(given("gray").loss(answers, scores)) == pytest.approx(expected, rel=1e-5)


def test_training_is_that_of_its_scenario(given, small_config):
    multitask, gray = given("multitask"), given("gray")
    assert multitask.epochs == small_config.epochs and gray.epochs == small_config.plain_epochs
    assert multitask.chosen_by == gray.chosen_by == "last" and gray.loss_weights is None
    assert isinstance(gray.optimizer(), keras.optimizers.Adam)
    assert float(gray.optimizer().learning_rate) == pytest.approx(1e-4)
    assert multitask.graph and multitask.graph != gray.graph
    assert gray.learning_rate(10) == pytest.approx(1e-5)
