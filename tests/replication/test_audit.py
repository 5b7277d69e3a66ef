import logging
from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlscorecheck.check.binary import check_1_testset_no_kfold

from preprocessing.errors import InputError
from replication.audit import (
    Confusion,
    TooManyMatrices,
    recover_class_matrices,
    recover_compositions,
    recover_confusions,
    recover_shares,
    recover_sizes,
)
from replication.audit.digits import parse_printed, rounded
from replication.audit.recover import ALIASES, METRICS

logging.getLogger("mlscorecheck").setLevel(logging.WARNING)
THEIR_NAMES = {
    "accuracy": "acc", "sensitivity": "sens", "specificity": "spec", "precision": "ppv",
    "npv": "npv", "f1": "f1", "balanced_accuracy": "bacc",
}  # fmt: skip
WAYS = {"half up": ROUND_HALF_UP, "half even": ROUND_HALF_EVEN, "truncated": ROUND_DOWN}
KOLARIK_ROW = {"accuracy": "0.7047", "sensitivity": "0.5985", "f1": "0.7349"}


def exact(metric: str, m: Confusion) -> Decimal:
    """A metric by its definition, with 50 digits; 0 for 0 / 0."""
    tp, fn, tn, fp = map(Decimal, m)

    def ratio(top, bottom):
        return top / bottom if bottom else Decimal(0)

    with localcontext() as context:
        context.prec = 50
        sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
        precision = ratio(tp, tp + fp)
        return {
            "accuracy": ratio(tp + tn, tp + tn + fp + fn),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": precision,
            "npv": ratio(tn, tn + fn),
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "mcc": ratio(tp * tn - fp * fn, ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).sqrt()),
        }[metric]


def prints(metric: str, m: Confusion, decimals: int, way: str, percent: bool = False) -> str:
    value = exact(metric, m) * (100 if percent else 1)
    shown = value.quantize(Decimal(1).scaleb(-decimals), rounding=WAYS[way])
    return f"{shown} %" if percent else f"{shown}"


def can_print(metric: str, m: Confusion, text: str) -> bool:
    """Whether some way of cutting digits makes this text of the metric."""
    percent = text.endswith("%")
    decimals = len(text.removesuffix(" %").partition(".")[2])
    shown = Decimal(text.removesuffix(" %"))
    return any(
        Decimal(prints(metric, m, decimals, way, percent).removesuffix(" %")) == shown
        for way in WAYS
    )


@st.composite
def matrices(draw, most=40):
    positives, negatives = draw(st.integers(1, most)), draw(st.integers(1, most))
    tp, tn = draw(st.integers(0, positives)), draw(st.integers(0, negatives))
    return Confusion(tp, positives - tp, tn, negatives - tn)


chosen_metrics = st.lists(st.sampled_from(METRICS), min_size=2, max_size=4, unique=True)


@settings(max_examples=80, deadline=None)
@given(matrices(), chosen_metrics, st.integers(2, 4), st.sampled_from(sorted(WAYS)), st.booleans())
def test_the_true_matrix_is_found_and_none_that_prints_otherwise(m, names, decimals, way, percent):
    printed = {name: prints(name, m, decimals, way, percent) for name in names}
    found = recover_confusions(printed, n=m.n)
    assert m in found
    assert len(set(found)) == len(found)
    for other in found:
        assert other.n == m.n and min(other.positives, other.negatives) >= 1 and min(other) >= 0
        assert all(can_print(name, other, text) for name, text in printed.items())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(METRICS), min_size=1, max_size=3, unique=True), st.data())
def test_what_is_found_is_all_there_is_by_brute_force(names, data):
    printed = {}
    for name in names:
        low = -100 if name == "mcc" else 0
        number = data.draw(st.integers(low, 100), label=name)
        printed[name] = f"{Decimal(number) / 100:.2f}"
    cells = product(range(10), repeat=4)
    every = (Confusion(*c) for c in cells if sum(c) <= 9 and c[0] + c[1] and c[2] + c[3])
    expected = {m for m in every if all(can_print(n, m, text) for n, text in printed.items())}
    assert set(recover_confusions(printed, max_n=9)) == expected
    compositions = {(m.positives, m.negatives) for m in expected}
    assert set(recover_compositions([printed], max_n=9)) == compositions


