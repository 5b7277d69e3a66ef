"""Contact sheets of small networks whose place and time of interest are known."""

from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024 import explain  # noqa: E402
from lungsliding_tf.dzhulai2024.config import DzhulaiConfig  # noqa: E402
from lungsliding_tf.dzhulai2024.experiments import Planned  # noqa: E402
from lungsliding_tf.dzhulai2024.split import Clips  # noqa: E402
from preprocessing.store import StoreWriter  # noqa: E402
from replication import overlays  # noqa: E402

FRAMES, SIDE = 12, 32
# What the networks below look at: the upper left quarter of all but the first four frames.
SEEN = np.zeros((FRAMES, SIDE, SIDE), bool)
SEEN[4:, :16, :16] = True


@pytest.fixture
def config(tmp_path):
    return DzhulaiConfig(tmp_path, tmp_path, size=SIDE, frames=FRAMES, cmwra_frames=FRAMES,
                         flow="dis", smooth_samples=2)  # fmt: skip


@pytest.fixture
def clips(tmp_path):
    """Ten clips of noise, the last four to test, with flow; half of them absent."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 255, (10 * FRAMES, SIDE, SIDE)).astype(np.uint8)
    flow = rng.normal(0, 1, (*gray.shape, 2)).astype(np.float16)
    stores = [write_store(tmp_path / "gray", gray), write_store(tmp_path / "flow", flow)]
    names = np.array([f"P{i}" for i in range(10)])
    parts = np.array(["train"] * 6 + ["test"] * 4)
    return Clips(*stores, np.arange(10) * FRAMES, FRAMES, names, names, np.arange(10) % 2, parts,
                 leaky=False, near_duplicates=0, mean=127.0, deviation=74.0)  # fmt: skip


def write_store(folder, samples):
    with StoreWriter(folder, {"sources": []}, samples.shape[1:], samples.dtype) as writer:
        for sample in samples:
            writer.add(sample, {"label": 0})
        writer.finish_source({"file": "a", "reason": ""})
        return writer.close()


def build_cropped(channels: int = 1, frames: int = FRAMES):
    """Two 3D convolutions, which are shown `SEEN` alone and black elsewhere; their mean is the
    logit of absence."""
    layers = keras.layers
    clip = keras.Input((frames, SIDE, SIDE, channels))
    x = layers.Cropping3D(((4, 0), (0, 16), (0, 16)))(clip)
    x = layers.ZeroPadding3D(((4, 0), (0, 16), (0, 16)))(x)
    x = layers.Conv3D(2, 1, use_bias=False, activation="relu", name="conv1")(x)
    x = layers.Conv3D(2, 1, use_bias=False, activation="relu", name="conv2")(x)
    x = layers.MaxPooling3D(2, name="pool")(x)
    x = layers.GlobalAveragePooling3D(name="mean")(x)
    model = keras.Model(clip, layers.Dense(1, use_bias=False, name="absent")(x))
    model.get_layer("conv1").set_weights([np.tile([[[[[1, -1]]]]], (1, 1, 1, channels, 1))])
    model.get_layer("conv2").set_weights([np.eye(2)[None, None, None]])
    model.get_layer("absent").set_weights([np.array([[1.0], [1.0]])])
    return model


def build_flattened():
    """Convolves everything; the dense layer on the flattened maps reads `SEEN` alone."""
    layers = keras.layers
    clip = keras.Input((FRAMES, SIDE, SIDE, 1))
    x = layers.Conv3D(2, 1, use_bias=False, activation="relu", name="conv")(clip)
    x = layers.MaxPooling3D(4, name="pool")(x)  # (B, 3, 8, 8, 2)
    out = layers.Dense(1, use_bias=False, name="absent")(layers.Flatten(name="flatten")(x))
    model = keras.Model(clip, out)
    weights = np.zeros((FRAMES // 4, 8, 8, 2, 1))
    weights[1:, :4, :4] = 1
    model.get_layer("conv").set_weights([np.array([[[[[1.0, -1.0]]]]])])
    model.get_layer("absent").set_weights([weights.reshape(-1, 1)])
    return model


def share_seen(heat: np.ndarray, margin: int = 0) -> float:
    """Share of a map's heat inside `SEEN`, widened by what enlarging a map of coarse cells adds."""
    seen = np.zeros_like(SEEN)
    seen[4 - margin :, : 16 + margin, : 16 + margin] = True
    return float(heat[seen].sum() / heat.sum())


def test_all_maps_light_the_place_and_time_that_the_network_looks_at(clips, config):
    one = Planned("cmwru", config, "cmwru")
    clip = explain.read_clip(one, clips, 7)
    maps = dict(explain.heat_maps(build_cropped(), clip, 1, smooth_samples=2))
    assert list(maps) == ["saliency", "SmoothGrad", "Grad-CAM", "HiResCAM"]
    for name, heat in maps.items():
        assert heat.shape == (FRAMES, SIDE, SIDE), name
        assert 0 <= heat.min() and heat.max() == pytest.approx(1, abs=1e-5), name
        margin = {"Grad-CAM": 0, "HiResCAM": 1}.get(name, 3)  # as far as the blur for the eye goes
        assert share_seen(heat, margin) > 0.99, name


