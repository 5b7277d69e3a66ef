"""What a run computes with: Keras' precision, and what environment.json records of the machine."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import keras
import tensorflow as tf

RECORDED_PACKAGES = (
    "keras",
    "tensorflow",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "scikit-learn",
    "SimpleITK",
)


def set_precision(name: str) -> str:
    """Set Keras' precision for models built from now on and return the policy's name.

    Args:
        name: "float32", or "auto": mixed_float16 on a GPU, mixed_bfloat16 on a CPU that
            multiplies it (AVX512-BF16 or AMX), float32 elsewhere.
    """
    policy = "float32"
    if name == "auto":
        if tf.config.list_physical_devices("GPU"):
            policy = "mixed_float16"
        elif cpu_flags() & {"avx512_bf16", "amx_bf16"}:
            policy = "mixed_bfloat16"
    keras.config.set_dtype_policy(policy)
    return policy


def float32_copy(model: keras.Model) -> keras.Model:
    """The same network and weights, computing in float32 whatever precision it was trained in."""

    def clone(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer, clone_function=clone)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def cpu_flags() -> set[str]:
    """What the CPU says it can do (Linux; elsewhere empty)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))


def describe_environment(store_fingerprint: str, precision: str) -> dict:
    """What could make a difference elsewhere: versions, hardware, commit, data."""
    gpus = [tf.config.experimental.get_device_details(d).get("device_name", d.name)
            for d in tf.config.list_physical_devices("GPU")]  # fmt: skip
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in RECORDED_PACKAGES},
        "backend": keras.backend.backend(),
        "cpu": _cpu_model(),
        "gpus": gpus,
        "precision": precision,
        "git_commit": _git_commit(),
        "store": store_fingerprint,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def _git_commit() -> str:
    """The commit of the code that runs, or "unknown" for an installed package without git."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
