"""One recorded training run: seeded, resumable after each epoch, complete or absent.

A run folder `runs/<study>/<experiment>/seed<k>/` holds config.json, environment.json,
history.csv, predictions.csv, metrics.json, model.keras and figures/. `metrics.json` is written
last: where it stands, the run is finished.
"""

import contextlib
import dataclasses
import json
import random
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from preprocessing.errors import InputError
from preprocessing.tables import NPZ_ERRORS
from replication.devices import equal_parts, sharing_strategy, validate
from replication.fused import (
    with_fused_batch_norm,
    with_synchronized_batch_norm,
    without_fused_batch_norm,
)
from replication.records import (
    CONFIG,
    DECLARED,
    ENVIRONMENT,
    FIGURES,
    HISTORY,
    METRICS,
    MODEL,
    PREDICTIONS,
    read_csv,
    read_json,
    write_csv,
    write_json,
)


@dataclass(frozen=True)
class Training:
    """How a model is fitted.

    Attributes:
        build: makes the uncompiled model; called once seeds and precision are set.
        optimizer: makes the optimizer.
        train_data: epoch number to a fresh tf.data.Dataset; the order of an epoch depends on its
            number alone, so that a resumed run sees what an undisturbed one sees.
        val_data: what the checkpoint is chosen on; None only for the last epoch.
        epochs: how many.
        seed: of weights and everything else random.
        loss: by its Keras name, or as a Keras loss; a dict of them for several outputs.
        loss_weights: of several losses, by output.
        learning_rate: epoch number to the rate of that epoch; None leaves the optimizer's own.
        metrics: makes the metrics of each epoch; the accuracy if not given.
        chosen_by: the figure on `val_data` that chooses the checkpoint: the lowest val_loss or the
            highest val_accuracy, the first of equals; or the last epoch.
        fuse_batch_norm: train with `replication.fused`; the saved model is as built.
        graph: runs of one process that name the same here, with models, losses and optimizers that
            are the same but for weights and state, share the compiled model of the last of them:
            a ResNet-50 is traced for 10 to 20 s. "": compile anew.
        devices: "all" shares each batch among the GPUs that there are; see `replication.devices`.
    """

    build: Callable[[], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    train_data: Callable[[int], tf.data.Dataset]
    val_data: tf.data.Dataset | None
    epochs: int
    seed: int
    loss: str | keras.Loss | dict[str, keras.Loss] = "binary_crossentropy"
    loss_weights: dict[str, float] | None = None
    learning_rate: Callable[[int], float] | None = None
    metrics: Callable[[], list[keras.Metric]] | None = None
    chosen_by: Literal["val_loss", "val_accuracy", "last"] = "val_loss"
    fuse_batch_norm: bool = False
    graph: str = ""
    devices: Literal["one", "all"] = "one"


# Settings that stand in older runs' config.json although they determine no training.
RETIRED = {"smooth_samples", "paper_data", "mmode_frames", "mmode_height", "mmode_columns"}
# The last compiled model that may be used again, under its `Training.graph`, the scalars that its
# optimizer began with, and the run whose chosen weights it holds.
_compiled: dict[str, keras.Model] = {}
_scalars: dict[str, list[np.ndarray | None]] = {}
_weights_of: dict[str, Path] = {}


class RunFolder:
    """The folder of one run.

    Args:
        path: `runs/<study>/<experiment>/seed<k>`.
        config: everything that determines the result, JSON-able.
        margin: within which the run's numbers shall agree with printed ones. It is written down
            before training begins, and stands. None declares nothing.

    Raises:
        InputError: the folder holds a run of another configuration, or declared another margin.
    """

    def __init__(self, path: Path, config: dict, margin: float | None = None):
        self.path = path
        config = json.loads(json.dumps(config))
        path.mkdir(parents=True, exist_ok=True)
        earlier = path / CONFIG
        begun = any((path / name).exists() for name in (HISTORY, MODEL, METRICS))
        if earlier.exists() and begun:
            differing = _differing_keys(read_json(earlier), config)
            if differing:
                raise InputError(
                    f"{path}: holds a run with other settings ({'; '.join(differing[:3])}); "
                    "choose another --out or delete that folder"
                )
        else:
            write_json(earlier, config)
        if margin is not None:
            self._declare(margin, begun)

    def _declare(self, margin: float, begun: bool) -> None:
        """Write the margin down, unless the run began without; what was declared stands."""
        path = self.path / DECLARED
        if not begun:
            write_json(path, {"margin": margin})
        elif path.exists() and read_json(path)["margin"] != margin:
            raise InputError(
                f"{path}: a margin of {read_json(path)['margin']:g} was declared before the run, "
                f"not {margin:g}; judge by another with scripts/verify.py --margin {margin:g}"
            )

    @property
    def finished(self) -> bool:
        """Whether the run was evaluated to its end."""
        return (self.path / METRICS).exists()

    def evaluated_with(self, settings: dict) -> bool:
        """Whether the run was evaluated to its end with these settings of the evaluation."""
        return self.finished and read_json(self.path / METRICS).get("evaluation") == settings

    @property
    def trained(self) -> bool:
        """Whether training ended and the chosen model was saved."""
        return (self.path / MODEL).exists()

    def figures(self) -> Path:
        """The folder for pictures, made on first use."""
        folder = self.path / FIGURES
        folder.mkdir(exist_ok=True)
        return folder

    def history(self) -> list[dict[str, float]]:
        """The finished epochs so far."""
        path = self.path / HISTORY
        return read_history(path) if path.exists() else []

    def write_predictions(self, rows: list[dict]) -> None:
        """Write predictions.csv: sample_id, patient_id, split, label, one score per class."""
        write_csv(self.path / PREDICTIONS, rows)

    def forget_metrics(self) -> None:
        """Take back that the run is finished, before its other files are written anew."""
        (self.path / METRICS).unlink(missing_ok=True)

    def write_metrics(self, metrics: dict) -> None:
        """Write metrics.json, which marks the run as finished."""
        write_json(self.path / METRICS, metrics)


def read_history(path: Path) -> list[dict[str, float]]:
    """The finished epochs in a history.csv.

    Raises:
        InputError: the file is damaged.
    """
    try:
        rows = [{k: float(v) for k, v in row.items()} for row in read_csv(path)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is no history of epochs ({error}); delete {path.parent} to start over"
        ) from error


def fit(
    run: RunFolder, training: Training, environment: dict, say: Callable[[str], None] = print
) -> None:
    """Train to the end, or from the last finished epoch on, and save the best epoch's model.

    Each epoch commits by rewriting history.csv after its state (weights and optimizer) is on
    disk. The states of the last and of the best epoch are kept until model.keras is written.
    `say` receives a line for each epoch; a terminal also sees a bar with rate and estimate.

    Raises:
        InputError: the loss is no longer finite; the states that were good stay on disk.
    """
    write_json(run.path / ENVIRONMENT, environment)
    with _own_random_numbers(training.seed):
        model, judge = training.build(), None
    strategy = sharing_strategy() if training.devices == "all" else None
    if strategy:
        judge = model
        judge.compile(**_losses(training))
        training = dataclasses.replace(training, graph="")  # a shared model answers nobody else
        with strategy.scope():
            model = _compile(with_synchronized_batch_norm(model), training)
    else:
        model = with_fused_batch_norm(model) if training.fuse_batch_norm else model
        model = _compile(model, training)
    history = run.history()
    if history:
        _load_state(model, _state_path(run, len(history) - 1))
    for epoch in range(len(history), training.epochs):
        row = _train_epoch(model, judge, training, epoch, strategy)
        if not np.isfinite([row["loss"], row.get("val_loss", 0.0)]).all():
            raise InputError(
                f"{run.path}: the loss became {row['loss']} in epoch {epoch + 1}; "
                "lower the learning rate"
            )
        _save_state(model, _state_path(run, epoch))
        history.append(row)
        write_csv(run.path / HISTORY, history)
        figures = [f"{k} {v:.3f}" for k, v in row.items() if k == "loss" or k.startswith("val_")]
        say(f"epoch {epoch + 1} of {training.epochs}: {', '.join(figures)}, {row['seconds']:.0f} s")
        _remove_states(run, {epoch, best_epoch(history, training.chosen_by)})
    best = best_epoch(history, training.chosen_by)
    if best != len(history) - 1:  # the model holds the last one's
        _load_state(model, _state_path(run, best))
    save_model(model, run.path / MODEL)
    if training.graph:
        _weights_of[training.graph] = run.path
    _remove_states(run, set())


def _train_epoch(
    model: keras.Model,
    judge: keras.Model | None,
    training: Training,
    epoch: int,
    strategy: tf.distribute.Strategy | None,
) -> dict[str, float]:
    """One epoch's training and validation; its row of history.csv.

    `judge` validates a model whose batches are shared by a strategy: see `replication.devices`.
    """
    started = time.perf_counter()
    _seed_dropout(model, training.seed, epoch)
    if training.learning_rate:
        model.optimizer.learning_rate = training.learning_rate(epoch)
    data = training.train_data(epoch)
    logs = model.fit(
        equal_parts(data, strategy.num_replicas_in_sync) if strategy else data,
        validation_data=None if strategy else training.val_data,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,  # train_data has already ordered the epoch
        verbose=0,
        callbacks=[_ProgressBar(f"epoch {epoch + 1} of {training.epochs}")],
    ).history
    row = {"epoch": epoch, **{name: values[-1] for name, values in logs.items()}}
    if strategy and training.val_data is not None:
        row |= validate(judge, model, training.val_data)
    row["learning_rate"] = float(_as_numpy(model.optimizer.learning_rate))
    row["seconds"] = time.perf_counter() - started
    return row


@contextlib.contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Seed everything random, and keep other threads from Keras' numbers while the block runs.

    Keras takes the seeds of initial weights from `random.randint`, whose generator all threads of a
    process share: those of a Dask worker draw from it meanwhile.
    """
    keras.utils.set_random_seed(seed)
    ours, shared, thread = random.Random(seed), random.randint, threading.get_ident()

    def randint(a: int, b: int) -> int:
        return (ours.randint if threading.get_ident() == thread else shared)(a, b)

    random.randint = randint
    try:
        yield
    finally:
        random.randint = shared


def _compile(model: keras.Model, training: Training) -> keras.Model:
    """The model ready to train: itself, or its twin of an earlier run with its weights."""
    optimizer = training.optimizer()
    _weights_of.clear()
    twin = _compiled.get(training.graph)
    if training.graph and twin is not None:
        twin.set_weights(model.get_weights())
        begin = zip(twin.optimizer.variables, _scalars[training.graph], strict=True)
        for variable, scalar in begin:
            variable.assign(np.zeros(variable.shape, variable.dtype) if scalar is None else scalar)
        twin.optimizer.learning_rate = float(optimizer.learning_rate)
        return twin
    model.compile(optimizer=optimizer, **_losses(training))
    _build_state(model)
    _compiled.clear()  # one at a time: a large network and its optimizer's state take 1 GB
    if training.graph:
        _compiled[training.graph] = model
        _scalars[training.graph] = [  # such as the scale of a loss in float16; moments begin at 0
            None if v.ndim else np.array(_as_numpy(v)) for v in model.optimizer.variables
        ]
    return model


def _losses(training: Training) -> dict:
    """What `keras.Model.compile` takes besides the optimizer."""
    metrics = training.metrics() if training.metrics else ["accuracy"]
    if isinstance(training.loss, dict):
        metrics = dict.fromkeys(training.loss, metrics)
    # jit_compile stays off on CPU, where XLA's 3D convolutions are 5 to 7 times slower.
    return {
        "loss": training.loss,
        "loss_weights": training.loss_weights,
        "metrics": metrics,
        "jit_compile": False,
    }


def _build_state(model: keras.Model) -> None:
    """Make the variables of optimizer, losses and metrics.

    TensorFlow traces the first step twice if that makes them, which takes a deep network 10 s more.
    """
    model.optimizer.build(model.trainable_variables)
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    zeros = keras.tree.map_structure(
        lambda output: np.zeros((1, *output.shape[1:]), np.float32), outputs
    )
    model.compute_loss(None, zeros, zeros)
    model.compute_metrics(None, zeros, zeros)
    model.reset_metrics()


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Give dropout the state that depends on the epoch alone; saved weights do not hold it."""
    states = (v for v in model.variables if v.path.endswith("seed_generator_state"))
    for number, state in enumerate(states):
        state.assign(np.random.SeedSequence((seed, epoch, number)).generate_state(2))


class _ProgressBar(keras.callbacks.Callback):
    """A bar with rate and estimate over the steps of an epoch; silent without a terminal."""

    def __init__(self, title: str):
        super().__init__()
        self.title = title

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = tqdm(
            total=self.params["steps"], desc=self.title, unit="step", disable=None, leave=False
        )

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()


def best_epoch(history: Sequence[dict[str, float]], chosen_by: str = "val_loss") -> int:
    """The first epoch with the lowest val_loss or highest val_accuracy, or the last one."""
    # Paper: Kolárik 2023, section 3.2: the model with the smallest error function is evaluated.
    # Paper: V-BreathNet, section 4: the highest validation accuracy is reported.
    if chosen_by == "last":
        return len(history) - 1
    values = np.array([row[chosen_by] for row in history])
    return int(values.argmin() if chosen_by == "val_loss" else values.argmax())


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model without its optimizer, of Keras' own layers, whole or not at all."""
    bare = without_fused_batch_norm(model)
    partial = path.with_name(f".partial.{path.name}")
    bare.save(partial)
    partial.replace(path)


def load_model(run: RunFolder, graph: str = "") -> keras.Model:
    """The model that a run chose.

    Args:
        graph: its `Training.graph`. If this process has just trained it, its compiled model is
            returned, which need not be read and traced anew; it is the caller's until the next
            `fit`.

    Raises:
        InputError: there is none, or the file is damaged.
    """
    if graph and _weights_of.get(graph) == run.path:
        return _compiled[graph]
    try:
        return keras.models.load_model(run.path / MODEL, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises of every kind for a damaged file
        reason = textwrap.shorten(str(error), 200)
        raise InputError(f"{run.path / MODEL}: cannot be loaded ({reason}); train again") from error


def count_parameters(model: keras.Model) -> dict[str, int]:
    """Total and trainable parameters."""
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return {"total_parameters": model.count_params(), "trainable_parameters": trainable}


def _state_path(run: RunFolder, epoch: int) -> Path:
    return run.path / f"state-{epoch:04d}.npz"


def _remove_states(run: RunFolder, kept: set[int]) -> None:
    """Remove the states of all epochs but some."""
    paths = {_state_path(run, epoch) for epoch in kept}
    for state in run.path.glob("state-*.npz"):
        if state not in paths:
            state.unlink()


def _save_state(model: keras.Model, path: Path) -> None:
    """Write weights and the optimizer's state; plain arrays take a tenth of HDF5's time."""
    partial = path.with_name(f".partial.{path.name}")
    with partial.open("wb") as file:
        np.savez(file, *[_as_numpy(variable) for variable in _state_variables(model)])
    partial.replace(path)


def _load_state(model: keras.Model, path: Path) -> None:
    """Put back what `_save_state` wrote."""
    variables = _state_variables(model)
    try:
        with np.load(path, allow_pickle=False) as state:
            if len(state.files) != len(variables):
                raise ValueError(f"{len(state.files)} arrays, not {len(variables)}")
            for variable, name in zip(variables, state.files, strict=True):
                variable.assign(state[name])
    except NPZ_ERRORS as error:
        folder = path.parent
        raise InputError(
            f"{path}: cannot be loaded ({error}); delete {folder} to start over"
        ) from error


def _state_variables(model: keras.Model) -> list[keras.Variable]:
    return model.weights + model.optimizer.variables


def _as_numpy(variable: keras.Variable) -> np.ndarray:
    array = keras.ops.convert_to_numpy(variable)
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16 has no file


def _differing_keys(earlier: dict, now: dict) -> list[str]:
    asked = (earlier.keys() - RETIRED) | now.keys()
    keys = [k for k in sorted(asked) if earlier.get(k) != now.get(k)]
    return [
        "its source files have changed since" if k == "store"
        else f"{k}={earlier.get(k)!r}, now {now.get(k)!r}"
        for k in keys
    ]  # fmt: skip
