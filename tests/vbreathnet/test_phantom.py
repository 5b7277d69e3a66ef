"""Radiograph phantoms: the database's layout, known lesions, and no easy way to the class."""

import csv
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.stats import ks_2samp

from preprocessing.errors import InputError
from preprocessing.sharpness import contrast, laplacian_variance
from replication.floors import thumbnail_floor
from vbreathnet import phantom
from vbreathnet.cohort import (
    CLASSES,
    COVID,
    MARKER_OF_CLASS,
    MARKER_PLACE_OF_CLASS,
    MARKERS,
    NORMAL,
    PLANTED_ALONG,
    PNEUMONIA,
    Anatomy,
    Exposure,
    Lesion,
    draw_cohort,
    drawn_values,
)
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import find_radiographs, lung_mask_path
from vbreathnet.floors import border_floor
from vbreathnet.phantom import read_lesions, render, write_cohort

ROOT = Path(__file__).resolve().parents[2]
CLASS_SIZE = 36  # films a class in each of two cohorts


# ---- the files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("films") / "cohort"
    return write_cohort(out, 8, seed=1, size=128, films_per_patient=2, workers=2, progress=False)


def _rows(folder: Path, name: str = "phantom.csv") -> list[dict]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _hashes(folder: Path) -> dict:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_layout_is_the_databases(folder):
    tables = {"phantom.csv", "manifest.csv", "phantom.json"}
    assert {p.name for p in folder.iterdir()} == {*CLASSES, "lesions", *tables}
    assert {p.name for p in (folder / "lesions").iterdir()} == set(CLASSES)
    for label in CLASSES:
        assert {p.name for p in (folder / label).iterdir()} == {"images", "masks"}
        names = {f"{label}-{n}.png" for n in range(1, 9)}
        for place in (f"{label}/images", f"{label}/masks", f"lesions/{label}"):
            assert {p.name for p in (folder / place).iterdir()} == names
            for path in (folder / place).iterdir():
                picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert picture.dtype == np.uint8 and picture.shape == (128, 128)
                if place != f"{label}/images":
                    assert set(np.unique(picture)) <= {0, 255}


def test_index_tells_every_film_and_every_drawn_parameter(folder):
    rows = _rows(folder)
    assert {r["image"] for r in rows} == {
        f"{label}/images/{label}-{n}.png" for label in CLASSES for n in range(1, 9)
    }
    for row, film in zip(rows, draw_cohort(8, 1, films_per_patient=2), strict=True):
        assert (row["label"], row["patient_id"]) == (film.label, film.patient_id)
        assert row["image"] == f"{film.label}/images/{film.name}.png"
        assert row["blurred"] == str(film.blurred) and row["marker"] == film.marker
        assert {k: str(v) for k, v in drawn_values(film).items()}.items() <= row.items()
        used = [name for name in row if name.startswith(("covid_", "focal_")) and row[name]]
        assert bool(used) == (film.label != NORMAL)
        lungs, lesions = (
            cv2.imread(str(folder / place / f"{film.name}.png"), cv2.IMREAD_UNCHANGED) > 0
            for place in (f"{film.label}/masks", f"lesions/{film.label}")
        )
        assert float(row["lung_share"]) == pytest.approx(lungs.mean(), abs=1e-4)
        share = (lungs & lesions).sum() / lungs.sum()
        assert float(row["lesion_share"]) == pytest.approx(share, abs=1e-4)


def test_known_lesions_are_read_back(folder):
    for film in draw_cohort(8, 1, films_per_patient=2)[:3]:  # one of each class
        found = read_lesions(folder, f"{film.label}/images/{film.name}.png")
        np.testing.assert_array_equal(found, render(film, 128).lesions)
        assert found.any() == (film.label != NORMAL)
    with pytest.raises(InputError, match="no mask of lesions"):
        read_lesions(folder, "COVID/images/COVID-99.png")


def test_the_study_reads_the_folder_as_it_is(folder, tmp_path):
    said = []
    found = find_radiographs(VBreathNetConfig(data=folder, out=tmp_path), said.append)
    assert len(found) == 24 and {r.origin for r in found} == {"phantom"}
    assert len({r.patient for r in found}) == 12
    assert all(lung_mask_path(folder, r.file) for r in found)
    assert said == [f"{folder}: folders that are no class of this study, ignored: lesions"]


def test_the_bytes_do_not_depend_on_the_workers(folder, tmp_path):
    alone = write_cohort(
        tmp_path / "alone", 8, seed=1, size=128, films_per_patient=2, workers=1, progress=False
    )
    assert _hashes(alone) == _hashes(folder)


