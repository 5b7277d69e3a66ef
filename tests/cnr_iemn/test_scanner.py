"""Scans of CT phantoms: anatomy, known lesions, and no easy way to the class."""

import dataclasses

import cv2
import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy import ndimage

from cnr_iemn import floors
from cnr_iemn.cohort import CAP, COVID, NORMAL, draw_cohort
from cnr_iemn.config import CLASSES
from cnr_iemn.scanner import render
from preprocessing.lungs import segment_lungs


def test_rendering_is_deterministic_and_seeded():
    patient = draw_cohort(1, 1, 1, 7)[1]
    first, second = render(patient, 64, 20.0), render(patient, 64, 20.0)
    assert first.hu.dtype == np.int16 and first.hu.shape[1:] == (64, 64)
    for field in dataclasses.fields(first):
        assert np.array_equal(getattr(first, field.name), getattr(second, field.name))
    other = render(dataclasses.replace(patient, seed=8), 64, 20.0)
    assert not np.array_equal(first.hu, other.hu)


def test_the_label_alone_changes_nothing_but_the_lesions():
    patient = draw_cohort(2, 2, 2, 9)[0]
    scans = {
        label: render(dataclasses.replace(patient, label=label), 96, 20.0) for label in CLASSES
    }
    normal = scans[NORMAL]
    assert not normal.lesions.any() and not normal.lobes.any()
    near = [cv2.dilate(m.astype(np.uint8), np.ones((7, 7))) for m in normal.lungs]
    beside = np.stack(near) == 0
    for label in (COVID, CAP):
        scan = scans[label]
        assert np.array_equal(scan.lungs, normal.lungs)
        difference = scan.hu.astype(int) - normal.hu
        assert not difference[beside].any()
        rest = normal.lungs & ~scan.lesions
        assert difference[scan.lesions].mean() > 150 > 10 * np.abs(difference[rest]).mean()


def test_a_patient_is_the_same_at_every_size():
    patient = draw_cohort(2, 2, 2, 9)[0]
    coarse, fine = render(patient, 64, 20.0), render(patient, 128, 20.0)
    assert np.array_equal(coarse.locations, fine.locations)
    for name in ("lungs", "lesions"):
        small = getattr(coarse, name)
        large = getattr(fine, name).reshape(len(small), 64, 2, 64, 2).mean(axis=(2, 4)) > 0.5
        assert 2 * (small & large).sum() / (small.sum() + large.sum()) > 0.7, name


