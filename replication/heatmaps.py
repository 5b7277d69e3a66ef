"""What a network looks at: vanilla saliency and SmoothGrad, and their contact sheet."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.scores import BinaryScore

# Ours: the paper names SmoothGrad without parameters; these are in the range its inventors use
# (noise of 10 to 20 % of the value range, 50 samples: Smilkov et al. 2017, arXiv 1706.03825).
SMOOTH_SAMPLES, SMOOTH_NOISE = 50, 0.15

FRAME_STEP = 6  # Paper: section 4.5: the frames of Figure 5 are six apart


def vanilla_saliency(model: keras.Model, clips: np.ndarray, positive: bool = True) -> np.ndarray:
    """Magnitude of the score's gradient for each input voxel (Simonyan et al. 2014).

    Args:
        model: one sigmoid output.
        clips: float32 (n, frames, height, width, channels), scaled as the network was trained.
        positive: explain the score of class 1, else of class 0.

    Returns:
        float32 (n, frames, height, width), each clip scaled to 0..1 over all its frames.
    """
    return _saliency(model, clips, positive)


def smoothgrad(
    model: keras.Model,
    clips: np.ndarray,
    positive: bool = True,
    samples: int = SMOOTH_SAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """As `vanilla_saliency`, averaged over noisy copies of the clip (SmoothGrad).

    The library draws its noise from NumPy's global generator; it is seeded here and its state
    put back, so that the same call returns the same map.
    """
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        return _saliency(model, clips, positive, smooth_samples=samples, smooth_noise=SMOOTH_NOISE)
    finally:
        np.random.set_state(state)


def _saliency(model: keras.Model, clips: np.ndarray, positive: bool, **smoothing) -> np.ndarray:
    with warnings.catch_warnings():
        # tf-keras-vis wraps the clip in a list, which Keras accepts and remarks on.
        warnings.filterwarnings("ignore", message="The structure of `inputs`", category=UserWarning)
        return Saliency(model, clone=False)(BinaryScore(positive), clips, **smoothing)


def save_contact_sheet(
    path: Path,
    clip: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    title: str,
    frame_step: int = FRAME_STEP,
) -> None:
    """Save the layout of Kolárik 2023, Figure 5: columns are frames, rows input and heat maps.

    Args:
        path: PNG to write.
        clip: (frames, height, width) gray, 0..1 or 0..255.
        maps: (row title, (frames, height, width) in 0..1) pairs.
        title: shown above.
        frame_step: every how many frames a column is drawn.
    """
    chosen = range(0, clip.shape[0], frame_step)
    rows = [("input", clip, "gray"), *((name, values, "inferno") for name, values in maps)]
    figure = Figure(figsize=(1.15 * len(chosen) + 0.4, 1.25 * len(rows) + 0.6), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for axes_row, (name, values, colours) in zip(axes, rows, strict=True):
        # One scale for all frames of a row: a dark frame is one that matters less.
        low, high = float(np.min(values)), float(np.max(values))
        for axis, frame in zip(axes_row, chosen, strict=True):
            axis.imshow(values[frame], cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes_row[0].set_ylabel(name, fontsize=9)
    for axis, frame in zip(axes[0], chosen, strict=True):
        axis.set_title(f"frame {frame}", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
