"""Trained networks as LiteRT (TensorFlow Lite) files for devices of low power."""

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from preprocessing.errors import InputError
from replication.environment import float32_copy

WARM_UP_RUNS = 3  # the first runs lay out weights and memory


def export_litert(model: keras.Model, path: Path, representative: np.ndarray | None = None) -> Path:
    """Write a model as a .tflite file for one image at a time, whole or not at all.

    Dropout disappears; batch norm becomes part of the convolution before it, save for an addition
    where a ReLU lies between. Ours: input and output are float32 in both kinds of file, so that a
    device runs either with the same code and scores stay probabilities.

    Args:
        model: one input (batch, height, width, channels) and one output (batch, classes); any
            precision.
        path: .tflite file to write.
        representative: float32 (n, height, width, channels), scaled as the network was trained;
            some hundred images of all classes, none of them from the test set. Given, weights and
            activations become int8 (full-integer quantization after training), a quarter of the
            size, with scores in steps of 1 / 256; None keeps float32.

    Returns:
        `path`.

    Raises:
        ValueError: `representative` is empty or not of the model's input shape.
    """
    shape = model.input_shape[1:]
    if representative is not None and (
        representative.shape[1:] != shape or not len(representative)
    ):
        raise ValueError(f"representative images {representative.shape}, not (1 or more, *{shape})")
    plain = float32_copy(model)
    _move_scales_before_relu(plain)
    content = _convert(plain, representative)
    partial = path.with_name(f".partial.{path.name}")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def predict_litert(path: Path, images: np.ndarray, threads: int = 1) -> np.ndarray:
    """Scores of a .tflite file, image by image.

    Args:
        path: file that `export_litert` wrote.
        images: float32 (n, height, width, channels), scaled as the network was trained.
        threads: CPU threads.

    Returns:
        float32 (n, classes).

    Raises:
        InputError: no such file, or it is damaged or takes other input.
        ValueError: images of another shape.
    """
    run = _load(path, images.shape[1:], threads)
    return np.stack([run(image) for image in images])


def time_litert(path: Path, image: np.ndarray, runs: int = 30, threads: int = 1) -> float:
    """Median seconds that a .tflite file takes for one image on this machine.

    Copying the image in and the scores out counts; loading the file does not.

    Args:
        path: file that `export_litert` wrote.
        image: float32 (height, width, channels).
        runs: timed runs, after a few untimed ones.
        threads: CPU threads.

    Raises:
        InputError, ValueError: as `predict_litert`.
    """
    run = _load(path, image.shape, threads)
    seconds = []
    for _ in range(WARM_UP_RUNS + runs):
        started = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[WARM_UP_RUNS:]))


def _move_scales_before_relu(model: keras.Model) -> None:
    """Move the scale of a batch norm that follows a ReLU into the weights before the ReLU.

    Exact, because a ReLU passes a positive factor on: relu(x) s = sign(s) relu(|s| x). In int8 it
    decides over the file's worth: a ReLU's output has one step for all channels, in which channels
    of little spread, that batch norm would enlarge, vanish. (V-BreathNet, trained for minutes on
    300 radiographs: mean change of a score 0.034 without, 0.008 with it.) Models that branch are
    left alone; those of keras.applications have the batch norm before the ReLU.
    """
    layers = model.layers
    is_chain = all(b.input is a.output for a, b in zip(layers, layers[1:], strict=False))
    if not is_chain or model.outputs[0] is not layers[-1].output:
        return
    for i, norm in enumerate(layers):
        weighted = _layer_before_relu(layers[:i])
        if weighted is None or not isinstance(norm, keras.layers.BatchNormalization):
            continue
        if norm.gamma is None or norm.beta is None or norm.axis not in (-1, norm.input.ndim - 1):
            continue
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        weighted.set_weights([values * np.abs(scale) for values in weighted.get_weights()])
        shift, ones = beta - mean * scale, np.ones_like(gamma)
        norm.set_weights([np.sign(scale), shift, 0 * ones, ones - norm.epsilon])


def _layer_before_relu(layers: list[keras.Layer]) -> keras.Layer | None:
    """The convolution or dense layer whose result the last of `layers` rectifies, or None."""
    relu, linear = keras.activations.relu, keras.activations.linear
    last = layers[-1] if layers else None
    if isinstance(last, keras.layers.ReLU) and last.max_value is None and last.threshold == 0:
        found, activation = layers[-2] if len(layers) > 1 else None, linear
    else:
        found, activation = last, relu
    fits = isinstance(found, keras.layers.Conv2D | keras.layers.Dense)
    return found if fits and found.activation is activation else None


def _convert(model: keras.Model, representative: np.ndarray | None) -> bytes:
    # The way over a SavedModel: of the converter's own entries, from_keras_model does the same
    # but prints the signature, and from_concrete_functions (TensorFlow 2.21, Keras 3.15) loses
    # the weights without an error. The batch is fixed to 1, or its size is computed at run time.
    signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32")]
    with tempfile.TemporaryDirectory() as folder, _silence():
        model.export(folder, format="tf_saved_model", verbose=False, input_signature=signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if representative is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [image[None].astype(np.float32)] for image in representative
            )
            # Alone in the list: an operation without an int8 kernel is an error, not left in float.
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()


def _load(path: Path, shape: tuple[int, ...], threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from one float32 image of `shape` to its scores (classes,)."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; export the trained network first")
    try:
        with _silence():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable .tflite file ({reason}); export again") from error
    takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
    if len(takes) != 1 or len(gives) != 1 or takes[0]["dtype"] != np.float32:
        raise InputError(f"{path}: not one float32 input and one output; export it with this suite")
    if (1, *shape) != tuple(takes[0]["shape"]):
        raise ValueError(f"{path} takes images of {tuple(takes[0]['shape'][1:])}, not {shape}")

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(takes[0]["index"], image[None].astype(np.float32, copy=False))
        interpreter.invoke()
        return interpreter.get_tensor(gives[0]["index"])[0]

    return run


@contextmanager
def _silence() -> Iterator[None]:
    """Keep a library's chatter off the terminal, that of its C++ part too. Errors still raise."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    disabled = logging.root.manager.disable
    try:
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            for stream in kept:
                os.dup2(nowhere.fileno(), stream)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)
        logging.disable(disabled)