@settings(max_examples=80, deadline=None)
@given(
    matrices(), st.lists(st.sampled_from(sorted(THEIR_NAMES)), min_size=2, max_size=4, unique=True),
    st.integers(2, 4), st.integers(-2, 2), st.integers(-2, 2),
)  # fmt: skip
def test_mlscorecheck_never_calls_impossible_what_is_found(
    m, names, decimals, more_positive, more_negative
):
    printed = {name: prints(name, m, decimals, "half up") for name in names}
    positives = max(m.positives + more_positive, 1)
    negatives = max(m.negatives + more_negative, 1)
    ours = recover_confusions(printed, positives=positives, negatives=negatives, printing="rounded")
    # 0 / 0 counts as 0 here and is left out there.
    defined = [o for o in ours if o.tp + o.fp and o.tn + o.fn and o.tp + o.fn + o.fp]
    theirs = check_1_testset_no_kfold(
        testset={"p": positives, "n": negatives},
        scores={THEIR_NAMES[name]: float(text) for name, text in printed.items()},
        eps=0.5 * 10.0**-decimals,
        numerical_tolerance=1e-9,
    )
    # The other way round it may miss a contradiction: its intervals are necessary conditions.
    if theirs["inconsistency"]:
        assert not defined
    if (positives, negatives) == (m.positives, m.negatives):
        assert m in ours


def test_a_row_of_kolarik():
    found = recover_confusions(KOLARIK_ROW, max_n=2000)
    assert Confusion(158, 106, 114, 8) in found
    assert found == sorted(found, key=lambda m: (m.n, m.positives, m.tp))
    assert found[0].n == 193 and found[-1].n <= 2000
    as_rounded = recover_confusions(KOLARIK_ROW, printing="rounded")
    as_truncated = recover_confusions(KOLARIK_ROW, printing="truncated")
    assert set(as_rounded) < set(found) and set(as_truncated) < set(found)
    assert set(as_rounded) != set(as_truncated)
    assert recover_confusions(KOLARIK_ROW, positives=264, negatives=122) == [(158, 106, 114, 8)]
    assert recover_confusions(KOLARIK_ROW, n=387) == []


def test_rows_of_one_test_set_share_their_class_counts():
    other = {"accuracy": "79.53 %", "recall": "70.83 %", "F1": "82.56 %"}
    found = recover_compositions([KOLARIK_ROW, other], 1200, printing="rounded")
    assert found[0] == (264, 122)
    assert all(
        recover_confusions(row, positives=p, negatives=q, printing="rounded")
        for row in (KOLARIK_ROW, other) for p, q in found
    )  # fmt: skip
    assert recover_compositions([KOLARIK_ROW, {"accuracy": "0.0000", "f1": "0.9"}], 300) == []


def test_half_a_digit_goes_up_or_to_even_and_dropped_digits_lead_to_zero():
    half = {"accuracy": "0.12"}  # 1/8 = 0.125
    assert recover_shares("0.12", 8) == recover_shares("0.12", 8, "rounded") == [1]
    assert (
        recover_shares("0.13", 8, "rounded") == [1] and recover_shares("0.13", 8, "truncated") == []
    )
    assert any(m.tp + m.tn == 1 for m in recover_confusions(half, n=8))
    assert recover_shares("87.75 %", 98) == [86] == recover_shares("0.8775", 98, "truncated")
    assert recover_shares("87.75 %", 98, "rounded") == []
    assert recover_shares("1.00", 300, "truncated") == [300]
    # Matthews' correlation of (1, 2, 1, 2) is -1/3.
    for text in ("-0.33", "-0.3", "-0.333"):
        assert Confusion(1, 2, 1, 2) in recover_confusions({"mcc": text}, n=6)
    assert Confusion(1, 2, 1, 2) not in recover_confusions({"mcc": "-0.34"}, n=6)


