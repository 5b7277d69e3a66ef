"""Mark the pleura and lung between two ribs in one video or in a folder of videos.

    python scripts/mark_roi.py videos/                    # a window, or a page in the browser
    python scripts/mark_roi.py videos/ --list             # which videos are marked
    python scripts/mark_roi.py videos/ --import-csv rectangles.csv

On a remote machine, forward the port and open the address that is printed:

    ssh -L 8988:localhost:8988 user@server
    python scripts/mark_roi.py videos/ --backend browser
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from preprocessing.roi import import_cvat, import_rectangles, load_regions, roi_path, save_regions
from preprocessing.video import list_videos, probe
from replication.cli import run_command

# Tk first: where Qt cannot start it ends the whole program instead of raising an error.
WINDOW_BACKENDS = ("macosx", "tkagg", "qtagg", "gtk4agg", "gtk3agg", "wxagg")


@dataclass(frozen=True)
class Arguments:
    """What to mark, where to show the tool, or what to import."""

    path: tyro.conf.Positional[Path]  # a video, a folder of PNG frames, or a folder of those
    backend: Literal["auto", "window", "browser"] = "auto"  # auto: a window where there can be one
    port: int = 8988  # browser: port of the page; the next free one if it is taken
    address: str = "127.0.0.1"  # browser: who may connect; 0.0.0.0 lets everyone in the network
    roi_dir: Path | None = None  # keep the region files here instead of beside the videos
    import_csv: Path | None = None  # table: file,x,y,width,height[,first_frame,last_frame]
    import_cvat: Path | None = None  # CVAT annotations.json of one video's task
    cvat_labels: tuple[str, ...] = ()  # take these CVAT labels instead of pleura, lung and A-lines
    list: bool = False  # print which videos are marked, and stop


def main() -> None:
    """List, import or mark, as the flags say."""
    arguments = tyro.cli(Arguments, description=__doc__)
    videos = list_videos(arguments.path)
    if arguments.list:
        print_list(videos, arguments.roi_dir)
    elif arguments.import_csv or arguments.import_cvat:
        import_marks(arguments, videos)
    else:
        require_writable(videos, arguments.roi_dir)
        mark(arguments, videos)


def mark(arguments: Arguments, videos: list[Path]) -> None:
    """Open the tool; whatever ends it, what was drawn is saved."""
    in_browser = choose_backend(arguments)
    from matplotlib import pyplot as plt

    from preprocessing.marking import Marker

    marker = Marker(videos, arguments.roi_dir, stop_browser if in_browser else stop_window)
    try:
        plt.show()
    except OSError as error:
        raise InputError(
            f"--address {arguments.address}: nothing can be served there ({error.strerror}); "
            "use 127.0.0.1 or an address of this machine"
        ) from error
    finally:
        marker.close()
        print(f"{len(marker.session.marked)} of {len(videos)} videos marked", flush=True)


def choose_backend(arguments: Arguments) -> bool:
    """Switch matplotlib to a window or to the browser; True for the browser."""
    from matplotlib import pyplot as plt

    has_display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    for backend in WINDOW_BACKENDS if has_display and arguments.backend != "browser" else ():
        try:
            plt.switch_backend(backend)
            return False
        except ImportError:
            continue
    if arguments.backend == "window":
        raise InputError(
            "--backend window: there is no display or no window toolkit; install tkinter "
            "(python3-tk) or PySide6, or use --backend browser"
        )
    if not 0 < arguments.port < 65536:
        raise InputError(f"--port {arguments.port}: expected 1 to 65535, for example 8988")
    from preprocessing.marking_page import use_browser

    use_browser(arguments.address, arguments.port)
    return True


def stop_window() -> None:
    """End the tool: close its window."""
    from matplotlib import pyplot as plt

    plt.close("all")


def stop_browser() -> None:
    """End the tool: stop serving its page."""
    from tornado.ioloop import IOLoop

    loop = IOLoop.current()
    loop.call_later(0.7, loop.stop)  # time for the page to show that all is saved


def require_writable(videos: list[Path], roi_dir: Path | None) -> None:
    """Say before the work, not after it, that regions could not be saved."""
    for folder in {roi_path(video, roi_dir).parent for video in videos}:
        existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            raise InputError(
                f"{folder}: regions cannot be saved here; make it a folder you may write to, or "
                "keep them elsewhere with --roi-dir"
            )


def print_list(videos: list[Path], roi_dir: Path | None) -> None:
    """Print the regions of each video, or that it is not marked."""
    marked = 0
    for video in videos:
        try:
            regions = load_regions(video, probe(video), roi_dir)
        except InputError as error:
            print(f"{video}: PROBLEM: {error}")
            continue
        marked += regions is not None
        spans = ", ".join(f"frames {r.first_frame}-{r.last_frame}" for r in regions or ())
        empty = "not marked" if regions is None else "marked as having no region"
        print(f"{video}: " + (f"{len(regions)} region(s): {spans}" if regions else empty))
    print(f"{marked} of {len(videos)} videos marked")


def import_marks(arguments: Arguments, videos: list[Path]) -> None:
    """Save imported regions; a video that carries marks already keeps them."""
    if arguments.import_csv:
        found = import_rectangles(arguments.import_csv, arguments.path)
    elif len(videos) > 1:
        raise InputError(
            f"{arguments.path}: --import-cvat holds the annotations of one video; name that video"
        )
    else:
        labels = arguments.cvat_labels or None
        found = {videos[0]: import_cvat(arguments.import_cvat, probe(videos[0]), labels)}
    for video, regions in found.items():
        path = roi_path(video, arguments.roi_dir)
        if path.exists():
            print(f"{video}: is marked already and stays so; delete {path} to import")
            continue
        save_regions(video, probe(video), regions, arguments.roi_dir)
        print(f"{video}: {len(regions)} region(s) saved in {path}")


if __name__ == "__main__":
    run_command(main)
