"""The phantoms are hard enough that a lazy model fails, and right where it matters."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.ndimage import gaussian_filter1d
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lungsliding_tf import floors, phantom, speckle
from lungsliding_tf.phantom import PhantomConfig, draw_cohort, marked_region, render, write_dataset
from preprocessing.errors import InputError
from preprocessing.video import probe, unified_geometry, unify
from replication.metrics import Predictions

ROOT = Path(__file__).resolve().parents[2]
SHORT = (2.0, 2.0)  # seconds: one clip of 60 frames a patient
CLASS_SIZE = 30  # patients a class in each of two cohorts
DRAWN_LAST = {"patient", "number", "lung_sliding", "seed", "twin"}


# ---- floors and ceilings, measured after writing and reading the files -------------------------


def _measure(folder: Path, patient) -> dict:
    """Statistics of the marked region of one unified clip."""
    video = folder / "videos" / patient.video_name
    marked = json.loads(Path(f"{video}.roi.json").read_text(encoding="utf-8"))
    geometry = unified_geometry(probe(video))
    corners = geometry.to_unified(marked["regions"][0]["polygon"])
    left, top = np.ceil(corners[0]).astype(int)
    right, bottom = np.floor(corners[2]).astype(int)
    clip = np.stack([frame.copy() for frame in unify(video)])
    region = clip[:, top:bottom, left:right]
    with np.load(folder / "truth" / f"{patient.patient}.npz") as truth:
        known_path = float(truth["relative_path_mm"][0])
        pleura = truth["pleura_px"]
        px_per_mm = truth["px_per_mm"][0] * geometry.scale_x
    ends = geometry.to_unified([(0, pleura.min()), (0, pleura.max())])[:, 1].astype(int)
    first = max(ends[0] - 60, 0)
    strip = clip[:, first : ends[1] + 60, left:right]
    flow = floors.relative_flow(strip, slice(0, ends[0] - first - 6), slice(-52, None))
    picture = cv2.resize(clip[30], (32, 24), interpolation=cv2.INTER_AREA)
    middle = region.shape[2] // 2
    patch = cv2.resize(
        region[30, :96, middle - 48 : middle + 48], (32, 32), interpolation=cv2.INTER_AREA
    )
    return {
        "frames": len(clip),
        "features": floors.clip_features(region),
        "path": known_path,
        "flow_mm_s": flow / px_per_mm * 30,
        "picture": picture.ravel(),
        "patch": patch.ravel(),
    }


def _measure_cohort(folder: Path, config: PhantomConfig) -> tuple[list[dict], np.ndarray]:
    write_dataset(folder, config, progress=False)
    cohort = draw_cohort(config)
    measured = Parallel(n_jobs=2, prefer="threads")(
        delayed(_measure)(folder, patient) for patient in cohort
    )
    return measured, np.array([p.lung_sliding == phantom.PRESENT for p in cohort])


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Two independent cohorts: what is fitted on one is scored on the other."""
    folder = tmp_path_factory.mktemp("cohorts")
    configs = [PhantomConfig(CLASS_SIZE, CLASS_SIZE, seed, SHORT) for seed in (11, 12)]
    return [_measure_cohort(folder / str(c.seed), c) for c in configs]


def _pooled(cohorts, value) -> tuple[np.ndarray, np.ndarray]:
    values = [[value(m) for m in measured] for measured, _ in cohorts]
    return np.concatenate(values), np.concatenate([labels for _, labels in cohorts])


def test_every_video_unifies_to_one_clip(cohorts):
    assert {m["frames"] for measured, _ in cohorts for m in measured} == {60}


def test_frame_difference_is_no_solution(cohorts):
    values, labels = _pooled(cohorts, lambda m: m["features"]["frame_difference"])
    assert floors.floor_auroc(values, labels) <= 0.65


def test_no_single_frame_feature_is_a_solution(cohorts):
    names = [n for n in cohorts[0][0][0]["features"] if n.startswith("frame_")]
    names.remove("frame_difference")
    found = {
        n: floors.floor_auroc(*_pooled(cohorts, lambda m, n=n: m["features"][n])) for n in names
    }
    assert len(found) == 5
    assert max(found.values()) <= 0.60, found


@pytest.mark.parametrize("what", ["picture", "patch"])
def test_no_fitted_model_of_a_single_frame_is_a_solution(cohorts, what):
    # Fitted on one cohort, scored on the other: inside one stratified cohort cross-validated
    # scores fall below chance, which would read as a pass.
    scores = []
    for train, test in (cohorts, cohorts[::-1]):
        model = make_pipeline(StandardScaler(), PCA(12, random_state=0), LogisticRegression())
        model.fit(np.array([m[what] for m in train[0]]), train[1])
        score = model.decision_function(np.array([m[what] for m in test[0]]))
        scores.append(floors.roc_auc_score(test[1], score))
    # Averaged before folding: each score alone has a standard error of 0.075.
    assert 0.40 <= np.mean(scores) <= 0.60, scores


