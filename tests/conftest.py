"""Small phantoms that several tests read; made once a session."""

import locale
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores already
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
# A shell that starts the tests in its background has them ignore Ctrl-C, and so all they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def kept_locale():
    """GDCM's writer, which tests of DICOM files use, leaves the process in the C locale."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


def write_video(path: Path, frames: np.ndarray, fps: float, codec: str) -> Path:
    """Write uint8 (frames, height, width) with a given codec."""
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size, isColor=False)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def make_video():
    """`write_video`, as a fixture so that test modules need not import one another."""
    return write_video


@pytest.fixture(scope="session")
def small_phantoms(tmp_path_factory) -> Path:
    """A phantom data set of 5 patients with and 5 without sliding, 2.2 s each."""
    from lungsliding_tf.phantom import PhantomConfig, write_dataset

    out = tmp_path_factory.mktemp("phantoms") / "data"
    config = PhantomConfig(present=5, absent=5, seed=3, seconds=(2.2, 2.4))
    return write_dataset(out, config, progress=False, n_jobs=2)
