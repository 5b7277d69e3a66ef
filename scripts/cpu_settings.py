"""TensorFlow's settings on a CPU, measured on a training step of each network family.

    python scripts/cpu_settings.py                       # the table of docs/cpu_settings.md
    python scripts/cpu_settings.py --family vbreathnet   # a column of it, in minutes
    python scripts/cpu_settings.py --layout --repeats 15 # channels first against channels last

Most settings are read when a process starts. Each setting therefore has a process of its own; all
of a family are there at once and take one step in turns, so that a busy machine slows all alike.
Only one computes at a time. The ratios are to the step of the project's own settings in the same
round, medians with their range: first of the time, then of the work of all cores together, which
other programs on the machine change less.
"""

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np
import tyro

from preprocessing.errors import InputError
from replication.cli import quiet_start, run_command

Family = Literal["kolarik2023", "vbreathnet", "resnext50", "cmwra", "cmwru"]
FAMILIES: tuple[Family, ...] = ("kolarik2023", "vbreathnet", "resnext50", "cmwra", "cmwru")


@dataclass(frozen=True)
class Setting:
    """Variables of a process's environment, and what Keras is told in it."""

    variables: dict[str, str] = field(default_factory=dict)
    precision: str = "float32"
    jit_compile: bool = False


AS_SET = "as the project sets it"
SETTINGS = {
    AS_SET: Setting(),
    "1 thread in an operation": Setting({"TF_NUM_INTRAOP_THREADS": "1"}),
    "operations one after the other": Setting({"TF_NUM_INTEROP_THREADS": "1"}),
    "without oneDNN": Setting({"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "mixed_bfloat16 (--precision auto)": Setting(precision="auto"),
    "float32, multiplied in bfloat16": Setting({"TF_SET_ONEDNN_FPMATH_MODE": "BF16"}),
    "XLA": Setting(jit_compile=True),
    "malloc keeps freed memory": Setting(
        {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    ),
    "malloc in huge pages": Setting({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    family: tuple[Family, ...] = FAMILIES
    """Networks, at the classroom's sizes."""
    setting: tuple[Literal[tuple(SETTINGS)], ...] = tuple(SETTINGS)
    """Which settings; the project's own is always measured."""
    repeats: int = 5
    """Steps of each process."""
    layout: bool = False
    """Compare the two memory layouts, in a convolution of two and of three dimensions, instead."""


# ---- a process with its settings --------------------------------------------------------------


def serve(family: Family, precision: str, jit_compile: str) -> None:
    """Answer each line of stdin with the seconds of a step, and those of all cores, on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    with quiet_start():
        step = prepare_step(family, precision, jit_compile == "True")
        step(), step()
    gc.disable()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        started, worked = time.perf_counter(), time.process_time()
        step()
        taken = time.perf_counter() - started, time.process_time() - worked
        print(*taken, file=answers, flush=True)


def prepare_step(family: Family, precision: str, jit_compile: bool) -> Callable[[], object]:
    """A training step of a network as its study takes it, on random input."""
    import keras

    from replication.environment import set_precision
    from replication.fused import with_fused_batch_norm

    keras.utils.set_random_seed(0)
    set_precision(precision)
    model, optimizer, batch, loss = build(family)
    if family != "kolarik2023":
        model = with_fused_batch_norm(model)
    model.compile(optimizer, loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch, *model.input_shape[1:])).astype(np.float32)
    classes = model.output_shape[-1]
    labels = rng.integers(2, size=(batch, 1)).astype(np.float32)
    if classes > 1:
        labels = np.eye(classes, dtype=np.float32)[np.arange(batch) % classes]
    return lambda: model.train_on_batch(inputs, labels)


def build(family: Family):
    """The model, its optimizer, samples in a batch, and its loss."""
    import keras

    if family == "kolarik2023":
        from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

        return build_resnet3d(18), keras.optimizers.Adam(3e-4), 16, "binary_crossentropy"
    if family == "vbreathnet":
        from vbreathnet.model import build_vbreathnet

        model = build_vbreathnet((96, 96, 3), 3, activation_order="conv-norm-relu")
        return model, keras.optimizers.RMSprop(5e-4), 16, "categorical_crossentropy"
    if family == "resnext50":
        from cnr_iemn.backbones import build_backbone
        from replication.fused import FusedAdam

        model = build_backbone("resnext50_32x4d", (96, 96, 3), classes=3)
        return model, FusedAdam(1e-4), 16, keras.losses.CategoricalCrossentropy(from_logits=True)
    from lungsliding_tf.dzhulai2024.cmwra import build_cmwra
    from lungsliding_tf.dzhulai2024.cmwru import build_cmwru
    from lungsliding_tf.dzhulai2024.one_cycle import OneCycleAdam

    model = build_cmwra(40, 32, 0.65, 1) if family == "cmwra" else build_cmwru(45, 32, 0.65)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return model, OneCycleAdam(1e-3, 100, 1e-3, clipvalue=0.4), 20, loss


# ---- the one that asks ------------------------------------------------------------------------


@contextlib.contextmanager
def started(family: Family, setting: Setting, errors: IO[str]) -> Iterator[subprocess.Popen]:
    """A process that says when it is ready to take steps, or writes to `errors` why it is not."""
    code = "from cpu_settings import serve; import sys; serve(*sys.argv[1:])"
    given = [family, setting.precision, str(setting.jit_compile)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *given], cwd=Path(__file__).parent, text=True,
        env={**os.environ, **setting.variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=errors,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.stdin.close()


def measure(family: Family, names: list[str], repeats: int) -> dict[str, np.ndarray | None]:
    """Seconds of the steps under each setting and those of all cores, float (steps, 2); None where
    the network does not run under it."""
    with contextlib.ExitStack() as stack:
        errors = {name: stack.enter_context(tempfile.TemporaryFile("w+")) for name in names}
        processes = {
            name: stack.enter_context(started(family, SETTINGS[name], errors[name]))
            for name in names
        }
        ready = {name: p.stdout.readline().strip() == "ready" for name, p in processes.items()}
        if not ready[AS_SET]:
            processes[AS_SET].stdin.close()
            processes[AS_SET].wait()
            errors[AS_SET].seek(0)
            reason = errors[AS_SET].read().strip().splitlines()[-1:]
            raise InputError(
                f"{family} takes no step ({' '.join(reason)}); nothing to compare with"
            )
        seconds = {name: [] if ready[name] else None for name in processes}
        for _ in range(repeats):
            for name, found in seconds.items():
                if found is not None:
                    processes[name].stdin.write("step\n")
                    processes[name].stdin.flush()
                    found.append([float(s) for s in processes[name].stdout.readline().split()])
    return {name: None if found is None else np.array(found) for name, found in seconds.items()}


def compare_layouts(repeats: int) -> list[str]:
    """A step of one convolution channels first, in turns with the same channels last."""
    import tensorflow as tf

    lines = []
    # As in the middle of V-BreathNet or a ResNet, and of a ResNet3D.
    for name, sides in (("2D, 16 x 56 x 56 x 64", (56, 56)), ("3D, 16 x 15^3 x 64", (15, 15, 15))):
        steps = [_convolution_step(sides, 64, first) for first in (False, True)]
        try:
            steps[1]()
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            lines.append(f"{name}: channels first does not run here, as without oneDNN")
            continue
        seconds = np.array([[_seconds(step) for step in steps] for _ in range(repeats + 2)])[2:]
        ratios = seconds[:, 1] / seconds[:, 0]
        spread = f"{np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}]"
        last = f"{np.median(seconds[:, 0]):.3f} s"
        lines.append(f"{name}: channels last {last}, channels first {spread}")
    return lines


def _convolution_step(sides: tuple[int, ...], channels: int, first: bool) -> Callable[[], object]:
    """Forward and backward through a 3-wide convolution of 16 samples."""
    import tensorflow as tf

    space = "DHW"[-len(sides):]
    shape = (16, channels, *sides) if first else (16, *sides, channels)
    data_format = f"NC{space}" if first else f"N{space}C"
    convolve = tf.nn.conv2d if len(sides) == 2 else tf.nn.conv3d
    samples = tf.random.normal(shape)
    kernel = tf.Variable(tf.random.normal((*[3] * len(sides), channels, channels)))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(samples)
            ones = (1,) * (len(sides) + 2)
            found = convolve(samples, kernel, ones, "SAME", data_format=data_format)
            loss = tf.reduce_sum(found**2)
        return tape.gradient(loss, (samples, kernel))

    return lambda: step()[1].numpy()


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def format_cells(seconds: dict[str, np.ndarray | None]) -> dict[str, str]:
    """For each setting its ratios to the project's own; for that its seconds."""
    reference = seconds[AS_SET]
    cells = {AS_SET: "{:.3f} s; {:.3f} s".format(*np.median(reference, axis=0))}
    for name, found in seconds.items():
        if name != AS_SET and found is None:
            cells[name] = "does not run"
        elif name != AS_SET:
            shown = [f"{np.median(r):.2f} [{r.min():.2f}, {r.max():.2f}]"
                     for r in (found / reference).T]  # fmt: skip
            cells[name] = "; ".join(shown)
    return cells


def format_table(cells: dict[str, dict[str, str]], names: list[str]) -> str:
    """A row for each setting, a column for each family."""
    lines = [f"| setting | {' | '.join(cells)} |", "|---|" + "---|" * len(cells)]
    lines += [f"| {name} | {' | '.join(of[name] for of in cells.values())} |" for name in names]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.layout:
        with quiet_start():
            import tensorflow  # noqa: F401
        print(*compare_layouts(arguments.repeats), sep="\n")
        return
    names = [AS_SET, *(name for name in arguments.setting if name != AS_SET)]
    cells = {}
    for family in arguments.family:
        cells[family] = format_cells(measure(family, names, arguments.repeats))
        print(format_table({family: cells[family]}, names), flush=True)
    if len(cells) > 1:
        print(format_table(cells, names))


if __name__ == "__main__":
    run_command(main)
