"""How the marking tool looks: picture, timeline, buttons and words on one matplotlib figure."""

import textwrap
from collections.abc import Callable

import cv2
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Polygon, Rectangle
from matplotlib.widgets import Button, PolygonSelector, Slider

from preprocessing.marking_session import Session
from preprocessing.roi import Region

SELECTED, OTHER, DRAWN = "#ffd400", "#35c4f0", "#ff7a45"
PANEL, INK, ERROR = "#f4f5f6", "#20262c", "#b3261e"
FIGURE_SIZE = (11.8, 6.3)  # inches; words grow and shrink with the window
LISTED = 9  # regions listed at once
NEVER = "not-applicable"  # a modifier key that no keyboard has
# Ours: radiographs have up to 4,300 px a side, and a picture is drawn anew at each mouse move.
LARGEST_SHOWN = 1600  # px

POLYGON_HELP = """\
Draw: click the corners. The first corner, Enter or
a double click closes, a right click takes one back.
"""
RECTANGLE_HELP = """\
Draw: press at one corner, let go at the opposite one.
"""
CHANGE_HELP = """\
Change: drag a corner; right click removes it;
shift and drag moves the region.
"""
FRAMES_HELP = """\
Frames: arrows, home, end, wheel or timeline.
"""
REGIONS_HELP = """\
Regions: v or a click selects, Esc lets go.
Every change is saved at once."""


class CornerSelector(PolygonSelector):
    """matplotlib's polygon selector with "one corner back" and without surprising keys."""

    def __init__(self, ax, onselect, corners=None):
        colour = DRAWN if corners is None else SELECTED
        super().__init__(
            ax,
            onselect,
            props={"color": colour, "linewidth": 1.8, "alpha": 1.0},
            handle_props={"markersize": 6, "markeredgecolor": "black", "markerfacecolor": colour},
        )
        # Ctrl and Shift would drop the corner under the pointer while a polygon is being drawn.
        self._state_modifier_keys.update(clear=NEVER, move_vertex=NEVER)
        if corners is None:
            self._state_modifier_keys.update(move_all=NEVER)
            self._xys = [(np.nan, np.nan)]  # not (0, 0), which shows a handle in the corner
        else:
            self.verts = [tuple(corner) for corner in corners]

    @property
    def unfinished(self) -> list[tuple[float, float]]:
        """The corners clicked so far; empty once the polygon is closed."""
        return [] if self._selection_completed else list(self.verts)

    def one_corner_back(self) -> None:
        """Take back the corner clicked last."""
        if self.unfinished:
            del self._xys[-2]
            self._draw_polygon()

    def _release(self, event):
        if event.button == 1 or (self._selection_completed and len(self.verts) > 3):
            super()._release(event)
            return
        self._active_handle_idx = -1  # the corner is not being dragged any more
        if event.button == 3:
            self.one_corner_back()


class Timeline:
    """The frames of a video as a bar with the spans of its regions, above a slider.

    Args:
        figure: where to draw it.
        on_slider: called with the frame that the slider was moved to.
    """

    def __init__(self, figure, on_slider: Callable[[float], None]):
        self.axes = figure.add_axes((0.05, 0.088, 0.62, 0.04), facecolor="white")
        self.axes.set(xticks=[], yticks=[], navigate=False)
        slider_axes = figure.add_axes((0.05, 0.048, 0.62, 0.035))
        self.slider = Slider(slider_axes, "", 0, 1, valstep=1, color=OTHER, initcolor="none")
        self.slider.valtext.set_visible(False)
        self.slider.drawon = False  # whoever moves it shows the new frame, once
        self.slider.on_changed(on_slider)
        self._drawn: list = []

    def set_length(self, frames: int) -> None:
        """Span this many frames."""
        last = max(frames - 1, 1)
        self.slider.valmax = last
        for axes in (self.axes, self.slider.ax):
            axes.set_xlim(-0.5, last + 0.5)

    def show(self, session: Session) -> None:
        """Show the current frame and where the regions hold."""
        for artist in self._drawn:
            artist.remove()
        self._drawn = [self._span(session, number) for number in range(len(session.regions))]
        self._drawn.append(self.axes.axvline(session.frame, color=ERROR, linewidth=1.5))
        self.slider.eventson = False
        self.slider.set_val(session.frame)
        self.slider.eventson = True

    def _span(self, session: Session, number: int) -> Rectangle:
        region, height = session.regions[number], 1 / len(session.regions)
        begin, frames = region.first_frame - 0.5, region.last_frame - region.first_frame + 1
        span = Rectangle((begin, 1 - (number + 1) * height), frames, height)
        colour = SELECTED if number == session.selected else OTHER
        span.set(facecolor=colour, edgecolor=INK, linewidth=0.8)
        return self.axes.add_patch(span)


