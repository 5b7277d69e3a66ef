"""The optimizer takes the steps that torch's Adam, OneCycleLR and clip_grad_value_ take."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024.one_cycle import OneCycle, OneCycleAdam  # noqa: E402
from replication.batches import make_dataset  # noqa: E402
from replication.run import RunFolder, Training, fit  # noqa: E402

PEAK, DECAY, CLIP, STEPS = 0.1, 0.05, 0.4, 20
# What torch 2.13 arrives at from `problem` in 30 steps, of which 20 are of the cycle.
AFTER_10 = [-0.3489818, -0.3391755, -0.9344816, 1.5337504, 0.3107095, 0.4572193,
            0.4703434, -0.5492623]  # fmt: skip
AFTER_30 = [-0.0894122, -0.6574807, -0.6139077, 1.6838111, 0.3265732, 0.1368785,
            0.5464017, -0.8690144]  # fmt: skip


def problem():
    """A linear regression, and where it starts; its gradients are cut in both halves of a run."""
    rng = np.random.default_rng(4)
    inputs, targets = rng.standard_normal((6, 3)), 3 * rng.standard_normal((6, 2))
    weights = [rng.standard_normal((3, 2)), np.zeros(2)]

    def gradients(kernel, bias):
        error = 2 * (inputs @ kernel + bias - targets) / targets.size
        return [inputs.T @ error, error.sum(axis=0)]

    return weights, gradients


def one_cycle(step, first, peak, last, steps):
    """OneCycleLR as torch documents it, in float64."""
    phases = [(0, 0.3 * steps - 1, first, peak), (0.3 * steps - 1, steps - 1, peak, last)]
    step = min(step, steps)  # the released code steps no further
    begin, end, start, stop = phases[0] if step <= phases[0][1] else phases[1]
    share = (step - begin) / (end - begin)
    return stop + (start - stop) / 2 * (math.cos(math.pi * share) + 1)


def torch_adam(steps):
    """The weights after each step of clip_grad_value_ and torch's Adam, as it is documented."""
    weights, gradients = problem()
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    path = []
    for k in range(steps):
        rate = one_cycle(k, PEAK / 25, PEAK, PEAK / 25 / 1e4, STEPS)
        beta_1, beta_2 = one_cycle(k, 0.95, 0.85, 0.95, STEPS), 0.999
        for i, gradient in enumerate(gradients(*weights)):
            gradient = np.clip(gradient, -CLIP, CLIP) + DECAY * weights[i]
            first[i] = beta_1 * first[i] + (1 - beta_1) * gradient
            second[i] = beta_2 * second[i] + (1 - beta_2) * gradient**2
            mean = first[i] / (1 - beta_1 ** (k + 1))
            root = np.sqrt(second[i] / (1 - beta_2 ** (k + 1)))
            weights[i] = weights[i] - rate * mean / (root + 1e-8)
        path.append(np.concatenate([w.ravel() for w in weights]))
    return path


def our_adam(steps, stop_at=None, in_graph=False):
    """The same by OneCycleAdam; with `stop_at` a new optimizer takes the state over there."""
    import tensorflow as tf

    start, gradients = problem()
    variables = [keras.Variable(w, dtype="float32") for w in start]

    def new():
        optimizer = OneCycleAdam(PEAK, STEPS, DECAY, clipvalue=CLIP)
        optimizer.build(variables)
        return optimizer, tf.function(optimizer.apply) if in_graph else optimizer.apply

    optimizer, apply = new()
    path = []
    for k in range(steps):
        if k == stop_at:
            state = [np.asarray(v) for v in optimizer.variables]
            optimizer, apply = new()
            for variable, value in zip(optimizer.variables, state, strict=True):
                variable.assign(value)
        exact = gradients(*(np.asarray(v, np.float64) for v in variables))
        apply([tf.constant(g, tf.float32) for g in exact])
        path.append(np.concatenate([np.asarray(v).ravel() for v in variables]))
    return path


def test_thirty_steps_are_those_of_torch():
    expected = torch_adam(30)
    np.testing.assert_allclose(expected[9], AFTER_10, atol=2e-7)
    np.testing.assert_allclose(expected[29], AFTER_30, atol=2e-7)
    for in_graph in (False, True):
        np.testing.assert_allclose(our_adam(30, in_graph=in_graph), expected, atol=1e-5)


