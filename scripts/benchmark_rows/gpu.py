"""Rows for a GPU: training beside PyTorch, and the model files on Keras' other backends.

Without a GPU, or without the other library, a row says that it was not measured.
"""

import importlib.util
import os
import statistics
from functools import partial
from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, median_and_range, not_measured, seconds_of
from benchmark_rows.networks import (
    BACKBONES,
    NETWORKS,
    build_slice_network,
    forward_pass,
    random_inputs,
    training_step,
)
from benchmark_rows.partner import Partner

ON_BACKENDS = ("resnet3d_18", "mmode_resnet18", "vbreathnet", *BACKBONES, "cmwra", "cmwru", "rcm2d",
               "frame_cnn2d", "raft_small", "raft_large")  # fmt: skip
NO_GPU = "no GPU"
AGREES = 1e-3  # of the largest output
# Full float32 on both sides, else TensorFloat-32 is what differs.
FULL_PRECISION = {"NVIDIA_TF32_OVERRIDE": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest",
                  "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # fmt: skip


def resnet3d_rows(
    repeats: int,
    folder: Path,
    sides: tuple[int, ...] = (30, 60, 90),
    batch: int = 32,
    frames: int = 60,
    jit_compile: tuple[bool, ...] = (False, True),
    on_cpu: bool = False,
) -> list[Row]:
    """Clips per second of training ResNet3D-18 in mixed precision, jit_compile off and on.

    The arguments after `folder` are for tests: smaller clips, and without a GPU.
    """
    from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

    rows = []
    for side in sides:
        for jit in jit_compile:
            title = f"ResNet3D-18 training, {batch} clips of {side} px, jit_compile {jit}"
            if not (on_cpu or has_gpu()):
                rows.append(not_measured(title, NO_GPU, "gpu_resnet3d"))
                continue
            build = partial(build_resnet3d, 18, (frames, side, side, 3))
            sizes = ("resnet3d", batch, frames, side)
            rows.append(_beside_torch(title, build, "kolarik2023", sizes, "clips", repeats, jit))
    return rows


def backbone_rows(
    repeats: int,
    folder: Path,
    names: tuple[str, ...] = tuple(BACKBONES),
    batch: int = 64,
    side: int | None = None,
    on_cpu: bool = False,
) -> list[Row]:
    """Slices per second of training the four backbones in mixed precision, as the study does.

    The arguments after `folder` are for tests; `side` takes the place of 224 and 299 px.
    """
    rows = []
    for name in names:
        px = side or (299 if name == "inception_v3" else 224)
        title = f"{BACKBONES[name]} training, {batch} slices of {px} px"
        if not (on_cpu or has_gpu()):
            rows.append(not_measured(title, NO_GPU, "gpu_backbones"))
            continue
        build = partial(build_slice_network, name, px)
        sizes = (name, batch, px)
        rows.append(_beside_torch(title, build, "cnr_iemn", sizes, "slices", repeats, False))
    return rows


def _beside_torch(
    title: str, build, study: str, sizes: tuple, unit: str, repeats: int, jit: bool
) -> Row:
    """A training step by Keras, in turns with PyTorch's where that is installed.

    Args:
        title, unit: of the row, and of a sample.
        build, study: the network and its way of training.
        sizes: command line of `torch_side`; the second is the batch.
        repeats, jit: turns; whether XLA compiles Keras' step.
    """
    import keras

    from replication.environment import set_precision

    policy = set_precision("auto")
    try:
        model = build()
        inputs = random_inputs(model, sizes[1])
        ours = training_step(model, study, inputs, jit_compile=jit)
        lacking = _lacking("torch", *(["torchvision"] if sizes[0] != "resnet3d" else []))
        title = f"{title}, {policy}"
        if lacking:
            ours()
            seconds = statistics.median(seconds_of(ours) for _ in range(repeats))
            reference = f"PyTorch: not measured: {lacking} is not installed"
            return Row(title, f"{sizes[1] / seconds:.0f} {unit}/s", reference, "-", "-", None)
        with Partner("torch_side", *sizes) as partner:
            ratios, seconds, theirs = compare(ours, partner, repeats)
            described = partner.described
    finally:
        set_precision("float32")
        keras.backend.clear_session()
    rates = median_and_range([1 / ratio for ratio in ratios])
    return Row(
        title,
        f"{sizes[1] / seconds:.1f} {unit}/s",
        f"{described}: {sizes[1] / theirs:.1f} {unit}/s",
        f"{rates} times PyTorch's rate",
        "-",
        None,
    )


def backend_rows(
    backend: str, repeats: int, folder: Path, names: tuple[str, ...] = ON_BACKENDS,
    on_cpu: bool = False,
) -> list[Row]:  # fmt: skip
    """Forward passes of the model files on another backend: the same numbers, and the time.

    Args:
        backend: "jax" or "torch".
        repeats, folder: as of each row.
        names, on_cpu: for tests: which networks, and without a GPU.
    """
    import tensorflow as tf

    title = f"model files on Keras' {backend} backend"
    if _lacking(backend):
        return [not_measured(title, f"{backend} is not installed", f"gpu_{backend}_backend")]
    if not (on_cpu or has_gpu()):
        return [not_measured(title, NO_GPU, f"gpu_{backend}_backend")]
    environment = {**FULL_PRECISION, "KERAS_BACKEND": backend}
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        return [_on_backend(name, backend, environment, repeats, folder) for name in names]
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def _on_backend(name: str, backend: str, environment: dict, repeats: int, folder: Path) -> Row:
    """One network by TensorFlow and by a partner, with the same weights and inputs."""
    import keras

    network = NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = network.build()
    inputs = random_inputs(model, network.batch)
    model.save_weights(folder / f"{name}.weights.h5")
    np.savez(folder / f"{name}-inputs.npz", *inputs)
    forward = forward_pass(model, inputs)
    outputs = forward()
    title, target = f"forward pass of {network.title} by", f"differ by <= {AGREES:.0e}"
    try:
        with Partner("other_backend", folder, environment=environment) as partner:
            ratios, theirs, ours = compare(lambda: partner(name), forward, repeats)
            title = f"{title} {partner.described}"
    except RuntimeError as error:  # that a network does not run there is a result too
        why = str(error).strip().splitlines()[-1].replace("|", "/")
        return Row(f"{title} {backend}", "-", "-", f"fails: {why}", target, False)
    finally:
        keras.backend.clear_session()
    differ = np.abs(np.load(folder / f"{name}-outputs.npy") - outputs).max()
    share = float(differ / np.abs(outputs).max())
    return Row(
        title,
        f"{theirs:.3f} s",
        f"TensorFlow: {ours:.3f} s",
        f"{median_and_range(ratios)}; outputs differ by {share:.0e} of the largest",
        target,
        share <= AGREES,
    )


def has_gpu() -> bool:
    """Whether TensorFlow finds a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def share_gpu_memory() -> None:
    """Have TensorFlow take GPU memory as it needs it, and leave the rest to the partners."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def _lacking(*packages: str) -> str:
    """The first of some packages that is not installed."""
    return next((one for one in packages if importlib.util.find_spec(one) is None), "")


ROWS = {
    "gpu_resnet3d": resnet3d_rows,
    "gpu_backbones": backbone_rows,
    "gpu_jax_backend": partial(backend_rows, "jax"),
    "gpu_torch_backend": partial(backend_rows, "torch"),
}
