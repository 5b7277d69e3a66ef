"""Parameters of CT phantoms: drawn alike in each class, and as the kinds of sets ask for."""

import dataclasses

import pytest
from scipy.stats import ks_2samp

from cnr_iemn.cohort import (
    CAP,
    COVID,
    LOW_DOSE_NOISE,
    NORMAL,
    OPERATIONS,
    Acquisition,
    Body,
    Lesion,
    draw_cohort,
)
from cnr_iemn.config import CLASSES


def test_parameters_do_not_depend_on_the_class():
    cohort = draw_cohort(60, 60, 60, seed=3)
    for group, kind in {"body": Body, "scan": Acquisition, "lesion": Lesion}.items():
        for name in [f.name for f in dataclasses.fields(kind)]:
            values = {label: [] for label in CLASSES}
            for patient in cohort:
                values[patient.label].append(getattr(getattr(patient, group), name))
            order = sorted({v for column in values.values() for v in column})
            ranks = {k: [order.index(v) for v in column] for k, column in values.items()}
            for label in (COVID, CAP):  # every stratum once in each class
                assert ks_2samp(ranks[NORMAL], ranks[label]).statistic <= 0.05, (name, label)


def test_kinds_differ_in_dose_thickness_and_operations():
    standard, low, heart = (
        draw_cohort(20, 0, 20, 3, kind) for kind in ("standard", "low-dose", "heart")
    )
    for plain, noisy in zip(standard, low, strict=True):
        assert noisy.noise_hu == pytest.approx(LOW_DOSE_NOISE * plain.noise_hu)
        assert plain.thickness_mm == noisy.thickness_mm == 2
        assert plain.operation == noisy.operation == "none"
    assert {p.thickness_mm for p in heart} == {1, 1.5, 2, 3, 5}
    assert {p.operation for p in heart} == set(OPERATIONS)
    assert all(h.heart > 1.15 * s.heart for h, s in zip(heart, standard, strict=True))
