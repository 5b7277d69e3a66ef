"""RAFT in the study: measured into the store, or trained inside the network."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

keras = pytest.importorskip("keras")

from lungsliding_tf.dzhulai2024 import train  # noqa: E402
from lungsliding_tf.dzhulai2024.batches import read_clip  # noqa: E402
from lungsliding_tf.dzhulai2024.config import DzhulaiConfig  # noqa: E402
from lungsliding_tf.dzhulai2024.data import prepare_all, prepare_flow, prepare_frames  # noqa: E402
from lungsliding_tf.dzhulai2024.experiments import plan  # noqa: E402
from lungsliding_tf.dzhulai2024.flow import raft_input  # noqa: E402
from lungsliding_tf.dzhulai2024.raft import build_raft  # noqa: E402
from lungsliding_tf.dzhulai2024.raft_weights import PARTS, load_raft  # noqa: E402
from lungsliding_tf.dzhulai2024.split import split_clips  # noqa: E402
from preprocessing.errors import InputError  # noqa: E402
from replication.records import read_json  # noqa: E402


def silent(line):
    """For those who say what they do."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the small variant, in a file with torchvision's names."""
    entries = {}
    for variable in build_raft("small", updates=1).variables:
        layer, part = variable.path.split("/")[-2:]
        name, axes = PARTS[part]
        entries[f"{layer}.{name}"] = np.ascontiguousarray(
            variable.numpy().transpose(np.argsort(axes))
        )
    path = tmp_path_factory.mktemp("raft") / "raft_small.safetensors"
    save_file(entries, path)
    return path


@pytest.fixture(scope="module")
def config(write_cohort, tmp_path_factory, weights):
    """Videos of one clip each."""
    data = write_cohort(tmp_path_factory.mktemp("raft_data"), present=5, absent=3, frames=14)
    return DzhulaiConfig(
        data, tmp_path_factory.mktemp("out"), network=("cmwra",), size=32, cmwra_frames=12,
        flow="raft-small", raft_weights=weights, raft_updates=1, batch_size=2, epochs=1,
        schedule_epochs=1, equal_ratios=False,
    )  # fmt: skip


def test_flow_in_the_store_is_rafts(config, weights):
    frames = prepare_frames(config, False, silent)
    flow = prepare_flow(config, frames, False, 1, silent)
    assert flow.recipe["flow"] == "raft-small" and len(flow.recipe["weights"]) == 64
    model = load_raft("small", weights, updates=1)
    pair = [cv2.resize(frame, (128, 128), interpolation=cv2.INTER_CUBIC)
            for frame in np.asarray(frames.samples[:2])]  # fmt: skip
    direct = model.predict([raft_input(np.stack([frame])) for frame in pair], verbose=0)[0]
    expected = cv2.resize(direct / 4, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(flow.samples[0], expected, atol=0.02 * np.abs(expected).max())


def test_raft_inside_the_network_is_trained_with_it(config, weights):
    """The released protocol, through the study."""
    trainable = replace(config, raft="trainable")
    stores = prepare_all(trainable, silent)
    assert set(stores) == {(False, 0)}, "no flow is stored"
    (one,) = plan(trainable)
    given = read_clip(one, split_clips(one, stores, seed=0), 0)
    assert given.shape == (12, 32, 32, 1) and given.max() > 100, "gray levels, as RAFT expects"
    verdicts = train.run_study(trainable, stores, silent)
    assert {v.experiment for v in verdicts} == {"cmwra-raft-small-trainable"}
    folder = config.out / "runs" / "dzhulai2024" / "cmwra-raft-small-trainable" / "seed0"
    assert read_json(folder / "environment.json")["flow"] == "raft-small, trainable"
    model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    raft = next(layer for layer in model.layers if layer.name.startswith("raft_small"))
    before = load_raft("small", weights, updates=1)
    changed = [not np.array_equal(was.numpy(), now.numpy()) for was, now in
               zip(before.trainable_variables, raft.trainable_variables, strict=True)]  # fmt: skip
    assert len(changed) > 50 and np.mean(changed) > 0.9


def test_weights_of_the_other_variant_are_refused(config, tmp_path):
    large = replace(config, flow="raft-large", out=tmp_path)
    with pytest.raises(InputError, match="holds raft_small, not raft_large"):
        prepare_all(large, silent)
