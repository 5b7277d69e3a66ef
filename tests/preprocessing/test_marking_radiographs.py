"""Radiographs at the marking tool: which files count, and a picture as a video of one frame."""

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from preprocessing.marking import keep_upright
from preprocessing.marking_files import RADIOGRAPHS
from preprocessing.marking_view import LARGEST_SHOWN
from preprocessing.radiographs import list_radiographs, picture_info, read_radiograph
from preprocessing.roi import Region, roi_path
from preprocessing.video import VideoInfo

CHEST = [(10, 12), (90, 12), (90, 70), (10, 70)]


def write_film(path, width=100, height=80):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:height, :width]
    cv2.imwrite(str(path), ((rows + columns) % 256).astype(np.uint8))
    return path


@pytest.fixture
def films(tmp_path):
    """Three films in the database's layout, the third of twice the size, with masks and lesions."""
    for name, folder in (("COVID-1", "COVID"), ("COVID-2", "COVID"), ("Normal-1", "Normal")):
        size = (200, 160) if name == "Normal-1" else (100, 80)
        write_film(tmp_path / folder / "images" / f"{name}.png", *size)
        write_film(tmp_path / folder / "masks" / f"{name}.png", *size)
    write_film(tmp_path / "lesions" / "COVID" / "COVID-1.png")
    write_film(tmp_path / "COVID" / "images" / "._COVID-1.png")
    (tmp_path / "manifest.csv").write_text("file\n")
    return tmp_path


@pytest.fixture
def hand(films, open_tool):
    """The tool opened on those films."""
    hand = open_tool(films, RADIOGRAPHS)
    yield hand
    hand.canvas.draw()


def test_masks_lesions_and_hidden_files_are_no_radiographs(films):
    images = ["COVID-1.png", "COVID-2.png", "Normal-1.png"]
    assert [p.name for p in list_radiographs(films)] == images
    assert [p.name for p in list_radiographs(films / "COVID")] == images[:2]
    assert [p.name for p in list_radiographs(films / "COVID" / "images")] == images[:2]
    film = films / "Normal" / "images" / "Normal-1.png"
    assert list_radiographs(film) == [film]
    with pytest.raises(InputError, match="folder of lung masks"):
        list_radiographs(films / "COVID" / "masks")


def test_any_folder_of_pictures_will_do(tmp_path):
    names = [write_film(tmp_path / name).name for name in ("a.jpg", "b.png")]
    plain_dicom = tmp_path / "c"
    plain_dicom.write_bytes(bytes(128) + b"DICM")
    write_film(tmp_path / "masks" / "b.png")
    assert [p.name for p in list_radiographs(tmp_path)] == [*names, "c"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "no such file or folder"), ("x.txt", "no radiograph by"), ("empty", "found")],
)
def test_nothing_to_list_is_said(tmp_path, name, message):
    (tmp_path / "x.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        list_radiographs(tmp_path / name)


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    film = write_film(tmp_path / "a.png", 100, 80)
    assert picture_info(film) == VideoInfo(film, 100, 80, 1.0, 1)
    info, still = RADIOGRAPHS.open(film)
    assert info == picture_info(film) and still.count == 1
    assert np.array_equal(still.frame(0), read_radiograph(film))


def test_a_chest_is_marked_by_press_move_release(hand, films):
    assert "rectangle around the chest" in hand.marker.message
    hand.drag(CHEST[0], CHEST[2])
    (region,) = hand.on_disk(1)
    assert np.allclose(region.polygon, CHEST, atol=0.6)
    assert (region.first_frame, region.last_frame, region.label) == (0, 0, "chest")
    assert roi_path(films / "COVID" / "images" / "COVID-1.png").exists()
    hand.type("n", "s")
    assert hand.session.index == 1 and hand.on_disk(2) == []
    hand.type("n", "n")
    assert hand.marker.message == "This is the last image."


def test_nothing_on_the_screen_has_to_do_with_time(hand):
    view = hand.marker.view
    assert view.timeline is None and not set(view._buttons) & {"b", "e", "w", "x", " "}
    words = [text.get_text() for text in view.figure.texts]
    words += [button.label.get_text() for _, button in view._buttons.values()]
    assert not any("frame" in text.lower() or "video" in text.lower() for text in words), words
    hand.drag(CHEST[0], CHEST[2])
    before = hand.on_disk(1)
    hand.type("right", "down", "end", "b", "e", "w", "x", " ")
    hand.mouse("scroll_event", hand.pixel(5, 5), step=-1)
    hand.press((300, 30))  # where videos have their slider
    assert hand.on_disk(1) == before and hand.session.frame == 0 and not hand.marker._playing
    assert not any("frame" in text.get_text() for text in view.figure.texts)


def test_a_rectangle_stays_one_when_a_corner_is_dragged(hand):
    hand.drag(CHEST[0], CHEST[2])
    hand.drag(CHEST[2], (80, 60))
    assert np.allclose(hand.on_disk(1)[0].polygon, [(10, 12), (80, 12), (80, 60), (10, 60)], atol=1)
    hand.drag((80, 12), (70, 20))
    assert np.allclose(hand.on_disk(1)[0].polygon, [(10, 20), (70, 20), (70, 60), (10, 60)], atol=1)
    hand.drag((70, 20), (12, 58))  # refused: too small
    assert hand.marker.failed
    assert np.allclose(hand.marker._selector.verts, hand.on_disk(1)[0].polygon)


def test_only_upright_rectangles_are_kept_so():
    box, slanted = tuple(CHEST), ((10, 12), (90, 20), (90, 70), (10, 70))
    for number, corner in enumerate(CHEST):
        after = [*CHEST]
        after[number] = (corner[0] + 5, corner[1] - 3)
        kept = keep_upright(box, after)
        assert kept[number] == after[number] and kept[number - 2] == CHEST[number - 2]
        assert len({x for x, _ in kept}) == len({y for _, y in kept}) == 2
    moved = [(x + 1, y + 1) for x, y in CHEST]
    assert keep_upright(box, moved) == moved
    assert keep_upright(box, moved[:3]) == moved[:3]
    assert keep_upright(slanted, [*CHEST]) == CHEST


def test_a_box_is_copied_to_the_next_film_at_its_size(hand):
    hand.type("n")
    hand.drag(CHEST[0], CHEST[2])
    hand.type("c")
    assert np.allclose(hand.on_disk(3)[0].polygon, np.array(CHEST) * 2, atol=1)


def test_a_slip_of_the_mouse_is_no_chest(hand):
    hand.drag((10, 10), (30, 30))
    assert "too small" in hand.marker.message and hand.on_disk(1) is None


def test_large_films_are_shown_reduced_and_marked_in_their_own_pixels(tmp_path, open_tool):
    film = write_film(tmp_path / "large.png", 2000, 1500)
    hand = open_tool(film, RADIOGRAPHS)
    assert hand.marker.view._image.get_array().shape == (LARGEST_SHOWN * 3 // 4, LARGEST_SHOWN)
    corners = ((200, 150), (1800, 150), (1800, 1200), (200, 1200))
    hand.drag(corners[0], corners[2])
    assert np.allclose(hand.on_disk(1)[0].polygon, corners, atol=5)


def test_a_broken_film_is_skipped(films, open_tool):
    (films / "COVID" / "images" / "COVID-0.png").write_bytes(b"no picture")
    hand = open_tool(films, RADIOGRAPHS)
    assert hand.session.index == 1 and "COVID-0.png" in hand.marker.message
    hand.session.add(CHEST)
    assert hand.on_disk(2) == [Region(tuple(CHEST), 0, 0, "chest")]
