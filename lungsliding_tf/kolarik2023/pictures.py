"""Pictures of the data: class counts (Kolárik 2023, Figure 4) and M-mode (Figure 1)."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from lungsliding_tf import floors
from preprocessing import mmode, video
from preprocessing.roi import Region
from preprocessing.store import Store
from preprocessing.video import VideoInfo

CLASS_COLOURS = {"present": "#2b7a78", "absent": "#c8553d", "not_stated": "#9a9a9a",
                  "moving": "#2b7a78", "frozen": "#6c7a89"}  # fmt: skip


def class_counts(store: Store) -> dict[str, int]:
    """How many samples each class of a store has: present, absent, not_stated; moving, frozen."""
    names = store.column("class")
    return {name: int((names == name).sum()) for name in CLASS_COLOURS if (names == name).any()}


def save_class_counts(path: Path, stores: dict[str, Store]) -> None:
    """Draw the class distribution of each data set, as Kolárik 2023, Figure 4, does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(1.4 * len(stores) + 2.5, 3.6), dpi=110)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    counts = {cell: class_counts(store) for cell, store in stores.items()}
    shown = [name for name in CLASS_COLOURS if any(name in c for c in counts.values())]
    width = 0.8 / len(shown)
    for i, name in enumerate(shown):
        places = np.arange(len(counts)) + (i - (len(shown) - 1) / 2) * width
        heights = [c.get(name, 0) for c in counts.values()]
        bars = axis.bar(places, heights, width * 0.92, color=CLASS_COLOURS[name], label=name)
        axis.bar_label(bars, fontsize=8)
    axis.set_xticks(range(len(counts)), list(counts))
    axis.set_ylabel("samples")
    axis.margins(y=0.12)
    axis.legend(title="lung sliding", fontsize=8, title_fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    _save(figure, path)


def save_mmode_picture(path: Path, info: VideoInfo, region: Region, title: str) -> None:
    """Draw a B-mode frame with a marked column beside its M-mode image, as Figure 1 does.

    The M-mode image runs over the whole video at 30 frames a second; the column passes through
    the middle of the region and is drawn over the whole height of the picture, so that the still
    chest wall can be compared with the lung below the pleura.

    Raises:
        InputError: the video cannot be read.
    """
    geometry = video.unified_geometry(info)
    polygon = geometry.to_unified(np.array(region.polygon))
    x = mmode.region_columns(polygon, 1)[0][0]
    top, bottom = geometry.content[1], geometry.content[3]
    columns, picture = [], None
    for native, frame in video.unify_indexed(info.path, info=info):
        columns.append(frame[top:bottom, x].copy())
        if picture is None and native >= region.first_frame:
            picture = frame[top:bottom].copy()
    strip = np.stack(columns, axis=1)

    figure = Figure(figsize=(9.5, 3.9), dpi=110)
    FigureCanvasAgg(figure)
    b_mode, m_mode = figure.subplots(1, 2, width_ratios=(1, 1.25))
    b_mode.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect="auto")
    b_mode.axvline(x, color="#e8c547", linewidth=1)
    b_mode.add_patch(Polygon(polygon - (0, top), fill=False, edgecolor="#4fb3bf", linewidth=1))
    b_mode.set_title("B-mode, first frame of the region; column", fontsize=9)
    b_mode.set_axis_off()
    seconds = len(columns) / video.UNIFIED_FPS
    m_mode.imshow(strip, cmap="gray", vmin=0, vmax=255, aspect="auto",
                  extent=(0, seconds, bottom - top, 0))  # fmt: skip
    m_mode.set_title("M-mode of the column", fontsize=9)
    m_mode.set_xlabel("time (s)", fontsize=8)
    m_mode.set_yticks([])
    m_mode.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    _save(figure, path)


def clearest_video(store: Store, name: str) -> str | None:
    """The source file whose tiles tell its class most plainly; None if the class has none.

    By the ratio of 2-frame to 1-frame difference: highest where sliding is present, lowest
    where it is absent. For illustration only: nothing is trained or judged on the choice.
    """
    of_class = np.flatnonzero(store.column("class") == name)
    if of_class.size == 0:
        return None
    files = store.column("file")[of_class]
    ratio = np.array([floors.short_persistence_ratio(store.samples[row]) for row in of_class])
    names = np.unique(files)
    means = [ratio[files == file].mean() for file in names]
    return str(names[np.argmax(means) if name == "present" else np.argmin(means)])


def _save(figure: Figure, path: Path) -> None:
    partial = path.with_name(f".partial.{path.name}")
    figure.savefig(partial, format="png")
    partial.replace(path)