def ways_to_round(k: int, n: int, decimals: int) -> Iterator[str]:
    """k of n as decimals, doubles and 32-bit floats print it rounded, as a share and in percent."""
    with localcontext() as context:
        context.prec = 50
        share = Decimal(k) / n
        for way in ("half up", "half even"):
            yield f"{share.quantize(Decimal(1).scaleb(-decimals), rounding=WAYS[way])}"
    yield f"{k / n:.{decimals}f}"
    yield f"{1 - (n - k) / n:.{decimals}f}"
    yield f"{round(k / n, decimals):.{decimals}f}"
    yield f"{np.round(k / n, decimals):.{decimals}f}"
    yield f"{np.float32(k) / np.float32(n):.{decimals}f}"
    yield f"{k / n:.{decimals}%}".replace("%", " %")
    if decimals <= 2:  # 32 bits have no more digits to give
        yield f"{np.float32(100) * (np.float32(k) / np.float32(n)):.{decimals}f} %"


@pytest.mark.parametrize("decimals", range(1, 5))
def test_rounded_loses_nothing_that_floats_print_and_takes_nothing_beyond_half_a_digit(decimals):
    for n in (*range(1, 81), 125, 160, 200, 250, 400, 625, 800, 1000, 2000):
        for k in range(n + 1):
            for text in set(ways_to_round(k, n, decimals)):
                found = recover_shares(text, n, "rounded")
                assert k in found, (text, k, n)
                printed = parse_printed(text)
                for other in (found[0], found[-1]):
                    off = abs(Fraction(other, n) - printed.value) * printed.scale
                    assert off <= Fraction(1, 2), (text, other, n)


def test_a_half_goes_either_way_when_floats_are_printed():
    # By decimals 0.295 is 0.30 either way; the double nearest to it lies below.
    assert f"{59 / 200:.2f}" == "0.29" and 59 in recover_shares("0.29", 200, "rounded")
    # An F1 of 6/16 = 0.375 exactly, taken from precision 0.3 and recall 0.5.
    f1 = 2 * 0.3 * 0.5 / (0.3 + 0.5)
    assert f"{f1:.2f}" == "0.37" and f"{6 / 16:.2f}" == "0.38"
    for text in ("0.37", "0.38"):
        assert Confusion(3, 3, 3, 7) in recover_confusions({"f1": text}, n=16, printing="rounded")
    assert 12 not in recover_shares("0.36", 32, "rounded")
    assert 12 not in recover_shares("0.39", 32, "rounded")


def test_nothing_of_nothing_prints_as_zero():
    silent = Confusion(0, 3, 5, 0)  # never says positive
    assert silent in recover_confusions({"precision": "0.00", "f1": "0.0"}, n=8)
    assert silent not in recover_confusions({"precision": "0.50"}, n=8)


def test_shares_and_sizes():
    assert recover_shares("96.84 %", 1920) == []
    assert recover_shares("96.84 %", 1902) == [1842]
    assert recover_sizes(["0.5619", "0.5803", "0.6881", "0.7064"], range(100, 1179)) == [436, 872]


def test_class_matrices_of_known_rows():
    printed = {"a": {"recall": "0.90", "precision": "1.00"}, "b": {"precision": "0.97"}}
    found = recover_class_matrices({"a": 30, "b": 30, "c": 30}, printed, accuracy="0.9667")
    assert found and all(m[0][0] == 27 and m[1][0] == m[2][0] == 0 for m in found)
    assert all(sum(m[i][i] for i in range(3)) == 87 for m in found)
    for m in found:
        assert rounded(parse_printed("1").value * m[1][1] / sum(r[1] for r in m), 2) in (
            "0.97", "0.98",
        )  # fmt: skip
    for most in (3000, 1_000_000):
        with pytest.raises(TooManyMatrices):
            recover_class_matrices({"a": most, "b": most, "c": most}, {})


