"""The same command with the same seed on the same machine: the same predictions, bit for bit.

With all threads of the machine; test_scale.py has what comes of other numbers of processes.
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from replication import run

ROOT = Path(__file__).resolve().parents[2]

# A network with what could differ: convolutions on all cores, batch norm, dropout, a new order in
# each epoch.
TRAIN = """
import sys
from pathlib import Path
import keras
import numpy as np
from keras import layers
from replication import run
from replication.batches import make_dataset

rng = np.random.default_rng(0)
labels = np.arange(48) % 2
clips = rng.integers(0, 255, (48, 8, 24, 24)).astype(np.uint8)

def build():
    clip = keras.Input((8, 24, 24, 3))
    x = clip
    for filters in (8, 16):
        x = layers.Conv3D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(clip, layers.Dense(1, activation="sigmoid")(x))

def epoch(number):
    order = np.random.default_rng((3, number)).permutation(48)
    return make_dataset(clips, order, labels[order], 16, scaling="standardized")

folder = run.RunFolder(Path(sys.argv[1]), {})
every = make_dataset(clips, np.arange(48), labels, 16, scaling="standardized")
run.fit(folder, run.Training(build=build, optimizer=lambda: keras.optimizers.Adam(0.01),
                             train_data=epoch, val_data=every, epochs=2, seed=5), {})
np.save(folder.path / "predictions.npy", run.load_model(folder).predict(every, verbose=0))
"""


def all_cores() -> dict[str, str]:
    """The environment of a user, whose threads nobody has limited."""
    limits = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in limits}


def test_two_processes_train_the_same_network(tmp_path):
    outs = [tmp_path / name for name in ("one", "other")]
    started = [
        subprocess.Popen([sys.executable, "-c", TRAIN, str(out)], cwd=ROOT, env=all_cores(),
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for out in outs
    ]  # fmt: skip
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    one, other = ((out / "predictions.npy").read_bytes() for out in outs)
    assert one == other


def test_other_threads_that_draw_random_numbers_change_no_weights(tmp_path):
    """As those of a Dask worker do, whenever they reconnect or share out work."""
    four = tf.data.Dataset.from_tensors((np.eye(4, dtype=np.float32), np.arange(4) % 2))
    training = run.Training(
        build=build_slowly, optimizer=lambda: keras.optimizers.Adam(0.01), epochs=1, seed=3,
        train_data=lambda epoch: four, val_data=four,
    )  # fmt: skip
    found = []
    for name in ("alone", "beside others"):
        busy = threading.Event()
        threads = [threading.Thread(target=draw_until, args=(busy,)) for _ in range(2)]
        for thread in threads if name != "alone" else []:
            thread.start()
        run.fit(run.RunFolder(tmp_path / name, {}), training, {}, lambda line: None)
        busy.set()
        for thread in threads if name != "alone" else []:
            thread.join()
        found.append(run.load_model(run.RunFolder(tmp_path / name, {})).get_weights())
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def draw_until(end: threading.Event) -> None:
    while not end.wait(0.0005):
        random.random()
        random.randint(1, 9)


def build_slowly() -> keras.Model:
    features = keras.Input((4,))
    x = features
    for _ in range(5):
        x = keras.layers.Dense(4, activation="tanh")(x)
        time.sleep(0.02)
    return keras.Model(features, keras.layers.Dense(1, activation="sigmoid")(x))


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["kolarik2023", "dzhulai2024", "vbreathnet", "cnr_iemn"])
def test_a_study_gives_the_same_predictions_again(paper, tmp_path):
    """Phantoms, prepare, training and evaluation, twice, at smoke size."""
    found = []
    for name in ("one", "other"):
        command = [sys.executable, "scripts/replicate.py", paper, "--size", "smoke", "--out"]
        done = subprocess.run([*command, str(tmp_path / name)], cwd=ROOT, env=all_cores(),
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs = tmp_path / name / "smoke" / "runs"
        files = sorted(runs.rglob("predictions.csv"))
        found.append({path.relative_to(runs): path.read_bytes() for path in files})
    one, other = found
    assert one.keys() == other.keys() and len(one) >= 1
    assert [str(path) for path in one if one[path] != other[path]] == []