def test_the_problem_tells_each_part_of_the_optimizer(monkeypatch):
    """Without decay, clipping or the cycle of beta 1 the weights would be others."""
    whole = torch_adam(30)
    for name, value in (("DECAY", 0.0), ("CLIP", 1e9)):
        with monkeypatch.context() as changed:
            changed.setitem(globals(), name, value)
            assert np.abs(np.subtract(torch_adam(30), whole)).max() > 0.01
    with monkeypatch.context() as changed:
        cycle = one_cycle
        changed.setitem(globals(), "one_cycle", lambda k, *v: 0.9 if v[0] == 0.95 else cycle(k, *v))
        assert np.abs(np.subtract(torch_adam(30), whole)).max() > 0.001


def test_a_resumed_optimizer_goes_on_where_it_was():
    np.testing.assert_array_equal(our_adam(30, stop_at=13), our_adam(30))


def test_epsilon_is_added_where_torch_adds_it():
    """A gradient as small as epsilon: where Keras adds it, the step would be a 16th."""
    variable = keras.Variable(np.zeros(1), dtype="float32")
    optimizer = OneCycleAdam(1.0, 2)  # starts at the rate of step 0
    optimizer.build([variable])
    optimizer.apply([np.array([1e-8], np.float32)])
    rate = one_cycle(0, 1 / 25, 1, 1 / 25e4, 2)
    np.testing.assert_allclose(np.asarray(variable), -rate * 0.5, rtol=1e-3)


# The rate and beta 1 by torch at steps 0, 1, at the peak, past it, at the end and after it.
CYCLE = {
    0: (0.004, 0.95),
    1: (0.01316718427, 0.94045084972),
    5: (0.1, 0.85),
    6: (0.09874640062, 0.85125360439),
    19: (4e-7, 0.95),
    20: (0.00125399938, 0.94874639561),
    29: (0.00125399938, 0.94874639561),
}


def test_schedule_at_start_peak_end_and_after_it():
    optimizer = OneCycleAdam(PEAK, STEPS)
    for step, (rate, beta_1) in CYCLE.items():
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-4, abs=1e-8)
        assert float(optimizer.beta_1_schedule(step)) == pytest.approx(beta_1, rel=1e-6)
        assert one_cycle(step, 0.004, 0.1, 4e-7, 20) == pytest.approx(rate, rel=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 100])
def test_short_cycles_are_torchs_too(steps):
    schedule = OneCycle(0.04, 1.0, 0.004, steps)
    ours = [float(schedule(step)) for step in range(steps + 3)]
    exact = [one_cycle(step, 0.04, 1.0, 0.004, steps) for step in range(steps + 3)]
    np.testing.assert_allclose(ours, exact, atol=1e-5)
    assert ours[-1] == ours[steps]


def test_schedule_and_optimizer_are_saved_under_their_names():
    optimizer = OneCycleAdam(PEAK, STEPS, DECAY, clipvalue=CLIP, name="adam")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, OneCycleAdam)
    assert again.get_config() == optimizer.get_config()
    assert again.coupled_weight_decay == DECAY and again.weight_decay is None
    schedule = OneCycle(0.1, 1.0, 0.0, 7)
    schedules = keras.optimizers.schedules
    copy = schedules.deserialize(schedules.serialize(schedule))
    assert isinstance(copy, OneCycle) and copy.get_config() == schedule.get_config()
    with pytest.raises(ValueError, match="steps must be 1 or more, not 0"):
        OneCycleAdam(PEAK, 0)


def build_small():
    return keras.Sequential(
        [
            keras.Input((2, 4, 4, 3)),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(4, activation="relu", name="dense"),
            keras.layers.Dense(1, activation="sigmoid", name="sliding"),
        ]
    )


def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path):
    rng = np.random.default_rng(0)
    clips, labels = rng.integers(0, 255, (12, 2, 4, 4)).astype(np.uint8), np.arange(12) % 2
    batches = make_dataset(clips, np.arange(12), labels, 4)
    training = Training(
        build=build_small,
        optimizer=partial(OneCycleAdam, 0.01, 9, 0.001, 0.4),
        train_data=lambda epoch: batches,
        val_data=batches,
        epochs=4,
        seed=3,
    )

    def interrupted(epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches

    histories = []
    for name in ("whole", "broken"):
        folder = RunFolder(tmp_path / name, {})
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                fit(folder, replace(training, train_data=interrupted), {}, say=len)
        fit(folder, training, {}, say=len)
        histories.append(folder.history())
    for whole, broken in zip(*histories, strict=True):
        assert whole["loss"] == pytest.approx(broken["loss"], rel=1e-6)
        assert whole["learning_rate"] == pytest.approx(broken["learning_rate"], rel=1e-6)
    rates = [row["learning_rate"] for row in histories[0]]
    exact = [one_cycle(step, 0.01 / 25, 0.01, 0.01 / 25e4, 9) for step in (3, 6, 9, 12)]
    np.testing.assert_allclose(rates, exact, rtol=1e-4)
