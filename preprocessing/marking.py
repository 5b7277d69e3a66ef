"""The marking tool: draw regions of interest on videos or radiographs, wherever matplotlib draws.

    %matplotlib widget                                    # in a notebook (needs ipympl)
    marker = Marker(list_videos(Path("videos")))
    marker = Marker(list_radiographs(Path("COVID/images")), kind=RADIOGRAPHS)

It uses the events every matplotlib backend has; `scripts/mark_roi.py` opens it as a window or as
a web page. Only this module and `marking_view` need matplotlib.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.patches import Polygon
from matplotlib.widgets import RectangleSelector

from preprocessing.errors import InputError
from preprocessing.marking_files import VIDEOS, Kind
from preprocessing.marking_session import Session
from preprocessing.marking_view import DRAWN, NEVER, CornerSelector, View

STEPS = {"left": -1, "right": 1, "up": -10, "down": 10, "pageup": -10, "pagedown": 10}  # frames


class Marker:
    """The tool on one figure. Keys and buttons do the same; `actions` lists both.

    Args:
        files: videos and PNG folders as `list_videos` returns them, or what else `kind` finds.
        roi_dir: where region files go; default: beside each file.
        on_finish: called after everything was saved and the person asked to finish.
        kind: what the files are. Pictures of one frame have no timeline and no spans.

    Raises:
        InputError: no file can be opened.
    """

    def __init__(
        self,
        files: list[Path],
        roi_dir: Path | None = None,
        on_finish: Callable[[], None] | None = None,
        kind: Kind = VIDEOS,
    ):
        self.session, self.kind = Session(files, roi_dir, kind), kind
        self.tool = kind.tool
        self.message, self.failed = self._greeting(), bool(self.session.skipped)
        self._on_finish = on_finish
        self._selector: CornerSelector | RectangleSelector | None = None
        self._selector_for = None  # what the selector was made for
        clicks = {
            key: (words, lambda action=action: self.do(action))
            for key, (words, action) in self.actions.items()
        }
        self.view = View(clicks, None if kind.still else self._on_slider)
        self.view.figure.marker = self  # matplotlib keeps callbacks weakly: the figure keeps it
        self.canvas = self.view.canvas
        self._timer = self.canvas.new_timer(interval=66)
        self._timer.add_callback(self._play_one)
        self._playing = False
        self._connect()
        self.refresh()

    @property
    def actions(self) -> dict[str, tuple[str, Callable[[], str | None]]]:
        """Key -> (what its button says, what it does)."""
        session, name = self.session, self.kind.name
        in_time = {
            "b": ("Begins here", session.begin_here),
            "e": ("Ends here", session.end_here),
            "w": ("Whole video", session.whole_video),
            "x": ("Split here", session.split_here),
        }
        return {
            "m": ("Tool", self.switch_tool),
            "a": ("New region", self.new_region),
            "d": ("Delete region", session.delete),
            "z": ("Undo", self.undo),
            **({} if self.kind.still else in_time),
            "p": (f"Previous {name}", lambda: self.go_to_file(-1)),
            "n": (f"Next {name}", lambda: self.go_to_file(+1)),
            "c": ("Copy to next", self.copy_to_next),
            "s": ("Save", self.save),
            **({} if self.kind.still else {" ": ("Play", self.play)}),
            "q": ("Finish", self.finish),
        }

    # ------------------------------------------------------------------ what the person can do

    def do(self, action: Callable[[], str | None]) -> None:
        """Carry out an action; show what it says, or what went wrong."""
        try:
            self.message, self.failed = action() or "", False
        except InputError as error:
            self.message, self.failed = str(error), True
        self.refresh()

    def refresh(self) -> None:
        """Show the session as it is now."""
        self._renew_selector()
        self.view.show(self.session, self.tool, self._playing, self.message, self.failed)

    def switch_tool(self) -> None:
        """Draw rectangles instead of polygons, or the other way round."""
        self._keep_drawing()
        self.tool = "rectangle" if self.tool == "polygon" else "polygon"

    def new_region(self) -> str:
        """Let go of the selected region (or of the corners drawn) and draw a new one."""
        self.session.select(None)
        self._selector_for = None  # a fresh selector, without corners
        return self._greeting()

    def undo(self) -> None:
        """Take back the last corner while drawing, else the last change."""
        if self._corners_drawn():
            self._selector.one_corner_back()
        else:
            self.session.undo()

    def close_polygon(self) -> None:
        """Make a region of the corners clicked so far."""
        corners = self._corners_drawn()
        if corners:
            if len(corners) < 3:
                raise InputError("A polygon needs at least 3 corners.")
            self.session.add(corners)

    def go_to_file(self, step: int) -> str:
        self._keep_drawing()
        self.session.go_to_file(step)
        return self._greeting()

    def copy_to_next(self) -> str:
        self._keep_drawing()
        self.session.copy_to_next()
        return f"Copied from the {self.kind.name} before; correct it if the lung lies elsewhere."

    def save(self) -> str:
        self._keep_drawing()
        return self.session.save()

    def play(self) -> None:
        """Start or stop playing; sliding is easier to see in motion."""
        self._playing = not self._playing
        (self._timer.start if self._playing else self._timer.stop)()

    def finish(self) -> str:
        """Save what is drawn and close."""
        self.close()
        if self._on_finish:
            self._on_finish()
        return "Everything is saved; this page can be closed."

    def close(self) -> None:
        """Keep a polygon that is still open and save; safe to call again.

        Raises:
            InputError: the region files had to be kept elsewhere; the message says where.
        """
        self._timer.stop()
        self._playing = False
        try:
            self._keep_drawing()
        finally:
            self.session.close()

    # ------------------------------------------------------------------ events

    def _connect(self) -> None:
        manager = self.canvas.manager
        if manager is not None and getattr(manager, "key_press_handler_id", None) is not None:
            # matplotlib's own keys (s saves a picture, q closes, p pans ...) would clash.
            self.canvas.mpl_disconnect(manager.key_press_handler_id)
        if hasattr(self.canvas, "set_capture_scroll"):  # browser: the wheel steps frames
            self.canvas.set_capture_scroll(True)
        if hasattr(self.canvas, "handle_dblclick"):
            # A browser reports a double click after both clicks, as a press without a release:
            # buttons and slider would hold the mouse for ever.
            self.canvas.handle_dblclick = self._on_browser_double_click
        self.canvas.mpl_connect("key_press_event", self._on_key)
        self.canvas.mpl_connect("button_press_event", self._on_press)
        self.canvas.mpl_connect("scroll_event", self._on_scroll)

    def _on_key(self, event) -> None:
        key = (event.key or "").lower()
        others = {
            "ctrl+z": self.undo,
            "cmd+z": self.undo,
            "backspace": self.undo,
            "ctrl+s": self.save,
            "cmd+s": self.save,
            "delete": self.session.delete,
            "enter": self.close_polygon,
            "escape": self.new_region,
            "v": self._select_next,
        }
        if key in STEPS:
            self._step(STEPS[key])
        elif key in ("home", "end"):
            self._step(-self.session.count if key == "home" else self.session.count)
        elif key in self.actions:
            self.do(self.actions[key][1])
        elif key in others:
            self.do(others[key])

    def _on_press(self, event) -> None:
        timeline = self.view.timeline
        if timeline is not None and event.inaxes is timeline.axes:
            timeline.slider.set_val(round(event.xdata))
        elif event.inaxes is not self.view.picture or event.button != 1 or self._toolbar_is_busy():
            return
        elif event.dblclick and self._corners_drawn():
            self.do(self.close_polygon)
        elif self.session.region is not None:
            self._select_at(event)

    def _on_browser_double_click(self, message: dict) -> None:
        if len(self._corners_drawn()) > 1:
            self._selector.one_corner_back()  # that of the second click
            self.do(self.close_polygon)

    def _on_scroll(self, event) -> None:
        self._step(-1 if event.button == "up" else 1)

    def _on_rectangle(self, press, release) -> None:
        x0, x1 = sorted((press.xdata, release.xdata))
        y0, y1 = sorted((press.ydata, release.ydata))
        self.do(lambda: self.session.add([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))

    def _on_polygon(self, corners) -> None:
        if self.session.region is None:
            self.do(lambda: self.session.add(corners))
            return
        if self.tool == "rectangle":
            corners = keep_upright(self.session.region.polygon, corners)
        self._selector_for = None  # fresh handles at what the region then is, also if refused
        self.do(lambda: self.session.reshape(corners))

    def _play_one(self) -> None:
        self.session.go_to_frame((self.session.frame + 1) % self.session.count)
        self.refresh()

    def _step(self, frames: int) -> None:
        self.session.go_to_frame(self.session.frame + frames)
        self.refresh()

    def _greeting(self) -> str:
        """What to do in this file, or why others were skipped."""
        if self.session.skipped:
            return self.session.skipped
        if self.session.region is None:
            return f"Draw a {self.tool} {self.kind.task}."
        all_marked = len(self.session.marked) == len(self.session.files)
        return f"All {self.kind.name}s are marked." if all_marked else ""

    def _select_next(self) -> None:
        """Select the next region and go to a frame where it holds."""
        if not self.session.regions:
            raise InputError("There is no region yet; draw one.")
        number = -1 if self.session.selected is None else self.session.selected
        self._select((number + 1) % len(self.session.regions))

    def _select(self, number: int) -> None:
        self.session.select(number)
        region = self.session.region
        if not region.holds_at(self.session.frame):
            self.session.go_to_frame(region.first_frame)

    def _select_at(self, event) -> None:
        """A click while a region is selected: on another region it selects that one."""
        session = self.session
        here = [i for i, region in enumerate(session.regions) if region.holds_at(session.frame)]
        under = [i for i in here if _contains(session.regions[i], event.xdata, event.ydata)]
        if session.selected in here:
            corners = self.view.picture.transData.transform(session.region.polygon)
            nearest = np.hypot(*(corners - (event.x, event.y)).T).min()
            if nearest <= self._selector.grab_range or session.selected in under:
                return
        if under:
            self.do(lambda: self._select(under[0]))
        elif session.selected not in here:
            self.do(lambda: "The selected region does not hold here: a draws a new one.")

    def _corners_drawn(self) -> list[tuple[float, float]]:
        return self._selector.unfinished if isinstance(self._selector, CornerSelector) else []

    def _keep_drawing(self) -> None:
        """Close a polygon left open, so that moving on never loses work."""
        if len(self._corners_drawn()) >= 3:
            self.close_polygon()

    def _toolbar_is_busy(self) -> bool:
        """Whether the toolbar's zoom or pan is switched on."""
        return not self.canvas.widgetlock.available(self)

    def _renew_selector(self) -> None:
        """Drawing tool without a selection, corner handles with one; kept while nothing changes."""
        session = self.session
        here = session.region is not None and session.region.holds_at(session.frame)
        wanted = (session.index, session.selected, here and session.region, self.tool)
        if wanted == self._selector_for:
            return
        self._selector_for = wanted
        if self._selector is not None:
            self._selector.disconnect_events()
            for artist in self._selector.artists:
                artist.remove()
        picture = self.view.picture
        if here:
            self._selector = CornerSelector(picture, self._on_polygon, session.region.polygon)
        elif session.region is not None:
            self._selector = None
        elif self.tool == "polygon":
            self._selector = CornerSelector(picture, self._on_polygon)
        else:
            self._selector = RectangleSelector(
                picture,
                self._on_rectangle,
                button=1,
                props={"facecolor": "none", "edgecolor": DRAWN, "linewidth": 1.8, "fill": False},
                state_modifier_keys=dict.fromkeys(("move", "clear", "center", "rotate"), NEVER),
            )

    def _on_slider(self, value: float) -> None:
        self.session.go_to_frame(value)
        self.refresh()


def keep_upright(before: tuple, after: list) -> list:
    """The corners after a drag; of an upright rectangle the two beside the one dragged follow it.

    Anything else, such as a region moved as a whole, is returned as it is. Otherwise a corner
    dragged inwards would leave a slanted region of the same extent.
    """
    columns, rows = ({corner[axis] for corner in before} for axis in (0, 1))
    if not len(before) == len(after) == 4 or not len(columns) == len(rows) == 2:
        return after
    dragged = [i for i in range(4) if tuple(after[i]) != before[i]]
    if len(dragged) != 1:
        return after
    (old_x, old_y), (new_x, new_y) = before[dragged[0]], after[dragged[0]]
    return [(new_x if x == old_x else x, new_y if y == old_y else y) for x, y in before]


def _contains(region, x: float, y: float) -> bool:
    return bool(Polygon(region.polygon).get_path().contains_point((x, y)))
