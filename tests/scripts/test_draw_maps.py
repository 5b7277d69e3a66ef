"""A map of the papers' pages: it is drawn whole, in its size, with something in each box."""

import cv2


def test_a_map_is_drawn(call, tmp_path):
    code, out, err = call("scripts/draw_maps.py", "--paper", "cnr_iemn", "--out", tmp_path)
    assert code == 0, err
    path = tmp_path / "map-cnr_iemn.png"
    assert out.split() == [str(path)] and list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size < 300_000
    picture = cv2.imread(str(path))
    assert picture.shape == (1600, 1260, 3)  # 1.4 dots for each of 900 px, three rows of boxes
    left, top, pitch = (28, 425, 854), (120, 657, 1194), 240
    boxes = [picture[y : y + pitch, x : x + pitch] for y in top for x in left]
    assert all(len({tuple(p) for p in box.reshape(-1, 3).tolist()}) > 8 for box in boxes)


def test_an_unknown_paper_is_refused(call, tmp_path):
    code, _, err = call("scripts/draw_maps.py", "--paper", "unknown", "--out", tmp_path)
    assert code == 2 and "cnr_iemn" in err