class View:
    """The figure of the tool; `show` brings it up to date with a session.

    Args:
        actions: key -> (words on its button, what a click does).
        on_slider: called with the frame that the slider was moved to; None: pictures of one
            frame, which need no timeline.
    """

    def __init__(
        self,
        actions: dict[str, tuple[str, Callable[[], None]]],
        on_slider: Callable[[float], None] | None,
    ):
        self.figure = plt.figure(figsize=FIGURE_SIZE, dpi=100, facecolor=PANEL)
        self.canvas = self.figure.canvas
        self._drawn: list = []  # artists that change whenever something is shown
        self._shown_file: int | None = None
        self._image = None
        self._lay_out(on_slider)
        self._add_words()
        self._add_buttons(actions)
        labels = [button.label for _, button in self._buttons.values()]
        self._font_sizes = {text: text.get_fontsize() for text in [*self.figure.texts, *labels]}
        self.canvas.mpl_connect("resize_event", self._fit_words)

    def _lay_out(self, on_slider) -> None:
        figure = self.figure
        if self.canvas.manager is not None:
            self.canvas.manager.set_window_title("Mark regions of interest")
        self.timeline = None if on_slider is None else Timeline(figure, on_slider)
        bottom = 0.055 if self.timeline is None else 0.15
        self.picture = figure.add_axes((0.01, bottom, 0.70, 0.94 - bottom), facecolor="black")
        self.picture.set(xticks=[], yticks=[])

    def _add_words(self) -> None:
        figure = self.figure
        text = {"color": INK, "fontsize": 9, "verticalalignment": "top"}
        self._name = figure.text(0.012, 0.985, "", **text | {"fontsize": 11})
        self._frame = figure.text(0.708, 0.985, "", horizontalalignment="right", **text)
        self._progress = figure.text(0.725, 0.985, "", weight="bold", **text | {"fontsize": 11})
        self._list = figure.text(0.725, 0.525, "", linespacing=1.5, **text)
        self._status = figure.text(0.012, 0.034, "", **text)
        self._help = figure.text(0.725, 0.262, "", linespacing=1.5, **text | {"fontsize": 8.5})

    def _add_buttons(self, actions) -> None:
        self._buttons: dict[str, tuple[str, Button]] = {}
        for number, (key, (words, action)) in enumerate(actions.items()):
            row, column = divmod(number, 2)
            axes = self.figure.add_axes((0.725 + 0.134 * column, 0.885 - 0.053 * row, 0.13, 0.046))
            for spine in axes.spines.values():
                spine.set_color("#c3c8cd")
            button = Button(axes, words, color="white", hovercolor="#dcecf5")
            button.label.set(fontsize=9, color=INK)
            button.on_clicked(lambda event, action=action: action())
            self._buttons[key] = (words, button)

    def show(self, session: Session, tool: str, playing: bool, message: str, failed: bool) -> None:
        """Show the session's file, frame and regions, and what the tool has to say."""
        if self._shown_file != session.index:
            self._show_new_file(session)
        elif self.timeline is not None:
            self._image.set_data(_fit_screen(session.picture()))
        for artist in self._drawn:
            artist.remove()
        self._drawn = []
        for number, region in enumerate(session.regions):
            self._show_region(session, number, region)
        if self.timeline is not None:
            self.timeline.show(session)
        self._say_where(session)
        self._list_regions(session, tool)
        self._name_buttons(tool, playing)
        draw = RECTANGLE_HELP if tool == "rectangle" else POLYGON_HELP
        frames = "" if self.timeline is None else FRAMES_HELP
        self._help.set_text(draw + CHANGE_HELP + frames + REGIONS_HELP)
        self._status.set_text("\n".join(textwrap.wrap(message, 110)[:2]))
        self._status.set_color(ERROR if failed else INK)
        self.canvas.draw_idle()

    def _show_new_file(self, session: Session) -> None:
        info = session.info
        if self._image is not None:
            self._image.remove()
        # The extent makes data coordinates continuous pixels: the corner of the frame is 0, 0.
        extent = (0, info.width, info.height, 0)
        self._image = self.picture.imshow(
            _fit_screen(session.picture()), cmap="gray", vmin=0, vmax=255, extent=extent
        )
        self.picture.set(xlim=extent[:2], ylim=extent[2:])
        if self.timeline is not None:
            self.timeline.set_length(session.count)
        toolbar = getattr(self.canvas, "toolbar", None)
        if hasattr(toolbar, "update"):  # its home view was that of the file before
            toolbar.update()
        self._shown_file = session.index

    def _show_region(self, session: Session, number: int, region: Region) -> None:
        """Its outline on the picture where it holds."""
        colour = SELECTED if number == session.selected else OTHER
        if region.holds_at(session.frame):
            outline = Polygon(region.polygon, fill=False, edgecolor=colour, linewidth=1.8)
            self._drawn.append(self.picture.add_patch(outline))
            x, y = np.mean(region.polygon, axis=0)
            name = self.picture.text(x, y, str(number + 1), color=colour, fontsize=12, ha="center")
            self._drawn.append(name)

    def _fit_words(self, event) -> None:
        width, height = self.figure.get_size_inches()
        scale = min(width / FIGURE_SIZE[0], height / FIGURE_SIZE[1], 1.6)
        for text, size in self._font_sizes.items():
            text.set_fontsize(size * scale)

    def _say_where(self, session: Session) -> None:
        files, info = len(session.files), session.info
        name = session.file.name
        name = name if len(name) <= 50 else f"{name[:30]}\u2026{name[-19:]}"
        self._name.set_text(f"{name}   ({session.kind.name} {session.index + 1} of {files})")
        self._progress.set_text(f"{len(session.marked)} of {files} marked")
        if self.timeline is None:
            self._frame.set_text(f"{info.width}\u00d7{info.height} px")
            return
        where = f"frame {session.frame} of 0\u2013{session.count - 1}"
        self._frame.set_text(f"{where}   {session.frame / info.fps:.2f} s")

    def _list_regions(self, session: Session, tool: str) -> None:
        lines = []
        for number, region in enumerate(session.regions):
            mark = "\u25b6" if number == session.selected else "    "
            span = self._span_in_words(region.first_frame, region.last_frame)
            lines.append(f"{mark} {number + 1}  {region.label}{span}")
        if session.region is None:
            lines.append(f"\u25b6 new {tool}{self._span_in_words(*session.next_span)}")
        chosen = len(lines) - 1 if session.selected is None else session.selected
        first = max(0, min(chosen - 3, len(lines) - LISTED))
        self._list.set_text("\n".join(lines[first : first + LISTED]))

    def _span_in_words(self, first: int, last: int) -> str:
        return "" if self.timeline is None else f", frames {first}\u2013{last}"

    def _name_buttons(self, tool: str, playing: bool) -> None:
        for key, (words, button) in self._buttons.items():
            words = f"Tool: {tool}" if key == "m" else words
            words = "Pause" if key == " " and playing else words
            button.label.set_text(f"{words}  [{'space' if key == ' ' else key}]")


def _fit_screen(picture: np.ndarray) -> np.ndarray:
    """The picture, averaged down if it is far larger than it can be shown."""
    scale = LARGEST_SHOWN / max(picture.shape)
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