def test_true_motion_in_the_true_region_is_a_solution(cohorts):
    known, labels = _pooled(cohorts, lambda m: m["path"])
    seen, _ = _pooled(cohorts, lambda m: m["flow_mm_s"])
    assert floors.floor_auroc(known, labels) >= 0.95
    assert floors.floor_auroc(seen, labels) >= 0.95
    assert np.median(known[labels]) > 10 * np.median(known[~labels])


def test_persistence_is_a_second_floor_that_leaves_room(cohorts):
    values, labels = _pooled(cohorts, lambda m: m["features"]["persistence_ratio"])
    assert 0.70 <= floors.floor_auroc(values, labels) <= 0.92
    values, labels = _pooled(cohorts, lambda m: m["features"]["short_persistence_ratio"])
    assert 0.80 <= floors.floor_auroc(values, labels) <= 0.98


def test_without_the_twin_frame_difference_is_a_solution(cohorts, tmp_path):
    """Patients of the first cohort without sliding, rendered anew: their speckle lies still."""
    config = PhantomConfig(CLASS_SIZE, CLASS_SIZE, 11, SHORT, twin=False)
    still = [p for p in draw_cohort(config) if p.lung_sliding == phantom.ABSENT][:18]
    for folder in ("videos", "truth"):
        (tmp_path / folder).mkdir()
    Parallel(n_jobs=2)(delayed(phantom._write_patient)(tmp_path, patient) for patient in still)
    measured, labels = cohorts[0]
    sliding = [m["features"] for m, label in zip(measured, labels, strict=True) if label]
    ablated = [_measure(tmp_path, patient)["features"] for patient in still]
    values = [features["frame_difference"] for features in (*sliding, *ablated)]
    found = floors.floor_auroc(values, [1] * len(sliding) + [0] * len(ablated))
    assert found > 0.70
    values, labels = _pooled(cohorts, lambda m: m["features"]["frame_difference"])
    assert found > floors.floor_auroc(values, labels) + 0.1


def test_m_mode_of_present_is_seashore_and_of_absent_is_barcode():
    """Correlation of the M-mode image with itself 1/3 s later, above and below the pleura."""
    found = {phantom.PRESENT: [], phantom.ABSENT: []}
    still = [p for p in draw_cohort(PhantomConfig(20, 20, 3, (3, 3))) if not p.restless]
    for patient in [p for p in still if p.drift_mm < 0.5 and p.wobble_mm < 0.15][:14]:
        truth, frames = render(patient)
        column = patient.size[0] // 2
        m_mode = np.stack([frame[:, column] for frame in frames], axis=1).astype(float)
        m_mode -= gaussian_filter1d(m_mode, 15, axis=0)
        lag = round(patient.fps / 3)
        pleura = truth.pleura_px[:, column]
        rows = slice(int(pleura.min()) - 70, int(pleura.min()) - 10)
        wall = np.corrcoef(m_mode[rows, :-lag].ravel(), m_mode[rows, lag:].ravel())[0, 1]
        rows = slice(int(pleura.max()) + 10, int(pleura.max()) + 70)
        lung = np.corrcoef(m_mode[rows, :-lag].ravel(), m_mode[rows, lag:].ravel())[0, 1]
        found[patient.lung_sliding].append((wall, lung))
    present, absent = (np.array(found[k]) for k in (phantom.PRESENT, phantom.ABSENT))
    assert len(present) >= 4 and len(absent) >= 4
    assert np.median(present[:, 0]) > 0.6 and np.median(absent[:, 0]) > 0.6  # the wall's lines
    assert np.median(present[:, 1]) < 0.45  # sand
    assert np.median(absent[:, 1]) > np.median(present[:, 1]) + 0.2  # lines throughout


# ---- the cohort --------------------------------------------------------------------------------


def test_smaller_cohort_is_the_first_part_of_the_larger():
    whole = draw_cohort(PhantomConfig(seed=4))
    assert len(whole) == 48
    assert draw_cohort(PhantomConfig(seed=4, patients=9)) == whole[:9]
    for count in (4, 8, 16, 48):
        present = sum(p.lung_sliding == phantom.PRESENT for p in whole[:count])
        assert abs(present - count * 28 / 48) <= 1