def test_anatomy_runs_from_apex_to_base():
    """What a reader orients by: shoulders above, two lungs, heart, liver below, with their HU."""
    scan = render(draw_cohort(1, 1, 2, 10)[3], 256, 8.0)
    area = scan.lungs.sum(axis=(1, 2)) * scan.pixel**2
    levels = np.flatnonzero(area > 0)
    first, last = levels[0], levels[-1]
    middle = (first + last) // 2
    assert first > 0  # neck and shoulders above the lungs
    assert area[first] < 0.3 * area[middle] and area[last] < 0.3 * area[middle]
    halves = ndimage.label(scan.lungs[middle])[0]
    sizes = np.sort(np.bincount(halves.ravel())[1:])[::-1]
    assert sizes[1] > 0.4 * sizes[0]  # two lungs
    lungs = np.median(scan.hu[scan.lungs])
    assert -930 < lungs < -770
    below = scan.hu[round(first + 0.93 * (last - first))].astype(float)
    blood = cv2.GaussianBlur(scan.hu[round(first + 0.6 * (last - first))].astype(float), (0, 0), 3)
    liver = cv2.GaussianBlur(below, (0, 0), 3)
    size = len(below)
    assert 40 < np.median(liver[size // 3 : 2 * size // 3, size // 4 : 2 * size // 5]) < 75
    assert 25 < np.median(blood[size // 3 : size // 2, size // 2 : 3 * size // 5]) < 60
    assert (scan.hu[middle] > 300).sum() * scan.pixel**2 > 800  # ribs, spine, sternum
    assert scan.hu[middle][:8].mean() == pytest.approx(-1000, abs=15)  # air above the patient
    back = ndimage.uniform_filter(scan.lungs[middle].astype(float), 1) > 0
    rows = np.flatnonzero(back.any(axis=1))
    front, rear = scan.lungs[middle].copy(), scan.lungs[middle].copy()
    front[rows[len(rows) // 3] :], rear[: rows[2 * len(rows) // 3]] = False, False
    assert np.median(scan.hu[middle][rear]) > np.median(scan.hu[middle][front]) + 5


def _sides(patient, scan) -> np.ndarray:
    """Share of the lesions in the right and the left lung."""
    middle = scan.lungs.any(axis=(0, 1)).nonzero()[0]
    split = (middle[0] + middle[-1]) // 2
    return np.array([scan.lesions[..., :split].sum(), scan.lesions[..., split:].sum()])


@pytest.fixture(scope="module")
def infected():
    patients = draw_cohort(7, 7, 0, seed=21)
    made = Parallel(n_jobs=2)(delayed(render)(patient, 96, 15.0) for patient in patients)
    return list(zip(patients, made, strict=True))


def test_lesions_are_where_and_as_large_as_they_should_be(infected):
    depths = []
    for patient, scan in infected:
        assert not (scan.lesions & ~scan.lungs).any()
        share = scan.lesions.sum() / scan.lungs.sum()
        drawn = patient.lesion.covid_extent if patient.label == COVID else patient.lesion.cap_extent
        assert 0.5 * drawn < share < 1.8 * drawn
        sides = _sides(patient, scan)
        if patient.label == COVID:
            assert sides.min() > 0
            depth = np.stack([ndimage.distance_transform_edt(lung) for lung in scan.lungs])
            depths.append(np.median(depth[scan.lesions]) * scan.pixel)
        elif not patient.lesion.cap_both:
            assert sides.min() < 0.05 * sides.max()
    assert np.median(depths) < 15 and max(depths) < 35  # mm: near the pleura


def test_ground_glass_and_consolidation_have_their_densities(infected):
    for patient, scan in infected:
        core = np.stack([ndimage.binary_erosion(m, iterations=2) for m in scan.lesions])
        if core.sum() < 30:
            continue
        density = np.median(scan.hu[core])
        assert (-720 < density < -120) if patient.label == COVID else (-100 < density < 90)
        around = np.median(scan.hu[scan.lungs & ~scan.lesions])
        assert density > around + 120  # it can be seen


def test_segmentation_keeps_ground_glass_and_cuts_consolidation_on_the_pleura():
    """As on real scans: what is as dense as the chest wall and touches it goes with the wall."""
    lost = {COVID: [], CAP: []}
    for patient in draw_cohort(4, 4, 0, seed=22):
        scan = render(patient, 256, 20.0)
        for hu, lesions in zip(scan.hu, scan.lesions, strict=True):
            if lesions.sum() * scan.pixel**2 > 300:
                lost[patient.label].append(1 - segment_lungs(hu)[lesions].mean())
    assert np.median(lost[COVID]) < 0.1
    assert np.mean(lost[CAP]) > np.mean(lost[COVID]) + 0.1


def test_low_dose_scans_are_noisier_and_heart_scans_hold_metal_and_fluid():
    plain, noisy = (draw_cohort(1, 0, 1, 5, kind)[0] for kind in ("standard", "low-dose"))
    pair = [render(patient, 128, 20.0) for patient in (plain, noisy)]
    quiet, loud = (scan.hu[:, :20, :20].std() for scan in pair)
    assert 1.6 < loud / quiet < 2.4
    heart = draw_cohort(0, 0, 6, 5, "heart")
    operations = {patient.operation for patient in heart}
    assert {True, False} == {"effusion" in operation for operation in operations}
    assert operations - {"none", "effusion"}  # some hold metal
    for patient in heart:
        scan = render(patient, 64, 20.0)
        metal = (scan.hu > 1500).any()
        assert metal == (patient.operation not in ("none", "effusion"))
        without = dataclasses.replace(patient.body, operation="none")
        clear = render(dataclasses.replace(patient, body=without), 64, 20.0)
        drained = clear.lungs & ~scan.lungs
        if "effusion" in patient.operation:
            assert abs(np.median(scan.hu[drained]) - 8) < 40
            assert drained.sum() > 0.01 * clear.lungs.sum()
        else:
            assert not drained.any()


def _floors(seeds: tuple[int, int], counts, size: int, spacing: float) -> tuple[float, float]:
    """Intensity and thumbnails of whole scans: two cohorts, each scored by the other's fit."""
    features, labels = {floors.scan_intensity: [], floors.scan_thumbnails: []}, []
    for seed in seeds:
        cohort = draw_cohort(*counts, seed)
        made = Parallel(n_jobs=2, return_as="generator")(
            delayed(render)(patient, size, spacing) for patient in cohort
        )
        rows = [[feature(scan.hu) for feature in features] for scan in made]
        for column, values in zip(features.values(), zip(*rows, strict=True), strict=True):
            column.append(np.stack(values))
        labels.append(np.array([CLASSES.index(p.label) for p in cohort]))
    return tuple(floors.exchanged_accuracy(tuple(f), tuple(labels)) for f in features.values())


def test_intensity_and_thumbnails_are_no_solution():
    assert max(_floors((11, 12), (20, 20, 20), 48, 20.0)) <= 0.55


@pytest.mark.slow
def test_intensity_and_thumbnails_are_no_solution_in_large_cohorts():
    assert max(_floors((13, 14), (60, 60, 60), 112, 12.0)) <= 0.55