def test_films_of_some_classes_are_those_of_the_whole_cohort(folder, tmp_path):
    some = write_cohort(
        tmp_path / "some", 8, seed=1, size=128, films_per_patient=2, workers=1, progress=False,
        labels=("Normal", "Viral Pneumonia"),
    )  # fmt: skip
    pictures = {name: h for name, h in _hashes(some).items() if name.endswith(".png")}
    whole = {n: h for n, h in _hashes(folder).items() if n.endswith(".png") and "COVID" not in n}
    assert pictures == whole and len(pictures) == 16 * 3


def test_same_folder_is_left_alone_and_another_cohort_replaces_it(tmp_path):
    out = write_cohort(tmp_path / "set", 1, size=64, workers=1, progress=False)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    write_cohort(out, 1, size=64, workers=1, progress=False)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    first = _hashes(out)
    write_cohort(out, 1, seed=2, size=64, workers=1, progress=False)
    assert json.loads((out / "phantom.json").read_text(encoding="utf-8"))["seed"] == 2
    name = "COVID/images/COVID-1.png"
    assert _hashes(out)[name] != first[name]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_interrupted_cohort_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_film", broken)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "set", 1, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", [None, "[]", '{"generator": 2, "present": 28}', "\xff{"])
def test_a_folder_of_something_else_is_not_touched(tmp_path, recipe):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    if recipe is not None:
        (tmp_path / "phantom.json").write_bytes(recipe.encode("latin-1"))
    before = _hashes(tmp_path)
    with pytest.raises(InputError, match="no phantom films"):
        write_cohort(tmp_path, 1, workers=1, progress=False)
    assert _hashes(tmp_path) == before


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(InputError, match="file"):
            write_cohort(out, 1, workers=1, progress=False)


