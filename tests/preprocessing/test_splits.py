import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.splits import TEST, TRAIN, VAL


def cohort(present, absent, rng):
    """Samples of a cohort with a varying number for each patient."""
    patients, labels = [], []
    for i in range(present + absent):
        count = int(rng.integers(1, 9))
        patients += [f"p{i:03d}"] * count
        labels += [int(i < present)] * count
    return np.array(patients), np.array(labels)


@given(present=st.integers(3, 40), absent=st.integers(3, 40), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_patient_split_is_disjoint_complete_and_holds_both_classes(present, absent, seed):
    patients, labels = cohort(present, absent, np.random.default_rng(seed))
    parts = splits.split_patients(patients, labels, seed)
    found = {part: set(patients[parts == part]) for part in (TRAIN, VAL, TEST)}
    assert sum(len(f) for f in found.values()) == present + absent
    assert not found[TRAIN] & found[TEST] and not found[VAL] & (found[TRAIN] | found[TEST])
    for part in (TRAIN, VAL, TEST):
        assert set(labels[parts == part]) == {0, 1}
    assert np.array_equal(parts, splits.split_patients(patients, labels, seed))


def test_paper_cohort_is_split_70_30_with_validation_from_train():
    patients = [f"p{i}" for i in range(48)]
    parts = splits.split_patients(patients, [1] * 28 + [0] * 20, seed=0)
    assert [(parts == p).sum() for p in (TRAIN, VAL, TEST)] == [27, 7, 14]


def test_too_few_patients_of_a_class_say_so():
    with pytest.raises(InputError, match="class 0 has 2 patients"):
        splits.split_patients(list("abcdef"), [1, 1, 1, 1, 0, 0], seed=0)


@pytest.mark.parametrize(
    ("stated", "printed"), [(1928, 386), (7774, 1555), (890, 178), (1647, 330)]
)
def test_published_split_has_the_test_sizes_that_the_printed_numbers_reveal(stated, printed):
    parts = splits.split_published_leaky_clips(stated, seed=0)
    assert (parts == TEST).sum() == printed
    assert set(parts) == {TRAIN, TEST}


def test_published_split_leaks_and_is_refused_unless_asked_for():
    patients = np.repeat([f"p{i}" for i in range(10)], 20)
    parts = splits.split_published_leaky_clips(200, seed=0)
    report = splits.find_leaks(patients, patients, {p: p for p in patients}, parts)
    assert len(report.patients) == 10
    with pytest.raises(InputError, match="10 patients are in more than one part"):
        splits.check_split(report, leaks_requested=False)
    assert splits.check_split(report, leaks_requested=True) is True


def test_one_video_under_two_names_in_two_parts_is_a_leak():
    patients, files = ["a", "b", "c"], ["one.mp4", "two.mp4", "other.mp4"]
    hashes = {"one.mp4": "same", "two.mp4": "same", "other.mp4": "else"}
    leaking = splits.find_leaks(patients, files, hashes, [TRAIN, TEST, TEST])
    assert leaking.files == (("one.mp4", "two.mp4"),)
    with pytest.raises(InputError, match="one.mp4, two.mp4"):
        splits.check_split(leaking, leaks_requested=False)
    harmless = splits.find_leaks(patients, files, hashes, [TRAIN, TRAIN, TEST])
    assert not harmless.leaky


def test_near_duplicates_across_parts_are_counted():
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 255, (8, 60, 30, 30)).astype(np.uint8)
    noise = rng.normal(0, 2, samples.shape[1:])
    samples[5] = np.clip(samples[0] + noise, 0, 255)  # a re-encoded copy
    samples[6] = np.clip(samples[1] * 0.7, 0, 255)  # another gain
    parts = [TRAIN] * 4 + [TEST] * 4
    assert splits.count_near_duplicates(samples, parts) == 2
    assert splits.count_near_duplicates(samples, ["val"] * 4 + [TEST] * 4) == 2
    assert splits.count_near_duplicates(samples[:5], parts[:5]) == 0


def grouped(sizes: dict[str, list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Group names and labels of samples, from the group sizes of each class."""
    groups, labels = [], []
    for label, (name, counts) in enumerate(sizes.items()):
        for number, count in enumerate(counts):
            groups += [f"{name}{number}"] * count
            labels += [label] * count
    return np.array(groups), np.array(labels)


@given(st.integers(0, 50))
def test_groups_stay_whole_and_the_test_part_is_exact(seed):
    groups, labels = grouped({"a": [1] * 30 + [5] * 3, "b": [1] * 20 + [2] * 10})
    parts = splits.split_groups(groups, labels, np.random.default_rng(seed), 7, 0.2, "ab")
    for name in np.unique(groups):
        assert len(set(parts[groups == name])) == 1
    for label in (0, 1):
        of_class = parts[labels == label]
        assert (of_class == "test").sum() == 7
        assert abs((of_class == "val").sum() - 0.2 * (len(of_class) - 7)) <= 5
        assert (of_class == "train").sum() >= (of_class == "val").sum()


def test_the_same_rng_gives_the_same_groups():
    groups, labels = grouped({"a": [1] * 20, "b": [2] * 10})
    one, other, third = (
        splits.split_groups(groups, labels, np.random.default_rng(seed), 2, 0.2, "ab")
        for seed in (1, 1, 2)
    )
    assert one.tolist() == other.tolist() != third.tolist()


def test_large_groups_test_in_smaller_number():
    """Films of 12 patients with 4 each: 10 test films cannot be had, 8 can."""
    groups, labels = grouped({"a": [4] * 12, "b": [1] * 48})
    parts = splits.split_groups(groups, labels, np.random.default_rng(0), 10, 0.2, "ab")
    assert [(parts[labels == label] == "test").sum() for label in (0, 1)] == [8, 10]


@pytest.mark.parametrize("sizes", [[6], [20, 1], [1, 1]])
def test_a_class_that_cannot_fill_three_parts_is_refused(sizes):
    groups, labels = grouped({"a": [1] * 20, "small": sizes})
    with pytest.raises(InputError, match="class small has"):
        splits.split_groups(groups, labels, np.random.default_rng(0), 3, 0.2, ("a", "small"))


def test_groups_join_through_either_name():
    joined = splits.join_groups(
        ["x", "x", "y", "", "", "z"], ["p", "q", "q", "q", "", "r"]
    )  # fmt: skip
    assert joined[0] == joined[1] == joined[2] == joined[3]
    assert len(set(joined)) == 3 and joined[4] == "sample-4"
