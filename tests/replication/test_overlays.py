import matplotlib.image
import numpy as np
import pytest

from replication import overlays
from replication.overlays import OverlayRow


def chest_like() -> tuple[np.ndarray, np.ndarray]:
    """A gray picture (96, 96) in 0..1 with two dark ellipses, and the mask of these."""
    y, x = np.mgrid[:96, :96] / 96
    lungs = ((x - 0.3) / 0.15) ** 2 + ((y - 0.5) / 0.32) ** 2 < 1
    lungs |= ((x - 0.7) / 0.15) ** 2 + ((y - 0.5) / 0.32) ** 2 < 1
    return np.where(lungs, 0.3, 0.7).astype(np.float32), lungs


def hot_spot(row: int, column: int) -> np.ndarray:
    y, x = np.mgrid[:96, :96]
    return np.exp(-((x - column) ** 2 + (y - row) ** 2) / 200).astype(np.float32)


def coloured_share(picture: np.ndarray) -> float:
    return float((np.ptp(picture[..., :3], axis=-1) > 0.1).mean())


def test_contact_sheet_has_a_column_for_every_sixth_frame(tmp_path):
    rng = np.random.default_rng(0)
    clip, heat = rng.integers(0, 255, (60, 30, 30), np.uint8), rng.random((60, 30, 30))
    path = tmp_path / "sheet.png"
    overlays.save_contact_sheet(path, clip, [("saliency", heat), ("SmoothGrad", heat)], "phantom")
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 2 * picture.shape[0]  # ten columns, three rows
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_a_contact_sheet_may_lay_its_maps_over_the_frames(tmp_path):
    image, _ = chest_like()
    clip = (np.stack([image] * 12) * 255).astype(np.uint8)
    cold = np.zeros((12, 96, 96), np.float32)
    warm = cold.copy()
    warm[6] = hot_spot(40, 30)
    shares = []
    for heat in (cold, warm):
        overlays.save_contact_sheet(tmp_path / "a.png", clip, [("a", heat)], "", overlaid=True)
        picture = matplotlib.image.imread(tmp_path / "a.png")
        halves = np.array_split(picture, 2, axis=1)  # frames 0 and 6
        shares.append([coloured_share(half) for half in halves])
    assert shares[0] == [0, 0]
    assert shares[1][0] == 0 < shares[1][1]


def test_all_frames_of_a_clip_are_stretched_alike_for_the_eye():
    heat = np.stack([hot_spot(40, 30), 0.5 * hot_spot(40, 30), 0 * hot_spot(40, 30)])
    seen = overlays.for_the_eye(heat)
    assert seen.shape == heat.shape and seen.min() == 0 and seen.max() == 1
    assert seen[0].max() > 1.5 * seen[1].max() > 0 == seen[2].max()
    np.testing.assert_array_equal(overlays.for_the_eye(heat[0]), overlays.for_the_eye(heat[:1])[0])
    assert not overlays.for_the_eye(heat[2]).any()


def test_overlays_have_a_row_for_each_image_and_colour_only_where_heat_is(tmp_path):
    image, lungs = chest_like()
    cold = np.zeros_like(image)
    caption = "COVID_12 $x^2$: COVID, said Normal 0.71"  # no mathematics
    pictures = []
    for number, rows in enumerate((
        [OverlayRow(caption, image, cold, cold)],
        [OverlayRow(caption, image, cold, cold, lungs)],
        [OverlayRow(caption, image, hot_spot(40, 30), hot_spot(60, 70), lungs)],
        [OverlayRow(caption, image, hot_spot(40, 30), hot_spot(60, 70), lungs)] * 3,
    )):  # fmt: skip
        path = tmp_path / f"{number}.png"
        overlays.save_overlays(path, rows, "phantoms")
        pictures.append(matplotlib.image.imread(path))
    plain, outlined, heated, three = map(coloured_share, pictures)
    assert plain == outlined == 0 < heated
    assert not np.array_equal(pictures[0], pictures[1])  # the lungs' white outline
    assert pictures[3].shape[0] > 2 * pictures[2].shape[0]
    assert three == pytest.approx(heated, rel=0.35)


def test_a_gray_level_looks_the_same_in_bytes_and_in_fractions(tmp_path):
    image = np.full((32, 32), 0.2, np.float32)
    for name, values in (("unit", image), ("bytes", np.full((32, 32), 51, np.uint8))):
        overlays.save_layer_comparison(tmp_path / name, values, {"a": np.zeros((32, 32))}, "")
    first, second = (matplotlib.image.imread(tmp_path / name) for name in ("unit", "bytes"))
    assert np.array_equal(first, second)
    assert 0.15 < first[first.shape[0] // 2, first.shape[1] // 4, 0] < 0.25


def test_layers_stand_side_by_side(tmp_path):
    image, _ = chest_like()
    maps = {"block1_relu": hot_spot(20, 20), "block3_relu": hot_spot(50, 50)}
    for count in (1, 2):
        chosen = dict(list(maps.items())[:count])
        overlays.save_layer_comparison(tmp_path / f"{count}.png", image, chosen, "Grad-CAM")
    one, two = (matplotlib.image.imread(tmp_path / f"{count}.png") for count in (1, 2))
    assert two.shape[1] / one.shape[1] == pytest.approx(3 / 2, rel=0.02)


def test_heatmap_rows_have_a_column_for_each_network(tmp_path):
    image, lungs = chest_like()
    cold, warm = np.zeros_like(image), hot_spot(40, 30)
    pictures = []
    for number, (maps, count, lesions) in enumerate((
        ({"DenseNet-161": cold}, 1, None),
        ({"DenseNet-161": 3 * warm - 1}, 1, None),  # stretched: any range will do
        ({"DenseNet-161": warm, "ResNeXt-50": warm}, 3, None),
        ({"DenseNet-161": cold}, 1, lungs),
    )):  # fmt: skip
        path = tmp_path / f"{number}.png"
        row = overlays.HeatmapRow("P001 $x$", image, lungs, maps, lesions)
        overlays.save_heatmap_rows(path, [row] * count, "RISE")
        pictures.append(matplotlib.image.imread(path))
    plain, heated, several, outlined = map(coloured_share, pictures)
    assert plain == 0 < heated < several
    assert outlined > 0
    assert pictures[2].shape[1] / pictures[0].shape[1] == pytest.approx(4 / 3, rel=0.02)
    assert pictures[2].shape[0] > 2 * pictures[0].shape[0]
    with pytest.raises(KeyError, match="ResNeXt-50"):  # each row has the same networks
        rows = [
            overlays.HeatmapRow("", image, lungs, {n: warm}) for n in ("ResNeXt-50", "DenseNet-161")
        ]
        overlays.save_heatmap_rows(tmp_path / "no.png", rows, "RISE")


def test_a_map_of_another_size_is_refused(tmp_path):
    image, _ = chest_like()
    with pytest.raises(ValueError, match="heat map"):
        overlays.save_layer_comparison(tmp_path / "no.png", image, {"a": np.ones((8, 8))}, "")
    assert not list(tmp_path.iterdir())
