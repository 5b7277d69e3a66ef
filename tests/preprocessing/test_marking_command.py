"""scripts/mark_roi.py as a process: its page over a real websocket, its lists and imports."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from preprocessing.radiographs import picture_info
from preprocessing.roi import Region, load_regions, roi_path, save_regions
from preprocessing.video import list_videos, probe

ROOT = Path(__file__).resolve().parents[2]
BOX = [(10, 12), (40, 12), (40, 30), (10, 30)]


def approx(region, corners):
    return np.allclose(region.polygon, corners, atol=0.6)


def run_tool(*arguments, **options):
    """scripts/mark_roi.py as a process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "mark_roi.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def free_port():
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return probe_socket.getsockname()[1]


def wait_for(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


async def browse(url, messages):
    """Send what matplotlib's page would send, answering each image as the page does."""
    from tornado.websocket import websocket_connect

    connection = await websocket_connect(url.replace("http", "ws") + "/1/ws")
    begin = [
        {"type": "supports_binary", "value": True},
        {"type": "send_image_mode"},
        {"type": "set_device_pixel_ratio", "device_pixel_ratio": 1},
        {"type": "refresh"},
        {"type": "draw"},
    ]
    for message in [*begin, *messages, {"type": "draw"}]:
        await connection.write_message(json.dumps({"figure_id": "1", **message}))
    images = 0
    while images < 2:  # the page is alive: it has drawn at the beginning and at the end
        images += isinstance(await asyncio.wait_for(connection.read_message(), 15), bytes)
    return connection


def page_click(hand, *points):
    for x, y in points:
        column, row = hand.pixel(x, y)
        at = {"x": column, "y": 630 - row, "modifiers": []}
        yield {"type": "motion_notify", **at, "button": 0, "buttons": 0}
        yield {"type": "button_press", **at, "button": 0, "buttons": 1}
        yield {"type": "button_release", **at, "button": 0, "buttons": 0}


def page_key(*keys):
    for key in keys:
        yield {"type": "key_press", "key": f"k{key}"}
        yield {"type": "key_release", "key": f"k{key}"}


def test_over_the_websocket_of_a_browser(tmp_path, make_clip, open_tool):
    video = make_clip(tmp_path / "p001.mp4", 12)
    hand = open_tool(video)  # only to know where the picture lies on the page
    process = run_tool(tmp_path, "--backend", "browser", "--port", free_port())
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        messages = [*page_click(hand, *BOX, BOX[0])]
        messages += page_key("ArrowRight", "ArrowRight", "e", "ArrowRight", "a")
        messages += [*page_click(hand, *BOX[:3]), *page_key("Enter")]

        with urllib.request.urlopen(f"{url}/js/mpl.js") as page:
            assert b"The tool has stopped" in page.read()

        async def session():
            connection = await browse(url, messages)
            await asyncio.to_thread(wait_for, roi_path(video).exists)
            for message in page_key("q"):
                await connection.write_message(json.dumps(message))
            await asyncio.to_thread(process.wait, 15)

        asyncio.run(session())
        assert process.returncode == 0, process.stderr.read()
    finally:
        process.kill()
    first, second = load_regions(video, probe(video))
    assert approx(first, BOX) and (first.first_frame, first.last_frame) == (0, 2)
    assert approx(second, BOX[:3]) and (second.first_frame, second.last_frame) == (3, 11)
    assert "1 of 1 videos marked" in process.stdout.read()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
def test_ctrl_c_in_the_terminal_keeps_an_open_polygon(tmp_path, make_clip, open_tool):
    video = make_clip(tmp_path / "p001.mp4", 12)
    hand = open_tool(video)
    process = run_tool(video, "--backend", "browser", "--port", free_port())
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        asyncio.run(browse(url, [*page_click(hand, *BOX)]))
        assert not roi_path(video).exists()
        process.send_signal(signal.SIGINT)
        process.wait(15)
    finally:
        process.kill()
    assert approx(load_regions(video, probe(video))[0], BOX)


def test_imports_and_list(folder, tmp_path):
    save_regions(folder / "p002.mp4", probe(folder / "p002.mp4"), [])
    table = folder / "marks.csv"
    table.write_text("file,x,y,width,height\np001.mp4,1,2,30,40\np002.mp4,1,2,30,40\n")
    output, errors = run_tool(folder, "--import-csv", table).communicate(timeout=60)
    assert "p001.mp4: 1 region(s) saved" in output and "marked already" in output, errors
    video = folder / "p001.mp4"
    corners = ((1, 2), (31, 2), (31, 42), (1, 42))
    assert load_regions(video, probe(video)) == [Region(corners, 0, 29)]
    output, _ = run_tool(folder, "--list").communicate(timeout=60)
    assert "p003.mp4: not marked" in output and "2 of 3 videos marked" in output


def test_two_tasks_at_once_are_refused(folder, tmp_path):
    tasks = ("--import-csv", tmp_path / "a.csv", "--import-cvat", tmp_path / "b.json")
    process = run_tool(folder, *tasks)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "--import-csv and --import-cvat: give one" in errors


@pytest.fixture
def films(tmp_path):
    """Two films in the database's layout, with a mask."""
    for file in ("COVID/images/COVID-1.png", "COVID/masks/COVID-1.png", "Normal/images/N-1.png"):
        path = tmp_path / "films" / file
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((80, 100), 90, np.uint8))
    return tmp_path / "films"


