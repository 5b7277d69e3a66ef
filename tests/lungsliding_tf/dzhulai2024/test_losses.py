"""The focal loss is torchvision's sigmoid_focal_loss."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024.losses import focal_loss  # noqa: E402


def expected_loss(logits, labels, alpha, gamma):
    """The formula of the focal loss on logits, in float64."""
    logits = logits.astype(np.float64)
    entropy = np.logaddexp(0, logits) - logits * labels
    probability = 1 / (1 + np.exp(-logits))
    wrong = np.where(labels == 1, 1 - probability, probability)
    weight = 1 if alpha is None else np.where(labels == 1, alpha, 1 - alpha)
    return weight * wrong**gamma * entropy


@pytest.fixture(scope="module", params=[1, 8, 60])
def answers(request):
    """Logits of three sizes: near zero, confident, and beyond where a float32 sigmoid is 0 or 1."""
    rng = np.random.default_rng(0)
    logits = (request.param * rng.standard_normal((48, 1))).astype(np.float32)
    return logits, (rng.random((48, 1)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("alpha", [None, 0.8])
@pytest.mark.parametrize("gamma", [1, 1.5, 2, 3])
def test_value_and_gradient_are_the_formulas(answers, alpha, gamma):
    import tensorflow as tf

    logits, labels = answers
    loss = focal_loss(alpha, gamma)

    def value_and_gradient(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    step = 1e-4
    near = [expected_loss(logits.astype(np.float64) + d, labels, alpha, gamma)
            for d in (-step, 0, step)]  # fmt: skip
    slope = (near[2] - near[0]) / (2 * step) / len(logits)
    for run in (value_and_gradient, tf.function(value_and_gradient)):
        value, gradient = run(tf.constant(logits), tf.constant(labels))
        assert float(value) == pytest.approx(near[1].mean(), rel=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-6)


# sigmoid_focal_loss of torchvision 0.29 for logits -3, -0.5, 0, 2 and labels 1, 0, 1, 0, as means.
TORCHVISION = {(0.8, 1): 0.75273454, (0.25, 2): 0.50578260, (None, 3): 1.05015659}


@pytest.mark.parametrize("settings", TORCHVISION)
def test_losses_are_those_of_torchvision(settings):
    logits = np.array([[-3], [-0.5], [0], [2]], np.float32)
    labels = np.array([1, 0, 1, 0])  # of any kind and rank
    value = float(focal_loss(*settings)(labels, logits))
    assert value == pytest.approx(TORCHVISION[settings], rel=1e-5)


def test_one_loss_for_each_clip():
    logits = np.array([[-3], [-0.5], [0], [2]], np.float32)
    labels = np.array([[1], [0], [1], [0]], np.float32)
    each = np.asarray(focal_loss(0.8, 1, reduction="none")(labels, logits))
    assert each.shape == (4,)
    np.testing.assert_allclose(each, expected_loss(logits, labels, 0.8, 1)[:, 0], rtol=1e-5)


def test_auto_weighs_by_the_share_of_clips_with_sliding():
    labels = [0] * 139 + [1] * 32  # the paper's videos
    assert focal_loss("auto", 1, labels=labels).alpha == pytest.approx(139 / 171)
    assert focal_loss("auto", 1, labels=np.array(labels)).alpha == pytest.approx(139 / 171)
    assert not focal_loss(None, 1).apply_class_balancing
    for nothing in (None, []):
        with pytest.raises(ValueError, match='"auto" needs the labels'):
            focal_loss("auto", 1, labels=nothing)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="gamma must be 1 or more, not 0.5"):
        focal_loss(0.8, 0.5)
    with pytest.raises(ValueError, match="alpha must be in 0..1, not 1.2"):
        focal_loss(1.2, 1)
