import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replication.intervals import Share, difference, f1_interval, sharpening, wilson


def test_wilson_of_a_share():
    low, high = wilson(86, 98)
    assert (low, high) == (pytest.approx(0.798, abs=5e-4), pytest.approx(0.929, abs=5e-4))
    assert wilson(30, 30)[1] == 1 and wilson(30, 30)[0] == pytest.approx(0.886, abs=1e-3)
    assert all(math.isnan(end) for end in wilson(0, 0))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [  # Newcombe 1998, Table II, method 10
        (Share(56, 70), Share(48, 80), 0.0524, 0.3339),
        (Share(9, 10), Share(3, 10), 0.1705, 0.8090),
        (Share(10, 10), Share(0, 10), 0.6075, 1.0),
    ],
)
def test_a_difference_of_two_shares_has_newcombes_interval(one, other, low, high):
    found = difference(one.value, one.interval, other.value, other.interval)
    assert found == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_share_is_told_with_what_else_it_may_be():
    assert Share(16, 20).text == "16/20"
    assert Share(16, 20, note="or a multiple").text == "16/20 or a multiple"


def test_the_interval_of_an_f1_is_that_of_its_proportion():
    share = Share(316, 430, f1=True)  # TP 158, FN + FP 114
    assert share.value == pytest.approx(158 / (158 + 114 / 2))
    assert share.interval == f1_interval(158, 114)
    assert share.interval == tuple(pytest.approx(2 * j / (1 + j)) for j in wilson(158, 272))
    assert f1_interval(30, 0)[1] == 1 and 0.93 < f1_interval(30, 0)[0] < 0.95


@pytest.mark.parametrize(
    "cells", [(158, 106, 114, 8), (16, 4, 51, 29), (27, 3, 60, 0), (8, 17, 101, 6)]
)
def test_the_interval_of_an_f1_covers_it_in_95_of_100_test_sets(cells):
    tp, fn, tn, fp = cells
    true = 2 * tp / (2 * tp + fn + fp)
    rng, times = np.random.default_rng(0), 3000
    right = rng.binomial(tp + fn, tp / (tp + fn), times)
    wrong = tp + fn - right + rng.binomial(tn + fp, fp / (tn + fp), times)
    any_class = rng.multinomial(sum(cells), np.array(cells) / sum(cells), times)
    # Wider than need be where both classes have a fixed number of samples.
    for drawn, most in (
        (np.stack([any_class[:, 0], any_class[:, 1] + any_class[:, 3]], axis=1), 0.97),
        (np.stack([right, wrong], axis=1), 1.0),
    ):
        seen, counts = np.unique(drawn, axis=0, return_counts=True)
        bounds = np.array([f1_interval(*map(int, pair)) for pair in seen])
        covered = counts[(bounds[:, 0] <= true) & (true <= bounds[:, 1])].sum() / times
        assert 0.93 < covered < most


def settled(distance, ours, theirs, margin, slack, factor):
    """Whether it is, with so many times the patients."""
    root = math.sqrt(factor)
    low = distance - math.hypot(ours[0] / root, theirs[0]) - slack
    high = distance + math.hypot(ours[1] / root, theirs[1]) + slack
    return (-margin <= low and high <= margin) or low > 0 or high < 0


widths = st.tuples(st.floats(0.01, 0.3), st.floats(0.01, 0.3))


@given(
    st.floats(-0.2, 0.2),
    widths,
    st.tuples(st.floats(0, 0.05), st.floats(0, 0.05)),
    st.floats(0.01, 0.1),
    st.floats(0, 0.005),
)
def test_so_many_patients_settle_a_difference_and_fewer_do_not(
    distance, ours, theirs, margin, slack
):
    factor = sharpening(distance, ours, theirs, margin, slack)
    # Where the margin is the paper's own width to the last bit, ours is lost in rounding.
    assume(math.isinf(factor) or factor < 1e9)
    if math.isinf(factor):
        assert not settled(distance, ours, theirs, margin, slack, 1e12)
    else:
        assert settled(distance, ours, theirs, margin, slack, factor * 1.001)
        assert not settled(distance, ours, theirs, margin, slack, factor * 0.999)


def test_without_the_others_width_patients_grow_with_the_square():
    # An interval of +-0.12 around 0 has to shrink to +-0.03: a quarter, sixteen times the patients.
    assert sharpening(0.0, (0.12, 0.12), (0, 0), 0.03) == pytest.approx(16)
    assert sharpening(0.0, (0.12, 0.12), (0.04, 0.04), 0.03) == math.inf