def test_radiographs_are_imported_and_listed(films, tmp_path):
    table = tmp_path / "crops.csv"
    table.write_text("file,x,y,width,height\nCOVID/images/COVID-1.png,10,12,80,58\n")
    arguments = [films, "--radiographs", "--roi-dir", tmp_path / "marks"]
    output, errors = run_tool(*arguments, "--import-csv", table).communicate(timeout=60)
    assert "COVID-1.png: 1 region(s) saved" in output, errors
    film = films / "COVID" / "images" / "COVID-1.png"
    corners = ((10, 12), (90, 12), (90, 70), (10, 70))
    marked = load_regions(film, picture_info(film), tmp_path / "marks")
    assert marked == [Region(corners, 0, 0, "chest")]
    output, _ = run_tool(*arguments, "--list").communicate(timeout=60)
    assert output.splitlines() == [
        f"{film}: 1 region(s): x 10-90, y 12-70",
        f"{films / 'Normal' / 'images' / 'N-1.png'}: not marked",
        "1 of 2 images marked",
    ]


def test_picture_files_are_radiographs_and_png_folders_are_videos(films):
    film, other = films / "COVID/images/COVID-1.png", films / "Normal/images/N-1.png"
    output, errors = run_tool(film, other, film, "--list").communicate(timeout=60)
    assert "0 of 2 images marked" in output, errors
    output, errors = run_tool(film.parent, "--list").communicate(timeout=60)
    assert "0 of 1 videos marked" in output, errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere"),
        ([".", "--backend", "browser", "--port", "99999"], "--port 99999"),
        ([".", "--radiographs", "--list"], "no radiograph found"),
        (["p001.mp4", "--radiographs"], "is no radiograph by its name"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(folder, arguments, message):
    process = run_tool(folder / arguments[0], *arguments[1:])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and message in errors and errors.count("\n") == 1


def test_read_only_folder_is_told_before_the_work(folder, monkeypatch):
    specification = importlib.util.spec_from_file_location("tool", ROOT / "scripts/mark_roi.py")
    tool = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "tool", tool)
    specification.loader.exec_module(tool)
    tool.require_writable(list_videos(folder), folder / "new" / "marks")
    monkeypatch.setattr(tool.os, "access", lambda path, mode: Path(path) != folder)
    with pytest.raises(InputError, match="--roi-dir"):
        tool.require_writable(list_videos(folder), None)
