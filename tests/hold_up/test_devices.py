"""Two devices of one machine that share each batch: a step is the step of one device.

TensorFlow makes two logical devices of the CPU; it does so only before its start, hence a process
of its own for all cases.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

CASES = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from keras import layers
from replication import run
from replication.batches import make_dataset
from replication.fused import FusedAdam

rng = np.random.default_rng(0)
labels = np.arange(24) % 2
clips = (rng.integers(0, 150, (24, 4, 8, 8)) + 80 * labels[:, None, None, None]).astype(np.uint8)

def build(norm):
    clip = keras.Input((4, 8, 8, 3))
    x = layers.Conv3D(4, 3, activation="relu")(clip)
    x = layers.BatchNormalization(momentum=0.5)(x) if norm else x
    x = layers.Flatten()(x)
    return keras.Model(clip, layers.Dense(1, activation="sigmoid")(x))

def trained(name, devices, norm, optimizer, samples, epochs=1):
    batches = lambda rows: make_dataset(clips, rows, labels[rows], 8)
    order = lambda epoch: np.random.default_rng((7, epoch)).permutation(samples)
    plan = run.Training(
        build=lambda: build(norm), optimizer=optimizer, train_data=lambda e: batches(order(e)),
        val_data=batches(np.arange(15)), epochs=epochs, seed=7, devices=devices,
        chosen_by="last",
    )
    folder = run.RunFolder(Path(sys.argv[1]) / f"{name}-{devices}", {})
    run.fit(folder, plan, {}, lambda line: None)
    return folder

CASES = {
    # One step of size 1: the change of a weight is its gradient.
    "gradient": (False, lambda: keras.optimizers.SGD(1.0), 8),
    "epochs": (False, lambda: FusedAdam(0.01), 24, 3),
    "batch norm": (True, lambda: keras.optimizers.Adam(0.01), 24, 3),
    "last alone": (True, lambda: FusedAdam(0.01), 17),
    "left out": (False, lambda: keras.optimizers.SGD(0.1), 21),
}
found = {}
def farthest(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))

for name, case in CASES.items():
    one, two = (trained(name, devices, *case) for devices in ("one", "all"))
    model, shared = (run.load_model(folder) for folder in (one, two))
    keras.utils.set_random_seed(7)
    initial = build(case[0]).get_weights()
    epochs = zip(one.history(), two.history(), strict=True)
    found[name] = {
        "weights": farthest(model.get_weights(), shared.get_weights()),
        "moved": farthest(model.get_weights(), initial),
        "figures": max(abs(a[k] - b[k]) for a, b in epochs for k in a if k != "seconds"),
        "columns": sorted(two.history()[0]) == sorted(one.history()[0]),
        "layers": sorted({type(layer).__module__ for layer in shared.layers}),
        "synchronized": [x.synchronized for x in shared.layers if hasattr(x, "synchronized")],
    }
# An epoch of the second is one of the first with the state between them read back from disk.
again = run.RunFolder(Path(sys.argv[1]) / "again", {})
plan = lambda epochs: run.Training(
    build=lambda: build(True), optimizer=lambda: keras.optimizers.Adam(0.01),
    train_data=lambda e: make_dataset(clips, np.arange(24), labels, 8), val_data=None,
    epochs=epochs, seed=7, chosen_by="last", devices="all",
)
class Stop(Exception): pass
def stop(line): raise Stop
try: run.fit(again, plan(2), {}, stop)
except Stop: pass
assert len(again.history()) == 1
run.fit(again, plan(2), {}, lambda line: None)
whole = run.RunFolder(Path(sys.argv[1]) / "whole", {})
run.fit(whole, plan(2), {}, lambda line: None)
weights = [run.load_model(folder).get_weights() for folder in (again, whole)]
found["resumed"] = farthest(*weights)
try:
    from replication.devices import equal_parts
    equal_parts(make_dataset(clips, np.arange(24), labels, 5), 2)
except ValueError as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-c", CASES, str(tmp_path_factory.mktemp("devices"))],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", ["gradient", "epochs"])
def test_loss_gradients_and_weights_are_those_of_one_device(found, case):
    assert found[case]["moved"] > 1e-3
    assert found[case]["weights"] < 1e-5 and found[case]["figures"] < 1e-5
    assert found[case]["columns"]


def test_batch_norm_takes_its_statistics_over_all_devices(found):
    case = found["batch norm"]
    assert case["moved"] > 1e-2
    assert case["weights"] < 1e-3 and case["figures"] < 1e-3  # its variance is E[x2] - E[x]2
    assert case["synchronized"] == [False]
    assert all(module.startswith("keras.") for module in case["layers"])


def test_a_last_sample_that_is_alone_is_seen_by_both(found):
    assert found["last alone"]["moved"] > 1e-2 and found["last alone"]["weights"] < 1e-4


def test_what_cannot_be_shared_is_left_out_of_training_alone(found):
    # The 21st sample; all 15 validate, in batches of 8 and 7.
    assert found["left out"]["columns"] and 1e-4 < found["left out"]["weights"] < 1e-1


def test_a_resumed_run_ends_as_an_undisturbed_one(found):
    assert found["resumed"] < 1e-5


def test_batches_that_cannot_be_shared_are_refused(found):
    assert "--batch-size 5 cannot be shared equally by 2 devices" in found["refused"]


def test_the_recurrent_networks_clip_wise_batch_norm_cannot_be_shared(tmp_path):
    pytest.importorskip("keras")
    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
    from lungsliding_tf.dzhulai2024.experiments import plan
    from lungsliding_tf.dzhulai2024.train import check_devices

    config = dict(data=tmp_path, out=tmp_path, devices="all", flow="dis")
    with pytest.raises(InputError, match="rcm2d.*--batch-norm-over batch"):
        check_devices(plan(DzhulaiConfig(**config)))
    check_devices(plan(DzhulaiConfig(**config, batch_norm_over="batch")))
    check_devices(plan(DzhulaiConfig(**config, network=("cmwru",))))
