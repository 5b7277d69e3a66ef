"""A person at the marking tool, for the tests that drive it."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backend_bases import KeyEvent, MouseEvent

from preprocessing.marking import Marker
from preprocessing.marking_files import VIDEOS
from preprocessing.roi import load_regions
from preprocessing.video import write_mp4

LEFT, RIGHT = 1, 3


class Hand:
    """A person at the tool: moves, clicks and types as a backend would report it."""

    def __init__(self, path, kind=VIDEOS, **options):
        matplotlib.use("Agg")
        self.marker = Marker(kind.find(path), kind=kind, **options)
        self.canvas, self.session = self.marker.canvas, self.marker.session
        self.canvas.draw()
        self.canvas.draw_idle = lambda: None  # a window would draw later; Agg draws each time

    def pixel(self, x, y):
        return self.marker.view.picture.transData.transform((x, y))

    def mouse(self, name, at, button=None, **more):
        event = MouseEvent(name, self.canvas, *at, button, **more)
        self.canvas.callbacks.process(name, event)

    def press(self, at, button=LEFT, **more):
        self.mouse("motion_notify_event", at, **more)
        self.mouse("button_press_event", at, button, **more)

    def click(self, x, y, button=LEFT, **more):
        self.press(self.pixel(x, y), button, **more)
        self.mouse("button_release_event", self.pixel(x, y), button)

    def drag(self, start, end, **more):
        self.press(self.pixel(*start), **more)
        for part in (0.5, 1.0):
            at = self.pixel(*(np.array(start) * (1 - part) + np.array(end) * part))
            self.mouse("motion_notify_event", at, LEFT, **more)
        self.mouse("button_release_event", at, LEFT, **more)

    def button(self, key):
        axes = self.marker.view._buttons[key][1].ax
        at = axes.transAxes.transform((0.5, 0.5))
        self.press(at)
        self.mouse("button_release_event", at, LEFT)

    def type(self, *keys):
        for key in keys:
            for name in ("key_press_event", "key_release_event"):
                event = KeyEvent(name, self.canvas, key, *self.pixel(5, 5))
                self.canvas.callbacks.process(name, event)

    def on_disk(self, number):
        file = self.session.files[number - 1]
        return load_regions(file, self.session.kind.describe(file), self.session.roi_dir)


def write_clip(path, frames=30, width=64, height=48):
    """A video in which each frame has other gray levels."""
    rows, columns = np.mgrid[:height, :width]
    write_mp4(path, ((rows * 3 + columns + 5 * i).astype(np.uint8) for i in range(frames)))
    return path


@pytest.fixture
def make_clip():
    """`write_clip`, as a fixture so that test modules need not import one another."""
    return write_clip


@pytest.fixture
def folder(tmp_path):
    """Three videos: of 30, 30 and 20 frames, the second one of twice the size."""
    for number, size in ((1, (64, 48)), (2, (128, 96)), (3, (64, 48))):
        write_clip(tmp_path / f"p{number:03}.mp4", 30 - 10 * (number == 3), *size)
    return tmp_path


@pytest.fixture
def open_tool():
    """`Hand`: opens the tool on a path and drives it; closed when the test ends."""
    yield Hand
    plt.close("all")


@pytest.fixture
def hand(folder, open_tool):
    """The tool opened on three videos."""
    hand = open_tool(folder)
    yield hand
    hand.canvas.draw()  # whatever was done, it can be shown
