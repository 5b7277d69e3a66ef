"""The sheets of heat maps: which map is drawn on which slice, and what is said of them."""

import numpy as np
import pytest

from cnr_iemn import explain
from cnr_iemn.config import CLASSES
from cnr_iemn.explain import (
    MAPS,
    Explained,
    describe,
    read_maps,
    save_heatmap_sheets,
    save_maps,
)
from cnr_iemn.pictures import save_scenario_confusions, title_of
from preprocessing.errors import InputError
from replication.verdict import Experiment

SIDE = 24


def experiment(name, network="densenet161", seed=0, **rise) -> Experiment:
    config = {"study": "cnr_iemn", "scenario": "multitask", "network": network, "seed": seed}
    confusion = {"val": {"slice": {"confusion": np.eye(3, dtype=int).tolist()}}}
    result = confusion | {"rise": {"slices": 3} | rise}
    return Experiment(name, "", "val", (result,), config)


@pytest.fixture
def explained(small_config):
    """Writes the maps of a run: one for each caption, with a bright pixel at a place of its own."""

    def write(folder, captions, place):
        maps = np.zeros((len(captions), SIDE, SIDE), np.float32)
        maps[:, place, place] = 1
        images = np.full((len(captions), SIDE, SIDE, 2), 100, np.uint8)
        path = small_config.out / "runs" / "cnr_iemn" / folder / "seed0"
        path.mkdir(parents=True)
        lesions = np.zeros(maps.shape, bool)
        save_maps(path / MAPS, Explained(maps, np.array(captions), images, lesions))

    return write


@pytest.fixture
def sheets(small_config, tmp_path, monkeypatch):
    """Draws the sheets of some experiments: for each file, caption to {column: bright place}."""
    draw = explain.overlays.save_heatmap_rows
    folder = tmp_path / "figures"
    folder.mkdir()

    def save(experiments):
        drawn = {}

        def keep(path, rows, title):
            drawn[path.name] = {
                row.caption: {name: int(heat.argmax()) // SIDE for name, heat in row.maps.items()}
                for row in rows
            }
            draw(path, rows, title)

        monkeypatch.setattr(explain.overlays, "save_heatmap_rows", keep)
        save_heatmap_sheets(small_config, folder, experiments)
        assert {path.name for path in folder.iterdir()} == set(drawn)
        return drawn

    return save


ONE = [f"P1, slice 5: {name}" for name in CLASSES]
TWO = [f"P{number}, slice 5: {name}" for name in CLASSES for number in (1, 2)]


@pytest.mark.parametrize(("first", "second"), [(ONE, TWO), (TWO, ONE)])
def test_networks_explained_by_other_slices_have_sheets_of_their_own(
    explained, sheets, first, second
):
    explained("multitask-densenet161", first, place=3)
    explained("multitask-resnext50_32x4d", second, place=7)
    drawn = sheets([
        experiment("multitask-densenet161"),
        experiment("multitask-resnext50_32x4d", "resnext50_32x4d"),
    ])  # fmt: skip
    assert drawn == {
        "rise.png": {caption: {"Densenet-161": 3} for caption in first},
        "rise-2.png": {caption: {"ResneXt-50": 7} for caption in second},
    }


def test_shuffled_maps_stand_beside_the_plain_ones(explained, sheets):
    names = ("multitask-densenet161", "multitask-densenet161-shuffled_labels")
    for place, name in enumerate(names, start=3):
        explained(name, ONE, place)
    drawn = sheets([experiment(name) for name in names])
    columns = {"Densenet-161": 3, "Densenet-161\nshuffled labels": 4}
    assert drawn == {"rise.png": {caption: columns for caption in ONE}}


def test_a_sheet_that_no_network_is_on_any_more_goes(explained, sheets):
    explained("multitask-densenet161", ONE, place=3)
    explained("multitask-inception_v3", TWO, place=4)
    both = [experiment("multitask-densenet161"),
            experiment("multitask-inception_v3", "inception_v3")]  # fmt: skip
    assert set(sheets(both)) == {"rise.png", "rise-2.png"}
    assert set(sheets(both[:1])) == {"rise.png"}


def test_seeds_of_other_settings_are_read_from_their_folder(explained, sheets):
    explained("multitask-densenet161", ONE, place=3)
    parted = [experiment("multitask-densenet161 (seed0)"),
              experiment("multitask-densenet161 (seed1)", seed=1)]  # fmt: skip
    assert sheets(parted)["rise.png"][ONE[0]] == {"Densenet-161\n (seed0)": 3}


def test_confusion_matrices_of_one_network_have_titles_of_their_own(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(
        "cnr_iemn.pictures.save_confusions",
        lambda path, matrices, classes: titles.extend(title for title, _ in matrices),
    )
    suffixes = ("", "-random_weights", "-random_weights-shuffled_labels")
    runs = [experiment(f"multitask-densenet161{suffix}") for suffix in suffixes]
    save_scenario_confusions(tmp_path, runs)
    assert titles == [title_of(one) for one in runs]
    assert titles == ["Densenet-161", "Densenet-161\nrandom weights",
                      "Densenet-161\nrandom weights, shuffled labels"]  # fmt: skip


def test_what_is_said_of_maps_has_their_stability_and_both_chances():
    rise = {"masks": 512.0, "stable": 1, "insertion": 0.5, "deletion": 0.25}
    pointing = {"lesions": 2, "pointing_game": 0.5, "chance": 0.03, "chance_in_lungs": 0.11}
    line = describe(experiment("x", **rise, **pointing))
    assert "RISE, 3 slices, 512 masks each, 1 maps stable: insertion 0.500" in line
    assert "0.50 of 2 infected slices (by chance 0.03, in the lungs 0.11)" in line
    assert "lesion" not in describe(experiment("x", **rise))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(60)])
def test_damaged_maps_are_one_line(tmp_path, content):
    path = tmp_path / MAPS
    path.write_bytes(content)
    with pytest.raises(InputError, match="rise.npz: holds no heat maps"):
        read_maps(path)


def test_maps_of_a_damaged_archive_are_one_line_however_it_is_damaged(tmp_path, damage_archive):
    path = tmp_path / MAPS
    nothing = np.zeros((1, SIDE, SIDE))
    save_maps(path, Explained(nothing, np.array(ONE[:1]), nothing, nothing))
    for how, content in damage_archive(path.read_bytes()).items():
        path.write_bytes(content)
        with pytest.raises(InputError, match="rise.npz: holds no heat maps") as error:
            read_maps(path)
        assert "\n" not in str(error.value), how
