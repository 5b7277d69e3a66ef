import numpy as np
import pytest

keras = pytest.importorskip("keras")

from replication import heatmaps  # noqa: E402


@pytest.fixture(scope="module")
def corner_model():
    """A network that looks at the upper left quarter of frames 2 and 3 alone."""
    weights = np.zeros((4, 8, 8, 1), np.float32)
    weights[2:, :4, :4] = 1
    clip = keras.Input((4, 8, 8, 1))
    x = keras.layers.Flatten()(clip)
    out = keras.layers.Dense(1, activation="sigmoid", name="sliding")(x)
    model = keras.Model(clip, out)
    model.set_weights([weights.reshape(-1, 1) * 0.05, np.zeros(1, np.float32)])
    return model


@pytest.fixture
def clip():
    return np.random.default_rng(0).random((1, 4, 8, 8, 1), np.float32)


@pytest.mark.parametrize("method", [heatmaps.vanilla_saliency, heatmaps.smoothgrad])
@pytest.mark.parametrize("positive", [True, False])
def test_heat_lies_where_the_network_looks(corner_model, clip, method, positive):
    heat = method(corner_model, clip, positive)
    assert heat.shape == (1, 4, 8, 8)
    assert 0 <= heat.min() and heat.max() == pytest.approx(1.0, abs=1e-4)
    seen = np.zeros((4, 8, 8), bool)
    seen[2:, :4, :4] = True
    assert heat[0][seen].min() > 0.5
    assert heat[0][~seen].max() < 1e-3


def test_smoothgrad_is_repeatable_and_leaves_the_random_state_alone(corner_model, clip):
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    first = heatmaps.smoothgrad(corner_model, clip, samples=3, seed=1)
    assert np.random.random() == expected
    assert np.array_equal(first, heatmaps.smoothgrad(corner_model, clip, samples=3, seed=1))


def test_contact_sheet_has_a_column_for_every_sixth_frame(tmp_path):
    import matplotlib.image

    rng = np.random.default_rng(0)
    clip, heat = rng.integers(0, 255, (60, 30, 30), np.uint8), rng.random((60, 30, 30))
    path = tmp_path / "sheet.png"
    heatmaps.save_contact_sheet(path, clip, [("saliency", heat), ("SmoothGrad", heat)], "phantom")
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 2 * picture.shape[0]  # ten columns, three rows