def test_class_matrices_know_the_other_metrics_of_a_class_and_their_names():
    sizes = {"a": 4, "b": 3, "c": 2}
    every = recover_class_matrices(sizes, {})
    matrix = ((3, 1, 0), (0, 2, 1), (1, 0, 1))
    assert matrix in every
    for name, text in (("specificity", "0.80"), ("npv", "0.80"), ("tpr", "75 %"), ("ppv", "0.75")):
        found = recover_class_matrices(sizes, {"a": {name: text}})
        assert matrix in found and len(found) < len(every), name
        assert all(
            m in found
            for m in every
            if can_print(ALIASES.get(name, name), _one_against_the_rest(m, 0), text)
        )
    for name in ("accuracy", "mcc", "kappa"):
        with pytest.raises(InputError, match=name):
            recover_class_matrices(sizes, {"a": {name: "0.8"}})


def _one_against_the_rest(matrix, place: int) -> Confusion:
    n, said = sum(map(sum, matrix)), sum(row[place] for row in matrix)
    tp, positives = matrix[place][place], sum(matrix[place])
    return Confusion(tp, positives - tp, n - positives - said + tp, said - tp)


@pytest.mark.parametrize(
    ("metrics", "arguments", "message"),
    [
        ({"accuracy": "0.7O47"}, {}, "'0.7O47' is no number"),
        ({"accuracy": "0,7047"}, {}, "no number"),
        ({"accuracy": "."}, {}, "no number"),
        ({"accuracy": "70.47"}, {}, "not between 0 and 1"),
        ({"sensitivity": "-0.1"}, {}, "not between 0 and 1"),
        ({"mcc": "-1.2"}, {}, "not between -1 and 1"),
        ({"auc": "0.9"}, {}, "unknown metric 'auc'"),
        ({"recall": "0.9", "sensitivity": "0.9"}, {}, "given twice"),
        ({}, {}, "no metric"),
        ({"accuracy": "0.9"}, {"n": 1}, "2 to 1,000,000"),
        ({"accuracy": "0.12345678901"}, {}, "more than 10 decimals"),
        ({"accuracy": "12.345678901 %"}, {}, "more than 10 decimals"),
        ({"accuracy": "9" * 5000}, {}, "too long"),
        ({"accuracy": "0" * 5000}, {}, "too long"),
    ],
)
def test_wrong_input_is_one_line(metrics, arguments, message):
    with pytest.raises(InputError) as caught:
        recover_confusions(metrics, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_too_little_to_go_by_is_said_at_once():
    with pytest.raises(TooManyMatrices, match="too few numbers"):
        recover_confusions({"accuracy": "0.9"}, max_n=5000)
    with pytest.raises(TooManyMatrices, match="more than 1,000,000"):
        recover_confusions({"accuracy": "0.90", "sensitivity": "0.80", "f1": "0.85"})
    with pytest.raises(TooManyMatrices, match="more than 1,000,000"):
        recover_shares("0.9", 10**13)


@pytest.mark.parametrize(
    ("known", "advice"),
    [
        ({}, "give the number of samples, more metrics, or a smaller limit"),
        ({"n": 100_000}, "give the samples of one class, or more metrics"),
        ({"positives": 50_000, "negatives": 50_000}, "give more metrics"),
    ],
)
def test_what_would_help_is_what_was_not_given(known, advice):
    with pytest.raises(TooManyMatrices) as caught:
        recover_confusions({"mcc": "0.9"}, max_n=100_000, **known)
    assert str(caught.value).endswith(advice)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.7047", (7047, 10_000)), (".5", (5, 10)), ("90.38 %", (9038, 10_000)), ("96%", (96, 100)),
     ("-0.25", (-25, 100)), ("1", (1, 1)), (" 0.70 ", (70, 100))],
)  # fmt: skip
def test_numbers_are_read_as_printed(text, value):
    printed = parse_printed(text)
    assert (printed.digits, printed.scale) == value
