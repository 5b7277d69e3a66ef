import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replication.intervals import Share, difference, sharpening, wilson


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