def test_nuisances_do_not_depend_on_the_class():
    cohort = draw_cohort(PhantomConfig(seed=5))
    names = [f.name for f in dataclasses.fields(phantom.Patient) if f.name not in DRAWN_LAST]
    for name in [*names, "frames", "excursion_mm"]:
        values = {phantom.PRESENT: [], phantom.ABSENT: []}
        for patient in cohort:
            values[patient.lung_sliding].append(float(getattr(patient, name)))
        distance = ks_2samp(values[phantom.PRESENT], values[phantom.ABSENT]).statistic
        # Both are stratified samples of one distribution; derived values mix several parameters.
        assert distance <= (0.45 if name in ("frames", "excursion_mm") else 0.12), name


def test_the_label_alone_changes_nothing_above_the_pleura():
    patient = next(
        p for p in draw_cohort(PhantomConfig(seed=6, seconds=SHORT)) if p.pleura_depth > 0.4
    )
    other = {phantom.PRESENT: phantom.ABSENT, phantom.ABSENT: phantom.PRESENT}[patient.lung_sliding]
    twin = dataclasses.replace(patient, lung_sliding=other)
    (truth, first), (_, second) = render(patient), render(twin)
    wall = slice(0, int(truth.pleura_px.min()) - 50)
    pairs = list(zip(first, second, strict=True))
    assert all(np.array_equal(a[wall], b[wall]) for a, b in pairs)
    assert not np.array_equal(pairs[-1][0], pairs[-1][1])


def test_rendering_is_deterministic_and_seeded():
    patient = draw_cohort(PhantomConfig(seed=7, seconds=SHORT))[1]
    renderings = [np.stack(list(render(patient)[1])) for _ in range(2)]
    assert renderings[0].dtype == np.uint8
    assert renderings[0].shape == (patient.frames, *patient.size[::-1])
    assert np.array_equal(*renderings)
    other = next(render(dataclasses.replace(patient, seed=8))[1])
    assert not np.array_equal(other, renderings[0][0])


def test_truth_says_where_and_how_much_the_lung_slides():
    for patient in draw_cohort(PhantomConfig(8, 8, 9, (2, 5))):
        truth, _ = render(patient)
        width, height = patient.size
        assert truth.pleura_px.shape == (patient.frames, width)
        assert truth.sliding_polygon_px.shape == (patient.frames, 20, 2)
        assert 0 < truth.pleura_px.min() and truth.pleura_px.max() < height
        assert truth.relative_path_mm.shape == (int(patient.seconds // 2),)
        slides = patient.lung_sliding == phantom.PRESENT
        relative = (truth.lung_shift_px - truth.wall_shift_px) / truth.px_per_mm[0]
        if slides:
            assert truth.relative_path_mm.mean() > 2.5
        else:  # the heartbeat alone
            assert np.abs(relative).max() < 0.35
            assert truth.relative_path_mm.max() < 2.5


def test_marked_region_holds_the_pleura_and_is_big_enough():
    for patient in draw_cohort(PhantomConfig(seed=10, seconds=(2, 6))):
        truth, _ = render(patient)
        corners = np.array(marked_region(patient, truth))
        (left, top), (right, bottom) = corners[0], corners[2]
        width, height = patient.size
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        scale = min(640 / width, 480 / height)
        assert min(right - left, bottom - top) * scale >= 100
        pleura = truth.pleura_px[:, int(left) : int(right)]
        assert top < pleura.min() and pleura.max() < top + 100


# ---- the twin's calibration --------------------------------------------------------------------


def test_matched_share_holds_on_another_speckle_field():
    steps, shares = speckle.measure_matched_share(1)
    assert np.allclose(speckle.matched_share(steps[5:]), shares[5:], rtol=0.1)
    assert np.all(np.diff(shares) > 0)
    middle = (steps > 0.2) & (steps < 2)
    theory = 1 - np.exp(-(steps[middle] ** 2) / 4)
    assert np.all((shares[middle] / theory > 0.3) & (shares[middle] / theory < 0.6))


def test_exchange_of_speckle_keeps_its_power():
    rng = np.random.default_rng(0)
    beam = speckle.Beam(0.08, 0.12, 1.3, 2.8)
    still, fresh = (speckle.speckle_field(rng, 300, 300, beam) for _ in range(2))
    envelope = np.abs(speckle.mix(still, fresh, 0.4))
    assert np.mean(envelope**2) == pytest.approx(1, rel=0.05)
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, rel=0.05)  # Rayleigh


# ---- files -------------------------------------------------------------------------------------

SMALL = PhantomConfig(3, 3, 1, SHORT)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("files") / "small", SMALL, progress=False)