def test_hirescam_tells_places_that_the_dense_layer_ignores(clips, config):
    clip = explain.read_clip(Planned("cmwru", config, "cmwru"), clips, 7)
    maps = dict(explain.heat_maps(build_flattened(), clip, 1, smooth_samples=2))
    assert share_seen(maps["HiResCAM"], margin=2) > 0.99
    # The weights of a whole map are those of its mean, and both maps are bright all over.
    assert share_seen(maps["Grad-CAM"], margin=2) < 0.5


def test_nothing_speaks_for_the_other_class(clips, config):
    clip = explain.read_clip(Planned("cmwru", config, "cmwru"), clips, 7)
    maps = dict(explain.heat_maps(build_cropped(), clip, 0, smooth_samples=2))
    assert not maps["Grad-CAM"].any() and not maps["HiResCAM"].any()
    assert maps["saliency"].any()


@pytest.fixture
def sheets(monkeypatch):
    """What is handed to the drawing of each sheet."""
    drawn = {}
    save = overlays.save_contact_sheet

    def keep(path, clip, maps, title, **options):
        drawn[path.name] = (clip, dict(maps), title)
        save(path, clip, maps, title, **options)

    monkeypatch.setattr(overlays, "save_contact_sheet", keep)
    return drawn


def test_the_surest_clip_of_each_class_is_explained(tmp_path, clips, config, sheets):
    scores = np.array([0.4, 0.6, 0.3, 0.9])  # of clips 6 to 9; those of odd number are absent
    one = Planned("cmwru", config, "cmwru")
    explain.save_explanations(tmp_path, one, build_cropped(), clips, scores)
    assert set(sheets) == {"heatmaps-present.png", "heatmaps-absent.png"}
    for name, number in (("present", 8), ("absent", 9)):
        clip, _, title = sheets[f"heatmaps-{name}.png"]
        start = number * FRAMES
        np.testing.assert_array_equal(clip, clips.frames.samples[start : start + FRAMES])
        assert f"sliding {name}" in title and f"{scores[number - 6]:.2f}" in title
        picture = matplotlib.image.imread(tmp_path / f"heatmaps-{name}.png")[..., :3]
        assert picture.shape[1] > 800 and picture.shape[0] > 500  # eight columns, five rows
        assert np.ptp(picture, axis=-1).max() > 0.2  # heat, in colour, over gray frames


def test_flow_is_explained_over_the_frames_it_starts_from(tmp_path, clips, config, sheets):
    one = Planned("cmwra-dis", config, "cmwra")
    model = build_cropped(channels=2, frames=FRAMES - 1)
    explain.save_explanations(tmp_path, one, model, clips, np.array([0.4, 0.6, 0.3, 0.9]))
    clip, maps, _ = sheets["heatmaps-absent.png"]
    assert clip.shape == (FRAMES - 1, SIDE, SIDE)
    np.testing.assert_array_equal(clip, clips.frames.samples[9 * FRAMES : 10 * FRAMES - 1])
    flow = clips.flow.samples[9 * FRAMES : 10 * FRAMES - 1].astype(np.float32)
    row, speed = next(iter(maps.items()))
    expected = np.hypot(flow[..., 0], flow[..., 1])
    assert row == f"flow to {np.quantile(expected, 0.995):.2g} px"
    inside = speed < 1
    assert inside.mean() == pytest.approx(0.995, abs=0.001)
    ratio = speed[inside] / expected[inside]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_a_class_without_clips_and_a_network_with_raft_inside_have_no_picture(
    tmp_path, clips, config
):
    figures = tmp_path / "figures"
    figures.mkdir()
    present = replace(clips, labels=np.zeros(10, int))
    one = Planned("cmwru", config, "cmwru")
    scores = np.array([0.4, 0.6, 0.3, 0.9])
    explain.save_explanations(figures, one, build_cropped(), present, scores)
    assert [path.name for path in figures.iterdir()] == ["heatmaps-present.png"]
    trainable = replace(config, flow="raft-small", raft="trainable")
    one = Planned("cmwra-raft-small-trainable", trainable, "cmwra")
    (figures / "heatmaps-present.png").unlink()
    explain.save_explanations(figures, one, build_cropped(), clips, scores)
    assert not list(figures.iterdir())


def test_in_the_control_experiment_classes_have_its_names(tmp_path, clips, config, sheets):
    one = Planned(
        "cmwru-control_frozen", replace(config, control_frozen=True, network=("cmwru",)), "cmwru"
    )
    scores = np.array([0.4, 0.6, 0.3, 0.9])
    explain.save_explanations(tmp_path, one, build_cropped(), clips, scores)
    assert set(sheets) == {"heatmaps-moving.png", "heatmaps-frozen.png"}
    assert "frozen; probability of frozen 0.90" in sheets["heatmaps-frozen.png"][2]
