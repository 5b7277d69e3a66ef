"""For low-power devices, the paper's aim (section 1): LiteRT files, what they lose, how fast."""

from pathlib import Path

import keras
import numpy as np

from preprocessing import splits
from replication import litert
from replication.batches import to_network_input
from replication.run import RunFolder
from vbreathnet.config import VBreathNetConfig
from vbreathnet.split import Samples
from vbreathnet.transfer import build_transfer

# Ours: both numbers; with 30 representative images int8 answers differ more, with 300 no less.
REPRESENTATIVE = 100  # training images that the ranges of int8 activations are taken from
COMPARED = 300  # validation images, beside those of the test, that both files answer


def export_and_measure(
    config: VBreathNetConfig, folder: RunFolder, model: keras.Model, samples: Samples, scaling: str
) -> dict:
    """Write model-float.tflite and model-int8.tflite, and measure them beside MobileNetV2.

    Returns:
        For "float" and "int8": bytes, accuracy on the images compared (test and up to 300 of
        val) and milliseconds for an image on one thread; "images"; and, if the configuration
        asks, "mobilenetv2" with bytes and milliseconds of its files (its weights do not change
        those).
    """
    rng = np.random.default_rng(samples.seed)
    train = rng.permutation(samples.of(splits.TRAIN, copies=False))[:REPRESENTATIVE]
    val = rng.permutation(samples.of(splits.VAL, copies=False))[:COMPARED]
    compared = np.concatenate([samples.of(splits.TEST), val])
    images = _network_input(samples, compared, scaling)
    representative = _network_input(samples, train, scaling)
    result: dict = {"images": len(compared)}
    for name, ranges in (("float", None), ("int8", representative)):
        path = litert.export_litert(model, folder.path / f"model-{name}.tflite", ranges)
        said = litert.predict_litert(path, images).argmax(axis=1)
        right = float(np.mean(said == samples.labels[compared]))
        result[name] = _size_and_speed(path, images[0]) | {"accuracy": right}
    if config.export_beside:
        beside = build_transfer("mobilenetv2", model.input_shape[1:], classes=len(config.classes))
        result["mobilenetv2"] = {}
        for name, ranges in (("float", None), ("int8", representative)):
            path = litert.export_litert(beside, folder.path / f"beside-{name}.tflite", ranges)
            result["mobilenetv2"][name] = _size_and_speed(path, images[0])
            path.unlink()
    return result


def _size_and_speed(path: Path, image: np.ndarray) -> dict[str, float]:
    return {"bytes": path.stat().st_size, "milliseconds": 1e3 * litert.time_litert(path, image)}


def _network_input(samples: Samples, positions: np.ndarray, scaling: str) -> np.ndarray:
    return to_network_input(samples.store.samples[samples.rows[positions]], scaling=scaling)