@pytest.mark.parametrize(
    "wrong",
    [{"per_class": 0}, {"size": 32}, {"size": 512}, {"seed": -1}, {"films_per_patient": 0},
     {"workers": 0}, {"labels": ()}, {"labels": ("Normal", "healthy")}],
)  # fmt: skip
def test_impossible_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        write_cohort(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_command_writes_films_and_names_errors(tmp_path):
    out = tmp_path / "films"
    command = [sys.executable, str(ROOT / "scripts" / "make_phantom.py"), "radiograph"]
    command += ["--out", str(out), "--per-class", "1", "--workers", "1", "--size"]
    done = subprocess.run([*command, "64"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(_rows(out)) == 3
    done = subprocess.run([*command, "9"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "size=9" in done.stderr and "Traceback" not in done.stderr


# ---- the cohort ---------------------------------------------------------------------------------


def test_parameters_do_not_depend_on_the_class():
    cohort = draw_cohort(60, 3)
    groups = {"anatomy": Anatomy, "lesion": Lesion, "exposure": Exposure}
    for group, kind in groups.items():
        for name in [f.name for f in dataclasses.fields(kind)]:
            values = {label: [] for label in CLASSES}
            for film in cohort:
                value = getattr(getattr(film, group), name)
                values[film.label].append(MARKERS.index(value) if name == "marker_word" else value)
            for label in (NORMAL, PNEUMONIA):  # every stratum once in each class
                distance = ks_2samp(values[COVID], values[label]).statistic
                assert distance <= 0.05, (name, label)


def test_markers_follow_the_class_only_where_asked():
    cohort, planted = draw_cohort(60, 3), draw_cohort(60, 3, marker_follows_class=True)
    for label in CLASSES:
        words = [f.marker for f in cohort if f.label == label]
        assert words.count("") == pytest.approx(15, abs=1)
        assert {*words} == {"", *MARKERS}
    assert {f.marker for f in planted} == set(MARKER_OF_CLASS.values())
    assert all(f.marker == MARKER_OF_CLASS[f.label] for f in planted)
    for film, other in zip(cohort, planted, strict=True):
        on_left, begin = MARKER_PLACE_OF_CLASS[other.label]
        assert other.exposure.marker_on_left == on_left and other.exposure.has_marker
        assert begin <= other.exposure.marker_along <= begin + PLANTED_ALONG
        names = ("has_marker", "marker_on_left", "marker_along", "marker_height", "marker_grey")
        of_film = {name: getattr(film.exposure, name) for name in names}
        exposure = dataclasses.replace(other.exposure, **of_film)
        assert (
            dataclasses.replace(other, marker=film.marker, exposure=exposure, planted=False) == film
        )


@pytest.mark.parametrize(
    ("per_class", "bad"), [(1, 0), (7, 1), (8, 1), (12, 1), (13, 1), (25, 2), (100, 8)]
)
def test_a_known_share_of_each_class_is_bad(per_class, bad):
    cohort = draw_cohort(per_class, 4)
    assert not any(f.blurred and f.low_contrast for f in cohort)
    for label in CLASSES:
        films = [f for f in cohort if f.label == label]
        assert sum(f.blurred for f in films) == sum(f.low_contrast for f in films) == bad


def test_films_of_a_patient_share_the_chest_and_differ_in_exposure():
    cohort = draw_cohort(7, 5, films_per_patient=3)
    patients = {}
    for film in cohort:
        patients.setdefault(film.patient_id, []).append(film)
    assert sorted(len(films) for films in patients.values()) == [1] * 3 + [3] * 6
    for films in patients.values():
        assert len({f.label for f in films}) == 1
        assert [f.film for f in films] == list(range(1, len(films) + 1))
        assert all((f.anatomy, f.lesion) == (films[0].anatomy, films[0].lesion) for f in films)
        assert len({f.exposure for f in films}) == len(films)


def test_the_chest_stays_the_same_in_another_film():
    """The same position and breath, exposed anew: only noise and exposure differ."""
    film = _plain(draw_cohort(12, 6), PNEUMONIA)[0]
    again = dataclasses.replace(film, film=2, seed=film.seed)
    brighter = dataclasses.replace(
        film, exposure=dataclasses.replace(film.exposure, gamma=film.exposure.gamma * 1.1)
    )
    first = render(film)
    for other in (render(again), render(brighter)):
        assert np.array_equal(first.lungs, other.lungs)
        assert np.array_equal(first.lesions, other.lesions)
        assert not np.array_equal(first.image, other.image)
    difference = np.abs(first.image.astype(int) - render(again).image)
    assert 0 < difference.mean() < 8


# ---- the films ----------------------------------------------------------------------------------


def _plain(cohort, label):
    return [f for f in cohort if f.label == label and not f.blurred and not f.low_contrast]


@pytest.fixture(scope="module")
def cohorts():
    """Two independent cohorts: what is fitted on one is scored on the other."""
    drawn = [draw_cohort(CLASS_SIZE, seed) for seed in (11, 12)]
    made = [Parallel(n_jobs=2)(delayed(render)(film, 224) for film in cohort) for cohort in drawn]
    return list(zip(drawn, made, strict=True))


@pytest.fixture(scope="module")
def films(cohorts):
    return [pair for cohort in cohorts for pair in zip(*cohort, strict=True)]


def test_rendering_is_deterministic_and_seeded():
    film = draw_cohort(2, 7)[0]
    first, second = render(film, 100), render(film, 100)
    assert first.image.dtype == np.uint8 and first.image.shape == (100, 100)
    for name in ("image", "lungs", "lesions"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(render(dataclasses.replace(film, seed=8), 100).image, first.image)


def test_the_label_alone_changes_nothing_but_the_lesion():
    film = _plain(draw_cohort(8, 9), NORMAL)[0]
    renderings = [render(dataclasses.replace(film, label=label)) for label in CLASSES]
    normal = renderings[1]
    assert not normal.lesions.any()
    for other in (renderings[0], renderings[2]):
        assert np.array_equal(other.lungs, normal.lungs)
        away = ~cv2.dilate(other.lungs.astype(np.uint8), np.ones((9, 9))).astype(bool)
        difference = cv2.absdiff(other.image, normal.image)
        # Outside the lungs only the window moves a little.
        assert difference[other.lesions].mean() > 4 * difference[away].mean() + 5


def test_lungs_and_lesions_are_where_they_belong(films):
    shares = {label: [] for label in CLASSES}
    for film, made in films:
        assert 0.12 < made.lungs.mean() < 0.55
        count, _ = cv2.connectedComponents(made.lungs.astype(np.uint8))
        halves = np.array([made.lungs[:, :112].mean(), made.lungs[:, 112:].mean()])
        assert count >= 3 and halves.min() > 0.08  # background, two lungs
        assert not (made.lesions & ~made.lungs).any()
        shares[film.label].append(made.lesions.sum() / made.lungs.sum())
    assert max(shares[NORMAL]) == 0
    assert 0.05 < min(shares[COVID]) and np.median(shares[COVID]) < 0.2
    assert 0.008 < min(shares[PNEUMONIA]) and np.median(shares[PNEUMONIA]) < 0.06


def test_covid_is_in_both_lungs_and_consolidation_in_one(films):
    for film, made in films:
        if film.label != NORMAL:
            left = np.array([made.lesions[:, :112].sum(), made.lesions[:, 112:].sum()])
            share = left.min() / left.sum()
            assert share > 0.1 if film.label == COVID else share < 0.2, film.name


def test_lesions_can_be_seen(films):
    """Lesions are brighter than the lung around them in nearly every plain film."""
    for label in (COVID, PNEUMONIA):
        steps = []
        for film, made in films:
            if film.label == label and not (film.blurred or film.low_contrast):
                wide = cv2.dilate(made.lesions.astype(np.uint8), np.ones((21, 21))).astype(bool)
                around = wide & ~made.lesions & made.lungs
                step = made.image[made.lesions].mean() - made.image[around].mean()
                steps.append(step / made.image[made.lungs].std())
        assert np.quantile(steps, 0.1) > 0.3 and np.median(steps) > 0.8, label


def test_bad_films_can_be_told_from_plain_ones(films):
    sharp = {
        kind: [laplacian_variance(m.image) for f, m in films if wanted(f)]
        for kind, wanted in {
            "blurred": lambda f: f.blurred,
            "plain": lambda f: not f.blurred and not f.low_contrast,
        }.items()
    }
    assert max(sharp["blurred"]) < 12 and min(sharp["plain"]) > 20
    assert np.quantile(sharp["blurred"], 0.8) < VBreathNetConfig.min_sharpness
    deviation = {flat: [] for flat in (True, False)}
    for film, made in films:
        deviation[film.low_contrast].append(contrast(made.image))
    assert max(deviation[True]) < VBreathNetConfig.min_contrast < min(deviation[False])
    assert max(deviation[False]) < VBreathNetConfig.max_contrast


def _average_floor(cohorts, floor) -> float:
    """Fitted on one cohort, scored on the other: inside one stratified cohort cross-validated
    scores fall below chance, which would read as a pass."""
    parts = [
        ([m.image for m in made], np.array([CLASSES.index(f.label) for f in drawn]))
        for drawn, made in cohorts
    ]
    found = [floor(*parts[a], *parts[1 - a])["balanced_accuracy"] for a in (0, 1)]
    return float(np.mean(found))


def test_thumbnails_and_borders_are_no_solution(cohorts):
    assert _average_floor(cohorts, thumbnail_floor) <= 0.60
    assert _average_floor(cohorts, border_floor) <= 0.42


def test_planted_markers_are_a_shortcut_for_linear_models():
    drawn = [draw_cohort(16, seed, marker_follows_class=True) for seed in (11, 12)]
    made = [Parallel(n_jobs=2)(delayed(render)(film, 96) for film in cohort) for cohort in drawn]
    planted = list(zip(drawn, made, strict=True))
    assert _average_floor(planted, border_floor) >= 0.75
    assert _average_floor(planted, thumbnail_floor) >= 0.70


def test_mean_and_deviation_are_no_solution(cohorts):
    def as_patch(made):
        """A picture that holds nothing but the film's mean and SD."""
        values = [made.image.mean(), min(3 * made.image.std(), 255)]
        return np.repeat(np.rint(values).astype(np.uint8), 128).reshape(16, 16)

    plain = [
        (drawn, [dataclasses.replace(m, image=as_patch(m)) for m in made])
        for drawn, made in cohorts
    ]
    assert _average_floor(plain, thumbnail_floor) <= 0.42


def test_a_planted_marker_is_written_on_the_film():
    film = draw_cohort(3, 13)[0]
    shown = [render(dataclasses.replace(film, marker=word)).image for word in ("", "L", "PORTATIL")]
    changed = [(cv2.absdiff(shown[0], other) > 0).sum() for other in shown[1:]]
    assert 0 < changed[0] < changed[1] < 0.05 * shown[0].size


def test_a_planted_marker_is_all_that_differs_and_lies_near_the_edge():
    pairs = zip(draw_cohort(2, 14), draw_cohort(2, 14, marker_follows_class=True), strict=True)
    for film, planted in pairs:
        bare, shown = (render(dataclasses.replace(f, marker=m)).image
                       for f, m in ((film, ""), (planted, planted.marker)))  # fmt: skip
        if film.blurred or film.low_contrast:
            continue
        rows, columns = np.nonzero(bare != shown)
        on_left, begin = MARKER_PLACE_OF_CLASS[film.label]
        assert (columns.min() < 0.05 * 299) if on_left else (columns.max() > 0.95 * 299)
        assert np.ptp(rows) < 0.15 * 299 and np.ptp(columns) < 0.36 * 299
        assert abs(rows.mean() / 299 - 0.55 * begin) < 0.15
