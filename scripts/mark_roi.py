"""Mark the pleura and lung between two ribs in videos, or the chest in radiographs.

    python scripts/mark_roi.py videos/                    # a window, or a page in the browser
    python scripts/mark_roi.py videos/ --list             # which videos are marked
    python scripts/mark_roi.py videos/ --import-csv rectangles.csv
    python scripts/mark_roi.py DATA --radiographs         # DATA/<class>/images/*.png, less masks
    python scripts/mark_roi.py COVID-1.png COVID-2.png    # picture files are radiographs

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
from preprocessing.marking_files import RADIOGRAPHS, VIDEOS, Kind
from preprocessing.radiographs import is_radiograph
from preprocessing.roi import (
    Region,
    import_cvat,
    import_rectangles,
    load_regions,
    roi_path,
    save_regions,
)
from replication.cli import run_command

# Tk first: where Qt cannot start it ends the whole program instead of raising an error.
WINDOW_BACKENDS = ("macosx", "tkagg", "qtagg", "gtk4agg", "gtk3agg", "wxagg")


@dataclass(frozen=True)
class Arguments:
    """What to mark, where to show the tool, or what to import."""

    paths: tyro.conf.Positional[tuple[Path, ...]]  # videos, folders of PNG frames, folders of those
    radiographs: bool = False  # folders hold radiographs (PNG, JPEG, DICOM), no videos or frames
    backend: Literal["auto", "window", "browser"] = "auto"  # auto: a window where there can be one
    port: int = 8988  # browser: port of the page; the next free one if it is taken
    address: str = "127.0.0.1"  # browser: who may connect; 0.0.0.0 lets everyone in the network
    roi_dir: Path | None = None  # keep the region files here instead of beside the files
    import_csv: Path | None = None  # table: file,x,y,width,height[,first_frame,last_frame]
    import_cvat: Path | None = None  # CVAT annotations.json of one file's task
    cvat_labels: tuple[str, ...] = ()  # take these CVAT labels instead of pleura, lung and A-lines
    list: bool = False  # print which files are marked, and stop


def main() -> None:
    """List, import or mark, as the flags say."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if sum(map(bool, (arguments.list, arguments.import_csv, arguments.import_cvat))) > 1:
        raise InputError("--list, --import-csv and --import-cvat: give one of them")
    kind = choose_kind(arguments)
    files = list_files(arguments.paths, kind)
    if arguments.list:
        print_list(files, arguments.roi_dir, kind)
    elif arguments.import_csv or arguments.import_cvat:
        import_marks(arguments, files, kind)
    else:
        require_writable(files, arguments.roi_dir)
        mark(arguments, files, kind)


def choose_kind(arguments: Arguments) -> Kind:
    """Radiographs if so told, or if single pictures are named: a folder of PNG files is a video."""
    if not arguments.paths:
        raise InputError("there is nothing to mark; name a file or a folder")
    if arguments.radiographs or all(is_radiograph(path) for path in arguments.paths):
        return RADIOGRAPHS
    return VIDEOS


def list_files(paths: tuple[Path, ...], kind: Kind) -> list[Path]:
    """What is at or below the paths, in their order; what two of them hold comes once."""
    found = (file for path in paths for file in kind.find(path))
    return list({os.path.abspath(file): file for file in found}.values())


def mark(arguments: Arguments, files: list[Path], kind: Kind) -> None:
    """Open the tool; whatever ends it, what was drawn is saved."""
    in_browser = choose_backend(arguments)
    from matplotlib import pyplot as plt

    from preprocessing.marking import Marker

    stop = stop_browser if in_browser else stop_window
    marker = Marker(files, arguments.roi_dir, stop, kind)
    try:
        plt.show()
    except OSError as error:
        raise InputError(
            f"--address {arguments.address}: nothing can be served there ({error.strerror}); "
            "use 127.0.0.1 or an address of this machine"
        ) from error
    finally:
        marker.close()
        print(f"{len(marker.session.marked)} of {len(files)} {kind.name}s marked", flush=True)


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


def require_writable(files: list[Path], roi_dir: Path | None) -> None:
    """Say before the work, not after it, that regions could not be saved."""
    for folder in {roi_path(file, roi_dir).parent for file in files}:
        existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            raise InputError(
                f"{folder}: regions cannot be saved here; make it a folder you may write to, or "
                "keep them elsewhere with --roi-dir"
            )


def print_list(files: list[Path], roi_dir: Path | None, kind: Kind) -> None:
    """Print the regions of each file, or that it is not marked."""
    marked = 0
    for file in files:
        try:
            regions = load_regions(file, kind.describe(file), roi_dir)
        except InputError as error:
            print(f"{file}: PROBLEM: {error}")
            continue
        marked += regions is not None
        where = "; ".join(extent(region, kind) for region in regions or ())
        empty = "not marked" if regions is None else "marked as having no region"
        print(f"{file}: " + (f"{len(regions)} region(s): {where}" if regions else empty))
    print(f"{marked} of {len(files)} {kind.name}s marked")


def extent(region: Region, kind: Kind) -> str:
    """Where a region lies, in words: its frames, or its box in a picture."""
    if not kind.still:
        return f"frames {region.first_frame}-{region.last_frame}"
    (left, right), (top, bottom) = ((min(c), max(c)) for c in zip(*region.polygon, strict=True))
    return f"x {left:g}-{right:g}, y {top:g}-{bottom:g}"


def import_marks(arguments: Arguments, files: list[Path], kind: Kind) -> None:
    """Save imported regions; a file that carries marks already keeps them."""
    if arguments.import_csv:
        if len(arguments.paths) > 1:
            raise InputError(
                "--import-csv: name one folder, which the paths in the table start from"
            )
        found = import_rectangles(
            arguments.import_csv, arguments.paths[0], kind.find, kind.describe, kind.label
        )
    elif len(files) > 1:
        raise InputError(
            f"{arguments.paths[0]}: --import-cvat holds the annotations of one {kind.name}; "
            f"name that {kind.name}"
        )
    else:
        labels = arguments.cvat_labels or None
        found = {files[0]: import_cvat(arguments.import_cvat, kind.describe(files[0]), labels)}
    for file, regions in found.items():
        path = roi_path(file, arguments.roi_dir)
        if path.exists():
            print(f"{file}: is marked already and stays so; delete {path} to import")
            continue
        save_regions(file, kind.describe(file), regions, arguments.roi_dir)
        print(f"{file}: {len(regions)} region(s) saved in {path}")


if __name__ == "__main__":
    run_command(main)