def test_files_follow_the_contract(small):
    with (small / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["file", "patient_group", "lung_sliding", "phantom"]
    assert [r["patient_group"] for r in rows] == [f"p{k:03d}" for k in range(1, 7)]
    assert {r["lung_sliding"] for r in rows} == {"present", "absent"}
    assert {r["phantom"] for r in rows} == {"yes"}
    for row, patient in zip(rows, draw_cohort(SMALL), strict=True):
        assert float(row["drift_mm"]) == patient.drift_mm
        info = probe(small / row["file"])
        assert (info.width, info.height) == patient.size
        assert info.fps == pytest.approx(patient.fps)
        assert info.declared_frames == patient.frames
        marked = json.loads((small / f"{row['file']}.roi.json").read_text(encoding="utf-8"))
        assert (marked["format"], marked["version"]) == ("lung-roi", 1)
        assert marked["video"] == Path(row["file"]).name
        assert (marked["width"], marked["height"]) == patient.size
        (region,) = marked["regions"]
        assert (region["first_frame"], region["last_frame"]) == (0, patient.frames - 1)
        with np.load(small / "truth" / f"{patient.patient}.npz") as truth:
            assert set(truth.files) == {f.name for f in dataclasses.fields(phantom.Truth)}


def test_complete_data_set_is_left_alone_and_another_one_is_replaced(small, tmp_path):
    folder = tmp_path / "set"
    one = PhantomConfig(1, 1, 1, SHORT, patients=1)
    write_dataset(folder, one, progress=False, n_jobs=1)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    write_dataset(folder, one, progress=False, n_jobs=1)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    write_dataset(folder, dataclasses.replace(one, seed=2), progress=False, n_jobs=1)
    assert json.loads((folder / "phantom.json").read_text(encoding="utf-8"))["seed"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_interrupted_data_set_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_patient", broken)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", SMALL, progress=False, n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="holds no phantom videos"):
        write_dataset(tmp_path, SMALL, progress=False)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "wrong", [{"seconds": (1, 5)}, {"seconds": (5, 3)}, {"present": -1}, {"patients": 99}]
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(InputError):
        PhantomConfig(**wrong)


def test_no_process_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="n_jobs=0: expected at least 1"):
        write_dataset(tmp_path / "set", SMALL, progress=False, n_jobs=0)
    assert list(tmp_path.iterdir()) == []


def test_command_writes_a_data_set_and_names_errors(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "scripts" / "make_phantom.py"),
        "ultrasound",
        "--out",
        str(tmp_path / "p"),
    ]
    small = ["--present", "1", "--absent", "1", "--seconds", "2", "2", "--jobs", "1"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "labels.csv").exists()
    done = subprocess.run(
        [*command, "--patients", "99"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "patients=99" in done.stderr and "Traceback" not in done.stderr


# ---- the floors themselves ---------------------------------------------------------------------


def test_floors_on_clips_with_known_answers():
    rng = np.random.default_rng(0)
    noise = rng.integers(100, 200, (40, 30, 30), dtype=np.uint8)
    assert floors.persistence_ratio(noise) == pytest.approx(1, abs=0.02)  # flicker, nothing lasts
    assert floors.temporal_deviation(noise) == pytest.approx(noise.std(axis=0).mean(), rel=1e-4)
    ramp = np.repeat(np.arange(40, dtype=np.uint8)[:, None, None], 30, 1).repeat(30, 2)
    assert floors.frame_difference(ramp) == 1 and floors.persistence(ramp) == 10
    frozen = np.full((20, 30, 30), 7, np.uint8)
    assert floors.short_persistence_ratio(ramp) == 2 and floors.short_persistence_ratio(frozen) == 1
    assert floors.persistence_ratio(frozen) == 1 and floors.temporal_deviation(frozen) == 0
    assert floors.frame_features(frozen[0])["gradient"] == 0
    with pytest.raises(ValueError, match="uint8"):
        floors.frame_difference(noise.astype(float))


def test_features_and_floors_are_measured_by_the_same_functions(monkeypatch):
    noise = np.random.default_rng(1).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    measured = floors.clip_features(noise)
    for name in floors.FLOORS:
        assert measured[name] == getattr(floors, name)(noise)
    monkeypatch.setattr(floors, "FLOORS", {"level": lambda clip: float(clip.mean())})
    clips = [np.full((4, 8, 8), level, np.uint8) for level in (9, 1, 8, 2, 7, 3)]
    assert floors.clip_features(clips[0])["level"] == 9
    units, labels = np.arange(6).astype(str), np.array([1, 0] * 3)
    found = floors.auroc_floors(clips, Predictions(units, units, labels, np.full(6, 0.5)))
    assert list(found) == ["level"] and found["level"]["clip"]["floor"] == 1


def test_floor_auroc_is_two_sided():
    labels = [0, 0, 1, 1]
    assert floors.floor_auroc([1, 2, 3, 4], labels) == 1
    assert floors.floor_auroc([4, 3, 2, 1], labels) == 1
    assert floors.floor_auroc([1, 2, 1, 2], labels) == 0.5
    with pytest.raises(ValueError, match="both classes"):
        floors.floor_auroc([1, 2], [1, 1])
