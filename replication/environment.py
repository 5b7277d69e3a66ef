"""What a run computes with: Keras' precision, and what environment.json records of the machine."""

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import tensorflow as tf
from joblib import cpu_count
from threadpoolctl import threadpool_info

RECORDED_PACKAGES = (
    "keras",
    "tensorflow",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "scikit-image",
    "scikit-learn",
    "SimpleITK",
    "xgboost",
    "xgboost-cpu",  # one of the two is installed
)
# Instructions that libraries choose their code by; with others sums end in other last digits.
CPU_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16",
                "avx512_fp16", "amx_bf16", "amx_int8", "amx_tile")  # fmt: skip
# What of the process's environment changes how the libraries compute.
SWITCHES = (
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC",
    "NVIDIA_TF32_OVERRIDE", "TF_XLA_FLAGS", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


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
    gpus = [_describe_gpu(device) for device in tf.config.list_physical_devices("GPU")]
    flags = cpu_flags()
    built = tf.sysconfig.get_build_info()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "backend": keras.backend.backend(),
        "cpu": _cpu_model(),
        "cpu_features": [name for name in CPU_FEATURES if name in flags],
        "threads": {
            "cores": cpu_count(),
            # 0: as many as there are cores
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        },
        "switches": {name: os.environ[name] for name in SWITCHES if name in os.environ},
        "linear_algebra": _numpy_blas(),
        "gpus": gpus,
        "cuda": {name: built.get(f"{name}_version", "") for name in ("cuda", "cudnn")}
        if gpus else {},
        "tensor_float_32": len(gpus) > 0
        and tf.config.experimental.tensor_float_32_execution_enabled(),
        "precision": precision,
        "keras_settings": {
            "floatx": keras.config.floatx(),
            "epsilon": keras.config.epsilon(),
            "image_data_format": keras.config.image_data_format(),
        },
        "git_commit": _git_commit(),
        "store": store_fingerprint,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _describe_gpu(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device)
    capability = ".".join(map(str, details.get("compute_capability", ())))
    return f"{details.get('device_name', device.name)} {capability}".strip()


def _numpy_blas() -> str:
    """What NumPy multiplies with, and the kind of processor it was started for."""
    found = [one for one in threadpool_info() if "numpy" in one["filepath"]]
    parts = [str(one.get(key) or "") for one in found
             for key in ("internal_api", "version", "architecture")]  # fmt: skip
    return " ".join(parts)


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
